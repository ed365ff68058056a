"""The trials of a study: they follow from its design and from a secret that is drawn when it is frozen.

All factors are crossed. Both orders in which two works are told, both works as the third one of an ABX, and both sides
of the options come equally often with everything else. The order of trials is random within each repeat, so that a
study that ends early has whole repeats behind it.

Whatever of a trial can be seen by who attends it, its seed among that, is drawn by a hash that is keyed with the
secret. So nobody who knows the design, and how trials are drawn, can tell from it which trial this is, and what in it
is the target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from studio.experiment.design import MOST_TRIALS, Design, MirrorTask, Same, SteerTask, StudyError, Task, VisitTask

#: What a level of distortion is called as a condition.
DISTORTED = "distorted"
#: The task of a trial that is a run of steering; and the condition of a run whose ratings the steerer ``yoked`` is
#: given, which no steerer is called.
RUN, DONOR = "run", "donor"


@dataclass(frozen=True)
class Trial:
    """One run of one cell of a design.

    Attributes
    ----------
    number : int
        When it is run, from 0.
    task : str
        ``"prefer"``, ``"same"``, ``"mirror"``, ``"visit"`` or ``"steer"``; ``"run"``: a run of steering, whose takes
        the trials of ``"steer"`` are about.
    condition : str
        What the work is held against, see `studio.experiment.design.Condition`; ``"distorted"``, by `level`; of a
        visit the button's number; of steering whose take the last one is held against, of its runs who steers.
    level : float or None
        Share of a work that is distorted, 0..1.
    audience, register, wording, arm : str
        Who attends and how it is spoken to; an empty register is the visitor's own.
    work, other : str
        Which work, and of ``"sham"`` which other one; of steering which run; of a visit there are all of them.
    order : int
        0: the work as it is comes first; 1: second.
    third : int
        Of ``"same"``: 0: the third one is the work as it is; 1: it is the other.
    side : int
        0: the options stand in the order in which the works were told; 1: the other way round.
    repeat : int
        From 0.
    cell : int
        Equal in trials that differ in order, third and side alone; these have the same names of works too.
    seed : int
        Of the visitor; each trial has its own. It tells nothing of the trial, see `drawn`.
    variant : int
        Seed of what is random in a condition: equal for all who attend the work in the same repeat.
    """

    number: int
    task: str
    condition: str
    audience: str
    register: str
    wording: str
    arm: str
    level: float | None = None
    work: str = ""
    other: str = ""
    order: int = 0
    third: int = 0
    side: int = 0
    repeat: int = 0
    cell: int = 0
    seed: int = 0
    variant: int = 0

    @property
    def stage(self) -> int:
        """A trial is begun when all those of earlier stages are over: it may need what came of them."""
        return 2 if self.task != RUN else int(self.condition != DONOR)

    @property
    def outcome(self) -> str:
        """Id of the outcome that it belongs to; the two of a visit share ``"visit"``."""
        if self.task in ("mirror", "visit"):
            return self.task
        return f"{self.task}/{self.condition if self.level is None else f'{self.level:g}'}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def trials(design: Design, secret: str = "") -> list[Trial]:
    """All trials of a design, in the order in which they are run.

    Equal designs with equal secrets give equal trials; with more repeats they begin with the trials of fewer. Runs of
    steering come first.

    Parameters
    ----------
    design : Design
    secret : str
        Of the study, see `studio.experiment.freezing.secret_of`; empty for trials that are only counted, never run.

    Raises
    ------
    StudyError
        If there are more than `MOST_TRIALS`.
    """
    each = list(_crossed(design))
    if len(each) * design.repeats > MOST_TRIALS:
        raise StudyError(f"{design.name}: {len(each) * design.repeats} trials: allowed are {MOST_TRIALS}: cross fewer")
    cells = 1 + max(trial.cell for trial in each)
    found: list[Trial] = []
    for number, run in enumerate(_runs(design)):
        found.append(replace(run, number=number))
    for repeat in range(design.repeats):
        order = np.random.default_rng([design.seed, drawn(secret, "order", repeat)])
        for index in order.permutation(len(each)).tolist():
            trial = each[index]
            placed = replace(
                trial,
                number=len(found),
                other=_sham(design, trial.work, repeat) if trial.condition == "sham" else "",
                repeat=repeat,
                cell=repeat * cells + trial.cell,
                seed=drawn(secret, "visitor", design.seed, len(found)),
                variant=drawn(secret, "variant", design.seed, repeat, _place(design, trial.work)),
            )
            found.append(placed)
    return found


def drawn(secret: str, *what: str | int) -> int:
    """A seed, 0 to 2**32 - 1, for some purpose: BLAKE2b of its name, keyed with a study's secret (RFC 7693).

    Nobody who lacks the secret can tell one seed from another, or from chance.

    Parameters
    ----------
    secret : str
        At most 64 characters, ASCII.
    what : str or int
        Name of the purpose, and which of its kind.
    """
    said = "\0".join(map(str, what)).encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=4, key=secret.encode()).digest())


def _runs(design: Design) -> Iterator[Trial]:
    """Every steerer's runs, those of the donors first: another audience, steered by the first steerer.

    All steerers begin a run with the same take and seed; a donor has another seed.
    """
    for task in (task for task in design.tasks if isinstance(task, SteerTask)):
        donors = [DONOR] if "yoked" in task.steerers else []
        for steerer, (at, run) in product((*donors, *task.steerers), enumerate(task.names)):
            whose = design.donor(task) if steerer == DONOR else task.audience
            seed = task.seed + at + (task.runs if steerer == DONOR else 0)
            yield Trial(0, RUN, steerer, str(whose), "", "plain", "", work=run, seed=seed)


def _crossed(design: Design) -> Iterator[Trial]:
    """One repeat, not yet in its order."""
    cell = 0
    for task in design.tasks:
        works = [*task.names] if isinstance(task, SteerTask) else [work.name for work in design.works]
        works = [""] if isinstance(task, VisitTask) else works
        asked = [a for a in design.audiences if a.surprised or not isinstance(task, MirrorTask)]
        told = [(a.name, register) for a in asked for register in a.registers or ("",)]
        for (audience, register), wording, arm, work in product(told, design.wordings, design.arms, works):
            for condition, level in _against(task):
                for order, third, side in product(*_turns(task)):
                    yield Trial(
                        *(0, task.task, condition, audience, register, wording, arm, level, work),
                        order=order,
                        third=third,
                        side=side,
                        cell=cell,
                    )
                cell += 1


def _against(task: Task) -> list[tuple[str, float | None]]:
    """The conditions of a task, each with its level."""
    if isinstance(task, VisitTask):
        return [(str(number), None) for number in range(len(task.buttons))]
    if isinstance(task, SteerTask):
        return [(outcome.partition("/")[2], None) for outcome in task.outcomes]
    if isinstance(task, MirrorTask):
        return [("as is", None)]
    levels = [(DISTORTED, level) for level in task.levels] if isinstance(task, Same) else []
    return [*levels, *((condition, None) for condition in task.conditions)]


def _turns(task: Task) -> tuple[range, range, range]:
    """The orders, the thirds and the sides that a task has."""
    if isinstance(task, VisitTask | MirrorTask):
        return range(1), range(1), range(1)
    return range(2), range(2 if isinstance(task, Same) else 1), range(2)


def _place(design: Design, work: str) -> int:
    return next((i for i, one in enumerate(design.works) if one.name == work), len(design.works))


def _sham(design: Design, work: str, repeat: int) -> str:
    """Another work: each in its turn."""
    at, count = _place(design, work), len(design.works)
    return design.works[(at + 1 + repeat % (count - 1)) % count].name
