"""An experiment's trials are each run once, whoever runs them and whoever dies; what coders write stays."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.archive import Archive, ArchiveError, NewTake, VisitRecord
from db.audience import AnnotationRecord, ExperimentRecord, NewTranscript, TurnRecord

FROZEN = ExperimentRecord(name="bells", hash="a" * 64, design={"repeats": 50}, files={"bells.toml": "b" * 64})

#: Claims all trials of an experiment, as soon as it is told to, and says which it got; after its first one it waits to
#: be told again, so that each of two processes has one before they race for the others.
CLAIMS = """
import sys
from db.archive import Archive
archive = Archive.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
first = ""
for number in range(int(sys.argv[3])):
    if archive.studies.claim(sys.argv[2], number, {"place": number}):
        archive.studies.finish(sys.argv[2], number, {"by": "me"}, {"tokens": 2})
        print(number, flush=True)
        first = first or sys.stdin.readline() or "over"
"""

#: Runs trial 0, and does not come to its end.
RUNS = """
import sys, time
from db.archive import Archive, VisitRecord
from db.audience import NewTranscript, TurnRecord
archive = Archive.open(sys.argv[1])
assert archive.studies.claim(sys.argv[2], 0, {"place": 0})
new = NewTranscript(visitor="random", seed=1, experiment_id=sys.argv[2], trial=0)
transcript = archive.visiting.begin_transcript(new)
archive.add_visit(VisitRecord(take_id=sys.argv[3], visitor="random", seed=1, transcript_id=transcript, room=0))
print(transcript, flush=True)
for number in range(100_000):
    archive.visiting.add_turns(transcript, [TurnRecord(number=number, command="wait", observation="a hum")])
    print(number, flush=True)
time.sleep(600)
"""


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


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


def visited(archive: Archive, experiment: str | None, trial: int | None, *takes: str) -> str:
    """The transcript of a visit to some takes, as a trial's process makes it."""
    new = NewTranscript(visitor="random", seed=1, experiment_id=experiment, trial=trial)
    transcript_id = archive.visiting.begin_transcript(new)
    archive.visiting.add_turns(transcript_id, [TurnRecord(number=0, command="", observation="The hall.")])
    for room, take_id in enumerate(takes):
        archive.add_visit(
            VisitRecord(take_id=take_id, visitor="random", seed=1, transcript_id=transcript_id, room=room)
        )
    archive.visiting.end_transcript(transcript_id, "left")
    return transcript_id


def test_an_experiment_is_frozen_once(archive: Archive) -> None:
    first = archive.studies.freeze(FROZEN)
    assert archive.studies.freeze(replace(FROZEN, name="the same")) == first
    second = archive.studies.freeze(replace(FROZEN, hash="c" * 64, design={"repeats": 60}))
    other = archive.studies.freeze(replace(FROZEN, hash="d" * 64, name="drums"))
    found = archive.studies.experiment(first)
    assert replace(found, id="", created="") == FROZEN
    assert [e.id for e in archive.studies.experiments()] == [other, second, first]
    assert [e.id for e in archive.studies.experiments("bells")] == [second, first]
    assert archive.studies.experiment("bells").id == second
    assert archive.studies.experiment("drums").id == archive.studies.experiment(other[:-1]).id == other
    for name in ("", "none", first[:3]):
        with pytest.raises(ArchiveError, match=f"experiments '{name}'"):
            archive.studies.experiment(name)
    made = take(archive)
    assert archive.studies.add_work(first, "calm", made) == made
    assert archive.studies.add_work(first, "calm", take(archive)) == made
    assert (archive.studies.works(first), archive.studies.works(second)) == ({"calm": made}, {})
    with pytest.raises(ArchiveError, match="no take 'none'"):
        archive.studies.add_work(first, "wild", "none")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=(st.text() | st.text("\0\x1b\ud800\uffff0")).filter(str.strip),
    plain=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_what_a_trial_gives_comes_back(archive: Archive, said: str, plain: object) -> None:
    experiment = archive.studies.freeze(replace(FROZEN, hash="e" * 64))
    first = len(archive.studies.trials(experiment))
    for number in (first, first + 1):
        assert archive.studies.claim(experiment, number, {"of": plain})
    archive.studies.finish(experiment, first, {"gave": plain}, {"tokens": 7, "model": said})
    archive.studies.fail(experiment, first + 1, said)
    done, failed = archive.studies.trials(experiment)[-2:]
    assert (done.factors, done.outcome, done.cost) == ({"of": plain}, {"gave": plain}, {"tokens": 7, "model": said})
    assert (done.status, done.attempts, done.lost, done.error) == ("done", 1, False, None)
    assert (failed.status, failed.error, failed.outcome) == ("failed", said, None)
    number = archive.studies.deviate(experiment, "Ada", said, {"was": plain})
    deviation = archive.studies.deviations(experiment)[-1]
    assert (deviation.number, deviation.author, deviation.text) == (number, "Ada", said)
    assert (deviation.changes, number) == ({"was": plain}, len(archive.studies.deviations(experiment)))


def test_two_processes_share_fifty_trials(archive: Archive) -> None:
    experiment = archive.studies.freeze(FROZEN)
    with child(CLAIMS, archive.where, experiment, 50) as one, child(CLAIMS, archive.where, experiment, 50) as two:
        both = (one, two)
        assert [hear(process) for process in both] == ["ready", "ready"]
        for process in both:
            say(process, "go")
        claimed = [[int(hear(process))] for process in both]
        for process in both:
            say(process, "go on")
        for process, had in zip(both, claimed, strict=True):
            while line := hear(process):
                had.append(int(line))
    assert sorted(claimed[0] + claimed[1]) == list(range(50))
    trials = archive.studies.trials(experiment)
    assert [(t.number, t.status, t.attempts) for t in trials] == [(n, "done", 1) for n in range(50)]
    assert not any(archive.studies.claim(experiment, n, {"place": n}) for n in range(50))
    assert sum((t.cost or {})["tokens"] for t in trials) == 100


def test_a_killed_trial_is_begun_anew_by_one_and_nothing_is_doubled(archive: Archive) -> None:
    experiment, attended = archive.studies.freeze(FROZEN), take(archive)
    with child(RUNS, archive.where, experiment, attended) as process:
        transcript_id = hear(process)
        last = [int(hear(process)) for _ in range(30)][-1]
        assert not archive.studies.claim(experiment, 0, {"place": 0})
        for end in (lambda: archive.studies.finish(experiment, 0, {}), lambda: archive.studies.fail(experiment, 0, "")):
            with pytest.raises(ArchiveError, match=r"trial 0 .* not this process's"):
                end()
        with pytest.raises(ArchiveError, match=r"trial 0 .* not this process's"):
            archive.visiting.begin_transcript(NewTranscript(visitor="x", seed=1, experiment_id=experiment, trial=0))
        assert not archive.studies.trials(experiment)[0].lost
    left = archive.visiting.transcript(transcript_id)  # what was committed is there
    assert [turn.number for turn in left.turns] == list(range(len(left.turns)))
    assert len(left.turns) > last
    assert archive.studies.trials(experiment)[0].lost
    assert [visit.transcript_id for visit in archive.visits(attended)] == [transcript_id]
    assert archive.check().broken_off == (transcript_id,)
    with pytest.raises(ArchiveError, match="begun with other factors: write a deviation"):
        archive.studies.claim(experiment, 0, {"place": 1})
    # Two try at once: one of them has it.
    with child(CLAIMS, archive.where, experiment, 1) as one, child(CLAIMS, archive.where, experiment, 1) as two:
        assert [hear(process) for process in (one, two)] == ["ready", "ready"]
        told = [process.communicate("go\n")[0] for process in (one, two)]
    assert sorted(told) == ["", "0\n"]
    (trial,) = archive.studies.trials(experiment)
    assert (trial.status, trial.attempts, trial.lost) == ("done", 2, False)
    assert archive.visiting.transcripts(experiment=experiment) == archive.visits(attended) == []
    with sqlite3.connect(archive.where) as database:
        assert database.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    assert archive.check().clean


def test_a_failed_trial_may_be_tried_again_unless_somebody_wrote_about_it(archive: Archive) -> None:
    experiment, attended = archive.studies.freeze(FROZEN), take(archive)
    transcripts = []
    for number in (0, 1):
        assert archive.studies.claim(experiment, number, {"of": 1})
        transcripts.append(visited(archive, experiment, number, attended))
        archive.studies.fail(experiment, number, "the server is down", {"tokens": 5, "model": "a"})
    archive.studies.annotate(AnnotationRecord(transcript_id=transcripts[1], author="Ada", kind="fact", tag="refusal"))
    for number in (0, 1):
        assert not archive.studies.claim(experiment, number, {"of": 1})
    assert not archive.studies.claim(experiment, 1, {"of": 1}, failed=True)
    archive.studies.deviate(experiment, "Ada", "the server is another", {"of": 2})
    assert archive.studies.claim(experiment, 0, {"of": 2}, failed=True)
    with pytest.raises(ArchiveError, match="is running: it can be left out later"):
        archive.studies.exclude(experiment, 0, "no")
    again = visited(archive, experiment, 0, attended)
    archive.studies.finish(experiment, 0, {"right": True}, {"tokens": 4, "model": "b"})
    archive.studies.exclude(experiment, 1, "refused throughout")
    done, excluded = archive.studies.trials(experiment)
    assert (done.attempts, done.cost, done.error, done.factors) == (2, {"tokens": 9, "model": "b"}, None, {"of": 2})
    assert (excluded.status, excluded.error) == ("excluded", "refused throughout")
    assert [t.id for t in archive.visiting.transcripts(experiment=experiment)] == [again, transcripts[1]]
    assert [t.id for t in archive.visiting.transcripts(experiment=experiment, trial=0)] == [again]
    assert [v.transcript_id for v in archive.visits(attended)] == [again, transcripts[1]]
    assert [t.number for t in archive.studies.trials(experiment, "done")] == [0]
    for act in (
        lambda: archive.studies.claim("none", 0, {}),
        lambda: archive.studies.trials("none"),
        lambda: archive.studies.unblind("none", "Ada"),
    ):
        with pytest.raises(ArchiveError, match="no experiment 'none'"):
            act()
    with pytest.raises(ArchiveError, match=r"trial 7 .* was not begun"):
        archive.studies.finish(experiment, 7, {})
    with pytest.raises(ArchiveError, match="trial -1: allowed are whole numbers from 0"):
        archive.studies.claim(experiment, -1, {})


def test_annotations_are_blind_until_their_author_unblinds_and_never_change(archive: Archive) -> None:
    experiment = archive.studies.freeze(FROZEN)
    assert archive.studies.claim(experiment, 0, {})
    inside, outside = visited(archive, experiment, 0), visited(archive, None, None)
    note = AnnotationRecord(transcript_id=inside, turn=0, author="Ada", kind="fact", tag="Idle", text="it waits \0\x1b")
    with pytest.raises(ArchiveError, match=r"trial 0 .* is running: write later"):
        archive.studies.annotate(note)
    archive.studies.finish(experiment, 0, {})
    ids = [archive.studies.annotate(note)]
    archive.studies.unblind(experiment, "Ada")
    archive.studies.unblind(experiment, "Ada")
    meant = replace(note, kind="interpretation", turn=None, text="it is bored", blind=True)
    ids += [archive.studies.annotate(meant), archive.studies.annotate(replace(meant, author="Grace"))]
    ids.append(archive.studies.annotate(replace(meant, transcript_id=outside)))
    found = archive.studies.annotations()
    assert [(a.id, a.blind, a.tag) for a in found] == list(
        zip(ids, [True, False, True, False], ["idle"] * 4, strict=True)
    )
    assert replace(found[0], id="", created="", blind=False) == replace(note, tag="idle")
    archive.studies.withdraw(ids[0])
    (withdrawn, *rest) = archive.studies.annotations(withdrawn=True)
    assert (rest, replace(withdrawn, withdrawn=None)) == (found[1:], found[0])
    archive.studies.withdraw(ids[0])
    assert archive.studies.annotations(withdrawn=True)[0] == withdrawn

    def those(**wanted: Any) -> list[str]:
        return [a.id for a in archive.studies.annotations(**wanted)]

    assert (those(), those(experiment=experiment), those(transcript=outside)) == (ids[1:], ids[1:3], ids[3:])
    assert (those(author="Grace"), those(kind="fact"), those(tag="IDLE"), those(tag="x")) == ([ids[2]], [], ids[1:], [])
    assert [u.coder for u in archive.studies.unblindings(experiment)] == ["Ada"]
    for wrong, line in (
        ({"turn": 1}, "has no turn 1"),
        ({"transcript_id": "none"}, "no transcript 'none'"),
        ({"author": " "}, "say who you are"),
        ({"author": "A\x1b[2J"}, "say who you are"),
        ({"tag": "two words"}, "allowed is one word"),
    ):
        with pytest.raises(ArchiveError, match=line):
            archive.studies.annotate(replace(note, **wrong))  # type: ignore[arg-type]
    assert those(withdrawn=True) == ids


def test_a_trial_that_is_kept_goes_on_where_it_was_and_any_other_begins_anew(archive: Archive) -> None:
    experiment, made = archive.studies.freeze(FROZEN), take(archive)
    assert archive.studies.claim(experiment, 0, {})
    told = visited(archive, experiment, 0, made)
    for tokens in (5, 7):  # what is noted is all so far, and no sum
        archive.studies.note(experiment, 0, {"rounds": [tokens]}, {"tokens": tokens})
    (trial,) = archive.studies.trials(experiment)
    assert (trial.status, trial.outcome, trial.cost) == ("running", {"rounds": [7]}, {"tokens": 7})
    archive.studies.fail(experiment, 0, "no answer")
    with pytest.raises(ArchiveError, match="is failed, and not this process's: claim it"):
        archive.studies.note(experiment, 0, {}, {})
    assert archive.studies.claim(experiment, 0, {}, failed=True, keep=True)
    (trial,) = archive.studies.trials(experiment)
    assert (trial.status, trial.attempts, trial.outcome) == ("running", 2, {"rounds": [7]})
    assert [t.id for t in archive.visiting.transcripts()] == [told]
    archive.studies.fail(experiment, 0, "no answer")
    assert archive.studies.claim(experiment, 0, {}, failed=True)
    (trial,) = archive.studies.trials(experiment)
    assert (trial.attempts, trial.outcome, trial.cost) == (3, None, {"tokens": 7})
    assert archive.visiting.transcripts() == []


def test_gc_leaves_what_studies_rest_on_and_a_transcript_goes_with_its_last_take(archive: Archive) -> None:
    experiment = archive.studies.freeze(FROZEN)
    studied, work, alone, coded, shared = (take(archive, retention="scratch") for _ in range(5))
    kept = take(archive)
    archive.studies.add_work(experiment, "calm", work)
    assert archive.studies.claim(experiment, 0, {})
    stay = [visited(archive, experiment, 0, studied)]
    archive.studies.finish(experiment, 0, {})
    go = visited(archive, None, None, alone)
    stay += [
        visited(archive, None, None, coded),
        visited(archive, None, None, shared, kept),
        visited(archive, None, None),
    ]
    archive.studies.annotate(AnnotationRecord(transcript_id=stay[1], author="Ada", kind="fact", tag="idle"))
    expected = archive.gc(scratch_age_days=1, scratch_quota_bytes=-1, dry_run=True)
    assert len(archive.visiting.transcripts()) == 5
    report = archive.gc(scratch_age_days=1, scratch_quota_bytes=-1)
    assert report == expected
    assert (set(report.takes), report.transcripts) == ({alone, coded, shared}, 1)
    assert "1 transcripts" in str(report)
    assert [t.id for t in archive.visiting.transcripts()] == stay[::-1]
    with pytest.raises(ArchiveError, match=f"no transcript '{go}'"):
        archive.visiting.transcript(go)
    for held in (studied, work):
        with pytest.raises(ArchiveError, match=f"take {held} belongs to an experiment"):
            archive.discard(held)
    archive.discard(kept, kept=True)
    assert [t.id for t in archive.visiting.transcripts()] == [stay[3], stay[1], stay[0]]
    assert archive.check().clean
