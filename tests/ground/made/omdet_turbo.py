"""A tiny OmDet-Turbo with random weights, in the layout of transformers."""

import json
from pathlib import Path
from typing import Any

import torch

from tests.ground.made.letters import tokenizer

SIDE = 160  # px of the model's input


def overrides(folder: Path) -> list[str]:
    import transformers

    backbone = transformers.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=5,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    # The layer norm is for backbones of timm.
    write(
        folder, backbone_config=backbone, encoder_in_channels=[16, 32, 64],
        apply_layernorm_after_vision_backbone=False,
    )  # fmt: skip
    return ["ground=omdet_turbo", f"ground.model={folder}", "ground.revision=null"]


def with_timm(folder: Path) -> list[str]:
    """With the backbone of the official checkpoint, in a config as releases before 5 wrote it."""
    write(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    said = config["backbone_config"]
    config |= {
        "backbone_config": None, "backbone": said["backbone"], "use_timm_backbone": True,
        "use_pretrained_backbone": True,
        "backbone_kwargs": {k: said[k] for k in ("always_partition", "img_size", "out_indices")},
    }  # fmt: skip
    path.write_text(json.dumps(config))
    return ["ground=omdet_turbo", f"ground.model={folder}", "ground.revision=null"]


def write(folder: Path, **backbone: Any) -> None:
    import transformers

    config = transformers.OmDetTurboConfig(
        image_size=SIDE,
        text_config={"model_type": "clip_text_model", "hidden_size": 32, "vocab_size": 600,
                     "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
                     "projection_dim": 32, "bos_token_id": 598, "eos_token_id": 599},
        text_projection_in_dim=32, text_projection_out_dim=32, class_embed_dim=32,
        task_encoder_hidden_dim=32, num_queries=20, encoder_hidden_dim=16,
        vision_features_channels=[16, 16, 16],
        encoder_attention_heads=2, encoder_dim_feedforward=32, decoder_hidden_dim=16,
        decoder_num_heads=2, decoder_num_layers=2, decoder_dim_feedforward=32, **backbone,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.OmDetTurboForObjectDetection(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    model.save_pretrained(folder)
    image_processor = transformers.DetrImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_pad=False
    )
    transformers.OmDetTurboProcessor(image_processor, tokenizer()).save_pretrained(folder)
