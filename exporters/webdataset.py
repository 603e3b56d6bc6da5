"""WebDataset: `<split>-000000.tar`, of each picture its file and a json of the same key.

The json has `width`, `height`, `source`, `frame_id` and `instances`, each with `class`, `class_id`,
`bbox` x, y, width, height px, `area`, `segmentation` (COCO's compressed run lengths), `score`,
`mask_score`, `phrase` and, in videos, `track_id`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated

from annotate.data.checks import within
from exporters.base import Exporter
from exporters.coco_document import as_json, outline, place, said_of
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures

UNSPLIT = "train"


class Webdataset(Exporter):
    """`shard_pictures` is how many pictures a tar holds at most."""

    tracked = True
    promised_iou = 1.0
    loading = """
import webdataset

for sample in webdataset.WebDataset("train-000000.tar").decode("pil"):
    print(sample["__key__"], sample["json"]["instances"])
"""

    layout = Layout(
        folder="waiting",
        still="{split}/{item}",
        frame="{split}/{item}_{number:06d}",
        unsplit=UNSPLIT,
        portable=True,
    )

    def __init__(self, *, shard_pictures: Annotated[int, within(1)]) -> None:
        self._shard_pictures = shard_pictures

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Move each picture into a tar as it comes; memory does not grow with the run."""
        names = pictures.classes.names
        shards = {name: _Shards(folder, name, self._shard_pictures) for name in pictures.sets}
        try:
            for picture in pictures:
                split = picture.split or UNSPLIT
                file = pictures.images_dir / picture.name
                key = PurePosixPath(picture.name).stem
                content = {f"{key}.json": (as_json(_json(picture, names)) + "\n").encode()}
                if pictures.staged:
                    content[f"{key}{file.suffix.lower()}"] = file.read_bytes()
                    file.unlink()
                shards[split].add(content)
        finally:
            for shard in shards.values():
                shard.close()
        if pictures.staged and pictures.images_dir.is_dir():
            for left in sorted(pictures.images_dir.rglob("*"), reverse=True):
                left.rmdir()
            pictures.images_dir.rmdir()
        return {}


class _Shards:
    """The tars of one set."""

    def __init__(self, folder: Path, split: str, most: int) -> None:
        self._folder, self._split, self._most = folder, split, most
        self._count = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, content: Mapping[str, bytes]) -> None:
        """The files of one picture; the same bytes every time, so without a clock or an owner."""
        if self._tar is None or self._count % self._most == 0:
            self.close()
            name = f"{self._split}-{self._count // self._most:06d}.tar"
            self._tar = tarfile.open(self._folder / name, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            self._tar.addfile(entry, io.BytesIO(data))
        self._count += 1

    def close(self) -> None:
        """End the tar that is open."""
        if self._tar is not None:
            self._tar.close()
        self._tar = None


def _json(picture: Picture, names: list[str]) -> dict[str, object]:
    return {
        "width": picture.record.width,
        "height": picture.record.height,
        "source": picture.source,
        "frame_id": picture.record.frame_id,
        "instances": [
            {
                "class": names[i.class_id],
                "class_id": i.class_id,
                "segmentation": outline(i, None),
                **place(i),
                **said_of(i),
            }
            for i in picture.instances
        ],
    }
