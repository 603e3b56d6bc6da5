"""Boxes of the demo's truth: its file lies beside the pictures that it names."""

import json
from pathlib import Path


def overrides(folder: Path) -> list[str]:
    """A json that knows no picture; a test of pictures writes what it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "boxes.json"
    empty = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "red circle"}]}
    file.write_text(json.dumps(empty))
    return ["ground=boxes", f"ground.file={file}"]
