"""Names of staged pictures: kept where possible, never two alike, never outside."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from annotate.data.names import plan_names, portable_names
from exporters.staging import staged_suffix
from tests.exporters.runs import NASTY_NAMES


def test_names_stay_as_they_are_unless_they_would_collide() -> None:
    names = plan_names(NASTY_NAMES, labelled=True, suffix_for=staged_suffix)
    assert names["no dot.d/b.jpg"] == "no dot.d/b.jpg"
    assert names["b.JPG"] == "b.JPG"
    assert names["with space/ä ö/日本 語.png"] == "with space/ä ö/日本 語.png"
    assert names["a.png"] == "a_png.png"
    assert names["moving.gif"] == "moving.png"
    assert names == plan_names(reversed(NASTY_NAMES), labelled=True, suffix_for=staged_suffix)
    stems = Counter(str(Path(n).with_suffix("")).casefold() for n in names.values())
    assert max(stems.values()) == 1
    assert all(len(part.encode()) <= 255 for n in names.values() for part in Path(n).parts)
    assert not any("\n" in n or "/images/" in f"/{n}" for n in names.values())


def test_coco_keeps_relative_names() -> None:
    names = plan_names(NASTY_NAMES, labelled=False, suffix_for=staged_suffix)
    changed = {item for item, name in names.items() if item != name}
    alike = {"a.png", "a.jpg", "A.jpg", "k" * 251 + ".png", "k" * 251 + ".jpg"}
    alike |= {"cafe\u0301.jpg", "caf\u00e9.jpg"}
    assert changed - alike == {"moving.gif", "line\nbreak.jpg"}
    assert names["images/c.jpg"] == "images/c.jpg"
    stems = {Path(name).with_suffix("").as_posix().casefold() for name in names.values()}
    assert len(stems) == len(NASTY_NAMES)


def test_a_crafted_name_does_not_collide_with_a_hash() -> None:
    first = plan_names(["A.jpg", "a.jpg"], labelled=True, suffix_for=staged_suffix)
    crafted = ["A.jpg", "a.jpg", *first.values()]
    names = plan_names(crafted, labelled=True, suffix_for=staged_suffix)
    assert len({n.casefold() for n in names.values()}) == len(crafted)


@pytest.mark.parametrize("item", ["../evil.jpg", "a/../../../evil.jpg", "/evil.jpg", ".."])
@pytest.mark.parametrize("labelled", [True, False])
def test_no_name_leads_out_of_the_export(item: str, labelled: bool) -> None:
    (name,) = plan_names([item], labelled=labelled, suffix_for=staged_suffix).values()
    assert not Path(name).is_absolute()
    assert ".." not in Path(name).parts


@pytest.mark.parametrize("labelled", [True, False])
def test_folders_of_videos_hold_nothing_else(labelled: bool) -> None:
    videos = ["a.mp4", "A.mp4", "x/images", "images", "v", "v/w", "../out.mp4", "n" * 256, ".h.mp4"]
    stills = ["v/000003.jpg", "a.mp4/000001.jpg", "x/000001.jpg", "v/deeper/1.jpg", "images.jpg"]
    names = plan_names(stills, videos, labelled=labelled, suffix_for=staged_suffix)
    assert names.keys() == {*stills, *videos}
    assert names["v/w"] == "v/w"
    assert names["x/000001.jpg"] == "x/000001.jpg"
    folders = [names[video] for video in videos]
    assert len({f.casefold() for f in folders}) == len(videos)
    for still in stills:
        parent = str(Path(names[still]).parent)
        assert (parent.casefold() if labelled else parent) not in folders
        assert names[still] not in folders
    for name in names.values():
        parts = Path(name).parts
        assert ".." not in parts
        assert all(len(part.encode()) <= 255 for part in parts)
        assert not (labelled and ("images" in parts or any(p.startswith(".") for p in parts)))


def test_portable_names_are_plain_and_told_apart():
    stills = ["a b.jpg", "a_b.png", "x/y.jpg", "日本.png", "-dash.jpg", "k" * 300 + ".jpg"]
    names = portable_names(stills, ["clips/a.mp4"], suffix_for=lambda suffix: suffix)
    assert names["x/y.jpg"] == "x_y.jpg" and names["clips/a.mp4"] == "clips_a_mp4"
    assert names["-dash.jpg"] == "_-dash.jpg"
    stems = [name.rpartition(".")[0] or name for name in names.values()]
    assert len({stem.lower() for stem in stems}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,110}", stem) for stem in stems)
