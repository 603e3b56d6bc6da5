"""A tiny SAM with random weights, in the layout of transformers."""

from pathlib import Path

from tests.segment.made.saving import save

SIDE = 64  # px, of the model's input
PROMPTS = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
DECODER = {
    "hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIDE, "patch_size": 16, "window_size": 2, "global_attn_indexes": [1],
    "num_pos_feats": 16, "initializer_range": 0.02,
}  # fmt: skip


def overrides(folder: Path) -> list[str]:
    import transformers

    config = transformers.SamConfig(
        vision_config=VISION, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER
    )
    save(transformers.SamModel, config, padded(), folder)
    return ["segment=sam", f"segment.model={folder}", "segment.revision=null"]


def padded():
    """The processor of a SAM: the longer side is brought to SIDE, the rest is padding."""
    from transformers import SamImageProcessor

    return SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": SIDE // 4},
        mask_pad_size={"height": SIDE // 4, "width": SIDE // 4},
    )  # fmt: skip
