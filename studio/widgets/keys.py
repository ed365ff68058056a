"""Bindings of a place, as the table of actions has them; the user's keymap changes them by their ids."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from studio.keymap import ACTIONS, Keymap

#: What an action is bound to that shall have no key: Textual would keep the old one.
NO_KEY = "no_key"


def bindings(where: str, *, only: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> list[BindingType]:
    """The bindings of a place: all of its actions, `only` some, or all `but` some."""
    return [
        Binding(",".join(a.keys), a.id, a.label, show=a.shown, priority=a.always, id=a.id)
        for a in ACTIONS
        if a.where == where and a.id not in but and (not only or a.id in only)
    ]


def changes(keymap: Keymap) -> dict[str, str]:
    """A keymap as Textual takes it."""
    return {action: ",".join(keys) or NO_KEY for action, keys in keymap.changed.items()}
