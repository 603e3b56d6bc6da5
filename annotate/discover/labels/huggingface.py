"""An imagefolder of Hugging Face: `metadata.jsonl` with `objects` of each picture.

`bbox` is x, y, width, height px; `category` is an index into the `names` of the card, unless `name`
says it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from annotate.discover.labels.contents import Contents, picture_size


def is_one(path: Path) -> bool:
    """Whether a folder has metadata of pictures."""
    return path.is_dir() and bool(_files(path))


def read(path: Path) -> Contents:
    """Every `metadata.jsonl` below a folder."""
    names = _names(path)
    contents = Contents(path, names)
    root = path / "data" if (path / "data").is_dir() else path
    for file in _files(path):
        below = file.parent.relative_to(root).as_posix()
        start = "" if below == "." else f"{below}/"
        with file.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if line.strip():
                    _read(contents, json.loads(line), start, root, names)
    return contents


def _files(path: Path) -> list[Path]:
    """Of one set, or of several."""
    return sorted(p for depth in ("", "*/", "data/*/") for p in path.glob(f"{depth}metadata.jsonl"))


def _read(contents: Contents, row: Any, start: str, root: Path, names: list[str]) -> None:
    name = start + row["file_name"]
    size = (row["height"], row["width"]) if "height" in row else None
    size_hw = size or picture_size(root, name.rpartition(".")[0])
    image = contents.image(name, size_hw)
    objects = row["objects"]
    for n, (x, y, w, h) in enumerate(objects["bbox"]):
        said = {key: values[n] for key, values in objects.items()}
        category = said["category"] if "category" in said else said["categories"]
        label = said.get("name") or (names[int(category)] if names else f"class {category}")
        mask = None
        if said.get("segmentation") and size_hw is not None:
            mask = {"size": list(size_hw), "counts": said["segmentation"]}
        contents.add(
            image,
            label,
            box_xyxy=(x, y, x + w, y + h),
            segmentation=mask,
            track_id=said.get("track_id"),
            score=said.get("score"),
        )


def _names(path: Path) -> list[str]:
    """Of the categories, from the card's front matter."""
    card = path / "README.md"
    if not card.is_file():
        return []
    parts = card.read_text(encoding="utf-8-sig").split("---\n", 2)
    said = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    names = said.get("names") if isinstance(said, dict) else None
    return [str(name) for name in names.values()] if isinstance(names, dict) else []
