"""The digits network, its data and its training, shared by the sources that look inside it.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pieces.errors import DescantError

#: Seed of the split, the same for every take, so that held-out accuracies can be compared.
SPLIT_SEED = 1797
HELD_OUT = 360
CLASSES = 10


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread, deterministic kernels, denormals flushed: equal bits at every run, and no slow tails."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Examples:
    """Pictures ``[n, 1, 8, 8]`` in 0..1 and their classes ``[n]``."""

    pictures: Tensor
    classes: Tensor


@cache
def digits_data() -> tuple[Examples, Examples]:
    """Train (1437) and held-out (360) examples of scikit-learn's handwritten digits.

    The data are the test part of the UCI "Optical Recognition of Handwritten Digits" set (Alpaydin & Kaynak, 1998).
    """
    images, target = _read_digits()
    pictures = torch.tensor(images, dtype=torch.float32).unsqueeze(1) / 16
    classes = torch.tensor(target)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return Examples(pictures[train], classes[train]), Examples(pictures[held_out], classes[held_out])


def _read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pictures ``[n, 8, 8]`` and classes of scikit-learn's file, without loading scikit-learn, which takes a second."""
    found = importlib.util.find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    table = np.loadtxt(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def make_network(generator: torch.Generator) -> nn.Sequential:
    """Two convolutions and two linear layers with ReLU: 9,802 parameters, from He et al. 2015 (eq. 10), biases 0.

    At this start a rate of 1.0 is one that nearly always collapses (measured: see `Digits`).
    """
    network = nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 8, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(8, 16, 3, stride=2, padding=1),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            hidden=nn.Linear(256, 32),
            relu3=nn.ReLU(),
            output=nn.Linear(32, CLASSES),
        )
    )
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return network


@dataclass(frozen=True)
class Evaluation:
    """How a network does on some examples.

    Attributes
    ----------
    loss, accuracy : float
        Mean cross-entropy in nats; share of right answers.
    class_loss : Tensor
        Mean loss of each class, ``[10]``, nats.
    confusion : Tensor
        Counts ``[true, answered]``, ``[10, 10]``.
    spread : float
        Standard deviation of the logits over the examples, mean over classes: 0 if the answer ignores the picture.
    """

    loss: float
    accuracy: float
    class_loss: Tensor
    confusion: Tensor
    spread: float


@torch.no_grad()
def evaluate(network: nn.Module, examples: Examples) -> Evaluation:
    """Measure `network` on `examples`; NaN goes through."""
    logits = network(examples.pictures)
    classes = examples.classes
    losses = F.cross_entropy(logits, classes, reduction="none")
    answers = logits.argmax(1)
    confusion = torch.bincount(classes * CLASSES + answers, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    class_loss = torch.zeros(CLASSES).index_add_(0, classes, losses) / confusion.sum(1)
    accuracy = float(confusion.diagonal().sum()) / len(classes)
    return Evaluation(float(losses.mean()), accuracy, class_loss, confusion, float(logits.std(0).mean()))


@dataclass(frozen=True)
class Hyperparameters:
    """What one training step may vary; the fields are the controls of `digits`."""

    learning_rate: float
    batch_size: int = 16
    optimiser: str = "sgd"
    label_noise: float = 0.0


@dataclass(frozen=True)
class StepReport:
    """One training step: minibatch loss (nats) and, layer by layer, norms of gradient and weights, and ‖Δw‖/‖w‖."""

    loss: float
    grad_norm: tuple[float, ...]
    weight_norm: tuple[float, ...]
    update_ratio: tuple[float, ...]


class Trainer:
    """Trains the digits network; everything random comes from `seed`."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.network = make_network(self._generator)
        self._layers = [list(m.parameters()) for m in self.network.children() if isinstance(m, nn.Conv2d | nn.Linear)]
        self._train, self._held_out = digits_data()
        self._kind = ""
        self._optimiser: torch.optim.Optimizer

    def step(self, given: Hyperparameters) -> StepReport:
        """One step on a minibatch drawn with replacement; another optimiser than before starts with empty state."""
        self._choose(given.optimiser)
        for group in self._optimiser.param_groups:
            group["lr"] = given.learning_rate
        pictures, classes = self._batch(given.batch_size, given.label_noise)
        before = [_flat(layer) for layer in self._layers]
        loss = F.cross_entropy(self.network(pictures), classes)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        after = [_flat(layer) for layer in self._layers]
        gradients = [_flat([p.grad for p in layer if p.grad is not None]) for layer in self._layers]
        return StepReport(
            loss=float(loss.detach()),
            grad_norm=tuple(float(g.norm()) for g in gradients),
            weight_norm=tuple(float(w.norm()) for w in after),
            update_ratio=tuple(float((w - v).norm() / v.norm()) for v, w in zip(before, after, strict=True)),
        )

    def evaluate(self) -> Evaluation:
        """The network on the held-out examples."""
        return evaluate(self.network, self._held_out)

    def kernels(self) -> NDArray[np.float32]:
        """The first layer's kernels, ``[8, 3, 3]``."""
        kernels: NDArray[np.float32] = next(self.network.parameters()).detach()[:, 0].numpy().copy()
        return kernels

    def _choose(self, kind: str) -> None:
        if kind == self._kind:
            return
        parameters = self.network.parameters()
        if kind == "adam":
            self._optimiser = torch.optim.Adam(parameters)
        else:
            self._optimiser = torch.optim.SGD(parameters, momentum=0.9 if kind == "momentum" else 0.0)
        self._kind = kind

    def _batch(self, size: int, noise: float) -> tuple[Tensor, Tensor]:
        generator = self._generator
        rows = torch.randint(len(self._train.classes), (size,), generator=generator)
        wrong = torch.rand(size, generator=generator) < noise
        others = torch.randint(CLASSES, (size,), generator=generator)
        return self._train.pictures[rows], torch.where(wrong, others, self._train.classes[rows])

    def save(self, about: Mapping[str, Any]) -> bytes:
        """State as safetensors: the network under its own names (so it is also a checkpoint), optimiser, generator.

        `about` (JSON values) travels in the metadata.
        """
        tensors = {n: t.contiguous() for n, t in self.network.state_dict().items()}
        tensors["random"] = self._generator.get_state()
        if self._kind:
            for index, state in self._optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{index}.{n}": t for n, t in state.items() if isinstance(t, Tensor)}
        # One entry of metadata, because safetensors writes several in no fixed order.
        state = {"optimiser": self._kind, "about": dict(about)}
        return safetensors.torch.save(tensors, {"state": json.dumps(state, sort_keys=True)})

    def load(self, data: bytes) -> dict[str, Any]:
        """Inverse of `save`; returns `about`."""
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        saved: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])
        self._generator.set_state(tensors.pop("random"))
        states: dict[int, dict[str, Tensor]] = {}
        for name in [n for n in tensors if n.startswith("optimiser.")]:
            _, index, key = name.split(".")
            states.setdefault(int(index), {})[key] = tensors.pop(name)
        self.network.load_state_dict(tensors)
        self._kind = ""
        if saved["optimiser"]:
            self._choose(saved["optimiser"])
            self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": states})
        about: dict[str, Any] = saved["about"]
        return about


def _flat(tensors: list[Tensor] | list[nn.Parameter]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


class CheckpointError(DescantError):
    """A file that is no checkpoint of the digits network."""


def read_checkpoint(path: str) -> dict[str, Tensor]:
    """Weights of the digits network from a safetensors file; tensors of other names (optimiser state) are ignored.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or a tensor is missing, of another shape, or not finite.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read as safetensors: {error}") from error
    wanted = make_network(torch.Generator()).state_dict()
    for name, tensor in wanted.items():
        if name not in found:
            raise CheckpointError(f"checkpoint {path}: no tensor {name!r}; the digits network has {', '.join(wanted)}")
        if found[name].shape != tensor.shape:
            shapes = f"{list(found[name].shape)}; the digits network has {list(tensor.shape)}"
            raise CheckpointError(f"checkpoint {path}: {name} has shape {shapes}")
        if not found[name].isfinite().all():
            raise CheckpointError(
                f"checkpoint {path}: {name} is not finite; use one saved before the training diverged"
            )
    return {name: found[name].to(torch.float32) for name in wanted}
