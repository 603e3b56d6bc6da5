"""Nothing is passed over in silence: what is no item is counted by kind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data.types import Item
from annotate.discover import files, left_out, listing
from annotate.discover.files import is_transport_stream, look_like_frames
from annotate.discover.left_out import LeftOut, folders_like_videos
from annotate.discover.listing import discover
from annotate.errors import ConfigError
from annotate.runner.summary import table
from tests.small_runs import run, still

TYPESCRIPT = b"export const G = 1;\n" * 500
PACKETS = (b"G" + bytes(187)) * 20


def put(root: Path, **content: bytes) -> None:
    for name, data in content.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_what_is_not_read_is_counted_by_kind(tmp_path):
    put(tmp_path, a_jpg=b"", b_JPE=b"", c_mpo=b"", d_wmv=b"", e_txt=b"", f_TXT=b"", g_tga=b"")
    put(tmp_path, noext=b"", photo_jpg_1=b"", p_jpg_2=b"", sub__q_xml=b"")
    (tmp_path / "photo.jpg_large").write_bytes(b"")
    (tmp_path / ".hidden.txt").write_bytes(b"")
    found = discover(str(tmp_path))
    assert [i.name for i in found.items] == ["a.jpg", "b.JPE", "c.mpo", "d.wmv"]
    assert dict(found.left_out.kinds) == {
        ".(number)": 2, ".txt": 2, ".jpg_large": 1, ".tga": 1, ".xml": 1, "no suffix": 1,
    }  # fmt: skip
    assert str(found.left_out).startswith("8 files are not read: 2 .(number), 2 .txt, 1 .jpg_large")
    only = discover(str(tmp_path), kind="videos")
    assert only.left_out.kinds[".jpg"] == only.left_out.kinds[".mpo"] == 1


def test_a_folder_without_items_says_what_there_is(tmp_path):
    put(tmp_path, a_tga=b"", b_ts=TYPESCRIPT)
    with pytest.raises(ConfigError, match=r"no image or video in it .* 1 .tga, 1 .ts without vid"):
        discover(str(tmp_path))


def test_names_cannot_break_the_line(tmp_path):
    (tmp_path / "a.x\n\x1b[31m").write_bytes(b"")
    (tmp_path / f"a.{'y' * 99}").write_bytes(b"")
    put(tmp_path, a_jpg=b"")
    assert dict(discover(str(tmp_path)).left_out.kinds) == {"other": 2}


def test_many_kinds_stay_one_line():
    said = str(LeftOut({f".{n:x}x": 1 for n in range(30)}))
    assert said.count(".") == left_out.SHOWN and said.endswith("and 20 more kinds")


@pytest.mark.parametrize("suffix", ["ts", "mts", "TS"])
def test_a_ts_is_a_video_by_its_content(tmp_path, suffix):
    put(tmp_path, **{f"code_{suffix}": TYPESCRIPT, f"film_{suffix}": PACKETS})
    put(tmp_path, **{f"late_{suffix}": bytes(100) + PACKETS, f"empty_{suffix}": b""})
    (tmp_path / f"list.{suffix}").write_text("ffconcat version 1.0\nfile film.ts\n")
    found = discover(str(tmp_path))
    assert [i.name for i in found.items] == [f"film.{suffix}", f"late.{suffix}"]
    assert dict(found.left_out.kinds) == {f".{suffix.lower()} without video": 3}


@pytest.mark.parametrize("packet", [188, 192, 204])
def test_packets_of_every_size_are_known(packet):
    assert is_transport_stream((b"G" + bytes(packet - 1)) * 5)
    assert not is_transport_stream((b"G" + bytes(packet)) * 5)
    assert not is_transport_stream((b"G" + bytes(packet - 1)) * 4)


def test_pictures_of_phones_need_an_extra(tmp_path, monkeypatch):
    suffixes = files.IMAGE_SUFFIXES - files.HEIF_SUFFIXES
    monkeypatch.setattr(listing, "IMAGE_SUFFIXES", suffixes)
    monkeypatch.setattr(left_out, "heif_plugin", lambda: None)
    put(tmp_path, a_jpg=b"", b_HEIC=b"", c_heic=b"", d_heif=b"")
    found = discover(str(tmp_path))
    assert [i.name for i in found.items] == ["a.jpg"]
    assert str(found.left_out) == (
        "3 files are not read: 2 .heic (pip install 'annotate[heic]'), "
        "1 .heif (pip install 'annotate[heic]')"
    )
    monkeypatch.setattr(listing, "IMAGE_SUFFIXES", suffixes | files.HEIF_SUFFIXES)
    assert len(discover(str(tmp_path)).items) == 4


@pytest.mark.parametrize(
    ("names", "like"),
    [
        (["00001.jpg", "00002.jpg", "00003.jpg"], True),
        (["frame_0000.png", "frame_0010.png", "frame_0020.png", "cover.png"], False),
        ([f"frame_{n:04d}.png" for n in range(0, 200, 10)] + ["cover.png"], True),
        ([f"{n}.jpg" for n in range(50) if n not in (7, 8)], True),  # two were lost
        (["000000000139.jpg", "000000000285.jpg", "000000000632.jpg"], False),
        ([f"{name}_1.jpg" for name in "abcdef"], False),
        (["1.jpg", "2.jpg"], False),
        ([], False),
    ],
)
def test_names_in_a_row_look_like_frames(names, like):
    assert look_like_frames(names) == like


def test_folders_that_look_like_videos_are_named():
    items = [Item(f"{folder}/{n:03d}.png", Path()) for folder in ("b", "a/x") for n in range(5)]
    items += [Item(f"{n}.mp4", Path(), "video") for n in range(5)]
    assert folders_like_videos(items) == ("a/x", "b")


def test_a_run_says_and_counts_it(tmp_path):
    (tmp_path / "data").mkdir()
    for n in range(3):
        still(tmp_path / "data" / f"{n}.png", n)
    put(tmp_path / "data", notes_txt=b"", x_ts=TYPESCRIPT)
    result = run(tmp_path / "data", tmp_path / "run")
    assert result.left_out == {".ts without video": 1, ".txt": 1}
    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert written["left_out"] == result.left_out
    log = (tmp_path / "run" / "run.log").read_text()
    assert "2 files are not read: 1 .ts without video, 1 .txt" in log
    place = tmp_path / "data"
    assert result.notes[1].startswith(f"{place}: images numbered in a row")
    assert result.notes[1] in log
    assert [line for line in table(result).splitlines() if line in result.notes] == result.notes


def test_a_run_says_how_deep_pictures_were_scaled(tmp_path):
    (tmp_path / "data").mkdir()
    values = np.linspace(0, 4000, 64 * 64).reshape(64, 64).astype(np.uint16)
    for name in ("a.png", "b.tif"):
        PilImage.fromarray(values).save(tmp_path / "data" / name)
    result = run(tmp_path / "data", tmp_path / "run")
    assert result.scaled == {"as 12 bits": 2}
    assert "scaled as 12 bits" in (tmp_path / "run" / "run.log").read_text()
