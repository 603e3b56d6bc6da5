"""A tiny SAM 2 with random weights, in the layout of transformers."""

from pathlib import Path

from tests.segment.made.saving import save

SIDE = 64  # px, of the model's input
LEVELS = [[SIDE // s, SIDE // s] for s in (4, 8, 16)]
PROMPTS = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
DECODER = {
    "hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
}  # fmt: skip
VISION = {
    "backbone_config": {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1,
        "image_size": [SIDE, SIDE], "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 2, 2, 2], "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    },
    "backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": LEVELS,
    "fpn_hidden_size": 32,
}  # fmt: skip


def overrides(folder: Path) -> list[str]:
    import transformers

    config = transformers.Sam2Config(
        vision_config=VISION, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER
    )
    save(transformers.Sam2Model, config, stretched(), folder)
    return ["segment=sam2_transformers", f"segment.model={folder}", "segment.revision=null"]


def stretched():
    """The processor of a SAM 2: the picture is stretched over SIDE x SIDE px."""
    from transformers import Sam2ImageProcessor

    return Sam2ImageProcessor(
        size={"height": SIDE, "width": SIDE}, mask_size={"height": SIDE // 4, "width": SIDE // 4}
    )
