"""Urls are opened where they lead to files of a store, and nowhere else without being asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate import __main__ as annotate
from annotate import export
from annotate.errors import ConfigError
from annotate.evaluate import __main__ as evaluate
from annotate.report import __main__ as report
from annotate.review import __main__ as review
from annotate.runner.command import REFUSED, run_command
from annotate.store import remote
from annotate.store.remote import Store, is_url

REFUSED_URLS = [
    "http://127.0.0.1:9/x.json", "https://host/x", "ftp://host/x", "zip://x", "zip://a::s3://b",
    "reference://::file:///tmp/x.json", "simplecache::s3://bucket/x", "github://a:b@c/x",
    "memory://x", "S3://bucket/x", "s3://bucket/a::file:///etc", "dir::file://x", "jar://x",
    "sftp://host/x", "hdfs://host/x", "libarchive://x", "blockcache://x", "data://x",
]  # fmt: skip
ASKED: list[tuple[Callable[[list[str]], int], list[str]]] = [
    (annotate._annotate, ["dataset={url}", "prompts=[cat]"]),
    (annotate._annotate, ["dataset={url}", "dataset.kind=coco", "prompts=[cat]"]),
    (annotate._annotate, ["dataset={here}", "prompts=[cat]", "out={url}"]),
    (annotate._annotate, ["dataset={here}", "prompts={url}"]),
    (annotate._annotate, ["dataset={here}", "prompts=[cat]", "gates.truth={url}"]),
    (annotate._annotate, ["dataset={here}", "prompts=[cat]", "ground.model={url}"]),
    (annotate._annotate, ["dataset={here}", "prompts=[cat]", "segment.model={url}"]),
    (export._export, ["run={url}"]),
    (evaluate._evaluate, ["run={url}", "truth={here}/t.json"]),
    (evaluate._evaluate, ["run={run}", "truth={url}"]),
    (evaluate._evaluate, ["run={run}", "truth={here}/t.json", "mapping={url}"]),
    (evaluate._evaluate, ["run={run}", "truth={here}/t.json", "suggest={url}"]),
    (report._report, ["run={url}"]),
    (report._report, ["run={run}", "against={url}"]),
    (review._review, ["run={url}"]),
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_what_is_not_opened(url):
    with pytest.raises(ConfigError, match=r"is not opened, but abfs.*|without `::`"):
        is_url(url)
    with pytest.raises(ConfigError):
        Store(url).files()


@pytest.mark.parametrize("place", ["s3://b/x", "gs://b", "az://c/x", "abfs://c@a/x", "file:///x"])
def test_what_is_opened(place):
    assert is_url(place)


@pytest.mark.parametrize("place", ["x", "/a/b", "a::b", "C:\\x", "C:/x", "12:30", Path("s3://x")])
def test_what_is_no_url(place):
    assert not is_url(place)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.json", "reference://::file://{bad}"])
@pytest.mark.parametrize("command, argv", ASKED)
def test_every_place_is_one_line_and_nothing_is_opened_or_written(
    command, argv, url, demo_run, tmp_path, capsys, monkeypatch
):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.png").touch()
    (data / "t.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    code = "{{ cycler.__init__.__globals__.os.system('touch " + str(tmp_path / "canary") + "') }}"
    key = {"key": f"a{{{{i}}}}{code}", "url": "file:///x", "dimensions": {"i": {"stop": 1}}}
    bad = {"version": 1, "templates": {"u": "x"}, "gen": [key], "refs": {}}
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    monkeypatch.chdir(tmp_path)
    url = url.format(bad=tmp_path / "bad.json")
    argv = [a.format(url=url, here=data, run=demo_run) for a in argv]
    monkeypatch.setattr(remote, "_opened", lambda url: pytest.fail(f"{url} is opened"))
    assert run_command(command, argv) == REFUSED
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ") and not [line for line in said if "Traceback" in line]
    assert {p.name for p in tmp_path.iterdir()} == {"data", "bad.json"}


def test_who_names_a_protocol_has_it(tmp_path, monkeypatch, demo_run, capsys):
    monkeypatch.setattr(remote, "_named", set[str]())
    asked = [f"run={demo_run}", "truth=memory://named/truth.json"]
    assert run_command(evaluate._evaluate, asked) == REFUSED
    assert "add store.protocols=[memory]" in capsys.readouterr().err
    assert run_command(evaluate._evaluate, [*asked, "store.protocols=[memory]"]) == REFUSED
    assert "truth=memory://named/truth.json: not a COCO instances json" in capsys.readouterr().err
    # Chains are opened for nobody.
    asked = [f"run={demo_run}", "truth=zip://x::memory://y", "store.protocols=[zip,memory]"]
    assert run_command(evaluate._evaluate, asked) == REFUSED
    assert "without `::`" in capsys.readouterr().err
