"""Corrections are carried through their tracks."""

from __future__ import annotations

from dataclasses import replace

from annotate.config.settings import SegmentSettings
from annotate.data.decisions import Decision
from annotate.data.geometry import encode_box
from annotate.data.types import FrameRecord, Rle
from annotate.record.run_folder import Run
from annotate.review.repropagate import repropagate
from annotate.segment.none import Boxes
from tests.review.reviewer import THIRD, build, of, pull, rewrite, tracks


def test_a_box_gets_its_mask_and_a_track_what_was_corrected_in_it(run: Run):
    import fiftyone as fo

    stills, videos = build(run)
    before = tracks(run)
    fixed, gone = [t for t, seen in before.items() if len(seen) == 4][:2]

    still = of(stills, THIRD)
    like = still.instances.detections[0]
    still.instances.detections = [fo.Detection(label=like.label, bounding_box=like.bounding_box)]
    still.save()
    video = videos.first()
    second, last = video.frames[13].instances, video.frames[37].instances
    (label,) = (d for d in second.detections if d.index == fixed)
    smaller = label.mask.copy()
    smaller[len(smaller) * 3 // 4 :] = False
    label.mask = smaller
    second.detections = [d for d in second.detections if d.index != gone]
    (kept,) = (d for d in last.detections if d.index == gone)
    kept.tags.append("accept")
    video.save()

    made = pull(run, "repropagate=true")
    follow = [d for d in made if d.by == "propagation"]
    people = {d.instance_id for d in made if d.by == "person"}
    (boxed,) = (d for d in follow if d.frame_id == THIRD)
    (drawn,) = (
        i
        for r in run.frames()
        if r.frame_id == THIRD
        for i in run.decisions().apply(r, run.classes).record.instances
        if i.origin == "repropagated"
    )
    assert boxed.instance_id == drawn.instance_id
    (record,) = (r for r in run.frames() if r.frame_id == THIRD)
    true = next(i for i in record.instances if i.instance_id == like.annotate_id).mask.decode()
    found = drawn.mask.decode()
    assert (true & found).sum() / (true | found).sum() > 0.7
    assert {d.instance_id for d in follow if d is not boxed}.isdisjoint(people)

    after = tracks(run)
    assert set(after[gone]) == {3}, "deleted up to where a person said yes"
    assert after[fixed][1].origin == "reviewed" and after[fixed][1].area == smaller.sum()
    carried = [p for p, i in after[fixed].items() if i.origin == "repropagated"]
    assert carried and 1 not in carried
    for track, seen in before.items():
        if track not in (fixed, gone):
            assert after[track] == seen, "others are left alone"
    assert pull(run, "repropagate=true") == []
    stills, videos = build(run)
    assert pull(run) == []
    origins = videos.values("frames.instances.detections.origin")
    assert "repropagated" in str(origins) and "reviewed" in str(origins)


def test_an_object_drawn_in_one_frame_is_found_in_the_others(run: Run):
    import fiftyone as fo

    whole = tracks(run)
    track = next(t for t, seen in whole.items() if len(seen) == 4)

    def without(record: FrameRecord) -> FrameRecord:
        return replace(record, instances=tuple(i for i in record.instances if i.track_id != track))

    rewrite(run, without)
    _, videos = build(run)
    video = videos.first()
    frame = video.frames[13]
    shape = whole[track][1]
    x0, y0, x1, y1 = (int(v) for v in shape.box_xyxy)
    frame.instances.detections.append(
        fo.Detection(
            label=run.classes.names[shape.class_id],
            bounding_box=[x0 / 320, y0 / 240, (x1 - x0) / 320, (y1 - y0) / 240],
            mask=shape.mask.decode()[y0:y1, x0:x1],
        )
    )
    video.save()
    pull(run, "repropagate=true")
    (new,) = set(tracks(run)) - (set(whole) - {track})
    found = tracks(run)[new]
    assert found[1].mask == shape.mask and found[1].origin == "reviewed"
    others = [p for p in found if p != 1]
    assert others and {found[p].origin for p in others} == {"repropagated"}
    for position in others:
        one, two = found[position].mask.decode(), whole[track][position].mask.decode()
        assert (one & two).sum() / (one | two).sum() > 0.3, "half a second lies between frames"


def test_without_a_memory_a_correction_stays_in_its_frame_and_a_box_is_its_mask(run: Run, caplog):
    record = next(r for r in run.frames() if r.media == "video" and r.instances)
    still = next(r for r in run.frames() if r.media == "image" and r.instances)
    gone, moved = record.instances[0], still.instances[0]
    box = Rle(encode_box((3, 4, 10, 8), (still.height, still.width))[0], moved.mask.size_hw)
    of_track, of_still = (
        {"frame_id": r.frame_id, "item": r.item, "instance_id": i.instance_id}
        for r, i in ((record, gone), (still, moved))
    )
    made = [
        Decision(**of_track, deleted=True, seen_track=gone.track_id),
        Decision(**of_still, mask=box, box_only=True),
    ]
    settings = SegmentSettings(speck_share=0.005, hole_share=0.005, max_pixels=1)
    (follows,) = repropagate(run, made, Boxes, settings)
    assert follows.instance_id == moved.instance_id and follows.mask == box
    assert "1 corrected tracks are not carried on: this segmenter has no memory" in caplog.text
