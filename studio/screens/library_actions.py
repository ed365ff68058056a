"""What can be done in the library and on a waveform: a part of the table of `studio.keymap`."""

from __future__ import annotations

from collections.abc import Mapping

PLACES = {"library": "in the library", "sound": "on a waveform or spectrogram"}

#: where → id, words, keys, help.
TABLE: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "library": (
        ("hear", "Play", "space", "Play the take from the cursor, or the selection over and over; or stop."),
        ("as_a", "As A", "a", "Compare: this take is A."),
        ("as_b", "As B", "b", "Compare: this take is B; both play at the same place, and A is heard."),
        ("other", "A/B", "v", "Hear the other one of A and B, at the same place."),
        ("stars_1", "One star", "1", "Give the take one star; again, none."),
        ("stars_2", "Two stars", "2", "Give the take two stars."),
        ("stars_3", "Three stars", "3", "Give the take three stars."),
        ("stars_4", "Four stars", "4", "Give the take four stars."),
        ("stars_5", "Five stars", "5", "Give the take five stars."),
        ("rename", "Title", "r", "Give the take a title."),
        ("tag", "Tags", "t", "Write the take's tags: words with a space between them."),
        ("note", "Notes", "n", "Write notes on the take."),
        ("keep_take", "Keep", "k", "Keep a scratch take; or let a kept one be scratch again."),
        ("discard_take", "Discard", "x delete", "Put the take out of sight; it goes when the library is closed."),
        ("undiscard", "Undo discard", "u", "Bring back the take that was discarded last."),
        ("export", "Export", "e", "Write the take's files: sound, film, pictures, signals, MIDI."),
        ("trim", "Trim", "c", "Take the selection, with fades, as a new take or as a sound file."),
        ("derive", "As a piece", "d", "Compose with the take's piece, its controls as they ended."),
        ("spectrum", "Spectrogram", "s", "Waveform, spectrogram, or both."),
        ("search", "Search", "slash", "Look for words in titles, notes, tags, pieces, or the beginning of an id."),
        ("refresh", "Refresh", "f5", "Read the list again."),
        ("leave", "Back", "escape", "Back to composing."),
    ),
    "sound": (
        ("zoom_in", "Zoom in", "plus equals_sign", "See less time, larger; the mouse wheel does it too."),
        ("zoom_out", "Zoom out", "minus", "See more time, smaller."),
        ("zoom_all", "Whole take", "0", "See all of it."),
        ("zoom_selection", "Zoom to selection", "z", "See the selection, as large as it goes."),
        ("cursor_left", "Cursor left", "left", "Move the cursor a column to the left."),
        ("cursor_right", "Cursor right", "right", "Move the cursor a column to the right."),
        ("select_left", "Select left", "shift+left", "Select to the left of the cursor; the mouse drags."),
        ("select_right", "Select right", "shift+right", "Select to the right of the cursor."),
        ("far_left", "Ten left", "ctrl+left", "Move the cursor ten columns to the left."),
        ("far_right", "Ten right", "ctrl+right", "Move the cursor ten columns to the right."),
        ("to_start", "Beginning", "home", "Put the cursor on the beginning."),
        ("to_end", "End", "end", "Put the cursor on the end."),
        ("pan_left", "Earlier", "pageup", "See what is earlier; Shift and the mouse wheel do it too."),
        ("pan_right", "Later", "pagedown", "See what is later."),
        ("unselect", "No selection", "backspace", "Select nothing."),
    ),
}  # fmt: skip
#: Those that stand in the line at the bottom of the screen.
SHOWN = {
    "zoom_in",
    "zoom_out",
    "zoom_all",
    "zoom_selection",
    "select_right",
    "hear",
    "other",
    "keep_take",
    "discard_take",
    "tag",
    "export",
    "trim",
    "derive",
    "search",
    "leave",
}
