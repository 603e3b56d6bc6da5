"""The segmenter before its first step: trained before, or from scratch with a head start."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from annotate.models.sam2_architecture import import_sam2
from annotate.synthetic.still import draw_still
from training.loop import normalise, scene_seed
from training.segmenter_prompts import SIDE, certain

YAML: Final = Path(__file__).parents[1] / "annotate/models/tiny/segmenter/sam2.1_tiny.yaml"


def build_model(init: Path | None = None) -> Any:
    """SAM2Base from scratch, or with the weights of the checkpoint `init`."""
    torch.manual_seed(0)
    import_sam2()
    model = instantiate(OmegaConf.load(YAML).model)
    if init is not None:
        model.load_state_dict(torch.load(init, weights_only=True)["model"])
        return model
    with torch.no_grad():
        _prompt_prior(model)
        _memory_prior(model)
    return model


def _prompt_prior(model: Any) -> None:
    """Let attention in the mask decoder start as similarity of position.

    With plain initialisation training stays at "everything that is an object" for a long time.
    """
    decoder, encoder = model.sam_mask_decoder, model.sam_prompt_encoder
    decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    transformer = decoder.transformer
    attentions = [(transformer.final_attn_token_to_image, 2.0)]
    for layer in transformer.layers:
        attentions += [
            (layer.self_attn, 1.4),
            (layer.cross_attn_token_to_image, 2.0),
            (layer.cross_attn_image_to_token, 2.0),
        ]
    for attention, gain in attentions:
        nn.init.orthogonal_(attention.q_proj.weight, gain)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        nn.init.orthogonal_(attention.v_proj.weight)
        attention.out_proj.weight.copy_(attention.v_proj.weight.T)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
            part.bias.zero_()
    # Small embeddings, so that positions dominate; Fourier features of two scales.
    half = encoder.embed_dim // 2
    scale = torch.where(torch.arange(half) % 2 == 0, 0.35, 1.0)
    encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(torch.randn(2, half) * scale)
    for embedding in (*encoder.point_embeddings, encoder.not_a_point_embed):
        nn.init.normal_(embedding.weight, std=0.4)
    nn.init.normal_(encoder.no_mask_embed.weight, std=0.02)
    for embedding in (decoder.iou_token, decoder.mask_tokens, decoder.obj_score_token):
        nn.init.normal_(embedding.weight, std=0.5)


def _memory_prior(model: Any) -> None:
    """Let memory attention start as matching of appearance: scaled on a few generated pictures."""
    stream = np.random.default_rng(0)
    scenes = [draw_still(scene_seed(stream), (SIDE, SIDE), min_objects=4) for _ in range(8)]
    masks = certain(np.stack([s.objects[0].mask for s in scenes]))[:, None]
    features = model.forward_image(normalise([s.image for s in scenes]))["backbone_fpn"][-1]
    tokens = features.flatten(2).permute(0, 2, 1)
    spread, channels, width = tokens.std(-1).mean(), features.shape[1], model.mem_dim
    encoder = model.memory_encoder
    encoder.pix_feat_proj.weight.copy_(torch.eye(channels)[:, :, None, None] / spread)
    encoder.pix_feat_proj.bias.zero_()
    to_memory = nn.init.orthogonal_(torch.empty(width, channels))
    encoder.out_proj.weight.copy_(to_memory[:, :, None, None])
    encoder.out_proj.bias.zero_()
    last = encoder.mask_downsampler.encoder[-1]
    last.bias.zero_()
    embedded = encoder.mask_downsampler(masks)
    deviation = (embedded - embedded.mean((2, 3), keepdim=True)).std().clamp(min=1e-3)
    last.weight.div_(deviation)
    last.bias.sub_(encoder.mask_downsampler(masks).mean((0, 2, 3)))
    for layer in model.memory_attention.layers:
        cross = layer.cross_attn_image
        match = nn.init.orthogonal_(torch.empty(channels, width))
        cross.q_proj.weight.copy_(match @ to_memory * 1.7)
        cross.k_proj.weight.copy_(match * 1.7)
        nn.init.orthogonal_(cross.v_proj.weight)
        nn.init.orthogonal_(cross.out_proj.weight)
        cross.out_proj.weight.mul_(spread)
        for part in (cross.q_proj, cross.k_proj, cross.v_proj, cross.out_proj):
            part.bias.zero_()
        layer.self_attn.out_proj.weight.mul_(0.1)
        layer.linear2.weight.mul_(0.1)
    model.memory_attention.norm.weight.fill_(float(spread))
    model.memory_attention.norm.bias.copy_(tokens.mean((0, 1)) + model.no_mem_embed.view(-1))
