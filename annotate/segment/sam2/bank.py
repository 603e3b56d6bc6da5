"""What SAM 2 remembers of each object of one video: a row for an object, a slot for a frame.

Only what attention can still reach is kept: per object its anchors (frames where it was prompted),
the `num_maskmem - 1` newest mask memories and the `max_obj_ptrs_in_encoder - 1` newest pointers.
The newest ones lie in rings, a frame in the slot of its time, so that a frame is one write for all
objects and one read: nothing is gathered object by object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annotate.models.transfer import indices

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEVER = -1  # the time of a slot that holds nothing
ROOM = 8  # rows that are kept when their objects are gone
ALIKE = 3  # groups of objects with equal memories; what is left shares one more, padded


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is held of some objects, of the frames that at least one of them has."""

    places: tuple[int, ...]  # (g,) of the objects among those asked for
    tokens: Tensor  # (g, f, n, m) mask memories
    ages: tuple[int, ...]  # (f,) frames ago, 0 for an anchor
    pointers: Tensor  # (g, p, c)
    distances: Tensor  # (g, p) frames from each pointer's to the one asked about
    known: tuple[Bools, Bools] | None  # (g, f) and (g, p), what of it is real; None: all


class MemoryBank:
    """Ids are the caller's; time counts frames from 0, and only grows."""

    def __init__(self, model: Any, *, max_anchors: int) -> None:
        self._max_anchors = max_anchors
        self._mask_frames: int = model.num_maskmem - 1
        self._pointer_frames: int = model.max_obj_ptrs_in_encoder - 1
        self.ids: list[int] = []  # by row
        self._anchored: Ints = np.full((0, 1), NEVER)  # (rows, a) times
        self._moments: Ints = np.full((0, self._pointer_frames), NEVER)  # (rows, ring) times
        # Of each, the anchors' slots come first. Rows beyond `ids` are room for more.
        self._tokens: Tensor | None = None  # (rows, a + ring of masks, n, m)
        self._pointers: Tensor | None = None  # (rows, a + ring of pointers, c)
        self._times: Tensor | None = None  # (rows, a + ring of pointers), as on the device

    def anchor(self, time: int, ids: Sequence[int], features: Tensor, pointers: Tensor) -> None:
        """Remember a frame in which objects were prompted: the first for good, and the newest.

        `features` are (k, m, s, s), `pointers` (k, c).
        """
        rows = [self._row(object_id, features, pointers) for object_id in ids]
        slots = np.array([self._anchor_slot(row, time) for row in rows])
        self._anchored[rows, slots] = time
        for slot in dict.fromkeys(slots.tolist()):
            (some,) = np.nonzero(slots == slot)
            told = features, pointers
            if len(some) < len(rows):
                index = indices(tuple(some.tolist()), features.device)
                told = features.index_select(0, index), pointers.index_select(0, index)
            self._write(self._at([rows[n] for n in some]), slot, slot, time, *told)

    def remember(self, time: int, ids: Sequence[int], features: Tensor, pointers: Tensor) -> None:
        """Remember a frame for objects that were not prompted in it, in place of the oldest.

        `features` are (k, m, s, s), `pointers` (k, c).
        """
        rows = [self.ids.index(object_id) for object_id in ids]
        anchors = self._anchored.shape[1]
        self._moments[rows, time % self._pointer_frames] = time
        slot, pointer_slot = time % self._mask_frames, time % self._pointer_frames
        self._write(
            self._at(rows), anchors + slot, anchors + pointer_slot, time, features, pointers
        )

    @torch.inference_mode()
    def forget(self, object_id: int) -> None:
        """Drop an object that will not be asked for again."""
        if object_id not in self.ids:
            return
        row = self.ids.index(object_id)
        end = len(self.ids)
        for held in (self._tokens, self._pointers, self._times):
            if held is not None:
                for after in range(row + 1, end):  # one by one: at full size a row is 10 MB
                    held[after - 1] = held[after]
        self._anchored = np.delete(self._anchored, row, 0)
        self._moments = np.delete(self._moments, row, 0)
        del self.ids[row]
        if self._tokens is not None and len(self._tokens) > ROOM and end <= len(self._tokens) // 2:
            assert self._pointers is not None and self._times is not None
            self._tokens, self._pointers, self._times = (
                held[:end].clone() for held in (self._tokens, self._pointers, self._times)
            )

    def forget_past(self, object_id: int) -> None:
        """Drop all that is remembered of an object that will be anchored anew."""
        if object_id in self.ids:
            row = self.ids.index(object_id)
            self._anchored[row] = self._moments[row] = NEVER

    def forget_moments(self, object_id: int) -> None:
        """Drop all but the anchors: after a long absence the recent frames mislead."""
        if object_id in self.ids:
            self._moments[self.ids.index(object_id)] = NEVER

    def times(self, object_id: int) -> tuple[list[int], list[int]]:
        """When an object was anchored, and the other frames that are remembered, in order."""
        row = self.ids.index(object_id)
        anchored, moments = self._anchored[row], self._moments[row]
        return sorted(anchored[anchored >= 0].tolist()), sorted(moments[moments >= 0].tolist())

    def recall(self, ids: Sequence[int], time: int) -> Iterator[Remembered]:
        """What is held of objects for the frame at `time`, those with equal memories together.

        They need no padding, and so no mask, which would force a slower kernel of attention.
        """
        rows = np.array([self.ids.index(object_id) for object_id in ids])
        ring = np.arange(self._pointer_frames)
        held_at = time - 1 - (time - 1 - ring) % self._pointer_frames  # by slot, the newest
        anchored = self._anchored[rows] != NEVER
        moments = (self._moments[rows] == held_at) & (held_at >= 0)
        patterns, which = np.unique(
            np.concatenate([anchored, moments], 1), axis=0, return_inverse=True
        )
        which = which.reshape(-1)
        often = np.argsort(-np.bincount(which), kind="stable")
        if len(often) > ALIKE + 1:
            which = np.where(np.isin(which, often[ALIKE:]), len(patterns), which)
        for pattern in dict.fromkeys(which.tolist()):
            places = np.flatnonzero(which == pattern)
            yield self._of(places, rows[places], time, anchored[places], moments[places])

    def _of(
        self, places: Ints, rows: Ints, time: int, anchored: Bools, moments: Bools
    ) -> Remembered:
        """`anchored` (g, a) and `moments` (g, ring of pointers): which slots are real."""
        assert self._tokens is not None
        assert self._pointers is not None and self._times is not None
        anchors = anchored.shape[1]
        ago = 1 + (time - 1 - np.arange(self._mask_frames)) % self._mask_frames  # by slot
        masks = moments[:, (time - ago) % self._pointer_frames]
        real = np.concatenate([anchored, masks], 1), np.concatenate([anchored, moments], 1)
        slots, pointer_slots = (np.flatnonzero(known.any(0)) for known in real)
        known = real[0][:, slots], real[1][:, pointer_slots]
        ages = np.concatenate([np.zeros(anchors, int), ago])[slots]
        at = self._at(rows.tolist())
        return Remembered(
            tuple(places.tolist()),
            self._read(self._tokens, at, slots),
            tuple(ages.tolist()),
            self._read(self._pointers, at, pointer_slots),
            time - self._read(self._times, at, pointer_slots),
            None if known[0].all() and known[1].all() else known,
        )

    def _read(self, held: Tensor, rows: slice | Tensor, slots: Ints) -> Tensor:
        """Some rows and slots; a view where these are all slots of neighbouring rows."""
        if len(slots) == held.shape[1]:
            return held[rows]
        return held[rows].index_select(1, indices(tuple(slots.tolist()), held.device))

    def _at(self, rows: list[int]) -> slice | Tensor:
        """Rows as what is fastest to read and write: a slice where they are neighbours."""
        assert self._tokens is not None
        if rows == list(range(rows[0], rows[0] + len(rows))):
            return slice(rows[0], rows[0] + len(rows))
        return indices(tuple(rows), self._tokens.device)

    @torch.inference_mode()
    def _write(
        self,
        rows: slice | Tensor,
        slot: int,
        pointer_slot: int,
        time: int,
        features: Tensor,
        pointers: Tensor,
    ) -> None:
        assert self._tokens is not None
        assert self._pointers is not None and self._times is not None
        self._tokens[rows, slot] = features.flatten(2).transpose(1, 2)
        self._pointers[rows, pointer_slot] = pointers
        self._times[rows, pointer_slot] = time

    @torch.inference_mode()
    def _row(self, object_id: int, features: Tensor, pointers: Tensor) -> int:
        """Of an object, a new one where it has none yet, for features and pointers like these."""
        if object_id in self.ids:
            return self.ids.index(object_id)
        row = len(self.ids)
        anchors = self._anchored.shape[1]
        if self._tokens is None:
            _, m, s, _ = features.shape
            slots = anchors + self._pointer_frames
            # What is padding must be numbers, for zero times what is not is not zero.
            self._tokens = features.new_zeros(1, anchors + self._mask_frames, s * s, m)
            self._pointers = pointers.new_zeros(1, slots, pointers.shape[1])
            self._times = pointers.new_zeros((1, slots), dtype=torch.float32)
        elif row == len(self._tokens):
            assert self._pointers is not None and self._times is not None
            room = 1 + row // 4
            self._tokens, self._pointers, self._times = (
                torch.cat([held, held.new_zeros(room, *held.shape[1:])])
                for held in (self._tokens, self._pointers, self._times)
            )
        self.ids.append(object_id)
        self._anchored = np.concatenate([self._anchored, np.full((1, anchors), NEVER)])
        nothing = np.full((1, self._pointer_frames), NEVER)
        self._moments = np.concatenate([self._moments, nothing])
        return row

    def _anchor_slot(self, row: int, time: int) -> int:
        """Where an anchor goes: a free slot, else that of the oldest but the first."""
        times = self._anchored[row]
        if time in times:
            return int(np.flatnonzero(times == time)[0])
        if (times == NEVER).any():
            return int(np.flatnonzero(times == NEVER)[0])
        if len(times) < self._max_anchors:
            self._widen()
            return len(times)
        oldest = np.argsort(times, kind="stable")
        return int(oldest[1 if self._max_anchors > 1 else 0])

    @torch.inference_mode()
    def _widen(self) -> None:
        """One more slot for anchors, in every row."""
        assert self._tokens is not None
        assert self._pointers is not None and self._times is not None
        anchors = self._anchored.shape[1]
        self._tokens, self._pointers, self._times = (
            torch.cat([held[:, :anchors], torch.zeros_like(held[:, :1]), held[:, anchors:]], 1)
            for held in (self._tokens, self._pointers, self._times)
        )
        self._anchored = np.pad(self._anchored, ((0, 0), (0, 1)), constant_values=NEVER)

    def state(self) -> dict[str, Any]:
        """All of it, as plain values."""
        rows = slice(0, len(self.ids))
        held = (self._tokens, self._pointers, self._times)
        return {
            "ids": list(self.ids),
            "anchored": self._anchored,
            "moments": self._moments,
            "held": [None if tensor is None else tensor[rows] for tensor in held],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """As it was when `state` was asked for."""
        self.ids = list(state["ids"])
        self._anchored, self._moments = state["anchored"], state["moments"]
        self._tokens, self._pointers, self._times = state["held"]
