"""What tests and benchmarks of steering share: a small piece, its takes as they are perceived, and hidden tastes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from pieces.arrange import arrange
from pieces.knobs import Choice
from pieces.piece import Piece, check_piece, parse_piece
from pieces.signals import gather
from sonify.lanes import lanes
from sonify.render import Task, perform
from sonify.resolve import resolve, take_stats
from studio import config
from studio.audience.cube import Cube, knobs_of
from studio.audience.optimisers import Point, make
from studio.audience.wishes import perceived
from studio.compose import conduct
from studio.plan import plan
from studio.words.artefact import Artefact

SECONDS = 2.0
#: A tone and a drum. Of its knobs of every kind, some are heard and one is not.
SMALL: dict[str, Any] = {
    "title": "Small",
    "parts": {"fit": {"source": "cubics", "rate": 20.0, "ticks": int(20 * SECONDS)}},
    "score": {
        "purpose": "music",
        "voices": {
            "tone": {
                "instrument": "partials",
                "gain_db": -6.0,
                "lanes": {"pitch": 220.0, "count": 6, "detune": 0.01, "beside": 1.0, "cutoff": 3000.0},
            },
            "tick": {"instrument": "drum", "steps": {"every": 0.125, "steps": 16, "pulses": 4}, "gain_db": -10.0},
        },
    },
    "master": {"tail": 0.0, "loudness": -22.0},
    "knobs": [
        {"path": "score.voices.tone.lanes.pitch", "range": [110.0, 660.0], "shape": "log"},
        {"path": "score.voices.tone.lanes.cutoff", "range": [400.0, 8000.0], "shape": "log"},
        {"path": "score.voices.tone.lanes.detune", "range": [0.0, 0.06]},
        {"path": "score.voices.tick.steps.pulses", "range": [0, 16], "whole": True},
        {"path": "master.loudness", "range": [-34.0, -14.0]},
        {"path": "parts.fit.controls.optimiser", "choices": ["sgd", "adam"]},
    ],
}


def small(**more: Any) -> Piece:
    """The small piece."""
    return parse_piece({**SMALL, **more}, "small")


def task(piece: Piece, folder: Path) -> Task:
    """What is to be rendered of a piece."""
    planned = plan(piece.title, piece, Path())
    blocks: dict[str, list[Any]] = {part: [] for part in planned.players}
    for part, block in conduct(planned.piece, planned.players, 1):
        blocks[part].append(block)
    frames = {part: gather(found, piece.rate(part)) for part, found in blocks.items()}
    channels = {part: {c.name: c for c in player.source.channels} for part, player in planned.players.items()}
    score = resolve(planned.score, take_stats(planned.score, channels, frames), planned.players)
    played = arrange(planned.piece, frames, 1)
    duration, master = played.duration + piece.master.tail, piece.master
    desk = lanes(score, played, piece.master.tail)
    return Task(desk, duration, master.sample_rate, master.loudness, master.ceiling, 0.0, folder, False, 0, ())


class Studio:
    """Renders pieces in one process of its own, which starts once: a take of two seconds is rendered sooner than that.

    What is seen of a take is black.
    """

    def __init__(self) -> None:
        self._pool = multiprocessing.get_context("spawn").Pool(1)
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *what: object) -> None:
        self._pool.terminate()
        self._pool.join()
        self._folder.cleanup()

    def takes(self, pieces: Sequence[Piece]) -> list[Artefact]:
        """What there is to be perceived of some pieces."""
        tasks = [task(piece, Path(self._folder.name) / str(i)) for i, piece in enumerate(pieces)]
        found = []
        for rendering in self._pool.starmap(perform, [(one, os.getpid()) for one in tasks], chunksize=1):
            audio, rate = soundfile.read(rendering.mix, dtype="float32", always_2d=True)
            found.append(Artefact(audio, rate, np.zeros((1, 8, 8, 3), np.uint8), 1 / SECONDS))
        return found

    def take(self, piece: Piece, changes: Mapping[str, Choice]) -> Artefact:
        """The same of one piece with some changes."""
        return self.takes([piece.with_values(changes)])[0]


#: What tastes are about.
HEARD = ("pitch", "loudness", "brightness", "roughness", "onsets")
RATINGS, NOISE = 20, 0.1


class Gallery:
    """Takes of the small piece spread over all that its knobs allow, each rendered, and heard.

    Attributes
    ----------
    points : ndarray [takes, dims]
        Where they lie in the unit cube.
    heard : ndarray [takes, 5]
        Of each what tastes are about, as measured, in standard deviations.
    """

    def __init__(self, takes: int) -> None:
        from scipy.stats import qmc

        piece = small()
        cube = Cube(knobs_of(piece, check_piece(piece, piece.title)))
        self.points = cube.snap(qmc.Sobol(cube.dims, rng=np.random.default_rng(0)).random(takes))
        with Studio() as studio:
            artefacts = studio.takes([piece.with_values(cube.values(point)) for point in self.points])
        found = [perceived(artefact) for artefact in artefacts]
        measured = np.array([[one[quantity] for quantity in HEARD] for one in found])
        self.heard = (measured - measured.mean(axis=0)) / measured.std(axis=0)

    def nearest(self, points: Point) -> NDArray[np.intp]:
        """Which takes lie nearest to some points, ``[n]``."""
        apart = (self.points**2).sum(axis=1) - 2 * points @ self.points.T
        return np.asarray(apart.argmin(axis=1))

    def taste(self, seed: int) -> NDArray[np.float64]:
        """How a hidden taste likes each take, 0 to 1: the less, the farther what is heard is from its ideal.

        Ideal and weights of what is heard are random (Coombs 1964, "A theory of data": unfolding).
        """
        rng = np.random.default_rng([7, seed])
        ideal, weights = rng.standard_normal(len(HEARD)), rng.dirichlet(np.ones(len(HEARD)))
        liking = -((self.heard - ideal) ** 2 @ weights)
        return np.asarray((liking - liking.min()) / np.ptp(liking))

    def regret(self, name: str, liked: NDArray[np.float64], seed: int, ratings: int, shuffled: bool) -> float:
        """What is missing of the best take after some noisy ratings, where an average take misses 1.

        The steerer chooses among the takes. Shuffled ratings are those given, but of any take.
        """
        rng = np.random.default_rng([9, seed])
        optimiser = make(name, self.points.shape[1], seed, lambda points: self.points[self.nearest(points)])
        given: list[float] = []
        for _ in range(ratings):
            (take,) = self.nearest(optimiser.ask()[None])
            given.append(float(np.clip(liked[take] + NOISE * rng.standard_normal(), 0, 1)))
            optimiser.tell(self.points[take], float(rng.choice(given)) if shuffled else given[-1])
        (best,) = self.nearest(optimiser.best()[0][None])
        return float((liked.max() - liked[best]) / (liked.max() - liked.mean()))

    def regrets(
        self, name: str, tastes: int, ratings: int = RATINGS, shuffled: bool = False, deaf: bool = False
    ) -> NDArray[np.float64]:
        """Regrets of some hidden tastes, ``[tastes]``; what deaf ones like has nothing to do with what is heard."""
        found = []
        with config.limited(1):
            for seed in range(tastes):
                liked = self.taste(seed)
                if deaf:
                    liked = np.random.default_rng([11, seed]).permutation(liked)
                found.append(self.regret(name, liked, seed, ratings, shuffled))
        return np.array(found)


def interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """The mean's 95 % interval, by a paired bootstrap over tastes (percentiles of 4000 resamples)."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, size=(4000, len(differences))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
