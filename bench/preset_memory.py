"""What each preset takes of memory on a CPU: `python -m bench.preset_memory`.

The real architectures at full size with random weights, so nothing is downloaded: memory does not
depend on what weights say. One picture of 1920 x 1080 with 20 boxes, each preset in a process of
its own; what is printed is that process's peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PilImage
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)

from annotate.models import sam2_architecture
from annotate.models.layouts import packaged_architecture
from annotate.synthetic.demo import COMBOS
from annotate.synthetic.still import draw_still
from tests.full_size import GROUNDER_CONFIG, write_processor

# Swin T, B and L: width, depths, heads, window.
BACKBONES: dict[str, tuple[int, list[int], list[int], int]] = {
    "fast": (96, [2, 2, 6, 2], [3, 6, 12, 24], 7),
    "balanced": (128, [2, 2, 18, 2], [4, 8, 16, 32], 12),
    "best": (192, [2, 2, 18, 2], [6, 12, 24, 48], 12),
}
SEGMENTERS = {
    "fast": ("sam2.1_hiera_tiny.pt", "configs/sam2.1/sam2.1_hiera_t.yaml"),
    "balanced": ("sam2.1_hiera_base_plus.pt", "configs/sam2.1/sam2.1_hiera_b+.yaml"),
    "best": ("sam2.1_hiera_large.pt", "configs/sam2.1/sam2.1_hiera_l.yaml"),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["tiny", *BACKBONES])
    arguments = parser.parse_args()
    print("| preset | parameters | weights | peak RAM | seconds a picture |\n|---|---|---|---|---|")
    for preset in arguments.presets:
        with tempfile.TemporaryDirectory() as folder:
            print(_row(preset, Path(folder)), flush=True)


def _row(preset: str, folder: Path) -> str:
    argv = [] if preset == "tiny" else _write_models(preset, folder)
    (folder / "data").mkdir()
    picture = draw_still(1, (1920, 1080), combos=COMBOS).image
    PilImage.fromarray(picture).save(folder / "data" / "one.png")
    command = [
        sys.executable, "-m", "annotate", f"dataset={folder / 'data'}", f"out={folder / 'run'}",
        "prompts=[car,person,dog]", f"models={preset}", "device=cpu", "ground.floor=0",
        "ground.max_detections=20", "threshold=0", *argv,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    summary: dict[str, Any] = json.loads((folder / "run" / "summary.json").read_text())
    assert sum(summary["counts"]["recorded"].values()) == 20
    files = [*folder.glob("models/*/*.safetensors"), *folder.glob("models/*/*.pt")]
    stored = sum(path.stat().st_size for path in files)
    parameters = f"{stored / 4e6:,.0f} M" if stored else "2.9 M"
    size = f"{stored / 1e9:.2f} GB" if stored else "inside, 12 MB"
    ram = summary["peak_memory_mb"]["RAM"] / 1000
    took = summary["seconds"]["annotate"]
    return f"| {preset} | {parameters} | {size} | {ram:.1f} GB | {took:.1f} |"


def _write_models(preset: str, folder: Path) -> list[str]:
    """Both models with random weights, and the arguments that name them."""
    width, depths, heads, window = BACKBONES[preset]
    swin = {"embed_dim": width, "depths": depths, "num_heads": heads, "window_size": window}
    backbone = GROUNDER_CONFIG["backbone_config"] | swin | {"hidden_size": width * 8}
    config = GROUNDER_CONFIG | {"backbone_config": backbone}
    grounder, segmenter = folder / "models/grounder", folder / "models/segmenter"
    torch.manual_seed(0)
    if preset == "best":
        config = {k: v for k, v in config.items() if k != "architectures"}
        config |= {"model_type": "mm-grounding-dino"}
        model = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig.from_dict(config))
    else:
        model = GroundingDinoForObjectDetection(GroundingDinoConfig.from_dict(config))
    model.save_pretrained(grounder)
    write_processor(grounder)
    checkpoint, yaml = SEGMENTERS[preset]
    architecture = packaged_architecture(yaml)
    assert architecture is not None
    segmenter.mkdir(parents=True)
    torch.save(
        {"model": sam2_architecture.build(architecture).state_dict()}, segmenter / checkpoint
    )
    return [
        f"ground.model={grounder}", "ground.revision=null",
        f"segment.model={segmenter}", "segment.revision=null",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
