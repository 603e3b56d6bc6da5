"""Exports as their readers see them: pycocotools, torchvision's rule, and Ultralytics itself."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PilImage
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import exporters.coco
from annotate.data.geometry import encode_masks, mask_boxes
from annotate.data.names import plan_names
from annotate.data.splits import split_of
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.decode.image import read_image
from annotate.errors import ConfigError, StorageError
from annotate.record import parquet
from annotate.record.run_folder import Run
from exporters import export
from exporters.options import ExportOptions, ExportSummary
from exporters.staging import staged_suffix
from tests.exporters.test_polygons import SHAPES, H, W

CLASSES = ClassList(
    (ClassSpec("Fußgänger", ("person",)), ClassSpec("red car", ("red car", "auto")))
)
NASTY_NAMES = [
    "a.jpg",
    "a.png",
    "A.jpg",
    "a_jpg.jpg",
    "no dot.d/b.jpg",
    "b.JPG",
    "with space/ä ö/日本 語.png",
    "images/c.jpg",
    "x/images/images/c.jpg",
    "images_/c.jpg",
    "labels/images.jpg",
    "images.jpg",
    "e.txt/f.jpg",
    "e.jpg",
    "line\nbreak.jpg",
    "g.tar.gz.webp",
    "moving.gif",
    "h.bmp",
    "k" * 251 + ".jpg",
    "k" * 251 + ".png",
    "cafe\u0301.jpg",
    "caf\u00e9.jpg",
    "#1%20;'\".jpg",
]


def instance(
    mask: np.ndarray, name: str, class_id: int = 0, score: float = 0.75, phrase: str = "person"
) -> Instance:
    return Instance(
        instance_id=name,
        class_id=class_id,
        phrase=phrase,
        score=float(np.float32(score)),
        box_xyxy=tuple(float(v) for v in mask_boxes(mask[None])[0]),
        mask=Rle(encode_masks(mask[None])[0], mask.shape),
        area=int(mask.sum()),
        mask_score=float(np.float32(0.9)),
    )


def record(item: str, instances: Sequence[Instance] = (), **fields: Any) -> FrameRecord:
    known = {"width": W, "height": H, "status": "ok"} | fields
    return FrameRecord(item, item, "image", 0, 0.0, **known, instances=tuple(instances))


def picture(path: Path, size_wh: tuple[int, int] = (W, H), **saving: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    pixels = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((size_wh[1] // 4 + 1, 40, 1)))
    image = PilImage.fromarray(pixels[: size_wh[1], : size_wh[0]].astype(np.uint8))
    image.resize(size_wh).save(path, **saving)


def make_run(folder: Path, rows: Sequence[FrameRecord], classes: ClassList = CLASSES) -> Run:
    run = Run(path=folder / "run", root=folder / "data", classes=classes)
    run.root.mkdir(exist_ok=True)
    parquet.write_part(run.records_dir, "part-0", rows)
    for row in rows:
        if row.status == "ok":
            picture(run.root / row.item, (row.width, row.height))
    return run


def options(**changed: Any) -> ExportOptions:
    asked = {
        "threshold": 0.3,
        "only": "all",
        "split": {},
        "split_seed": 0,
        "frames_stride": 1,
        "media": "link",
        "coco_masks": "polygons",
        "polygon_tolerance": 0.5,
    }
    return ExportOptions(**(asked | changed))


def export_one(run: Run, name: str, **changed: Any) -> ExportSummary:
    (summary,) = export(run, [name], options(**changed))
    return summary


def shape_records() -> list[FrameRecord]:
    """One picture per shape, each with two objects, and one picture without any."""
    square = np.zeros((H, W), bool)
    square[40:80, 50:100] = True
    rows = [
        record(
            f"{n:02d} {name}.jpg",
            [
                instance(mask, f"{name}-0", 0, 0.9),
                instance(square, f"{name}-1", 1, 0.4, phrase="auto"),
            ],
        )
        for n, (name, mask) in enumerate(SHAPES.items())
    ]
    return [*rows, record("empty.jpg")]


@pytest.fixture
def shapes_run(tmp_path: Path) -> Run:
    return make_run(tmp_path, shape_records())


def read_coco(path: Path) -> dict[str, list[Instance]]:
    """Instances by frame_id from an export with RLE masks."""
    document = json.loads(path.read_text(encoding="utf-8"))
    frames = {i["id"]: i for i in document["images"]}
    found: dict[str, list[Instance]] = {i["frame_id"]: [] for i in document["images"]}
    for a in document["annotations"]:
        x, y, w, h = a["bbox"]
        size_hw = (a["segmentation"]["size"][0], a["segmentation"]["size"][1])
        assert size_hw == (frames[a["image_id"]]["height"], frames[a["image_id"]]["width"])
        found[frames[a["image_id"]]["frame_id"]].append(
            Instance(
                instance_id=a["instance_id"],
                class_id=a["category_id"] - 1,
                phrase=a["phrase"],
                score=a["score"],
                box_xyxy=(x, y, x + w, y + h),
                mask=Rle(a["segmentation"]["counts"], size_hw),
                area=a["area"],
                mask_score=a["mask_score"],
            )
        )
    return found


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


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


# --- COCO


def test_records_survive_coco_exactly(shapes_run: Run) -> None:
    summary = export_one(shapes_run, "coco", coco_masks="rle")
    read = read_coco(summary.path / "instances.json")
    assert read == {r.frame_id: list(r.instances) for r in shapes_run.frames()}
    assert read["empty.jpg"] == []
    assert (summary.images, summary.instances) == (len(SHAPES) + 1, 2 * len(SHAPES))
    assert summary.per_class == {"Fußgänger": len(SHAPES), "red car": len(SHAPES)}


@pytest.mark.parametrize("masks", ["polygons", "rle"])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_coco_scores_itself_perfectly(shapes_run: Run, masks: str, kind: str) -> None:
    summary = export_one(shapes_run, "coco", coco_masks=masks)
    assert self_evaluated(summary.path / "instances.json", kind) == (1.0, summary.instances)


def test_polygons_keep_every_mask(shapes_run: Run) -> None:
    summary = export_one(shapes_run, "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(summary.path / "instances.json"))
    masks = {i.instance_id: i.mask.decode() for r in shapes_run.frames() for i in r.instances}
    for annotation in coco.anns.values():
        mask, painted = masks[annotation["instance_id"]], coco.annToMask(annotation) > 0
        assert annotation["iscrowd"] == 0
        assert annotation["area"] == mask.sum()
        assert (mask & painted).sum() / (mask | painted).sum() >= 0.97


def test_coco_says_what_trainers_expect(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco").path
    text = (folder / "instances.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["categories"] == [{"id": 1, "name": "Fußgänger"}, {"id": 2, "name": "red car"}]
    assert "Fußgänger" in text
    names = [i["file_name"] for i in document["images"]]
    assert names == sorted(names)
    assert [i["id"] for i in document["images"]] == list(range(1, len(names) + 1))
    assert [a["id"] for a in document["annotations"]] == list(range(1, 2 * len(SHAPES) + 1))
    for image in document["images"]:
        staged = folder / "images" / image["file_name"]
        assert staged.is_symlink()
        assert staged.readlink().is_absolute()
        with PilImage.open(staged) as opened:
            assert opened.size == (image["width"], image["height"])


def test_a_rerun_writes_the_same_bytes(shapes_run: Run) -> None:
    def everything() -> dict[str, bytes]:
        export(shapes_run, ["coco", "yolo_seg"], options(split={"train": 0.5, "val": 0.5}))
        return files_below(shapes_run.path / "exports")

    assert everything() == everything()


# --- what is exported


def test_thresholds_and_areas_of_classes_count(tmp_path: Path) -> None:
    classes = ClassList(
        (ClassSpec("a", ("a",)), ClassSpec("b", ("b",), threshold=0.9, min_area=5, max_area=50))
    )
    small, middle, large = (np.zeros((H, W), bool) for _ in range(3))
    small[:2, :2], middle[:5, :5], large[:20, :20] = True, True, True
    rows = [
        record(
            "x.jpg",
            [
                instance(large, "kept", 0, 0.3),
                instance(large, "a low", 0, 0.2999),
                instance(middle, "kept, at its limit", 1, 0.9),
                instance(middle, "b low", 1, 0.89),
                instance(small, "b small", 1, 0.95),
                instance(large, "b large", 1, 0.95),
            ],
        )
    ]
    summary = export_one(make_run(tmp_path, rows, classes), "coco", coco_masks="rle")
    (found,) = read_coco(summary.path / "instances.json").values()
    assert [i.instance_id for i in found] == ["kept", "kept, at its limit"]
    assert summary.left_out == {"below threshold": 2, "over max_area": 1, "under min_area": 1}


def test_failed_and_vanished_and_changed_pictures_are_left_out(tmp_path: Path) -> None:
    whole = np.ones((H, W), bool)
    names = ["changed.jpg", "gone.jpg", "good.jpg", "torn.jpg"]
    rows = [record(name, [instance(whole, name)]) for name in names]
    failed = record("failed.jpg", status="failed", error="cannot decode", width=0, height=0)
    run = make_run(tmp_path, [*rows, failed])
    (run.root / "gone.jpg").unlink()
    picture(run.root / "changed.jpg", (W + 1, H))
    (run.root / "torn.jpg").write_bytes(b"not a picture")
    for name in ("coco", "yolo_seg"):
        summary = export_one(run, name)
        assert (summary.images, summary.instances) == (1, 1)
        assert summary.left_out == {"changed": 1, "failed": 1, "missing": 1, "unreadable": 1}
    (image,) = json.loads((run.path / "exports/coco/instances.json").read_text())["images"]
    assert image["file_name"] == "good.jpg"


def test_a_dataset_that_is_gone_does_not_cost_the_export_there_is(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco", media="copy").path
    before = files_below(folder)
    shapes_run.root.rename(shapes_run.root.with_name("elsewhere"))
    with pytest.raises(StorageError, match="none of the run's 22 pictures"):
        export_one(shapes_run, "coco")
    assert files_below(folder) == before
    assert export_one(shapes_run, "coco", media="none").images == 22


@pytest.mark.parametrize("name", ["coco", "yolo_seg"])
def test_a_run_without_records_exports_nothing(tmp_path: Path, name: str) -> None:
    run = Run(path=tmp_path / "run", root=tmp_path, classes=CLASSES)
    summary = export_one(run, name)
    assert (summary.images, summary.instances, summary.left_out) == (0, 0, {})


# --- pictures


def test_a_turned_picture_is_written_upright(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("turned.jpg"), record("upright.jpg")])
    exif = PilImage.Exif()
    exif[0x0112] = 6
    picture(run.root / "turned.jpg", (H, W), exif=exif)
    folder = export_one(run, "coco").path / "images"
    assert (folder / "upright.jpg").is_symlink()
    assert not (folder / "turned.jpg").is_symlink()
    with PilImage.open(folder / "turned.jpg") as staged:
        assert staged.size == (W, H)
        assert 0x0112 not in staged.getexif()
        seen = np.asarray(staged.convert("RGB")).astype(int)
    assert np.abs(seen - read_image(run.root / "turned.jpg")).mean() < 4


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "I;16"), ("a.png", "RGBA"), ("a.png", "P"), ("a.jpg", "CMYK"), ("a.tif", "I;16")],
)
def test_modes_that_trainers_misread_are_written_as_rgb(
    tmp_path: Path, name: str, mode: str
) -> None:
    run = make_run(tmp_path, [record(name)])
    grey = np.linspace(0, 65535, W * H).reshape(H, W).astype(np.uint16)
    if mode == "I;16":
        PilImage.fromarray(grey).save(run.root / name)
    else:
        PilImage.fromarray((grey >> 8).astype(np.uint8)).convert("RGB").convert(mode).save(
            run.root / name
        )
    staged = export_one(run, "coco").path / "images" / name
    with PilImage.open(staged) as opened:
        assert opened.mode == "RGB"
        seen = np.asarray(opened).astype(int)
    assert np.abs(seen - read_image(run.root / name)).max() <= (8 if name == "a.jpg" else 0)


def test_a_jpeg_without_its_end_is_copied_so_that_no_trainer_repairs_the_original(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path, [record("a.jpg")])
    with (run.root / "a.jpg").open("ab") as file:
        file.write(b"trailer")
    staged = export_one(run, "yolo_seg").path / "images/train/a.jpg"
    assert not staged.is_symlink()
    assert staged.read_bytes() == (run.root / "a.jpg").read_bytes()


@pytest.mark.parametrize("media", ["copy", "none"])
def test_media_can_be_copied_or_left(shapes_run: Run, media: str) -> None:
    folder = export_one(shapes_run, "coco", media=media).path
    staged = sorted((folder / "images").rglob("*.jpg"))
    assert len(staged) == (len(SHAPES) + 1 if media == "copy" else 0)
    assert not any(p.is_symlink() for p in staged)


def test_where_links_are_impossible_pictures_are_copied(
    shapes_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = export_one(shapes_run, "coco").path
    assert sum(p.is_file() for p in (folder / "images").iterdir()) == len(SHAPES) + 1


@pytest.mark.parametrize("item", ["../evil.jpg", "a/../../../evil.jpg", "/evil.jpg", ".."])
@pytest.mark.parametrize("labelled", [True, False])
def test_no_name_leads_out_of_the_export(item: str, labelled: bool) -> None:
    (name,) = plan_names([item], labelled=labelled, suffix_for=staged_suffix).values()
    assert not Path(name).is_absolute()
    assert ".." not in Path(name).parts


# --- names


def test_names_stay_as_they_are_unless_they_would_collide() -> None:
    names = plan_names(NASTY_NAMES, labelled=True, suffix_for=staged_suffix)
    assert names["no dot.d/b.jpg"] == "no dot.d/b.jpg"
    assert names["b.JPG"] == "b.JPG"
    assert names["with space/ä ö/日本 語.png"] == "with space/ä ö/日本 語.png"
    assert names["a.png"] == "a_png.png"
    assert names["moving.gif"] == "moving.png"
    assert names == plan_names(reversed(NASTY_NAMES), labelled=True, suffix_for=staged_suffix)
    stems = Counter(str(Path(n).with_suffix("")).casefold() for n in names.values())
    assert max(stems.values()) == 1
    assert all(len(part.encode()) <= 255 for n in names.values() for part in Path(n).parts)
    assert not any("\n" in n or "/images/" in f"/{n}" for n in names.values())


def test_coco_keeps_relative_names() -> None:
    names = plan_names(NASTY_NAMES, labelled=False, suffix_for=staged_suffix)
    changed = {item for item, name in names.items() if item != name}
    assert changed == {"moving.gif", "line\nbreak.jpg"}
    assert len(set(names.values())) == len(NASTY_NAMES)


def test_a_crafted_name_does_not_collide_with_a_hash() -> None:
    first = plan_names(["A.jpg", "a.jpg"], labelled=True, suffix_for=staged_suffix)
    crafted = ["A.jpg", "a.jpg", *first.values()]
    names = plan_names(crafted, labelled=True, suffix_for=staged_suffix)
    assert len({n.casefold() for n in names.values()}) == len(crafted)


# --- splits


def test_splits_share_out_groups_and_stay_when_the_dataset_grows() -> None:
    shares = {"train": 0.7, "val": 0.2, "test": 0.1}
    groups = [f"folder {n}" for n in range(5000)]
    counts = Counter(split_of(g, shares, 3) for g in groups)
    for name, share in shares.items():
        assert counts[name] / len(groups) == pytest.approx(share, abs=0.02)
    assert split_of("folder 1", shares, 3) == split_of(
        "folder 1", dict(reversed(shares.items())), 3
    )
    moved = sum(split_of(g, shares, 3) != split_of(g, shares, 4) for g in groups)
    assert moved > 1000
    # Pinned: a split that moved between releases would mix training with validation pictures.
    homes = [split_of(f"g{n}", {"a": 0.5, "b": 0.5}, 0) for n in range(8)]
    assert "".join(homes) == "bbaaabba"


def test_a_folder_is_never_torn_apart(tmp_path: Path) -> None:
    rows = [record(f"clip {n % 12}/{n}.jpg") for n in range(60)]
    rows += [record(f"loose {n}.jpg") for n in range(40)]
    run = make_run(tmp_path, rows)
    summary = export_one(run, "coco", split={"train": 0.6, "val": 0.4})
    assert set(summary.per_split) == {"train", "val"}
    assert sum(summary.per_split.values()) == 100
    homes: dict[str, set[str]] = {}
    ids: list[int] = []
    for split in ("train", "val"):
        document = json.loads((summary.path / f"instances_{split}.json").read_text())
        assert len(document["images"]) == summary.per_split[split]
        for image in document["images"]:
            assert image["file_name"] == f"{split}/{image['frame_id']}"
            assert (summary.path / "images" / image["file_name"]).is_file()
            homes.setdefault(str(Path(image["frame_id"]).parent), set()).add(split)
            ids.append(image["id"])
    assert homes.pop(".") == {"train", "val"}
    assert all(len(splits) == 1 for splits in homes.values())
    assert sorted(ids) == list(range(1, 101))


def test_an_earlier_export_leaves_nothing_behind(shapes_run: Run) -> None:
    split = {"train": 0.5, "val": 0.5}
    export(shapes_run, ["coco", "yolo_seg"], options(split=split))
    export(shapes_run, ["coco", "yolo_seg"], options())
    exports = shapes_run.path / "exports"
    assert sorted(p.name for p in exports.iterdir()) == ["coco", "yolo_seg"]
    assert not (exports / "coco/instances_train.json").exists()
    assert not (exports / "coco/images/train").exists()
    assert not (exports / "yolo_seg/labels/val").exists()


def test_an_export_that_breaks_leaves_the_earlier_one(
    shapes_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_below(export_one(shapes_run, "coco").path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporters.coco, "coco_polygons", full)
    with pytest.raises(StorageError, match="No space left"):
        export_one(shapes_run, "coco")
    assert files_below(shapes_run.path / "exports/coco") == before
    assert [p.name for p in (shapes_run.path / "exports").iterdir()] == ["coco"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": {"train": 0.8, "val": 0.1}}, "sum to 0.9"),
        ({"split": {"train": 1.2, "val": -0.2}}, "share above 0"),
        ({"split": {"../train": 1.0}}, "cannot name a folder"),
        ({"split": {"images": 1.0}}, "cannot name a folder"),
        ({"split": {"Val": 0.5, "val": 0.5}}, "same folder"),
        ({"threshold": 30}, "threshold=30"),
        ({"media": "move"}, "link, copy, none"),
        ({"coco_masks": "png"}, "polygons, rle"),
        ({"polygon_tolerance": -1}, "0 px or more"),
    ],
)
def test_wrong_options_are_refused(asked: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(**asked)


def test_an_unknown_format_is_refused_with_the_known_ones(shapes_run: Run) -> None:
    with pytest.raises(ConfigError, match=r"export=voc: .* coco, yolo_seg"):
        export(shapes_run, ["coco", "voc"], options())
    assert not (shapes_run.path / "exports").exists()


# --- YOLO


SPLIT = {"train": 0.5, "val": 0.3, "test": 0.2}


@pytest.fixture(scope="module")
def ultralytics_says(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What Ultralytics reads from exports of shapes (whole and split) and of nasty names."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("shapes", "split", "nasty")}
    shapes = make_run(folders["shapes"], shape_records())
    split = make_run(folders["split"], shape_records())
    nasty = make_run(folders["nasty"], nasty_records())
    pairs = {
        "shapes": [export_one(shapes, "yolo_seg").path, "train"],
        "nasty": [export_one(nasty, "yolo_seg").path, "train"],
    }
    split_folder = export_one(split, "yolo_seg", split=SPLIT).path
    pairs |= {name: [split_folder, name] for name in SPLIT}
    reader = Path(__file__).parents[1] / "ultralytics_reader.py"
    done = subprocess.run(
        [sys.executable, str(reader), *(str(part) for pair in pairs.values() for part in pair)],
        env=os.environ
        | {
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_CONFIG_DIR": str(tmp_path_factory.mktemp("config")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = dict(zip(pairs, json.loads(done.stdout.splitlines()[-1]), strict=True))
    for answer in answers.values():
        assert answer["counts"] == {"missing": 0, "corrupt": 0, "unlabelled": 0}
        assert answer["complaints"] == []
    return answers


def nasty_records() -> list[FrameRecord]:
    """One object per picture, each of another height."""
    masks = np.zeros((len(NASTY_NAMES), H, W), bool)
    for n, mask in enumerate(masks):
        mask[10 : 30 + n, 20:60] = True
    return [
        record(name, [instance(mask, name)]) for name, mask in zip(NASTY_NAMES, masks, strict=True)
    ]


def test_ultralytics_reads_every_object(ultralytics_says: dict[str, dict[str, Any]]) -> None:
    pictures = ultralytics_says["shapes"]["pictures"]
    assert ultralytics_says["shapes"]["empty"] == 1
    assert sum(p["segments"] for p in pictures) == 2 * len(SHAPES)
    expected = {r.item: [i.box_xyxy for i in r.instances] for r in shape_records()}
    assert {p["name"] for p in pictures} == set(expected)
    for p in pictures:
        shares = np.array(p["boxes"]).reshape(-1, 4)
        centre, half = shares[:, :2] * [W, H], shares[:, 2:] * [W, H] / 2
        seen = np.concatenate([centre - half, centre + half], axis=1)
        assert np.abs(seen - np.reshape(expected[p["name"]], (-1, 4))).max(initial=0) <= 1


def test_ultralytics_finds_the_label_of_every_nasty_name(
    ultralytics_says: dict[str, dict[str, Any]],
) -> None:
    pictures = ultralytics_says["nasty"]["pictures"]
    heights = sorted(round(p["boxes"][0][3] * H) for p in pictures)
    assert heights == [20 + n for n in range(len(NASTY_NAMES))]


def test_ultralytics_reads_every_split(ultralytics_says: dict[str, dict[str, Any]]) -> None:
    read = [len(ultralytics_says[split]["pictures"]) for split in SPLIT]
    assert min(read) > 0
    assert sum(read) == len(SHAPES) + 1


def test_data_yaml_works_wherever_the_folder_goes(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "yolo_seg").path
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert data == {
        "train": "images/train",
        "val": "images/train",
        "names": {0: "Fußgänger", 1: "red car"},
    }
    assert (folder / "labels/train/empty.txt").read_bytes() == b""


def test_an_empty_set_is_replaced_by_a_filled_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("one folder/a.jpg"), record("one folder/b.jpg")])
    split = {"train": 0.9, "val": 0.1}
    summary = export_one(run, "yolo_seg", split=split)
    (filled,) = (name for name, count in summary.per_split.items() if count)
    data = yaml.safe_load((summary.path / "data.yaml").read_text())
    assert data["train"] == data["val"] == f"images/{filled}"


def test_pictures_too_small_for_ultralytics_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, [record("tiny.png", width=9, height=40), record("big.png")])
    summary = export_one(run, "yolo_seg")
    assert summary.left_out == {"under 10 px": 1}
    assert [p.name for p in (summary.path / "images/train").iterdir()] == ["big.png"]
