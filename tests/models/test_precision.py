"""Half precision ends before the heads; where CUDA would take it, here the CPU does."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import annotate
from annotate.ground.grounding_dino.scorer import HEADS, PhraseScorer
from annotate.models import precision
from annotate.models.layouts import CheckpointSource
from annotate.segment.sam2.image import Sam2Image
from annotate.segment.sam2.memory import Sam2Memory
from annotate.synthetic.still import draw_still
from tests.grounding_dino import load_grounding_dino

CPU = torch.device("cpu")


@pytest.fixture
def half(monkeypatch):
    monkeypatch.setattr(precision, "HALF", {"cpu": torch.bfloat16})


def dtypes(module, seen: list) -> None:
    """Note the types of all tensors that come out of a module."""

    def note(_, __, out):
        outs = out if isinstance(out, (tuple, list)) else [out]
        seen.extend(o.dtype for o in outs if isinstance(o, torch.Tensor))

    module.register_forward_hook(note)


def test_the_precision_of_a_device_has_a_name(half):
    assert precision.name(CPU) == "bfloat16"
    assert precision.name(torch.device("mps")) == "float32"


def test_heads_of_a_grounder_stay_in_float32(half):
    model, processor, _ = load_grounding_dino(CheckpointSource("embedded:tiny/grounder"), CPU)
    scorer = PhraseScorer(model, processor, device=CPU, pooling="mean")
    heads: list = []
    inner: list = []
    for module in model.modules():
        if type(module).__name__.endswith(HEADS):
            dtypes(module, heads)
    dtypes(model.model.decoder.layers[0].fc1, inner)
    pixels = scorer.prepare(draw_still(3, (128, 96)).image)[None]
    boxes, scores = scorer.score(pixels, scorer.caption(["red circle"]))
    assert len(heads) >= 4 and set(heads) == {torch.float32}
    assert set(inner) == {torch.bfloat16}
    assert boxes.dtype == scores.dtype == torch.float32
    # In bf16 a logit has 8 digits of 2: among so many queries many scores would be equal.
    assert len(scores[0, :, 0].unique()) > 0.95 * scores.shape[1]


def test_heads_of_a_segmenter_stay_in_float32(half, tiny_sam):
    image = Sam2Image(tiny_sam.model, device=CPU)
    memory = Sam2Memory(image)
    decoded: list = []
    hook = tiny_sam.model.sam_mask_decoder.register_forward_hook(
        lambda _, __, out: decoded.extend(o.dtype for o in out)
    )
    embedding = image.embed(draw_still(3, (128, 96)).image)
    assert embedding.high_res[0].dtype == torch.bfloat16
    logits, ious = image.decode(embedding, torch.tensor([[10.0, 10, 60, 60]]))
    seeded = memory.seed_masks(embedding, torch.ones(1, 96, 128) > 0)
    features = memory.encode(embedding, seeded.logits, seeded.present, prompted=True)
    bank = memory.bank(max_anchors=1)
    bank.anchor(0, [1], features, seeded.pointers)
    carried = memory.carry(embedding, bank, [1], 1)
    hook.remove()
    assert len(decoded) == 4 * 3 and set(decoded) == {torch.float32}
    for told in (logits, ious, seeded.logits, carried.logits, carried.ious, carried.present):
        assert told.dtype == torch.float32
    np.testing.assert_array_equal(np.isfinite(carried.logits.numpy()), True)


def test_nothing_is_added_in_an_order_that_a_gpu_chooses():
    """Scattered sums of floats are not the same twice on CUDA."""
    folder = Path(annotate.__file__).parent
    scattered = re.compile(
        r"\.(scatter_(add|reduce)_?|index_(add|reduce)_?|put_)\(|accumulate=True"
    )
    found = [p.name for p in folder.rglob("*.py") if scattered.search(p.read_text("utf-8"))]
    assert found == []
