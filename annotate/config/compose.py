"""Hydra's room: the command line and yaml become typed settings here, and DictConfig stops here."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from annotate.errors import ConfigError

T = TypeVar("T")

# Values of these keys are taken as they stand: a path may hold blanks, brackets or quotes that
# Hydra's grammar would read as syntax.
_PATH_KEYS = ("prompts", "out", "run", "against", "truth", "gates.truth", "mapping", "suggest")


def conf_dir() -> Path:
    """The shipped configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
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
