"""A record with its picture: what people look at where they ask from Python."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

from PIL import Image as PilImage

from annotate.data.selection import kept_instances
from annotate.data.types import ClassList, FrameRecord, Image, Instance, Item
from annotate.decode.image import read_image
from annotate.decode.video import open_video
from annotate.errors import MediaError
from annotate.report.overlay import Overlay

NOTEBOOK_WH = (1024, 768)  # px; larger pictures are shown smaller


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Annotated(FrameRecord):
    """A FrameRecord whose `instances` are those that an export holds, and which shows itself.

    `recorded` are all instances, with those below the threshold, down to `ground.floor`. The
    picture of a file is read again when it is asked for; one that came as pixels is held.
    """

    recorded: tuple[Instance, ...]
    classes: ClassList = field(compare=False)
    picture: Image | Item = field(compare=False)

    @classmethod
    def of(
        cls, record: FrameRecord, classes: ClassList, threshold: float, picture: Image | Item
    ) -> Annotated:
        """A record that has its picture; `threshold` is that of an export."""
        names = tuple(classes.names)
        recorded = tuple(replace(i, class_names=names) for i in record.instances)
        known = {f.name: getattr(record, f.name) for f in fields(FrameRecord)}
        kept = kept_instances(replace(record, instances=recorded), classes, threshold)
        known["instances"] = tuple(kept)
        return cls(**known, recorded=recorded, classes=classes, picture=picture)

    @property
    def image(self) -> Image:
        """The picture, RGB uint8 (h, w, 3). Raises MediaError where its file is gone."""
        if not isinstance(self.picture, Item):
            return self.picture
        item = self.picture
        try:
            if item.media == "image":
                return read_image(item.path, depth=item.depth)
            (frame,) = open_video(item).frames_at([self.frame_index])
        except (MediaError, ValueError) as error:
            raise MediaError(f"{item.path}: {error}") from error
        return frame.image

    def draw(self) -> Image:
        """The picture with masks, boxes and labels on it, RGB uint8 (h, w, 3)."""
        return _overlay(self.classes).draw(self.image, self.instances)

    def as_stored(self) -> FrameRecord:
        """The record of a run: every instance that was `recorded`, and no picture."""
        known = {f.name: getattr(self, f.name) for f in fields(FrameRecord)}
        return FrameRecord(**known | {"instances": self.recorded})

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; its text alone where the file is gone."""
        try:
            image, overlay = self.image, _overlay(self.classes)
        except MediaError:
            return None
        (width, height), (most_w, most_h) = (self.width, self.height), NOTEBOOK_WH
        if width > most_w or height > most_h:
            drawn = overlay.tile(image, self.instances, NOTEBOOK_WH)
        else:
            drawn = overlay.draw(image, self.instances)
        packed = io.BytesIO()
        PilImage.fromarray(drawn).save(packed, format="PNG")
        return packed.getvalue()


@lru_cache(maxsize=8)
def _overlay(classes: ClassList) -> Overlay:
    return Overlay(classes)
