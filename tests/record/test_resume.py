"""A run goes on from wherever it was left, with what is new, changed or failed."""

import json
import os
import shutil

import pytest

import annotate
from annotate.data.types import Item
from annotate.decode import read_ahead
from annotate.discover import fingerprints
from annotate.errors import StorageError
from annotate.evaluate import __main__ as evaluate
from annotate.evaluate import uncertainty
from annotate.report import __main__ as report
from annotate.runner.command import run_command
from tests.exporters.runs import export_one
from tests.small_runs import run, still, tree


def test_a_changed_file_is_redone_and_the_others_are_not(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    still(stills / "1.png", 77)
    os.utime(stills / "1.png", ns=(1, 1))
    read, asked = read_ahead.read_image, []
    monkeypatch.setattr(
        read_ahead, "read_image", lambda path, **kw: asked.append(path.name) or read(path, **kw)
    )
    result = run(stills, tmp_path / "run")
    assert asked == ["1.png"]
    assert result.changes["changed"] == 1
    run(stills, tmp_path / "fresh")
    assert list(annotate.Run.open(tmp_path / "run").frames()) == list(
        annotate.Run.open(tmp_path / "fresh").frames()
    )


def test_a_removed_file_is_reported_and_its_record_stays(stills, tmp_path):
    run(stills, tmp_path / "run")
    (stills / "3.png").unlink()
    result = run(stills, tmp_path / "run")
    assert result.changes["removed_items"] == ["3.png"]
    assert result.exit_code == 0
    assert "3.png" in {r.item for r in annotate.Run.open(tmp_path / "run").frames()}


def test_failed_items_are_retried_when_asked(stills, tmp_path):
    good = (stills / "2.png").read_bytes()
    (stills / "2.png").write_bytes(b"torn")
    assert run(stills, tmp_path / "run").exit_code == 3
    known = (stills / "2.png").stat()
    (stills / "2.png").write_bytes(good)
    os.utime(stills / "2.png", ns=(known.st_atime_ns, known.st_mtime_ns + 1))
    assert run(stills, tmp_path / "run").exit_code == 0, "it changed, so it is done anyway"
    (stills / "5.png").write_bytes(b"torn")
    assert run(stills, tmp_path / "run").counts.failed == 1
    again = run(stills, tmp_path / "run", "retry_failed=true")
    assert (again.changes["retried"], again.items["new"]) == (1, 1)
    assert run(stills, tmp_path / "run").items["new"] == 0


@pytest.mark.parametrize("gone", ["unmounted", "pointers"])
def test_what_cannot_be_seen_for_a_moment_keeps_its_records(stills, tmp_path, gone):
    links = tmp_path / "links"
    links.mkdir()
    for path in stills.iterdir():
        (links / path.name).symlink_to(path)
    run(links, tmp_path / "run")
    before = tree(tmp_path / "run", "records")
    stills.rename(tmp_path / "away")
    if gone == "pointers":  # as git-annex and LFS leave them in the place of content
        shutil.copytree(tmp_path / "away", stills)
        for path in stills.iterdir():
            path.write_text(f"/annex/objects/{path.name}")
    result = run(links, tmp_path / "run", "export=[]")
    assert (result.items["new"], result.changes["unseen"], result.exit_code) == (0, 5, 0)
    assert result.counts.failed == 0
    with pytest.raises(StorageError, match="none of the run's 5 pictures is there any more"):
        run(links, tmp_path / "run", "export=[coco]")
    assert tree(tmp_path / "run", "records") == before
    assert "5 items cannot be read now, such as 0.png" in (tmp_path / "run/run.log").read_text()
    shutil.rmtree(stills, ignore_errors=True)
    (tmp_path / "away").rename(stills)
    result = run(links, tmp_path / "run", "export=[coco]")
    assert (result.items["new"], result.changes["unseen"]) == (0, 0)
    assert result.exports[0]["images"] == 5


def test_the_same_bytes_are_the_same_file_whatever_its_time(stills, tmp_path, monkeypatch):
    run(stills, tmp_path / "run")
    for path in stills.iterdir():
        os.utime(path, (5, 5))
    assert run(stills, tmp_path / "run").items["new"] == 0
    read = []
    monkeypatch.setattr(fingerprints, "content", lambda item: read.append(item.name) or "other")
    assert run(stills, tmp_path / "run").items["new"] == 0
    assert read == [], "their new times are noted"


def test_pipes_and_devices_have_no_bytes_to_wait_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    for path in tmp_path.iterdir():
        assert fingerprints.content(Item(path.name, path)) == ""


def test_frames_of_a_folder_that_change_places_are_another_clip(tmp_path):
    clip = tmp_path / "data/clip"
    clip.mkdir(parents=True)
    for seed in range(3):
        still(clip / f"{seed}.bmp", seed)
    asked = ("dataset.kind=frames", "export=[coco]")
    assert run(tmp_path / "data", tmp_path / "run", *asked).items["new"] == 1
    assert run(tmp_path / "data", tmp_path / "run", *asked).items["new"] == 0
    (clip / "0.bmp").rename(clip / "x.bmp")
    (clip / "2.bmp").rename(clip / "0.bmp")
    (clip / "x.bmp").rename(clip / "2.bmp")
    assert run(tmp_path / "data", tmp_path / "run", *asked).changes["changed"] == 1
    other = clip / "1.bmp"
    still(other, 9)
    os.utime(other, (1, 1))  # older than all, and of the same size
    assert run(tmp_path / "data", tmp_path / "run", *asked).changes["changed"] == 1


def test_stamps_of_earlier_versions_are_understood(stills, tmp_path):
    run(stills, tmp_path / "run")
    for path in (tmp_path / "run/stamps").iterdir():
        said = json.loads(path.read_text())
        path.write_text(json.dumps({name: noted["seen"] for name, noted in said.items()}))
    assert run(stills, tmp_path / "run").items["new"] == 0
    os.utime(stills / "2.png", (5, 5))
    assert run(stills, tmp_path / "run").changes["changed"] == 1, "its bytes are not known"


def test_an_export_has_no_labels_of_a_picture_that_was_replaced(stills, tmp_path):
    run(stills, tmp_path / "run")
    still(stills / "2.png", 77)  # of the same width and height
    (stills / "3.png").write_bytes((stills / "3.png").read_bytes())
    made = export_one(annotate.Run.open(tmp_path / "run"), "coco")
    assert (made.images, made.left_out["changed"]) == (4, 1)
    assert not (made.path / "images/2.png").exists()


def test_no_command_reads_records_of_a_picture_that_was_replaced(stills, tmp_path, capsys):
    run(stills, tmp_path / "run")
    truth = export_one(annotate.Run.open(tmp_path / "run"), "coco", media="none").path
    still(stills / "2.png", 77)
    asked = f"run={tmp_path}/run"
    assert run_command(report._report, [asked]) == 0
    said = "warning: 1 items are left out, such as 2.png: their files have changed"
    assert said in capsys.readouterr().err
    seen = uncertainty.read(annotate.Run.open(tmp_path / "run"))["item"].to_pylist()
    assert set(seen) == {"0.png", "1.png", "3.png", "4.png"}
    argv = [asked, f"truth={truth}/annotations/instances_default.json"]
    assert run_command(evaluate._evaluate, argv) == 0
    assert said in capsys.readouterr().err
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["frames"] == 4
