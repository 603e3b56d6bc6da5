"""Every model computes on a device what it computes on the CPU: no tensor is left behind there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ground import making as grounders
from tests.segment import making as segmenters

NO_MODEL = ("boxes", "dino_x", "ensemble", "grounding_dino_api", "none")
GROUNDERS = [f"ground:{name}" for name in grounders.NAMES if name not in NO_MODEL]
SEGMENTERS = [f"segment:{name}" for name in segmenters.NAMES if name not in NO_MODEL]


@pytest.mark.parametrize(
    "models", [GROUNDERS, [*SEGMENTERS, "verify:tiny"]], ids=["ground", "rest"]
)
def test_the_same_on_a_device_that_is_emulated(models):
    done = subprocess.run(
        [sys.executable, "-m", "tests.emulated_models", *models],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(models, "")
