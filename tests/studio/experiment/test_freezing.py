"""Freezing: what a study was, and that no change of it goes unnoticed."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import pytest

from db.archive import Archive
from pieces.piece import find_piece
from studio.compose import compose
from studio.experiment.analysis import analysed
from studio.experiment.design import StudyError
from studio.experiment.freezing import (
    changes,
    content,
    design_of,
    deviate,
    digest,
    freeze,
    frozen_design,
    namesakes,
    secret_of,
    standing,
)
from studio.experiment.report import write
from studio.experiment.sample import gathered
from studio.experiment.trials import trials
from studio.plan import plan
from tests.studio.experiment.studying import study, write_piece, write_visitors


@pytest.fixture(autouse=True)
def hearing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(write_visitors(tmp_path / "visitors")))
    yield
    sys.modules.pop("hearing", None)


@pytest.fixture
def archive(tmp_path):
    write_piece(tmp_path)
    with Archive.open(tmp_path / "a.db") as archive:
        yield archive


def test_a_study_is_frozen_once_and_stands(archive, tmp_path):
    path = study(tmp_path)
    with pytest.raises(StudyError, match=r"study\.toml: 'test study' is not frozen: descant experiment freeze"):
        standing(archive, path)
    record = freeze(archive, path)
    assert freeze(archive, path) == record
    assert len(archive.studies.experiments()) == 1
    found, design = standing(archive, path)
    assert found == record
    assert design_of(archive, record.id)[1] == design == design_of(archive, "test study")[1]
    assert record.hash == digest({name: value for name, value in record.design.items() if name != "secret"})
    assert set(record.files) == {"secret.toml: melody.source code"}
    frozen = json.dumps(record.design)
    for text in ("Visitors choose a work as it is.", "prefer/shuffled", "You look for what changes.", "moments"):
        assert text in frozen
    assert "Which of them do you prefer?" in frozen
    assert record.design["rules"]["stretch"] == 4
    assert record.design["pieces"]["secret.toml"]["parts"]["melody"]["rate"] == 8


def test_a_secret_is_drawn_once_and_is_no_change(archive, tmp_path):
    path = study(tmp_path)
    record = freeze(archive, path)
    secret = secret_of(record)
    assert re.fullmatch("[0-9a-f]{32}", secret)
    assert secret_of(freeze(archive, path)) == secret == secret_of(standing(archive, path)[0])
    study(tmp_path, rest="moments = 4\nrepeats = 3")
    deviate(archive, path, "Ada", "too few trials")
    assert secret_of(standing(archive, path)[0]) == secret
    assert "secret" not in json.dumps(archive.studies.deviations(record.id)[0].changes["changed"])
    # Elsewhere the same file is the same study, with another secret.
    with Archive.open(tmp_path / "b.db") as other:
        again = freeze(other, study(tmp_path))
    assert again.hash == record.hash
    assert secret_of(again) != secret
    bare = replace(record, design={name: value for name, value in record.design.items() if name != "secret"})
    with pytest.raises(StudyError, match="test study: frozen without a secret"):
        secret_of(bare)


def test_how_it_is_written_and_by_how_many_it_is_run_is_no_change(archive, tmp_path):
    record = freeze(archive, study(tmp_path))
    path = study(tmp_path, more="# a comment\n\n[budget]\nworkers = 7")
    assert standing(archive, path)[0] == record
    assert standing(archive, path)[1].budget.workers == 7


CHANGES = [
    ({"rest": "moments = 4\nrepeats = 2"}, "design.repeats was 1 and is 2"),
    ({"hypotheses": '[hypotheses]\nH1 = "They do not."'}, "design.hypotheses.H1 was .Visitors choose"),
    ({"arms": 'arms = { neutral = "" }'}, "design.arms.moving was .You look.* and is null"),
    ({"more": "[exclusions]\nmax_flips = 0.5"}, "design.exclusions.max_flips was null and is 0.5"),
    ({"more": "[stopping]\ntrials = 3"}, "design.stopping.trials was null and is 3"),
    ({"more": "[budget]\nmax_cost = 3"}, "design.budget.max_cost was null and is 3.0"),
    ({"analysis": '[analysis]\nprimary = ["prefer/shuffled"]\nmargin = 0.2'}, "design.analysis.margin was 0.05"),
]


def test_a_changed_study_does_not_stand_and_the_line_names_the_change(archive, tmp_path):
    path = study(tmp_path)
    freeze(archive, path)
    for change, line in CHANGES:
        study(tmp_path, **change)
        with pytest.raises(StudyError, match=line) as error:
            standing(archive, path)
        assert "\n" not in str(error.value)
        assert "log a deviation" in str(error.value)
    study(tmp_path)
    standing(archive, path)


def test_a_change_of_what_it_is_made_of_is_noticed(archive, tmp_path, monkeypatch):
    path = study(tmp_path)
    freeze(archive, path)
    source, piece = tmp_path / "secret.py", tmp_path / "secret.toml"
    for file, line in (
        (source, "files.secret.toml: melody.source code was"),
        (piece, "pieces.secret.toml.parts.melody.rate was 8.0 and is 9.0"),
    ):
        text = file.read_text()
        file.write_text(text.replace("rate = 8", "rate = 9") if file == piece else text + "\n# later\n")
        with pytest.raises(StudyError, match=line):
            standing(archive, path)
        file.write_text(text)
    standing(archive, path)
    monkeypatch.setattr("studio.config.versions", lambda: {"descant": "9.9"})
    with pytest.raises(StudyError, match=r'descant was .* and is "9.9"'):
        standing(archive, path)


def test_wordings_and_scripts_are_frozen(archive, tmp_path, monkeypatch):
    script = tmp_path / "script.txt"
    script.write_text("listen on\n")
    path = study(tmp_path, audiences=f'[[audiences]]\nname = "s"\nvisitor = "scripted:{script}"')
    freeze(archive, path)
    script.write_text("listen on\nsay yes\n")
    with pytest.raises(StudyError, match=r"audiences\.s was .sha256:.* and is .sha256:"):
        standing(archive, path)
    script.write_text("listen on\n")
    from studio.audience.wording import WORDINGS

    monkeypatch.setitem(WORDINGS, "plain", replace(WORDINGS["plain"], prefer="Surely the first?"))
    with pytest.raises(StudyError, match=r"wordings.plain.prefer was .* and is .Surely the first"):
        standing(archive, path)
    script.unlink()
    with pytest.raises(StudyError, match=r"audience 's': .*No such file"):
        standing(archive, path)


def test_weights_and_libraries_are_frozen(archive, tmp_path, monkeypatch):
    """A model that is swapped under its name is another one, and so is the same one in another library."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(b"one")
    path = study(tmp_path, audiences=f'[[audiences]]\nname = "m"\nvisitor = "hf:{model}"')
    record = freeze(archive, path)
    assert record.design["audiences"]["m"].startswith("sha256:")
    assert set(record.design["libraries"]) == {"tokenizers", "torch", "transformers"}
    standing(archive, path)
    weights.write_bytes(b"two")
    with pytest.raises(StudyError, match=r"audiences\.m was .sha256:.* and is .sha256:"):
        standing(archive, path)
    weights.write_bytes(b"one")
    standing(archive, path)
    monkeypatch.setattr("studio.experiment.freezing.version", lambda name: "9.9")
    with pytest.raises(StudyError, match=r'libraries.tokenizers was .* and is "9.9"; libraries.torch was'):
        standing(archive, path)
    weights.unlink()
    with pytest.raises(StudyError, match="audience 'm': ") as error:
        standing(archive, path)
    assert "\n" not in str(error.value)
    # Of visitors that come in a package, its version is frozen.
    assert freeze(archive, study(tmp_path)).design["audiences"] == {"small one": "package:hearing 1.0"}


def test_what_was_frozen_under_the_same_name_is_told(archive, tmp_path):
    path = study(tmp_path)
    first = freeze(archive, path)
    assert namesakes(archive, first) == ()
    for trial, target in zip(trials(frozen_design(first), secret_of(first))[:3], (True, False, None), strict=True):
        assert archive.studies.claim(first.id, trial.number, trial.to_json())
        if target is None:
            archive.studies.fail(first.id, trial.number, "no answer")
        else:
            archive.studies.finish(first.id, trial.number, {"target": target})
    second = freeze(archive, study(tmp_path, analysis='[analysis]\nprimary = ["prefer/shuffled"]\nmargin = 0.2'))
    (told,) = namesakes(archive, second)
    assert (told.id, told.hash, told.planned, told.done, told.failed) == (first.id, first.hash, 16, 2, 1)
    assert str(told) == f"{first.created[:10]}, {first.hash[:12]}: 2 of 16 trials done, 1 failed"
    assert gathered(archive, second.id).namesakes == (told,)
    assert [one.id for one in namesakes(archive, first)] == [second.id], "what came after it is told, too"
    # And whoever goes back to the file of the first one goes on with that.
    assert standing(archive, study(tmp_path))[0] == first


def test_a_listener_is_told_what_it_reads(archive, tmp_path):
    audiences = '[[audiences]]\nname = "l"\nvisitor = "listener"\nregisters = ["prose"]'
    with pytest.raises(StudyError, match="audience 'l': registers prose: the listener reads tokens alone"):
        freeze(archive, study(tmp_path, audiences=audiences))
    freeze(archive, study(tmp_path, audiences=audiences.replace("prose", "tokens")))


def test_what_a_file_says_is_shown_without_what_can_harm(archive, tmp_path):
    path = study(tmp_path)
    freeze(archive, path)
    study(tmp_path, hypotheses='[hypotheses]\nH1 = "\\u202Eevil\\u009B31m"')
    with pytest.raises(StudyError, match=r"is .evil31m.") as error:
        standing(archive, path)
    assert str(error.value).isprintable()


def test_exclusions_and_ends_that_were_changed_later_leave_the_analysis_as_it_was_frozen(archive, tmp_path):
    """Whoever sees the data, and then excludes what does not fit, is told beside what was frozen."""
    works = "\n".join(f'[[works]]\nname = "w{i}"\npiece = "secret.toml"\nseed = {i}' for i in (1, 2, 3))
    rules = "[exclusions]\nmax_flips = 0.6\n[stopping]\ntrials = 20"
    path = study(tmp_path, works=works, more=rules)
    record = freeze(archive, path)

    def run(design, first: int) -> None:
        for trial in trials(design, secret_of(record))[first:]:
            assert archive.studies.claim(record.id, trial.number, trial.to_json())
            target = trial.number % 2 == 0
            result = {"target": target, "first_shown": trial.side == 0, "chance": 0.5, "dropped": trial.number // 19}
            archive.studies.finish(record.id, trial.number, result | {"flips": 0.2 if target else 0.4})

    run(frozen_design(record), 0)
    before = analysed(gathered(archive, record.id), 200)
    # Of 24 trials 19 are kept: from the 20th on a prompt was cut, and from the 21st on they are more than were stated.
    left_out = {"max_dropped = 0": 1, "stopping.trials = 20 was reached": 4}
    assert before.counts.excluded == left_out
    assert (before.counts.analysed, before.deviating) == (19, ())
    later = rules.replace("0.6", "0.3\nmax_dropped = 9").replace("20", "99")
    wide = '[analysis]\nprimary = ["prefer/shuffled"]\nmargin = 0.4'
    study(tmp_path, works=works, more=later, rest="moments = 4\nrepeats = 2", analysis=wide)
    deviate(archive, path, "Ada", "these did not fit")
    run(standing(archive, path)[1], 24)
    after = analysed(gathered(archive, record.id), 200)
    assert after.findings == before.findings
    assert after.counts.excluded == {**left_out, "added by a deviation": 24}
    assert after.study.analysis.margin == 0.05
    (changed,) = after.deviating
    assert (changed.outcome, changed.estimate.value, changed.verdict) == ("prefer/shuffled", 1.0, "measured")
    assert changed.estimate.trials == 24
    assert before.findings[0].estimate.value == pytest.approx(0.5, abs=0.1)
    text = (write(after, tmp_path / "out")[1]).read_text().replace("\\", "")
    assert "Ada: these did not fit" in text
    assert "design.exclusions.max_flips" in text
    assert "max_flips = 0.6" in text
    assert "max_flips = 0.3" not in text


def test_a_take_is_frozen_by_its_signals(archive, tmp_path):
    piece, base = find_piece(str(tmp_path / "secret.toml"))
    take = compose(archive, plan("secret", piece, base), 3)
    path = study(tmp_path, works=f'[[works]]\nname = "there"\ntake = "{take[-12:]}"')
    with pytest.raises(StudyError, match="work 'there': no take"):
        freeze(archive, path)
    path = study(tmp_path, works=f'[[works]]\nname = "there"\ntake = "{take}"')
    assert freeze(archive, path).design["takes"] == {take: archive.take(take).signals_hash}


def test_a_deviation_is_logged_and_lets_it_go_on(archive, tmp_path):
    path = study(tmp_path)
    record = freeze(archive, path)
    with pytest.raises(StudyError, match="nothing has changed"):
        deviate(archive, path, "Ada", "why not")
    study(tmp_path, rest="moments = 4\nrepeats = 3")
    assert deviate(archive, path, "Ada", "too few trials") == 1
    assert standing(archive, path)[0] == record
    assert standing(archive, path)[1].repeats == 3 == design_of(archive, record.id)[1].repeats
    (logged,) = archive.studies.deviations(record.id)
    assert (logged.author, logged.text) == ("Ada", "too few trials")
    assert logged.changes["changed"] == {"design.repeats": [1, 3]}
    study(tmp_path, rest="moments = 4\nrepeats = 4")
    with pytest.raises(StudyError, match=r"design.repeats was 3 and is 4"):
        standing(archive, path)
    study(tmp_path)
    with pytest.raises(StudyError, match=r"design.repeats was 3 and is 1"):
        standing(archive, path)
    with pytest.raises(Exception, match="say who you are"):
        deviate(archive, path, " ", "why")
    with pytest.raises(Exception, match="say why"):
        deviate(archive, path, "Ada", " ")


def test_what_was_run_must_be_a_part_of_the_changed_study(archive, tmp_path):
    path = study(tmp_path)
    record = freeze(archive, path)
    first = trials(standing(archive, path)[1], secret_of(record))[0]
    assert archive.studies.claim(record.id, 0, first.to_json())
    archive.studies.finish(record.id, 0, {"target": True})
    study(tmp_path, head='descant = 1\nname = "test study"\nseed = 2')
    with pytest.raises(StudyError, match="trial 0, which was run, is none of it any more"):
        deviate(archive, path, "Ada", "another seed")
    study(tmp_path, rest="moments = 4\nrepeats = 2")
    assert deviate(archive, path, "Ada", "more of it") == 1


def test_changes_are_named_by_their_paths(archive, tmp_path):
    one = {"a": {"b": [1, 2], "c": []}, "d": None}
    other = {"a": {"b": [1, 3, 4]}, "d": None, "e": "x"}
    assert changes(one, other) == {"a.b.1": (2, 3), "a.b.2": (None, 4), "a.c": ([], None), "e": (None, "x")}
    assert changes(one, json.loads(json.dumps(one))) == {}
    from studio.experiment.design import read

    found = content(read(study(tmp_path)), tmp_path, archive)
    assert changes(found, found) == {}
