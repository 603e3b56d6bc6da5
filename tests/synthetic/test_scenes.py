"""Generated scenes: the same bytes for the same seed, and a truth that is exact."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from annotate.synthetic.canvas import Scene
from annotate.synthetic.clip import Clip
from annotate.synthetic.sprite import cut, outline, random_sprite
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import (
    ALL_COMBOS,
    COLOURS,
    HELD_OUT,
    HOLLOWABLE,
    MATERIALS,
    SHAPES,
    SIZES,
    SYNONYMS,
    TRAIN_COMBOS,
    plural,
    size_word,
)

FRAME_SIZES = [(128, 128), (192, 320), (256, 192), (640, 427), (333, 129)]


def digest(scene: Scene) -> str:
    parts = [scene.image, *(o.mask for o in scene.objects)]
    names = repr([(o.track_id, o.phrase, o.full_area) for o in scene.objects])
    return hashlib.sha256(b"".join(p.tobytes() for p in parts) + names.encode()).hexdigest()


@pytest.mark.parametrize("size_wh", FRAME_SIZES)
def test_stills_and_frames_have_the_asked_size(size_wh):
    width, height = size_wh
    for scene in (draw_still(3, size_wh), Clip(3, size_wh).frame(5)):
        assert scene.image.shape == (height, width, 3)
        assert scene.image.dtype == np.uint8
        assert all(o.mask.shape == (height, width) for o in scene.objects)


def test_the_same_seed_gives_the_same_bytes():
    for seed in range(5):
        assert digest(draw_still(seed, (200, 150))) == digest(draw_still(seed, (200, 150)))
        assert digest(Clip(seed, (200, 150)).frame(9)) == digest(Clip(seed, (200, 150)).frame(9))


def test_different_seeds_give_different_pictures():
    assert len({digest(draw_still(seed, (128, 128))) for seed in range(50)}) == 50


def test_a_frame_does_not_depend_on_the_frames_rendered_before():
    clip = Clip(11, (160, 128))
    in_order = [digest(clip.frame(t)) for t in range(12)]
    backwards = [digest(clip.frame(t)) for t in reversed(range(12))][::-1]
    alone = [digest(Clip(11, (160, 128)).frame(t)) for t in range(12)]
    assert in_order == backwards == alone


def test_masks_are_disjoint_and_boxes_fit_them():
    scenes = [draw_still(seed, (256, 192), max_objects=8) for seed in range(20)]
    scenes += [Clip(seed, (192, 256)).frame(seed) for seed in range(20)]
    for scene in scenes:
        assert sum(o.mask.astype(int) for o in scene.objects).max() <= 1
        for item in scene.objects:
            x0, y0, x1, y1 = item.box_xyxy
            inside = item.mask[y0:y1, x0:x1]
            assert inside.sum() == item.area > 0
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()
            assert item.area <= item.full_area


def nearest_colour(scene: Scene, mask: np.ndarray) -> str:
    shown = np.median(scene.image[mask], axis=0)
    distance = {c: np.abs(shown - np.array(rgb)).sum() for c, rgb in COLOURS.items()}
    return min(distance, key=distance.__getitem__)


def test_pixels_of_a_mask_show_the_colour_of_the_object():
    right = {"plain": [], "striped": [], "dotted": []}
    for seed in range(60):
        scene = draw_still(seed, (256, 256))
        for item in scene.objects:
            right[item.material].append(nearest_colour(scene, item.mask) == item.colour)
    # Light and blur move a few; stripes and dots cover up to half of what they lie on.
    assert np.mean(right["plain"]) > 0.98
    assert min(np.mean(right["striped"]), np.mean(right["dotted"])) > 0.7
    assert min(len(r) for r in right.values()) > 15


@pytest.mark.parametrize(
    ("shape", "hollow"), [*((s, False) for s in SHAPES), *((s, True) for s in HOLLOWABLE)]
)
def test_masks_have_the_form_of_their_shape(shape, hollow):
    """Moments of the mask against those of the outline: area over squared radius of gyration."""
    contours = outline(shape, hollow=hollow)
    fine = np.zeros((800, 800), np.uint8)
    cv2.fillPoly(fine, [np.rint(c * 390 + 400).astype(np.int32) for c in contours], 1)
    expected = _compactness(fine.astype(bool))
    for seed in range(4):
        sprite = random_sprite(np.random.default_rng(seed), ("red", shape), 512, crowd=1)
        fill = replace(sprite.fill, hollow=hollow)
        sprite = replace(sprite, fill=fill, radius_px=60.0 + 30 * seed, centre_px=(250.3, 260.7))
        stencil = cut(sprite, (512, 512))
        assert _compactness(stencil.solid) == pytest.approx(expected, rel=0.04)


def _compactness(mask: np.ndarray) -> float:
    points = np.argwhere(mask)
    return len(points) / float(((points - points.mean(0)) ** 2).sum(1).mean())


def test_scenes_vary_as_pictures_do():
    """Every material and word of size, holes, objects in parts, nothing at all, many at once."""
    scenes = [draw_still(seed, (200, 200), min_objects=0, max_objects=20) for seed in range(80)]
    items = [item for scene in scenes for item in scene.objects]
    assert {item.material for item in items} == set(MATERIALS)
    assert {item.size for item in items} == {*SIZES, ""}
    assert min(len(scene.objects) for scene in scenes) == 0
    assert max(len(scene.objects) for scene in scenes) >= 15
    sides = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (item.box_xyxy for item in items)]
    assert min(sides) <= 12
    assert max(sides) >= 120
    # Objects that something in front cuts into parts of more than a few pixels.
    parts = [cv2.connectedComponentsWithStats(item.mask.astype(np.uint8)) for item in items]
    assert sum((stats[1:, cv2.CC_STAT_AREA] >= 20).sum() > 1 for _, _, stats, _ in parts) >= 5


def test_sizes_have_words_only_where_they_are_plain():
    assert [size_word(r, 100) for r in (4, 7.9, 9, 15, 21)] == ["small", "small", "", "", "large"]
    for seed in range(30):
        for item in draw_still(seed, (256, 256), max_objects=8).objects:
            share = np.sqrt(item.full_area) / 256
            assert item.size != "small" or share < 0.16
            assert item.size != "large" or share > 0.12


def test_stills_keep_objects_recognisable():
    for seed in range(40):
        for item in draw_still(seed, (192, 192), min_objects=6, max_objects=8).objects:
            assert item.area >= 0.65 * item.full_area


def test_numbers_of_objects_are_kept():
    counts = [len(draw_still(seed, (256, 256), max_objects=4).objects) for seed in range(60)]
    assert set(counts) == {1, 2, 3, 4}
    assert draw_still(0, (128, 128), min_objects=0, max_objects=0).objects == ()
    assert len(Clip(0, (128, 128), objects=5).tracks) == 5


def test_training_scenes_never_show_a_held_out_combination():
    seen = {(o.colour, o.shape) for s in range(150) for o in draw_still(s, (128, 128)).objects}
    seen |= {(t.colour, t.shape) for s in range(150) for t in Clip(s, (128, 128)).tracks}
    assert not seen & HELD_OUT
    assert seen <= set(TRAIN_COMBOS)
    assert set(TRAIN_COMBOS) | HELD_OUT == set(ALL_COMBOS)


def test_held_out_combinations_can_be_asked_for():
    scene = draw_still(1, (128, 128), combos=sorted(HELD_OUT))
    assert {(o.colour, o.shape) for o in scene.objects} <= HELD_OUT


def test_every_held_out_word_is_known_from_training():
    assert {c for c, _ in TRAIN_COMBOS} == set(COLOURS)
    assert {s for _, s in TRAIN_COMBOS} == set(SHAPES)


def test_other_words_name_one_thing_each():
    named = [*COLOURS, *SHAPES, *MATERIALS, *SIZES]
    others = [word for words in SYNONYMS.values() for word in words]
    assert len({*named, *others}) == len(named) + len(others)
    assert plural("red cross") == "red crosses"
    assert plural("box") == "boxes"
    assert plural("star") == "stars"


def test_track_ids_stay_with_their_object():
    clip = Clip(4, (192, 192), objects=6)
    names = {track.track_id: track.phrase for track in clip.tracks}
    assert sorted(names) == [1, 2, 3, 4, 5, 6]
    for t in range(0, 40, 4):
        for item in clip.frame(t).objects:
            assert item.phrase == names[item.track_id]


def test_clips_move_hide_and_lose_objects():
    gone = hidden = moved = 0
    for seed in range(20):
        clip = Clip(seed, (128, 128))
        frames = [{o.track_id: o for o in clip.frame(t).objects} for t in range(0, 32, 4)]
        for track in clip.tracks:
            shown = [f[track.track_id] for f in frames if track.track_id in f]
            gone += len(shown) < len(frames)
            hidden += any(o.area < 0.5 * o.full_area for o in shown)
            moved += len({o.box_xyxy for o in shown}) > 1
    assert gone and hidden and moved


def test_an_occluder_changes_nothing_but_what_it_covers():
    with_bar, without = (Clip(2, (160, 160), occluder=o).frame(3) for o in (True, False))
    same = (with_bar.image == without.image).all(axis=2)
    assert 0.03 < 1 - same.mean() < 0.3
    for item in with_bar.objects:
        original = next(o for o in without.objects if o.track_id == item.track_id)
        assert (item.mask <= original.mask).all()
        assert item.full_area == original.full_area


def test_a_track_left_out_changes_nothing_but_what_it_covered():
    clip = Clip(4, (192, 192), objects=4, occluder=False)
    whole, less = clip.frame(3), clip.frame(3, without=[2])
    assert {o.track_id for o in less.objects} == {o.track_id for o in whole.objects} - {2}
    taken = next(o.mask for o in whole.objects if o.track_id == 2)
    others = ~cv2.dilate(taken.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert (less.image == whole.image)[others].all()
    assert not (less.image == whole.image)[taken].all()


def test_a_moving_camera_moves_the_world_and_not_the_names():
    still, moving = (Clip(9, (160, 128), camera=c, occluder=False) for c in (False, True))
    assert still.tracks == moving.tracks
    background = [np.median(clip.frame(t).image) for clip in (still, moving) for t in (0, 24)]
    assert len(set(map(float, background))) > 1
    objects = {o.track_id: o for o in still.frame(12).objects}
    shared = [(o, objects[o.track_id]) for o in moving.frame(12).objects if o.track_id in objects]
    assert shared
    assert any(a.box_xyxy != b.box_xyxy for a, b in shared)
    assert all(a.phrase == b.phrase for a, b in shared)


def test_impossible_requests_are_named():
    with pytest.raises(ValueError, match="16x200"):
        draw_still(0, (16, 200))
    with pytest.raises(ValueError, match="min_objects 3"):
        draw_still(0, (64, 64), min_objects=3, max_objects=2)
