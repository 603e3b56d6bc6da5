"""The report answers first: score, worst class, what failed; and cuts what no page can hold."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotate.data.types import ClassList, ClassSpec, FrameRecord
from annotate.evaluate import uncertainty
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report import facts, sweep
from annotate.report.confusion import confusion
from annotate.report.drift import ClassDrift, Drift
from annotate.report.facts import LISTED_FAILURES, ClassFacts, Facts
from annotate.report.headline import classes_by_need, headline
from annotate.report.page import LISTED_CLASSES, Made, render
from annotate.report.pictures import CLASSES as PICTURED
from annotate.report.pictures import Sheets, Tile
from annotate.report.timelines import COLUMNS, TRACKS, VIDEOS, Timelines, TrackLine, VideoLines
from tests.evaluate.squares import square, still
from tests.report.pages import Page, made, page_of

MADE = Made("annotate dataset=d", "annotate report run=r", "")


def gathered(run: Run) -> Facts:
    uncertainty.write(run, 0.3, near_duplicates=False)
    return facts.gather(run, 0.3, uncertainty.read(run), {}, 0)


def said(of: Facts, unfinished: str = "", drift: Drift | None = None) -> dict[str, str]:
    return {line.about: line.text for line in headline(of, unfinished, drift).lines}


def judged(**classes: tuple[float | None, int, int, int]) -> dict[str, Any]:
    """An evaluation of classes by name: AP, objects, found and right."""
    names = [*classes, "none"]
    ap = {"ap": 0.5, "ap50": 0.6}
    rates = {"precision": 0.8, "recall": 0.7, "f1": 0.75}
    return {
        "truth": "truth.json",
        "thresholds": dict.fromkeys(classes, 0.3),
        "frames": 3,
        "average_precision": {"bbox": ap, "segm": ap},
        "classes": {
            name: {
                "average_precision": {"bbox": ap, "segm": {"ap": score, "ap50": score}},
                "rates": {"objects": objects, "found": found, "right": right, **rates},
                "found": [found] * 30 + [0] * 69,
                "right": [right] * 30 + [0] * 69,
            }
            for name, (score, objects, found, right) in classes.items()
        },
        "rates": {"objects": 3, "found": 3, "right": 2, **rates},
        "confusion_names": names,
        "confusion": np.eye(len(names), dtype=int).tolist(),
        "videos": 0,
        "tracks": None,
        "suggested": None,
        "curve": [{"threshold": n / 100, **rates} for n in range(1, 100)],
    }


@pytest.fixture
def two_classes(tmp_path) -> Facts:
    unsure = replace(square(40, 30, class_id=1), margin=0.0, mask_score=0.5)
    frames = [still(f"{n}.png", square(5, 5), unsure) for n in range(6)]
    return gathered(made(tmp_path / "run", *frames))


def test_without_truth_it_says_what_is_known_and_how_to_score(two_classes):
    head = headline(two_classes, "", None)
    assert (head.figure, head.meaning) == ("12", "instances on 6 of 6 frames")
    (least,) = (line for line in head.lines if line.about == "Least certain class")
    assert least.text == "bus: 6 of 6 instances are doubtful" and least.href == "class-1"
    (score,) = (line for line in head.lines if line.about == "Score")
    assert score.command.startswith("annotate evaluate run=")
    assert score.command.endswith(" truth=FILE")
    assert said(two_classes)["Failed"] == "nothing"
    assert classes_by_need(two_classes) == [1, 0]


def test_with_truth_the_score_and_the_worst_class_come_first(two_classes):
    e = judged(car=(0.4, 20, 22, 15), bus=(0.9, 30, 30, 29))
    e["confusion"][0][1] = 4
    scored = replace(two_classes, evaluation=e)
    head = headline(scored, "", None)
    assert head.figure == "0.500" and head.meaning.startswith("mask AP; box AP 0.500, precision")
    first = head.lines[0]
    assert first.about == "Worst class" and first.href == "class-0"
    assert first.text == (
        "car: AP 0.400, 15 of 20 objects found, 7 finds wrong; taken for bus 4 times"
    )
    assert classes_by_need(scored) == [0, 1]


def test_a_class_of_few_objects_is_named_apart(two_classes):
    e = judged(car=(0.0, 1, 1, 0), bus=(0.9, 30, 30, 29))
    lines = said(replace(two_classes, evaluation=e))
    assert lines["Worst class"].startswith("bus") and lines["Worse, but rare"].startswith("1 with")


def test_a_class_that_the_truth_lacks_is_not_the_worst(two_classes):
    e = judged(car=(None, 0, 3, 0), bus=(0.9, 30, 30, 29))
    assert said(replace(two_classes, evaluation=e))["Worst class"].startswith("bus")


def test_what_went_wrong_is_said(two_classes):
    gates = [
        {"name": "gates.max_failed", "value": 2, "limit": 0, "passed": False},
        {"name": "gates.min_map", "value": 0.5, "limit": 0.4, "passed": True},
    ]
    of = replace(two_classes, failed=2, items=8, gates=gates)
    drift = Drift("before", 1, 0, 0, 1, 2, 3, 4, [], [])
    lines = said(of, "run: interrupted at 3 of 8 items", drift)
    assert lines["Not finished"] == "run: interrupted at 3 of 8 items"
    assert lines["Failed"] == "2 of 8 items"
    assert lines["Gates failed"] == "gates.max_failed is 2, the limit is 0"
    assert lines["Against before"] == "3 gone, 4 new, 2 of another class"


def test_a_run_without_an_instance_above_the_threshold_has_a_report(tmp_path):
    faint = replace(square(5, 5), score=0.2)
    run = made(tmp_path / "run", still("a.png", faint), still("b.png"))
    text = " ".join(Page(page_of(run.path)).text.split())
    assert "0instances on 0 of 2 frames" in text and "Least certain" not in text
    assert gathered(run).classes[0].swept[20] == 1


def test_failed_items_are_linked_from_the_top(tmp_path):
    failed = FrameRecord("x.jpg", "x.jpg", "image", 0, 0.0, 0, 0, "failed", "cut off")
    page = page_of(made(tmp_path / "run", still("a.png", square(5, 5)), failed).path)
    assert '<dd class="wrong"><a href="#failed">1 of 2 items</a>' in page


def test_limits_of_area_count_as_in_an_export(tmp_path):
    classes = ClassList((ClassSpec("car", ("car",), min_area=500), ClassSpec("bus", ("bus",))))
    frame = still("a.png", square(5, 5), square(40, 30, 30))  # 400 and 900 px
    got = gathered(made(tmp_path / "run", frame, classes=classes)).classes[0]
    assert (got.recorded, got.kept, got.swept[30], got.swept[80], got.swept[81]) == (2, 1, 1, 1, 0)


def test_every_step_keeps_what_an_export_at_it_keeps(tmp_path):
    scores = [0.1, 0.29999, 0.3, 0.41, 0.42, 0.9, 1.0]
    one = [replace(square(5, 5), score=float(np.float32(s)), instance_id=str(s)) for s in scores]
    run = made(tmp_path / "run", still("a.png", *one))
    car = gathered(run).classes[0]
    for step in range(101):
        limit = np.float32(step / 100)
        assert car.swept[step] == sum(np.float32(s) >= limit for s in scores), step


def test_precision_and_recall_of_all_classes_at_a_threshold(two_classes):
    e = judged(car=(0.4, 20, 22, 15), bus=(0.9, 30, 30, 29))
    scored = replace(two_classes, evaluation=e)
    (low, high) = sweep.totals(scored, [20, 90])
    assert (low.precision, low.recall) == (44 / 52, 44 / 50)
    assert (high.precision, high.recall, high.instances) == (None, 0.0, 0)
    before = {**e, "curve": e["curve"][4::5]}  # as an earlier version wrote it
    old = replace(scored, evaluation=before)
    assert sweep.totals(old, [20])[0].recall is None and not sweep.for_script(old, [0, 1])["judged"]
    head, page = headline(old, "", None), render(old, nothing(), None, None, MADE)
    assert head.figure == "0.500" and "by an earlier version" in page


def nothing() -> Sheets:
    return Sheets([], 0, [], [], {}, 0, 0)


def test_confusion_is_cut_to_the_worst_and_says_what_it_leaves_out():
    n = 300
    counts = np.zeros((n + 1, n + 1), int)
    np.fill_diagonal(counts, 10)
    counts[np.arange(n), (np.arange(n) + 1) % n] = 1
    counts[7, 9], counts[9, -1], counts[-1, 9] = 5, 3, 2
    e = {"confusion_names": [f"c{k}" for k in range(n)] + ["none"], "confusion": counts.tolist()}
    got = confusion(e)
    assert got.pairs[0] == ("c7", "c9", 5, 5 / 16) and len(got.pairs) == 15
    assert got.pairs_left_out == n + 1 - 15 and got.classes_left_out == n - 20
    assert len(got.names) == 21 and {"c7", "c9", "none"} <= set(got.names)
    wrong = counts.sum() - np.trace(counts)
    shown = np.array(got.counts)
    assert got.mistakes_left_out == wrong - (shown.sum() - np.trace(shown))


def test_confusion_of_one_class():
    got = confusion({"confusion_names": ["car", "none"], "confusion": [[3, 1], [2, 0]]})
    assert (got.pairs, got.names, got.mistakes_left_out) == ([], ["car", "none"], 0)


def crowded(classes: int) -> Facts:
    """Facts of a night over many pictures: every list as long as it can be."""
    rng = np.random.default_rng(0)
    swept = np.sort(rng.integers(0, 900_000, (classes, 101)))[:, ::-1]
    names = [f"a class of some length, number {n}" for n in range(classes)]
    each = [
        ClassFacts(
            name=name,
            colour="#2361c9",
            threshold=0.3,
            own=False,
            recorded=900_000,
            kept=int(swept[n, 30]),
            frames=60_000,
            scores=rng.integers(1, 90_000, 20).tolist(),
            swept=swept[n].tolist(),
            doubtful=1000,
            mean_doubt=float(rng.random()),
            splits={},
        )
        for n, name in enumerate(names)
    ]
    matrix = rng.integers(0, 99, (classes + 1, classes + 1)).tolist()
    evaluation = judged(**{name: (float(rng.random()), 50_000, 60_000, 40_000) for name in names})
    return Facts(
        name="night", places=["runs/night"], asked={"dataset": {"root": "photos"}}, weights={},
        versions={}, threshold=0.3, items=100_000, frames=100_000, empty_frames=0, failed=90_000,
        failures=[(f"folder/{n:06d}.jpg", "e" * 200) for n in range(LISTED_FAILURES)],
        classes=each, splits={}, sizes=[1] * 8, phrases=[(n, n, 5, 6) for n in names],
        tracks=facts.TrackFacts(900, 90_000, [9] * 10, 4.0, 5, 6), reasons={"margin": 90_000},
        doubtful=90_000, review={}, seconds={}, gates=[],
        evaluation={**evaluation, "confusion": matrix},
    )  # fmt: skip


@pytest.mark.parametrize("classes", [9, 1203, 2000])
def test_the_page_of_a_hundred_thousand_pictures_stays_small(classes):
    runs = [(n, n + 1) for n in range(0, COLUMNS, 2)]
    marks = [5] * 99
    line = TrackLine(7, "a class", "#2361c9", 0, 90_000, 45_000, 45_000, marks, runs, marks)
    videos = [
        VideoLines(f"{n}.mp4", 90_000, 0, 90_000, 5, [line] * TRACKS, 900) for n in range(VIDEOS)
    ]
    tile = Tile("", "folder/000001.jpg", "a reason", "9 such frames")
    pictured = min(classes, PICTURED)
    sheets = Sheets(
        [tile] * 12, 50_000, [tile] * 12, [tile] * 12, {n: [tile] * 12 for n in range(pictured)},
        classes - pictured, 0,
    )  # fmt: skip
    drifts = [ClassDrift(f"c{n}", 1, 2, 0.5, 0.6, 0.01) for n in range(classes)]
    drift = Drift("before", 1, 2, 3, 4, 5, 6, 7, drifts, [])
    page = render(crowded(classes), sheets, drift, Timelines(videos, 892), MADE)
    # Besides 516 pictures, which are 30 kB each or less: docs/evaluation.md says so.
    assert page.count("<img") <= 3 * 12 + 40 * 12
    assert len(page.encode()) < (5_000_000 if classes > 1000 else 2_500_000)
    if classes > LISTED_CLASSES:
        left_out = f"{classes - LISTED_CLASSES:,}"
        assert f"{left_out} more are left out of this page" in page
        assert page.count(f"{left_out} more classes") == 2 and f"{left_out} other classes" in page
    assert "892 videos are left out" in page


def test_a_run_of_1203_classes(tmp_path):
    classes = ClassList(tuple(ClassSpec(f"thing {n}", (f"thing {n}",)) for n in range(1203)))
    run = Run.start(tmp_path / "run", tmp_path, classes, {})
    frames = [
        still(f"{n}.png", *(square(5, 5, class_id=(7 * n + k) % 1203) for k in range(7)))
        for n in range(200)
    ]
    parquet.write_part(run.records_dir, "part-000000", frames)
    scores = {name: (0.3, 9, 9, 5) for name in classes.names}
    (run.path / "evaluation.json").write_text(json.dumps(judged(**scores)))
    page = page_of(run.path)
    assert len(page.encode()) < 2_500_000
    assert "1,203" in page and "1,183 classes with 0 mistakes are left out" in page


def test_classes_that_are_not_listed_still_count(two_classes):
    of = replace(two_classes, evaluation=judged(car=(0.4, 20, 22, 15), bus=(0.9, 30, 30, 29)))
    whole, cut = sweep.for_script(of, [0, 1])["classes"], sweep.for_script(of, [1])["classes"]
    assert [c["name"] for c in cut] == ["bus", "1 other classes"]
    for key in ("kept", "found", "right", "objects"):
        both = whole[0][key]
        assert cut[1][key] == both or cut[1][key][: len(both)] == both
