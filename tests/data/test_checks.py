"""A range says itself, as an annotation."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from annotate.data.checks import within

LIMITS = [
    ((0,), -0.5, ">= 0"),
    ((0, 1), 1.5, "0..1"),
    ((0.05, 1), float("nan"), "0.05..1"),
    ((1, 64_000), 0, "1..64000"),
]


@pytest.mark.parametrize(("limits", "value", "text"), LIMITS)
def test_an_annotation_refuses_with_its_range_alone(
    limits: tuple[float, ...], value: float, text: str
) -> None:
    number = TypeAdapter(Annotated[float, within(*limits)])
    assert number.validate_python(limits[0]) == limits[0]
    assert number.validate_python(limits[-1]) == limits[-1]
    with pytest.raises(ValidationError) as refused:
        number.validate_python(value)
    (error,) = refused.value.errors()
    assert (error["type"], str(error["ctx"]["error"])) == ("value_error", text)


def test_a_whole_number_stays_one() -> None:
    number = TypeAdapter(Annotated[int, within(1)])
    assert isinstance(number.validate_python(3), int)
