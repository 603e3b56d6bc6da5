"""Bad input costs its own record: never the run, never a neighbour, never the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image as PilImage

import annotate
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.decode import image, read_ahead
from annotate.errors import MediaError
from annotate.runner import job
from tests import hostile

MAX_RSS = 2 * 10**9

# The most memory that the process had, which getrusage() would mix up with that of its parent.
RUN = """
import sys
from pathlib import Path
from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.runner.job import annotate_dataset
result = annotate_dataset(typed(compose(sys.argv[1:], "config"), AnnotateCommand))
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(result.exit_code, peak)
assert "ray" not in sys.modules, "the local path needs no Ray"
"""


def arguments(dataset: Path, out: Path) -> list[str]:
    return [
        f"dataset={dataset}", f"out={out}", "prompts=[red circle]", "models=tiny",
        "contact_sheet=false", "runner.part_items=16",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str], set[str]]:
    folder = tmp_path_factory.mktemp("hostile") / "corpus"
    return folder, *hostile.make(folder)


def test_every_hostile_file_has_its_record_and_no_neighbour_is_changed(corpus, tmp_path):
    folder, bad, good = corpus
    assert len(bad | good) >= 60
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments(folder, tmp_path / "run")],
        cwd=tmp_path, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    code, peak_kib = map(int, done.stdout.split()[-2:])
    assert code == 3
    assert peak_kib * 1024 < MAX_RSS
    found = list(annotate.Run.open(tmp_path / "run").frames())
    failed = {r.item for r in found if r.status == "failed"}
    assert {r.item for r in found} == bad | good
    assert failed == bad
    assert all(r.error for r in found if r.status == "failed")
    assert not list(tmp_path.rglob("canary")) and not (folder / "unpickled").exists()
    assert not (tmp_path / "escape.txt").exists() and not (folder.parent / "escape.txt").exists()
    # The same pictures, with nothing bad among them.
    alone = tmp_path / "alone"
    for name in sorted(good):
        (alone / name).parent.mkdir(parents=True, exist_ok=True)
        (alone / name).write_bytes((folder / name).read_bytes())
    job.annotate_dataset(typed(compose(arguments(alone, tmp_path / "alone run"), "config"),
                               AnnotateCommand))  # fmt: skip
    neighbours = list(annotate.Run.open(tmp_path / "alone run").frames())
    assert neighbours == [r for r in found if r.item in good]


def test_what_vanishes_or_changes_under_way_costs_only_itself(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    for seed in range(3):
        hostile.scene(seed).save(data / f"{seed}.png")
    read = read_ahead.read_image

    def vanishing(path, **limits):
        if path.name == "1.png":
            path.unlink()
        return read(path, **limits)

    monkeypatch.setattr(read_ahead, "read_image", vanishing)
    asked = typed(compose(arguments(data, tmp_path / "run"), "config"), AnnotateCommand)
    assert job.annotate_dataset(asked).counts.failures == [
        {"item": "1.png", "error": "file not found"}
    ]


def test_class_names_cannot_leave_the_folder_or_break_a_format(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    hostile.scene().save(data / "a.png")
    names = ["../../up", "a\"b'c", "line: [x", "# no comment", "🦊", "-", "null", "yes", "1e3"]
    run = annotate.run(
        dataset=data, prompts=_yaml(tmp_path, names), models="tiny", out=str(tmp_path / "run"),
        contact_sheet=False, threshold=0.0,
    )  # fmt: skip
    assert run.classes.names == names
    coco = json.loads((run.path / "exports/coco/annotations/instances_default.json").read_text())
    assert [c["name"] for c in coco["categories"]] == names
    data_yaml = yaml.safe_load((run.path / "exports/yolo_seg/data.yaml").read_text())
    assert list(data_yaml["names"].values()) == names
    assert {p.name for p in tmp_path.iterdir()} == {"data", "run", "classes.yaml"}


def _yaml(folder: Path, names: list[str]) -> Path:
    path = folder / "classes.yaml"
    classes = [{"name": name, "phrases": [f"red circle {n}"]} for n, name in enumerate(names)]
    path.write_text(json.dumps({"classes": classes}, ensure_ascii=False))
    return path


def test_postscript_is_never_run(tmp_path):
    """Pillow would hand it to Ghostscript, whatever its suffix."""
    (tmp_path / "x.png").write_bytes(hostile.wrong_kinds(tmp_path)["postscript.png"])
    with pytest.raises(MediaError, match="cannot decode"):
        image.read_image(tmp_path / "x.png")
    with pytest.raises(PilImage.UnidentifiedImageError):
        PilImage.open(tmp_path / "x.png", formats=image.FORMATS)
