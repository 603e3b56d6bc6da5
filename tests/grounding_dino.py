"""A Grounding DINO as its grounder loads it, for tests of what lies below that."""

import torch

from annotate.ground.grounding_dino import GroundingDino
from annotate.models.layouts import CheckpointSource
from annotate.models.transformers_checkpoint import load_checkpoint


def load_grounding_dino(source: CheckpointSource, device: torch.device):
    """Model, processor and provenance."""
    return load_checkpoint(
        source, device, GroundingDino.what, GroundingDino.types, GroundingDino.kinds
    )
