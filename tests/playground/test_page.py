"""The page in a real browser: upload or choose, run, sliders, clicks, downloads, stop."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from annotate.data.types import FrameRecord, Instance
from annotate.record import reviews
from annotate.record.run_folder import Run
from tests.app_page import needs_chromium
from tests.playground.driving import CLASSES, WAIT_MS, PageTab, served
from tests.small_runs import run as run_command
from tests.small_runs import tree

pytestmark = needs_chromium
LONG_CLIP = "clips/clip_01.mp4"  # of the demo: some seconds of work


@pytest.fixture(scope="module")
def by_command(picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What the command line makes of the picture."""
    folder = tmp_path_factory.mktemp("by_command")
    shutil.copytree(picture.parent, folder / "pictures")
    run_command(folder / "pictures", folder / "run", "dataset.kind=images")
    return Run.open(folder / "run")


def inside(instance: Instance) -> tuple[float, float]:
    """A pixel of its mask."""
    ys, xs = np.nonzero(instance.mask.decode())
    return float(xs[len(xs) // 2]), float(ys[len(ys) // 2])


def run_of_page(temporary: Path, item: str) -> Path:
    """The run folder of the job that looked at an item last."""
    runs = [
        run
        for run in temporary.glob("annotate-playground-*/*/run")
        if (run.parent / "dataset" / item).is_file()
    ]
    return max(runs, key=lambda run: run.stat().st_mtime)


def test_a_picture_is_annotated_as_the_command_line_does(
    page: Page, picture: Path, by_command: Run, temporary: Path, tmp_path: Path
) -> None:
    tab = PageTab(page, "picture")
    assert tab.annotate(picture).startswith("Found: ")
    command = tab.part("command", "textarea").input_value()
    assert command.startswith("annotate dataset=FOLDER prompts=classes.txt models=tiny")
    assert tree(run_of_page(temporary, picture.name), "records") == tree(by_command.path, "records")
    (record,) = by_command.frames()
    expected = [
        (i.class_name, round(i.score, 3), i.area) for i in record.instances if i.score >= 0.3
    ]
    expect(tab.rows).to_have_count(len(expected))
    assert sorted((c[1], float(c[3]), int(c[4])) for c in tab.cells()) == sorted(expected)

    before = tab.result
    tab.slide("threshold", 1.0)  # no model is asked: at once
    tab.wait_for_another(before)
    tab.wait_to_say("Nothing reaches 1.00; the best are drawn dashed")
    tab.slide("threshold", 0.3)
    tab.wait_to_say("Found")

    files = tab.downloads(tmp_path)
    with zipfile.ZipFile(files["coco.zip"]) as coco:
        document = json.loads(coco.read("annotations/instances_default.json"))
        assert len(document["annotations"]) == len(expected)
        assert [i["file_name"] for i in document["images"]] == [picture.name]
        assert any(name.startswith("images/") for name in coco.namelist())
    with zipfile.ZipFile(files["yolo_seg.zip"]) as yolo:
        assert "data.yaml" in yolo.namelist()
    assert files["classes.txt"].read_text() == CLASSES
    assert (files["annotated.jpg"]).stat().st_size > 1000


def test_clicks_reject_and_add_and_the_downloads_have_it(
    page: Page, picture: Path, by_command: Run, tmp_path: Path
) -> None:
    tab = PageTab(page, "picture")
    assert tab.annotate(picture).startswith("Found: ")
    (record,) = by_command.frames()
    size = record.width, record.height
    first = max(record.instances, key=lambda i: i.score)
    kept = sum(i.score >= 0.3 for i in record.instances)
    expect(tab.rows).to_have_count(kept)
    tab.click_at(inside(first), size)
    expect(tab.rows).to_have_count(kept - 1)
    tab.part("undo").click()
    expect(tab.rows).to_have_count(kept)

    # Rejected, the object is background: a click there has SAM 2 find it again.
    tab.click_at(inside(first), size)
    expect(tab.rows).to_have_count(kept - 1)
    tab.click_at(inside(first), size)
    expect(tab.rows).to_have_count(kept, timeout=WAIT_MS)
    tab.choose("is one more point on")
    tab.wait_to_say("Found")
    before = tab.result
    tab.click_at((inside(first)[0] + 1, inside(first)[1]), size)
    tab.wait_for_another(before)
    expect(tab.rows).to_have_count(kept)
    document = coco_of(tab.downloads(tmp_path))
    expect(tab.part("files")).not_to_contain_text("before the last change")
    added = [a for a in document["annotations"] if a["score"] == 1.0]
    assert len(document["annotations"]) == kept and len(added) == 1
    assert added[0]["area"] == pytest.approx(first.area, rel=0.25)
    tab.part("undo").click()
    expect(tab.part("files")).to_contain_text("before the last change")


def coco_of(files: dict[str, Path]) -> Any:
    with zipfile.ZipFile(files["coco.zip"]) as coco:
        return json.loads(coco.read("annotations/instances_default.json"))


def test_a_click_makes_an_example_which_another_grounder_is_asked_for(
    page: Page, picture: Path, by_command: Run, tmp_path: Path
) -> None:
    tab = PageTab(page, "picture")
    assert tab.annotate(picture).startswith("Found: ")
    (record,) = by_command.frames()
    first = max(record.instances, key=lambda i: i.score)
    tab.choose("makes the object an example")
    tab.click_at(inside(first), (record.width, record.height))
    tab.wait_to_say("It is an example now")
    text = tab.part("classes", "textarea").input_value()
    assert f"examples/{picture.name}#" in text and text.startswith("classes:")
    tab.begin()
    tab.wait_to_say("owlv2")  # whose weights are not here


def test_a_clip_is_the_command_lines_is_played_and_looked_at_frame_by_frame(
    page: Page, clip: tuple[Path, str], temporary: Path, tmp_path: Path
) -> None:
    path, classes = clip
    tab = PageTab(page, "clip")
    assert tab.annotate(path, classes).startswith("Found: ")
    run_command(path.parent, tmp_path / "run", f"prompts=[{','.join(classes.splitlines())}]")
    made = tree(run_of_page(temporary, path.name), "records")
    assert made == tree(tmp_path / "run", "records")
    page.wait_for_selector("#clip-line img")
    video = page.locator("#clip-played video")
    video.wait_for(timeout=WAIT_MS)
    video.evaluate("v => { v.muted = true; return v.play(); }")
    page.wait_for_function("() => document.querySelector('#clip-played video').currentTime > 0")
    before = tab.result
    tab.slide("frame", 6)
    tab.wait_for_another(before)

    records = list(Run.open(tmp_path / "run").frames())
    rows = tab.rows.count()
    tab.click_at(*place_of_track(records[6]))
    expect(tab.rows).to_have_count(rows - 1)  # the whole track
    expect(tab.part("played")).to_contain_text("before the last change")
    tab.click_at(*place_of_track(records[6]))
    expect(tab.rows).to_have_count(rows, timeout=WAIT_MS)
    frames = {int(row[0]): int(row[3]) for row in tab.cells()}
    assert frames[max(frames)] == len(records)  # it is followed both ways
    files = tab.downloads(tmp_path)
    assert {"annotated.mp4", "coco.zip", "yolo_seg.zip"} < files.keys()
    expect(tab.part("played")).not_to_contain_text("before the last change")


def place_of_track(record: FrameRecord) -> tuple[tuple[float, float], tuple[int, int]]:
    best = max(record.instances, key=lambda i: i.score)
    return inside(best), (record.width, record.height)


def test_an_item_of_the_demo_is_chosen_with_its_class_list(page: Page) -> None:
    tab = PageTab(page, "picture")
    tab.take("stills/still_03.png")
    expect(tab.part("classes", "textarea")).to_have_value(re.compile("white star"))
    tab.begin()
    assert "2 white star" in tab.said()


def test_who_has_the_password_corrects_a_picture_of_a_run(
    browser: Any, picture: Path, by_command: Run, tmp_path: Path
) -> None:
    shutil.copytree(by_command.path, tmp_path / "run")
    keys = [f"run={tmp_path / 'run'}", "playground.password=secret"]
    (tmp_path / "temporary").mkdir()
    with served(tmp_path / "temporary", *keys) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("input[type=password]")
        assert page.locator("#picture-run").count() == 0
        page.fill("input:not([type=password])", "annotate")
        page.fill("input[type=password]", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#picture-run")
        tab = PageTab(page, "picture")
        assert tab.part("classes", "textarea").input_value() == CLASSES
        tab.take(picture.name)
        tab.begin()
        assert tab.said().startswith("Found: ")
        (record,) = by_command.frames()
        first = max(record.instances, key=lambda i: i.score)
        rows = tab.rows.count()
        tab.click_at(inside(first), (record.width, record.height))
        expect(tab.rows).to_have_count(rows - 1)
        tab.part("save").click()
        tab.wait_to_say("reviews: 1 saved")
        tab.part("undo").click()
        expect(tab.rows).to_have_count(rows)
        tab.part("save").click()
        tab.wait_to_say("reviews: 0 saved, 1 taken back")
        tab.click_at(inside(first), (record.width, record.height))
        expect(tab.rows).to_have_count(rows - 1)
        tab.part("save").click()
        tab.wait_to_say("reviews: 1 saved")
        page.close()
    made = [(d.instance_id, d.tags) for d in reviews.read(tmp_path / "run" / "reviews")]
    assert made == [(first.instance_id, tags) for tags in (("reject",), (), ("reject",))]


def test_what_is_chosen_meanwhile_is_what_is_seen(page: Page, clip: tuple[Path, str]) -> None:
    tab = PageTab(page, "clip")
    tab.take(LONG_CLIP)
    tab.begin()
    tab.wait_to_say("annotated")
    tab.upload(clip[0])
    page.wait_for_timeout(2000)
    assert not tab.status.startswith("Found") and tab.rows.count() == 0
    tab.begin(clip[1])
    tab.wait_to_say("annotated")
    tab.slide("threshold", 0.99)
    tab.wait_to_say("Nothing reaches 0.99")
    tab.part("played", "video").wait_for(timeout=WAIT_MS)
    expect(tab.part("played")).not_to_contain_text("before the last change")
    tab.slide("threshold", 0.3)
    tab.wait_to_say("Found")
    expect(tab.part("played")).to_contain_text("before the last change")
    assert tab.rows.count() > 0
    tab.take(LONG_CLIP)
    expect(tab.rows).to_have_count(0)
    expect(tab.part("played", "video")).to_have_count(0)


def test_it_stops_and_goes_on(page: Page) -> None:
    tab = PageTab(page, "clip")
    tab.take(LONG_CLIP)
    tab.begin()
    tab.wait_to_say("annotated")
    tab.part("stop").click()
    tab.wait_to_say("Stopped.")
    page.wait_for_timeout(1500)
    assert tab.status == "Stopped."  # it keeps the last word
    tab.begin()
    tab.wait_to_say("annotated")
    assert tab.said().startswith("Found: ")


def test_a_second_visitor_waits_and_may_give_up(
    browser: Any, address: str, page: Page, picture: Path
) -> None:
    first = PageTab(page, "clip")
    first.take(LONG_CLIP)
    other = browser.new_page()
    other.goto(address)
    second = PageTab(other, "picture")
    second.upload(picture)
    first.begin()
    first.wait_to_say("annotated")
    second.begin(CLASSES)
    second.wait_to_say("queue")
    second.part("stop").click()
    second.wait_to_say("Stopped.")
    assert first.said().startswith("Found: ")  # whose job it was not
    other.wait_for_timeout(1000)
    assert second.status == "Stopped."
    second.begin()
    second.wait_to_say("Found: ")
    other.close()
