"""The signals of a run, frame by frame, whatever the order they were stored in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.evaluate.uncertainty import SIGNALS


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What the signals say of one frame or instance, 0..1 each; 1: look here first."""

    doubt: float = 0.0  # all signals together, named as the stored column
    why: str = ""  # the name of the strongest
    by_signal: Mapping[str, float | None] = field(default_factory=dict)


CERTAIN = Uncertainty()


class UncertaintyIndex:
    """Looks rows of `signals.read` up by frame; holds the table, which is Arrow, and an index."""

    def __init__(self, table: pa.Table) -> None:
        order = pc.sort_indices(table, sort_keys=[("frame_id", "ascending")])
        self._table = table.take(order)
        frame_ids = self._table["frame_id"].combine_chunks().dictionary_encode()
        codes = frame_ids.indices.to_numpy()
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        ends = np.append(starts[1:], len(codes))
        names = (frame_ids.dictionary[int(c)].as_py() for c in codes[starts])
        self._rows = dict(zip(names, zip(starts.tolist(), ends.tolist(), strict=True), strict=True))

    def of(self, frame_id: str) -> dict[str | None, Uncertainty]:
        """Of a frame's instances by their id, and of the frame itself under None."""
        start, end = self._rows.get(frame_id, (0, 0))
        return {
            row["instance_id"]: Uncertainty(row["doubt"], row["why"], {n: row[n] for n in SIGNALS})
            for row in self._table.slice(start, end - start).to_pylist()
        }


def strongest(one: Uncertainty, other: Uncertainty) -> Uncertainty:
    """Of a video: the least certain of its frames, and the most of each signal."""
    lead = one if one.doubt >= other.doubt else other
    merged = {}
    for name in SIGNALS:
        values = [v for d in (one, other) if (v := d.by_signal.get(name)) is not None]
        merged[name] = max(values, default=None)
    return Uncertainty(lead.doubt, lead.why, merged)
