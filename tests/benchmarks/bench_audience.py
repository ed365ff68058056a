"""A listener's visit of 60 moments on one core, birth, ears and imports excluded; steps of the game without a model."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.measure import Row

if TYPE_CHECKING:
    from studio.audience.game import Game
    from studio.words.artefact import Artefact

MOMENTS, STEPS = 60, 20_000


def rows() -> Iterator[Row]:
    os.environ["OMP_NUM_THREADS"] = "1"
    artefact = _take()
    began = time.process_time()
    artefact.eyes, artefact.ears  # noqa: B018 (they are measured when they are asked for, and kept)
    ears = time.process_time() - began
    yield _visit(artefact, ears)
    yield from _steps(artefact)


def _take() -> Artefact:
    """30 s of a melody by chance, and of pictures by chance."""
    from studio.words.artefact import MOMENT_S, Artefact

    rate, random = 48_000, np.random.default_rng(0)
    pitch = np.repeat(220 * 2 ** (random.integers(0, 12, 120) / 12), round(MOMENTS * MOMENT_S * rate) // 120)
    tone = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    pictures = random.integers(0, 255, (240, 36, 64, 3), dtype=np.uint8)
    return Artefact(np.stack([tone, tone], axis=1).astype("float32"), rate, pictures, 8.0)


def _visit(artefact: Artefact, ears: float) -> Row:
    """Every moment is told, and learned from."""
    from studio.audience.visitor import Question, invite
    from studio.words.registers import spoken

    lines = "\n".join(f"{i}: {line}" for i, line in enumerate(spoken(artefact, "tokens")))
    with tempfile.TemporaryDirectory() as folder:
        listener = invite("listener", Path(folder))
        for _ in range(2):  # the first time it is born
            began = time.process_time()
            listener.begin("", 0)
            listener.observe(f"Room baduki: {MOMENTS} moments of 0.5 s, the next is 0.")
            listener.observe(lines)
            listener.decide(Question("", "What do you do?", ("look", "leave")))
            spent = time.process_time() - began
        heard = len(listener.report().moments)
    met = spent <= 6
    return Row(
        f"a listener's visit of {heard + 1} moments", spent, "CPU s", "<= 6 for 60", met, "its ears and eyes", ears
    )


def _steps(artefact: Artefact) -> Iterator[Row]:
    """Admissible commands by chance, where all words are known; beside the smallest game of Gymnasium's own."""
    import gymnasium

    from studio.audience.game import Game
    from studio.audience.playing import play
    from studio.audience.rooms import Room, Rules
    from studio.audience.simple import RandomVisitor

    game = Game([Room(artefact) for _ in range(3)], Rules(budget=1e9, moves=10 * STEPS))
    _walk(game, 200)
    ours = STEPS / _walk(game, STEPS)
    pole = gymnasium.make("CartPole-v1")
    pole.reset(seed=0)
    began = time.process_time()
    for i in range(STEPS):
        if pole.step(i % 2)[2]:
            pole.reset()
    theirs = STEPS / (time.process_time() - began)
    yield Row("steps of the game", ours, "a CPU s", ">= 1,000", ours >= 1000, "CartPole-v1", theirs)
    played, spent = 0, time.process_time()
    for seed in range(200):
        played += len(play(game, RandomVisitor(), seed).turns)
    yield Row("turns of random visitors, written down", played / (time.process_time() - spent), "a CPU s", "-", None)


def _walk(game: Game, steps: int) -> float:
    """CPU seconds of so many commands, and of nothing that chooses them."""
    random, spent = np.random.default_rng(0), 0.0
    _, info = game.reset(seed=0)
    for _ in range(steps):
        commands = info["admissible_commands"] or ["look"]
        command = commands[int(random.integers(len(commands)))]
        began = time.process_time()
        _, _, over, cut, info = game.step(command)
        spent += time.process_time() - began
        if over or cut:
            _, info = game.reset()
    return spent
