"""A tiny Florence-2 with random weights, in the layout of transformers."""

from pathlib import Path

import torch

SIDE = 64  # px of the model's input
TASK_TOKENS = ["<image>", *(f"<loc_{n}>" for n in range(1000)), "<poly>", "</poly>", "<sep>"]


def overrides(folder: Path) -> list[str]:
    import transformers

    tokenizer = letters()
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    config = transformers.Florence2Config(
        text_config={
            "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32,
            "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
            "max_position_embeddings": 128, "bos_token_id": 0, "pad_token_id": 1,
            "eos_token_id": 2, "decoder_start_token_id": 2,
        },
        vision_config={
            "depths": [1, 1, 1, 1], "embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2],
            "num_groups": [1, 1, 2, 2], "window_size": 4, "projection_dim": 32,
        },
        image_token_id=image_id, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Florence2ForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    model.save_pretrained(folder)
    image_processor = transformers.CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, resample=3
    )
    image_processor.image_seq_length = 5  # 2 x 2 cells of the last level, and their mean
    transformers.Florence2Processor(image_processor, tokenizer).save_pretrained(folder)
    return [
        "ground=florence2", f"ground.model={folder}", "ground.revision=null",
        "ground.max_new_tokens=24", "ground.beams=2",
    ]  # fmt: skip


def letters():
    """Its tokenizer, which knows single letters only."""
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = transformers.BartTokenizer(
        vocab=vocabulary, merges=[], extra_special_tokens={"image_token": "<image>"}
    )
    tokenizer.add_tokens(TASK_TOKENS, special_tokens=True)
    return tokenizer
