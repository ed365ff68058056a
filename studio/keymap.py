"""Every action of the studio, once: its keys, its words, and where it can be done.

Bindings, the command palette, the help and the keymap file are all made from this table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pieces.errors import DescantError
from studio.screens import library_actions, review_actions

#: Where an action can be done, and what the help calls that place.
PLACES = {
    "everywhere": "everywhere",
    "compose": "composing",
    "control": "on a control",
    "voice": "on a voice",
    "mapping": "on a mapping",
    **library_actions.PLACES,
    **review_actions.PLACES,
}


@dataclass(frozen=True)
class Action:
    """Something that can be done.

    Attributes
    ----------
    id : str
        What the keymap file calls it; ``action_ID`` does it.
    label : str
        A few words.
    keys : tuple of str
        As Textual names keys.
    help : str
        One sentence.
    where : str
        One of `PLACES`.
    always : bool
        Whether its keys come before those of whatever has the focus, also in a dialogue (not while text is typed).
    shown : bool
        Whether it stands in the line at the bottom of the screen.
    """

    id: str
    label: str
    keys: tuple[str, ...]
    help: str
    where: str = "compose"
    always: bool = False
    shown: bool = False


#: where → id, words, keys, help.
_TABLE: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "everywhere": (
        ("help", "Help", "f1 question_mark", "What can be done here, and the keys for it."),
        ("palette", "Commands", "ctrl+p colon", "Find any action by a few letters."),
        ("jump", "Jump", "j ctrl+o", "Letters appear on all that can be reached; press one to go there."),
        ("panic", "Panic", "f8 exclamation_mark", "Silence at once; Escape does it too where nothing is open."),
        ("suspend", "Suspend", "ctrl+z", "Hold, and back to the shell; fg goes on."),
        ("quit", "Quit", "q ctrl+q", "Leave; it asks only where something would be lost."),
        ("theme", "Next theme", "f9", "The next of the themes; it is remembered."),
        ("said", "What was said", "f3", "The last notices, with their times."),
        ("library", "Library", "f2", "Takes: search, listen, compare, trim, export."),
        ("visits", "Visits", "f6", "What audiences did, turn by turn, with sound and picture; notes, replay."),
    ),
    "compose": (
        ("play", "Play/pause", "space", "Play or hold: new ticks at the live end, else recorded ones."),
        ("step", "Step", "full_stop", "Make one tick, then hold."),
        ("stop", "Stop", "ctrl+e", "End the performance: what was made is a take."),
        ("live", "Live end", "end", "Go back to where new ticks are made."),
        ("start", "Beginning", "home", "Put the playhead on the first tick."),
        ("scrub_back", "Back a beat", "left", "Move the playhead one beat back over what is recorded."),
        ("scrub_on", "On a beat", "right", "Move the playhead one beat on."),
        ("scrub_back_bar", "Back a bar", "shift+left", "Move the playhead one bar back."),
        ("scrub_on_bar", "On a bar", "shift+right", "Move the playhead one bar on."),
        ("loop_from", "Loop from here", "left_square_bracket", "Set the beginning of a loop over what is recorded."),
        ("loop_to", "Loop to here", "right_square_bracket", "Set the loop's end and go round."),
        ("loop_off", "No loop", "backslash", "Take the loop away."),
        ("slower", "Slower", "less_than_sign comma", "Let time pass more slowly: down to a quarter."),
        ("faster", "Faster", "greater_than_sign", "Let time pass faster: up to four times."),
        ("reverse", "Reverse", "r", "Play what is recorded backwards, or forwards again."),
        ("branch", "Branch", "b", "Begin a new take that is the same up to the playhead."),
        ("new_seed", "New seed", "n", "Begin again with another seed."),
        ("undo", "Undo", "u", "Take the last edit back; nothing is ever lost from the history."),
        ("redo", "Redo", "ctrl+r U", "Do it again."),
        ("history", "History", "h", "All edits, also those that were undone and left; Enter goes to one."),
        ("sessions", "Earlier sessions", "H", "Go on with a session that was closed, or interrupted."),
        ("keep", "Keep", "k", "Keep the take that is being recorded; otherwise it is scratch."),
        ("keep_last", "Keep 16 bars", "K", "Keep the last 16 bars as a take of their own."),
        ("discard", "Discard", "x", "Throw the recording away, after asking."),
        ("edit_file", "Edit file", "e", "Open the piece in $EDITOR; what you save is heard at the next bar."),
        ("save_as", "Save as", "ctrl+s", "Write the piece to a file."),
        ("open", "Open", "o ctrl+l", "Choose a piece or a source."),
        ("about", "About", "i", "What the piece and its sources are, with references."),
        ("piano", "Piano", "f4", "Two rows of keys are a piano for parts that listen to notes, and back."),
        ("larger", "Large picture", "f", "The picture over the whole screen, and back."),
    ),
    "voice": (
        ("mute", "Mute", "m", "Silence this voice, or let it sound."),
        ("solo", "Solo", "s", "Hear this voice alone (with others that are soloed)."),
        ("fold", "Fold", "enter", "Show or hide the mappings of the voice."),
        ("louder", "Louder", "plus equals_sign", "One decibel more."),
        ("softer", "Softer", "minus", "One decibel less."),
    ),
    "mapping": (
        ("edit", "Edit", "enter", "Write the mapping as an inline table of TOML."),
    ),
    "control": (
        ("more", "More", "right", "Turn the control up (with Shift: finely)."),
        ("less", "Less", "left", "Turn the control down (with Shift: finely)."),
        ("enter_value", "Type a value", "enter", "Type a value, or just begin with a digit."),
        ("reset", "Default", "backspace", "The control's own default."),
    ),
    **library_actions.TABLE,
    **review_actions.TABLE,
}  # fmt: skip
_ALWAYS = {"panic"}
_SHOWN = {"help", "palette", "jump", "panic", "quit", "play", "open", *library_actions.SHOWN, *review_actions.SHOWN}
#: All of them, place by place.
ACTIONS: tuple[Action, ...] = tuple(
    Action(id, label, tuple(keys.split()), help, where, id in _ALWAYS, id in _SHOWN)
    for where, rows in _TABLE.items()
    for id, label, keys, help in rows
)

#: Actions by id.
BY_ID: Mapping[str, Action] = {a.id: a for a in ACTIONS}

#: How keys are written for people.
_SIGNS = {
    "full_stop": ".", "comma": ",", "question_mark": "?", "exclamation_mark": "!", "colon": ":", "space": "Space",
    "left_square_bracket": "[", "right_square_bracket": "]", "backslash": "\\", "less_than_sign": "<",
    "greater_than_sign": ">", "plus": "+", "minus": "-", "equals_sign": "=", "left": "←", "right": "→", "up": "↑",
    "down": "↓", "enter": "Enter", "escape": "Esc", "backspace": "Backspace", "home": "Home", "end": "End",
    "slash": "/", "delete": "Del", "pageup": "PgUp", "pagedown": "PgDn",
}  # fmt: skip


def key_sign(key: str) -> str:
    """A key as people write it: ``ctrl+s`` → ``^s``, ``full_stop`` → ``.``, ``f8`` → ``F8``."""
    *held, last = key.split("+")
    sign = _SIGNS.get(last, last.upper() if last[:1] == "f" and last[1:].isdigit() else last)
    return "".join({"ctrl": "^", "shift": "Shift+", "alt": "Alt+"}.get(h, f"{h}+") for h in held) + sign


def key_name(sign: str) -> str:
    """The inverse, as a keymap file may write it: ``.`` or ``full_stop``."""
    *held, last = sign.replace("^", "ctrl+").split("+") if len(sign) > 1 else [sign]
    names = {v: k for k, v in _SIGNS.items()}
    return "+".join([*(h.lower() for h in held), names.get(last, last.lower() if len(last) > 1 else last)])


@dataclass(frozen=True)
class Keymap:
    """The keys in use: those of the table, changed by a file."""

    changed: Mapping[str, tuple[str, ...]]

    def keys(self, action: str) -> tuple[str, ...]:
        """Keys of an action; none if the file says so."""
        return self.changed.get(action, BY_ID[action].keys)

    def sign(self, action: str) -> str:
        """Its first key for people, or nothing."""
        keys = self.keys(action)
        return key_sign(keys[0]) if keys else ""

    def signs(self, action: str) -> list[str]:
        """All its keys for people."""
        return [key_sign(key) for key in self.keys(action)]

    def actions(self, where: str) -> list[Action]:
        """Actions of a place."""
        return [a for a in ACTIONS if a.where == where]


def read_keymap(path: Path) -> tuple[Keymap, str]:
    """The keymap in a file, and one line if it cannot be used: then the keys are the default ones.

    The file is TOML: an action, and its key or keys (``panic = ["f8", "!"]``; an empty list takes them away).
    """
    if not path.exists():
        return Keymap({}), ""
    try:
        return Keymap(_parsed(path)), ""
    except (OSError, ValueError) as error:
        return Keymap({}), f"keymap {path.name}: cannot be read: {error}; the default keys are in use"
    except DescantError as error:
        return Keymap({}), f"keymap {path.name}: {error}; the default keys are in use"


def _parsed(path: Path) -> dict[str, tuple[str, ...]]:
    from pieces.source import nearest

    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    changed = {}
    for name, given in raw.items():
        if name not in BY_ID:
            raise DescantError(f"no action {name!r}{nearest(name, BY_ID)}")
        keys = [given] if isinstance(given, str) else given
        if not isinstance(keys, list) or not all(isinstance(k, str) and k.strip() for k in keys):
            raise DescantError(f"{name} = {given!r}: allowed is a key, or a list of keys")
        changed[name] = tuple(key_name(k.strip()) for k in keys)
    _check_clashes(Keymap(changed))
    return changed


def _check_clashes(keymap: Keymap) -> None:
    """Two actions of one place, or one that is everywhere, may not share a key."""
    for where in PLACES:
        taken: dict[str, str] = {}
        for action in [*keymap.actions("everywhere"), *(keymap.actions(where) if where != "everywhere" else ())]:
            for key in keymap.keys(action.id):
                if key in taken:
                    raise DescantError(f"{key_sign(key)} is for {taken[key]!r} and for {action.id!r}: give one another")
                taken[key] = action.id
    if not keymap.keys("panic"):
        raise DescantError("panic needs a key")


def keymap_toml(actions: Iterable[Action] = ACTIONS) -> str:
    """A keymap file with all actions as they are, to be changed."""
    lines = ["# Keys of the studio: uncomment a line and change it. An empty list takes an action's keys away."]
    for where, title in PLACES.items():
        lines += ["", f"# {title}"]
        for action in (a for a in actions if a.where == where):
            keys = ", ".join('"' + key_sign(k).replace("\\", "\\\\") + '"' for k in action.keys)
            lines.append(f"# {action.id} = [{keys}]  # {action.help}")
    return "\n".join(lines) + "\n"
