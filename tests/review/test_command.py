"""The command as people use it: started once, ended by Ctrl-C, quiet, and nothing left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from annotate.data.types import FrameRecord, Instance
from annotate.record import reviews
from annotate.record.run_folder import Run
from tests import app_page
from tests.review.reviewer import CLIP, FIRST, of

PATIENCE_S = 200


@contextmanager
def started(
    run: Run, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """The command once the App is there: what it has said, and the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "annotate", "review", f"run={run.path}", "reviewer=kim",
         "near_duplicates=false", f"port={app_page.free_port()}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if "Ctrl-C" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", " ".join(said))
        assert found, (said, process.communicate())
        yield process, said, found[0]
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str], by: int) -> tuple[int, list[str], list[str]]:
    """The exit code after a signal, the rest of what was said, and all of stderr."""
    os.killpg(process.pid, by)  # as a terminal does it: to everything that it started
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out.splitlines(), err.splitlines()


def nothing_runs_on(database: Path) -> bool:
    """Whether the database ends soon after who started it; it writes what it holds first."""
    there = [
        p
        for p in psutil.process_iter(["cmdline"])
        if any(str(database) in part for part in p.info["cmdline"] or ())
    ]
    return not psutil.wait_procs(there, timeout=60)[1]


def alone(record: FrameRecord) -> tuple[Instance, tuple[float, float]]:
    """An instance and a place, in parts of the picture, where there is nothing but it."""
    masks = [i.mask.decode() for i in record.instances]
    for instance, mask in zip(record.instances, masks, strict=True):
        x0, y0, x1, y1 = instance.box_xyxy
        x, y = int(x0 + x1) // 2, int(y0 + y1) // 2
        boxed = sum(
            b[0] <= x < b[2] and b[1] <= y < b[3] for b in (i.box_xyxy for i in record.instances)
        )
        if boxed == 1 and mask[y, x] and instance.score > 0.5:
            return instance, ((x + 0.5) / record.width, (y + 0.5) / record.height)
    pytest.fail(f"{record.frame_id}: everything lies on something else")


@pytest.mark.timeout(600)
@app_page.needs_chromium
def test_stills_and_videos_are_decided_in_one_go_and_ctrl_c_brings_it_back(
    run: Run, tmp_path: Path
) -> None:
    frames = {record.frame_id: record for record in run.frames()}
    (database := tmp_path / "db").mkdir()
    own = {**os.environ, "FIFTYONE_DATABASE_DIR": str(database)}
    del own["FIFTYONE_DATABASE_URI"], own["FIFTYONE_DATABASE_VALIDATION"]
    with started(run, own) as (process, said, address):
        with app_page.app_page(address) as app:
            app.wait_for_samples()
            if "/datasets/" + run.path.name + "-videos" in app.page.url:
                app.push("to the stills", "3 samples")
            assert app.page.url.endswith("?view=queue")
            app.select(0)
            app.push("accept (y)", "1 picture: accept")
            app.page.wait_for_timeout(4000)  # the App makes the grid anew
            app.select(1)  # another one, whether what is done is shown last already or not yet
            app.press("n", "1 picture: reject")
            app.page.wait_for_timeout(4000)
            app.press("u", "open a picture or tick some first")
            app.open(0)
            third = frames[shown(app)]
            instance, place = alone(third)
            app.choose((third.width, third.height), place)
            app.push("fix (u)", "1 instance: fix")
            app.close()
            app.push("to the videos", "1 sample")
            app.open(0)
            app.page.wait_for_timeout(3000)
            app.press("u", "1 video: fix")
            app.press("u", "1 video: fix taken back")
            first = frames[f"{CLIP}#000000"]
            tracked, place = alone(first)
            app.choose((first.width, first.height), place)
            app.press("Shift+N", "1 instance: reject-track")
        code, rest, err = ended(process, signal.SIGINT)
    assert code == 0 and nothing_runs_on(database)
    lines = [*said, *rest]
    known = [
        r"(3 stills and 1 videos|1 videos and 3 stills) to look at, the least .* first: http\S+",
        "keys: y accept, n reject, u fix.*",
        "Ctrl-C here ends the review and brings the decisions back",
        "4 new decisions in .*/reviews",
        r".*: [23] of 3 stills reviewed \(1 accept, 1 reject, 0 fix\)",
        r".*-videos: 1 of 1 videos reviewed \(0 accept, 0 reject, 0 fix\)",
    ]
    assert len(lines) == len(known), lines
    for line, pattern in zip(lines, known, strict=True):
        assert re.fullmatch(pattern, line), line
    assert len(err) == 1 and err[0].startswith("pictures are read below"), err
    made = {d.instance_id or d.frame_id: d.tags for d in reviews.read(run.reviews_dir)}
    assert made.pop(instance.instance_id) == ("fix",)
    assert made.pop(tracked.instance_id) == ("reject-track",)
    assert sorted(made.values()) == [("accept",), ("reject",)]
    assert {d.who for d in reviews.read(run.reviews_dir)} == {"kim"}


def shown(app: app_page.AppPage) -> str:
    """The frame id of the still that is open, which the side bar has as its item."""
    text = app.page.get_by_text(re.compile(r"^stills/still_\d+\.png$")).first
    text.wait_for()
    return str(text.text_content())


@pytest.mark.timeout(600)
def test_the_second_ctrl_c_ends_at_once_and_the_next_start_brings_it_back(run: Run) -> None:
    import fiftyone as fo

    with started(run, os.environ) as (process, _, _):
        sample = of(fo.load_dataset(run.path.name), FIRST)
        sample.tags.append("accept")
        sample.save()
        (server,) = (p for p in psutil.Process(process.pid).children() if "--start" in told(p))
        server.suspend()  # or the first one would be done before the second comes
        process.send_signal(signal.SIGINT)
        while not told_to_end(server):
            time.sleep(0.05)
        code, rest, err = ended(process, signal.SIGINT)
        assert not server.is_running()
    assert code == 130 and rest == []
    assert "in FiftyOne's database" in err[-1] and "action=pull` brings them back" in err[-1]
    assert list(reviews.read(run.reviews_dir)) == []

    with started(run, os.environ) as (process, said, _):
        assert re.fullmatch(r"1 new decisions in .*/reviews, of last time", said[0])
        assert said[1].startswith("2 stills and 1 videos") or said[1].startswith("1 videos and 2")
        code, rest, _ = ended(process, signal.SIGTERM)
    assert code == 0 and rest[0].startswith("0 new decisions")
    assert [d.tags for d in reviews.read(run.reviews_dir)] == [("accept",)]


@pytest.mark.timeout(600)
def test_an_app_that_ends_by_itself_is_an_error_and_loses_nothing(run: Run) -> None:
    import fiftyone as fo

    with started(run, os.environ) as (process, _, _):
        sample = of(fo.load_dataset(run.path.name), FIRST)
        sample.tags.append("reject")
        sample.save()
        (server,) = (p for p in psutil.Process(process.pid).children() if "--start" in told(p))
        server.kill()
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2 and out.startswith("1 new decisions")
    assert "ended by itself, see" in err.splitlines()[-1] and "Traceback" not in err


def told(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.ZombieProcess:  # what opened the browser, and is done
        return ""


def told_to_end(process: psutil.Process) -> bool:
    """Whether SIGTERM waits for it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    waiting = int(status.partition("ShdPnd:")[2].split()[0], 16)
    return bool(waiting >> (signal.SIGTERM - 1) & 1)
