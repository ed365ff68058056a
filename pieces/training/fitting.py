"""One target after another, learned by gradient steps: what `cubics` and `knots` share.

Both come from one work, P. S. Castro, "Losses, Dissonances, and Distortions" (NeurIPS 2021 workshop on machine
learning for creativity and design, arXiv:2111.05128): a performer poses targets and makes gradient steps by playing.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pieces.keys import note
from pieces.signals import Channel, Control, Event, FrameBlock, Value
from pieces.source import Source, SourceError

Floats = NDArray[np.float64]

#: Notes that can play (MIDI numbers).
NOTES = (24.0, 96.0)

REFERENCE = (
    'P. S. Castro, "Losses, Dissonances, and Distortions", NeurIPS 2021 workshop on machine learning for creativity '
    "and design, arXiv:2111.05128"
)

#: Decay of the momentum buffer, and of Adam's second moment with its epsilon (Kingma and Ba 2015, algorithm 1).
BETA, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def fitting_channels(
    parameters: str, span: tuple[float, float], loss: float, gradient: float, unit: str = ""
) -> tuple[Channel, ...]:
    """Channels of a fit, in the order in which a tick fills them.

    Parameters
    ----------
    parameters : str
        Names of the learned parameters, one letter each.
    span : tuple of float
        Range in which targets and learners start.
    loss, gradient : float
        About the largest loss, and the largest size of a partial gradient, at a start.
    unit : str
        Unit of the parameters.
    """
    slopes = (-gradient, gradient)
    error = "signed mean of learned minus target: it may vanish while the loss does not"
    return (
        Channel("loss", "half mean squared error of the learned function", range=(0.0, loss)),
        Channel("mean_error", error, range=(-loss, loss)),
        *(Channel(f"gradient_{p}", f"partial derivative of the loss in {p}", range=slopes) for p in parameters),
        Channel("gradient_norm", "length of the gradient", range=(0.0, 2.0 * gradient)),
        *(Channel(p, f"{p} as learned so far", unit, span) for p in parameters),
        *(Channel(f"target_{p}", f"{p} of the target", unit, span) for p in parameters),
        Channel("distance", "Euclidean distance to the target's parameters", unit, (0.0, span[1] - span[0])),
        Channel("note", "the note that plays: headless one for each target, live the last heard", "MIDI", NOTES),
    )


def fitting_controls(learning_rate: float, steps_per_tick: int, targets: int) -> tuple[Control, ...]:
    """Controls of every fit, with the defaults that differ."""
    return (
        Control("learning_rate", "size of a gradient step", learning_rate, (1e-4, 1.0), shape="log"),
        Control("optimiser", "how a gradient becomes a step", "sgd", choices=("sgd", "momentum", "adam")),
        Control("steps_per_tick", "gradient steps made at each tick", steps_per_tick, (1, 1000), shape="log"),
        Control("rest", "headless: ticks from an ending to the next target", 75, (0, 10_000), unit="ticks"),
        Control("targets", "headless: targets learned before the source is over", targets, (1, 10_000)),
    )


class Fitting(Source):
    """A learner that is given one target after another.

    A tick emits the state it finds, then makes `steps_per_tick` gradient steps, so that the loss at a tick belongs to
    the parameters at that tick. Headless the source plays by itself: a target that has converged, or run away to Inf
    and NaN (which come out as they are), goes on for `rest` ticks; then the next is posed, and after `targets` of them
    the source is over. From the first ``note`` (or ``await``) on it is played: it poses nothing by itself, is never
    over, and makes steps only while a note is held (pressed by a velocity above 0, released by 0); otherwise its ticks
    hold.

    Events in a block are those that the source emits; the performance keeps those it sends.
    """

    clocked = False
    references = (REFERENCE,)
    #: The loss below which a target has converged.
    threshold: ClassVar[float]
    #: Notes below this one pose a target (MIDI number).
    split: ClassVar[int]
    #: Notes that headless targets play, one after the other and round again (MIDI numbers).
    phrase: ClassVar[tuple[int, ...]]
    #: Arrays of a problem that are emitted as they are, after the channels of `fitting_channels`.
    constants: ClassVar[tuple[str, ...]] = ()

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._random = np.random.Generator(np.random.PCG64(seed))
        #: ``theta`` and ``target`` [parameters], the optimiser's moments, and what the problem adds; all float64. While
        #: nothing is held, also the ``row`` that was emitted, so that a batch or noise drawn anew does not move it.
        self._arrays: dict[str, Floats] = {}
        #: ``settled``: ticks since the target converged or diverged, -1 while it is learned; ``held``: a bit for each
        #: key that is down; ``asked_at``: tick at which a note posed a target.
        self._counts = dict.fromkeys(("tick", "posed", "steps", "played", "held"), 0)
        self._counts |= {"settled": -1, "note": self.phrase[0], "asked_at": -1_000_000}

    @abstractmethod
    def pose(self, controls: Mapping[str, Value]) -> dict[str, Floats]:
        """Draw a target and a learner: ``target`` and ``theta`` [parameters], and what `evaluate` needs besides."""

    @abstractmethod
    def evaluate(self, controls: Mapping[str, Value]) -> tuple[float, float, Floats]:
        """Loss, signed mean error and gradient [parameters] of ``theta``, on what this step sees."""

    def apart(self, theta: Floats, target: Floats) -> Floats:
        """How far each learned parameter is from its target."""
        return theta - target

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """Make `n` ticks, fewer when the last target is done; see `Source.step`."""
        first, emitted = self._counts["tick"], list[Event]()
        rows = np.empty((n, len(self.channels)), dtype=np.float32)
        done = 0
        with np.errstate(all="ignore"):
            asked, struck = self._heard(events, controls)
            if asked or not self._counts["posed"]:
                emitted.append(self._pose(controls))
            while done < n:
                if not self._counts["played"] and self._counts["settled"] > int(controls["rest"]):
                    if self._counts["posed"] >= int(controls["targets"]):
                        break
                    emitted.append(self._pose(controls))
                learns = not self._counts["played"] or bool(self._counts["held"]) or (struck and not done)
                rows[done] = self._tick(controls, emitted, learns)
                done += 1
        arrays = {c.name: rows[:done, i].copy() for i, c in enumerate(self.channels)}
        return FrameBlock(first, arrays, tuple(emitted))

    def _heard(self, events: Sequence[Event], controls: Mapping[str, Value]) -> tuple[bool, bool]:
        """Whether `events` ask for a new target, and whether a note that trains was struck; keeps what is held."""
        asked = struck = False
        counts = self._counts
        for event in events:
            if event.kind == "new_target":
                asked = True
            elif event.kind == "await":
                counts["played"] = 1
            elif event.kind == "note":
                midi, velocity = note(event)
                counts["played"] = 1
                if velocity > 0 and midi < self.split and self._may_pose(controls):
                    asked, counts["asked_at"] = True, counts["tick"]
                if self._sounds(midi):
                    counts["held"] = counts["held"] | 1 << midi if velocity > 0 else counts["held"] & ~(1 << midi)
                    counts["note"] = midi if velocity > 0 else counts["note"]
                    struck |= velocity > 0
        return asked, struck

    def _sounds(self, midi: int) -> bool:
        """Whether a note is one of those that play: by default all that pose nothing."""
        return midi >= self.split

    def _may_pose(self, controls: Mapping[str, Value]) -> bool:
        """Whether a note may pose a target now."""
        return True

    def _pose(self, controls: Mapping[str, Value]) -> Event:
        counts = self._counts
        self._arrays = self.pose(controls)
        zeros = np.zeros_like(self._arrays["theta"])
        self._arrays |= {"moment": zeros, "moment_2": zeros}
        if not counts["played"]:
            counts["note"] = self.phrase[counts["posed"] % len(self.phrase)]
        counts.update(posed=counts["posed"] + 1, steps=0, settled=-1)
        return Event(counts["tick"], "new_target", {"target": counts["posed"]})

    def _tick(self, controls: Mapping[str, Value], emitted: list[Event], learns: bool) -> Floats:
        arrays, counts = self._arrays, self._counts
        if not learns and "row" in arrays:
            counts["tick"] += 1
            return arrays["row"]
        loss, mean_error, gradient = self.evaluate(controls)
        theta, target = arrays["theta"], arrays["target"]
        norm = np.linalg.norm(gradient)
        distance = np.linalg.norm(self.apart(theta, target))
        constants = [arrays[name] for name in self.constants]
        row = np.hstack([loss, mean_error, gradient, norm, theta, target, distance, counts["note"], *constants])
        if counts["settled"] >= 0:
            counts["settled"] += 1
        elif loss < self.threshold:
            counts["settled"] = 1
            emitted.append(Event(counts["tick"], "converged", {"target": counts["posed"], "steps": counts["steps"]}))
        elif not np.isfinite(np.float32(loss)):
            counts["settled"] = 1
        if learns:
            self._descend(gradient, controls)
            for _ in range(int(controls["steps_per_tick"]) - 1):
                self._descend(self.evaluate(controls)[2], controls)
            arrays.pop("row", None)
        else:
            arrays["row"] = row
        counts["tick"] += 1
        return row

    def _descend(self, gradient: Floats, controls: Mapping[str, Value]) -> None:
        """One step of the optimiser: gradient descent, heavy ball, or Adam."""
        arrays, rate, kind = self._arrays, float(controls["learning_rate"]), controls["optimiser"]
        self._counts["steps"] += 1
        move = gradient
        if kind == "momentum":
            arrays["moment"] = move = BETA * arrays["moment"] + gradient
        elif kind == "adam":
            count = self._counts["steps"]
            arrays["moment"] = BETA * arrays["moment"] + (1 - BETA) * gradient
            arrays["moment_2"] = BETA_2 * arrays["moment_2"] + (1 - BETA_2) * gradient**2
            spread = np.sqrt(arrays["moment_2"] / (1 - BETA_2**count)) + EPSILON
            move = arrays["moment"] / (1 - BETA**count) / spread
        arrays["theta"] = arrays["theta"] - rate * move

    def snapshot(self) -> bytes:
        """Target, learner, optimiser and random state as JSON."""
        arrays = {name: [array.shape, array.tobytes().hex()] for name, array in self._arrays.items()}
        random = self._random.bit_generator.state
        state = {"source": self.name, "random": random, "arrays": arrays, "counts": self._counts}
        return json.dumps(state).encode()

    def restore(self, state: bytes) -> None:
        """Go back to a snapshot.

        Raises
        ------
        SourceError
            If `state` is no snapshot of this source.
        """
        try:
            raw = json.loads(state)
            if raw["source"] != self.name:
                raise SourceError(f"a snapshot of {raw['source']} cannot restore {self.name}")
            random = np.random.PCG64()
            random.state = raw["random"]
            arrays = {
                name: np.frombuffer(bytes.fromhex(data), dtype=np.float64).reshape(shape)
                for name, (shape, data) in raw["arrays"].items()
            }
            counts = {name: int(raw["counts"][name]) for name in self._counts}
            if counts["posed"] and (lost := {"theta", "target", "moment", "moment_2", *self.constants} - set(arrays)):
                raise ValueError(f"it lacks {', '.join(sorted(lost))}")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise SourceError(f"not a snapshot of {self.name} ({len(state)} bytes): {error}") from error
        self._random, self._arrays, self._counts = np.random.Generator(random), arrays, counts
