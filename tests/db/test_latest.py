"""The newest take is the one that somebody made: not what audiences, steerers and studies made beside it."""

from __future__ import annotations

import pytest

from db.archive import Archive, NewTake
from tests.db.test_studies import FROZEN, take, visited


@pytest.fixture
def own(archive: Archive) -> str:
    return take(archive)


@pytest.mark.parametrize(("relation", "aside"), [("touched", "branch"), ("tried", "try")])
def test_what_a_visitor_touched_and_what_was_tried_is_not_the_latest(archive, own, relation, aside):
    of_it = take(archive, parents=[(own, 3, relation)], retention="scratch")
    further = take(archive, parents=[(of_it, 5, relation)], retention="scratch")
    assert archive.take("latest").id == own
    assert [row.id for row in archive.takes(own=True)] == [own]
    assert archive.count(own=True) == 1
    assert [(row.id, row.aside) for row in archive.takes()] == [(further, aside), (of_it, aside), (own, None)]
    archive.retain(of_it, "kept")
    assert archive.take("latest").id == of_it, "somebody wanted it"


@pytest.mark.parametrize("relation", ["branch", "steered", "trim", "material"])
def test_what_somebody_made_of_a_take_is(archive, own, relation):
    made = take(archive, parents=[(own, 3, relation)], retention="scratch")
    assert archive.take("latest").id == made
    assert archive.takes(own=True)[0].aside is None


def test_what_a_study_made_is_not_and_what_it_was_made_on_still_is(archive, own):
    study = archive.studies.freeze(FROZEN)
    work, round_ = take(archive), take(archive)
    archive.studies.add_work(study, "own", own)
    archive.studies.add_work(study, "made", work)
    assert archive.studies.claim(study, 0, {"task": "visit"})
    visited(archive, study, 0, round_, own)
    assert archive.take("latest").id == own
    assert [row.aside for row in archive.takes()] == ["study", "study", None]
    after = take(archive)
    visited(archive, None, None, after)
    assert archive.take("latest").id == after


def test_what_is_not_finished_is_the_latest_only_where_nothing_is(archive):
    begun = archive.begin(NewTake(piece_name="p", piece={}, piece_hash="0", seed=1, parts=[("fit", 20.0)]))
    assert archive.take("latest").id == begun.take_id
    done = take(archive)
    archive.begin(NewTake(piece_name="p", piece={}, piece_hash="0", seed=1, parts=[("fit", 20.0)])).interrupt()
    assert archive.take("latest").id == done
    begun.fail("it broke")
    assert archive.take("latest").id == done
