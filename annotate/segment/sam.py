"""The first SAM (arXiv 2304.02643), as transformers ships it."""

from __future__ import annotations

from annotate.segment.sam_family import TransformersSam


class Sam(TransformersSam):
    """Segment Anything, ViT-B, L or H. It has no memory for videos."""

    network = "SamModel"
    types = ("sam",)
