"""Models for the benchmarks: the package's own, and sam2's video predictor on the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
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
from annotate.ground.grounding_dino import GroundingDino
from annotate.ground.select import Grounder, GroundRules
from annotate.models import sam2_architecture
from annotate.models.devices import choose_device
from annotate.models.hub import fetch
from annotate.models.sam2_checkpoint import SegmenterSource, load_sam2
from annotate.models.transformers_checkpoint import GrounderSource, load_grounding_dino
from annotate.segment.finishing import SegmentRules
from annotate.segment.sam2 import Sam2Image
from annotate.track.matching import TrackRules

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Models:
    """Everything a row of a table is made with; the settings are those of `models=tiny`."""

    settings: AnnotateCommand
    grounder: Grounder
    sam: Sam2Image
    predictor: Any  # sam2's SAM2VideoPredictor
    segment_rules: SegmentRules
    track_rules: TrackRules


def load_tiny(classes: Sequence[str], *, device: str) -> Models:
    """The embedded models under the shipped settings."""
    asked = ["dataset=.", "models=tiny", f"device={device}", f"prompts=[{','.join(classes)}]"]
    settings = typed(compose(asked, "config"), AnnotateCommand)
    chosen = choose_device(settings.device)
    ground, segment = settings.ground, settings.segment
    dino, processor, _ = load_grounding_dino(GrounderSource(ground.model, ground.revision), chosen)
    source = SegmenterSource(
        segment.model, segment.checkpoint, segment.architecture, segment.revision
    )
    weights, _ = load_sam2(source, chosen)
    grounder = Grounder(
        GroundingDino(dino, processor, device=chosen, pooling=ground.pooling),
        load_prompts(settings.prompts),
        rules(GroundRules, ground),
    )
    return Models(
        settings=settings,
        grounder=grounder,
        sam=Sam2Image(weights, device=chosen),
        predictor=sam2_predictor(source.yaml(fetch(source).folder), weights),
        segment_rules=rules(SegmentRules, segment),
        track_rules=rules(TrackRules, settings.track),
    )


def rules(kind: type[T], settings: Any) -> T:
    """The rules of a stage from its settings, which hold more than that."""
    assert is_dataclass(kind)
    given = asdict(settings)
    made: T = kind(**{f.name: given[f.name] for f in fields(kind)})
    return made


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
