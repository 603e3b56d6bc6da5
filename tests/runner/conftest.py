from pathlib import Path

import pytest

from tests.small_runs import draw_stills


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    """Five small stills of the test's own."""
    return draw_stills(tmp_path / "stills")
