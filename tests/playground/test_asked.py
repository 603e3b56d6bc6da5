"""What the page asks for, the text of class lists, and the words of the command; no browser."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.data.types import Item
from annotate.errors import AnnotateError, ConfigError, MediaError, PromptError
from annotate.playground import class_text
from annotate.playground.__main__ import _playground
from annotate.playground.asked import Asked, Limits
from annotate.playground.engine import DIED, STOPPED, Engine, TaskError
from annotate.playground.visit import Visit
from annotate.playground.words import Words
from annotate.record.run_folder import Run
from annotate.runner.command import run_command
from tests.app_page import free_port
from tests.ground.making import overrides
from tests.small_runs import still

LIMITS = Limits(max_mb=1, max_frames=5, max_pixels=40_000)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (["playground.host=0.0.0.0"], "set a password in ANNOTATE_PLAYGROUND_PASSWORD"),
        (["models=huge"], "playground.models=huge"),
        (["playground.prot=1"], "playground.prot: no such key"),
        (["ground.flor=0.1"], "did you mean ground.floor"),
        (["run=there-is-none"], "there-is-none"),
        (["run=a", "dataset=."], "run= and dataset=: a run has its dataset"),
        (["dataset=.", "prompts=gone.txt"], "gone.txt"),
        (["prompts=gone.txt"], "gone.txt"),
        (["dataset=/there/is/none"], "/there/is/none"),
    ],
)
def test_a_wrong_command_is_one_line(
    capsys: pytest.CaptureFixture[str], keys: list[str], why: str
) -> None:
    assert run_command(_playground, keys) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert why in line


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", port := free_port())):
        assert run_command(_playground, [f"playground.port={port}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"playground.port={port}: cannot listen there" in line


def test_keys_of_the_command_line_are_those_of_every_job() -> None:
    words = Words.of(["models=fast", "dataset=photos", "device=cpu", "playground.port=1", "out=x"])
    assert words.of_jobs == ("device=cpu",)
    assert "playground.models=fast" in words.of_page(Path("demo"))
    assert Words.of([]).of_page(Path("demo")) == ["dataset=demo", "dataset.path=demo"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("red circle\n# a comment\ncar: car, taxi", ["red circle", "car"]),
        ("[red circle, 007]", ["red circle", "007"]),
        ("- red circle\n- {name: car, threshold: 0.4}", ["red circle", "car"]),
        ("classes:\n  - car", ["car"]),
        ("[brand] logo\ncar", ["[brand] logo", "car"]),
        ("classes: two, more\ncar", ["classes", "car"]),
    ],
)
def test_a_class_list_is_any_that_prompts_takes(
    tmp_path: Path, text: str, names: list[str]
) -> None:
    assert list(class_text.read(text, tmp_path).names) == names


def test_names_alone_are_a_line_each() -> None:
    assert class_text.text_of(["red circle", "dog"]) == "red circle\ndog"
    assert class_text.text_of(["car: car, taxi"]).startswith("classes:")


def test_an_example_is_kept_with_its_picture(tmp_path: Path) -> None:
    picture = still(tmp_path / "a.png", 1)
    other = still(tmp_path / "b.png", 2)
    (tmp_path / "elsewhere").mkdir()
    same_name = shutil.copyfile(other, tmp_path / "elsewhere" / "a.png")
    folder = tmp_path / "visit"
    folder.mkdir()
    text = "car: car, taxi\nbus"
    text = class_text.with_example(text, folder, "car", picture, (1, 2, 11, 22))
    text = class_text.with_example(text, folder, "car", picture, (1, 2, 11, 22))
    text = class_text.with_example(text, folder, "bus", Path(same_name), (3, 4, 5.04, 6))
    assert str(tmp_path) not in text
    car, bus = class_text.read(text, folder).classes
    assert car.phrases == ("car", "taxi") and bus.phrases == ("bus",)
    assert car.like == (f"{folder}/examples/a.png#1,2,10,20",)
    assert bus.like == (f"{folder}/examples/a-2.png#3,4,2,2",)
    assert (folder / "examples" / "a-2.png").read_bytes() == other.read_bytes()
    with pytest.raises(PromptError, match="no longer in the class list"):
        class_text.with_example("bus", folder, "car", picture, (1, 2, 3, 4))


def test_no_other_picture_of_the_machine_is_an_example(tmp_path: Path) -> None:
    folder = tmp_path / "visit"
    folder.mkdir()
    still(tmp_path / "secret.png", 1)
    for path in ("../secret.png", str(tmp_path / "secret.png"), "examples/../../secret.png"):
        with pytest.raises(PromptError, match=r"^like: only objects that were clicked on here"):
            class_text.read(f"- {{name: it, like: ['{path}#1,1,2,2']}}", folder)


def test_limits_are_sentences(tmp_path: Path) -> None:
    large = tmp_path / "large.bmp"
    Image.new("RGB", (700, 700)).save(large)
    with pytest.raises(MediaError, match=r"large\.bmp has 1 MB, the page takes 1 \(playground"):
        LIMITS.check(Item("large.bmp", large))
    with pytest.raises(MediaError, match=r"gone\.png is gone"):
        LIMITS.check(Item("gone.png", tmp_path / "gone.png"))
    frames = tmp_path / "walk"
    frames.mkdir()
    for n in range(6):
        still(frames / f"{n:03}.png", n)
    with pytest.raises(MediaError, match="more than 5 frames"):
        LIMITS.check(Item("walk", frames, "video"))
    (frames / "005.png").unlink()
    LIMITS.check(Item("walk", frames, "video"))


def test_what_was_refused_when_it_was_seen_is_not_annotated_either(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    asked = Asked(Item("empty.png", tmp_path / "empty.png"), "red circle", "tiny", ())
    with pytest.raises(MediaError, match=r"empty\.png is empty"):
        asked.lay_out(tmp_path, LIMITS)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def test_a_visit_is_the_command_with_models_that_stay(engine: Engine, tmp_path: Path) -> None:
    """By words, then by an example of what they found, which asks another grounder."""
    picture = still(tmp_path / "a.png", 1)
    visit = Visit(tmp_path / "visit", engine, LIMITS)
    visit.folder.mkdir()
    item = Item("sub/a.png", picture)
    keys = ("device=cpu", "segment=none", "threshold=0.3")
    lines = list(visit.annotate(Asked(item, "red circle", "tiny", keys)))
    assert any(line.startswith("loading ") for line in lines)
    assert visit.results is not None and visit.results.records[0].frame_id == "sub/a.png"
    best = max(visit.results.records[0].instances, key=lambda i: i.score)
    x0, y0, x1, y1 = best.box_xyxy
    text = visit.exemplify("red circle", 0, 0.3, ((x0 + x1) / 2, (y0 + y1) / 2))
    asked = Asked(item, text, "tiny", keys)
    assert "ground=owlv2" in asked.shown(visit.folder)
    local = Asked(item, text, "tiny", (*keys, *overrides("owlv2")))
    list(visit.annotate(local))
    phrases = {i.phrase for i in visit.results.records[0].instances}
    run = Run.open(visit.folder / "run")
    assert run.classes.classes[0].like and phrases <= {"red circle", run_label(run)}
    with pytest.raises(AnnotateError, match="takes boxes alone"):
        list(visit.add(0, (1.0, 1.0), "red circle"))
    visit.close()
    assert not visit.folder.exists()


def run_label(run: Run) -> str:
    return Path(run.classes.classes[0].like[0]).name


def slow(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def broken() -> None:
    raise ConfigError("it cannot be")


def dying() -> None:
    import os

    os._exit(9)


def result(engine: Engine, owner: object, task: object, *args: object) -> object:
    made: Any = engine.carry_out(owner, task, *args)  # type: ignore[arg-type]
    while True:
        try:
            next(made)
        except StopIteration as end:
            return end.value


def test_a_task_ends_with_its_result_or_its_sentence(engine: Engine) -> None:
    assert result(engine, "me", slow, 0) == "slept"
    for task, words in ((broken, "it cannot be"), (dying, DIED)):
        with pytest.raises(TaskError) as refused:
            result(engine, "me", task)
        assert str(refused.value) == words
    assert result(engine, "me", slow, 0) == "slept"  # it has begun anew


def test_who_stops_ends_their_own_task_and_no_other(engine: Engine) -> None:
    done: list[object] = []

    def mine() -> None:
        try:
            done.append(result(engine, "me", slow, 60))
        except TaskError as error:
            done.append(str(error))

    thread = threading.Thread(target=mine)
    thread.start()
    while engine._at_work is None:
        time.sleep(0.05)
    engine.stop("another one")
    assert engine._at_work is not None
    engine.stop("me")
    thread.join(20)
    assert done == [STOPPED]
    assert result(engine, "another one", slow, 0) == "slept"


def test_who_goes_away_gives_way(engine: Engine) -> None:
    leaving = engine.carry_out("me", chatty)
    assert next(leaving) == "working"
    leaving.close()
    assert result(engine, "another one", slow, 0) == "slept"
    engine.close()


def chatty() -> None:
    import sys

    print("working", file=sys.stderr)
    time.sleep(60)
