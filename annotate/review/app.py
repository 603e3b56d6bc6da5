"""What FiftyOne's App offers on a review: saved views, colours, side bar, editing; and the App.

FiftyOne is imported where it is used, after `connect` has said where its database is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from annotate.data.decisions import TRACK_TAGS, VERDICTS
from annotate.errors import StorageError
from annotate.evaluate.uncertainty import MEANINGS, SIGNALS
from annotate.review.dataset import ReviewDataset
from annotate.review.documents import UNCERTAINTY_FIELDS

LOOPBACK = "127.0.0.1"
QUEUE = "queue"


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


def open_app(shown: ReviewDataset, *, port: int) -> Any:
    """The App on loopback, at the queue; a session to wait for. Raises StorageError."""
    import fiftyone as fo
    from fiftyone.core.service import ServiceException

    view = shown.dataset.load_saved_view(QUEUE)
    try:
        return fo.launch_app(shown.dataset, view=view, port=port, address=LOOPBACK)
    except ServiceException as error:
        raise StorageError(
            f"port={port}: the App did not come up within a minute; choose another port where "
            "this one is taken, or try again where the machine is busy"
        ) from error
