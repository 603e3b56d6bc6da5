"""The tiny models behind both doors, and pictures for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import ServeCommand
from annotate.discover.class_list import load_prompts
from annotate.serve.annotating import Models
from tests.small_runs import draw_stills

PROMPTS = "[red circle,blue square,green triangle]"


def command(*keys: str, prompts: str | None = PROMPTS) -> ServeCommand:
    given = [f"prompts={prompts}"] if prompts else []
    asked = ["dataset=.", *given, "models=tiny", *keys]
    return typed(compose(asked, "serve"), ServeCommand)


@pytest.fixture(scope="session")
def models() -> Models:
    settings = command()
    return Models(settings, load_prompts(settings.prompts))


@pytest.fixture(scope="session")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_stills(tmp_path_factory.mktemp("serve") / "stills")
