import re
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand, ExportCommand
from annotate.config.shipped import conf_dir
from annotate.errors import ConfigError

ASKED = ["dataset=.", "prompts=[cat]"]


def settings(*argv: str) -> AnnotateCommand:
    return typed(compose([*ASKED, *argv], "config"), AnnotateCommand)


@pytest.mark.parametrize("models", sorted(p.stem for p in (conf_dir() / "models").glob("*.yaml")))
def test_every_preset_composes_to_a_grounder_and_a_segmenter(models):
    made = settings(f"models={models}")
    assert made.grounder.arguments["model"]
    assert made.segmenter.arguments["checkpoint"].endswith(".pt")


def test_every_dataset_config_composes():
    for path in (conf_dir() / "dataset").glob("*.yaml"):
        if path.stem != "path":
            made = typed(compose([f"dataset={path.stem}"], "config"), AnnotateCommand)
            assert made.dataset.path and made.prompts


def test_the_more_specific_choice_wins():
    chosen = settings("models=tiny", "segment=fast")
    assert chosen.segmenter.arguments["checkpoint"] == "sam2.1_hiera_tiny.pt"
    chosen = settings("segment=fast", "models=tiny")
    assert chosen.grounder.arguments["model"].startswith("embedded:")


def test_every_key_says_its_unit_or_range():
    for path in conf_dir().rglob("*.yaml"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            key, colon, value = line.partition(":")
            leaf = colon and value.strip() and not key.lstrip().startswith(("#", "-"))
            redefined = path.stem == "demo" and key.strip() in ("name", "kind", "prompts")
            if leaf and not redefined:
                assert "#" in value, f"{path.name}:{number}: {line}"


@pytest.mark.parametrize(
    "name",
    ["with blank", "a,b", "[x]", "(y)", "quo'te", 'dou"ble', "100%", "ünï", "a=b", "{z}", "$HOME",
     "${oc.env:HOME}"],
)  # fmt: skip
def test_paths_are_taken_as_they_stand(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    made = typed(
        compose([f"dataset={folder}", f"prompts={folder}/c.txt", f"out={folder}"], "config"),
        AnnotateCommand,
    )
    assert (made.dataset.path, made.prompts, made.out) == (
        str(folder),
        f"{folder}/c.txt",
        str(folder),
    )


def test_inline_prompts():
    made = typed(compose(["dataset=.", "prompts=[red car,person]"], "config"), AnnotateCommand)
    assert made.prompts == ["red car", "person"]


@pytest.mark.parametrize(
    ("given", "formats"),
    [
        ("export=coco", ["coco"]),
        ("export=[coco,yolo_seg]", ["coco", "yolo_seg"]),
        ("export=[]", []),
    ],
)
def test_export_is_short_for_its_formats(given, formats):
    made = settings(given, "export.split={train: 0.8, val: 0.2}")
    assert made.export.formats == formats
    assert made.export.split == {"train": 0.8, "val": 0.2}
    assert typed(compose(["run=x", given], "export"), ExportCommand).export.formats == formats


def test_a_users_own_dataset_config(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "street.yaml").write_text(
        "defaults: [path]\npath: /photos/street\nname: street\nprompts: [car]\n"
    )
    made = typed(
        compose(["--config-dir", str(tmp_path), "dataset=street"], "config"), AnnotateCommand
    )
    assert (made.dataset.path, made.prompts) == ("/photos/street", ["car"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["dataset=.", "prompts=[a]", "grund.floor=1"], "grund: no such key; did you mean ground"),
        # Names of our own settings classes (segmenter.at) are no keys.
        (
            ["dataset=.", "prompts=[a]", "segment.at=1"],
            "segment.at: no such key; did you mean segment?",
        ),
        (["dataset=.", "prompts=[a]", "ground.floor=low"], "ground.floor"),
        (
            ["dataset=.", "prompts=[a]", "models=huge"],
            "models=huge: known are balanced, best, fast",
        ),
        (["dataset=.", "prompts=[a]", "runner.workers=[1]"], "runner.workers"),
        (["dataset=nowhere", "prompts=[a]"], "dataset=nowhere: no such file, folder or glob"),
        (["prompts=[a]"], "dataset is not given: add dataset=VALUE"),
        (["dataset=.", "prompts=[a"], "prompts=[a"),
        (["mydata"], "'mydata': expected key=value"),
        (["--config-dir", "nowhere", "dataset=."], "nowhere: no such folder"),
    ],
)
def test_a_wrong_command_is_one_line_that_names_the_key(argv, says):
    with pytest.raises(ConfigError) as caught:
        typed(compose(argv, "config"), AnnotateCommand)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("threshold=30", "threshold=30: expected 0..1"),
        ("only=best", "only=best: expected one of all, reviewed, accepted"),
        ("export.media=move", "export.media=move: expected one of link, copy, none"),
        ("export.split={train: 0.8, val: 0.1}", "export.split: shares sum to 0.9"),
    ],
)
def test_an_export_asked_wrongly_is_refused(given, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        typed(compose(["run=x", given], "export"), ExportCommand)


def test_composing_leaves_hydra_to_others():
    settings()
    assert not GlobalHydra.instance().is_initialized()


def test_config_needs_no_models():
    code = "import sys, annotate.config.compose; sys.exit('torch' in sys.modules)"
    import subprocess

    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
    )


@pytest.mark.parametrize(
    ("written", "entries"),
    [
        ("[on,007,3.10,1e3,null,true]", ["on", "007", "3.10", "1e3", "null", "true"]),
        ("[12:30, red car ]", ["12:30", "red car"]),
        ("['a: b, c',\"d, e\"]", ["a: b, c", "d, e"]),
        ("[car: red car,R&D,don't,50%,c++]", ["car: red car", "R&D", "don't", "50%", "c++"]),
        (r"[a\, b,c]", ["a, b", "c"]),
        ("[{name: a, phrases: [b, c]},d]", [{"name": "a", "phrases": ["b", "c"]}, "d"]),
    ],
)
def test_inline_classes_are_text_as_written(written, entries):
    composed = compose(["dataset=.", f"prompts={written}"], "config")
    assert typed(composed, AnnotateCommand).prompts == entries


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("prompts=[cat", "prompts=[cat: a bracket is not closed; a list is prompts='[a,b]'"),
        ("threshold=[0.3", "a bracket is not closed"),
        ("ground.model='a", "ground.model='a: a quote is not closed"),
        (
            "ground.model=a,b",
            "a list is ground.model='[a,b]'; a text with commas ground.model=",
        ),
        ("ground.model=a]b", "a bracket is not closed"),
        ("ground.model=a:b{}", "ground.model"),
    ],
)
def test_what_breaks_the_grammar_is_said_in_our_words(argument, says):
    with pytest.raises(ConfigError) as caught:
        typed(compose(["dataset=.", "prompts=[cat]", argument], "config"), AnnotateCommand)
    said = str(caught.value)
    assert says in said and "\n" not in said
    for inside in ("hydra", "Hydra", "viable alternative", "override", "multirun", "++"):
        assert inside not in said


@pytest.mark.parametrize("key", ["dataset", "run", "truth"])
def test_what_there_is_one_of_is_not_given_twice(key):
    with pytest.raises(ConfigError, match=f"{key} is given twice, as a and b"):
        compose([f"{key}=a", f"{key}=b", "prompts=[cat]"], "config")


def test_brackets_of_a_path_that_is_there_are_part_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[old] {1}").mkdir()
    (tmp_path / "[cat,dog]").write_text("car\n")
    argv = ["dataset=[old] {1}", "prompts=[cat,dog]", "models=tiny"]
    asked = typed(compose(argv, "config"), AnnotateCommand)
    assert (asked.dataset.path, asked.prompts) == ("[old] {1}", "[cat,dog]")


def test_the_home_folder_is_found_in_every_value(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    values = compose(
        ["dataset=~/photos", "prompts=~/c.txt", "out=~/run", "ground.model=~/it's"], "config"
    ).values
    assert values["dataset"]["path"] == str(tmp_path / "photos")
    assert (values["prompts"], values["out"]) == (str(tmp_path / "c.txt"), str(tmp_path / "run"))
    assert values["ground"]["model"] == str(tmp_path / "it's")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("threshold=0,3", "a number has a point: threshold=0.3"),
        ("hydra.run.dir=x", "hydra.run.dir: no such key"),
        ("hydra/launcher=joblib", "hydra/launcher: no such key"),
        ("~ground", "~ground: no key can be taken away"),
        ("prompts=", "prompts= is empty"),
        ("dataset=[a,b]", "expected one folder, file, glob, url or name"),
        ("dataset={a: 1}", "expected one folder, file, glob, url or name"),
        ("export.split=[a]", "a mapping, such as export.split='{a: 1, b: 2}'"),
        ("device=gpu", "device=gpu: expected one of auto, cuda, mps, cpu"),
        ("limit=0", "limit=0: expected >= 1"),
    ],
)
def test_what_is_wrong_names_the_right_form(argument, said):
    argv = ["prompts=[cat]", *([] if argument.startswith("dataset") else ["dataset=."]), argument]
    with pytest.raises(ConfigError, match=re.escape(said)):
        typed(compose(argv, "config"), AnnotateCommand)


def test_of_a_key_given_twice_the_last_one_counts(tmp_path):
    argv = ["dataset=.", "prompts=classes.txt", "prompts=[cat,dog]"]
    assert compose(argv, "config").values["prompts"] == ["cat", "dog"]
    assert compose(argv[::-1], "config").values["prompts"] == "classes.txt"
