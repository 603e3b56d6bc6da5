"""Files that a dataset should not hold, and does. `python -m tests.hostile FOLDER` writes them.

Each is a file of its own kind of trouble; what they are named after is what is wrong with them.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image as PilImage
from PIL.PngImagePlugin import PngInfo

from annotate.synthetic.still import draw_still

W, H = 96, 72


class Canary:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def scene(seed: int = 0, size_wh: tuple[int, int] = (W, H)) -> PilImage.Image:
    return PilImage.fromarray(draw_still(seed, size_wh, combos=[("red", "circle")]).image)


def encoded(image: PilImage.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def film(
    path: Path, *, sizes: Iterable[tuple[int, int]] = ((W, H),) * 6, codec: str = "libx264"
) -> bytes:
    """An encoded video; where `sizes` change, so do its pictures."""
    sizes = list(sizes)
    if len(set(sizes)) > 1:  # a raw stream can be joined to another
        return b"".join(
            film(path, sizes=[s for s in sizes if s == size]) for size in dict.fromkeys(sizes)
        )
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        for seed, size in enumerate(sizes):
            frame = av.VideoFrame.from_ndarray(np.asarray(scene(seed, size)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


def scratched(mp4: bytes) -> bytes:
    """A video with zeros in the middle of its largest picture, where no length or header lies."""
    with av.open(io.BytesIO(mp4)) as container:
        spans = [(p.size, p.pos) for p in container.demux(video=0) if p.pos is not None and p.size]
    size, start = max(spans)
    middle = start + size // 2
    return mp4[:middle] + bytes(40) + mp4[middle + 40 :]


def sound(path: Path) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for at in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 16000, at * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that says how large it is, and holds what it wants."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def torn_pictures() -> dict[str, bytes]:
    jpeg, whole = encoded(scene(), "JPEG"), encoded(scene(), "PNG")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    progressive = encoded(PilImage.fromarray(noise), "JPEG", progressive=True)
    middle = len(whole) // 2
    return {
        "empty.jpg": b"",
        "text.jpg": b"this is not a picture",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut progressive.jpg": progressive[: len(progressive) // 3],
        "cut.png": whole[:middle],
        "header only.png": whole[:8],
        "flipped bytes.png": whole[:middle] + bytes(20) + whole[middle + 20 :],
        "no zlib.png": png(W, H, b"no zlib stream"),
        "zlib ends early.png": png(W, H, zlib.compress(bytes(100))),
        "cut.webp": encoded(scene(), "WEBP")[:200],
        "cut.tif": encoded(scene(), "TIFF")[:300],
        "cut.gif": encoded(scene().quantize(), "GIF")[:400],
        "cut.jp2": encoded(scene(), "JPEG2000")[:150],
        "cut.avif": encoded(scene(), "AVIF")[:200],
        "cut.bmp": encoded(scene(), "BMP")[:500],
        "no size.ppm": b"P6\n0 0\n255\n",
        "negative size.bmp": encoded(scene(), "BMP")[:18] + b"\xff" * 8 + bytes(30),
    }


def wrong_kinds(place: Path) -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../escape.txt", "out")
    return {
        "a zip.png": archive.getvalue(),
        "a page.jpg": b"<html><body>404</body></html>",
        "a drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "a program.jpg": b"MZ" + bytes(400),
        "a pickle.jpg": pickle.dumps(Canary(place / "unpickled")),
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "a video.jpg": film(place / "film.mp4"),
        "a picture.mp4": encoded(scene(), "PNG"),
        "a playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "a concatenation.mkv": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "a text.avi": b"RIFF is what it begins with",
    }


def bombs() -> dict[str, bytes]:
    """Small files that say they are large, or that grow when they are read."""
    large = PilImage.new("1", (14_000, 14_000))  # more than dataset.max_pixels
    words = PngInfo()
    words.add_text("comment", "a" * 80_000_000, zip=True)
    tiff = bytearray(encoded(PilImage.new("L", (8, 8)), "TIFF"))
    return {
        "bomb.png": encoded(large, "PNG"),
        "bomb.tif": encoded(large, "TIFF", compression="group4"),
        "bomb header.png": png(2**31 - 1, 2**31 - 1, zlib.compress(b"")),
        "bomb header.bmp": encoded(scene(), "BMP")[:18]
        + struct.pack("<ii", 2**30, 2**30)
        + b"a" * 9,
        "bomb header.ppm": b"P6\n99999 99999\n255\n",
        "bomb header.gif": b"GIF89a\xff\xff\xff\xff\x00\x00\x00;",
        "bomb of words.png": encoded(scene(), "PNG", pnginfo=words),
        "loop of pages.tif": bytes(tiff[:-4] + struct.pack("<I", 8)),
    }


def odd_pictures() -> dict[str, bytes]:
    """Nothing is wrong with these: they must be annotated."""
    several = [scene(seed) for seed in range(3)]
    many: dict[str, Any] = {"save_all": True, "append_images": several[1:]}
    exif = PilImage.Exif()
    exif[0x0112] = 6
    deep = (np.asarray(scene().convert("L")).astype(np.uint16)) * 257
    return {
        "1x1.png": encoded(PilImage.new("RGB", (1, 1)), "PNG"),
        "1x20000.png": encoded(PilImage.new("RGB", (1, 20_000)), "PNG"),
        "20000x1.png": encoded(PilImage.new("RGB", (20_000, 1)), "PNG"),
        "animated.gif": encoded(several[0], "GIF", **many),
        "animated.png": encoded(several[0], "PNG", **many),
        "animated.webp": encoded(several[0], "WEBP", **many),
        "pages.tif": encoded(several[0], "TIFF", **many),
        "16 bit.png": encoded(PilImage.fromarray(deep), "PNG"),
        "float.tif": encoded(PilImage.fromarray(deep.astype(np.float32)), "TIFF"),
        "inks.jpg": encoded(scene().convert("CMYK"), "JPEG"),
        "palette.png": encoded(scene().quantize(), "PNG", transparency=0),
        "grey alpha.png": encoded(scene().convert("LA"), "PNG"),
        "one bit.png": encoded(scene().convert("1"), "PNG"),
        "turned.jpg": encoded(scene(), "JPEG", exif=exif),
        "broken exif.jpg": encoded(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "broken profile.png": encoded(scene(), "PNG", icc_profile=b"no profile"),
        "a png.jpg": encoded(scene(), "PNG"),
    }


def odd_names() -> dict[str, bytes]:
    """Good pictures of the worst names; none may leave a folder or break a format."""
    names = [
        "new\nline.png", "tab\tand\x1b[31mcolour.png", "🦊 emoji.png", "-rf.png", "quote\"'`.png",
        "back\\slash.png", "$(touch canary).png", "%s%n%x.png", "{a: b}.png", "a#000001.png",
        "l" * 251 + ".png", "\u00e9.png", "e\u0301.png", "\u202egnp.png", "nul.png", "dot .png",
        "Case.png", "case.png", "stem.png", "stem.bmp", "images/labels/x.png", "comma,;=[x].png",
        "/".join(["deep"] * 40) + "/x.png",
    ]  # fmt: skip
    return dict.fromkeys(names, encoded(scene(), "PNG"))


def videos(place: Path) -> dict[str, bytes]:
    mp4, avi = film(place / "f.mp4"), film(place / "f.avi", codec="mpeg4")
    webm, raw = film(place / "f.webm", codec="libvpx"), ((W, H),) * 3 + ((48, 48),) * 3
    index = avi.rindex(b"idx1")
    return {
        "empty.mp4": b"",
        "text.mp4": b"this is no film",
        "cut.mp4": mp4[: len(mp4) * 2 // 3],
        "no index.mp4": mp4[: mp4.index(b"moov") - 4],
        "head only.mkv": film(place / "f.mkv")[:300],
        "cut.webm": webm[: len(webm) * 2 // 3],
        "broken index.avi": avi[: index + 8] + b"\xff" * (len(avi) - index - 8),
        "flipped bytes.mp4": scratched(mp4),
        "sound only.mp4": sound(place / "s.mp4"),
        "changing size.mpg": film(place / "f.h264", sizes=raw),
        "one frame.mp4": film(place / "f.mp4", sizes=[(W, H)]),
    }


def links_and_pipes(folder: Path) -> list[str]:
    """What is no file, or too large to be read."""
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "back").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe.mp4")
    here = Path.cwd()
    os.chdir(folder)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
    os.chdir(here)
    (folder / "folder.jpg").mkdir()
    for name in ("holes.png", "holes.mp4"):
        with (folder / name).open("wb") as file:
            file.truncate(5 * 2**30)
    (folder / os.fsdecode(b"no \xff text.png")).write_bytes(encoded(scene(), "PNG"))
    return [
        "loop.jpg", "loop.mp4", "dangling.png", "pipe.jpg", "pipe.mp4", "socket.png", "holes.png",
        "holes.mp4", "no \\xff text.png",
    ]  # fmt: skip


def make(folder: Path) -> tuple[set[str], set[str]]:
    """Write the corpus; the names of what must fail, and of what must be annotated."""
    folder.mkdir(parents=True)
    bad = torn_pictures() | wrong_kinds(folder) | bombs() | videos(folder)
    good = odd_pictures() | odd_names()
    for name, data in (bad | good).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    special = links_and_pipes(folder)
    # The decoders make up for what is wrong with these, or cannot see it.
    fine = {"one frame.mp4", "broken index.avi", "loop of pages.tif"}
    return (bad.keys() | set(special)) - fine, good.keys() | fine


if __name__ == "__main__":
    failing, working = make(Path(sys.argv[1]))
    print(f"{len(failing)} files that must fail, {len(working)} that must not")
