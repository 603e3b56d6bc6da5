"""The order of the house: which room may import which, and which library belongs where."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room may import those on lines above its own, and itself; within a line rooms are apart.
# The front door (commands and `api`) may see everything.
RANKS = (
    ("errors",),
    ("data",),
    ("config.schema", "config.shipped"),
    ("config.target",),
    ("config.settings",),
    ("store",),
    ("discover",),
    ("decode",),
    ("models",),
    ("ground", "segment", "verify"),
    ("track",),
    ("record",),
    ("evaluate", "synthetic"),
    ("report",),
    ("review",),
    ("runner",),
    ("preview",),
    ("config.compose",),
    ("serve",),
    ("playground",),
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
FRONT_DOOR = ("api", "export", "")
EXPORTERS_MAY = {"errors", "data", "config.settings", "store", "discover", "decode", "record"}

# Libraries that belong to some files only.
LIBRARIES = {
    "hydra": {"annotate/config/compose.py", "annotate/models/sam2_architecture.py"},
    "omegaconf": {"annotate/config/compose.py", "annotate/models/sam2_architecture.py"},
    "transformers": {
        "annotate/models/transformers_checkpoint.py", "annotate/ground/grounding_dino/scorer.py",
    },
    # What others read an export with; exporters/check.py asks them.
    **{
        name: {"exporters/other_readers.py"}
        for name in ("datasets", "datumaro", "label_studio_sdk", "labelme", "lvis", "webdataset",
                     "ultralytics")
    },
    "gradio": {f"annotate/playground/{name}.py" for name in ("page", "layout", "site")},
    "cvat_sdk": {"annotate/serve/cvat.py"},
    "httpx": {
        "annotate/ground/dds/service.py", "annotate/review/app.py", "annotate/serve/pictures.py",
    },
    "supervision": {"annotate/report/overlay.py", "annotate/data/types.py"},
    "trackeval": {"annotate/evaluate/tracking.py", "exporters/other_readers.py"},
    "fiftyone": {
        "annotate/store/fiftyone_database.py", "annotate/review/dataset.py",
        "annotate/review/app.py", "annotate/review/server.py",
        "annotate/review/plugins/decide/operators.py",
    },
    "bson": {f"annotate/review/{name}.py" for name in ("build", "pull", "dataset", "documents")},
    "pymongo": {"annotate/store/fiftyone_database.py", "annotate/review/dataset.py"},
    "fsspec": {"annotate/store/remote.py", "annotate/discover/remote_listing.py"},
    "matplotlib": {"annotate/report/label_font.py"},
    "ray": {"annotate/runner/ray_executor.py"},
}  # fmt: skip
WITHOUT_TORCH = ("data", "config.settings", "store", "discover", "decode", "evaluate", "report")
MOST_LINES = 450
MOST_ENTRIES = 20  # every command that is more than a page has a room


def sources(*folders: str) -> list[Path]:
    return [p for d in folders for p in sorted((ROOT / d).rglob("*.py"))]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sources("annotate", "exporters")}


def imports(path: Path) -> set[str]:
    """Names of the modules a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(path: Path) -> set[str]:
    """The modules of this house that a file imports; an empty package is only a way to others."""
    return {n for n in imports(path) & MODULES.keys() if MODULES[n].read_text().strip()}


def room_of(module: str) -> str:
    """`annotate.track.tracker` -> track; of config, whose files differ in rank, the file."""
    _, _, inside = module.partition(".")
    if inside.startswith("config."):
        return inside
    return "" if inside.endswith("__main__") else inside.split(".")[0]


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("annotate.")])
def test_arrows_go_one_way(module):
    room = room_of(module)
    if room in FRONT_DOOR:
        return
    for name in imported(MODULES[module]):
        other = room_of(name)
        if other != room and name != "annotate":
            assert RANK[other] < RANK[room], f"{module} imports {name}"


def test_there_is_no_circle():
    # The package itself hands out the public names when they are asked for, not before.
    graph = {m: imported(p) - {m, "annotate"} for m, p in MODULES.items()}
    list(TopologicalSorter(graph).static_order())


def test_annotate_reaches_exporters_through_the_registry_alone():
    for path in sources("annotate"):
        assert not {n for n in imports(path) if n.split(".")[0] == "exporters"}, path


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("exporters")])
def test_exporters_see_records_and_pictures_and_no_model(module):
    for name in imports(MODULES[module]):
        assert name.split(".")[0] not in ("torch", "transformers", "sam2"), module
        if name in MODULES and name.startswith("annotate."):
            allowed = room_of(name) in EXPORTERS_MAY or name == "annotate.models.facts"
            assert allowed, f"{module} imports {name}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stays_in_its_files(library):
    users = {
        p.relative_to(ROOT).as_posix()
        for p in sources("annotate", "exporters")
        if any(name.split(".")[0] == library for name in imports(p))
    }
    assert users <= LIBRARIES[library]


@pytest.mark.parametrize("module", MODULES)
def test_rooms_without_models_know_no_torch(module):
    if room_of(module) in WITHOUT_TORCH:
        assert not {n.split(".")[0] for n in imports(MODULES[module])} & {"torch", "torchvision"}


def test_the_shelves_are_few_and_the_files_short():
    always = {"__init__.py", "__main__.py", "api.py", "errors.py", "py.typed", "__pycache__"}
    assert len({p.name for p in (ROOT / "annotate").iterdir()} - always) <= MOST_ENTRIES
    for path in sources("annotate", "exporters", "tests", "bench", "training"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{path} has {lines} lines"


def test_tests_stand_where_what_they_test_stands():
    rooms = {p.name for p in (ROOT / "annotate").iterdir() if (p / "__init__.py").is_file()}
    tested = {p.name for p in (ROOT / "tests").iterdir() if any(p.glob("test_*.py"))}
    assert tested <= rooms | {"exporters", "training"}
    assert rooms <= tested
