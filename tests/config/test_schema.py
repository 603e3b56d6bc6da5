"""A signature is a schema: what fits becomes an argument, what does not is one line."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest

from annotate.config import schema
from annotate.data.checks import within
from annotate.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Inner:
    hidden: ClassVar[int] = 1
    share: Annotated[float, within(0, 1)]


@dataclass(frozen=True, slots=True)
class Outer:
    count: Annotated[int, within(1)]
    inner: Inner
    kind: Literal["a", "b"] = "a"
    name: str | None = None
    names: list[str] | None = None
    limit: Annotated[float, within(0)] | None = None
    flag: bool = False
    whatever: Any = None


def made(**values) -> Outer:
    return schema.checked(Outer, {"count": 1, "inner": {"share": 0.5}, **values})


def test_what_fits_is_converted():
    assert made(count="3", name=7, limit=2, names=["x"]) == Outer(
        3, Inner(0.5), name="7", names=["x"], limit=2.0
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"count": 0}, "count=0: expected >= 1"),
        ({"count": "many"}, "count=many: expected a whole number"),
        ({"count": 1.5}, "count=1.5: expected a whole number"),
        ({"count": True}, "count=true: expected a number"),
        ({"count": None}, "count=null: expected a whole number"),
        ({"count": schema.MISSING}, "count is not given: add count=VALUE"),
        ({"inner": {"share": 2}}, "inner.share=2: expected 0..1"),
        ({"inner": {"share": [1]}}, "inner.share=[1]: expected a number"),
        ({"inner": {}}, "inner.share is not given"),
        ({"inner": 3}, "inner=3: expected keys such as inner.KEY=VALUE"),
        (
            {"inner": {"share": 1, "shair": 2}},
            "inner.shair: no such key; did you mean inner.share?",
        ),
        ({"kind": "c"}, "kind=c: expected one of a, b"),
        ({"limit": -1}, "limit=-1: expected >= 0"),
        ({"flag": "perhaps"}, "flag=perhaps: expected true or false"),
        ({"names": "x"}, "names=x: expected a list"),
        ({"cuont": 1}, "cuont: no such key; did you mean count?"),
        ({"zzz": 1}, "zzz: no such key"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_key(values, says):
    with pytest.raises(ConfigError) as caught:
        made(**values)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_value_too_long_for_a_line_is_cut():
    with pytest.raises(ConfigError) as caught:
        made(count="x" * 500)
    assert len(str(caught.value)) < 150


def test_keys_go_into_nested_settings():
    assert schema.keys(Outer)[:3] == ["count", "inner", "inner.share"]


KNOWN = ["threshold", "prompts", "models", "dataset", "out", "export", "ground.floor", "coco.masks"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("treshold", "threshold"),
        ("Threshold", "threshold"),
        ("floor", "ground.floor"),
        ("ground.flor", "ground.floor"),
        ("masks", "coco.masks"),
        ("conf", "threshold"),
        ("model", "models"),
        ("classes", "prompts"),
        ("prompt", "prompts"),
        ("output", "out"),
        ("format", "export"),
    ],
)
def test_the_nearest_key_comes_first(typed, meant):
    assert schema.nearest(typed, KNOWN)[0] == meant


def test_nothing_is_near_to_nonsense():
    assert schema.nearest("xyzzy", KNOWN) == []
