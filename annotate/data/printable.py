"""Text that comes from files and arguments, for a line of a terminal, a log or a page."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""The text on one line, without what could steer a terminal or hide what it says.

    Line breaks, escapes, bells and marks that turn the direction of writing become `\n`, `\x1b`,
    `\u202e`; what a person reads stays as it is.
    """
    said = str(text)
    if said.isprintable():
        return said
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
