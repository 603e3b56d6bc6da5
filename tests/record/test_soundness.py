"""Records, decisions, stamps and settings are data from elsewhere: they are checked when read.

Every column and every file is damaged in many ways. What comes out is one line that names the file
and the frame: the record is left out and counted, or the command is refused and nothing is written.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate import export
from annotate.data.decisions import Decision
from annotate.data.geometry import areas, encode_masks
from annotate.evaluate import __main__ as evaluate
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from annotate.report import __main__ as report
from annotate.runner.command import run_command
from tests.exporters import clips
from tests.exporters.runs import CLASSES, COCO, files_below, instance, picture, record
from tests.exporters.shapes import H, W

PART = "records/part-0.parquet"
NAN, INF = float("nan"), float("inf")
Rows = list[dict[str, Any]]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four stills and a clip, with a decision; and its truth."""
    folder = tmp_path_factory.mktemp("whole")
    masks = np.zeros((2, H, W), bool)
    masks[0, 10:40, 10:60] = masks[1, 50:90, 70:150] = True
    names = ["a.png", "b.png", "c.png", "d.png"]
    rows = [record(n, [instance(m, f"{n}:{k}", k) for k, m in enumerate(masks)]) for n in names]
    shown = clips.scenes(1, 3)
    rows += [clips.frame_record("e.mp4", t, scene) for t, scene in enumerate(shown)]
    data = folder / "data"
    for name in names:
        picture(data / name, (W, H))
    clips.write_clip(data / "e.mp4", shown)
    run = Run.start(folder / "run", data, CLASSES, {"version": "0.1.0"})
    parquet.write_part(run.records_dir, "part-0", rows)
    (run.path / "summary.json").write_text('{"status": "done"}')
    said = Decision(
        frame_id="a.png", item="a.png", instance_id="a.png:0", tags=("accept",),
        mask=rows[0].instances[0].mask, when=datetime.now(UTC),
    )  # fmt: skip
    reviews.write(run.reviews_dir, [said])
    assert export._export([f"run={run.path}", "export=[coco]", "coco.masks=rle"]) == 0
    shutil.copy(run.path / "exports/coco" / COCO, folder / "truth.json")
    shutil.rmtree(run.path / "exports")
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole / "run", tmp_path / "run")
    return tmp_path / "run"


def commands(run: Path, whole: Path, damage: str = "") -> dict[str, Callable[[], int]]:
    """What reads a run folder and needs neither model nor FiftyOne.

    Exports always, and for each damage, in turn, one of the others, which read the same way.
    """
    asked, truth = f"run={run}", f"truth={whole}/truth.json"
    others = {
        "report": lambda: run_command(report._report, [asked]),
        "evaluate": lambda: run_command(evaluate._evaluate, [asked, truth]),
    }
    other = list(others)[len(damage) % 2]
    return {
        "export": lambda: run_command(export._export, [asked, "export=[coco,yolo_seg]"]),
        other: others[other],
    }


def refused(run: Path, whole: Path, capsys: Captured, file: str, only: str = "") -> None:
    """Every command says in one line which file is wrong, and writes nothing."""
    before = tree(run)
    for name, command in commands(run, whole).items():
        if only in name:
            assert command() == 2, name
            lines = capsys.readouterr().err.splitlines()
            (said,) = (line for line in lines if not line.startswith("pictures are read below"))
            assert said.startswith("error: ") and file in said
            assert tree(run) == before


def tree(folder: Path) -> dict[str, bytes]:
    return {n: b for n, b in files_below(folder).items() if not n.startswith(".lock")}


def edited(path: Path, change: Callable[[Rows], Rows | None]) -> None:
    """Rewrite a part as somebody with a script would, in whatever types come out."""
    rows = pq.read_table(path).to_pylist()
    rows = change(rows) or rows
    path.unlink()
    pq.write_table(pa.Table.from_pylist(rows), path)


def of_frame(**fields: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[1].update(fields)


def of_instance(**fields: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[1]["instances"][0].update(fields)


FULL = encode_masks(np.ones((1, H, W), bool))[0]
ONE_RECORD: dict[str, Callable[[Rows], None]] = {
    "media": of_frame(media="hologram"),
    "media null": of_frame(media=None),
    "status": of_frame(status="fine"),
    "status null": of_frame(status=None),
    "failed with instances": of_frame(status="failed", error="torn"),
    "time_s": of_frame(time_s=NAN),
    "width 0": of_frame(width=0),
    "width below 0": of_frame(width=-5),
    "width null": of_frame(width=None),
    "another size": of_frame(width=W + 1),
    "a size that fills the memory": of_frame(width=2**31 - 1, height=2**31 - 1),
    "instances null": of_frame(instances=None),
    "class_id that nobody has": of_instance(class_id=7),
    "class_id below 0": of_instance(class_id=-1),
    "class_id null": of_instance(class_id=None),
    "score nan": of_instance(score=NAN),
    "score over 1": of_instance(score=1.5),
    "score null": of_instance(score=None),
    "mask_score": of_instance(mask_score=-INF),
    "margin": of_instance(margin=INF),
    "box_iou": of_instance(box_iou=7.0),
    "box nan": of_instance(box_xyxy=[NAN, 0.0, 5.0, 5.0]),
    "box inf": of_instance(box_xyxy=[0.0, 0.0, INF, 5.0]),
    "box turned around": of_instance(box_xyxy=[50.0, 0.0, 5.0, 5.0]),
    "box outside": of_instance(box_xyxy=[0.0, 0.0, 5.0, 9000.0]),
    "box null": of_instance(box_xyxy=None),
    "mask of another frame": of_instance(mask=encode_masks(np.ones((1, 9, 9), bool))[0]),
    "mask cut off": of_instance(mask=FULL[:-1]),
    "mask without end": of_instance(mask="oooooooooooooooooooooo"),
    "mask empty": of_instance(mask=""),
    "mask null": of_instance(mask=None),
    "mask of letters": of_instance(mask="\u4eba\x00\x1b"),
    "mask of runs below 0": of_instance(mask="".join(chr(48 + d) for d in (31, 0, 8, 31, 0))),
    "area": of_instance(area=3),
    "area below 0": of_instance(area=-3),
    "track_id": of_instance(track_id=-1),
    "origin": of_instance(origin="invented"),
    "instance_id null": of_instance(instance_id=None),
    "instance_id twice": of_instance(instance_id="b.png:1"),
    "phrase null": of_instance(phrase=None),
}


@pytest.mark.parametrize("damage", ONE_RECORD)
def test_a_damaged_record_costs_itself_alone(
    damage: str, run: Path, whole: Path, capsys: Captured
) -> None:
    edited(run / PART, ONE_RECORD[damage])
    for name, command in commands(run, whole, damage).items():
        assert command() == 0, name
        said = capsys.readouterr().err
        (line,) = (line for line in said.splitlines() if "records are damaged" in line)
        assert "1 records are damaged" in line and "part-0.parquet: b.png: " in line
        assert "Traceback" not in said
    found = json.loads((run / "exports/coco" / COCO).read_text())
    names = {image["source"] for image in found["images"]}
    assert names == {"a.png", "c.png", "d.png", "e.mp4"}


def without(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{k: v for k, v in row.items() if k != column} for row in rows]


def all_of(**fields: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [row | fields for row in rows]


PARTS: dict[str, Callable[[Rows], Rows | None]] = {
    "doubled rows": lambda rows: [*rows[:2], rows[1], *rows[2:]],
    "out of order": lambda rows: rows[::-1],
    "frame_id null": of_frame(frame_id=None),
    "item null": of_frame(item=None),
    "frame_index null": of_frame(frame_index=None),
    **{f"no {name}": without(name) for name in parquet.SCHEMA.names},
    "text for numbers": all_of(width="wide"),
    "numbers for text": all_of(instances=3.5),
    "instances of another kind": all_of(instances=[{"class": "cat"}]),
    "boxes of three": lambda rows: [
        row | {"instances": [i | {"box_xyxy": [1.0, 2.0, 3.0]} for i in row["instances"]]}
        for row in rows
    ],
}


@pytest.mark.parametrize("damage", PARTS)
def test_a_part_that_cannot_be_relied_on_is_refused(
    damage: str, run: Path, whole: Path, capsys: Captured
) -> None:
    edited(run / PART, PARTS[damage])
    refused(run, whole, capsys, "part-0.parquet")


def test_an_item_in_two_parts_is_refused(run: Path, whole: Path, capsys: Captured) -> None:
    shutil.copy(run / PART, run / "records/part-1.parquet")
    refused(run, whole, capsys, "'a.png' is recorded in part-0.parquet as well")


@pytest.mark.parametrize(
    "item", ["../out.png", "/etc/passwd.png", "a/../../b.png", "", "x\0.png", "n" * 5000]
)
def test_an_item_that_leads_out_of_its_dataset_is_left_out(
    item: str, run: Path, whole: Path, capsys: Captured
) -> None:
    def rename(rows: Rows) -> Rows:
        rows[1] |= {"item": item, "frame_id": item}
        return sorted(rows, key=lambda row: (row["item"], row["frame_index"]))

    edited(run / PART, rename)
    for name, command in commands(run, whole).items():
        assert command() == 0, name
        assert "1 records are damaged and left out" in capsys.readouterr().err


def test_what_pandas_writes_is_read_the_same(run: Path) -> None:
    before = list(Run.open(run).frames())
    frame = pd.read_parquet(run / PART)
    frame.loc[0, "time_s"] = 1.0
    frame.to_parquet(run / PART)
    after = list(Run.open(run).frames())
    assert after[0].time_s == 1.0
    assert after[1:] == before[1:]
    assert Run.open(run).table().count_rows() == len(before)


def test_what_is_no_part_is_refused(run: Path, whole: Path, capsys: Captured) -> None:
    good = (run / PART).read_bytes()
    for bad in (b"", b"PAR1", good[: len(good) // 2], good[:40] + b"x" * 40 + good[80:]):
        (run / PART).write_bytes(bad)
        refused(run, whole, capsys, "part-0.parquet")


DECISIONS: dict[str, dict[str, Any]] = {
    "mask": {"mask": "oooooooo"},
    "mask of no size": {"height": None},
    "size": {"height": 2**31 - 1, "width": 2**31 - 1},
    "by": {"by": "nobody"},
    "tags": {"tags": ["accept", None]},
    "track_id": {"track_id": -4},
    "frame_id": {"frame_id": None},
    "seen_box": {"seen_box": [NAN, 0.0, 1.0, 1.0]},
    "added": {"added": None},
}


@pytest.mark.parametrize("damage", DECISIONS)
def test_a_damaged_decision_is_refused_with_its_row(
    damage: str, run: Path, whole: Path, capsys: Captured
) -> None:
    edited(run / "reviews/decisions-000001.parquet", lambda r: r[0].update(DECISIONS[damage]))
    refused(run, whole, capsys, "decisions-000001.parquet: row 1", only="export")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghij")
)
TEXTS = {
    "empty": "",
    "a list": "[1, 2]",
    "no yaml": "{{{",
    "no text": "\udcff",
    "aliases that explode": BOMB,
    "itself": "a: &a [*a]",
    "deep": "[" * 5000,
    "an object": "!!python/object/apply:os.system [echo]",
    "numbers": "dataset: 3\nclasses: 3",
    "null": "dataset: {root: null}\nclasses: [null]",
    "a partial": "dataset: {root: [a], _partial_: true}\nclasses: [{_partial_: true}]",
    "NUL": 'dataset: {root: "a\\0b"}\nclasses: [{name: 3, phrases: 4}]',
}


@pytest.mark.parametrize("file", ["config.yaml", "classes.yaml"])
@pytest.mark.parametrize("text", TEXTS)
def test_settings_of_a_run_folder_are_checked(
    file: str, text: str, run: Path, whole: Path, capsys: Captured
) -> None:
    (run / file).write_bytes(TEXTS[text].encode("utf-8", "surrogateescape"))
    refused(run, whole, capsys, file)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"a.png": 3}', '{"a.png": {"seen": 1}}', "[" * 9999]
)
def test_damaged_stamps_are_said_and_cost_nothing(
    text: str, run: Path, whole: Path, capsys: Captured
) -> None:
    (run / "stamps").mkdir()
    (run / "stamps/part-0.json").write_text(text)
    for name, command in commands(run, whole).items():
        assert command() == 0, name
        assert "damaged; the files of part-0.parquet are taken" in capsys.readouterr().err


def test_areas_are_those_of_the_masks_and_no_damaged_one_is_taken() -> None:
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 60, (300, 2))
    masks = [rng.random(tuple(size)) < rng.choice([0.0, 0.1, 0.5, 1.0]) for size in sizes]
    counts = [encode_masks(mask[None])[0] for mask in masks]
    pixels = sizes.prod(1)
    expected = np.array([mask.sum() for mask in masks])
    np.testing.assert_array_equal(areas(counts, pixels), expected)
    assert (areas(counts, pixels + 1) == -1).all()
    damaged = [f"o{text}" if n % 3 == 0 else text for n, text in enumerate(counts)]
    found = areas(damaged, pixels)
    for start in (1, 2):  # whatever stands before or behind
        np.testing.assert_array_equal(found[start::3], expected[start::3])
    assert len(areas([], np.zeros(0, np.int64))) == 0
