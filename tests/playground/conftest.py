"""A page for all tests of this room, and what is looked at on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from annotate.report.video_writer import VideoWriter
from annotate.synthetic.clip import Clip
from tests.app_page import CHROMIUM, QUIET
from tests.playground.driving import served
from tests.small_runs import still

expect.set_options(timeout=60_000)  # cores may be busy
SIZE = {"width": 1300, "height": 1400}


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page keeps what it makes."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def address(temporary: Path) -> Iterator[str]:
    """Of a page that the command serves."""
    with served(temporary) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield made
        made.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Page]:
    """It asks nobody else for anything."""
    opened = browser.new_page(viewport=SIZE)
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#picture-run")
    yield opened
    elsewhere = [u for u in asked if not u.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
    opened.close()


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    return still(folder / "a (bold) 日本.png", 1)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clip, and what is in it."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    made = Clip(1, (160, 120))
    scenes = [made.frame(t) for t in range(12)]
    with VideoWriter(path, size_wh=(160, 120), fps=25) as writer:
        for t, scene in enumerate(scenes):
            writer.add(scene.image, t / 25)
    return path, "\n".join(dict.fromkeys(o.phrase for s in scenes for o in s.objects))
