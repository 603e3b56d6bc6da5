"""Tiles: every object once and whole, however the seams lie."""

import itertools

import numpy as np
import pytest

from annotate.config.settings import TileSettings
from annotate.data.views import View, views
from annotate.ground.base import Candidates, Grounder
from annotate.ground.tiles import Tiled, merged


def tiling(size, overlap=0.2) -> TileSettings:
    return TileSettings(size=size, overlap=overlap)


def candidates(*rows) -> Candidates:
    """Of boxes xyxy with a score and a class."""
    return Candidates(
        boxes_xyxy=np.array([r[:4] for r in rows], np.float32).reshape(-1, 4),
        scores=np.array([r[4] for r in rows], np.float32),
        class_ids=np.array([r[5] if len(r) > 5 else 0 for r in rows], int),
        phrases=["thing"] * len(rows),
    )


@pytest.mark.parametrize("size_hw", [(1000, 1500), (2048, 2048), (301, 4000), (4000, 301)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_tiles_of_one_size_cover_the_picture_and_overlap(size_hw, overlap):
    whole, *tiles = views(size_hw, 300, overlap)
    assert whole == View(0, 0, size_hw[1], size_hw[0])
    assert {(t.x1 - t.x0, t.y1 - t.y0) for t in tiles} == {(300, 300)}
    covered = np.zeros(size_hw, bool)
    for tile in tiles:
        assert min(tile.x0, tile.y0) >= 0 and tile.x1 <= size_hw[1] and tile.y1 <= size_hw[0]
        covered[tile.y0 : tile.y1, tile.x0 : tile.x1] = True
    assert covered.all()
    for axis in ("x0", "y0"):
        starts = sorted({getattr(t, axis) for t in tiles})
        assert all(b - a <= 300 * (1 - overlap) + 1 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("size_hw", "size", "count"),
    [((480, 640), None, 1), ((4000, 4000), None, 1), ((480, 640), 640, 1), ((480, 641), 640, 3),
     ((2000, 2048), "auto", 1), ((2000, 2100), "auto", 10)],
)  # fmt: skip
def test_small_pictures_are_seen_whole_alone(size_hw, size, count):
    assert len(views(size_hw, size, 0.2)) == count


LEFT, RIGHT = View(0, 0, 100, 100), View(80, 0, 180, 100)
WHOLE = View(0, 0, 180, 100)


def boxes_of(found: Candidates) -> list[list[float]]:
    return sorted(np.asarray(found.boxes_xyxy).round(3).tolist())


def test_an_object_in_two_tiles_and_in_the_picture_is_one():
    found = merged(
        [WHOLE, LEFT, RIGHT],
        [candidates((83, 40, 97, 54, 0.5)), candidates((84, 41, 96, 53, 0.9)),
         candidates((4, 41, 17, 53, 0.8))],
    )  # fmt: skip
    assert boxes_of(found) == [[84, 41, 96, 53]]
    assert np.asarray(found.scores).tolist() == [pytest.approx(0.9)]


def test_a_half_at_a_seam_gives_way_to_the_whole_however_sure_it_is():
    found = merged(
        [WHOLE, LEFT, RIGHT],
        [candidates(), candidates((90, 40, 100, 60, 0.95)), candidates((10, 40, 35, 60, 0.6))],
    )
    assert boxes_of(found) == [[90, 40, 115, 60]]


def test_halves_that_no_view_shows_whole_become_one():
    found = merged(
        [WHOLE, LEFT, RIGHT],
        [candidates(), candidates((40, 30, 100, 70, 0.7)), candidates((0, 31, 60, 71, 0.8))],
    )
    assert boxes_of(found) == [[40, 30, 140, 71]]
    assert np.asarray(found.scores).tolist() == [pytest.approx(0.8)]


def test_two_objects_at_one_seam_stay_two_and_so_do_two_classes():
    found = merged(
        [WHOLE, LEFT, RIGHT],
        [candidates(), candidates((85, 10, 100, 30, 0.7), (85, 60, 100, 80, 0.7)),
         candidates((0, 60, 30, 80, 0.7), (5, 10, 30, 30, 0.7, 1))],
    )  # fmt: skip
    assert boxes_of(found) == [[80, 60, 110, 80], [85, 10, 100, 30], [85, 10, 110, 30]]


def test_a_box_at_the_edge_of_the_picture_is_not_cut():
    found = merged(
        [WHOLE, LEFT, RIGHT], [candidates(), candidates((0, 0, 20, 20, 0.7)), candidates()]
    )
    assert boxes_of(found) == [[0, 0, 20, 20]]


def test_rivals_of_one_view_are_left_to_the_rules_for_all():
    found = merged(
        [WHOLE, LEFT, RIGHT],
        [candidates((10, 10, 30, 30, 0.9), (11, 10, 31, 30, 0.8)), candidates(), candidates()],
    )
    assert len(boxes_of(found)) == 2


class Bright(Grounder):
    """Finds connected bright regions of at least so many pixels, exactly; counts its views."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def load(self, classes) -> None:
        pass

    def find(self, images, floor):
        import cv2

        found = []
        for image in images:
            self.seen.append(image.shape[:2])
            # As a model that shrinks: what is small in its picture is not seen.
            least = max(image.shape) / 60
            _, _, stats, _ = cv2.connectedComponentsWithStats(image[..., 0])
            some = [s for s in stats[1:] if min(s[2], s[3]) >= least]
            found.append(candidates(*((x, y, x + w, y + h, 0.9) for x, y, w, h, _ in some)))
        return found


def test_every_object_of_a_large_picture_is_found_once_and_whole():
    image = np.zeros((1300, 2100, 3), np.uint8)
    rng = np.random.default_rng(0)
    truth = []
    for x in range(20, 2000, 90):
        for y in range(20, 1200, 90):
            w, h = rng.integers(12, 40, 2)
            image[y : y + h, x : x + w] = 255
            truth.append([x, y, x + w, y + h])
    image[1230:1290, 100:1900] = 255  # longer than any tile
    truth.append([100, 1230, 1900, 1290])
    grounder = Bright()
    tiled = Tiled(grounder, tiling(400), batch=4)
    (alone,) = grounder.find([image], 0.1)
    (found,) = tiled.find([image], 0.1)
    assert len(alone.phrases) < len(truth) / 10
    assert boxes_of(found) == sorted(map(lambda box: [float(v) for v in box], truth))
