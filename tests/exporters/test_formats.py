"""What every format promises, on the run that is hardest to write, and read back by our readers."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from annotate.data.types import Frame, Instance, Item
from annotate.discover import labels
from annotate.discover.coco_file import Document, document_of
from annotate.ground.boxes import Boxes
from annotate.record import parquet
from annotate.record.run_folder import Run
from exporters.base import ExportSummary
from exporters.by_track import NO_TRACK, OTHER_CLASS, TWICE
from exporters.other_readers import READERS
from tests.exporters.awkward import FRAMES_IN_ALL, awkward_run
from tests.exporters.clips import make_clips_run, scenes
from tests.exporters.runs import (
    FORMATS,
    export_one,
    exporter,
    files_below,
    pictures_of,
    settings,
)
from tests.exporters.shapes import SHAPES


@dataclass(frozen=True)
class Holds:
    """What of an instance a format has a place for."""

    mask: float = 1.0  # least IoU of a mask that comes back, 0: boxes alone
    overlap: bool = True  # a pixel may be of several objects
    score: bool = True
    track: bool = True
    stills: bool = True
    box: bool = True  # as exact as the mask's


HOLDS = {
    "coco": Holds(0.97),
    "coco_panoptic": Holds(overlap=False),
    "cvat": Holds(0.86),
    "davis": Holds(overlap=False, score=False, stills=False),
    "huggingface": Holds(),
    "kitti": Holds(0, track=False),
    "label_studio": Holds(),
    "labelme": Holds(0.94),
    "lvis": Holds(0.97),
    "mot": Holds(0, score=False, stills=False),
    "mots": Holds(overlap=False, score=False, stills=False),
    "voc": Holds(overlap=False),
    "webdataset": Holds(),
    "yolo": Holds(0, score=False, track=False),
    "yolo_obb": Holds(0, score=False, track=False, box=False),
    "yolo_seg": Holds(0.5, score=False, track=False),
    "ytvis": Holds(stills=False),
}


# Readers that do not go together with what this package needs; see `make interop`.
OWN_ENVIRONMENT = {"datumaro", "datasets", "label-studio-sdk", "labelme", "lvis", "webdataset"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return awkward_run(tmp_path_factory.mktemp("awkward"))


@pytest.fixture(scope="module")
def exported(run: Run) -> dict[str, ExportSummary]:
    logging.getLogger("exporters").setLevel(logging.ERROR)
    return {name: export_one(run, name) for name in FORMATS}


def read_back(folder: Path, name: str) -> Document:
    kind = {"lvis": "coco", "ytvis": "coco", "yolo_obb": "yolo", "yolo_seg": "yolo"}.get(name, name)
    assert labels.detect(folder) == kind
    contents = labels.read(folder, kind, key="truth")
    assert not contents.left_out
    return document_of(contents.content, what=name)


def by_frame(document: Document) -> dict[str, list[Mapping[str, Any]]]:
    frames: dict[str, list[Mapping[str, Any]]] = {i["frame_id"]: [] for i in document.images}
    ids = {i["id"]: i["frame_id"] for i in document.images}
    for annotation in document.annotations:
        frames[ids[annotation["image_id"]]].append(annotation)
    return frames


def iou(annotation: Mapping[str, Any], instance: Instance) -> float:
    found: np.ndarray = coco_mask.iou([annotation["segmentation"]], [instance.mask.coco], [False])
    return float(found[0, 0])


def test_every_format_is_judged() -> None:
    assert set(HOLDS) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_back(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    holds, summary = HOLDS[name], exported[name]
    document = read_back(Path(summary.path), name)
    frames = by_frame(document)
    rows = {r.frame_id: r for r in run.frames() if holds.stills or r.media == "video"}
    assert frames.keys() == rows.keys()
    assert summary.images == len(rows)
    assert summary.left_out == ({} if holds.stills else {"still": len([*run.frames()]) - len(rows)})
    names = document.categories
    hidden = summary.not_held.get("instance behind others, no pixel of it left", 0)
    assert summary.instances == sum(len(r.instances) for r in rows.values())
    masks_lost = 0
    for frame_id, row in rows.items():
        assert len(frames[frame_id]) <= len(row.instances)
        left = list(row.instances)
        for annotation in frames[frame_id]:
            # In the order of the records, of which those behind others may be missing.
            while run.classes.names[left[0].class_id] != names[annotation["category_id"]] or (
                not holds.overlap and _hidden(annotation, left[0])
            ):
                left.pop(0)
                masks_lost += 1
            instance = left.pop(0)
            if holds.box and holds.overlap:
                x, y, w, h = annotation["bbox"]
                slack = 1.0 if 0 < holds.mask < 1 else 0.02
                box = np.array([x, y, x + w, y + h])
                assert np.abs(box - instance.box_xyxy).max() <= slack, (frame_id, instance)
            if holds.mask and holds.overlap and "segmentation" in annotation:
                assert iou(annotation, instance) >= holds.mask, (frame_id, instance)
            if holds.score:
                assert annotation["score"] == pytest.approx(instance.score, abs=1e-4)
            if holds.track:
                assert bool(annotation.get("track_id")) == bool(instance.track_id)
        masks_lost += len(left)
    assert masks_lost == hidden


def _hidden(annotation: Mapping[str, Any], instance: Instance) -> bool:
    """Whether what is left of a mask cannot be of this one: it is not inside of it."""
    if "segmentation" not in annotation:
        return False
    both = coco_mask.merge([annotation["segmentation"], instance.mask.coco], intersect=True)
    return int(coco_mask.area(both)) < annotation["area"]


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_that_are_there_already_are_found_in_it(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    """As `ground=boxes ground.file=EXPORT` takes them, class by class."""
    folder = str(exported[name].path)
    boxes = Boxes(file=folder, format="auto", images=None, field=None, below=None, masks=True)
    boxes.check()
    boxes.load(run.classes)
    found, expected = Counter[str](), Counter[str]()
    for row in run.frames():
        if row.media == "image" and not HOLDS[name].stills:
            continue
        item = Item(row.item, run.root / row.item, row.media)
        frame = Frame(item, np.zeros((row.height, row.width, 3), np.uint8), row.frame_index)
        (candidates,) = boxes.find_in([frame], 0.0)
        found.update(run.classes.names[i] for i in candidates.class_ids)
        expected.update(i.class_name for i in row.instances)
    hidden = exported[name].not_held.get("instance behind others, no pixel of it left", 0)
    assert (expected - found).total() == hidden and not found - expected


@pytest.mark.parametrize("name", [n for n, h in HOLDS.items() if h.track])
def test_tracks_are_told_apart_as_they_were(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    """Every track of a video is one track again, in the frames in which it is."""
    frames = by_frame(read_back(Path(exported[name].path), name))
    expected: dict[tuple[str, int], set[int]] = {}
    found: dict[tuple[str, int], set[int]] = {}
    for row in run.frames():
        for instance in row.instances if row.media == "video" else ():
            expected.setdefault((row.item, instance.track_id), set()).add(row.frame_index)
        for annotation in frames[row.frame_id] if row.media == "video" else ():
            found.setdefault((row.item, annotation["track_id"]), set()).add(row.frame_index)
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, expected.values()))


@pytest.mark.parametrize("name", FORMATS)
def test_a_rerun_writes_the_same_bytes(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    before = files_below(Path(exported[name].path))
    export_one(run, name)
    assert files_below(Path(exported[name].path)) == before
    beside = [p.name for p in Path(exported[name].path).parent.glob(f"{name}-kept-*")]
    assert beside == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_split_divides_and_nothing_is_twice(run: Run, tmp_path: Path, name: str) -> None:
    split = {"train": 0.5, "val": 0.5}
    summary = export_one(run, name, split=split, split_seed=2)
    frames = by_frame(read_back(Path(summary.path), name))
    assert summary.per_split.keys() == split.keys() and min(summary.per_split.values()) > 0
    assert len(frames) == sum(summary.per_split.values()) == summary.images
    export_one(run, name)


@pytest.mark.parametrize("name", FORMATS)
def test_each_picture_is_there_and_said_to_be_a_frame(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    folder = Path(exported[name].path)
    rows = pictures_of(folder)
    assert len(rows) == exported[name].images
    assert len({picture.lower() for picture in rows}) == len(rows)
    assert set(rows.values()) <= {r.frame_id for r in run.frames()}
    files = files_below(folder)
    if name != "webdataset":
        for row in rows:
            assert any(path.endswith(row) for path in files), row


@pytest.mark.parametrize("name", FORMATS)
def test_a_card_says_what_it_is(exported: dict[str, ExportSummary], name: str) -> None:
    text = (Path(exported[name].path) / "README.md").read_text(encoding="utf-8")
    assert f"{exported[name].instances:,} instances" in text
    for what in ("## Load it", "## Labels", "## How they were made", "## Review", "## Licences"):
        assert what in text
    for reason in exported[name].not_held:
        assert reason in text


@pytest.mark.parametrize("name", FORMATS)
def test_labels_alone_are_written_where_no_pictures_are_wanted(
    run: Run, name: str, tmp_path: Path
) -> None:
    summary = export_one(run, name, media="none")
    assert summary.instances > 0
    pictures = [p for p in Path(summary.path).rglob("*") if p.suffix.lower() in (".jpg", ".bmp")]
    assert pictures == []
    export_one(run, name)


def test_numbers_of_frames_have_no_gaps(run: Run) -> None:
    """Whatever is left out between: readers count files."""
    for name, pattern in (
        ("mot", "train/clips_b_mp4/img1"),
        ("davis", "JPEGImages/480p/clips_b_mp4"),
    ):
        folder = Path(export_one(run, name, frames_stride=5).path) / pattern
        numbers = sorted(int(p.stem) for p in folder.iterdir())
        first = 1 if name == "mot" else 0
        assert numbers == list(range(first, first + len(numbers))) and len(numbers) == 3
        export_one(run, name)


def test_all_shapes_are_in_the_run(run: Run) -> None:
    assert sum(r.item.startswith("shapes/") for r in run.frames()) == len(SHAPES)
    assert sum(r.media == "video" for r in run.frames()) == FRAMES_IN_ALL
    assert settings().media == "link"


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_that_nobody_here_wrote_finds_every_object(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    found = exporter(name).check(run, name, threshold=0.3, only="all")
    if found.missing_reader:  # then tests/interop has it, in an environment of its own
        assert READERS[name].package in OWN_ENVIRONMENT
        return
    assert found.passed, str(found)
    assert found.pictures == found.of_pictures == exported[name].images
    hidden = exported[name].not_held.get("instance behind others, no pixel of it left", 0)
    assert found.instances == exported[name].instances - hidden
    assert f"{found.instances} of {found.of_instances} instances" in str(found)


def test_an_export_that_lost_something_fails_its_check(run: Run) -> None:
    folder = Path(export_one(run, "voc").path)
    xml = folder / "Annotations/overlap_100.xml"
    text = xml.read_text(encoding="utf-8")
    xml.write_text(text.replace("<name>cat</name>", "<name>Cat</name>"), encoding="utf-8")
    found = exporter("voc").check(run, "voc", threshold=0.3, only="all")
    assert not found.passed and found.instances < found.of_instances and found.more > 0
    export_one(run, "voc")


def test_tracks_that_are_mixed_up_fail_the_check(run: Run) -> None:
    folder = Path(export_one(run, "mot").path)
    gt = folder / "train/clips_b_mp4/gt/gt.txt"
    first, *rest = gt.read_text().splitlines()
    frame, _, *more = first.split(",")
    gt.write_text("\n".join([",".join([frame, "77", *more]), *rest]))
    found = exporter("mot").check(run, "mot", threshold=0.3, only="all")
    assert not found.passed and found.tracks == found.of_tracks - 1
    export_one(run, "mot")


@pytest.mark.parametrize("name", [n for n, h in HOLDS.items() if not h.stills or n == "cvat"])
def test_ids_that_people_gave_twice_and_classes_that_change_are_counted(
    tmp_path: Path, name: str
) -> None:
    """Two objects of one id in a frame, and a track that is something else in one."""
    run = make_clips_run(tmp_path, {"clips/a.mp4": scenes(1)})
    rows = list(run.frames())
    at = next(n for n, r in enumerate(rows) if len(r.instances) > 1)
    first, second, *rest = rows[at].instances
    twice = (first, replace(second, track_id=first.track_id, score=0.4), *rest)
    rows[at] = replace(rows[at], instances=twice)
    drawn = replace(first, track_id=0, instance_id="drawn")
    rows[at + 2] = replace(rows[at + 2], instances=(*rows[at + 2].instances, drawn))
    of_other = replace(rows[at + 1].instances[0], class_id=1 - rows[at + 1].instances[0].class_id)
    rows[at + 1] = replace(rows[at + 1], instances=(of_other, *rows[at + 1].instances[1:]))
    shutil.rmtree(run.records_dir)
    parquet.write_part(run.records_dir, "part-0", rows)
    summary = export_one(run, name)
    assert summary.not_held[TWICE] == summary.not_held[NO_TRACK] == 1
    lossless = name in ("mot", "mots")
    assert summary.not_held.get(OTHER_CLASS, 0) == (0 if lossless else 1)
    found = exporter(name).check(run, name, threshold=0.3, only="all")
    if lossless:
        assert found.passed, str(found)
    frames = by_frame(read_back(Path(summary.path), name))
    assert len(frames[rows[at].frame_id]) == len(twice) - 1
