"""Boxes of two stills and a clip that tests of every grounder look at, in a COCO json."""

import json
from pathlib import Path

NAMES = ["0.png", "1.png", "still_00.png", "still_01.png"]
CLIP = [f"clip_00.mp4/{n:06d}.jpg" for n in range(64)]


def overrides(folder: Path) -> list[str]:
    """The same three boxes in every picture, whose size is not said."""
    images = [{"id": n, "file_name": name} for n, name in enumerate([*NAMES, *CLIP])]
    boxes = [(1, [3, 4, 20, 30], 0.9), (2, [10.5, 8, 40, 20.25], 0.6), (1, [1, 1, 4, 3], 0.05)]
    annotations = [
        {"image_id": image["id"], "category_id": category, "bbox": box, "score": score}
        for image in images
        for category, box, score in boxes
    ]
    categories = [{"id": 1, "name": "red disc"}, {"id": 2, "name": "blue square"}]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "boxes.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return ["ground=boxes", f"ground.file={file}"]
