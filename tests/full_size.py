"""Random weights of full size in the official formats, to run the real architectures offline.

    python -m tests.full_size DIR
    python -m annotate models=fast ground.model=DIR/grounder segment.model=DIR/segmenter ...

`DIR/grounder` is laid out as the repository IDEA-Research/grounding-dino-tiny is: its config, its
tensor names, and a vocabulary of its own with BERT's size and BERT's places for the special
tokens. `DIR/segmenter` holds sam2.1_hiera_tiny.pt as the package sam2 expects it. What such models
find is noise.
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
)

from annotate.models import sam2_architecture
from annotate.models.layouts import packaged_architecture

SEGMENTER_YAML = "configs/sam2.1/sam2.1_hiera_t.yaml"
SEGMENTER_FILE = "sam2.1_hiera_tiny.pt"
INDEX_TABLE = (
    "model.backbone.conv_encoder.model.encoder.layers.{stage}.blocks.{block}."
    "attention.self.relative_position_index"
)

# config.json of IDEA-Research/grounding-dino-tiny, with the keys of its day.
GROUNDER_CONFIG: dict[str, Any] = {
    "activation_dropout": 0.0,
    "activation_function": "relu",
    "architectures": ["GroundingDinoForObjectDetection"],
    "attention_dropout": 0.0,
    "auxiliary_loss": False,
    "backbone": None,
    "backbone_config": {
        "depths": [2, 2, 6, 2],
        "embed_dim": 96,
        "hidden_size": 768,
        "image_size": 224,
        "model_type": "swin",
        "num_heads": [3, 6, 12, 24],
        "out_features": ["stage2", "stage3", "stage4"],
        "out_indices": [2, 3, 4],
        "window_size": 7,
    },
    "backbone_kwargs": None,
    "d_model": 256,
    "decoder_attention_heads": 8,
    "decoder_bbox_embed_share": True,
    "decoder_ffn_dim": 2048,
    "decoder_layers": 6,
    "decoder_n_points": 4,
    "disable_custom_kernels": False,
    "dropout": 0.1,
    "embedding_init_target": True,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "encoder_layers": 6,
    "encoder_n_points": 4,
    "fusion_dropout": 0.0,
    "fusion_droppath": 0.1,
    "init_std": 0.02,
    "is_encoder_decoder": True,
    "layer_norm_eps": 1e-05,
    "max_text_len": 256,
    "model_type": "grounding-dino",
    "num_feature_levels": 4,
    "num_queries": 900,
    "position_embedding_type": "sine",
    "positional_embedding_temperature": 20,
    "query_dim": 4,
    "text_config": {"model_type": "bert"},
    "text_enhancer_dropout": 0.0,
    "torch_dtype": "float32",
    "transformers_version": "4.36.0.dev0",
    "two_stage": True,
    "two_stage_bbox_embed_share": False,
    "use_pretrained_backbone": False,
    "use_timm_backbone": False,
}


def write_grounder(folder: Path) -> None:
    """A Grounding DINO of the tiny checkpoint's size, and its processor."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(GroundingDinoConfig.from_dict(GROUNDER_CONFIG))
    # Saved under the names of its day. The official file lacks one layer, which detection does not
    # use, and holds an index table for each block of the backbone, which is computed nowadays.
    tensors = {k: v for k, v in model.state_dict().items() if ".swin.layernorm." not in k}
    backbone = GROUNDER_CONFIG["backbone_config"]
    index = torch.zeros(backbone["window_size"] ** 2, backbone["window_size"] ** 2).long()
    for stage, depth in enumerate(backbone["depths"]):
        for block in range(depth):
            tensors[INDEX_TABLE.format(stage=stage, block=block)] = index.clone()
    model.save_pretrained(folder, state_dict=tensors)
    (folder / "config.json").write_text(json.dumps(GROUNDER_CONFIG, indent=2), encoding="utf-8")
    write_processor(folder)


def write_processor(folder: Path) -> None:
    """What makes pixels and tokens for a Grounding DINO of any size."""
    GroundingDinoImageProcessor().save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(_word_pieces()) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(vocabulary), do_lower_case=True).save_pretrained(folder)


def write_segmenter(folder: Path) -> None:
    """A SAM 2.1 Hiera tiny checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    architecture = packaged_architecture(SEGMENTER_YAML)
    assert architecture is not None
    torch.manual_seed(0)
    torch.save(
        {"model": sam2_architecture.build(architecture).state_dict()}, folder / SEGMENTER_FILE
    )


def _word_pieces() -> list[str]:
    """30,522 pieces: BERT's places for the specials and for ASCII, and every word spells out."""
    pieces = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    marks = [c for c in map(chr, range(33, 127)) if not c.isupper()]
    pieces |= {999 + i: c for i, c in enumerate(marks)}
    letters = string.ascii_lowercase + string.digits
    pieces |= {1996 + i: f"##{c}" for i, c in enumerate(letters)}
    return [pieces.get(i, f"[unused{i}]") for i in range(30_522)]


def main() -> None:
    """Write both models into the folder named on the command line."""
    folder = Path(sys.argv[1])
    write_grounder(folder / "grounder")
    write_segmenter(folder / "segmenter")


if __name__ == "__main__":
    main()
