"""Scores of tracks: cases whose answer is known by hand, and TrackEval's own way of counting."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.data import geometry
from annotate.data.types import ClassList, ClassSpec, FrameRecord, Instance, Rle
from annotate.evaluate.evaluation import tracking_scores
from annotate.evaluate.tracking import (
    Tracked,
    TrackedMask,
    TrackingScores,
    combine,
    count_video,
    score_tracks,
)
from annotate.evaluate.truth import Truth, read_truth
from annotate.record import parquet
from annotate.record.run_folder import Run

pytest.importorskip("trackeval")

SIZE_HW = (20, 60)
Frame = tuple[list[TrackedMask], list[TrackedMask]]


def _mask(track_id: int, x: int, *, class_id: int = 0, width: int = 10) -> TrackedMask:
    mask = np.zeros((1, *SIZE_HW), bool)
    mask[0, 5:15, x : x + width] = True
    return TrackedMask(track_id, class_id, Rle(geometry.encode_masks(mask)[0], SIZE_HW))


def _score(frames: Sequence[tuple[Sequence[Tracked], Sequence[Tracked]]]) -> TrackingScores:
    return score_tracks([frames])


def test_perfect_tracks_score_one_whatever_their_ids() -> None:
    frames: list[Frame] = [
        ([_mask(1, t), _mask(2, 40)], [_mask(70, 40), _mask(3, t)]) for t in range(6)
    ]
    assert _score(frames) == TrackingScores(
        hota=1.0,
        det_a=1.0,
        ass_a=1.0,
        idf1=1.0,
        id_switches=0,
        j=1.0,
        repeated_ids=0,
        shared_ids=0,
    )


def test_an_id_swap_halves_what_identity_is_worth() -> None:
    a, b = 0, 40
    frames: list[Frame] = [
        ([_mask(1, a), _mask(2, b)], [_mask(1, a if t < 5 else b), _mask(2, b if t < 5 else a)])
        for t in range(10)
    ]
    scores = _score(frames)
    assert scores.det_a == 1.0
    assert scores.idf1 == scores.j == pytest.approx(0.5)
    # Each match has 5 true associations, 5 missed and 5 false ones.
    assert scores.ass_a == pytest.approx(5 / 15)
    assert scores.hota == pytest.approx((5 / 15) ** 0.5)
    assert scores.id_switches == 2
    assert scores.shared_ids == 2


def test_a_missed_object_costs_detections_but_no_association() -> None:
    frames: list[Frame] = [([_mask(1, 0), _mask(2, 40)], [_mask(1, 0)]) for _ in range(4)]
    scores = _score(frames)
    assert (scores.det_a, scores.ass_a, scores.j) == pytest.approx((0.5, 1.0, 0.5))
    assert scores.hota == pytest.approx(0.5**0.5)
    assert scores.idf1 == pytest.approx(4 / (4 + 0.5 * 4))
    assert scores.id_switches == 0


def test_a_shifted_mask_counts_by_its_iou() -> None:
    frames: list[Frame] = [([_mask(1, 0)], [_mask(1, 2)]) for _ in range(3)]
    scores = _score(frames)
    assert scores.j == pytest.approx(8 / 12)
    # Found at the 13 thresholds 0.05 to 0.65 of the 19.
    assert scores.hota == pytest.approx(13 / 19)
    assert scores.idf1 == 1.0


def test_frames_without_truth_or_without_tracks_or_without_both() -> None:
    frames: list[Frame] = [
        ([], []),
        ([_mask(1, 0)], [_mask(1, 0)]),
        ([_mask(1, 0)], []),
        ([], [_mask(1, 0)]),
    ]
    scores = _score(frames)
    assert scores.det_a == pytest.approx(1 / 3)
    assert scores.idf1 == pytest.approx(1 / (1 + 0.5 + 0.5))
    assert scores.j == pytest.approx(0.5)  # a mask where there is no object is HOTA's to punish


@pytest.mark.parametrize(
    "frames",
    [[], [([], [])], [([_mask(1, 0)], [])], [([], [_mask(1, 0)])]],
    ids=["no frame", "nothing", "nothing found", "nothing there"],
)
def test_a_video_with_one_side_empty_scores_zero(frames: list[Frame]) -> None:
    scores = _score(frames)
    assert (scores.hota, scores.idf1, scores.j, scores.id_switches) == (0, 0, 0, 0)


def test_an_id_on_two_masks_of_a_frame_is_told_and_judged_as_two_tracks() -> None:
    frames: list[Frame] = [
        ([_mask(1, 0), _mask(2, 40)], [_mask(7, 0), _mask(7, 40)]) for _ in range(4)
    ]
    scores = _score(frames)
    assert scores.repeated_ids == 1
    assert scores.hota == 1.0
    honest: list[Frame] = [(truth, [found[0], _mask(8, 40)]) for truth, found in frames]
    assert _score(honest).repeated_ids == 0


def test_an_id_given_to_a_second_object_later_is_told() -> None:
    frames: list[Frame] = [([_mask(1, 0)], [_mask(7, 0)]), ([_mask(2, 40)], [_mask(7, 40)])]
    assert _score(frames).shared_ids == 1
    assert _score([(truth, [_mask(1 + t, 40 * t)]) for t, (truth, _) in enumerate(frames)]) == (
        TrackingScores(1.0, 1.0, 1.0, 1.0, 0, 1.0, 0, 0)
    )


def test_the_right_mask_under_the_wrong_class_is_a_miss_and_a_false_alarm() -> None:
    frames: list[Frame] = [([_mask(1, 0, class_id=0)], [_mask(1, 0, class_id=1)])]
    scores = _score(frames)
    assert (scores.hota, scores.idf1, scores.j) == (0, 0, 0)


def test_truth_with_an_id_twice_in_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"frame 1: truth has a track id twice: \[3, 3\]"):
        count_video([([], []), ([_mask(3, 0), _mask(3, 40)], [])])


def test_videos_add_up_by_their_detections_and_share_no_ids() -> None:
    good: list[Frame] = [([_mask(1, 0)], [_mask(1, 0)]) for _ in range(3)]
    missed: list[Frame] = [([_mask(1, 0)], []) for _ in range(1)]
    elsewhere: list[Frame] = [([_mask(2, 40)], [_mask(1, 40)]) for _ in range(4)]
    scores = combine([count_video(v) for v in (good, missed, elsewhere)])
    assert scores.det_a == scores.j == pytest.approx(7 / 8)
    assert scores.ass_a == 1.0
    assert scores.shared_ids == 0


def test_equals_trackeval_pooling_classes_by_detections() -> None:
    """TrackEval judges each class alone and pools them; here one matching judges all."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    rng = np.random.default_rng(5)
    frames: list[Frame] = []
    for _ in range(12):
        truth, found = [], {}
        for i in range(6):
            x = int(rng.integers(45))
            seen, detected, swapped = rng.random(3) < (0.8, 0.9, 0.2)
            if seen:
                truth.append(_mask(i, x, class_id=i % 3))
            if seen and detected:
                track_id = (i + 3) % 6 if swapped else i  # the other object of the same class
                found[track_id] = _mask(track_id, x + int(rng.integers(4)), class_id=i % 3)
        frames.append((truth, list(found.values())))
    options = {"PRINT_CONFIG": False}
    by_class: dict[str, dict[int, Any]] = {"hota": {}, "identity": {}, "clear": {}}
    for class_id in range(3):
        data = _trackeval_input(frames, class_id)
        by_class["hota"][class_id] = HOTA().eval_sequence(data)
        by_class["identity"][class_id] = Identity(options).eval_sequence(data)
        by_class["clear"][class_id] = CLEAR(options).eval_sequence(data)
    hota = HOTA().combine_classes_det_averaged(by_class["hota"])
    scores = _score(frames)
    assert 0.2 < scores.hota < 0.9
    assert scores.hota == pytest.approx(hota["HOTA"].mean())
    assert scores.det_a == pytest.approx(hota["DetA"].mean())
    assert scores.ass_a == pytest.approx(hota["AssA"].mean())
    identity = Identity(options).combine_classes_det_averaged(by_class["identity"])
    assert scores.idf1 == pytest.approx(identity["IDF1"])
    clear = CLEAR(options).combine_classes_det_averaged(by_class["clear"])
    assert scores.id_switches == clear["IDSW"] > 0


def _trackeval_input(frames: Sequence[Frame], class_id: int) -> dict[str, Any]:
    """One class of a video as TrackEval's own readers hand it over, IoU by plain counting."""
    sides: list[list[np.ndarray]] = [[], []]
    similarity = []
    for frame in frames:
        kept = [[o for o in side if o.class_id == class_id] for side in frame]
        for ids, side in zip(sides, kept, strict=True):
            ids.append(np.array([o.track_id for o in side], int))
        masks = [np.array([o.mask.decode() for o in s], bool).reshape(-1, *SIZE_HW) for s in kept]
        inter = (masks[0][:, None] & masks[1][None]).sum((2, 3))
        union = (masks[0][:, None] | masks[1][None]).sum((2, 3))
        similarity.append(inter / union)
    data: dict[str, Any] = {"similarity_scores": similarity, "num_timesteps": len(frames)}
    for name, ids in zip(("gt", "tracker"), sides, strict=True):
        _, rows = np.unique(np.concatenate(ids), return_inverse=True)
        data[f"{name}_ids"] = np.split(rows, np.cumsum([len(i) for i in ids])[:-1])
        data[f"num_{name}_ids"] = int(rows.max()) + 1
        data[f"num_{name}_dets"] = len(rows)
    return data


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two videos of three frames with a faint false alarm each, and a still; truth beside it."""
    classes = ClassList(
        (ClassSpec("car", ("car",)), ClassSpec("dog", ("dog",), threshold=0.6), ClassSpec("x", ()))
    )
    run = Run.start(tmp_path / "run", tmp_path, classes, {})
    truth: dict[str, list[Any]] = {
        "images": [
            {"id": 99, "file_name": "s.png", "frame_id": "s.png", "height": 20, "width": 60}
        ],
        "annotations": [],
        "videos": [{"id": 1, "name": "a.mp4"}, {"id": 2, "name": "b.mp4"}],
        "categories": [{"id": 7, "name": "dog"}, {"id": 5, "name": "car"}],
    }
    rows = [_record("s.png", "image", 0, [])]
    for number, item in enumerate(("a.mp4", "b.mp4"), 1):
        for t in range(3):
            shown = [_mask(4, 3 * t, class_id=0), _mask(5, 40, class_id=1)]
            faint = _mask(6, 20, class_id=1)
            scored = [(shown[0], 0.4), (shown[1], 0.6), (faint, 0.5)]
            rows.append(_record(item, "video", t, scored))
            image_id = 10 * number + t
            truth["images"].append(
                {
                    "id": image_id,
                    "file_name": f"{item}/{t:06d}.jpg",
                    "frame_id": f"{item}#{t:06d}",
                    "video_id": number,
                    "height": SIZE_HW[0],
                    "width": SIZE_HW[1],
                }
            )
            for o in shown:
                truth["annotations"].append(
                    {
                        "image_id": image_id,
                        "category_id": (5, 7)[o.class_id],
                        "track_id": o.track_id + 10,
                        "segmentation": {"size": list(SIZE_HW), "counts": o.mask.counts},
                    }
                )
    parquet.write_part(run.records_dir, "part-0", rows)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return run


def truth_of(run: Run) -> Truth:
    return read_truth(run.root / "truth.json", threshold=0.3)


def _record(
    item: str, media: Any, index: int, shown: Sequence[tuple[TrackedMask, float]]
) -> FrameRecord:
    instances = tuple(
        Instance(
            instance_id=f"{item}:{index}:{o.track_id}",
            class_id=o.class_id,
            phrase="",
            score=score,
            box_xyxy=(0.0, 0.0, 1.0, 1.0),
            mask=o.mask,
            area=100,
            mask_score=1.0,
            track_id=o.track_id,
        )
        for o, score in shown
    )
    height, width = SIZE_HW
    frame_id = item if media == "image" else f"{item}#{index:06d}"
    return FrameRecord(
        frame_id, item, media, index, index / 10, width, height, "ok", instances=instances
    )


def test_a_run_is_judged_by_what_an_export_of_it_would_hold(run: Run) -> None:
    scores = tracking_scores(run, truth_of(run), 0.3)
    assert scores is not None
    tracks, videos = scores
    assert videos == 2
    assert (tracks.hota, tracks.idf1, tracks.j) == (1.0, 1.0, 1.0)
    stricter = tracking_scores(run, truth_of(run), 0.5)
    assert stricter is not None
    assert stricter[0].j == pytest.approx(
        0.5
    )  # the cars are below; dogs have a threshold of theirs


def test_frames_that_only_the_truth_has_do_not_count(run: Run) -> None:
    kept = [r for r in run.frames() if r.frame_index < 2 and r.item != "b.mp4"]
    parquet.write_part(run.records_dir, "part-0", kept)
    scores = tracking_scores(run, truth_of(run), 0.3)
    assert scores is not None
    assert scores[1] == 1
    assert scores[0].j == 1.0


def test_a_run_of_stills_has_no_tracks_to_judge(run: Run) -> None:
    stills = [r for r in run.frames() if r.media == "image"]
    parquet.write_part(run.records_dir, "part-0", stills)
    assert tracking_scores(run, truth_of(run), 0.3) is None


@pytest.mark.parametrize("form", ["polygon", "uncompressed"])
def test_truth_masks_may_come_in_any_form_of_coco(run: Run, form: str) -> None:
    path = run.root / "truth.json"
    truth = json.loads(path.read_text())
    for a in truth["annotations"]:
        mask = Rle(a["segmentation"]["counts"], SIZE_HW).decode()
        x = int(mask.any(0).argmax())
        a["segmentation"] = {
            "polygon": [[x, 5, x + 10, 5, x + 10, 15, x, 15]],
            "uncompressed": {"size": list(SIZE_HW), "counts": _runs(mask)},
        }[form]
    path.write_text(json.dumps(truth))
    scores = tracking_scores(run, truth_of(run), 0.3)
    assert scores is not None
    assert scores[0].j == pytest.approx(1.0)


def _runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs down the columns, the first one background."""
    flat = np.concatenate([[0], mask.T.ravel(), [2]]).astype(int)
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends])).tolist()
