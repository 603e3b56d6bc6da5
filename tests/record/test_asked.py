"""A run folder knows what it was asked, and holds nothing that was made otherwise."""

import pytest
import yaml

import annotate
from annotate.errors import ConfigError
from annotate.record import parquet, versions
from tests.small_runs import run, still, tree


def test_another_fingerprint_stops_and_shows_every_difference(stills, tmp_path):
    run(stills, tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        run(stills, tmp_path / "run", "ground.floor=0.2", "track.max_gap=7")
    assert "ground.floor: was 0.1, is 0.2; track.max_gap: was 30, is 7" in str(caught.value)
    assert "on_change=redo" in str(caught.value) and "\n" not in str(caught.value)


def test_another_program_version_is_another_fingerprint(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    monkeypatch.setattr(versions, "program", lambda: "99.0")
    with pytest.raises(ConfigError, match=r"version: was '.*', is '99\.0'"):
        run(stills, tmp_path / "run")


def test_what_only_touches_exports_is_no_other_fingerprint(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    more = ("threshold=0.6", "export=coco", "'export.split={train: 0.5, val: 0.5}'"[1:-1])
    assert run(stills, tmp_path / "run", *more).items["new"] == 0
    assert tree(tmp_path / "run", "records") == before


def test_a_folder_of_before_configs_named_classes_goes_on(stills, tmp_path):
    run(stills, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    asked = yaml.safe_load(path.read_text())
    for role in ("ground", "segment"):
        assert asked[role].pop("_target_").startswith("annotate.")
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    assert run(stills, tmp_path / "run").items["new"] == 0


def test_redo_makes_the_records_anew_in_place(stills, tmp_path):
    run(stills, tmp_path / "run")
    result = run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo")
    assert result.items["new"] == 5
    run(stills, tmp_path / "fresh", "ground.floor=0.2")
    assert tree(tmp_path / "run", "records") == tree(tmp_path / "fresh", "records")


def test_new_begins_a_folder_beside_and_goes_on_there(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    asked = ("ground.floor=0.2", "on_change=new")
    assert run(stills, tmp_path / "run", *asked).run == str(tmp_path / "run-2")
    again = run(stills, tmp_path / "run", *asked)
    assert (again.run, again.items["new"]) == (str(tmp_path / "run-2"), 0)
    assert tree(tmp_path / "run", "records") == before


def test_other_weights_are_another_fingerprint(stills, tmp_path):
    run(stills, tmp_path / "run")
    made = annotate.Run.open(tmp_path / "run")
    weights = made.weights()
    weights["ground"]["sha256"] = "0" * 64
    with pytest.raises(ConfigError, match=r"ground\.sha256: was .*, is '0000"):
        made.made_with(weights, {})
    assert made.made_with(weights, {}, redo=True)
    assert parquet.part_paths(made.records_dir) == []


def test_other_versions_of_libraries_are_noted_and_stop_nothing(stills, tmp_path, monkeypatch):
    first = run(stills, tmp_path / "run").libraries
    assert {"torch", "transformers", "sam2"} <= first.keys()
    assert all(len(known) == 1 for known in first.values())
    still(stills / "9.png", 9)
    later = {**versions.libraries(), "torch": "99.0"}
    monkeypatch.setattr(versions, "libraries", lambda: later)
    assert run(stills, tmp_path / "run").libraries["torch"] == [*first["torch"], "99.0"]
    assert run(stills, tmp_path / "run").libraries["sam2"] == first["sam2"]
    assert "torch 99.0 now, records before were made with" in (tmp_path / "run/run.log").read_text()
    assert run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo").libraries == {
        name: ["99.0"] if name == "torch" else known for name, known in first.items()
    }


def test_a_refused_run_leaves_the_summary_of_the_one_before(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    still(stills / "9.png", 9)
    before = (tmp_path / "run/summary.json").read_bytes()
    weights = (tmp_path / "run/weights.yaml").read_text()
    (tmp_path / "run/weights.yaml").write_text(weights.replace("sha256: ", "sha256: 0"))
    with pytest.raises(ConfigError, match="sha256"):
        run(stills, tmp_path / "run")
    assert (tmp_path / "run/summary.json").read_bytes() == before
