"""What can be done where visits are reviewed: a part of the table of `studio.keymap`."""

from __future__ import annotations

from collections.abc import Mapping

PLACES = {"review": "reviewing visits"}

#: where → id, words, keys, help.
TABLE: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "review": (
        ("turn_on", "Next turn", "n right", "The next turn of the visit."),
        ("turn_back", "Turn before", "p left", "The turn before."),
        ("decision_on", "Next such", "d", "The next turn of the kind that the chip names; of any: the next decision."),
        ("decision_kind", "Kind", "k", "Another kind of decision to jump to."),
        ("moment", "Play", "space", "Hear and see what was told in this turn; or stop."),
        ("fact", "Fact", "f", "Note what happened in this turn, or in the visit."),
        ("meaning", "Interpretation", "i", "Note what it means: apart from facts, and with your name."),
        ("tag_turn", "Tag", "t", "Give this turn a tag; text may stay empty."),
        ("retrace", "Replay", "r", "Play the visit again in the background: it says whether all is the same."),
        ("unblind", "Unblind", "u", "See audiences, conditions and works of this study from now on; it is logged."),
        ("about_visit", "About", "a", "All that is known of this visit."),
        ("search_visits", "Search", "slash", "Look for words in commands and observations."),
        ("leave_review", "Back", "escape", "Back to the list; from it, back to where you came from."),
    ),
}  # fmt: skip
#: Those that stand in the line at the bottom of the screen.
SHOWN = {
    "turn_on",
    "turn_back",
    "decision_on",
    "moment",
    "fact",
    "meaning",
    "retrace",
    "unblind",
    "leave_review",
}
