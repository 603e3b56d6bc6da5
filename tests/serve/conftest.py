"""The tiny models behind both doors, and pictures for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import ServeCommand
from annotate.discover.class_list import load_prompts
from annotate.serve.annotating import Annotating
from tests.small_runs import draw_stills

PROMPTS = "[red circle,blue square,green triangle]"


def command(*keys: str) -> ServeCommand:
    asked = ["dataset=.", f"prompts={PROMPTS}", "models=tiny", *keys]
    return typed(compose(asked, "serve"), ServeCommand)


@pytest.fixture(scope="session")
def annotating() -> Annotating:
    settings = command()
    return Annotating(settings, load_prompts(settings.prompts))


@pytest.fixture(scope="session")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_stills(tmp_path_factory.mktemp("serve") / "stills")
