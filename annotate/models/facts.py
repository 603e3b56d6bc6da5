"""What people ask of a model before they choose it: licence, access, size, memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from annotate.config.schema import checked
from annotate.config.shipped import conf_dir

PROGRAM_GB = 2.4  # of RAM, beside the weights; see Memory of the presets in docs/results.md
OF_WEIGHTS = 1.25  # RAM on a CPU, of the size of the weights in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of one config of `ground=` or `segment=`."""

    licence: str = "-"
    gated: str | None = None  # page where access is asked for
    parameters: float | None = None  # millions; None: none on this machine
    needs: str | None = None  # what it does not work without

    @property
    def ram_gb(self) -> float:
        """What a run takes on a CPU with this model, about: by what presets took."""
        return PROGRAM_GB + OF_WEIGHTS * 4e-3 * (self.parameters or 0)

    @property
    def fits(self) -> bool:
        """Whether this machine has so much RAM."""
        return bool(self.ram_gb < psutil.virtual_memory().total / 1e9)


def facts(role: str, name: str) -> Facts:
    """What is known of a config that ships; nothing of one of the user's own."""
    known = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return checked(Facts, known.get(role, {}).get(name) or {}, f"facts.{role}.{name}")


def licence_of(role: str, model: str) -> str | None:
    """Of the weights that a hub, or this package, calls so; None where no config names them."""
    for path in sorted((conf_dir() / role).glob("*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(node, dict) and node.get("model") == model:
            return facts(role, path.stem).licence
    return None
