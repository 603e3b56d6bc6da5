"""What a picture may cost: looked up first, measured in a process of its own."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import TiffImagePlugin

from annotate.decode.image import read_image
from annotate.decode.limits import MOST_SCANS
from annotate.errors import MediaError

W, H = 5000, 3000
RGB_BYTES = W * H * 3
PEAK = """
import sys
from pathlib import Path
from annotate.decode.image import read_image

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

read_image(Path(sys.argv[2]))  # what is imported, and compiled, for the first is not the picture's
before = peak()
read_image(Path(sys.argv[1]), max_pixels=10**9)
print(peak() - before)
"""


def save(path, size_wh=(W, H), **options):
    """A plain picture of 15 megapixels, whose file is small."""
    mode = options.pop("mode", "RGB")
    colour = {"RGB": (200, 30, 40), "I;16": 300, "F": 0.5}[mode]
    PilImage.new(mode, size_wh, colour).save(path, **options)
    return path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("x.jpg", {}, 2.8),
        ("progressive.jpg", {"progressive": True, "subsampling": 0}, 4.8),
        ("x.png", {}, 2.8),
        ("deep.png", {"mode": "I;16"}, 2.8),
        ("fractions.tif", {"mode": "F", "compression": "tiff_lzw"}, 3.4),
        ("tiles.jp2", {"tile_size": (512, 512)}, 3.4),
    ],
)
def test_memory_follows_the_picture(tmp_path, name, options, most):
    path = save(tmp_path / name, **options)
    plain = {key: value for key, value in options.items() if key != "tile_size"}
    first = save(tmp_path / f"first {name}", (40, 30), **plain)
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), str(first)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(ran.stdout) / RGB_BYTES < most


def test_a_jpeg_2000_in_one_piece_counts_as_more_pixels(tmp_path):
    path = tmp_path / "x.jp2"
    PilImage.new("RGB", (300, 200)).save(path)
    assert read_image(path, max_pixels=300 * 200 * 3).shape == (200, 300, 3)
    with pytest.raises(MediaError, match=r"300x200 is more than dataset.max_pixels=179999 / 3"):
        read_image(path, max_pixels=300 * 200 * 3 - 1)
    PilImage.new("RGB", (300, 200)).save(tmp_path / "tiles.jp2", tile_size=(128, 128))
    assert read_image(tmp_path / "tiles.jp2", max_pixels=300 * 200).shape == (200, 300, 3)


def scans(count):
    """A progressive JPEG whose last scan, which adds nothing, is there many times."""
    packed = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    PilImage.fromarray(noise).save(packed, "JPEG", progressive=True)
    data = packed.getvalue()
    last = data.rindex(b"\xff\xda")
    own = data.count(b"\xff\xda")
    return data[:last] + data[last:-2] * (count - own + 1) + data[-2:]


def test_a_jpeg_of_too_many_scans_is_refused(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(scans(MOST_SCANS))
    assert read_image(path).shape == (16, 16, 3)
    path.write_bytes(scans(MOST_SCANS + 1))
    with pytest.raises(MediaError, match=f"a JPEG of more than {MOST_SCANS} scans"):
        read_image(path)


def test_scans_of_other_pictures_in_the_file_do_not_count(tmp_path):
    """Of the preview in its EXIF, and of the second picture of an MPO."""
    exif = PilImage.Exif()
    exif[0x927C] = b"\xff\xda" * 500
    path = tmp_path / "x.jpg"
    PilImage.new("RGB", (16, 16)).save(path, exif=exif, progressive=True)
    path.write_bytes(path.read_bytes() + scans(MOST_SCANS + 1))
    assert read_image(path).shape == (16, 16, 3)


@pytest.mark.parametrize("cut", [3, 20, 200, 400])
def test_the_search_for_scans_ends_where_the_file_does(tmp_path, cut):
    path = tmp_path / "x.jpg"
    path.write_bytes(scans(20)[:cut] + b"\xff" * 100_000)
    with pytest.raises(MediaError, match="cannot decode"):
        read_image(path)


def test_a_tile_larger_than_its_picture_is_held_to_the_limit(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in {
        256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 16_000, 323: 16_000,
        324: 8, 325: 8,
    }.items():  # fmt: skip
        tags[tag] = value
    path = tmp_path / "x.tif"
    with path.open("wb") as file:
        tags.save(file)
    with pytest.raises(MediaError, match=r"a tile of 16000x16000 is more than dataset.max_pixels"):
        read_image(path, max_pixels=1_000_000)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_many_pictures_only_the_first_is_decoded(tmp_path, suffix):
    pictures = [PilImage.new("RGB", (64, 48), (n, 0, 0)) for n in (10, 250)]
    path = tmp_path / f"x.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:] * 200)
    assert read_image(path, max_pixels=64 * 48).max() < 20
