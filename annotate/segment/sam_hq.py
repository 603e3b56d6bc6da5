"""SAM-HQ (arXiv 2306.01567), as transformers ships it."""

from __future__ import annotations

from annotate.segment.sam_family import TransformersSam


class SamHQ(TransformersSam):
    """SAM with finer edges: its mask and that of the HQ token, added. No memory for videos."""

    network = "SamHQModel"
    types = ("sam_hq",)
