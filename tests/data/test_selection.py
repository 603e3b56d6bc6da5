"""What an export takes of a run: from the thresholds on, as people decided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from annotate.data.decisions import Decision
from annotate.data.types import ClassList, ClassSpec
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from tests.data.decided import CLASSES, LEFT, PICTURE, RIGHT, about, instance, still
from tests.exporters import runs
from tests.exporters.shapes import H, W


def test_thresholds_and_areas_of_classes_count(tmp_path: Path) -> None:
    classes = ClassList(
        (ClassSpec("a", ("a",)), ClassSpec("b", ("b",), threshold=0.9, min_area=5, max_area=50))
    )
    small, middle, large = (np.zeros((H, W), bool) for _ in range(3))
    small[:2, :2], middle[:5, :5], large[:20, :20] = True, True, True
    rows = [
        runs.record(
            "x.jpg",
            [
                runs.instance(large, "kept", 0, 0.3),
                runs.instance(large, "a low", 0, 0.2999),
                runs.instance(middle, "kept, at its limit", 1, 0.9),
                runs.instance(middle, "b low", 1, 0.89),
                runs.instance(small, "b small", 1, 0.95),
                runs.instance(large, "b large", 1, 0.95),
            ],
        )
    ]
    summary = runs.export_one(runs.make_run(tmp_path, rows, classes), "coco", masks="rle")
    (found,) = runs.read_coco(summary.path / "annotations/instances_default.json").values()
    assert [i.instance_id for i in found] == ["kept", "kept, at its limit"]
    assert summary.left_out == {"below threshold": 2, "over max_area": 1, "under min_area": 1}


ROWS = [
    PICTURE,
    still("b.png", instance("b.png:0", LEFT), instance("b.png:1", RIGHT)),
    still("c.png", instance("c.png:0", LEFT)),
    still("d.png", instance("d.png:0", LEFT)),
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(path=tmp_path / "run", root=tmp_path / "data", classes=CLASSES)
    parquet.write_part(run.records_dir, "part-0", ROWS)
    return run


def exported(run: Run, only: str = "all") -> dict[str, list[str]]:
    """The instances of a COCO export, by picture."""
    runs.export_one(run, "coco", only=only, media="none", masks="rle", tolerance=1.0)
    document = json.loads((run.path / "exports/coco" / runs.COCO).read_text())
    found: dict[int, list[str]] = {i["id"]: [] for i in document["images"]}
    for annotation in document["annotations"]:
        found[annotation["image_id"]].append(annotation["attributes"]["instance"])
    return {i["source"]: found[i["id"]] for i in document["images"]}


def test_an_export_without_decisions_is_what_it_was(run: Run):
    everything = exported(run)
    before = (run.path / "exports/coco" / runs.COCO).read_bytes()
    reviews.write(run.reviews_dir, [about("a.png:0", tags=("night",))])
    assert exported(run) == everything
    assert (run.path / "exports/coco" / runs.COCO).read_bytes() == before
    assert everything == {
        "a.png": ["a.png:0"], "b.png": ["b.png:0", "b.png:1"],
        "c.png": ["c.png:0"], "d.png": ["d.png:0"],
    }  # fmt: skip


def test_an_export_takes_what_was_decided(run: Run):
    picture = {"frame_id": "b.png", "item": "b.png"}
    reviews.write(
        run.reviews_dir,
        [
            Decision(**picture, tags=("accept",)),
            about("b.png:1", RIGHT, tags=("fix",)),
            Decision(frame_id="c.png", item="c.png", tags=("reject",)),
            about("a.png:1", RIGHT, tags=("accept",)),  # below the threshold, but vouched for
        ],
    )
    assert exported(run) == {
        "a.png": ["a.png:0", "a.png:1"], "b.png": ["b.png:0", "b.png:1"], "d.png": ["d.png:0"],
    }  # fmt: skip
    assert exported(run, "reviewed") == {
        "a.png": ["a.png:0", "a.png:1"], "b.png": ["b.png:0", "b.png:1"],
    }  # fmt: skip
    assert exported(run, "accepted") == {"a.png": ["a.png:1"], "b.png": ["b.png:0"]}
    before = (run.path / "exports/coco" / runs.COCO).read_bytes()
    exported(run, "accepted")
    assert (run.path / "exports/coco" / runs.COCO).read_bytes() == before
