"""Signals point at what is wrong: planted errors one by one, and real ones of a tiny run."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from scipy.stats import mannwhitneyu

from annotate.data.types import FrameRecord, Item
from annotate.errors import StorageError
from annotate.evaluate import evaluation, near_duplicates, uncertainty
from annotate.evaluate.truth import read_truth
from annotate.record import parquet
from annotate.record.run_folder import Run
from tests.evaluate.squares import CLASSES, clip, square, still


def rows(tmp_path: Path, *made: FrameRecord, threshold: float = 0.35) -> dict:
    """Signals by frame, and by frame and instance."""
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    parquet.write_part(run.records_dir, "part-000000", made)
    uncertainty.write(run, threshold)
    table = uncertainty.read(run).to_pylist()
    return {(r["frame_id"], r["instance_id"]): r for r in table}


def test_what_is_sure_raises_no_doubt(tmp_path):
    found = rows(tmp_path, still("a.png", square(5, 5), square(40, 30, class_id=1)))
    assert [r["doubt"] for r in found.values()] == [0, 0, 0]
    assert {r["why"] for r in found.values()} == {""}


@pytest.mark.parametrize(
    "signal, wrong",
    [
        ("margin", {"margin": 0.0}),
        ("mask_score", {"mask_score": 0.4}),
        ("box_iou", {"box_iou": 0.3}),
    ],
)
def test_a_doubt_names_its_reason_and_reaches_the_frame(tmp_path, signal, wrong):
    doubtful = replace(square(40, 30), **wrong)
    found = rows(tmp_path, still("a.png", square(5, 5), doubtful))
    for row in (found["a.png", doubtful.instance_id], found["a.png", None]):
        assert (row["why"], row[signal]) == (signal, 1.0)
        assert row["doubt"] == pytest.approx(0.9)
    assert found["a.png", "5-5-0"]["doubt"] == 0


def test_several_reasons_are_more_than_one(tmp_path):
    one, two = square(5, 5), square(40, 30)
    found = rows(
        tmp_path,
        still("a.png", replace(one, margin=0.0), replace(two, margin=0.0, mask_score=0.5)),
    )
    assert found["a.png", "40-30-0"]["doubt"] > found["a.png", "5-5-0"]["doubt"] + 0.05


def test_an_instance_on_one_of_another_class_is_in_doubt_and_one_of_its_own_is_not(tmp_path):
    a, b = square(5, 5, 30), square(10, 10)
    found = rows(
        tmp_path, still("a.png", a, b), still("b.png", a, replace(b, class_id=1)), still("c.png", a)
    )
    assert found["a.png", None]["overlap"] == 0
    assert found["b.png", a.instance_id]["overlap"] == found["b.png", b.instance_id]["overlap"] == 1


def test_an_empty_frame_counts_as_much_as_others_are_full(tmp_path):
    found = rows(tmp_path, *(still(f"{n}.png", square(5, 5)) for n in range(3)), still("e.png"))
    assert found["e.png", None]["empty"] == pytest.approx(0.75)
    assert found["e.png", None]["why"] == "empty"


def test_what_no_export_has_has_no_row(tmp_path):
    weak = replace(square(5, 5), score=0.2)
    assert set(rows(tmp_path, still("a.png", weak))) == {("a.png", None)}


def test_a_track_that_comes_and_goes_flickers(tmp_path):
    shown = [square(5, 5, track=1)]
    found = rows(tmp_path, *clip(shown, [], shown, [], shown, shown))
    doubts = [found[f"v.mp4#{t:06d}", None]["flicker"] for t in (0, 2, 4, 5)]
    assert doubts == pytest.approx([0, 1 / 3, 2 / 3, 0])


def test_a_jump_of_the_area_is_seen_and_growth_is_not(tmp_path):
    found = rows(
        tmp_path,
        *clip(*[[square(5, 5, side, track=1)] for side in (20, 22, 24, 50)]),
    )
    assert [found[f"v.mp4#{t:06d}", None]["area_jump"] for t in (1, 2)] == [0, 0]
    assert found["v.mp4#000003", None]["area_jump"] > 0.9


def test_ids_that_change_places_are_suspected(tmp_path):
    left, right = square(2, 20, track=1), square(50, 20, track=2)
    swapped = [replace(left, track_id=2), replace(right, track_id=1)]
    found = rows(tmp_path, *clip([left, right], [left, right], swapped, swapped))
    doubts = [found[f"v.mp4#{t:06d}", None]["switch"] for t in range(4)]
    assert doubts == [0, 0, 1, 0]


def test_a_new_track_in_the_place_of_one_that_went_is_suspected(tmp_path):
    old, new = square(20, 20, track=1), square(22, 21, track=2)
    found = rows(tmp_path, *clip([old], [], [new], [new, square(50, 30, track=3)]))
    assert found["v.mp4#000002", "22-21-2"]["switch"] == pytest.approx(0.8)
    assert found["v.mp4#000003", "50-30-3"]["switch"] == 0


def test_pictures_that_look_alike_are_found_by_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (9, 12, 3), np.uint8) for _ in range(3)]
    for n, small in enumerate(pictures):
        PilImage.fromarray(small).resize((240, 180), PilImage.Resampling.BICUBIC).save(
            tmp_path / f"{n}.png"
        )
    with PilImage.open(tmp_path / "1.png") as picture:
        picture.resize((400, 300)).save(tmp_path / "1 again.jpg", quality=70)
    PilImage.new("RGB", (80, 60)).save(tmp_path / "black.png")
    PilImage.new("RGB", (90, 60)).save(tmp_path / "black too.png")
    names = ["0.png", "1.png", "1 again.jpg", "2.png", "black.png", "black too.png", "gone.png"]
    found = rows(tmp_path, *(still(name) for name in names))
    alike = {frame for (frame, _), row in found.items() if row["duplicate"]}
    assert alike == {"1.png"}  # "1 again.jpg" comes first by name
    assert found["1.png", None]["looks_like"] == "1 again.jpg"
    assert found["2.png", None]["looks_like"] is None


def test_three_bits_are_alike_and_four_are_not():
    base = 0x0123456789ABCDEF
    near, far = base ^ 0x8000_0000_0001_0001, base ^ 0x8001_0001_0001_0000
    assert list(near_duplicates.repeated([("a", base), ("b", near), ("c", far)])) == [("b", "a")]


def test_pictures_on_white_do_not_share_a_band():
    rng = np.random.default_rng(1)
    shared: Counter[tuple[int, int]] = Counter()
    for _ in range(300):
        grey = np.full((64, 72), 255, np.uint8)
        grey[:32] = np.kron(rng.integers(0, 256, (4, 9)), np.ones((8, 8))).astype(np.uint8)
        value = near_duplicates.difference_hash(grey)
        shared.update((band, value >> (16 * band) & 0xFFFF) for band in range(4))
    assert max(shared.values()) < 30


def test_deep_pictures_are_compared_as_they_are_seen(tmp_path):
    rng = np.random.default_rng(1)
    grey = np.kron(rng.integers(0, 4096, (8, 9)), np.ones((8, 8))).astype(np.uint16)
    PilImage.fromarray(grey).save(tmp_path / "a.png")
    PilImage.fromarray((grey >> 4).astype(np.uint8)).save(tmp_path / "b.png")
    deep, plain = (near_duplicates._hash_of(Item(n, tmp_path / n)) for n in ("a.png", "b.png"))
    assert deep is not None and plain is not None
    assert (deep ^ plain).bit_count() <= near_duplicates.ALIKE_BITS


def test_a_run_without_signals_says_so(tmp_path):
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    with pytest.raises(StorageError, match=r"signals\.parquet: cannot read"):
        uncertainty.read(run)


def test_the_queue_leads_to_what_is_wrong(demo_run, demo):
    run = Run.open(demo_run)
    uncertainty.write(run, 0.35)
    table = uncertainty.read(run)
    order = [r["doubt"] for r in uncertainty.queue(table).to_pylist()]
    assert order == sorted(order, reverse=True)
    assert len(order) == sum(r.status == "ok" for r in run.frames())
    truth = read_truth(demo / "truth.json", threshold=0.35)
    right = evaluation.agreeing_instances(run, truth, iou=0.8)
    judged = [r for r in table.to_pylist() if r["instance_id"]]
    wrong = np.array([r["instance_id"] not in right for r in judged])
    assert 5 <= wrong.sum() < len(wrong) / 2
    doubts = np.array([r["doubt"] for r in judged])
    pairs = wrong.sum() * (~wrong).sum()
    area = mannwhitneyu(doubts[wrong], doubts[~wrong]).statistic / pairs
    assert area > 0.8, f"a wrong instance is before a right one in {area:.0%} of the cases"
