"""A tiny SigLIP with random weights, in the layout of transformers."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

SIDE = 32  # px of the model's input


@cache
def overrides() -> tuple[str, ...]:
    """What the command line says to use it."""
    return "verify=siglip2", f"verify.model={written()}", "verify.revision=null"


def written() -> Path:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = Path(mkdtemp(prefix="siglip2-"))
    letters = [chr(n) for n in range(32, 127)]
    vocabulary = {token: n for n, token in enumerate(["<pad>", "<eos>", "<unk>", *letters])}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=characters, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    layers = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }  # fmt: skip
    config = transformers.SiglipConfig(
        text_config={"vocab_size": len(vocabulary), "max_position_embeddings": 64,
                     "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, **layers},
        vision_config={"image_size": SIDE, "patch_size": 8, **layers},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SiglipModel(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    model.save_pretrained(folder)
    image_processor = transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    transformers.SiglipProcessor(image_processor, tokenizer).save_pretrained(folder)
    return folder
