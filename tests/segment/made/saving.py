"""How the tiny models of this folder are made: seeded, and lively enough to have edges."""

from pathlib import Path

import torch


def save(model_class, config, processor, folder: Path) -> None:
    """A model of random weights in the layout of transformers, with its processor."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
        elif name.endswith("weight"):
            torch.nn.init.ones_(parameter)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
