"""What the page does not take is a sentence on it, and it goes on."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.app_page import needs_chromium
from tests.playground.driving import PageTab, served
from tests.small_runs import still

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def address(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page that takes little, on a machine without a network, for a dataset of one picture."""
    dataset = tmp_path_factory.mktemp("dataset")
    still(dataset / "0.png", 0)
    keys = ["playground.max_mb=1", "playground.max_frames=6", "dataset.max_pixels=40000"]
    with pytest.MonkeyPatch.context() as alone:
        alone.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        with served(temporary, f"dataset={dataset}", "prompts=[red circle]", *keys) as made:
            yield made


def test_what_is_no_picture_is_said(page: Page, tmp_path: Path, picture: Path) -> None:
    tab = PageTab(page, "picture")
    tab.begin()
    assert tab.said() == "Choose a picture first."
    torn, empty, notes = tmp_path / "torn.png", tmp_path / "empty.png", tmp_path / "notes.txt"
    torn.write_bytes(picture.read_bytes()[:200])
    empty.write_bytes(b"")
    notes.write_text("no picture")
    bomb = tmp_path / "large.png"
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(bomb)
    shell = tmp_path / "<img src=x onerror=alert(1)> $(id).png"
    shell.write_bytes(b"GIF89a")
    for path, words in (
        (torn, "cannot decode: image file is truncated"),
        (notes, "notes.txt is no picture by its name; these are: .apng, .avif"),
        (bomb, "300x300 is more than dataset.max_pixels=40000 pixels"),
        (shell, "cannot decode"),
        (empty, "empty.png is empty."),
    ):
        tab.upload(path)
        tab.wait_to_say(words)
    assert page.locator("#picture-status img").count() == 0
    assert tab.annotate(picture, "# nothing\n").startswith("classes.txt: no class in it")
    for path in (picture, tmp_path / "gone.png"):
        stolen = f"- {{name: it, like: ['{path}#1,1,9,9']}}"
        refused = "like: only objects that were clicked on here can be examples"
        assert tab.annotate(picture, stolen) == refused
    assert tab.annotate(picture).startswith("Found: ")


def test_what_is_too_large_is_said_before_it_is_here(page: Page, tmp_path: Path) -> None:
    tab = PageTab(page, "picture")
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "huge.png")
    page.set_input_files("#picture-upload input[type=file]", str(tmp_path / "huge.png"))
    expect(page.get_by_text("exceed the maximum allowed size")).to_be_visible()
    tab.begin()
    tab.wait_to_say("Choose a picture first.")


def test_what_is_no_clip_or_too_long_is_said(
    page: Page, tmp_path: Path, picture: Path, clip: tuple[Path, str]
) -> None:
    tab = PageTab(page, "clip")
    tab.begin()
    assert tab.said() == "Choose a clip first."
    tab.upload(clip[0])
    tab.wait_to_say("clip.mp4 has more than 6 frames, which the page takes at most")
    shutil.copyfile(picture, tmp_path / "picture.png")
    tab.upload(tmp_path / "picture.png")
    tab.wait_to_say("picture.png is no clip: it belongs in the tab Picture.")
    shutil.copyfile(picture, tmp_path / "picture.mp4")
    tab.upload(tmp_path / "picture.mp4")
    tab.wait_to_say("cannot open")


def test_models_that_are_not_there_are_a_sentence(page: Page) -> None:
    tab = PageTab(page, "picture")
    assert tab.part("classes", "textarea").input_value() == "red circle"
    tab.take("0.png")
    tab.part("models", "input").click()
    page.get_by_role("option", name="fast").click()
    tab.begin()
    assert "grounding-dino-tiny" in tab.said()


def ask(address: str, path: str, body: object = None, **headers: str) -> int:
    """The status of an answer to a request that no browser would make."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"{address}{path}", data, headers)
    try:
        with urllib.request.urlopen(asked) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "APPLICATION/JSON; x=1"])
@pytest.mark.parametrize("route", ["call/uploaded", "run/uploaded", "run/predict", "queue/join"])
def test_only_what_was_uploaded_is_a_file(
    address: str, tmp_path: Path, temporary: Path, route: str, kind: str
) -> None:
    secret = still(tmp_path / "secret.png", 1)
    sideways = next(temporary.glob("annotate-playground-*")) / "gradio/../../../secret.png"
    for path in (str(secret), "/etc/hostname", "http://127.0.0.1/a.png", str(sideways), 7):
        named = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for data in ([named, None], [[{"deep": [named]}], None]):
            body = {"data": data, "fn_index": 0, "session_hash": "x"}
            assert ask(address, f"gradio_api/{route}", body, **{"Content-Type": kind}) == 403
    assert ask(address, f"gradio_api/file={secret}") == 403
    assert ask(address, "gradio_api/deep_link?session_hash=x") == 403


def test_pages_of_others_and_their_names_are_refused(address: str) -> None:
    host = address.removeprefix("http://").rstrip("/")
    assert ask(address, "config") == ask(address, "config", Host="localhost:1") == 200
    assert ask(address, "config", Host="evil.example") == 403
    assert ask(address, "config", Host="127.0.0.1.evil.example") == 403
    assert ask(address, "config", Origin=f"http://{host}") == 200
    for origin in ("http://evil.example", "null", "http://[", f"http://{host}.evil.example"):
        assert ask(address, "config", Origin=origin) == 403
    kind = {"Content-Type": "application/json"}
    assert ask(address, "gradio_api/run/predict", {"x": "y" * (5 << 20)}, **kind) == 403
