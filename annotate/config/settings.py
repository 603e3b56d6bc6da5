"""Every setting of the house: its type and its range. The defaults stand in conf/, with comments.

Settings of a model or a format are not here: they are the signature of its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from annotate.config.target import Target
from annotate.data.checks import within, word_or_range
from annotate.data.splits import check_split
from annotate.data.types import Depth
from annotate.errors import ConfigError

Share = Annotated[float, within(0, 1)]
AtLeast0 = Annotated[int, within(0)]
AtLeast1 = Annotated[int, within(1)]
NotNegative = Annotated[float, within(0)]
Only = Literal["all", "reviewed", "accepted"]
Media = Literal["link", "copy", "none"]
Device = Literal["auto", "cuda", "mps", "cpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings:
    """See conf/dataset/."""

    path: str
    name: str | None
    kind: Literal["auto", "images", "videos", "frames", "coco", "fiftyone", "demo"]
    prompts: Any
    max_pixels: AtLeast1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """See `store:` in conf/export/default.yaml."""

    protocols: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundSettings:
    """What is asked of every grounder; see `ground:` in conf/config.yaml."""

    decides_nothing: ClassVar = ("batch",)

    every: AtLeast1  # frames from one grounding to the next
    floor: Share
    nms_iou: Share
    cross_class_iou: Share
    child_from: Share
    max_detections: AtLeast1
    batch: AtLeast0


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSettings:
    """How large pictures are looked at closely; see `tile:` in conf/config.yaml."""

    size: Annotated[int, within(64)] | Literal["auto"] | None
    overlap: Annotated[float, within(0, 0.5)]  # share of a tile


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSettings:
    """How the masks of every segmenter are finished; see `segment:` in conf/config.yaml."""

    decides_nothing: ClassVar = ("max_pixels",)

    speck_share: Share
    hole_share: Share
    max_pixels: AtLeast1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """What is asked of every verifier; see `verify:` in conf/config.yaml."""

    decides_nothing: ClassVar = ("batch",)

    batch: AtLeast1  # instances in one pass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSettings:
    """When detections and tracks are the same object; see conf/track/."""

    prompt: Literal["mask", "box", "point"]  # how memory is told of a new object
    birth_score: Share  # of a detection, from which memory follows an unknown object
    match_iou: Share  # of masks, from which a detection is the track's object
    inside: Share  # of the smaller mask in the larger, from which a same-class pair matches
    motion: NotNegative  # weight of where motion leads against where memory looks
    drift_iou: Share  # below this IoU to its sure detection a track is anchored anew
    duplicate_iou: Share  # two tracks that overlap more are one object
    max_gap: AtLeast0  # frames an unseen object is waited for
    max_misses: AtLeast1  # key frames in a row without a detection until a track is taken for gone
    min_hits: AtLeast1  # detections a track needs to be kept, as far as it had key frames
    reach: NotNegative  # how far from where it is expected a lost object may return, object sizes
    cut: Share  # mean colour change that ends a scene

    def at_rhythm(self, every: int, *, blind: bool = False) -> TrackSettings:
        """The settings where only every n-th frame has detections to count.

        `blind`: the others are not looked at, so that gaps count those with detections, too.
        """
        gap = max(0, (self.max_gap + 1) // every - 1) if blind else self.max_gap
        return replace(
            self,
            max_gap=gap,
            max_misses=max(1, round(self.max_misses / every)),
            min_hits=max(1, round(self.min_hits / every)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings:
    """See `decode:` in conf/config.yaml."""

    # A range is in the values of the file.
    depth: Annotated[Depth, word_or_range("auto", "high_byte", "minmax")]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSettings:
    """See `video:` in conf/config.yaml."""

    stride: AtLeast1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """How the work is cut and fed, see `runner:` in conf/config.yaml; it changes no record."""

    part_items: AtLeast1
    workers: AtLeast1
    ahead: AtLeast1
    threads: AtLeast0
    checkpoint_frames: AtLeast1  # of a video, from which an interrupted one goes on
    max_ram_gb: NotNegative | None
    progress_s: Annotated[float, within(0.01)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """See `ray:` in conf/config.yaml."""

    address: str | None
    workers: AtLeast0
    cpus: NotNegative
    gpus: NotNegative | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What every format shares; see conf/export/default.yaml."""

    formats: list[str]
    split: dict[str, float] | Literal["folders"] | None  # shares by name that sum to 1
    split_seed: int
    frames_stride: AtLeast1
    media: Media

    def __post_init__(self) -> None:
        check_split(self.split)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Limits that a run must keep; see `gates:` in conf/config.yaml."""

    max_failed: AtLeast0
    min_annotated_share: Share | None
    min_map: Share | None
    min_hota: Share | None
    truth: str | None

    def __post_init__(self) -> None:
        for name in ("min_map", "min_hota"):
            if getattr(self, name) is not None and self.truth is None:
                raise ConfigError(f"gates.{name} needs ground truth: add gates.truth=FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCommand:
    """conf/export.yaml"""

    run: Any
    threshold: Share
    only: Only
    partial: bool
    check: bool
    store: StoreSettings
    export: ExportSettings
    formats: Mapping[str, Target]  # those that the config knows, by name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCommand:
    """conf/review.yaml"""

    run: Any
    action: Literal["open", "build", "pull"]
    name: str | None
    port: Annotated[int, within(1024, 65535)]
    reviewer: str | None
    near_duplicates: bool
    repropagate: bool
    device: Device
    threshold: Share
    store: StoreSettings
    export: ExportSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateCommand:
    """conf/evaluate.yaml"""

    run: Any
    truth: str
    threshold: Share
    mapping: str | None
    suggest: str | None
    beta: Annotated[float, within(0.01)]
    folds: Annotated[int, within(2)]
    store: StoreSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCommand:
    """conf/report.yaml"""

    run: Any
    threshold: Share
    against: str | None
    tiles: AtLeast0
    crops: AtLeast0
    near_duplicates: bool
    store: StoreSettings
    export: ExportSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsCommand:
    """The part of conf/config.yaml that concerns models."""

    grounder: Target
    segmenter: Target
    verifier: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateCommand:
    """conf/config.yaml"""

    prompts: Any
    out: str | None
    limit: AtLeast1 | None
    dry_run: bool
    device: Device
    threshold: Share
    only: Only
    contact_sheet: bool
    render: bool
    on_change: Literal["stop", "redo", "new"]
    retry_failed: bool
    shard: str | None
    executor: Literal["local", "ray"]
    dataset: DatasetSettings
    store: StoreSettings
    ground: GroundSettings
    grounder: Target  # what else stands under `ground:`
    tile: TileSettings
    segment: SegmentSettings
    segmenter: Target
    verify: VerifySettings
    verifier: Target
    track: TrackSettings
    decode: DecodeSettings
    video: VideoSettings
    runner: RunnerSettings
    ray: RaySettings
    export: ExportSettings
    formats: Mapping[str, Target]
    gates: GateSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewCommand(AnnotateCommand):
    """conf/preview.yaml"""

    n: AtLeast1
    sheet: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """See `serve:` in conf/serve.yaml."""

    host: str
    port: Annotated[int, within(1, 65535)]
    user: str
    password: str | None
    files: str | None
    label_studio: str | None
    token: str | None
    hosts: list[str]
    max_mb: AtLeast1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeCommand(AnnotateCommand):
    """conf/serve.yaml"""

    serve: ServeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaygroundSettings:
    """See `playground:` in conf/playground.yaml."""

    models: Literal["tiny", "fast", "balanced", "best"]
    host: str
    port: Annotated[int, within(1, 65535)]
    user: str
    password: str | None
    max_mb: AtLeast1
    max_frames: AtLeast1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaygroundCommand(AnnotateCommand):
    """conf/playground.yaml"""

    run: Any
    playground: PlaygroundSettings


def deciding(settings: Any) -> dict[str, Any]:
    """Those of some settings that decide records: not where and how it is computed."""
    idle = getattr(settings, "decides_nothing", ())
    return {name: value for name, value in asdict(settings).items() if name not in idle}


def folders(run: Any) -> list[str]:
    """The run folders that `run=` names: one, or a list of them that is read together."""
    named = [str(place) for place in run] if isinstance(run, (list, tuple)) else [str(run)]
    if not named:
        raise ConfigError("run=[]: expected one run folder or more")
    return named
