"""A visit to a game is kept turn by turn: what went in comes out, whatever it is and however the visit ended."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.archive import Archive, ArchiveError, NewTake, VisitRecord
from db.audience import NewTranscript, TurnRecord

NEW = NewTranscript(visitor="random", seed=3, wording="plain", words="prose", instruction="Attend.", about={"k": 1})

CHILD = """
import sys
from db.archive import Archive
from db.audience import NewTranscript, TurnRecord
archive = Archive.open(sys.argv[1])
transcript = archive.visiting.begin_transcript(NewTranscript(visitor="random", seed=3))
print(transcript, flush=True)
for number in range(100_000):
    archive.visiting.add_turns(transcript, [TurnRecord(number=number, command="wait", observation=f"moment {number}")])
    print(number, flush=True)
"""

#: Anything that a Python text may hold: controls, bidi marks, lone surrogates, what stands for nothing.
text = st.text(max_size=30) | st.text("\0\x1b\x85\u202e\ud800\udfff\uffff0d", max_size=30)
whole = st.none() | st.integers(0, 2**40)
finite = st.floats(allow_nan=False, allow_infinity=False)
#: JSON takes two lone surrogates that stand together for one character.
jsonable = st.text(max_size=30) | st.text("\0\x1b\x85\u202e\ud800\uffff0d", max_size=30)
decision = st.fixed_dictionaries({"about": jsonable, "options": st.lists(jsonable), "probabilities": st.lists(finite)})
turn = st.fixed_dictionaries(
    {
        "command": text,
        "observation": text,
        "decisions": st.lists(decision, max_size=2).map(tuple),
        "budget": finite,
        "reward": finite,
    }
    | {"room": whole, "first": whole, "count": whole}
)


def take(archive: Archive, **more: Any) -> str:
    about: dict[str, Any] = {
        "piece_name": "p",
        "piece": {},
        "piece_hash": "0" * 64,
        "seed": 1,
        "parts": [("fit", 20.0)],
    }
    recorder = archive.begin(NewTake(**{**about, **more}))
    recorder.finish(duration_s=0.0)
    return recorder.take_id


def told(count: int, first: int = 0) -> list[TurnRecord]:
    return [TurnRecord(number=n, command="wait", observation=f"moment {n}") for n in range(first, first + count)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), fields=st.lists(turn, max_size=6), about=st.dictionaries(jsonable, jsonable | finite), said=text)
def test_whatever_goes_in_comes_out(
    archive: Archive, data: st.DataObject, fields: list[dict[str, Any]], about: dict[str, Any], said: str
) -> None:
    turns = [TurnRecord(number=n, **of_one) for n, of_one in enumerate(fields)]
    new = NewTranscript(visitor=said, seed=2**63 - 1, wording=said, words=said, instruction=said, about=about)
    transcript_id = archive.visiting.begin_transcript(new)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(turns)), max_size=3)))
    for begin, end in pairwise([0, *cuts, len(turns)]):
        archive.visiting.add_turns(transcript_id, turns[begin:end])
    archive.visiting.end_transcript(transcript_id, said or "left", {"moments": [about]})
    found = archive.visiting.transcript(transcript_id)
    assert found.turns == tuple(turns)
    assert {n: v for n, v in asdict(found).items() if n in asdict(new)} == asdict(new)
    assert (found.ended, found.report) == (said or "left", {"moments": [about]})
    assert archive.visiting.transcripts(limit=1)[0].turns == len(turns)


def test_ten_megabytes_with_control_characters_come_back(archive: Archive) -> None:
    planted = "".join(map(chr, range(0xA0))) + "\u202e\u2066\ud8ff\uffff0000[red]"
    long = (planted * (10_000_000 // len(planted) + 1))[:10_000_000]
    transcript_id = archive.visiting.begin_transcript(NEW)
    asked = ({"chosen": long},)
    archive.visiting.add_turns(
        transcript_id, [TurnRecord(number=0, command=planted, observation=long, decisions=asked)]
    )
    archive.visiting.end_transcript(transcript_id, planted)
    found = archive.visiting.transcript(transcript_id)
    assert (found.turns[0].observation == long, found.turns[0].decisions == asked) == (True, True)
    assert (found.turns[0].command, found.ended) == (planted, planted)


def test_what_does_not_follow_is_refused_and_changes_nothing(archive: Archive) -> None:
    transcript_id = archive.visiting.begin_transcript(NEW)
    archive.visiting.add_turns(transcript_id, told(2))
    for turns, line in (
        (told(1, 3), "turn 3 .*: the next one is 2"),
        (told(1, 1), "turn 1 .*: the next one is 2"),
        (told(2, 2) + told(1, 5), "turn 5 .*: the next one is 4"),
        ([replace(told(1, 2)[0], budget=math.nan)], "turn 2: budget = nan"),
        ([replace(told(1, 2)[0], reward=math.inf)], "turn 2: reward = inf"),
    ):
        with pytest.raises(ArchiveError, match=line):
            archive.visiting.add_turns(transcript_id, turns)
    archive.visiting.end_transcript(transcript_id, "left")
    with pytest.raises(ArchiveError, match=r"has ended \(left\)"):
        archive.visiting.add_turns(transcript_id, told(1, 2))
    with pytest.raises(ArchiveError, match="has ended already"):
        archive.visiting.end_transcript(transcript_id, "moves")
    assert archive.visiting.transcript(transcript_id).turns == tuple(told(2))
    for act in (archive.visiting.transcript, lambda i: archive.visiting.add_turns(i, told(1))):
        with pytest.raises(ArchiveError, match="no transcript 'none'"):
            act("none")
    with pytest.raises(ArchiveError, match="seed = -1"):
        archive.visiting.begin_transcript(replace(NEW, seed=-1))
    with pytest.raises(ArchiveError, match="give both, or neither"):
        archive.visiting.begin_transcript(replace(NEW, trial=1))


def test_a_visit_over_two_rooms_is_one_transcript_and_is_found(archive: Archive) -> None:
    takes = [take(archive) for _ in range(3)]
    ids = [archive.visiting.begin_transcript(replace(NEW, visitor=v)) for v in ("random", "listener", "random")]
    for room in (0, 1):
        archive.add_visit(
            VisitRecord(take_id=takes[room], visitor="random", seed=3, transcript_id=ids[0], room=room, rating=0.5)
        )
    archive.add_visit(VisitRecord(take_id=takes[1], visitor="listener", seed=3, transcript_id=ids[1], room=0))
    archive.add_visit(VisitRecord(take_id=takes[2], visitor="person", seed=3))
    archive.visiting.add_turns(ids[1], [TurnRecord(number=0, command="say 100% dull_grey", observation="A Bell.")])

    def found(**wanted: Any) -> list[str]:
        return [row.id for row in archive.visiting.transcripts(**wanted)]

    assert found() == ids[::-1]
    assert found(limit=2) == ids[:0:-1]
    assert found(visitor="random") == [ids[2], ids[0]]
    assert (found(take=takes[0]), found(take=takes[1]), found(take=takes[2])) == ([ids[0]], [ids[1], ids[0]], [])
    assert found(text="bell") == found(text="100% DULL_") == [ids[1]]
    assert found(text="100_") == found(text="drum") == found(experiment="none") == []
    assert [(v.transcript_id, v.room) for v in archive.visits(takes[1])] == [(ids[1], 0), (ids[0], 1)]
    assert [(v.transcript_id, v.room) for v in archive.visits(takes[2])] == [(None, None)]
    with pytest.raises(ArchiveError, match="no transcript 'none'"):
        archive.add_visit(VisitRecord(take_id=takes[0], visitor="x", seed=0, transcript_id="none"))


@pytest.mark.parametrize("lines", [2, 60])
def test_killed_between_turns_none_that_was_told_is_lost(archive: Archive, lines: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, archive.where], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        transcript_id = child.stdout.readline().strip()
        for _ in range(lines):
            last = int(child.stdout.readline())
        with Archive.open(archive.where):  # who else opens leaves what goes on alone
            pass
        assert archive.check().broken_off == ()
        assert archive.visiting.transcript(transcript_id).ended is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert archive.check(repair=False).broken_off == (transcript_id,)
    assert archive.visiting.transcript(transcript_id).ended is None
    with Archive.open(archive.where, create=False) as opened:
        found = opened.visiting.transcript(transcript_id)
        assert found.ended == "interrupted"
        assert len(found.turns) > last
        assert found.turns == tuple(told(len(found.turns)))
        assert opened.check().clean


def test_two_hundred_turns_a_second(archive: Archive) -> None:
    transcript_id = archive.visiting.begin_transcript(NEW)
    asked = ({"about": "", "options": list("abcdefghij"), "probabilities": [0.1] * 10, "chosen": "a"},) * 2
    turns = [replace(turn, observation="word " * 100, decisions=asked) for turn in told(400)]
    before = time.process_time()
    for one in turns:
        archive.visiting.add_turns(transcript_id, [one])
    assert time.process_time() - before < 2
    assert archive.visiting.transcript(transcript_id).turns == tuple(turns)


def test_check_finds_gaps_and_visits_without_takes(archive: Archive) -> None:
    taken = take(archive)
    ids = [archive.visiting.begin_transcript(NEW) for _ in range(4)]
    for transcript_id in ids[:3]:
        archive.visiting.add_turns(transcript_id, told(4))
    visit = archive.add_visit(VisitRecord(take_id=taken, visitor="random", seed=3, transcript_id=ids[0], room=0))
    report = archive.check()
    assert (report.clean, report.transcripts, report.to_json()["transcripts"]) == (True, 4, 4)
    with sqlite3.connect(archive.where) as database:
        database.execute("DELETE FROM turns WHERE transcript_id = ? AND number = 2", (ids[1],))
        database.execute("DELETE FROM turns WHERE transcript_id = ? AND number = 0", (ids[2],))
        database.execute("DELETE FROM takes WHERE id = ?", (taken,))
    problems = "\n".join(archive.check().problems)
    assert f"transcript {ids[1]}: of its turns up to 3 it has 3, from 0 on" in problems
    assert f"transcript {ids[2]}: of its turns up to 3 it has 3, from 1 on" in problems
    assert f"visit {visit}: its take {taken} is not there" in problems
    assert not any(transcript_id in problems for transcript_id in (ids[0], ids[3]))
