"""The pictures of docs/review.md: `python -m tests.review_pictures RUN` writes docs/review_*.png.

Needs chromium and the database that review needs, and leaves one tag on the demo in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image as PilImage

from annotate.record.run_folder import Run
from annotate.review.app import open_app, serving
from annotate.review.build import build
from tests import app_page
from tests.settings import review_command

DOCS = Path(__file__).parents[1] / "docs"
PAINTED_MS = 8_000  # until masks are painted, on busy cores


def main() -> None:
    """Build the run's datasets and take the pictures."""
    run = Run.open(sys.argv[1])
    datasets = {dataset.kind: dataset for dataset in build(run, review_command())}
    first = max(datasets["stills"].samples(), key=lambda sample: float(sample["doubt"]))
    port = app_page.free_port()
    with serving(list(datasets.values()), port=port):
        address = f"http://127.0.0.1:{port}"
        session = open_app(datasets["stills"], port=port)
        with app_page.app_page(address) as app:
            app.wait_for_samples()
            _save(app, "queue")
            app.select(0)
            app.begin_to_tag("accept")
            _save(app, "tag")
            app.page.keyboard.press("Escape")
        with app_page.app_page(address) as app:
            app.wait_for_samples()
            app.open(0)
            app.annotate()
            app.page.get_by_text(
                first["instances"]["detections"][0]["label"], exact=True
            ).first.click()
            _save(app, "edit")
        session.close()
        session = open_app(datasets["videos"], port=port)
        with app_page.app_page(address) as app:
            app.wait_for_samples()
            app.open(0)
            _save(app, "video")
        session.close()


def _save(app: app_page.AppPage, name: str) -> None:
    app.page.wait_for_timeout(PAINTED_MS)
    path = DOCS / f"review_{name}.png"
    app_page.save(app, path)
    with PilImage.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=PilImage.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
