import pyarrow.parquet as pq
import pytest

from annotate.data.types import FrameRecord, Instance, Rle
from annotate.errors import StorageError
from annotate.record import parquet


def record(item: str, index: int = 0, instances: int = 0, **changes) -> FrameRecord:
    found = tuple(
        Instance(
            instance_id=f"{item}:{i}",
            class_id=i,
            phrase="red car",
            score=0.5,
            box_xyxy=(1.0, 2.0, 3.5, 4.0),
            mask=Rle("PPYo0", (4, 5)),
            area=7,
            mask_score=0.75,
        )
        for i in range(instances)
    )
    fields = {"media": "image", "time_s": 0.0, "width": 5, "height": 4, "status": "ok"} | changes
    return FrameRecord(frame_id=item, item=item, frame_index=index, instances=found, **fields)


def test_round_trip(tmp_path):
    written = [record("ü b.jpg", instances=2), record("c.jpg", status="failed", error="cut")]
    parquet.write_part(tmp_path, "part-000000", written)
    assert list(parquet.read_records(tmp_path)) == sorted(written, key=lambda r: r.item)


def test_order_depends_on_items_not_on_parts(tmp_path):
    names = [f"{i:03d}.jpg" for i in range(300)]
    parquet.write_part(tmp_path, "part-000000", [record(n) for n in names[100:200]])
    parquet.write_part(tmp_path, "part-000001", [record(n) for n in names[:100]])
    parquet.write_part(tmp_path, "part-000002", [record(n) for n in reversed(names[200:])])
    parquet.write_part(tmp_path, "part-000003", [record("150a.jpg"), record("000a.jpg")])
    expected = sorted([*names, "150a.jpg", "000a.jpg"])
    assert [r.item for r in parquet.read_records(tmp_path)] == expected


def test_parts_are_opened_only_when_due(tmp_path, monkeypatch):
    for part in range(5):
        rows = [record(f"{part}-{i}.jpg") for i in range(3)]
        parquet.write_part(tmp_path, f"part-{part:06d}", rows)
    opened = []
    whole = parquet.read_part
    monkeypatch.setattr(
        parquet, "read_part", lambda path, *more: opened.append(path.name) or whole(path, *more)
    )
    reading = parquet.read_records(tmp_path)
    next(reading)
    assert opened == ["part-000000.parquet"]
    assert len(list(reading)) == 14


def test_which_items_are_held_and_which_failed(tmp_path):
    assert parquet.held_items(tmp_path) == {}
    path = parquet.write_part(tmp_path, "part-000000", [record("a"), record("b", status="failed")])
    assert parquet.held_items(tmp_path) == {path: parquet.Held(frozenset("ab"), frozenset("b"))}


def test_items_are_dropped_and_a_part_without_any_goes(tmp_path):
    parquet.write_part(tmp_path, "part-000000", [record("a"), record("b", instances=2)])
    parquet.write_part(tmp_path, "part-000001", [record("c")])
    parquet.drop_items(parquet.held_items(tmp_path), {"a", "c"})
    assert list(parquet.read_records(tmp_path)) == [record("b", instances=2)]
    assert [p.name for p in tmp_path.iterdir()] == ["part-000000.parquet"]


def test_same_records_same_bytes_and_nothing_else_left(tmp_path):
    rows = [record("b", instances=3), record("a")]
    one = parquet.write_part(tmp_path / "1", "part-000000", rows)
    two = parquet.write_part(tmp_path / "2", "part-000000", rows[::-1])
    assert one.read_bytes() == two.read_bytes()
    assert [p.name for p in (tmp_path / "1").iterdir()] == ["part-000000.parquet"]


def test_a_refusing_disk_is_a_storage_error_and_leaves_no_half_part(tmp_path):
    (tmp_path / "records").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot write records"):
        parquet.write_part(tmp_path / "records", "part-000000", [record("a")])


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / "part-000000.parquet").write_bytes(b"not parquet")
    with pytest.raises(StorageError, match=r"part-000000\.parquet: not a readable"):
        list(parquet.read_records(tmp_path))


def test_schema_is_the_contract(tmp_path):
    path = parquet.write_part(tmp_path, "part-000000", [record("a", instances=1)])
    table = pq.read_table(path)
    assert table.schema.names == [
        "frame_id", "item", "media", "frame_index", "time_s", "width", "height", "status",
        "error", "instances",
    ]  # fmt: skip
    assert set(table["instances"][0][0].as_py()) == {
        "instance_id", "class_id", "phrase", "score", "box_xyxy", "mask", "area", "mask_score",
        "track_id", "origin", "margin", "box_iou", "agreement", "verified",
    }  # fmt: skip
