"""What FiftyOne stores of a frame: written from a record, and read back for what people changed.

Documents are made and read here as FiftyOne stores them, because its own objects take a hundred
times as long, which is what decides how long a large run takes. Each document remembers in `shown`
what people were given to see: the difference to that is what they did, whatever became of the run
in the meantime.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from bson import ObjectId

from annotate.data import geometry
from annotate.data.decisions import Applied, Decision
from annotate.data.types import FrameRecord, Instance, Rle
from annotate.evaluate.uncertainty import SIGNALS
from annotate.evaluate.uncertainty_index import CERTAIN, Uncertainty

INSTANCES = "instances"  # the field of a frame that holds its labels
ID = "annotate_id"  # FiftyOne keeps the name `instance_id` to itself
UNCERTAINTY_FIELDS = ("doubt", "why", *(f"doubt_{name}" for name in SIGNALS))

Document = dict[str, Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ShownLabel:
    """A label as a person was given it."""

    class_name: str
    track_id: int
    box: tuple[float, ...]  # x, y, w, h as shares of the picture
    mask: str  # digest
    tags: tuple[str, ...] = ()
    # The instance in the records; None for one that was drawn.
    seen_class: str | None = None
    seen_box: tuple[float, ...] | None = None  # xyxy px
    seen_track: int | None = None


_OF_LABEL = tuple(f.name for f in fields(ShownLabel))


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame, or a video, as a person was given it."""

    tags: tuple[str, ...] = ()
    labels: Mapping[str, ShownLabel] = field(default_factory=dict)  # by instance id

    def dump(self) -> str:
        """As text, because an instance id is no name that MongoDB accepts for a field."""
        labels = {i: [getattr(v, n) for n in _OF_LABEL] for i, v in self.labels.items()}
        return json.dumps([self.tags, labels], separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def load(cls, text: str | None) -> Shown:
        tags, labels = json.loads(text) if text else ((), {})
        return cls(tuple(tags), {i: ShownLabel(*map(_tupled, v)) for i, v in labels.items()})


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def frame_content(
    record: FrameRecord,
    applied: Applied,
    visible: Iterable[Instance],
    class_names: Sequence[str],
    uncertainties: Mapping[str | None, Uncertainty],
    tags: tuple[str, ...] = (),
) -> Document:
    """The fields of a frame that its record decides: its labels, its uncertainty, and `shown`.

    `record` is as it was made, `applied` with the decisions carried out, `visible` what of it is
    shown, `tags` those of the picture itself.
    """
    raw = {i.instance_id: i for i in record.instances}
    labels, shown = [], {}
    for instance in visible:
        name = instance.instance_id
        mask = geometry.decode_crop(instance.mask.counts, instance.mask.size_hw, instance.box_xyxy)
        label = _label(
            instance,
            mask,
            class_names[instance.class_id],
            applied.tags.get(name, ()),
            uncertainties.get(name, CERTAIN),
        )
        labels.append(label)
        shown[name] = ShownLabel(**_state(label, mask), **_origin(raw.get(name), class_names))
    content: Document = {
        "frame_id": record.frame_id,
        "item": record.item,
        "frame_index": record.frame_index,
        INSTANCES: {"_cls": "Detections", "detections": labels},
        "shown": Shown(tags, shown).dump(),
    }
    return content | uncertainty_fields(uncertainties.get(None, CERTAIN))


def uncertainty_fields(uncertainty: Uncertainty) -> Document:
    """The uncertainty of a frame, a video or a label as fields."""
    by_signal = {f"doubt_{name}": uncertainty.by_signal.get(name) for name in SIGNALS}
    return {"doubt": uncertainty.doubt, "why": uncertainty.why, **by_signal}


def digest(content: Mapping[str, Any]) -> str:
    """Tells contents apart, so that what is unchanged need not be written again."""
    return hashlib.sha1(repr(content).encode(), usedforsecurity=False).hexdigest()


def _label(
    instance: Instance, mask: Bools, name: str, tags: Sequence[str], uncertainty: Uncertainty
) -> Document:
    height, width = instance.mask.size_hw
    x0, y0, x1, y1 = instance.box_xyxy
    label: Document = {
        "_id": _label_id(instance.instance_id),
        "_cls": "Detection",
        "attributes": {},
        "tags": list(tags),
        "label": name,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "mask": _pack(mask),
        "confidence": instance.score,
        ID: instance.instance_id,
        "phrase": instance.phrase,
        "origin": instance.origin,
        "mask_score": instance.mask_score,
        "area": instance.area,
    }
    signals = {"agreement": instance.agreement, "verified": instance.verified}
    label |= {name: value for name, value in signals.items() if value is not None}
    if instance.track_id:
        label["index"] = instance.track_id
    return label | uncertainty_fields(uncertainty)


def drawn_id(frame_id: str, label: Document) -> str:
    """The instance id of a label that a person drew: the same one whenever it is asked for."""
    return f"{frame_id}:{label['_id']}"


def _label_id(instance_id: str) -> ObjectId:
    """FiftyOne's id of an instance: that of the label it was drawn as, else one that stays."""
    drawn_as = instance_id.rpartition(":")[2]
    if ObjectId.is_valid(drawn_as):
        return ObjectId(drawn_as)
    return ObjectId(hashlib.sha1(instance_id.encode(), usedforsecurity=False).digest()[:12])


def _origin(instance: Instance | None, class_names: Sequence[str]) -> dict[str, Any]:
    """What an instance is in the records; nothing for one that was drawn."""
    if instance is None:
        return {}
    return {
        "seen_class": class_names[instance.class_id],
        "seen_box": instance.box_xyxy,
        "seen_track": instance.track_id,
    }


def _state(label: Document, mask: Bools | None) -> dict[str, Any]:
    """What of a label a person can change; `mask` is that of the label, unpacked."""
    return {
        "class_name": label.get("label") or "",
        "track_id": label.get("index") or 0,
        "box": tuple(round(v, 6) for v in label["bounding_box"]),
        "mask": "" if mask is None else _mask_digest(mask),
        "tags": tuple(sorted(label.get("tags") or ())),
    }


def _mask_digest(mask: Bools) -> str:
    height, width = mask.shape
    packed = np.packbits(mask).tobytes() + f"{height}x{width}".encode()
    return hashlib.sha1(packed, usedforsecurity=False).hexdigest()[:16]


def _pack(mask: Bools) -> bytes:
    """An array as FiftyOne stores it."""
    with io.BytesIO() as file:
        np.save(file, np.ascontiguousarray(mask), allow_pickle=False)
        return zlib.compress(file.getvalue(), 1)


def unpack(packed: bytes | None) -> Bools | None:
    """The mask (h, w) of a label inside its box."""
    if not packed:
        return None
    array = np.load(io.BytesIO(zlib.decompress(packed)), allow_pickle=False)
    return np.asarray(array if array.ndim == 2 else array[..., 0], bool)


def full_mask(label: Document, size_wh: tuple[int, int]) -> Rle:
    """The mask of a label at the size of its picture; without one, its box."""
    width, height = size_wh
    x, y, w, h = label["bounding_box"]
    inside = unpack(label.get("mask"))
    if inside is None:
        inside = np.ones((1, 1), bool)
    # FiftyOne stretches a mask over its box, whose edges need not be those of pixels.
    columns = _cells(x * width, w * width, width, inside.shape[1])
    rows = _cells(y * height, h * height, height, inside.shape[0])
    full = np.zeros((height, width), bool)
    there = np.ix_(rows >= 0, columns >= 0)
    full[there] = inside[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return Rle(geometry.encode_masks(full[None])[0], (height, width))


def _cells(start: float, length: float, pixels: int, cells: int) -> npt.NDArray[np.int64]:
    """Which of `cells` on a stretch each pixel's centre lies in; -1 outside."""
    place = np.floor((np.arange(pixels) + 0.5 - start) / max(length, 1e-9) * cells).astype(np.int64)
    return np.where((place >= 0) & (place < cells), place, -1)


@dataclass(frozen=True, slots=True)
class Changes:
    """What people did to one document since they were given it."""

    decisions: tuple[Decision, ...]
    shown: str  # what is there now, see Shown
    named: Mapping[ObjectId, Document]  # fields to set on labels that were drawn


def changes(
    document: Document,
    size_wh: tuple[int, int],
    *,
    new_track: Callable[[Document], int] | None,
    who: str | None,
) -> Changes:
    """The difference between a document and what was shown, as decisions.

    `new_track` gives the track of a label that was drawn and has none; None where there are none.
    """
    before = Shown.load(document.get("shown"))
    when = document.get("last_modified_at")
    told: dict[str, Any] = {
        "frame_id": document["frame_id"],
        "item": document["item"],
        "who": who,
        "when": when.replace(tzinfo=UTC) if isinstance(when, datetime) else None,
    }
    decisions: list[Decision] = []
    tags = tuple(sorted(document.get("tags") or ()))
    if tags != before.tags:
        decisions.append(Decision(**told, tags=tags))
    now: dict[str, ShownLabel] = {}
    named: dict[ObjectId, Document] = {}
    for label in (document.get(INSTANCES) or {}).get("detections") or ():
        name = label.get(ID)
        if not name or name in now:  # drawn, or a copy
            name = drawn_id(document["frame_id"], label)
            named[label["_id"]] = {ID: name}
            if new_track and not label.get("index"):
                label["index"] = named[label["_id"]]["index"] = new_track(label)
        state = _state(label, unpack(label.get("mask")))
        known = before.labels.get(name)
        if known is None:
            told_of_it = _whole(label, state, size_wh)
            if label["_id"] in named:
                told_of_it |= {"added": True}
            else:
                told_of_it |= {"deleted": False}
            now[name] = ShownLabel(**state)
        else:
            told_of_it = _difference(known, label, state, size_wh)
            now[name] = ShownLabel(**state, **_seen(known))
            if told_of_it:
                told_of_it |= _seen(known)
        if told_of_it:
            decisions.append(Decision(**told, instance_id=name, **told_of_it))
    for name, known in before.labels.items():
        if name not in now:
            decisions.append(Decision(**told, instance_id=name, deleted=True, **_seen(known)))
    return Changes(tuple(decisions), Shown(tags, now).dump(), named)


def _whole(label: Document, state: dict[str, Any], size_wh: tuple[int, int]) -> dict[str, Any]:
    return {
        "class_name": state["class_name"],
        "track_id": state["track_id"],
        "tags": state["tags"],
        "mask": full_mask(label, size_wh),
        "box_only": not state["mask"],
    }


def _difference(
    before: ShownLabel, label: Document, state: dict[str, Any], size_wh: tuple[int, int]
) -> dict[str, Any]:
    changed: dict[str, Any] = {
        name: state[name]
        for name in ("class_name", "track_id", "tags")
        if state[name] != getattr(before, name)
    }
    if (state["box"], state["mask"]) != (before.box, before.mask):
        changed["mask"] = full_mask(label, size_wh)
        changed["box_only"] = state["mask"] == before.mask
    return changed


def _seen(label: ShownLabel) -> dict[str, Any]:
    return {name: getattr(label, name) for name in ("seen_class", "seen_box", "seen_track")}
