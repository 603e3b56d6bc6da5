"""Find the items of a dataset: names that stay the same wherever the folder is mounted."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from annotate.data.types import Item
from annotate.discover import coco_listing
from annotate.discover.dataset import KINDS, SUFFIXES, Dataset, dataset
from annotate.discover.files import (
    IMAGE_SUFFIXES,
    LOOKED_AT,
    SHARED_SUFFIXES,
    VIDEO_SUFFIXES,
    is_numbered,
    is_transport_stream,
)
from annotate.discover.left_out import left_out
from annotate.errors import ConfigError
from annotate.store.json_file import read_json
from annotate.store.remote import is_url


def discover(path: str, *, kind: str = "auto") -> Dataset:
    """Find every image and video at `path`: a folder (walked recursively), one file, or a glob.

    Each may be on a store, as `s3://bucket/photos`.

    `kind` is auto (images and videos), images, videos, frames (each folder that directly holds
    numbered images is one video), coco (`path` is a COCO json; its images are looked for where
    tools lay them, see `coco_listing`) or fiftyone (`path` names a dataset there). Names are posix
    paths relative to the root, which for a folder of frames is the folder it lies in. Hidden files
    and folders are left out, and so is what earlier runs wrote. A folder that may not be listed is
    an item, which will fail with that reason. Raises ConfigError when there is nothing at `path`.
    """
    if kind not in KINDS:
        raise ConfigError(f"dataset.kind={kind}: expected one of {', '.join(KINDS)}")
    if not path.strip():
        raise ConfigError("dataset= is empty: add dataset=PATH")
    if kind == "fiftyone":
        from annotate.discover.fiftyone_listing import discover_fiftyone

        return discover_fiftyone(path)
    if is_url(path):
        from annotate.discover.remote_listing import discover_remote

        return discover_remote(path, kind)
    place = expand(path)
    barred: list[Path] = []
    if kind == "coco":
        root, paths = _listed_in_coco(place)
    elif place.is_dir():
        root, paths = place, _walk(place, barred)
    elif place.exists():
        root, paths = place.parent, iter([place])
    else:
        root, paths = _matching(path)
    found = list(paths)
    if place in barred:
        raise ConfigError(f"{path}: permission denied; the dataset cannot be listed")
    if kind == "frames":
        others = [path for path in found if not is_numbered(path)]
        root, items = _folders_of_frames(found, root, barred)
    else:
        suffixes = SUFFIXES.get(kind, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
        read = [path for path in found if path.suffix.lower() in suffixes and _is_its_kind(path)]
        others = sorted({*found}.difference(read))
        items = _items(read, root, barred)
    return dataset(root.resolve(), items, left_out(others), path=path, kind=kind)


def expand(path: str) -> Path:
    """A path with its `~` resolved; ConfigError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _folders_of_frames(
    paths: Iterable[Path], root: Path, barred: Iterable[Path]
) -> tuple[Path, tuple[Item, ...]]:
    """Folders that hold numbered images; if the root does, names start from the folder above."""
    folders = {path.parent.relative_to(root) for path in paths if is_numbered(path)}
    top, prefix = root, Path()
    if Path() in folders:
        top, prefix = root.resolve().parent, Path(root.resolve().name)
    folders |= {folder.relative_to(root) for folder in barred}
    named = {_name(prefix / folder): root / folder for folder in folders}
    return top, tuple(Item(name, named[name], "video") for name in sorted(named))


def _items(paths: Iterable[Path], root: Path, barred: Iterable[Path]) -> tuple[Item, ...]:
    found = {}
    for folder in barred:
        name = _name(folder.relative_to(root))
        found[name] = Item(name=name, path=folder)
    for path in paths:
        name = _name(path.relative_to(root))
        media = "video" if path.suffix.lower() in VIDEO_SUFFIXES else "image"
        found[name] = Item(name=name, path=path, media=media)  # type: ignore[arg-type]
    return tuple(found[name] for name in sorted(found))


def _is_its_kind(path: Path) -> bool:
    """False where a suffix that others have as well is not that of a video."""
    if path.suffix.lower() not in SHARED_SUFFIXES or not path.is_file():
        return True
    try:
        with path.open("rb") as file:
            return is_transport_stream(file.read(LOOKED_AT))
    except OSError:  # which will be said where it is decoded
        return True


def _name(path: Path) -> str:
    """A name that can be stored: bytes that are no UTF-8 are spelled out."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _left_out(path: Path, root: Path) -> bool:
    """Whether a path is hidden, or part of what an earlier run wrote."""
    inside = path.relative_to(root)
    return any(part.startswith(".") for part in inside.parts) or any(
        _is_run(root / folder) for folder in inside.parents
    )


def _is_run(folder: Path) -> bool:
    return (folder / "records").is_dir() and (folder / "config.yaml").is_file()


def _walk(
    folder: Path, barred: list[Path], above: tuple[tuple[int, int], ...] = ()
) -> Iterator[Path]:
    """Files below `folder`, links followed; a link back to a folder above is not entered again.

    Folders that may not be listed, or not be looked into, are added to `barred`.
    """
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above or (above and _is_run(folder)):
            return
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
        # A path asks again: an entry raises where a link leads in circles, and is no folder then.
        paths = [Path(entry.path) for entry in entries if not entry.name.startswith(".")]
        folders = {path for path in paths if path.is_dir()}
    except PermissionError:
        barred.append(folder)
        return
    for path in paths:
        if path in folders:
            yield from _walk(path, barred, (*above, here))
        else:
            yield path


def _matching(pattern: str) -> tuple[Path, Iterator[Path]]:
    if not glob.has_magic(pattern):
        raise ConfigError(f"dataset={pattern}: no such file or folder")
    fixed = []
    for part in expand(pattern).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed) if fixed else Path()
    rest = expand(pattern).relative_to(root).as_posix()
    try:
        matches = list(root.glob(rest))
    except ValueError as error:
        raise ConfigError(
            f"dataset={pattern}: not a pattern that can be searched ({error})"
        ) from error
    return root, (m for m in matches if not m.is_dir() and not _left_out(m, root))


def _listed_in_coco(path: Path) -> tuple[Path, Iterator[Path]]:
    source = str(path)
    content = read_json(path, what=f"dataset={source}: not a COCO json with images")
    place = path.absolute()
    layout = coco_listing.Layout.of(place.as_posix())
    base = place.parents[layout.levels - 1]
    names = coco_listing.names_in(content, source, base.as_posix())
    # A link is there though what it leads to is not, as of DVC and git-annex.
    folder, names = coco_listing.find(
        names, layout.folders, lambda name: os.path.lexists(base / name), source
    )
    return base / folder, (base / folder / name for name in names)
