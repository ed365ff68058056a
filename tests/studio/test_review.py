"""Reviewing: what coders see, blind and not; that visits can be told again; notes."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.archive import Archive
from pieces.errors import DescantError
from studio.audience.gallery import Gallery
from studio.retelling import Moment, Reteller, retold, retraced, saved
from studio.review import OUTSIDE, Review, Wanted, bar, choices, seen_text
from tests.studio.experiment.studying import write_visitors
from tests.studio.reviewing import PLANTED, make_archive


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An archive with visits, and its study."""
    folder = tmp_path_factory.mktemp("reviewing")
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(write_visitors(tmp_path_factory.mktemp("visitors"))))
    patch.setenv("DESCANT_HOME", str(folder / "home"))
    yield make_archive(folder)
    patch.undo()
    sys.modules.pop("hearing", None)


@pytest.fixture
def archive(made, tmp_path):
    """An archive of one's own: the media are shared, and not written."""
    (tmp_path / "archive.db").write_bytes(made[0].read_bytes())
    for beside in made[0].parent.iterdir():
        if beside.is_dir() and not (tmp_path / beside.name).exists():
            (tmp_path / beside.name).symlink_to(beside)
    with Archive.open(tmp_path / "archive.db") as found:
        yield found


def study_of(archive: Archive) -> str:
    return archive.studies.experiments()[0].id


def everything(review: Review) -> str:
    """All that a coder is shown, in all ways."""
    told = []
    for row in review.listed():
        seen = review.seen(row.id)
        told += [json.dumps(dataclasses.asdict(row)), json.dumps(seen.to_json()), seen_text(seen)]
    return "\n".join(told)


def test_blind_coders_are_told_no_name_until_they_unblind(archive):
    study = study_of(archive)
    ann, bob = Review(archive, study, "ann"), Review(archive, study, "bob")
    assert len(ann.listed()) == 4
    assert [name for name in PLANTED if name in everything(ann)] == []
    bob.unblind(study)
    assert [u.coder for u in archive.studies.unblindings(study)] == ["bob"]
    assert [name for name in PLANTED if name not in everything(bob)] == ["SECRETpiece"]  # a piece is never told
    assert [name for name in PLANTED if name in everything(ann)] == []
    assert [name for name in PLANTED if name in everything(Review(archive, study))] == []


def test_what_those_write_who_are_not_blind_is_not_read_by_those_who_are(archive):
    study = study_of(archive)
    ann, bob = Review(archive, study, "ann"), Review(archive, study, "bob")
    visit = ann.listed()[0].id
    ann.note(visit, "fact", "seen", "it chose the third")
    bob.unblind(study)
    bob.note(visit, "interpretation", "cause", "because of SECRETarm", 0)
    assert [(n.tag, n.blind) for n in ann.seen(visit).notes] == [("seen", True)]
    assert "SECRETarm" not in everything(ann)
    told = bob.seen(visit)
    assert [(n.kind, n.author) for n in (*told.notes, *told.steps[0].notes)] == [
        ("fact", "ann"),
        ("interpretation", "bob"),
    ]
    assert [row.id for row in bob.listed(Wanted(tag="cause"))] == [visit]
    assert ann.listed(Wanted(tag="cause")) == []


def test_lists_are_narrowed_but_not_by_what_is_hidden(archive):
    study = study_of(archive)
    ann = Review(archive, study, "ann")
    assert len(ann.listed(Wanted(ended="answered"))) == 3
    assert [row.ended for row in ann.listed(Wanted(ended="broken off"))] == ["broken off"]
    assert len(ann.listed(Wanted(text="1 moment."))) == 1
    with pytest.raises(DescantError, match="you are blind to audiences and conditions"):
        ann.listed(Wanted(audience="SECRETaudience"))
    ann.unblind(study)
    assert len(ann.listed(Wanted(audience="SECRETaudience", condition="shuffled"))) == 4
    assert ann.listed(Wanted(condition="sham")) == []


def test_lists_are_narrowed_by_study_and_by_how_visits_went(archive):
    study, ann = study_of(archive), Review(archive, author="ann")
    rows = ann.listed()
    assert len(rows) == 5
    found = choices(rows)
    assert dict(found.studies) == {study: "test study", OUTSIDE: OUTSIDE}
    assert (found.audiences, found.conditions) == (("random",), ()), "nothing of those to which she is blind"
    assert {row.experiment for row in ann.listed(Wanted(study=study))} == {study}
    assert [row.who for row in ann.listed(Wanted(study=OUTSIDE))] == ["random"]
    assert [row.who for row in ann.listed(Wanted(audience="random"))] == ["random"]
    with pytest.raises(DescantError, match="you are blind"):
        ann.listed(Wanted(audience="random", study=study))
    assert [row.ended for row in ann.listed(Wanted(ended="failed"))] == ["broken off"]
    assert len(ann.listed(Wanted(ended="well"))) == 4
    ann.unblind(study)
    seen = choices(ann.listed())
    assert (seen.audiences, seen.conditions) == (("SECRETaudience", "random"), ("shuffled",))


def test_what_a_trial_took_is_told_of_failed_ones_too_but_not_to_the_blind(archive):
    study, ann = study_of(archive), Review(archive, author="ann")
    broken = ann.listed(Wanted(ended="failed"))[0].id
    told = seen_text(ann.seen(broken))
    assert [fact for fact in ("tokens 12", "latency", "retries", "in all", "seed") if fact in told] == []
    ann.unblind(study)
    told = seen_text(ann.seen(broken))
    assert [line.split() for line in told.splitlines() if " in all " in line] == [
        ["tokens", "in", "all", "69"],  # of which 12 were for a decision that did not fail
        ["cost", "in", "all", "0.004"],
    ]
    assert "tokens 12 · latency 0.25 s · flips 1 · way SECRETmodel · retries 0" in told
    at = told.index("shown as: four 0.4")
    assert [" ".join(line.split()) for line in told[at:].splitlines()[:2]] == [
        "shown as: four 0.4, one 0.6",
        "shown as: one 0.5, four 0.5",
    ]
    known = ann.seen(next(row.id for row in ann.listed(Wanted(ended="answered")))).listed.known
    assert known["tokens"] == 10
    assert known["cost"] == 0.5


def test_sounds_and_pictures_of_a_visit_are_written(archive, tmp_path):
    import soundfile
    from PIL import Image

    visit = next(row for row in Review(archive).listed() if row.ended == "answered")
    heard = [step for step in Review(archive).seen(visit.id).steps if step.count]
    paths = saved(archive, visit.id, tmp_path / "out")
    assert [path.name for path in paths] == [f"turn-{step.number}.{kind}" for step in heard for kind in ("wav", "png")]
    sound, rate = soundfile.read(paths[0])
    assert len(sound) / rate == 0.5 * heard[0].count
    assert np.abs(sound).max() > 0.01
    with Image.open(paths[1]) as strip:
        assert strip.size == (128 * heard[0].count, 72)
        assert np.asarray(strip).max() > 20
    assert len(saved(archive, visit.id, tmp_path / "one", heard[1].number)) == 2
    assert saved(archive, visit.id, tmp_path / "one", 0) == []


def test_nothing_that_a_terminal_would_obey_is_shown(archive):
    told = everything(Review(archive, study_of(archive), "ann"))
    assert [c for c in told if c != "\n" and not c.isprintable()] == []
    assert "evil" in told


def test_a_visit_outside_studies_is_told_with_everything(archive):
    row = next(row for row in Review(archive).listed() if row.experiment is None)
    assert not row.blind
    assert row.known["visitor"] == "random"
    seen = Review(archive).seen(row.id)
    for step in seen.steps:
        for choice in step.decisions:
            assert sum(choice.probabilities) == pytest.approx(1, abs=1e-6)


def test_every_visit_is_told_again_and_one_that_was_changed_is_not(archive):
    gallery = Gallery(archive)
    for row in Review(archive).listed():
        if row.ended in ("left", "moves", "answered"):
            told, different = retraced(archive, row.id, gallery)
            assert (told > 1, different) == (True, [])
    visit = next(row for row in Review(archive).listed() if row.ended == "answered")
    record = archive.visiting.transcript(visit.id)
    again = list(retold(archive, record, gallery))
    for turn, now in zip(record.turns, again, strict=False):
        assert now is not None
        seconds = sum(clip.duration for clip in now.clips)
        assert seconds == pytest.approx(0.5 * (turn.count or 0))
    shuffled = {turn.room: clip.audio for turn, now in zip(record.turns, again, strict=False) for clip in now.clips}
    assert len(shuffled) == 2
    assert (shuffled[0] != shuffled[1]).any(), "what was told is retold, not the take as it is"


def test_a_turn_that_was_changed_afterwards_is_found(archive):
    visit = next(row for row in Review(archive).listed() if row.ended == "answered")
    with archive._database.append() as connection:
        from sqlalchemy import text

        changed = "update turns set observation = 'Work zz: other.' where transcript_id = :id and number = 1"
        connection.execute(text(changed), {"id": visit.id})
    assert retraced(archive, visit.id)[1] == [1]


def test_a_worker_makes_the_moment_of_a_turn(made, archive):
    visit = next(row for row in Review(archive).listed() if row.ended == "answered")
    step = next(step for step in Review(archive).seen(visit.id).steps if step.count)
    reteller = Reteller(str(made[0]))
    try:
        found = reteller.moment(visit.id, step.number).result(60)
        assert isinstance(found, Moment)
        assert found.seconds == 2.0
        assert found.pictures.shape == (32, 72, 128, 3)
        assert found.path.stat().st_size > 100_000
        assert reteller.moment(visit.id, 0).result(60) == "nothing was heard in this turn"
    finally:
        reteller.close()
    assert not found.path.exists()


def test_on_the_command_line_visits_are_listed_narrowed_heard_and_seen(made, tmp_path):
    from click.testing import CliRunner

    from studio.cli import descant

    def said(*words):
        found = CliRunner().invoke(descant, ["--archive", str(made[0]), "experiment", "review", *words])
        assert found.exit_code == 0, found.output
        return found.stdout, found.stderr

    out, aside = said()
    assert out.split("\n")[0].split() == ["id", "study", "who", "wording", "words", "turns", "ended", "when"]
    assert "you are blind to 4 of 5: audience, model, condition" in aside
    assert [name for name in PLANTED if name in out + aside] == []
    out, aside = said("--ended", "failed", "--json")
    (broken,) = json.loads(out)
    assert (broken["ended"], broken["blind"]) == ("broken off", True)
    visit = next(row["id"] for row in json.loads(said("--ended", "answered", "--json")[0]))
    out, _ = said(visit[-6:], "--save", str(tmp_path / "heard"), "--turn", "1")
    assert out.split() == [str(tmp_path / "heard" / f"turn-1.{kind}") for kind in ("wav", "png")]
    assert all((tmp_path / "heard" / f"turn-1.{kind}").stat().st_size > 100 for kind in ("wav", "png"))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=26), st.integers(4, 60))
def test_bars_are_as_long_as_shares_are_large(shares, cells):
    lengths = [len(bar(share, cells)) for share in sorted(shares)]
    assert lengths == sorted(lengths)
    assert len(bar(1.0, cells)) == cells
    assert bar(0.0, cells) == ""
    for share in shares:
        assert abs(len(bar(share, cells)) - share * cells) <= 1


def test_a_transcript_is_found_by_an_end_of_its_id(archive):
    review = Review(archive)
    visit = review.listed()[0].id
    assert review.find(visit[-6:]) == visit
    with pytest.raises(DescantError, match="no transcript 'zzz'"):
        review.find("zzz")
    with pytest.raises(DescantError, match="5 transcripts '0'"):
        review.find("0")
