"""The class list: what the user wrote, checked once, with the file and line of what is wrong.

Names and phrases are text as written: `no`, `on`, `007` and `12:30` are no booleans and no numbers,
in a file or on the command line.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from annotate.config.schema import nearest
from annotate.data.examples import Example
from annotate.data.types import ClassList, ClassSpec, spoken
from annotate.errors import PromptError, StorageError
from annotate.store.remote import is_url, read_text

_KEYS = (
    "name", "phrases", "negatives", "threshold", "min_area", "max_area", "min_aspect",
    "max_aspect", "parent", "group", "colour", "veto", "like",
)  # fmt: skip
_JOINERS = "\u200c\u200d"  # invisible, between letters of Persian and parts of emoji
_SPELLED_OUT = 200  # characters of a line, from which it is taken for a text and not for a name


def load_prompts(source: str | Sequence[Any] | Mapping[str, Any] | None) -> ClassList:
    """Read a class list from a .txt or .yaml file, or from an inline list of `name: phrases`.

    Inline it may also be a mapping: from each name to its phrases, to its keys, or to None.

    The file may be on a store, as `s3://bucket/classes.txt`.

    Text: one class a line, `#` comments, `name: phrase one, phrase two` for synonyms. Raises
    PromptError naming file and line.
    """
    if source is None:
        raise PromptError(
            "prompts is not given: add prompts=classes.txt or prompts='[red car,person]'"
        )
    if isinstance(source, Mapping):
        placed = [(f"prompts[{name!r}]", name, said) for name, said in source.items()]
        return _class_list([(at, _parse_named(n, said, at)) for at, n, said in placed], "prompts")
    if not isinstance(source, str):
        return _class_list(
            [(f"prompts[{i}]", _parse_entry(s, f"prompts[{i}]")) for i, s in enumerate(source)],
            "prompts",
        )
    try:
        path = Path(source) if is_url(source) else Path(source).expanduser()
        text = read_text(source) if is_url(source) else path.read_text(encoding="utf-8-sig")
    except StorageError as error:
        raise PromptError(f"prompts={error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise PromptError(f"{source}: not UTF-8 text (byte {error.start})") from error
        raise PromptError(f"prompts={source}: {_no_file(source, error)}") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml_text(text, source)
    lines = ((f"{source}:{n}", _strip_comment(line)) for n, line in enumerate(text.splitlines(), 1))
    return _class_list([(at, _parse_line(line, at)) for at, line in lines if line], source)


def _no_file(source: str, error: Exception) -> str:
    """What to write where a text is no file."""
    names = [name.strip() for name in re.split(r"[,.]", source) if name.strip()]
    reason = f"cannot read it ({getattr(error, 'strerror', None) or error})"
    if len(names) > 1 and not re.search(r"[/\\]|\.\w{1,4}$", source):
        return f"{reason}; a list stands in brackets: prompts='[{','.join(names)}]'"
    example = "[red car,person]" if re.search(r"[/\\.]", source) else f"[{source}]"
    return f"{reason}; expected a .txt or .yaml file, or a list such as prompts='{example}'"


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
    if line[:1] == line[-1:] and line[:1] in ("'", '"') and len(line) > 2:
        raise PromptError(f"{at}: {line}: names stand without quotes here; write {line[1:-1]}")
    # A time of day is a name: 12:30.
    name, colon, phrases = _divided(line)
    if colon and re.fullmatch(r"\d+", name.strip()) and "," not in phrases and phrases.strip():
        raise PromptError(
            f"{at}: {line!r} would be a class called {name.strip()!r}; before a colon stands the "
            f"class's name, numbers are given by order: write {phrases.strip()!r}"
        )
    parts = [part.strip() for part in line.split(".")]
    if not colon and len(parts) > 2 and all(parts[:-1]) and (not parts[-1] or len(parts) > 3):
        raise PromptError(
            f"{at}: {line[:60]!r} looks like a caption for Grounding DINO; write one class a line: "
            f"{parts[0]!r}, {parts[1]!r}, ..."
        )
    if not colon and len(line) > _SPELLED_OUT:
        raise PromptError(f"{at}: {line[:60]!r}... is no name; expected one class a line")
    return _spec({"name": name, "phrases": phrases.split(",") if colon else None}, at)


def _divided(line: str) -> tuple[str, bool, str]:
    """A name, whether phrases follow it, and these; the colon of a time of day (12:30) is text."""
    found = re.search(r":(?!(?<=\d:)\d)", line)
    return (line[: found.start()], True, line[found.end() :]) if found else (line, False, "")


def _parse_entry(entry: Any, at: str) -> ClassSpec:
    if isinstance(entry, Mapping):
        for key in entry:
            if key not in _KEYS:
                near = nearest(str(key), _KEYS)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                if not near and len(entry) == 1:
                    hint = f"; a class with phrases is `- name: {key}` with `phrases:` below it"
                raise PromptError(f"{at}: unknown key {key!r}; known are {', '.join(_KEYS)}{hint}")
        return _spec(entry, at)
    if isinstance(entry, bool):
        raise PromptError(f"{at}: {entry} is no text; put what was written in quotes")
    if entry is None or isinstance(entry, (list, tuple)):
        raise PromptError(f"{at}: expected a name or a mapping with `name`, not {entry!r}")
    return _parse_line(str(entry), at)


def _parse_named(name: Any, said: Any, at: str) -> ClassSpec:
    """A class of a mapping, of which something is said beside its name."""
    if not isinstance(said, Mapping):
        return _spec({"name": name, "phrases": [said] if isinstance(said, str) else said}, at)
    if "name" in said:
        raise PromptError(f"{at}: has a `name` inside; the name is {name!r} already")
    return _parse_entry({"name": name, **said}, at)


def _from_yaml_text(text: str, source: str) -> ClassList:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{source}:{mark.line + 1}" if mark else source
        raise PromptError(f"{at}: not valid yaml ({getattr(error, 'problem', error)})") from error
    except RecursionError as error:
        raise PromptError(f"{source}: not valid yaml (nested too deep)") from error
    data = _as_written(node, source, set())
    entries = node
    if isinstance(data, dict) and "classes" in data:
        entries = next(value for key, value in node.value if key.value == "classes")
        if others := set(data) - {"classes"}:
            raise PromptError(f"{source}: unknown key {min(others)!r} beside `classes:`")
        data = data["classes"]
    if not isinstance(data, list):
        raise PromptError(f"{source}: expected a list of classes, or `classes:` holding one")
    places = [f"{source}:{child.start_mark.line + 1}" for child in entries.value]
    return _class_list(list(zip(places, map(_parse_entry, data, places), strict=True)), source)


def _as_written(node: yaml.Node | None, source: str, above: set[int]) -> Any:
    """A parsed yaml with every value as the text that was written; None where nothing was.

    yaml 1.1 takes `no` for false, `12:30` for 750 and `007` for 7. Aliases are refused: a few lines
    of them can stand for more than fits in memory.
    """
    if node is None:
        return None
    at = f"{source}:{node.start_mark.line + 1}"
    if id(node) in above:
        raise PromptError(f"{at}: aliases (&name, *name) are not read here; write the values out")
    above.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_as_written(child, source, above) for child in node.value]
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise PromptError(f"{at}: a key must be a word")
            if key.value in made:
                line = key.start_mark.line + 1
                raise PromptError(f"{source}:{line}: {key.value!r} stands twice")
            made[key.value] = _as_written(value, source, above)
        return made
    return None if node.value == "" and node.style is None else node.value


def _spec(entry: Mapping[str, Any], at: str) -> ClassSpec:
    name = _text(entry.get("name"), at)
    if not name:
        raise PromptError(f"{at}: class name is empty; expected one name per line")
    like = _examples(entry.get("like"), at)
    phrases = _phrases(entry.get("phrases"), "phrases", at) or (() if like else (name,))
    colour = entry.get("colour")
    if colour is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", str(colour)):
        raise PromptError(f"{at}: colour={colour!r}; expected '#rrggbb'")
    spec = ClassSpec(
        name=name,
        phrases=phrases,
        negatives=_phrases(entry.get("negatives"), "negatives", at),
        threshold=_number(entry, "threshold", at, high=1.0),
        min_area=_number(entry, "min_area", at),
        max_area=_number(entry, "max_area", at),
        min_aspect=_number(entry, "min_aspect", at),
        max_aspect=_number(entry, "max_aspect", at),
        parent=_text(entry.get("parent"), at) or None,
        group=_text(entry.get("group"), at) or None,
        colour=colour,
        veto=_number(entry, "veto", at, high=1.0),
        like=like,
    )
    for what in ("area", "aspect"):
        low, high = getattr(spec, f"min_{what}"), getattr(spec, f"max_{what}")
        if low is not None and high is not None and low > high:
            raise PromptError(f"{at}: min_{what}={low:g} is above max_{what}={high:g}")
    return spec


def _text(value: Any, at: str) -> str:
    """One line of printable text: control characters would break every text format we write."""
    if isinstance(value, (Mapping, list, tuple)):
        raise PromptError(f"{at}: expected a text, not {value!r}")
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
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise PromptError(f"{at}: {key}={value!r}; expected a list of texts")
    texts = [_text(v, at) for v in value]
    if not all(texts):
        raise PromptError(f"{at}: an empty text in {key}; remove the extra comma or the colon")
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(spoken(text).casefold(), text)
    return tuple(first.values())


def _examples(value: Any, at: str) -> tuple[str, ...]:
    """Examples with the whole paths of their pictures, which count from where the list lies."""
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(v, str) for v in listed):
        raise PromptError(f"{at}: like={value!r}; expected a list of PICTURE#x,y,w,h")
    source = re.sub(r":\d+$|: class \d+$", "", at)
    found = []
    for text in listed:
        try:
            example = Example.parse(text)
        except ValueError as error:
            raise PromptError(f"{at}: like={text!r}: {error}") from error
        picture = (Path(source).expanduser().parent / example.picture.expanduser()).absolute()
        if not picture.is_file():
            raise PromptError(f"{at}: like={text!r}: no such picture ({picture})")
        found.append(str(Example(picture, example.box_xywh)))
    return tuple(dict.fromkeys(found))


def _number(
    entry: Mapping[str, Any], key: str, at: str, high: float = float("inf")
) -> float | None:
    value = entry.get(key)
    if value is None or value == "null":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= high or math.isinf(number):
        limit = f"0..{high:g}" if high < float("inf") else ">= 0"
        raise PromptError(f"{at}: {key}={value!r}; expected a number {limit}")
    return number


def _class_list(placed: Sequence[tuple[str, ClassSpec]], source: str) -> ClassList:
    if not placed:
        raise PromptError(f"{source}: no class in it; expected one name per line")
    names: dict[str, str] = {}
    owners: dict[str, tuple[str, str]] = {}
    for at, spec in placed:
        if (before := names.setdefault(spec.name.casefold(), at)) != at:
            raise PromptError(f"{at}: class {spec.name!r} is already named at {before}")
        for phrase in spec.phrases:
            owner, where = owners.setdefault(spoken(phrase).casefold(), (spec.name, at))
            if owner != spec.name:
                raise PromptError(f"{at}: phrase {phrase!r} already finds {owner!r} at {where}")
    _check_parents(placed)
    return ClassList(tuple(spec for _, spec in placed))


def _check_parents(placed: Sequence[tuple[str, ClassSpec]]) -> None:
    """Parents are classes of the list, and nobody is among their own."""
    parents = {spec.name: spec.parent for _, spec in placed}
    for at, spec in placed:
        if spec.parent is not None and spec.parent not in parents:
            near = nearest(spec.parent, list(parents))
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise PromptError(f"{at}: parent={spec.parent!r} is no class of this list{hint}")
        above, way = spec.parent, [spec.name]
        while above is not None:
            if above in way:
                circle = " below ".join([*way, above])
                raise PromptError(f"{at}: {circle}: no class is its own parent")
            way.append(above)
            above = parents[above]
