"""What a visitor asks for, as the command that does the same."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotate.data.types import Item
from annotate.decode.download import at_hand
from annotate.decode.video import frames_within
from annotate.discover.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from annotate.errors import MediaError
from annotate.playground import class_text

DATASET, RUN = "dataset", "run"  # folders of a visit
SHOWS_EXAMPLES = "owlv2"  # the grounder that takes `like:`


@dataclass(frozen=True, slots=True)
class Limits:
    """Of what the page takes."""

    max_mb: int
    max_frames: int
    max_pixels: int  # of one picture

    def check(self, item: Item) -> None:
        """Raises MediaError for what is too large or too long, or no picture or clip at all."""
        kind, suffixes = (
            ("clip", VIDEO_SUFFIXES) if item.media == "video" else ("picture", IMAGE_SUFFIXES)
        )
        name, suffix = Path(item.name).name, item.path.suffix.lower()
        if not item.path.exists():
            raise MediaError(f"{name} is gone: choose it again.")
        if item.path.is_file() and suffix not in suffixes:
            other = VIDEO_SUFFIXES if item.media == "image" else IMAGE_SUFFIXES
            if suffix in other:
                tab = "Picture" if item.media == "video" else "Clip"
                raise MediaError(f"{name} is no {kind}: it belongs in the tab {tab}.")
            known = ", ".join(sorted(suffixes))
            raise MediaError(f"{name} is no {kind} by its name; these are: {known}.")
        paths = [item.path] if item.path.is_file() else list(item.path.rglob("*"))
        size = sum(path.stat().st_size for path in paths)
        if not size:
            raise MediaError(f"{name} is empty.")
        if size > self.max_mb << 20:
            raise MediaError(
                f"{name} has {size / (1 << 20):,.0f} MB, the page takes {self.max_mb:,} "
                "(playground.max_mb)."
            )
        if item.media == "video" and frames_within(item, self.max_frames) > self.max_frames:
            raise MediaError(
                f"{name} has more than {self.max_frames:,} frames, which the page takes at most "
                "(playground.max_frames). For longer ones use `annotate dataset=...`."
            )


@dataclass(frozen=True, slots=True)
class Asked:
    """A picture or a clip, the words, and what else the command says."""

    item: Item
    prompts: str
    models: str
    keys: tuple[str, ...]  # further `key=value`
    dataset: str = "FOLDER"  # as a whole, for people

    def lay_out(self, folder: Path, limits: Limits) -> list[str]:
        """The item alone as a dataset in a folder, the class list beside it; the command there.

        Its name stays, so that decisions are about the very item. Raises AnnotateError.
        """
        for old in (DATASET, RUN):
            shutil.rmtree(folder / old, ignore_errors=True)
        with at_hand(self.item) as item:
            limits.check(item)
            place = folder / DATASET / Path(item.name)
            place.parent.mkdir(parents=True)
            copy = shutil.copytree if item.path.is_dir() else shutil.copyfile
            copy(item.path, place)
            kind = "frames" if item.path.is_dir() else f"{item.media}s"
        words = self._words(str(folder / DATASET), f"{folder}/", folder)
        return [*words, f"dataset.kind={kind}", f"out={folder / RUN}", "gates.max_failed=1"]

    def shown(self, folder: Path) -> str:
        """The command for all of the dataset, as a person would paste it."""
        return shlex.join(["annotate", *self._words(self.dataset, "", folder)])

    def _words(self, dataset: str, beside: str, folder: Path) -> list[str]:
        classes = class_text.read(self.prompts, folder)
        prompts = beside + class_text.write(self.prompts, folder)
        own = [f"dataset={dataset}", f"prompts={prompts}", f"models={self.models}"]
        if any(spec.like for spec in classes.classes) and not _says(self.keys, "ground"):
            own.append(f"ground={SHOWS_EXAMPLES}")
        return [*own, *self.keys]


def _says(keys: Sequence[str], name: str) -> bool:
    return any(key.lstrip("+").partition("=")[0] == name for key in keys)
