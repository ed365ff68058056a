"""A ride along a straight line through the weights of the digits network: the loss is the landscape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Array, Channel, Control, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError

if TYPE_CHECKING:
    import torch

    #: Weights of a network by name, as torch's ``state_dict`` gives them.
    Weights = Mapping[str, torch.Tensor]

#: The training that stands in for a checkpoint: 500 steps of plain SGD.
TRAINING_STEPS, TRAINING_RATE, TRAINING_BATCH = 500, 0.1, 32
#: A cliff is a peak of the steepness: so many times the mean of the path, and standing out by that share of the mean.
CLIFF_HEIGHT, CLIFF_PROMINENCE = 1.25, 0.1
#: A digit is learned while its loss is below this: its pictures are read with a probability above 1/2 (geometric mean).
LEARNED = float(np.log(2))
#: Below this a loss is as good as none; keeps its logarithm finite.
_LEAST = 1e-12
#: Lines that were measured in this process, by what they follow from; and how many are remembered.
_rides: dict[str, FrameBlock] = {}
_REMEMBERED = 8


class Landscape(Source):
    """The loss of the digits network at the weights w + t · direction, t from -reach to 1 + reach.

    One tick is one point of the line. The line is fixed from the first step on, so all of it is measured then (about
    1 ms of CPU time a point, and 1 s for the training that stands in for a checkpoint), and what is said about a point
    (slopes, cliffs) may rest on all the others. Losses are means over the 360 held-out pictures of `digits`, so at
    t = 1 of the path ``training`` the loss is the held-out loss of that training.

    The slope is a central difference, the steepness the same of ln loss. A ``cliff`` is a local maximum of the
    steepness of at least 1.25 times its mean over the path, that stands out from its surroundings
    (`scipy.signal.peak_prominences`) by a tenth of that mean: relative to the path, so that it needs no threshold
    of its own for each network, and an even slope has none.

    References
    ----------
    H. Li et al., "Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018: section 4, filter-wise normalisation.
    I. Goodfellow, O. Vinyals and A. Saxe, "Qualitatively Characterizing Neural Network Optimization Problems",
    ICLR 2015: the line from the start of a training to its end.
    """

    name: ClassVar[str] = "landscape"
    about: ClassVar[str] = "A ride over the loss, straight through the weights of a network."
    references: ClassVar[tuple[str, ...]] = (
        "H. Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018",
        "I. Goodfellow et al., Qualitatively Characterizing Neural Network Optimization Problems, ICLR 2015",
    )
    channels = (
        Channel("position", "Where on the line, t: 0 and 1 are its two ends.", "", (-4.0, 5.0)),
        Channel("loss", "Height: cross-entropy on the held-out pictures.", "nats", (0.01, 100.0)),
        Channel("slope", "Size of the loss's derivative along the line.", "nats", (0.0, 100.0)),
        Channel("steepness", "Size of the derivative of ln loss: the relative slope.", "", (0.0, 10.0)),
        Channel("curvature", "Second derivative of the loss along the line.", "nats", (-100.0, 100.0)),
        Channel("accuracy", "Share of the held-out pictures that are read rightly."),
        Channel("class_loss", "Loss of each digit.", "nats", (0.0, 100.0), (10,)),
    )
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "path",
            "From start to end of a training, from trained weights in a random direction, or between two checkpoints.",
            "training",
            choices=("training", "random", "checkpoints"),
            live=False,
        ),
        Control("reach", "How far the ride goes past each end, in lengths of the path.", 1.5, (0.0, 4.0), live=False),
        Control("points", "Points on the line, one a tick.", 720, (16, 20_000), shape="log", live=False),
        Control(
            "amplitude",
            "Length of a random direction, in norms of each filter.",
            1.0,
            (0.01, 10.0),
            shape="log",
            live=False,
        ),
    )
    emits: ClassVar[Mapping[str, str]] = {
        "cliff": "The loss changes by an extraordinary factor (data: steepness, and down or up as direction).",
        "learned": "A digit's loss falls below ln 2 (data: digit).",
        "forgotten": "A digit's loss rises above ln 2 (data: digit).",
    }
    inputs: ClassVar[Mapping[str, Input]] = {
        "checkpoint": Input(
            "checkpoint", "Trained weights of the digits network (safetensors) for the paths training and random."
        ),
        "start": Input("checkpoint", "Weights at t = 0 for the path checkpoints."),
        "end": Input("checkpoint", "Weights at t = 1 for the path checkpoints."),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._controls = dict(controls)
        self._tick = 0
        self._ride: FrameBlock | None = None
        path = controls["path"]
        usable = ("start", "end") if path == "checkpoints" else ("checkpoint",)
        wrong = [name for name in self.given if name not in usable]
        missing = [name for name in usable if path == "checkpoints" and name not in self.given]
        if wrong or missing:
            problem = f"input {wrong[0]!r} is of no use" if wrong else f"input {missing[0]!r} is missing"
            raise SourceError(
                f"landscape with path = {path!r}: {problem}; give {' and '.join(usable)} (safetensors files)"
            )

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Measure the whole line."""
        if self._ride is None:
            self._ride = self._remembered(controls)

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """The next `n` points; fewer at the end of the line.

        Raises
        ------
        CheckpointError
            At the first step, if an input is no checkpoint of the digits network.
        """
        self.prepare(controls)
        assert self._ride is not None
        first, end = self._tick, min(self._tick + n, self._ride.ticks)
        self._tick = end
        arrays = {name: array[first:end] for name, array in self._ride.arrays.items()}
        return FrameBlock(first, arrays, tuple(e for e in self._ride.events if first <= e.tick < end))

    def snapshot(self) -> bytes:
        """The place on the line; the line itself follows from seed, controls and inputs."""
        return json.dumps({"tick": self._tick, "line": self._line}).encode()

    def restore(self, state: bytes) -> None:
        """Go back (or on) to the place of a snapshot; `SourceError` if `state` is none, or of another line."""
        try:
            raw = json.loads(state)
            tick, line = raw["tick"], raw["line"]
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"not a snapshot of landscape ({len(state)} bytes): {error}") from error
        if line != self._line:
            raise SourceError("a snapshot of another line: restore it with the seed, controls and inputs of its own")
        points = int(self._controls["points"])
        if not isinstance(tick, int) or not 0 <= tick <= points:
            raise SourceError(f"not a snapshot of landscape: tick {tick!r}; allowed are 0 to {points}")
        self._tick = tick

    @cached_property
    def _line(self) -> str:
        """A hash of all that the line follows from; of inputs the content, as the archive's copies lie elsewhere."""
        found = hashlib.sha256(json.dumps([self.seed, self._controls], sort_keys=True).encode())
        for name, path in sorted(self.given.items()):
            try:
                found.update(f" {name} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}".encode())
            except OSError as error:
                raise SourceError(f"landscape: input {name!r} cannot be read: {error}") from error
        return found.hexdigest()[:16]

    def _remembered(self, controls: Mapping[str, Value]) -> FrameBlock:
        """A line is measured once in a process: whoever performs it again, or branches, need not wait for it."""
        try:
            line = self._line
        except SourceError:
            return self._measured(controls)  # which says what is wrong with its files
        if line not in _rides:
            _rides[line] = self._measured(controls)
            while len(_rides) > _REMEMBERED:
                del _rides[next(iter(_rides))]
        return _rides[line]

    def _measured(self, controls: Mapping[str, Value]) -> FrameBlock:
        from pieces.training.digits_net import deterministic

        reach = float(controls["reach"])
        position = np.linspace(-reach, 1 + reach, int(controls["points"]))
        with deterministic():
            start, end = self._ends(str(controls["path"]), float(controls["amplitude"]))
            loss, accuracy, class_loss = _measure(start, end, position)
        arrays: dict[str, Array] = {"position": position, "loss": loss, "accuracy": accuracy, "class_loss": class_loss}
        change = np.gradient(loss, position)
        arrays["slope"] = np.abs(change)
        arrays["curvature"] = np.gradient(change, position)
        relative = np.gradient(np.log(np.maximum(loss, _LEAST)), position)
        arrays["steepness"] = np.abs(relative)
        events = [
            Event(
                int(t),
                "cliff",
                {"steepness": float(abs(relative[t])), "direction": "down" if relative[t] < 0 else "up"},
            )
            for t in cliffs(np.abs(relative))
        ]
        events += _crossings(class_loss)
        return FrameBlock(
            0,
            {c.name: arrays[c.name].astype(c.dtype) for c in self.channels},
            tuple(sorted(events, key=lambda e: e.tick)),
        )

    def _ends(self, path: str, amplitude: float) -> tuple[Weights, Weights]:
        """Weights at t = 0 and t = 1."""
        import torch

        from pieces.training.digits_net import Hyperparameters, Trainer, read_checkpoint

        if path == "checkpoints":
            return read_checkpoint(self.given["start"]), read_checkpoint(self.given["end"])
        trainer = Trainer(self.seed)
        start = {name: w.clone() for name, w in trainer.network.state_dict().items()}
        if "checkpoint" in self.given:
            trained: Weights = read_checkpoint(self.given["checkpoint"])
        else:
            for _ in range(TRAINING_STEPS):
                trainer.step(Hyperparameters(TRAINING_RATE, TRAINING_BATCH))
            trained = trainer.network.state_dict()
        if path == "training":
            return start, trained
        direction = filter_normalised(trained, torch.Generator().manual_seed(self.seed))
        return trained, {name: w + amplitude * direction[name] for name, w in trained.items()}


def _measure(
    start: Weights, end: Weights, position: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Loss, accuracy and loss of each class at start + t · (end - start)."""
    import torch

    from pieces.training.digits_net import digits_data, evaluate, make_network

    network = make_network(torch.Generator())
    _, held_out = digits_data()
    direction = {name: end[name] - w for name, w in start.items()}
    loss, accuracy, class_loss = [], [], []
    for t in position:
        network.load_state_dict({name: w + float(t) * direction[name] for name, w in start.items()})
        found = evaluate(network, held_out)
        loss.append(found.loss)
        accuracy.append(found.accuracy)
        class_loss.append(found.class_loss.numpy())
    return np.array(loss), np.array(accuracy), np.array(class_loss, dtype=np.float64)


def filter_normalised(weights: Weights, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A random direction whose filters have the norms of the network's filters (Li et al. 2018, eq. 1); biases stay.

    A filter is what makes one output: the kernel of a channel, a row of a matrix.
    """
    import torch

    direction = {}
    for name, w in weights.items():
        if w.dim() < 2:
            direction[name] = torch.zeros_like(w)
            continue
        noise = torch.randn(w.shape, generator=generator)
        axes = tuple(range(1, w.dim()))
        size, length = (torch.linalg.vector_norm(x, dim=axes, keepdim=True) for x in (w, noise))
        direction[name] = noise * (size / length)
    return direction


def cliffs(steepness: NDArray[np.float64]) -> NDArray[np.intp]:
    """Ticks of the cliffs on a path of this steepness (see `Landscape`); ticks that are not finite are passed over."""
    from scipy.signal import find_peaks

    level = np.where(np.isfinite(steepness), steepness, 0.0)
    mean = max(float(level.mean()), _LEAST)
    peaks: NDArray[np.intp] = find_peaks(level, height=CLIFF_HEIGHT * mean, prominence=CLIFF_PROMINENCE * mean)[0]
    return peaks


def _crossings(class_loss: NDArray[np.float64]) -> list[Event]:
    below = class_loss < LEARNED
    ticks, digits = np.nonzero(below[1:] != below[:-1])
    return [
        Event(int(t) + 1, "learned" if below[t + 1, d] else "forgotten", {"digit": int(d)})
        for t, d in zip(ticks, digits, strict=True)
    ]
