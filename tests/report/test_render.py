"""Overlays and annotated videos as a viewer sees them: decoded again from the written files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data.types import FrameRecord, Item
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.errors import StorageError
from annotate.record import parquet
from annotate.record.run_folder import Run
from annotate.report.label_layout import LabelLayout
from annotate.report.overlay import Overlay
from annotate.report.render import render_run
from annotate.report.video_writer import VideoWriter
from tests.exporters.clips import CLASSES, FRAMES, H, W, frame_record, scenes, write_clip
from tests.exporters.runs import instance
from tests.exporters.runs import record as still_record


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(path=tmp_path / "run", root=tmp_path / "data", classes=CLASSES)
    run.root.mkdir()
    return run


def frames_of(path: Path) -> list[np.ndarray]:
    return [f.image for f in open_video(Item(path.name, path, "video")).frames()]


def add(run: Run, part: str, *rows: FrameRecord) -> None:
    parquet.write_part(run.records_dir, f"part-{part}", rows)


def changed(image: np.ndarray, original: np.ndarray, by: int = 40) -> np.ndarray:
    """Pixels (h, w) that differ by more than what H.264 or JPEG does to them."""
    return np.abs(image.astype(int) - original).max(axis=2) > by


def test_a_video_shows_its_instances_at_its_times(run: Run) -> None:
    shown = scenes(8)
    times = [0.0, 0.04, 0.5, *(0.5 + 0.1 * n for n in range(1, FRAMES - 2))]
    (run.root / "clips").mkdir()
    with VideoWriter(run.root / "clips/a.mp4", size_wh=(W, H), fps=25, crf=4) as writer:
        for scene, time_s in zip(shown, times, strict=True):
            writer.add(scene.image, time_s)
    rows = [
        replace(frame_record("clips/a.mp4", t, scene), time_s=times[t])
        for t, scene in enumerate(shown)
    ]
    add(run, "0", *rows)
    render_run(run, threshold=0.3)
    path = run.path / "media/clips/a.mp4.mp4"
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert [float(f.time) for f in container.decode(stream)] == pytest.approx(times, abs=1e-4)
    drawing, layout = Overlay(CLASSES), LabelLayout()
    for drawn, row, scene in zip(frames_of(path), rows, shown, strict=True):
        expected = drawing.draw(scene.image, row.instances, layout=layout)
        to_drawing, to_scene = (
            np.abs(drawn - p.astype(int)).mean() for p in (expected, scene.image)
        )
        assert to_drawing < 15 < to_scene


def test_below_the_threshold_nothing_is_drawn(run: Run) -> None:
    shown = scenes(5)
    write_clip(run.root / "a.mp4", shown)
    add(run, "0", *(frame_record("a.mp4", t, scene) for t, scene in enumerate(shown)))
    render_run(run, threshold=0.6)
    drawn = frames_of(run.path / "media/a.mp4.mp4")
    assert len(drawn) == FRAMES
    assert max(changed(d, s.image).mean() for d, s in zip(drawn, shown, strict=True)) < 0.02


def test_stills_and_videos_of_any_name_stay_inside_and_apart(run: Run) -> None:
    shown = scenes(1, 2)
    stills = ["a.png", "a.jpg", "a.mp4/b.png", "line\nbreak.png", "n" * 251 + ".png"]
    for name in stills:
        (run.root / name).parent.mkdir(exist_ok=True)
        PilImage.new("RGB", (W, H), (90, 90, 90)).save(run.root / name)
    (run.root / "a").mkdir()  # rendered as a.mp4, where the folder of a still would be
    for t, scene in enumerate(shown):
        PilImage.fromarray(scene.image).save(run.root / "a" / f"{t}.png")
    mask = np.zeros((H, W), bool)
    mask[20:50, 20:70] = True
    rows = [still_record(name, [instance(mask, name)], width=W, height=H) for name in stills]
    add(run, "0", *rows, *(frame_record("a", t, scene) for t, scene in enumerate(shown)))
    render_run(run, threshold=0.3)
    files = [p for p in (run.path / "media").rglob("*") if p.is_file()]
    assert len(files) == len(stills) + 1
    assert {"a.png.jpg", "a.jpg.jpg"} < {p.name for p in files}
    for path in files:
        if path.suffix == ".jpg":
            assert (
                changed(read_image(path), np.full((H, W, 3), 90), by=15)[25:45, 30:60].mean() > 0.9
            )
        else:
            assert len(frames_of(path)) == 2


def test_what_is_gone_or_torn_does_not_end_the_rendering(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    shown = scenes(4)
    for name in ("gone.mp4", "other.mp4", "torn.mp4", "whole.mp4"):
        write_clip(run.root / name, shown)
        add(run, name, *(frame_record(name, t, scene) for t, scene in enumerate(shown)))
    add(run, "failed", frame_record("failed.mp4", 0, shown[0], status="failed", error="torn"))
    add(run, "still", still_record("gone.jpg", width=W, height=H))
    (run.root / "gone.mp4").unlink()
    with VideoWriter(run.root / "other.mp4", size_wh=(32, 32), fps=25) as writer:
        writer.add(np.zeros((32, 32, 3), np.uint8), 0)
    torn = run.root / "torn.mp4"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size * 3 // 4])
    caplog.set_level("WARNING", "annotate.report.render")
    render_run(run, threshold=0.3)
    media = run.path / "media"
    assert sorted(p.name for p in media.iterdir()) == ["torn.mp4.mp4", "whole.mp4.mp4"]
    assert 0 < len(frames_of(media / "torn.mp4.mp4")) < FRAMES
    assert len(frames_of(media / "whole.mp4.mp4")) == FRAMES


def test_a_disk_that_refuses_is_a_storage_error(run: Run) -> None:
    PilImage.new("RGB", (W, H)).save(run.root / "a.png")
    add(run, "0", still_record("a.png", width=W, height=H))
    (run.path / "media").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="cannot write the picture"):
        render_run(run, threshold=0.3)
