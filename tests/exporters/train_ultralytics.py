"""Trains a small YOLO on a folder for one epoch, as a user would: FOLDER, TASK and a work folder.

A program of its own: importing ultralytics replaces functions of PIL and torch.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    folder, task, work = sys.argv[1:]
    os.environ |= {
        "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": work,
    }  # fmt: skip
    from ultralytics import YOLO

    suffix = {"detect": "", "segment": "-seg", "obb": "-obb"}[task]
    model = YOLO(f"yolo11n{suffix}.yaml")  # its architecture, no weights
    model.train(
        data=f"{folder}/data.yaml", epochs=1, imgsz=160, batch=4, device="cpu", workers=0,
        project=work, name="trained", plots=False, val=True, verbose=False, seed=0,
    )  # fmt: skip
    losses = {k: float(v) for k, v in model.trainer.label_loss_items(model.trainer.tloss).items()}
    print("\nlosses", losses)
