"""The listener: a visitor that learns while it attends, and goes where it expects to learn.

It reads tokens. What it expects of a room is the progress of its learner (`studio.audience.learner`) on the last
moments it heard there; of a room that it does not know, `HOPE`. Its progress is what it can learn, never what it likes.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from studio.audience.attention import HEARD, THINGS, UNTOLD
from studio.audience.learner import HABITS, INTERESTING, Habits, Learner, verdict
from studio.audience.visitor import (
    AudienceError,
    Decision,
    Fact,
    MomentRow,
    Question,
    Report,
    Sense,
    drawn,
)
from studio.words.artefact import MOMENT_S, Artefact
from studio.words.registers import LETTERS, Register
from studio.words.tokens import FIELDS, PER_MOMENT, RANGES

#: What it expects to learn where it has not been, in nats per token; over how many moments it looks back to tell, and
#: how many must have been heard before: at first whoever learns something new gets worse at what it knew.
HOPE, BACK, FIRST = 0.4, 8, 16
#: Differences that are clear to it: between expectations, in nats per token, and between likenesses, of 1.
CLEARLY, ALIKE = 0.01, 0.01
#: A thing is attended where it gives so many times what all give.
STANDS_OUT = 3.0
#: What it must expect elsewhere beyond what it expects here, to go: nats per token.
SETTLED = 0.05
_HALL = re.compile(r"The hall\. Rooms: ([\w, ]+)\.")
_PLACE = re.compile(r"(?:The hall\.()|(?:Room|Mirror|Work) (\w+):)(?: (\d+) moments)?")
_MOMENT = re.compile(rf"(?:(one|two) )?(\d+): ([{re.escape(LETTERS)}{UNTOLD}]{{{PER_MOMENT}}})")
_CURVE = re.compile(r"([a-z]): (-?\d[-\d. ]*)")


@dataclass
class _Room:
    """What the listener knows of one room or work."""

    number: int
    length: int = 0
    at: int = 0
    progress: list[float] = field(default_factory=list)
    heard: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """It was heard to its end."""
        return 0 < self.length <= self.at

    @property
    def expected(self) -> float:
        """Nats per token that the next moment would give; of what was heard to its end, nothing."""
        if self.over:
            return 0.0
        return float(np.mean(self.progress[-BACK:])) if len(self.progress) >= FIRST else HOPE

    @property
    def mean(self) -> float:
        """Nats per token that all of it gave."""
        return float(np.mean(self.progress)) if self.progress else 0.0


class Listener:
    """A visitor that knows nothing but what it has heard.

    Parameters
    ----------
    argument : str
        Nothing: it takes none.
    cache : Path
        Folder for its state at birth.
    seed : int
        Which listener.
    remember : bool
        Keep what was learned from one visit to the next; else every visit starts from birth.
    memory : Path, optional
        A file in which it is remembered beyond this process: see `keep`.
    habits : Habits
    """

    name = "listener"
    #: It has no words for liking.
    rates = False
    register: ClassVar[Register] = "tokens"
    senses: ClassVar[frozenset[Sense]] = frozenset()

    def __init__(
        self,
        argument: str,
        cache: Path,
        seed: int = 0,
        remember: bool = False,
        memory: Path | None = None,
        habits: Habits = HABITS,
    ) -> None:
        if argument:
            raise AudienceError(f"listener:{argument}: the listener takes nothing behind a colon")
        if type(seed) is not int or not 0 <= seed < 2**63 or type(remember) is not bool:
            raise AudienceError(
                f"listener: seed {seed!r}, remember {remember!r}: allowed are a whole number from 0 on, true or false"
            )
        self.learner, self.memory = Learner(cache, seed, habits), memory
        self.remember = remember or memory is not None
        self.attended = 0

    def begin(self, instruction: str, seed: int) -> None:
        """It cannot read what it is told of its task; `seed` is of its practice and its choices."""
        self.learner.begin(seed, self.remember, self.memory)
        self._rng = np.random.default_rng([seed, 1])
        self._rooms: dict[str, _Room] = {}
        self._place = ""
        self._rows: list[MomentRow] = []
        self._fields: deque[tuple[float, ...]] = deque(maxlen=BACK)
        self._attending = ""
        self._can_listen = True
        self._curves: dict[str, NDArray[np.float64]] = {}
        self._last = np.array([low for low, _ in RANGES], np.int64)
        self.attended += 1

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """Learn from every moment that it is told of; the rest tells it where it is."""
        for line in text.splitlines():
            if moment := _MOMENT.fullmatch(line):
                self._hear(int(moment[2]), moment[3], moment[1] or "")
            elif hall := _HALL.match(line):
                for name in hall[1].split(", "):
                    self._rooms.setdefault(name, _Room(len(self._rooms)))
            elif curve := _CURVE.fullmatch(line):
                self._curves[curve[1]] = np.array(curve[2].split(), np.float64)
            if place := _PLACE.match(line):
                self._enter(place[2] or "", int(place[3] or 0))

    def _enter(self, name: str, length: int) -> None:
        """Somewhere else: what is heard there does not follow what was heard here."""
        if name != self._place:
            self.learner.pause()
        self._place = name
        if name:
            self._rooms.setdefault(name, _Room(len(self._rooms))).length = length

    def _hear(self, number: int, letters: str, branch: str) -> None:
        room, tokens = self._here, self._read(letters)
        if branch == "two":  # perceived, but not learned from: it does not follow what the learner heard last
            return
        room.heard.append(tokens)
        room.at = number + 1
        heard = self.learner.hear(tokens)
        if heard is None:
            return
        room.progress.append(heard.progress)
        self._fields.append(heard.fields)
        start = number * MOMENT_S
        self._rows.append(
            MomentRow(start=start, surprise=heard.surprise, progress=heard.progress, room=max(room.number, 0))
        )

    def _read(self, letters: str) -> NDArray[np.int64]:
        """Tokens from letters; where nothing is told, what was told last goes on."""
        steps = np.array([LETTERS.find(letter) for letter in letters], np.int64).reshape(-1, len(FIELDS))
        last = self._last[: len(FIELDS)]
        for step in steps:
            step[step < 0] = last[step < 0]
            last = step
        self._last = np.concatenate([last, self._last[len(FIELDS) :]])
        found: NDArray[np.int64] = np.clip(steps.reshape(-1), RANGES[:, 0], RANGES[:, 1] - 1)
        return found

    def decide(self, question: Question) -> Decision:
        """Among the options by what it expects to learn, or by what it remembers; evenly where it has no idea."""
        scores = self._scores(question)
        made = drawn(
            question.options, np.exp(scores - scores.max()), self._rng, {"expected": round(self._here.expected, 6)}
        )
        if question.about == "attend":
            self._attending = made.option
        if question.about == "choose":
            self._curves = {}
        return made

    def _scores(self, question: Question) -> NDArray[np.float64]:
        """Logits of the options."""
        if not question.about and self._place in self._rooms and self._rooms[self._place].length:
            self._can_listen = "listen" in question.options
        deeds = self._deeds()
        worth: dict[str, Callable[[str], float]] = {
            "": lambda verb: deeds.get(verb, -math.inf) / CLEARLY,
            "go": lambda name: self._room(name).expected / CLEARLY,
            "listen": lambda moment: 0.0 if moment == "on" else -math.inf,
            "attend": lambda thing: 0.0 if thing == self._outstanding() else -math.inf,
            "choose": lambda letter: self._likeness(self._curves.get(letter)) / ALIKE,
            "prefer": lambda name: self._room(name).mean / CLEARLY,
            "same": lambda name: self._sameness(name) / ALIKE,
        }
        judge = worth.get(question.about)
        scores = np.array([judge(option) if judge else 0.0 for option in question.options])
        return scores if np.isfinite(scores).any() else np.zeros(len(scores))

    def _deeds(self) -> dict[str, float]:
        """What it expects of the verbs that it has a use for, in nats per token."""
        elsewhere = [room.expected for name, room in self._rooms.items() if name != self._place]
        worth = INTERESTING / 2
        if not self._place:
            return {"go": max(elsewhere, default=0.0) if self._can_listen else -math.inf, "leave": worth}
        found = {"leave": max([worth, *(there - SETTLED for there in elsewhere)])}
        if not self._here.over:
            found["listen"] = self._here.expected
        if self._curves:
            found["choose"] = 2 * HOPE
        if self._outstanding() not in ("", self._attending):
            found["attend"] = 2 * HOPE
        return found

    def _outstanding(self) -> str:
        """The thing that gives more than the others by far, in what it heard last; empty where there is none."""
        if len(self._fields) < BACK:
            return ""
        fields = dict(zip(FIELDS, np.mean(self._fields, axis=0), strict=True))
        things = {
            thing: np.mean([v for name, v in fields.items() if HEARD[name] == thing] or [0.0]) for thing in THINGS
        }
        best = max(things, key=lambda thing: things[thing])
        clearly = things[best] > max(STANDS_OUT * float(np.mean(list(things.values()))), INTERESTING)
        return best if clearly else ""

    @property
    def _here(self) -> _Room:
        return self._room(self._place)

    def _room(self, name: str) -> _Room:
        return self._rooms.get(name, _Room(-1, length=1, at=1))

    def _likeness(self, curve: NDArray[np.float64] | None) -> float:
        """How like a curve of surprise is to its own, -1..1."""
        own = np.array([row.surprise for row in self._rows])
        count = 0 if curve is None else min(len(own), len(curve))
        if curve is None or count < 3 or not (own[:count].std() and curve[:count].std()):
            return 0.0
        return float(np.corrcoef(np.argsort(np.argsort(own[:count])), curve[:count])[0, 1])

    def _sameness(self, name: str) -> float:
        """Share of tokens in which a work is the same as the one that was heard last."""
        one, last = self._room(name).heard, self._here.heard
        count = min(len(one), len(last))
        return float(np.mean(np.equal(one[:count], last[:count]))) if count else 0.0

    def keep(self) -> None:
        """Write down what it knows, where it has a memory for that."""
        if self.memory is not None:
            self.learner.keep(self.memory)

    def report(self) -> Report:
        """Its progress and its verdict over all that it heard."""
        if not self._rows:
            return Report()
        surprise, progress = (np.array([getattr(row, name) for row in self._rows]) for name in ("surprise", "progress"))
        return Report(progress=float(progress.mean()), verdict=verdict(surprise, progress), moments=tuple(self._rows))

    def about(self) -> Mapping[str, Fact]:
        """Which listener."""
        import torch

        return {
            "born": self.learner.seed,
            "remember": self.remember,
            "attended_before": self.attended - 1,
            "parameters": self.learner.parameters,
            "threads": 1,
            "torch": torch.__version__,
        }
