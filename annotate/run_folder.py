"""A run folder: what was asked, the records, and what everything after annotation reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
import yaml

from annotate import records
from annotate.errors import ConfigError, StorageError
from annotate.prompts import class_list_from_yaml, class_list_to_yaml
from annotate.types import ClassList, FrameRecord


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `path` is its folder, `root` the dataset's, `classes` what was asked for."""

    path: Path
    root: Path
    classes: ClassList

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run folder written before; StorageError names what is missing."""
        path = Path(path)
        asked = _read_yaml(path / "config.yaml")
        classes = class_list_from_yaml(
            _read_yaml(path / "classes.yaml"), str(path / "classes.yaml")
        )
        return cls(path=path, root=Path(asked["dataset"]["root"]), classes=classes)

    @classmethod
    def start(cls, path: Path, root: Path, classes: ClassList, asked: Mapping[str, Any]) -> Run:
        """Begin a run in `path`, or continue the one there if it was asked the same.

        `asked` is what decides the records (models, rules). Raises ConfigError with the first
        difference when the folder holds records made otherwise: two makings must not mix.
        """
        texts = {
            "config.yaml": yaml.safe_dump(
                {"dataset": {"root": str(root)}, **asked}, allow_unicode=True, sort_keys=False
            ),
            "classes.yaml": class_list_to_yaml(classes),
        }
        started = bool(records.part_paths(path / "records"))
        for name, text in texts.items():
            if started and (path / name).is_file():
                before, now = _read_yaml(path / name), yaml.safe_load(text)
                if difference := _first_difference(_deciding(before), _deciding(now)):
                    raise ConfigError(
                        f"{path} holds a run that was asked otherwise ({difference}); "
                        "choose another folder with out=DIR, or delete this one"
                    )
        for name, text in texts.items():
            _write(path / name, text)
        return cls(path=path, root=root, classes=classes)

    def made_with(self, weights: Mapping[str, Any]) -> None:
        """Note which weights make the records; ConfigError where other ones made those here."""
        text = yaml.safe_dump(dict(weights), sort_keys=False)
        started, before = bool(records.part_paths(self.records_dir)), self.weights()
        difference = _first_difference(before, yaml.safe_load(text)) if before else ""
        if started and difference:
            raise ConfigError(
                f"{self.path} was made with other weights ({difference}); choose another folder "
                "with out=DIR, or delete this one"
            )
        _write(self.path / "weights.yaml", text)

    def weights(self) -> dict[str, Any]:
        """Which weights made the records, by role; empty before any were loaded."""
        path = self.path / "weights.yaml"
        return dict(_read_yaml(path)) if path.is_file() else {}

    @property
    def records_dir(self) -> Path:
        return self.path / "records"

    def frames(self) -> Iterator[FrameRecord]:
        """Every record ordered by item and frame index, streamed; masks decode on demand."""
        return records.read_records(self.records_dir)

    def table(self) -> pads.Dataset:
        """The records as a pyarrow dataset."""
        return records.dataset(self.records_dir)


def _deciding(asked: Any) -> Any:
    """What decides the records: export thresholds and areas of classes do not."""
    if "classes" not in asked:
        return asked
    exporting = ("threshold", "min_area", "max_area", "colour")
    return [{k: v for k, v in c.items() if k not in exporting} for c in asked["classes"]]


def _first_difference(before: Any, now: Any, at: str = "") -> str:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted({*before, *now})
        found = (_first_difference(before.get(k), now.get(k), f"{at}.{k}".strip(".")) for k in keys)
        return next(filter(None, found), "")
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        found = (
            _first_difference(b, n, f"{at}[{i}]")
            for i, (b, n) in enumerate(zip(before, now, strict=True))
        )
        return next(filter(None, found), "")
    return "" if before == now else f"{at or 'classes'}: was {before!r}, is {now!r}"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"{path}: not found; run=DIR must name a folder that `python -m annotate` wrote"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: damaged; it is no yaml any more") from error
    if not isinstance(content, dict):
        raise StorageError(f"{path}: damaged; it holds no keys")
    return content


def _write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot write it ({error.strerror})") from error
