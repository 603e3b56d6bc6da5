"""COCO files as their readers see them: pycocotools and torchvision's rule."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
import supervision
from PIL import Image as PilImage
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotate.record.run_folder import Run
from annotate.synthetic.canvas import Scene
from exporters.coco import Coco
from tests.exporters.clips import FRAMES, H, W, make_clips_run, off_by, read
from tests.exporters.runs import COCO as COCO_FILE
from tests.exporters.runs import export_one, read_coco, refusals
from tests.exporters.shapes import SHAPES
from tests.exporters.shapes import H as H_STILL
from tests.exporters.shapes import W as W_STILL


def self_evaluated(path: Path, kind: str) -> tuple[float, int]:
    """AP of a COCO file against itself, and how many objects took part."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        found = COCO(str(path))
        for annotation in found.anns.values():
            annotation["segmentation"] = found.annToRLE(annotation)
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), len(truth.anns)


def test_records_survive_coco_exactly(shapes_run: Run) -> None:
    summary = export_one(shapes_run, "coco", masks="rle")
    read = read_coco(summary.path / COCO_FILE)
    assert read == {r.frame_id: list(r.instances) for r in shapes_run.frames()}
    assert read["empty.jpg"] == []
    assert (summary.images, summary.instances) == (len(SHAPES) + 1, 2 * len(SHAPES))
    assert summary.per_class == {"Fußgänger": len(SHAPES), "red car": len(SHAPES)}


@pytest.mark.parametrize("masks", ["polygons", "rle"])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_coco_scores_itself_perfectly(shapes_run: Run, masks: str, kind: str) -> None:
    summary = export_one(shapes_run, "coco", masks=masks)
    assert self_evaluated(summary.path / COCO_FILE, kind) == (1.0, summary.instances)


def test_polygons_keep_every_mask(shapes_run: Run) -> None:
    summary = export_one(shapes_run, "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(summary.path / COCO_FILE))
    masks = {i.instance_id: i.mask.decode() for r in shapes_run.frames() for i in r.instances}
    for annotation in coco.anns.values():
        mask, painted = masks[annotation["attributes"]["instance"]], coco.annToMask(annotation) > 0
        assert annotation["iscrowd"] == 0
        assert annotation["area"] == mask.sum()
        assert (mask & painted).sum() / (mask | painted).sum() >= 0.97


def test_supervision_opens_it_with_defaults_wherever_it_goes(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco").path
    moved = folder.rename(folder.with_name("moved"))
    shutil.rmtree(shapes_run.root)  # links are no more than other names of the same files
    opened = supervision.DetectionDataset.from_coco(
        str(moved / "images"), str(moved / COCO_FILE), force_masks=True
    )
    assert len(opened) == len(SHAPES) + 1
    expected = {r.item: [i.mask.decode() for i in r.instances] for r in shapes_run.frames()}
    for path, image, found in opened:
        assert image.shape[:2] == (H_STILL, W_STILL)
        masks = expected[Path(path).name]
        assert len(found) == len(masks)
        if masks:  # the square, of which it paints the outline as well; much of thinner ones
            painted, mask = found.mask[1], masks[1]
            assert (painted & mask).sum() / (painted | mask).sum() >= 0.9


@pytest.mark.usefixtures("database")
def test_fiftyone_opens_it_with_defaults(shapes_run: Run) -> None:
    import fiftyone as fo

    folder = export_one(shapes_run, "coco").path
    for kinds in ({}, {"label_types": "detections"}, {"label_types": "segmentations"}):
        dataset = fo.Dataset.from_dir(
            dataset_type=fo.types.COCODetectionDataset,
            data_path=str(folder / "images"),
            labels_path=str(folder / COCO_FILE),
            progress=False,
            **kinds,
        )
        assert len(dataset) == len(SHAPES) + 1
        fields = dataset.get_field_schema(embedded_doc_type=fo.Detections)
        assert fields
        for field in fields:
            assert dataset.count(f"{field}.detections") == 2 * len(SHAPES)
        dataset.delete()


def test_coco_says_what_trainers_expect(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco").path
    text = (folder / COCO_FILE).read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["categories"] == [
        {"id": 1, "name": "Fußgänger", "supercategory": ""},
        {"id": 2, "name": "red car", "supercategory": ""},
    ]
    assert text.isascii()  # whatever encoding a reader takes it for
    names = [i["file_name"] for i in document["images"]]
    assert names == sorted(names)
    assert [i["id"] for i in document["images"]] == list(range(1, len(names) + 1))
    assert [a["id"] for a in document["annotations"]] == list(range(1, 2 * len(SHAPES) + 1))
    for image in document["images"]:
        staged = folder / "images" / image["file_name"]
        assert staged.samefile(shapes_run.root / image["source"]) and not staged.is_symlink()
        with PilImage.open(staged) as opened:
            assert opened.size == (image["width"], image["height"])


def test_coco_holds_videos_frames_and_tracks(clips_run: Run, clips: dict[str, list[Scene]]) -> None:
    summary = export_one(clips_run, "coco", masks="rle")
    document = read(summary.path / COCO_FILE)
    assert document["videos"] == [
        {"id": 1, "name": "clips/a.mp4", "width": W, "height": H},
        {"id": 2, "name": "clips/b c.mp4", "width": W, "height": H},
    ]
    assert (summary.images, summary.left_out) == (2 * FRAMES + 1, {})
    images = {i["id"]: i for i in document["images"]}
    names = {v["id"]: v["name"] for v in document["videos"]}
    still = next(i for i in images.values() if i["source"] == "clips/still.jpg")
    assert not {"video_id", "frame_index"} & still.keys()
    for image in images.values():
        if image is still:
            continue
        item, index = names[image["video_id"]], image["frame_index"]
        assert image["source"] == item
        assert image["file_name"] == f"{item}/{index:06d}.jpg"
        assert off_by(summary.path / "images" / image["file_name"], clips[item][index]) < 8
    tracks: dict[tuple[str, int], list[int]] = {}
    for a in document["annotations"]:
        image = images[a["image_id"]]
        place = names[image["video_id"]], image["frame_index"]
        tracks.setdefault(place, []).append(a["track_id"])
    assert tracks == {
        (item, t): [o.track_id for o in scene.objects]
        for item, shown in clips.items()
        for t, scene in enumerate(shown)
        if scene.objects
    }
    masks = {k: [i.mask for i in v] for k, v in read_coco(summary.path / COCO_FILE).items()}
    assert masks == {r.frame_id: [i.mask for i in r.instances] for r in clips_run.frames()}


def test_an_export_of_stills_says_nothing_of_videos(tmp_path: Path) -> None:
    path = export_one(make_clips_run(tmp_path, {}), "coco").path / COCO_FILE
    assert read(path).keys() == {"info", "licenses", "categories", "images", "annotations"}


def test_options_out_of_their_range_are_refused() -> None:
    assert refusals(Coco, masks="png", tolerance=-1) == {
        "masks": "Input should be 'polygons' or 'rle'",
        "tolerance": "Value error, >= 0",
    }
    assert "finite" in refusals(Coco, tolerance=float("inf"))["tolerance"]
    assert refusals(Coco, masks="rle", tolerance=0) == {}
