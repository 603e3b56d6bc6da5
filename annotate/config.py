"""Hydra's room: the command line and yaml become typed settings here, and DictConfig stops here."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from annotate.errors import ConfigError

T = TypeVar("T")

# Values of these keys are taken as they stand: a path may hold blanks, brackets or quotes that
# Hydra's grammar would read as syntax.
_PATH_KEYS = ("prompts", "out", "run", "against", "truth", "gates.truth", "mapping", "suggest")


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


def conf_dir() -> Path:
    """The shipped configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def compose(argv: Sequence[str], config_name: str) -> DictConfig:
    """Compose a config from `key=value` arguments (Hydra's grammar) and an optional `--config-dir`.

    Raises ConfigError with one line that names the key. `--help` prints the config and exits.
    """
    overrides, config_dirs, show = _split_arguments(argv)
    overrides, taken = _take_paths(_expand_shorthands(overrides, config_dirs))
    if config_dirs:
        places = ",".join(f"'file://{Path(d).resolve().as_posix()}'" for d in config_dirs)
        overrides.append(f"hydra.searchpath=[{places}]")
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="annotate"):
            config = hydra_compose(config_name, overrides=overrides)
        for key, value in taken.items():
            OmegaConf.update(config, key, value)
    except OverrideParseException as error:
        raise ConfigError(f"{error.override}: {_one_line(error)}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from error
    if show:
        print(show_config(config, config_name))
        sys.exit(0)
    return config


def typed(config: DictConfig, schema: type[T]) -> T:
    """The composed config as plain dataclasses; ConfigError names a missing or ill-typed key."""
    try:
        names = {f.name for f in fields(schema)}  # type: ignore[arg-type]
        known = {k: v for k, v in config.items_ex(resolve=False) if k in names}
        merged = OmegaConf.merge(OmegaConf.structured(schema), known)
        missing = OmegaConf.missing_keys(merged)
        if missing:
            key = min(missing).removesuffix(".path")  # dataset=PATH is short for dataset.path=PATH
            raise ConfigError(f"{key} is not given: add {key}=VALUE")
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(error)) from error


def folders(run: Any) -> list[str]:
    """The run folders that `run=` names: one, or a list of them that is read together."""
    named = [str(place) for place in run] if isinstance(run, (list, tuple)) else [str(run)]
    if not named:
        raise ConfigError("run=[]: expected one run folder or more")
    return named


def show_config(config: DictConfig, config_name: str) -> str:
    """What `--help` prints: the shipped files with their comments, then the composed values."""
    root = conf_dir()
    groups = ("dataset/path", "export/default", "ground/fast", "segment/fast", "track/sam2")
    names = [config_name, *(g for g in groups if g.split("/")[0] in config and config_name != g)]
    files = [f"# {name}.yaml\n{(root / f'{name}.yaml').read_text('utf-8')}" for name in names]
    return "\n".join([*files, "# composed with the arguments given", OmegaConf.to_yaml(config)])


def _split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str], bool]:
    overrides: list[str] = []
    config_dirs: list[str] = []
    rest = iter(argv)
    show = False
    for argument in rest:
        if argument in ("-h", "--help"):
            show = True
        elif argument in ("-cd", "--config-dir") or argument.startswith("--config-dir="):
            place = argument.partition("=")[2] or next(rest, "")
            if not Path(place).is_dir():
                raise ConfigError(f"--config-dir {place}: no such folder")
            config_dirs.append(place)
        elif argument.startswith("-") or "=" not in argument.lstrip("~+"):
            if argument.startswith("~"):
                overrides.append(argument)
                continue
            raise ConfigError(
                f"{argument!r}: expected key=value, such as dataset=photos prompts=classes.txt "
                "(--help shows every key)"
            )
        else:
            overrides.append(argument)
    return overrides, config_dirs, show


def _expand_shorthands(overrides: list[str], config_dirs: Sequence[str]) -> list[str]:
    expanded = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "dataset" and not _is_dataset_config(value, config_dirs):
            expanded.append(f"dataset.path={value}")
        elif key == "export" and not value.startswith("{"):
            expanded.append(f"export.formats={value if value.startswith('[') else f'[{value}]'}")
        else:
            expanded.append(override)
    return expanded


def _is_dataset_config(name: str, config_dirs: Sequence[str]) -> bool:
    if not re.fullmatch(r"[\w-]+", name):
        return False
    places = [conf_dir(), *map(Path, config_dirs)]
    if any((place / "dataset" / f"{name}.yaml").is_file() for place in places):
        return True
    if not Path(name).exists():
        known = sorted({p.stem for place in places for p in (place / "dataset").glob("*.yaml")})
        raise ConfigError(
            f"dataset={name}: no such file, folder or glob here, and no config of that name "
            f"(known: {', '.join(k for k in known if k != 'path')})"
        )
    return False


def _take_paths(overrides: list[str]) -> tuple[list[str], dict[str, str]]:
    """Set aside `key=PATH` arguments, so that Hydra's grammar never sees the path."""
    left, taken = [], {}
    for override in overrides:
        key, _, value = override.partition("=")
        is_path = value not in ("", "null") and value[0] not in "[{$"
        if key in (*_PATH_KEYS, "dataset.path") and is_path:
            if value[0] == value[-1] and value[0] in "'\"" and len(value) > 1:
                value = value[1:-1]
            taken[key] = value.replace("${", "\\${")
        else:
            left.append(override)
    return left, taken


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(
        line for line in lines if not line.startswith(("object_type", "reference_type"))
    )
    return text or type(error).__name__
