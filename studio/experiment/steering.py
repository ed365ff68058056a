"""Steering in a study: runs of the loop whose last takes fresh visitors are to choose between."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from pieces.form import shortened
from studio import config
from studio.audience.loop import Steered, ratings_of, steer
from studio.audience.text import plain
from studio.audience.visitor import Visitor, invite
from studio.experiment.design import Design, SteerTask, StudyError, piece_of
from studio.experiment.works import long_enough
from studio.rendering import Progress, silent

if TYPE_CHECKING:
    from db.archive import Archive

#: The take with which every run begins; and the run whose ratings the steerer ``yoked`` is given.
FIRST, DONOR = "first", "donor"


def run_key(run: str, steerer: str) -> str:
    """Under which name the last take of a steerer's run is kept."""
    return f"{run}/{steerer}"


def steered(
    archive: Archive, experiment_id: str, design: Design, base: Path, progress: Progress = silent
) -> dict[str, str]:
    """The first and last takes of all runs of a study, by `run_key`; runs that are not over yet are made.

    Every steerer begins each run with the same take and seed. What ``yoked`` is given are the ratings of another run,
    steered by the first steerer for the next audience of the study, with another seed.

    Raises
    ------
    DescantError
        If a run breaks off, or its takes are too short. It begins anew the next time.
    """
    known = archive.studies.works(experiment_id)
    visitors: dict[str, Visitor] = {}
    for task in (task for task in design.tasks if isinstance(task, SteerTask)):
        donor = [DONOR] if "yoked" in task.steerers else []
        wanted = [(number, name) for number in range(task.runs) for name in (*donor, *task.steerers)]
        for at, (number, name) in enumerate(wanted):
            progress("steer", at, len(wanted))
            run = task.names[number]
            if run_key(run, name) in known:
                continue
            names = [audience.name for audience in design.audiences]
            whose = task.audience
            if name == DONOR:
                whose = names[(names.index(task.audience) + 1) % len(names)]
            try:
                if whose not in visitors:
                    audience = design.audiences[names.index(whose)]
                    visitors[whose] = invite(audience.visitor, config.home() / "cache", **audience.options)
                takes = _run(archive, task, base, visitors[whose], number, name, known)
                for take in (takes[0], takes[-1]):
                    long_enough(archive, design, take)
            except DescantError as error:
                raise StudyError(f"{design.name}: steering by {name}, {run}: {error}") from error
            except Exception as error:  # a visitor may be anybody's code
                said = plain(f"{whose}: {type(error).__name__}: {error}")
                raise StudyError(f"{design.name}: steering by {name}, {run}: {said}") from error
            for key, take in ((FIRST, takes[0]), (name, takes[-1])):
                known[run_key(run, key)] = archive.studies.add_work(experiment_id, run_key(run, key), take)
        progress("steer", len(wanted), len(wanted))
    return known


def _run(
    archive: Archive, task: SteerTask, base: Path, visitor: Visitor, number: int, name: str, known: dict[str, str]
) -> list[str]:
    """The takes of one run."""
    piece, folder = piece_of(task.piece, base)
    if task.duration is not None:
        piece = shortened(piece, task.duration)
    seed = task.seed + number + (task.runs if name == DONOR else 0)
    yoked = ratings_of(archive, known[run_key(task.names[number], DONOR)]) if name == "yoked" else ()
    steerer = task.steerers[0] if name == DONOR else name
    what = Steered(task.piece, piece, folder, steerer, seed, yoked=yoked)
    return [one.take_id for one in steer(archive, what, visitor, task.rounds)]
