"""Comparisons: what a visitor is told and asked, and what that gives of those who hear and of those who do not."""

from __future__ import annotations

import re
import sys
from collections import defaultdict

import numpy as np
import pytest

from studio.audience.playing import Asked
from studio.audience.visitor import AudienceError, Report, certain, invite
from studio.audience.wording import WORDINGS
from studio.experiment.conditions import distorted, permutation, shuffled, silent
from studio.experiment.design import CONDITIONS, parse
from studio.experiment.presenting import ANSWERED, Comparison, Work, instructed, outcome, presented, untold
from studio.experiment.trials import trials
from studio.words.registers import REGISTERS
from tests.studio.experiment.studying import melody, write_visitors

RISING, SHAM = melody([60, 63, 66, 69, 72, 75]), melody([72, 60, 71, 59, 70, 58])
MADE = {
    **dict.fromkeys(("as is", "blind"), RISING),
    "sham": SHAM,
    "other score": melody([75, 72, 69, 66, 63, 60]),
    "other signals": melody([62, 65, 61, 71, 68, 77]),
    "shuffled": shuffled(RISING, 3),
    "silent": silent(RISING),
}
WORKS = {name: Work(artefact) for name, artefact in MADE.items()}
WORKS["shuffled"] = Work(MADE["shuffled"], permutation(len(WORKS["as is"]), 3).tolist(), RISING)
LEVELS = {level: Work(distorted(RISING, level, 1)) for level in (0.0, 0.8)}
DESIGN = parse(
    {
        "name": "SECRETstudy",
        "seed": 5,
        "audiences": [{"name": "SECRETaudience", "visitor": "random"}],
        "works": [{"name": "SECRETwork", "piece": "cubics"}, {"name": "SECRETsham", "piece": "cubics"}],
        "tasks": [
            {"task": "prefer", "conditions": CONDITIONS},
            {"task": "same", "levels": [0.0, 0.8], "conditions": CONDITIONS},
        ],
        "arms": {"SECRETarm": "You look for what changes.", "SECRETrest": ""},
        "repeats": 2,
        "analysis": {"primary": ["prefer/shuffled"]},
    },
    "s",
)
TRIALS = [trial for trial in trials(DESIGN) if trial.work == "SECRETwork"]
FEW = [trial for trial in TRIALS if trial.repeat == 0 and trial.arm == "SECRETarm"]


@pytest.fixture(scope="module", autouse=True)
def hearing(tmp_path_factory):
    """The visitors of these tests are installed."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(write_visitors(tmp_path_factory.mktemp("visitors"))))
    yield
    patch.undo()
    sys.modules.pop("hearing", None)


def comparison(trial, secret="5e"):
    wording = instructed(WORDINGS[trial.wording], DESIGN.arms[trial.arm])
    other = WORKS[trial.condition] if trial.level is None else LEVELS[trial.level]
    return Comparison(trial, wording, WORKS["as is"], other, secret)


def told(trial, register):
    return [seen.text for seen in comparison(trial).observations(register)]


def answered(visitor, chosen):
    """Share of targets, by outcome."""
    found = defaultdict(list)
    for trial in chosen:
        asked = comparison(trial)
        transcript = presented(visitor, trial, asked.wording, asked.observations, asked.question)
        assert transcript.ended == ANSWERED
        found[trial.outcome].append(outcome(transcript.answers[0], asked.target)["target"])
    return {name: (float(np.mean(targets)), len(targets)) for name, targets in found.items()}


def test_who_hears_is_above_chance_and_blind_at_chance(tmp_path):
    found = answered(invite("hearer", tmp_path), TRIALS)
    differing = {"shuffled", "sham", "silent", "other score", "other signals"}
    assert {found[f"same/{name}"][0] for name in differing} == {1.0}
    assert found["same/0.8"][0] == 1.0
    for name in ("prefer/shuffled", "prefer/sham", "prefer/silent", "prefer/other score"):
        assert found[name][0] == 1.0, name
    # Where nothing differs, or nothing is told, it knows no more than anybody.
    for name in ("prefer/blind", "same/blind", "prefer/as is", "same/as is", "same/0"):
        share, count = found[name]
        assert abs(share - 0.5) < 3 * 0.5 / count**0.5, (name, share)


class Spy:
    """Hears nothing, but knows the design, how trials are drawn, and how seeds were drawn from a design once."""

    name, register, senses = "spy", "numbers", frozenset()
    ways = ("trial of its seed", "trial of its turn", "seed of the design", "parity", "permutation")

    def __init__(self, design):
        self.trials = trials(design)
        self.of_seed = {trial.seed: trial for trial in self.trials}
        count = len(self.trials) // design.repeats
        self.of_place = {
            int(np.random.SeedSequence(design.seed, spawn_key=(repeat, 0, index)).generate_state(1)[0]): index
            for repeat in range(design.repeats)
            for index in range(count)
        }
        self.turn = -1
        self.right = dict.fromkeys(self.ways, 0)

    def begin(self, instruction, seed):
        self.seed, self.turn, self.told = seed, self.turn + 1, []

    def observe(self, text, clips=()):
        self.told += re.findall(r"Work (\w+):", text)

    def decide(self, question):
        rng = np.random.default_rng(self.seed)
        found = [self.of_seed.get(self.seed), self.trials[self.turn]]
        places = [rng.integers(2) if trial is None else trial.order ^ trial.third for trial in found]
        places += [self.of_place.get(self.seed, self.seed) % 4 // 2, self.seed % 2]
        places += [int(np.random.default_rng(self.seed).permutation(2)[0])]
        self.chosen = {way: self.told[place] for way, place in zip(self.ways, places, strict=True)}
        return certain(question.options, question.options[0])

    def report(self):
        return Report()

    def about(self):
        return {}


def spied(design, secret):
    """How often a spy is right, by its way; and how many trials it attended."""
    spy, found = Spy(design), trials(design, secret)
    for trial in found:
        asked = comparison(trial, secret)
        assert presented(spy, trial, asked.wording, asked.observations, asked.question).ended == ANSWERED
        for way, chosen in spy.chosen.items():
            spy.right[way] += chosen == asked.target
    return {way: right / len(found) for way, right in spy.right.items()}, len(found)


def test_who_knows_the_design_and_its_seed_is_at_chance():
    """Neither the seed that it is given nor its turn tells anything; without the secret they tell all."""
    tasks = [{"task": "prefer", "conditions": ["blind", "as is"]}, {"task": "same", "conditions": ["blind"]}]
    changed = {"tasks": tasks, "repeats": 8, "analysis": {"primary": ["prefer/blind"]}}
    design = parse({**DESIGN.model_dump(mode="json"), **changed}, "s")
    right, count = spied(design, "0123456789abcdef" * 2)
    assert count == 512
    assert all(abs(share - 0.5) < 3.5 * 0.5 / count**0.5 for share in right.values()), right
    right, _ = spied(design, "")
    assert right["trial of its seed"] == right["trial of its turn"] == 1.0


def test_names_tell_no_condition():
    """Whoever knows how names are drawn cannot tell from them which cell of the design it is in."""
    known = {comparison(trial, "").names: trial.cell for trial in TRIALS}
    assert len(known) == len({trial.cell for trial in TRIALS})
    assert not [trial for trial in TRIALS if comparison(trial).names in known]
    assert {trial.cell: comparison(trial).names for trial in TRIALS} == {
        trial.cell: comparison(trial).names for trial in reversed(TRIALS)
    }


def test_who_knows_nothing_is_at_chance(tmp_path):
    for name, (share, count) in answered(invite("random", tmp_path), TRIALS).items():
        assert abs(share - 0.5) < 3.5 * 0.5 / count**0.5, (name, share)


@pytest.mark.parametrize("register", REGISTERS)
def test_nothing_tells_blind_works_apart(register):
    for trial in FEW:
        if trial.condition != "blind":
            continue
        texts = told(trial, register)
        names = comparison(trial).names
        each = [[t.replace(name, "NAME") for t in texts[i * 3 : i * 3 + 3]] for i, name in enumerate(names)]
        assert all(one == each[0] for one in each)
        said = re.sub(r"[\w ]+:|\w+ ", "", "\n".join(each[0][1:])) if register == "prose" else each[0][1]
        assert not re.search(r"[A-Z]\d|\d\.\d", said)
        assert all(seen.clip is None for seen in comparison(trial).observations(register))
    flipped = [trial for trial in FEW if trial.condition in ("as is", "blind") and trial.task == "prefer"]
    by_cell = defaultdict(set)
    for trial in flipped:
        by_cell[trial.cell].add(tuple(told(trial, register)))
    assert {len(texts) for texts in by_cell.values()} == {1}, "which is called the work as it is changes nothing"


@pytest.mark.parametrize("register", REGISTERS)
def test_length_tells_no_condition(register):
    def size(text):
        """Words where they are words, else letters."""
        return [len(line.split()) if register == "prose" else len(line) for line in text.splitlines()]

    for task, works in (("prefer", 2), ("same", 3)):
        sizes = {str([size(t) for t in told(trial, register)]) for trial in FEW if trial.task == task}
        assert len(sizes) == 1
        assert len(told(next(t for t in TRIALS if t.task == task), register)) == 3 * works
    assert len({tuple(told(t, register)) for t in FEW}) > len(CONDITIONS), "and yet they differ"


@pytest.mark.parametrize("register", REGISTERS)
def test_no_name_of_the_study_is_told(register):
    """Neither takes, works, audiences, conditions nor arms; a word that all are told of all is no name."""
    for trial in FEW:
        asked = comparison(trial)
        whole = "\n".join([asked.wording.instruction, asked.question().asks, *asked.names, *told(trial, register)])
        assert "SECRET" not in whole
        for name in (*CONDITIONS, "distorted"):
            assert not re.search(rf"\b{name}\b", whole) or name in ("silent", "as is"), name
    assert "You look for what changes." in instructed(WORDINGS["plain"], DESIGN.arms["SECRETarm"]).instruction


def test_silent_is_a_word_of_the_sound_and_not_the_condition():
    """It is said of moments without sound, in whatever condition they are."""
    rest = Work(melody([60, 63, 66, 69, 72, 75]))
    assert all("silent" not in line for line in rest.lines("prose"))
    assert all("level silent" in line for line in WORKS["silent"].lines("prose"))


def test_the_third_is_one_of_the_two_and_the_names_are_as_told():
    for trial in TRIALS:
        asked = comparison(trial)
        assert len(set(asked.names)) == len(asked.works)
        question = asked.question()
        assert question.about == trial.task
        assert set(question.options) == set(asked.names[:2])
        assert question.options == (asked.names[1::-1] if trial.side else asked.names[:2])
        of_target = asked.works[asked.names.index(asked.target)]
        if trial.task == "same":
            assert asked.works[2] is of_target
            assert asked.names[2] in question.asks
        else:
            assert of_target is asked.as_is


def test_works_of_another_length_are_not_compared():
    with pytest.raises(AudienceError, match="works of 6 and 4 moments: length tells them apart"):
        Comparison(TRIALS[0], WORDINGS["plain"], WORKS["as is"], Work(melody([60, 61, 62, 63])), "5e")


def test_clips_are_what_is_told():
    class Ears:
        name, register, senses = "ears", "prose", frozenset({"sound"})
        heard: list = []

        def begin(self, instruction, seed):
            self.heard.clear()

        def observe(self, text, clips=()):
            self.heard.extend(clips)

    trial = next(t for t in TRIALS if t.condition == "shuffled" and t.order == 0 and t.task == "prefer")
    visitor = Ears()
    asked = comparison(trial)
    for seen in asked.observations("prose"):
        visitor.observe(seen.text, () if seen.clip is None else (seen.clip,))
    sound = np.concatenate([clip.audio for clip in visitor.heard])
    np.testing.assert_array_equal(sound, np.concatenate([RISING.audio, MADE["shuffled"].audio]))


@pytest.mark.parametrize(
    ("how", "line"),
    [("down", "no answer from http://127.0.0.1:9"), ("babbling", "answer 'I love it'|answer '.31mI love it'")],
)
def test_who_fails_ends_the_transcript_with_its_line(tmp_path, how, line):
    trial = TRIALS[0]
    asked = comparison(trial)
    transcript = presented(invite(f"odd:{how}", tmp_path), trial, asked.wording, asked.observations, asked.question)
    assert len(transcript.turns) == len(told(trial, "numbers"))
    if how == "down":
        assert re.search(line, transcript.ended)
        assert not transcript.answers
        return
    with pytest.raises(AudienceError) as error:
        outcome(transcript.answers[0], asked.target)
    assert "\x1b" not in str(error.value)
    assert "\u202e" not in str(error.value)
    assert "I love it" in str(error.value)


def test_an_answer_is_data():
    asked = Asked(
        about="prefer",
        asks="?",
        options=("a", "b"),
        probabilities=(0.3, 0.7),
        chosen="a",
        facts={"flips": 1, "rotations": 3, "latency_s": 0.2},
    )
    found = outcome(asked, "b")
    assert found == {
        "chosen": "a",
        "target": False,
        "p_target": 0.7,
        "first_shown": True,
        "chance": 0.5,
        "flips": 0.5,
        "latency": 0.2,
        "dropped": None,
    }


def test_what_is_untold_is_as_long_as_what_is_told():
    for register in REGISTERS:
        line = WORKS["as is"].lines(register)[0]
        assert (len(untold(register).split()) if register == "prose" else len(untold(register))) == (
            len(line.split()) if register == "prose" else len(line)
        )
        assert not re.search(r"\d", untold(register))
