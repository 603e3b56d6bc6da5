"""What a verifier is: a second opinion on the class of each instance, from its own pixels.

It changes no mask and no score. What it says is `Instance.verified`: a signal for review, and from
a class's `veto` on a reason to leave an instance out of exports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from annotate.data.types import ClassList, Image, Instance
from annotate.models.provenance import of_class


class Verifier(ABC):
    """Says how well instances fit their classes.

    The parameters of `__init__` are the keys of its config; they are checked by their annotations.
    Making one must cost nothing: weights come with `load`.
    """

    decides_nothing: ClassVar[tuple[str, ...]] = ("device",)
    """Parameters that a resume may change; the kind of device is noted by itself."""

    is_none: ClassVar[bool] = False
    """Whether it has no opinion, and is not asked for one."""

    @abstractmethod
    def load(self, classes: ClassList) -> None:
        """Make ready; for other classes again, where what is loaded already should stay.

        Raises WeightsError, and PromptError for an odd phrase.
        """

    @abstractmethod
    def opinions(
        self, image: Image, instances: Sequence[Instance], at_once: int
    ) -> npt.NDArray[np.float32]:
        """How well each instance fits its class, (n,) 0..1, in a picture RGB uint8 (h, w, 3).

        `at_once`: instances in one pass at most. What is said of one must not depend on the others.
        """

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Which weights answer, for the run's record. After `load`."""
        return of_class(type(self))


class NoVerifier(Verifier):
    """No second opinion."""

    is_none = True

    def load(self, classes: ClassList) -> None:
        """See Verifier."""

    def opinions(
        self, image: Image, instances: Sequence[Instance], at_once: int
    ) -> npt.NDArray[np.float32]:
        """See Verifier: it is never asked."""
        raise NotImplementedError("verify=none has no opinion")
