"""Media of a FiftyOne dataset are items as those of a folder are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from annotate import export
from annotate.discover.listing import discover
from annotate.errors import ConfigError
from annotate.record.run_folder import Run
from annotate.runner.plan import run_folder
from tests.exporters.runs import COCO
from tests.small_runs import draw_stills, run, settings, still

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def named(tmp_path: Path) -> str:
    """A dataset of six stills in two folders, with a saved view of two of them."""
    import fiftyone as fo

    draw_stills(tmp_path / "a")
    (tmp_path / "b").mkdir()
    still(tmp_path / "b" / "ü ä.png", 9)
    dataset = fo.Dataset(tmp_path.name, persistent=True)
    files = sorted(tmp_path.rglob("*.png"))
    dataset.add_samples([fo.Sample(filepath=str(f), tags=[f.stem]) for f in files])
    dataset.save_view("two", dataset.match_tags(["0", "1"]))
    return tmp_path.name


def test_a_dataset_and_a_view_have_the_same_names(named, tmp_path):
    found = discover(named, kind="fiftyone")
    assert found.root == tmp_path
    assert [i.name for i in found.items] == [*(f"a/{n}.png" for n in range(5)), "b/ü ä.png"]
    assert found.items == discover(str(tmp_path), kind="images").items
    view = discover(f"{named}/two", kind="fiftyone")
    assert (view.root, view.items) == (found.root, found.items[:2])


def test_a_run_resumes_and_exports_as_one_of_a_folder(named, tmp_path):
    first = run(f"{named}/two", tmp_path / "run", "dataset.kind=fiftyone")
    assert first.items["new"] == 2
    assert run(named, tmp_path / "run", "dataset.kind=fiftyone").items["new"] == 4
    assert run(named, tmp_path / "run", "dataset.kind=fiftyone").items["new"] == 0
    folder = run(tmp_path / "a", tmp_path / "plain")
    ours = {r.frame_id: r.instances for r in Run.open(tmp_path / "run").frames()}
    theirs = {f"a/{r.frame_id}": r for r in Run.open(tmp_path / "plain").frames()}
    assert folder.counts.frames == 5
    for name, record in theirs.items():
        assert [i.mask for i in record.instances] == [i.mask for i in ours[name]]
    assert export._export([f"run={tmp_path / 'run'}", "export=[coco]", "export.media=copy"]) == 0
    exported = json.loads((tmp_path / "run/exports/coco" / COCO).read_text())
    assert len(exported["images"]) == 6


def test_a_run_folder_is_called_as_the_dataset_is(named, tmp_path):
    asked = settings(f"{named}/two", tmp_path, "dataset.kind=fiftyone")
    assert run_folder(replace(asked, out=None)) == Path("runs") / f"{named}-two"


def test_what_is_not_there_is_one_line(named):
    with pytest.raises(ConfigError, match=f"no dataset of that name; there are .*{named}"):
        discover(f"{named}x", kind="fiftyone")
    with pytest.raises(ConfigError, match="has no saved view 'tow'; there are two"):
        discover(f"{named}/tow", kind="fiftyone")


def test_media_of_other_kinds_are_counted(named, tmp_path, caplog):
    import fiftyone as fo

    dataset = fo.Dataset(f"{named}-empty", persistent=True)
    with pytest.raises(ConfigError, match="FiftyOne has no media there"):
        discover(dataset.name, kind="fiftyone")
    paths = [tmp_path / "x.exr", tmp_path / "a" / "0.png"]
    dataset.add_samples([fo.Sample(filepath=str(p)) for p in paths])
    found = discover(dataset.name, kind="fiftyone")
    assert [i.name for i in found.items] == ["a/0.png"]
    assert "1 of 2 media are no files of this machine that are read, such as" in caplog.text
