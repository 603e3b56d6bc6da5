"""Find the items of a dataset on a store: the same names as if its folder lay on this machine."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from annotate.data.types import Item, Remote
from annotate.discover import coco_listing
from annotate.discover.dataset import SUFFIXES, Dataset, dataset
from annotate.discover.files import (
    IMAGE_SUFFIXES,
    LOOKED_AT,
    SHARED_SUFFIXES,
    VIDEO_SUFFIXES,
    is_numbered,
    is_transport_stream,
)
from annotate.discover.left_out import left_out
from annotate.errors import ConfigError, StorageError
from annotate.store.json_file import read_json
from annotate.store.remote import Seen, Store

ALL = IMAGE_SUFFIXES | VIDEO_SUFFIXES
AT_ONCE = 16  # files whose beginnings are looked at


def discover_remote(url: str, kind: str) -> Dataset:
    """As `dataset.discover`. Nothing is downloaded but the json of kind coco."""
    url = url.rstrip("/")
    try:
        root, found = _coco(url) if kind == "coco" else _found(url)
    except (StorageError, FileNotFoundError) as error:
        raise ConfigError(f"dataset={error}") from error
    if kind == "frames":
        others = [name for name in found if not is_numbered(PurePosixPath(name))]
        root, items = _folders_of_frames(root, found)
    else:
        items = _items(root, found, SUFFIXES.get(kind, ALL))
        others = list(found.keys() - {item.name for item in items})
    beside = left_out(map(PurePosixPath, others))
    return dataset(root, items, beside, path=url, kind=kind)


def _found(url: str) -> tuple[str, Mapping[str, Seen]]:
    """The url that names start from, and every file below it that is looked for."""
    if glob.has_magic(url):
        from fsspec.utils import glob_translate

        root, rest = _fixed(url)
        depth = None if "**" in rest else rest.count("/") + 1
        files = _without_runs(Store(root).files(depth=depth))
        try:
            matches = re.compile(glob_translate(rest)).match
        except (ValueError, re.error) as error:
            raise ConfigError(f"dataset={url}: not a pattern ({error})") from error
        return root, {name: seen for name, seen in files.items() if matches(name)}
    files = Store(url).files()
    if "" in files:
        root, _, name = url.rpartition("/")
        return root, {name: files[""]}
    if not files:
        raise ConfigError(f"dataset={url}: no such file or folder")
    return url, _without_runs(files)


def _fixed(pattern: str) -> tuple[str, str]:
    """The part of a pattern before the first folder with a wildcard, and what follows."""
    parts = pattern.split("/")
    first = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    if first < 3:
        raise ConfigError(f"dataset={pattern}: the bucket itself must be named")
    return "/".join(parts[:first]), "/".join(parts[first:])


def _without_runs(files: Mapping[str, Seen]) -> dict[str, Seen]:
    """What is neither hidden nor written by an earlier run."""
    runs = {
        name.removesuffix("config.yaml")
        for name in files
        if PurePosixPath(name).name == "config.yaml" and name != "config.yaml"
    }
    runs = {run for run in runs if any(name.startswith(f"{run}records/") for name in files)}
    return {
        name: seen
        for name, seen in files.items()
        if not any(part.startswith(".") for part in name.split("/"))
        and not any(f"{folder}/" in runs for folder in PurePosixPath(name).parents)
    }


def _coco(url: str) -> tuple[str, Mapping[str, Seen]]:
    content = read_json(url, what=f"dataset={url}: not a COCO json with images")
    layout = coco_listing.Layout.of(url)
    base = url.rsplit("/", layout.levels)[0]
    names = coco_listing.names_in(content, url, base)
    files = Store(base).files()
    folder, names = coco_listing.find(names, layout.folders, files.__contains__, url)
    root = f"{base}/{folder}".rstrip("/")
    return root, {name: files.get(f"{folder}/{name}".lstrip("/"), (0, "")) for name in names}


def _items(root: str, found: Mapping[str, Seen], suffixes: frozenset[str]) -> tuple[Item, ...]:
    items = []
    others = _of_another_kind(Store(root), found) if VIDEO_SUFFIXES & suffixes else set()
    for name in sorted(found):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in suffixes and name not in others:
            remote = Remote(root, found[name])
            media = "video" if suffix in VIDEO_SUFFIXES else "image"
            items.append(Item(name, Path(name), media, remote))  # type: ignore[arg-type]
    return tuple(items)


def _of_another_kind(store: Store, found: Mapping[str, Seen]) -> set[str]:
    """Files with a suffix of videos that are none, by how they begin."""
    shared = [n for n in found if PurePosixPath(n).suffix.lower() in SHARED_SUFFIXES]

    def begins(name: str) -> bytes:
        size = min(found[name][0], LOOKED_AT)  # stores refuse to read beyond the end
        return store.head(name, size) if size else b""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        heads = pool.map(begins, shared)
        return {n for n, head in zip(shared, heads, strict=True) if not is_transport_stream(head)}


def _folders_of_frames(root: str, found: Mapping[str, Seen]) -> tuple[str, tuple[Item, ...]]:
    """Folders that hold numbered images; if the root does, names start from the folder above."""
    folders: dict[str, dict[str, Seen]] = defaultdict(dict)
    for name, seen in found.items():
        if is_numbered(PurePosixPath(name)):
            folders[name.rpartition("/")[0]][name] = seen
    if "" in folders:
        root, _, own = root.rpartition("/")
        folders = {"/".join(filter(None, (own, folder))): f for folder, f in folders.items()}
    return root, tuple(
        Item(name, Path(name), "video", Remote(root, _of_all(folders[name].items())))
        for name in sorted(folders)
    )


def _of_all(frames: Iterable[tuple[str, Seen]]) -> Seen:
    """How a folder looks: the bytes of its frames, and one mark of all of theirs."""
    sorted_frames = sorted(frames)
    marks = repr([(name.rpartition("/")[2], seen) for name, seen in sorted_frames])
    total = sum(size for _, (size, _) in sorted_frames)
    return total, hashlib.sha256(marks.encode()).hexdigest()[:32]
