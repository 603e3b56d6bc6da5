"""A picture on its way to the service: made smaller, encoded, and known by a digest."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO

import numpy as np
from PIL import Image as PilImage

from annotate.data.types import Image


def digest(image: Image) -> str:
    """Of the pixels of a picture (h, w, 3) and its size."""
    made = hashlib.sha256(repr(image.shape).encode())
    made.update(np.ascontiguousarray(image).data)
    return made.hexdigest()


def sent_size(size_hw: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """The size (h, w) a picture is sent at: never larger than it is."""
    share = min(1.0, longest_side / max(size_hw))
    height, width = (max(1, round(side * share)) for side in size_hw)
    return height, width


def data_uri(image: Image, size_hw: tuple[int, int], jpeg_quality: int | None) -> str:
    """A picture (h, w, 3) at the size it is sent at, as a JPEG or, without a quality, as a PNG."""
    picture = PilImage.fromarray(np.ascontiguousarray(image))
    if picture.size != (size_hw[1], size_hw[0]):
        picture = picture.resize((size_hw[1], size_hw[0]), PilImage.Resampling.LANCZOS)
    file = BytesIO()
    if jpeg_quality is None:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=jpeg_quality)
    kind = "png" if jpeg_quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
