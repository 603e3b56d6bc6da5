"""Whether an export says what the run does: read back with a reader of others, and compared.

Each object that the run has is paired with the one of its class that overlaps it most, picture by
picture; what a format cannot hold is no loss.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from annotate.data.selection import Selection, kept_instances
from annotate.data.types import FrameRecord, Instance
from annotate.discover.labels.contents import frames_of
from exporters.by_track import once_a_track
from exporters.layers import visible
from exporters.other_readers import READERS, Found

if TYPE_CHECKING:
    from annotate.record.run_folder import Run

ROUNDING = 1e-3  # by which an IoU may be off


class Format(Protocol):
    """What an Exporter says of its format; see `exporters.base`."""

    layered: ClassVar[bool]
    tracked: ClassVar[bool]
    once_a_track: ClassVar[bool]
    promised_iou: ClassVar[float]


@dataclass(frozen=True, slots=True)
class Check:
    """What a reader found in an export, of what the run has for it."""

    format: str
    reader: str  # and its version
    missing_reader: bool = False  # it is not installed: nothing was checked
    pictures: int = 0  # read
    of_pictures: int = 0
    instances: int = 0  # found again, by class and place
    of_instances: int = 0
    more: int = 0  # objects that the reader has beyond those
    tracks: int | None = None  # whose every object has one id; None: there are none
    of_tracks: int = 0
    least_iou: float = 1.0  # of masks, or of boxes where there are none
    mean_iou: float = 1.0
    promised_iou: float = 0.0  # that the format keeps of every object

    @property
    def passed(self) -> bool:
        """Whether all is there as it was promised, and no more."""
        return self.missing_reader or (
            self.pictures == self.of_pictures
            and self.instances == self.of_instances
            and self.more == 0
            and self.least_iou >= self.promised_iou - ROUNDING
            and (self.tracks is None or self.tracks == self.of_tracks)
        )

    def __str__(self) -> str:
        if self.missing_reader:
            return f"{self.format}: not checked, {self.reader} is not installed"
        tracks = f", {self.tracks} of {self.of_tracks} tracks" if self.tracks is not None else ""
        more = f", {self.more} more than there are" if self.more else ""
        return (
            f"{self.format}: {self.reader} finds {self.instances} of {self.of_instances} instances "
            f"on {self.pictures} of {self.of_pictures} pictures{tracks}{more}; IoU "
            f"{self.mean_iou:.4f} in the mean, {self.least_iou:.4f} at least"
        )


def check(exporter: Format, run: Run, name: str, *, threshold: float, only: str) -> Check:
    """Read what a format wrote into `exports/<name>/` of a run, and compare it."""
    folder = run.path / "exports" / name
    reader = READERS.get(type(exporter).__module__.removeprefix("exporters."))
    if reader is None:
        return Check(name, "a reader of this format", missing_reader=True)
    try:
        called = f"{reader.package} {version(reader.package)}"
        with redirect_stdout(StringIO()):  # some talk
            read = dict(reader.read(folder.resolve()))
    except (ImportError, PackageNotFoundError):
        return Check(name, reader.package, missing_reader=True)
    compared = _Compared(layered=exporter.layered, tracked=exporter.tracked)
    pictures = {frame_id: picture for picture, frame_id in frames_of(folder).items()}
    selection = Selection(run.decisions(), run.classes, only)
    for row in run.frames():
        picture = pictures.get(row.frame_id)
        if picture is None or (record := selection.take(row)) is None:
            continue
        kept = list(kept_instances(record, run.classes, threshold))
        if exporter.once_a_track and record.media == "video":
            kept = once_a_track(kept, Counter())
        compared.add(record, kept, run.classes.names, read.pop(picture, None))
    rest = sum(map(len, read.values()))
    return replace(compared.result(name, called, rest), promised_iou=exporter.promised_iou)


class _Compared:
    """Adds up pictures."""

    def __init__(self, *, layered: bool, tracked: bool) -> None:
        self._layered, self._tracked = layered, tracked
        self._pictures = self._of_pictures = self._of_instances = self._more = 0
        self._ious: list[float] = []
        self._ids: defaultdict[tuple[str, int], set[int | None]] = defaultdict(set)

    def add(
        self, record: FrameRecord, kept: list[Instance], names: list[str], found: list[Found] | None
    ) -> None:
        """One picture: what the run has on it, and what the reader found; None: no such picture."""
        self._of_pictures += 1
        masks = [i.mask.coco for i in kept]
        hidden: set[int] = set()  # whose masks are behind others as a whole: they need not be there
        if self._layered:
            shown = visible(kept, (record.height, record.width))
            hidden = {n for n, mask in enumerate(shown) if mask is None}
            masks = [m if s is None else s.coco for m, s in zip(masks, shown, strict=True)]
        ious = _ious(kept, masks, names, found or [])
        rows, columns = linear_sum_assignment(-ious)
        taken = {r: c for r, c in zip(rows, columns, strict=True) if ious[r, c] > 0}
        due = [n for n in range(len(kept)) if n in taken or n not in hidden]
        self._of_instances += len(due)
        self._ious += [float(ious[r, c]) for r, c in taken.items()]
        for n in due:
            if self._tracked and kept[n].track_id:
                ids = self._ids[record.item, kept[n].track_id]
                ids.add(found[taken[n]].track if found and n in taken else None)
        if found is not None:
            self._pictures += 1
            self._more += len(found) - len(taken)

    def result(self, name: str, reader: str, rest: int) -> Check:
        """`rest` are objects on pictures that the run does not have."""
        whole = [ids for ids in self._ids.values() if len(ids) == 1 and None not in ids]
        return Check(
            name,
            reader,
            pictures=self._pictures,
            of_pictures=self._of_pictures,
            instances=len(self._ious),
            of_instances=self._of_instances,
            more=self._more + rest,
            tracks=len(whole) if self._tracked and self._ids else None,
            of_tracks=len(self._ids),
            least_iou=min(self._ious, default=1.0),
            mean_iou=float(np.mean(self._ious)) if self._ious else 1.0,
        )


def _ious(
    kept: Sequence[Instance],
    masks: Sequence[dict[str, Any]],
    names: Sequence[str],
    found: Sequence[Found],
) -> npt.NDArray[np.float64]:
    """IoU (kept, found) of masks, where one has none of boxes; 0 across classes."""
    ious = np.zeros((len(kept), len(found)))
    if not kept or not found:
        return ious
    boxes = [_xywh(i) for i in kept]
    by_mask = [c for c, f in enumerate(found) if f.mask is not None]
    by_box = [c for c, f in enumerate(found) if f.mask is None and f.box_xywh is not None]
    if by_mask:
        shapes: Any = [found[c].mask for c in by_mask]
        ious[:, by_mask] = np.asarray(coco_mask.iou(shapes, masks, [False] * len(masks))).T
    if by_box:
        shapes = np.array([found[c].box_xywh for c in by_box], float)
        ious[:, by_box] = np.asarray(
            coco_mask.iou(shapes, np.array(boxes, float), [False] * len(boxes))
        ).T
    same = np.array([names[i.class_id] for i in kept])[:, None] == np.array([f.name for f in found])
    return np.where(same, ious, 0.0)


def _xywh(instance: Instance) -> list[float]:
    x0, y0, x1, y1 = instance.box_xyxy
    return [x0, y0, x1 - x0, y1 - y0]
