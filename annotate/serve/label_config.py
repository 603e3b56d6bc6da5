"""A labelling interface of Label Studio: which controls take labels of which picture."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from annotate.errors import ConfigError, one_line

KINDS = ("brushlabels", "polygonlabels", "rectanglelabels")  # masks before boxes


@dataclass(frozen=True, slots=True)
class Control:
    """One control that instances can be given to."""

    kind: str  # rectanglelabels | polygonlabels | brushlabels
    name: str
    to: str  # the picture that it is for
    value: str  # key of a task's data that has this picture
    labels: tuple[str, ...]


def controls(label_config: str) -> list[Control]:
    """The controls of a configuration, masks before boxes. ConfigError: it has none, or no xml."""
    if "<!DOCTYPE" in label_config or "<!ENTITY" in label_config:
        raise ConfigError("label_config: declares entities, which no interface needs")
    try:
        root = ElementTree.fromstring(label_config)
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"label_config: not an xml ({one_line(error)})") from error
    pictures = {e.get("name"): e.get("value", "") for e in root.iter() if e.tag == "Image"}
    found = []
    for element in root.iter():
        kind = element.tag.lower()
        to = element.get("toName", "").split(",")[0]
        value = pictures.get(to, "")
        if kind in KINDS and value.startswith("$"):
            labels = tuple(e.get("value", "") for e in element.iter("Label"))
            found.append(Control(kind, element.get("name", ""), to, value[1:], labels))
    if not found:
        raise ConfigError(
            "label_config: no RectangleLabels, PolygonLabels or BrushLabels for an Image with "
            'value="$key"'
        )
    return sorted(found, key=lambda c: KINDS.index(c.kind))
