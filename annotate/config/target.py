"""Classes that a config names: found, checked against their signature, and made."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate.config import schema
from annotate.errors import ConfigError, one_line

KEY = "_target_"


@dataclass(frozen=True, slots=True)
class Target:
    """A class by its dotted name, with the arguments that the config gives it.

    `folders` are those of `--config-dir`, where a class of the user's own may lie beside its yaml.
    """

    at: str  # where it stands in the config: ground, segment, or a format
    name: str  # of the class: package.module.Class
    arguments: Mapping[str, Any] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    @classmethod
    def from_node(
        cls, node: Any, at: str, *, apart: Collection[str] = (), folders: tuple[str, ...] = ()
    ) -> Target:
        """From a config's mapping, less the keys `apart`, which are not the class's."""
        if not isinstance(node, Mapping) or not isinstance(node.get(KEY), str):
            raise ConfigError(f"{at}: names no class; expected {KEY}: package.module.Class")
        arguments = {
            k: cls._nested(v, f"{at}.{k}", apart=apart, folders=folders)
            for k, v in node.items()
            if k != KEY and k not in apart
        }
        return cls(at, node[KEY], arguments, folders)

    @classmethod
    def _nested(
        cls, value: Any, at: str, *, apart: Collection[str], folders: tuple[str, ...]
    ) -> Any:
        """A value as it is; of a mapping of nodes that name classes, their targets by name."""
        nodes = value.values() if isinstance(value, Mapping) else ()
        if not nodes or not all(isinstance(n, Mapping) and KEY in n for n in nodes):
            return value
        return {
            name: cls.from_node(node, f"{at}.{name}", apart=apart, folders=folders)
            for name, node in value.items()
        }

    @property
    def parts(self) -> list[Target]:
        """The targets that it is made of, which are among its arguments; else itself."""
        found: list[Target] = []
        for value in self.arguments.values():
            if isinstance(value, Mapping):
                found += [p for v in value.values() if isinstance(v, Target) for p in v.parts]
        return found or [self]

    @classmethod
    def recorded(
        cls,
        node: Any,
        at: str,
        *,
        named: Collection[str],
        apart: Collection[str] = (),
        folders: tuple[str, ...] = (),
    ) -> Target:
        """From what a run folder says of itself, which is data and may come from anywhere.

        Raises ConfigError unless the class is one that the configs of this machine name.
        """
        target = cls.from_node(node, at, apart=apart, folders=folders)
        if target.name not in named:
            raise ConfigError(
                f"the run's config.yaml names {at}.{KEY}={target.name}, which no config here "
                "names, so it is not called; if it is yours, add the --config-dir that names it"
            )
        return target

    @property
    def shown(self) -> str:
        """Its model, or the class where none is named, for people."""
        if (parts := self.parts) != [self]:
            return " + ".join(part.shown for part in parts)
        return str(self.arguments.get("model") or self.name.rpartition(".")[2])

    def locate(self) -> type:
        """The class. Raises ConfigError where there is none of that name."""
        module_name, _, name = self.name.rpartition(".")
        for folder in self.folders:
            if folder not in sys.path:
                sys.path.append(folder)  # last, so that nothing is hidden by what lies there
        try:
            found = getattr(importlib.import_module(module_name or name), name, None)
        except Exception as error:  # a module may raise whatever it likes
            raise ConfigError(
                f"{self.at}.{KEY}={self.name}: cannot be imported ({one_line(error)})"
            ) from error
        if not inspect.isclass(found):
            raise ConfigError(f"{self.at}.{KEY}={self.name}: {module_name} has no class {name}")
        return found

    def make(self, contract: type, *, made_from: str = "") -> Any:
        """The object, whose class must be a kind of `contract` (told as `made_from`, if given).

        Raises ConfigError for a key that its signature does not know, or a value that does not fit.
        """
        kind = self.locate()
        if not issubclass(kind, contract):
            base = made_from or f"{contract.__module__}.{contract.__name__}"
            raise ConfigError(f"{self.at}.{KEY}={self.name}: its class must be made from {base}")
        return schema.checked(kind, self.arguments, self.at)

    def known_keys(self) -> list[str]:
        """What may stand beside the class's name."""
        return list(schema.parameters(self.locate()))

    def deciding(self) -> dict[str, Any]:
        """The node, less what its class lists as deciding nothing of the result."""
        idle = getattr(self.locate(), "decides_nothing", ())
        return {KEY: self.name} | {
            key: _plain(value) for key, value in self.arguments.items() if key not in idle
        }


def _plain(value: Any) -> Any:
    """A value of a node as a config has it, less what decides nothing in targets that it holds."""
    if isinstance(value, Mapping):
        return {k: v.deciding() if isinstance(v, Target) else v for k, v in value.items()}
    return value
