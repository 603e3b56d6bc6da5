"""Reports of small runs, and what is on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import sync_playwright

from annotate.config.compose import compose, typed
from annotate.config.settings import ReportCommand
from annotate.data.types import ClassList, FrameRecord
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report.__main__ import write_report
from tests.app_page import CHROMIUM, QUIET
from tests.evaluate.squares import CLASSES


def asked(run: Path, *more: str) -> ReportCommand:
    return typed(compose([f"run={run}", *more], "report"), ReportCommand)


def page_of(run: Path, *more: str) -> str:
    return write_report(Run.open(run), asked(run, *more)).read_text(encoding="utf-8")


def made(folder: Path, *frames: FrameRecord, classes: ClassList = CLASSES) -> Run:
    run = Run.start(folder, folder.parent, classes, {})
    parquet.write_part(run.records_dir, "part-000000", frames)
    return run


class Page(HTMLParser):
    """Tags, their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


@contextmanager
def shown(
    path: Path, *, width: int = 1280, wrong: list[str] | None = None, **how: str | bool
) -> Iterator[BrowserPage]:
    """A page in a browser; fails where it loads, says or is refused anything on the way.

    What goes wrong is put into `wrong` instead where that is given.
    """
    expected = wrong is not None
    wrong = [] if wrong is None else wrong
    asked_for: set[str] = set()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": width, "height": 900}, **how)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked_for.add(request.url.partition(":")[0]))
        page.goto(path.as_uri())
        if how.get("java_script_enabled", True):
            page.wait_for_function("[...document.images].every(i => i.complete)")
        yield page
        browser.close()
    assert expected or (not wrong and asked_for <= {"file", "data"})
