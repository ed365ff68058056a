"""Ticks of `denoising`: steps, and what is measured of them.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pieces.minds.denoising import LEVELS, State
from pieces.minds.memory import in_batches
from pieces.minds.mind import Meaning, Mind, nothing
from pieces.minds.trajectory import Move, Step, Traveller
from pieces.signals import Array, Event, Value

#: Parameters of a UNet whose layers are too small to be shared out: on one thread it takes less CPU time.
_SMALL = 50_000_000
#: Scalars of a finished picture, of which nothing moves any more.
_STILL = ("noise_level", "step_size", "spread", "change", "guidance_difference", "epsilon_size")

Row = dict[str, Array | float]
T = TypeVar("T")


@contextmanager
def steadied(mind: Mind) -> Iterator[None]:
    """A small mind on the CPU computes on one thread: equal bits however many there are. Denormals are flushed."""
    small = mind.device.type == "cpu" and sum(p.numel() for p in mind.pipeline.unet.parameters()) < _SMALL
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if small else threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


class Tracer:
    """Makes ticks of trajectories; all of its random numbers follow from seed, picture and noise level."""

    def __init__(self, mind: Mind, meaning: Meaning, seed: int) -> None:
        self._mind, self._meaning, self._seed = mind, meaning, seed
        self._traveller = Traveller(mind)

    def ticks(self, state: State, controls: Mapping[str, Value], n: int) -> tuple[list[Row], list[Event]]:
        """Up to `n` ticks of one picture: steps while it forms, or rows that stay as they are while it rests."""
        began = time.perf_counter()
        rows, events = (
            self._steps(state, controls, n) if state.position > 0 else self._rests(state, int(controls["rest"]), n)
        )
        taken = (time.perf_counter() - began) / max(len(rows), 1)
        return [{**row, "step_time": taken} for row in rows], events

    def _steps(self, state: State, controls: Mapping[str, Value], n: int) -> tuple[list[Row], list[Event]]:
        events = [Event(state.tick, "picture", {"number": state.picture})] if state.position == LEVELS else []
        rows: list[Row] = []
        for move, step, position in self._made(lambda: self._stepped(state, controls, n)):
            row = self._row(state, step, controls) | {"step_size": float(move.stride)}
            rows.append(row)
            lost = bool(nothing(np.asarray([row["x0_picture"]]))[0])
            if lost and not state.lost:
                events.append(Event(state.tick, "nothing", {"number": state.picture}))
            state.lost = lost
            state.latents, state.last_x0, state.position = step.latents, step.x0, position
            state.tick += 1
        if state.position <= 0:
            events.append(Event(state.tick - 1, "finished", {"number": state.picture}))
        return rows, events

    def _made(self, make: Callable[[], T]) -> T:
        """Work on one picture; with less memory, and said, where there is not enough."""
        ((_, made),) = in_batches(self._mind, 1, lambda rows: make(), batch=1)
        return made

    def _stepped(self, state: State, controls: Mapping[str, Value], n: int) -> list[tuple[Move, Step, float]]:
        """Up to `n` moves from where a picture is, what each was, and where it led."""
        eta = float(controls["eta"]) if controls["sampler"] == "ancestral" else 0.0
        moves: list[Move] = []
        positions = [state.position]
        while len(moves) < n and positions[-1] > 0:
            move, position = self._move(state.picture, positions[-1], controls)
            moves.append(move)
            positions.append(position)
        steps = self._traveller.go(self._meaning, state.latents, moves, float(controls["guidance"]), eta)
        return list(zip(moves, steps, positions[1:], strict=True))

    def _move(self, picture: int, position: float, controls: Mapping[str, Value]) -> tuple[Move, float]:
        """The next step down, and the position after it; equal strides are rounded as "trailing" ones are."""
        size = max(LEVELS / int(controls["steps"]) * float(controls["step_size"]), 1.0)
        timestep, after = round(position) - 1, position - size
        if round(after) < 1:
            after = 0.0
        return Move(timestep, timestep + 1 - round(after), self._generator(picture, timestep, "noise")), after

    def _generator(self, picture: int, timestep: int, use: str) -> torch.Generator:
        entropy = (self._seed, picture, timestep, {"noise": 0, "spread": 1}[use])
        return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _row(self, state: State, step: Step, controls: Mapping[str, Value]) -> Row:
        draws, guidance = int(controls["draws"]), float(controls["guidance"])
        spread = 0.0
        if draws > 1:
            drawn = self._generator(state.picture, step.timestep, "spread")
            spread = self._traveller.spread(self._meaning, step, guidance, draws, drawn)
        return {**measured(step, state.last_x0, self._traveller.alphas), "spread": spread, **self._seen(step.x0)}

    def _rests(self, state: State, rest: int, n: int) -> tuple[list[Row], list[Event]]:
        ticks = max(min(n, rest - state.resting), 0)
        state.tick += ticks
        state.resting += ticks
        if not ticks:
            return [], []
        zero = torch.zeros_like(state.latents)
        still = measured(Step(0, state.latents, zero, state.latents, zero), None, self._traveller.alphas)
        return [still | dict.fromkeys(_STILL, 0.0) | self._seen(state.latents)] * ticks, []

    def _seen(self, x0: Tensor) -> Row:
        picture = self._made(lambda: self._mind.decode(x0))[0]
        return {"x0_picture": picture, "detail": detail(picture)}


def measured(step: Step, before: Tensor | None, alphas: Tensor) -> Row:
    """What a step says of itself, without decoding it and without further draws."""
    latents = plain(step.latents)
    row: Row = {
        "noise_level": float(1 - alphas[step.timestep]) ** 0.5,
        "change": 0.0 if before is None else rms(step.x0 - before.to(step.x0)),
        "guidance_difference": rms(step.difference),
        "epsilon_size": rms(step.epsilon),
        "latents": latents,
        "epsilon": plain(step.epsilon),
        "x0": plain(step.x0),
        "difference": plain(step.difference),
    }
    planes = latents.reshape(len(latents), -1)
    row |= {f"mean_{i}": float(mean) for i, mean in enumerate(planes.mean(axis=1))}
    return row | {f"deviation_{i}": float(deviation) for i, deviation in enumerate(planes.std(axis=1))}


def plain(tensor: Tensor) -> Array:
    """The one sample of a batch as float32."""
    array: Array = tensor[0].float().cpu().numpy()
    return array


def rms(tensor: Tensor) -> float:
    """Root mean square."""
    return float(tensor.float().square().mean().sqrt())


def detail(picture: Array) -> float:
    """Root mean square, in levels, of the finest octave of a picture's spatial frequencies: little where it is blurred.

    Parameters
    ----------
    picture : ndarray
        uint8 ``[height, width, 3]``.
    """
    waves = np.fft.fft2(picture.astype(np.float64).mean(axis=2), norm="forward")
    fy, fx = np.meshgrid(*(np.fft.fftfreq(s) for s in waves.shape), indexing="ij")
    return float(np.sqrt((np.abs(waves[np.hypot(fy, fx) >= 0.25]) ** 2).sum()))
