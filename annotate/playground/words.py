"""The words of `annotate playground`: which are the page's, and which every job's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import ConfigError

# What a visitor chooses, or the page does.
_OF_PAGE = ("dataset", "prompts", "models", "run", "out", "export", "shard", "limit", "dry_run")


@dataclass(frozen=True, slots=True)
class Words:
    """A command line's `key=value` and options."""

    argv: tuple[str, ...]

    @classmethod
    def of(cls, argv: Sequence[str]) -> Words:
        """Raises ConfigError where a run and a dataset are given, which are two datasets."""
        made = cls(tuple(argv))
        if made.value("run") and made.value("dataset"):
            raise ConfigError("run= and dataset=: a run has its dataset; give one of them")
        return made

    def value(self, key: str) -> str:
        """Of a key, "" where it is not given."""
        return next((v for k, v in map(_divided, self.argv) if k == key), "")

    def of_page(self, demo: Path) -> list[str]:
        """For the page's own config; without a dataset there is the demo, generated in a folder."""
        # Elsewhere `models=` is composed; here it is what the page begins with.
        asked = [f"playground.{w}" if _divided(w)[0] == "models" else w for w in self.argv]
        if self.value("dataset"):
            return asked
        return [*asked, *(["dataset=."] if self.value("run") else _demo(demo))]

    @property
    def of_jobs(self) -> tuple[str, ...]:
        """For every job."""
        return tuple(self._of_jobs())

    def _of_jobs(self) -> Iterator[str]:
        for word in self.argv:
            key, _ = _divided(word)
            if key not in _OF_PAGE and not key.startswith(("playground.", "dataset.path")):
                yield word


def _demo(folder: Path) -> list[str]:
    return ["dataset=demo", f"dataset.path={folder}"]


def _divided(word: str) -> tuple[str, str]:
    key, _, value = word.lstrip("+").partition("=")
    return key, value
