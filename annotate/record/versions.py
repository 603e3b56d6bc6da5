"""Which program, and which libraries that decide its numbers, are at work in this process."""

from __future__ import annotations

from importlib.metadata import version

LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "sam2",
    "numpy",
    "opencv-python",
    "av",
    "pillow",
)


def program() -> str:
    """The version of this package. A release that makes other records has another minor version."""
    return version("annotate")


def makes_records(program: str) -> str:
    """The part of a version that decides records: `1.4` of `1.4.2`."""
    return ".".join(program.split(".")[:2])


def libraries() -> dict[str, str]:
    """Versions by name. Another one changes last digits, seldom more."""
    return {name: version(name) for name in LIBRARIES}
