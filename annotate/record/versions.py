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
    """The version of this package. Records of another one are not gone on with."""
    return version("annotate")


def libraries() -> dict[str, str]:
    """Versions by name. Another one changes last digits, seldom more."""
    return {name: version(name) for name in LIBRARIES}
