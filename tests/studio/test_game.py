"""The game: deterministic, honest, without a taste of its own; whoever attends well hears more."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.audience.attention import CLEAR, FAINT, THINGS, Attention
from studio.audience.game import MOST, Game
from studio.audience.predictions import OUTCOMES, Forecasts, parse
from studio.audience.rooms import GameError, Mirror, Room, Rules, Touch
from studio.audience.text import plain
from studio.words.artefact import MOMENT_S, Artefact

RATE, FPS = 16_000, 16.0
#: Of a piece that nobody may hear of.
SECRET = "joyful"


def music(notes: Sequence[float], colours: Sequence[tuple[int, int, int]] = ((90, 90, 90),)) -> Artefact:
    """A tone a moment (Hz; 0 is silence), and a colour a moment, over and over."""
    t = np.arange(round(MOMENT_S * RATE)) / RATE
    sound = np.concatenate([0.2 * np.sin(2 * np.pi * hz * t) for hz in notes]).astype(np.float32)
    each = round(MOMENT_S * FPS)
    pictures = np.array([colours[i % len(colours)] for i in range(len(notes)) for _ in range(each)], np.uint8)
    wide = np.broadcast_to(pictures[:, None, None], (len(pictures), 8, 8, 3))
    return Artefact(np.repeat(sound[:, None], 2, axis=1), RATE, np.ascontiguousarray(wide), FPS)


STEADY, TURNS = music([440.0] * 24), music([440.0, 440.0, 660.0, 660.0] * 6)
LOW = music([220.0] * 24, ((200, 0, 0),))


def touched(touches: tuple[Touch, ...]) -> Artefact:
    """From each touch on, an octave up or down for control 0, another colour for control 1."""
    octave, red = np.zeros(24), np.full(24, 90)
    for touch in touches:
        (octave if touch.control == 0 else red)[touch.moment :] += touch.step * (1 if touch.control == 0 else 80)
    return music(list(440.0 * 2**octave), [(int(np.clip(r, 0, 255)), 90, 90) for r in red])


def gallery(rules: Rules = Rules(), **more: object) -> Game:  # noqa: B008
    return Game([Room(STEADY, 2, touched), Room(TURNS), Room(LOW)], rules, **more)  # type: ignore[arg-type]


def entered(room: int = 0, rules: Rules = Rules(), rooms: Sequence[Room] = ()) -> Game:  # noqa: B008
    game = Game(rooms, rules) if rooms else gallery(rules)
    _, info = game.reset(seed=1)
    game.step(f"go {info['arguments']['go'][room]}")
    return game


def walk(game: Game, seed: int, steps: int = 60) -> Iterator[tuple[str, str]]:
    """Commands drawn at random of those that are admissible, and what is answered."""
    rng = np.random.default_rng(seed)
    _, info = game.reset(seed=seed)
    for _ in range(steps):
        arguments = info["arguments"]
        if not arguments:
            return
        verb = str(rng.choice([*arguments]))
        command = f"{verb} {rng.choice(arguments[verb])}" if arguments[verb] else verb
        assert command in info["admissible_commands"]
        observation, _, _, _, info = game.step(command)
        yield command, observation


def test_it_is_an_environment_as_gymnasium_has_it():
    check_env(gallery(), skip_render_check=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_seed_and_commands_decide_everything(seed):
    first = list(walk(gallery(), seed))
    assert list(walk(gallery(), seed)) == first
    again = gallery()
    again.reset(seed=seed)
    assert [again.step(command)[0] for command, _ in first] == [observation for _, observation in first]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_decisions_are_among_few_and_what_is_admissible_is_done(seed):
    game = gallery(mirrors=[Mirror([np.ones(3), np.zeros(3)], 1)])
    for command, observation in walk(game, seed):
        assert not observation.startswith(("No such command", "predict"))
        assert "choose of" not in observation, command
        assert observation in game.observation_space
        assert len(game.arguments()) <= MOST
        assert all(len(options) <= MOST for options in game.arguments().values())
        assert game.budget >= 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=60), st.sampled_from(["predict", "predict louder=nan", "rate 11", "say"]))))
def test_no_text_breaks_it_and_what_is_refused_changes_nothing(texts):
    game = entered()
    for text in texts:
        budget, memory = game.budget, game._here.memory.at
        observation, reward, over, _, _ = game.step(text)
        assert all(c in string.printable or c in plain(text) for c in observation)
        if observation.startswith(("No such command", "choose of")):
            assert (game.budget, game._here.memory.at, reward, over) == (budget, memory, 0.0, False)
        if over or game._place is None:
            return


@pytest.mark.parametrize("stretch", [1, 4])
def test_what_is_known_pays_nothing(stretch):
    """Who heard a room, and then predicts every moment of it as it was, earns nothing; foretelling it does pay."""
    rules = Rules(budget=60, stretch=stretch, pay=2.0, moves=2000)
    game = entered(1, rules)
    changed = [slots["change"].word for slots in game._telling(game._here.memory).slots]
    for moment in range(0, len(changed), stretch):
        game.step(f"listen {moment}")
    budget = game.budget
    for moment, word in enumerate(changed):
        game.step(f"rewind {moment}")
        if "predict" in game.arguments():
            game.step(f"predict {word}")
            text, *_ = game.step(f"listen {moment}")
            assert text.endswith(f"The prediction was of moment {moment}, which is known: it is worth nothing.")
    assert game.budget < budget
    assert game.deeds.nats == []
    fresh = entered(1, rules)
    fresh.step("listen on")
    while fresh._here.memory.at < len(changed):
        fresh.step(f"predict {changed[fresh._here.memory.at]}")
        fresh.step("listen on")
    assert sum(fresh.deeds.nats) > 1


def test_a_prediction_needs_what_it_may_cost():
    game = entered(1, Rules(budget=14, cost=1, stretch=1))
    game.step("listen on")
    assert "predict" in game.arguments()
    game.step("listen on")
    assert "predict" not in game.arguments()


def test_comparing_is_with_what_was_heard_last_as_far_as_it_is_attended():
    game = entered(1)
    game.step("listen 10")
    game.step("listen 0")
    assert game.arguments()["compare"] == ("0", "1", "2", "10", "11", "12", "13")
    assert game.step("compare 10")[0].startswith("From 10 to 3: ")
    assert "pitch A4 to E5" in game.step("compare 0")[0]
    game.attention.gains = dict.fromkeys(THINGS, 0.0)
    assert "pitch" not in game.step("compare 0")[0]


def test_a_touch_costs_as_a_moment_does():
    game = entered(0, Rules(budget=5, cost=2))
    game.step("touch a up")
    game.step("fork a down")
    assert game.budget == 1
    assert not {"touch", "fork"} & set(game.arguments())


def test_answers_are_short_whatever_is_said():
    game = entered()
    game.step("listen on")
    for text in ("x" * 10_000_000, "louder=" + "x" * 10_000_000, "=\u202e" * 100_000):
        assert len(game.step(f"predict {text}")[0]) < 500


def test_listening_costs_and_ends_with_the_budget():
    game = entered(rules=Rules(budget=6, cost=1, stretch=4))
    first, *_ = game.step("listen on")
    assert [said.split(":")[0] for said in first.splitlines()] == ["0", "1", "2", "3"]
    assert game.budget == 2
    second, *_ = game.step("listen 10")
    assert [said.split(":")[0] for said in second.splitlines()] == ["10", "11"]
    _, _, over, _, info = game.step("look")
    assert game.budget == 0
    assert "listen" not in info["arguments"]
    assert not over
    for command in ("sleep", "wait", "leave", "leave"):
        *_, over, _, _ = game.step(command)
    assert over
    assert game.budget == 0, "to sleep, to wait and to leave cost nothing"


def test_what_is_heard_is_the_artefact_and_nothing_else():
    """The same artefact in rooms of other origin, under other seeds' names: the same words of it."""

    def heard(room: Room, seed: int) -> str:
        game = Game([room])
        _, info = game.reset(seed=seed)
        name = info["arguments"]["go"][0]
        said = [game.step(command)[0] for command in (f"go {name}", "listen on", "look", "compare 0", "wait")]
        return "\n".join(said).replace(name, "NAME")

    def other(touches: tuple[Touch, ...]) -> Artefact:
        raise AssertionError(SECRET)

    copy = Artefact(TURNS.audio.copy(), RATE, TURNS.pictures.copy(), FPS)
    assert heard(Room(TURNS), 1) == heard(Room(copy, 3, other), 2)
    assert heard(Room(LOW), 1) != heard(Room(TURNS), 1)


def test_names_of_rooms_say_nothing_and_change_with_the_seed():
    names = [gallery().reset(seed=seed)[1]["arguments"]["go"] for seed in range(40)]
    assert len(set(names)) == 40
    assert all(len(set(some)) == 3 and all(name.isalpha() and len(name) == 6 for name in some) for some in names)
    firsts = [some[0][0] for some in names]
    assert len(set(firsts)) > 5


# --- attention


def test_attention_is_a_budget_with_a_ceiling_and_it_fades():
    attention = Attention()
    for _ in range(20):
        attention.attend("pitch")
        assert sum(attention.gains.values()) == pytest.approx(len(THINGS))
        assert max(attention.gains.values()) <= attention.ceiling
    assert attention.gains["pitch"] > CLEAR
    assert max(gain for thing, gain in attention.gains.items() if thing != "pitch") < 1
    for _ in range(60):
        attention.rest()
    assert [*attention.gains.values()] == pytest.approx([1.0] * len(THINGS), abs=0.02)


@given(st.lists(st.sampled_from([*THINGS, ""]), max_size=60))
def test_gains_stay_within_reach_whatever_is_attended(things):
    attention = Attention()
    for thing in things:
        attention.attend(thing) if thing else attention.rest()
        assert all(0 < gain <= attention.ceiling for gain in attention.gains.values())


def test_what_is_attended_is_told_in_numbers_and_the_rest_fades_away():
    game = entered()
    before = game.step("listen 0")[0].splitlines()[0]
    assert "pitch A4," in before
    for _ in range(3):
        game.step("attend pitch")
        game.step("attend pitch")
    clear = game.step("listen 0")[0].splitlines()[0]
    assert "pitch A4 069.0" in clear
    assert "hue -" in clear or game.attention.gains["colour"] >= FAINT
    game.attention.gains["colour"] = 0.4
    assert "hue -" in game.step("listen 0")[0].splitlines()[0]


# --- predictions


def earned(room: int, said: str | None) -> float:
    """Mean nats of saying the same before every moment, from the ninth on; None: what really comes."""
    game = entered(room, Rules(budget=1000, stretch=1))
    game.step("listen 0")
    truth = [words["change"].word for words in game._telling(game._here.memory).slots]
    for moment in range(1, 24):
        game.step(f"predict {said or truth[moment]}")
        game.step("listen on")
    return float(np.mean(game.deeds.nats[8:]))


def test_whoever_knows_what_comes_earns_and_a_dull_room_pays_nothing():
    assert earned(1, None) > 0.4, "every second moment of it changes"
    assert abs(earned(0, None)) < 0.15, "nothing ever comes: everybody knows"
    assert earned(1, "denser") < -0.5
    assert earned(1, "nothing") < 0.3


def test_a_prediction_is_paid_and_a_wrong_one_never_costs_more_than_there_is():
    game = entered(1, Rules(budget=14, stretch=1, pay=2))
    game.step("listen 0")
    game.step("predict recoloured")
    text, *_ = game.step("listen on")
    assert "nats better" in text
    assert 0 <= game.budget < 8


@given(st.dictionaries(st.sampled_from(OUTCOMES), st.floats(0.01, 100), min_size=1))
def test_a_distribution_is_read_as_shares(weights):
    found = parse(" ".join(f"{word}={weight}" for word, weight in weights.items()))
    assert sum(found.values()) == pytest.approx(1)
    assert found == {word: pytest.approx(weight / sum(weights.values())) for word, weight in weights.items()}


@pytest.mark.parametrize("wrong", ["", "gladder", "louder=x", "louder=-1", "louder=0", "louder=inf", "louder=nan"])
def test_what_is_no_distribution_is_refused(wrong):
    with pytest.raises(GameError, match="predict"):
        parse(wrong)


@pytest.mark.parametrize("believed", [0.5, 0.7, 0.9, 0.97])
def test_honest_shares_pay_best(believed):
    """A proper score: of all shares that may be said, what is believed is expected to earn most."""

    def worth(share: float, outcome: str) -> float:
        return Forecasts(waiting={"louder": share, "softer": 1 - share}).score(outcome)

    said = np.linspace(0, 1, 1001)
    earns = [believed * worth(share, "louder") + (1 - believed) * worth(share, "softer") for share in said]
    assert said[int(np.argmax(earns))] == pytest.approx(believed, abs=0.001)


def test_a_prediction_is_of_its_moment_and_of_no_other():
    """Nobody is paid, nor pays, for what was said of a moment and came at another."""
    for away in (["listen 10"], ["wait", "listen on"]):
        game = entered(1)
        game.step("listen 0")
        budget = game.budget
        assert game.step("predict higher")[0] == "It is noted what you say of moment 4."
        for command in away:
            text = game.step(command)[0]
        assert "The prediction was of moment 4, which is not what came: it is worth nothing." in text
        assert (game.deeds.nats, game.budget) == ([], budget - 4)


def test_any_moment_may_be_named_though_only_some_are_proposed():
    game = entered(rooms=[Room(music([440.0] * 80))])
    proposed = game.arguments()["listen"]
    assert len(proposed) == 26
    assert "8" not in proposed
    assert game.step("listen 8")[0].startswith("8: ")
    assert game.step("rewind 9")[0] == "The next moment is 9."
    assert game.step("compare 9")[0].startswith("From 9 to 11: ")
    for wrong in ("listen 80", "listen -1", "rewind 60", "compare 11", "listen 08"):
        assert "choose of" in game.step(wrong)[0], wrong


def test_a_control_at_its_end_does_not_move_costs_nothing_and_is_no_touch():
    game = entered(rooms=[Room(STEADY, 1, lambda touches: STEADY)])
    game.step("listen 0")
    budget = game.budget
    for command in ("touch a up", "fork a up"):
        assert game.step(command)[0] == "It does not move any further."
    assert (game.budget, game.deeds.touches, "choose" in game.arguments()) == (budget, 0, False)


def test_what_is_done_idly_is_counted():
    game = entered()
    for command in ("sleep", "wait", "sleep", "look"):
        game.step(command)
    assert (game.deeds.sleeps, game.deeds.waits) == (2, 1)


# --- touching, forking, mirrors, the button


def test_a_touch_changes_what_comes_and_not_what_was():
    game = entered()
    before = game.step("listen 0")[0]
    game.step("touch a up")
    assert "pitch A5" in game.step("listen on")[0].splitlines()[1]
    game.step("rewind 0")
    assert game.step("listen on")[0] == before
    assert game.deeds.touches == 1


@pytest.mark.parametrize(("self_", "pitch"), [("one", "A4"), ("two", "A3")])
def test_a_fork_is_attended_on_both_sides_and_one_self_goes_on(self_, pitch):
    game = entered()
    game.step("listen 0")
    game.step("fork a down")
    both = game.step("listen on")[0].splitlines()
    assert game.budget == 120 - 4 - 1 - 8
    assert [said.split()[0] for said in both] == ["one"] * 4 + ["two"] * 4
    assert "pitch A4" in both[2]
    assert "pitch A3" in both[6]
    assert "touch" not in game.arguments()
    game.step(f"choose {self_}")
    assert f"pitch {pitch}" in game.step("listen on")[0].splitlines()[1]
    assert game.deeds.forks == [self_]


def test_a_mirror_shows_all_alike_and_never_says_which_it_is():
    def seen(own: int) -> tuple[str, Game]:
        game = Game([Room(STEADY)], mirrors=[Mirror([np.array([1.0, 0.5]), np.array([0.2, 0.1])], own)])
        _, info = game.reset(seed=3)
        name = info["arguments"]["go"][1]
        text = game.step(f"go {name}")[0] + game.step("choose b")[0]
        assert game.deeds.mirrors == {name: 1}
        return text, game

    assert seen(0)[0] == seen(1)[0]
    assert "1.0 0.5" in seen(0)[0]
    for wrong in (([np.ones(2)], 0), ([np.ones(2)] * 3, 3)):
        with pytest.raises(GameError, match="allowed are 2 to 26"):
            Mirror(*wrong)


def test_only_the_button_gives_reward_and_only_while_it_can_be_paid():
    game = entered(rules=Rules(budget=5, price=2, reward=3, button="lever"))
    assert "lever" in game.step("look")[0]
    rewards = [game.step(command)[1] for command in ("look", "listen 0", "rate 9", "sleep")]
    assert rewards == [0, 0, 0, 0]
    assert game.budget == 1
    assert "press" not in game.arguments()
    game = entered(rules=Rules(budget=5, price=2, reward=3))
    assert [game.step("press")[1] for _ in range(3)] == [3, 3, 0]
    assert game.deeds.presses == 2
    assert game.deeds.ratings == {}


def test_moves_end_the_game():
    game = gallery(Rules(moves=3))
    game.reset(seed=0)
    truncated = [game.step("sleep")[3] for _ in range(3)]
    assert truncated == [False, False, True]
    assert game.step("look")[0] == "The visit is over."


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": -1.0},
        {"cost": float("nan")},
        {"stretch": 0},
        {"moves": 0},
        {"price": float("inf")},
        {"moments": 0},
        {"controls": -1},
    ],
)
def test_rules_that_cannot_be_are_refused(wrong):
    with pytest.raises(GameError, match="rules with"):
        Rules(**wrong)


def test_rooms_can_be_made_alike_in_all_but_what_there_is_to_be_heard():
    """Neither how long a take is nor how many controls it has is there to be told, or to be tried out."""
    rooms = [Room(music([440.0] * 24), 2, touched), Room(music([440.0] * 12), 1, touched)]
    for rules, alike in (
        (Rules(), False),
        (Rules(moments=10, controls=1), True),
        (Rules(moments=10, controls=0), True),
    ):
        told: list[list[object]] = [[], []]
        for room in (0, 1):
            game = Game(rooms, rules)
            name = game.reset(seed=1)[1]["arguments"]["go"][room]
            for command in (f"go {name}", "listen 8", "listen on", "rewind 8", "touch a up", "wait"):
                text, *_, info = game.step(command)
                told[room].append((text.replace(name, "NAME"), info["arguments"]))
        assert (told[0] == told[1]) == alike
        assert "10 moments" in str(told[0][0]) or not alike


def test_games_and_rooms_that_cannot_be_are_refused():
    for rooms in ([], [Room(STEADY)] * 25):
        with pytest.raises(GameError, match="allowed are 1 to 24"):
            Game(rooms)
    for controls in (-1, 2, 13):
        with pytest.raises(GameError, match="allowed are 0 to 12"):
            Room(STEADY, controls)


# --- text


@given(st.text(max_size=400))
def test_plain_text_can_do_nothing(text):
    found = plain(text, 100)
    assert len(found) <= 100
    assert found.isprintable() or found == ""
    assert "\n" not in found
    assert plain(found, 100) == found


def test_escapes_and_overrides_are_taken_out():
    assert plain("a\x1b[2Jb\x9b31mc\u202ed\u200be\x00\ud800 f") == "a[2Jb31mcde f"
    assert plain("x" * 10_000_000, 50) == "x" * 47 + "..."
