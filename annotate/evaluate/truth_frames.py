"""Which image of a truth is which frame of a run: by the frame's id, else by the file's name."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from annotate.data.item_paths import plain, shown
from annotate.discover.files import in_order, is_numbered
from annotate.errors import ConfigError, StorageError
from annotate.record.run_folder import Run
from annotate.store.remote import Store

log = logging.getLogger(__name__)

Image = Mapping[str, Any]
Named = tuple[str, str]  # the id of a frame, and the name of its file


def frames_of(images: Sequence[Image], run: Run, source: str) -> dict[str, Image]:
    """The images that are annotated frames of the run, by the frames' ids.

    An image whose `frame_id` is a frame's is that frame. Of the others the `source` decides that
    our exports name, then the `file_name`: a still's, or of a file in a folder of frames. What has
    neither is told by its number in its video, or by a name such as `clip.mp4/000123.jpg`, as
    exports have it. What is no frame of the run is counted and said. Raises ConfigError where two
    images are one frame.
    """
    ids, files = _recorded(run, images, source)
    found: dict[str, Image] = {}
    by_file: set[str] = set()  # videos whose frames are told by the names of their files

    def told(image: Image) -> str | None:
        frame_id = image.get("frame_id")
        return frame_id if frame_id in ids else None

    def sourced(image: Image) -> str | None:
        return named(image, "source")

    def named(image: Image, key: str = "file_name") -> str | None:
        name = image.get(key, "")
        alike = files.get(plain(name), [])
        same = [frame_id for frame_id, own in alike if own == name]
        if len(alike) > 1 and not same:
            raise ConfigError(
                f"{source}: {image['at']}: {shown(name)} may be {shown(alike[0][1])} or "
                f"{shown(alike[1][1])} of the run"
            )
        if not alike:
            return None
        frame_id = same[0] if same else alike[0][0]
        by_file.add(_video(frame_id))
        return frame_id

    def counted(image: Image) -> str | None:
        possible = (i for i in _numbers(image) if i in ids and _video(i) not in by_file)
        return next(possible, None)

    left = list(images)
    for way in (told, sourced, named, counted):
        ways = [(image, way(image)) for image in left]
        left = [image for image, frame_id in ways if frame_id is None]
        for image, frame_id in ways:
            if frame_id is not None and found.setdefault(frame_id, image) is not image:
                raise ConfigError(
                    f"{source}: {found[frame_id]['at']} and {image['at']} are both "
                    f"{shown(frame_id)} of the run"
                )
    if found and left:
        log.warning(
            "%s: %d of %d images are no frames that the run annotated, such as %s",
            source, len(left), len(images), shown(left[0]["name"]),
        )  # fmt: skip
    return found


def may_share(images: Sequence[Image], items: Collection[str]) -> bool:
    """Whether any image may be of one of these items, before there are records of them."""
    known = {plain(item) for item in items}
    return any(
        plain(name) in known
        for image in images
        for said in (
            image.get("frame_id", ""),
            *_numbers(image),
            image.get("source", ""),
            image.get("file_name", ""),
        )
        for name in (said, _video(said), str(PurePosixPath(plain(said)).parent))
    )


def _video(frame_id: str) -> str:
    return frame_id.rpartition("#")[0]


def _numbers(image: Image) -> Iterator[str]:
    """The frames that an image may be, by its number in a video."""
    if "video" in image:
        yield f"{image['video']}#{image['frame_index']:06d}"
    path = PurePosixPath(plain(image.get("file_name", "")))
    if len(path.stem) >= 6 and path.stem.isascii() and path.stem.isdigit():
        yield f"{path.parent}#{path.stem}"


def _recorded(
    run: Run, images: Sequence[Image], source: str
) -> tuple[set[str], dict[str, list[Named]]]:
    """Of the run's annotated frames that the images may be: their ids, and them by file name."""
    wanted = {i for image in images for i in (image.get("frame_id"), *_numbers(image))}
    names = {plain(i[key]) for i in images for key in ("source", "file_name") if key in i}
    in_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        in_folder[str(PurePosixPath(name).parent)].append(PurePosixPath(name).name)
    ids: set[str] = set()
    files: defaultdict[str, list[Named]] = defaultdict(list)
    of_video: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    columns = ["frame_id", "item", "media", "frame_index", "status"]
    for batch in run.table().to_batches(columns=columns):
        for frame_id, item, media, index, status in zip(
            *(batch[c].to_pylist() for c in columns), strict=True
        ):
            if status != "ok":
                continue
            if frame_id in wanted:
                ids.add(frame_id)
            if media == "image" and (name := plain(item)) in names:
                files[name].append((frame_id, item))
            elif media == "video" and plain(item) in in_folder:
                of_video[item].append((index, frame_id))
    stride = int((run.asked().get("video") or {}).get("stride") or 1)
    for item, frames in of_video.items():
        own = _files(run, item)
        if own is None:
            listed = [p.name for p in in_order(map(PurePosixPath, in_folder[plain(item)]))]
            unlisted = len(listed) - 1 - max(index for index, _ in frames)
            own = listed if 0 <= unlisted < stride else []
            if not own and not any(frame_id in ids for _, frame_id in frames):
                log.warning(
                    "%s: the %d files of %s cannot be told from one another: the folder of its "
                    "frames is not below %s", source, len(listed), shown(item), run.root,
                )  # fmt: skip
        for index, frame_id in frames:
            if index < len(own):
                name = f"{item}/{own[index]}"
                files[plain(name)].append((frame_id, name))
    return ids, files


def _files(run: Run, item: str) -> list[str] | None:
    """The names of a video's frames in their order; None where no folder of them is there."""
    source = run.source(item, "video")
    try:
        if source.remote is None:
            names = [path.name for path in source.path.iterdir()]
        else:
            names = [PurePosixPath(n).name for n in Store(source.remote.root).files(item, depth=1)]
    except (OSError, StorageError):
        return None
    frames = in_order(path for name in names if is_numbered(path := PurePosixPath(name)))
    return [path.name for path in frames] or None
