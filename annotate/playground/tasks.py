"""What the process with the models does for the page.

`loaded`, which holds them, is imported by what needs it: the page itself has no use for torch.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, ExportCommand
from annotate.data.decisions import Decision
from annotate.data.types import FrameRecord
from annotate.errors import ConfigError
from annotate.playground.results import frame_of
from annotate.record import reviews
from annotate.record.run_folder import Run
from annotate.report.render import render_run
from annotate.runner.exports import export_run, make_exporters
from annotate.runner.job import carry_out
from annotate.runner.plan import Plan, plan
from annotate.runner.terminal import complain

FORMATS = ("coco", "yolo_seg")
QUIETLY = ("export=[]", "contact_sheet=false", "runner.progress_s=0.5")
Point = tuple[float, float, bool]  # px, and whether it is on the object


def annotate(words: Sequence[str]) -> None:
    """The command itself. Raises AnnotateError."""
    from annotate.playground import loaded

    sys.argv = ["annotate", *words]  # for the run's log
    carry_out(_planned(words), loaded.worker)


def add_object(
    words: Sequence[str],
    run: Path,
    new: Decision,
    record: FrameRecord,
    points: Sequence[Point],
) -> int:
    """Decide that there is one more object, whose mask SAM 2 finds at points of a frame.

    In a clip it is followed both ways. How many frames have it now; 0: nothing is there. Raises
    ConfigError for a segmenter that takes boxes alone.
    """
    from annotate.playground import loaded
    from annotate.review.repropagate import repropagate

    asked = _planned(words)
    pipeline = loaded.pipeline(asked)
    if not pipeline.takes_points:
        raise ConfigError("This segmenter takes boxes alone; a preset's SAM 2 takes points.")
    opened = Run.open(run)
    cut = pipeline.mask_at(frame_of(opened, record), points)
    if cut is None:
        return 0
    drawn = replace(new, mask=cut.mask)
    follow: list[Decision] = []
    if record.media == "video":
        complain("following it through the clip")
        segmenter = loaded.segmenter(asked)
        made = [*opened.reviews(), drawn]
        follow = repropagate(opened, made, lambda: segmenter, asked.settings.segment)
    reviews.write(opened.reviews_dir, [drawn, *follow])
    return 1 + len(follow)


def draw(run: Path, threshold: float) -> Path:
    """The annotated clip, playable, or picture."""
    complain("drawing it")
    opened = Run.open(run)
    shutil.rmtree(run / "media", ignore_errors=True)
    render_run(opened, threshold=threshold)
    (made,) = (path for path in (run / "media").rglob("*") if path.is_file())
    return made.rename(run / f"annotated{made.suffix}")


def export(run: Path, threshold: float) -> list[Path]:
    """COCO and YOLO-seg with their pictures, each as a zip."""
    complain(f"writing {' and '.join(FORMATS)}")
    words = [f"run={run}", f"threshold={threshold:g}", f"export=[{','.join(FORMATS)}]"]
    command = typed(compose([*words, "export.media=copy"], "export"), ExportCommand)
    exporters = make_exporters(command)
    export_run(Run.open(run), exporters, command)
    return [
        Path(shutil.make_archive(str(run.parent / name), "zip", run / "exports" / name))
        for name in exporters
    ]


def _planned(words: Sequence[str]) -> Plan:
    return plan(typed(compose([*words, *QUIETLY], "config"), AnnotateCommand))
