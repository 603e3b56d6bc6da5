"""Settings that many tests use, and those of a command line."""

from __future__ import annotations

from annotate.config.compose import compose, typed
from annotate.config.settings import ReviewCommand, SegmentSettings, TrackSettings

SEGMENT = SegmentSettings(speck_share=0.005, hole_share=0.005, max_pixels=64_000_000)
TRACK = TrackSettings(
    prompt="mask",
    birth_score=0.35,
    match_iou=0.4,
    inside=0.8,
    motion=1.0,
    drift_iou=0.7,
    duplicate_iou=0.85,
    max_gap=30,
    max_misses=3,
    min_hits=3,
    reach=1.5,
    cut=0.15,
)


def review_command(*argv: str) -> ReviewCommand:
    """What `python -m annotate.review ARGV` would do."""
    return typed(compose(["run=runs/demo", *argv], "review"), ReviewCommand)
