"""Colours of the theme in use."""

from __future__ import annotations

from typing import Any

from textual.theme import Theme
from textual.widget import Widget

from studio.themes import Look

_STAND_INS = {"meter-ground": "panel", "meter-low": "success", "meter-warm": "warning", "meter-hot": "error"}


def theme_of(look: Look) -> Theme:
    """A look as Textual takes it."""
    colours: dict[str, Any] = dict(look.colours)
    return Theme(name=look.name, dark=look.dark, **colours, variables=dict(look.variables))


def tone(widget: Widget, name: str) -> str:
    """A variable of the theme in use, such as ``meter-hot``; a theme of Textual's own has another colour for it."""
    known = widget.app.theme_variables
    return known.get(name) or known[_STAND_INS.get(name, "foreground")]
