"""The learning listener: a small causal language model that is trained while it attends.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.audience.visitor import AudienceError, MomentRow, Response, Verdict
from studio.words.artefact import MOMENT_S, Artefact
from studio.words.describe import describe
from studio.words.tokens import FIELDS, PER_MOMENT, RANGES, VOCABULARY, tokens

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: Mean progress in nats per token above which something was there to be learned.
INTERESTING = 0.1


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


class Listener:
    """A visitor that knows nothing but what it has heard.

    Parameters
    ----------
    cache : Path
        Folder for its state at birth (about 20 CPU s to make; 1.7 MB of safetensors).
    seed : int
        Which listener: its first weights and what it heard at birth.
    remember : bool
        Keep what was learned from one visit to the next; else every visit starts from birth.
    habits : Habits
    """

    name = "listener"

    def __init__(self, cache: Path, seed: int = 0, remember: bool = False, habits: Habits = Habits()) -> None:
        self.seed, self.remember, self.habits = seed, remember, habits
        self.attended = 0
        self._cache = Path(cache)
        self._model: Any = None

    def visit(self, artefact: Artefact, seed: int) -> Response:
        """Attend an artefact once; `seed` decides which earlier moments are practised again.

        Raises
        ------
        AudienceError
            If the artefact is shorter than two moments (1 s).
        """
        import torch

        given = tokens(artefact)
        before = self.attended
        surprise, progress = self.attend(given, seed)[:, :2].T
        rows = zip(surprise.tolist(), progress.tolist(), strict=True)
        return Response(
            visitor=self.name,
            seed=seed,
            progress=float(progress.mean()),
            verdict=verdict(surprise, progress),
            moments=tuple(MomentRow(start=(i + 1) * MOMENT_S, surprise=s, progress=p) for i, (s, p) in enumerate(rows)),
            words=describe(artefact),
            tokens_sha256=hashlib.sha256(given.tobytes()).hexdigest(),
            details={
                "born": self.seed, "remember": self.remember, "attended_before": before, "threads": 1,
                "parameters": sum(p.numel() for p in self._model.parameters()), "torch": torch.__version__,
            },
        )  # fmt: skip

    def attend(self, stream: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """Attend tokens.

        Parameters
        ----------
        stream : ndarray [moments, 64]
        seed : int

        Returns
        -------
        ndarray [moments - 1, 3]
            From the second moment on, in nats per token: surprise (loss before learning from the moment), progress
            (loss of the snapshot `lag` moments ago minus surprise), and what is left of the surprise at the last
            practice of that very moment, which is recorded for the naive measure alone.
        """
        import torch
        from torch.nn.utils import parameters_to_vector, vector_to_parameters

        if len(stream) < 2:
            raise AudienceError(f"{len(stream)} moments: the listener needs at least 2 ({2 * MOMENT_S:g} s)")
        rng, habits = np.random.default_rng(seed), self.habits
        with _one_thread():
            if self._model is None:
                self._model = self._born()
            model = self._model if self.remember else copy.deepcopy(self._model)
            earlier = copy.deepcopy(model)
            optimiser = self._optimiser(model)
            past: deque[torch.Tensor] = deque(maxlen=habits.lag + 1)
            windows = torch.from_numpy(np.concatenate([stream[:-1], stream[1:]], axis=1))
            rows = np.empty((len(windows), 3))
            for m in range(len(windows)):
                past.append(parameters_to_vector(model.parameters()).detach())
                vector_to_parameters(past[0], earlier.parameters())
                with torch.inference_mode():
                    then = float(_nats(earlier, windows[m : m + 1]))
                practices = [[m, *rng.integers(m + 1, size=habits.replay - 1)] for _ in range(habits.steps)]
                losses = [self._learn(model, optimiser, windows[p]) for p in practices]
                rows[m] = losses[0], then - losses[0], losses[-1]
        self.attended += 1
        return rows

    def _optimiser(self, model: Any) -> Any:
        import torch

        return torch.optim.AdamW(
            model.parameters(), lr=self.habits.learning_rate, weight_decay=self.habits.weight_decay, fused=True
        )

    def _learn(self, model: Any, optimiser: Any, windows: torch.Tensor) -> float:
        """One optimiser step; returns the loss on the first of the windows before it."""
        import torch

        optimiser.zero_grad()
        nats = _nats(model, windows)
        nats.mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return float(nats[0].detach())

    def _born(self) -> Any:
        """The model at birth: from the cache, or made and kept there."""
        import torch
        import transformers

        made_of = {
            "habits": asdict(self.habits), "seed": self.seed, "torch": torch.__version__,
            "transformers": transformers.__version__, "ranges": RANGES.tolist(), "format": 1,
        }  # fmt: skip
        key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        path = self._cache / f"listener-{key[:16]}.safetensors"
        model = self._unborn()
        if not _load(model, path, key):
            self._raise(model)
            _save(model, path, key)
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
    """Mean code length of the last moment of each window, ``[windows]`` in nats per token."""
    import torch

    logits = model(windows).logits[:, -PER_MOMENT - 1 : -1].transpose(1, 2)
    return torch.nn.functional.cross_entropy(logits, windows[:, -PER_MOMENT:], reduction="none").mean(dim=1)


@contextmanager
def _one_thread() -> Iterator[None]:
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
        log.warning("the listener's cache %s cannot be used (%s): it is made anew", path, error)
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
        log.warning("the listener's cache %s cannot be written (%s): it is made anew each time", path, error)
