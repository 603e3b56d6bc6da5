"""Elements of xml, whatever is in a text: xml has no way to write some characters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# What XML 1.0 does not have, not even as a reference.
_NO_CHARACTERS = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def element(parent: ElementTree.Element, name: str, text: Any = "") -> ElementTree.Element:
    """Add an element to another."""
    made = ElementTree.SubElement(parent, name)
    made.text = plain(text) or None
    return made


def plain(text: Any) -> str:
    """A text as xml can have it."""
    return _NO_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", str(text))


def write_xml(path: Path, root: ElementTree.Element) -> None:
    """Write a document, indented."""
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
