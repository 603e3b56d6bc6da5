"""What people changed in an export is noticed before a new one takes its place, and is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.record.run_folder import Run
from annotate.store import atomic
from tests.exporters.runs import export_one, files_below


def correct_a_label(folder: Path) -> None:
    label = next(p for p in sorted((folder / "labels/train").iterdir()) if p.stat().st_size)
    label.write_text(label.read_text().replace("0.", "1.", 1))


def add_weights(folder: Path) -> None:
    (folder / "runs/train").mkdir(parents=True)
    (folder / "runs/train/best.pt").write_bytes(b"a night of training")


def take_a_picture_out(folder: Path) -> None:
    next((folder / "images/train").iterdir()).unlink()


@pytest.mark.parametrize("change", [correct_a_label, add_weights, take_a_picture_out])
def test_a_changed_export_is_kept_beside_the_new_one(
    shapes_run: Run, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = export_one(shapes_run, "yolo_seg").path
    fresh = files_below(folder)
    change(folder)
    changed = files_below(folder)
    export_one(shapes_run, "yolo_seg")
    assert files_below(folder) == fresh
    assert files_below(folder.with_name("yolo_seg-kept-1")) == changed
    assert "it is kept as yolo_seg-kept-1" in caplog.text
    export_one(shapes_run, "yolo_seg")
    assert not folder.with_name("yolo_seg-kept-2").exists(), "the new one is as it was written"


def test_what_nobody_changed_is_replaced(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "yolo_seg", media="copy").path
    moved = folder.with_name("moved")
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)  # without times
    shutil.rmtree(folder)
    moved.rename(folder)
    (folder / "labels/train.cache").write_bytes(b"of a trainer")
    export_one(shapes_run, "yolo_seg")
    assert [p.name for p in folder.parent.glob("[!.]*")] == ["yolo_seg"]


def test_a_picture_of_the_dataset_that_changes_is_no_change_of_the_export(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco").path
    linked = next(p for p in (folder / "images").iterdir() if p.stat().st_nlink > 1)
    with linked.open("ab") as file:  # which the dataset has as well
        file.write(b"more")
    export_one(shapes_run, "coco")
    assert not folder.with_name("coco-kept-1").exists()
    other = next(p for p in (folder / "images").iterdir() if p.stat().st_nlink > 1)
    other.unlink()
    other.write_bytes(b"drawn anew in the export alone")
    export_one(shapes_run, "coco")
    assert folder.with_name("coco-kept-1").exists()


def test_an_export_that_nothing_is_noted_of_is_kept(shapes_run: Run) -> None:
    folder = export_one(shapes_run, "coco").path
    folder.with_name(".coco.json").unlink()
    export_one(shapes_run, "coco")
    assert folder.with_name("coco-kept-1").is_dir()


class Killed(BaseException):
    """As far as files tell, a process that is gone."""


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_killed_between_its_renames_an_export_loses_nothing(
    shapes_run: Run, monkeypatch: pytest.MonkeyPatch, at: int, changed: bool
) -> None:
    folder = export_one(shapes_run, "coco").path
    if changed:
        (folder / "mine.txt").write_text("corrected by hand")
    before = files_below(folder)
    rename, calls = Path.rename, []

    def dying(path: Path, target: Path) -> Path:
        if "coco" in str(target):
            calls.append(target)
            if len(calls) == at:
                raise Killed
        return rename(path, target)

    with monkeypatch.context() as dead:
        dead.setattr(Path, "rename", dying)
        dead.setattr(shutil, "rmtree", lambda *_, **__: None)
        if at == 3 and not changed:  # there are two renames then
            export_one(shapes_run, "coco")
        else:
            with pytest.raises(Killed):
                export_one(shapes_run, "coco")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as next_one:  # fails as well
        next_one.setattr("exporters.coco_document.coco_polygons", full)
        with pytest.raises(Exception, match="No space left"):
            export_one(shapes_run, "coco")
    there = [files_below(p) for p in folder.parent.glob("coco*") if p.is_dir()]
    assert before in there
    assert folder.is_dir()
    assert not list(folder.parent.glob(f".*{atomic.FORMER}*"))
