"""The report says what the records hold, on one page that needs nothing else."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data import decisions
from annotate.data.types import ClassList, ClassSpec, FrameRecord
from annotate.errors import ConfigError, StorageError
from annotate.evaluate import uncertainty
from annotate.record import reviews
from annotate.record.run_folder import Run
from annotate.report import drift, facts
from annotate.report.__main__ import _report
from tests.evaluate.squares import clip, square, still
from tests.report.pages import Page, made, page_of


@pytest.fixture(scope="module")
def page(demo_run) -> Page:
    return Page(page_of(demo_run, "export.split={train: 0.5, val: 0.5}"))


def test_nothing_is_loaded_from_elsewhere(page):
    assert [s.get("type", "") for s in page.named("script")] == ["application/json", ""]
    assert not page.named("link") and not any("style" in attrs for _, attrs in page.tags)
    pictures = page.named("img")
    assert len(pictures) > 20
    assert all(p["src"].startswith("data:image/jpeg;base64,") for p in pictures)
    links = [a["href"] for a in page.named("a")]
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert links and all(link.startswith("#") and link[1:] in ids for link in links)


def test_it_says_what_the_run_holds(page, demo_run):
    run = Run.open(demo_run)
    kept = sum(i.score >= np.float32(0.3) for r in run.frames() for i in r.instances)
    text = " ".join(page.text.split())
    assert f"{kept}instances from 0.3 on" in text
    assert all(name in text for name in run.classes.names)
    for expected in ("ground", "sha256", "transformers", "track", "Look here first", "train"):
        assert expected in text


def test_the_same_run_gives_the_same_page(demo_run):
    assert page_of(demo_run) == page_of(demo_run)


def test_figures_per_class_size_split_and_phrase(tmp_path):
    frames = [
        still("a/1.png", square(5, 5), square(40, 30, class_id=1)),
        still("b/2.png", square(5, 5), replace(square(40, 30), score=0.1)),
        still("b/3.png"),
        FrameRecord("x.jpg", "x.jpg", "image", 0, 0.0, 0, 0, "failed", "cut off"),
    ]
    run = made(tmp_path / "run", *frames)
    uncertainty.write(run, 0.3)
    split = {"train": 0.5, "val": 0.5}
    got = facts.gather(run, 0.3, uncertainty.read(run), split, 0)
    assert (got.items, got.frames, got.empty_frames, got.failed) == (4, 3, 1, 1)
    assert got.failures == [("x.jpg", "cut off")]
    car, bus = got.classes
    assert (car.recorded, car.kept, car.frames) == (3, 2, 2)
    assert (bus.recorded, bus.kept, bus.frames) == (1, 1, 1)
    assert sum(car.scores) == 3 and car.scores[2] == 1  # 0.1 lies in 0.10 to 0.15
    assert sum(got.sizes) == 3
    assert got.phrases == [("car", "car", 2, 3), ("bus", "bus", 0, 0)]  # all were found by "car"
    assert sum(got.splits.values()) == 3 and sum(car.splits.values()) == 2
    assert got.tracks is None and got.reasons == {"empty": 1}


def test_tracks_are_told_by_their_lengths_and_gaps(tmp_path):
    shown, other = square(5, 5, track=1), square(40, 30, track=2)
    run = made(tmp_path / "run", *clip([shown], [shown, other], [other], [shown, other]))
    uncertainty.write(run, 0.3)
    tracks = facts.gather(run, 0.3, uncertainty.read(run), {}, 0).tracks
    assert tracks is not None
    assert (tracks.videos, tracks.count, tracks.median_length, tracks.gaps) == (1, 2, 3.0, 1)
    assert sum(tracks.lengths) == 2


def test_what_people_decided_is_counted(tmp_path):
    run = made(tmp_path / "run", still("1.png", square(5, 5), square(40, 30)), still("2.png"))
    said = [
        decisions.Decision(frame_id="1.png", item="1.png", tags=("accept",)),
        decisions.Decision(frame_id="1.png", item="1.png", instance_id="5-5-0", deleted=True),
        decisions.Decision(frame_id="1.png", item="1.png", instance_id="40-30-0", class_name="bus"),
    ]
    reviews.write(run.reviews_dir, said)
    uncertainty.write(run, 0.3)
    got = facts.gather(run, 0.3, uncertainty.read(run), {}, 0)
    assert got.review == {"instances: decided": 1, "instances: deleted": 1, "pictures: accept": 1}
    assert "Decided in review" in page_of(tmp_path / "run")


def test_names_cannot_break_the_page(tmp_path):
    name = "<script>alert(1)</script> & \"quotes\" 'x' {{ 7 * 7 }}"
    classes = ClassList((ClassSpec(name, (name,)), ClassSpec("bus", ("bus",))))
    PilImage.new("RGB", (80, 60), (90, 120, 60)).save(tmp_path / "<img src=x onerror=alert(2)>.png")
    frames = [
        still("<img src=x onerror=alert(2)>.png", square(5, 5)),
        FrameRecord("<b>.jpg", "<b>.jpg", "image", 0, 0.0, 0, 0, "failed", "<script>bad</script>"),
    ]
    made(tmp_path / "run", *frames, classes=classes)
    page = Page(page_of(tmp_path / "run"))
    assert len(page.named("script")) == 2  # its own
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert all(p["src"].startswith("data:") for p in page.named("img"))
    assert name in page.text and "{{ 7 * 7 }}" in page.text
    assert "<script>bad</script>" in page.text


def test_a_picture_that_is_gone_is_left_out_and_the_rest_stays(tmp_path):
    PilImage.new("RGB", (80, 60), (90, 120, 60)).save(tmp_path / "here.png")
    made(tmp_path / "run", still("gone.png", square(5, 5)), still("here.png", square(5, 5)))
    page = Page(page_of(tmp_path / "run"))
    captions = {p["alt"] for p in page.named("img")}
    assert captions == {"here.png", "0.80 here.png"}


def test_an_empty_run_has_a_report(tmp_path):
    made(tmp_path / "run")
    assert "0items" in "".join(Page(page_of(tmp_path / "run")).text.split())


def test_drift_tells_what_became_of_every_instance(tmp_path):
    a, b = square(5, 5), square(40, 30)
    earlier = made(tmp_path / "one", still("1.png", a, b), still("2.png", a), still("3.png", a))
    now = made(
        tmp_path / "two",
        still("1.png", a, replace(b, class_id=1)),
        still("2.png", square(55, 5)),
        still("4.png", a),
    )
    got = drift.compare(now, earlier, 0.3)
    assert (got.frames, got.frames_before_only, got.frames_now_only) == (2, 1, 1)
    assert (got.same, got.renamed, got.gone, got.new) == (1, 1, 1, 1)
    assert got.most_changed == [("2.png", 2), ("1.png", 1)]
    assert [(c.name, c.before, c.now) for c in got.classes] == [("car", 3, 2), ("bus", 0, 1)]


def test_scores_that_moved_have_shifted(tmp_path):
    def run_of(name: str, score: float) -> Run:
        made_of = [still(f"{n}.png", replace(square(5, 5), score=score)) for n in range(50)]
        return made(tmp_path / name, *made_of)

    before = run_of("before", 0.8)
    same = drift.compare(run_of("same", 0.82), before, 0.3).classes[0]
    moved = drift.compare(run_of("moved", 0.55), before, 0.3).classes[0]
    assert same.stability < 0.1 and moved.stability > 0.25


def test_the_command(demo_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(demo_run, copy)
    assert _report([f"run={demo_run}", f"against={copy}", "tiles=2", "crops=2"]) == 0
    said = capsys.readouterr().out
    assert "report: " in said and f"annotate review run={demo_run}" in said
    text = (demo_run / "report.html").read_text()
    assert "Drift against copy" in text
    assert re.search(r"0 have another class, 0 are gone and 0 are new", " ".join(text.split()))
    with pytest.raises(ConfigError, match="tiles=-1"):
        _report([f"run={demo_run}", "tiles=-1"])
    with pytest.raises(StorageError, match="not found"):
        _report([f"run={tmp_path / 'none'}"])
