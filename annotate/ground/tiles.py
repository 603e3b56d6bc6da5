"""Large pictures looked at in tiles as well as whole, for objects that vanish when it is shrunk.

What is found in the views is merged: an object that lies in two tiles is one, and one that a seam
cuts is whole again. The idea of slicing is that of SAHI (Akyon et al. 2022, arXiv 2202.06934);
there, halves that no view sees whole stay halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from annotate.config.settings import TileSettings
from annotate.data.types import ClassList, Image
from annotate.data.views import View, views
from annotate.ground.base import Candidates, Grounder

AT_SEAM_PX = 2.0  # a box that ends so near to its tile's edge is cut by it
COVERED = 0.6  # share of a cut box inside a whole one, from which it is a part of that
SAME_IOU = 0.5  # of boxes from two views, from which they are one object

Boxes = npt.NDArray[np.float64]


class Tiled(Grounder):
    """A grounder that is shown a picture whole and in tiles."""

    def __init__(self, grounder: Grounder, settings: TileSettings, *, batch: int) -> None:
        """`batch`: tiles of one size that the grounder sees together."""
        self._grounder, self._settings, self._batch = grounder, settings, batch
        self.has_scores = grounder.has_scores  # type: ignore[misc]

    def load(self, classes: ClassList) -> None:
        """See Grounder."""
        self._grounder.load(classes)

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder."""
        if len(self._views(images[0])) == 1:
            return self._grounder.find(images, floor)
        return [self._find_in(image, floor) for image in images]

    @property
    def parts(self) -> Sequence[Grounder]:
        """See Grounder."""
        return self._grounder.parts

    def check(self) -> None:
        """See Grounder."""
        self._grounder.check()

    def keep_in(self, folder: Path) -> None:
        """See Grounder."""
        self._grounder.keep_in(folder)

    @property
    def tally(self) -> Mapping[str, int]:
        """Of the grounder that is shown the tiles."""
        return self._grounder.tally

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the grounder that is shown the tiles."""
        return self._grounder.provenance

    def _views(self, image: Image) -> list[View]:
        return views(image.shape[:2], self._settings.size, self._settings.overlap)

    def _find_in(self, image: Image, floor: float) -> Candidates:
        whole, *tiles = self._views(image)
        found = list(self._grounder.find([image], floor))
        for at in range(0, len(tiles), self._batch):
            some = [tile.of(image) for tile in tiles[at : at + self._batch]]
            found += self._grounder.find(some, floor)
        return merged([whole, *tiles], found)


def merged(seen: Sequence[View], found: Sequence[Candidates]) -> Candidates:
    """What the views of one picture, the first of them all of it, come to together.

    Coordinates of what was found count from the corner of its view. A box that a seam cuts gives
    way to one that holds it whole; halves that agree where their tiles overlap become one. Of what
    several views saw the best stays. Masks of views are none of the picture's: the segmenter makes
    them.
    """
    corners = np.array([[v.x0, v.y0, v.x0, v.y0] for v in seen], float)
    boxes = np.concatenate(
        [np.asarray(c.boxes_xyxy, float).reshape(-1, 4) + corners[n] for n, c in enumerate(found)]
    )
    scores = np.concatenate([np.asarray(c.scores, float).reshape(-1) for c in found])
    class_ids = np.concatenate([np.asarray(c.class_ids, int).reshape(-1) for c in found])
    phrases = [phrase for c in found for phrase in c.phrases]
    view_of = np.repeat(np.arange(len(found)), [len(c.phrases) for c in found])
    kept = np.zeros(len(boxes), bool)
    for class_id in np.unique(class_ids):
        rows = np.flatnonzero(class_ids == class_id)
        for row, box in _of_class(seen, boxes[rows], scores[rows], view_of[rows]):
            kept[rows[row]] = True
            boxes[rows[row]] = box
    rows = np.flatnonzero(kept)
    return Candidates(
        boxes_xyxy=boxes[rows].astype(np.float32),
        scores=scores[rows].astype(np.float32),
        class_ids=class_ids[rows],
        phrases=[phrases[row] for row in rows],
    )


def _of_class(
    seen: Sequence[View],
    boxes: Boxes,
    scores: npt.NDArray[np.float64],
    view_of: npt.NDArray[np.intp],
) -> Iterator[tuple[int, Boxes]]:
    """Rows that stay, and their boxes as they are then."""
    rects = np.array([[v.x0, v.y0, v.x1, v.y1] for v in seen], float)
    own, whole = rects[view_of], rects[0]
    at_edge = np.abs(boxes - own) <= AT_SEAM_PX
    cut = (at_edge & (np.abs(own - whole) > 0.5)).any(1)
    shared = _shared(boxes, boxes)
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-9)
    other_view = view_of[:, None] != view_of
    covered = (shared >= COVERED * areas[:, None]) & ~cut & other_view
    left = ~(cut & covered.any(1))
    parts = np.flatnonzero(cut & left)
    boxes = boxes.copy()
    if len(parts) > 1:
        scores = scores.copy()
        _, label = connected_components(_halves(boxes[parts], own[parts]), directed=False)
        for group in (parts[label == n] for n in np.unique(label)):
            best = group[np.argmax(scores[group])]
            boxes[best] = [*boxes[group, :2].min(0), *boxes[group, 2:].max(0)]
            left[group] = False
            left[best] = True
    # What several views saw, as they saw it; a picture's own rivals are select's business.
    rows = np.flatnonzero(left)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    inter = _shared(boxes[rows], boxes[rows])
    area = np.maximum((boxes[rows, 2] - boxes[rows, 0]) * (boxes[rows, 3] - boxes[rows, 1]), 1e-9)
    same = inter >= SAME_IOU * (area[:, None] + area - inter)
    same &= view_of[rows][:, None] != view_of[rows]
    gone = np.zeros(len(rows), bool)
    for n, row in enumerate(rows):
        if not gone[n]:
            gone[n + 1 :] |= same[n, n + 1 :]
            yield int(row), boxes[row]


def _halves(boxes: Boxes, tiles: Boxes) -> Any:
    """Which boxes are parts of one object: they agree in what both of their tiles show."""
    zone = np.concatenate(
        [
            np.maximum(tiles[:, None, :2], tiles[:, :2]),
            np.minimum(tiles[:, None, 2:], tiles[:, 2:]),
        ],
        2,
    )
    inside = np.concatenate(
        [
            np.maximum(boxes[:, None, :2], zone[..., :2]),
            np.minimum(boxes[:, None, 2:], zone[..., 2:]),
        ],
        2,
    )  # [a, b]: the part of a in the zone of a and b
    size = np.clip(inside[..., 2:] - inside[..., :2], 0, None)
    area = size[..., 0] * size[..., 1]
    low = np.maximum(inside[..., :2], inside.transpose(1, 0, 2)[..., :2])
    high = np.minimum(inside[..., 2:], inside.transpose(1, 0, 2)[..., 2:])
    both = np.clip(high - low, 0, None).prod(2)
    agree = both >= SAME_IOU * np.maximum(area + area.T - both, 1e-9)
    agree &= (tiles[:, None] != tiles).any(2)
    return coo_matrix(agree)


def _shared(boxes: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    """Area (n, m) that boxes have in common, px."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    area: npt.NDArray[np.float64] = np.clip(high - low, 0, None).prod(2)
    return area
