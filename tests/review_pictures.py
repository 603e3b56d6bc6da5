"""The pictures of docs/review.md: `python -m tests.review_pictures RUN` writes docs/review_*.png.

Needs chromium and the database that review needs, and leaves some tags on the run in it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image as PilImage

from annotate.record.run_folder import Run
from annotate.review.app import QUEUE, serving
from annotate.review.build import build
from annotate.review.dataset import ReviewDataset
from tests import app_page
from tests.settings import review_command

DOCS = Path(__file__).parents[1] / "docs"
PAINTED_MS = 8_000  # until masks are painted, on busy cores


def main() -> None:
    """Build the run's datasets and take the pictures."""
    run = Run.open(sys.argv[1])
    datasets, _ = build(run, review_command())
    shown = {dataset.kind: dataset for dataset in datasets}
    with _app(shown["stills"], shown["videos"]) as app:
        app.select(0)
        app.push("accept (y)", "1 picture: accept")
        _save(app, "queue")
        app.select(1)
        app.begin_to_tag("accept-track", labels=True)
        _save(app, "tag")
    first = shown["stills"].dataset.load_saved_view(QUEUE).first()
    largest = max(first.instances.detections, key=lambda label: int(label.area))
    x, y, w, h = largest.bounding_box
    with _app(shown["stills"], shown["videos"]) as app:
        app.open(0)
        app.page.wait_for_timeout(PAINTED_MS)
        app.choose((first.metadata.width, first.metadata.height), (x + w / 2, y + h / 2))
        app.push("fix (u)", "1 instance: fix")
        _save(app, "instance", wait_ms=500)
        app.annotate()
        app.page.get_by_text(largest.label, exact=True).first.click()
        _save(app, "edit")
    with _app(shown["videos"], shown["stills"]) as app:
        app.open(0)
        _save(app, "video")


@contextmanager
def _app(*datasets: ReviewDataset) -> Iterator[app_page.AppPage]:
    """The App on datasets, fresh: a server remembers which picture was open."""
    log = Path(tempfile.gettempdir()) / "review_pictures.log"
    with (
        serving(datasets, port=app_page.free_port(), log=log) as served,
        app_page.app_page(served.address) as app,
    ):
        app.wait_for_samples()
        yield app


def _save(app: app_page.AppPage, name: str, wait_ms: int = PAINTED_MS) -> None:
    app.page.wait_for_timeout(wait_ms)
    path = DOCS / f"review_{name}.png"
    app_page.save(app, path)
    with PilImage.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=PilImage.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
