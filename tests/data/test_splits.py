"""Groups find their split, and stay there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from annotate.data.splits import check_split, split_items, split_of
from annotate.errors import ConfigError


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


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": 0.8, "val": 0.1}, "sum to 0.9"),
        ({"train": 1.2, "val": -0.2}, "share above 0"),
        ({"../train": 1.0}, "cannot name a folder"),
        ({"images": 1.0}, "cannot name a folder"),
        ({"Val": 0.5, "val": 0.5}, "same folder"),
    ],
)
def test_shares_that_are_none_are_refused(split: Mapping[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_split(split)


def test_no_split_is_a_split_as_well() -> None:
    assert split_items([("a.jpg", "image")], None, 0).of("a.jpg") == ""
    check_split(None)
    check_split("folders")
    check_split({})
    check_split({"train": 0.7, "val": 0.2, "test": 0.1})


EIGHTY = {"train": 0.8, "val": 0.2}


def test_the_stills_of_a_single_folder_are_divided_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    items = [(f"images/{n:04}.png", "image") for n in range(500)]
    splits = split_items(items, EIGHTY, 0)
    counts = Counter(splits.of(item) for item, _ in items)
    assert counts["train"] / 500 == pytest.approx(0.8, abs=0.05)
    assert "divided one by one" in caplog.text
    more = split_items([*items, ("images/0500.png", "image")], EIGHTY, 0)
    assert all(more.of(item) == splits.of(item) for item, _ in items), "it is stable as it grows"


@pytest.mark.parametrize("seed", range(20))
def test_no_set_is_empty_however_few_there_are(seed: int) -> None:
    items = [("a.png", "image"), ("b.png", "image"), ("c.mp4", "video")]
    shares = {"train": 0.9, "val": 0.05, "test": 0.05}
    splits = split_items(items, shares, seed)
    assert {splits.of(item) for item, _ in items} == set(shares)


def test_a_split_that_nothing_can_fill_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"1 pictures and videos cannot fill 2 sets, .* would be"):
        split_items([("only.mp4", "video")], EIGHTY, 0)


def test_folders_that_are_named_for_sets_are_kept() -> None:
    items = ["train/a.png", "x/valid/b.png", "Test/clip.mp4", "other/c.png", "val2017/d.jpg"]
    splits = split_items([(item, "image") for item in items], "folders", 0)
    assert [splits.of(item) for item in items] == ["train", "val", "test", None, "val"]
    assert splits.names == ("train", "val", "test")
    with pytest.raises(ConfigError, match="no folder of the dataset is named train"):
        split_items([("train.png", "image")], "folders", 0)
