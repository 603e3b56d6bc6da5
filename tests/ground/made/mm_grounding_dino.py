"""A tiny MM Grounding DINO with random weights, and the embedded grounder's processor."""

import shutil
from pathlib import Path

import torch

from annotate.models import hub

EMBEDDED = Path(hub.__file__).parent / "tiny" / "grounder"


def overrides(folder: Path) -> list[str]:
    write(folder)
    return ["ground=mm_grounding_dino", f"ground.model={folder}", "ground.revision=null"]


def write(folder: Path) -> None:
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    for file in EMBEDDED.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    config = transformers.MMGroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=24, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=1100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=32, encoder_layers=1, decoder_layers=3, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=10,
        decoder_bbox_embed_share=False, decoder_cls_embed_share=False,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.MMGroundingDinoForObjectDetection(config).save_pretrained(folder)
