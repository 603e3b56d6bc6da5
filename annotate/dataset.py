"""Find the items of a dataset: names that stay the same wherever the folder is mounted."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import ConfigError
from annotate.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.types import Item

KINDS = ("auto", "images", "coco")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The items in the order they are worked on (by name), and the folder their names start from."""

    root: Path
    items: tuple[Item, ...]


def discover(path: str, *, kind: str = "auto") -> Dataset:
    """Find every image and video at `path`: a folder (walked recursively), one file, or a glob.

    `kind` is auto (images and videos), images, or coco (`path` is a COCO json; its images are
    looked for beside it and in `images/`). Names are posix paths relative to the root. Hidden files
    and folders are left out. Raises ConfigError when there is nothing at `path`.
    """
    if kind not in KINDS:
        raise ConfigError(f"dataset.kind={kind}: expected one of {', '.join(KINDS)}")
    place = Path(path).expanduser()
    if kind == "coco":
        root, paths = _listed_in_coco(place)
    elif place.is_dir():
        root, paths = place, _walk(place, ())
    elif place.exists():
        root, paths = place.parent, iter([place])
    else:
        root, paths = _matching(path)
    suffixes = IMAGE_SUFFIXES if kind == "images" else IMAGE_SUFFIXES | VIDEO_SUFFIXES
    items = _items(paths, root, suffixes)
    if not items:
        raise ConfigError(f"dataset={path}: no image or video in it (looked for {kind})")
    return Dataset(root=root.resolve(), items=items)


def _items(paths: Iterable[Path], root: Path, suffixes: frozenset[str]) -> tuple[Item, ...]:
    found = {}
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in suffixes:
            name = path.relative_to(root).as_posix()
            media = "video" if suffix in VIDEO_SUFFIXES else "image"
            found[name] = Item(name=name, path=path, media=media)  # type: ignore[arg-type]
    return tuple(found[name] for name in sorted(found))


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Files below `folder`, links followed; a link back to a folder above is not entered again."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except PermissionError as error:
        raise ConfigError(f"{folder}: permission denied; the dataset cannot be listed") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), (*above, here))
        else:
            yield Path(entry.path)


def _matching(pattern: str) -> tuple[Path, Iterator[Path]]:
    if not glob.has_magic(pattern):
        raise ConfigError(f"dataset={pattern}: no such file or folder")
    fixed = []
    for part in Path(pattern).expanduser().parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed) if fixed else Path()
    matches = (Path(p) for p in glob.iglob(str(Path(pattern).expanduser()), recursive=True))
    return root, (m for m in matches if not m.is_dir())


def _listed_in_coco(path: Path) -> tuple[Path, Iterator[Path]]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["images"]
        names = [str(image["file_name"]) for image in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"dataset={path}: not a COCO json with images ({error})") from error
    root = path.parent / "images" if (path.parent / "images").is_dir() else path.parent
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ConfigError(f"dataset={path}: file_name {name!r} leaves the folder {root}")
    return root, (root / name for name in names)
