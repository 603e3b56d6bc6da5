"""Models and a format of a stranger, as docs/extending.md shows them: no change here is needed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from annotate.config.compose import compose, typed
from annotate.config.settings import AnnotateCommand
from annotate.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs"
MINE = DOCS / "extending"
FILES = [p for p in sorted(MINE.rglob("*")) if p.suffix in (".py", ".yaml")]
BOXES = {"red": (20, 30, 60, 80), "blue": (100, 20, 150, 60)}  # xyxy px


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_the_page_shows_the_files_as_they_are(path):
    text = path.read_text()
    assert text in (DOCS / "extending.md").read_text()
    assert len(text.splitlines()) < 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder elsewhere, with a picture of two blobs and the stranger's files."""
    place = tmp_path_factory.mktemp("elsewhere")
    image = np.full((100, 200, 3), 230, np.uint8)
    for (x0, y0, x1, y1), rgb in zip(BOXES.values(), [(220, 20, 20), (20, 20, 220)], strict=True):
        image[y0:y1, x0:x1] = rgb
    (place / "photos").mkdir()
    cv2.imwrite(str(place / "photos" / "two.png"), image[..., ::-1])
    shutil.copytree(MINE, place / "mine")
    return place


def annotate(site: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command of an installed wheel, from another directory."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from annotate.{} import main; main()"
    room = arguments[0] if arguments[0] in ("export", "review.__main__") else "__main__"
    given = [a for a in arguments if a != room]
    return subprocess.run(
        [sys.executable, "-c", code.format(room), str(site), *given],
        cwd=place, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


ASKED = ("--config-dir", "mine", "dataset=photos", "prompts=[red,blue]", "out=run")
OWN = ("ground=blobs", "segment=grabcut", "export=[boxes_csv,coco]")


@pytest.fixture(scope="module")
def done(site: Path, place: Path) -> subprocess.CompletedProcess[str]:
    return annotate(site, place, *ASKED, *OWN)


def test_a_strangers_models_and_format_make_a_dataset(done, place):
    assert done.returncode == 0, done.stderr
    (row,) = pq.read_table(place / "run" / "records").to_pylist()
    found = {i["phrase"]: tuple(i["box_xyxy"]) for i in row["instances"]}
    assert found == BOXES
    assert [i["area"] for i in row["instances"]] == [40 * 50, 50 * 40]
    lines = (place / "run/exports/boxes_csv/boxes.csv").read_text().splitlines()
    assert lines[0] == "picture,class,score,x0,y0,x1,y1"
    assert lines[1].startswith("two.png,red,1.0000,20.0,30.0,60.0,80.0")
    coco = json.loads((place / "run/exports/coco/annotations/instances_default.json").read_text())
    assert len(coco["annotations"]) == 2


def test_what_it_could_not_hold_and_which_code_it_was_are_said(done, place):
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert [e["not_held"] for e in summary["exports"]] == [{"masks": 2}, {}]
    assert summary["models"]["ground"]["model"] == "blobs.Blobs"
    assert len(summary["models"]["ground"]["sha256"]) == 64
    asked = yaml.safe_load((place / "run" / "config.yaml").read_text())
    assert asked["ground"]["_target_"] == "blobs.Blobs" and asked["ground"]["spread"] == 12


def test_other_code_of_the_same_name_does_not_mix(site, place):
    shutil.copytree(place / "photos", place / "more")
    asked = ("dataset=more", "prompts=[red,blue]", "out=mixed", "contact_sheet=false", *OWN)
    assert annotate(site, place, "--config-dir", "mine", *asked).returncode == 0
    shutil.copytree(place / "mine", place / "changed")
    with (place / "changed" / "blobs.py").open("a") as file:
        file.write("# changed\n")
    shutil.copy(place / "photos/two.png", place / "more/new.png")
    again = annotate(site, place, "--config-dir", "changed", *asked)
    assert again.returncode == 2 and "ground.sha256: was" in again.stderr


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("ground.spred=3",), "ground.spred: no such key; did you mean ground.spread"),
        (("ground.spread=200",), "ground.spread=200: expected 1..90"),
        (("boxes_csv.delimeter=tab",), "boxes_csv.delimeter: no such key; did you mean"),
        (("export=[boxes]",), "export=boxes: no such format; known are boxes_csv, coco, coco_p"),
        (("ground=blob",), "ground=blob: known are balanced, best, blobs"),
        (("ground._target_=blobs.Blob",), "ground._target_=blobs.Blob: blobs has no class Blob"),
        (("ground._target_=os.system",), "os has no class system"),
        (("prompts=[mauve]",), "phrase 'mauve': no such hue"),
    ],
)
def test_what_is_wrong_is_one_line(site, place, more, says):
    refused = annotate(site, place, *ASKED[:-1], "out=refused", *OWN, *more)
    assert refused.returncode == 2
    assert says in refused.stderr and refused.stderr.count("\n") <= 2


def test_a_segmenter_without_memory_serves_videos_and_says_how(site, place, demo, tmp_path):
    (tmp_path / "clips").mkdir()
    shutil.copy(demo / "clips" / "clip_00.mp4", tmp_path / "clips")
    made = annotate(
        site, place, "--config-dir", "mine", f"dataset={tmp_path}/clips", "prompts=[red,blue]",
        "ground=blobs", "segment=grabcut", "video.stride=8", f"out={tmp_path}/run",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    log = (tmp_path / "run" / "run.log").read_text()
    assert "this segmenter has no memory for videos" in log and "memory" in made.stdout
    rows = pq.read_table(tmp_path / "run" / "records").to_pylist()
    tracks = [[i["track_id"] for i in row["instances"]] for row in rows]
    assert any(tracks) and all(len(ids) == len(set(ids)) and 0 not in ids for ids in tracks)


def test_a_package_may_bring_a_format_by_an_entry_point(site, done, place, tmp_path):
    """Its options are those of its signature."""
    package = tmp_path / "brought"
    package.mkdir()
    (package / "tabs.py").write_text(
        (MINE / "boxes_csv.py").read_text().replace("delimiter: str", 'delimiter: str = "\\t"')
    )
    info = package / "tabs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tabs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[annotate.formats]\ntabs = tabs:BoxesCsv\n")
    code = (
        f"import sys; sys.path[:0] = [{str(site)!r}, {str(package)!r}];"
        "from annotate.export import main; main()"
    )
    for option, between in (((), "\t"), (("tabs.delimiter=|",), "|")):
        made = subprocess.run(
            [sys.executable, "-c", code, f"run={place}/run", "export=[tabs]", *option],
            cwd=place, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        head = (place / "run/exports/tabs/boxes.csv").read_text().splitlines()[0]
        assert head.split(between)[:2] == ["picture", "class"]


HOSTILE = "import pathlib; pathlib.Path('CANARY').touch()\nclass Grab:\n    pass\n"


def test_a_run_folder_cannot_name_what_is_called(site, done, place, tmp_path):
    """What is read back from a run folder is data, wherever it comes from."""
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "hostile.py").write_text(HOSTILE)
    asked = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    for target in ("hostile.Grab", "os.system", "subprocess.Popen"):
        asked["segment"] = {"_target_": target, "command": "touch CANARY"}
        asked["ground"] = {"_target_": target}
        (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(asked))
        exported = annotate(site, tmp_path, "export", "run=run", "export=[coco]")
        assert exported.returncode == 0, exported.stderr
        with pytest.raises(ConfigError, match=rf"segment\._target_={target}, which no config"):
            recorded(tmp_path / "run")
        assert not (tmp_path / "CANARY").exists()


def recorded(run: Path, *folders: str):
    """The segmenter that a review would carry corrections on with."""
    from annotate.record.run_folder import Run
    from annotate.runner.build import recorded_segmenter

    return recorded_segmenter(Run.open(run), device="cpu", folders=folders)


def test_the_users_own_class_is_known_by_the_config_that_names_it(done, place):
    with pytest.raises(ConfigError, match="add the --config-dir that names it"):
        recorded(place / "run")
    segmenter, settings = recorded(place / "run", str(place / "mine"))
    assert type(segmenter).__name__ == "GrabCut" and settings.speck_share == 0.005


def test_keys_of_every_kind_are_refused_with_the_nearest():
    for given, says in {
        "treshold=0.3": "did you mean threshold",
        "+treshold=0.3": "did you mean threshold",
        "++track.cutt=0.3": "did you mean track.cut",
        "+runner.partitems=3": "did you mean runner.part_items",
        "coco.mask=rle": "did you mean coco.masks",
        "conf=0.3": "did you mean threshold",
        "model=tiny": "did you mean models",
        "classes=c.txt": "did you mean prompts",
        "prompt=c.txt": "did you mean prompts",
        "output=run": "did you mean out",
        "format=coco": "did you mean export",
    }.items():
        with pytest.raises(ConfigError) as caught:
            typed(compose(["dataset=.", "prompts=[a]", given], "config"), AnnotateCommand)
        key = given.lstrip("+").partition("=")[0]
        assert str(caught.value).startswith(f"{key}: no such key; {says}"), str(caught.value)
