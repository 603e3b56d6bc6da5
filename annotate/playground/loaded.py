"""The models of the process that does the page's tasks: they stay from one to the next."""

from __future__ import annotations

from dataclasses import dataclass

from annotate.config.settings import AnnotateCommand
from annotate.data.types import ClassList
from annotate.runner.build import KeptModels, build_worker, make_models
from annotate.runner.pipeline import Pipeline
from annotate.runner.plan import Plan
from annotate.runner.terminal import complain
from annotate.runner.worker import Worker
from annotate.segment.base import Segmenter


@dataclass(frozen=True, slots=True)
class _Last:
    """What was asked last, and the models that it was asked of."""

    settings: AnnotateCommand
    classes: ClassList
    pipeline: Pipeline


_kept = KeptModels()
_last: _Last | None = None


def worker(asked: Plan) -> Worker:
    """Who does the work, with models of which only those are loaded that were not."""
    global _last
    settings = asked.settings
    complain(f"loading {settings.grounder.shown}, {settings.segmenter.shown}")
    _last = None  # its models may have to make room
    made = build_worker(settings, asked.classes, _kept)
    _last = _Last(settings, asked.classes, made.pipeline)
    return made


def pipeline(asked: Plan) -> Pipeline:
    """The models themselves, as they are where the same was asked last."""
    if _last is None or (_last.settings, _last.classes) != (asked.settings, asked.classes):
        return worker(asked).pipeline
    return _last.pipeline


def segmenter(asked: Plan) -> Segmenter:
    """That of the pipeline."""
    return make_models(asked.settings, _kept)[1]
