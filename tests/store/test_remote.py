"""Datasets and run folders on a store: the bytes of a local run, whoever dies on the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import annotate
from annotate import export
from annotate.decode import download
from annotate.discover import listing
from annotate.discover.class_list import load_prompts
from annotate.discover.files import numbered_images
from annotate.errors import AnnotateError, ConfigError, PromptError, StorageError
from annotate.evaluate import __main__ as evaluate
from annotate.record.run_folder import Run
from annotate.runner import job
from annotate.store import remote, remote_lock
from annotate.store.remote import Store
from annotate.store.working_copy import WorkingCopy
from tests.killing import left_behind, make_dataset, settings, tree
from tests.record.test_resume import still
from tests.s3_server import s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """An S3 on loopback with one empty bucket."""
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        remote._opened.cache_clear()
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
        yield environment
    remote._opened.cache_clear()


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and no long waits."""
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS_S", (0.01,))
    monkeypatch.setattr(remote_lock, "BEAT_S", 0.2)
    monkeypatch.setattr(remote_lock, "LOOK_S", 0.02)
    download._own_folder.cache_clear()


@pytest.fixture(params=["memory", "file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The url of an empty place on a store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return f"s3://bucket/{tmp_path.name}"
    return f"{request.param}://{tmp_path}/store"


def files(url: str) -> dict[str, bytes]:
    """Everything below a url."""
    system, base = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return {path[len(base) + 1 :]: system.cat_file(path) for path in system.find(base)}


def upload(folder: Path, url: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            Store(url).send(path, path.relative_to(folder).as_posix())
    return url


def made(url: str) -> dict[str, bytes]:
    """The records and exports of a run folder on a store."""
    found = files(url)
    return {name: found[name] for name in found if name.startswith(("records/", "exports/"))}


NAMES = ["a.txt", "ü ä/日本.txt", "a#b?c [1] %20&d.txt", "deep/er/x"]


def test_files_go_there_and_come_back_whatever_their_names(place, tmp_path):
    there = Store(place)
    assert there.files() == {}
    for name in NAMES:
        (tmp_path / "sent").write_text(name)
        there.send(tmp_path / "sent", name)
    assert set(there.files()) == set(NAMES)
    assert set(there.files("deep")) == {"deep/er/x"}
    assert set(there.files(depth=1)) == {NAMES[0], NAMES[2]}
    for name in NAMES:
        there.fetch(name, tmp_path / "come")
        assert (tmp_path / "come").read_text() == name
        assert there.look(name) == there.files()[name]
        there.remove(name)
        there.remove(name)
    assert there.files() == {}
    with pytest.raises(FileNotFoundError):
        there.fetch("a.txt", tmp_path / "come")


def test_only_the_first_creates(place):
    assert [Store(place).create("x", text) for text in ("one", "two")] == [True, False]
    assert Store(place).read_text("x") == "one"


def test_what_does_not_arrive_leaves_nothing_and_is_tried_again(tmp_path, monkeypatch):
    there = Store("memory://flaky")
    there.write_text("x", "whole")
    system, _ = remote._opened("memory://flaky")
    own, calls = type(system).get_file, []

    def flaky(self: Any, source: str, target: str, **more: Any) -> None:
        own(self, source, target, **more)
        calls.append(source)
        if len(calls) < 2:
            raise TimeoutError("slow")

    monkeypatch.setattr(type(system), "get_file", flaky)
    there.fetch("x", tmp_path / "come")
    assert (tmp_path / "come").read_text() == "whole"
    calls.clear()
    monkeypatch.setattr(remote, "WAITS_S", ())
    with pytest.raises(StorageError, match=r"flaky/x: cannot download it \(slow\)"):
        there.fetch("x", tmp_path / "again")
    assert [p.name for p in tmp_path.iterdir()] == ["come"]


def test_a_missing_package_is_one_line_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"gs://b/x: .*gcsfs.*pip install 'annotate\[cloud\]'"):
        listing.discover("gs://b/x")
    with pytest.raises(ConfigError, match="no store that can be opened"):
        listing.discover("nosuch://b/x")


def test_a_run_on_this_machine_asks_nothing_of_fsspec():
    script = (
        "import sys, annotate.export, annotate.runner.job\n"
        "from annotate.discover.listing import discover\n"
        "discover(sys.argv[1]); assert 'fsspec' not in sys.modules"
    )
    folder = Path(__file__).parents[2] / "docs"
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, timeout=60)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Files to be found, and others to be left out."""
    folder = tmp_path / "mixed"
    for name in (
        "a.JPG", "b/ü ä.png", "b/c/1.png", "b/c/02.png", "clip.mp4", "notes.txt", "._a.jpg",
        ".trash/x.jpg", "runs/x/config.yaml", "runs/x/records/p", "runs/x/exports/y.jpg",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    listed = {"images": [{"file_name": "b/ü ä.png"}, {"file_name": "gone.png"}]}
    (folder / "listed.json").write_text(json.dumps(listed))
    return folder


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        ("", "auto"), ("", "images"), ("", "videos"), ("", "frames"), ("b/c", "frames"),
        ("/a.JPG", "auto"), ("/**/*.png", "auto"), ("/*.*", "auto"), ("/b/*/*.png", "auto"),
        ("/listed.json", "coco"),
    ],
)  # fmt: skip
def test_a_store_has_the_items_that_a_folder_has(mixed, place, rest, kind):
    rest = f"/{rest}".replace("//", "/").rstrip("/")
    upload(mixed, place)
    here = listing.discover(f"{mixed}{rest}", kind=kind)
    there = listing.discover(f"{place}{rest}", kind=kind)
    assert [(i.name, i.media) for i in there.items] == [(i.name, i.media) for i in here.items]
    assert str(here.root) == str(there.root).replace(place, str(mixed))
    for item in there.items:
        with download.at_hand(item) as at_hand:
            twin = next(i for i in here.items if i.name == item.name)
            assert at_hand.path.exists() == twin.path.exists()
            if at_hand.path.is_file():
                assert at_hand.path.read_bytes() == twin.path.read_bytes()
            elif twin.path.exists():
                frames = [numbered_images(p) for p in (at_hand.path, twin.path)]
                assert [p.name for p in frames[0]] == [p.name for p in frames[1]]
    assert not list((Path(os.environ["ANNOTATE_CACHE"]) / "items").glob("*/*"))


@pytest.mark.parametrize(
    ("rest", "says"), [("/none", "no such file"), ("/*.gif", "no image or video in it")]
)
def test_nothing_on_a_store_is_one_line(mixed, place, rest, says):
    upload(mixed, place)
    with pytest.raises(ConfigError, match=says):
        listing.discover(f"{place}{rest}")
    with pytest.raises(ConfigError, match="bucket itself must be named"):
        listing.discover("s3://*/x.jpg")


def test_a_bucket_that_is_not_there_is_one_line(s3, photos):
    for asked in (("s3://none/x", "memory://out/x"), (str(photos), "s3://none/x")):
        with pytest.raises(AnnotateError) as caught:
            run(*asked)
        assert str(caught.value).startswith(("dataset=s3://none/x: no such", "s3://none/x/.lock: "))


def test_class_lists_are_read_from_a_store():
    Store("memory://words").write_text("classes.txt", "cat\ndog\n")
    assert load_prompts("memory://words/classes.txt").names == ["cat", "dog"]
    with pytest.raises(PromptError, match="cannot read it"):
        load_prompts("memory://words/none.txt")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("photos") / "data", stills=5)


@pytest.fixture(scope="module")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run makes of the photos on this machine."""
    out = tmp_path_factory.mktemp("local") / "run"
    job.annotate_dataset(settings(photos, out))
    return out


def run(data: str, out: str, *more: str) -> Any:
    from annotate.config.compose import compose, typed
    from annotate.config.settings import AnnotateCommand
    from tests.killing import arguments

    argv = [*arguments(Path("data"), Path("out"))[2:], f"dataset={data}", f"out={out}", *more]
    return job.annotate_dataset(typed(compose(argv, "config"), AnnotateCommand))


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


def test_a_download_that_fails_is_a_failed_record_and_a_full_disk_is_not(tmp_path, monkeypatch):
    for seed in range(3):
        Store("memory://failing/data").send(still(tmp_path / "x.png", seed), f"{seed}.png")
    own = Store.fetch

    def failing(self: Store, name: str, path: Path) -> None:
        if name == "1.png":
            raise StorageError("memory://failing/data/1.png: cannot download it (timed out)")
        own(self, name, path)

    monkeypatch.setattr(Store, "fetch", failing)
    result = run("memory://failing/data", str(tmp_path / "run"))
    assert (result.counts.ok, result.counts.failed) == (2, 1)
    assert "cannot download it (timed out)" in result.counts.failures[0]["error"]

    def full(self: Store, name: str, path: Path) -> None:
        raise StorageError("no") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "fetch", full)
    with pytest.raises(StorageError, match="cannot keep downloads there"):
        run("memory://failing/data", str(tmp_path / "other"))


def test_spools_of_dead_processes_are_removed(tmp_path):
    place = tmp_path / "cache" / "items"
    host = download.socket.gethostname()
    for name in (f"{host}-4999999/x", f"{host}-{os.getpid()}/y", "elsewhere-4999999/z"):
        (place / name).mkdir(parents=True)
    download._own_folder()
    left = sorted(p.name for p in place.glob("*/*"))
    assert left == ["y", "z"]


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
    from tests.killing import arguments

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


def test_a_folder_here_that_is_out_of_date_gives_way_to_the_store(photos, tmp_path, monkeypatch):
    data, out = upload(photos, "memory://stale/photos"), "memory://stale/run"
    run(data, out)
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    run(data, out, "ground.floor=0.2", "on_change=redo")
    expected = made(out)
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "cache"))
    (WorkingCopy(out).path / "records" / "part-999999-x.parquet").write_bytes(b"not sent in time")
    with pytest.raises(ConfigError, match=r"ground\.floor: was 0\.2, is 0\.1"):
        run(data, out)
    assert run(data, out, "ground.floor=0.2").items["new"] == 0
    assert made(out) == expected


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
    coco = files(out)["exports/coco/instances.json"].decode()
    Store("memory://asked").write_text("truth.json", coco)
    assert evaluate._evaluate([f"run={out}", "truth=memory://asked/truth.json"]) == 0
    assert "mask AP" in capsys.readouterr().out
    assert list(annotate.Run.open(out).frames()) == list(Run.open(local).frames())
    with pytest.raises(StorageError, match=r"memory://asked/none: no run folder"):
        export._export(["run=memory://asked/none"])


def test_only_what_differs_is_moved(tmp_path, monkeypatch):
    url = "memory://differs/run"
    one = WorkingCopy(url)
    for name in ("config.yaml", "records/a.parquet", "exports/coco/x.json", ".hidden.tmp"):
        (one.path / name).parent.mkdir(parents=True, exist_ok=True)
        (one.path / name).write_text(name)
    one.push()
    assert set(files(url)) == {"config.yaml", "records/a.parquet", "exports/coco/x.json"}
    sent: list[str] = []
    own = Store.send
    monkeypatch.setattr(
        Store, "send", lambda self, path, name: sent.append(name) or own(self, path, name)
    )
    os.utime(one.path / "exports/coco/x.json", ns=(1, 1))  # written again with the same content
    (one.path / "config.yaml").write_text("changed")
    (one.path / "records/a.parquet").unlink()
    one.push("exports")
    assert (sent, len(files(url))) == ([], 3)
    one.push()
    assert sent == ["config.yaml"]
    assert set(files(url)) == {"config.yaml", "exports/coco/x.json"}
    monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
    two = WorkingCopy(url)
    two.pull()
    assert (two.path / "config.yaml").read_text() == "changed"
    assert not (two.path / "exports").exists(), "it is made again from the records"
    two.push()
    assert set(files(url)) == {"config.yaml"}, "an export that was not made again is gone"


def test_a_living_writer_is_not_disturbed(monkeypatch, tmp_path):
    one = WorkingCopy("memory://alive/run")
    with one.held() as held:
        monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
        for other in (one, WorkingCopy("memory://alive/run", "1-of-2")):
            with pytest.raises(StorageError, match=r"process \d+ on .* is writing"), other.held():
                pass
        held.push()
    with one.held():
        pass
    assert files("memory://alive/run") == {}


def test_shards_hold_the_folder_side_by_side(tmp_path, monkeypatch):
    one, two = (WorkingCopy("memory://side/run", f"{k}-of-2") for k in (1, 2))
    with one.held(), two.held():
        monkeypatch.setenv("ANNOTATE_CACHE", str(tmp_path / "another machine"))
        with (
            pytest.raises(StorageError, match="is writing"),
            WorkingCopy("memory://side/run").held(),
        ):
            pass
    assert files("memory://side/run") == {}


def test_the_lock_of_a_dead_writer_is_taken_over(tmp_path, monkeypatch):
    there = Store("memory://dead/run")
    there.write_text(".lock", '{"holder": "process 1 on gone", "place": "p", "token": "t"}')
    there.write_text(".lock-1-of-2", "torn")
    with WorkingCopy("memory://dead/run").held():
        assert set(files("memory://dead/run")) == {".lock"}
    assert files("memory://dead/run") == {}


def test_who_was_taken_for_dead_writes_no_more():
    with WorkingCopy("memory://lost/run").held() as held:
        Store("memory://lost/run").write_text(".lock", '{"token": "another\'s"}')
        held.lock._beating.join(10)
        with pytest.raises(StorageError, match="has taken over this run folder"):
            held.push()
    assert set(files("memory://lost/run")) == {".lock"}, "it is the other's"


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
