"""Names of staged pictures: their own where possible, never two alike, never outside a folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath

MAX_PORTABLE = 100  # characters of a portable name, to which suffixes and numbers are added
MAX_NAME_BYTES = 255  # per folder or file name, on every common file system
FRAME_SUFFIX = ".jpg"  # of what is decoded from a video
ANY_FRAME = f"000000{FRAME_SUFFIX}"  # stands for every frame of a video while names are found
UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")  # ends lines, or means a folder


def plan_names(
    stills: Iterable[str],
    videos: Collection[str] = (),
    *,
    labelled: bool,
    suffix_for: Callable[[str], str],
) -> dict[str, str]:
    """Each still's path below `images/` and each video's folder, unique whatever they are called.

    An item keeps its relative name if it can. If not, it is tried with its suffix in its stem
    (`a.png` -> `a_png.png`), then with a hash. Names are unique without their suffix, because
    `a.jpg` and `a.png` would share `a.txt`, and readers of COCO take them for one picture; and
    without regard to case or Unicode form, because some systems have none. `labelled` asks for what
    the YOLO layout needs as well. A video's folder is named as the video is, and holds nothing but
    its frames. `suffix_for` tells a still's suffix from its item's.
    """
    videos = set(videos)
    waiting = sorted({*stills, *videos})
    plain = {
        item: _plain(_as_picture(item, item in videos, suffix_for), labelled) for item in waiting
    }
    ending = {item: f"/{ANY_FRAME}" if item in videos else plain[item].suffix for item in waiting}
    with_suffix = {
        item: path if item in videos else _with_suffix_in_stem(item, path)
        for item, path in plain.items()
    }
    reserved = {_key(plain[item].parent.as_posix()) for item in videos}
    folders = {_key(f.as_posix()) for p in plain.values() for f in p.parents}
    names: dict[str, str] = {}
    taken: set[str] = set()
    for spelled in (plain, with_suffix):
        wanted = {item: spelled[item] for item in waiting}
        crowd = Counter(_image_key(path) for path in wanted.values())
        for item, path in wanted.items():
            key = _image_key(path)
            intrudes = item not in videos and _key(path.parent.as_posix()) in reserved
            free = crowd[key] == 1 and _is_free(path, taken, folders, labelled)
            if free and not intrudes and _is_usable(path):
                names[item] = path.as_posix()
        taken.update(_image_key(wanted[item]) for item in waiting if item in names)
        waiting = [item for item in waiting if item not in names]
    for item in waiting:
        salt = 0
        while not _is_free(path := _hashed(item, salt, ending[item]), taken, folders, labelled):
            salt += 1
        names[item] = path.as_posix()
        taken.add(_image_key(path))
    return {
        item: name.removesuffix(f"/{ANY_FRAME}") if item in videos else name
        for item, name in names.items()
    }


def told_apart(names: Iterable[str], plain: Callable[[str], str]) -> list[str]:
    """Names as a format can write them, in their order; what would be alike gets a number."""
    told: dict[str, None] = {}
    for name in names:
        one, number = plain(name), 2
        while one in told:
            one, number = f"{plain(name)}_{number}", number + 1
        told[one] = None
    return list(told)


def portable_names(
    stills: Iterable[str], videos: Iterable[str] = (), *, suffix_for: Callable[[str], str]
) -> dict[str, str]:
    """A name for each still, with its suffix, and for each video, in letters, digits, `_` and `-`.

    For formats that list names in text, or cut them at dots and blanks. Folders become part of the
    name; where two would be alike, both end with a hash. Unique without suffix and case.
    """
    plain = {item: item.rpartition(".")[0] or item for item in stills}
    plain |= {item: item for item in videos}
    short = {item: re.sub(r"[^A-Za-z0-9_-]+", "_", name) for item, name in plain.items()}
    crowd = Counter(name.lower() for name in short.values())
    videos, names = set(videos), {}
    of_videos = {short[item].lower() for item in videos}
    for item, name in short.items():
        like_frame = re.sub(r"_\d+$", "", name.lower()) in of_videos - {name.lower()}
        alike = crowd[name.lower()] > 1 or like_frame
        if alike or not name.strip("_-") or len(name) > MAX_PORTABLE:
            name = _hashed(item, 0, "", name).as_posix()
        name = f"_{name}" if name.startswith("-") else name  # else it is taken for an option
        suffix = "" if item in videos else suffix_for(PurePosixPath(item).suffix).lower()
        names[item] = f"{name}{suffix}"
    return names


def _as_picture(item: str, is_video: bool, suffix_for: Callable[[str], str]) -> PurePosixPath:
    """The item's own name, with a suffix that trainers know; for a video, that of any frame."""
    path = PurePosixPath(item)
    if is_video:
        return path / ANY_FRAME
    return path.with_suffix(suffix_for(path.suffix)) if path.name else PurePosixPath("_")


def _plain(path: PurePosixPath, labelled: bool) -> PurePosixPath:
    if not labelled:
        return path
    # Ultralytics swaps the last folder called `images` for `labels`, and overlooks dot names.
    parts = [f"{p}_" if p == "images" else p for p in path.parts[:-1]] + [path.name]
    return PurePosixPath(*(f"_{p}" if p.startswith(".") and p != ".." else p for p in parts))


def _with_suffix_in_stem(item: str, plain: PurePosixPath) -> PurePosixPath:
    suffix = PurePosixPath(item).suffix.replace(".", "_")
    return plain.with_name(f"{plain.stem}{suffix}{plain.suffix}")


def _hashed(item: str, salt: int, ending: str, called: str = "") -> PurePosixPath:
    digest = hashlib.blake2b(f"{salt}\0{item}".encode(), digest_size=8).hexdigest()
    readable = called[:40] or re.sub(r"[^\w-]+", "_", PurePosixPath(item).stem)[:40]
    return PurePosixPath(f"{readable}-{digest}{ending}")


def _is_usable(path: PurePosixPath) -> bool:
    return not path.is_absolute() and all(
        part != ".." and len(part.encode()) <= MAX_NAME_BYTES and not UNUSABLE.search(part)
        for part in path.parts
    )


def _is_free(path: PurePosixPath, taken: set[str], folders: set[str], labelled: bool) -> bool:
    """Whether neither the picture nor its label file would take another's place, or a folder's."""
    spots = [path, path.with_suffix(".txt")] if labelled else [path]
    return _image_key(path) not in taken and not any(
        _key(spot.as_posix()) in folders for spot in spots
    )


def _image_key(path: PurePosixPath) -> str:
    return _key(path.with_suffix("").as_posix())


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
