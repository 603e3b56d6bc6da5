"""Instances as people see them: on pictures of known pixels, at every edge and size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotate.data.types import ClassList, ClassSpec, Image, Instance
from annotate.report import label_font
from annotate.report.colours import class_colours, contrast, spread_hue, text_on
from annotate.report.label_layout import LabelLayout, leader
from annotate.report.overlay import Overlay, font_px, line_px
from tests.exporters.clips import CLASSES
from tests.exporters.runs import instance

SIZES_HW = [(360, 640), (720, 1280), (2160, 3840)]
GREY = 90


def grey(size_hw: tuple[int, int]) -> Image:
    return np.full((*size_hw, 3), GREY, np.uint8)


def block(
    size_hw: tuple[int, int], box: tuple[int, int, int, int], name: str = "i", class_id: int = 0
) -> Instance:
    mask = np.zeros(size_hw, bool)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    return instance(mask, name, class_id)


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def is_colour(image: Image, colour: str) -> np.ndarray:
    return (image == rgb(colour)).all(axis=2)


class Seen:
    """The places of labels and their objects' frames, noted while pictures are drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.labels: list[np.ndarray] = []
        self.framed: list[np.ndarray] = []
        place = LabelLayout.place

        def noting(layout: LabelLayout, boxes: np.ndarray, *more: object) -> np.ndarray:
            self.framed.append(boxes)
            self.labels.append(place(layout, boxes, *more))
            return self.labels[-1]

        monkeypatch.setattr(LabelLayout, "place", noting)


def overlaps(boxes: np.ndarray) -> int:
    """Pairs of boxes that share pixels."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return int((np.triu((high > low).all(axis=2), 1)).sum())


@pytest.mark.parametrize("size_hw", SIZES_HW[:2])
@pytest.mark.parametrize("side", [8, 100])
@pytest.mark.parametrize("across", [0, 0.5, 1])
@pytest.mark.parametrize("down", [0, 0.5, 1])
@pytest.mark.parametrize("track_id", [0, 4])
def test_a_label_is_whole_wherever_its_object_is(size_hw, side, across, down, track_id):
    h, w = size_hw
    x, y = round(across * (w - side)), round(down * (h - side))
    shown = replace(block(size_hw, (x, y, x + side, y + side)), track_id=track_id)
    middle = ((h - side) // 2, (w - side) // 2)
    there = replace(
        block(size_hw, (middle[1], middle[0], middle[1] + side, middle[0] + side)),
        track_id=track_id,
    )
    drawing = Overlay(CLASSES)

    def text(one: Instance) -> int:
        return int((drawing.draw(grey(size_hw), [one]) < 60).all(axis=2).sum())

    assert text(shown) == text(there) > 60


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_a_crowd_at_the_edges_keeps_all_labels_inside_and_apart(monkeypatch, size_hw):
    seen = Seen(monkeypatch)
    (h, w), px = size_hw, font_px(size_hw)
    corners = [(x, y) for y in range(0, h - 2 * px, 4 * px) for x in (0, w - 2 * px)]
    shown = [
        block(size_hw, (x, y, x + 2 * px, y + 2 * px), f"{n}") for n, (x, y) in enumerate(corners)
    ]
    Overlay(CLASSES).draw(grey(size_hw), shown)
    (labels,) = seen.labels
    assert (labels[:, :2] >= 0).all()
    assert (labels[:, 2:] <= [w, h]).all()
    assert overlaps(labels) == 0


def test_labels_of_neighbours_do_not_overlap_each_other(monkeypatch):
    seen = Seen(monkeypatch)
    size_hw = (720, 1280)
    shown = [
        block(size_hw, (500 + 30 * n, 300, 524 + 30 * n, 324), f"{n}", n % 2) for n in range(6)
    ]
    Overlay(CLASSES).draw(grey(size_hw), shown)
    assert overlaps(seen.labels[0]) == 0
    # Nor do they lie on any of these small objects.
    boxes = np.array([s.box_xyxy for s in shown], int)
    assert overlaps(np.vstack([seen.labels[0], boxes])) == 0


def test_a_label_that_is_wider_than_its_picture_is_shortened():
    size_hw = (40, 60)
    names = ClassList((ClassSpec("something with a very long name", ("x",)),))
    drawn = Overlay(names).draw(grey(size_hw), [block(size_hw, (20, 20, 40, 36))])
    assert (drawn < 20).all(axis=2).sum() > 10
    long = "something with a very long name 0.75"
    assert label_font.shortened(long, lambda text: len(text) <= 14) == "somet...e 0.75"
    assert label_font.shortened(long, lambda text: True) == long


@pytest.mark.parametrize(("size_hw", "width"), [*zip(SIZES_HW, [1, 2, 4], strict=True)])
def test_lines_are_as_wide_as_the_picture_needs_and_lie_around_the_object(size_hw, width):
    assert line_px(size_hw) == width
    h, w = size_hw
    box = (w // 3, h // 3, w // 2, h // 2)
    drawn = Overlay(CLASSES).draw(grey(size_hw), [block(size_hw, box)])
    lines = is_colour(drawn, class_colours(CLASSES)[0])
    row, column = lines[(box[1] + box[3]) // 2], lines[:, (2 * box[0] + 3 * box[2]) // 5]
    assert np.flatnonzero(row).tolist() == [
        *range(box[0] - width, box[0]),
        *range(box[2], box[2] + width),
    ]
    below = np.flatnonzero(column[box[3] : box[3] + width])
    assert len(below) == width
    assert not lines[box[1] : box[3], box[0] : box[2]].any()


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("at", ["middle", "corner"])
def test_nothing_is_drawn_on_a_small_object(size_hw, at):
    h, w = size_hw
    x, y = (w // 2, h // 2) if at == "middle" else (w - 8, 0)
    picture = grey(size_hw)
    picture[y : y + 8, x : x + 8] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    around = block(size_hw, (max(0, x - 40), max(0, y - 40), min(w, x + 60), y + 60), "large", 1)
    drawn = Overlay(CLASSES).draw(picture, [around, block(size_hw, (x, y, x + 8, y + 8))])
    fill = drawn[y + 30, x - 20]
    assert (fill != GREY).any()
    seen = drawn[y : y + 8, x : x + 8].astype(int)
    blended = np.abs(seen - picture[y : y + 8, x : x + 8]).max()
    # The large object below it is tinted, and nothing more.
    assert blended <= 0.25 * 255 + 1
    alone = Overlay(CLASSES).draw(picture, [block(size_hw, (x, y, x + 8, y + 8))])
    assert (alone[y : y + 8, x : x + 8] == picture[y : y + 8, x : x + 8]).all()


def test_a_mask_is_outlined_and_lightly_filled_and_its_hole_stays():
    size_hw = (360, 640)
    mask = np.zeros(size_hw, bool)
    mask[100:200, 100:200] = True
    mask[130:170, 130:170] = False
    drawn = Overlay(CLASSES).draw(grey(size_hw), [instance(mask, "i")])
    colour = class_colours(CLASSES)[0]
    assert (drawn[140:160, 140:160] == GREY).all()
    assert is_colour(drawn, colour)[130, 140:160].all(), "the hole has an outline"
    assert np.abs(drawn[115, 150] - (0.75 * GREY + 0.25 * np.array(rgb(colour)))).max() <= 1


def test_a_smaller_object_on_a_larger_one_keeps_its_outline():
    size_hw = (720, 1280)
    shown = [
        block(size_hw, (300, 200, 700, 600), "a", 0),
        block(size_hw, (280, 300, 500, 500), "b", 1),
    ]
    for order in (shown, shown[::-1]):
        drawn = Overlay(CLASSES).draw(grey(size_hw), order)
        assert is_colour(drawn, class_colours(CLASSES)[1])[400, 500:502].all()


@pytest.mark.parametrize(
    "colour", ["#000000", "#ffffff", "#777777", "#ff0000", "#0000ff", "#00ff00"]
)
def test_text_contrasts_with_the_colours_of_users(colour):
    assert contrast(colour, text_on(colour)) >= 4.5


def test_text_contrasts_with_every_colour_of_the_palette():
    own = [spread_hue(n) for n in range(1000)]
    assert min(contrast(colour, text_on(colour)) for colour in own) >= 4.5
    greys = [f"#{v:02x}{v:02x}{v:02x}" for v in range(256)]
    assert min(contrast(colour, text_on(colour)) for colour in greys) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", ["thing", "Straße", "кошка"])
@pytest.mark.parametrize(("colour", "text"), [("#101060", 255), ("#f0f0a0", 0)])
def test_text_is_black_or_white_by_the_colour_below_it(name, colour, text):
    classes = ClassList((ClassSpec(name, ("thing",), colour=colour),))
    size_hw = (720, 1280)
    drawn = Overlay(classes).draw(grey(size_hw), [block(size_hw, (300, 300, 600, 600))])
    assert (np.abs(drawn.astype(int) - text) < 20).all(axis=2).sum() > 50
    assert not (np.abs(drawn.astype(int) - (255 - text)) < 20).all(axis=2).any()


def test_a_candidate_is_dashed_and_says_what_it_does_not_reach():
    size_hw = (360, 640)
    shown = [block(size_hw, (100, 100, 300, 300))]
    drawn = Overlay(CLASSES).draw(grey(size_hw), shown, below={"i": 0.8})
    edge = is_colour(drawn, class_colours(CLASSES)[0])[150:250, 99]
    assert 0.3 < edge.mean() < 0.7
    assert (drawn[150:250, 150:250] == GREY).all(), "it has no fill"
    said = Overlay(CLASSES)._label
    assert said(replace(shown[0], score=0.17), 0.3) == "thing 0.17 < 0.30"
    assert said(replace(shown[0], score=0.2984), 0.3) == "thing 0.298 < 0.300"


def test_labels_of_a_video_stay_on_their_side(monkeypatch):
    """Two objects pass each other; what moves with its object does not jump."""
    seen = Seen(monkeypatch)
    drawing, layout, size_hw = Overlay(CLASSES), LabelLayout(), (360, 640)
    for t in range(60):
        shown = [
            replace(block(size_hw, (100 + 4 * t, 150, 160 + 4 * t, 210)), track_id=1),
            replace(block(size_hw, (340 - 4 * t, 160, 400 - 4 * t, 220), "j"), track_id=2),
        ]
        drawing.draw(grey(size_hw), shown[:: 1 if t % 2 else -1], layout=layout)
    places = [
        (labels[:: 1 if t % 2 else -1, :2] - framed[:: 1 if t % 2 else -1, :2]).ravel()
        for t, (labels, framed) in enumerate(zip(seen.labels, seen.framed, strict=True))
    ]
    jumps = (np.abs(np.diff(places, axis=0)) > 2).any(axis=1).sum()
    assert jumps <= 3
    assert sum(overlaps(labels) for labels in seen.labels) <= 3


def test_a_label_away_from_its_object_has_a_line_to_it():
    assert leader((10, 10, 50, 20), (10, 20, 30, 60)) is None
    assert leader((10, 10, 50, 20), (20, 40, 30, 60)) == (24, 19, 24, 40)
    assert leader((10, 10, 50, 20), (100, 100, 120, 120)) == (49, 19, 100, 100)


def test_a_tile_is_drawn_at_its_own_size():
    size_hw = (2160, 3840)
    shown = [block(size_hw, (960, 540, 1920, 1080))]
    tile = Overlay(CLASSES).tile(grey(size_hw), shown, (480, 360))
    assert tile.shape == (270, 480, 3)
    lines = is_colour(tile, class_colours(CLASSES)[0])
    assert np.flatnonzero(lines[100]).tolist() == [119, 240]


def test_a_track_keeps_its_colour_and_tracks_differ() -> None:
    overlay = Overlay(CLASSES)
    mask = np.zeros((80, 120), bool)
    mask[30:70, 20:100] = True
    grey = np.full((80, 120, 3), 90, np.uint8)

    def colour(track_id: int, class_id: int = 0) -> tuple[int, ...]:
        drawn = overlay.draw(grey, [replace(instance(mask, "i", class_id), track_id=track_id)])
        return tuple(int(v) for v in drawn[60, 60])

    assert colour(3) == colour(3, class_id=1)
    assert len({colour(track) for track in range(1, 30)}) == 29
    assert colour(0) != colour(0, class_id=1)
    assert grey.max() == 90


def test_labels_name_the_class_the_track_and_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    import supervision as sv

    said: list[list[str]] = []
    write = sv.RichLabelAnnotator.annotate
    monkeypatch.setattr(
        sv.RichLabelAnnotator,
        "annotate",
        lambda *given, labels, **more: said.append(labels) or write(*given, labels=labels, **more),
    )
    still = block((200, 200), (50, 50, 100, 100), class_id=1)
    for shown in (still, replace(still, track_id=7)):
        Overlay(CLASSES).draw(grey((200, 200)), [replace(shown, score=0.456)])
    assert said == [["other 0.46"], ["other #7 0.46"]]


@pytest.mark.parametrize(
    ("name", "other"), [("Straße", "Straäe"), ("кошка", "собак"), ("Ω", "Ψ"), ("خط", "قط")]
)
@pytest.mark.parametrize("track_id", [0, 3])
def test_labels_are_legible_in_other_alphabets(name: str, other: str, track_id: int) -> None:
    mask = np.zeros((80, 200), bool)
    mask[50:70, 20:60] = True
    shown = [replace(instance(mask, "i", 0), track_id=track_id)]
    grey = np.full((80, 200, 3), 90, np.uint8)
    one, two = (Overlay(ClassList((ClassSpec(n, (n,)),))).draw(grey, shown) for n in (name, other))
    assert (one != two).any(), "a font without these letters draws the same boxes for both"
    assert (one != grey).any(axis=2).sum() > 400


def test_characters_that_no_font_has_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(label_font, "_fonts_here", lambda: iter(()))
    caplog.set_level("WARNING", "annotate.report.label_font")
    assert label_font.font_for(["猫"]).name == "DejaVuSans.ttf"
    assert "猫" in caplog.text
    caplog.clear()
    assert label_font.font_for(["cat"]).name == "DejaVuSans.ttf"
    assert not caplog.text
