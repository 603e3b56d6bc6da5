"""A signature is a schema: values from a config become its arguments, or one line names the key.

What may stand where is said once, by the annotation of a parameter: a type, and with it the range
(`Annotated[float, within(0, 1)]`). Values are converted by pydantic.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from annotate.errors import ConfigError

T = TypeVar("T")

MISSING = "???"  # the value of a key that must be given
SHOWN_CHARACTERS = 80  # of a value, in a message

_TYPES = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)
_EXPECTED = {"int": "a whole number", "float": "a number", "bool": "true or false"} | {
    "string": "text", "list": "a list", "tuple": "a list",
}  # fmt: skip
# What people type, and what it is called here.
ALIASES = {
    "classes": "prompts", "conf": "threshold", "confidence": "threshold", "data": "dataset",
    "format": "export", "formats": "export", "input": "dataset", "labels": "prompts",
    "model": "models", "output": "out", "project": "out", "prompt": "prompts",
    "source": "dataset", "weights": "models",
}  # fmt: skip


def checked(target: Callable[..., T], values: Mapping[str, Any], at: str = "") -> T:
    """`target(**values)`, with values of the types that its signature says.

    A parameter that is a dataclass takes a mapping, which is checked the same way. `at` is where
    the values stand in the config. Raises ConfigError for a key that is unknown or missing, and for
    a value that does not fit.
    """
    signature = parameters(target)
    refuse_unknown(values, signature, at)
    hints = _hints(target)
    made: dict[str, Any] = {}
    for name, parameter in signature.items():
        key = f"{at}.{name}" if at else name
        value = values.get(name, MISSING)
        if isinstance(value, str) and value == MISSING:
            if parameter.default is inspect.Parameter.empty:
                raise ConfigError(f"{key} is not given: add {key}=VALUE")
            continue
        hint = hints.get(name, Any)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if isinstance(value, hint):
                made[name] = value
            elif isinstance(value, Mapping):
                made[name] = checked(hint, value, key)
            else:
                raise ConfigError(f"{key}={_shown(value)}: expected keys such as {key}.KEY=VALUE")
        else:
            made[name] = _converted(hint, value, key)
    return target(**made)


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a class or a function takes by name."""
    return {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


def keys(target: Callable[..., Any], at: str = "") -> list[str]:
    """The dotted keys of a signature, those of nested dataclasses included."""
    found = []
    hints = _hints(target)
    for name in parameters(target):
        key = f"{at}.{name}" if at else name
        hint = hints.get(name)
        found.append(key)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            found += keys(hint, key)
    return found


def refuse_unknown(given: Iterable[str], known: Collection[str], at: str = "") -> None:
    """Raise ConfigError for the first key that nobody knows, with the nearest ones."""
    for name in given:
        if name not in known:
            key = f"{at}.{name}" if at else str(name)
            near = nearest(str(name), known)
            hint = ", ".join(f"{at}.{n}" if at else n for n in near)
            raise ConfigError(f"{key}: no such key" + (f"; did you mean {hint}?" if near else ""))


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Keys that somebody who typed `name` may have meant, the likeliest first; up to three."""
    alias = [ALIASES[name]] if ALIASES.get(name) in known else []
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    alike = difflib.get_close_matches(name, list(known), n=3, cutoff=0.7)
    by_last = {key.rpartition(".")[2]: key for key in reversed(sorted(known))}
    alike += [by_last[n] for n in difflib.get_close_matches(last, list(by_last), n=3, cutoff=0.7)]
    return list(dict.fromkeys([*alias, *same, *alike]))[:3]


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    of = target.__init__ if inspect.isclass(target) else target
    return get_type_hints(of, include_extras=True)


def _converted(hint: Any, value: Any, key: str) -> Any:
    try:
        made = TypeAdapter(hint, config=_TYPES).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{key}={_shown(value)}: expected {_expected(error, key)}") from error
    if isinstance(value, bool) and type(made) in (int, float):  # to pydantic, true is 1
        raise ConfigError(f"{key}={_shown(value)}: expected a number")
    return made


def _expected(error: ValidationError, key: str) -> str:
    """What should have been there, in the words of this house."""
    first = error.errors()[0]
    kind, context = first["type"], first.get("ctx", {})
    if kind == "value_error":  # ours: see `within`
        return str(context["error"])
    if kind == "literal_error":
        return f"one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind.startswith("dict"):
        return f"a mapping, such as {key}='{{a: 1, b: 2}}'"
    return _EXPECTED.get(kind.partition("_")[0], first["msg"].lower())


def _shown(value: Any) -> str:
    text = {None: "null", True: "true", False: "false"}.get(value) if _is_word(value) else None
    text = str(value) if text is None else text
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)
