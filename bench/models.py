"""Models for the benchmarks: the package's own, and sam2's video predictor on the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.types import Image
from annotate.discover.class_list import load_prompts
from annotate.ground.select import Detector
from annotate.models import sam2_architecture
from annotate.models.hub import fetch
from annotate.runner.build import make_models
from annotate.runner.pipeline import Pipeline
from annotate.segment.base import Segmenter
from annotate.segment.sam2 import Sam2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Models:
    """Everything a row of a table is made with; the settings are those of `models=tiny`."""

    settings: AnnotateCommand
    detector: Detector
    segmenter: Segmenter
    predictor: Any  # sam2's SAM2VideoPredictor

    def pipeline(self, detector: Any | None = None, *, every: int = 1, batch: int = 1) -> Pipeline:
        """The package's own way with them, or with another detector in the place of theirs."""
        return Pipeline(
            detector or self.detector,
            self.segmenter,
            segment=self.settings.segment,
            track=self.settings.track,
            every=every,
            batch=batch,
        )


def load_tiny(classes: Sequence[str], *, device: str) -> Models:
    """The embedded models under the shipped settings."""
    asked = ["dataset=.", "models=tiny", f"device={device}", f"prompts=[{','.join(classes)}]"]
    settings = typed(compose(asked, "config"), AnnotateCommand)
    grounder, segmenter = make_models(settings)
    grounder.load(load_prompts(settings.prompts))
    segmenter.load()
    assert isinstance(segmenter, Sam2) and segmenter.memory is not None
    source = segmenter.source
    return Models(
        settings=settings,
        detector=Detector(grounder, settings.ground),
        segmenter=segmenter,
        predictor=sam2_predictor(source.yaml(fetch(source).folder), segmenter.memory.model),
    )


def sam2_predictor(architecture: Path, model: torch.nn.Module) -> Any:
    """sam2's own video predictor with the weights of `model`, as `build_sam` would set it up.

    The one difference: small holes stay, because filling them needs sam2's CUDA extension.
    """
    sam2_architecture.import_sam2()
    from sam2 import sam2_video_predictor

    config: Any = OmegaConf.to_container(OmegaConf.load(architecture))
    config["model"] |= {
        "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
        "sam_mask_decoder_extra_args": {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
        "binarize_mask_from_pts_for_mem_enc": True,
    }
    predictor = instantiate(config["model"], _convert_="all")
    predictor.load_state_dict(model.state_dict())
    sam2_video_predictor.tqdm = lambda frames, desc: frames  # its progress bars
    return predictor.to(next(model.parameters()).device).eval()


def sam2_state(predictor: Any, images: Sequence[Image]) -> Any:
    """sam2's inference state over frames in memory, where it wants a folder of JPEGs."""
    h, w = images[0].shape[:2]
    frames = _Frames(predictor, images)
    with patch("sam2.sam2_video_predictor.load_video_frames", lambda **_: (frames, h, w)):
        return predictor.init_state(video_path="")


class _Frames:
    """Frames as sam2's image transform makes them, each when it is asked for."""

    def __init__(self, predictor: Any, images: Sequence[Image]) -> None:
        from sam2.utils.transforms import SAM2Transforms

        self._images = images
        with warnings.catch_warnings():  # torch calls torch.jit.script deprecated
            warnings.simplefilter("ignore")
            self._transform = SAM2Transforms(predictor.image_size, mask_threshold=0.0)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        pixels: Tensor = self._transform(self._images[index])
        return pixels
