"""Boxes, or masks, that are there already: of a detector, of people, of another run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from annotate.data.types import ClassList, Frame, Image, spoken
from annotate.discover import labels
from annotate.errors import ConfigError, MediaError, PromptError
from annotate.ground.base import Candidates, Grounder
from annotate.ground.boxes.labelled import NOTHING, Labelled, Labels
from annotate.store.remote import is_url

log = logging.getLogger(__name__)

DOUBLE_IOU = 0.7  # of two boxes of one class; people side by side can have it as well

Format = Literal[
    "auto", "coco", "yolo", "cvat", "fiftyone", "voc", "labelme", "kitti", "mot", "mots", "davis",
    "coco_panoptic", "label_studio", "huggingface", "webdataset",
]  # fmt: skip


class Boxes(Grounder):
    """Finds in a picture what a file says of it, told by the picture's name.

    Classes of the list are those of the file by name, or by a phrase: `car: automobile` takes the
    file's `automobile` for cars.
    """

    decides_nothing = ("file", "images")  # their content does, which the provenance has

    def __init__(
        self,
        *,
        file: str,
        format: Format,
        images: str | None,
        field: str | None,
        below: str | None,
        masks: bool,
    ) -> None:
        self._file, self._format, self._images, self._field = file, format, images, field
        self._below, self._masks = below, masks
        self._counts: Counter[str] = Counter()

    def tiled(self, wrap: Callable[[Grounder], Grounder]) -> Grounder:
        """See Grounder: what is known by name has nothing to gain from tiles."""
        return self

    def check(self) -> None:
        """Whether the file is there. Raises ConfigError."""
        _kind(self._file, self._format)

    def load(self, classes: ClassList) -> None:
        """Read the file. Raises ConfigError; PromptError where it has none of the classes."""
        self._labels = _read(
            _kind(self._file, self._format), self._file, self._images, self._field, self._below
        )
        self._wanted = _by_name(classes, self._labels.names, self._file)
        self._counts = Counter(self._labels.left_out)
        for remark in self._labels.remarks:
            log.warning("%s: %s", self._file, remark)
        for what, count in self._labels.left_out.items():
            log.warning("%s: %d %s", self._file, count, what)
        if unasked := [name for name in self._labels.names if name not in self._wanted]:
            log.warning("%s: objects of %s are not asked for", self._file, _some(unasked))
        self.has_scores = self._labels.has_scores  # type: ignore[misc]

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """Cannot be: a picture alone has no name."""
        raise NotImplementedError("ground=boxes must know which pictures they are: `find_in`")

    def find_in(self, frames: Sequence[Frame], floor: float) -> list[Candidates]:
        """See Grounder. MediaError: a picture that the file does not know, or as another one."""
        return [self._candidates(frame) for frame in frames]

    def _candidates(self, frame: Frame) -> Candidates:
        found = self._labelled(frame)
        kept = [row for row, name in enumerate(found.names) if name in self._wanted]
        if len(kept) < len(found):
            self._counts["objects of classes that were not asked for"] += len(found) - len(kept)
        self._counts["boxes taken"] += len(kept)
        if doubles := _doubles(found):
            self._counts["of them probably doubles, which ground.nms_iou=0.7 merges"] += doubles
        return Candidates(
            boxes_xyxy=found.boxes_xyxy[kept],
            scores=found.scores[kept],
            class_ids=np.array([self._wanted[found.names[row]] for row in kept], int),
            phrases=[found.names[row] for row in kept],
            masks=[found.masks[row] for row in kept] if self._masks else None,
        )

    def _labelled(self, frame: Frame) -> Labelled:
        found = self._labels.of(frame)
        if found is None and (frame.item.media == "video" or self._labels.may_lack):
            self._counts[f"{frame.item.media} frames that the file does not have"] += 1
            return NOTHING
        if found is None:
            example = self._labels.example
            raise MediaError(
                f"{self._file} has no picture of this name (but such as {example!r}); names count "
                "from the dataset's folder: dataset=FOLDER, or ground.below=FOLDER in it"
            )
        sizes = [found.size_hw, *(mask.size_hw for mask in found.masks if mask is not None)]
        for size in sizes:
            if size is not None and size != frame.size_hw:
                (h, w), (height, width) = size, frame.size_hw
                raise MediaError(
                    f"{self._file} has it as {w}x{h}, it is {width}x{height} (upright): another "
                    "picture, or one that was resized"
                )
        return found

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The file."""
        return {"model": "boxes", "file": self._file, "sha256": self._labels.sha256}

    @property
    def tally(self) -> Mapping[str, int]:
        """What was taken, and what was left out."""
        return dict(self._counts)


def _kind(file: str, asked: Format) -> str:
    """The format of a file or folder, by what it is where that was not said. ConfigError."""
    if is_url(file):
        if asked not in ("auto", "coco", "cvat"):
            raise ConfigError(f"ground.file={file}: a folder of {asked} must be on this machine")
        return asked if asked != "auto" else "cvat" if file.endswith(".xml") else "coco"
    path = Path(file).expanduser()
    if not path.exists():
        raise ConfigError(f"ground.file={file}: no such file or folder")
    if asked != "auto":
        return asked
    if path.is_dir():
        if (path / "samples.json").is_file():
            return "fiftyone"
        return labels.detect(path) or "yolo"
    if path.suffix.lower() == ".json":
        return "coco"
    if path.suffix.lower() == ".xml":
        return "cvat"
    raise ConfigError(
        f"ground.file={file}: neither a .json (COCO), an .xml (CVAT) nor a folder of labels "
        f"({', '.join(labels.FORMATS)}, fiftyone)"
    )


def _read(kind: str, file: str, images: str | None, field: str | None, below: str | None) -> Labels:
    path = Path(file).expanduser()
    if kind == "fiftyone":
        from annotate.ground.boxes.fiftyone import FiftyOneLabels

        return FiftyOneLabels(path, field, below)
    if kind == "yolo":
        from annotate.ground.boxes.yolo import YoloLabels

        return YoloLabels(path, below)
    from annotate.ground.boxes import coco

    if kind == "coco" and (is_url(file) or path.is_file()):
        return coco.read(file, images, below)
    return coco.read_labels(file if is_url(file) else path, kind, below)


def _by_name(classes: ClassList, names: Sequence[str], file: str) -> dict[str, int]:
    """Class ids by the file's names. Raises PromptError where none is one of the list."""
    both = {_folded(p): i for i, spec in enumerate(classes.classes) for p in spec.phrases}
    both |= {_folded(name): i for i, name in enumerate(classes.names)}
    # As it is written first: `Cat` and `cat` may be two classes.
    exact = {name: i for i, name in enumerate(classes.names)}
    found = {name: exact.get(name, both.get(_folded(name))) for name in names}
    wanted = {name: i for name, i in found.items() if i is not None}
    if not wanted:
        raise PromptError(
            f"ground.file={file}: has none of the classes; its own are {_some(names)}"
        )
    if absent := [n for i, n in enumerate(classes.names) if i not in wanted.values()]:
        log.warning("%s has no class %s; its own are %s", file, _some(absent), _some(names))
    return wanted


def _doubles(found: Labelled) -> int:
    """Boxes that nearly are one of their class before them."""
    if len(found) < 2:
        return 0
    import torch
    from torchvision.ops import box_iou

    boxes, names = torch.from_numpy(found.boxes_xyxy), np.array(found.names)
    same = box_iou(boxes, boxes).numpy() >= DOUBLE_IOU
    same &= names[:, None] == names
    return int(np.tril(same, -1).any(1).sum())


def _folded(name: str) -> str:
    return spoken(name).casefold()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
