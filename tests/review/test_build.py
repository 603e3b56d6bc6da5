"""What a build shows of a run, in a real FiftyOne on a real MongoDB."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from annotate.data.types import FrameRecord
from annotate.record import parquet, reviews
from annotate.record.run_folder import Run
from annotate.review.build import build as make_datasets
from tests.review.reviewer import CLIP, FIRST, SECOND, THIRD, build, exported, of, pull, rewrite
from tests.settings import review_command


def test_the_datasets_show_what_an_export_has(run: Run):
    stills, videos = build(run, "export.split={train: 0.5, val: 0.5}")
    found = exported(run)
    shown: dict[str, dict[str, Any]] = {}
    for sample in stills:
        assert Path(sample.filepath) == run.root / sample.item, "media stay where they are"
        assert sample.split in ("train", "val")
        shown[sample.frame_id] = {d.annotate_id: d for d in sample.instances.detections}
    (video,) = videos
    assert video.filepath == str(run.root / CLIP) and video.metadata.frame_rate == pytest.approx(24)
    for number, frame in video.frames.items():
        assert frame.frame_id == f"{CLIP}#{number - 1:06d}"
        shown[frame.frame_id] = {d.annotate_id: d for d in frame.instances.detections}
    assert {f: set(i) for f, i in shown.items()} == {f: set(i) for f, i in found.items()}
    names = run.classes.names
    for record in run.frames():
        for instance in record.instances:
            if (label := shown[record.frame_id].get(instance.instance_id)) is None:
                continue
            x, y, w, h = label.bounding_box
            whole = np.zeros((record.height, record.width), bool)
            top, left = round(y * record.height), round(x * record.width)
            whole[top : top + label.mask.shape[0], left : left + label.mask.shape[1]] = label.mask
            assert (whole == instance.mask.decode()).all()
            assert round(w * record.width) == label.mask.shape[1]
            assert round(h * record.height) == label.mask.shape[0]
            assert label.label == names[instance.class_id]
            assert label.confidence == instance.score and label.origin == instance.origin
            assert (label.mask_score, label.area) == (instance.mask_score, instance.area)
            assert (label.index or 0) == instance.track_id


def test_documents_are_as_fiftyone_would_store_them(run: Run):
    stills, videos = build(run)
    for dataset, collection in ((stills, "_sample_collection"), (videos, "_frame_collection")):
        before = list(getattr(dataset, collection).find({}))
        for sample in dataset.iter_samples():
            sample["reviewed"] = True
            for frame in sample.frames.values() if dataset is videos else ():
                frame["frame_index"] = 7
            sample.save()
        for one, two in zip(before, getattr(dataset, collection).find({}), strict=True):
            changed = {k for k in {*one, *two} if one.get(k) != two.get(k)}
            assert changed <= {"reviewed", "frame_index", "last_modified_at"}


def test_a_build_keeps_what_was_not_pulled_and_writes_only_what_changed(run: Run):
    stills, _ = build(run)
    ids = stills.values("id")
    sample = of(stills, FIRST)
    sample.tags.append("accept")
    sample.save()
    stamps = dict(zip(stills.values("frame_id"), stills.values("last_modified_at"), strict=True))
    stills, _ = build(run)
    assert stills.values("id") == ids
    assert of(stills, FIRST).tags == ["accept"] and of(stills, FIRST).reviewed is True
    assert of(stills, THIRD).last_modified_at == stamps[THIRD]


def test_a_new_run_that_lacks_an_instance_is_a_conflict_and_no_decision_is_lost(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    stills, _ = build(run)
    sample = of(stills, FIRST)
    label = sample.instances.detections[0]
    label.tags.append("accept")
    sample.save()

    def without(record: FrameRecord) -> FrameRecord | None:
        if record.frame_id == THIRD:
            return None
        kept = tuple(i for i in record.instances if i.instance_id != label.annotate_id)
        return replace(record, instances=kept)

    rewrite(run, without)
    stills, _ = build(run)
    assert set(stills.values("frame_id")) == {FIRST, SECOND}, "the run has no third any more"
    said = capsys.readouterr().out
    assert "1 decisions are in conflict" in said and label.annotate_id in said
    assert label.annotate_id in (run.reviews_dir / "conflicts.txt").read_text()
    assert pull(run) == []
    assert [d.instance_id for d in reviews.read(run.reviews_dir)] == [label.annotate_id]


def test_frames_of_a_folder_are_stills_that_play_as_a_sequence(run: Run, tmp_path: Path):
    folder = tmp_path / "data" / "seq"
    folder.mkdir(parents=True)
    rows = []
    for t in range(3):
        PilImage.new("RGB", (40, 30), (t, 90, 90)).save(folder / f"{t}.png")
        rows.append(FrameRecord(f"seq#{t:06d}", "seq", "video", t, t / 25, 40, 30, "ok"))
    made = replace(run, root=tmp_path / "data")
    shutil.rmtree(run.records_dir)
    parquet.write_part(run.records_dir, "part-0", rows)
    command = review_command(f"name={run.path.name}", "near_duplicates=false")
    (dataset,), _ = make_datasets(made, command)
    assert dataset.dataset.values("filepath") == [str(folder / f"{t}.png") for t in range(3)]
    (sequence,) = dataset.dataset.load_saved_view("sequences").iter_dynamic_groups()
    assert sequence.values("frame_index") == [0, 1, 2]
