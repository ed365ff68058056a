"""A study as a TOML file: who attends what, under which conditions, how often, and what is asked of the answers.

Everything that can be refused is refused here, before anything is made or asked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pieces.errors import DescantError
from pieces.piece import Piece, explain, find_piece
from pieces.source import nearest
from studio.audience.steerers import steerer_names
from studio.audience.text import plain
from studio.audience.visitor import visitor_names
from studio.audience.wording import WORDINGS
from studio.words.registers import Register

if TYPE_CHECKING:
    from db.archive import Archive

#: Version of the file format that this Descant writes and reads.
FORMAT = 1
#: What a work is held against. ``as is``: itself, and ``blind``: nothing is told of either; both are leak probes, in
#: which nothing but names and order is left to prefer by. ``shuffled``: its own moments in another order; ``sham``:
#: another work; ``silent``: its pictures alone; ``other score``: the same signals with another score; ``other
#: signals``: the same score with another seed.
Condition: TypeAlias = Literal["as is", "blind", "shuffled", "sham", "silent", "other score", "other signals"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
#: Conditions in which both works are told alike, so that whoever is above chance knows something it must not.
PROBES: tuple[Condition, ...] = ("as is", "blind")
#: Visitors that measure no surprise, so that there is no curve of theirs for a mirror.
UNSURPRISED = ("human", "openai", "random", "scripted")
#: Moments of which a curve of surprise is made at least; of the first of them some visitors measure nothing.
FEWEST_CURVE = 4
#: The most characters of a text of a study.
MOST_TEXT = 10_000
#: Most trials of a study: more is a slip of the pen.
MOST_TRIALS = 1_000_000


class StudyError(DescantError):
    """A study that cannot be, or cannot go on."""


class Model(BaseModel):
    """Frozen, and closed to fields nobody defined."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Label: TypeAlias = Annotated[str, Field(pattern=r"^[\w][\w .+-]{0,59}$", description="a few words")]
Level: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class Audience(Model):
    """A model, or whoever else attends."""

    name: Label = Field(description="what it is called in the report")
    visitor: str = Field(min_length=1, description="as it is invited: hf:FOLDER")
    registers: tuple[Register, ...] = Field(default=(), description="default: the visitor's own")
    options: dict[str, str | int | float | bool] = Field(default_factory=dict, description="of the visitor")

    @property
    def surprised(self) -> bool:
        """Whether it may measure how surprised it is, and so have a curve for a mirror."""
        return self.visitor.partition(":")[0] not in UNSURPRISED


class Work(Model):
    """What is attended: a piece that is performed for the study, or a take that is there."""

    name: Label
    piece: str | None = None
    take: str | None = Field(default=None, description="id")
    seed: int = Field(default=1, ge=0, lt=2**31)
    set: dict[str, float | int | str] = Field(default_factory=dict, description="controls, as compose --set takes them")
    duration: float | None = Field(default=None, ge=0.5, le=3600, description="seconds at most")
    other_score: str | None = Field(
        default=None, description="piece whose score is the other one; default: every mapping's polarity reversed"
    )

    @model_validator(mode="after")
    def _one(self) -> Work:
        if (self.piece is None) == (self.take is None):
            raise ValueError("give 'piece' or 'take', and not both")
        own = {"seed": self.seed != 1, "set": bool(self.set), "duration": self.duration is not None}
        if self.take is not None and any(own.values()):
            raise ValueError(
                f"a take is what it is: leave out {', '.join(name for name, given in own.items() if given)}"
            )
        return self


class Prefer(Model):
    """Two-alternative forced choice: which of two works, one of them as it is, is preferred."""

    task: Literal["prefer"]
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Ids of what it gives."""
        return tuple(f"prefer/{condition}" for condition in self.conditions)


class Same(Model):
    """ABX: which of two works a third one is. What cannot be told apart cannot be preferred."""

    task: Literal["same"]
    levels: tuple[Level, ...] = Field(default=(), description="shares of a work that are distorted, 0..1")
    conditions: tuple[Condition, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Same:
        if not (self.levels or self.conditions):
            raise ValueError("give 'levels' (0..1), 'conditions', or both: with what is a work to be compared?")
        return self

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Ids of what it gives."""
        return (*(f"same/{level:g}" for level in self.levels), *(f"same/{condition}" for condition in self.conditions))


class MirrorTask(Model):
    """Which of several curves of surprise is its own, among audiences that attended the same work.

    Audiences that measure no surprise are not asked.
    """

    task: Literal["mirror"]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Ids of what it gives."""
        return ("mirror",)


class Button(Model):
    """A button of the gallery: it gives its reward, and nothing else."""

    label: Label = "button"
    price: float = Field(default=0.0, ge=0, le=1e6)
    reward: float = Field(default=1.0, ge=-1e6, le=1e6)


class VisitTask(Model):
    """A whole game in a gallery of all works: what visitors do when nothing is asked of them."""

    task: Literal["visit"]
    buttons: Annotated[tuple[Button, ...], Field(min_length=1)] = (Button(),)
    budget: float = Field(default=60.0, ge=0, le=1e6)
    moves: int = Field(default=60, ge=1, le=10_000)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Ids of what it gives."""
        return ("visit/idle", "visit/press")


class SteerTask(Model):
    """Whether steering works: fresh visitors choose between its last take and the first, `random`'s, and `yoked`'s."""

    task: Literal["steer"]
    piece: str
    seed: int = Field(default=1, ge=0, lt=2**31)
    duration: float | None = Field(default=None, ge=0.5, le=3600)
    steerers: Annotated[tuple[str, ...], Field(min_length=1)] = ("gp", "random", "yoked")
    rounds: int = Field(default=5, ge=2, le=1000)
    runs: int = Field(default=6, ge=1, le=100, description="each with its own seed; of one nothing is shown")
    audience: str = Field(description="who steers")

    @property
    def names(self) -> tuple[str, ...]:
        """What its runs are called."""
        return tuple(f"run {number}" for number in range(1, self.runs + 1))

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Ids of what it gives."""
        return ("steer/first", *(f"steer/{name}" for name in self.steerers[1:]))


Task: TypeAlias = Annotated[Prefer | Same | MirrorTask | VisitTask | SteerTask, Field(discriminator="task")]


class Analysis(Model):
    """What is asked of the answers."""

    primary: Annotated[tuple[str, ...], Field(min_length=1)]
    margin: float = Field(default=0.05, gt=0, lt=0.5, description="within which a probe is equivalent to 0.5")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="of every interval")


class Exclusions(Model):
    """Which trials are left out of the analysis. Failed ones always are."""

    max_flips: float | None = Field(
        default=None, ge=0, le=1, description="share of the orders of its options in which a decision was another"
    )
    max_latency: float | None = Field(default=None, gt=0, description="seconds of one decision")
    max_dropped: int | None = Field(
        default=0, ge=0, description="tokens or characters that did not fit when it was asked of works, by default none"
    )


class Stopping(Model):
    """When no further trial is begun, whatever the answers say."""

    trials: int | None = Field(default=None, ge=1, description="so many are done; default: all of the design")
    failures: float = Field(default=1.0, gt=0, le=1, description="more than this share of the last 20 trials failed")


class Budget(Model):
    """What a study may take, over all its runs together; it may be more by the trials that are under way."""

    max_trials: int | None = Field(default=None, ge=1, description="begun, and failed ones too")
    max_cost: float | None = Field(default=None, ge=0, description="as visitors report it")
    max_tokens: int | None = Field(default=None, ge=0)
    max_hours: float | None = Field(default=None, gt=0, description="of trials, added up")
    workers: int = Field(default=1, ge=1, le=64, description="processes")


class Design(Model):
    """A study."""

    descant: Literal[1] = 1
    name: Label
    seed: int = Field(ge=0, lt=2**31)
    question: str = ""
    hypotheses: dict[str, str] = Field(default_factory=dict, description="words for people")
    audiences: Annotated[tuple[Audience, ...], Field(min_length=1)]
    works: tuple[Work, ...] = ()
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    wordings: Annotated[tuple[str, ...], Field(min_length=1)] = ("plain",)
    arms: Annotated[dict[Label, str], Field(min_length=1)] = Field(default_factory=lambda: {"neutral": ""})
    moments: int = Field(default=16, ge=1, le=4096, description="of each work that are told, 0.5 s each")
    repeats: int = Field(default=1, ge=1, le=100_000)
    analysis: Analysis
    exclusions: Exclusions = Exclusions()
    stopping: Stopping = Stopping()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _holds_together(self) -> Design:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Ids of all that its tasks give: ``"prefer/shuffled"``, ``"same/0.2"``, ``"mirror"``."""
        return tuple(outcome for task in self.tasks for outcome in task.outcomes)

    def donor(self, task: SteerTask) -> str | None:
        """Whose ratings ``yoked`` is given: the next audience, best another visitor; None: there is none."""
        visitors = {audience.name: audience.visitor for audience in self.audiences}
        names = [*visitors]
        at = names.index(task.audience)
        others = [*names[at + 1 :], *names[:at]]
        return next((name for name in others if visitors[name] != visitors[task.audience]), next(iter(others), None))

    def _problems(self) -> Iterator[str]:
        yield from _twice("audience", [a.name for a in self.audiences])
        yield from _twice("work", [w.name for w in self.works])
        yield from _twice("wording", self.wordings)
        yield from _twice("outcome", self.outcomes)
        yield from _twice("primary outcome", self.analysis.primary)
        yield from self._task_problems()
        for name in self.wordings:
            if name not in WORDINGS:
                yield f"wordings: no wording {name!r}{nearest(name, sorted(WORDINGS))}"
        for outcome in self.analysis.primary:
            if outcome not in self.outcomes:
                yield f"analysis.primary: no task gives {outcome!r}{nearest(outcome, self.outcomes)}"
        for audience in self.audiences:
            kind = audience.visitor.partition(":")[0]
            if kind not in visitor_names():
                yield f"audience {audience.name!r}: no visitor {kind!r}{nearest(kind, visitor_names())}"
            if kind == "human":
                yield f"audience {audience.name!r}: a study runs unattended: let people attend with descant attend"
            if audience.options.get("remember"):
                yield f"audience {audience.name!r}: options.remember: every trial has a fresh visitor: leave it out"

    def _task_problems(self) -> Iterator[str]:
        for task in self.tasks:
            if isinstance(task, SteerTask):
                yield from self._steer_problems(task)
            elif not self.works:
                yield f"task {task.task}: there are no works: add [[works]]"
            if isinstance(task, Prefer | Same) and "sham" in task.conditions and len(self.works) < 2:
                yield f"task {task.task}: 'sham' is another work, and there is 1: add one to [[works]]"
            if isinstance(task, MirrorTask) and self.moments < FEWEST_CURVE:
                yield f"task mirror: moments = {self.moments}: a curve needs {FEWEST_CURVE} or more"
            if isinstance(task, MirrorTask) and (count := sum(a.surprised for a in self.audiences)) < 2:
                yield (
                    f"task mirror: {count} of {len(self.audiences)} audiences can measure surprise, and 2 must, "
                    f"to tell their curves apart: {', '.join(UNSURPRISED)} cannot. Add a listener or hf:MODEL"
                )

    def _steer_problems(self, task: SteerTask) -> Iterator[str]:
        yield from _twice("steerer", task.steerers)
        names = [a.name for a in self.audiences]
        if task.audience not in names:
            yield f"task steer: no audience {task.audience!r}{nearest(task.audience, names)}"
        elif "yoked" in task.steerers and self.donor(task) is None:
            yield (
                "task steer: yoked goes by the ratings of another audience, and there is none: add one to "
                f"[[audiences]], or give steerers = {[name for name in task.steerers if name != 'yoked']}"
            )
        known = sorted({*steerer_names(), "yoked"})
        for name in task.steerers:
            if name not in known or name == "human":
                yield f"task steer: no steerer {name!r}{nearest(name, known)}"
        if task.steerers[0] in ("random", "yoked", "none"):
            yield f"task steer: steerers begin with {task.steerers[0]!r}: the first is the one that is tested"


def _twice(what: str, names: Sequence[str]) -> Iterator[str]:
    yield from (f"{what} {name!r} comes twice" for i, name in enumerate(names) if name in names[:i])


def parse(raw: Mapping[str, Any], where: str) -> Design:
    """Validate a study from plain data; its texts are made plain, since they are shown, and told to visitors.

    Raises
    ------
    StudyError
        Naming `where`, the field, the value and what is allowed.
    """
    raw = _shown(raw, where)
    version = raw.get("descant", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        raise StudyError(
            f"{where}: written by a newer Descant (format {version}, this one reads {FORMAT}): upgrade descant"
        )
    try:
        return Design.model_validate(raw)
    except ValidationError as error:
        raise StudyError(explain(error, where)) from error


def _shown(value: Any, where: str) -> Any:
    """Plain data whose texts can do nothing but be read; see `studio.audience.text.plain`."""
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise StudyError(f"{where}: {plain(value, 40)!r} has {len(value)} characters: allowed are {MOST_TEXT}")
        return plain(value, MOST_TEXT)
    if isinstance(value, Mapping):
        return {_shown(key, where): _shown(one, where) for key, one in value.items()}
    return [_shown(one, where) for one in value] if isinstance(value, list | tuple) else value


def read(path: Path) -> Design:
    """The study in a file.

    Raises
    ------
    StudyError
        If the file cannot be read, is no TOML, or no study that can be.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise StudyError(f"{path}: cannot be read: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path.name}: not TOML: {plain(str(error))}") from error
    return parse(raw, path.name)


def piece_of(name: str, base: Path) -> tuple[Piece, Path]:
    """A piece that a study names; files stand relative to the study's folder."""
    return find_piece(str(base / Path(name).expanduser()) if name.endswith(".toml") else name)


def check(design: Design, base: Path, archive: Archive) -> None:
    """See that the pieces and takes of a study are there, and can be played.

    Raises
    ------
    DescantError
        If one is not, as one line.
    """
    from studio.plan import plan

    for work in design.works:
        try:
            if work.take is not None:
                archive.take(work.take)
            elif work.piece is not None:
                piece, folder = piece_of(work.piece, base)
                plan(work.piece, piece.with_controls(work.set), folder)
            if work.other_score is not None:
                piece_of(work.other_score, base)
        except DescantError as error:
            raise StudyError(f"{design.name}: work {work.name!r}: {error}") from error
    for task in design.tasks:
        if isinstance(task, SteerTask):
            piece, folder = piece_of(task.piece, base)
            plan(task.piece, piece, folder)
