"""Text from outside: from a model, a person, a file, a network. It is made plain once, where it enters."""

from __future__ import annotations

import unicodedata

#: What takes the place of what was cut off.
_CUT = "..."


def plain(text: str, most: int = 280) -> str:
    """One line of text that can do nothing but be read.

    Controls (C0, C1, escape sequences' beginnings), formatting marks (bidirectional overrides, zero width), surrogates,
    private and unassigned characters are taken out, white space becomes single spaces, and what is longer than `most`
    characters is cut.

    Examples
    --------
    >>> plain("red\\x1b[31m alert\\u202e!\\n  two")
    'red[31m alert! two'
    """
    shown = "".join(" " if c.isspace() else c for c in text[: 16 * most] if c.isspace() or _is_shown(c))
    words = " ".join(unicodedata.normalize("NFC", shown).split())
    return words if len(words) <= most else words[: most - len(_CUT)] + _CUT


def _is_shown(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")
