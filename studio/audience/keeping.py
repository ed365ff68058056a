"""Keeping visits: each turn in the archive as it happens, and in the end what came of each take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.audience.attending import Visit, steering_value
from studio.audience.playing import Transcript, Turn
from studio.audience.rooms import Rules
from studio.audience.visitor import Visitor
from studio.perceive import code

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TurnRecord


class Keeper:
    """A visit on its way into the archive; it begins there when this is made.

    Parameters
    ----------
    takes : sequence of str
        The take of each room.
    experiment, trial : str and int, optional
        What the visit is a part of.
    """

    def __init__(
        self,
        archive: Archive,
        takes: Sequence[str],
        visitor: Visitor,
        seed: int,
        rules: Rules,
        experiment: str | None = None,
        trial: int | None = None,
    ) -> None:
        from db.audience import NewTranscript

        self._archive, self._takes = archive, tuple(takes)
        self.id = archive.visiting.begin_transcript(
            NewTranscript(
                visitor=visitor.name,
                seed=seed,
                wording=rules.wording.name,
                words=rules.register,
                instruction=rules.wording.instruction,
                about=dict(visitor.about()),
                setting={"takes": list(self._takes), "rules": rules.to_json(), "code": code()},
                experiment_id=experiment,
                trial=trial,
            )
        )

    def told(self, turn: Turn) -> None:
        """A turn has happened."""
        self._archive.visiting.add_turns(self.id, [_record(turn)])

    def end(self, visit: Visit) -> None:
        """The visit is over: keep what was asked after it, how it ended, and a visit of each take that was attended."""
        transcript = visit.transcript
        self._archive.visiting.add_turns(self.id, [_record(turn) for turn in answered(transcript)])
        report = transcript.report.model_dump(mode="json")
        self._archive.visiting.end_transcript(self.id, transcript.ended, report, dict(transcript.about))
        for room, take_id in enumerate(self._takes):
            if any(turn.count and turn.room == room for turn in transcript.turns):
                self._archive.add_visit(self._visit(visit, room, take_id))

    def _visit(self, visit: Visit, room: int, take_id: str) -> Any:
        from db.archive import VisitRecord

        transcript = visit.transcript
        rows = [row for row in transcript.report.moments if row.room == room]
        gained = [row.progress for row in rows if row.progress is not None]
        heard = [turn for turn in transcript.turns if turn.count and turn.room == room]
        rating, progress = visit.ratings[room], float(np.mean(gained)) if gained else None
        return VisitRecord(
            take_id=take_id,
            visitor=transcript.visitor,
            seed=transcript.seed,
            progress=progress,
            rating=rating,
            value=steering_value(rating, progress),
            words="\n".join(turn.observation for turn in heard),
            rows=[row.model_dump() for row in rows],
            verdict=transcript.report.verdict,
            details=dict(transcript.about),
            transcript_id=self.id,
            room=room,
        )


def answered(transcript: Transcript) -> list[Turn]:
    """What a visitor was asked after a game, as turns without a command."""
    if not transcript.turns:
        return []
    last = transcript.turns[-1]
    return [
        Turn(number=number, command="", decisions=(asked,), observation="", budget=last.budget, reward=0.0)
        for number, asked in enumerate(transcript.answers, last.number + 1)
    ]


def _record(turn: Turn) -> TurnRecord:
    from db.audience import TurnRecord

    given = turn.model_dump(mode="json") | {"decisions": tuple(d.model_dump(mode="json") for d in turn.decisions)}
    return TurnRecord(**given | {"count": turn.count or None})
