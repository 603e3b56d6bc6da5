"""Real trainers take real steps on what is exported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch
from torchvision import tv_tensors
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.transforms import v2

from annotate.record.run_folder import Run
from tests.exporters.clips import CLASSES
from tests.exporters.runs import COCO, export_one

PROGRAM = Path(__file__).with_name("train_ultralytics.py")


def test_ultralytics_trains_an_epoch(clips_run: Run, tmp_path: Path) -> None:
    summary = export_one(clips_run, "yolo_seg", split={"train": 0.5, "val": 0.5}, split_seed=2)
    assert min(summary.per_split.values()) > 10
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(summary.path), "segment", str(tmp_path / "work")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout + done.stderr)
    losses = dict(re.findall(r"'train/(\w+)': ([\d.e-]+)", said.rpartition("losses")[2]))
    assert float(losses["seg_loss"]) > 0
    # Its validation counts what it was given: pictures and instances of the set.
    counts = {(int(i), int(n)) for i, n in re.findall(r"\ball\s+(\d+)\s+(\d+)", said)}
    labels = list((Path(summary.path) / "labels/val").glob("*.txt"))
    lines = sum(len(p.read_text().splitlines()) for p in labels)
    assert counts == {(summary.per_split["val"], lines)}
    assert "corrupt" not in said.replace("0 corrupt", "")


def test_mask_rcnn_takes_a_step(clips_run: Run) -> None:
    folder = Path(export_one(clips_run, "coco").path)
    dataset = wrap_dataset_for_transforms_v2(
        CocoDetection(
            str(folder / "images"),
            str(folder / COCO),
            transforms=v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
        ),
        target_keys=["boxes", "labels", "masks"],
    )
    pairs = [pair for n in range(len(dataset)) if "boxes" in (pair := dataset[n])[1]][:2]
    assert isinstance(pairs[0][1]["masks"], tv_tensors.Mask)
    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=len(CLASSES) + 1, min_size=96, max_size=128
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses = model([image for image, _ in pairs], [target for _, target in pairs])
    total = sum(losses.values())
    total.backward()
    optimizer.step()
    assert torch.isfinite(total) and losses["loss_mask"] > 0 and losses["loss_box_reg"] > 0
