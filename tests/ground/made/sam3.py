"""A tiny SAM 3 with random weights, in the layout of transformers."""

from pathlib import Path

import torch

from tests.ground.made.letters import tokenizer

SIDE, PATCH, WIDTH = 56, 14, 32  # px of the model's input and of a patch; channels


def overrides(folder: Path) -> list[str]:
    import transformers

    layers = {"hidden_size": WIDTH, "num_attention_heads": 2}
    deep = {**layers, "num_layers": 1, "intermediate_size": WIDTH}
    config = transformers.Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model", "image_size": SIDE, "patch_size": PATCH,
                "pretrain_image_size": 28, "window_size": 2, "num_hidden_layers": 2,
                "global_attn_indexes": [1], "intermediate_size": WIDTH, **layers,
            },
            "fpn_hidden_size": WIDTH, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            "model_type": "clip_text_model", "vocab_size": 600, "num_hidden_layers": 1,
            "projection_dim": WIDTH, "intermediate_size": WIDTH, "max_position_embeddings": 32,
            "bos_token_id": 598, "eos_token_id": 599, **layers,
        },
        geometry_encoder_config=deep,
        detr_encoder_config=deep,
        detr_decoder_config={**deep, "num_queries": 12},
        mask_decoder_config=layers,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Sam3Model(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    model.save_pretrained(folder)
    processor(transformers).save_pretrained(folder)
    return ["ground=sam3", f"ground.model={folder}", "ground.revision=null"]


def processor(transformers):
    return transformers.Sam3Processor(
        image_processor=transformers.Sam3ImageProcessor(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer(),
    )
