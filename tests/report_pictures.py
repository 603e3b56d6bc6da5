"""The pictures of the report in docs/: `python -m tests.report_pictures RUN` takes them anew.

RUN is a finished and evaluated run; its report is made anew. Needs chromium.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image as PilImage
from playwright.sync_api import ViewportSize, sync_playwright

from annotate.config.compose import compose, typed
from annotate.config.settings import ReportCommand
from annotate.record.run_folder import Run
from annotate.report.__main__ import write_report
from tests.app_page import CHROMIUM, QUIET

DOCS = Path(__file__).parents[1] / "docs"
# name: width and height of the window, colours, and the section at its top
PICTURES = {
    "report": ((1180, 1000), "light", ""),
    "report_tracks": ((1180, 900), "light", "tracks"),
    "report_dark": ((1180, 900), "dark", "thresholds"),
    "report_phone": ((360, 1000), "light", ""),
}


def main(folder: Path = DOCS) -> None:
    """Make the report and take its pictures."""
    asked = typed(compose([f"run={sys.argv[1]}"], "report"), ReportCommand)
    run = Run.open(sys.argv[1])
    page_path = write_report(run, asked).resolve()
    # The pictures are for everyone, and name no folder of the machine that takes them.
    text = page_path.read_text(encoding="utf-8").replace(f"{Path.cwd()}/", "")
    page_path.write_text(text, encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for name, ((width, height), colours, section) in PICTURES.items():
            page = browser.new_page(
                viewport=ViewportSize(width=width, height=height),
                color_scheme="dark" if colours == "dark" else "light",
            )
            page.goto(page_path.as_uri() + (f"#{section}" if section else ""))
            page.wait_for_function("[...document.images].every(i => i.complete)")
            path = folder / f"{name}.png"
            page.screenshot(path=str(path))
            page.close()
            with PilImage.open(path) as picture:
                few = picture.convert("RGB").quantize(256, dither=PilImage.Dither.NONE)
                few.save(path, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
