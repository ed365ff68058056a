"""Studies as files: what can be is read, what cannot be is a line that says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.archive import Archive
from pieces.errors import DescantError
from studio.experiment.design import CONDITIONS, StudyError, check, parse, read
from studio.experiment.freezing import freeze
from studio.experiment.inviting import check_audiences
from tests.studio.experiment.studying import study, write_piece

BASE = {
    "name": "s",
    "seed": 1,
    "audiences": [{"name": "small", "visitor": "random"}],
    "works": [{"name": "a", "piece": "cubics"}, {"name": "b", "piece": "knots"}],
    "tasks": [{"task": "prefer", "conditions": ["shuffled", "sham"]}, {"task": "same", "levels": [0.05, 0.2, 0.8]}],
    "analysis": {"primary": ["prefer/shuffled"]},
}


def test_whatever_stands_in_a_file_can_do_nothing_but_be_read(tmp_path):
    """Escapes, C1, bidirectional overrides; in names of things too."""
    evil = "\\u001b]0;title\\u0007 \\u009b31m \\u202Ebad\\n two"
    path = study(
        tmp_path,
        head=f'descant = 1\nname = "s"\nseed = 1\nquestion = "{evil}"',
        arms=f'arms = {{ neutral = "{evil}" }}',
        hypotheses=f'[hypotheses]\n"H{evil}" = "{evil}"',
        audiences='[[audiences]]\nname = "x"\nvisitor = "random"',
    )
    design = read(path)
    texts = [design.question, *design.arms.values(), *design.hypotheses, *design.hypotheses.values()]
    assert texts == ["]0;title 31m bad two"] * 2 + ["H]0;title 31m bad two", "]0;title 31m bad two"]
    study(tmp_path, audiences=f'[[audiences]]\nname = "x"\nvisitor = "{evil}"')
    with pytest.raises(StudyError) as error:
        read(path)
    assert str(error.value).isprintable()


KEY = "sk-planted" + "0a" * 20


@pytest.mark.parametrize(
    ("visitor", "options", "more", "line"),
    [
        (f"openai:m@https://me:{KEY}@host/v1", "", "", "a URL has no name, password"),
        ("openai:m@https://host/v1", f'api_key = "{KEY}"', "", "no option 'api_key'"),
        ("hf:small", f'api_key = "{KEY}"', "", "unexpected keyword argument 'api_key'"),
        ("hf:small", "rotations = -1", "", "rotations -1: allowed is a whole number"),
        ("hf:/no/such/model", "", "", "hf:/no/such/model"),
        ("listener", 'memory = "x"', "", "options.memory: no option of a study"),
        ("listener", "seed = -1", "", "allowed are a whole number from 0 on"),
        ("random:x", "", "", "random takes nothing behind a colon"),
        (
            "openai:m@https://host/v1",
            "",
            "[budget]\nmax_cost = 1.0",
            "budget.max_cost cannot be reached without prices",
        ),
        (
            "openai:m@https://host/v1",
            'senses = "sound"\nheld = 1',
            "",
            "it would be sent 2 clips .*: set moments lower",
        ),
    ],
)
def test_an_audience_that_cannot_be_is_refused_before_anything_is_kept(tmp_path, visitor, options, more, line):
    write_piece(tmp_path)
    audiences = f'[[audiences]]\nname = "x"\nvisitor = "{visitor}"\n[audiences.options]\n{options}'
    path = study(tmp_path, audiences=audiences, more=more)
    with Archive.open(tmp_path / "a.db") as archive:
        with pytest.raises(StudyError, match=f"audience 'x': .*{line}") as error:
            freeze(archive, path)
        assert archive.studies.experiments() == []
    assert "\n" not in str(error.value)
    assert KEY not in str(error.value)
    assert KEY.encode() not in (tmp_path / "a.db").read_bytes()


def test_a_whole_study_is_read(tmp_path):
    path = study(
        tmp_path,
        head='descant = 1\nname = "s"\nseed = 1\nquestion = "?"\nwordings = ["plain", "guest", "short"]',
        audiences='[[audiences]]\nname = "l"\nvisitor = "listener"\n[[audiences]]\nname = "r"\nvisitor = "hf:small"\n'
        'registers = ["prose", "numbers"]',
        tasks="\n".join(
            (
                f'[[tasks]]\ntask = "prefer"\nconditions = {[*CONDITIONS]}',
                '[[tasks]]\ntask = "same"\nlevels = [0.05, 0.2, 0.8]\nconditions = ["sham"]',
                '[[tasks]]\ntask = "mirror"',
                '[[tasks]]\ntask = "visit"\nbuttons = [{ label = "lever", price = 2, reward = 0 }, {}]',
                '[[tasks]]\ntask = "steer"\npiece = "cubics"\naudience = "l"',
            )
        ),
        analysis='[analysis]\nprimary = ["prefer/shuffled", "same/0.8", "mirror", "steer/yoked"]\nmargin = 0.1',
        more="[exclusions]\nmax_flips = 0.5\n[stopping]\nfailures = 0.5\n[budget]\nmax_cost = 1.5\nworkers = 2",
    )
    design = read(path)
    assert [task.task for task in design.tasks] == ["prefer", "same", "mirror", "visit", "steer"]
    assert {"prefer/blind", "same/0.05", "same/sham", "mirror", "visit/idle", "steer/random"} <= set(design.outcomes)
    assert parse(design.model_dump(mode="json"), "again") == design


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(CONDITIONS), unique=True, min_size=1),
    st.lists(st.floats(0, 1), unique_by=lambda level: f"{level:g}", min_size=1, max_size=4),
    st.integers(1, 9),
    st.sampled_from([(), ("tokens",), ("prose", "numbers")]),
)
def test_a_study_is_the_same_after_it_was_written_down(conditions, levels, repeats, registers):
    tasks = [{"task": "prefer", "conditions": conditions}, {"task": "same", "levels": levels}]
    audiences = [{"name": "x", "visitor": "random", "registers": registers}]
    primary = {"primary": [f"prefer/{conditions[0]}"]}
    design = parse({**BASE, "tasks": tasks, "audiences": audiences, "repeats": repeats, "analysis": primary}, "s")
    assert parse(design.model_dump(mode="json"), "s") == design


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"audiences": []}, r"audiences = \[\]"),
        ({"audiences": [{"name": "x", "visitor": "listenr"}]}, "no visitor 'listenr'; did you mean 'listener'"),
        ({"audiences": [{"name": "x", "visitor": "human"}]}, "a study runs unattended"),
        ({"audiences": [{"name": "x", "visitor": "listener", "options": {"remember": True}}]}, "has a fresh visitor"),
        ({"audiences": [{"name": "x", "visitor": "random"}] * 2}, "audience 'x' comes twice"),
        ({"audiences": [{"name": "x", "visitor": "random", "registers": ["poem"]}]}, "'poem'"),
        ({"works": BASE["works"][:1]}, "'sham' is another work, and there is 1"),
        ({"works": []}, "task prefer: there are no works"),
        ({"works": [{"name": "a"}]}, "give 'piece' or 'take', and not both"),
        ({"works": [{"name": "a", "take": "0a", "seed": 3}]}, "a take is what it is: leave out seed"),
        ({"tasks": []}, r"tasks = \[\]"),
        ({"tasks": [{"task": "prefr"}]}, "'prefr'"),
        ({"tasks": [{"task": "prefer", "conditions": ["shufled"]}]}, "'shufled'"),
        ({"tasks": [{"task": "same", "levels": [0.2, 1.2]}]}, "levels.1 = 1.2: .*less than or equal to 1"),
        ({"tasks": [{"task": "same", "levels": [-0.1]}]}, "levels.0 = -0.1: .*greater than or equal to 0"),
        ({"tasks": [{"task": "same"}]}, "with what is a work to be compared"),
        ({"tasks": [{"task": "prefer", "conditions": ["silent", "silent"]}]}, "outcome 'prefer/silent' comes twice"),
        ({"tasks": [{"task": "mirror"}]}, "task mirror: 0 of 1 audiences can measure surprise, and 2 must"),
        (
            {"tasks": [{"task": "mirror"}], "audiences": [{"name": n, "visitor": n} for n in ("listener", "random")]},
            "task mirror: 1 of 2 audiences can measure surprise, and 2 must, .*: human, openai, random, scripted",
        ),
        ({"tasks": [{"task": "mirror"}], "moments": 3}, "task mirror: moments = 3: a curve needs 4 or more"),
        ({"tasks": [{"task": "steer", "piece": "cubics", "audience": "smal"}]}, "'smal'; did you mean 'small'"),
        (
            {"tasks": [{"task": "steer", "piece": "cubics", "audience": "small"}]},
            r"yoked goes by the ratings of another audience, and there is none: .* steerers = \['gp', 'random'\]",
        ),
        ({"question": "x" * 10_001}, "has 10001 characters: allowed are 10000"),
        ({"analysis": {"primary": ["prefer/shufled"]}}, "no task gives 'prefer/shufled'; did you mean"),
        ({"analysis": {"primary": ["same/0.3"]}}, "no task gives 'same/0.3'"),
        ({"analysis": {"primary": []}}, r"primary = \[\]"),
        ({"analysis": {"primary": ["prefer/sham"], "margin": 0.7}}, "margin = 0.7"),
        ({"wordings": ["plane"]}, "no wording 'plane'; did you mean 'plain'"),
        ({"arms": {}}, "arms = {}"),
        ({"colour": 1}, "colour: no such field"),
        ({"descant": 2}, "written by a newer Descant"),
        ({"moments": 0}, "moments = 0"),
        ({"budget": {"max_cost": float("nan")}}, "max_cost"),
    ],
)
def test_a_study_that_cannot_be_is_one_line(change, line):
    with pytest.raises(StudyError, match=line) as error:
        parse({**BASE, **change}, "study.toml")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("study.toml: ")


@pytest.mark.parametrize(
    ("works", "line"),
    [
        ('[[works]]\nname = "a"\npiece = "cubcs"', "work 'a': no piece 'cubcs'; did you mean 'cubics'"),
        ('[[works]]\nname = "a"\npiece = "none.toml"', "work 'a': .*none.toml: cannot be read"),
        ('[[works]]\nname = "a"\npiece = "secret.toml"\nset = { stp = 1 }', "no control 'stp'; did you mean 'step'"),
        ('[[works]]\nname = "a"\npiece = "secret.toml"\nset = { step = 9 }', "step = 9"),
        ('[[works]]\nname = "a"\ntake = "0000"', "work 'a': no take '0000'"),
        ('[[works]]\nname = "a"\npiece = "secret.toml"\nother_score = "knts"', "no piece 'knts'; did you mean 'knots'"),
    ],
)
def test_pieces_and_takes_that_are_not_there_are_one_line(tmp_path, works, line):
    write_piece(tmp_path)
    design = read(study(tmp_path, works=works, audiences='[[audiences]]\nname = "r"\nvisitor = "random"'))
    with Archive.open(tmp_path / "a.db") as archive, pytest.raises(DescantError, match=line) as error:
        check(design, tmp_path, archive)
    assert "\n" not in str(error.value)


def test_files_that_are_no_studies_are_one_line(tmp_path):
    path = tmp_path / "study.toml"
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="not UTF-8 text"):
        read(path)
    path.write_text("name = ")
    with pytest.raises(StudyError, match=r"study\.toml: not TOML"):
        read(path)
    with pytest.raises(StudyError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_an_audience_whose_package_is_gone_is_one_line():
    design = parse(BASE, "s")
    gone = design.audiences[0].model_copy(update={"visitor": "gone"})
    with pytest.raises(StudyError, match="audience 'small': no audience 'gone': the package that it came in is gone"):
        check_audiences(design.model_copy(update={"audiences": (gone,)}))
