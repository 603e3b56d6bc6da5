"""SAM 2 and 2.1 (arXiv 2408.00714), from checkpoints in the layout of transformers."""

from __future__ import annotations

from annotate.segment.sam_family import TransformersSam


class Sam2Transformers(TransformersSam):
    """SAM 2 on single pictures; `annotate.segment.sam2` has its memory for videos."""

    network = "Sam2Model"
    types = ("sam2", "sam2_video")  # a checkpoint for videos has all that pictures need
