"""Gates are judged, and named where they fail."""

import json
import shutil

import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.errors import ConfigError
from annotate.runner import job
from tests.small_runs import run


def test_gates_are_judged_and_named(stills, demo, tmp_path):
    result = run(stills, tmp_path / "run", "gates.min_annotated_share=1", "threshold=1")
    assert (result.exit_code, result.status) == (3, "gate_failed")
    failed = [(g.name, g.value, g.limit) for g in result.gates if not g.passed]
    assert failed == [("gates.min_annotated_share", 0.0, 1)]
    with pytest.raises(ConfigError, match=r"gates\.min_map needs ground truth"):
        run(stills, tmp_path / "run", "gates.min_map=0.5")
    other = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "giraffe"}]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match=r"none of the run's classes .* but giraffe"):
        run(stills, tmp_path / "none", "gates.min_map=0.5", f"gates.truth={tmp_path}/other.json")
    assert not (tmp_path / "none").exists()


def test_gates_against_ground_truth(demo, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(demo / "stills", data / "stills", ignore=lambda _, n: sorted(n)[4:])
    argv = [
        f"dataset={data}", f"out={tmp_path / 'run'}", f"prompts={demo}/classes.txt", "models=tiny",
        f"gates.truth={demo}/truth.json", "export=[]", "contact_sheet=false",
    ]  # fmt: skip
    asked = [*argv, "gates.min_map=0.3", "gates.min_hota=0.2"]
    result = job.annotate_dataset(typed(compose(asked, "config"), AnnotateCommand))
    passed = {gate.name: gate.passed for gate in result.gates}
    assert passed == {"gates.max_failed": True, "gates.min_map": True, "gates.min_hota": False}
    assert result.exit_code == 3
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["gates"][1]["value"] > 0.3
