"""The page as a command serves it, in a real browser, by what people do on it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.app_page import free_port

WAIT_MS = 90_000
WAIT_S = 60
SHOWN = "('shows ' + (document.querySelector('#KIND-result img')?.src ?? '') + status)"
LAST = "/(^|\\n)(Found|Nothing)/"
CLASSES = "red circle\nblue triangle"


@contextmanager
def served(temporary: Path, *keys: str) -> Iterator[str]:
    """The address of a page; nothing it made is left afterwards, and it ends without a word."""
    port = free_port()
    argv = [sys.executable, "-m", "annotate", "playground", "models=tiny"]
    process = subprocess.Popen(
        [*argv, f"playground.port={port}", *keys],
        env=os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(WAIT_S * 4):
            assert process.poll() is None, process.stderr and process.stderr.read()
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    others = [line for line in said.splitlines() if not line.startswith("playground: ")]
    assert process.returncode == 0 and not others, "\n".join(others)
    # torch keeps a folder of its own there, whatever uses it.
    assert [p for p in temporary.iterdir() if not p.name.startswith("torchinductor")] == []


class PageTab:
    """One tab of the page."""

    def __init__(self, page: Page, kind: str) -> None:
        self.page, self.kind = page, kind
        page.get_by_role("tab", name=kind.capitalize()).click()

    def part(self, name: str, inside: str = "") -> Locator:
        """A part by its id, and what is inside of it."""
        return self.page.locator(f"#{self.kind}-{name} {inside}".strip())

    def upload(self, path: Path) -> None:
        """Upload a file, and wait until it is seen or refused."""
        if (clear := self.part("upload", "button[aria-label=Clear]")).count():
            clear.click()
        before = self._until(SHOWN, WAIT_MS)
        self.page.set_input_files(f"#{self.kind}-upload input[type=file]", str(path))
        self._until(f"{SHOWN} !== {json.dumps(before)}", WAIT_MS)

    def take(self, name: str) -> None:
        """Choose one of those that are there."""
        field = self.part("pick", "input")
        field.wait_for(timeout=WAIT_MS)
        field.click()
        before = self._until(SHOWN, WAIT_MS)
        self.page.get_by_role("option", name=name).click()
        self._until(f"{SHOWN} !== {json.dumps(before)}", WAIT_MS)

    def begin(self, classes: str | None = None) -> None:
        """Click on Annotate, and see that something is said."""
        if classes is not None:
            self.part("classes", "textarea").fill(classes)
        before = self._until(SHOWN, WAIT_MS)
        self.part("run").click()
        self._until(f"{SHOWN} !== {json.dumps(before)}", WAIT_MS)

    def annotate(self, path: Path, classes: str = CLASSES) -> str:
        """What is said in the end about an upload."""
        self.upload(path)
        self.begin(classes)
        return self.said()

    def said(self) -> str:
        """The last word: what was found, or, in bold, why it could not be."""
        return self._until(f"(refused || {LAST}.test(status)) && status", WAIT_MS).split("\n")[-1]

    def wait_to_say(self, words: str, timeout: float = WAIT_MS) -> None:
        """Wait until the status line has words."""
        expect(self.part("status")).to_contain_text(words, timeout=timeout)

    @property
    def status(self) -> str:
        """Less the clock of a job that goes on."""
        lines = self.part("status").inner_text().strip().splitlines()
        return lines[-1].strip() if lines else ""

    @property
    def result(self) -> str:
        """Which picture is shown."""
        return self.part("result", "img").get_attribute("src") or ""

    def wait_for_another(self, before: str) -> None:
        """Wait until another picture is shown."""
        expect(self.part("result", "img")).not_to_have_attribute("src", before, timeout=WAIT_MS)

    def slide(self, name: str, value: float) -> None:
        box = self.part(name, "input[type=number]")
        box.fill(str(value))
        box.press("Enter")

    @property
    def rows(self) -> Locator:
        """Of the table."""
        return self.part("table", "[role=row]:has([role=gridcell]):visible")

    def cells(self) -> list[list[str]]:
        """What the table says."""
        rows = [row.locator("[role=gridcell]").all_inner_texts() for row in self.rows.all()]
        return [[cell.strip() for cell in row] for row in rows]

    def click_at(self, xy: tuple[float, float], size_wh: tuple[int, int]) -> None:
        """Click on a place of the picture, px of the picture."""
        image = self.part("result", "img")
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert box is not None
        scale = min(box["width"] / size_wh[0], box["height"] / size_wh[1])
        left = box["x"] + (box["width"] - size_wh[0] * scale) / 2
        top = box["y"] + (box["height"] - size_wh[1] * scale) / 2
        self.page.mouse.click(left + (xy[0] + 0.5) * scale, top + (xy[1] + 0.5) * scale)

    def choose(self, click: str) -> None:
        """What a click does from now on."""
        self.part("click").get_by_text(click).click()

    def downloads(self, folder: Path) -> dict[str, Path]:
        """Everything that can be had, by name."""
        self.part("fetch").click()
        self.page.wait_for_selector(f"#{self.kind}-files a", timeout=WAIT_MS)
        files = {}
        for link in self.part("files", "a").all():
            with self.page.expect_download() as download:
                link.click()
            path = folder / download.value.suggested_filename
            download.value.save_as(path)
            files[path.name] = path
        return files

    def _until(self, condition: str, timeout: float) -> str:
        """Wait for something of the page; what it is then."""
        here = condition.replace("KIND", self.kind)
        found = self.page.wait_for_function(
            f"id => {{ const e = document.getElementById(id); const status = e.innerText.trim();"
            f" const refused = !!e.querySelector('strong'); return {here}; }}",
            arg=f"{self.kind}-status",
            timeout=timeout,
        )
        return str(found.json_value()).strip()
