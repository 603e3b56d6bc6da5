"""SAM 2's heads against those of the package sam2: the same numbers, without the upsampling."""

import numpy as np
import pytest
import torch

from annotate.segment.sam2.memory import Sam2Memory
from annotate.synthetic.still import draw_still


@pytest.fixture(scope="module")
def embedding(tiny_sam):
    return tiny_sam.embed(draw_still(3, (128, 96)).image)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("prompt", ["nothing", "points", "mask"])
def test_same_answers_as_sam2_itself(tiny_sam, embedding, prompt, multimask):
    model, heads, k = tiny_sam.model, tiny_sam.heads, 3
    side = model.image_size
    rng = torch.Generator().manual_seed(1)
    features = embedding.features + 0.1 * torch.randn(
        k, *embedding.features.shape[1:], generator=rng
    )
    high_res = [level.expand(k, -1, -1, -1) for level in embedding.high_res]
    points = torch.rand(k, 2, 2, generator=rng) * side
    labels = torch.tensor([[1, 0], [2, 3], [1, 1]])
    masks = torch.randn(k, 1, *model.sam_prompt_encoder.mask_input_size, generator=rng)
    with torch.inference_mode():
        _, _, ious, logits, _, pointers, present = model._forward_sam_heads(
            features,
            {"point_coords": points, "point_labels": labels} if prompt == "points" else None,
            masks if prompt == "mask" else None,
            high_res,
            multimask,
        )
        found = heads.track(
            features,
            embedding.high_res,
            heads.points(points, labels) if prompt == "points" else heads.no_prompt(k),
            masks=masks if prompt == "mask" else None,
            multimask=multimask,
        )
    expected = (logits[:, 0], ious.amax(1), pointers, present[:, 0])
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_prompted_mask_is_taken_as_sam2_takes_it(tiny_sam, embedding):
    model, side = tiny_sam.model, tiny_sam.model.image_size
    masks = torch.zeros(2, side, side, dtype=torch.bool)
    masks[0, 40:90, 30:100] = True  # the other one is empty
    mine = Sam2Memory(tiny_sam).seed_masks(embedding, masks)
    with torch.inference_mode():
        _, _, ious, logits, _, pointers, present = model._use_mask_as_output(
            embedding.features.expand(2, -1, -1, -1),
            [level.expand(2, -1, -1, -1) for level in embedding.high_res],
            masks[:, None].float(),
        )
    expected = (logits[:, 0], ious[:, 0], present[:, 0], pointers)
    for name, theirs in zip(("logits", "ious", "present", "pointers"), expected, strict=True):
        torch.testing.assert_close(getattr(mine, name), theirs, rtol=1e-5, atol=1e-5)
    assert np.sign(mine.present.numpy()).tolist() == [1, -1]
