"""A COCO or YouTube-VIS json of anybody's, checked entry by entry before anything computes with it.

pycocotools believes what it is given: run lengths that do not fill their frame make it loop without
end or write where it must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from annotate.data.geometry import wrong_run_lengths
from annotate.data.item_paths import plain, shown
from annotate.errors import ConfigError
from annotate.store.json_file import read_json

MAX_NUMBER = 1e9  # of px, and of anything else that is measured
MAX_FRAME_PX = 2**31  # what run lengths can count
LONGEST_OUTLINE = 200  # times width and height of the picture together
OURS = "Instances found by annotate"  # how the description of our own exports begins

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """Objects as they stand in a file or a run: checked, and ids are numbers that count from 1.

    Images have `id` and `name`, and as far as it is known `frame_id` (as records have it),
    `file_name`, `width`, `height`, and `video` with `frame_index`. Annotations have `image_id`,
    `category_id`, `bbox`, `area`, `iscrowd`, and where it is known a `segmentation` (compressed run
    lengths), a `track_id` and a `score`.
    """

    categories: Mapping[int, str]  # names by id
    images: Sequence[Entry]
    annotations: Sequence[Entry]
    remarks: Sequence[str] = ()  # what is odd and does not hinder, a line each


class _WrongError(ValueError):
    """What is wrong, with its place in the file."""


def read_document(source: Path | str, *, key: str) -> Document:
    """Read a COCO instances json (also of videos, and as YouTube-VIS writes them).

    `key` is the setting that names the file. Raises ConfigError that names the file, the entry and
    what is wrong with it.
    """
    what = f"{key}={source}: not a COCO instances json"
    return document_of(read_json(source, what=what), what=what)


def document_of(content: Entry, *, what: str) -> Document:
    """The document that a json holds; `what` begins the message of a ConfigError."""
    try:
        return _Reader(content).document()
    except (_WrongError, RecursionError) as error:
        reason = error if isinstance(error, _WrongError) else "nested too deeply"
        raise ConfigError(f"{what} ({reason})") from error


class _Reader:
    """Goes through one file; every id that is met is kept as text, so that "7" is 7."""

    def __init__(self, content: Entry) -> None:
        self._content = content
        self._by_video = "images" not in content and "videos" in content
        info = content.get("info")
        said = info.get("description") if isinstance(info, dict) else None
        self._ours = isinstance(said, str) and said.startswith(OURS)
        self._categories: dict[str, int] = {}  # numbers by id
        self._images: list[Entry] = []
        self._numbers: dict[str, int] = {}  # of images by id
        self._tracks: dict[str, int] = {}

    def document(self) -> Document:
        for key in ("videos" if self._by_video else "images", "annotations", "categories"):
            if not isinstance(self._content.get(key), list):
                raise _WrongError(f"{key} is no list" if key in self._content else f"no {key!r}")
        names = self._read_categories()
        if self._by_video:
            annotations = list(self._read_by_video())
        else:
            self._read_images()
            annotations = list(self._read_annotations())
        self._refuse_twice()
        remarks = [*_same_names(names), *_same_objects(annotations)]
        return Document(names, self._images, annotations, remarks)

    def _entries(self, key: str) -> Iterator[tuple[str, Entry]]:
        """The entries of a list, each with its place."""
        for n, entry in enumerate(self._content[key]):
            if not isinstance(entry, dict):
                raise _WrongError(f"{key}[{n}] is no object with keys")
            yield f"{key}[{n}]", entry

    def _read_categories(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for at, entry in self._entries("categories"):
            number = _new(self._categories, _id(entry, "id", at), at)
            names[number] = _text(entry, "name", at)
        return names

    def _read_images(self) -> None:
        videos = self._video_names()
        for at, entry in self._entries("images"):
            number = _new(self._numbers, _id(entry, "id", at), at)
            image = {"id": number, "at": at, **_size(entry, at)}
            if entry.get("file_name") is not None:
                image["file_name"] = _text(entry, "file_name", at)
            if isinstance(entry.get("source"), str):  # of our exports, or somebody's own note
                image["source"] = entry["source"]
            more = entry.get("attributes")
            told = entry.get("frame_id"), more.get("frame_id") if isinstance(more, dict) else None
            # Some dialects number the frames of a video there.
            for said in told[::-1]:
                if isinstance(said, str):
                    image["frame_id"] = said
            if entry.get("video_id") is not None and entry.get("frame_index") is not None:
                video = videos.get(_id(entry, "video_id", at))
                if video is not None:
                    image |= {"video": video, "frame_index": _index(entry, at)}
                    if self._ours:  # which count frames as records do
                        image.setdefault("frame_id", f"{video}#{image['frame_index']:06d}")
            self._add_image(image)

    def _add_image(self, image: Entry) -> None:
        name = image.get("frame_id", image.get("file_name"))
        if name is None and "video" in image:
            name = f"{image['video']}#{image['frame_index']:06d}"
        if name is None:
            raise _WrongError(f"{image['at']}: no 'file_name'")
        self._images.append(image | {"name": name})

    def _video_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        known: dict[str, int] = {}
        if not isinstance(self._content.get("videos"), list):
            return names
        for at, entry in self._entries("videos"):
            video = _id(entry, "id", at)
            _new(known, video, at)
            if isinstance(entry.get("name"), str):
                names[video] = entry["name"]
        return names

    def _read_annotations(self) -> Iterator[Entry]:
        known: dict[str, int] = {}
        for at, entry in self._entries("annotations"):
            if entry.get("id") is not None:
                _new(known, _id(entry, "id", at), at)
            category = _known(self._categories, entry, "category_id", "categories", at)
            image = self._images[_known(self._numbers, entry, "image_id", "images", at) - 1]
            yield self._annotation(entry, at, image, category)

    def _read_by_video(self) -> Iterator[Entry]:
        """YouTube-VIS lists the masks of an object over a video; here every frame is an image."""
        videos: dict[str, int] = {}
        first: dict[str, int] = {}  # index of its first image by video
        frames: dict[str, int] = {}
        for at, entry in self._entries("videos"):
            video = _id(entry, "id", at)
            _new(videos, video, at)
            names = entry.get("file_names")
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise _WrongError(f"{at}: file_names is no list of names")
            first[video], frames[video] = len(self._images), len(names)
            for n, name in enumerate(names):
                image = {"id": len(self._images) + 1, "at": f"{at}.file_names[{n}]"}
                self._add_image(image | {"file_name": name, **_size(entry, at)})
        known: dict[str, int] = {}
        for at, entry in self._entries("annotations"):
            track = _id(entry, "id", at)
            _new(known, track, at)
            category = _known(self._categories, entry, "category_id", "categories", at)
            video = _id(entry, "video_id", at)
            if video not in first:
                raise _WrongError(f"{at}: videos has no id {shown(video)}")
            # Keys of a whole video, and those of its frames.
            lists = {"segmentations": "segmentation", "bboxes": "bbox", "areas": "area"}
            said = {one: entry[many] for many, one in lists.items() if entry.get(many) is not None}
            for key, values in said.items():
                if not isinstance(values, list) or len(values) != frames[video]:
                    raise _WrongError(
                        f"{at}: its {key}s are no list of one for each of the {frames[video]} "
                        "file_names of its video"
                    )
            for n in range(frames[video]):
                of_frame = {key: values[n] for key, values in said.items()}
                if of_frame.get("segmentation") or of_frame.get("bbox"):
                    of_frame |= {"iscrowd": entry.get("iscrowd"), "track_id": track}
                    image = self._images[first[video] + n]
                    yield self._annotation(of_frame, f"{at} frame {n}", image, category)

    def _annotation(self, entry: Entry, at: str, image: Entry, category: int) -> Entry:
        """The annotation with everything that is judged; what is missing follows from the mask."""
        made: Entry = {
            "image_id": image["id"],
            "category_id": category,
            "iscrowd": _crowd(entry.get("iscrowd"), at),
        }
        more = entry.get("attributes")
        told = entry.get("track_id")
        if told is None and isinstance(more, dict):
            told = more.get("track_id")
        if told is None and isinstance(entry.get("instance_id"), int):
            told = entry["instance_id"]
        if type(entry.get("score")) in (int, float):
            made["score"] = entry["score"]
        if told is not None:
            track = _id({"track_id": told}, "track_id", at)
            made["track_id"] = self._tracks.setdefault(track, len(self._tracks) + 1)
        if entry.get("segmentation"):
            made["segmentation"] = rle = _run_lengths(entry["segmentation"], image, at)
            made["bbox"] = _box(entry, at) or coco_mask.toBbox(rle).tolist()
            made["area"] = _area(entry, at, float(coco_mask.area(rle)))
        elif box := _box(entry, at):
            made["bbox"] = box
            made["area"] = _area(entry, at, 0.0) or box[2] * box[3]
        else:
            raise _WrongError(f"{at}: neither 'segmentation' nor 'bbox'")
        return made

    def _refuse_twice(self) -> None:
        """A picture is one image: objects of its second entry would be missed by the first."""
        seen: dict[str, str] = {}
        for image in self._images:
            name = image.get("frame_id", plain(image["name"]))
            if name in seen:
                raise _WrongError(f"{image['at']}: {shown(name)} stands twice, see {seen[name]}")
            seen[name] = image["at"]


def _same_names(names: Mapping[int, str]) -> Iterator[str]:
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    for name in sorted(twice):
        yield f"the category name {shown(name)} stands twice: both are taken for one class"


def _same_objects(annotations: Sequence[Entry]) -> Iterator[str]:
    """Two annotators, or a file that was merged with itself."""
    seen: set[tuple[Any, ...]] = set()
    twice = 0
    for a in annotations:
        shape = a["segmentation"]["counts"] if "segmentation" in a else b""
        key = (a["image_id"], a["category_id"], tuple(a["bbox"]), shape)
        twice += key in seen
        seen.add(key)
    if twice:
        yield f"{twice} objects stand twice (same image, class and outline): each counts"


def _id(entry: Entry, key: str, at: str) -> str:
    value = entry.get(key)
    if value is None:
        raise _WrongError(f"{at}: no {key!r}")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _WrongError(f"{at}: {key} is {_short(value)}, which is neither a number nor a text")
    return str(value)


def _new(known: dict[str, int], said: str, at: str) -> int:
    if said in known:
        kind = at.partition("[")[0]
        raise _WrongError(f"{at}: id {shown(said)} stands twice, see {kind}[{known[said] - 1}]")
    known[said] = int(at.partition("[")[2].rstrip("]")) + 1
    return known[said]


def _known(numbers: Mapping[str, int], entry: Entry, key: str, of: str, at: str) -> int:
    said = _id(entry, key, at)
    if said not in numbers:
        raise _WrongError(f"{at}: {of} has no id {shown(said)}")
    return numbers[said]


def _text(entry: Entry, key: str, at: str) -> str:
    value = entry.get(key)
    if value is None:
        raise _WrongError(f"{at}: no {key!r}")
    if not isinstance(value, str) or not value or "\0" in value:
        raise _WrongError(f"{at}: {key} is {_short(value)}, which is no name")
    return value


def _index(entry: Entry, at: str) -> int:
    value = entry["frame_index"]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_NUMBER:
        raise _WrongError(f"{at}: frame_index is {_short(value)}, which is no whole number >= 0")
    return value


def _size(entry: Entry, at: str) -> Entry:
    """Width and height in px, none if they are not said."""
    said = {key: entry[key] for key in ("width", "height") if entry.get(key) is not None}
    for key, value in said.items():
        whole = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not whole or not 1 <= value < MAX_NUMBER or value != int(value):
            raise _WrongError(f"{at}: {key} is {_short(value)}, which is no number of pixels")
        said[key] = int(value)
    if len(said) == 2 and said["width"] * said["height"] >= MAX_FRAME_PX:
        raise _WrongError(f"{at}: no picture is {said['width']}x{said['height']}")
    return said if len(said) == 2 else {}


def _numbers(values: Any, at: str, what: str) -> list[float]:
    if not isinstance(values, list):
        raise _WrongError(f"{at}: {what} is {_short(values)}, which is no list of numbers")
    for value in values:
        if type(value) not in (int, float) or not abs(value) <= MAX_NUMBER:  # nor NaN
            raise _WrongError(f"{at}: {what} holds {_short(value)}, which is no number of pixels")
    return [float(value) for value in values]


def _box(entry: Entry, at: str) -> list[float] | None:
    if not entry.get("bbox"):
        return None
    box = _numbers(entry["bbox"], at, "bbox")
    if len(box) != 4 or min(box[2:]) < 0:
        raise _WrongError(f"{at}: bbox is {_short(entry['bbox'])}, which is no x, y, width, height")
    return box


def _area(entry: Entry, at: str, otherwise: float) -> float:
    if entry.get("area") is None:
        return otherwise
    (area,) = _numbers([entry["area"]], at, "area")
    if area < 0:
        raise _WrongError(f"{at}: area is {_short(area)}, which is less than nothing")
    return area


def _crowd(value: Any, at: str) -> int:
    if value not in (None, 0, 1, "0", "1") or isinstance(value, float):
        raise _WrongError(f"{at}: iscrowd is {_short(value)}, which is neither 0 nor 1")
    return int(value or 0)


def _run_lengths(shape: Any, image: Entry, at: str) -> Entry:
    """Polygons, or run lengths compressed or not, as pycocotools' compressed ones."""
    if isinstance(shape, list):
        if "width" not in image:
            raise _WrongError(f"{at}: {image['at']} has no 'width' and 'height' for its polygons")
        height, width = image["height"], image["width"]
        rings = _rings(shape, width, height, at)
        return dict(coco_mask.merge(coco_mask.frPyObjects(rings, height, width)))
    if not isinstance(shape, dict):
        raise _WrongError(
            f"{at}: segmentation is {_short(shape)}, neither polygons nor run lengths"
        )
    size, counts = shape.get("size"), shape.get("counts")
    if size is None:
        size = [image.get("height"), image.get("width")]
    if not isinstance(size, list) or len(size) != 2:
        raise _WrongError(f"{at}: size of its run lengths is {_short(size)}, not [height, width]")
    said = _size({"height": size[0], "width": size[1]}, f"{at}: segmentation.size")
    if not said:
        raise _WrongError(f"{at}: {image['at']} has no 'width' and 'height' for its run lengths")
    for key, value in said.items():
        if image.setdefault(key, value) != value:
            raise _WrongError(
                f"{at}: its run lengths are of {said['width']}x{said['height']}, "
                f"{image['at']} is {image['width']}x{image['height']}"
            )
    size_hw = said["height"], said["width"]
    if isinstance(counts, list):
        if not all(type(n) is int and 0 <= n < MAX_FRAME_PX for n in counts):
            raise _WrongError(f"{at}: counts of its run lengths are no whole numbers >= 0")
        if sum(counts) != size_hw[0] * size_hw[1]:
            raise _WrongError(f"{at}: {_unequal(sum(counts), size_hw)}")
        return dict(coco_mask.frPyObjects({"size": list(size_hw), "counts": counts}, *size_hw))
    if not isinstance(counts, str):
        raise _WrongError(f"{at}: counts of its run lengths is {_short(counts)}")
    if wrong := wrong_run_lengths(counts, size_hw):
        raise _WrongError(f"{at}: {wrong}")
    return {"size": list(size_hw), "counts": counts.encode("ascii")}


def _unequal(total: int, size_hw: tuple[int, int]) -> str:
    return f"run lengths sum to {total} px, not {size_hw[0]} x {size_hw[1]}"


def _rings(shape: list[Any], width: int, height: int, at: str) -> list[list[float]]:
    """Polygons as lists x, y, x, y, ...; one may stand without a list around it."""
    nested = isinstance(shape[0], list)
    rings = [_numbers(ring, at, "segmentation") for ring in (shape if nested else [shape])]
    for ring in rings:
        if len(ring) % 2:
            raise _WrongError(f"{at}: a polygon has {len(ring)} numbers, expected x, y, x, y, ...")
        xs, ys = ring[::2], ring[1::2]
        outside = ring and not (
            -width <= min(xs) <= max(xs) <= 2 * width
            and -height <= min(ys) <= max(ys) <= 2 * height
        )
        if outside:
            raise _WrongError(f"{at}: a polygon leaves its picture of {width}x{height} by far")
        corners = list(zip(xs, ys, strict=True))
        ends = zip(corners, corners[1:] + corners[:1], strict=True)
        length = sum(max(abs(a - c), abs(b - d)) for (a, b), (c, d) in ends)
        # Its pixels are followed one by one.
        if length > LONGEST_OUTLINE * (width + height):
            raise _WrongError(f"{at}: an outline of {length:.0f} px is no object's")
    # Fewer than three corners enclose nothing, and four numbers would be taken for a box.
    return [ring for ring in rings if len(ring) >= 6] or [[0.0] * 6]


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."
