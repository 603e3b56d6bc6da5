"""SigLIP 2 (arXiv 2502.14786), as transformers ships it: which class a crop looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt

from annotate.config.settings import NotNegative, Share
from annotate.data.checks import within
from annotate.data.types import ClassList, Image, Instance, spoken
from annotate.errors import ConfigError, PromptError
from annotate.models.layouts import CheckpointSource
from annotate.verify.base import Verifier
from annotate.verify.crops import crop_of

if TYPE_CHECKING:
    from torch import Tensor

TEXTS_AT_ONCE = 256  # through the text encoder


class Siglip2(Verifier):
    """A siglip checkpoint of one input size, such as SigLIP and the FixRes ones of SigLIP 2.

    The opinion is the share of an instance's class among all classes of the list and `others`:
    the softmax of the logits of each one's best phrase. The sigmoid that the model was trained
    with says whether a text goes with a whole picture, and is near 0 for most crops.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        template: str,
        others: list[str],
        room: Annotated[NotNegative, within(0, 4)],
        outside: Share,
        device: str,
    ) -> None:
        if template.count("{}") != 1:
            raise ConfigError(f"verify.template={template!r}: needs one {{}} for the phrase")
        self._source = CheckpointSource(model=model, revision=revision)
        self._template, self._others = template, others
        self._room, self._outside, self._device = room, outside, device
        self._provenance: Mapping[str, Any] = {}
        self._model: Any = None

    @property
    def source(self) -> CheckpointSource:
        """Where the weights come from."""
        return self._source

    def load(self, classes: ClassList) -> None:
        """Load the weights, and encode the phrases, which no picture changes. See Verifier."""
        import torch

        from annotate.models.devices import choose_device
        from annotate.models.transformers_checkpoint import load_checkpoint

        self._on = choose_device(self._device)
        kinds = ("SiglipModel", "AutoProcessor")
        if self._model is None:
            self._model, self._processor, provenance = load_checkpoint(
                self._source, self._on, "SigLIP 2", ("siglip",), kinds
            )
            self._provenance = asdict(provenance)
        self.parameters = sum(p.numel() for p in self._model.parameters())
        self._scale = float(self._model.logit_scale.exp())
        texts = [spec.phrases or (spec.name,) for spec in classes.classes]
        texts += [(other,) for other in self._others]
        self._groups = torch.tensor(_padded(texts), device=self._on)
        said = [self._template.format(spoken(text).lower()) for own in texts for text in own]
        with torch.inference_mode():
            self._texts = torch.cat(
                [
                    self._encoded(said[at : at + TEXTS_AT_ONCE])
                    for at in range(0, len(said), TEXTS_AT_ONCE)
                ]
            )

    def opinions(
        self, image: Image, instances: Sequence[Instance], at_once: int
    ) -> npt.NDArray[np.float32]:
        """See Verifier."""
        import torch

        found = [np.zeros(0, np.float32)]
        for at in range(0, len(instances), at_once):
            some = instances[at : at + at_once]
            crops = [crop_of(image, i, room=self._room, outside=self._outside) for i in some]
            with torch.inference_mode():
                shares = shares_of(self._seen(crops) @ self._texts.T, self._groups, self._scale)
            own = torch.tensor([i.class_id for i in some], device=self._on)
            found.append(shares[torch.arange(len(some)), own].cpu().numpy())
        return np.concatenate(found)

    def _seen(self, crops: Sequence[Image]) -> Tensor:
        """Crops as unit vectors (n, d)."""
        import torch

        from annotate.models import precision

        pixels = [torch.from_numpy(crop).to(self._on).permute(2, 0, 1) for crop in crops]
        prepared = self._processor.image_processor(
            images=pixels, return_tensors="pt", input_data_format="channels_first"
        )["pixel_values"]
        with precision.autocast(self._on):
            seen: Tensor = self._model.get_image_features(pixel_values=prepared).pooler_output
        return torch.nn.functional.normalize(seen.float(), dim=-1)

    def _encoded(self, texts: Sequence[str]) -> Tensor:
        """Texts as unit vectors (n, d). Raises PromptError for one that is too long to be read."""
        import torch

        tokenizer = self._processor.tokenizer
        length = self._model.config.text_config.max_position_embeddings
        for text, tokens in zip(texts, tokenizer(list(texts))["input_ids"], strict=True):
            if len(tokens) > length:
                raise PromptError(
                    f"phrase {text!r}: {len(tokens)} tokens with verify.template, more than "
                    f"SigLIP 2's {length}; shorten it"
                )
        read = tokenizer(list(texts), return_tensors="pt", padding="max_length", max_length=length)
        ids = read["input_ids"].to(self._on)
        encoded: Tensor = self._model.get_text_features(input_ids=ids).pooler_output
        return torch.nn.functional.normalize(encoded.float(), dim=-1)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The weights."""
        return self._provenance


def shares_of(likeness_np: Tensor, groups_cm: Tensor, scale: float) -> Tensor:
    """Shares (n, c) of classes from the likeness of n crops to p phrases, cosines.

    A row of `groups_cm` has the positions of one class's phrases, filled up with p; of a class the
    best phrase counts. Nothing is scattered, in which a GPU may be in another order each time.
    """
    import torch

    known = torch.nn.functional.pad(likeness_np, (0, 1), value=-torch.inf)
    return (known[:, groups_cm].amax(-1) * scale).softmax(-1)


def _padded(texts: Sequence[Sequence[str]]) -> list[list[int]]:
    """Positions of each one's texts in all of them, rows of one length; see `shares_of`."""
    count, longest = sum(map(len, texts)), max(map(len, texts))
    numbers = iter(range(count))
    rows = [list(islice(numbers, len(own))) for own in texts]
    return [[*row, *[count] * (longest - len(row))] for row in rows]
