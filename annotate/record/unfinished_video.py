"""The drafts of one video on disk, sealed now and then with the tracker's state to go on from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from annotate.data.types import FrameRecord
from annotate.discover.fingerprints import Stamp
from annotate.record import checkpoint, parquet
from annotate.store import atomic
from annotate.track.tracker import STATE_CLASSES


class Drafts:
    """Segments `drafts-N` and one `state-N`, which holds what followed from segments below N.

    A context: left in good order or not, what was sealed stays, and `remove` takes it away.
    """

    def __init__(self, folder: Path, stamp: Stamp, *, every: int) -> None:
        """`every`: frames from one seal to the next; `stamp`: of the video, which must not change.

        Working files of another video, or that cannot be read, are removed.
        """
        self._folder, self._stamp, self._every = folder, stamp, every
        self._sealed = 0  # segments
        self._fresh = 0  # drafts since the last seal
        self._writer: parquet.PartWriter | None = None

    def resume(self, device: torch.device) -> Any | None:
        """The state sealed last, or None where the video is to be begun."""
        for path in sorted(self._folder.glob("state-*.safetensors"), reverse=True):
            sealed = int(path.stem.removeprefix("state-"))
            found = checkpoint.load(path, (*STATE_CLASSES, FrameRecord), device)
            whole = all(self._segment(n).is_file() for n in range(sealed))
            if found is not None and whole and found["stamp"] == self._stamp:
                self._sealed = sealed
                return found["state"]
        atomic.remove_folder(self._folder)
        return None

    def add(self, draft: FrameRecord) -> None:
        """Append a draft."""
        if self._writer is None:
            self._writer = parquet.PartWriter(self._folder, self._segment(self._sealed).stem)
            self._writer.__enter__()
        self._writer.add(draft)
        self._fresh += 1

    @property
    def due(self) -> bool:
        """Whether it is time for a seal."""
        return self._fresh >= self._every

    def seal(self, state: Any) -> None:
        """Close the segment and keep the state: from here a run can go on."""
        self._close()
        before = self._state(self._sealed)
        self._sealed += 1
        checkpoint.save(self._state(self._sealed), {"stamp": self._stamp, "state": state})
        before.unlink(missing_ok=True)
        self._fresh = 0

    def read(self) -> Iterator[FrameRecord]:
        """All drafts from the first, once the video has come to its end."""
        self._close()
        segments = (self._segment(n) for n in range(self._sealed + (self._fresh > 0)))
        return chain.from_iterable(map(parquet.read_part, segments))

    def remove(self) -> None:
        """Take the working files away."""
        atomic.remove_folder(self._folder)

    def __enter__(self) -> Drafts:
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
