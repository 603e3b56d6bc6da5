"""Where a scene ends, and which frames are key frames."""

from __future__ import annotations

import cv2
import numpy as np

from annotate.data.types import Image
from annotate.track.tracks import Floats

THUMBNAIL = 32  # side, px


class KeyFramePicker:
    """Picks the frames to ground: the first of a scene, and every n-th one from there."""

    def __init__(self, *, every: int, cut: float) -> None:
        """`every`: frames from one key frame to the next; `cut`: see `is_cut`."""
        self._every = every
        self._cut = cut
        self.thumbnail: Floats | None = None  # of the last frame seen that was no flash
        self.since_key = 0  # frames

    def look(self, image: Image, after: Image | None) -> tuple[bool, bool]:
        """Whether a scene begins with the next frame, `image`, and whether it is a key frame.

        `after` is the frame that follows it, None for the last one. A frame unlike the one before,
        after which all is as it was, is a flash (or a black or broken frame), and no scene.
        """
        small = thumbnail(image)
        cut = changed = is_cut(small, self.thumbnail, self._cut)
        if changed and after is not None:
            cut = is_cut(thumbnail(after), self.thumbnail, self._cut)
        if cut or not changed:
            self.thumbnail = small
        since_key = 0 if cut else self.since_key
        self.since_key = (since_key + 1) % self._every
        return cut, since_key == 0


def thumbnail(image: Image) -> Floats:
    """A picture (h, w, 3) in small (THUMBNAIL, THUMBNAIL, 3), 0..1."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def is_cut(thumbnail: Floats, before: Floats | None, threshold: float) -> bool:
    """Whether a scene ends between two thumbnails (h, w, 3) in 0..1.

    `threshold` is the mean change of a colour from which it does, 0..1.
    """
    return before is not None and float(np.abs(thumbnail - before).mean()) > threshold
