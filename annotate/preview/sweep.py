"""How many boxes each class and each phrase would have from one score on or another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annotate.data.printable import printable
from annotate.data.types import ClassList
from annotate.preview.look import Look, Phrases

STEPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)


class Sweep:
    """Adds pictures up; `table` says what they came to."""

    def __init__(self, classes: ClassList, phrases: Phrases, threshold: float) -> None:
        self._classes, self._phrases = classes, phrases
        self._limits = classes.thresholds(threshold)
        self._steps = np.array(sorted({*STEPS, round(threshold, 4)}))
        self._of_class = np.zeros((len(classes), len(self._steps)), int)
        self._of_phrase = np.zeros((len(phrases.texts), len(self._steps)), int)
        self._alone = np.zeros(len(phrases.texts), int)
        self._best = np.zeros(len(phrases.texts), np.float32)
        self._pictures = 0

    def add(self, look: Look) -> None:
        """One more picture."""
        self._pictures += 1
        passing = look.scores[:, None] >= self._steps - 1e-6  # (n, steps)
        np.add.at(self._of_phrase, look.phrase_ids, passing)
        kept = look.best_of_class
        np.add.at(self._of_class, look.class_ids[kept], passing[kept])
        np.maximum.at(self._best, look.phrase_ids, look.scores)
        sure = kept & (look.scores >= np.array(self._limits)[look.class_ids])
        np.add.at(self._alone, look.phrase_ids[sure], 1)

    def table(self, threshold: float) -> str:
        """For a terminal: boxes from each score on, per class, and per phrase where it has more.

        The column of the threshold is marked. `adds`: boxes at the threshold of the class that the
        phrase found better than the others did.
        """
        rows: list[tuple[str, npt.NDArray[np.int_], str]] = []
        for class_id, spec in enumerate(self._classes.classes):
            of_it = [n for n, c in enumerate(self._phrases.class_of) if c == class_id]
            best = f"{self._best[of_it].max(initial=0):.2f}"
            rows.append((spec.name, self._of_class[class_id], best))
            if len(of_it) > 1:
                rows += [
                    (
                        f"  {self._phrases.texts[n]}",
                        self._of_phrase[n],
                        f"{self._best[n]:.2f}  {self._alone[n]:>4}",
                    )
                    for n in of_it
                ]
        width = max(len(name) for name, _, _ in [*rows, ("boxes from", None, "")])
        head = "  ".join(f"{s:>5g}{'*' if abs(s - threshold) < 1e-6 else ' '}" for s in self._steps)
        lines = [f"{'boxes from':<{width}}  {head}  best  adds"]
        for name, counts, said in rows:
            cells = "  ".join(f"{n:>5} " for n in counts)
            lines.append(f"{name:<{width}}  {cells}  {said}".rstrip())
        lines.append(f"on {self._pictures:,} pictures; * threshold; phrases by themselves")
        return "\n".join(map(printable, lines))
