"""The learner in the listener: a small causal language model that is trained while it attends.

Its interest is how much better it predicts now than its snapshot `lag` moments ago did, both on a moment that neither
has been trained on (learning progress: Schmidhuber 1991, "Curious model-building control systems"; Oudeyer, Kaplan &
Hafner 2007, "Intrinsic motivation systems for autonomous mental development"). A constant is soon known and white noise
is never learned: neither gives progress. The easier measure, the same moment before and after training on it, is
wrong: it rewards memorising noise.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.audience.visitor import AudienceError, Verdict
from studio.words.artefact import MOMENT_S
from studio.words.tokens import FIELDS, PER_MOMENT, RANGES, VOCABULARY

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: Mean progress in nats per token above which something was there to be learned.
INTERESTING = 0.1


@dataclass(frozen=True)
class Heard:
    """What one moment was to a learner, in nats per token.

    Attributes
    ----------
    surprise : float
        Loss before learning from it.
    progress : float
        Loss of the snapshot `Habits.lag` moments ago, minus `surprise`.
    left : float
        What is left of the surprise at the last practice of that very moment: for the naive measure alone.
    fields : tuple of float
        Progress in each of `studio.words.tokens.FIELDS`.
    """

    surprise: float
    progress: float
    left: float
    fields: tuple[float, ...]


@dataclass(frozen=True)
class Habits:
    """How the listener is made and how it learns.

    `lag` is in moments; `steps` optimiser steps are made at each moment, on it and `replay` - 1 earlier ones; `birth`
    steps on constants and noise come before its first piece, so that neither is news.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    lag: int = 4
    steps: int = 2
    replay: int = 3
    birth: int = 300
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01


HABITS = Habits()


class Learner:
    """What is born knowing constants and noise, and learns from what it hears.

    Parameters
    ----------
    cache : Path
        Folder for its state at birth (about 20 CPU s to make; 1.7 MB of safetensors).
    seed : int
        Which one: its first weights and what it heard at birth.
    habits : Habits
    """

    def __init__(self, cache: Path, seed: int = 0, habits: Habits = HABITS) -> None:
        self.seed, self.habits = seed, habits
        self._cache = Path(cache)
        self._newborn: Any = None
        self._model: Any = None

    def begin(self, seed: int, remember: bool = False, memory: Path | None = None) -> None:
        """A visit begins: from birth, or where it is to `remember` from what it knows; `seed` is of its practice.

        Parameters
        ----------
        memory : Path, optional
            What it knew in an earlier process, as `keep` wrote it; where there is no such file, from birth.

        Raises
        ------
        AudienceError
            If the file is no memory of it.
        """
        with one_thread():
            if self._newborn is None:
                self._newborn = self._born()
            if self._model is None and memory is not None:
                self._model = self._remembered(memory)
            if self._model is None or not remember:
                self._model = copy.deepcopy(self._newborn)
            self._earlier = copy.deepcopy(self._model)
            self._steps = self._optimiser(self._model)
        self._rng = np.random.default_rng(seed)
        self._past: deque[torch.Tensor] = deque(maxlen=self.habits.lag + 1)
        self._windows: list[NDArray[np.int64]] = []
        self._before: NDArray[np.int64] | None = None

    def _remembered(self, memory: Path) -> Any:
        model = copy.deepcopy(self._newborn)
        if memory.exists() and not _load(model, memory, self._key):
            raise AudienceError(f"{memory} is no memory of this listener: take it away, or remember by another name")
        return model

    def keep(self, memory: Path) -> None:
        """Write what it knows into a file.

        Raises
        ------
        AudienceError
            If it cannot be written.
        """
        _save(self._model, memory, self._key)
        if not memory.exists():
            raise AudienceError(f"{memory} cannot be written: what was learned is lost with this process")

    def pause(self) -> None:
        """What comes next does not follow what was last heard."""
        self._before = None

    def hear(self, moment: NDArray[np.int64]) -> Heard | None:
        """Hear a moment (64 tokens), and learn from it; None of the first one, and of the first after a pause."""
        import torch
        from torch.nn.utils import parameters_to_vector, vector_to_parameters

        before, self._before = self._before, moment
        if before is None:
            return None
        model, habits = self._model, self.habits
        self._windows.append(np.concatenate([before, moment]))
        last = len(self._windows) - 1
        with one_thread():
            self._past.append(parameters_to_vector(model.parameters()).detach())
            vector_to_parameters(self._past[0], self._earlier.parameters())
            window = torch.from_numpy(self._windows[last][None])
            with torch.inference_mode():
                then = _nats(self._earlier, window)[0]
            practices = [[last, *self._rng.integers(last + 1, size=habits.replay - 1)] for _ in range(habits.steps)]
            losses = [self._learn(model, self._steps, self._chosen(practice)) for practice in practices]
        fields = (then - losses[0]).reshape(-1, len(FIELDS)).mean(dim=0)
        return Heard(
            surprise=float(losses[0].mean()),
            progress=float((then - losses[0]).mean()),
            left=float(losses[-1].mean()),
            fields=tuple(fields.tolist()),
        )

    def _chosen(self, practice: Sequence[int]) -> torch.Tensor:
        """Windows to practise, and something that is held: who forgets what is constant would learn it as news."""
        import torch

        low, high = RANGES[: len(FIELDS)].T
        held = np.tile(self._rng.integers(low, high), 2 * PER_MOMENT // len(FIELDS))
        return torch.from_numpy(np.stack([*(self._windows[i] for i in practice), held]))

    def attend(self, stream: NDArray[np.int64], seed: int, remember: bool = False) -> NDArray[np.float64]:
        """Attend tokens from end to end.

        Parameters
        ----------
        stream : ndarray [moments, 64]
        seed : int
        remember : bool
            See `begin`.

        Returns
        -------
        ndarray [moments - 1, 3]
            From the second moment on, in nats per token: surprise, progress, and what was left; see `Heard`.

        Raises
        ------
        AudienceError
            If there are fewer than two moments.
        """
        if len(stream) < 2:
            raise AudienceError(f"{len(stream)} moments: the listener needs at least 2 ({2 * MOMENT_S:g} s)")
        self.begin(seed, remember)
        heard = (self.hear(moment) for moment in stream)
        return np.array([[one.surprise, one.progress, one.left] for one in heard if one])

    @property
    def parameters(self) -> int:
        """How many parameters it has."""
        return sum(p.numel() for p in (self._newborn or self._unborn()).parameters())

    def _optimiser(self, model: Any) -> Any:
        import torch

        return torch.optim.AdamW(
            model.parameters(), lr=self.habits.learning_rate, weight_decay=self.habits.weight_decay, fused=True
        )

    def _learn(self, model: Any, optimiser: Any, windows: torch.Tensor) -> torch.Tensor:
        """One optimiser step; returns the losses ``[64]`` on the first of the windows before it."""
        import torch

        optimiser.zero_grad()
        nats = _nats(model, windows)
        nats.mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return nats[0].detach()

    @cached_property
    def _key(self) -> str:
        """What its weights hold good for."""
        import torch
        import transformers

        made_of = {
            "habits": asdict(self.habits), "seed": self.seed, "torch": torch.__version__,
            "transformers": transformers.__version__, "ranges": RANGES.tolist(), "format": 1,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    def _born(self) -> Any:
        """The model at birth: from the cache, or made and kept there."""
        path = self._cache / f"listener-{self._key[:16]}.safetensors"
        model = self._unborn()
        if not _load(model, path, self._key):
            self._raise(model)
            _save(model, path, self._key)
        return model.eval()

    def _unborn(self) -> Any:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=VOCABULARY, n_positions=2 * PER_MOMENT, n_embd=self.habits.width, n_layer=self.habits.layers,
            n_head=self.habits.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
            activation_function="gelu_pytorch_tanh", bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return GPT2LMHeadModel(config)

    def _raise(self, model: Any) -> None:
        """Let it hear constants and noise: over all words, and in the order in which a moment speaks."""
        import torch

        rng = np.random.default_rng(self.seed)
        optimiser = self._optimiser(model)
        low, high = np.tile(RANGES, (2, 1)).T
        fields = len(np.unique(RANGES, axis=0))
        for _ in range(self.habits.birth):
            held = np.tile(rng.integers(low[:fields], high[:fields], size=(2, fields)), (1, len(low) // fields))
            constant = np.repeat(rng.integers(VOCABULARY, size=(2, 1)), len(low), axis=1)
            noise = rng.integers(low, high, size=(2, len(low)))
            anything = rng.integers(VOCABULARY, size=(2, len(low)))
            self._learn(model, optimiser, torch.from_numpy(np.concatenate([held, constant, noise, anything])))


def verdict(surprise: NDArray[np.float64], progress: NDArray[np.float64]) -> Verdict:
    """In one word.

    ``interested`` where it learned more than `INTERESTING`; else ``noise`` where the last dozen moments still surprise
    it, ``sated`` where the first few did, ``bored`` where nothing did. A third of the surprise of words by chance
    counts as surprise: most of the eight that speak of a step change seldom.
    """
    if progress.mean() > INTERESTING:
        return "interested"
    surprising = math.log(VOCABULARY / len(FIELDS)) / 3
    if surprise[-12:].mean() > surprising:
        return "noise"
    return "sated" if surprise[:4].mean() > surprising else "bored"


def _nats(model: Any, windows: torch.Tensor) -> torch.Tensor:
    """Code length of the last moment of each window, ``[windows, 64]`` in nats."""
    import torch

    logits = model(windows).logits[:, -PER_MOMENT - 1 : -1].transpose(1, 2)
    return torch.nn.functional.cross_entropy(logits, windows[:, -PER_MOMENT:], reduction="none")


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: the sums are the same every time, and two on busy cores are many times slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _digest(state: dict[str, Any]) -> str:
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def _load(model: Any, path: Path, key: str) -> bool:
    """Fill `model` from the cache; False (and a line in the log) where there is none, or it is damaged or foreign."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        if about.get("key") != key or about.get("digest") != _digest(state):
            raise ValueError("it is not what was written there")
        model.load_state_dict(state, strict=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        log.warning("the listener's file %s cannot be used (%s)", path, error)
        return False
    return True


def _save(model: Any, path: Path, key: str) -> None:
    """Write to a temporary name, then rename; a folder that cannot be written costs time and nothing else."""
    from safetensors.torch import save

    # GPT-2 shares the embedding with the output: the shared tensor is kept once.
    state = {n: t for n, t in model.state_dict().items() if n != "lm_head.weight"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            with part.open("wb") as file:
                file.write(save(state, metadata={"key": key, "digest": _digest(state)}))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        log.warning("the listener's file %s cannot be written (%s)", path, error)
