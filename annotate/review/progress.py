"""How far a review is, and what of it a run cannot carry out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from annotate.data.decisions import VERDICTS
from annotate.record.run_folder import Run
from annotate.review.dataset import ReviewDataset
from annotate.store import atomic

LISTED_CONFLICTS = 5


def lines(run: Run, datasets: Sequence[ReviewDataset]) -> Iterator[str]:
    """How far the review is, and which decisions the run cannot carry out any more."""
    for dataset in datasets:
        done = dataset.progress()
        tags = ", ".join(f"{done[verdict]} {verdict}" for verdict in VERDICTS)
        of = f"{done['of']} {dataset.kind}"
        yield f"{dataset.name}: {done['reviewed']} of {of} reviewed ({tags})"
    path = run.reviews_dir / "conflicts.txt"
    conflicts = list(run.decisions().conflicts(run.frames(), run.classes))
    if not conflicts:
        path.unlink(missing_ok=True)
        return
    atomic.write_text(path, "".join(f"{line}\n" for line in conflicts))
    where = run.shown("reviews/conflicts.txt")
    yield f"{len(conflicts)} decisions are in conflict, with the run or each other; see {where}:"
    yield from (f"  {line}" for line in conflicts[:LISTED_CONFLICTS])
