"""An archive with visits to be reviewed: trials of a study, one that names itself, and a visit outside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from db.archive import Archive
from db.audience import ExperimentRecord, NewTranscript, TurnRecord
from studio.audience.gallery import Gallery
from studio.audience.loop import attended
from studio.audience.visitor import invite
from studio.experiment.attendance import Attendance
from studio.experiment.design import read
from studio.experiment.freezing import freeze
from studio.experiment.trials import trials
from studio.experiment.works import make
from tests.studio.experiment.studying import SECRET, study, write_piece

#: Names of what a blind coder must not see, as the study, its pieces and its visitors have them.
PLANTED = (
    "SECRETaudience",
    "SECRETarm",
    "SECRETwork",
    "SECRETother",
    "SECRETmodel",
    "SECRETpiece",
    "hearer",
    "shuffled",
)
#: What a terminal would obey.
ESCAPES = "\x1b[31m\x1b]0;title\x07[bold]\u202eevil\u200b"


def make_archive(folder: Path) -> tuple[Path, Path]:
    """An archive and the study in it; three of its trials are run. The visitors must be installed."""
    write_piece(folder, "SECRETpiece")
    work = '[[works]]\nname = "SECRET{}"\npiece = "SECRETpiece.toml"\nseed = {}'
    path = study(
        folder,
        arms='arms = { SECRETarm = "You look for SECRETarm." }',
        audiences='[[audiences]]\nname = "SECRETaudience"\nvisitor = "hearer"',
        works="\n".join([work.format("work", 1), work.format("other", 2)]),
    )
    place = folder / "archive.db"
    with Archive.open(place) as archive:
        record, design = freeze(archive, path, SECRET), read(path)
        attendance = Attendance(archive, record.id, design, make(archive, record.id, design, folder))
        for trial in trials(design)[:3]:
            assert attendance.attempt(trial)[0] == "done"
        plant(archive, record, trials(design)[3].to_json())
        take = archive.studies.works(record.id)["SECRETwork"]
        attended(archive, Gallery(archive), [take], invite("random", folder / "cache"), 3)
    return place, path


def plant(archive: Archive, record: ExperimentRecord, factors: Any) -> None:
    """A trial whose visitor names itself wherever it can, and writes what a terminal would obey."""
    archive.studies.claim(record.id, 3, factors)
    found = archive.visiting.begin_transcript(
        NewTranscript(
            visitor="hf:SECRETmodel",
            seed=7,
            words="prose",
            wording="plain",
            instruction="You look for SECRETarm.",
            about={"model": "SECRETmodel", "revision": "SECRETmodel-1"},
            experiment_id=record.id,
            trial=3,
        )
    )
    facts = {"model": "SECRETmodel", "tokens": 12, "latency_s": 0.25, "flips": 1, "way": "SECRETmodel", "retries": 0}
    facts |= {"by_order": "four 0.4, one 0.6; one 0.5, four 0.5"}
    decision = {
        "about": "prefer",
        "asks": f"Which? {ESCAPES}",
        "options": ["one", "two", f"three{ESCAPES}", "four"],
        "probabilities": [0.5, 0.25, 0.25, 0.0],
        "chosen": f"three{ESCAPES}",
        "facts": facts,
    }
    turns = [
        TurnRecord(number=0, command="", observation=f"Work bo: 1 moment.\n{ESCAPES}"),
        TurnRecord(number=1, command="", observation="", decisions=(decision,)),
    ]
    archive.visiting.add_turns(found, turns)
    report = {"tokens": 69, "cost": 0.004}
    archive.visiting.end_transcript(found, "SECRETmodel: no answer from http://SECRETmodel", report)
    archive.studies.fail(record.id, 3, "SECRETmodel: no answer")
