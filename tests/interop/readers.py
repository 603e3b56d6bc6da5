"""Exports as tools read them that live in an environment of their own: `make interop`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from annotate.record.run_folder import Run
from exporters.base import ExportSummary
from exporters.other_readers import READERS
from tests.exporters.awkward import awkward_run
from tests.exporters.runs import FORMATS, export_one, exporter

HERE = {"datumaro", "datasets", "label-studio-sdk", "labelme", "lvis", "webdataset"}
READ_HERE = [name for name in FORMATS if READERS[name].package in HERE]
# What Datumaro's own importers take the formats for, and the annotations that it makes of one mask.
DATUMARO = {
    "coco": ("coco", "bbox"),
    "coco_panoptic": ("coco_panoptic", "mask"),
    "voc": ("voc", "bbox"),
    "kitti": ("kitti_detection", "bbox"),
    "yolo": ("yolo", "bbox"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return awkward_run(tmp_path_factory.mktemp("awkward"))


@pytest.fixture(scope="module")
def exported(run: Run) -> dict[str, ExportSummary]:
    return {name: export_one(run, name) for name in {*READ_HERE, *DATUMARO, "mot"}}


@pytest.mark.parametrize("name", READ_HERE)
def test_its_own_tool_finds_every_object(
    run: Run, exported: dict[str, ExportSummary], name: str
) -> None:
    found = exporter(name).check(run, name, threshold=0.3, only="all")
    assert found.passed and not found.missing_reader, str(found)
    assert found.instances == exported[name].instances
    assert found.pictures == exported[name].images
    print(found)


@pytest.mark.parametrize("name", ["label_studio", "labelme"])
def test_the_other_kind_of_mask_is_read_as_well(run: Run, name: str) -> None:
    other = {"label_studio": "polygons", "labelme": "masks"}[name]
    summary = export_one(run, name, masks=other)
    found = exporter(name).check(run, name, threshold=0.3, only="all")
    if name == "labelme":
        assert found.passed and found.least_iou == 1, str(found)
    assert found.instances == summary.instances
    export_one(run, name)


@pytest.mark.parametrize("name", DATUMARO)
def test_datumaro_finds_every_object(exported: dict[str, ExportSummary], name: str) -> None:
    found, kinds = _read(Path(exported[name].path), DATUMARO[name][0])
    hidden = exported[name].not_held.get("instance behind others, no pixel of it left", 0)
    assert len(found) == exported[name].images
    assert kinds[DATUMARO[name][1]] == exported[name].instances - hidden


def test_datumaro_knows_a_folder_for_what_it_is(exported: dict[str, ExportSummary]) -> None:
    from datumaro.components.environment import Environment

    for name, (kind, _) in DATUMARO.items():
        known = Environment().detect_dataset(str(exported[name].path))
        assert any(k.startswith(kind.split("_")[0]) for k in known) and "tabular" not in known, name


def test_datumaro_reads_a_sequence_of_mot(exported: dict[str, ExportSummary]) -> None:
    found, kinds = _read(Path(exported["mot"].path) / "train/clips_b_mp4", "mot_seq")
    assert len(found) == 12 and kinds["bbox"] > 0


def _read(folder: Path, kind: str) -> tuple[Any, Counter[str]]:
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(folder), kind)
    return dataset, Counter(a.type.name for item in dataset for a in item.annotations)
