"""Datasets and run folders on a store: the bytes of a local run, whoever dies on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import annotate
from annotate import export
from annotate.errors import AnnotateError, StorageError
from annotate.evaluate import __main__ as evaluate
from annotate.record.run_folder import Run
from annotate.store.remote import Store
from annotate.store.working_copy import WorkingCopy
from tests.killing import arguments, left_behind, tree
from tests.small_runs import still
from tests.stores import files, made, run, upload

pytestmark = pytest.mark.usefixtures("quick_store")


def test_a_run_on_a_store_makes_the_bytes_of_a_local_one(photos, local, place, monkeypatch):
    data, out = upload(photos, f"{place}/photos"), f"{place}/runs/x"
    result = run(data, out)
    assert (result.run, result.counts.failed) == (out, 1)
    assert made(out) == tree(local)
    assert result.exports[0]["path"] == f"{out}/exports/coco"
    assert json.loads(files(out)["summary.json"])["status"] == "done"
    assert not [name for name in files(out) if Path(name).name.startswith(".")]
    assert left_behind(WorkingCopy(out).path) == [".mirror"]
    sent: list[str] = []
    own = Store.send
    monkeypatch.setattr(
        Store, "send", lambda self, path, name: sent.append(name) or own(self, path, name)
    )
    again = run(data, out)
    assert (again.items["new"], again.items["before"]) == (0, 7)
    assert not [name for name in sent if name.startswith(("records/", "exports/", "stamps/"))]


def test_a_local_run_of_a_dataset_on_a_store_copies_its_pictures(photos, local, tmp_path):
    out = tmp_path / "run"
    run(upload(photos, "memory://copied/photos"), str(out), "contact_sheet=true", "render=true")
    assert tree(out) == tree(local)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert (out / "contact_sheet.png").is_file()
    assert (out / "media" / "004.mp4.mp4").is_file()
    assert Run.open(out).root == "memory://copied/photos"


def test_what_changes_on_the_store_is_done_again(tmp_path, photos):
    data, out = upload(photos, "memory://changing/photos"), "memory://changing/run"
    run(data, out)
    Store(data).send(still(tmp_path / "new.png", 77), "001.png")
    Store(data).remove("002.png")
    result = run(data, out)
    assert (result.changes["changed"], result.items["new"]) == (1, 1)
    assert result.changes["removed_items"] == ["002.png"]
    fresh = run(data, "memory://changing/fresh")
    known = {r.frame_id: r for r in Run.open(out).frames()}
    assert fresh.items["new"] == 6
    assert all(known[r.frame_id] == r for r in Run.open("memory://changing/fresh").frames())


def test_a_bucket_that_is_not_there_is_one_line(s3, photos):
    for asked in (("s3://none/x", "memory://out/x"), (str(photos), "s3://none/x")):
        with pytest.raises(AnnotateError) as caught:
            run(*asked)
        assert str(caught.value).startswith(("dataset=s3://none/x: no such", "s3://none/x/.lock: "))


KILLED = """
import os, sys
from annotate.store import working_copy
from annotate.__main__ import _annotate
own, count = working_copy.WorkingCopy.push, 0

def push(self, *places):
    global count
    own(self, *places)
    count += 1
    if count == int(sys.argv[1]):
        os.kill(os.getpid(), 9)

working_copy.WorkingCopy.push = push
_annotate(sys.argv[2:])
"""


@pytest.mark.parametrize("pushes", [2, 5])  # after a part of stills, and inside the video
def test_another_machine_goes_on_where_a_killed_one_ended(
    pushes, photos, local, s3, tmp_path, monkeypatch
):
    data, out = f"s3://bucket/killed-{pushes}/photos", f"s3://bucket/killed-{pushes}/run"
    upload(photos, data)
    argv = [*arguments(Path("data"), Path("out"))[2:], f"dataset={data}", f"out={out}"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(pushes), *argv],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    left = files(out)
    assert ".lock" in left and "summary.json" not in left
    assert any(name.startswith("records/") for name in left)
    assert any(name.startswith("unfinished/") for name in left) == (pushes == 5)
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    result = run(data, out)
    assert result.items["before"] > 0 and result.items["new"] > 0
    assert made(out) == tree(local)
    assert not [name for name in files(out) if name.startswith((".lock", "unfinished/"))]


def test_new_begins_a_folder_beside_on_the_store(photos):
    data, out = upload(photos, "memory://beside/photos"), "memory://beside/run"
    run(data, out)
    assert run(data, out, "ground.floor=0.2", "on_change=new").run == f"{out}-2"
    assert "config.yaml" in files(f"{out}-2")


def test_shards_share_a_run_folder_on_a_store(photos, local):
    data, out = upload(photos, "memory://shards/photos"), "memory://shards/run"
    for k in (1, 2):
        run(data, out, f"shard={k}/2")
    assert "summary-2-of-2.json" in files(out)
    assert run(data, out).items["new"] == 0
    assert made(out) == tree(local)


def test_other_commands_take_urls(photos, local, tmp_path, monkeypatch, capsys):
    data, out = upload(photos, "memory://asked/photos"), "memory://asked/run"
    run(data, out, "export=[]")
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    assert export._export([f"run={out}", "export=[coco,yolo_seg]"]) == 0
    assert made(out) == tree(local)
    assert f"-> {out}/exports/coco" in capsys.readouterr().out
    coco = files(out)["exports/coco/annotations/instances_default.json"].decode()
    Store("memory://asked").write_text("truth.json", coco)
    assert evaluate._evaluate([f"run={out}", "truth=memory://asked/truth.json"]) == 0
    assert "mask AP" in capsys.readouterr().out
    assert list(annotate.Run.open(out).frames()) == list(Run.open(local).frames())
    with pytest.raises(StorageError, match=r"memory://asked/none: no run folder"):
        export._export(["run=memory://asked/none"])


def test_a_store_that_refuses_ends_the_run_in_one_line(photos, monkeypatch):
    def refusing(self: Store, path: Path, name: str) -> None:
        if name.startswith("records/"):
            raise StorageError(f"{self.url}/{name}: cannot upload it (quota)")
        own(self, path, name)

    data, out = upload(photos, "memory://refusing/photos"), "memory://refusing/run"
    own = Store.send
    monkeypatch.setattr(Store, "send", refusing)
    with pytest.raises(StorageError, match="cannot upload it"):
        run(data, out)
    assert json.loads(files(out)["summary.json"])["status"] == "stopped"
    monkeypatch.setattr(Store, "send", own)
    assert run(data, out).exit_code == 0
