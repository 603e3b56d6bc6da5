"""The contact sheet: what it chooses of a run, what it draws, and the one that the README shows.

`docs/contact_sheet.png` is the demo's, in fewer shades so that the page loads fast; it is made by

    make demo
    .venv/bin/python -m tests.report.test_contact_sheet
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageOps

from annotate.data.decisions import Decision
from annotate.data.types import ClassList, ClassSpec, FrameRecord
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from annotate.report import contact_sheet
from annotate.report.contact_sheet import Sheet, write_contact_sheet
from annotate.report.sheet_choice import Choice, Survey
from tests.exporters.clips import frame_record, scenes, write_clip
from tests.exporters.runs import instance, record

ROOT = Path(__file__).parents[2]
OF_README = ROOT / "docs/contact_sheet.png"
W, H = 96, 64
NAMES = ["car", "dog", "cup", "hat", "owl"]
CLASSES = ClassList(tuple(ClassSpec(n, (n,)) for n in NAMES))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(path=tmp_path / "run", root=tmp_path / "data", classes=CLASSES)
    run.root.mkdir()
    return run


def still(run: Run, name: str, *found: tuple[int, float], picture: bool = True) -> FrameRecord:
    """A still with an object for each class and score."""
    if picture:
        (run.root / name).parent.mkdir(parents=True, exist_ok=True)
        PilImage.new("RGB", (W, H), (90, 90, 90)).save(run.root / name)
    mask = np.zeros((H, W), bool)
    mask[20:40, 20:60] = True
    shown = [instance(mask, f"{name}/{n}", c, score) for n, (c, score) in enumerate(found)]
    return record(name, shown, width=W, height=H)


def add(run: Run, *rows: FrameRecord, part: str = "0") -> None:
    parquet.write_part(run.records_dir, f"part-{part}", rows)


def chosen(run: Run, tiles: int, threshold: float = 0.3) -> list[Choice]:
    return Survey(run, threshold, tiles).choose()


def sheet(run: Run, tiles: int, threshold: float = 0.3) -> Sheet:
    return write_contact_sheet(run, run.path / "sheet.png", threshold=threshold, tiles=tiles)


def test_every_class_that_was_found_is_shown(run):
    """Four classes are on one picture each, in the middle of two hundred surer ones."""
    rows = [still(run, f"a/{n:03d}.jpg", (0, 0.9), (0, 0.9), picture=False) for n in range(200)]
    for class_id in (1, 2, 3, 4):
        name = f"a/{30 * class_id:03d}.jpg"
        rows[30 * class_id] = still(run, name, (class_id, 0.31), picture=False)
    add(run, *rows)
    for tiles in (5, 6, 16):
        found = chosen(run, tiles)
        assert len(found) == len({c.frame_id for c in found}) == tiles
        assert frozenset().union(*(c.shows for c in found)) == {0, 1, 2, 3, 4}
    assert len(frozenset().union(*(c.shows for c in chosen(run, 3)))) == 3


def test_tiles_are_spread_over_folders_stills_and_videos_from_begin_to_end(run):
    rows = [still(run, f"large/{n:03d}.jpg", (0, 0.5), picture=False) for n in range(300)]
    rows += [still(run, f"small/{n}.jpg", (0, 0.5), picture=False) for n in range(3)]
    shown = scenes(6)
    for name in ("clips/a.mp4", "clips/b.mp4"):
        rows += [frame_record(name, t, scene) for t, scene in enumerate(shown)]
    add(run, *rows)
    found = chosen(run, 16)
    by_folder = {folder: [c for c in found if c.item.startswith(folder)] for folder in
                 ("large", "small", "clips")}  # fmt: skip
    assert sum(map(len, by_folder.values())) == len(found) == 16
    assert len(by_folder["small"]) >= 1
    assert {c.item for c in by_folder["clips"]} == {"clips/a.mp4", "clips/b.mp4"}
    numbers = [int(c.item[6:9]) for c in by_folder["large"]]
    assert len(numbers) >= 8
    assert max(np.diff([0, *numbers, 299])) <= 2 * 300 / len(numbers)


def test_more_folders_than_tiles_are_spread_as_well(run):
    add(run, *(still(run, f"{n:02d}/x.jpg", (0, 0.5), picture=False) for n in range(40)))
    folders = [int(c.item[:2]) for c in chosen(run, 8)]
    assert len(folders) == 8
    assert max(np.diff([0, *folders, 39])) <= 10


def test_the_choice_depends_neither_on_parts_nor_on_their_order(run, tmp_path):
    rows = [
        still(run, f"{n % 3}/{n:03d}.jpg", (n % 5, 0.3 + n / 100), picture=False) for n in range(60)
    ]
    add(run, *rows)
    other = replace(run, path=tmp_path / "other")
    for n in range(6):
        add(other, *rows[n::6], part=str(5 - n))
    assert chosen(run, 12) == chosen(other, 12)


def test_surer_frames_are_preferred(run):
    add(run, *(still(run, f"{n}.jpg", (0, 0.9 if n % 5 == 2 else 0.4)) for n in range(20)))
    assert [c.item for c in chosen(run, 4)] == ["12.jpg", "17.jpg", "2.jpg", "7.jpg"]


def test_what_cannot_be_read_is_replaced_and_told(run, caplog):
    rows = [still(run, f"{n:02d}.jpg", (n % 5, 0.5)) for n in range(20)]
    add(run, *rows)
    gone = [c.item for c in chosen(run, 6)][:3]
    for name in gone:
        (run.root / name).unlink()
    caplog.set_level("WARNING", "annotate.report.contact_sheet")
    assert sheet(run, 6) == Sheet(tiles=6, below=0)
    assert all(name in caplog.text for name in gone)
    with PilImage.open(run.path / "sheet.png") as drawn:
        assert drawn.width == 4 * 400 + 3 * 6


def test_a_torn_video_gives_what_comes_before(run, caplog, monkeypatch):
    shown = scenes(6)
    write_clip(run.root / "a.mp4", shown[:4])
    add(run, *(frame_record("a.mp4", t, scene) for t, scene in enumerate(shown)),
        still(run, "b.jpg", (0, 0.5)))  # fmt: skip
    assert {c.frame_index >= 4 for c in chosen(run, 4) if c.item == "a.mp4"} == {True, False}
    said = texts(monkeypatch)
    sheet(run, 4)
    assert "a.mp4: not on the contact sheet" in caplog.text
    frames = [int(text.split()[2][:-1]) for text in said if text.startswith("a.mp4")]
    assert frames
    assert max(frames) < 4


def test_nothing_to_show_leaves_no_sheet(run):
    add(run, still(run, "a.jpg"), still(run, "gone.jpg", (0, 0.5), picture=False))
    (run.path / "sheet.png").write_bytes(b"of before")
    assert sheet(run, 4) == Sheet(tiles=0, below=0)
    assert not (run.path / "sheet.png").exists()


def test_where_nothing_reaches_the_threshold_the_best_candidates_are_drawn(run, monkeypatch):
    rows = [still(run, f"{n}.jpg", (n % 3, 0.1 + n / 100)) for n in range(9)]
    add(run, *rows)
    found = chosen(run, 4)
    assert [(c.item, c.seeks) for c in found] == [
        ("8.jpg", 2), ("7.jpg", 1), ("6.jpg", 0), ("5.jpg", 2),
    ]  # fmt: skip
    said = texts(monkeypatch)
    assert sheet(run, 4) == Sheet(tiles=4, below=4)
    assert "nothing reaches the threshold of 0.30: the best candidates below it" in said
    assert "8.jpg" in said
    assert len(chosen(run, 9)) == 9


def test_classes_that_found_nothing_get_the_last_tiles(run, monkeypatch):
    rows = [still(run, f"{n}.jpg", (0, 0.5)) for n in range(9)]
    rows += [still(run, "x.jpg", (1, 0.17)), still(run, "y.jpg", (2, 0.2))]
    add(run, *rows)
    assert [c.seeks for c in chosen(run, 8)] == [None] * 6 + [2, 1]
    said = texts(monkeypatch)
    assert sheet(run, 8) == Sheet(tiles=8, below=2)
    assert (
        "nothing of dog, cup reaches the threshold of 0.30: "
        "the last tiles show the best candidates below it"
    ) in said
    assert sheet(run, 4) == Sheet(tiles=4, below=1)
    assert any("nothing of cup and 1 more reaches" in text for text in said)


def test_classes_without_a_tile_are_named_and_no_tile_is_promised(run):
    below, shown = list(range(5)), [SimpleNamespace(seeks=None)]
    text = contact_sheet._headline(run, shown, below, 0.3)
    assert text == "nothing of car, dog, cup, hat, owl reaches the threshold of 0.30"
    many = ClassList(tuple(ClassSpec(f"c{n}", (f"c{n}",)) for n in range(9)))
    text = contact_sheet._headline(replace(run, classes=many), shown, list(range(9)), 0.3)
    assert text == "nothing of c0, c1, c2, c3, c4, c5 and 3 more reaches the threshold of 0.30"


def test_a_class_has_a_threshold_of_its_own(run):
    classes = ClassList((replace(CLASSES.classes[0], threshold=0.6), *CLASSES.classes[1:]))
    run = replace(run, classes=classes)
    add(run, still(run, "a.jpg", (0, 0.5)), still(run, "b.jpg", (1, 0.5)))
    assert [(c.item, c.seeks) for c in chosen(run, 4)] == [("b.jpg", None), ("a.jpg", 0)]


def test_a_review_is_carried_out(run):
    rows = [still(run, f"{n}.jpg", (0, 0.5)) for n in range(3)]
    add(run, *rows)
    reviews.write(run.reviews_dir, [
        Decision(frame_id="0.jpg", item="0.jpg", tags=("reject",)),
        Decision(frame_id="1.jpg", item="1.jpg", instance_id="1.jpg/0", deleted=True),
    ])  # fmt: skip
    assert [c.item for c in chosen(run, 4)] == ["2.jpg"]
    assert sheet(run, 4) == Sheet(tiles=1, below=0)


def test_captions_name_the_picture_and_the_moment(run, monkeypatch):
    shown = scenes(6)
    write_clip(run.root / "clips/a.mp4", shown)
    long = "a folder with a very long name/and another one below it/" + "n" * 40 + ".jpg"
    add(run, *(frame_record("clips/a.mp4", t, scene) for t, scene in enumerate(shown[:1])),
        still(run, long, (0, 0.5)), still(run, "line\nbreak.jpg", (0, 0.5)))  # fmt: skip
    said = texts(monkeypatch)
    assert sheet(run, 4).tiles == 3
    assert "clips/a.mp4  frame 0, 0.0 s" in said
    assert "line?break.jpg" in said
    (short,) = (text for text in said if text.startswith("a folder"))
    assert "..." in short
    assert short.endswith("n.jpg")


def test_the_sheet_of_the_readme_is_light():
    assert OF_README.stat().st_size < 1_500_000
    with PilImage.open(OF_README) as shown:
        assert shown.width == 4 * 400 + 3 * 6


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written under and above tiles, from now on."""
    said: list[str] = []
    pen = contact_sheet.ImageDraw.ImageDraw
    write = pen.text

    def noting(self: object, xy: object, text: str, *more: object, **others: object) -> None:
        said.append(text)
        write(self, xy, text, *more, **others)

    monkeypatch.setattr(pen, "text", noting)
    return said


if __name__ == "__main__":
    with PilImage.open(ROOT / "runs/demo/contact_sheet.png") as demo:
        ImageOps.posterize(demo, 5).save(OF_README, optimize=True)
