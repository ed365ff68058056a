"""What came of a visit, for people: its moments in words as they happen, and in the end where the interest was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from studio.audience.game import HELP
from studio.console import table
from studio.words.artefact import MOMENT_S
from studio.words.registers import Register, slots

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.audience.attending import Visit
    from studio.audience.gallery import Gallery
    from studio.audience.loop import Round
    from studio.audience.playing import Turn

#: Columns of a curve, its heights, and how many of its highest moments are named.
WIDTH, BARS, NAMED = 60, "▁▂▃▄▅▆▇█", 3
_MOMENT = re.compile(r"(?:one |two )?\d+: ")


class Reader:
    """Tells people of a visit, turn by turn.

    What was told in words or numbers is shown as it was told. Of tokens, which nobody can read, the same moments are
    told in words, after the first one of a room only what is other than before; once a control was touched there, as
    they were told.

    Parameters
    ----------
    gallery : Gallery
    takes : sequence of str
        The take of each room.
    register : Register
        In which the visitor is told.
    """

    def __init__(self, gallery: Gallery, takes: Sequence[str], register: Register) -> None:
        self._gallery, self._takes, self._register = gallery, tuple(takes), register
        self._before: dict[int, Mapping[str, str]] = {}
        self._words: dict[int, tuple[dict[str, str], ...]] = {}
        self._touched: set[int | None] = set()

    def told(self, turn: Turn) -> str:
        """A turn."""
        text = turn.observation.removeprefix(f"{HELP}\n")
        if turn.command.startswith(("touch", "fork")):
            self._touched.add(turn.room)
        if self._register == "tokens" and turn.count and turn.room is not None and turn.room not in self._touched:
            assert turn.first is not None
            moments = [self._moment(turn.room, moment) for moment in range(turn.first, turn.first + turn.count)]
            text = "\n".join([*moments, *(line for line in text.splitlines() if not _MOMENT.match(line))])
        return f"> {turn.command}\n{text}" if turn.command else text

    def _moment(self, room: int, moment: int) -> str:
        if room not in self._words:
            found = slots(self._gallery.artefact(self._takes[room]))
            self._words[room] = tuple({name: slot.word for name, slot in one.items()} for one in found)
        now, before = self._words[room][moment], self._before.get(room, {})
        self._before[room] = now
        other = ", ".join(f"{name} {word}" for name, word in now.items() if before.get(name) != word)
        return f"{moment * MOMENT_S:7.1f} s  {other or 'as before'}"


def account(archive: Archive, gallery: Gallery, takes: Sequence[str], visit: Visit) -> str:
    """Who attended what, where in it the interest was, what was said of it, and what can be done with the transcript.

    Parameters
    ----------
    takes : sequence of str
        Ids, by room.
    """
    from studio.catalogue import visit_lines

    lines = [line.strip() for line in visit_lines(visit)]
    for room, take_id in enumerate(takes):
        take = archive.take(take_id)
        lines += [f"take {take.id}: {take.piece_name}, {take.title or take.piece['title']}, {take.duration_s:.1f} s"]
        lines += [f"  {line}" for line in curves(visit, room, gallery.artefact(take.id).duration)]
    if visit.id:
        lines.append(f"transcript {visit.id}")
        review = f"descant experiment review {visit.id}"
        does = {"": "turn by turn", " --replay": "is it the same again?", " --save heard": "what was heard and seen"}
        lines += table(((f"{review}{option}", what) for option, what in does.items()), "  ")
    return "\n".join(lines)


def curves(visit: Visit, room: int, duration: float) -> list[str]:
    """What a visitor measured in a room, from the first to the last moment that it heard, and where it was most.

    Where it measured nothing, which moments it heard.
    """
    turns = [turn for turn in visit.transcript.turns if turn.count and turn.room == room]
    heard = {m * MOMENT_S for turn in turns for m in range(turn.first or 0, (turn.first or 0) + turn.count)}
    if not heard:
        return ["nothing of it was listened to"]
    rows = [row for row in visit.transcript.report.moments if row.room == room]
    surprise = [(row.start, row.surprise) for row in rows]
    learned = [(row.start, row.progress) for row in rows if row.progress is not None]
    begin, end = min(heard), max(heard) + MOMENT_S
    lines = []
    if surprise:
        lines.append(f"surprise |{drawn(surprise, begin, end)}| most at {_most(surprise)} nats a token")
    if learned:
        most = _most([one for one in learned if one[1] > 0])
        lines.append(f"learned  |{drawn(learned, begin, end)}| {f'most at {most}' if most else 'nothing'}")
    if not rows:
        lines.append(f"heard    |{drawn([(at, 1.0) for at in heard], begin, end).replace(BARS[0], BARS[-1])}|")
    width = lines[0].rindex("|") - 10
    return [*lines, f"{'':10}{f'{begin:.1f} s':{max(width - 8, 8)}}{f'{end:.1f} s':>8} of {duration:.1f} s"]


def _most(values: Sequence[tuple[float, float]]) -> str:
    """The moments in which something was most, when they were heard first."""
    first = dict(reversed(values))
    found = sorted(first.items(), key=lambda one: (-one[1], one[0]))[:NAMED]
    return ", ".join(f"{at:.1f} s ({value:.2f})" for at, value in found)


def drawn(values: Sequence[tuple[float, float]], begin: float, end: float) -> str:
    """Values at some seconds as a curve of at most `WIDTH` columns, the least lowest and the most highest.

    A column is the mean of its moments, blank where there is none.
    """
    count = max(1, round((end - begin) / MOMENT_S))
    columns: list[list[float]] = [[] for _ in range(min(WIDTH, count))]
    for start, value in values:
        columns[int(((start - begin) / MOMENT_S + 0.5) * len(columns) / count)].append(value)
    means = np.array([sum(column) / len(column) if column else np.nan for column in columns])
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    share = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if np.isnan(mean) else BARS[round((mean - low) * share)] for mean in means)


def steered(rounds: Sequence[Round], piece: str) -> str:
    """All rounds of a run, the best of them, and what can be done next."""
    from studio.catalogue import changed

    rows = [("round", "value", "take", "changes")]
    for one in rounds:
        value = "-" if one.answer.value is None else f"{one.answer.value:.3f}"
        rows.append((str(one.number), value, one.take_id, changed(one.answer.changes) or "as written"))
    lines = table(rows)
    rated = [one for one in rounds if one.answer.value is not None]
    if any(one.visit.rating is None for one in rated):
        lines.append("value is progress; below 0 it counts as 0")
    best = max(rated, key=lambda one: one.answer.value or 0.0, default=None)
    if best is None or not any(one.answer.value for one in rated):
        lines.append("no round was better than any other: nothing was rated, or nothing above 0")
        best = rounds[-1]
    else:
        lines.append(f"best: round {best.number}, take {best.take_id}")
    lines += [f"  descant play {best.take_id}", f"  descant attend {best.take_id} --audience human"]
    lines.append(f"  descant steer {piece} --steerer yoked --yoked-to {rounds[-1].take_id}")
    return "\n".join(lines)
