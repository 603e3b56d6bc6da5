"""The picture of a terminal in docs/: `python -m tests.terminal_picture` takes it anew.

What is shown is what the commands of `make demo` print on a first run. Needs chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from PIL import Image as PilImage
from playwright.sync_api import ViewportSize, sync_playwright

from tests.app_page import CHROMIUM, QUIET

PICTURE = Path(__file__).parents[1] / "docs" / "terminal.png"
COMMANDS = (
    ["dataset=demo", "models=tiny"],
    ["evaluate", "run=runs/demo", "truth=data/demo/truth.json"],
    ["report", "run=runs/demo"],
)
STYLE = (
    "margin:0;padding:18px;background:#1b1d22;color:#d7dae0;"
    "font:14px/1.35 'DejaVu Sans Mono',monospace;white-space:pre"
)


def main() -> None:
    """Run the commands and take the picture."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for argv in COMMANDS:
            done = subprocess.run(
                [sys.executable, "-m", "annotate", *argv],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=True,
            )
            prompt = f"<b style='color:#8ab4f8'>$ annotate {escape(' '.join(argv))}</b>"
            lines += [prompt, escape(done.stdout.rstrip())]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport=ViewportSize(width=860, height=400))
        page.set_content(f'<body style="{STYLE}">' + "\n".join(lines))
        page.screenshot(path=str(PICTURE), full_page=True)
        browser.close()
    with PilImage.open(PICTURE) as picture:
        picture.convert("RGB").quantize(64, dither=PilImage.Dither.NONE).save(
            PICTURE, optimize=True
        )


if __name__ == "__main__":
    main()
