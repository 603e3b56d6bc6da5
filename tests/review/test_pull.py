"""What people do in FiftyOne comes back as decisions, once."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.errors import ConfigError
from annotate.record.run_folder import Run
from tests.review.reviewer import CLIP, FIRST, SECOND, THIRD, build, command, exported, of, pull


def test_what_people_do_comes_back_once_and_stays(run: Run, capsys: pytest.CaptureFixture[str]):
    import fiftyone as fo

    stills, videos = build(run)
    raw = exported(run)
    one, two = of(stills, FIRST), of(stills, SECOND)
    relabelled, edited, deleted, tagged = one.instances.detections[:4]
    other = next(n for n in run.classes.names if n != relabelled.label)
    relabelled.label = other
    edited.mask = np.pad(np.ones((4, 5), bool), ((0, edited.mask.shape[0] - 4), (0, 0)))[:, :5]
    one.instances.detections.remove(deleted)
    tagged.tags.append("fix")
    one.save()
    two.tags.append("reject")
    two.save()
    three = of(stills, THIRD)
    three.instances.detections.append(
        fo.Detection(label="red circle", bounding_box=[0.0, 0.0, 0.25, 0.5])
    )
    three.save()
    video = videos.first()
    frame = video.frames[13]
    rejected, split = frame.instances.detections[:2]
    rejected.tags.append("reject-track")
    track = rejected.index
    split.index = 99
    frame.instances.detections.append(
        fo.Detection(label="red circle", bounding_box=[0.1, 0.1, 0.1, 0.1])
    )
    video.save()

    made = pull(run, "reviewer=kim")
    assert {d.who for d in made} == {"kim"} and all(d.when for d in made)
    assert len(made) == 9
    assert "9 new decisions" in capsys.readouterr().out
    assert pull(run) == []

    after = exported(run)
    assert SECOND not in after
    assert deleted.annotate_id not in after[FIRST]
    category = after[FIRST][relabelled.annotate_id]["category_id"]
    assert run.classes.names[category - 1] == other
    record = next(r for r in run.frames() if r.frame_id == THIRD)
    (new,) = set(after[THIRD]) - set(raw[THIRD])
    assert after[THIRD][new]["area"] == round(record.width / 4) * round(record.height / 2)
    for frame_id, found in after.items():
        if frame_id.startswith(CLIP):
            assert track not in {a["track_id"] for a in found.values()}
    at = after[f"{CLIP}#000012"]
    assert at[split.annotate_id]["track_id"] == 99
    (drawn,) = set(at) - set(raw[f"{CLIP}#000012"])
    assert at[drawn]["track_id"] == 100, "a track of its own"

    document = (run.path / "exports/coco/annotations/instances_default.json").read_bytes()
    stills, videos = build(run)
    assert pull(run) == [] and exported(run) == after
    assert (run.path / "exports/coco/annotations/instances_default.json").read_bytes() == document
    assert of(stills, SECOND).tags == ["reject"]
    shown = {d.annotate_id: d for d in of(stills, FIRST).instances.detections}
    assert deleted.annotate_id not in shown
    assert shown[tagged.annotate_id].tags == ["fix"]
    assert shown[relabelled.annotate_id].origin == "reviewed"
    (label,) = (d for d in of(stills, THIRD).instances.detections if d.annotate_id == new)
    assert label.mask.all()
    assert stills.info["progress"] == {"of": 3, "reviewed": 3, "accept": 0, "reject": 1, "fix": 0}
    assert (run.path.name + ": 3 of 3 stills reviewed") in capsys.readouterr().out

    two = of(stills, SECOND)
    two.tags = []
    two.save()
    (taken_back,) = pull(run)
    assert taken_back.tags == () and SECOND in exported(run)


def test_a_pull_before_a_build_says_what_to_do(run: Run):
    with pytest.raises(ConfigError, match=r"build one first with .* action=build"):
        command(run, "action=pull")
