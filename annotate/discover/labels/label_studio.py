"""Label Studio: a `tasks.json`, its annotations or else its predictions.

Regions whose ids differ in their last part alone (`3-0`, `3-1`) are of one object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from annotate.data import brush
from annotate.discover.labels.contents import Contents, Entry, is_of_video, mask_of

KINDS = ("brushlabels", "polygonlabels", "rectanglelabels")
OURS = "images/"  # below which exports of ours have their pictures


def is_one(path: Path) -> bool:
    """Whether a folder has tasks."""
    return (path / "tasks.json").is_file()


def read(path: Path) -> Contents:
    """Regions of one object (`0-0`, `0-1`, as our exports call them) are one."""
    contents = Contents(path)
    for task in json.loads((path / "tasks.json").read_text(encoding="utf-8-sig")):
        results = [r for said in _said(task) for r in said["result"]]
        size_hw = None
        if results:
            size_hw = results[0]["original_height"], results[0]["original_width"]
        image = contents.image(_picture(task["data"]), size_hw)
        is_video = is_of_video(contents.images[-1].get("frame_id", ""))
        objects: dict[tuple[str, str], list[Entry]] = {}
        for number, result in enumerate(results):
            kind = result["type"]
            if kind not in KINDS:
                contents.left_out[f"{kind} regions left out"] += 1
                continue
            number_of, _, part = str(result.get("id", "")).partition("-")
            group = number_of if part.isdigit() else f"alone {number}"
            objects.setdefault((group, result["value"][kind][0]), []).append(result)
        for (_, label), regions in objects.items():
            _add(contents, image, label, regions, is_video=is_video)
    return contents


def _said(task: Entry) -> list[Entry]:
    return task.get("annotations") or task.get("predictions") or []


def _picture(data: Entry) -> str:
    """The name of a picture, from the url that local storage has for it."""
    url = urlsplit(str(data["image"]))
    path = parse_qs(url.query).get("d", [unquote(url.path)])[0]
    _, found, name = path.rpartition(OURS) if path.count(OURS) == 1 else ("", "", path)
    return name if found else path.removeprefix("/").removeprefix(OURS)


def _add(
    contents: Contents, image: int, label: str, regions: list[Entry], *, is_video: bool
) -> None:
    first = regions[0]
    w, h = first["original_width"], first["original_height"]
    track = next(
        (
            int(text.removeprefix("track "))
            for text in first.get("meta", {}).get("text", [])
            if text.startswith("track ") and text.removeprefix("track ").isdigit()
        ),
        None,
    )
    said: dict[str, Any] = {"score": first.get("score"), "track_id": track if is_video else None}
    match first["type"]:
        case "rectanglelabels":
            value = first["value"]
            x, y = value["x"] * w / 100, value["y"] * h / 100
            box = (x, y, x + value["width"] * w / 100, y + value["height"] * h / 100)
            contents.add(image, label, box_xyxy=box, **said)
        case "polygonlabels":
            rings = [
                (np.array(r["value"]["points"]) * [w / 100, h / 100]).ravel().tolist()
                for r in regions
            ]
            contents.add(image, label, segmentation=rings, **said)
        case _:
            mask = mask_of(brush.opaque(first["value"]["rle"], (h, w)), (h, w), (0, 0))
            contents.add(image, label, segmentation=mask, **said)
