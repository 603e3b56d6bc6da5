"""What the service replies, held against its documentation: anything else is named in one line."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from annotate.data.printable import printable
from annotate.errors import MediaError

Number = Annotated[float, Field(allow_inf_nan=False)]
R = TypeVar("R", bound=BaseModel)


class _Reply(BaseModel):
    """Keys that are not documented are let pass, types are not converted."""

    model_config = ConfigDict(strict=True, frozen=True)


class Found(_Reply):
    """One object that the service found."""

    category: str
    score: Annotated[float, Field(ge=0, le=1)]
    bbox: Annotated[list[Number], Field(min_length=4, max_length=4)]  # xyxy px, as it was sent
    mask: Any = None  # {counts, size: [h, w], format}; what is wrong with it costs only itself


class Result(_Reply):
    """What a task that succeeded came to."""

    objects: list[Found]


class Accepted(_Reply):
    """A task that was begun. Its id becomes a part of a url."""

    task_uuid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class Task(_Reply):
    """How far a task is."""

    status: Literal["waiting", "running", "success", "failed"]
    error: Any = None
    result: Any = None


def read(kind: type[R], said: Any, at: str) -> R:
    """A part of a reply. MediaError names the first value that is not as documented."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([at, *map(str, first["loc"])])
        value = repr(first["input"])
        shown = value if len(value) <= 80 else f"{value[:77]}..."
        raise MediaError(
            f"the service's answer is not as documented: {place} is {printable(shown)}"
        ) from None
