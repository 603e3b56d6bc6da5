"""A file entered in its middle gives what a whole pass gives, or is decoded from its beginning."""

from fractions import Fraction

import av
import numpy as np
import pytest

from annotate.data.types import Item
from annotate.decode.video import open_video

ENTERED = [  # container, codec, its options
    ("mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
    ("mp4", "libx264", {"g": "1000", "bf": "2"}),
    ("mkv", "libx264", {"g": "10", "bf": "3"}),
    ("webm", "libvpx-vp9", {"g": "12", "lag-in-frames": "8", "auto-alt-ref": "1"}),
    ("ts", "mpeg2video", {"g": "9", "bf": "2"}),
    ("avi", "mpeg4", {"g": "10"}),
    ("h264", "libx264", {"g": "8", "bf": "2"}),
]

BLIND = ("ts", "h264")  # which cannot be entered exactly, and are decoded from their beginning


def write(path, codec, options):
    """60 frames, of uneven times where the container has times of its own."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        uneven = path.suffix in (".mp4", ".mkv", ".webm")
        if uneven:
            stream.codec_context.time_base = Fraction(1, 1000)
        for n in range(60):
            picture = np.full((48, 64, 3), 4 * n, np.uint8)
            picture[n % 40 : n % 40 + 8] = rng.integers(0, 256, 3)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if uneven:
                frame.pts, frame.time_base = 40 * n + 13 * (n % 3 == 0), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("suffix", "codec", "options"), ENTERED)
def test_a_file_that_is_entered_gives_the_frames_of_a_whole_pass(suffix, codec, options, tmp_path):
    path = write(tmp_path / f"a.{suffix}", codec, options)
    video = open_video(Item(path.name, path, "video"))
    whole = list(video.frames())
    assert len(whole) >= 58
    entered = 0
    for first in whole[1:]:
        wanted = [i for i in (first.index, first.index + 1, first.index + 5) if i < len(whole)]
        found = list(video.frames_at(wanted, first_s=first.time_s))
        assert [f.index for f in found] == wanted
        for frame in found:
            assert frame.time_s == whole[frame.index].time_s
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)
        pictures = video._entered(first.time_s)
        entered += next(pictures, None) is not None
        pictures.close()
    assert entered >= (0 if suffix in BLIND else 40), entered


def test_a_time_at_which_nothing_is_shown_is_decoded_to(tmp_path):
    path = write(tmp_path / "a.mp4", "libx264", {})
    video = open_video(Item("a.mp4", path, "video"))
    whole = list(video.frames())
    (found,) = video.frames_at([5], first_s=whole[5].time_s + 0.003)
    np.testing.assert_array_equal(found.image, whole[5].image)
    assert found.time_s == whole[5].time_s
