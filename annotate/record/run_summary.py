"""`summary.json` of a run, read back: what it came to, and which gates it kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from annotate.errors import StorageError


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit, and what the run came to."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """What the records of a run hold."""

    ok: int  # items
    failed: int  # items
    frames: int  # that exports have: a review may have rejected some
    annotated: int  # frames with an instance that exports have
    recorded: dict[str, int]  # instances per class, down to the record floor
    kept: dict[str, int]  # instances per class that exports have
    failures: list[dict[str, str]]  # item and reason, the first few
    best: dict[str, float] = field(default_factory=dict)  # highest score recorded per class, or 0
    wrong_size: dict[str, int] = field(default_factory=dict)
    """Instances per class that score enough, of an area that was not asked for."""


@dataclass(frozen=True, slots=True)
class Export:
    """One export; see `ExportSummary` of exporters/base.py."""

    format: str
    path: str  # its folder, or the url of one on a store
    images: int
    instances: int
    per_class: Mapping[str, int] = field(default_factory=dict)  # instances
    per_split: Mapping[str, int] = field(default_factory=dict)  # images
    left_out: Mapping[str, int] = field(default_factory=dict)  # by reason
    not_held: Mapping[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended, as `annotate.runner.summary` wrote it; what this does not know is let be."""

    status: str  # done | gate_failed | interrupted | stopped
    exit_code: int  # of the command: 0, 2, 3 or 130
    items: Mapping[str, int] = field(default_factory=dict)  # found, new (done then), before; frames
    counts: Counts | None = None  # None where the run has not come to its end
    gates: tuple[Gate, ...] = ()
    exports: tuple[Export, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    peak_memory_mb: Mapping[str, int] = field(default_factory=dict)  # by kind: RAM, GPU memory
    advice: tuple[str, ...] = ()  # where exports have nothing of a class
    notes: tuple[str, ...] = ()  # of the dataset, for people
    error: str = ""  # why it stopped

    @classmethod
    def read(cls, path: Path) -> RunSummary:
        """Raises StorageError where there is none, or another file."""
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise StorageError(
                f"{path}: not there; the run has not come to its end, or its shards were not "
                "summed up: the command that began it, without shard=, goes on and writes it"
            ) from error
        except OSError as error:
            raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise StorageError(f"{path}: damaged; {where or 'json'}: {first['msg']}") from error

    @property
    def passed(self) -> bool:
        """Whether the run came to its end and kept every gate."""
        return self.exit_code == 0
