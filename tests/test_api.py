"""The package from Python: what a notebook or a pipeline asks of it."""

import io
import json
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

import annotate
from annotate import ClassList, ClassSpec
from annotate.data.types import Item
from annotate.decode.video import open_video
from annotate.report.annotated import NOTEBOOK_WH, Annotated
from annotate.report.video_writer import VideoWriter

PROMPTS = {
    "red circle": None,
    "ring": ["green ring", "pink ring"],
    "oval": {"phrases": ["cyan oval"]},
}
PROMPTS["oval"] |= {"threshold": 0.8, "max_area": 20_000}
STILLS = ("still_09.png", "still_12.png", "still_13.png")


@pytest.fixture(scope="module")
def annotator() -> annotate.Annotator:
    return annotate.Annotator(prompts=PROMPTS, models="tiny", threshold=0.5)


@pytest.fixture(scope="module")
def data(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stills, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("api") / "data"
    folder.mkdir()
    for name in STILLS:
        shutil.copy(demo / "stills" / name, folder)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> annotate.Run:
    return annotate.run(
        dataset=data, prompts=PROMPTS, models="tiny", out=str(data.parent / "run"), threshold=0.5,
        export=["coco"], contact_sheet=False, gates__min_annotated_share=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clip(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames of a clip of the demo."""
    path = tmp_path_factory.mktemp("api") / "clip.mp4"
    video = open_video(Item("clip.mp4", demo / "clips" / "clip_00.mp4", "video"))
    with VideoWriter(path, size_wh=video.size_wh, fps=25, crf=12) as writer:
        for frame in video.frames_at(range(16)):
            writer.add(frame.image, frame.time_s)
    return path


def pictures(clip: Path) -> list[np.ndarray]:
    return [f.image for f in open_video(Item("clip.mp4", clip, "video")).frames()]


def test_what_image_returns_is_what_an_export_holds(annotator, run, data):
    coco = json.loads((run.path / "exports/coco/annotations/instances_default.json").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    below = 0
    for image in coco["images"]:
        record = annotator.image(data / Path(image["file_name"]).name)
        held = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        assert sorted((i.class_name, i.area) for i in record.instances) == sorted(
            (names[a["category_id"]], a["area"]) for a in held
        )
        stored = next(r for r in run.frames() if r.frame_id == record.frame_id)
        assert [i.mask for i in record.as_stored().instances] == [i.mask for i in stored.instances]
        below += len(record.recorded) - len(record.instances)
    assert below > 0 and coco["annotations"], "the threshold divides them"


def test_the_threshold_is_that_of_the_config_where_none_is_given():
    made = annotate.Annotator(prompts=ClassList((ClassSpec("cat", ("cat",)),)), models="tiny")
    assert made.threshold == 0.3
    assert repr(made) == "Annotator(ClassList(cat), threshold 0.3)"


def test_gates_are_seen_when_it_has_run_and_later(run):
    for opened in (run, annotate.open_run(run.path), annotate.Run.open(str(run.path))):
        assert not opened.passed
        summary = opened.summary
        assert (summary.status, summary.exit_code) == ("gate_failed", 3)
        assert [(g.name, g.passed) for g in summary.gates] == [
            ("gates.max_failed", False), ("gates.min_annotated_share", True),
        ]  # fmt: skip
        (export,) = summary.exports
        assert export.format == "coco" and export.instances == sum(export.per_class.values()) > 0
        assert (summary.counts.ok, summary.counts.failed) == (3, 1)


def test_a_run_without_its_end_has_not_passed(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    opened = annotate.open_run(tmp_path / "run")
    assert not opened.passed
    with pytest.raises(annotate.StorageError, match=r"summary\.json: not there; the run has not"):
        _ = opened.summary
    (tmp_path / "run" / "summary.json").write_text('{"status": "done", "exit_code": "x"}')
    with pytest.raises(annotate.StorageError, match="damaged; exit_code: "):
        _ = opened.passed


def test_a_class_list_of_a_run_may_be_given_again(run, data):
    again = annotate.run(
        dataset=data, prompts=run.classes, models="tiny", out=str(run.path), threshold=0.5,
        export=["coco"], contact_sheet=False, gates__max_failed=1,
    )  # fmt: skip
    assert again.classes == run.classes and again.passed
    assert again.summary.items == {"found": 4, "new": 0, "before": 4, "frames": 0}


def test_instances_know_their_class(run):
    records = [record for record in run.frames() if record.status == "ok"]
    assert len({id(i.class_names) for r in records for i in r.instances}) == 1, "one for all"
    for record in [*records, *pickle.loads(pickle.dumps(records))]:
        for i in record.instances:
            assert i.class_name == run.classes.names[i.class_id]
    assert {i.class_name for r in run.some_frames([records[0].frame_id]) for i in r.instances}


BAD_ARRAYS = {
    "np.stack([image] * 3, axis=-1)": np.zeros((8, 9), np.uint8),
    "np.repeat(image, 3, axis=2)": np.zeros((8, 9, 1), np.uint8),
    "image[..., :3], of OpenCV's BGRA image[..., 2::-1]": np.zeros((8, 9, 4), np.uint8),
    "image.transpose(1, 2, 0)": np.zeros((3, 8, 9), np.uint8),
    "(image * 255).round().astype(np.uint8)": np.ones((8, 9, 3)),
    "image.round().clip(0, 255).astype(np.uint8)": np.full((8, 9, 3), 200.0),
    "(image >> 8).astype(np.uint8)": np.full((8, 9, 3), 999, np.uint16),
    "image.astype(np.uint8) * 255": np.zeros((8, 9, 3), bool),
    "give them one by one": np.zeros((2, 8, 9, 3), np.uint8),
    "it is empty": np.zeros((0, 9, 3), np.uint8),
    "OpenCV returns it": None,
    "int is no picture": 3,
    "more than 8 bits": PilImage.new("I;16", (9, 8)),
}


@pytest.mark.parametrize("says", BAD_ARRAYS)
def test_an_array_that_is_no_picture_is_told_how_to_become_one(annotator, says):
    with pytest.raises(annotate.PixelsError, match=rf"image: .*{re.escape(says)}") as refused:
        annotator.image(BAD_ARRAYS[says])
    assert isinstance(refused.value, (annotate.MediaError, TypeError))


def test_errors_name_the_file(annotator, data, clip):
    said = {
        "missing.jpg": "missing.jpg: file not found",
        data / "broken.jpg": f"{data}/broken.jpg: cannot decode",
        data: f"{data}: a folder; annotate.run",
        clip: f"{clip}: a video; annotator.video takes it",
        "s3://bucket/x.jpg": "s3://bucket/x.jpg: a url; annotate.run",
    }
    for given, message in said.items():
        with pytest.raises(annotate.MediaError, match=re.escape(message)):
            annotator.image(given)
    said = {
        "missing.mp4": "missing.mp4: file not found",
        data / "broken.jpg": f"{data}/broken.jpg: a picture; annotator.image takes it",
        data.parent: f"{data.parent}: the folder has no numbered images",
    }
    for given, message in said.items():
        with pytest.raises(annotate.MediaError, match=re.escape(message)):
            annotator.video(given)
    with pytest.raises(annotate.ConfigError, match="stride=0: expected 1 or more"):
        annotator.video(clip, stride=0)


def test_a_picture_of_pillow_is_made_upright(annotator, data):
    upright = PilImage.open(data / STILLS[1])
    turned = upright.transpose(PilImage.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be shown a quarter turn clockwise
    record, same = annotator.image(turned), annotator.image(np.asarray(upright))
    assert record.instances and [i.mask for i in record.instances] == [
        i.mask for i in same.instances
    ]


def test_what_is_printed_is_short(annotator, run, data):
    record = annotator.image(data / STILLS[1])
    counts = Counter(i.class_name for i in record.instances)
    found = ", ".join(f"{n} {name}" for name, n in counts.items())
    assert repr(record) == f"Annotated('{STILLS[1]}', {record.width}x{record.height}, {found})"
    (first, *_) = record.instances
    assert repr(first) == f"Instance({first.class_name} {first.score:.2f}, {first.area:,} px)"
    assert re.fullmatch(r"Rle\(\d+x\d+, [\d,]+ bytes\)", repr(first.mask))
    assert repr(run) == f"Run('{run.path}', ClassList(red circle, ring, oval))"
    failed, whole, *_ = run.frames()
    assert repr(failed).startswith("FrameRecord('broken.jpg', failed: cannot decode")
    assert repr(whole).startswith("FrameRecord('still_09.png', ")
    many = ClassList(tuple(ClassSpec(f"c{n}", (f"c{n}",)) for n in range(80)))
    assert repr(many) == "ClassList(c0, c1, c2, c3, c4, c5 and 74 more)"


def test_a_notebook_shows_the_picture(annotator, data):
    record = annotator.image(data / STILLS[1])
    again = pickle.loads(pickle.dumps(record))
    assert again == record and (again.image == np.asarray(PilImage.open(data / STILLS[1]))).all()
    drawn = np.asarray(PilImage.open(io.BytesIO(again._repr_png_())))
    assert (drawn == record.draw()).all()
    on_it = np.any([i.mask.decode() for i in record.instances], axis=0)
    changed = (drawn != record.image).any(axis=2)
    assert changed[on_it].mean() > 0.95 and not changed.all()
    large = np.asarray(PilImage.open(data / STILLS[1]).resize((2048, 1024)))
    shown = PilImage.open(io.BytesIO(annotator.image(large)._repr_png_()))
    assert shown.size == (NOTEBOOK_WH[0], NOTEBOOK_WH[0] // 2)


def test_a_notebook_has_the_text_where_the_file_is_gone(annotator, data, tmp_path):
    shutil.copy(data / STILLS[1], tmp_path / "gone.png")
    record = annotator.image(tmp_path / "gone.png")
    (tmp_path / "gone.png").unlink()
    assert record._repr_png_() is None and "gone.png" in repr(record)
    with pytest.raises(annotate.MediaError, match=r"gone\.png: file not found"):
        record.draw()


def test_supervision_takes_the_records(annotator, data, clip, run):
    record = annotator.image(data / STILLS[1])
    found = record.to_supervision()
    assert found.data["class_name"].tolist() == [i.class_name for i in record.instances]
    assert (found.mask == np.stack([i.mask.decode() for i in record.instances])).all()
    assert (found.xyxy == np.array([i.box_xyxy for i in record.instances], np.float32)).all()
    assert found.tracker_id is None and len(found[found.confidence > 0.5]) == len(found) > 0
    tracked = annotator.video(clip, stride=4)[0]
    ids = tracked.to_supervision().tracker_id.tolist()
    assert ids and ids == [i.track_id for i in tracked.instances]
    nothing = annotator.image(np.zeros((40, 50, 3), np.uint8)).to_supervision()
    assert len(nothing) == 0 and nothing.is_empty() and nothing.mask.shape == (0, 40, 50)
    failed = next(run.frames())
    with pytest.raises(annotate.MediaError, match=r"broken\.jpg: has no detections, it failed"):
        failed.to_supervision()


def test_a_stream_has_the_tracks_of_the_video_as_frames_come(annotator, clip):
    images, read = pictures(clip), []

    def camera():
        shared = np.empty_like(images[0])  # which a camera writes into again and again
        for image in images:
            shared[:] = image
            read.append(len(read))
            yield shared

    late, streamed = [], []
    for record in annotator.stream(camera(), fps=25, name="yard"):
        late.append(len(read) - 1 - record.frame_index)
        streamed.append(record)
    assert max(late) == 2
    assert [r.frame_id for r in streamed[:2]] == ["yard#000000", "yard#000001"]
    assert streamed[5].time_s == 5 / 25
    assert all((r.image == image).all() for r, image in zip(streamed, images, strict=True))
    whole = annotator.video(clip)
    assert all(r.instances for r in whole)
    for one, other in zip(streamed, whole, strict=True):
        assert [(i.track_id, i.mask) for i in one.instances] == [
            (i.track_id, i.mask) for i in other.instances
        ]
        assert [i.class_name for i in one.instances] == [i.class_name for i in other.instances]


def test_a_stream_that_fails_hands_out_what_came_before(annotator, clip):
    def camera():
        yield from pictures(clip)[:5]
        raise ConnectionError("cable pulled")

    records = annotator.stream(camera())
    assert [next(records).frame_index for _ in range(5)] == list(range(5))
    with pytest.raises(ConnectionError, match="cable pulled"):
        next(records)
    mixed = annotator.stream([*pictures(clip)[:2], np.zeros((9, 9, 3), np.uint8)])
    assert [next(mixed).frame_index for _ in range(2)] == [0, 1]
    with pytest.raises(annotate.PixelsError, match="stream#000002: is 9x9, the first frame is "):
        next(mixed)


def test_what_is_no_stream_is_said_at_once(annotator):
    with pytest.raises(annotate.PixelsError, match=r"clip\.mp4: a path; annotator\.video takes it"):
        annotator.stream("clip.mp4")
    with pytest.raises(
        annotate.PixelsError, match="int cannot be iterated over: write a generator"
    ):
        annotator.stream(0)
    with pytest.raises(annotate.ConfigError, match="fps=0: expected more than 0"):
        annotator.stream([], fps=0)


def test_a_clip_that_breaks_off_says_so_and_keeps_what_was_there(annotator, clip, tmp_path):
    broken = tmp_path / "cut.mp4"
    broken.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    with pytest.raises(annotate.BrokenVideoError) as said:
        annotator.video(broken)
    kept = said.value.records
    assert 3 < len(kept) < 16 and any(r.instances for r in kept)
    assert all(isinstance(r, Annotated) for r in kept)
    assert re.match(
        rf"{broken}: .* frame {len(kept) - 1}.*; the {len(kept)} frames", str(said.value)
    )
    again = pickle.loads(pickle.dumps(said.value))
    assert str(again) == str(said.value) and again.records == kept


def test_a_frame_of_a_clip_is_read_again_to_be_shown(annotator, clip):
    record = annotator.video(clip, stride=5)[2]
    assert record.frame_index == 10 and (record.image == pictures(clip)[10]).all()
    assert record._repr_png_().startswith(b"\x89PNG")


def test_the_public_names_are_those_that_are_listed():
    assert dir(annotate) == sorted(annotate.__all__)
    assert all(getattr(annotate, name) is not None for name in dir(annotate))
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", annotate.__version__)
    assert issubclass(annotate.PromptError, annotate.AnnotateError)
    with pytest.raises(AttributeError, match="has no attribute 'anotator'"):
        _ = annotate.anotator


def test_importing_the_package_is_cheap():
    code = (
        "import sys, annotate; annotate.AnnotateError, annotate.__version__, dir(annotate);"
        "print({'torch', 'numpy', 'cv2', 'supervision', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
