"""Groups find their split, and stay there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from annotate.data.splits import check_shares, split_of
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
        check_shares(split)


def test_no_split_is_a_split_as_well() -> None:
    check_shares({})
    check_shares({"train": 0.7, "val": 0.2, "test": 0.1})
