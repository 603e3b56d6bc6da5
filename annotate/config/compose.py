"""Hydra's room: the command line and yaml become typed settings here, and DictConfig stops here."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from annotate.config import schema
from annotate.config.settings import (
    AnnotateCommand,
    ExportSettings,
    GroundSettings,
    SegmentSettings,
    StoreSettings,
    VerifySettings,
)
from annotate.config.shipped import conf_dir, default_formats
from annotate.config.target import KEY as TARGET
from annotate.config.target import Target
from annotate.errors import ConfigError

T = TypeVar("T")

# Values of these keys are taken as they stand: a path may hold blanks, brackets or quotes that
# Hydra's grammar would read as syntax.
_PATH_KEYS = (
    "prompts",
    "out",
    "run",
    "against",
    "truth",
    "gates.truth",
    "mapping",
    "suggest",
    "sheet",
)
_ROLES = {
    "ground": ("grounder", GroundSettings),
    "segment": ("segmenter", SegmentSettings),
    "verify": ("verifier", VerifySettings),
}
_GROUPS = ("dataset", "ground", "segment", "verify", "track", "models")
ENSEMBLE, USUAL_MEMBERS = "ensemble", ("balanced", "owlv2")  # of conf/ground/ensemble.yaml
_FORMATS = "annotate.formats"  # entry points of packages that bring formats


@dataclass(frozen=True, slots=True)
class Composed:
    """A config as plain values, and the folders that `--config-dir` named."""

    values: dict[str, Any]
    folders: tuple[str, ...]


def compose(argv: Sequence[str], config_name: str) -> Composed:
    """Compose a config from `key=value` arguments (Hydra's grammar) and an optional `--config-dir`.

    Raises ConfigError with one line that names the key. `--help` prints the config and exits.
    """
    overrides, config_dirs, show = _split_arguments(argv)
    _refuse_twice(overrides)
    places = [conf_dir(), *map(Path, config_dirs)]
    overrides, taken = _take_paths(list(_expanded(overrides, places)))
    if config_dirs:
        listed = ",".join(f"'file://{Path(d).resolve().as_posix()}'" for d in config_dirs)
        overrides.append(f"hydra.searchpath=[{listed}]")
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="annotate"):
            config = hydra_compose(config_name, overrides=overrides)
        for key, value in taken.items():
            OmegaConf.update(config, key, value, force_add=True)
        values: Any = OmegaConf.to_container(config, resolve=True)
    except OverrideParseException as error:
        raise ConfigError(_not_understood(error.override.lstrip("+"))) from error
    except (HydraException, OmegaConfBaseException) as error:
        ambiguous = re.match(r"Ambiguous value for argument '\+*(.*)'", str(error))
        said = _not_understood(ambiguous[1]) if ambiguous else _one_line(error)
        raise ConfigError(said) from error
    if show:
        print(_help(values, config_name))
        sys.exit(0)
    return Composed(values, tuple(str(Path(d).resolve()) for d in config_dirs))


def typed(composed: Composed, command: type[T]) -> T:
    """The composed config as a command's settings; ConfigError names a key that is at fault.

    Keys of the same yaml that other commands use are let pass, those that nobody knows are not.
    """
    values, folders = dict(composed.values), composed.folders
    wanted = {f.name for f in fields(command)}  # type: ignore[arg-type]
    targets: dict[str, Any] = {}
    for role, (kind, settings) in _ROLES.items():
        if role in values:
            shared = {f.name for f in fields(settings)}
            targets[kind] = Target.from_node(values[role], role, apart=shared, folders=folders)
    targets["formats"] = formats = {
        name: Target.from_node(node, name, folders=folders)
        for name, node in values.items()
        if name not in _ROLES and isinstance(node, Mapping) and TARGET in node
    }
    whole: Any = command if issubclass(command, AnnotateCommand) else AnnotateCommand
    whole = whole if "dataset" in values else command
    known = [key for key in schema.keys(whole) if key.partition(".")[0] not in targets]
    known += ["models", "threshold", "only", "export", *schema.keys(ExportSettings, "export")]
    known += ["store", *schema.keys(StoreSettings, "store")]
    known += [name for name in (*_ROLES, *formats) if name in values]
    schema.refuse_unknown(values, known)
    if "dataset" in wanted and values["dataset"].get("path") == schema.MISSING:
        raise ConfigError("dataset is not given: add dataset=VALUE")
    if "dataset" in wanted and isinstance(given := values["dataset"].get("path"), (list, dict)):
        raise ConfigError(
            f"dataset={given}: expected one folder, file, glob, url or name; several folders are "
            "read when they lie below one (links are followed)"
        )
    for role, (_, settings) in _ROLES.items():
        if role in wanted:
            own = {f.name for f in fields(settings)}
            values[role] = {k: v for k, v in values[role].items() if k in own}
    # What needs no class of a model or a format to be told is told first: those take a while.
    made = schema.checked(command, {k: v for k, v in (values | targets).items() if k in wanted})
    for target in (*formats.values(), *(targets[k] for k, _ in _ROLES.values() if k in targets)):
        known += [f"{target.at}.{key}" for key in target.known_keys()]
    schema.refuse_unknown(_dotted(composed.values), known)
    return made


def _dotted(values: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a config, those of its sections included."""
    for name, value in values.items():
        yield name
        if isinstance(value, Mapping):
            yield from (f"{name}.{key}" for key in value if key != TARGET)


def _help(values: Mapping[str, Any], config_name: str) -> str:
    """What `--help` prints: the shipped files with their comments, then the composed values."""
    root = conf_dir()
    groups = ("dataset/path", "export/default", "ground/fast", "segment/fast", "track/sam2")
    names = [config_name, *(g for g in groups if g.split("/")[0] in values and config_name != g)]
    files = [f"# {name}.yaml\n{(root / f'{name}.yaml').read_text('utf-8')}" for name in names]
    return "\n".join([*files, "# composed with the arguments given", OmegaConf.to_yaml(values)])


def _split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str], bool]:
    overrides: list[str] = []
    config_dirs: list[str] = []
    rest = iter(argv)
    show = False
    for argument in rest:
        if argument in ("-h", "--help"):
            show = True
        elif argument in ("-cd", "--config-dir") or argument.startswith("--config-dir="):
            place = _at_home(argument.partition("=")[2] or next(rest, ""))
            if not Path(place).is_dir():
                raise ConfigError(f"--config-dir {place}: no such folder")
            config_dirs.append(place)
        elif argument.startswith("~"):
            raise ConfigError(f"{argument}: no key can be taken away; set it to what it should be")
        elif "=" in argument.lstrip("+") and not argument.startswith("-"):
            overrides.append(argument)
        else:
            raise ConfigError(
                f"{argument!r}: expected key=value, such as dataset=photos prompts=classes.txt "
                "(--help shows every key)"
            )
    return overrides, config_dirs, show


def _expanded(overrides: Sequence[str], places: Sequence[Path]) -> Iterator[str]:
    """Overrides as Hydra needs them.

    A value is set whether its key is known or not: what is unknown is refused afterwards, by those
    who know the nearest keys. A format that the shipped defaults do not name is brought in.
    """
    # Then `dataset` is a name that FiftyOne knows.
    named = any(o.lstrip("+") == "dataset.kind=fiftyone" for o in overrides)
    for override in overrides:
        key, _, value = override.partition("=")
        name = key.lstrip("+")
        if (name == "dataset" and named) or (
            name == "dataset" and not _is_dataset_config(value, places)
        ):  # not here, but there
            yield f"dataset.path={value}"
        elif name == "export" and not value.startswith("{"):
            formats = value if value.startswith("[") else f"[{value}]"
            yield from _bring_formats(formats, places)
            yield f"++export.formats={formats}"
        elif name == "format":  # a group of its own, which `export` chooses from
            schema.refuse_unknown([name], ["export"])
        elif re.match(r"hydra\b", name):
            raise ConfigError(f"{name}: no such key; Hydra's own settings have no use here")
        elif name == "ground" and value.startswith("["):
            yield from _members(value, places)
        elif "@" in name:  # one of a group, put where it is said to
            yield override
        elif name not in _GROUPS:
            quoted = re.sub(r"(['\\])", r"\\\1", _at_home(value))
            yield f"++{name}='{quoted}'" if value.startswith("~") else f"++{name}={value}"
        elif value in (known := _presets(name, places)):
            yield f"{name}={value}"
        else:
            near = schema.nearest(value, known)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(f"{name}={value}: known are {', '.join(known)}{hint}")


def _members(listed: str, places: Sequence[Path]) -> Iterator[str]:
    """Overrides for the grounders of an ensemble, `[balanced,owlv2]`, instead of the usual ones."""
    names = [part.strip(" '\"") for part in listed.strip("[]").split(",")]
    known = _presets("ground", places)
    for name in names:
        if name not in known or name == ENSEMBLE or names.count(name) > 1:
            near = schema.nearest(name, known)
            hint = f"; did you mean {', '.join(near)}?" if near and name not in known else ""
            raise ConfigError(
                f"ground={listed}: expected different ones of "
                f"{', '.join(n for n in known if n != ENSEMBLE)}{hint}"
            )
    yield f"ground={ENSEMBLE}"
    for usual in USUAL_MEMBERS:
        if usual not in names:
            yield f"~ground@ground.members.{usual}"
    yield from (f"+ground@ground.members.{n}={n}" for n in names if n not in USUAL_MEMBERS)


def _presets(group: str, places: Sequence[Path]) -> list[str]:
    """The configs of a group by name."""
    return sorted({path.stem for place in places for path in (place / group).glob("*.yaml")})


def _bring_formats(listed: str, places: Sequence[Path]) -> Iterator[str]:
    """Overrides for formats that are no part of the shipped defaults: yaml, or entry points."""
    shipped = default_formats()
    for name in (part.strip(" '\"") for part in listed.strip("[]").split(",")):
        if name in shipped or not re.fullmatch(r"[\w-]+", name):
            continue
        if name in {f.name for f in fields(AnnotateCommand)}:
            raise ConfigError(f"export={name}: a format cannot be called as another key is")
        if name not in _presets("format", places):
            found = [e for e in entry_points(group=_FORMATS) if e.name == name]
            if not found:
                known = [*_presets("format", places), *_installed()]
                near = schema.nearest(name, known)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                raise ConfigError(
                    f"export={name}: no such format; known are {', '.join(known)}{hint}"
                )
            target = found[0].value.replace(":", ".")
            node = {TARGET: target, **_defaults(target)}
            ConfigStore.instance().store(name=name, node=node, group="format")
        yield f"+format@{name}={name}"


def _installed() -> list[str]:
    return sorted(e.name for e in entry_points(group=_FORMATS))


def _defaults(target: str) -> dict[str, Any]:
    """The defaults of a class that no yaml describes: those of its signature."""
    found = schema.parameters(Target("export", target).locate())
    return {name: p.default for name, p in found.items() if p.default is not p.empty}


def _is_dataset_config(name: str, places: Sequence[Path]) -> bool:
    if not re.fullmatch(r"[\w-]+", name):
        return False
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
    left: list[str] = []
    taken: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        is_path = value not in ("", "null") and (value[0] not in "[{$" or _is_there(value))
        taken.pop(key, None)  # given again: the last one counts
        if key == "prompts" and not value:
            raise ConfigError(
                "prompts= is empty: add prompts=classes.txt or prompts='[car,person]'"
            )
        if key == "prompts" and not is_path and re.fullmatch(r"\[.*\]", value, re.DOTALL):
            left.append(f"{override.partition('=')[0]}=[{','.join(_as_text(value[1:-1]))}]")
        elif key in (*_PATH_KEYS, "dataset.path") and is_path:
            if value[0] == value[-1] and value[0] in "'\"" and len(value) > 1:
                value = value[1:-1]
            taken[key] = _at_home(value).replace("${", "\\${")
        else:
            left.append(override)
    return left, taken


def _at_home(value: str) -> str:
    """A path with its `~` resolved, which a shell does not do behind a `=`."""
    if not value.startswith("~"):
        return value
    try:
        return str(Path(value).expanduser())
    except RuntimeError as error:
        raise ConfigError(f"{value}: {error}") from error


def _is_there(value: str) -> bool:
    """Whether a text is the path of something, whatever its brackets would mean."""
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no such home
        return False


def _not_understood(override: str) -> str:
    """What to write where a value breaks the grammar of `key=value`."""
    key, _, value = override.partition("=")
    bare = re.sub(r"""\\.|'[^']*'|"[^"]*\"""", "", value)
    if any(bare.count(a) != bare.count(b) for a, b in ("[]", "{}", "()")):
        return f"{override}: a bracket is not closed; a list is {key}='[a,b]'"
    if "'" in bare or '"' in bare:
        return f"{override}: a quote is not closed"
    if re.fullmatch(r"[+-]?\d+,\d+", value):
        return f"{override}: a number has a point: {key}={value.replace(',', '.')}"
    if "," in bare and bare[:1] not in "[{":
        return f"{override}: a list is {key}='[{value}]'; a text with commas {key}=\"'{value}'\""
    return f"{override}: not understood; a text with such marks is {key}=\"'{value}'\""


def _refuse_twice(overrides: Sequence[str]) -> None:
    """ConfigError where what there is one of is given twice; of settings the last one counts."""
    given: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in ("dataset", "run", "truth") and given.setdefault(key, value) != value:
            several = f"; several are read together as run='[{given[key]},{value}]'"
            raise ConfigError(
                f"{key} is given twice, as {given[key]} and {value}"
                + (several if key == "run" else "")
            )


def _as_text(listed: str) -> Iterator[str]:
    """The entries of an inline list in quotes: Hydra's grammar makes numbers of 007 and 1e3."""
    start, depth, quote = 0, 0, ""
    for at, mark in enumerate(f"{listed},"):
        if quote:
            quote = "" if mark == quote and listed[at - 1] != "\\" else quote
        elif mark in "'\"" and not listed[start:at].strip():
            quote = mark
        elif mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark == "," and depth == 0 and (at == 0 or listed[at - 1] != "\\"):
            entry = listed[start:at].strip()
            start = at + 1
            plain = entry and entry[0] not in "'\"[{$"
            yield "'" + re.sub(r"\\(.)", r"\1", entry).replace("'", "\\'") + "'" if plain else entry
    if quote or depth:
        yield listed[start:]  # unbalanced: for the grammar to say where


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(
        line for line in lines if not line.startswith(("object_type", "reference_type"))
    )
    return text or type(error).__name__
