"""A first try on a sample, and what would be done: neither costs the run that follows anything."""

import json
from pathlib import Path

import pytest

from annotate.data.types import Item
from annotate.errors import ConfigError
from annotate.record.run_folder import Run
from annotate.runner.dry_run import told
from annotate.runner.plan import plan, sample
from tests.small_runs import draw_stills, run, settings


def items(n: int) -> tuple[Item, ...]:
    return tuple(Item(f"{i:04d}.png", Path(f"{i:04d}.png")) for i in range(n))


def records(folder: Path) -> dict[str, object]:
    return {record.frame_id: record for record in Run.open(folder).frames()}


def test_a_sample_is_spread_keeps_the_order_and_is_part_of_a_larger_one():
    everything = items(1000)
    small, large = sample(everything, 20), sample(everything, 200)
    assert len(small) == 20 and len(large) == 200
    assert set(small) <= set(large)
    assert list(large) == sorted(large, key=lambda item: item.name)
    tenths = [sum(100 * n <= int(i.name[:4]) < 100 * (n + 1) for i in large) for n in range(10)]
    assert min(tenths) >= 8, tenths
    assert sample(items(10), 20) == items(10)
    assert set(sample(items(1100), 20)) - set(items(1100)[1000:]) <= set(small)


def test_a_sample_shows_every_folder_and_both_media():
    names = [f"large/{n}.png" for n in range(500)] + ["small/a.png", "b.png"]
    found = [Item(name, Path(name)) for name in names]
    found += [Item(f"large/{n}.mp4", Path(f"large/{n}.mp4"), "video") for n in range(3)]
    chosen = sample(tuple(found), 8)
    assert {"small/a.png", "b.png"} <= {item.name for item in chosen}
    assert [sum(i.media == m for i in chosen) for m in ("image", "video")] == [5, 3]


def test_a_run_goes_on_from_a_first_try_and_ends_where_it_would_have(tmp_path):
    data = draw_stills(tmp_path / "data")
    tried = run(data, tmp_path / "run", "limit=2")
    assert tried.items["found"] == tried.items["new"] == tried.counts.ok == 2
    assert any(note.startswith("limit=2: 2 of 5 items") for note in tried.notes)
    first = records(tmp_path / "run")
    whole = run(data, tmp_path / "run")
    assert (whole.items["new"], whole.items["before"], whole.counts.ok) == (3, 2, 5)
    run(data, tmp_path / "straight")
    assert records(tmp_path / "run") == records(tmp_path / "straight")
    assert first.items() <= records(tmp_path / "run").items()


def test_a_sample_cannot_make_all_records_anew(tmp_path):
    data = draw_stills(tmp_path / "data")
    run(data, tmp_path / "run")
    with pytest.raises(ConfigError, match="on_change=redo with limit=2: records of all items"):
        run(data, tmp_path / "run", "ground.floor=0.2", "limit=2", "on_change=redo")
    assert len(records(tmp_path / "run")) == 5


def test_a_dry_run_says_what_there_is_and_writes_nothing(tmp_path):
    data = draw_stills(tmp_path / "data")
    (data / "notes.docx").write_text("x")
    said = told(plan(settings(data, tmp_path / "run", "dry_run=true")))
    assert not (tmp_path / "run").exists()
    assert "5 images (5 .png), " in said and "1 files are not read: 1 .docx" in said
    assert "2: red circle, blue triangle" in said
    assert "embedded:tiny/grounder (4.0 MB, here)" in said
    assert f"{tmp_path / 'run'}: new" in said and "coco, yolo_seg" in said
    assert said.count("not known before some of it is done; limit=20 measures it") == 2


def test_a_dry_run_reckons_with_what_the_last_run_took(tmp_path):
    data = draw_stills(tmp_path / "data")
    run(data, tmp_path / "run", "limit=2")
    path = tmp_path / "run" / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["items"]["frames"] == 2 and summary["peak_memory_mb"]["RAM"] > 100
    summary["seconds"]["annotate"], summary["peak_memory_mb"] = 40.0, {"RAM": 3210}
    path.write_text(json.dumps(summary))
    said = told(plan(settings(data, tmp_path / "run")))
    assert "2 items are done, 3 to do" in said
    assert "about 60 s for 3 frames, as the 2 frames of the last time took (0.1 frames/s)" in said
    assert "3.2 GB of RAM" in said
