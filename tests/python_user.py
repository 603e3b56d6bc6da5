"""What a user of the package writes, for mypy to check in `make lint`; it is not run."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

import annotate
from annotate import Annotated, Annotator, FrameRecord, Instance, Run


def annotated(folder: str) -> Run:
    run = annotate.run(
        dataset=folder,
        prompts={"car": ["car", "red car"], "person": None, "dog": {"threshold": 0.4}},
        models="fast",
        ground__floor=0.05,
    )
    gates: dict[str, bool] = {gate.name: gate.passed for gate in run.summary.gates}
    held: int = sum(export.instances for export in run.summary.exports)
    print(gates, held, run.passed, annotate.__version__)
    return annotate.open_run(run.path)


def masks(run: Run) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    record: FrameRecord
    for record in run.frames():
        instance: Instance
        for instance in record.instances:
            yield instance.class_name, instance.mask.decode()


def looked_at(annotator: Annotator, frames: Iterator[npt.NDArray[np.uint8]]) -> list[Annotated]:
    try:
        records = annotator.video("clip.mp4", stride=2)
    except annotate.BrokenVideoError as error:
        print(error, len(error.records))
        return []
    picture: npt.NDArray[np.uint8] = annotator.image("photo.jpg").draw()
    records.extend(annotator.stream([picture]))
    records.extend(annotator.stream(frames, fps=25))
    print(records[0].to_supervision().confidence)
    return records


def misspelt() -> None:
    annotate.anotator  # type: ignore[attr-defined]  # noqa: B018
    annotate.open_run(3)  # type: ignore[arg-type]
