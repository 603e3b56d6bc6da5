"""WebDataset: tars of pictures and jsons of one key, as our export writes them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from annotate.discover.labels.contents import Contents


def is_one(path: Path) -> bool:
    """Whether a folder holds tars."""
    return path.is_dir() and any(path.glob("*.tar"))


def read(path: Path) -> Contents:
    """The jsons of every tar; nothing is unpacked to the disk."""
    contents = Contents(path)
    for file in sorted(path.glob("*.tar")):
        with tarfile.open(file) as tar:
            for entry in tar:
                stream = tar.extractfile(entry) if entry.name.endswith(".json") else None
                if stream is None:
                    continue
                said = json.load(stream)
                image = contents.image(
                    f"{entry.name.removesuffix('.json')}.jpg", (said["height"], said["width"])
                )
                if isinstance(said.get("frame_id"), str):
                    contents.images[-1]["frame_id"] = said["frame_id"]
                for found in said["instances"]:
                    contents.add(
                        image,
                        found["class"],
                        segmentation=found["segmentation"],
                        track_id=found.get("track_id"),
                        score=found.get("score"),
                    )
    return contents
