"""Evaluation agrees with the reference tools, reads truth in its dialects, and never flatters."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from annotate.data.decisions import Decision
from annotate.data.types import ClassList
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError
from annotate.evaluate import __main__ as command
from annotate.evaluate import evaluation
from annotate.evaluate.detection import Judged, compare, confusion, rates
from annotate.evaluate.evaluation import evaluate, table
from annotate.evaluate.thresholds import suggest
from annotate.evaluate.truth import Truth, mask_of, read_mapping, read_truth
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from tests import reference
from tests.evaluate.squares import CLASSES, H, W, clip, square, still


def made(tmp_path: Path, *frames) -> Run:
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    parquet.write_part(run.records_dir, "part-000000", frames)
    return run


def coco(path: Path, images: list[dict], annotations: list[dict], names=("car", "bus")) -> Path:
    categories = [{"id": n, "name": name} for n, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def image(number: int, name: str, **more) -> dict:
    return {"id": number, "file_name": name, "width": W, "height": H, **more}


def outlined(number: int, x: int, y: int, side: int = 20, category: int = 1, **more) -> dict:
    ring = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {"image_id": number, "category_id": category, "segmentation": [ring], **more}


def tangled(truth: Path, path: Path) -> Path:
    """A truth that no run can fully meet: tracks change hands, and every fifth object is gone."""
    content = json.loads(truth.read_text())
    frames = {image["id"]: image.get("frame_index", 0) for image in content["images"]}
    for annotation in content["annotations"]:
        if annotation.get("track_id") in (1, 2) and frames[annotation["image_id"]] % 8 >= 5:
            annotation["track_id"] = 3 - annotation["track_id"]
    content["annotations"] = [a for n, a in enumerate(content["annotations"]) if n % 5]
    path.write_text(json.dumps(content))
    return path


def test_figures_are_those_of_the_reference_tools_on_the_same_files(demo_run, demo, tmp_path):
    shutil.copytree(demo_run, tmp_path / "run")
    truth = tangled(demo / "truth.json", tmp_path / "truth.json")
    compared = list(reference.figures(tmp_path / "run", truth, 0.3))
    assert len(compared) == 19
    for name, ours, theirs in compared:
        assert ours == pytest.approx(theirs, abs=1e-4, nan_ok=True), name
    known = {name: ours for name, ours, _ in compared}
    assert all(0.2 < known[name] < 1 for name in ("mask AP", "HOTA", "DetA", "AssA", "IDF1"))
    assert known["id switches"] > 0


def test_a_run_agrees_with_itself(demo_run):
    run = Run.open(demo_run)
    result = evaluate(run, read_truth(demo_run, threshold=0.3), 0.3)
    assert result.frames == sum(r.status == "ok" for r in run.frames())
    assert result.rates.f_beta() == 1.0
    assert result.tracks is not None and result.tracks.hota == pytest.approx(1.0)
    matrix = np.array(result.confusion)
    assert matrix.sum() == np.trace(matrix) == result.rates.objects > 10


def test_the_command_says_it_all_and_writes_it_down(demo_run, demo, tmp_path, capsys):
    thresholds = tmp_path / "tuned.yaml"
    argv = [f"run={demo_run}", f"truth={demo / 'truth.json'}", f"suggest={thresholds}"]
    assert command._evaluate(argv) == 0
    said = capsys.readouterr().out
    assert "all classes" in said and "HOTA" in said and "not chosen on" in said
    written = json.loads((demo_run / "evaluation.json").read_text())
    assert 0.3 < written["average_precision"]["segm"]["ap"] < 1
    assert 0.5 < written["rates"]["f1"] <= 1
    assert written["confusion_names"][-1] == "none"
    recalls = [p["recall"] for p in written["curve"]]
    assert len(recalls) == 99 and recalls == sorted(recalls, reverse=True)
    for of_class in written["classes"].values():
        at = written["curve"].index(next(p for p in written["curve"] if p["threshold"] == 0.3))
        counted = of_class["found"][at], of_class["right"][at]
        assert counted == (of_class["rates"]["found"], of_class["rates"]["right"])
    assert "NaN" not in (demo_run / "evaluation.json").read_text()
    tuned = load_prompts(str(thresholds))
    assert tuned.names == Run.open(demo_run).classes.names
    assert {c.threshold for c in tuned.classes} != {None}


def test_rates_count_from_the_threshold_of_the_class(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5), square(50, 30)), still("b.png"))
    objects = [outlined(1, 5, 5), outlined(2, 5, 5)]
    truth = read_truth(
        coco(tmp_path / "t.json", [image(1, "a.png"), image(2, "b.png")], objects), threshold=0.3
    )
    judged = compare(run, truth).judged["car"]
    counted = rates(judged, 0.3)
    assert (counted.objects, counted.found, counted.right) == (2, 2, 1)
    assert (counted.precision, counted.recall, counted.f_beta()) == (0.5, 0.5, 0.5)
    assert rates(judged, 0.81).found == 0


def test_confusion_pairs_each_object_once_and_its_own_class_first(tmp_path):
    a = square(5, 5)
    run = made(
        tmp_path,
        still("a.png", a, square(5, 5, class_id=1), square(50, 30, class_id=1)),
        still("b.png", square(5, 5)),
    )
    objects = [outlined(1, 5, 5), outlined(1, 50, 30), outlined(2, 50, 30, category=2)]
    truth = read_truth(
        coco(tmp_path / "t.json", [image(1, "a.png"), image(2, "b.png")], objects), threshold=0.3
    )
    names, counts = confusion(run, truth, 0.3)
    assert names == ["car", "bus"]
    # a.png: the car is found (and a bus on it alone), another is taken for a bus; b.png: a bus is
    # missed, and a car seen where there is nothing.
    assert counts.tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_a_crowd_is_neither_missed_nor_wrongly_found(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5), square(40, 30)))
    objects = [outlined(1, 5, 5), outlined(1, 38, 28, side=24, iscrowd=1)]
    truth = read_truth(coco(tmp_path / "t.json", [image(1, "a.png")], objects), threshold=0.3)
    counted = rates(compare(run, truth).judged["car"], 0.3)
    assert (counted.objects, counted.found, counted.right) == (1, 1, 1)


def tracked(tmp_path, *annotations: dict) -> Truth:
    images = [image(t + 1, f"v.mp4#{t:06d}", frame_id=f"v.mp4#{t:06d}", video_id=1) for t in (0, 1)]
    return read_truth(coco(tmp_path / "t.json", images, list(annotations)), threshold=0.3)


def test_tracks_are_judged_by_the_classes_that_were_asked_for_and_not_by_crowds(tmp_path):
    shown = [square(5, 5, track=1), square(50, 5, track=2)]
    only_cars = ClassList(CLASSES.classes[:1])
    run = Run.start(tmp_path / "run", tmp_path, only_cars, {})
    parquet.write_part(run.records_dir, "part-000000", clip(shown, shown))
    both = (1, 2)
    cars = [outlined(t, 5, 5, track_id=1) for t in both]
    crowd = [outlined(t, 45, 2, side=30, track_id=8, iscrowd=1) for t in both]
    buses = [outlined(t, 5, 35, category=2, track_id=9) for t in both]
    scores, videos = evaluation.tracking_scores(run, tracked(tmp_path, *cars, *crowd, *buses), 0.3)
    assert videos == 1 and scores.hota == scores.idf1 == 1.0
    assert evaluation.tracking_scores(run, tracked(tmp_path, *buses), 0.3) is None
    untold = [outlined(t, 5, 5) for t in both]
    assert evaluation.tracking_scores(run, tracked(tmp_path, *untold), 0.3) is None
    with pytest.raises(ConfigError, match="truth has a track id twice"):
        evaluation.tracking_scores(run, tracked(tmp_path, *cars, *cars), 0.3)


def test_what_an_export_leaves_out_for_its_size_is_not_found(tmp_path):
    sized = ClassList((replace(CLASSES.classes[0], min_area=100),))
    run = Run.start(tmp_path / "run", tmp_path, sized, {})
    frame = still("a.png", square(5, 5), square(50, 30, 5))
    parquet.write_part(run.records_dir, "part-000000", [frame])
    path = coco(tmp_path / "t.json", [image(1, "a.png")], [outlined(1, 5, 5)])
    result = evaluate(run, read_truth(path, threshold=0.3), 0.3)
    assert (result.rates.found, result.rates.right) == (1, 1)
    assert result.confusion == [[1, 0], [0, 0]]


def test_all_of_a_crowded_picture_counts(tmp_path):
    corners = [(x, y) for x in range(0, 75, 5) for y in range(0, 55, 5)]
    assert len(corners) > 150
    run = made(tmp_path, still("a.png", *(square(x, y, 3) for x, y in corners)))
    objects = [outlined(1, x, y, side=3) for x, y in corners]
    truth = read_truth(coco(tmp_path / "t.json", [image(1, "a.png")], objects), threshold=0.3)
    result = evaluate(run, truth, 0.3)
    assert result.rates.right == result.confusion[0][0] == len(corners)


def test_a_crowd_is_no_wrong_find_in_the_confusion_either(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5), square(40, 30)))
    objects = [outlined(1, 5, 5), outlined(1, 38, 28, side=24, iscrowd=1)]
    truth = read_truth(coco(tmp_path / "t.json", [image(1, "a.png")], objects), threshold=0.3)
    assert confusion(run, truth, 0.3)[1].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_reviewed_run_is_truth_as_its_export_is(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5), square(50, 30)), still("b.png"))
    said = [
        Decision(frame_id="a.png", item="a.png", instance_id="50-30-0", deleted=True),
        Decision(frame_id="b.png", item="b.png", tags=("reject",)),
    ]
    reviews.write(run.reviews_dir, said)
    truth = read_truth(run.path, threshold=0.3)
    assert list(truth.images) == ["a.png"]
    assert len(truth.objects_of(truth.images["a.png"])) == 1


def test_truth_of_another_size_is_refused(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5)))
    turned = image(1, "a.png") | {"width": H, "height": W}
    truth = read_truth(coco(tmp_path / "t.json", [turned], [outlined(1, 5, 5)]), threshold=0.3)
    with pytest.raises(ConfigError, match=r"a\.png is 60x80 there and 80x60 in the run"):
        compare(run, truth)


def test_odd_truth_is_read_for_what_it_is(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5)), still("b.png"))
    bare = [
        {"id": 1, "file_name": "a.png", "frame_id": 0},
        {"id": 2, "file_name": "b.png", "frame_id": 0},
    ]
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20]}]
    found = compare(run, read_truth(coco(tmp_path / "t.json", bare, boxes), threshold=0.3))
    assert found.frames == 2 and found.overall["bbox"].ap == pytest.approx(1.0)
    flat = [
        outlined(1, 5, 5),
        {"image_id": 1, "category_id": 1, "segmentation": [[3, 4], [1, 2, 3, 4]]},
    ]
    path = coco(tmp_path / "t.json", [image(1, "a.png")], flat)
    assert rates(compare(run, read_truth(path, threshold=0.3)).judged["car"], 0.3).right == 1


def test_boxes_alone_are_enough(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5)))
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20]}]
    truth = read_truth(coco(tmp_path / "t.json", [image(1, "a.png")], boxes), threshold=0.3)
    result = evaluate(run, truth, 0.3)
    assert list(result.average_precision) == ["bbox"]
    assert result.average_precision["bbox"].ap == pytest.approx(1.0)
    assert result.confusion[0][0] == 1
    assert "mask" not in table(result)


def test_classes_are_translated_and_dropped(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5), square(50, 30, class_id=1)))
    objects = [
        outlined(1, 5, 5, category=1), outlined(1, 50, 30, category=2),
        outlined(1, 5, 35, category=3),
    ]  # fmt: skip
    path = coco(tmp_path / "t.json", [image(1, "a.png")], objects, ("auto", "coach", "tree"))
    with pytest.raises(ConfigError, match=r"none of the run's classes \(car, bus\), but auto"):
        compare(run, read_truth(path, threshold=0.3))
    (tmp_path / "m.yaml").write_text("auto: car\ncoach: bus\ntree: null\n")
    mapping = read_mapping(tmp_path / "m.yaml")
    truth = read_truth(path, threshold=0.3, mapping=mapping)
    assert evaluate(run, truth, 0.3).rates.f_beta() == 1.0
    both = read_truth(path, threshold=0.3, mapping={"auto": "car", "coach": "car", "tree": None})
    assert compare(run, both).judged["car"].objects == 2


def test_youtube_vis_is_read_frame_by_frame(tmp_path):
    frames = clip([square(5, 5, track=1)], [square(8, 5, track=1)], [])
    run = made(tmp_path, *(_renamed(f, "v") for f in frames))
    shape = {"size": [H, W], "counts": mask_runs(5, 5)}
    content = {
        "videos": [
            {"id": 7, "width": W, "height": H, "file_names": ["v/0.jpg", "v/1.jpg", "v/2.jpg"]}
        ],
        "annotations": [
            {"id": 3, "video_id": 7, "category_id": 1, "segmentations": [shape, shape, None]}
        ],
        "categories": [{"id": 1, "name": "car"}],
    }
    (tmp_path / "t.json").write_text(json.dumps(content))
    result = evaluate(run, read_truth(tmp_path / "t.json", threshold=0.3), 0.3)
    assert (result.frames, result.videos, result.rates.objects) == (3, 1, 2)
    assert result.tracks is not None and result.tracks.idf1 == 1.0
    assert result.tracks.j == pytest.approx((1 + 17 / 23) / 2)


def _renamed(record, item: str):
    return replace(record, item=item, frame_id=f"{item}#{record.frame_index:06d}")


def mask_runs(x: int, y: int, side: int = 20) -> list[int]:
    runs, gap = [x * H + y], H - side
    for column in range(side):
        runs += [side, gap if column < side - 1 else gap + (W - x - side) * H - y - gap + gap]
    runs[-1] = H * W - sum(runs[:-1])
    return runs


@pytest.mark.parametrize(
    "content, reason",
    [
        ("[]", "not a COCO instances json"),
        ('{"images": []}', "no 'annotations'"),
        ('{"images": [], "annotations": [{"image_id": 3}], "categories": []}', "no 'category_id'"),
        ("not json", "not a COCO instances json"),
    ],
)
def test_what_is_no_truth_is_named(tmp_path, content, reason):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ConfigError, match=reason):
        read_truth(tmp_path / "t.json", threshold=0.3)


def test_truth_of_other_frames_says_how_they_are_named(tmp_path):
    run = made(tmp_path, still("a.png", square(5, 5)))
    truth = read_truth(
        coco(tmp_path / "t.json", [image(1, "images/a.png")], [outlined(1, 5, 5)]), threshold=0.3
    )
    with pytest.raises(ConfigError, match=r"names such as 'images/a\.png'"):
        compare(run, truth)


def test_a_mapping_that_is_none_is_named(tmp_path):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(["car"]))
    with pytest.raises(ConfigError, match="expected lines such as"):
        read_mapping(tmp_path / "m.yaml")


def judged(scores, right, missed: int, items: int = 20) -> Judged:
    order = np.argsort(-np.asarray(scores), kind="stable")
    names = [f"{n % items}.png" for n in range(len(scores))]
    truth = dict.fromkeys(names, 0)
    for n, hit in enumerate(right):
        truth[names[n]] += int(hit)
    truth[names[0]] += missed
    return Judged(
        np.asarray(scores, float)[order],
        np.asarray(right, bool)[order],
        tuple(names[n] for n in order),
        truth,
    )


def test_the_threshold_parts_right_from_wrong():
    scores = [0.9, 0.8, 0.7, 0.6] * 10 + [0.4, 0.3] * 20
    of_class = judged(scores, [True] * 40 + [False] * 40, missed=0)
    got = suggest({"car": of_class}, {"car": 0.2}, beta=1.0, folds=5).classes["car"]
    assert got.threshold == pytest.approx(0.5)
    assert got.before == pytest.approx(2 * 40 / (40 + 80))
    assert got.after == pytest.approx(1.0)


def test_recall_can_weigh_more():
    scores = np.linspace(0.99, 0.01, 200)
    right = np.random.default_rng(0).random(200) < scores
    of_class = judged(scores, right, missed=0)
    strict, lenient = (
        suggest({"car": of_class}, {"car": 0.99}, beta=b, folds=5).classes["car"].threshold
        for b in (0.5, 2.0)
    )
    assert lenient < strict - 0.1


def test_noise_gains_nothing_where_it_was_not_chosen():
    rng = np.random.default_rng(3)
    of_class = judged(rng.random(40), rng.random(40) < 0.5, missed=10)
    got = suggest({"car": of_class}, {"car": 0.0}, beta=1.0, folds=5).classes["car"]
    tuned_on_itself = rates(of_class, got.threshold).f_beta()
    assert got.after < tuned_on_itself


def test_few_objects_and_a_good_threshold_are_left_alone():
    few = judged([0.9] * 5, [True] * 5, missed=0)
    fine = judged([0.9] * 20 + [0.1] * 5, [True] * 20 + [False] * 5, missed=0)
    got = suggest({"few": few, "fine": fine}, {"few": 0.3, "fine": 0.3}, beta=1.0, folds=5)
    assert list(got.classes) == ["fine"]
    assert got.classes["fine"].threshold == 0.3


def test_truth_masks_decode(tmp_path):
    path = coco(tmp_path / "t.json", [image(1, "a.png")], [outlined(1, 5, 5)])
    truth = read_truth(path, threshold=0.3)
    (only,) = truth.objects_of(truth.images["a.png"])
    assert mask_of(only).decode().sum() == only["area"] == 400
