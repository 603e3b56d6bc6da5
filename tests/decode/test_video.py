"""Real video bytes, written here: times, turns, sizes and every kind of damage."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data.types import Frame, Item
from annotate.decode.video import Video, frames_promised, open_video
from annotate.discover.files import VIDEO_SUFFIXES
from annotate.discover.listing import discover
from annotate.errors import MediaError, StorageError
from annotate.report.video_writer import VideoWriter

W, H = 64, 48
CODECS = {".avi": "mpeg4", ".webm": "libvpx", ".mpg": "mpeg2video"}


def scene(n: int, size_wh: tuple[int, int] = (W, H)) -> np.ndarray:
    """A red left half, a green top left corner, and a grey bar whose place tells the frame."""
    w, h = size_wh
    image = np.full((h, w, 3), 90, np.uint8)
    image[:, : w // 2] = [200, 30, 30]
    image[: h // 3, : w // 4] = [30, 200, 30]
    image[-8:, 2 * n : 2 * n + 4] = 250
    return image


def write(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    turn: dict[str, Any] | None = None,
    times_ms: Sequence[int] = (),
    **options: str,
) -> Path:
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS.get(path.suffix, "libx264"), rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = options or {"threads": "1"}
        if turn:
            stream.set_display_rotation(**turn)
        if times_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times_ms:
                frame.pts, frame.time_base = times_ms[n], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def opened(path: Path, **limits: int) -> Video:
    return open_video(Item(path.name, path, "video"), **limits)


def until_damage(path: Path) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    try:
        for frame in opened(path).frames():
            frames.append(frame)
    except MediaError as error:
        return frames, str(error)
    return frames, ""


def off_by(image: np.ndarray, expected: np.ndarray) -> float:
    assert image.shape == expected.shape
    assert image.dtype == np.uint8
    return float(np.abs(image.astype(int) - expected).mean())


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg"])
def test_every_container_gives_its_frames_and_times(tmp_path: Path, suffix: str) -> None:
    video = opened(write(tmp_path / f"a b: %d {suffix}", map(scene, range(20))))
    assert video.size_wh == (W, H)
    assert video.fps == pytest.approx(25)
    assert suffix == ".mpg" or abs(frames_promised(video.item) - 20) <= 1  # one packet of no length
    frames = list(video.frames())
    assert [f.index for f in frames] == list(range(20))
    assert [f.time_s for f in frames] == pytest.approx([n / 25 for n in range(20)])
    assert max(off_by(f.image, scene(f.index)) for f in frames) < 12
    assert frames[3].frame_id == f"a b: %d {suffix}#000003"


def test_stride_and_start_keep_the_count_of_all_frames(tmp_path: Path) -> None:
    video = opened(write(tmp_path / "a.mp4", map(scene, range(20))))
    assert [f.index for f in video.frames(stride=5)] == [0, 5, 10, 15]
    some = list(video.frames(stride=7, start=4))
    assert [(f.index, f.time_s) for f in some] == [(4, 0.16), (11, 0.44), (18, 0.72)]
    assert all(off_by(f.image, scene(f.index)) < 8 for f in some)
    assert list(video.frames(start=20)) == []


def test_the_next_index_is_asked_for_when_it_is_due(tmp_path: Path) -> None:
    video = opened(write(tmp_path / "a.mp4", map(scene, range(9))))
    asked: list[int] = []

    def indices() -> Iterable[int]:
        for n in (1, 2, 6):
            asked.append(n)
            yield n

    frames = video.frames_at(indices())
    assert (next(frames).index, asked) == (1, [1])
    assert (next(frames).index, asked) == (2, [1, 2])
    assert [f.index for f in frames] == [6]


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_ms = [700, 710, 750, 1900, 1940]  # from the first frame: 0, 10, ...
    path = write(tmp_path / "a.mp4", map(scene, range(5)), times_ms=times_ms)
    times = [f.time_s for f in opened(path).frames()]
    assert times == pytest.approx([0, 0.01, 0.05, 1.2, 1.24], abs=1e-6)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
def test_turned_and_mirrored_videos_come_upright(tmp_path: Path, degrees: int, hflip: bool) -> None:
    # What FFmpeg says of the same number: turned counter-clockwise, then mirrored.
    upright = np.rot90(scene(4), degrees // 90)
    upright = upright[:, ::-1] if hflip else upright
    turn = {"degrees": degrees, "hflip": hflip}
    video = opened(write(tmp_path / "a.mp4", [scene(4)] * 3, turn=turn))
    assert video.size_wh == (upright.shape[1], upright.shape[0])
    frames = list(video.frames())
    assert len(frames) == 3
    assert off_by(frames[2].image, upright) < 8
    assert frames[2].image.flags.c_contiguous


def test_passes_are_equal_and_close_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", map(scene, range(9)))
    video = opened(path)
    first, second = (np.stack([f.image for f in video.frames()]) for _ in range(2))
    assert np.array_equal(first, second)
    frames = video.frames()
    next(frames)
    is_open = [p for p in Path("/proc/self/fd").glob("*") if p.exists() and p.samefile(path)]
    frames.close()
    still_open = [p for p in Path("/proc/self/fd").glob("*") if p.exists() and p.samefile(path)]
    assert (len(is_open), still_open) == (Path("/proc/self/fd").is_dir(), [])


def test_frames_are_not_held_until_garbage_is_collected(tmp_path: Path) -> None:
    video = opened(write(tmp_path / "a.mp4", map(scene, range(20)), turn={"degrees": 90}))
    gc.collect()
    gc.disable()
    try:
        for frame in video.frames():
            held = sum(type(o) is av.VideoFrame for o in gc.get_objects())
            assert held <= 10, f"{held} decoded frames at {frame.index}"  # a codec delays a few
    finally:
        gc.enable()


def test_a_folder_of_numbered_images_is_a_video(tmp_path: Path) -> None:
    for n in (1, 2, 10):
        PilImage.fromarray(scene(n)).save(tmp_path / f"{n}.png")
    (tmp_path / "cover.png").write_bytes(b"no frame")
    video = opened(tmp_path)
    assert (video.fps, video.size_wh, frames_promised(video.item)) == (25, (W, H), 3)
    frames = list(video.frames())
    assert [(f.index, f.time_s) for f in frames] == [(0, 0), (1, 0.04), (2, 0.08)]
    assert all(np.array_equal(f.image, scene(n)) for f, n in zip(frames, (1, 2, 10), strict=True))
    assert [f.index for f in video.frames(stride=2)] == [0, 2]


def test_a_bad_image_in_a_folder_is_an_error_at_its_frame(tmp_path: Path) -> None:
    PilImage.fromarray(scene(0)).save(tmp_path / "0.png")
    PilImage.fromarray(scene(0, (W, H + 2))).save(tmp_path / "1.png")
    assert until_damage(tmp_path)[1] == "frame 1 is 64x50, the first is 64x48"
    (tmp_path / "1.png").write_bytes(b"torn")
    frames, says = until_damage(tmp_path)
    assert (len(frames), says[:22]) == (1, "1.png: cannot decode: ")


def test_a_change_of_size_is_an_error_at_its_frame(tmp_path: Path) -> None:
    one = write(tmp_path / "1.mpg", map(scene, range(5)), bf="0")
    two = write(tmp_path / "2.mpg", [scene(n, (96, 80)) for n in range(5)], bf="0")
    both = tmp_path / "both.mpg"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    frames, says = until_damage(both)
    # The decoder itself may drop the picture it holds back when the size changes.
    assert len(frames) in (4, 5)
    assert says == f"frame {len(frames)} is 96x80, the first is 64x48"


# --- damage


def noise(n: int) -> np.ndarray:
    """A new picture every fourth frame, so that the bytes spread over the whole file."""
    blocks = np.random.default_rng(n // 4).integers(0, 256, (H // 2, W // 2, 3), np.uint8)
    return blocks.repeat(4, 0).repeat(4, 1)


def write_for_browsers(path: Path, images: Iterable[np.ndarray]) -> Path:
    """An mp4 with its index in front, so that its torn rest can be opened."""
    images = list(images)
    with VideoWriter(path, size_wh=images[0].shape[1::-1], fps=25) as writer:
        for n, image in enumerate(images):
            writer.add(image, n / 25)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_frames_before_the_end_of_a_torn_file_are_kept(tmp_path: Path, suffix: str) -> None:
    make = write_for_browsers if suffix == ".mp4" else write
    path = make(tmp_path / f"a{suffix}", map(noise, range(40)))
    expected = [f.image for f in opened(path).frames()]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    frames, says = until_damage(path)
    assert 3 < len(frames) < 35
    assert all(np.array_equal(f.image, e) for f, e in zip(frames, expected, strict=False))
    assert says.startswith(("cut off after frame", "damaged after frame", "damaged at frame"))


def test_without_its_index_an_mp4_cannot_be_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", map(scene, range(9)))
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"moov")])
    with pytest.raises(MediaError, match="cannot open: Invalid data"):
        opened(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_damage_ends_a_video_where_the_decoder_sees_it(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", map(noise, range(40)), bf="0", g="1")
    expected = [f.image for f in opened(path).frames()]
    with av.open(str(path)) as container:
        spot = [p.pos + p.size // 2 for p in container.demux(video=0) if p.size][30]
    data = bytearray(path.read_bytes())
    data[spot : spot + 400] = np.random.default_rng(1).bytes(400)
    path.write_bytes(data)
    frames, says = until_damage(path)
    assert all(np.array_equal(f.image, e) for f, e in zip(frames, expected, strict=False))
    assert (len(frames), says[:28]) in [
        (30, "damaged at frame 30"),
        (30, "damaged after frame 29: Inval"),
    ]
    assert until_damage(path)[1] == says


def test_a_torn_file_that_ends_with_a_whole_frame_is_cut_off(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi"):
        path = tmp_path / f"a{suffix}"
        if suffix == ".mp4":
            write_for_browsers(path, map(scene, range(20)))
        else:
            write(path, map(scene, range(20)), bf="0")
        with av.open(str(path)) as container:
            last = [p for p in container.demux(video=0) if p.size][9]
        header = {".mp4": 0, ".mkv": 6, ".avi": 8}[suffix]  # of the packet's own, before its bytes
        path.write_bytes(path.read_bytes()[: last.pos + header + last.size])
        frames, says = until_damage(path)
        assert (len(frames), says) == (10, "cut off after frame 9")


def test_a_recording_that_begins_in_mid_air_gives_what_can_be_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", map(noise, range(30)), g="10", bf="0")
    data = path.read_bytes()
    path = tmp_path / "a.mpg"
    path.write_bytes(data[len(data) // 8 // 188 * 188 :])
    frames, says = until_damage(path)
    assert 10 < len(frames) < 30
    assert (frames[0].index, frames[0].time_s, says) == (0, 0, "")


def test_files_without_a_picture_say_why(tmp_path: Path) -> None:
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"not a video" * 50)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder").mkdir()
    for name, says in {
        "sound.mp4": "no video stream",
        "empty.mp4": "cannot open",
        "text.mp4": "cannot open",
        "pipe.mp4": "not a regular file",
        "gone.mp4": "file not found",
        "folder": "no numbered images",
        "bad \udcff name.mp4": "not found",
    }.items():
        with pytest.raises(MediaError, match=says):
            opened(tmp_path / name)


LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>secret.mp4</BaseURL></Period></MPD>',
    "asx": '<asx version="3.0"><entry><ref href="secret.mp4"/></entry></asx>',
    "reference": "[Reference]\r\nRef1=secret.mp4\r\n",
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video 1 RTP/AVP 96\r\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_other_files_is_not_followed(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "secret.mp4", map(scene, range(3)))
    for suffix in sorted(VIDEO_SUFFIXES):
        path = tmp_path / f"list{suffix}"
        path.write_text(LISTS[kind])
        with pytest.raises(MediaError, match=r"cannot open|no video stream|cannot decode"):
            opened(path)


def test_frames_that_are_too_large_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [scene(0)])
    assert opened(path, max_pixels=W * H).size_wh == (W, H)
    with pytest.raises(MediaError, match=f"64x48 is more than dataset.max_pixels={W * H - 1}"):
        opened(path, max_pixels=W * H - 1)


def test_later_frames_are_held_to_the_limit_as_well(tmp_path: Path) -> None:
    one = write(tmp_path / "1.mpg", map(scene, range(5)), bf="0")
    two = write(tmp_path / "2.mpg", [scene(n, (96, 80)) for n in range(5)], bf="0")
    both = tmp_path / "both.mpg"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    frames = []
    with pytest.raises(MediaError, match=r"frame [45]: 96x80 is more than dataset.max_pixels=4000"):
        for frame in opened(both, max_pixels=4000).frames(stride=3):
            frames.append(frame)
    assert [f.index for f in frames] == [0, 3]


def test_a_frame_far_beyond_the_limit_is_not_even_allocated(tmp_path: Path) -> None:
    one = write(tmp_path / "1.mpg", map(scene, range(5)), bf="0")
    two = write(tmp_path / "2.mpg", [np.zeros((4000, 4000, 3), np.uint8)] * 3, bf="0")
    both = tmp_path / "both.mpg"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(MediaError, match=r"after frame 3: .* or more than dataset.max_pixels=4000"):
        list(opened(both, max_pixels=4000).frames())


def test_an_index_of_more_frames_than_bytes_is_refused(tmp_path: Path) -> None:
    """FFmpeg would take 3.5 GB and two minutes for one of 50 million frames in 1.6 kB."""
    path = write(tmp_path / "a.mp4", map(scene, range(3)))
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz") + 8
    data[sizes : sizes + 8] = (1).to_bytes(4, "big") + (50_000_000).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"its index promises 50,000,000 frames in [0-9,]+ bytes"):
        opened(path)


def test_so_is_one_of_fragments(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        for n in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(n), format="rgb24")))
        container.mux(stream.encode())
    assert until_damage(path)[1] == ""
    data = bytearray(path.read_bytes())
    count = data.index(b"trun") + 8
    data[count : count + 4] = (50_000_000).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="its index promises 50,000,000 frames"):
        opened(path)


@pytest.mark.parametrize(
    ("suffix", "kind", "codec"),
    [
        (".ts", "mpegts", "libx264"), (".MTS", "mpegts", "libx264"), (".m2ts", "mpegts", "libx264"),
        (".wmv", "asf", "wmv2"), (".flv", "flv", "flv"), (".3gp", "3gp", "libx264"),
        (".ogv", "ogg", "libvpx"), (".h264", "h264", "libx264"), (".vob", "vob", "mpeg2video"),
        (".hevc", "hevc", "libx265"), (".asf", "asf", "msmpeg4"), (".mpe", "mpeg", "mpeg1video"),
        (".f4v", "f4v", "libx264"), (".3g2", "3g2", "libx264"),
        (".m2v", "mpeg2video", "mpeg2video"),
    ],
)  # fmt: skip
def test_containers_of_cameras_and_broadcasts(
    tmp_path: Path, suffix: str, kind: str, codec: str
) -> None:
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        for n in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(n), format="rgb24")))
        container.mux(stream.encode())
    assert [item.name for item in discover(str(tmp_path)).items] == [path.name]
    frames, says = until_damage(path)
    assert (len(frames), says) == (20, "")
    assert max(off_by(f.image, scene(f.index)) for f in frames) < 14


# --- writing


@pytest.mark.parametrize("size_wh", [(64, 48), (63, 47), (1, 1)])
def test_what_is_written_plays_in_a_browser_at_its_times(
    tmp_path: Path, size_wh: tuple[int, int]
) -> None:
    path = tmp_path / "new" / ("n" * 251 + ".mp4")
    times = [0, 0.04, 0.1, 0.9, 0.94]
    with VideoWriter(path, size_wh=size_wh, fps=12.5) as writer:
        for n, time_s in enumerate(times):
            writer.add(scene(n, size_wh), time_s)
    video = opened(path)
    w, h = size_wh
    assert video.size_wh == (w + w % 2, h + h % 2)
    frames = list(video.frames())
    assert [f.time_s for f in frames] == pytest.approx(times, abs=1e-4)
    assert all(off_by(f.image[:h, :w], scene(f.index, size_wh)) < 12 for f in frames)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert container.duration / 1e6 == pytest.approx(0.94 + 0.08, abs=0.01)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_video_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with VideoWriter(tmp_path / "a.mp4", size_wh=(W, H), fps=25) as writer:
            writer.add(scene(0), 0)
            raise MediaError("damaged")

    with pytest.raises(MediaError):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write the video"):
        VideoWriter(tmp_path / "file" / "a.mp4", size_wh=(W, H), fps=25)
