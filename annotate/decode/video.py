"""Videos, streamed: upright pictures with their real times in, H.264 out, a few held at a time.

A video is a file or a folder of numbered images. Sample aspect ratio, interlacing and HDR curves
are left as they are stored: the pixels are those that other decoders give as well.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from annotate.data.types import Depth, Frame, Image, Item
from annotate.decode.depth import Sample, Scale, asked_scale, scale_of
from annotate.decode.image import read_image, sample_image
from annotate.decode.limits import check_size
from annotate.decode.mp4_index import check_index
from annotate.discover.files import numbered_images
from annotate.errors import MediaError

FOLDER_FPS = 25.0  # of image folders, which do not say
SAMPLED_IMAGES = 16  # of a folder, spread over it, that the scale of deep values is taken from
SAMPLED_FRAMES = 64  # of a file, the first ones: to spread them it would be decoded twice
# FFmpeg counts the padding of its rows as well.
_PADDING = 1 << 22  # px
# Formats that hold pictures themselves. Others (playlists, concatenations) name further files and
# addresses, and FFmpeg would open them: it goes by what is in a file, not by its suffix.
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,ogg,h264,hevc"


SAME_S = 1e-6  # times closer than this are the same

Tell = Callable[[Scale, Image], None]
_Picture = tuple[float, Callable[[], Image]]  # when it is shown, s, and what gives its pixels


def _in_silence(scale: Scale, image: Image) -> None:
    """What is done with deep values where nobody asks."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video that opened and gave its first frame; every pass over it decodes anew."""

    item: Item
    fps: float  # average, > 0
    size_wh: tuple[int, int]  # px, upright
    max_pixels: int | None = None  # of one frame
    scale: Scale | None = None  # of values of more than 8 bits, the same for every frame
    tell: Tell = _in_silence

    def frames(self, *, stride: int = 1, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + stride`, ... to the end; see `frames_at`."""
        return self.frames_at(count(start, stride))

    def frames_at(self, indices: Iterable[int], *, first_s: float | None = None) -> Iterator[Frame]:
        """The frames of ascending indices, each asked for only when the frame before is taken.

        `Frame.index` counts every decoded frame from 0, `Frame.time_s` is when it is shown, from
        the first. Ends with the indices or with the video. Where a video is damaged, cut off or
        changes its size, the frames before come first; then MediaError says at which frame.

        With `first_s`, the time of the first of them as an earlier pass told it, a file is entered
        near there; where no frame is shown just then, all before it is decoded as without.
        """
        due = iter(indices)
        if (wanted := next(due, None)) is None:
            return
        with closing(self._numbered(wanted, first_s)) as pictures:
            for index, (time_s, decode) in pictures:
                if index == wanted:
                    yield Frame(self.item, self._checked(decode(), index), index, time_s)
                    if (wanted := next(due, None)) is None:
                        return

    def _numbered(
        self, first: int, first_s: float | None
    ) -> Generator[tuple[int, _Picture], None, None]:
        """Pictures with their indices, from the first one wanted or from 0 on."""
        if first and first_s is not None and not self.item.path.is_dir():
            with closing(self._entered(first_s)) as pictures:
                for index, picture in enumerate(pictures, start=first):
                    yield index, picture
                    first_s = None
            if first_s is None:
                return
        yield from enumerate(self._pictures())

    def _entered(self, at_s: float) -> Generator[_Picture, None, None]:
        """The pictures from the one that is shown just then; none where it cannot be found so."""
        found = False
        try:
            with _opened(self.item.path, self.max_pixels) as (container, stream):
                first = next(_decoded(container, stream, self.max_pixels), None)
                if (
                    first is None
                    or first.pts is None
                    or first.time_base is None
                    or stream.time_base is None
                ):
                    return
                turn, first_s = _turn(first), float(first.pts * first.time_base)
                container.seek(int((at_s + first_s) / stream.time_base), stream=stream)
                for frame in container.decode(stream):
                    if frame.pts is None or frame.time_base is None:
                        return
                    time_s = float(frame.pts * frame.time_base) - first_s
                    if not found and time_s < at_s - SAME_S:
                        continue
                    if not found and time_s > at_s + SAME_S:
                        return
                    check_size((frame.width, frame.height), self.max_pixels)
                    if frame.is_corrupt:
                        raise MediaError(f"damaged at {time_s:.3f} s")
                    found = True
                    yield time_s, partial(self._upright, frame, turn)
        except MediaError:
            if found:
                raise

    def _pictures(self) -> Generator[_Picture, None, None]:
        """When each picture is shown, in seconds, and what gives its pixels."""
        path = self.item.path
        if path.is_dir():
            for index, image_path in enumerate(numbered_images(path)):
                depth = self.scale or self.item.depth
                read = partial(_read_numbered, image_path, self.max_pixels, depth, self.tell)
                yield index / self.fps, read
            return
        first_s = time_s = turn = None
        with _opened(path, self.max_pixels) as (container, stream):
            for frame in _decoded(container, stream, self.max_pixels):
                turn = turn or _turn(frame)
                if frame.pts is not None and frame.time_base is not None:
                    time_s = float(frame.pts * frame.time_base)
                else:
                    time_s = 0.0 if time_s is None else time_s + 1 / self.fps
                first_s = time_s if first_s is None else first_s
                yield time_s - first_s, partial(self._upright, frame, turn)

    def _upright(self, frame: av.VideoFrame, turn: _Turn) -> Image:
        image = _upright(frame, turn, self.scale)
        if self.scale is not None and _deep_format(frame):
            self.tell(self.scale, image)
        return image

    def _checked(self, image: Image, index: int) -> Image:
        height, width = image.shape[:2]
        if (width, height) != self.size_wh:
            first = "x".join(map(str, self.size_wh))
            raise MediaError(f"frame {index} is {width}x{height}, the first is {first}")
        return image


def open_video(item: Item, *, max_pixels: int | None = None, tell: Tell = _in_silence) -> Video:
    """Open a video file or a folder of numbered images and look at its first frame.

    Values of more than 8 bits are scaled by `item.depth`, all frames alike, and `tell` is told how.
    Raises MediaError with the reason when there is nothing to decode, or when a frame has more than
    `max_pixels` pixels.
    """
    try:
        is_folder = item.path.is_dir()
    except PermissionError as error:
        raise MediaError("permission denied") from error
    if is_folder:
        return _open_folder(item, max_pixels, tell)
    with _opened(item.path, max_pixels) as (container, stream):
        frames = _decoded(container, stream, max_pixels)
        first = next(frames, None)
        if first is None:
            raise MediaError("the video has no frames")
        rate = stream.average_rate or stream.guessed_rate
        turn = _turn(first)
        size_wh = (first.height, first.width) if turn.swap else (first.width, first.height)
        return Video(
            item=item,
            fps=float(rate) if rate else FOLDER_FPS,
            size_wh=size_wh,
            max_pixels=max_pixels,
            scale=_scale_of_first(chain([first], frames), item.depth),
            tell=tell,
        )


def frames_promised(item: Item) -> int:
    """How many frames a video says it has, by its header alone; what comes may differ.

    Raises MediaError where it does not say, or cannot be opened.
    """
    if item.path.is_dir():
        return len(numbered_images(item.path))
    with _opened(item.path, None) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        seconds = 0.0
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / av.time_base
        frames = stream.frames or round(seconds * float(rate or 0))
    if frames <= 0:
        raise MediaError("the file does not say how many frames it has")
    return frames


def frames_within(item: Item, most: int) -> int:
    """How many frames a video really has, without decoding them; beyond `most`, `most` + 1.

    Raises MediaError where it cannot be read.
    """
    if item.path.is_dir():
        return min(len(numbered_images(item.path)), most + 1)
    with _opened(item.path, None) as (container, stream):
        packets = (packet for packet in container.demux(stream) if packet.size)
        return sum(1 for _ in islice(packets, most + 1))


def _open_folder(item: Item, max_pixels: int | None, tell: Tell) -> Video:
    paths = numbered_images(item.path)
    if not paths:
        raise MediaError("the folder has no numbered images")
    scale = scale_of_folder(paths, item.depth, max_pixels)
    height, width = _read_numbered(paths[0], max_pixels, scale or item.depth).shape[:2]
    return Video(item, FOLDER_FPS, (width, height), max_pixels, scale, tell)


def _read_numbered(
    path: Path, max_pixels: int | None, depth: Depth | Scale, tell: Tell = _in_silence
) -> Image:
    try:
        return read_image(path, max_pixels=max_pixels, depth=depth, tell=tell)
    except MediaError as error:
        raise MediaError(f"{path.name}: {error}") from error


def scale_of_folder(
    paths: Sequence[Path], depth: Depth, max_pixels: int | None = None
) -> Scale | None:
    """The scale that the frames of a folder share; None where those looked at have 8 bits."""
    if isinstance(depth, tuple):
        return None
    samples: list[Sample | None] = []
    for number in sorted({n * len(paths) // SAMPLED_IMAGES for n in range(SAMPLED_IMAGES)}):
        with suppress(MediaError):  # it will be said where the frame is read
            samples.append(sample_image(paths[number], max_pixels=max_pixels))
    deep = [sample for sample in samples if sample is not None]
    return scale_of(deep, depth) if deep else None


def _scale_of_first(frames: Iterable[av.VideoFrame], depth: Depth) -> Scale | None:
    """The scale of a file of deep values, by its first frames; None where it has others."""
    samples: list[Sample] = []
    with suppress(MediaError):  # of damage further on, which will be said there
        for frame in islice(frames, SAMPLED_FRAMES):
            if (form := _deep_format(frame)) is None:
                break
            values = frame.to_ndarray(format=form, threads=1)
            samples.append(Sample.of([values], (frame.width, frame.height)))
            if asked := asked_scale(depth, fractions=samples[0].fractions):
                return asked
    return scale_of(samples, depth) if samples else None


@contextmanager
def _opened(path: Path, max_pixels: int | None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream; whatever FFmpeg says becomes a MediaError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise MediaError("not a regular file")
        check_index(path)
        # An absolute path, because FFmpeg takes what stands before a colon for a protocol.
        with av.open(
            str(path.absolute()),
            options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container:
            stream = _video_stream(container)
            check_size((stream.codec_context.width, stream.codec_context.height), max_pixels)
            if max_pixels is not None:
                stream.codec_context.options = {"max_pixels": str(max_pixels + _PADDING)}
            yield container, stream
    except FileNotFoundError as error:
        raise MediaError("file not found") from error
    except PermissionError as error:
        raise MediaError("permission denied") from error
    except MemoryError as error:
        raise MediaError("a frame does not fit in memory") from error
    except (av.FFmpegError, OSError, UnicodeError) as error:
        raise MediaError(f"cannot open: {reason_of(error)}") from error


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # cover art of music
            return stream
    raise MediaError("the file has no video stream")


def _decoded(
    container: InputContainer, stream: VideoStream, max_pixels: int | None
) -> Iterator[av.VideoFrame]:
    """The pictures in the order they are shown; MediaError where the file is damaged or cut off,
    or where a picture has more than `max_pixels` pixels, whatever the file says of itself.

    FFmpeg would paint over damage with guesses that no label should describe. What it cannot decode
    before the first picture is passed over: recordings of broadcasts begin in mid-air.
    """
    due = sum(entry.size > 0 for entry in stream.index_entries)
    reader = container.demux(stream)
    packets = shown = 0
    started = False
    damage: av.FFmpegError | None = None
    while not (damage and started):
        try:
            if (packet := next(reader, None)) is None:
                break
            packets += packet.size > 0
            frames = packet.decode()
            if packet.size:
                started, damage = True, None
        except av.FFmpegError as error:
            damage, frames = error, []
            if started:
                with suppress(av.FFmpegError):  # good frames may still wait in the decoder
                    frames = stream.codec_context.decode(None)
        for frame in frames:
            check_size((frame.width, frame.height), max_pixels, said=f"frame {shown}: ")
            if frame.is_corrupt:
                raise MediaError(f"damaged at frame {shown}")
            yield frame
            shown += 1
    if damage:
        where = f"damaged after frame {shown - 1}" if shown else "cannot decode"
        reason = reason_of(damage)
        if max_pixels is not None and damage.errno == errno.EINVAL:  # also when it is too large
            reason += f", or more than dataset.max_pixels={max_pixels} pixels"
        raise MediaError(f"{where}: {reason}") from damage
    if packets < due or _is_cut_off(Path(container.name)):
        raise MediaError(f"cut off after frame {shown - 1}" if shown else "cut off")


def _is_cut_off(path: Path) -> bool:
    """Whether a file is shorter than it says; Matroska, WebM and AVI need no list of frames."""
    with path.open("rb") as file:
        head = file.read(4096).ljust(4128, b"\0")
    return _promised_bytes(head) > path.stat().st_size


def _promised_bytes(head: bytes) -> int:
    """The length of the file with this head, as RIFF or EBML tells it; 0 if it does not."""
    if head.startswith(b"RIFF"):
        return 8 + int.from_bytes(head[4:8], "little")
    size, begin = _ebml_size(head, 4)
    segment = begin + size
    if not head.startswith(b"\x1a\x45\xdf\xa3") or head[segment:][:4] != b"\x18\x53\x80\x67":
        return 0
    size, begin = _ebml_size(head, segment + 4)
    unknown = 2 ** (7 * (begin - segment - 4)) - 1  # of a recording that was never finished
    return 0 if size == unknown else begin + size


def _ebml_size(head: bytes, at: int) -> tuple[int, int]:
    """An element's size, and where its content begins."""
    length = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + length], "big")
    return value & (1 << 7 * length) - 1, at + length


@dataclass(frozen=True, slots=True)
class _Turn:
    """What makes stored pixels upright: first the axes are swapped, then mirrored."""

    swap: bool = False
    mirror_rows: bool = False
    mirror_columns: bool = False


def _turn(frame: av.VideoFrame) -> _Turn:
    """What the display matrix says, which the whole stream shares; only quarter turns and mirrors.

    To be asked once: PyAV ties a frame whose side data was read into a cycle, and frames would wait
    in memory for the garbage collector.
    """
    side_data: Mapping[str, Any] = frame.side_data
    if not (matrix := side_data.get("DISPLAYMATRIX")):
        return _Turn()
    # x' = a x + c y and y' = b x + d y, in 1/65536.
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(b) > abs(a):
        return _Turn(swap=True, mirror_rows=b < 0, mirror_columns=c < 0)
    return _Turn(mirror_rows=d < 0, mirror_columns=a < 0)


def _upright(frame: av.VideoFrame, turn: _Turn, scale: Scale | None) -> Image:
    """The pixels as they are meant to be seen, RGB uint8 (h, w, 3)."""
    image = _rgb(frame, scale)
    if turn.swap:
        image = image.transpose(1, 0, 2)
    image = image[:: -1 if turn.mirror_rows else 1, :: -1 if turn.mirror_columns else 1]
    return np.ascontiguousarray(image)


def _rgb(frame: av.VideoFrame, scale: Scale | None) -> Image:
    # One thread: a pool per picture costs more time than it saves.
    if scale is None or (form := _deep_format(frame)) is None:
        return np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    image = scale.apply(frame.to_ndarray(format=form, threads=1))
    return image if image.ndim == 3 else image[:, :, None].repeat(3, axis=2)


def _deep_format(frame: av.VideoFrame) -> str | None:
    """The format to read values of 16 bits or fractions in; None for what has a meaning of its own.

    Of YUV and of 9 to 14 bits FFmpeg knows the range, and brings it to 8 bits.
    """
    format = frame.format
    if max(part.bits for part in format.components) < 16:
        return None
    is_grey, is_float = format.name.startswith(("gray", "ya")), "f32" in format.name
    if not is_grey and not format.is_rgb:
        return None
    if is_float:
        return "grayf32le" if is_grey else "gbrpf32le"
    return "gray16le" if is_grey else "rgb48le"


def reason_of(error: Exception) -> str:
    """What FFmpeg or the system says, in short."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:200]
