"""A small convolutional network learns handwritten digits; its losses and gradients are the signals."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pieces.signals import Array, Channel, Control, Event, FrameBlock, Value
from pieces.source import Source, SourceError

if TYPE_CHECKING:
    from pieces.training.digits_net import Evaluation, Hyperparameters, StepReport, Trainer

#: The layers that have weights, from the picture to the answer.
LAYERS = ("conv1", "conv2", "hidden", "output")
#: Held-out accuracies that are announced when they are first reached.
MILESTONES = (0.5, 0.8, 0.9, 0.95)
#: Loss of a network that knows nothing: ten classes, equally likely.
CHANCE = math.log(10)
#: ``collapsed``: the logits move by less than this (nats) over all held-out pictures ...
COLLAPSED_SPREAD = 0.01
#: ... the held-out loss is this near to ln 10, the accuracy at most this, and all that for so many ticks.
COLLAPSED_LOSS, COLLAPSED_ACCURACY, COLLAPSED_TICKS = 0.5, 0.15, 16
#: ``exploded``: a minibatch loss above this, i.e. the right answers thought less likely than e^-100.
EXPLODED_LOSS = 100.0
#: ``converged``: a held-out loss below this for so many ticks.
CONVERGED_LOSS, CONVERGED_TICKS = 0.22, 16
#: Ticks that are still played after the loss is no number any more.
AFTERMATH = 32


def _layer_channels() -> tuple[Channel, ...]:
    kinds = (
        ("grad_norm", "Euclidean norm of the gradient of {}'s weights and biases.", "nats", (1e-3, 10.0)),
        ("weight_norm", "Euclidean norm of {}'s weights and biases.", "", (0.0, 20.0)),
        ("update_ratio", "Size of the last update of {}, relative to its weights.", "", (1e-5, 1.0)),
    )
    return tuple(
        Channel(f"{kind}_{layer}", about.format(layer), unit, span)
        for kind, about, unit, span in kinds
        for layer in LAYERS
    )


@dataclass
class Progress:
    """How far a training has come: ticks made, what was announced, and for how many ticks a state has lasted."""

    tick: int = 0
    happened: list[str] = field(default_factory=list)
    collapsed_for: int = 0
    converged_for: int = 0
    broken_for: int = 0

    def observe(self, loss: float, evaluation: Evaluation) -> list[Event]:
        """Count one more tick and return what it is the first to show."""
        blind = evaluation.spread < COLLAPSED_SPREAD and evaluation.accuracy <= COLLAPSED_ACCURACY
        at_chance = abs(evaluation.loss - CHANCE) <= COLLAPSED_LOSS
        self.collapsed_for = self.collapsed_for + 1 if blind and at_chance else 0
        self.converged_for = self.converged_for + 1 if evaluation.loss < CONVERGED_LOSS else 0
        self.broken_for += not math.isfinite(loss)
        events = [
            *(self._first("milestone", accuracy=m) for m in MILESTONES if evaluation.accuracy >= m),
            # NaN fails every comparison, so a loss that leaps over the large numbers has exploded too.
            None if loss <= EXPLODED_LOSS else self._first("exploded"),
            self._first("collapsed") if self.collapsed_for >= COLLAPSED_TICKS else None,
            self._first("converged") if self.converged_for >= CONVERGED_TICKS else None,
        ]
        self.tick += 1
        return [e for e in events if e is not None]

    def _first(self, kind: str, **data: float) -> Event | None:
        event = Event(self.tick, kind, data)
        key = f"{kind} {data}"
        if key in self.happened:
            return None
        self.happened.append(key)
        return event


class Digits(Source):
    """A convolutional network (9,802 parameters) trained on scikit-learn's 8 x 8 handwritten digits.

    The split into 1437 training and 360 held-out pictures is always the same; start weights and minibatches come from
    the take's seed. A tick is `steps_per_tick` gradient steps and an evaluation on all held-out pictures. Loss is the
    mean minibatch loss of the tick; norms and ratios are those of its last step.

    Events are defined by constants of this module. ``collapsed``: the network says the same about every
    picture (logit spread below 0.01 nats), accuracy is at chance and the held-out loss within 0.5 nats of ln 10, for
    16 ticks. ``exploded``: a minibatch loss above 100 nats. When the loss is no number any more the source
    is over 32 ticks later.

    Measured with plain SGD and batches of 16 over 300 steps: at 1.0 the training collapsed for 23 of 24 seeds, one of
    which came back; at 10 it exploded for 10 of 12 seeds, and at 100 and at 1000 for all 12. Most explosions end with
    dead units and a finite loss; NaN came for 2 of 12 seeds at 1000. That is why the default batch is 16: with
    batches of 32 and of 64, 2 and 3 of 8 trainings survived 500 steps at 1.0.

    References
    ----------
    C. Perone, "Listening to the neural network gradient norms during training", 2019: each layer a voice.
    """

    name: ClassVar[str] = "digits"
    about: ClassVar[str] = "A small convolutional network learns handwritten digits."
    references: ClassVar[tuple[str, ...]] = (
        "C. S. Perone, Listening to the neural network gradient norms during training, 2019",
        "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998",
        "K. He, X. Zhang, S. Ren and J. Sun, Delving Deep into Rectifiers, ICCV 2015 (the start weights)",
    )
    channels = (
        Channel("loss", "Cross-entropy of the tick's minibatches.", "nats", (0.0, 4.0)),
        Channel("held_out_loss", "Cross-entropy on the held-out pictures.", "nats", (0.0, 4.0)),
        Channel("accuracy", "Share of the held-out pictures that are read rightly."),
        Channel("spread", "How much the logits differ between held-out pictures; 0: blind.", "nats", (0.0, 10.0)),
        *_layer_channels(),
        Channel("learning_rate", "Step size of the optimiser.", "", (1e-4, 1e3)),
        Channel(
            "confusion", "Held-out pictures by true class (row) and answer (column).", "", (0, 45), (10, 10), "uint16"
        ),
        Channel("kernels", "The eight 3 x 3 kernels of the first layer.", "", (-1.5, 1.5), (8, 3, 3)),
        Channel("step_time", "Time that the tick took.", "s", (0.0, 0.1), reproducible=False),
    )
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "learning_rate",
            "Step size: 0.01 learns slowly, 1.0 collapses, 100 explodes.",
            0.025,
            (1e-4, 1e3),
            shape="log",
        ),
        Control("batch_size", "Pictures in a minibatch.", 16, (1, 256), shape="log"),
        Control(
            "optimiser",
            "momentum is SGD with 0.9; adam has torch's defaults.",
            "sgd",
            choices=("sgd", "momentum", "adam"),
        ),
        Control("label_noise", "Share of the training labels replaced by random ones.", 0.0, (0.0, 1.0)),
        Control("steps_per_tick", "Gradient steps in a tick.", 1, (1, 64), shape="log"),
    )
    emits: ClassVar[Mapping[str, str]] = {
        "milestone": "Held-out accuracy reached 0.5, 0.8, 0.9 or 0.95 for the first time (data: accuracy).",
        "converged": "The held-out loss stayed below 0.22 nats for 16 ticks.",
        "collapsed": "The network has become blind and answers at chance.",
        "exploded": "A minibatch loss above 100 nats.",
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._trainer: Trainer | None = None
        self._progress = Progress()

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Load torch and the pictures, and make the network; and what torch loads with a first step, by another one."""
        from pieces.training.digits_net import Trainer, deterministic

        with deterministic():
            self._ready()
            Trainer(self.seed).step(_hyperparameters(controls))

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """Train for up to `n` ticks; fewer once the loss has not been a number for 32 ticks."""
        from pieces.training.digits_net import deterministic

        steps, hyperparameters = int(controls["steps_per_tick"]), _hyperparameters(controls)
        arrays: dict[str, Array] = {c.name: np.zeros((n, *c.shape), c.dtype) for c in self.channels}
        arrays["learning_rate"][:] = hyperparameters.learning_rate
        emitted: list[Event] = []
        first, done = self._progress.tick, 0
        with deterministic():
            trainer = self._ready()
            while done < n and self._progress.broken_for < AFTERMATH:
                started = time.perf_counter()
                reports = [trainer.step(hyperparameters) for _ in range(steps)]
                loss = sum(r.loss for r in reports) / steps
                evaluation = trainer.evaluate()
                for name, value in _row(loss, reports[-1], evaluation).items():
                    arrays[name][done] = value
                arrays["kernels"][done] = trainer.kernels()
                emitted += self._progress.observe(loss, evaluation)
                arrays["step_time"][done] = time.perf_counter() - started
                done += 1
        return FrameBlock(first, {name: a[:done] for name, a in arrays.items()}, tuple(emitted))

    def _ready(self) -> Trainer:
        from pieces.training.digits_net import Trainer

        if self._trainer is None:
            self._trainer = Trainer(self.seed)
        return self._trainer

    def snapshot(self) -> bytes:
        """Weights, optimiser, random state and progress as safetensors; also a checkpoint that `landscape` reads."""
        return self._ready().save(asdict(self._progress))

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot.

        Raises
        ------
        SourceError
            If `state` is no snapshot of this source.
        """
        from pieces.training.digits_net import Trainer

        trainer = Trainer(self.seed)
        try:
            progress = Progress(**trainer.load(state))
        except Exception as error:
            raise SourceError(f"not a snapshot of digits ({len(state)} bytes): {error}") from error
        self._trainer, self._progress = trainer, progress


def _hyperparameters(controls: Mapping[str, Value]) -> Hyperparameters:
    from pieces.training.digits_net import Hyperparameters

    given: dict[str, Any] = {name: value for name, value in controls.items() if name != "steps_per_tick"}
    return Hyperparameters(**given)


def _row(loss: float, report: StepReport, evaluation: Evaluation) -> dict[str, object]:
    """The values of one tick, by channel."""
    row: dict[str, object] = {
        "loss": loss,
        "held_out_loss": evaluation.loss,
        "accuracy": evaluation.accuracy,
        "spread": evaluation.spread,
        "confusion": evaluation.confusion.numpy(),
    }
    for kind in ("grad_norm", "weight_norm", "update_ratio"):
        row |= {f"{kind}_{layer}": v for layer, v in zip(LAYERS, getattr(report, kind), strict=True)}
    return row
