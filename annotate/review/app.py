"""What FiftyOne's App offers on a review: saved views, colours, side bar, editing; and serving it.

FiftyOne is imported where it is used, after `connect` has said where its database is.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from annotate.data.decisions import TRACK_TAGS, VERDICTS
from annotate.errors import StorageError
from annotate.evaluate.uncertainty import MEANINGS, SIGNALS
from annotate.review import server
from annotate.review.dataset import ReviewDataset
from annotate.review.documents import UNCERTAINTY_FIELDS

LOOPBACK = "127.0.0.1"
QUEUE = "queue"
PATIENCE_S = 180
FAREWELL_S = 10  # for the server to finish what it is asked
PLUGINS = Path(__file__).with_name("plugins")


def furnish(
    shown: ReviewDataset, class_names: Sequence[str], colours: Sequence[str], *, sequences: bool
) -> None:
    """Saved views, colours and the order of the side bar. `sequences`: of folders of frames."""
    import fiftyone as fo

    dataset = shown.dataset
    field = fo.ViewField
    unreviewed = field("tags").intersection(list(VERDICTS)).length() == 0
    first = unreviewed.if_else(2, 0) + field("doubt")
    views = {
        QUEUE: (dataset.sort_by(first, reverse=True), "least certain first, what is done last")
    }
    for name in SIGNALS:
        path = f"doubt_{name}"
        found = dataset.match(field(path) > 0).sort_by(path, reverse=True)
        views[name] = (found, MEANINGS[name])
    tagged = {"accepted": "accept", "rejected": "reject", "to-fix": "fix"}
    views |= {v: (dataset.match_tags(tag), f"tagged {tag}") for v, tag in tagged.items()}
    views["unreviewed"] = (
        dataset.match(unreviewed).sort_by("doubt", reverse=True),
        "not tagged, least certain first",
    )
    if sequences:
        grouped = dataset.match(field("item") != field("frame_id"))
        views["sequences"] = (
            grouped.group_by("item", order_by="frame_index"),
            "folders of frames, each played as a video",
        )
    for name, (view, description) in views.items():
        dataset.save_view(name, view, description=description, overwrite=True)
    path = shown.labels_path
    dataset.default_classes = list(class_names)
    config = dataset.app_config
    config.color_scheme = fo.ColorScheme(
        color_by="value",
        fields=[
            {
                "path": path,
                "colorByAttribute": "label",
                "valueColors": [
                    {"value": name, "color": colour}
                    for name, colour in zip(class_names, colours, strict=True)
                ],
            }
        ],
    )
    # FiftyOne has groups `tags` and `metadata` in any case; what is rarely read goes there.
    groups = {
        "tags": ["tags", "_label_tags"],
        "labels": [path],
        "review": ["reviewed", "split", "item", *UNCERTAINTY_FIELDS],
        "metadata": [
            *("id", "filepath", "frame_id", "frame_index", "created_at", "last_modified_at"),
            *("shown", "built"),
            *(p for p in dataset.get_field_schema(flat=True) if p.startswith("metadata.")),
        ],
    }
    config.sidebar_groups = [
        fo.SidebarGroupDocument(name=name, paths=paths, expanded=name != "metadata")
        for name, paths in groups.items()
    ]
    dataset.info["tags"] = [*VERDICTS, *TRACK_TAGS]
    dataset.save()
    _offer_editing(shown, class_names)


def join(datasets: Sequence[ReviewDataset]) -> None:
    """Have each dataset of a run know the other one, to which a button leads."""
    for shown in datasets:
        others = [{"name": d.name, "kind": d.kind} for d in datasets if d is not shown]
        shown.dataset.info["other"] = others[0] if others else None
        shown.dataset.save()


def _offer_editing(shown: ReviewDataset, class_names: Sequence[str]) -> None:
    """The App's own editor for masks, boxes and classes, with the run's classes in it."""
    path, dataset = shown.labels_path, shown.dataset
    schema = dataset.generate_label_schemas(path, scan_samples=False)
    schema["component"] = "dropdown" if len(class_names) > 5 else "radio"
    schema["classes"] = list(class_names)
    editable = ("index", "tags")
    schema["attributes"] = [
        a if a["name"] in editable else {**a, "read_only": True}
        for a in schema.get("attributes", [])
    ]
    dataset.update_label_schema(path, schema)
    if path not in dataset.active_label_schemas:
        dataset.activate_label_schemas(path)


@dataclass(frozen=True, slots=True)
class Served:
    """The App while it is served."""

    address: str
    _process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Until the server ends, which it does by itself only when something went wrong."""
        self._process.wait()


@contextmanager
def serving(datasets: Sequence[ReviewDataset], *, port: int, log: Path) -> Iterator[Served]:
    """FiftyOne's server on loopback, behind a guard (see `server`), for these datasets alone.

    It begins at the queue of the first one. What it says goes to `log`. Raises StorageError where
    the port is taken or the server does not come up.
    """
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((LOOPBACK, port))
        except OSError as error:
            raise StorageError(f"port={port}: it is taken; choose another one") from error
    command = [sys.executable, "-m", server.__name__, "--port", str(port), "--address", LOOPBACK]
    command += [f"--dataset={dataset.name}" for dataset in datasets]
    command += [f"--start=/datasets/{quote(datasets[0].name)}?view={QUEUE}"]
    environment = {
        **os.environ,
        "FIFTYONE_PLUGINS_DIR": str(PLUGINS),  # ours and no other
        "FIFTYONE_LOGGING_LEVEL": "INFO",
    }
    with log.open("wb") as said:
        # It ends with its standard input, which ends with this process however that may be, and
        # not with Ctrl-C, which is meant for this process.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(process, port, log)
        yield Served(f"http://{LOOPBACK}:{port}", process)
    finally:
        process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(FAREWELL_S)
        finally:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server answers; its own makers give it a minute, a busy machine takes longer."""
    for _ in range(PATIENCE_S):
        with suppress(httpx.HTTPError):
            httpx.get(f"http://{LOOPBACK}:{port}/fiftyone", timeout=1)
            return
        if process.poll() is not None:
            break
        time.sleep(1)
    raise StorageError(f"port={port}: FiftyOne's server did not come up, see {log}; try again")
