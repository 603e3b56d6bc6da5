"""A tiny OWLv2 with random weights, in the layout of transformers."""

from pathlib import Path

import torch

from tests.ground.made.letters import tokenizer

SIDE, PATCH = 96, 16  # px of the model's input and of a patch


def overrides(folder: Path) -> list[str]:
    import transformers

    layers = {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32}
    config = transformers.Owlv2Config(
        text_config={"hidden_size": 32, "vocab_size": 600, "max_position_embeddings": 48,
                     "bos_token_id": 598, "eos_token_id": 599, **layers},
        vision_config={"hidden_size": 32, "image_size": SIDE, "patch_size": PATCH, **layers},
        projection_dim=32,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Owlv2ForObjectDetection(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    model.save_pretrained(folder)
    image_processor = transformers.Owlv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    transformers.Owlv2Processor(image_processor, tokenizer()).save_pretrained(folder)
    return ["ground=owlv2", f"ground.model={folder}", "ground.revision=null"]
