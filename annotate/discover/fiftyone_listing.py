"""Find the items of a dataset that FiftyOne knows: its media, which are files of this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePath
from typing import Any

from annotate.config.schema import nearest
from annotate.data.item_paths import shown
from annotate.data.types import Item
from annotate.discover.dataset import Dataset
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.errors import ConfigError
from annotate.store.fiftyone_database import connect

log = logging.getLogger(__name__)


def discover_fiftyone(path: str) -> Dataset:
    """The images and videos of a dataset, or of a saved view of it: `dataset/view`.

    Names are relative to the folder that all media of the dataset have in common, so that a view
    and its dataset have the same. Raises ConfigError where there is none of that name or where it
    has no media on this machine, StorageError without a database.
    """
    fo = connect()
    dataset, view = _named(fo, path)
    if view.media_type not in ("image", "video"):
        raise ConfigError(
            f"dataset={path}: FiftyOne has {view.media_type or 'no'} media there; expected images "
            "or videos (of a group: a saved view of one of its slices)"
        )
    listed = {str(file) for file in view.values("filepath")}
    read = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files = {f for f in listed if Path(f).is_absolute() and PurePath(f).suffix.lower() in read}
    if not files:
        raise ConfigError(f"dataset={path}: no image or video of it is a file of this machine")
    if left := sorted(listed - files):
        log.warning(
            "dataset=%s: %d of %d media are no files of this machine that are read, such as %s",
            path, len(left), len(listed), shown(left[0]),
        )  # fmt: skip
    every = {f for f in map(str, dataset.values("filepath")) if Path(f).is_absolute()}
    try:
        root = Path(os.path.commonpath([os.path.dirname(f) for f in every]))  # noqa: PTH120
    except ValueError as error:
        raise ConfigError(f"dataset={path}: its media are on several drives") from error
    log.warning("dataset=%s: its media are read below %s", path, shown(str(root), 1000))
    items = {}
    for file in files:
        name = Path(file).relative_to(root).as_posix()
        media = "video" if PurePath(file).suffix.lower() in VIDEO_SUFFIXES else "image"
        items[name] = Item(name, Path(file), media)  # type: ignore[arg-type]
    return Dataset(root, tuple(items[name] for name in sorted(items)))


def _named(fo: Any, path: str) -> tuple[Any, Any]:
    """A dataset, and what of it is asked for; names of datasets may hold slashes."""
    known = fo.list_datasets()
    if path in known:
        dataset = fo.load_dataset(path)
        return dataset, dataset
    name, _, view = path.rpartition("/")
    if name in known:
        dataset = fo.load_dataset(name)
        views = dataset.list_saved_views()
        if view in views:
            return dataset, dataset.load_saved_view(view)
        raise ConfigError(f"dataset={path}: {name} has no saved view {view!r}{_near(view, views)}")
    raise ConfigError(f"dataset={path}: FiftyOne has no dataset of that name{_near(path, known)}")


def _near(name: str, known: list[str]) -> str:
    near = nearest(name, known) or known[:5]
    return f"; there are {', '.join(near)}" if near else "; it has none"
