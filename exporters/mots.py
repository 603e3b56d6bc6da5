"""MOTS: a line `frame id class height width run-lengths` for each mask of a track.

As MOTSChallenge and TrackEval have it, a pixel is of one object, and 10 is no class: it stands for
regions that are not judged. Classes are lines of `gt/labels.txt`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from annotate.data.types import Instance
from exporters.layers import Layers
from exporters.pictures import Picture
from exporters.sequences import Sequences

NOT_JUDGED = 10


class Mots(Sequences):
    """Masks of tracks; there is no place for scores."""

    layered = True
    tracked = True
    promised_iou = 1.0
    loading = """
from pycocotools import mask

frame, track, label, h, w, counts = next(open("train/VIDEO/gt/gt.txt")).split()
pixels = mask.decode({"size": [int(h), int(w)], "counts": counts})
"""

    cannot_hold = ("score",)

    def __init__(self) -> None:
        """It has no options."""

    def class_number(self, class_id: int) -> int:
        """See Sequences."""
        return class_id + 1 if class_id + 1 < NOT_JUDGED else class_id + 2

    def lines(
        self, picture: Picture, instances: Sequence[Instance], not_held: Counter[str]
    ) -> Iterator[str]:
        """See Sequences."""
        h, w = picture.record.height, picture.record.width
        layers = Layers(instances, (h, w), not_held)
        for n, i in enumerate(instances):
            if layers.areas[n]:
                number = self.class_number(i.class_id)
                counts = layers.visible(n).counts
                yield f"{picture.number} {i.track_id} {number} {h} {w} {counts}"
