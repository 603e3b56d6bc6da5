"""The state of a tracker on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.record import checkpoint
from annotate.track.tracks import Track


def test_a_state_has_no_pickle_and_comes_back_as_it_was(tmp_path):
    track = Track(3, last_seen=7, placed=6, box=np.array([1.5, 2, 3, 4.25]), beside={2, 5})
    track.hit(1, "red circle", 0.1 + 0.2, sure=True)
    state = {"tracks": {3: track}, "logits": torch.arange(4.0)[::2], "score": np.float32(0.1)}
    checkpoint.save(tmp_path / "state", state)
    found = checkpoint.load(tmp_path / "state", [Track], torch.device("cpu"))
    assert repr(found) == repr(state)
    assert type(found["score"]) is np.float32
    assert checkpoint.load(tmp_path / "state", [], torch.device("cpu")) is None, "an unknown class"
    (tmp_path / "state").write_bytes(b"torn")
    assert checkpoint.load(tmp_path / "state", [Track], torch.device("cpu")) is None
    with pytest.raises(TypeError, match="cannot hold a PosixPath"):
        checkpoint.save(tmp_path / "state", Path())
