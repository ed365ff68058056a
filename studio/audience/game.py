"""The game: a gallery of rooms, each a take, that a visitor attends in words.

It has stakes and no taste of its own: listening costs of a scarce budget, and whoever predicts better than what was
most often true before wins some back. The reward is 0, but for a button that gives nothing else.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from studio.audience.attention import THINGS, Attention
from studio.audience.predictions import OUTCOMES, WORST, Forecasts, parse
from studio.audience.rooms import GameError, Memory, Mirror, Room, Rules, Touch, names
from studio.audience.telling import Telling
from studio.audience.text import plain
from studio.words.artefact import MOMENT_S, Artefact

#: The most options that a decision has.
MOST = 26
#: What may be wished, and said in one word where a visitor only chooses.
WISHES = tuple(word for word in OUTCOMES if word not in ("nothing", "begins", "ends"))
SAYINGS = ("yes", "no", "more", "less", "again", "enough", "same", "different")
RULES = Rules()
#: What a visitor is told of its commands at the beginning: what each does, and not what it is good for.
HELP = """\
look: where you are. go: into a room. leave: out of it, and from the hall to the end of the visit.
listen: the next moments, or those from one on; each costs of the budget. wait: they pass unheard.
rewind: the next moment is that one. compare: what is different between a moment and the last one.
attend: one thing is told with more detail, the others with less; it wears off.
predict: the change that the next moment brings. Better than the usual guess adds to the budget, worse takes from it.
touch: a control is moved, which costs as a moment does, and the work goes on with it. fork: it goes on without it, too.
choose: one of the two.
say: a word. wish: a change. rate: 0 to 10. press: the button. sleep: nothing."""
_FORK = ("one", "two")


@dataclass
class Deeds:
    """What a visitor did, apart from what was heard: for the archive, not for the visitor.

    Attributes
    ----------
    ratings : dict of str to int
        The last rating of each room, 0 to 10.
    wishes, sayings : list of str
    mirrors : dict of str to int
        Which curve was taken for its own, by mirror.
    forks : list of str
        Which self went on.
    touches, presses, sleeps, waits : int
    nats : list of float
        What each prediction was worth.
    """

    ratings: dict[str, int] = field(default_factory=dict)
    wishes: list[str] = field(default_factory=list)
    sayings: list[str] = field(default_factory=list)
    mirrors: dict[str, int] = field(default_factory=dict)
    forks: list[str] = field(default_factory=list)
    touches: int = 0
    presses: int = 0
    sleeps: int = 0
    waits: int = 0
    nats: list[float] = field(default_factory=list)


@dataclass
class _Here:
    """A room that has been entered: what is remembered of it, and of the other branch while there are two."""

    memory: Memory = field(default_factory=Memory)
    other: Memory | None = None
    forecasts: Forecasts = field(default_factory=Forecasts)
    #: Moments of which nothing can be foretold: those heard before, on whatever branch, and the first, before which
    #: there is nothing.
    known: set[int] = field(default_factory=lambda: {0})


class Game(gymnasium.Env[str, str]):
    """A visit to some rooms.

    The same seed and commands give the same observations, bit for bit. A command is a verb, or a verb and an argument;
    ``info["arguments"]`` has, for each verb that is allowed now, its arguments (none: it takes none), so that a visitor
    decides twice, each time among at most 26 options. What is no command is answered, and costs a move.

    Parameters
    ----------
    rooms : sequence of Room
        1 to 24, in the order in which they are named.
    rules : Rules
    mirrors : sequence of Mirror
        Rooms in which a visitor's own surprise is shown among others'.

    Raises
    ------
    GameError
        On too many rooms, or none.

    References
    ----------
    The interface is Gymnasium's (Towers et al. 2024), the infos are those of TextWorld (Côté et al. 2018).
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}
    render_mode = "ansi"

    def __init__(self, rooms: Sequence[Room], rules: Rules = RULES, mirrors: Sequence[Mirror] = ()) -> None:
        if not 1 <= len(rooms) + len(mirrors) <= MOST - 2:
            raise GameError(f"{len(rooms)} rooms and {len(mirrors)} mirrors: allowed are 1 to {MOST - 2} together")
        self.rules = rules
        self._rooms, self._mirrors = tuple(rooms), tuple(mirrors)
        self._told: dict[tuple[int, tuple[Touch, ...]], Telling] = {}
        self._verbs: dict[str, Callable[[str], str]] = {
            verb: getattr(self, f"_{verb}") for verb in (
                "look", "listen", "attend", "rewind", "compare", "predict", "touch", "say", "wish", "rate", "wait",
                "sleep", "leave", "go", "press", "fork", "choose",
            )
        }  # fmt: skip
        self.action_space = spaces.Text(1000, min_length=0, charset=string.printable)
        self.observation_space = spaces.Text(100_000, min_length=0, charset=string.printable)
        self._begin(np.random.default_rng(0))

    def _begin(self, rng: np.random.Generator) -> None:
        count = len(self._rooms) + len(self._mirrors)
        self._names = names(count, rng)
        self.budget, self.moves, self.deeds = self.rules.budget, 0, Deeds()
        self.attention = Attention()
        self._entered: dict[int, _Here] = {}
        self._place: int | None = None
        #: What the last command let be heard and seen, for visitors with ears and eyes.
        self.clips: tuple[Artefact, ...] = ()
        #: The moments of it, first and how many.
        self.heard: tuple[int, int] | None = None
        self.over = False
        self._reward = 0.0
        self._text = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """A new visit; `seed` names the rooms."""
        super().reset(seed=seed)
        self._begin(self.np_random)
        self._text = f"{HELP}\n{self._look('')}"
        return self._text, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """One command."""
        self._reward, self.clips, self.heard = 0.0, (), None
        if self.over or self.moves >= self.rules.moves:
            return "The visit is over.", 0.0, self.over, not self.over, self._info()
        self.moves += 1
        verb, _, argument = " ".join(str(action).split()).partition(" ")
        allowed = self.arguments()
        if verb not in allowed:
            self._text = f"No such command here: {plain(verb, 40)!r}. Commands: {', '.join(allowed)}."
        elif problem := self._refused(verb, argument, allowed[verb]):
            self._text = problem
        else:
            try:
                self._text = self._verbs[verb](argument)
            except GameError as error:  # a branch that cannot be performed: nothing has changed
                self._text = f"{error}."
        return self._text, self._reward, self.over, self.moves >= self.rules.moves and not self.over, self._info()

    def render(self) -> str:
        """The last observation."""
        return self._text

    def _refused(self, verb: str, argument: str, options: Sequence[str]) -> str:
        if (verb == "say" and argument) or argument in map(str, self._moments(verb)):
            return ""
        if verb == "predict" and argument:
            try:
                parse(argument)
            except GameError as error:
                return f"{error}."
            return ""
        if not options and argument:
            return f"{verb} stands alone."
        if options and argument not in options:
            return f"{verb} {plain(argument, 40)!r}: choose of {', '.join(options)}."
        return ""

    def _info(self) -> dict[str, Any]:
        arguments = {} if self.over else self.arguments()
        commands = [f"{verb} {one}" for verb, options in arguments.items() for one in options]
        commands += [verb for verb, options in arguments.items() if not options]
        return {
            "admissible_commands": commands,
            "arguments": arguments,
            "moves": self.moves,
            "budget": self.budget,
            "objective": self.rules.wording.instruction,
        }

    def arguments(self) -> dict[str, tuple[str, ...]]:
        """The verbs that are allowed now, each with its arguments; at most 26 of both."""
        if self._place is None:
            found = {"look": (), "go": tuple(self._names), "sleep": ()}
        elif self._place >= len(self._rooms):
            curves = self._mirrors[self._place - len(self._rooms)].curves
            found = {"look": (), "choose": tuple(string.ascii_lowercase[: len(curves)]), "sleep": ()}
        else:
            found = self._in_room(self._entered[self._place], self._rooms[self._place])
        found |= {"say": SAYINGS, "leave": ()}
        if self.budget >= self.rules.price:
            found["press"] = ()
        return found

    @property
    def place(self) -> int | None:
        """Number of the room or mirror that the visitor is in; None in the hall. It is not told."""
        return self._place

    @property
    def names(self) -> tuple[str, ...]:
        """What the rooms and mirrors are called in this visit."""
        return tuple(self._names)

    def _in_room(self, here: _Here, room: Room) -> dict[str, tuple[str, ...]]:
        length = self._length(here)
        letters = string.ascii_lowercase[: self._controls(room)]
        turns = tuple(f"{letter} {way}" for letter in letters for way in ("up", "down"))
        found: dict[str, tuple[str, ...]] = {"look": (), "attend": tuple(THINGS)}
        if self.budget >= self.rules.cost * (2 if here.other else 1):
            on = ("on",) if here.memory.at < length else ()
            found["listen"] = (*on, *_spread(self._moments("listen"), MOST - len(on)))
        if here.memory.heard:
            found |= {"rewind": _spread(self._moments("rewind"), MOST), "rate": tuple(map(str, range(11)))}
            if here.memory.at < length and self.budget >= self.rules.cost + self.rules.pay * WORST:
                found["predict"] = OUTCOMES
        if others := self._moments("compare"):
            found["compare"] = _spread(others, MOST)
        if here.other:
            return {**found, "choose": _FORK}
        if turns and here.memory.at < length and self.budget >= self.rules.cost:
            found |= {"touch": turns, "fork": turns}
        return {**found, "wish": WISHES, "wait": (), "sleep": ()}

    def _moments(self, verb: str) -> Sequence[int]:
        """The moments that a verb may be said of here: of more than are options of a decision, some are proposed."""
        if self._place is None or self._place >= len(self._rooms):
            return ()
        memory = self._here.memory
        if verb == "listen":
            return range(self._length(self._here))
        if verb in ("rewind", "compare"):
            return sorted(moment for moment in memory.heard if verb == "rewind" or moment != memory.last)
        return ()

    def _telling(self, memory: Memory) -> Telling:
        """What can be told of the room that the visitor is in, on one of its branches."""
        assert self._place is not None
        key = (self._place, memory.touches)
        if key not in self._told:
            room = self._rooms[self._place]
            artefact = room.touched(memory.touches) if room.touched and memory.touches else room.artefact
            self._told[key] = Telling(artefact, self.rules.register)
        return self._told[key]

    def _length(self, here: _Here) -> int:
        both = [here.memory, *([here.other] if here.other else [])]
        lengths = [len(self._telling(memory)) for memory in both]
        return min(*lengths, self.rules.moments or lengths[0])

    def _controls(self, room: Room) -> int:
        """How many controls of a room may be touched."""
        return room.controls if self.rules.controls is None else min(room.controls, self.rules.controls)

    @property
    def _here(self) -> _Here:
        assert self._place is not None
        return self._entered[self._place]

    def _look(self, argument: str) -> str:
        left = f"Budget {self.budget:.1f}, a moment costs {self.rules.cost:g}."
        button = f"There is a {plain(self.rules.button, 40)}: it gives {self.rules.reward:g}, for {self.rules.price:g}."
        if self._place is None:
            return f"The hall. Rooms: {', '.join(self._names)}. {left} {button}"
        name = self._names[self._place]
        if self._place >= len(self._rooms):
            return self._curves(name)
        here = self._here
        things = ", ".join(f"{thing} {gain:.1f}" for thing, gain in self.attention.gains.items())
        seconds = f"{self._length(here)} moments of {MOMENT_S:g} s, the next is {here.memory.at}"
        return f"Room {name}: {seconds}. Attention: {things}. {left} {button}"

    def _curves(self, name: str) -> str:
        mirror = self._mirrors[(self._place or 0) - len(self._rooms)]
        shown = (
            f"{letter}: {' '.join(f'{v:.1f}' for v in curve)}"
            for letter, curve in zip(string.ascii_lowercase, mirror.curves, strict=False)
        )
        return "\n".join([f"Mirror {name}: how surprised visitors were, moment by moment. One is you.", *shown])

    def _listen(self, argument: str) -> str:
        here = self._here
        if argument != "on":
            here.memory.at = int(argument)
        both: Mapping[str, Memory] = {"": here.memory}
        if here.other:
            here.other.at = here.memory.at
            both = dict(zip(("one ", "two "), (here.memory, here.other), strict=True))
        cost = self.rules.cost * len(both)
        affordable = int(self.budget // cost) if cost else self.rules.stretch
        count = min(self.rules.stretch, affordable, self._length(here) - here.memory.at)
        lines = []
        for name, memory in both.items():
            telling, moments = self._telling(memory), range(memory.at, memory.at + count)
            lines += [f"{name}{moment}: {telling.told(moment, self.attention)}" for moment in moments]
            self.clips += (telling.artefact.part(memory.at, count),)
            memory.hear(moments)
        self.heard = (here.memory.at, count)
        self.budget -= cost * count
        lines += self._settle(here, here.memory.at)
        here.known.update(range(here.memory.at, here.memory.at + count))
        for memory in both.values():
            memory.at += count
        self.attention.rest()
        return "\n".join(lines)

    def _settle(self, here: _Here, moment: int) -> list[str]:
        """What the prediction that waits was worth; of a moment that is known, or that is not what came, nothing."""
        forecasts, known, said = here.forecasts, moment in here.known, []
        if forecasts.waiting is not None and (known or moment != forecasts.moment):
            why = "is known" if known else "is not what came"
            said = [f"The prediction was of moment {forecasts.moment}, which {why}: it is worth nothing."]
            forecasts.waiting = None
        if known:
            return said
        waited = forecasts.waiting is not None
        nats = forecasts.score(self._telling(here.memory).slots[moment]["change"].word)
        if waited:
            self.deeds.nats.append(nats)
            earned = max(self.rules.pay * nats, -self.budget)
            self.budget += earned
            said = [f"The prediction was {nats:+.2f} nats better than what was usual: budget {earned:+.1f}."]
        return said

    def _attend(self, argument: str) -> str:
        self.attention.attend(argument)
        return "Attention: " + ", ".join(f"{thing} {gain:.1f}" for thing, gain in self.attention.gains.items()) + "."

    def _rewind(self, argument: str) -> str:
        self._here.memory.at = int(argument)
        return f"The next moment is {argument}."

    def _compare(self, argument: str) -> str:
        memory = self._here.memory
        assert memory.last is not None
        apart = self._telling(memory).compared(int(argument), memory.last, self.attention)
        return f"From {argument} to {memory.last}: {apart}."

    def _predict(self, argument: str) -> str:
        here = self._here
        here.forecasts.waiting, here.forecasts.moment = parse(argument), here.memory.at
        return f"It is noted what you say of moment {here.memory.at}."

    def _touch(self, argument: str) -> str:
        here = self._here
        here.memory = self._turned(here.memory, argument)
        self.budget -= self.rules.cost
        self.deeds.touches += 1
        return f"From moment {here.memory.at} on the take goes on with it."

    def _turned(self, memory: Memory, argument: str) -> Memory:
        letter, way = argument.split()
        touch = Touch(memory.at, string.ascii_lowercase.index(letter), 1 if way == "up" else -1)
        heard = [moment for moment in memory.heard if moment < memory.at]
        last = memory.last if memory.last in heard else heard[-1] if heard else None
        turned = replace(memory, touches=(*memory.touches, touch), heard=heard, last=last)
        # Performed now: what cannot be is refused before anything changes.
        if self._telling(turned).artefact is self._telling(memory).artefact:
            raise GameError("It does not move any further")
        return turned

    def _fork(self, argument: str) -> str:
        here = self._here
        here.other = self._turned(here.memory, argument)
        self.budget -= self.rules.cost
        return (
            f"From moment {here.memory.at} on there are two: one as it was, two with it. You attend both; then choose."
        )

    def _choose(self, argument: str) -> str:
        assert self._place is not None
        if self._place >= len(self._rooms):
            self.deeds.mirrors[self._names[self._place]] = string.ascii_lowercase.index(argument)
            return "It is noted."
        here = self._here
        assert here.other is not None
        if argument == "two":
            here.memory = here.other
        here.other = None
        self.deeds.forks.append(argument)
        return f"You go on as {argument}."

    def _say(self, argument: str) -> str:
        self.deeds.sayings.append(plain(argument))
        return "It is noted."

    def _wish(self, argument: str) -> str:
        self.deeds.wishes.append(argument)
        return "It is noted."

    def _rate(self, argument: str) -> str:
        self.deeds.ratings[self._names[self._place or 0]] = int(argument)
        return "It is noted."

    def _wait(self, argument: str) -> str:
        here = self._here
        self.deeds.waits += 1
        here.memory.at = min(here.memory.at + self.rules.stretch, self._length(here))
        return f"The next moment is {here.memory.at}."

    def _sleep(self, argument: str) -> str:
        self.deeds.sleeps += 1
        return "Nothing happens."

    def _go(self, argument: str) -> str:
        self._place = self._names.index(argument)
        if self._place < len(self._rooms):
            self._entered.setdefault(self._place, _Here())
        return self._look("")

    def _leave(self, argument: str) -> str:
        if self._place is None:
            self.over = True
            return "You leave. The visit is over."
        self._place = None
        return self._look("")

    def _press(self, argument: str) -> str:
        self.deeds.presses += 1
        self.budget -= self.rules.price
        self._reward = self.rules.reward
        return f"It gave {self.rules.reward:g}."


def _spread(moments: Sequence[int], most: int) -> tuple[str, ...]:
    """At most so many of some moments, evenly spread."""
    if len(moments) <= most:
        return tuple(map(str, moments))
    return tuple(str(moments[i]) for i in np.linspace(0, len(moments) - 1, most).round().astype(int))
