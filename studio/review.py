"""Reviewing visits: transcripts turn by turn, as a coder may see them, and what coders write on them.

A coder is blind: who attended, what it was held against, how it was instructed, how the sides lay and what it took stay
hidden, until the coder unblinds; that is logged. What is hidden is taken away here, before anything is shown. What was
told is shown: that a work was silent, or told of with nothing at all, can be seen in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from studio.audience.text import plain

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import AnnotationRecord, Kind, TrialRecord, TurnRecord, _Transcript

#: How a visit can end by itself; everything else broke it off, in a line that may name who attended.
WELL = ("left", "moves", "answered")
ENDS = (*WELL, "interrupted")
BROKEN = "broken off"
#: By what a list can be narrowed besides the ends themselves: it ended as it should; it did not.
FINE, FAILED = "well", "failed"
#: Visits that belong to no study.
OUTSIDE = "outside studies"
#: What a blind coder is not shown, in words; and of a trial, by name.
HIDDEN = "audience, model, condition, work, order, instruction, and tokens and seconds"
FACTORS = ("task", "audience", "condition", "level", "arm", "work", "other", "order", "third", "side", "repeat")
#: Of a trial, what it took, failed attempts and all.
COSTS = ("decisions", "retries", "tokens", "cost", "seconds")
_HIDDEN = "hidden until you unblind"
#: Characters of a line of an observation, and of a note.
_LINE, _NOTE = 600, 2000
#: The fact that has a share of each option, order by order; see `studio.audience.prompting.by_order`.
_ORDERS = "by_order"
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True)
class Note:
    """What a coder wrote; see `db.audience.AnnotationRecord`."""

    author: str
    kind: str
    tag: str
    text: str
    turn: int | None
    created: str
    blind: bool


@dataclass(frozen=True)
class Choice:
    """One decision of a turn: options in the order in which they were shown."""

    about: str
    asks: str
    options: tuple[str, ...]
    probabilities: tuple[float, ...]
    chosen: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One turn."""

    number: int
    command: str
    observation: str
    decisions: tuple[Choice, ...]
    budget: float
    reward: float
    room: int | None
    first: int | None
    count: int
    notes: tuple[Note, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was decided: the verb of its command, or what it was asked."""
        verb = self.command.partition(" ")[0]
        return (verb,) if verb else tuple(dict.fromkeys(choice.about or "verb" for choice in self.decisions))


@dataclass(frozen=True)
class Listed:
    """A transcript in a list; `known` is empty while the coder is blind."""

    id: str
    experiment: str | None
    study: str
    created: str
    words: str
    turns: int
    ended: str
    tags: tuple[str, ...]
    notes: int
    blind: bool
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def who(self) -> str:
        """Who attended, as the study calls it, else as it was invited; empty while the coder is blind."""
        return str(self.known.get("audience") or self.known.get("visitor", ""))

    @property
    def under(self) -> str:
        """The condition, of a visit with its button's number; empty while the coder is blind, and outside studies."""
        condition = str(self.known.get("condition", ""))
        return f"{self.known['task']} {condition}" if condition.isdecimal() else condition


@dataclass(frozen=True)
class Seen:
    """A transcript, turn by turn."""

    listed: Listed
    instruction: str
    about: Mapping[str, Any]
    notes: tuple[Note, ...]
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """Which transcripts are listed; what is empty narrows nothing.

    Attributes
    ----------
    text : str
        Stands in a command or an observation.
    ended : str
        As it ended (one of `ENDS`, `BROKEN`, ``"running"``), or `FINE` or `FAILED`.
    tag : str
        With or without its ``#``.
    audience, condition : str
        Who attended, as the study calls it or as it was invited; under which condition. Where the coder is blind,
        nothing is found by them.
    study : str
        Id of the study, or `OUTSIDE`.
    """

    text: str = ""
    ended: str = ""
    tag: str = ""
    audience: str = ""
    condition: str = ""
    study: str = ""


@dataclass(frozen=True)
class Choices:
    """By what a list of transcripts can be narrowed; nothing of those to which the coder is blind.

    Attributes
    ----------
    studies : dict of str to str
        From id to name; `OUTSIDE` stands for both.
    audiences, conditions, tags : tuple of str
    """

    studies: Mapping[str, str]
    audiences: tuple[str, ...]
    conditions: tuple[str, ...]
    tags: tuple[str, ...]


def choices(rows: Sequence[Listed]) -> Choices:
    """What stands in a list."""
    return Choices(
        {row.experiment or OUTSIDE: row.study for row in rows},
        tuple(sorted({row.who for row in rows} - {""})),
        tuple(sorted({row.under for row in rows} - {""})),
        tuple(sorted({tag for row in rows for tag in row.tags})),
    )


class Review:
    """The transcripts of a study, or of a whole archive, as one coder may see them.

    Parameters
    ----------
    archive : Archive
    experiment : str, optional
        Id of the study; default: all that is in the archive.
    author : str
        Who looks; nobody named is blind.
    """

    def __init__(self, archive: Archive, experiment: str | None = None, author: str = "") -> None:
        self._archive, self.experiment = archive, experiment
        self.author = " ".join(author.split())

    def is_blind(self, experiment: str | None) -> bool:
        """Whether what is hidden stays so; outside studies nothing is."""
        if experiment is None:
            return False
        return self.author not in [one.coder for one in self._archive.studies.unblindings(experiment)]

    def listed(self, wanted: Wanted = Wanted(), limit: int | None = None) -> list[Listed]:
        """Transcripts, newest first.

        Raises
        ------
        DescantError
            If it is asked for by what is hidden.
        """
        only = self.experiment if wanted.study in ("", OUTSIDE) else wanted.study
        rows = self._archive.visiting.transcripts(experiment=only, text=wanted.text, limit=None)
        blind = {study: self.is_blind(study) for study in {row.experiment_id for row in rows} | {only}}
        if (wanted.audience or wanted.condition) and blind[only]:
            raise DescantError("you are blind to audiences and conditions: unblind first (--unblind --author NAME)")
        trials = {(s, t.number): t for s in blind if s and not blind[s] for t in self._archive.studies.trials(s)}
        notes: dict[str, list[AnnotationRecord]] = {}
        for one in self._archive.studies.annotations(experiment=only):
            notes.setdefault(one.transcript_id, []).append(one)
        names = self._names()
        found = (
            self._listed(row, row.turns, trials, notes.get(row.id, []), blind[row.experiment_id], names) for row in rows
        )
        return [one for one in found if _is_wanted(one, wanted)][:limit]

    def _names(self) -> dict[str | None, str]:
        """Of all studies, by id; two of one name are told apart by the ends of their ids."""
        found = [(one.id, plain(one.name, 60)) for one in self._archive.studies.experiments()]
        count = Counter(name for _, name in found)
        return {None: OUTSIDE, **{i: name if count[name] == 1 else f"{name} {i[-4:]}" for i, name in found}}

    def _listed(
        self,
        row: _Transcript,
        turns: int,
        trials: Mapping[tuple[str, int], TrialRecord],
        notes: Sequence[AnnotationRecord],
        blind: bool,
        names: Mapping[str | None, str],
    ) -> Listed:
        mine = self._visible(notes, blind)
        known: dict[str, Any] = {}
        ended = row.ended or "running"
        if blind:
            ended = ended if ended in (*ENDS, "running") else BROKEN
        else:
            known = {"visitor": plain(row.visitor), "seed": row.seed, "wording": plain(row.wording)}
            trial = trials.get((row.experiment_id or "", -1 if row.trial is None else row.trial))
            if trial is not None:
                known |= {"trial": trial.number}
                known |= {n: trial.factors[n] for n in FACTORS if trial.factors.get(n) not in (None, "")}
                known |= {n: trial.cost[n] for n in COSTS if (trial.cost or {}).get(n)}  # type: ignore[index]
                known |= {"attempts": trial.attempts} if trial.attempts > 1 else {}
        return Listed(
            *(row.id, row.experiment_id, names[row.experiment_id], row.created, row.words, turns, plain(ended)),
            tags=tuple(dict.fromkeys(note.tag for note in mine)),
            notes=len(mine),
            blind=blind,
            known=known,
        )

    def _visible(self, notes: Iterable[AnnotationRecord], blind: bool) -> list[AnnotationRecord]:
        """A blind coder does not read what those wrote who are not."""
        return [one for one in notes if not blind or one.blind or one.author == self.author]

    def find(self, name: str) -> str:
        """The id of a transcript by its beginning or its end.

        Raises
        ------
        DescantError
            If it is that of none, or of several.
        """
        rows = self._archive.visiting.transcripts(experiment=self.experiment, limit=None)
        found = [row.id for row in rows if name and (row.id.startswith(name) or row.id.endswith(name))]
        if len(found) != 1:
            said = f"{len(found)} transcripts" if found else "no transcript"
            raise DescantError(f"{said} {plain(name, 60)!r}: give more of its id: descant experiment review lists them")
        return found[0]

    def seen(self, transcript_id: str) -> Seen:
        """A transcript with all its turns."""
        record = self._archive.visiting.transcript(transcript_id)
        blind = self.is_blind(record.experiment_id)
        trials: dict[tuple[str, int], TrialRecord] = {}
        if record.experiment_id is not None and not blind:
            trials = {(record.experiment_id, t.number): t for t in self._archive.studies.trials(record.experiment_id)}
        written = self._archive.studies.annotations(transcript=transcript_id)
        notes = [_note(one) for one in self._visible(written, blind)]
        return Seen(
            self._listed(record, len(record.turns), trials, written, blind, self._names()),
            instruction=_HIDDEN if blind else plain(record.instruction, _NOTE),
            about={} if blind else _facts(record.about) | _spent(record.report or {}),
            notes=tuple(note for note in notes if note.turn is None),
            steps=tuple(_step(turn, notes, blind) for turn in record.turns),
        )

    def note(self, transcript_id: str, kind: Kind, tag: str, text: str, turn: int | None = None) -> str:
        """Write something on a transcript, or on one of its turns; returns its id."""
        from db.audience import AnnotationRecord

        self._need_author()
        new = AnnotationRecord(
            transcript_id=transcript_id, turn=turn, author=self.author, kind=kind, tag=tag, text=plain(text, _NOTE)
        )
        return self._archive.studies.annotate(new)

    def unblind(self, experiment: str) -> None:
        """From now on this coder sees everything of a study; that is logged."""
        self._need_author()
        self._archive.studies.unblind(experiment, self.author)

    def _need_author(self) -> None:
        if not self.author:
            raise DescantError("nobody is named: say who you are (--author NAME)")


def _is_wanted(one: Listed, wanted: Wanted) -> bool:
    ended = one.ended if one.ended in (*ENDS, "running") else BROKEN
    ends = {ended, FINE if ended in WELL else FAILED if ended != "running" else ended}
    return all(
        (
            not wanted.ended or wanted.ended in ends,
            not wanted.tag or wanted.tag.lstrip("#").casefold() in one.tags,
            not wanted.audience or wanted.audience in (one.known.get("audience"), one.known.get("visitor")),
            not wanted.condition or wanted.condition in (one.under, one.known.get("condition")),
            not wanted.study or wanted.study == (one.experiment or OUTSIDE),
        )
    )


def _spent(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a server took for the whole visit, also for decisions that failed."""
    return {f"{name} in all": report[name] for name in ("tokens", "cost") if report.get(name) is not None}


def _step(turn: TurnRecord, notes: Sequence[Note], blind: bool) -> Step:
    return Step(
        number=turn.number,
        command=plain(turn.command, _LINE),
        observation=lines(turn.observation),
        decisions=tuple(_choice(one, blind) for one in turn.decisions),
        budget=turn.budget,
        reward=turn.reward,
        room=turn.room,
        first=turn.first,
        count=turn.count or 0,
        notes=tuple(note for note in notes if note.turn == turn.number),
    )


def _choice(raw: Mapping[str, Any], blind: bool) -> Choice:
    return Choice(
        about=plain(str(raw["about"])),
        asks=plain(str(raw["asks"]), _LINE),
        options=tuple(plain(str(option), 80) for option in raw["options"]),
        probabilities=tuple(float(p) for p in raw["probabilities"]),
        chosen=plain(str(raw["chosen"])),
        facts={} if blind else _facts(raw.get("facts") or {}),  # tokens and seconds tell who it was
    )


def _facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {plain(str(n), 40): v if isinstance(v, int | float | None) else plain(str(v), _NOTE) for n, v in raw.items()}


def _note(one: AnnotationRecord) -> Note:
    told = (plain(one.author), one.kind, plain(one.tag, 80), plain(one.text, _NOTE))
    return Note(*told, one.turn, one.created, one.blind)


def lines(text: str) -> str:
    """Text of several lines from outside, each made plain."""
    return "\n".join(plain(line, _LINE) for line in text.splitlines())


# As text, for the terminal and for the screen


def bar(share: float, cells: int) -> str:
    """A bar of so many cells for 1; an eighth of a cell is the least, and 0 is nothing."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8) or (1 if share > 0 else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def number(value: Any) -> str:
    """A fact, shortly."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def told_facts(facts: Mapping[str, Any]) -> str:
    """Facts on a line, times with their unit; then each order in which the options were shown, on a line of its own."""
    first = " · ".join(_told_fact(name, value) for name, value in facts.items() if name != _ORDERS)
    return "\n".join([first, *(f"shown as: {order}" for order in str(facts.get(_ORDERS, "")).split("; ") if order)])


def _told_fact(name: str, value: Any) -> str:
    return f"{name[:-2]} {number(value)} s" if name.endswith("_s") else f"{name} {number(value)}"


def head(seen: Seen) -> list[tuple[str, str]]:
    """What is known of a transcript, by name."""
    one = seen.listed
    rows = [("study", one.study)] if one.experiment else []
    rows += [("turns", str(one.turns)), ("words", one.words), ("ended", one.ended)]
    rows += [(name, number(value)) for name, value in one.known.items()]
    rows += [(name, number(value)) for name, value in seen.about.items()]
    if one.blind:
        rows.append(("blind", f"{HIDDEN} are hidden until you unblind"))
    elif seen.instruction:
        rows.append(("told", seen.instruction))
    return [*rows, ("id", one.id)]


def place(step: Step) -> str:
    """Where a turn was, and which moments it let be heard."""
    parts = [] if step.room is None else [f"room {step.room + 1}"]
    if step.count and step.first is not None:
        last = step.first + step.count - 1
        parts.append(f"moment {step.first}" if last == step.first else f"moments {step.first} to {last}")
    return ", ".join(parts)


def left(step: Step) -> str:
    """What is left of the budget, of a game."""
    return f"budget {step.budget:g}" if step.budget or step.command else ""


def step_text(step: Step, cells: int = 24) -> str:
    """A turn for the terminal."""
    said = f"> {step.command}" if step.command else "(asked)" if step.decisions else "(told)"
    rows = ["   ".join(part for part in (f"turn {step.number}  {said}", place(step), left(step)) if part)]
    for choice in step.decisions:
        rows.append(f"  {choice.asks}")
        widest = max(len(option) for option in choice.options)
        for option, share in zip(choice.options, choice.probabilities, strict=True):
            mark = "◀" if option == choice.chosen else ""
            rows.append(f"    {option:<{widest}}  {share:5.3f}  {bar(share, cells):<{cells}} {mark}".rstrip())
        if choice.chosen not in choice.options:
            rows.append(f"    said: {choice.chosen}")
        if choice.facts:
            rows += [f"    {line}" for line in told_facts(choice.facts).splitlines()]
    rows += [f"  {line}" for line in step.observation.splitlines()]
    rows += [f"  {note_text(note)}" for note in step.notes]
    return "\n".join(rows)


def note_text(note: Note) -> str:
    """A note on one line; facts are told apart from interpretations, and each has its author."""
    sign = "fact" if note.kind == "fact" else "interpretation"
    blind = ", blind" if note.blind else ""
    return f"[{sign} #{note.tag}] {note.text} ({note.author}{blind})".replace("]  (", "] (")


def head_text(seen: Seen) -> str:
    """What is known of a transcript, and what was written on the whole of it, a line each."""
    known = head(seen)
    widest = max(len(name) for name, _ in known)
    rows = [f"{name:<{widest}}  {value}" for name, value in known]
    return "\n".join([*rows, *(note_text(note) for note in seen.notes)])


def seen_text(seen: Seen) -> str:
    """A transcript for the terminal."""
    return "\n\n".join([head_text(seen), *(step_text(step) for step in seen.steps)])


def kinds(seen: Seen) -> list[str]:
    """The kinds of decisions of a transcript, the commonest first."""
    return [kind for kind, _ in Counter(kind for step in seen.steps for kind in step.kinds).most_common()]
