"""FiftyOne's App in a real browser without a screen: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Page, TimeoutError, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SKIP_NOTHING = "ANNOTATE_SKIP_NOTHING" in os.environ  # .ci/run says so: what is missing fails
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not SKIP_NOTHING, reason="no chromium here; .ci/run installs one"
)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
PATIENCE_S = 200  # for a cold App on busy cores
SIZE = {"width": 1280, "height": 800}


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class AppPage:
    """The page, by what people do on it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def wait_for_samples(self) -> None:
        """Until the grid shows pictures, and without the vendor's notice over it."""
        self.page.wait_for_selector(at("looker"))
        dismiss = self.page.get_by_text("Dismiss")
        try:
            dismiss.first.click(timeout=5_000)
        except Exception:  # it is not shown every time
            return
        dismiss.first.wait_for(state="hidden")

    def samples(self) -> int:
        """How many pictures the grid shows."""
        return self.page.locator(at("looker")).count()

    def _tile(self, number: int) -> FloatRect:
        """Where a picture of the grid lies on the page."""
        tile = self.page.locator(at("looker")).nth(number).bounding_box()
        assert tile is not None
        return tile

    def part(self, number: int, box: Sequence[float]) -> tuple[int, int, int, int]:
        """Where a box, x y w h in parts of the picture, lies on the page: x0 y0 x1 y1, pixels."""
        tile, (x, y, w, h) = self._tile(number), box
        left, top = tile["x"] + x * tile["width"], tile["y"] + y * tile["height"]
        right, bottom = left + w * tile["width"], top + h * tile["height"]
        return round(left), round(top), round(right), round(bottom)

    def select(self, number: int = 0) -> None:
        """Tick a picture of the grid."""
        for last in (False, False, True):  # a click is lost where the App makes the grid anew
            tile = self._tile(number)
            self.page.mouse.click(tile["x"] + 14, tile["y"] + 14)
            try:
                self.page.wait_for_selector(at("action-manage-selected"), timeout=20_000)
                return
            except TimeoutError:
                if last:
                    raise

    def tag(self, name: str, *, labels: bool = False) -> None:
        """Tag the ticked pictures, or the labels on them."""
        self.begin_to_tag(name, labels=labels)
        self.page.get_by_text("Apply", exact=True).first.click()
        self.page.wait_for_selector(at("tagger-container"), state="hidden")

    def begin_to_tag(self, name: str, *, labels: bool = False) -> None:
        """Open the field for tags and type one into it."""
        self.page.locator(at("action-tag-sample-labels")).first.click()
        if labels:
            self.page.locator(at("tagger-switch-label")).click()
        field = self.page.locator(at("label-tag-input" if labels else "sample-tag-input"))
        field.fill(name)
        field.press("Enter")

    def open(self, number: int = 0) -> None:
        """Show a picture of the grid large."""
        self.page.locator(at("looker")).nth(number).click()
        self.page.wait_for_selector(at("modal"))

    def close(self) -> None:
        """Back to the grid, by a click beside the picture."""
        self.page.mouse.click(10, SIZE["height"] // 2)
        self.page.wait_for_selector(at("modal"), state="hidden")

    def choose(self, size_wh: tuple[int, int], at_wh: Sequence[float]) -> None:
        """Click on what is at a place, in parts of its size, of the picture that is open."""
        canvas = self.page.locator("#modal canvas").first.bounding_box()
        assert canvas is not None
        scale = min(canvas["width"] / size_wh[0], canvas["height"] / size_wh[1])
        left = canvas["x"] + (canvas["width"] - scale * size_wh[0]) / 2
        top = canvas["y"] + (canvas["height"] - scale * size_wh[1]) / 2
        x, y = (part * scale * size for part, size in zip(at_wh, size_wh, strict=True))
        self.page.mouse.click(left + x, top + y)

    def press(self, key: str, said: str) -> None:
        """Press a key, and wait for what the App says to it."""
        self.page.keyboard.press(key)
        self.page.get_by_text(said, exact=True).wait_for()

    def push(self, button: str, said: str) -> None:
        """Push a button of ours, and wait for what the App says to it."""
        text = self.page.get_by_text(button, exact=True)
        self.page.locator(f'[aria-label="{button}"]').or_(text).first.click()
        self.page.get_by_text(said, exact=True).wait_for()

    def annotate(self) -> None:
        """Turn to the editor of the picture that is open."""
        self.page.get_by_text("Annotate", exact=True).first.click()
        self.page.get_by_text("Edit", exact=True).first.wait_for()


def at(name: str) -> str:
    """What FiftyOne's own tests find an element by."""
    return f'[data-cy="{name}"]'


@contextmanager
def app_page(address: str) -> Iterator[AppPage]:
    """The App at an address, in a browser of its own."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE_S * 1000)
            page.goto(address)
            yield AppPage(page)
        finally:
            browser.close()


def save(page: AppPage, path: Path) -> None:
    """A picture of the page."""
    page.page.screenshot(path=str(path))
