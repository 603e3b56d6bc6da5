"""What the packages in requirements.lock are licensed under: writes docs/licences.md.

python -m tests.licences
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/licences.md"
RUNNING = ("", "cloud", "eval", "ray", "review", "heic")  # every extra but dev
HEAD = """\
# Licences of what annotate stands on

Every package in `requirements.lock` with the licence that it states itself; `python -m
tests.licences` writes this page, and a test holds it to the lock. annotate is Apache-2.0. None of
what it needs to run, extras included, asks anything of what you make with it. What is only for
development (tests, building, type checks) is in the second table: one of them, ultralytics, is
AGPL-3.0; no part of annotate imports it. The wheels of PyAV and OpenCV bring FFmpeg with them,
under LGPL and, in PyAV's for its H.264 encoder, GPL: that concerns who passes the wheels on, not
who uses them. The libraries of CUDA, which torch brings along, are NVIDIA's under its own terms:
they may be used, not changed. Packages for other systems than the one this was written on show no
licence.
"""


def key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Versions by package."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return {key(n): v for n, v in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M)}


def licence(name: str) -> str:
    """What a package says of itself, in a few words; "" where it is not installed."""
    try:
        meta = distribution(name).metadata
    except PackageNotFoundError:
        return ""
    stated = meta.get("License-Expression") or ""
    classified = [c.split(" :: ")[-1] for c in meta.get_all("Classifier") or () if "License" in c]
    free = (meta.get("License") or "").strip().splitlines()
    said = stated or ", ".join(dict.fromkeys(classified)) or (free[0] if free else "")
    return said[:60].replace("|", "/") or "not stated"


def running() -> set[str]:
    """The packages that annotate may need to run, whatever its extras."""
    found: set[str] = set()
    waiting = [("annotate", extra) for extra in RUNNING]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            wanted = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, wanted):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                found.add(key(requirement.name))
                for inner in ("", *requirement.extras):
                    if (pair := (key(requirement.name), inner)) not in seen:
                        seen.add(pair)
                        waiting.append(pair)
    return found


def page() -> str:
    """The whole page."""
    needed = running()
    tables = []
    for title, wanted in (("To run", True), ("For development, and other systems", False)):
        rows = [
            f"| {name} | {licence(name)} |"
            for name in sorted(locked())
            if (name in needed) == wanted
        ]
        tables.append("\n".join([f"\n## {title}\n", "| package | licence |", "|---|---|", *rows]))
    return HEAD + "\n".join(tables) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
