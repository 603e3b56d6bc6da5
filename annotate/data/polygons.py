"""Masks as polygons on pixel edges: holes and parts kept, checked against the mask they came from.

Outlines are traced in half pixels. The crop is doubled before `cv2.findContours`, so that every
border pixel of the doubled mask names one side of one pixel: an even coordinate 2x is the left
(top) edge x of pixel x, an odd one 2x + 1 its right (bottom) edge x + 1. So `(p + 1) >> 1` is the
outline on pixel edges, exact for any mask, and the parity still tells on which side of the edge the
object lies.

Holes are joined to the ring around them by bridges, walked once in each direction so that no fill
rule sees them. A bridge runs straight up from the top of the hole, hence through the object itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from annotate.data import geometry
from annotate.data.types import Rle

Points = npt.NDArray[np.int32]  # (n, 2) x, y in half pixels of the crop
Crop = npt.NDArray[np.uint8]  # (h, w) 0 or 1

MIN_IOU = 0.97  # what a simplified outline must keep of its mask
EXACT_BELOW_PX = 100  # smaller masks, parts and holes are cheap to keep exactly, and lose most
BRIDGED_SLACK = 0.01  # what simplifying may cost where bridges put MIN_IOU out of reach
AREA_SLACK = 0.1  # a simplified part whose area is further off is kept exactly
INSET_PX = 0.02  # survives six decimals and float32 in frames up to 30,000 px wide
RESAMPLED_POINTS = 1000  # Ultralytics thins rings of so many points blindly, which tears bridges
BRIDGE_CANDIDATES = 1000  # vertices searched for the shortest bridges between parts


@dataclass(frozen=True, slots=True)
class Part:
    """One connected part, its holes included, as one walk.

    `pieces` are the stretches of outline between the ends of bridges, in walking order. A part
    without holes has one piece, whose first point is not repeated at its end.
    """

    pieces: tuple[Points, ...]

    def ring(self, tolerance_px: float) -> Points:
        """The walk as one closed ring with fewer vertices, none of them moved."""
        exact = np.concatenate(self.pieces)
        if tolerance_px == 0:
            return exact
        closed = len(self.pieces) == 1
        ring = np.concatenate([_simplify(p, 2 * tolerance_px, closed=closed) for p in self.pieces])
        area = cv2.contourArea(exact)
        return ring if abs(cv2.contourArea(ring) - area) <= AREA_SLACK * area else exact


@dataclass(frozen=True, slots=True)
class Outline:
    """The parts of a mask and the crop they were traced in, its corner at `offset_xy` px."""

    parts: tuple[Part, ...]
    crop: Crop
    offset_xy: tuple[int, int]

    def tolerances(self, tolerance_px: float) -> tuple[float, ...]:
        """What to try, coarsest first; 0 is the exact outline."""
        if tolerance_px == 0 or np.count_nonzero(self.crop) < EXACT_BELOW_PX:
            return (0.0,)
        return tolerance_px, tolerance_px / 2, tolerance_px / 4, 0.0


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where the walk leaves a ring over a bridge to another ring, and returns."""

    edge: int  # index of the edge's first vertex
    along: int  # half pixels from that vertex
    point: Points  # (1, 2) where the bridge ends on this ring
    ring: int  # the ring at its other end


def coco_polygons(mask: Rle, tolerance_px: float) -> list[list[int]]:
    """One polygon `[x, y, x, y, ...]` in px per part of a non-empty mask, as COCO stores them.

    pycocotools paints the mask back exactly when it is smaller than 100 px or the tolerance is 0,
    and with an IoU of at least 0.97 otherwise.
    """
    outline = trace(mask)
    polygons: list[list[int]] = []
    for tolerance in outline.tolerances(tolerance_px):
        polygons = [
            (_on_edges(part.ring(tolerance)) + outline.offset_xy).ravel().tolist()
            for part in outline.parts
        ]
        if tolerance == 0 or _coco_iou(polygons, mask) >= MIN_IOU:
            break
    return polygons


def inset_polygons(mask: Rle, tolerance_px: float) -> list[npt.NDArray[np.float64]]:
    """One polygon (n, 2) in px per part of a non-empty mask, for tools that paint borders as well.

    Vertices lie INSET_PX inside the pixel edges, see `joined_ring`; painted and put together they
    have an IoU of at least 0.97 with the mask, exactly below 100 px.
    """
    outline = trace(mask)
    rings: list[Points] = []
    for tolerance in outline.tolerances(tolerance_px):
        rings = [part.ring(tolerance) for part in outline.parts]
        if tolerance == 0 or _painted_iou(rings, outline.crop) >= MIN_IOU:
            break
    return [_inset(ring, outline) for ring in rings]


def joined_ring(mask: Rle, tolerance_px: float) -> tuple[npt.NDArray[np.float64], float]:
    """All of a non-empty mask as one ring (n, 2) in px, for formats with one ring per object.

    And its IoU with the mask, as Ultralytics paints it.

    Vertices lie INSET_PX inside the pixel edges: Ultralytics cuts coordinates to whole pixels and
    paints the border too, which would give an outline on the edges a row and a column too many.
    Painted its way one part comes back like a COCO polygon. A bridge between two parts shows as a
    line of one pixel; where such lines alone cost more than 3 % of a mask, the ring is as good as
    the exact one but for 1 %.
    """
    outline = trace(mask)
    ring, kept, goal = np.zeros((0, 2), np.int32), 0.0, MIN_IOU
    for tolerance in outline.tolerances(tolerance_px):
        ring, kept = _joined(outline, tolerance)
        if kept < goal == MIN_IOU and len(outline.parts) > 1:
            goal = min(MIN_IOU, _joined(outline, 0.0)[1] - BRIDGED_SLACK)
        if kept >= goal:
            break
    for coarser in (2 * tolerance_px, 4 * tolerance_px):
        if len(ring) < RESAMPLED_POINTS or coarser == 0:
            break
        shorter, iou = _joined(outline, coarser)
        if iou >= goal:
            ring, kept = shorter, iou
    return _inset(ring, outline), kept


def _inset(ring: Points, outline: Outline) -> npt.NDArray[np.float64]:
    """Half pixels of a crop to px of the frame, a little inside of the pixels' edges."""
    inside = np.where(ring & 1, -INSET_PX, INSET_PX)
    return np.asarray(((ring + 1) >> 1) + inside + outline.offset_xy, np.float64)


def count_loss(iou: float, not_held: Counter[str]) -> None:
    """Count a ring that keeps less of its mask than MIN_IOU."""
    if iou < MIN_IOU:
        not_held[f"mask whose parts, joined by bridges, keep an IoU below {MIN_IOU}"] += 1


def outer_points(mask: Rle) -> Points:
    """Pixel corners (n, 2) px on the outer edges of a non-empty mask, holes left out."""
    outline = trace(mask)
    walks = np.concatenate([part.ring(0) for part in outline.parts])
    return cast(Points, ((walks + 1) >> 1) + np.array(outline.offset_xy, np.int32))


def trace(mask: Rle) -> Outline:
    """The exact outline of a non-empty mask; pixels that touch by a corner are one part."""
    rle = mask.coco
    x, y, w, h = (int(v) for v in cast(Any, coco_mask.toBbox(rle)))
    part = geometry.decode_crop(mask.counts, mask.size_hw, (x, y, x + w, y + h))
    crop = np.ascontiguousarray(part).view(np.uint8)
    doubled = cv2.resize(crop, (2 * w, 2 * h), interpolation=cv2.INTER_NEAREST)
    found, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cast(Points, ring[:, 0]) for ring in found]
    is_hole = cast(Any, hierarchy)[0, :, 3] >= 0
    starts = [_top_left(ring) if hole else 0 for ring, hole in zip(rings, is_hole, strict=True)]
    stops = _hole_bridges(rings, starts, np.flatnonzero(is_hole), crop)
    parts = [Part(tuple(_walk(int(i), rings, starts, stops))) for i in np.flatnonzero(~is_hole)]
    return Outline(tuple(parts), crop, (x, y))


def _hole_bridges(
    rings: Sequence[Points], starts: Sequence[int], holes: npt.NDArray[np.intp], crop: Crop
) -> dict[int, list[_Stop]]:
    """For each ring the holes whose bridges end on it.

    The pixel above a hole's top left corner belongs to the object; going up from there, the last
    pixel of the object has its top edge on the outer ring or on a hole that lies higher.
    """
    stops: dict[int, list[_Stop]] = defaultdict(list)
    if len(holes) == 0:
        return stops
    tops = np.array([rings[i][starts[i]] for i in holes])  # (n, 2) in half pixels
    landings = tops.copy()
    for n, (x, y) in enumerate((tops + 1) >> 1):
        above = crop[:y, x][::-1]
        free = int(above.argmin())
        landings[n, 1] = 2 * (y - free) if above[free] == 0 else 0
    # All edges of all rings in one array; top edges of pixels lie on even rows and never overlap.
    lengths = [len(ring) for ring in rings]
    first = np.concatenate([[0], np.cumsum(lengths)])
    begin = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    level = np.flatnonzero((begin[:, 1] == end[:, 1]) & (begin[:, 1] % 2 == 0))
    width = 2 * crop.shape[1]
    keys = begin[level, 1].astype(np.int64) * width + np.minimum(begin[level, 0], end[level, 0])
    order = np.argsort(keys)
    wanted = landings[:, 1].astype(np.int64) * width + landings[:, 0]
    edges = level[order[np.searchsorted(keys[order], wanted, side="right") - 1]]
    on_ring = np.searchsorted(first, edges, side="right") - 1
    for hole, landing, edge, ring in zip(holes, landings, edges, on_ring, strict=True):
        along = abs(int(landing[0] - begin[edge, 0]))
        stops[int(ring)].append(
            _Stop(int(edge - first[ring]), along, landing[None].astype(np.int32), int(hole))
        )
    return stops


def _walk(
    root: int,
    rings: Sequence[Points],
    starts: Sequence[int],
    stops: Mapping[int, Sequence[_Stop]],
) -> Iterator[Points]:
    """The pieces of a tree of rings, each ring entered and left over one bridge.

    A stack of its own, because a grid of holes hangs hole from hole by the hundred.
    """
    if not stops.get(root):
        yield rings[root]
        return
    stack = [_stretches(rings[root], starts[root], stops[root])]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, int):
            stack.append(_stretches(rings[step], starts[step], stops.get(step, ())))
        else:
            yield step


def _stretches(ring: Points, start: int, stops: Sequence[_Stop]) -> Iterator[Points | int]:
    """A ring from its start back to it: a stretch, the ring to visit after it, a stretch, ..."""
    n = len(ring)
    closed = np.concatenate([ring[start:], ring[: start + 1]])
    head, begin = closed[:0], 0
    for stop in sorted(stops, key=lambda s: ((s.edge - start) % n, s.along)):
        upto = (stop.edge - start) % n + 1
        yield np.concatenate([head, closed[begin:upto], stop.point])
        yield stop.ring
        head, begin = stop.point, upto
    yield np.concatenate([head, closed[begin:]])


def _top_left(ring: Points) -> int:
    """Index of the leftmost of the topmost vertices."""
    top = np.flatnonzero(ring[:, 1] == ring[:, 1].min())
    return int(top[ring[top, 0].argmin()])


def _simplify(piece: Points, tolerance: float, *, closed: bool) -> Points:
    """Douglas-Peucker in half pixels; an open piece keeps its ends, so that bridges still meet."""
    loop = closed or (piece[0] == piece[-1]).all()
    if len(piece) <= 4 or (loop and cv2.contourArea(piece) < 4 * EXACT_BELOW_PX):
        return piece
    if closed or not loop:
        return cast(Points, cv2.approxPolyDP(piece, tolerance, closed)[:, 0])
    # A whole hole: OpenCV drops the end of an open curve that returns to its start.
    far = int(np.square(piece - piece[0]).sum(1).argmax())
    halves = piece[: far + 1], piece[far:]
    return np.concatenate([cv2.approxPolyDP(half, tolerance, False)[:, 0] for half in halves])


def _joined(outline: Outline, tolerance_px: float) -> tuple[Points, float]:
    """The one ring of an outline, and its IoU with the mask as Ultralytics paints it."""
    ring = _join([part.ring(tolerance_px) for part in outline.parts])
    return ring, _painted_iou([ring], outline.crop)


def _join(rings: Sequence[Points]) -> Points:
    """Rings joined into one by bridges between their nearest vertices, shortest first (Prim)."""
    stride = -(-sum(map(len, rings)) // BRIDGE_CANDIDATES)
    samples = [ring[::stride].astype(np.float32) for ring in rings]
    # Of every ring not yet joined: its candidates, their owner and index, and their nearest host.
    points = np.concatenate(samples)
    owner = np.repeat(np.arange(len(rings)), [len(s) for s in samples])
    index = np.concatenate([np.arange(len(s)) for s in samples])
    distance = np.full(len(points), np.inf, np.float32)
    host, host_index = np.zeros((2, len(points)), np.intp)
    starts = [0] * len(rings)
    stops: dict[int, list[_Stop]] = defaultdict(list)
    added = 0
    for _ in range(len(rings) - 1):
        rest = owner != added
        points, owner, index = points[rest], owner[rest], index[rest]
        distance, host, host_index = distance[rest], host[rest], host_index[rest]
        gaps = np.square(points[:, None] - samples[added]).sum(2)  # (candidates, own)
        gap = gaps.min(1)
        nearer = gap < distance
        distance[nearer], host[nearer] = gap[nearer], added
        host_index[nearer] = gaps[nearer].argmin(1)
        pick = int(distance.argmin())
        added, ring, at = int(owner[pick]), int(host[pick]), int(host_index[pick]) * stride
        starts[added] = int(index[pick]) * stride
        stops[ring].append(_Stop(at, 0, rings[ring][at : at + 1], added))
    walk = np.concatenate(list(_walk(0, rings, starts, stops)))
    return walk[_changes(walk)]


def _on_edges(ring: Points) -> Points:
    """Half pixels to pixel edges, without the vertices that fall together."""
    edges = (ring + 1) >> 1
    return cast(Points, edges[_changes(edges)])


def _changes(ring: Points) -> npt.NDArray[np.bool_]:
    """Which vertices differ from the one before."""
    changes = np.empty(len(ring), bool)
    apart = ring[1:] != ring[:-1]
    np.logical_or(apart[:, 0], apart[:, 1], out=changes[1:])
    changes[:1] = (ring[:1] != ring[-1:]).any()
    return changes


def _coco_iou(polygons: Sequence[Sequence[int]], mask: Rle) -> float:
    """IoU of a mask with polygons painted by pycocotools."""
    rle = mask.coco
    painted = coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.size_hw))
    return float(cast(Any, coco_mask.iou([painted], [rle], [False]))[0, 0])


def _painted_iou(rings: Sequence[Points], crop: Crop) -> float:
    """IoU of a crop with rings painted as Ultralytics does: whole pixels, border included."""
    painted = np.zeros_like(crop)
    for ring in rings:
        cv2.fillPoly(painted, [ring >> 1], color=(1,))
    return float(np.count_nonzero(painted & crop) / np.count_nonzero(painted | crop))
