"""Train the tiny Grounding DINO: `python -m training.grounder --run training/runs/grounder`.

The model is transformers' own class. The loss is ours (`grounder_loss.py`): the built-in one gives
the two-stage proposals no gradient and cannot handle different prompts in one batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertTokenizer,
    ConvNextConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
)

from annotate.synthetic.canvas import Scene, SceneObject
from annotate.synthetic.clip import Clip
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import (
    ANYTHING,
    COLOURS,
    MATERIALS,
    SHAPES,
    SIZES,
    SYNONYMS,
    TRAIN_COMBOS,
    Combo,
)
from training.grounder_loss import Targets, decoder_loss, proposal_loss
from training.loop import command_line, model_view, normalise, prepare_torch, scene_seed, train
from training.prompts import Prompt, sample_prompt

SHORT_SIDE, LONG_SIDE = 192, 320
# (width, height) of a batch and its number of pictures, fewer where they are larger, so that steps
# cost about the same. All sides divide by 32, the coarsest stride. As often as listed.
_BATCHES: Final = (
    ((192, 192), 16),
    ((192, 192), 16),
    ((192, 192), 16),
    ((192, 192), 16),
    ((256, 192), 12),
    ((256, 192), 12),
    ((192, 256), 12),
    ((192, 256), 12),
    ((320, 192), 10),
    ((192, 320), 10),
)
# Drawn at this scale, then resized as the processor does: from 96 px to 800 px wide.
_ZOOMS: Final = (1.0, 1.0, 1.0, 0.5, 0.75, 1.5, 2.5)
_LONG_PROMPT_ODDS: Final = 0.3
# Frames of clips show objects half hidden, as stills never do.
_CLIP_ODDS: Final = 0.4
_CLIP_FRAMES: Final = 64
_CROWD_ODDS: Final = 0.15
_FEW, _CROWD = 8, 20  # objects at most
# Scenes of one to three combinations. Without them a model learns that a phrase has one object, and
# finds one of two equal stars.
_TWIN_ODDS: Final = 0.4
# Of what is to be found: share that is visible, and pixels a side as the model sees it.
_LEAST_VISIBLE, _LEAST_SIDE_PX = 0.3, 5.0
_VOCABULARY_SIZE: Final = 1100
_WORD_EMBEDDINGS: Final = "model.text_backbone.embeddings.word_embeddings.weight"
# transformers hard-codes [CLS], [SEP], "." and "?" as phrase separators under BERT's ids.
_FIXED_IDS: Final = {
    "[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103,
    ",": 1010, "-": 1011, ".": 1012, "?": 1029,
}  # fmt: skip
_FILLERS: Final = ("a", "an", "the", "and", "of", "with", "in", "on", "at", "to", "is", "are")


def vocabulary_tokens() -> list[str]:
    """WordPiece tokens in order of id; unknown words, and plurals, fall apart into letters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    others = [word for words in SYNONYMS.values() for word in words]
    named = [*COLOURS, *SHAPES, *MATERIALS, *SIZES, ANYTHING, *others]
    words = [*named, *_FILLERS, *letters, *(f"##{c}" for c in letters)]
    tokens = [f"[unused{i}]" for i in range(_VOCABULARY_SIZE)]
    for token, index in _FIXED_IDS.items():
        tokens[index] = token
    free = [i for i in (*range(104, 1010), *range(1030, _VOCABULARY_SIZE))]
    for token, index in zip(dict.fromkeys(words), free, strict=False):
        tokens[index] = token
    return tokens


def build_processor() -> GroundingDinoProcessor:
    tokens = {token: index for index, token in enumerate(vocabulary_tokens())}
    tokenizer = BertTokenizer(vocab=tokens, do_lower_case=True, model_max_length=256)
    size = {"shortest_edge": SHORT_SIDE, "longest_edge": LONG_SIDE}
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)


def build_config() -> GroundingDinoConfig:
    """984 thousand parameters."""
    backbone = ConvNextConfig(
        depths=[1, 2, 2, 1],
        hidden_sizes=[32, 64, 96, 128],
        layer_scale_init_value=0.5,
        out_indices=[2, 3, 4],
    )
    text = BertConfig(
        vocab_size=_VOCABULARY_SIZE,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=64,
        num_queries=30,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_feature_levels=3,
        two_stage=True,
        dropout=0.0,
        fusion_droppath=0.0,
        auxiliary_loss=True,
        disable_custom_kernels=True,
        max_text_len=256,
    )


def build_model(init: Path | None = None) -> GroundingDinoForObjectDetection:
    """From scratch, or with the weights of the folder `init`."""
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(build_config())
    if init is None:
        _calm_start(model)
    else:
        state = load_file(init / "model.safetensors")
        words = json.loads((init / "tokenizer.json").read_text())["model"]["vocab"]
        fresh = model.state_dict()[_WORD_EMBEDDINGS]
        state[_WORD_EMBEDDINGS] = _embeddings(fresh, state[_WORD_EMBEDDINGS], words)
        # Weights that transformers shares between layers are stored once, hence strict=False; a
        # missing one that is not shared would show as a loss far too high.
        _, unexpected = model.load_state_dict(state, strict=False)
        if unexpected:
            raise ValueError(f"{init}: weights of another model: {unexpected[:3]}")
    return model


def _embeddings(fresh: Tensor, trained: Tensor, words: dict[str, int]) -> Tensor:
    """Word embeddings under the ids of today: known words keep theirs, synonyms start alike."""
    rows = fresh.clone()
    namesake = {other: word for word, others in SYNONYMS.items() for other in others}
    for index, token in enumerate(vocabulary_tokens()):
        known = token if token in words else namesake.get(token)
        if known in words:
            rows[index] = trained[words[known]]
    return rows


@torch.no_grad()
def _calm_start(model: GroundingDinoForObjectDetection) -> None:
    """Start token probabilities near 0.07; plain initialisation has logits of std 8, 0 or 1."""
    text_norm = model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    text_norm.weight.fill_(0.25)
    text_norm.bias.fill_(-0.2)
    model.model.decoder.layer_norm.bias.fill_(0.2)
    model.model.enc_output_norm.bias.fill_(0.2)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    pixels: Tensor  # (b, 3, H, W)
    text: dict[str, Tensor]  # input_ids, token_type_ids, attention_mask, (b, n)
    targets: Targets


class GrounderTask:
    def __init__(self, init: Path | None = None) -> None:
        self.processor = build_processor()
        self._model = build_model(init)
        self._model.loss_function = decoder_loss

    @property
    def model(self) -> nn.Module:
        return self._model

    def loss(self, rng: Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        batch = self.draw(rng)
        out: Any = self._model(pixel_values=batch.pixels, labels=batch.targets, **batch.text)
        height, width = batch.pixels.shape[-2:]
        dense, report = proposal_loss(
            out.enc_outputs_class, out.enc_outputs_coord_logits, batch.targets, (width, height)
        )
        return out.loss + dense, {**out.loss_dict, **report}

    def draw(self, rng: Generator) -> Batch:
        """A fresh batch of pictures of one size, each with a prompt of its own."""
        size_wh, count = _BATCHES[int(rng.integers(len(_BATCHES)))]
        # Decided for the whole batch: one long prompt would pad all the others to its length.
        long = bool(rng.random() < _LONG_PROMPT_ODDS)
        samples = [_sample(rng, size_wh, long=long) for _ in range(count)]
        images, prompts, boxes = zip(*samples, strict=True)
        text = self.processor.tokenizer(
            [p.text for p in prompts], padding=True, return_tensors="pt"
        )
        targets = Targets.build(text["input_ids"], boxes, [p.describes for p in prompts])
        return Batch(normalise(list(images)), dict(text), targets)

    def export(self, state: dict[str, Tensor], folder: Path) -> None:
        """Write a folder that `from_pretrained` loads, free of paths of this machine."""
        model = GroundingDinoForObjectDetection(build_config())
        model.load_state_dict(state)
        model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        _strip(folder / "config.json", {"_name_or_path"})
        _strip(folder / "tokenizer_config.json", {"is_local", "local_files_only", "name_or_path"})


def _sample(
    rng: Generator, size_wh: tuple[int, int], *, long: bool
) -> tuple[np.ndarray, Prompt, np.ndarray]:
    """Picture, prompt, and the boxes of all objects as (n, 4) cxcywh in fractions of the side."""
    scene = _draw_scene(rng, size_wh, float(rng.choice(_ZOOMS)))
    objects = _worth_finding(scene, size_wh)
    limit = int(rng.integers(15, 49) if long else rng.integers(6, 15))
    prompt = sample_prompt(rng, objects, limit=limit, fill=long, vary=True)
    return model_view(rng, scene.image, size_wh), prompt, _boxes_cxcywh(objects, scene.image)


def _draw_scene(rng: Generator, size_wh: tuple[int, int], zoom: float) -> Scene:
    drawn_wh = (round(size_wh[0] * zoom), round(size_wh[1] * zoom))
    combos: Sequence[Combo] = TRAIN_COMBOS
    if rng.random() < _TWIN_ODDS:
        chosen = rng.choice(len(TRAIN_COMBOS), size=int(rng.integers(1, 4)), replace=False)
        combos = [TRAIN_COMBOS[i] for i in chosen]
    if rng.random() < _CLIP_ODDS:
        clip = Clip(scene_seed(rng), drawn_wh, combos=combos, objects=int(rng.integers(2, 9)))
        return clip.frame(int(rng.integers(_CLIP_FRAMES)))
    most = _CROWD if rng.random() < _CROWD_ODDS else _FEW
    return draw_still(scene_seed(rng), drawn_wh, combos=combos, min_objects=0, max_objects=most)


def _worth_finding(scene: Scene, size_wh: tuple[int, int]) -> list[SceneObject]:
    """The objects of which enough is to be seen; the others are not asked for."""
    scale = size_wh[1] / scene.image.shape[0]
    return [
        o
        for o in scene.objects
        if (area := o.area) >= _LEAST_VISIBLE * o.full_area
        and math.sqrt(area) * scale >= _LEAST_SIDE_PX
    ]


def _boxes_cxcywh(objects: Sequence[SceneObject], image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    boxes = np.array([o.box_xyxy for o in objects], np.float32).reshape(-1, 4)
    boxes /= np.array([width, height, width, height], np.float32)
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _strip(path: Path, keys: set[str]) -> None:
    def clean(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: clean(v) for k, v in node.items() if k not in keys}
        return node

    path.write_text(json.dumps(clean(json.loads(path.read_text())), indent=2) + "\n")


def main() -> None:
    options = command_line(__doc__ or "", lr=1.5e-3, lr_end=3e-5).parse_args()
    prepare_torch(options.threads)
    train(GrounderTask(options.init), options)


if __name__ == "__main__":
    main()
