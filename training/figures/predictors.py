"""The segmenter as sam2's predictors, and how its masks are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf

from annotate.models.sam2_architecture import import_sam2
from training.segmenter_prompts import SIDE

MIN_SHARE: Final = 80 / SIDE**2  # of the picture; smaller masks are not asked for
BoolArray = NDArray[np.bool_]


def mask_ious(masks_khw: BoolArray, truth_khw: BoolArray) -> list[float]:
    inter = (masks_khw & truth_khw).sum((1, 2))
    return list(inter / np.maximum((masks_khw | truth_khw).sum((1, 2)), 1))


def build_segmenter(folder: Path, target: str) -> Any:
    """The shipped model as the sam2 class `target`, without Hydra's compose."""
    import_sam2()
    config = OmegaConf.load(folder / "sam2.1_tiny.yaml").model
    config._target_ = target
    model = instantiate(config)
    state = torch.load(folder / "sam2.1_tiny.pt", weights_only=True)["model"]
    model.load_state_dict(state, strict=True)
    return model.eval()


def image_predictor(folder: Path) -> Any:
    model = build_segmenter(folder, "sam2.modeling.sam2_base.SAM2Base")
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(model)
    side = predictor.model.image_size // predictor.model.backbone_stride
    # sam2 1.1.0 hard-codes the feature sizes of 1024 px models.
    predictor._bb_feat_sizes = [(side * k, side * k) for k in (4, 2, 1)]
    return predictor


def video_predictor(folder: Path) -> Any:
    return build_segmenter(folder, "sam2.sam2_video_predictor.SAM2VideoPredictor")
