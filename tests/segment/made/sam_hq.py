"""A tiny SAM-HQ with random weights, in the layout of transformers."""

from pathlib import Path

from tests.segment.made.sam import DECODER, PROMPTS, VISION, padded
from tests.segment.made.saving import save


def overrides(folder: Path) -> list[str]:
    import transformers

    config = transformers.SamHQConfig(
        vision_config=VISION,
        prompt_encoder_config=PROMPTS,
        mask_decoder_config={**DECODER, "vit_dim": VISION["hidden_size"]},
    )
    save(transformers.SamHQModel, config, padded(), folder)
    return ["segment=sam_hq", f"segment.model={folder}", "segment.revision=null"]
