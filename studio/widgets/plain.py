"""Text that others wrote, as it can be shown."""

from __future__ import annotations


def plain(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
