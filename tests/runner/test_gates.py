"""Gates are judged, and named where they fail."""

import json
import shutil

import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.data.decisions import Decision
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError
from annotate.record import reviews
from annotate.record.run_folder import Run
from annotate.runner import job
from tests.exporters.runs import COCO
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


def judged(folder, *limits: str):
    """Counts, exports and gates of a run that is there, on its own records."""
    out = folder / "run"
    argv = [f"dataset={folder / 'data'}", f"prompts={folder}/p.yaml", f"out={out}", "models=tiny",
            "contact_sheet=false", "export=[coco]", *limits]  # fmt: skip
    return job.annotate_dataset(typed(compose(argv, "config"), AnnotateCommand))


def test_gates_count_what_exports_hold(demo, tmp_path):
    """Limits of area and of classes, and what people decided in review."""
    shutil.copytree(demo / "stills", tmp_path / "data", ignore=lambda _, n: sorted(n)[5:])
    names = load_prompts(f"{demo}/classes.txt").names
    (tmp_path / "p.yaml").write_text(json.dumps([{"name": n} for n in names]))
    plain = judged(tmp_path)
    annotated = [r for r in Run.open(tmp_path / "run").frames() if r.instances]
    assert plain.counts.kept == plain.exports[0]["per_class"]
    areas = sorted(i.area for r in annotated for i in r.instances if i.score > 0.3)
    limited = [{"name": n, "min_area": areas[2], "threshold": 0.31 + 0.1 * (n == names[0])}
               for n in names]  # fmt: skip
    (tmp_path / "p.yaml").write_text(json.dumps(limited))
    truth = tmp_path / "run/exports/coco" / COCO
    smaller = judged(tmp_path)
    assert sum(smaller.counts.kept.values()) < sum(plain.counts.kept.values())
    assert smaller.counts.kept == smaller.exports[0]["per_class"]
    first, second = annotated[:2]
    said = [
        Decision(frame_id=first.frame_id, item=first.item, tags=("reject",)),
        *(Decision(frame_id=second.frame_id, item=second.item, instance_id=i.instance_id,
                   deleted=True) for i in second.instances),
    ]  # fmt: skip
    reviews.write(Run.open(tmp_path / "run").reviews_dir, said)
    reviewed = judged(tmp_path)
    assert reviewed.counts.kept == reviewed.exports[0]["per_class"]
    assert reviewed.counts.frames == reviewed.exports[0]["images"] == 4
    held = {a["image_id"] for a in json.loads(truth.read_text())["annotations"]}
    assert reviewed.counts.annotated == len(held) < smaller.counts.annotated
    shutil.copy(truth, tmp_path / "t.json")
    again = judged(tmp_path, f"gates.truth={tmp_path}/t.json", "gates.min_map=0.1")
    gate = again.gates[-1]
    assert (gate.name, gate.value) == ("gates.min_map", 1.0)  # the export is judged by itself


def test_a_truth_that_can_judge_nothing_is_refused_before_the_work(stills, tmp_path):
    size = {"width": 96, "height": 96}
    ring = {"segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]], "image_id": 1, "category_id": 1}
    for images, annotations, says in (
        (["elsewhere.png"], [ring], r"no frame of the dataset; .* such as 'elsewhere.png'"),
        (["0.png"], [ring | {"iscrowd": 1}], "no object of the run's classes but 1 crowds"),
        (["0.png"], [], "no object of the run's classes"),
        (["0.png", "0.png"], [ring], "'0.png' stands twice"),
    ):
        content = {
            "images": [{"id": n, "file_name": f, **size} for n, f in enumerate(images, start=1)],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "red circle"}],
        }
        (tmp_path / "t.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=says):
            run(stills, tmp_path / "none", "gates.min_map=0.5", f"gates.truth={tmp_path}/t.json")
        assert not (tmp_path / "none").exists()
