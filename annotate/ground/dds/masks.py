"""Masks as the service sends them, brought to the size of the picture they belong to."""

from __future__ import annotations

from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from annotate.data import geometry
from annotate.data.types import Rle

Coding = Literal["coco_rle", "dds_rle"]
ASKED: Coding = "coco_rle"


class _Mask(BaseModel):
    model_config = ConfigDict(strict=True)

    counts: str
    size: Annotated[list[int], Field(min_length=2, max_length=2)]  # h, w
    format: Coding = ASKED


def mask_of(said: object, sent_hw: tuple[int, int], size_hw: tuple[int, int]) -> Rle | None:
    """A mask of a picture that was sent at one size, in that picture; None where it is damaged.

    Damaged is: no mask as documented, one of another size than was sent, run lengths that do not
    fit, and a mask without a pixel.
    """
    try:
        mask = _Mask.model_validate(said)
    except ValidationError:
        return None
    by_row = mask.format == "dds_rle"
    wrong = geometry.wrong_run_lengths(mask.counts, sent_hw, open_end=by_row)
    if tuple(mask.size) != sent_hw or wrong:
        return None
    if not by_row and sent_hw == size_hw:
        made = mask.counts if geometry.run_lengths(mask.counts)[1::2].any() else ""
    else:
        pixels = _by_row(mask.counts, sent_hw) if by_row else None
        if pixels is None:
            pixels = geometry.decode_masks([mask.counts], sent_hw)[0]
        whole = _scaled(pixels, size_hw)
        made = geometry.encode_masks(whole[None])[0] if whole.any() else ""
    return Rle(made, size_hw) if made else None


def _by_row(counts: str, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The service's own coding: rows one after the other, whose last run may be left out."""
    runs = geometry.run_lengths(counts)
    flat = np.zeros(size_hw[0] * size_hw[1], bool)
    drawn = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    flat[: len(drawn)] = drawn
    return flat.reshape(size_hw)


def _scaled(mask_hw: npt.NDArray[np.bool_], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if mask_hw.shape == size_hw:
        return mask_hw
    shades = mask_hw.astype(np.uint8) * 255
    # Between pixels, as masks of a segmenter are made larger: the outline gets no steps.
    large = cv2.resize(shades, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large > 127)
