"""The pictures that a COCO json lists, looked for where the tools that write one put them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from annotate.data.item_paths import plain, refusal, shown
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.errors import ConfigError

log = logging.getLogger(__name__)

_READ = IMAGE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a json stands, and the folders that its pictures may be in.

    Folders are relative to `base`, which is `levels` above the json; "" is the base itself.
    """

    levels: int
    folders: tuple[str, ...]

    @classmethod
    def of(cls, json_path: str) -> Layout:
        """Of a json by its path, with slashes.

        Beside it or in `images/` (our own exports, Label Studio, Roboflow); of one in a folder
        `annotations`, also beside that folder, in `images/` and in a folder of its own name:
        `train2017/` for `instances_train2017.json` (COCO), `images/default/` (CVAT).
        """
        *_, own, name = ("", *json_path.split("/"))
        if not own.lower().startswith("annotation"):
            return cls(1, ("images", ""))
        split = name.rpartition(".")[0].rpartition("_")[2]
        return cls(2, (f"{own}/images", own, f"images/{split}", "images", split, ""))


def names_in(content: Mapping[str, Any], source: str, base: str) -> list[str]:
    """The names that a COCO json lists, each once and none that leaves its folder.

    `base` is the folder of the layout: a name that is absolute may begin with it. Raises
    ConfigError.
    """
    images = content.get("images")
    if not isinstance(images, list):
        raise ConfigError(f"dataset={source}: not a COCO json with images (no list 'images')")
    names: list[str] = []
    for n, image in enumerate(images):
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(name, str):
            raise ConfigError(
                f"dataset={source}: not a COCO json with images (images[{n}] has no 'file_name')"
            )
        name = name.removeprefix(f"{base}/")
        reason = "it is a url" if "://" in name else refusal(name)
        if reason:
            raise ConfigError(
                f"dataset={source}: images[{n}].file_name {shown(name)} leaves the folder of "
                f"images, or is no file below it: {reason}"
            )
        names.append(name)
    once = list(dict.fromkeys(names))
    if len(once) < len(names):
        log.warning(
            "dataset=%s: %d files are listed twice: each is one item",
            source,
            len(names) - len(once),
        )
    return once


def find(
    names: Sequence[str], folders: Sequence[str], there: Callable[[str], bool], source: str
) -> tuple[str, list[str]]:
    """The folder that holds most of the names, and these as they are spelled there.

    What is not there keeps its name, and will fail as an item. Raises ConfigError where none is.
    """
    best, found = folders[0], dict[str, str]()
    for folder in folders:
        above = f"{folder}/" if folder else ""
        held = {
            name: own
            for name in names
            if (own := next((s for s in _spellings(name) if there(above + s)), None)) is not None
        }
        if len(held) > len(found):
            best, found = folder, held
        if len(held) == len(names):
            break
    unread = [name for name in names if PurePosixPath(plain(name)).suffix.lower() not in _READ]
    if unread:
        log.warning(
            "dataset=%s: %d of %d files that it lists are of kinds that are not read, such as %s",
            source, len(unread), len(names), shown(unread[0]),
        )  # fmt: skip
    missing = [name for name in names if name not in found]
    if names and not found:
        places = ", ".join(f"{folder}/" if folder else "./" for folder in folders)
        raise ConfigError(
            f"dataset={source}: none of the {len(names)} files that it lists is there, such as "
            f"{shown(names[0])}; looked in {places} (capitals and suffixes count)"
        )
    if missing:
        log.warning(
            "dataset=%s: %d of %d files that it lists are not there, such as %s",
            source, len(missing), len(names), shown(missing[0]),
        )  # fmt: skip
    return best, [found.get(name, plain(name)) for name in names]


def _spellings(name: str) -> Iterator[str]:
    r"""A name as it may be on disk: as written, else with `\` for `/`, else percent-encoded."""
    yield name
    slashed = plain(name)
    yield slashed
    if not refusal(decoded := unquote(slashed)):
        yield decoded
