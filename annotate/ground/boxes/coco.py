"""Boxes of a COCO instances json, or of a detector's list of results beside one."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotate.data.types import Frame, Rle
from annotate.discover import labels
from annotate.discover.coco_file import Document, Entry, document_of
from annotate.errors import ConfigError, MediaError
from annotate.ground.boxes.labelled import Labelled, digest, digest_of, made
from annotate.ground.boxes.naming import Entries
from annotate.store.json_file import read_any_json, read_json

KEY = "ground.file"


class CocoLabels:
    """Objects by picture; crowds, which are no objects, are left out."""

    may_lack = False

    def __init__(
        self,
        document: Document,
        source: str,
        sha256: str,
        below: str | None,
        left_out: Counter[str],
    ) -> None:
        """`left_out` is what of the source is no object, by what it is."""
        self.sha256 = sha256
        self.names = tuple(document.categories.values())
        self.has_scores = any("score" in a for a in document.annotations)
        self.remarks = document.remarks
        self._below = below
        self._entries, crowds = _by_name(document, source)
        self.left_out = +(left_out + Counter({"crowds left out": crowds}))

    @property
    def example(self) -> str:
        return self._entries.example

    def of(self, frame: Frame) -> Labelled | None:
        """See Labels."""
        return self._entries.find(frame, self._below)


def read(source: str, images: str | None, below: str | None) -> CocoLabels:
    """Read a json, here or on a store; of results, which are a list, `images` names the pictures.

    Raises ConfigError.
    """
    what = f"{KEY}={source}: not a COCO instances json"
    content = read_any_json(source, what=f"{KEY}={source}: not a json of boxes")
    digests = [digest(source)]
    if isinstance(content, list):
        if images is None:
            raise ConfigError(
                f"{KEY}={source}: is a list of results; name the json that has their images "
                "and categories: ground.images=FILE"
            )
        of = read_json(images, what=f"ground.images={images}: not a COCO json")
        digests.append(digest(images))
        content = of | {"annotations": [_without_id(result) for result in content]}
    sha256 = hashlib.sha256("".join(digests).encode()).hexdigest()
    return CocoLabels(document_of(content, what=what), source, sha256, below, Counter())


def read_labels(source: Path | str, kind: str, below: str | None) -> CocoLabels:
    """Read a folder, or a file, of another format. Raises ConfigError."""
    contents = labels.read(source, kind, key=KEY)
    document = document_of(contents.content, what=f"{KEY}={source}: not {labels.FORMATS[kind]}")
    return CocoLabels(document, str(source), digest_of(source), below, contents.left_out)


def _without_id(result: Any) -> Any:
    """Results are told apart by their place; an `id` in them is nobody's."""
    return {k: v for k, v in result.items() if k != "id"} if isinstance(result, dict) else result


def _by_name(document: Document, source: str) -> tuple[Entries[Labelled], int]:
    objects: defaultdict[int, list[Entry]] = defaultdict(list)
    crowds = 0
    for annotation in document.annotations:
        if annotation["iscrowd"]:
            crowds += 1
        else:
            objects[annotation["image_id"]].append(annotation)
    entries: Entries[Labelled] = Entries()
    for image in document.images:
        some = objects.pop(image["id"], [])
        size = (image["height"], image["width"]) if "width" in image else None
        rows = [_row(a, document.categories[a["category_id"]]) for a in some]
        try:
            labelled = made(rows, size, image["at"])
        except MediaError as error:
            raise ConfigError(f"{KEY}={source}: {error}") from error
        for name in _names(image):
            entries.add(name, labelled)
    return entries, crowds


def _row(annotation: Entry, name: str) -> tuple[Sequence[float], float | None, str, Rle | None]:
    x, y, w, h = annotation["bbox"]
    mask = None
    if "segmentation" in annotation:
        height, width = annotation["segmentation"]["size"]
        mask = Rle(annotation["segmentation"]["counts"].decode("ascii"), (height, width))
    return (x, y, x + w, y + h), annotation.get("score"), name, mask


def _names(image: Entry) -> list[str]:
    """All that may name an image; its own exports name the picture that it was as `source`."""
    said = [image[key] for key in ("frame_id", "source", "file_name") if key in image]
    if "video" in image:
        said.append(f"{image['video']}#{image['frame_index']:06d}")
    return said
