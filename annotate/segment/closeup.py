"""Masks of small objects in large pictures: each is cut from the tile that shows it best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from annotate.config.settings import TileSettings
from annotate.data import geometry
from annotate.data.types import Detections, Frame, Instance, Rle
from annotate.data.views import View, views
from annotate.segment.finishing import Masker, Refiner

AROUND = 0.5  # of a box's longer side: what a view must show beside it
LEAST_AROUND_PX = 8


class CloseUp(Refiner):
    """A masker that is shown tiles of a picture; see `annotate.ground.tiles` for the boxes."""

    def __init__(self, masker: Masker, settings: TileSettings) -> None:
        self._masker, self._settings = masker, settings

    def begin_all(
        self, frames: Sequence[Frame], found: Sequence[Detections]
    ) -> list[Callable[[], tuple[Instance, ...]]]:
        """See Refiner. A box that no tile shows with its surroundings is cut from the whole."""
        seen = [views(f.size_hw, self._settings.size, self._settings.overlap) for f in frames]
        whole = [n for n, of_frame in enumerate(seen) if len(of_frame) == 1 or not len(found[n])]
        begun = self._masker.begin_all([frames[n] for n in whole], [found[n] for n in whole])
        made = dict(zip(whole, begun, strict=True))
        return [
            made[n] if n in made else self._begin(frames[n], found[n], seen[n])
            for n in range(len(frames))
        ]

    def _begin(
        self, frame: Frame, found: Detections, seen: Sequence[View]
    ) -> Callable[[], tuple[Instance, ...]]:
        """Of one frame whose tiles share passes."""
        shown: dict[View, list[int]] = defaultdict(list)
        for row, box in enumerate(found.boxes_xyxy):
            is_given = found.masks is not None and found.masks[row] is not None
            shown[seen[0] if is_given else _best_view(seen, box)].append(row)
        crops = [
            Frame(frame.item, view.of(frame.image), frame.index, frame.time_s) for view in shown
        ]
        parts = [_part(found, rows, view) for view, rows in shown.items()]
        begun = self._masker.begin_all(crops, parts)
        frame_id, size_hw = frame.frame_id, frame.size_hw

        def finish() -> tuple[Instance, ...]:
            made: dict[int, Instance] = {}
            for (view, rows), of_view in zip(shown.items(), begun, strict=True):
                for instance in of_view():
                    row = rows[int(instance.instance_id.rpartition(":")[2])]
                    made[row] = _whole(instance, f"{frame_id}:{row}", view, size_hw)
            return tuple(made[row] for row in sorted(made))

        return finish


def _best_view(seen: Sequence[View], box_xyxy: Any) -> View:
    """Of the tiles that show a box and what is around it, the one that has it in its middle."""
    whole, *tiles = seen
    x0, y0, x1, y1 = map(float, box_xyxy)
    around = max(LEAST_AROUND_PX, AROUND * max(x1 - x0, y1 - y0))
    left, top = max(whole.x0, x0 - around), max(whole.y0, y0 - around)
    right, bottom = min(whole.x1, x1 + around), min(whole.y1, y1 + around)
    fitting = [
        v for v in tiles if v.x0 <= left and v.y0 <= top and right <= v.x1 and bottom <= v.y1
    ]

    def off(view: View) -> float:
        dx, dy = x0 + x1 - view.x0 - view.x1, y0 + y1 - view.y0 - view.y1
        return dx * dx + dy * dy

    return min(fitting, key=off, default=whole)


def _part(found: Detections, rows: Sequence[int], view: View) -> Detections:
    """Some detections, as they lie in a view."""
    some: dict[str, Any] = {}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, np.ndarray):
            some[field.name] = value[list(rows)]
        elif value is not None and len(value) == len(found):
            some[field.name] = tuple(value[row] for row in rows)
    part = replace(found, **some)
    corner = np.array([view.x0, view.y0, view.x0, view.y0], np.float32)
    return replace(part, boxes_xyxy=part.boxes_xyxy - corner)


def _whole(instance: Instance, instance_id: str, view: View, frame_hw: tuple[int, int]) -> Instance:
    """An instance of a view as one of its frame."""
    x0, y0, x1, y1 = instance.box_xyxy
    mask = instance.mask
    counts = geometry.placed(mask.counts, mask.size_hw, (view.x0, view.y0), frame_hw)
    return replace(
        instance,
        instance_id=instance_id,
        box_xyxy=(x0 + view.x0, y0 + view.y0, x1 + view.x0, y1 + view.y0),
        mask=Rle(counts, frame_hw),
    )
