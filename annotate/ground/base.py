"""What a grounder is: it takes a class list, then finds boxes with class, phrase and score.

Floor, non-maximum suppression, margins and the best-so-many are not a grounder's business: see
`annotate.ground.select`. One more grounder is a class made from `Grounder` and a yaml that names
it: docs/extending.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from annotate.data.types import ClassList, Frame, Image, Rle
from annotate.models.provenance import of_class

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a grounder finds in one picture; row i of every field is one box.

    Arrays may be numpy's or torch's, on any device. One place may be several candidates, of one
    class or of several. Masks are of the whole picture, None for a box that came without one.
    """

    boxes_xyxy: Tensor | Any  # (m, 4) float, px of the picture; what leaves it is clipped
    scores: Tensor | Any  # (m,) float, 0..1
    class_ids: Tensor | Any  # (m,) int, index into the class list
    phrases: Sequence[str]  # (m,) the text that found each
    masks: Sequence[Rle | None] | None = None  # (m,) at the picture's size, of a model with masks
    agreements: Any = None  # (m,) float, share of several grounders that found each, 0..1


class Grounder(ABC):
    """Finds the classes of a class list in pictures.

    The parameters of `__init__` are the keys of its config; they are checked by their annotations.
    Making one must cost nothing: weights, connections and all that can be missing come with `load`.
    """

    decides_nothing: ClassVar[tuple[str, ...]] = ("device",)
    """Parameters that a resume may change; the kind of device is noted by itself."""

    services: ClassVar[tuple[str, ...]] = ()
    """Parameters that are urls of services, which it calls itself; no others are let pass."""

    has_scores: ClassVar[bool] = True
    """Whether scores are its own. If not, they are 1, and no threshold tells boxes apart."""

    takes_examples: ClassVar[bool] = False
    """Whether it finds what looks like the examples of a class (`ClassSpec.like`)."""

    @abstractmethod
    def load(self, classes: ClassList) -> None:
        """Make ready to find these classes; called before `find`.

        It may be called again, for other classes: what is loaded already should stay.
        Raises WeightsError, and PromptError that names the phrase which cannot be read.
        """

    @abstractmethod
    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """Candidates of each picture, RGB uint8 (h, w, 3), all of one size, scored `floor` or more.

        What is found in a picture must not depend on the others. Where memory runs out, the error
        is let pass: it is tried again with fewer pictures. MediaError says that one of the pictures
        cannot be had, and has them asked for one by one; ServiceError ends the run.
        """

    def find_in(self, frames: Sequence[Frame], floor: float) -> list[Candidates]:
        """As `find`, by frames, for a grounder that must know which pictures they are."""
        return self.find([frame.image for frame in frames], floor)

    def tiled(self, wrap: Callable[[Grounder], Grounder]) -> Grounder:
        """Itself as it is shown pictures in tiles, which `wrap` does for one grounder."""
        return wrap(self)

    def check(self) -> None:
        """Raise ConfigError for what this machine lacks and nobody can fetch, such as a key.

        Called before there is a run folder.
        """
        return None

    def keep_in(self, folder: Path) -> None:
        """Keep what `find` pays for in this run folder, where the same request finds it again."""
        return None

    @property
    def parts(self) -> Sequence[Grounder]:
        """The grounders that it is made of; itself where it is one."""
        return (self,)

    @property
    def tally(self) -> Mapping[str, int]:
        """What it has counted so far, for the log."""
        return {}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Which weights or service answer, for the run's record. After `load`."""
        return of_class(type(self))
