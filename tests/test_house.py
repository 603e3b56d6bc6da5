"""Arrows go one way: which room may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Libraries that belong to some rooms only.
ROOMS = {
    "hydra": {"annotate/config.py", "annotate/models/sam2.py"},
    "omegaconf": {"annotate/config.py", "annotate/models/sam2.py"},
    "transformers": {"annotate/models/weights.py", "annotate/models/grounding_dino.py"},
    "supervision": {"annotate/render.py"},
    "trackeval": {"annotate/tracking_metrics.py"},
    "fiftyone": {"annotate/review_dataset.py"},
    "bson": {"annotate/review.py", "annotate/review_dataset.py", "annotate/review_documents.py"},
    "pymongo": {"annotate/review_dataset.py"},
    "fsspec": {"annotate/store.py", "annotate/remote_dataset.py"},
    "matplotlib": {"annotate/label_font.py"},
    "ray": {"annotate/ray_runner.py"},
}
PURE = (
    "errors", "types", "geometry", "prompts", "dataset", "identity", "records", "media", "durable",
    "lock", "plan", "stamps", "standing", "run_folder", "gates", "interrupt", "decisions", "doubts",
    "store", "spool", "mirror", "lease", "remote_dataset",
)  # fmt: skip


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


def sources() -> list[Path]:
    return [p for d in ("annotate", "exporters") for p in sorted((ROOT / d).rglob("*.py"))]


@pytest.mark.parametrize("library", ROOMS)
def test_a_library_stays_in_its_rooms(library):
    users = {
        p.relative_to(ROOT).as_posix()
        for p in sources()
        if any(name.split(".")[0] == library for name in imports(p))
    }
    assert users <= ROOMS[library]


@pytest.mark.parametrize("room", PURE)
def test_the_pure_rooms_know_no_model(room):
    names = imports(ROOT / "annotate" / f"{room}.py")
    assert not any(name.split(".")[0] in ("torch", "torchvision", "transformers") for name in names)
    assert not any(name.startswith("annotate.models") for name in names)


def test_exporters_never_see_a_model():
    for path in (ROOT / "exporters").rglob("*.py"):
        names = imports(path)
        assert not any(n.split(".")[0] in ("torch", "transformers", "sam2") for n in names), path
        assert not any(n.startswith("annotate.models") for n in names), path


def test_only_review_needs_fiftyone():
    review = {f"annotate.{p.stem}" for p in (ROOT / "annotate").glob("review*.py")}
    for path in sources():
        if not path.stem.startswith("review"):
            assert not imports(path) & review, path
