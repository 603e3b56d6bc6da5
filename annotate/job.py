"""The whole job of `python -m annotate`, from typed settings to a finished run folder."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

import exporters
from annotate import dataset, records, render, summary
from annotate.config import AnnotateCommand, CocoSettings, ExportSettings, ModelsCommand
from annotate.demo import ensure_demo
from annotate.ground import Grounder, GroundRules
from annotate.identity import TrackRules
from annotate.models.grounding_dino import GroundingDino
from annotate.models.sam2_image import Sam2Image
from annotate.models.weights import (
    GrounderSource,
    Provenance,
    SegmenterSource,
    choose_device,
    load_grounding_dino,
    load_sam2,
)
from annotate.pipeline import Pipeline, VideoRules
from annotate.prompts import load_prompts
from annotate.run_folder import Run
from annotate.runner import RunnerRules, run_items
from annotate.segment import SegmentRules
from annotate.types import ClassList, FrameRecord, Item

log = logging.getLogger(__name__)

CONTACT_TILES = 16


def annotate_dataset(settings: AnnotateCommand) -> summary.Summary:
    """Annotate what has no record yet, export, and sum up; raises AnnotateError when it cannot."""
    if settings.dataset.kind == "demo":
        ensure_demo(Path(settings.dataset.path))
    classes = load_prompts(settings.prompts)
    found = dataset.discover(settings.dataset.path, kind=_kind(settings))
    run = Run.start(_run_folder(settings), found.root, classes, _asked(settings))
    log_to(run.path)
    done = records.done_items(run.records_dir)
    pending = [i for i in found.items if i.name not in done]
    log.info("%d items, %d to do, in %s", len(found.items), len(pending), found.root)
    seconds: Counter[str] = Counter()
    models: dict[str, Any] = {}
    if pending:
        start = time.perf_counter()
        pipeline, provenance = build_pipeline(settings, classes)
        models = {role: asdict(p) for role, p in provenance.items()}
        seconds["load"] = time.perf_counter() - start  # type: ignore[assignment]
        start = time.perf_counter()
        _annotate_with_progress(settings, pending, pipeline, run)
        seconds["annotate"] = time.perf_counter() - start  # type: ignore[assignment]
        seconds.update(pipeline.seconds)
    start = time.perf_counter()
    exports = export_run(run, settings.export, settings.coco, settings.threshold)
    if settings.contact_sheet:
        draw_contact_sheet(run, settings.threshold)
    if settings.render:
        render.render_run(run, threshold=settings.threshold)
    seconds["export"] = time.perf_counter() - start  # type: ignore[assignment]
    counts = summary.count(run, settings.threshold)
    gate = summary.Gate(
        name="gates.max_failed",
        value=counts.failed,
        limit=settings.gates.max_failed,
        passed=counts.failed <= settings.gates.max_failed,
    )
    result = summary.Summary(
        status="done" if gate.passed else "gate_failed",
        exit_code=0 if gate.passed else 3,
        run=str(run.path),
        version=version("annotate"),
        models=models,
        items={
            "found": len(found.items),
            "new": len(pending),
            "before": len(found.items) - len(pending),
        },
        counts=counts,
        seconds={k: round(v, 3) for k, v in seconds.items()},
        gates=[gate],
        exports=exports,
    )
    result.write(run.path)
    return result


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
    pipeline = Pipeline(
        Grounder(dino, classes, ground_rules),
        Sam2Image(sam, device=device),
        segment_rules,
        VideoRules(
            every=ground.every, batch=_batch(settings), track=TrackRules(**asdict(settings.track))
        ),
    )
    return pipeline, {"ground": grounder_from, "segment": segmenter_from}


def export_run(
    run: Run, export: ExportSettings, coco: CocoSettings, threshold: float
) -> list[dict[str, Any]]:
    """Write every export format that is asked for."""
    options = exporters.ExportOptions(
        threshold=threshold,
        split=export.split or {},
        split_seed=export.split_seed,
        frames_stride=export.frames_stride,
        media=export.media,
        coco_masks=coco.masks,
        polygon_tolerance=coco.tolerance,
    )
    return [asdict(s) for s in exporters.export(run, export.formats, options)]


def draw_contact_sheet(run: Run, threshold: float) -> None:
    """`contact_sheet.png`: the first frames that have something to show."""
    path = run.path / "contact_sheet.png"
    frames = render.frames_worth_seeing(run, threshold=threshold)
    if render.write_contact_sheet(path, frames, run.classes, tiles=CONTACT_TILES):
        log.info("contact sheet: %s", path)


def log_to(folder: Path) -> None:
    """Append the log to `run.log` in the run folder."""
    handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("annotate", "exporters"):
        house = logging.getLogger(name)
        for old in house.handlers[:]:
            house.removeHandler(old)
            old.close()
        house.addHandler(handler)
        house.setLevel(logging.INFO)
        house.propagate = False


def _annotate_with_progress(
    settings: AnnotateCommand, pending: Sequence[Item], pipeline: Pipeline, run: Run
) -> None:
    rules = RunnerRules(
        part_items=settings.runner.part_items,
        workers=settings.runner.workers,
        ahead=settings.runner.ahead,
        batch=_batch(settings),
        max_pixels=settings.dataset.max_pixels,
        stride=settings.video.stride,
    )
    with tqdm(total=len(pending), unit="item", mininterval=1.0, dynamic_ncols=True) as bar:
        tally = Counter(frames=0, failed=0)

        def on_record(record: FrameRecord) -> None:
            tally["frames"] += record.status == "ok"
            tally["failed"] += record.status == "failed"
            bar.set_postfix(tally, refresh=False)
            bar.update(record.media == "image")

        def on_video(item: Item) -> None:
            bar.update()

        run_items(pending, pipeline, run.records_dir, rules, on_record=on_record, on_video=on_video)


def _batch(settings: AnnotateCommand) -> int:
    return settings.ground.batch or (8 if choose_device(settings.device).type == "cuda" else 1)


def _kind(settings: AnnotateCommand) -> str:
    return "auto" if settings.dataset.kind == "demo" else settings.dataset.kind


def _run_folder(settings: AnnotateCommand) -> Path:
    if settings.out:
        return Path(settings.out)
    path = Path(settings.dataset.path)
    fixed = next((p for p in (path, *path.parents) if not set(p.name) & set("*?[")), path)
    return Path("runs") / (settings.dataset.name or fixed.resolve().stem or "dataset")


def _asked(settings: AnnotateCommand) -> dict[str, Any]:
    """What decides the records: where it runs and how it is batched do not."""
    ground = {k: v for k, v in asdict(settings.ground).items() if k != "batch"}
    segment = {k: v for k, v in asdict(settings.segment).items() if k != "max_pixels"}
    return {
        "ground": ground,
        "segment": segment,
        "track": asdict(settings.track),
        "video": asdict(settings.video),
    }
