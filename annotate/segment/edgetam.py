"""EdgeTAM (arXiv 2501.07256), as transformers ships it."""

from __future__ import annotations

from annotate.segment.sam_family import TransformersSam


class EdgeTam(TransformersSam):
    """EdgeTAM on single pictures: its memory for videos is not used.

    That memory is compressed by a perceiver, which is not the memory of `annotate.segment.sam2`.
    """

    network = "EdgeTamModel"
    types = ("edgetam", "edgetam_video")  # a checkpoint for videos has all that pictures need
