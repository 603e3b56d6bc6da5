"""What people see: saved views, and a real browser on the App."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data.geometry import encode_masks
from annotate.data.types import Rle
from annotate.record.run_folder import Run
from annotate.report.overlay import class_colours
from annotate.review.app import serving
from annotate.review.dataset import Place
from tests import app_page
from tests.review.reviewer import build, exported, of, pull

PLAIN = {"black", "white", "gray"}


def test_the_queue_begins_with_doubt_and_ends_with_what_is_done(run: Run):
    stills, videos = build(run)
    queue = stills.load_saved_view("queue")
    doubts = queue.values("doubt")
    assert doubts == sorted(doubts, reverse=True) and len(doubts) == 3 and doubts[0] > 0.5
    first = queue.first()
    assert first.why and first[f"doubt_{first.why}"] > 0
    assert max(d.doubt for d in first.instances.detections) > 0
    first.tags.append("accept")
    first.save()
    assert queue.values("frame_id")[-1] == first.frame_id
    assert stills.load_saved_view("accepted").values("frame_id") == [first.frame_id]
    assert len(stills.load_saved_view("unreviewed")) == 2
    views = set(stills.list_saved_views())
    assert {"margin", "mask_score", "overlap", "flicker", "rejected", "to-fix"} <= views
    assert len(videos.load_saved_view("queue")) == 1


def assert_only_its_media_are_given(port: int, shown: str, other: Path) -> None:
    def status(path: str, **headers: str) -> int:
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=60).status_code

    media = f"/media?filepath={quote(shown)}"
    assert status(media) == 200
    assert status("/fiftyone", Host="evil.example:80") == 403
    assert status(media, Host=f"evil.example:{port}") == 403
    assert status(media, Origin="http://evil.example") == 403
    for path in (str(other), "/etc/passwd", f"{shown}/../{Path(shown).name}"):
        assert status(f"/media?filepath={quote(path)}") == 403
    assert status(f"{media}&filepath=/etc/passwd") == 403


@pytest.mark.timeout(600)
@app_page.needs_chromium
def test_the_whole_loop_with_a_browser(run: Run, tmp_path: Path):
    """Build, look at the queue in the App, tag there, fix one mask, pull, export the accepted."""
    stills, _ = build(run)
    dataset = Place(run, run.path.name, "stills").find()
    assert dataset is not None
    first = stills.load_saved_view("queue").first().frame_id
    port = app_page.free_port()
    with serving([dataset], port=port, log=tmp_path / "review.log") as served:
        assert_only_its_media_are_given(port, stills.first().filepath, run.path / "config.yaml")
        with app_page.app_page(served.address) as app:
            app.wait_for_samples()
            assert app.samples() == 3
            assert_masks_are_drawn(app, tmp_path, run, stills.load_saved_view("queue"))
            app.select(0)
            app.tag("accept")

    stills.reload()
    sample = of(stills, first)
    assert sample.tags == ["accept"]
    fixed = sample.instances.detections[0]
    mask = fixed.mask.copy()
    mask[: len(mask) // 2] = False
    fixed.mask = mask
    sample.save()
    made = pull(run)
    assert [d.instance_id for d in made] == [None, fixed.annotate_id]
    found = exported(run, "only=accepted")
    assert set(found) == {first}
    record = next(r for r in run.frames() if r.frame_id == first)
    (before,) = (i for i in record.instances if i.instance_id == fixed.annotate_id)
    expected = before.mask.decode()
    top = int(before.box_xyxy[1])
    expected[: top + fixed.mask.shape[0] // 2] = False
    written = found[first][fixed.annotate_id]["segmentation"]
    assert Rle(written["counts"], tuple(written["size"])).counts == encode_masks(expected[None])[0]


def assert_masks_are_drawn(app: app_page.AppPage, folder: Path, run: Run, queue: Any) -> None:
    """The grid shows an object without a colour of its own in the colour of its class."""
    plain = [
        (number, thing)
        for number, sample in enumerate(queue)
        for thing in sample.instances.detections
        if thing.label.split()[0] in PLAIN
    ]
    number, thing = max(plain, key=lambda found: np.prod(found[1].bounding_box[2:]))
    colours = dict(zip(run.classes.names, class_colours(run.classes), strict=True))
    painted = np.array([[list(bytes.fromhex(colours[thing.label][1:]))]], np.uint8)
    hue = int(cv2.cvtColor(painted, cv2.COLOR_RGB2HSV)[0, 0, 0])
    for attempt in range(120):  # masks are painted some time after their pictures
        if attempt == 60:  # or not at all, as the App has it on busy cores
            app.page.reload()
            app.wait_for_samples()
        app_page.save(app, folder / "grid.png")
        x0, y0, x1, y1 = app.part(number, thing.bounding_box)
        inside = (x0 + 4, y0 + 4, x1 - 4, y1 - 4)  # the outline of its box has the colour too
        seen = PilImage.open(folder / "grid.png").convert("RGB").crop(inside)
        hsv = cv2.cvtColor(np.asarray(seen), cv2.COLOR_RGB2HSV).astype(int)
        near = (np.abs(hsv[..., 0] - hue) <= 5) & (hsv[..., 1] > 100)
        if near.mean() > 0.5 * thing.mask.mean():
            return
        app.page.wait_for_timeout(1000)
    share = f"{near.mean():.2f} of its box"
    pytest.fail(f"no mask is drawn of {thing.label} in picture {number}: {share}")
