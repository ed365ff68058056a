"""Freezing: what a study is, written down before it runs, so that nobody can fit it to what came out."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from studio import config
from studio.audience.identity import identity
from studio.audience.rooms import Rules
from studio.audience.text import plain
from studio.audience.visitor import AudienceError
from studio.audience.wording import PLAIN, WORDINGS
from studio.experiment.design import Audience, Design, SteerTask, StudyError, check, parse, piece_of, read
from studio.experiment.inviting import check_audiences
from studio.experiment.presenting import untold
from studio.experiment.trials import Trial, trials
from studio.words.registers import REGISTERS

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import ExperimentRecord

#: Changes that one line names, and characters of each value.
_SHOWN, _MOST = 3, 40
#: Libraries of which another version may decide otherwise, by visitors that use them.
LIBRARIES = {"hf": ("tokenizers", "torch", "transformers"), "listener": ("numpy", "torch")}
#: Under which name a study's secret stands beside its content; it is drawn, and no part of what is compared.
_SECRET = "secret"


def content(design: Design, base: Path, archive: Archive) -> dict[str, Any]:
    """All that a study is, as plain data.

    Its design with hypotheses, primary outcomes, exclusions and stopping rule; the pieces, whole, with hashes of their
    files and sources; signals of takes; who the audiences are, with hashes of weights and scripts; the wordings as they
    are shipped, the rules of the game; the versions of Descant and of the libraries that decide.

    Raises
    ------
    DescantError
        If a piece, a take or a file is not there.
    """
    from db.media import file_hash

    check_audiences(design)
    check(design, base, archive)
    names = [w.piece for w in design.works] + [w.other_score for w in design.works]
    names += [task.piece for task in design.tasks if isinstance(task, SteerTask)]
    pieces: dict[str, Any] = {}
    files: dict[str, str] = {}
    for name in dict.fromkeys(name for name in names if name is not None):
        piece, found = _piece(name, base)
        pieces[name] = piece
        files |= {f"{name}: {at}": file_hash(Path(path)) for at, path in found.items()}
    takes = [archive.take(work.take) for work in design.works if work.take is not None]
    return {
        "descant": config.versions()["descant"],
        "design": _told(design),
        "pieces": pieces,
        "files": files,
        "takes": {take.id: take.signals_hash for take in takes},
        "audiences": {audience.name: _identity(audience) for audience in design.audiences},
        "libraries": {name: version(name) for name in sorted(_libraries(design))},
        "wordings": {name: asdict(WORDINGS[name]) for name in design.wordings},
        "rules": {k: v for k, v in asdict(replace(Rules(), wording=PLAIN)).items() if k not in ("wording", "register")},
        "untold": {register: untold(register) for register in REGISTERS},
    }


def _piece(name: str, base: Path) -> tuple[dict[str, Any], Mapping[str, str]]:
    """A piece as plain data, and the files that it is made of."""
    from studio.plan import plan

    piece, folder = piece_of(name, base)
    try:
        planned = plan(name, piece, folder)
    except DescantError:
        return piece.model_dump(mode="json"), {}  # only its score is used, with the channels of another
    return planned.piece.model_dump(mode="json"), planned.files


def _identity(audience: Audience) -> str:
    """Who an audience is, whatever its visitor is called."""
    try:
        return identity(audience.visitor)
    except AudienceError as error:
        raise StudyError(f"audience {audience.name!r}: {error}") from error


def _libraries(design: Design) -> set[str]:
    kinds = {audience.visitor.partition(":")[0] for audience in design.audiences}
    return {name for kind in kinds for name in LIBRARIES.get(kind, ())}


def digest(frozen: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(frozen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def freeze(archive: Archive, path: Path, secret: str = "") -> ExperimentRecord:
    """Freeze the study in a file; one that is frozen already, and has not changed, is found again.

    Parameters
    ----------
    secret : str
        What no visitor may know, see `studio.experiment.trials.drawn`; drawn by chance where it is empty. It stays.

    Raises
    ------
    DescantError
        If it cannot be.
    """
    from db.audience import ExperimentRecord

    design = read(path)
    trials(design)
    found = content(design, path.resolve().parent, archive)
    kept = {**found, _SECRET: secret or secrets.token_hex(16)}
    record = ExperimentRecord(name=design.name, hash=digest(found), design=kept, files=found["files"])
    return archive.studies.experiment(archive.studies.freeze(record))


def secret_of(record: ExperimentRecord) -> str:
    """What all that a study's visitors are given is drawn from; no visitor may know it.

    Raises
    ------
    StudyError
        If there is none.
    """
    if _SECRET not in record.design:
        raise StudyError(f"{record.name}: frozen without a secret to draw seeds from: freeze it under another name")
    return str(record.design[_SECRET])


def standing(archive: Archive, path: Path) -> tuple[ExperimentRecord, Design]:
    """The study in a file, if it is frozen and has not changed since, or has with a deviation that says so.

    Raises
    ------
    DescantError
        If it is not frozen, or has changed: what did.
    """
    design = read(path)
    record = named_so(archive, path, design)
    frozen, now = _holds(archive, record), content(design, path.resolve().parent, archive)
    if digest(now) != digest(frozen):
        raise StudyError(
            f"{path.name}: changed since it was frozen on {record.created[:10]}: {_shown(changes(frozen, now))}: "
            "freeze it under another name, or log a deviation with its author and reason"
        )
    return record, design


def deviate(archive: Archive, path: Path, author: str, reason: str) -> int:
    """Log that a study goes on otherwise than it was frozen; returns the deviation's number, from 1.

    Trials that are done must be among those of the changed study: it may be prolonged, and its analysis changed.

    Raises
    ------
    DescantError
        If it is not frozen, nothing has changed, or a trial that is done is none of the changed study.
    """
    design = read(path)
    record = named_so(archive, path, design)
    now = content(design, path.resolve().parent, archive)
    changed = changes(_holds(archive, record), now)
    if not changed:
        raise StudyError(f"{path.name}: nothing has changed: there is no deviation to log")
    planned = trials(design, secret_of(record))
    for trial in archive.studies.trials(record.id):
        if trial.status != "running" and (
            trial.number >= len(planned) or planned[trial.number].to_json() != trial.factors
        ):
            raise StudyError(
                f"{path.name}: {_shown(changed)}: trial {trial.number}, which was run, is none of it any more: "
                "freeze it under another name"
            )
    told = {"hash": digest(now), "content": now, "changed": {at: list(pair) for at, pair in changed.items()}}
    return archive.studies.deviate(record.id, author, reason, told)


def design_of(archive: Archive, experiment: str) -> tuple[ExperimentRecord, Design]:
    """A frozen study, by its id or name, and its design as it holds now: with its last deviation.

    Raises
    ------
    DescantError
        If there is none.
    """
    record = archive.studies.experiment(experiment)
    return record, parse(_holds(archive, record)["design"], record.name)


def planned(record: ExperimentRecord, design: Design) -> list[Trial]:
    """The trials of a design of a study, drawn as it draws them; without a secret where it was frozen without one."""
    return trials(design, str(record.design.get(_SECRET, "")))


def frozen_design(record: ExperimentRecord) -> Design:
    """A study's design as it was frozen, whatever has been changed since."""
    return parse(record.design["design"], record.name)


def named_so(archive: Archive, path: Path, design: Design) -> ExperimentRecord:
    """The study of a design's name that is designed so, or else the newest one.

    Raises
    ------
    StudyError
        If none is frozen under that name.
    """
    found = archive.studies.experiments(design.name)
    if not found:
        raise StudyError(f"{path.name}: {design.name!r} is not frozen: descant experiment freeze {path}")
    told = _told(design)
    return next((one for one in found if _holds(archive, one).get("design") == told), found[0])


@dataclass(frozen=True)
class Namesake:
    """A study that was frozen under the name of another one, with another content, and what became of its trials."""

    id: str
    hash: str
    created: str
    planned: int
    done: int
    failed: int

    def __str__(self) -> str:
        return f"{self.created[:10]}, {self.hash[:12]}: {self.done} of {self.planned} trials done, {self.failed} failed"


def namesakes(archive: Archive, record: ExperimentRecord) -> tuple[Namesake, ...]:
    """All else that was frozen under a study's name, newest first: nobody is to try until one turns out well."""
    found = []
    for one in archive.studies.experiments(record.name):
        if one.id != record.id:
            went = [trial.status for trial in archive.studies.trials(one.id)]
            try:
                count = len(trials(parse(_holds(archive, one)["design"], one.name)))
            except StudyError:  # what is no study any more
                count = len(went)
            found.append(Namesake(one.id, one.hash, one.created, count, went.count("done"), went.count("failed")))
    return tuple(found)


def _told(design: Design) -> dict[str, Any]:
    """A design as it is frozen: how many processes run it changes nothing that is seen."""
    return design.model_dump(mode="json", exclude={"budget": {"workers"}})


def _holds(archive: Archive, record: ExperimentRecord) -> Mapping[str, Any]:
    deviations = archive.studies.deviations(record.id)
    holds: Mapping[str, Any] = deviations[-1].changes["content"] if deviations else record.design
    return {name: value for name, value in holds.items() if name != _SECRET}


def changes(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two contents: dotted path → what it was, and what it is (None: it is not there)."""
    old, new = (dict(_leaves(content, "")) for content in (before, json.loads(json.dumps(after))))
    return {at: (old.get(at), new.get(at)) for at in {**old, **new} if old.get(at, _leaves) != new.get(at, _leaves)}


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for key, one in inner:
        empty = False
        yield from _leaves(one, f"{at}.{key}" if at else str(key))
    if empty:
        yield at, value


def _shown(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Changes, in words."""
    said = [f"{at} was {_short(before)} and is {_short(after)}" for at, (before, after) in changed.items()]
    more = f" (and {len(said) - _SHOWN} more)" if len(said) > _SHOWN else ""
    return "; ".join(said[:_SHOWN]) + more


def _short(value: Any) -> str:
    return plain(json.dumps(value, ensure_ascii=False), _MOST)
