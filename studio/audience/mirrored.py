"""A mirror room after a visit: which of some curves of surprise is the visitor's own?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pieces.errors import DescantError
from studio.audience.attending import Visit
from studio.audience.gallery import mirror, untouched
from studio.audience.game import Game
from studio.audience.playing import ask
from studio.audience.rooms import Rules
from studio.audience.visitor import Question, Report, Visitor


def mirrored(visit: Visit, visitor: Visitor, others: Sequence[Report], seed: int, rules: Rules) -> Visit:
    """Lead a visitor that has just left into a room with its own curve among those of others.

    Parameters
    ----------
    others : sequence of Report
        Of whoever attended the same takes before: see `studio.audience.gallery.attended`.

    Returns
    -------
    Visit
        With its answer among those of the transcript, as one about ``choose``: the fact ``own`` says which curve is its
        own, ``curves`` how many there were. Broken off where the visitor could not answer.

    Raises
    ------
    GameError
        If there are fewer than 2 curves that differ, or too few moments that all attended.
    """
    transcript = visit.transcript
    shown = mirror(untouched(transcript.report, transcript.turns), others, seed)
    game = Game([], rules, [shown])
    game.reset(seed=seed)
    text = game.step(f"go {game.names[0]}")[0]
    options = game.arguments()["choose"]
    question = Question("choose", rules.wording.argument.format(verb="choose"), options)
    try:
        visitor.observe(text)
        asked = ask(visitor, question)
    except DescantError as error:
        return replace(visit, transcript=transcript.model_copy(update={"ended": str(error)}))
    facts = {**asked.facts, "own": options[shown.own], "curves": len(options)}
    asked = asked.model_copy(update={"asks": f"{text}\n{asked.asks}", "facts": facts})
    return replace(visit, transcript=transcript.model_copy(update={"answers": (*transcript.answers, asked)}))
