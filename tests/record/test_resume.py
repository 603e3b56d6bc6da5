"""A run goes on from wherever it was left, with what is new, changed or failed."""

import os

import annotate
from annotate.decode import read_ahead
from tests.small_runs import run, still


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
    assert run(stills, tmp_path / "run").exit_code == 0, "it changed, so it is done anyway"
    (stills / "2.png").write_bytes(b"torn")
    os.utime(stills / "2.png", ns=(known.st_atime_ns, known.st_mtime_ns))
    assert run(stills, tmp_path / "run").counts.failed == 1
    again = run(stills, tmp_path / "run", "retry_failed=true")
    assert (again.changes["retried"], again.items["new"]) == (1, 1)
    assert run(stills, tmp_path / "run").items["new"] == 0
