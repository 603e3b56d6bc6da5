"""Videos written: H.264 that browsers play, each picture shown at its own time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from annotate.data.types import Image
from annotate.decode.video import reason_of
from annotate.errors import StorageError
from annotate.store import atomic

TICKS_PER_S = 90_000  # times in a written video are whole numbers of these


class VideoWriter:
    """Writes pictures as an mp4 that browsers play: H.264, each shown at its own time.

    A context that takes one picture or more; the file gets its name when all went well and is gone
    otherwise. Odd sides grow by one row or column, because 4:2:0 halves them. Raises StorageError.
    """

    def __init__(self, path: Path, *, size_wh: tuple[int, int], fps: float, crf: int = 20) -> None:
        self._path, self._unfinished = path, atomic.unfinished(path)
        self._fps, self._last_tick = fps, -1
        width, height = size_wh
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The index goes to the front: a browser can begin before it has the whole file.
            self._container = av.open(
                str(self._unfinished.absolute()), "w", "mp4", options={"movflags": "+faststart"}
            )
        except (av.FFmpegError, OSError) as error:
            raise StorageError(f"{path}: cannot write the video ({reason_of(error)})") from error
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        # No B-frames: with them an mp4 is cut short when its frame rate varies.
        self._stream.options = {"crf": str(crf), "preset": "fast", "bf": "0"}
        context = self._stream.codec_context
        context.time_base = Fraction(1, TICKS_PER_S)
        # Said aloud, because players guess from the size where it is not.
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

    def add(self, image: Image, time_s: float) -> None:
        """Append a picture (RGB) that is shown from `time_s`, which must not go back."""
        self._last_tick = max(round(time_s * TICKS_PER_S), self._last_tick + 1)
        padded = (
            np.pad(image, self._padding, mode="edge") if any(map(any, self._padding)) else image
        )
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = rgb.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS_PER_S)
        frame.duration = round(TICKS_PER_S / self._fps)
        self._mux(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._mux(None)
            self._container.close()
            if kind is None:
                atomic.publish(self._unfinished, self._path)
        except (av.FFmpegError, OSError) as refusal:
            raise StorageError(
                f"{self._path}: cannot write the video ({reason_of(refusal)})"
            ) from refusal
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise StorageError(
                f"{self._path}: cannot write the video ({reason_of(error)})"
            ) from error
