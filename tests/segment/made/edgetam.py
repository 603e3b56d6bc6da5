"""A tiny EdgeTAM with random weights, in the layout of transformers.

Its own backbone is one of the package timm. Without that package a convolution for each level
stands in its place, under a model type of its own; all else is EdgeTAM's.
"""

import importlib.util
import itertools
from pathlib import Path

from tests.segment.made.sam2_transformers import DECODER, LEVELS, PROMPTS, stretched
from tests.segment.made.saving import save

STAND_IN = "convolutions_of_a_test"


def overrides(folder: Path) -> list[str]:
    import transformers

    backbone, channels = _timm() if importlib.util.find_spec("timm") else _stand_in()
    vision = {
        "backbone_config": backbone, "backbone_channel_list": channels,
        "backbone_feature_sizes": LEVELS, "fpn_hidden_size": 32,
    }  # fmt: skip
    config = transformers.EdgeTamConfig(
        vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER
    )
    save(transformers.EdgeTamModel, config, stretched(), folder)
    return ["segment=edgetam", f"segment.model={folder}", "segment.revision=null"]


def _timm():
    import transformers

    asked = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = transformers.TimmWrapperConfig(architecture="repvit_m1", model_args=asked)
    return backbone, [384, 192, 96, 48]


def _stand_in():
    import torch
    import transformers
    from transformers.modeling_outputs import BaseModelOutput

    class Config(transformers.PretrainedConfig):
        model_type = STAND_IN

    class Backbone(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            widths = [3, 8, 16, 32, 64]
            self.levels = torch.nn.ModuleList(
                torch.nn.Conv2d(a, b, 4 if a == 3 else 2, stride=4 if a == 3 else 2)
                for a, b in itertools.pairwise(widths)
            )
            self.post_init()

        def forward(self, pixel_values, **kwargs):
            found = []
            for level in self.levels:
                pixel_values = level(pixel_values).relu()
                found.append(pixel_values)
            return BaseModelOutput(last_hidden_state=found)

    transformers.AutoConfig.register(STAND_IN, Config, exist_ok=True)
    transformers.AutoModel.register(Config, Backbone, exist_ok=True)
    return Config(), [64, 32, 16, 8]
