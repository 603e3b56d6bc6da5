"""Pictures of a COCO json are found as tools lay them, here and on a store, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image as PilImage

from annotate.discover.listing import discover
from annotate.errors import ConfigError
from tests.stores import upload

LAYOUTS = [  # where the json is, the pictures, their names in the json, and the items
    ("instances.json", ["images/a.png"], ["a.png"], ["a.png"]),
    ("result.json", ["images/a.png", "images/b.png"], ["images/a.png", "images/b.png"], None),
    ("result.json", ["images/a.png"], ["images\\a.png"], ["images/a.png"]),
    ("instances.json", ["images/train/a.png"], ["train\\a.png"], ["train/a.png"]),
    ("annotations/instances_train2017.json", ["train2017/a.png"], ["a.png"], ["a.png"]),
    ("annotations/instances_val2017.json", ["images/val2017/a.png"], ["a.png"], ["a.png"]),
    ("annotations/instances_default.json", ["images/default/a.png"], ["a.png"], ["a.png"]),
    ("annotations/instances_default.json", ["images/a.png"], ["a.png"], ["a.png"]),
    ("annotations/instances_train.json", ["images/train/a.png"], ["train/a.png"], ["train/a.png"]),
    ("annotations/x.json", ["annotations/a.png"], ["a.png"], ["a.png"]),
    ("annotations/x.json", ["photos/a.png"], ["photos/a.png"], ["photos/a.png"]),
    ("train/_annotations.coco.json", ["train/a.png"], ["a.png"], ["a.png"]),
    ("_annotations.coco.json", ["a.png", "images/other.png"], ["a.png"], ["a.png"]),
    ("instances.json", ["images/a.png"], ["./a.png"], ["a.png"]),
    ("instances.json", ["images/a b.png"], ["a%20b.png"], ["a b.png"]),
    ("instances.json", ["images/a%20b.png"], ["a%20b.png"], ["a%20b.png"]),
    ("instances.json", ["images/back\\slash.png"], ["back\\slash.png"], ["back\\slash.png"]),
    ("instances.json", ["images/a.png"], ["a.png", "a.png"], ["a.png"]),
]


def lay(root: Path, json_at: str, pictures: list[str], names: list[object]) -> Path:
    for name in pictures:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PilImage.new("RGB", (4, 4)).save(root / name)
    listed = {"images": [{"id": n, "file_name": name} for n, name in enumerate(names)]}
    (root / json_at).parent.mkdir(parents=True, exist_ok=True)
    (root / json_at).write_text(json.dumps(listed))
    return root / json_at


@pytest.mark.parametrize(("json_at", "pictures", "names", "items"), LAYOUTS)
def test_pictures_are_where_tools_lay_them(
    tmp_path, json_at, pictures, names, items, quick_store, monkeypatch
):
    path = lay(tmp_path / "data", json_at, pictures, names)
    found = discover(str(path), kind="coco")
    assert [i.name for i in found.items] == (items or names)
    assert all(i.path.is_file() and found.root / i.name == i.path.resolve() for i in found.items)
    monkeypatch.chdir(path.parent)
    assert discover(path.name, kind="coco") == found
    url = upload(tmp_path / "data", f"memory://{tmp_path.name}/{len(json_at)}")
    there = discover(f"{url}/{json_at}", kind="coco")
    assert [i.name for i in there.items] == [i.name for i in found.items]
    assert str(there.root).removeprefix(url) == str(found.root).removeprefix(f"{tmp_path}/data")
    assert all(i.remote.seen[0] > 0 for i in there.items)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_hindrance(tmp_path, encoding):
    path = lay(tmp_path, "instances.json", ["images/ü.png"], ["ü.png"])
    path.write_text(path.read_text(), encoding=encoding)
    assert [i.name for i in discover(str(path), kind="coco").items] == ["ü.png"]


def test_an_absolute_name_may_lie_below_the_folder(tmp_path):
    path = lay(tmp_path, "x.json", ["images/a.png"], [str(tmp_path / "images/a.png")])
    assert [i.name for i in discover(str(path), kind="coco").items] == ["images/a.png"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../secret.png", "leaves the dataset's folder"),
        ("a/../../secret.png", "leaves the dataset's folder"),
        ("..\\secret.png", "leaves the dataset's folder"),
        ("/etc/secret.png", "it is absolute"),
        ("C:\\secret.png", "names a drive"),
        ("http://host/a.png", "it is a url"),
        ("file:///etc/secret.png", "it is a url"),
        ("a\0.png", "holds a NUL"),
        ("x" * 300 + ".png", "no file can have a name"),
        (7, r"images\[1\] has no 'file_name'"),
        ("%2e%2e/secret.png", None),
    ],
)
def test_names_that_leave_the_folder_are_refused_in_one_line(tmp_path, name, says):
    PilImage.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    path = lay(tmp_path / "data", "instances.json", ["images/a.png"], ["a.png", name])
    if says is None:  # what is not decoded is no way out
        (_, found) = sorted(
            discover(str(path), kind="coco").items, key=lambda i: i.name, reverse=True
        )
        assert not found.path.exists()
        return
    with pytest.raises(ConfigError, match=says) as caught:
        discover(str(path), kind="coco")
    assert str(caught.value).isprintable()


def test_what_is_not_there_or_not_read_is_counted(tmp_path, caplog):
    path = lay(tmp_path, "x.json", ["images/a.png"], ["a.png", "b.png", "notes.txt"])
    assert [i.name for i in discover(str(path), kind="coco").items] == ["a.png", "b.png"]
    assert "2 of 3 files that it lists are not there, such as 'b.png'" in caplog.text
    assert "1 of 3 files that it lists are of kinds that are not read, such as 'notes.txt'" in (
        caplog.text
    )
    (tmp_path / "images/a.png").rename(tmp_path / "images/A.PNG")
    with pytest.raises(ConfigError, match=r"none of the 3 files .* looked in images/, \./"):
        discover(str(path), kind="coco")


def test_links_of_the_owner_are_followed(tmp_path):
    """As DVC and git-annex lay them; one that leads nowhere for now is an item all the same."""
    path = lay(tmp_path / "data", "x.json", ["images/a.png"], ["a.png", "b.png"])
    (tmp_path / "data/images/a.png").rename(tmp_path / "store.png")
    (tmp_path / "data/images/a.png").symlink_to(tmp_path / "store.png")
    (tmp_path / "data/images/b.png").symlink_to(tmp_path / "unmounted.png")
    found = discover(str(path), kind="coco").items
    assert [i.path.exists() for i in found] == [True, False]


@pytest.mark.parametrize("text", ["[]", "{}", '{"images": 3}', '{"images": [3]}', "[" * 10**5, "x"])
def test_what_is_no_coco_json(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match="not a COCO json with images"):
        discover(str(tmp_path / "x.json"), kind="coco")
