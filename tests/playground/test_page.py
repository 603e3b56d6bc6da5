"""The page in a real browser: upload, run, sliders, stop, downloads, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from annotate.record.run_folder import Run
from annotate.report.video_writer import VideoWriter
from annotate.synthetic.clip import Clip
from tests.app_page import CHROMIUM, QUIET, needs_chromium
from tests.small_runs import run as run_command
from tests.small_runs import still

WAIT_MS = 90_000
CLASSES = "red circle\nblue triangle"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page that the command serves."""
    yield from served(tmp_path_factory.mktemp("temporary"))


def served(temporary: Path, *keys: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [
        sys.executable,
        "-m",
        "annotate",
        "playground",
        "models=tiny",
        f"playground.port={port}",
    ]
    process = subprocess.Popen(
        [*argv, f"playground.port={port}", *keys],
        env=os.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
    )
    try:
        for _ in range(240):
            assert process.poll() is None, process.stderr and process.stderr.read()
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert list(temporary.glob("annotate-playground-*")) == []  # nothing is left behind


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield made
        made.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1300, "height": 1200})
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#picture-run")
    yield opened
    elsewhere = [u for u in asked if not u.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
    opened.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    return still(folder / "a <b>bold 日本.png", 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clip, and what is in it."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    made = Clip(1, (160, 120))
    scenes = [made.frame(t) for t in range(12)]
    with VideoWriter(path, size_wh=(160, 120), fps=25) as writer:
        for t, scene in enumerate(scenes):
            writer.add(scene.image, t / 25)
    return path, "\n".join(dict.fromkeys(o.phrase for s in scenes for o in s.objects))


def annotate(page: Page, kind: str, upload: Path, classes: str = CLASSES) -> str:
    """What the page, which is opened anew, says in the end."""
    page.reload()
    page.wait_for_selector("#picture-run")
    page.get_by_role("tab", name="Clip" if kind == "clip" else "Picture").click()
    page.set_input_files(f"#{kind}-upload input[type=file]", str(upload))
    page.fill(f"#{kind}-classes textarea", classes)
    expect(page.locator(f"#{kind}-upload")).not_to_contain_text("Drop", timeout=WAIT_MS)
    page.wait_for_timeout(500)
    page.click(f"#{kind}-run")
    return said(page, kind)


def said(page: Page, kind: str) -> str:
    """The page's last word: what was found, or, in bold, why it could not be."""
    page.wait_for_function(
        "id => { const e = document.getElementById(id);"
        " return /^(Found|Nothing)/.test(e.innerText) || e.querySelector('strong'); }",
        arg=f"{kind}-status",
        timeout=WAIT_MS,
    )
    return page.locator(f"#{kind}-status").inner_text().strip()


def slide(page: Page, element: str, value: float) -> None:
    box = page.locator(f"#{element} input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def result(page: Page, kind: str) -> str:
    return page.locator(f"#{kind}-result img").get_attribute("src") or ""


def wait_for_another(page: Page, kind: str, before: str) -> None:
    shown = f"document.querySelector('#{kind}-result img').src"
    page.wait_for_function(f"before => {shown} !== before", arg=before)


@needs_chromium
def test_a_picture_is_annotated_as_the_command_line_does(
    page: Page, picture: Path, tmp_path: Path
) -> None:
    assert annotate(page, "picture", picture).startswith("Found: ")
    command = page.input_value("#picture-command textarea")
    assert command.startswith("annotate dataset=FOLDER prompts=classes.txt models=tiny")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "upload.png").write_bytes(picture.read_bytes())
    run_command(folder, tmp_path / "run", "prompts=[red circle,blue triangle]")
    (record,) = Run.open(tmp_path / "run").frames()
    expected = [
        (i.class_name, round(i.score, 3), i.area) for i in record.instances if i.score >= 0.3
    ]
    rows = page.locator("#picture-table [role=row]:has([role=gridcell]):visible")
    expect(rows).to_have_count(len(expected))
    cells = [
        [cell.strip() for cell in row.locator("[role=gridcell]").all_inner_texts()]
        for row in rows.all()
    ]
    seen = [(c[1], float(c[3]), int(c[4])) for c in cells]
    assert sorted(seen) == sorted(expected)

    before = result(page, "picture")
    slide(page, "picture-threshold", 1.0)  # no model is asked: at once
    page.wait_for_function(
        "s => document.querySelector('#picture-result img').src !== s", arg=before
    )
    assert "Nothing reaches 1.00; the best are drawn dashed" in said(page, "picture")
    slide(page, "picture-threshold", 0.3)
    page.wait_for_function(
        "() => document.getElementById('picture-status').innerText.startsWith('Found')"
    )

    page.click("#picture-fetch")
    page.wait_for_selector("#picture-files a", timeout=WAIT_MS)
    files = {}
    for link in page.locator("#picture-files a").all():
        with page.expect_download() as download:
            link.click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        files[path.name] = path
    with zipfile.ZipFile(files["coco.zip"]) as coco:
        document = json.loads(coco.read("annotations/instances_default.json"))
        assert len(document["annotations"]) == len(expected)
        assert any(name.startswith("images/") for name in coco.namelist())
    with zipfile.ZipFile(files["yolo_seg.zip"]) as yolo:
        assert "data.yaml" in yolo.namelist()


@needs_chromium
def test_a_click_rejects_an_object_and_the_exports_leave_it_out(
    page: Page, picture: Path, tmp_path: Path
) -> None:
    assert annotate(page, "picture", picture).startswith("Found: ")
    rows = page.locator("#picture-table [role=row]:has([role=gridcell]):visible")
    expect(rows).not_to_have_count(0)
    count = rows.count()
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "upload.png").write_bytes(picture.read_bytes())
    run_command(folder, tmp_path / "run", "prompts=[red circle,blue triangle]")
    (record,) = Run.open(tmp_path / "run").frames()
    first = max((i for i in record.instances if i.score >= 0.3), key=lambda i: i.score)
    ys, xs = np.nonzero(first.mask.decode())
    middle = len(xs) // 2
    image = page.locator("#picture-result img")
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    assert box is not None
    scale = min(box["width"] / record.width, box["height"] / record.height)
    left = box["x"] + (box["width"] - record.width * scale) / 2
    top = box["y"] + (box["height"] - record.height * scale) / 2
    page.mouse.click(left + (xs[middle] + 0.5) * scale, top + (ys[middle] + 0.5) * scale)
    expect(rows).to_have_count(count - 1)
    page.click("#picture-undo")
    expect(rows).to_have_count(count)


@needs_chromium
def test_a_clip_is_played_and_its_frames_are_looked_at(page: Page, clip: tuple[Path, str]) -> None:
    assert annotate(page, "clip", *clip).startswith("Found: ")
    page.wait_for_selector("#clip-line img")
    before = result(page, "clip")
    slide(page, "clip-frame", 6)
    wait_for_another(page, "clip", before)
    page.click("#clip-fetch")
    page.wait_for_selector("#clip-files a", timeout=WAIT_MS)
    video = page.locator("video").last
    video.evaluate("v => { v.muted = true; return v.play(); }")
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].some(v => v.currentTime > 0)"
    )


@needs_chromium
def test_what_cannot_be_done_is_a_sentence(page: Page, tmp_path: Path, picture: Path) -> None:
    page.click("#picture-run")
    assert said(page, "picture") == "Choose a picture first."
    assert "no class" in annotate(page, "picture", picture, "# nothing\n").lower()
    torn = tmp_path / "torn.png"
    torn.write_bytes(picture.read_bytes()[:200])
    assert annotate(page, "picture", torn) == "cannot decode: image file is truncated"


@needs_chromium
def test_it_stops_and_goes_on(page: Page, picture: Path) -> None:
    page.set_input_files("#picture-upload input[type=file]", str(picture))
    page.wait_for_timeout(1500)
    page.click("#picture-run")
    page.wait_for_function(
        "() => /oading/.test(document.getElementById('picture-status').innerText)"
    )
    page.click("#picture-stop")
    page.wait_for_function(
        "() => document.getElementById('picture-status').innerText === 'Stopped.'"
    )
    assert annotate(page, "picture", picture).startswith(("Found", "Nothing"))


@needs_chromium
def test_a_password_is_asked_for(browser: Any, tmp_path: Path) -> None:
    for address in served(tmp_path, "playground.password=secret"):
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("input[type=password]")
        assert page.locator("#picture-run").count() == 0
        page.fill("input:not([type=password])", "annotate")
        page.fill("input[type=password]", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#picture-run")
        page.close()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (["playground.host=0.0.0.0"], "set a password in ANNOTATE_PLAYGROUND_PASSWORD"),
        (["models=huge"], "playground.models=huge"),
        (["playground.prot=1"], "playground.prot: no such key"),
    ],
)
def test_a_wrong_command_is_one_line(
    capsys: pytest.CaptureFixture[str], keys: list[str], why: str
) -> None:
    from annotate.playground.__main__ import _playground
    from annotate.runner.command import run_command as carried_out

    assert carried_out(_playground, keys) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert why in line
