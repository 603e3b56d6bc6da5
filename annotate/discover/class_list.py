"""The class list: what the user wrote, checked once, with the file and line of what is wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from annotate.data.types import ClassList, ClassSpec
from annotate.errors import PromptError, StorageError
from annotate.store.remote import is_url, read_text

_KEYS = ("name", "phrases", "negatives", "threshold", "min_area", "max_area", "colour")
_JOINERS = "\u200c\u200d"  # invisible, between letters of Persian and parts of emoji


def load_prompts(source: str | Sequence[str] | None) -> ClassList:
    """Read a class list from a .txt or .yaml file, or from an inline list of `name: phrases`.

    The file may be on a store, as `s3://bucket/classes.txt`.

    Text: one class a line, `#` comments, `name: phrase one, phrase two` for synonyms. Raises
    PromptError naming file and line.
    """
    if source is None:
        raise PromptError(
            "prompts is not given: add prompts=classes.txt or prompts='[red car,person]'"
        )
    if not isinstance(source, str):
        return _class_list(
            [(f"prompts[{i}]", _parse_line(str(s), f"prompts[{i}]")) for i, s in enumerate(source)],
            "prompts",
        )
    try:
        path = Path(source) if is_url(source) else Path(source).expanduser()
        text = read_text(source) if is_url(source) else path.read_text(encoding="utf-8-sig")
    except StorageError as error:
        raise PromptError(f"prompts={error}") from error
    except (OSError, RuntimeError) as error:
        raise PromptError(
            f"prompts={source}: cannot read it ({getattr(error, 'strerror', error)}); expected a "
            ".txt or .yaml file, or a list such as prompts='[red car,person]'"
        ) from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{source}: not UTF-8 text (byte {error.start})") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml_text(text, source)
    lines = ((f"{source}:{n}", _strip_comment(line)) for n, line in enumerate(text.splitlines(), 1))
    return _class_list([(at, _parse_line(line, at)) for at, line in lines if line], source)


def class_list_from_yaml(data: Any, source: str) -> ClassList:
    """The class list of an already parsed yaml (a list of entries, or `classes:` holding one)."""
    entries = data.get("classes") if isinstance(data, Mapping) else data
    if not isinstance(entries, list):
        raise PromptError(f"{source}: expected a list of classes")
    places = [f"{source}: class {n}" for n in range(1, len(entries) + 1)]
    return _class_list(list(zip(places, map(_parse_entry, entries, places), strict=True)), source)


def class_list_to_yaml(classes: ClassList) -> str:
    """Yaml that `load_prompts` reads back to an equal class list."""
    entries = []
    for spec in classes.classes:
        entry = {key: getattr(spec, key) for key in _KEYS}
        entries.append(
            {
                k: list(v) if isinstance(v, tuple) else v
                for k, v in entry.items()
                if v not in (None, ())
            }
        )
    return str(yaml.safe_dump({"classes": entries}, allow_unicode=True, sort_keys=False))


def _strip_comment(line: str) -> str:
    # Only a `#` that starts the line or follows a blank: "c# book" is a class.
    return re.sub(r"(^|\s)#.*", "", line).strip()


def _parse_line(line: str, at: str) -> ClassSpec:
    name, colon, phrases = line.partition(":")
    return _spec({"name": name, "phrases": phrases.split(",") if colon else None}, at)


def _parse_entry(entry: Any, at: str) -> ClassSpec:
    if isinstance(entry, str):
        return _parse_line(entry, at)
    if not isinstance(entry, Mapping):
        raise PromptError(f"{at}: expected a name or a mapping with `name`, not {entry!r}")
    unknown = sorted(set(map(str, entry)) - set(_KEYS))
    if unknown:
        raise PromptError(f"{at}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    return _spec(entry, at)


def _from_yaml_text(text: str, source: str) -> ClassList:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{source}:{mark.line + 1}" if mark else source
        raise PromptError(f"{at}: not valid yaml ({getattr(error, 'problem', error)})") from error
    if isinstance(data, Mapping) and "classes" in data:
        data = data["classes"]
        node = next(value for key, value in node.value if key.value == "classes")
    if not isinstance(data, list):
        raise PromptError(f"{source}: expected a list of classes, or `classes:` holding one")
    places = [f"{source}:{child.start_mark.line + 1}" for child in node.value]
    return _class_list(list(zip(places, map(_parse_entry, data, places), strict=True)), source)


def _spec(entry: Mapping[str, Any], at: str) -> ClassSpec:
    name = _text(entry.get("name"), at)
    if not name:
        raise PromptError(f"{at}: class name is empty; expected one name per line")
    phrases = _phrases(entry.get("phrases"), "phrases", at) or (name,)
    colour = entry.get("colour")
    if colour is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", str(colour)):
        raise PromptError(f"{at}: colour={colour!r}; expected '#rrggbb'")
    return ClassSpec(
        name=name,
        phrases=phrases,
        negatives=_phrases(entry.get("negatives"), "negatives", at),
        threshold=_number(entry, "threshold", at, high=1.0),
        min_area=_number(entry, "min_area", at),
        max_area=_number(entry, "max_area", at),
        colour=colour,
    )


def _text(value: Any, at: str) -> str:
    """One line of printable text: control characters would break every text format we write."""
    text = "" if value is None else str(value)
    try:
        # Writers of json escape what is beyond U+FFFF in two halves, and yaml leaves them apart.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise PromptError(
            f"{at}: {text!r} holds half of an escaped character; write the character itself"
        ) from error
    return " ".join("".join(map(_shown, text)).split()).strip(f" {_JOINERS}")


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return "" if unicodedata.category(character) == "Cf" else " "  # such as marks of direction


def _phrases(value: Any, key: str, at: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Iterable):
        raise PromptError(f"{at}: {key}={value!r}; expected a list of texts")
    texts = [_text(v, at) for v in value]
    if not all(texts):
        raise PromptError(f"{at}: an empty text in {key}; remove the extra comma or the colon")
    return tuple(
        {t.casefold(): t for t in reversed(texts)}[k]
        for k in dict.fromkeys(t.casefold() for t in texts)
    )


def _number(
    entry: Mapping[str, Any], key: str, at: str, high: float = float("inf")
) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
        limit = f"0..{high:g}" if high < float("inf") else ">= 0"
        raise PromptError(f"{at}: {key}={value!r}; expected a number {limit}")
    return float(value)


def _class_list(placed: Sequence[tuple[str, ClassSpec]], source: str) -> ClassList:
    if not placed:
        raise PromptError(f"{source}: no class in it; expected one name per line")
    names: dict[str, str] = {}
    owners: dict[str, tuple[str, str]] = {}
    for at, spec in placed:
        if (before := names.setdefault(spec.name.casefold(), at)) != at:
            raise PromptError(f"{at}: class {spec.name!r} is already named at {before}")
        for phrase in spec.phrases:
            owner, where = owners.setdefault(phrase.casefold(), (spec.name, at))
            if owner != spec.name:
                raise PromptError(f"{at}: phrase {phrase!r} already finds {owner!r} at {where}")
    return ClassList(tuple(spec for _, spec in placed))
