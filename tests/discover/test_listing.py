import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annotate.data.types import Item
from annotate.decode.image import read_image
from annotate.discover.files import numbered_images
from annotate.discover.listing import discover
from annotate.errors import ConfigError, MediaError
from annotate.runner.pipeline import failed_record
from exporters.staging import stage_frames, stage_stills


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(path: Path | str, **kwargs) -> list[str]:
    return [item.name for item in discover(str(path), **kwargs).items]


def test_walks_recursively_and_keeps_relative_names(tmp_path):
    touch(tmp_path, "b/ü ä.JPG", "b/c/x.png", "a.jpeg", "notes.txt", "clip.mp4", ".hidden/x.png")
    found = discover(str(tmp_path))
    assert [i.name for i in found.items] == ["a.jpeg", "b/c/x.png", "b/ü ä.JPG", "clip.mp4"]
    assert [i.media for i in found.items] == ["image", "image", "image", "video"]
    assert found.root == tmp_path.resolve()


def test_images_only(tmp_path):
    touch(tmp_path, "a.jpg", "b.mp4")
    assert names(tmp_path, kind="images") == ["a.jpg"]


def test_one_file(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    assert names(tmp_path / "b.jpg") == ["b.jpg"]


def test_glob_names_start_at_the_fixed_part(tmp_path):
    touch(tmp_path, "x/1/a.jpg", "x/2/a.jpg", "x/2/b.png")
    assert names(tmp_path / "x" / "*" / "a.jpg") == ["1/a.jpg", "2/a.jpg"]
    assert names(tmp_path / "x" / "**" / "*.png") == ["2/b.png"]


def test_symlinks_are_followed_and_loops_are_not(tmp_path):
    touch(tmp_path, "data/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    assert names(tmp_path / "data") == ["a.jpg", "dangling.jpg", "linked/b.jpg"]


def test_a_fifo_is_an_item_that_will_fail_not_a_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(tmp_path) == ["pipe.jpg"]


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user to whom permissions apply: root reads everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can see, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*/"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])  # to be listed and to be entered are two
def test_a_folder_that_may_not_be_listed_is_an_item_that_fails(open_folder, mode):
    touch(open_folder, "a.jpg", "z.jpg", "locked/b.jpg", "locked/c/d.jpg")
    (open_folder / "locked").chmod(mode)
    with nobody():
        found = discover(str(open_folder))
        assert [i.name for i in found.items] == ["a.jpg", "locked", "z.jpg"]
        with pytest.raises(MediaError, match="permission denied: the folder cannot be listed"):
            read_image(found.items[1].path)


def test_a_folder_of_frames_that_may_not_be_listed_is_a_video_that_fails(open_folder):
    touch(open_folder, "1.png", "x/1.png", "locked/1.png")
    (open_folder / "locked").chmod(0)
    with nobody():
        found = discover(str(open_folder), kind="frames")
    at = open_folder.name
    assert [i.name for i in found.items] == [at, f"{at}/locked", f"{at}/x"]
    assert {i.media for i in found.items} == {"video"}


@pytest.mark.parametrize("source", ["locked", "locked/inner", "locked/clip.mp4"])
def test_an_export_goes_on_without_what_may_not_be_read(open_folder, source):
    touch(open_folder, "locked/inner/1.png", "locked/clip.mp4")
    (open_folder / "locked").chmod(0)
    record = failed_record(Item("x", open_folder), "")
    with nobody():
        for stage in (stage_frames, stage_stills):
            staged = stage(open_folder / source, [record], lambda _: open_folder, how="copy")
            assert [reason for _, reason in staged] == ["unreadable"]


def test_a_dataset_that_may_not_be_listed_at_all_is_refused(open_folder):
    touch(open_folder, "data/a.jpg")
    (open_folder / "data").chmod(0)
    with nobody(), pytest.raises(ConfigError, match="permission denied; the dataset cannot"):
        discover(str(open_folder / "data"))


def test_coco_lists_its_images(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/not listed.jpg")
    listed = {"images": [{"file_name": "b.jpg"}, {"file_name": "a.jpg"}]}
    (tmp_path / "truth.json").write_text(json.dumps(listed))
    found = discover(str(tmp_path / "truth.json"), kind="coco")
    assert [i.name for i in found.items] == ["a.jpg", "b.jpg"]
    assert all(i.path.is_file() for i in found.items)


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/x.jpg"])
def test_coco_names_cannot_leave_the_folder(tmp_path, name):
    (tmp_path / "truth.json").write_text(json.dumps({"images": [{"file_name": name}]}))
    with pytest.raises(ConfigError, match="leaves the folder"):
        discover(str(tmp_path / "truth.json"), kind="coco")


@pytest.mark.parametrize(
    ("path", "says"),
    [("nowhere", "no such file or folder"), ("nothing/*.jpg", "no image or video")],
)
def test_nothing_there_is_one_clear_error(tmp_path, path, says):
    with pytest.raises(ConfigError, match=says):
        discover(str(tmp_path / path))


def test_empty_folder(tmp_path):
    with pytest.raises(ConfigError, match="no image or video in it"):
        discover(str(tmp_path))


def test_unknown_kind(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.kind=pictures: expected one of"):
        discover(str(tmp_path), kind="pictures")


def test_videos_only(tmp_path):
    touch(tmp_path, "a.jpg", "b.mp4", "c/d.MOV")
    assert names(tmp_path, kind="videos") == ["b.mp4", "c/d.MOV"]


def test_each_folder_of_numbered_images_is_one_video(tmp_path):
    touch(tmp_path, "x/1.png", "x/2.png", "x/inner/cam_01.jpg", "y/cover.jpg", "z/c.mp4", "z/1.txt")
    found = discover(str(tmp_path), kind="frames")
    assert [(i.name, i.media) for i in found.items] == [("x", "video"), ("x/inner", "video")]
    assert [i.path for i in found.items] == [found.root / i.name for i in found.items]
    assert names(tmp_path) == ["x/1.png", "x/2.png", "x/inner/cam_01.jpg", "y/cover.jpg", "z/c.mp4"]


def test_a_root_of_frames_is_named_by_its_own_name(tmp_path, monkeypatch):
    touch(tmp_path, "clip/1.png", "clip/inner/1.png")
    monkeypatch.chdir(tmp_path / "clip")
    for path in (tmp_path / "clip", "."):
        found = discover(str(path), kind="frames")
        assert found.root == tmp_path.resolve()
        assert [i.name for i in found.items] == ["clip", "clip/inner"]
        assert all((found.root / i.name).samefile(i.path) for i in found.items)


def test_frames_are_counted_as_people_count(tmp_path):
    frames = ["1.jpg", "2.jpg", "10.jpg", "a1.jpg", "a02.jpg", "a2.jpg", "a2_3.jpg"]
    touch(tmp_path, *sorted(frames), "cover.jpg", ".3.jpg", "4.txt")
    assert [p.name for p in numbered_images(tmp_path)] == frames


def test_a_folder_without_numbered_images_has_no_frames(tmp_path):
    touch(tmp_path, "cover.jpg")
    with pytest.raises(ConfigError, match="no folder of numbered images in it"):
        discover(str(tmp_path), kind="frames")


def test_what_earlier_runs_wrote_and_hidden_files_are_left_out(tmp_path):
    touch(tmp_path, "a.jpg", "runs/x/config.yaml", "runs/x/records/p", "runs/x/contact_sheet.png")
    touch(tmp_path, "._b.jpg", ".trash/c.jpg", "runs/x/exports/coco/images/a.jpg")
    assert names(tmp_path) == ["a.jpg"]
    assert names(tmp_path / "**" / "*.jpg") == ["a.jpg"]


@pytest.mark.parametrize("path", ["", " ", "~nobody-of-that-name/x"])
def test_paths_that_lead_nowhere(path):
    with pytest.raises(ConfigError):
        discover(path)
