"""Every setting: its type and its range. The defaults are in conf/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from annotate.errors import ConfigError


@dataclass
class DatasetSettings:
    path: str = MISSING
    name: str | None = MISSING
    kind: str = MISSING
    prompts: Any = MISSING
    max_pixels: int = MISSING


@dataclass
class GroundSettings:
    model: str = MISSING
    revision: str | None = MISSING
    every: int = MISSING
    floor: float = MISSING
    pooling: str = MISSING
    nms_iou: float = MISSING
    cross_class_iou: float = MISSING
    max_detections: int = MISSING
    batch: int = MISSING


@dataclass
class SegmentSettings:
    model: str = MISSING
    revision: str | None = MISSING
    checkpoint: str = MISSING
    architecture: str = MISSING
    speck_share: float = MISSING
    hole_share: float = MISSING
    max_pixels: int = MISSING


@dataclass
class TrackSettings:
    prompt: str = MISSING
    birth_score: float = MISSING
    match_iou: float = MISSING
    inside: float = MISSING
    motion: float = MISSING
    drift_iou: float = MISSING
    duplicate_iou: float = MISSING
    max_gap: int = MISSING
    max_misses: int = MISSING
    min_hits: int = MISSING
    reach: float = MISSING
    cut: float = MISSING


@dataclass
class VideoSettings:
    stride: int = MISSING


@dataclass
class RunnerSettings:
    part_items: int = MISSING
    workers: int = MISSING
    ahead: int = MISSING
    threads: int = MISSING
    checkpoint_frames: int = MISSING
    max_ram_gb: float | None = MISSING


@dataclass
class RaySettings:
    address: str | None = MISSING
    workers: int = MISSING
    cpus: float = MISSING
    gpus: float | None = MISSING


@dataclass
class ExportSettings:
    formats: list[str] = MISSING
    split: dict[str, float] | None = MISSING
    split_seed: int = MISSING
    frames_stride: int = MISSING
    media: Any = MISSING


@dataclass
class CocoSettings:
    masks: str = MISSING
    tolerance: float = MISSING


@dataclass
class GateSettings:
    max_failed: int = MISSING
    min_annotated_share: float | None = MISSING
    min_map: float | None = MISSING
    min_hota: float | None = MISSING
    truth: str | None = MISSING


@dataclass
class ExportCommand:
    """conf/export.yaml"""

    run: Any = MISSING
    threshold: float = MISSING
    only: str = MISSING
    export: ExportSettings = field(default_factory=ExportSettings)
    coco: CocoSettings = field(default_factory=CocoSettings)


@dataclass
class ReviewCommand:
    """conf/review.yaml"""

    run: Any = MISSING
    action: str = MISSING
    name: str | None = MISSING
    port: int = MISSING
    reviewer: str | None = MISSING
    near_duplicates: bool = MISSING
    repropagate: bool = MISSING
    device: str = MISSING
    threshold: float = MISSING
    export: ExportSettings = field(default_factory=ExportSettings)


@dataclass
class EvaluateCommand:
    """conf/evaluate.yaml"""

    run: Any = MISSING
    truth: str = MISSING
    threshold: float = MISSING
    mapping: str | None = MISSING
    suggest: str | None = MISSING
    beta: float = MISSING
    folds: int = MISSING


@dataclass
class ReportCommand:
    """conf/report.yaml"""

    run: Any = MISSING
    threshold: float = MISSING
    against: str | None = MISSING
    tiles: int = MISSING
    crops: int = MISSING
    near_duplicates: bool = MISSING
    export: ExportSettings = field(default_factory=ExportSettings)


@dataclass
class ModelsCommand:
    """The part of conf/config.yaml that concerns models."""

    device: str = MISSING
    ground: GroundSettings = field(default_factory=GroundSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)


@dataclass
class AnnotateCommand:
    """conf/config.yaml"""

    prompts: Any = MISSING
    out: str | None = MISSING
    device: str = MISSING
    threshold: float = MISSING
    only: str = MISSING
    contact_sheet: bool = MISSING
    render: bool = MISSING
    on_change: str = MISSING
    retry_failed: bool = MISSING
    shard: str | None = MISSING
    executor: str = MISSING
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    ground: GroundSettings = field(default_factory=GroundSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    ray: RaySettings = field(default_factory=RaySettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    coco: CocoSettings = field(default_factory=CocoSettings)
    gates: GateSettings = field(default_factory=GateSettings)


def folders(run: Any) -> list[str]:
    """The run folders that `run=` names: one, or a list of them that is read together."""
    named = [str(place) for place in run] if isinstance(run, (list, tuple)) else [str(run)]
    if not named:
        raise ConfigError("run=[]: expected one run folder or more")
    return named
