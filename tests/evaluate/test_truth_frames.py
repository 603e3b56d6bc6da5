"""Truth meets the frames of a run by id or by file name, and says so where it does not."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from annotate import export
from annotate.errors import ConfigError
from annotate.evaluate.evaluation import evaluate
from annotate.evaluate.truth import read_truth
from annotate.record import parquet
from annotate.record.run_folder import Run
from tests.evaluate.squares import CLASSES, H, W, clip, square, still

FILES = [f"{n:05}.png" for n in (1, 2, 3, 10, 20, 30)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A still, and a folder of six frames in which an object moves."""
    folder = tmp_path / "data" / "clip"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    run = Run.start(tmp_path / "run", tmp_path / "data", CLASSES, {"video": {"stride": 1}})
    frames = [replace(f, item="clip", frame_id=f"clip#{f.frame_index:06d}")
              for f in clip(*([square(5 * t, 5, track=1)] for t in range(6)))]  # fmt: skip
    parquet.write_part(run.records_dir, "part-0", [still("b/a.png", square(5, 5)), *frames])
    return run


def images(names: Sequence[str], **more) -> list[dict]:
    return [{"id": n, "file_name": name, "width": W, "height": H, **more}
            for n, name in enumerate(names, start=1)]  # fmt: skip


def meeting(tmp_path: Path, run: Run, content: dict | list[dict]) -> dict[str, str]:
    """The names that images of the truth have, by the frames that they are taken for."""
    if isinstance(content, list):
        content = {"images": content}
    whole = {"annotations": [], "categories": [{"id": 1, "name": "car"}], **content}
    (tmp_path / "t.json").write_text(json.dumps(whole))
    truth = read_truth(tmp_path / "t.json", threshold=0.3)
    return {r.frame_id: image["name"] for r, image in truth.judged(run)}


def test_some_files_of_a_folder_are_those_frames(tmp_path, run):
    names = [f"clip/{n}" for n in FILES[1::2]]
    expected = {"clip#000001": names[0], "clip#000003": names[1], "clip#000005": names[2]}
    assert meeting(tmp_path, run, images(names)) == expected
    video = {"id": 1, "width": W, "height": H, "file_names": names}
    assert meeting(tmp_path, run, {"videos": [video]}) == expected


@pytest.mark.parametrize("name", ["b/a.png", "./b/a.png", "b\\a.png", ".\\b\\a.png", "b//a.png"])
def test_a_still_is_told_by_its_name_however_it_is_spelled(tmp_path, run, name):
    assert meeting(tmp_path, run, images([name])) == {"b/a.png": name}


def test_a_folder_that_is_gone_is_told_by_order_if_all_of_it_is_listed(tmp_path, run, caplog):
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    names = [f"clip/{n}" for n in reversed(FILES)]
    found = meeting(tmp_path, run, images(names))
    assert found == {f"clip#{n:06d}": f"clip/{name}" for n, name in enumerate(FILES)}
    assert meeting(tmp_path, run, images(names[:3])) == {}
    assert "3 files of 'clip' cannot be told from one another" in caplog.text


def test_what_the_export_calls_a_frame_is_that_frame(tmp_path, run):
    """Though a file of the folder has the same name: exports count from 0, these files from 1."""
    for n, path in enumerate(sorted((tmp_path / "data/clip").iterdir()), start=1):
        path.rename(path.with_name(f"{n:06}.jpg"))
    exported = images([f"clip/{n:06}.jpg" for n in (0, 2, 5)])
    expected = {f"clip#{n:06}": f"clip#{n:06}" for n in (0, 2, 5)}
    told = [i | {"frame_id": f"clip#{n:06}"} for i, n in zip(exported, (0, 2, 5), strict=True)]
    assert meeting(tmp_path, run, told) == expected
    inside = [
        i | {"attributes": {"frame_id": t["frame_id"]}} for i, t in zip(exported, told, strict=True)
    ]
    assert meeting(tmp_path, run, inside) == expected
    counted = [
        i | {"video_id": 4, "frame_index": n} for i, n in zip(exported, (0, 2, 5), strict=True)
    ]
    content = {
        "info": {"description": "Instances found by annotate"},
        "images": counted, "videos": [{"id": 4, "name": "clip"}],
    }  # fmt: skip
    assert meeting(tmp_path, run, content) == expected
    # Of others the files decide; a file's number is no frame's.
    del content["info"]
    assert meeting(tmp_path, run, {**content, "images": counted[1:]}) == {
        "clip#000001": "clip/000002.jpg", "clip#000004": "clip/000005.jpg",
    }  # fmt: skip


def test_frames_of_video_files_are_told_by_the_names_that_exports_give(tmp_path):
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    parquet.write_part(run.records_dir, "part-0", clip([square(5, 5)], [square(6, 5)], []))
    found = meeting(tmp_path, run, images(["v.mp4/000002.jpg", "v.mp4/000000.jpg"]))
    assert found == {"v.mp4#000000": "v.mp4/000000.jpg", "v.mp4#000002": "v.mp4/000002.jpg"}


def test_what_is_no_frame_of_the_run_is_counted(tmp_path, run, caplog):
    meeting(tmp_path, run, images(["b/a.png", "c.png", "clip/9.png"]))
    assert "2 of 3 images are no frames that the run annotated, such as 'c.png'" in caplog.text


def test_two_images_are_not_one_frame(tmp_path, run):
    told = [*images(["clip/00002.png"]), {"id": 2, "frame_id": "clip#000001", "file_name": "x"}]
    with pytest.raises(ConfigError, match=r"images\[1\] and images\[0\] are both 'clip#000001'"):
        meeting(tmp_path, run, told)


def test_names_that_differ_in_form_alone_are_told_apart_or_refused(tmp_path):
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    stills = [still(name, square(5, 5)) for name in ("caf\u00e9.png", "cafe\u0301.png")]
    parquet.write_part(run.records_dir, "part-0", stills)
    assert meeting(tmp_path, run, images(["cafe\u0301.png"])) == {
        "cafe\u0301.png": "cafe\u0301.png"
    }
    with pytest.raises(ConfigError, match=r"may be .* or .* of the run"):
        meeting(tmp_path, run, images(["./caf\u00e9.png"]))


@pytest.mark.parametrize("more", [[], ["coco.masks=rle"], ["export.split={train: 0.5, val: 0.5}"]])
@pytest.mark.parametrize("kept", [("frame_id",), ("video_id", "frame_index"), ()])
def test_what_we_export_reads_back_as_truth(demo_run, tmp_path, more, kept):
    """Also where a tool on the way has dropped keys that it does not know."""
    shutil.copytree(demo_run, tmp_path / "run")
    argv = [f"run={tmp_path / 'run'}", "export=[coco]", "export.media=none", *more]
    assert export._export(argv) == 0
    run = Run.open(tmp_path / "run")
    ids, right, found = set(), 0, 0
    for path in sorted((tmp_path / "run/exports/coco").rglob("instances*.json")):
        content = json.loads(path.read_text())
        split = path.stem.partition("_")[2]
        if not content["images"]:
            continue
        for image in content["images"]:
            for key in {"frame_id", "video_id", "frame_index", "attributes"} - {*kept}:
                image.pop(key, None)
            if "frame_id" not in kept and split in ("train", "val"):
                image["file_name"] = image["file_name"].removeprefix(f"{split}/")
        path.write_text(json.dumps(content))
        truth = read_truth(path, threshold=0.3)
        ids |= {record.frame_id for record, _ in truth.judged(run)}
        counted = evaluate(run, truth, 0.3).rates
        right, found = right + counted.right, found + counted.found
    assert ids == {r.frame_id for r in run.frames()}
    assert right == found > 10
