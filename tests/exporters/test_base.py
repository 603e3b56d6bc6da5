"""An export as a whole: repeatable, in place of the earlier one or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exporters.coco_document
from annotate.errors import ConfigError, StorageError
from annotate.record.run_folder import Run
from exporters.base import Exporter, ExportSummary
from exporters.pictures import Pictures
from tests.exporters.boxes_csv import BoxesCsv
from tests.exporters.runs import (
    CLASSES,
    export_both,
    export_one,
    files_below,
    instance,
    make_run,
    record,
    settings,
)
from tests.exporters.shapes import SHAPES, H, W


def test_a_rerun_writes_the_same_bytes(shapes_run: Run) -> None:
    def everything() -> dict[str, bytes]:
        export_both(shapes_run, split={"train": 0.5, "val": 0.5})
        return files_below(exports / "coco") | files_below(exports / "yolo_seg")

    exports = shapes_run.path / "exports"
    assert everything() == everything()


def test_a_rerun_of_videos_writes_the_same_bytes(clips_run: Run) -> None:
    first = files_below(export_one(clips_run, "coco").path)
    assert files_below(export_one(clips_run, "coco").path) == first


def test_a_dataset_that_is_gone_does_not_cost_the_export_there_is(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco", media="copy").path
    before = files_below(folder)
    shapes_run.root.rename(shapes_run.root.with_name("elsewhere"))
    with pytest.raises(StorageError, match="none of the run's 22 pictures"):
        export_one(shapes_run, "coco")
    assert files_below(folder) == before
    assert export_one(shapes_run, "coco", media="none").images == 22


def test_when_every_video_is_gone_the_earlier_export_stays(clips_run: Run) -> None:
    folder = export_one(clips_run, "coco").path
    shutil.rmtree(clips_run.root)
    with pytest.raises(StorageError, match="none of the run's 25 pictures"):
        export_one(clips_run, "coco")
    assert (folder / "images/clips/a.mp4/000000.jpg").is_file()


@pytest.mark.parametrize("name", ["coco", "yolo_seg"])
def test_a_run_without_records_exports_nothing(tmp_path: Path, name: str) -> None:
    run = Run(path=tmp_path / "run", root=tmp_path, classes=CLASSES)
    summary = export_one(run, name)
    assert (summary.images, summary.instances, summary.left_out) == (0, 0, {})


def test_an_earlier_export_leaves_nothing_behind(shapes_run: Run) -> None:
    split = {"train": 0.5, "val": 0.5}
    export_both(shapes_run, split=split)
    export_both(shapes_run)
    exports = shapes_run.path / "exports"
    assert sorted(p.name for p in exports.glob("[!.]*")) == ["coco", "yolo_seg"]
    assert not (exports / "coco/annotations/instances_train.json").exists()
    assert not (exports / "coco/images/train").exists()
    assert not (exports / "yolo_seg/labels/val").exists()


def test_an_export_that_breaks_leaves_the_earlier_one(
    shapes_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_below(export_one(shapes_run, "coco").path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporters.coco_document, "coco_polygons", full)
    with pytest.raises(StorageError, match="No space left"):
        export_one(shapes_run, "coco")
    assert files_below(shapes_run.path / "exports/coco") == before
    assert [p.name for p in (shapes_run.path / "exports").glob("[!.]*")] == ["coco"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": {"train": 0.8, "val": 0.1}}, "sum to 0.9"),
        ({"media": "move"}, "export.media=move: expected one of link, copy, none"),
        ({"frames_stride": 0}, "export.frames_stride=0: expected >= 1"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    shapes_run: Run, asked: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_one(shapes_run, "coco", **asked)
    assert not (shapes_run.path / "exports").exists()


# --- a format of someone else


def export_boxes(run: Run, exporter: Exporter | None = None, **changed: Any) -> ExportSummary:
    return (exporter or BoxesCsv(digits=1)).export(
        run, "boxes", threshold=0.3, only="all", settings=settings(**changed)
    )


def test_a_format_is_a_class_with_one_method(tmp_path: Path) -> None:
    mask = np.zeros((H, W), bool)
    mask[10:30, 20:60] = True
    rows = [
        record("a/x.jpg", [instance(mask, "1"), instance(mask, "2", 1, 0.2)]),
        record("b/y.jpg", [instance(mask, "3", 1)]),
        record("b/small.jpg", width=19),
    ]
    run = make_run(tmp_path, rows)
    summary = export_boxes(run)
    assert summary == ExportSummary(
        format="boxes",
        path=run.path / "exports/boxes",
        images=2,
        instances=2,
        per_class={"Fußgänger": 1, "red car": 1},
        per_split={},
        left_out={"below threshold": 1, "under 20 px": 1},
        not_held={"mask": 2},
    )
    assert (summary.path / "boxes.csv").read_text(encoding="utf-8").splitlines() == [
        "a/x.jpg,Fußgänger,20.0,10.0,60.0,30.0",
        "b/y.jpg,red car,20.0,10.0,60.0,30.0",
    ]
    assert (summary.path / "images/a/x.jpg").samefile(run.root / "a/x.jpg")
    split = export_boxes(run, split={"one": 0.5, "two": 0.5})
    assert sum(split.per_split.values()) == 2
    assert all((split.path / "images" / s).is_dir() for s, n in split.per_split.items() if n)


def test_pictures_are_staged_one_by_one_and_once(shapes_run: Run) -> None:
    class Watching(Exporter):
        def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
            for count, picture in enumerate(pictures, start=1):
                staged = {p.name for p in pictures.images_dir.iterdir()}
                assert len(staged) == count and picture.name in staged
            with pytest.raises(RuntimeError, match="once"):
                iter(pictures)
            assert pictures.images_dir.parent == folder and pictures.splits == ()
            return {}

    assert export_boxes(shapes_run, Watching()).images == len(SHAPES) + 1


@pytest.mark.parametrize(
    ("error", "told"), [(OSError(28, "No space left"), StorageError), (KeyError("x"), KeyError)]
)
def test_a_format_that_fails_leaves_what_was_there(
    shapes_run: Run, error: Exception, told: type[Exception]
) -> None:
    class Failing(Exporter):
        def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
            next(iter(pictures))
            raise error

    before = files_below(export_boxes(shapes_run).path)
    with pytest.raises(told):
        export_boxes(shapes_run, Failing())
    assert files_below(shapes_run.path / "exports/boxes") == before
    assert [p.name for p in (shapes_run.path / "exports").glob("[!.]*")] == ["boxes"]
