"""A run folder knows what it was asked, and holds nothing that was made otherwise."""

import pytest
import yaml

import annotate
from annotate.errors import ConfigError
from annotate.record import versions
from annotate.record.asked import deciding, difference
from annotate.runner import build, worker
from tests.small_runs import run, still, tree


def test_another_fingerprint_stops_and_shows_every_difference(stills, tmp_path):
    run(stills, tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        run(stills, tmp_path / "run", "ground.floor=0.2", "track.max_gap=7")
    assert "ground.floor: was 0.1, is 0.2; track.max_gap: was 30, is 7" in str(caught.value)
    assert "holds 5 records that were made otherwise" in str(caught.value)
    assert str(caught.value).index("on_change=new") < str(caught.value).index("on_change=redo")
    assert "on_change=redo" in str(caught.value) and "\n" not in str(caught.value)


def test_another_program_version_is_another_fingerprint(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    monkeypatch.setattr(versions, "program", lambda: "99.0.0")
    with pytest.raises(ConfigError, match=r"version: was '.*', is '99\.0'"):
        run(stills, tmp_path / "run")


def test_a_patch_of_the_program_goes_on(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    patch = f"{versions.makes_records(versions.program())}.99"
    monkeypatch.setattr(versions, "program", lambda: patch)
    assert run(stills, tmp_path / "run").items["new"] == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["version"][-3:] == ".99"


def test_a_dataset_that_has_moved_goes_on_and_is_exported_from_there(stills, tmp_path):
    run(stills, tmp_path / "run", "export=[coco]")
    moved = stills.rename(tmp_path / "elsewhere")
    still(moved / "new.png", 9)
    still(moved / "1.png", 77)
    result = run(moved, tmp_path / "run", "export=[coco]")
    assert (result.items["new"], result.changes["changed"]) == (2, 1)
    assert result.exports[0]["images"] == 6
    assert annotate.Run.open(tmp_path / "run").root == moved


def test_another_dataset_with_the_same_names_takes_no_record_away(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records", "stamps")
    other = tmp_path / "other"
    other.mkdir()
    for seed in range(5):
        still(other / f"{seed}.png", 50 + seed)
    with pytest.raises(ConfigError, match=r"5 records of another dataset .*on_change=new"):
        run(other, tmp_path / "run")
    assert tree(tmp_path / "run", "records", "stamps") == before
    assert run(other, tmp_path / "run", "on_change=new").items["new"] == 5
    assert run(stills, tmp_path / "run").items["new"] == 0


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
    del asked["decode"]
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    assert run(stills, tmp_path / "run").items["new"] == 0


def test_a_folder_of_before_class_lists_could_be_cut_goes_on_uncut(stills, tmp_path):
    run(stills, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    asked = yaml.safe_load(path.read_text())
    assert asked["ground"].pop("classes_at_once") is None
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    assert run(stills, tmp_path / "run").items["new"] == 0
    with pytest.raises(ConfigError, match=r"ground\.classes_at_once: was nothing, is 1"):
        run(stills, tmp_path / "run", "ground.classes_at_once=1")


def test_another_scale_of_deep_pictures_makes_other_records(stills, tmp_path):
    run(stills, tmp_path / "run", "decode.depth=[0, 4095]")
    assert run(stills, tmp_path / "run", "decode.depth=[0,4095.0]").items["new"] == 0
    assert annotate.Run.open(tmp_path / "run").source("x.png", "image").depth == (0, 4095)
    with pytest.raises(ConfigError, match=r"decode.depth.*: was"):
        run(stills, tmp_path / "run")


def test_redo_makes_the_records_anew_in_place(stills, tmp_path):
    run(stills, tmp_path / "run")
    result = run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo")
    assert result.items["new"] == 5
    run(stills, tmp_path / "fresh", "ground.floor=0.2")
    assert tree(tmp_path / "run", "records") == tree(tmp_path / "fresh", "records")


def test_what_is_to_be_redone_stays_until_new_records_are_there(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records", "stamps")
    asked = ("ground.floor=0.2", "on_change=redo")
    with monkeypatch.context() as broken:
        broken.setattr(build, "make_models", refuse)
        with pytest.raises(ConfigError, match="no network"):
            run(stills, tmp_path / "run", *asked)
    assert tree(tmp_path / "run", "records", "stamps") == before
    assert run(stills, tmp_path / "run").items["new"] == 0, "it goes on as it was"
    with monkeypatch.context() as broken:
        broken.setattr(worker.Worker, "run", refuse)
        with pytest.raises(ConfigError, match="no network"):
            run(stills, tmp_path / "run", *asked)
    kept = annotate.Run.open(tmp_path / "run/replaced/1")
    assert tree(kept.path, "records", "stamps") == before
    assert len(list(kept.frames())) == 5 and kept.asked()["ground"]["floor"] == 0.1
    assert run(stills, tmp_path / "run", *asked[:1]).items["new"] == 5
    assert not (tmp_path / "run/replaced").exists()
    assert annotate.Run.open(tmp_path / "run").asked()["ground"]["floor"] == 0.2


def test_good_records_are_kept_where_new_ones_failed(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    (stills / "3.png").write_bytes(b"no picture any more")
    assert run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo").exit_code == 3
    assert tree(tmp_path / "run/replaced/1", "records") == before
    assert (
        "1 items failed now that had records, such as 3.png"
        in (tmp_path / "run/run.log").read_text()
    )


def test_a_shard_does_not_set_aside_what_others_made(stills, tmp_path):
    run(stills, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    with pytest.raises(ConfigError, match="shard=1/2: records of all items would go"):
        run(stills, tmp_path / "run", "ground.floor=0.2", "on_change=redo", "shard=1/2")
    assert tree(tmp_path / "run", "records") == before


def refuse(*_args, **_kwargs):
    raise ConfigError("no network")


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


def test_another_precision_is_another_fingerprint(stills, tmp_path, monkeypatch):
    """Which CUDA would have; nothing that is done already needs it."""
    run(stills, tmp_path / "run")
    computed = annotate.Run.open(tmp_path / "run").weights()["computed"]
    assert computed == {"device": "cpu", "precision": "float32"}
    monkeypatch.setattr(build.precision, "name", lambda device: "bfloat16")
    assert run(stills, tmp_path / "run", "device=cpu").items["new"] == 0
    still(stills / "9.png", 9)
    with pytest.raises(ConfigError, match=r"computed\.precision: was 'float32', is 'bfloat16'"):
        run(stills, tmp_path / "run")
    assert run(stills, tmp_path / "run", "on_change=redo").items["new"] == 6
    made = annotate.Run.open(tmp_path / "run").weights()
    assert made["computed"]["precision"] == "bfloat16"


def test_a_folder_of_before_the_device_was_noted_goes_on(stills, tmp_path):
    run(stills, tmp_path / "run")
    path = tmp_path / "run" / "weights.yaml"
    noted = yaml.safe_load(path.read_text())
    del noted["computed"]
    path.write_text(yaml.safe_dump(noted))
    still(stills / "9.png", 9)
    assert run(stills, tmp_path / "run").items["new"] == 1
    assert annotate.Run.open(tmp_path / "run").weights()["computed"]["device"] == "cpu"


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


def test_what_was_not_asked_at_first_counts_as_it_was_then():
    early = {"version": "0.2.0", "ground": {"_target_": "a.B", "floor": 0.1}}
    later = early | {
        "ground": {**early["ground"], "child_from": 0.25},
        "tile": {"size": None},
        "decode": {"depth": "auto"},
    }
    assert difference(deciding({"config.yaml": early}), deciding({"config.yaml": later})) == ""
    other = later | {"tile": {"size": 512, "overlap": 0.2}}
    assert "tile" in difference(deciding({"config.yaml": early}), deciding({"config.yaml": other}))
