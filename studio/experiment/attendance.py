"""One trial: who attends what, and what comes of it. Nothing is written before it is over, but that it was begun."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pieces.errors import DescantError
from studio import config
from studio.audience.attending import Visit
from studio.audience.gallery import Gallery, mirror
from studio.audience.game import Deeds, Game
from studio.audience.keeping import Keeper
from studio.audience.playing import Transcript, play
from studio.audience.rooms import Mirror, Rules
from studio.audience.text import plain
from studio.audience.visitor import AudienceError, Question, Report, Visitor, invite
from studio.audience.wording import WORDINGS, Wording
from studio.experiment import conditions
from studio.experiment.design import Design, SteerTask, VisitTask
from studio.experiment.freezing import secret_of
from studio.experiment.presenting import (
    ANSWERED,
    Comparison,
    Observation,
    Work,
    curves,
    instructed,
    letters,
    named,
    outcome,
    presented,
    told,
)
from studio.experiment.spending import Went, added, taken, taken_by
from studio.experiment.steering import Steering, run_key
from studio.experiment.trials import DISTORTED, RUN, Trial, drawn
from studio.experiment.works import key
from studio.words.registers import Register

if TYPE_CHECKING:
    from db.archive import Archive


@dataclass(frozen=True)
class Attended:
    """What came of a trial: what the visitor was told and did, which takes that were, and the outcome as data."""

    visit: Visit
    rules: Rules
    takes: tuple[str, ...]
    result: Mapping[str, Any]

    @property
    def transcript(self) -> Transcript:
        """What the visitor was told and asked."""
        return self.visit.transcript


class Attendance:
    """The trials of a study in one process. Visitors are invited once; every trial begins anew for them.

    Parameters
    ----------
    archive : Archive
    experiment_id : str
    design : Design
    works : mapping of str to str
        Takes, see `studio.experiment.works.make`.
    again : bool
        Whether trials that failed are tried again.
    base : Path
        Folder that what is steered is read against.
    """

    def __init__(
        self,
        archive: Archive,
        experiment_id: str,
        design: Design,
        works: Mapping[str, str],
        again: bool = False,
        base: Path = Path(),
    ) -> None:
        self._archive, self._id, self._design = archive, experiment_id, design
        self._secret = secret_of(archive.studies.experiment(experiment_id))
        self._takes, self._again = dict(works), again
        self._steering = Steering(archive, experiment_id, design, base)
        self._gallery = Gallery(archive)
        self._visitors: dict[str, Visitor | DescantError] = {}
        self._reports: dict[tuple[str, ...], Report] = {}
        #: What the visits of the trial under way took: a mirror has those of others, too.
        self._paid: list[dict[str, float]] = []
        # What is told is measured once for all audiences that attend the same.
        self._work = lru_cache(maxsize=64)(self._told_work)

    def attempt(self, trial: Trial) -> tuple[Went, dict[str, float]]:
        """Run a trial, if nobody else has it, and keep what came of it; returns how it went, and what it took.

        A visitor that fails is noted with its line; what fails in the archive is raised.
        """
        studies = self._archive.studies
        lacks = None
        if trial.task in ("steer", RUN):
            self._takes |= studies.works(self._id)
            lacks = self._steering.lacks(trial)
        if lacks == "":
            return "taken", {}
        if not studies.claim(self._id, trial.number, trial.to_json(), failed=self._again, keep=trial.task == RUN):
            return "taken", {}
        if trial.task == RUN:
            name = trial.audience
            return self._steering.attempt(
                trial, lambda: self._visitor(name), lambda transcript: self._check_counted(name, transcript)
            )
        began = time.perf_counter()
        self._paid.clear()
        problem, attended = lacks or "", None
        try:
            attended = None if lacks else self._attend(trial)
            if attended is not None:
                self._paid.append(taken_by(attended.transcript))
        except DescantError as error:
            problem = str(error)
        except Exception as error:  # a visitor may be anybody's code: whatever it raises, the next trial is begun
            problem = f"{trial.audience}: {type(error).__name__}: {error}"
        cost = {"seconds": time.perf_counter() - began, **added(taken((), {}), *self._paid)}
        if attended is not None and attended.transcript.turns:
            self._keep(trial, attended)
            self._check_counted(trial.audience, attended.transcript)
        if attended is not None and attended.result:
            studies.finish(self._id, trial.number, attended.result, cost)
            return "done", cost
        problem = problem if attended is None else attended.transcript.ended
        studies.fail(self._id, trial.number, plain(problem) or "it failed and did not say why", cost)
        return "failed", cost

    def _check_counted(self, name: str, transcript: Transcript) -> None:
        """A server that does not count its tokens can never reach their budget: it is asked nothing more."""
        visitor, budget = self._visitor(name), self._design.budget
        silent = transcript.report.tokens is None and transcript.ended in (ANSWERED, "left", "moves")
        if visitor.name.startswith("openai:") and silent and (budget.max_tokens, budget.max_cost) != (None, None):
            self._visitors[name] = AudienceError(
                f"{visitor.name}: it does not say how many tokens it takes, so that the study's budget of tokens and "
                "cost cannot hold: leave them out, and give max_trials or max_hours"
            )

    def _attend(self, trial: Trial) -> Attended:
        if trial.task == "visit":
            return self._visit(trial)
        if trial.task == "mirror":
            return self._mirror(trial)
        return self._compare(trial)

    def _visitor(self, name: str) -> Visitor:
        """An audience's visitor; what does not load is not tried again in this run."""
        if name not in self._visitors:
            audience = next(a for a in self._design.audiences if a.name == name)
            try:
                self._visitors[name] = invite(audience.visitor, config.home() / "cache", **audience.options)
            except DescantError as error:
                self._visitors[name] = error
            except TypeError as error:
                self._visitors[name] = AudienceError(f"{audience.visitor}: options: {error}")
        found = self._visitors[name]
        if isinstance(found, DescantError):
            raise found
        return found

    def _told_work(self, name: str, condition: str, level: float | None, variant: int) -> Work:
        """What is told of a take under a condition, as much as the study tells of any."""
        artefact = self._gallery.artefact(self._takes[name]).part(0, self._design.moments)
        if condition == "shuffled":
            order = conditions.permutation(self._design.moments, variant).tolist()
            return Work(conditions.shuffled(artefact, variant), order, artefact)
        if condition == "silent":
            artefact = conditions.silent(artefact)
        elif condition == DISTORTED:
            artefact = conditions.distorted(artefact, level or 0.0, variant)
        return Work(artefact)

    def _as_is(self, name: str) -> Work:
        return self._work(name, "as is", None, 0)

    def _pair(self, trial: Trial) -> tuple[str, str]:
        """The names of the takes of the work as it is, and of the one that it is held against."""
        if trial.task != "steer":
            return trial.work, key(trial.other or trial.work, trial.condition)
        task = next(task for task in self._design.tasks if isinstance(task, SteerTask))
        return run_key(trial.work, task.steerers[0]), run_key(trial.work, trial.condition)

    def comparison(self, trial: Trial) -> Comparison:
        """What a trial holds against what: of ``"prefer"``, ``"same"`` and ``"steer"``."""
        own, against = self._pair(trial)
        if trial.condition in ("shuffled", "silent", DISTORTED):
            held = self._work(against, trial.condition, trial.level, trial.variant)
        else:
            held = self._as_is(against)
        wording = instructed(WORDINGS[trial.wording], self._design.arms[trial.arm])
        return Comparison(trial, wording, self._as_is(own), held, self._secret)

    def told(self, trial: Trial, register: Register) -> Iterator[Observation]:
        """What is told in a comparison; of a mirror, what is told before its curves."""
        if trial.task == "mirror":
            return told(self._names(trial)[0], 0, self._as_is(trial.work), register)
        return self.comparison(trial).observations(register)

    def game(self, trial: Trial) -> tuple[Game, tuple[str, ...]]:
        """The game of a visit in the trial's register, and the take of each of its rooms.

        All rooms are of one length and have as many controls: neither tells which work is in it.
        """
        task = next(task for task in self._design.tasks if isinstance(task, VisitTask))
        wording, button = WORDINGS[trial.wording], task.buttons[int(trial.condition)]
        rng = np.random.default_rng(drawn(self._secret, "rooms", trial.cell))
        takes = tuple(self._takes[self._design.works[i].name] for i in rng.permutation(len(self._design.works)))
        rooms = [self._gallery.room(take, trial.seed) for take in takes]
        instruction = f"{wording.instruction} {self._design.arms[trial.arm]}".strip()
        rules = Rules(
            budget=task.budget,
            moves=task.moves,
            button=button.label,
            reward=button.reward,
            price=button.price,
            register=trial.register,  # type: ignore[arg-type]
            wording=replace(wording, instruction=instruction),
            moments=self._design.moments,
            controls=min(room.controls for room in rooms),
        )
        return Game(rooms, rules), takes

    def _compare(self, trial: Trial) -> Attended:
        comparison, visitor = self.comparison(trial), self._visitor(trial.audience)
        transcript = presented(visitor, trial, comparison.wording, comparison.observations, comparison.question)
        own, against = (self._takes[name] for name in self._pair(trial))
        pair = (against, own) if trial.order else (own, against)
        third = (against if trial.third else own,) if trial.task == "same" else ()
        return _answered(transcript, comparison.wording, (*pair, *third), comparison.target)

    def _mirror(self, trial: Trial) -> Attended:
        """Attend a work; then choose one's own curve of surprise among those of others who attended it."""
        visitor = self._visitor(trial.audience)
        wording = instructed(WORDINGS[trial.wording], self._design.arms[trial.arm])
        names = [a.name for a in self._design.audiences if a.surprised and a.name != trial.audience]
        others = [self._report(name, trial) for name in names]
        shown: list[Mirror] = []

        def observations(register: Register) -> Iterator[Observation]:
            yield from self.told(trial, register)
            # Not by the seed that it was given: it could permute with it too.
            shown.append(mirror(visitor.report(), others, drawn(self._secret, "mirror", trial.number)))
            yield curves(self._names(trial)[1], shown[0])

        def question() -> Question:
            return Question("choose", wording.argument.format(verb="choose"), letters(shown[0]))

        transcript = presented(visitor, trial, wording, observations, question)
        target = letters(shown[0])[shown[0].own] if shown else ""
        return _answered(transcript, wording, (self._takes[trial.work],), target)

    def _names(self, trial: Trial) -> tuple[str, ...]:
        """Of the work and of the mirror behind it."""
        return named(2, self._secret, "trial", trial.cell)

    def _report(self, audience: str, trial: Trial) -> Report:
        """What a visitor of another audience measured on the same work; one that fails has no curve.

        It is told what whoever looks into the mirror is told, and all that is drawn for it is drawn for this visit: so
        it is the same whichever trial asks for it first.
        """
        at = (audience, trial.work, trial.wording, trial.arm)
        if at not in self._reports:
            theirs = next(a for a in self._design.audiences if a.name == audience)
            seed, register = drawn(self._secret, "other", *at), next(iter(theirs.registers), "")
            name = named(1, self._secret, "other", *at)[0]
            try:
                transcript = presented(
                    self._visitor(audience),
                    replace(trial, audience=audience, seed=seed, register=register),
                    instructed(WORDINGS[trial.wording], self._design.arms[trial.arm]),
                    lambda register: told(name, 0, self._as_is(trial.work), register),
                    None,
                )
                self._paid.append(taken_by(transcript))
                self._reports[at] = transcript.report if transcript.ended == ANSWERED else Report()
            except DescantError:
                self._reports[at] = Report()
        return self._reports[at]

    def _visit(self, trial: Trial) -> Attended:
        """A whole game; nothing is asked."""
        visitor = self._visitor(trial.audience)
        game, takes = self.game(replace(trial, register=trial.register or visitor.register))
        transcript = play(game, visitor, trial.seed)
        deeds, moves = game.deeds, max(1, game.moves)
        given = [deeds.ratings.get(name) for name in game.names]
        visit = Visit(transcript, deeds, tuple(None if rating is None else rating / 10 for rating in given))
        if transcript.ended not in ("left", "moves"):
            return Attended(visit, game.rules, takes, {})
        result = {
            "ended": transcript.ended,
            "moves": game.moves,
            "idle": (deeds.waits + deeds.sleeps) / moves,
            "press": deeds.presses / moves,
            "button": game.rules.button,
            "price": game.rules.price,
            "reward": game.rules.reward,
            "heard": sum(turn.count for turn in transcript.turns),
            "ratings": {take: rating for take, rating in zip(takes, visit.ratings, strict=True) if rating is not None},
        }
        return Attended(visit, game.rules, takes, result)

    def _keep(self, trial: Trial, attended: Attended) -> None:
        """The transcript, and which takes it was about."""
        keeper = Keeper(
            self._archive,
            attended.takes,
            self._visitor(trial.audience),
            trial.seed,
            attended.rules,
            self._id,
            trial.number,
        )
        for turn in attended.transcript.turns:
            keeper.told(turn)
        keeper.end(attended.visit)


def _answered(transcript: Transcript, wording: Wording, takes: tuple[str, ...], target: str) -> Attended:
    """What came of a question; an answer that is none breaks the transcript off."""
    result: Mapping[str, Any] = {}
    try:
        result = outcome(transcript.answers[0], target) if transcript.answers else {}
    except AudienceError as error:
        transcript = transcript.model_copy(update={"ended": str(error)})
    rules = replace(Rules(), register=transcript.words, wording=wording)  # type: ignore[arg-type]
    return Attended(Visit(transcript, Deeds(), (None,) * len(takes)), rules, takes, result)
