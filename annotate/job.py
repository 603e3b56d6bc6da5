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

from annotate import dataset, export, records, summary
from annotate.config import AnnotateCommand
from annotate.demo import ensure_demo
from annotate.prompts import load_prompts
from annotate.run_folder import Run
from annotate.types import ClassList, FrameRecord, Item

log = logging.getLogger(__name__)

CONTACT_TILES = 16


def annotate_dataset(settings: AnnotateCommand) -> summary.Summary:
    """Annotate what has no record yet, export, and sum up; raises AnnotateError when it cannot.

    Whatever can be wrong with the asking is found before the first frame is read.
    """
    export.check(settings)
    if settings.dataset.kind == "demo":
        ensure_demo(Path(settings.dataset.path))
    classes = load_prompts(settings.prompts)
    found = dataset.discover(settings.dataset.path, kind=_kind(settings))
    run = Run.start(_run_folder(settings), found.root, classes, _asked(settings))
    log_to(run.path)
    summary.clear(run.path)
    done = records.done_items(run.records_dir)
    pending = [i for i in found.items if i.name not in done]
    log.info("%d items, %d to do, in %s", len(found.items), len(pending), found.root)
    seconds: Counter[str] = Counter()
    if pending:
        _annotate(settings, classes, pending, run, seconds)
    start = time.perf_counter()
    exports = export.export_run(run, settings)
    if settings.contact_sheet or settings.render:
        _draw(run, settings)
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
        models=run.weights(),
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


def _annotate(
    settings: AnnotateCommand,
    classes: ClassList,
    pending: Sequence[Item],
    run: Run,
    seconds: Counter[str],
) -> None:
    """Load the models and work through the items."""
    # Imported here: a wrong command, a finished run or an export need not wait for torch.
    from annotate.assemble import build_pipeline, runner_rules
    from annotate.runner import run_items

    start = time.perf_counter()
    rules = runner_rules(settings)
    pipeline, provenance = build_pipeline(settings, classes)
    run.made_with({role: asdict(p) for role, p in provenance.items()})
    seconds["load"] = time.perf_counter() - start  # type: ignore[assignment]
    start = time.perf_counter()
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
    seconds["annotate"] = time.perf_counter() - start  # type: ignore[assignment]
    seconds.update(pipeline.seconds)


def _draw(run: Run, settings: AnnotateCommand) -> None:
    """Pictures for people: `contact_sheet.png`, and `media/` on request."""
    from annotate import render

    threshold = settings.threshold
    if settings.contact_sheet:
        frames = render.frames_worth_seeing(run, threshold=threshold)
        path = run.path / "contact_sheet.png"
        render.write_contact_sheet(path, frames, run.classes, tiles=CONTACT_TILES)
    if settings.render:
        render.render_run(run, threshold=threshold)


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


def _kind(settings: AnnotateCommand) -> str:
    return "auto" if settings.dataset.kind == "demo" else settings.dataset.kind


def _run_folder(settings: AnnotateCommand) -> Path:
    if settings.out:
        return dataset.expand(settings.out)
    path = dataset.expand(settings.dataset.path)
    fixed = next((p for p in (path, *path.parents) if not set(p.name) & set("*?[")), path)
    name = fixed.resolve().name if fixed.is_dir() else fixed.stem
    return Path("runs") / (settings.dataset.name or name or "dataset")


def _asked(settings: AnnotateCommand) -> dict[str, Any]:
    """What decides the records: where it runs and how it is batched do not."""
    ground = {k: v for k, v in asdict(settings.ground).items() if k != "batch"}
    segment = {k: v for k, v in asdict(settings.segment).items() if k != "max_pixels"}
    return {
        "kind": _kind(settings),
        "ground": ground,
        "segment": segment,
        "track": asdict(settings.track),
        "video": asdict(settings.video),
    }
