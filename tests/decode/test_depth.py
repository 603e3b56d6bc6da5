"""Values of more than 8 bits: what they mean decides, and nothing comes out black unnoticed."""

import logging

import av
import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data.types import Item
from annotate.decode.depth import Sample, Told, scale_of
from annotate.decode.image import needs_rewriting, read_image
from annotate.decode.video import open_video
from annotate.errors import MediaError

H, W = 48, 64
RAMP = np.linspace(0, 1, H * W).reshape(H, W)


def between(low, high, dtype=np.uint16):
    """A picture whose values spread evenly from `low` to `high`."""
    return (low + RAMP * (high - low)).round().astype(dtype)


def scale(values, depth="auto"):
    return scale_of([Sample.of([values], values.shape[1::-1])], depth)


def saved(path, values):
    """A picture of any depth, grey or RGB, written without loss."""
    assert cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values)
    return path


@pytest.mark.parametrize("bits", range(8, 17))
def test_a_sensor_of_fewer_bits_keeps_its_brightness(bits):
    found = scale(between(0, 2**bits - 1))
    assert (found.low, found.high, found.kind) == (0, 2**bits - 1, f"as {bits} bits")


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (between(4, 235), 0, 255),  # of a microscope
        (between(28_000, 31_000), 28_003, 30_997),  # hundredths of a kelvin
        (between(0, 40), 0, 40),  # a dark picture, or ids
        (RAMP, 0, 1),
        (RAMP * 200 - 100, -99.8, 99.8),
        (RAMP * 1e9, 1e6, 1e9),
        (between(-1000, 3000, np.int32), -996, 2996),  # Hounsfield
    ],
)
def test_other_values_are_scaled_by_what_they_are(values, low, high):
    found = scale(values)
    assert found.low == pytest.approx(low, abs=abs(high - low) * 2e-3)
    assert found.high == pytest.approx(high, abs=abs(high - low) * 2e-3)


@pytest.mark.parametrize("mark", [65_535, 0])
def test_dead_pixels_and_marks_for_what_was_not_measured_do_not_count(mark):
    plain = between(28_000, 31_000)
    marked = plain.copy()
    marked[:8] = mark  # a sixth of the picture
    assert scale(marked).low >= 28_000 and scale(marked).high <= 31_000
    dead = between(0, 4000)
    dead[5, 5], dead[7, 7] = 65_535, 60_001
    assert scale(dead).kind == "as 12 bits"


def test_two_tones_are_no_marks():
    mask = np.zeros((H, W), np.uint16)
    mask[10:20, 10:20] = 65_535
    assert (scale(mask).low, scale(mask).high) == (0, 65_535)
    mask[20:30] = 3
    assert scale(mask).high == 65_535


def test_what_is_not_a_number_is_passed_over_and_becomes_black():
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    values[1:3] = -3.4e38
    found = scale(values)
    assert (found.low, found.high) == (0, 1)
    assert found.apply(values)[0, :3].tolist() == [0, 255, 0]


def test_small_bright_things_on_a_flat_ground_are_seen():
    values = np.full((500, 500), 100, np.uint16)
    values[3, 3:6] = 900
    shown = scale(values).apply(values)
    assert (shown.min(), shown.max()) == (25, 224)


@pytest.mark.parametrize(
    ("values", "level"),
    [(0, 0), (300, 150), (65_535, 255), (0.5, 128), (-7.0, 128), (float("nan"), 0)],
)
def test_one_value_is_said_to_be_one(values, level):
    flat = np.full((H, W), values)
    found = scale(flat.astype(np.uint16) if isinstance(values, int) else flat)
    assert found.kind == "that are all the same"
    assert found.apply(flat).max() == pytest.approx(level, abs=1)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_what_is_asked_is_done(tmp_path, suffix):
    values = between(1000, 3000)
    path = saved(tmp_path / f"x.{suffix}", values)
    by_high_byte = read_image(path, depth="high_byte")
    assert np.array_equal(by_high_byte[..., 0], values >> 8)
    minmax = read_image(path, depth="minmax")
    assert (minmax.min(), minmax.max()) == (0, 255)
    fixed = read_image(path, depth=(0, 2000))[..., 0].astype(float)
    assert np.abs(fixed - (values / 2000 * 255).clip(0, 255)).max() <= 0.5


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_12_bits_in_16_are_no_black_picture(tmp_path, suffix, channels):
    if (suffix, channels) == ("ppm", 4):
        return
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4096, (H, W, 3)).astype(np.uint16)
    stored = values if channels == 3 else np.dstack([values[..., ::-1], values[..., :1]])
    path = tmp_path / f"x.{suffix}"
    assert cv2.imwrite(str(path), stored[..., ::-1] if channels == 3 else stored)
    expected = np.rint(values / 4095 * 255)
    assert np.array_equal(read_image(path), expected)
    assert needs_rewriting(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_fractions_of_every_kind(tmp_path, dtype, channels):
    values = np.repeat(RAMP[..., None], channels, axis=2).squeeze().astype(dtype)
    path = saved(tmp_path / "x.tif", values)
    shown = read_image(path)
    assert np.abs(shown - (RAMP * 255)[..., None]).max() <= 0.5 + 1e-3
    assert needs_rewriting(path)


def test_a_turned_picture_of_16_bits_is_upright(tmp_path):
    exif = PilImage.Exif()
    exif[0x0112] = 6
    values = between(0, 65_535)
    PilImage.fromarray(np.rot90(values)).save(tmp_path / "x.png", exif=exif)
    shown = read_image(tmp_path / "x.png")
    assert np.array_equal(shown[..., 0], np.rint(values / 257))


def test_the_whole_of_a_large_picture_is_scaled_alike(tmp_path):
    values = np.linspace(0, 4095, 2500 * 1000).reshape(2500, 1000).astype(np.uint16)
    shown = read_image(saved(tmp_path / "x.png", values))  # several strips, and a coarser grid
    assert np.array_equal(shown[..., 1], np.rint(values / 4095 * 255))


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_a_cut_off_picture_of_deep_colours_is_an_error(tmp_path, name):
    path = saved(tmp_path / name, np.random.default_rng(0).integers(0, 9999, (H, W, 3), np.uint16))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MediaError, match="cannot decode"):
        read_image(path)


def test_each_kind_is_said_once_and_counted(tmp_path, caplog):
    told = Told()
    for n, values in enumerate([between(0, 4000), between(0, 4090), between(0, 255)]):
        path = saved(tmp_path / f"{n}.png", values)
        with caplog.at_level(logging.INFO, "annotate"):
            read_image(path, tell=lambda s, i, name=path.name: told(name, s, i))
            read_image(path, depth="high_byte", tell=lambda s, i, name=path.name: told(name, s, i))
    assert told.counts == {
        "as 12 bits": 2,
        "as 8 bits": 1,
        "by their high byte": 2,
        "by their high byte, and black": 1,
    }
    said = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert len(said) == 4
    assert said[0] == (
        "INFO",
        "0.png: values of more than 8 bits, scaled as 12 bits (0 to 4095 become 0 to 255); "
        "decode.depth= sets another scale",
    )
    assert [level for level, text in said if "2.png" in text] == ["INFO", "WARNING"]


# --- videos


def test_frames_of_a_folder_share_one_scale(tmp_path):
    frames = [between(0, 1000 * (n + 1)) for n in range(4)]  # 10 to 12 bits by themselves
    for n, values in enumerate(frames):
        saved(tmp_path / f"{n}.png", values)
    seen = []
    item = Item("x", tmp_path, "video")
    video = open_video(item, tell=lambda s, i: seen.append(s.kind))
    shown = [f.image[..., 0] for f in video.frames()]
    expected = [np.rint(values / 4095 * 255) for values in frames]
    assert all(np.array_equal(s, e) for s, e in zip(shown, expected, strict=True))
    assert seen == ["as 12 bits"] * 4
    (later,) = open_video(item).frames(start=3)
    assert np.array_equal(later.image[..., 0], expected[3])


def test_a_folder_is_scaled_as_asked(tmp_path):
    saved(tmp_path / "0.png", between(0, 1000))
    for depth in ("high_byte", (0.0, 500.0)):
        (frame,) = open_video(Item("x", tmp_path, "video", depth=depth)).frames()
        assert np.array_equal(frame.image, read_image(tmp_path / "0.png", depth=depth))


@pytest.mark.parametrize(
    ("pix_fmt", "values"),
    [
        ("gray16le", [between(28_000, 30_000), between(28_000, 31_000)]),
        ("rgb48le", [between(0, 4000)[..., None].repeat(3, 2)] * 2),
    ],
)
def test_a_video_of_16_bits_is_scaled_by_its_first_frames(tmp_path, pix_fmt, values):
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = W, H
        stream.pix_fmt = "gray16le" if pix_fmt == "gray16le" else "gbrp16le"
        for each in values:
            frame = av.VideoFrame.from_ndarray(each, format=pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    seen = []
    video = open_video(Item("x", path, "video"), tell=lambda s, i: seen.append(s))
    shown = [f.image for f in video.frames()]
    assert len(set(seen)) == 1 and len(seen) == 2
    for image, each in zip(shown, values, strict=True):
        expected = seen[0].apply(each if each.ndim == 3 else each[..., None].repeat(3, 2))
        assert np.abs(image.astype(int) - expected).max() <= 1
    assert shown[0].max() > 150 and shown[1].max() > 240


def test_videos_of_10_bits_are_left_to_their_own_range(tmp_path):
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p10le"
        grey = np.full((H, W, 3), 128, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    video = open_video(Item("x", path, "video"))
    assert video.scale is None
    (frame,) = video.frames()
    assert np.abs(frame.image.astype(int) - 128).max() <= 2
