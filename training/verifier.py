"""Train the tiny SigLIP: `python -m training.verifier --run training/runs/verifier --minutes 12`.

It learns what it is asked: which of a list of phrases a masked crop is, or none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from numpy.random import Generator
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from annotate.data.geometry import encode_masks
from annotate.data.types import Instance, Rle
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import SHAPES, SYNONYMS, TRAIN_COMBOS
from annotate.verify.crops import crop_of
from training.loop import TRAINING_SEEDS, command_line, prepare_torch, train

SIDE: Final = 48  # px of the model's input
OTHERS: Final = ("background", "something else")
TEMPLATES: Final = ("a photo of a {}", "a photo of a {}", "{}", "a {}")
_SCENES: Final = 2_000  # that are drawn and come again, each time cut anew
_CROPS: Final = 48  # in a batch
_LISTS: Final = (3, 30)  # phrases in a list, at least and at most
_BACKGROUND_ODDS: Final = 0.15  # that a crop shows no object
_SHAPES_ODDS: Final = 0.25  # that a list names shapes alone
_LENGTH: Final = 64  # characters of a text


@dataclass(frozen=True, slots=True)
class _Cut:
    """An object of a scene, or none, with what it takes to cut it."""

    colour: str
    shape: str
    instance: Instance


class VerifierTask:
    """Crops against lists of phrases, by the softmax that decides when it is used."""

    def __init__(self, init: Path | None = None) -> None:
        self._tokenizer = build_tokenizer()
        self._processor = transformers.SiglipProcessor(
            transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}),
            self._tokenizer,
        )
        self._model: Any = (
            transformers.SiglipModel(build_config(len(self._tokenizer)))
            if init is None
            else transformers.SiglipModel.from_pretrained(init)
        )
        with torch.no_grad():
            self._model.logit_scale.fill_(2.3)  # 10, calm enough to learn from

    @property
    def model(self) -> nn.Module:
        return self._model  # type: ignore[no-any-return]

    def loss(self, rng: Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        """A batch of crops, each to be told from one list of phrases."""
        pictures, names = zip(*(_crop(rng) for _ in range(_CROPS)), strict=True)
        by_shape = rng.random() < _SHAPES_ODDS
        said = [(n[1] if by_shape else " ".join(n)) if n else "" for n in names]
        listed = _listed(rng, said, by_shape=by_shape)
        template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
        texts = [template.format(_varied(rng, phrase)) for phrase in (*listed, *OTHERS)]
        read = self._tokenizer(texts, return_tensors="pt", padding="max_length", max_length=_LENGTH)
        pixels = self._processor.image_processor(list(pictures), return_tensors="pt")[
            "pixel_values"
        ]
        out = self._model(input_ids=read["input_ids"], pixel_values=pixels)
        logits = (out.logits_per_image - self._model.logit_bias)[:, : len(texts)]
        # What is no object of the list is either of the others.
        wanted = [listed.index(s) if s in listed else -1 for s in said]
        target = torch.tensor(wanted)
        loss = _loss(logits, target, len(listed))
        known = target >= 0
        right = (logits.argmax(1) == target)[known].float().mean()
        return loss, {"right": float(right)}

    def export(self, state: dict[str, Tensor], folder: Path) -> None:
        """Write a folder that `from_pretrained` loads."""
        model = transformers.SiglipModel(build_config(len(self._tokenizer)))
        model.load_state_dict(state)
        model.save_pretrained(folder)
        self._processor.save_pretrained(folder)


def _loss(logits: Tensor, target: Tensor, listed: int) -> Tensor:
    known = target >= 0
    loss = F.cross_entropy(logits[known], target[known], reduction="sum")
    rest = logits[~known].log_softmax(-1)[:, listed:].logsumexp(-1)
    return (loss - rest.sum()) / len(logits)


def _listed(rng: Generator, said: list[str], *, by_shape: bool) -> list[str]:
    """Some phrases, among them those of most crops."""
    known = list(SHAPES) if by_shape else [f"{c} {s}" for c, s in TRAIN_COMBOS]
    size = int(rng.integers(*_LISTS))
    shown = [s for s in dict.fromkeys(said) if s]
    rng.shuffle(shown)
    rng.shuffle(known)
    return list(dict.fromkeys([*shown[: max(2, size)], *known[:size]]))


def _varied(rng: Generator, phrase: str) -> str:
    """At times with a synonym of a word."""
    if rng.random() < 0.2:
        words = [str(rng.choice([w, *SYNONYMS.get(w, ())])) for w in phrase.split()]
        return " ".join(words)
    return phrase


def _crop(rng: Generator) -> tuple[np.ndarray, tuple[str, str] | None]:
    """What a verifier is shown, and what it is; None where it is no object."""
    image, cuts = _scene(int(rng.integers(_SCENES)))
    room, outside = float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.15, 0.45))
    if rng.random() < _BACKGROUND_ODDS:
        return crop_of(image, _nothing(rng, image, cuts), room=room, outside=outside), None
    one = cuts[int(rng.integers(len(cuts)))]
    return crop_of(image, one.instance, room=room, outside=outside), (one.colour, one.shape)


@lru_cache(maxsize=_SCENES)
def _scene(number: int) -> tuple[np.ndarray, list[_Cut]]:
    """One of the scenes, and its objects."""
    seed = TRAINING_SEEDS.start + 777_000 + number
    scene = draw_still(seed, (192, 160), min_objects=3, max_objects=7)
    cuts = [_Cut(o.colour, o.shape, _as_instance(o.mask)) for o in scene.objects]
    return scene.image, cuts


def _as_instance(mask: np.ndarray) -> Instance:
    h, w = mask.shape
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)
    rle = Rle(encode_masks(mask[None])[0], (h, w))
    return Instance("", 0, "", 1.0, box, rle, int(mask.sum()), 1.0)


def _nothing(rng: Generator, image: np.ndarray, cuts: list[_Cut]) -> Instance:
    """An oval of the backdrop, or a bit of an object that shows nothing of its shape."""
    h, w = image.shape[:2]
    rx, ry = rng.uniform(8, 40, 2)
    x, y = rng.uniform(0, w), rng.uniform(0, h)
    rows, columns = np.mgrid[:h, :w]
    mask = ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 <= 1
    for one in cuts:
        mask &= ~one.instance.mask.decode()
    if mask.sum() < 30:
        mask = np.zeros((h, w), bool)
        mask[: h // 6, : w // 6] = True
    return _as_instance(mask)


def build_tokenizer() -> Any:
    """Every character is a token."""
    letters = [chr(n) for n in range(32, 127)]
    vocabulary = {token: n for n, token in enumerate(["<pad>", "<eos>", "<unk>", *letters])}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=_LENGTH,
    )


def build_config(words: int) -> Any:
    """0.28 M parameters."""
    layers = {"hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 4}
    return transformers.SiglipConfig(
        text_config={
            "vocab_size": words, "max_position_embeddings": _LENGTH, "num_hidden_layers": 2,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, **layers,
        },
        vision_config={"image_size": SIDE, "patch_size": 6, "num_hidden_layers": 3, **layers},
    )  # fmt: skip


def main() -> None:
    options = command_line(__doc__ or "", lr=2e-3, lr_end=2e-5).parse_args()
    prepare_torch(options.threads)
    train(VerifierTask(options.init), options)


if __name__ == "__main__":
    main()
