import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.decode.image import needs_rewriting, read_image
from annotate.discover.listing import discover
from annotate.errors import MediaError

SAMPLES = Path(__file__).parent / "samples"
RNG = np.random.default_rng(0)
RGB = np.kron(RNG.integers(0, 256, (4, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)  # 32 x 48

# How a camera held each way stores the picture: EXIF orientation -> stored from upright.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    stored = np.ascontiguousarray(STORED[orientation](RGB))
    PilImage.fromarray(stored).save(path, exif=exif)
    assert np.array_equal(read_image(path), RGB)
    assert needs_rewriting(path) == (orientation != 1)


def as_rgb(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    PilImage.fromarray(RGB).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(path), RGB)


def test_grey_palette_alpha_and_bilevel(tmp_path):
    grey = RGB[..., 0]
    PilImage.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), as_rgb(grey))

    palette = PilImage.fromarray(RGB).quantize(256)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))

    alpha = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    PilImage.fromarray(alpha).save(tmp_path / "alpha.png")
    assert np.array_equal(read_image(tmp_path / "alpha.png"), RGB)

    bilevel = PilImage.fromarray(grey > 127)
    bilevel.save(tmp_path / "bilevel.png")
    assert np.array_equal(
        read_image(tmp_path / "bilevel.png"), as_rgb((grey > 127) * np.uint8(255))
    )


def test_sixteen_bit_keeps_the_high_byte(tmp_path):
    deep = RGB[..., 0].astype(np.uint16) * 257
    for name in ("deep.png", "deep.tif"):
        PilImage.fromarray(deep).save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), as_rgb(RGB[..., 0]))
        assert needs_rewriting(tmp_path / name)
    cv2.imwrite(str(tmp_path / "rgb16.png"), RGB[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "rgb16.png"), RGB)


def test_cmyk_is_converted(tmp_path):
    flat = PilImage.new("CMYK", (40, 40), (0, 255, 255, 0))  # pure red ink
    flat.save(tmp_path / "cmyk.jpg", quality=95)
    mean = read_image(tmp_path / "cmyk.jpg").mean((0, 1))
    assert mean[0] > 200 and mean[1] < 60 and mean[2] < 60
    assert needs_rewriting(tmp_path / "cmyk.jpg")


def test_pictures_of_phones_come_upright():
    """By the rotation of HEIF itself; the EXIF orientation beside it does not count twice."""
    shown = read_image(SAMPLES / "turned.heic")
    expected = np.full((48, 64, 3), 90, np.uint8)
    expected[:, :32], expected[:16, :16] = [200, 30, 30], [30, 200, 30]
    assert np.abs(shown.astype(int) - expected).mean() < 1
    with pytest.raises(MediaError, match=r"64x48 is more than dataset.max_pixels=3071"):
        read_image(SAMPLES / "turned.heic", max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("suffix", ["jpe", "mpo", "jfif", "avif", "apng", "j2k"])
def test_less_common_suffixes(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    format = {"jpe": "JPEG", "apng": "PNG", "j2k": "JPEG2000", "jfif": "JPEG"}.get(suffix, suffix)
    second = {"save_all": True, "append_images": [PilImage.new("RGB", (48, 32))]}
    PilImage.fromarray(RGB).save(path, format, **(second if suffix == "mpo" else {}))
    assert [item.name for item in discover(str(tmp_path)).items] == [path.name]
    assert np.abs(read_image(path).astype(int) - RGB).mean() < 12


def test_first_picture_of_an_animation(tmp_path):
    frames = [PilImage.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif").max() <= 12


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_shapes(tmp_path, size):
    PilImage.new("RGB", size).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape == (size[1], size[0], 3)


def test_unreadable_files_give_a_reason(tmp_path):
    whole = tmp_path / "whole.jpg"
    PilImage.fromarray(RGB).save(whole)
    data = whole.read_bytes()
    hostile = {
        "empty.jpg": b"",
        "text.jpg": b"this is not a picture",
        "cut.jpg": data[: len(data) // 2],
        "header.png": b"\x89PNG\r\n\x1a\n",
    }
    for name, content in hostile.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match="cannot decode"):
            read_image(tmp_path / name)
    with pytest.raises(MediaError, match="file not found"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(MediaError, match="not a regular file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(MediaError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_reasons_do_not_depend_on_where_the_dataset_lies(tmp_path):
    reasons = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(b"no picture")
        with pytest.raises(MediaError) as caught:
            read_image(tmp_path / folder / "x.jpg")
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]


def test_decompression_bomb_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    PilImage.new("1", (20000, 20000)).save(path)
    with pytest.raises(MediaError, match=r"more (than|pixels than) dataset\.max_pixels=1000000"):
        read_image(path, max_pixels=1_000_000)


def test_wrong_suffix_still_decodes(tmp_path):
    PilImage.fromarray(RGB).save(tmp_path / "x.png")
    shutil.copy(tmp_path / "x.png", tmp_path / "x.jpg")
    assert np.array_equal(read_image(tmp_path / "x.jpg"), RGB)
