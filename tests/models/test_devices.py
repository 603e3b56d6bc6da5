"""Which device is taken, and the refusal of one that is not there."""

import pytest
import torch

from annotate.errors import ConfigError
from annotate.models.devices import choose_device
from tests.models.damaged import CPU


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    for name in ("cuda", "mps", "tpu"):
        with pytest.raises(ConfigError, match=name):
            choose_device(name)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
