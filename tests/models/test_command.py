"""`python -m annotate.models`, in this process and as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from annotate.config.shipped import conf_dir
from annotate.models import __main__ as command
from annotate.models import hub
from annotate.models.facts import facts
from tests.hub_server import serve

TINY = Path(hub.__file__).parent / "tiny"


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["annotate.models", *arguments])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)


def test_list_shows_every_preset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch) == 0
    table, *models = capsys.readouterr().out.split("\n\n")
    assert set(command.PRESETS) == {p.stem for p in (conf_dir() / "models").glob("*.yaml")}
    rows = [line.split() for line in table.splitlines()[1:]]
    assert [row[0] for row in rows] == [p for p in command.PRESETS for _ in range(2)]
    assert rows[0][:5] == ["tiny", "ground", "embedded:tiny/grounder", "-", "embedded,"]
    assert rows[2][-2:] == ["not", "here"]
    assert "a2bb814dd30d776dcf7e30523b00659f4f141c71" in rows[2]
    for role, shown in zip(("ground", "segment", "verify"), models, strict=True):
        names = {line.split()[0] for line in shown.splitlines()[1:]}
        configs = {p.stem for p in (conf_dir() / role).glob("*.yaml")}
        assert names == (configs if role == "verify" else configs - set(command.PRESETS))
    assert "gated: https://huggingface.co/facebook/sam3" in models[0]
    assert "nothing to fetch" in models[1]


@pytest.mark.parametrize("role", ["ground", "segment", "verify"])
def test_everything_that_ships_has_its_facts(role: str) -> None:
    known = yaml.safe_load((TINY.parent / "facts.yaml").read_text())[role]
    assert set(known) == {p.stem for p in (conf_dir() / role).glob("*.yaml")}
    for name in known:
        assert facts(role, name).ram_gb >= 2.4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("models=fast",), ["IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"]),
        (("models=tiny", "segment=fast"), ["embedded:tiny/grounder", "facebook/sam2.1-hiera-tiny"]),
        (("ground.model=a/b",), ["a/b", "facebook/sam2.1-hiera-base-plus"]),
    ],
)
def test_list_shows_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    expected: list[str],
) -> None:
    assert _run(monkeypatch, *arguments) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[2] for row in rows] == expected


def test_check_loads_the_embedded_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "action=check", "models=tiny", "device=cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["ok", "embedded:tiny/grounder"],
        ["ok", "embedded:tiny/segmenter"],
    ]
    assert all("parameters" in line and "sha256" in line for line in lines)


def test_check_names_every_model_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "action=check", "models=fast", "device=cpu") == 2
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith("error: IDEA-Research/grounding-dino-tiny: ")
    assert second.startswith("error: facebook/sam2.1-hiera-tiny: ")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("action=push",), "action=push: expected one of list, pull, check"),
        (("models=huge",), "models=huge: known are balanced, best, fast, tiny"),
        (("nonsense",), "nonsense"),
        (("action=pull", "models=fast"), "action=pull models="),
        (("action=check", "models=tiny", "device=tpu"), "device=tpu"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    word: str,
) -> None:
    assert _run(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert word in line


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "--help") == 0
    assert "action=pull" in capsys.readouterr().out


def test_pull_then_check_without_a_network(tmp_path: Path) -> None:
    """As a user does it: the environment names the hub and the cache, stderr stays empty."""
    acme = [
        "ground.model=acme/grounder",
        "ground.revision=main",
        "segment=tiny",
        "segment.model=acme/segmenter",
        "segment.revision=main",
        "device=cpu",
    ]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    program = [sys.executable, "-m", "annotate.models", *acme]

    def run(action: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*program, f"action={action}"],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
        )

    with serve(acme__grounder=TINY / "grounder", acme__segmenter=TINY / "segmenter") as hub:
        pulled = run("pull", HF_ENDPOINT=hub.url)
        assert (pulled.returncode, pulled.stderr) == (0, "")
        assert "acme/segmenter: sam2.1_tiny.pt" in pulled.stdout
        commit = hub.commit("acme/grounder")
    checked = run("check", HF_HUB_OFFLINE="1")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"ok: acme/grounder at {commit}: " in checked.stdout
