"""What is exported is all that was decided, the same in all formats, and no secret."""

import json
import string

import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.archive import Archive
from db.audience import AnnotationRecord, ExperimentRecord, NewTranscript, TurnRecord
from pieces.errors import DescantError
from studio.audience.visitor import invite
from studio.experiment.analysis import analysed
from studio.experiment.exporting import CODEBOOK, ESTIMATES, FORMATS, TRIALS, TURNS, export, read, write
from studio.experiment.report import report
from studio.experiment.sample import gathered
from studio.experiment.trials import trials
from studio.experiment.verdicts import sentence
from tests.studio.experiment.simulated import DRAWS, HEARS, RAW, design, row
from tests.studio.experiment.studying import SECRET

KEY = "sk-" + "".join(chr(ord("a") + i * 7 % 26) for i in range(40))
TABLES = {"trials": TRIALS, "turns": TURNS, "estimates": ESTIMATES, "codebook": CODEBOOK}
SMALL = {
    "audiences": RAW["audiences"][:2],
    "works": RAW["works"][:2],
    "wordings": ["plain"],
    "tasks": [{"task": "prefer", "conditions": ["shuffled", "blind"]}],
    "seed": 2**31 - 1,
}
SAID = '=HYPERLINK("http://evil.example")\n\x1b[31m \u202e "quoted", and more'


#: What stands in a column of a kind.
PYTHON = {"text": str, "json": str, "integer": int, "number": float, "flag": bool}


@pytest.fixture(scope="module")
def archived(tmp_path_factory):
    """An archive with a study of 32 trials, of which one failed; a remote visitor with a key attended them."""
    import numpy as np

    patch = pytest.MonkeyPatch()
    patch.setenv("DESCANT_API_KEY_127.0.0.1".replace(".", "_"), KEY)
    patch.setenv("OPENAI_API_KEY", KEY)
    folder, rules, rng = tmp_path_factory.mktemp("archive"), design(**SMALL), np.random.default_rng(1)
    visitor = invite("openai:some-model@http://127.0.0.1:9/v1", folder)
    with Archive.open(folder / "archive.db") as archive:
        content = {"design": rules.model_dump(mode="json"), "secret": SECRET}
        experiment = archive.studies.freeze(ExperimentRecord(name=rules.name, hash="c" * 64, design=content))
        for trial in trials(rules, SECRET):
            assert archive.studies.claim(experiment, trial.number, trial.to_json())
            of = {"experiment_id": experiment, "trial": trial.number}
            new = NewTranscript(
                visitor=visitor.name, seed=trial.seed, words="numbers", about=dict(visitor.about()), **of
            )
            told = archive.visiting.begin_transcript(new)
            outcome = row(trial, HEARS, rng)
            facts = {"tokens": 12, "retries": 1, "latency_s": 0.25}
            asked = {
                "about": "prefer", "asks": "Which?", "options": ["mira", "rolo"], "probabilities": [0.1, 0.9],
                "chosen": "rolo", "facts": facts,
            }  # fmt: skip
            turns = [TurnRecord(number=0, command="", observation=SAID, room=0, first=0, count=4)]
            turns.append(TurnRecord(number=1, command="", observation="", decisions=(asked,)))
            archive.visiting.add_turns(told, turns)
            archive.visiting.end_transcript(told, "answered", {"progress": None, "verdict": None, "moments": []})
            if trial.number == 5:
                archive.studies.fail(experiment, trial.number, "no answer", {"tokens": 3.0})
                continue
            names = ("chosen", "target", "p_target", "chance", "first_shown", "flips", "latency")
            cost = {"tokens": 12.0, "cost": 0.5, "seconds": 0.25}
            archive.studies.finish(experiment, trial.number, {name: outcome[name] for name in names}, cost)
        note = AnnotationRecord(transcript_id=told, author="Ada", kind="fact", tag="odd", text=SAID)
        archive.studies.annotate(note)
        archive.studies.deviate(
            experiment, "Ada", "a longer study", {"content": content, "changed": {"repeats": [1, 1]}}
        )
        yield archive, experiment
    patch.undo()


@pytest.fixture(scope="module")
def exported(archived, tmp_path_factory):
    archive, experiment = archived
    folder = tmp_path_factory.mktemp("exported")
    results = analysed(gathered(archive, experiment), DRAWS)
    return results, folder, export(archive, experiment, folder, results=results)


def test_all_formats_hold_the_same(exported):
    _, folder, paths = exported
    assert [path.name for path in paths] == [f"{name}.{one}" for name in TABLES for one in FORMATS]
    for name, columns in TABLES.items():
        first, *others = ([*read(folder / f"{name}.{one}", columns)] for one in FORMATS)
        assert first
        assert all(list(one) == list(columns) for one in first)
        assert all(other == first for other in others)


def test_a_trial_has_its_factors_its_decision_and_who_decided(exported):
    results, folder, _ = exported
    rows = read(folder / "trials.parquet", TRIALS)
    planned = trials(results.study.design, SECRET)
    assert [one["number"] for one in rows] == [trial.number for trial in planned]
    for one, trial in zip(rows, planned, strict=True):
        expected = {name: value for name, value in trial.to_json().items() if name != "register"}
        assert {name: one[name] for name in expected} == expected
        assert (one["register"], one["model"], one["options"]) == ("numbers", "some-model", ["mira", "rolo"])
        assert (one["probabilities"], one["retries"]) == ([0.1, 0.9], 1.0)
        assert one["facts"] == {"tokens": 12, "retries": 1, "latency_s": 0.25}
        assert one["prompt"] == one["about"]["prompt"] != ""
    assert [one["number"] for one in rows if one["status"] == "failed"] == [5]
    done, failed = rows[0], rows[5]
    assert (done["tokens"], done["seconds"], done["latency"], failed["error"]) == (12.0, 0.25, 0.1, "no answer")
    assert (type(done["target"]), failed["target"]) == (bool, None)


def test_a_stranger_is_told_what_every_column_is(exported):
    """As a reader finds them who knows nothing of us."""
    _, folder, _ = exported
    book = pyarrow.csv.read_csv(folder / "codebook.csv").to_pylist()
    for name in ("trials", "turns", "estimates"):
        table = pyarrow.parquet.read_table(folder / f"{name}.parquet")
        told = {row["column"]: row for row in book if row["table"] == name}
        assert list(told) == table.column_names
        assert pyarrow.csv.open_csv(folder / f"{name}.csv").schema.names == table.column_names
        for column, said in told.items():
            assert len(said["meaning"].split()) >= 3
            values = [value for value in table[column].to_pylist() if value is not None]
            assert {type(value) for value in values} <= {PYTHON[said["kind"]]}
            if said["unit"] in ("0..1", "share, 0..1") and said["kind"] == "number":
                assert all(0 <= value <= 1 for value in values)


def test_turns_are_whole(exported):
    results, folder, _ = exported
    rows = read(folder / "turns.csv", TURNS)
    assert len(rows) == 2 * results.counts.planned
    assert rows[0]["observation"] == SAID
    assert (rows[0]["first"], rows[0]["count"], rows[1]["first"]) == (0, 4, None)
    assert rows[1]["decisions"][0]["probabilities"] == [0.1, 0.9]
    assert [row["trial"] for row in rows[::2]] == list(range(results.counts.planned))


def test_estimates_are_those_of_the_analysis(exported):
    results, folder, _ = exported
    for found, told in zip(results.findings, read(folder / "estimates.jsonl", ESTIMATES), strict=True):
        assert (told["outcome"], told["verdict"], told["p"]) == (found.outcome, found.verdict, found.p)
        assert told["sentence"] == sentence(found, results)
        if found.estimate is not None:
            assert told["levels"] == found.estimate.levels
            assert (told["value"], told["low"], told["trials"]) == (
                found.estimate.value, found.estimate.low, found.estimate.trials,
            )  # fmt: skip
    assert sum(one["trials"] or 0 for one in read(folder / "estimates.csv", ESTIMATES)[:2]) == 31


def test_what_is_gathered_from_the_archive_is_reported(archived, tmp_path):
    archive, experiment = archived
    names = {path.name for path in report(archive, experiment[:-2], tmp_path)}
    assert {"report.html", "report.md", "estimates.png"} <= names
    text = (tmp_path / "report.md").read_text()
    assert "1 failed: no answer" in text
    assert "Ada: a longer study (changed: repeats)" in text
    assert "32 trials were planned, 32 are over, 31 were analysed; 1 failed" in text
    with pytest.raises(DescantError, match="no experiments 'none'"):
        report(archive, "none", tmp_path)


def test_no_key_is_in_anything(archived, exported, tmp_path):
    archive, experiment = archived
    _, folder, paths = exported
    told = [*paths, *report(archive, experiment, tmp_path)]
    texts = [path.read_bytes() for path in told]
    texts += [json.dumps(read(folder / f"{name}.parquet", columns)).encode() for name, columns in TABLES.items()]
    assert all(KEY[:12].encode() not in text for text in texts)
    # What is searched for would be found.
    assert b"some-model" in (folder / "trials.csv").read_bytes()


def test_a_spreadsheet_takes_no_text_for_a_formula(exported):
    _, folder, _ = exported
    text = (folder / "turns.csv").read_text()
    assert "\"'=HYPERLINK" in text
    assert '"=HYPERLINK' not in text


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("=+-@'\t\r\n\",\x00")) | st.sampled_from(
    ["'", "''", "="]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KINDS = {
    "text": TEXTS,
    "integer": st.none() | st.integers(-(2**63), 2**63 - 1),
    "number": st.none() | NUMBERS,
    "flag": st.none() | st.booleans(),
    "json": PLAIN,
}
COLUMNS = {f"the {kind}": kind for kind in KINDS}


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({f"the {kind}": values for kind, values in KINDS.items()}), max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp()
    for one in FORMATS:
        path = write(folder / f"table.{one}", COLUMNS, rows)
        assert read(path, COLUMNS) == rows


def test_what_no_file_can_hold_is_replaced_and_what_is_no_table_is_said(tmp_path):
    for one in FORMATS:
        path = write(
            tmp_path / f"t.{one}", COLUMNS, [{"the text": "half \ud800", "the number": float("nan"), "more": 1}]
        )
        assert read(path, COLUMNS)[0] | {"the text": "half ?", "the number": None} == read(path, COLUMNS)[0]
        path.write_bytes(b"\xff\xfe" + string.printable.encode())
        with pytest.raises(DescantError, match="not such a table"):
            read(path, COLUMNS)
    with pytest.raises(DescantError, match="cannot be written"):
        write(tmp_path / "nowhere" / "t.csv", COLUMNS, [])


def test_a_format_that_is_none_is_said(archived, tmp_path):
    with pytest.raises(DescantError, match="'xlsx': allowed are jsonl, csv, parquet"):
        export(*archived, tmp_path, ["xlsx"])
