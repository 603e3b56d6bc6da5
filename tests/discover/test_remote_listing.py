"""Items and class lists on a store are those of a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from annotate.decode import download
from annotate.discover import listing
from annotate.discover.class_list import load_prompts
from annotate.discover.files import numbered_images
from annotate.errors import ConfigError, PromptError
from annotate.store.remote import Store
from tests.stores import upload

pytestmark = pytest.mark.usefixtures("quick_store")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Files to be found, and others to be left out."""
    folder = tmp_path / "mixed"
    for name in (
        "a.JPG", "b/ü ä.png", "b/c/1.png", "b/c/02.png", "clip.mp4", "notes.txt", "._a.jpg",
        ".trash/x.jpg", "runs/x/config.yaml", "runs/x/records/p", "runs/x/exports/y.jpg",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "film.ts").write_bytes((b"G" + bytes(187)) * 9)
    (folder / "code.ts").write_text("export const a = 1;\n" * 99)
    listed = {"images": [{"file_name": "b/ü ä.png"}, {"file_name": "gone.png"}]}
    (folder / "listed.json").write_text(json.dumps(listed))
    return folder


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        ("", "auto"), ("", "images"), ("", "videos"), ("", "frames"), ("b/c", "frames"),
        ("/a.JPG", "auto"), ("/**/*.png", "auto"), ("/*.*", "auto"), ("/b/*/*.png", "auto"),
        ("/listed.json", "coco"),
    ],
)  # fmt: skip
def test_a_store_has_the_items_that_a_folder_has(mixed, place, rest, kind):
    rest = f"/{rest}".replace("//", "/").rstrip("/")
    upload(mixed, place)
    here = listing.discover(f"{mixed}{rest}", kind=kind)
    there = listing.discover(f"{place}{rest}", kind=kind)
    assert [(i.name, i.media) for i in there.items] == [(i.name, i.media) for i in here.items]
    assert (there.left_out, there.like_videos) == (here.left_out, here.like_videos)
    assert str(here.root) == str(there.root).replace(place, str(mixed))
    for item in there.items:
        with download.at_hand(item) as at_hand:
            twin = next(i for i in here.items if i.name == item.name)
            assert at_hand.path.exists() == twin.path.exists()
            if at_hand.path.is_file():
                assert at_hand.path.read_bytes() == twin.path.read_bytes()
            elif twin.path.exists():
                frames = [numbered_images(p) for p in (at_hand.path, twin.path)]
                assert [p.name for p in frames[0]] == [p.name for p in frames[1]]
    assert not list((Path(os.environ["ANNOTATE_CACHE"]) / "items").glob("*/*"))


@pytest.mark.parametrize(
    ("rest", "says"), [("/none", "no such file"), ("/*.gif", "no image or video in it")]
)
def test_nothing_on_a_store_is_one_line(mixed, place, rest, says):
    upload(mixed, place)
    with pytest.raises(ConfigError, match=says):
        listing.discover(f"{place}{rest}")
    with pytest.raises(ConfigError, match="bucket itself must be named"):
        listing.discover("s3://*/x.jpg")


def test_class_lists_are_read_from_a_store():
    Store("memory://words").write_text("classes.txt", "cat\ndog\n")
    assert load_prompts("memory://words/classes.txt").names == ["cat", "dog"]
    with pytest.raises(PromptError, match="cannot read it"):
        load_prompts("memory://words/none.txt")
