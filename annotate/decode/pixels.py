"""Pictures that people hand over in memory, checked: arrays and Pillow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageOps

from annotate.data.types import Image
from annotate.decode.image import is_deep
from annotate.errors import PixelsError

WANTED = "RGB uint8 (h, w, 3)"


def pixels_of(given: object, name: str) -> Image:
    """A copy of a picture as RGB uint8 (h, w, 3); one of Pillow's is made upright.

    Raises PixelsError, which begins with `name`, for what is no picture of 8 bits and three
    channels: what each value means is for the caller to say.
    """
    if isinstance(given, PilImage.Image):
        if is_deep(given):
            raise PixelsError(
                f"{name}: a Pillow image of mode {given.mode}, more than 8 bits; give the path of "
                f"its file, which is scaled by decode.depth, or {WANTED}"
            )
        given = ImageOps.exif_transpose(given).convert("RGB")
    if given is None:
        raise PixelsError(
            f"{name}: None is no picture (OpenCV returns it for what it cannot read); "
            "give the path itself"
        )
    if not hasattr(given, "__array__") and not hasattr(given, "__array_interface__"):
        raise PixelsError(
            f"{name}: {type(given).__name__} is no picture; give a path, {WANTED}, or a Pillow "
            "image"
        )
    values = np.array(given)
    if ways := [way for way in (_shape_way(values), _value_way(values)) if way]:
        size = ", ".join(map(str, values.shape))
        raise PixelsError(
            f"{name}: {values.dtype} ({size}), expected {WANTED}; {', then '.join(ways)}"
        )
    return values


def _shape_way(values: npt.NDArray[Any]) -> str:
    """How to come to (h, w, 3); "" where it is."""
    shape = values.shape
    if not values.size:
        return "it is empty"
    if values.ndim == 2:
        return "grey: np.stack([image] * 3, axis=-1)"
    if values.ndim == 4:
        return "several pictures: give them one by one"
    if values.ndim != 3:
        return "no picture has this shape"
    if shape[2] == 3:
        return ""
    if shape[0] in (1, 3, 4) and shape[2] not in (1, 4):
        return "channels come last: image.transpose(1, 2, 0)"
    if shape[2] == 1:
        return "grey: np.repeat(image, 3, axis=2)"
    if shape[2] == 4:
        return "of RGBA image[..., :3], of OpenCV's BGRA image[..., 2::-1]"
    return f"it has {shape[2]} channels: choose three"


def _value_way(values: npt.NDArray[Any]) -> str:
    """How to come to 8 bits; "" where it has them."""
    if values.dtype == np.uint8 or not values.size:
        return ""
    if values.dtype.kind == "b":
        return "image.astype(np.uint8) * 255"
    if values.dtype.kind == "f":
        if np.nanmax(values) <= 1:
            return "(image * 255).round().astype(np.uint8)"
        return "image.round().clip(0, 255).astype(np.uint8) if white is 255"
    if values.dtype.kind in "iu":
        if values.min() >= 0 and values.max() <= 255:
            return "image.astype(np.uint8)"
        return "(image >> 8).astype(np.uint8) if white is 65535"
    return "its values are no numbers"
