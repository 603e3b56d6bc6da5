"""What a reviewer does, for tests: build, pull, export, and look at what came of it."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from annotate.data import decisions
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from annotate.review import __main__
from tests import app_page, mongo
from tests.exporters.runs import COCO, frame_ids

missing = importlib.util.find_spec("fiftyone") is None or mongo.binary() is None


if missing and not app_page.SKIP_NOTHING:
    pytest.skip("the extra `review` or a mongod is not installed", allow_module_level=True)


FIRST, SECOND, THIRD = (f"stills/still_{n:02d}.png" for n in (6, 2, 3))
CLIP = "clip_00.mp4"


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

    (run.path / "summary.json").write_text('{"status": "done"}')  # it has come to its end
    _export([f"run={run.path}", "export=[coco]", "coco.masks=rle", *argv])
    document = json.loads((run.path / "exports/coco" / COCO).read_text())
    names = frame_ids(document)
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names.values()}
    for annotation in document["annotations"]:
        found[names[annotation["image_id"]]][annotation["attributes"]["instance"]] = annotation
    return found


def of(dataset: Any, frame_id: str) -> Any:
    """The sample of a still."""
    from fiftyone import ViewField

    return dataset.one(ViewField("frame_id") == frame_id)


def rewrite(run: Run, change: Any) -> None:
    """Make the records anew, each by `change`, which may drop it."""
    (path, *_) = parquet.part_paths(run.records_dir)
    for path in parquet.part_paths(run.records_dir):
        rows = [c for r in parquet.read_part(path) if (c := change(r)) is not None]
        path.unlink()
        parquet.write_part(run.records_dir, path.stem, rows)


def tracks(run: Run) -> dict[int, dict[int, Any]]:
    """Instances of the clip by track, then by the position of their frame, decisions included."""
    folded = run.decisions()
    found: dict[int, dict[int, Any]] = {}
    for record in run.frames():
        if record.item == CLIP:
            for instance in folded.apply(record, run.classes).record.instances:
                found.setdefault(instance.track_id, {})[record.frame_index // 12] = instance
    return found
