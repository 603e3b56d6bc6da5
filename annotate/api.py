"""The same job from Python: `annotate.run(...)` for a dataset, `Annotator` for a notebook."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from PIL import Image as PilImage

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import ClassList, Frame, Image, Item
from annotate.decode.image import read_image
from annotate.decode.pixels import pixels_of
from annotate.decode.video import open_video
from annotate.discover.class_list import class_list_to_yaml, load_prompts
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.errors import (
    BrokenVideoError,
    ConfigError,
    MediaError,
    PixelsError,
    PromptError,
)
from annotate.record.run_folder import Run
from annotate.report.annotated import Annotated
from annotate.runner.build import build_pipeline
from annotate.runner.exports import say_what_no_record_holds
from annotate.runner.job import annotate_dataset
from annotate.store.remote import allow

Prompts = str | Path | ClassList | Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
"""A file, a list of classes, or a dict from each class to its phrases, None for its name alone, or
to keys as in a yaml: `{"car": ["car", "red car"], "person": None, "dog": {"threshold": 0.4}}`.
"""


def run(*, dataset: str | Path, prompts: Prompts | None = None, **overrides: Any) -> Run:
    """Annotate a dataset and export it, as `python -m annotate` does; the same call resumes.

    Overrides are config keys with `__` for the dot: `run(dataset="photos", prompts=["cat"],
    models="tiny", ground__floor=0.05)`. Without `prompts` the config of the dataset has them.
    Raises AnnotateError where it cannot be done; failed items are in the records, and whether the
    gates were kept is in `Run.passed` and `Run.summary`.
    """
    settings = _settings(prompts, {"dataset": str(dataset), **overrides})
    return Run.open(annotate_dataset(settings).run)


def open_run(path: str | Path, *others: str | Path) -> Run:
    """Open a run folder, or several that hold shares of one run; see Run.open."""
    return Run.open(path, *others)


class Annotator:
    """The models with one class list, for single pictures, clips and streams.

    What it returns holds the instances that an export would: from `threshold` on, or that of their
    class, and of the sizes that their class allows. What lies below is in `recorded` of each
    record. Overrides are config keys, as for `run`. Raises AnnotateError.
    """

    def __init__(self, *, prompts: Prompts, models: str = "balanced", **overrides: Any) -> None:
        settings = _settings(prompts, {"dataset": ".", "models": models, **overrides})
        allow(settings.store.protocols)
        self.classes = load_prompts(settings.prompts)
        self.threshold = settings.threshold
        say_what_no_record_holds(settings.ground.floor, self.threshold, self.classes)
        self._depth = settings.decode.depth
        self._max_pixels = settings.dataset.max_pixels
        self._stride = settings.video.stride
        self._pipeline, self.provenance = build_pipeline(settings, self.classes)

    def __repr__(self) -> str:
        return f"Annotator({self.classes!r}, threshold {self.threshold:g})"

    def image(self, image: str | Path | Image | PilImage.Image) -> Annotated:
        """Annotate one picture: a path, RGB uint8 (h, w, 3), or one of Pillow's.

        Raises MediaError that names the file; PixelsError, which is one, for other arrays.
        """
        if isinstance(image, (str, os.PathLike)):
            path = _path(image, "image")
            item = Item(path.name, path, depth=self._depth)
            try:
                pixels = read_image(path, max_pixels=self._max_pixels, depth=self._depth)
            except MediaError as error:
                raise MediaError(f"{path}: {error}") from error
            (record,) = self._pipeline.stills([Frame(item, pixels)])
            return Annotated.of(record, self.classes, self.threshold, item)
        pixels = pixels_of(image, "image")
        (record,) = self._pipeline.stills([Frame(Item("image", Path("image")), pixels)])
        return Annotated.of(record, self.classes, self.threshold, pixels)

    def video(self, path: str | Path, *, stride: int | None = None) -> list[Annotated]:
        """Annotate every `stride`-th frame (None: `video.stride`) of a clip, with tracks.

        A clip is a file or a folder of numbered images. All records are in memory, masks as run
        lengths, their pictures are not; for long videos use `run`. Raises MediaError that names the
        file; where it breaks off in the middle BrokenVideoError, with the records up to there.
        """
        path = _path(path, "video")
        stride = self._stride if stride is None else stride
        if stride < 1:
            raise ConfigError(f"stride={stride}: expected 1 or more")
        item = Item(path.name, path, "video", depth=self._depth)
        broken: list[MediaError | OSError] = []

        def frames() -> Iterator[Frame]:
            """Those before it breaks off, if it does."""
            try:
                yield from open_video(item, max_pixels=self._max_pixels).frames(stride=stride)
            except (MediaError, OSError) as error:
                broken.append(error)

        passing = self._pipeline.video(frames())
        provisional = list(passing.provisional())
        records = [
            Annotated.of(record, self.classes, self.threshold, item)
            for record in passing.settled(provisional)
        ]
        if broken and not records:
            raise MediaError(f"{path}: {broken[0]}") from broken[0]
        if broken:
            raise BrokenVideoError(
                f"{path}: {broken[0]}; the {len(records)} frames annotated before are kept in "
                "`records` of this error",
                records,
            ) from broken[0]
        return records

    def stream(
        self,
        frames: Iterable[Image | PilImage.Image],
        *,
        fps: float = 30.0,
        name: str = "stream",
    ) -> Iterator[Annotated]:
        """Track objects through pictures as they come, such as those of a camera, without end.

        `frames` are pictures of one size as for `image`; `fps` tells their times. Records come in
        order, each at most 2 * `ground.every` frames after its own was taken (by default 2), and
        hold their pictures. What is held meanwhile does not grow with the stream.

        Nobody knows yet how a stream goes on, so records differ from those of `video`. Class,
        phrase and score are what the detections up to now say, and may change from frame to frame;
        a track that will turn out to be a false alarm is there until it does; one that is sure of
        itself only later is not there before, and ids count the tracks as they were shown.
        An id stays that of one object. Where `frames` raise, what came before is handed out first.
        """
        if isinstance(frames, (str, os.PathLike)):
            raise PixelsError(f"{frames}: a path; annotator.video takes it, stream takes pictures")
        if not isinstance(frames, Iterable):
            raise PixelsError(f"{name}: {type(frames).__name__} cannot be iterated over: {_LOOP}")
        if not fps > 0:
            raise ConfigError(f"fps={fps}: expected more than 0")
        return self._streamed(frames, fps, Item(name, Path(name), "video"))

    def _streamed(self, given: Iterable[Any], fps: float, item: Item) -> Iterator[Annotated]:
        waiting: deque[Image] = deque()  # pictures whose records are to come
        broken: list[Exception] = []

        def frames() -> Iterator[Frame]:
            first = None
            try:
                for index, picture in enumerate(given):
                    at = f"{item.name}#{index:06d}"
                    pixels = pixels_of(picture, at)
                    first = first or pixels.shape
                    if pixels.shape != first:
                        now, then = ("x".join(map(str, s[1::-1])) for s in (pixels.shape, first))
                        raise PixelsError(f"{at}: is {now}, the first frame is {then}")
                    waiting.append(pixels)
                    yield Frame(item, pixels, index, index / fps)
            except Exception as error:
                broken.append(error)

        for record in self._pipeline.stream(frames()):
            yield Annotated.of(record, self.classes, self.threshold, waiting.popleft())
        if broken:
            raise broken[0]


_LOOP = "write a generator that yields RGB arrays, from OpenCV `frame[..., ::-1]`"


def _path(given: str | os.PathLike[str], wanted: str) -> Path:
    """The path of a picture or a video. Raises MediaError where it is plainly of something else."""
    if not isinstance(given, (str, os.PathLike)):
        raise PixelsError(
            f"{type(given).__name__} is no path of a {wanted}; annotator.stream takes pictures"
        )
    if "://" in str(given):
        raise MediaError(f"{given}: a url; annotate.run(dataset=...) reads those, here give a file")
    path = Path(given).expanduser()
    suffix = path.suffix.lower()
    if wanted == "image" and path.is_dir():
        raise MediaError(
            f"{path}: a folder; annotate.run(dataset=...) annotates it, or annotator.video if it "
            "holds the frames of a clip"
        )
    if wanted == "image" and suffix in VIDEO_SUFFIXES and path.is_file():
        raise MediaError(f"{path}: a video; annotator.video takes it")
    if wanted == "video" and suffix in IMAGE_SUFFIXES and path.is_file():
        raise MediaError(f"{path}: a picture; annotator.image takes it")
    return path


def _settings(prompts: Prompts | None, overrides: dict[str, Any]) -> AnnotateCommand:
    argv = [f"{key.replace('__', '.')}={_grammar(value)}" for key, value in overrides.items()]
    settings = typed(compose(argv, "config"), AnnotateCommand)
    return settings if prompts is None else replace(settings, prompts=_plain(prompts))


def _plain(prompts: Prompts) -> Any:
    """A class list as yaml could hold it."""
    if isinstance(prompts, (str, os.PathLike)):
        return str(prompts)
    if isinstance(prompts, ClassList):
        return yaml.safe_load(class_list_to_yaml(prompts))["classes"]
    if isinstance(prompts, Mapping):
        return dict(prompts)
    if isinstance(prompts, Iterable):
        return list(prompts)
    raise PromptError(f"prompts={prompts!r}: expected a file, a list or a dict of classes")


def _grammar(value: Any) -> str:
    """A Python value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_grammar, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}: {_grammar(v)}" for k, v in value.items()) + "}"
    return str(value)
