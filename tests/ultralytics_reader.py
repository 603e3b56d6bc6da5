"""Reads YOLO folders with Ultralytics' own dataset class and prints what it found as JSON.

A program of its own, because importing ultralytics replaces `PIL.Image.open` and `torch.save`, sets
OpenCV's threads and writes a settings file. Arguments: a folder, a split and a task, each time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def read(folder: Path, split: str, task: str) -> dict[str, Any]:
    """What Ultralytics counts, and per picture its boxes (xywh shares) and number of segments."""
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(folder / "data.yaml", autodownload=False)
    dataset = YOLODataset(img_path=data[split], data=data, task=task, augment=False, imgsz=64)
    cache = dataset.cache_labels(folder / "check.cache")
    found, missing, empty, corrupt, total = cache["results"]
    return {
        "counts": {"missing": missing, "corrupt": corrupt, "unlabelled": total - found},
        "empty": empty,
        "complaints": cache["msgs"],
        "pictures": [
            {
                "name": Path(label["im_file"]).name,
                "boxes": label["bboxes"].tolist(),
                "segments": len(label["segments"]),
            }
            for label in dataset.labels
        ],
    }


def asked(*arguments: str, config: Path) -> list[dict[str, Any]]:
    """What a process of its own reads; Ultralytics' settings go into the folder `config`."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=os.environ
        | {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(config)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


if __name__ == "__main__":
    folders = zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3], strict=True)
    answers = [read(Path(folder), split, task) for folder, split, task in folders]
    print("\n" + json.dumps(answers))
