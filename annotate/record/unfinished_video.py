"""Provisional records of one video on disk, sealed now and then with the tracker's state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from annotate.data.types import FrameRecord
from annotate.discover.fingerprints import Fingerprint
from annotate.record import checkpoint, parquet
from annotate.store import atomic


class UnfinishedVideo:
    """Segments `drafts-N` and one `state-N`, which holds what followed from segments below N.

    A context: left in good order or not, what was sealed stays, and `remove` takes it away.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint, *, every: int) -> None:
        """`every`: frames from one seal to the next; `fingerprint`: the video must not change.

        Working files of another video, or that cannot be read, are removed.
        """
        self._folder, self._fingerprint, self._every = folder, fingerprint, every
        self._sealed = 0  # segments
        self._fresh = 0  # records since the last seal
        self._writer: parquet.PartWriter | None = None

    def resume(self, classes: Sequence[type], device: torch.device) -> Any | None:
        """The state sealed last, or None where the video is to be begun.

        `classes` are the dataclasses that it may hold.
        """
        for path in sorted(self._folder.glob("state-*.safetensors"), reverse=True):
            sealed = int(path.stem.removeprefix("state-"))
            found = checkpoint.load(path, (*classes, FrameRecord), device)
            whole = all(self._segment(n).is_file() for n in range(sealed))
            right = isinstance(found, dict) and found.get("stamp") == self._fingerprint
            if found is not None and right and whole and "state" in found:
                self._sealed = sealed
                return found["state"]
        atomic.remove_folder(self._folder)
        return None

    def add(self, record: FrameRecord) -> None:
        """Append a provisional record."""
        if self._writer is None:
            self._writer = parquet.PartWriter(self._folder, self._segment(self._sealed).stem)
            self._writer.__enter__()
        self._writer.add(record)
        self._fresh += 1

    def due(self, waiting: int) -> bool:
        """Whether it is time for a seal, with so many records that wait to be added."""
        return self._fresh + waiting >= self._every

    def seal(self, state: Any) -> None:
        """Close the segment and keep the state: from here a run can go on."""
        self._close()
        before = self._state(self._sealed)
        self._sealed += 1
        checkpoint.save(self._state(self._sealed), {"stamp": self._fingerprint, "state": state})
        before.unlink(missing_ok=True)
        self._fresh = 0

    def read(self) -> Iterator[FrameRecord]:
        """All of them from the first, once the video has come to its end."""
        self._close()
        segments = (self._segment(n) for n in range(self._sealed + (self._fresh > 0)))
        return chain.from_iterable(map(parquet.read_part, segments))

    def remove(self) -> None:
        """Take the working files away."""
        atomic.remove_folder(self._folder)

    def __enter__(self) -> UnfinishedVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.__exit__(None)
            self._writer = None

    def _segment(self, number: int) -> Path:
        return self._folder / f"drafts-{number:06d}.parquet"

    def _state(self, sealed: int) -> Path:
        return self._folder / f"state-{sealed:06d}.safetensors"
