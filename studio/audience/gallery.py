"""The gallery: takes of an archive as the rooms of a game, and the mirrors of those who attended them.

A room has the artefact of a take and controls without names, and nothing else of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studio.audience.rooms import GameError, Mirror, Room
from studio.audience.touching import Branches, levers
from studio.audience.visitor import Report
from studio.perceive import perceived
from studio.rendering import Progress, silent

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TurnRecord
    from studio.audience.playing import Turn
    from studio.words.artefact import Artefact

#: The most curves of a mirror, and the fewest moments in which visitors can be told apart.
MOST_CURVES, FEWEST_MOMENTS = 26, 3
#: What the most surprising moment of a curve is shown as; the least is 0.
HIGHEST = 10.0


class Gallery:
    """Takes as rooms. What is perceived of a take, and what it becomes when it is touched, is made once and kept.

    Ears and eyes are kept with the artefact, so that whoever puts it into words again need not listen again; what is
    perceived of a long take is kept on disk too.

    Parameters
    ----------
    archive : Archive
    progress : Progress, optional
        Told how far it is when a take is perceived.
    """

    def __init__(self, archive: Archive, progress: Progress = silent) -> None:
        self._archive, self._progress = archive, progress
        self._artefacts: dict[str, Artefact] = {}
        self._rooms: dict[tuple[str, int], tuple[Room, Branches]] = {}

    def artefact(self, take_id: str) -> Artefact:
        """What is perceived of a take; see `studio.perceive.perceived`."""
        known = self._archive.take(take_id).id
        if known not in self._artefacts:
            self._artefacts[known] = perceived(self._archive, known, self._progress)
        return self._artefacts[known]

    def room(self, take_id: str, seed: int = 0) -> Room:
        """A take as a room; `seed` draws the order of its controls.

        Raises
        ------
        DescantError
            If there is no such take, or it has no sound yet.
        """
        return self._room(take_id, seed)[0]

    def branches(self, take_id: str, seed: int = 0) -> Branches:
        """What became of a take in its room: for whoever reviews a visit."""
        return self._room(take_id, seed)[1]

    def _room(self, take_id: str, seed: int) -> tuple[Room, Branches]:
        artefact = self.artefact(take_id)
        key = (self._archive.take(take_id).id, seed)
        if key not in self._rooms:
            controls = levers(self._archive, key[0], seed)
            branches = Branches(self._archive, key[0], artefact, controls)
            room = Room(artefact, len(controls), branches.touched if controls else None)
            self._rooms[key] = (room, branches)
        return self._rooms[key]


def mirror(own: Report, others: Sequence[Report], seed: int) -> Mirror:
    """A mirror of visitors who attended the same rooms, in an order drawn from `seed`.

    A curve is a visitor's surprise at the moments that all attended, when they heard them first, in the order of rooms
    and moments. Its values are shown by rank, from 0 (least) to `HIGHEST`, equal ones at their mean rank: so all curves
    have one level and one spread, and only where a visitor was more and where less surprised tells who it is. A curve
    that is the same as another's is shown once.

    Parameters
    ----------
    own : Report
        Of the visitor that will stand before it.
    others : sequence of Report
        Of visits to games of the same rooms, in the same order, as `attended` finds them. Who measured no surprise is
        left out, and so is who would be beyond `MOST_CURVES`.
    seed : int

    Raises
    ------
    GameError
        If there are fewer than 2 visitors whose curves differ, or fewer than `FEWEST_MOMENTS` that all attended.
    """
    found = [surprises(report) for report in (own, *others)]
    if not found[0]:
        raise GameError("no mirror: the visitor measured no surprise of its own")
    found = [one for one in found if one][:MOST_CURVES]
    common = sorted(set.intersection(*(set(one) for one in found)))
    if len(found) < 2:
        raise GameError("no mirror: nobody else measured surprise, needed are 2 who attended the same")
    if len(common) < FEWEST_MOMENTS:
        raise GameError(f"no mirror: {len(common)} moments that all attended, needed are {FEWEST_MOMENTS}")
    curves = [_ranks(np.array([one[at] for at in common])) for one in found]
    unlike = [curve for i, curve in enumerate(curves) if not any(np.array_equal(curve, c) for c in curves[:i])]
    if len(unlike) < 2:
        raise GameError(f"no mirror: {len(found)} visitors were surprised alike, needed are 2 who were not")
    order = np.random.default_rng(seed).permutation(len(unlike))
    return Mirror([unlike[i] for i in order], int(np.flatnonzero(order == 0)[0]))


def attended(archive: Archive, take_ids: Sequence[str]) -> dict[str, Report]:
    """Transcript → what its visitor measured of some takes, of all archived visits in which all of them were attended.

    Its rooms are the takes in the order that is given, whatever order the game had; see `untouched`.
    """
    rooms: dict[str, dict[int | None, int]] = {}
    for number, take_id in enumerate(take_ids):
        for visit in archive.visits(archive.take(take_id).id):
            if visit.transcript_id is not None:
                rooms.setdefault(visit.transcript_id, {})[visit.room] = number
    found = {}
    for transcript_id, numbers in rooms.items():
        transcript = archive.visiting.transcript(transcript_id)
        if len(numbers) == len(take_ids) and transcript.report is not None:
            report = untouched(Report.model_validate(transcript.report), transcript.turns)
            rows = [row.model_copy(update={"room": numbers[row.room]}) for row in report.moments if row.room in numbers]
            found[transcript_id] = report.model_copy(update={"moments": tuple(rows)})
    return found


def untouched(report: Report, turns: Iterable[Turn | TurnRecord]) -> Report:
    """A report without rooms in which a control was touched: what was heard there is no longer what others heard."""
    touched = {turn.room for turn in turns if turn.command.startswith(("touch", "fork"))}
    return report.model_copy(update={"moments": tuple(row for row in report.moments if row.room not in touched)})


def surprises(report: Report) -> dict[tuple[int, float], float]:
    """(room, seconds) → a visitor's surprise at a moment, in nats a token, when it was attended first."""
    found: dict[tuple[int, float], float] = {}
    for row in report.moments:
        found.setdefault((row.room, row.start), row.surprise)
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = (rankdata(values) - 1) * HIGHEST / (len(values) - 1)
    return ranks
