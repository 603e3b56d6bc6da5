"""A tiny OmDet-Turbo with random weights, in the layout of transformers."""

from pathlib import Path

import torch

from tests.ground.made.letters import tokenizer

SIDE = 160  # px of the model's input


def overrides(folder: Path) -> list[str]:
    import transformers

    config = transformers.OmDetTurboConfig(
        image_size=SIDE,
        backbone_config=transformers.SwinConfig(
            image_size=SIDE, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            window_size=5, out_indices=[2, 3, 4],
        ),
        text_config={"model_type": "clip_text_model", "hidden_size": 32, "vocab_size": 600,
                     "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
                     "projection_dim": 32, "bos_token_id": 598, "eos_token_id": 599},
        text_projection_in_dim=32, text_projection_out_dim=32, class_embed_dim=32,
        task_encoder_hidden_dim=32, num_queries=20, encoder_hidden_dim=16,
        vision_features_channels=[16, 16, 16], encoder_in_channels=[16, 32, 64],
        encoder_attention_heads=2, encoder_dim_feedforward=32, decoder_hidden_dim=16,
        decoder_num_heads=2, decoder_num_layers=2, decoder_dim_feedforward=32,
        apply_layernorm_after_vision_backbone=False,  # which is for backbones of timm
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
    return ["ground=omdet_turbo", f"ground.model={folder}", "ground.revision=null"]
