"""What FiftyOne's App offers on a review: saved views, colours, side bar, editing; and the App.

FiftyOne is imported where it is used, after `connect` has said where its database is.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

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


@contextmanager
def serving(datasets: Sequence[ReviewDataset], *, port: int) -> Iterator[None]:
    """FiftyOne's server on loopback, behind a guard (see `server`), for media of these datasets.

    Raises StorageError where the port is taken or the server does not come up.
    """
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((LOOPBACK, port))
        except OSError as error:
            raise StorageError(f"port={port}: it is taken; choose another one") from error
    command = [sys.executable, "-m", server.__name__, "--port", str(port), "--address", LOOPBACK]
    command += [f"--dataset={dataset.name}" for dataset in datasets]
    # It ends with its standard input, which ends with this process however that may be.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the server answers; its own makers give it a minute, a busy machine takes longer."""
    for _ in range(PATIENCE_S):
        with suppress(httpx.HTTPError):
            httpx.get(f"http://{LOOPBACK}:{port}/fiftyone", timeout=1)
            return
        if process.poll() is not None:
            break
        time.sleep(1)
    raise StorageError(f"port={port}: FiftyOne's server did not come up; try again")


def open_app(shown: ReviewDataset, *, port: int) -> Any:
    """The App of the server on `port`, at the queue; a session to wait for."""
    import fiftyone as fo

    view = shown.dataset.load_saved_view(QUEUE)
    return fo.launch_app(shown.dataset, view=view, port=port, address=LOOPBACK)
