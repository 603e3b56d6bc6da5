"""The names of items as paths: they lie below the dataset's root, whoever wrote them."""

from __future__ import annotations

import os
import re
import unicodedata

MAX_PART_BYTES = 255  # of a file's or folder's name, on every common file system
MAX_PATH_BYTES = 4096  # of all of it, on Linux
_DRIVE = re.compile(r"[A-Za-z]:" if os.name == "nt" else r"[A-Za-z]:([\\/]|$)")


def refusal(name: str) -> str:
    """Why a name cannot be the path of an item below the root of its dataset; "" if it can.

    Links that lie below the root are followed, as DVC and git-annex need it: these the owner of the
    folder made. A name may come from anywhere.
    """
    parts = re.split(r"[/\\]", name)
    if "\0" in name:
        return "it holds a NUL"
    if ".." in parts:
        return "it leaves the dataset's folder with `..`"
    if name[:1] in ("/", "\\"):
        return "it is absolute"
    if _DRIVE.match(name):
        return "it names a drive"
    if not any(part not in ("", ".") for part in parts):
        return "it names no file"
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in name.split("/"))
    if longest > MAX_PART_BYTES or len(name) > MAX_PATH_BYTES:
        return f"no file can have a name of {len(name)} characters"
    return ""


def plain(name: str) -> str:
    r"""A path as it is compared with others: `./` and doubled `/` gone, `\` as `/`, in form NFC."""
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
    kept = "/".join(part for part in parts if part not in ("", "."))
    return f"/{kept}" if name[:1] in ("/", "\\") else kept


def shown(name: str, characters: int = 120) -> str:
    """A name for a message: in quotes, on one line, without what steers a terminal."""
    return repr(name if len(name) <= characters else f"{name[:characters]}...")
