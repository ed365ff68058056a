"""A flight over a plane among prompts: a concept is an island, and the distance to its shore is what is heard."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pieces.minds.concepts import CONCEPTS, concept_of
from pieces.minds.identity import identity
from pieces.minds.mind import Settings, find_mind, nothing, open_mind, shape_of
from pieces.minds.surveying import Surveyor
from pieces.signals import Array, Channel, Control, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError

if TYPE_CHECKING:
    from pieces.minds.coast import Coast
    from pieces.minds.space import Floats, Plane

PROMPT = "a cat"
#: Charts that were made in this process, by what they follow from; and how many are remembered.
_charts: dict[str, Coast] = {}
_REMEMBERED = 8


def channels(concepts: int, chart: int, radius: float, picture: tuple[int, int]) -> tuple[Channel, ...]:
    """Channels for so many concepts, a chart of so many points a side and half so wide, and pictures ``(h, w)``."""
    far = 2 * math.sqrt(2) * radius
    return (
        Channel("x", "Where the flight is: right of the prompt's own point.", "norms", (-radius, radius)),
        Channel("y", "And above it.", "norms", (-radius, radius)),
        Channel("distance", "From the prompt's own point.", "norms", (0.0, far / 2)),
        Channel("shore", "Distance to the concept's coast on the chart: at sea it is negative.", "norms", (-far, far)),
        Channel("concept", "Score of the concept on the picture."),
        Channel("other", "Score of the strongest other concept."),
        Channel("nothing", "Score of nothing."),
        Channel("away", "CLIP distance (1 - cosine) of the picture from the prompt's own.", "", (0.0, 2.0)),
        Channel("change", "CLIP distance of the picture from the one before.", "", (0.0, 2.0)),
        Channel("radius", "Half the side of the chart.", "norms", (0.0, 8.0)),
        Channel("scores", "Scores of all concepts, nothing last.", "", (0.0, 1.0), (concepts + 1,)),
        Channel("chart", "Score of the concept all over the plane, the lowest row first.", "", (0, 1), (chart, chart)),
        Channel("picture", "What the mind draws there.", "", (0.0, 255.0), (*picture, 3), "uint8"),
        Channel("step_time", "Time that the tick took.", "s", (0.0, 1.0), reproducible=False),
    )


class Interconcept(Source):
    """A mind draws what lies between its words: a tick is the picture at a point of a plane of prompt embeddings.

    The plane goes through the embedding of `prompt` at (0, 0), and through those of `right` and `above` where they are
    given (straight to the right, and somewhere above), else in random directions. The unit is the norm of the
    embedding at (0, 0). Every picture begins with the same noise, the seed's. Away from the words the embeddings are
    linear combinations, which no prompt has.

    Before the first tick the plane is charted: the concept's score over a square, finer along its coast
    (`pieces.minds.coast.survey`), 100 to 300 pictures. What scores above one half is land. The scores are those of the
    mind's own CLIP, which chooses between the concepts and "nothing".

    References
    ----------
    S. Wolfram, "Generative AI Space and the Mental Imagery of Alien Minds", 2023: "Interconcept Space".
    """

    name: ClassVar[str] = "interconcept"
    about: ClassVar[str] = "A flight over the plane between prompts, and round the island of a concept."
    references: ClassVar[tuple[str, ...]] = (
        "S. Wolfram, Generative AI Space and the Mental Imagery of Alien Minds, 2023",
    )
    channels = channels(len(CONCEPTS), 17, 1.0, (64, 64))
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "steering",
            "heading: by heading and speed; place: to x and y; orbit: to an angle (heading) and a distance (reach).",
            "heading",
            choices=("heading", "place", "orbit"),
        ),
        Control("heading", "Direction: 0 is right, 90 up.", 0.0, (-3600.0, 3600.0), unit="degrees"),
        Control("speed", "Way of a tick.", 0.02, (0.0, 1.0), unit="norms"),
        Control("x", "Place, to the right of the prompt.", 0.0, (-8.0, 8.0), unit="norms"),
        Control("y", "Place, above the prompt.", 0.0, (-8.0, 8.0), unit="norms"),
        Control("reach", "Distance of an orbit from the prompt.", 0.0, (0.0, 8.0), unit="norms"),
        Control(
            "radius",
            "Half the side of the chart, which the flight keeps to.",
            1.0,
            (0.05, 8.0),
            unit="norms",
            live=False,
        ),
        Control("cells", "Squares a side of the first chart.", 8, (2, 64), live=False),
        Control("depth", "How often squares on a coast are cut into four.", 1, (0, 4), live=False),
        Control("steps", "Denoising steps of a picture.", 10, (1, 200), shape="log", live=False),
        Control("guidance", "How strongly the point is followed; 1: as learned.", 3.0, (0.0, 15.0), live=False),
        Control("height", "Of the pictures; 0: the mind's own.", 0, (0, 8192), unit="pixels", live=False),
        Control("width", "Of the pictures; 0: the mind's own.", 0, (0, 8192), unit="pixels", live=False),
    )
    emits: ClassVar[Mapping[str, str]] = {
        "mind": "Which mind it is (data: weights, settings, eye, device, precision).",
        "landfall": "The flight crosses the coast onto land.",
        "departure": "The flight leaves the land.",
        "becomes": "Another concept, or nothing, is the strongest (data: what).",
        "edge": "The end of the chart, where the flight stays.",
        "blank": "The mind draws what is no number: there is nothing to see.",
        "notice": "Something to know: of the prompts, of memory that ran out (data: line).",
    }
    inputs: ClassVar[Mapping[str, Input]] = {
        "prompt": Input("text", f"the point in the middle; default: {PROMPT}"),
        "right": Input("text", "a prompt to its right; default: a random direction"),
        "above": Input("text", "a prompt above it; default: a random direction"),
        "concept": Input("text", "whose island is charted; default: the first known that the prompt names"),
        "mind": Input("text", "house (default), a folder, or a hub name"),
        "clip": Input("text", "folder or hub name of the CLIP that scores; default: the mind's own"),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._fixed = {c.name: controls[c.name] for c in self.controls if not c.live}
        self._prompt = self.given.get("prompt", PROMPT)
        self._concept = self.given.get("concept") or concept_of(self._prompt)
        self._concepts = tuple(dict.fromkeys((self._concept, *CONCEPTS)))
        self._radius = float(controls["radius"])
        points = int(controls["cells"]) * 2 ** int(controls["depth"]) + 1
        sides = int(controls["height"]), int(controls["width"])
        self._latent, picture = shape_of(find_mind(self.given.get("mind", "house")), *sides)
        self.channels = channels(len(self._concepts), points, self._radius, picture)
        self._tick = 0
        self._place = (0.0, 0.0)
        self._ground: _Ground | None = None
        self._last: _Sight | None = None

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Open the mind and its eye, and chart the plane."""
        if self._ground is None:
            self._ground = self._charted()

    def _charted(self) -> _Ground:
        from pieces.minds.coast import field_on, survey
        from pieces.minds.concepts import open_eye
        from pieces.minds.space import Space

        mind = open_mind(self.given.get("mind", "house"))
        space = Space(mind.meaning([self._prompt]))
        settings = Settings(int(self._fixed["steps"]), float(self._fixed["guidance"]))
        eye = open_eye(mind, self.given.get("clip"))
        surveyor = Surveyor(mind, eye, space, self._concepts, (self.seed,), settings, shape=self._latent)
        which = identity(mind, eye)
        key = _hash([self._key, which])
        others = [self.given.get(name, "") for name in ("right", "above")]
        plane = space.plane(*(space.vectors(mind.meaning([p]))[0] if p else None for p in others), seed=self.seed)
        chart = _charts.get(key)
        if chart is None:
            cells, depth = int(self._fixed["cells"]), int(self._fixed["depth"])
            field = field_on(plane, lambda vectors: surveyor.scores(vectors, self._concept))
            chart = survey(field, self._radius, cells=cells, depth=depth)
            while len(_charts) >= _REMEMBERED:
                del _charts[next(iter(_charts))]
            _charts[key] = chart
        notices = [line for prompt in (self._prompt, *others) if prompt for line in mind.notices(prompt)]
        told = [Event(0, "mind", which), *(Event(0, "notice", {"line": line}) for line in notices)]
        return _Ground(surveyor, plane, chart, told)

    @property
    def _key(self) -> str:
        """A hash of all that the plane and its chart follow from."""
        return _hash([self.seed, self._fixed, self.given])

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """The next `n` pictures.

        Raises
        ------
        MindError
            At the first step, if the mind or its CLIP cannot be opened, or the prompts span no plane.
        """
        self.prepare(controls)
        assert self._ground is not None
        first = self._tick
        happened = [] if first else list(self._ground.told)
        rows = []
        for _ in range(n):
            began = time.perf_counter()
            self._place = self._moved(controls)
            sight = self._ground.look(self._place)
            happened += [Event(self._tick, kind, data) for kind, data in self._crossed(sight)]
            rows.append({**self._row(sight), "step_time": time.perf_counter() - began})
            self._last = sight
            self._tick += 1
        news = self._ground.surveyor.mind.news() if rows else []
        happened = [*(Event(first, "notice", {"line": line}) for line in news), *happened]
        arrays: dict[str, Array] = {c.name: np.asarray([r[c.name] for r in rows], c.dtype) for c in self.channels}
        return FrameBlock(first, arrays, tuple(happened))

    def _moved(self, controls: Mapping[str, Value]) -> tuple[float, float]:
        """Where the next picture is drawn; the chart's rim holds the flight."""
        steering, angle = controls["steering"], math.radians(float(controls["heading"]))
        if steering == "place":
            x, y = float(controls["x"]), float(controls["y"])
        else:
            (x, y), way = self._place, float(controls["speed"]) if self._tick else 0.0
            if steering == "orbit":
                (x, y), way = (0.0, 0.0), float(controls["reach"])
            x, y = x + way * math.cos(angle), y + way * math.sin(angle)
        return min(max(x, -self._radius), self._radius), min(max(y, -self._radius), self._radius)

    def _crossed(self, sight: _Sight) -> list[tuple[str, dict[str, str]]]:
        """What happened on the way to a sight: kinds and data of events."""
        found: list[tuple[str, dict[str, str]]] = []
        if sight.is_empty:
            found.append(("blank", {}))
        if self._last is None:
            return found
        if (sight.shore > 0) != (self._last.shore > 0):
            found.append(("landfall" if sight.shore > 0 else "departure", {}))
        if sight.strongest != self._last.strongest:
            found.append(("becomes", {"what": (*self._concepts, "nothing")[sight.strongest]}))
        if self._is_rim(sight.place) and not self._is_rim(self._last.place):
            found.append(("edge", {}))
        return found

    def _is_rim(self, place: tuple[float, float]) -> bool:
        return max(map(abs, place)) >= self._radius

    def _row(self, sight: _Sight) -> dict[str, Any]:
        assert self._ground is not None
        home, column = self._ground.home, self._concepts.index(self._concept)
        others = [s for i, s in enumerate(sight.scores[:-1]) if i != column]
        before = sight if self._last is None else self._last
        return {
            "x": sight.place[0],
            "y": sight.place[1],
            "distance": math.hypot(*sight.place),
            "shore": sight.shore,
            "concept": sight.scores[column],
            "other": max(others, default=0.0),
            "nothing": sight.scores[-1],
            "away": 1 - sight.embedded @ home.embedded,
            "change": 1 - sight.embedded @ before.embedded,
            "radius": self._radius,
            "scores": sight.scores,
            "chart": self._ground.chart.scores,
            "picture": sight.picture,
        }

    def snapshot(self) -> bytes:
        """Tick and place; all else follows from seed, controls and inputs."""
        return json.dumps({"tick": self._tick, "place": self._place, "plane": self._key}).encode()

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot; `SourceError` if `state` is none, or of another plane."""
        try:
            raw = json.loads(state)
            tick, (x, y), plane = int(raw["tick"]), map(float, raw["place"]), raw["plane"]
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise SourceError(f"not a snapshot of interconcept ({len(state)} bytes): {error}") from error
        if plane != self._key:
            raise SourceError("a snapshot of another plane: restore it with the seed, controls and inputs of its own")
        if tick < 0 or not max(abs(x), abs(y)) <= self._radius:
            raise SourceError(f"not a snapshot of interconcept: tick {tick}, place {x:g}, {y:g}")
        if self._ground is None:
            self._ground = self._charted()
        self._tick, self._place = tick, (x, y)
        self._last = self._ground.look(self._place) if tick else None


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Sight:
    """What there is to be seen at a place of the plane."""

    place: tuple[float, float]
    picture: Array
    embedded: Array
    scores: Floats
    shore: float
    is_empty: bool

    @property
    def strongest(self) -> int:
        """Column of the strongest score."""
        return int(np.argmax(self.scores))


@dataclass
class _Ground:
    """A plane with its chart, who draws there, and what there is to know of it."""

    surveyor: Surveyor
    plane: Plane
    chart: Coast
    told: list[Event]

    @cached_property
    def home(self) -> _Sight:
        """What is seen in the middle."""
        return self.look((0.0, 0.0))

    def look(self, place: tuple[float, float]) -> _Sight:
        """Draw one picture, alone, so that it does not depend on its neighbours."""
        point = np.array([place])
        pictures = self.surveyor.pictures(self.plane.at(point))
        embedded, scores = self.surveyor.seen(pictures)
        shore = float(self.chart.distance(point)[0])
        return _Sight(place, pictures[0, 0], embedded[0, 0], scores[0], shore, bool(nothing(pictures[0])[0]))
