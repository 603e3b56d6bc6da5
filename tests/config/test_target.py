"""Classes that a config names: found, and made only if they are of the right kind."""

import pytest

from annotate.config.shipped import named_targets
from annotate.config.target import Target
from annotate.errors import ConfigError
from annotate.ground.base import Grounder
from annotate.ground.grounding_dino import GroundingDino

DINO = "annotate.ground.grounding_dino.GroundingDino"
OWN = {"model": "x", "revision": None, "pooling": "mean", "classes_at_once": None, "device": "cpu"}


def test_a_class_is_made_with_its_arguments():
    made = Target.from_node({"_target_": DINO, "floor": 0.1, **OWN}, "ground", apart=["floor"])
    assert made.arguments == OWN
    assert isinstance(made.make(Grounder), GroundingDino)


def test_what_decides_nothing_is_no_part_of_the_fingerprint():
    decides = Target("ground", DINO, OWN).deciding()
    assert decides == {"_target_": DINO} | {k: v for k, v in OWN.items() if k != "device"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("annotate.segment.sam2.Sam2", "must be made from annotate.ground.base.Grounder"),
        ("annotate.ground.nowhere.Model", "cannot be imported (No module named"),
        ("annotate.ground.base.Nobody", "annotate.ground.base has no class Nobody"),
        ("os.system", "os has no class system"),
        ("Model", "cannot be imported"),
    ],
)
def test_another_class_is_refused(name, says):
    with pytest.raises(ConfigError) as caught:
        Target("ground", name, {}).make(Grounder)
    assert str(caught.value).startswith(f"ground._target_={name}: ") and says in str(caught.value)


@pytest.mark.parametrize("node", [{}, {"model": "x"}, "x", None, {"_target_": 3}])
def test_a_node_without_a_class_is_refused(node):
    with pytest.raises(ConfigError, match=r"^ground: names no class; expected _target_: "):
        Target.from_node(node, "ground")


def test_a_module_that_breaks_is_one_line(tmp_path):
    (tmp_path / "broken_model.py").write_text("raise ValueError('two\\nlines')\n")
    with pytest.raises(ConfigError, match=r"cannot be imported \(two lines\)"):
        Target("ground", "broken_model.Model", {}, (str(tmp_path),)).locate()


def test_what_is_recorded_is_only_called_if_a_config_names_it():
    named = named_targets("ground")
    assert DINO in named and all(name.startswith("annotate.ground.") for name in named)
    assert Target.recorded({"_target_": DINO}, "ground", named=named).locate() is GroundingDino
    with pytest.raises(ConfigError, match=r"ground\._target_=os\.system, which no config here"):
        Target.recorded({"_target_": "os.system"}, "ground", named=named)
