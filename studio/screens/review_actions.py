"""What can be done where visits are reviewed: a part of the table of `studio.keymap`."""

from __future__ import annotations

from collections.abc import Mapping

PLACES = {"review": "reviewing visits"}

#: where → id, words, keys, help.
TABLE: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "review": (
        ("turn_on", "Next", "n right", "The next turn of the visit."),
        ("turn_back", "Before", "p left", "The turn before."),
        ("decision_on", "Jump", "d", "The next turn of the kind that the last chip names; of any: the next decision."),
        ("moment", "Play", "space", "Hear and see what was told in this turn; or stop."),
        ("fact", "Fact", "f", "Note what happened in this turn, or in the visit."),
        ("meaning", "Meaning", "i", "Note what it means: an interpretation, apart from facts, with your name."),
        ("unblind", "Unblind", "u", "See audiences, conditions and works of this study from now on; it is logged."),
        ("leave_review", "Leave", "escape", "Back to the list; from it, back to where you came from."),
        ("search_visits", "Search", "slash", "Look for words in commands and observations."),
        ("narrow_visits", "Filter", "c", "To the chips: study, visitor, condition, end, tag. Enter turns one."),
        ("all_visits", "All", "x", "List all visits again: no search, no filter."),
        ("retrace", "Replay", "r", "Play the visit again in the background: it says whether all is the same."),
        ("tag_turn", "Tag", "t", "Give this turn a tag; text may stay empty."),
        ("about_visit", "About", "a", "All that is known of this visit."),
        ("decision_kind", "Kind", "k", "Another kind of decision to jump to."),
    ),
}  # fmt: skip
#: Those that stand in the line at the bottom of the screen.
SHOWN = {id for id, *_ in TABLE["review"]}
