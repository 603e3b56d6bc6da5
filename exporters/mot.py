"""MOTChallenge: a line `frame,id,left,top,width,height,1,class,1` for each box of a track.

Pixels count from 1, as the challenge has it; classes are lines of `gt/labels.txt`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from annotate.data.types import Instance
from exporters.pictures import Picture
from exporters.sequences import Sequences


class Mot(Sequences):
    """Boxes of tracks; there is no place for masks and scores."""

    tracked = True
    promised_iou = 1.0
    loading = """
import pandas

columns = ["frame", "id", "left", "top", "width", "height", "conf", "class", "visibility"]
boxes = pandas.read_csv("train/VIDEO/gt/gt.txt", names=columns)  # pixels count from 1
"""

    cannot_hold = ("mask", "score")

    def __init__(self) -> None:
        """It has no options."""

    def class_number(self, class_id: int) -> int:
        """See Sequences."""
        return class_id + 1

    def lines(
        self, picture: Picture, instances: Sequence[Instance], not_held: Counter[str]
    ) -> Iterator[str]:
        """See Sequences."""
        for i in instances:
            x0, y0, x1, y1 = i.box_xyxy
            box = (x0 + 1, y0 + 1, x1 - x0, y1 - y0)
            shown = ",".join(f"{v:.8g}" for v in box)
            yield f"{picture.number},{i.track_id},{shown},1,{self.class_number(i.class_id)},1"
