"""The nouns that flow through the rooms: Item -> Frame -> Detections -> Instance -> FrameRecord.

Stated once for the whole house: boxes are xyxy pixels of the upright frame, half-open; masks are
bool (h, w) or COCO compressed RLE of that frame; images are RGB uint8 (h, w, 3).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from annotate.data import geometry
from annotate.errors import MediaError

if TYPE_CHECKING:
    import supervision as sv

Image = npt.NDArray[np.uint8]
Media = Literal["image", "video"]
Depth = Literal["auto", "high_byte", "minmax"] | tuple[float, float]
"""How values of more than 8 bits become 8: by what they say, or from a range; see decode/depth."""
Origin = Literal["detected", "propagated", "backfilled", "repropagated", "reviewed"]
"""Who made an instance what it is. Records hold no `reviewed`: it is what a person drew or changed,
`repropagated` what memory carried on from there.
"""


_SHOWN_CLASSES = 6  # by repr


@dataclass(frozen=True, slots=True)
class ClassSpec:
    """One class the user wants labelled, and how it is looked for."""

    name: str
    phrases: tuple[str, ...]  # texts that find it; none where examples alone do
    negatives: tuple[str, ...] = ()  # texts that must not outscore it on the same box
    threshold: float | None = None  # export score, 0..1; None: the run's threshold
    min_area: float | None = None  # px; smaller instances are not exported
    max_area: float | None = None  # px; larger instances are not exported
    min_aspect: float | None = None  # width / height of the box; narrower ones are not exported
    max_aspect: float | None = None  # width / height of the box; wider ones are not exported
    parent: str | None = None  # the class that has what this one and its like leave
    group: str | None = None  # of classes that are one for non-maximum suppression
    colour: str | None = None  # "#rrggbb" for overlays
    veto: float | None = None  # second opinion below which instances are not exported, 0..1
    like: tuple[str, ...] = ()  # `PICTURE#x,y,w,h`, what it looks like; see `data.examples`


def spoken(phrase: str) -> str:
    """A phrase as a model reads it: `_`, and `-` between letters, stand for blanks."""
    return " ".join(re.sub(r"(?<=\w)[_-](?=\w)|_", " ", phrase).split()) or phrase


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes in the user's order; `class_id` is the index into it."""

    classes: tuple[ClassSpec, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def __repr__(self) -> str:
        more = len(self) - _SHOWN_CLASSES
        shown = ", ".join(self.names[:_SHOWN_CLASSES])
        return f"ClassList({shown}{f' and {more:,} more' if more > 0 else ''})"

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.classes]

    def thresholds(self, default: float) -> list[float]:
        """The export threshold of each class: its own, else the run's."""
        return [default if c.threshold is None else c.threshold for c in self.classes]


@dataclass(frozen=True, slots=True)
class Remote:
    """Where an item comes from that does not lie on this machine, and how it looked there."""

    root: str  # url of the dataset; the item's name is its path below
    seen: tuple[int, str] | None  # bytes, and the store's mark of its content; None: not looked at


@dataclass(frozen=True, slots=True)
class Item:
    """One still image or one video."""

    name: str  # posix path relative to the dataset root, unicode kept as it is
    path: Path  # on this machine; of a remote one, of no use before it is at hand
    media: Media = "image"
    remote: Remote | None = None
    depth: Depth = "auto"


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture."""

    item: Item
    image: Image
    index: int = 0
    time_s: float = 0.0

    @property
    def frame_id(self) -> str:
        return (
            self.item.name if self.item.media == "image" else f"{self.item.name}#{self.index:06d}"
        )

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, slots=True)
class Detections:
    """What a grounder found in one frame; row i of every field is one detection."""

    boxes_xyxy: npt.NDArray[np.float32]  # (n, 4), clipped to the frame
    scores: npt.NDArray[np.float32]  # (n,), 0..1
    class_ids: npt.NDArray[np.int32]  # (n,), index into the ClassList
    phrases: tuple[str, ...]  # (n,), the text that found each
    margins: npt.NDArray[np.float32]  # (n,), score above that of the best other class there
    masks: tuple[Rle | None, ...] | None = None  # (n,), of a grounder that finds masks as well
    agreements: npt.NDArray[np.float32] | None = None  # (n,), share of several grounders, 0..1

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask as COCO compressed run lengths (column-major, ASCII counts)."""

    counts: str
    size_hw: tuple[int, int]

    def __repr__(self) -> str:
        height, width = self.size_hw
        return f"Rle({width}x{height}, {len(self.counts):,} bytes)"

    @property
    def coco(self) -> dict[str, Any]:
        """As pycocotools takes it."""
        return {"size": list(self.size_hw), "counts": self.counts.encode("ascii")}

    def decode(self) -> npt.NDArray[np.bool_]:
        """The mask as bool (h, w)."""
        mask: npt.NDArray[np.bool_] = geometry.decode_masks([self.counts], self.size_hw)[0]
        return mask


@dataclass(frozen=True, slots=True)
class Instance:
    """One object in one frame, as it is stored."""

    instance_id: str  # unique in the run, stable across resumes and reruns of the same config
    class_id: int
    phrase: str
    score: float  # the detector's, 0..1
    box_xyxy: tuple[float, float, float, float]  # tight around the mask
    mask: Rle
    area: int  # px of the mask
    mask_score: float  # the segmenter's own estimate of its IoU, 0..1
    track_id: int = 0  # >= 1 in a video, 0 for stills
    origin: Origin = "detected"
    # Of what the detector saw in this very frame; None where it saw nothing of the object.
    margin: float | None = None  # score of this class above the best other one, -1..1
    box_iou: float | None = None  # of the detector's box with that of the mask, 0..1
    agreement: float | None = None  # share of an ensemble's grounders that found it, 0..1
    verified: float | None = None  # what a second opinion gives its class, 0..1
    vouched: bool = False  # by a person: no threshold applies; never in records
    # Of the run, by class id; one tuple that all instances share, and no part of what is stored.
    class_names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def class_name(self) -> str:
        """What it is; `class 3` where no class list came with it."""
        known = 0 <= self.class_id < len(self.class_names)
        return self.class_names[self.class_id] if known else f"class {self.class_id}"

    def __repr__(self) -> str:
        track = f", track {self.track_id}" if self.track_id else ""
        return f"Instance({self.class_name} {self.score:.2f}{track}, {self.area:,} px)"


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """All that is stored for one frame, or why an item failed."""

    frame_id: str
    item: str
    media: Media
    frame_index: int
    time_s: float
    width: int
    height: int
    status: Literal["ok", "failed"]
    error: str = ""
    instances: tuple[Instance, ...] = field(default=())

    def __repr__(self) -> str:
        kind = type(self).__name__
        if self.status == "failed":
            return f"{kind}({self.frame_id!r}, failed: {self.error})"
        counts = Counter(instance.class_name for instance in self.instances)
        found = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no instances"
        return f"{kind}({self.frame_id!r}, {self.width}x{self.height}, {found})"

    def to_supervision(self) -> sv.Detections:
        """As supervision's Detections; row i is instance i.

        `xyxy` (n, 4) float32, `mask` (n, h, w) bool, `confidence` (n,), `class_id` (n,),
        `tracker_id` (n,) of a video, None for a still; `data["class_name"]` (n,). Without instances
        all are empty. Raises MediaError for a failed record: nothing is known of its picture.
        """
        if self.status == "failed":
            raise MediaError(f"{self.frame_id}: has no detections, it failed: {self.error}")
        import supervision as sv  # which brings matplotlib

        found = self.instances
        masks = geometry.decode_masks([i.mask.counts for i in found], (self.height, self.width))
        track_ids = np.array([i.track_id for i in found], int) if self.media == "video" else None
        return sv.Detections(
            xyxy=np.array([i.box_xyxy for i in found], np.float32).reshape(-1, 4),
            mask=masks,
            confidence=np.array([i.score for i in found], np.float32),
            class_id=np.array([i.class_id for i in found], int),
            tracker_id=track_ids,
            data={"class_name": np.array([i.class_name for i in found], str)},
        )
