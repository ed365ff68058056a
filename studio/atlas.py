"""Lines, planes and coasts of a mind's space: asked picture by picture in sweeps, and drawn as maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.minds.coast import Coast, Extent, Radii, extent, field_on, radii, rays_from, survey
from pieces.minds.concepts import CONCEPTS, concept_of
from pieces.minds.identity import identity
from pieces.minds.mind import Mind, Settings, open_mind, shape_of
from pieces.minds.space import Floats, Plane, Space, grid, line, zooms
from pieces.minds.surveying import Pictures, Surveyor
from studio.config import versions
from studio.rendering import Progress, silent
from studio.sweep import Sweep, sweep_of

if TYPE_CHECKING:
    from pieces.minds.concepts import Eye
    from pieces.minds.surgery import Operation


@dataclass(frozen=True)
class Asked:
    """What all questions to a mind's space have in common.

    Attributes
    ----------
    mind : str
        ``"house"``, a folder, or a hub name.
    clip : str
        Folder or hub name of the CLIP that scores; empty: the mind's own.
    concepts : tuple of str
        Captions that it chooses between.
    settings : Settings
        How pictures are drawn.
    seed, noises : int
        Pictures begin with the noises `seed` to `seed` + `noises` - 1; `seed` is also that of random directions.
    batch : int
        Points that are kept together; what is killed loses one batch.
    height, width : int
        Of the pictures, in pixels; 0 is the mind's own.
    """

    mind: str = "house"
    clip: str = ""
    concepts: tuple[str, ...] = CONCEPTS
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    noises: int = 1
    batch: int = 16
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class Sizes:
    """Of a chart and its radii: see `pieces.minds.coast.survey` and `radii`."""

    radius: float = 8.0
    cells: int = 8
    depth: int = 2
    directions: int = 16
    furthest: float = 12.0


@dataclass(frozen=True)
class Strip:
    """A line: shares of the way ``[n]``, pictures ``[n, noises, h, w, 3]`` and scores ``[n, concepts + 1]``."""

    shares: Floats
    pictures: Pictures
    scores: Floats


@dataclass(frozen=True)
class Panel:
    """Pictures of a square of a plane: its half-width, and as in `Strip`, as one reads."""

    radius: float
    pictures: Pictures
    scores: Floats


@dataclass(frozen=True)
class Shore:
    """How far a concept reaches in one state of a mind: its chart, its radii in random directions, and their extent."""

    label: str
    coast: Coast
    radii: Radii
    extent: Extent


class Atlas:
    """Asks a mind for pictures around a prompt; each answer is kept, so that the same questions cost nothing twice.

    Parameters
    ----------
    asked : Asked
    prompt : str
        The home of the space: its norm is the unit, and planes go through it.
    folder : Path
        Where answers are kept.

    Raises
    ------
    MindError
        If the mind or its CLIP cannot be opened.
    """

    def __init__(self, asked: Asked, prompt: str, folder: Path, progress: Progress = silent) -> None:
        from pieces.minds.concepts import open_eye

        progress("mind", 0, 0)
        self.asked, self.prompt = asked, prompt
        self.concept = concept_of(prompt, asked.concepts)
        self.mind: Mind = open_mind(asked.mind)
        self.eye: Eye = open_eye(self.mind, asked.clip or None)
        self.concepts = tuple(dict.fromkeys((self.concept, *asked.concepts)))
        self._identity = identity(self.mind, self.eye)
        self._latent, _ = shape_of(self.mind.folder, asked.height, asked.width)
        self._folder, self.progress = folder, progress
        self._sweeps: list[Sweep] = []

    @property
    def notices(self) -> list[str]:
        """What a user should know of the mind and of the prompt."""
        return [*self.mind.said, *self.mind.notices(self.prompt)]

    def surveyor(self) -> Surveyor:
        """Who draws and looks, around the prompt as the mind reads it now."""
        seeds = tuple(range(self.asked.seed, self.asked.seed + self.asked.noises))
        space = Space(self.mind.meaning([self.prompt]))
        return Surveyor(
            self.mind, self.eye, space, self.concepts, seeds, self.asked.settings, self.asked.batch, self._latent
        )

    def place(self, surveyor: Surveyor, prompt: str) -> Floats:
        """The vector ``[d]`` of a prompt."""
        found: Floats = surveyor.space.vectors(self.mind.meaning([prompt]))[0]
        return found

    def line(self, end: str, shares: Floats) -> Strip:
        """The straight line from the prompt (share 0) to another (share 1), and beyond."""
        surveyor = self.surveyor()
        vectors = line(self.place(surveyor, self.prompt), self.place(surveyor, end), shares)
        return Strip(shares, *self._seen(surveyor, vectors, {"line": [end, shares.tolist()]}))

    def plane(self, right: str, above: str, radius: float, side: int, levels: int, closest: float) -> list[Panel]:
        """Squares of a plane through the prompt, each of `levels` closer than the one before."""
        surveyor = self.surveyor()
        plane = self._plane(surveyor, right, above)
        about = [right, above, side]
        sizes = zooms(radius, closest, levels).tolist() if levels > 1 else [radius]
        return [
            Panel(size, *self._seen(surveyor, plane.at(grid(side, size)), {"plane": [*about, size]})) for size in sizes
        ]

    def around(self, radius: float, count: int) -> Strip:
        """Random points of the whole space at a distance from the prompt; shares are their distances."""
        surveyor = self.surveyor()
        directions = surveyor.space.directions(count, np.random.default_rng(self.asked.seed))
        vectors = self.place(surveyor, self.prompt) + radius * directions
        return Strip(np.full(count, radius), *self._seen(surveyor, vectors, {"around": [radius, count]}))

    def coast(self, right: str, above: str, sizes: Sizes, operations: Sequence[Operation] = ()) -> list[Shore]:
        """The concept's coast and extent in the mind as it is, and under each operation.

        The plane and the directions are the same vectors in every state; the prompt is read anew under each, since an
        operation may reach the text encoder.
        """
        from pieces.minds.surgery import Operation, operated

        shores = []
        for operation in (Operation("down", ()), *operations):
            label = f"{operation.kind} {operation.strength:g}" if operation.modules else ""
            about = {
                "coast": [right, above, *astuple(sizes)],
                "surgery": asdict(operation) if operation.modules else {},
            }
            with operated(self.mind, operation):
                surveyor = self.surveyor()
                ask = _Rounds(self, surveyor, about, label or "coast")
                plane = self._plane(surveyor, right, above)
                chart = survey(field_on(plane, ask), sizes.radius, cells=sizes.cells, depth=sizes.depth)
                ways = surveyor.space.directions(sizes.directions, np.random.default_rng(self.asked.seed))
                found = radii(rays_from(plane.centre, ways, ask), sizes.directions, sizes.furthest)
            shores.append(Shore(label, chart, found, extent(found, seed=self.asked.seed)))
        return shores

    def _plane(self, surveyor: Surveyor, right: str, above: str) -> Plane:
        others = (self.place(surveyor, p) if p else None for p in (right, above))
        return surveyor.space.plane(*others, seed=self.asked.seed)

    def places(self, right: str, above: str) -> dict[str, tuple[float, float]]:
        """Where on the plane the prompts are."""
        surveyor = self.surveyor()
        plane = self._plane(surveyor, right, above)
        named = [p for p in (self.prompt, right, above) if p]
        found = [plane.place(self.place(surveyor, p)[None])[0] for p in named]
        return {name: (float(x), float(y)) for name, (x, y) in zip(named, found, strict=True)}

    def forget(self) -> None:
        """Take away what was kept: the map is drawn."""
        for sweep in self._sweeps:
            sweep.clear()

    def sweep(self, about: Mapping[str, Any]) -> Sweep:
        """The sweep of one question, which follows from mind, prompt, settings and what was asked."""
        whole = {**asdict(self.asked), "prompt": self.prompt, **self._identity, **versions(), **about}
        self._sweeps.append(sweep_of(self._folder, "space", whole))
        return self._sweeps[-1]

    def _seen(self, surveyor: Surveyor, vectors: Floats, about: Mapping[str, Any]) -> tuple[Pictures, Floats]:
        batch = self.asked.batch

        def work(k: int) -> dict[str, NDArray[Any]]:
            pictures = surveyor.pictures(vectors[k * batch : (k + 1) * batch])
            return {"pictures": pictures, "scores": surveyor.seen(pictures)[1]}

        count = -(-len(vectors) // batch)
        made = [arrays for _, arrays in self.sweep(about).each(count, work, self.progress, "draw")]
        return np.concatenate([m["pictures"] for m in made]), np.concatenate([m["scores"] for m in made])


@dataclass
class _Rounds:
    """Asks for scores round after round, as the points follow from earlier answers: each is a sweep of its own."""

    atlas: Atlas
    surveyor: Surveyor
    about: Mapping[str, Any]
    stage: str
    done: int = 0

    def __call__(self, vectors: Floats) -> Floats:
        self.done += 1
        batch, atlas = self.atlas.asked.batch, self.atlas

        def work(k: int) -> dict[str, Floats]:
            return {"scores": self.surveyor.scores(vectors[k * batch : (k + 1) * batch], atlas.concept)}

        sweep = atlas.sweep({**self.about, "round": self.done})
        made = sweep.each(-(-len(vectors) // batch), work, atlas.progress, f"{self.stage} {self.done}")
        return np.concatenate([arrays["scores"] for _, arrays in made])


def operations_of(mind: Mind, kind: str, strengths: Sequence[float], seed: int) -> list[Operation]:
    """One surgery of the whole UNet at each strength.

    Raises
    ------
    DescantError
        On a strength that the kind does not have, or that reaches no module.
    """
    from pieces.minds.surgery import chosen, series

    check_strengths(kind, strengths)
    names = chosen(mind)
    made = series(kind, names, strengths, seed)  # type: ignore[arg-type]
    if idle := [o for o in made if not o.modules]:
        least = f"the least is {1 / len(names):.2g}"
        raise DescantError(f"strength {idle[0].strength:g} of {kind} is none of {len(names)} modules: {least}")
    return made


def check_strengths(kind: str, strengths: Sequence[float]) -> None:
    """Raise `DescantError` on a strength that a kind of surgery does not have."""
    low, high = {"hal": (0.0, 1.0), "noise": (0.0, 1.0), "down": (0.0, 1.0), "up": (1.0, 10.0)}[kind]
    for strength in strengths:
        if not low <= strength <= high:
            raise DescantError(f"strength {strength:g} of {kind}: allowed are {low:g} to {high:g}")
