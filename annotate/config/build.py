"""From settings to loaded models: where the rooms of the pipeline are put together."""

from __future__ import annotations

from dataclasses import asdict

import torch

from annotate.config.settings import AnnotateCommand, ModelsCommand
from annotate.data.types import ClassList
from annotate.ground.grounding_dino import GroundingDino
from annotate.ground.select import Grounder, GroundRules
from annotate.models.devices import choose_device
from annotate.models.hub import Provenance
from annotate.models.memory_limit import Backoff, over
from annotate.models.sam2_checkpoint import SegmenterSource, load_sam2
from annotate.models.transformers_checkpoint import GrounderSource, load_grounding_dino
from annotate.runner.pipeline import Pipeline, VideoRules
from annotate.runner.worker import RunnerRules, Worker
from annotate.segment.finishing import SegmentRules
from annotate.segment.sam2 import Sam2Image
from annotate.track.matching import TrackRules


def sources(settings: AnnotateCommand | ModelsCommand) -> tuple[GrounderSource, SegmenterSource]:
    """Where the weights that the settings name come from."""
    ground, segment = settings.ground, settings.segment
    return (
        GrounderSource(model=ground.model, revision=ground.revision),
        SegmenterSource(
            model=segment.model,
            checkpoint=segment.checkpoint,
            architecture=segment.architecture,
            revision=segment.revision,
        ),
    )


def build_pipeline(
    settings: AnnotateCommand, classes: ClassList
) -> tuple[Pipeline, dict[str, Provenance]]:
    """Load the models that the settings name and set them up for a class list."""
    device = choose_device(settings.device)
    if settings.runner.threads:
        torch.set_num_threads(settings.runner.threads)
    ground, segment = settings.ground, settings.segment
    grounder_source, segmenter_source = sources(settings)
    model, processor, grounder_from = load_grounding_dino(grounder_source, device)
    sam, segmenter_from = load_sam2(segmenter_source, device)
    ground_rules = GroundRules(
        floor=ground.floor,
        pooling=ground.pooling,
        nms_iou=ground.nms_iou,
        cross_class_iou=ground.cross_class_iou,
        max_detections=ground.max_detections,
    )
    segment_rules = SegmentRules(
        speck_share=segment.speck_share,
        hole_share=segment.hole_share,
        max_pixels=segment.max_pixels,
    )
    dino = GroundingDino(model, processor, device=device, pooling=ground.pooling)
    crowded = over(settings.runner.max_ram_gb)
    images, boxes, objects = (Backoff(w, crowded=crowded) for w in ("images", "boxes", "objects"))
    pipeline = Pipeline(
        Grounder(dino, classes, ground_rules, at_once=images),
        Sam2Image(sam, device=device, at_once=boxes),
        segment_rules,
        VideoRules(
            every=ground.every,
            batch=batch_size(settings),
            track=TrackRules(**asdict(settings.track)),
        ),
        objects_at_once=objects,
    )
    return pipeline, {"ground": grounder_from, "segment": segmenter_from}


def build_worker(settings: AnnotateCommand, classes: ClassList) -> Worker:
    """Load the models into a worker that does units in this process."""
    rules = runner_rules(settings)
    pipeline, provenance = build_pipeline(settings, classes)
    return Worker(pipeline, rules, {role: asdict(p) for role, p in provenance.items()})


def runner_rules(settings: AnnotateCommand) -> RunnerRules:
    """How the settings cut and feed the work."""
    return RunnerRules(
        workers=settings.runner.workers,
        ahead=settings.runner.ahead,
        batch=batch_size(settings),
        max_pixels=settings.dataset.max_pixels,
        stride=settings.video.stride,
        checkpoint_frames=settings.runner.checkpoint_frames,
        max_ram_gb=settings.runner.max_ram_gb,
    )


def batch_size(settings: AnnotateCommand) -> int:
    """Images per forward: what was asked, else what suits the device."""
    return settings.ground.batch or (8 if choose_device(settings.device).type == "cuda" else 1)
