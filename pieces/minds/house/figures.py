"""How the house mind's world is drawn: eight figures, three accessories, six grounds, in one hand.

Figures stand in a box of about -1..1, y downwards, and are drawn by a `Pen` that knows where the box lies on the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import ImageDraw

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
GLASS: Colour = (190, 225, 250)
EYE: Colour = (22, 20, 28)
_CIRCLE = [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 28, endpoint=False)]


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a `share` of `b` in it."""
    red, green, blue = (round(x * (1 - share) + y * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def shaded(colour: Colour, share: float) -> Colour:
    """Darker by `share`, or lighter if it is negative."""
    return blend(colour, BLACK if share > 0 else WHITE, abs(share))


@dataclass(frozen=True)
class Pen:
    """Draws in the box of a figure: scaled, turned by a little, with one outline."""

    paper: ImageDraw.ImageDraw
    centre: Point
    scale: float
    turn: float
    outline: Colour

    @property
    def width(self) -> int:
        """Width of an outline, in pixels of the paper."""
        return max(3, round(self.scale * 0.055))

    def at(self, point: Point) -> Point:
        """Where a point of the box lies on the paper."""
        x, y = point[0] * self.scale, point[1] * self.scale
        c, s = math.cos(self.turn), math.sin(self.turn)
        return self.centre[0] + x * c - y * s, self.centre[1] + x * s + y * c

    def shape(self, points: Sequence[Point], fill: Colour, outlined: bool = True) -> None:
        """A filled polygon."""
        corners = [self.at(p) for p in points]
        self.paper.polygon(corners, fill=fill)
        if outlined:
            self.paper.line([*corners, *corners[:2]], fill=self.outline, width=self.width, joint="curve")

    def oval(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, outlined: bool = True, turn: float = 0.0
    ) -> None:
        """A filled ellipse, turned by `turn` radians."""
        c, s = math.cos(turn), math.sin(turn)
        self.shape([(x + rx * u * c - ry * v * s, y + rx * u * s + ry * v * c) for u, v in _CIRCLE], fill, outlined)

    def line(self, points: Sequence[Point], colour: Colour | None = None, width: float = 1.0) -> None:
        """A stroke, `width` times as wide as an outline."""
        self.paper.line(
            [self.at(p) for p in points],
            fill=colour or self.outline,
            width=max(2, round(self.width * width)),
            joint="curve",
        )

    def ring(self, x: float, y: float, radius: float, colour: Colour, width: float) -> None:
        """An open circle."""
        around = [self.at((x + radius * u, y + radius * v)) for u, v in _CIRCLE]
        self.paper.line([*around, *around[:2]], fill=colour, width=round(self.width * width), joint="curve")


@dataclass(frozen=True)
class Body:
    """Where a figure wears things: the crown of its head with half its width, eyes with their radius, neck."""

    crown: tuple[float, float, float]
    eyes: tuple[Point, ...]
    eye: float
    neck: Point


def _eyes(pen: Pen, places: Sequence[Point], radius: float, iris: Colour = WHITE, slit: bool = False) -> None:
    for x, y in places:
        pen.oval(x, y, radius, radius * 1.05, iris)
        pen.oval(x, y, radius * (0.34 if slit else 0.56), radius * (0.9 if slit else 0.62), EYE, outlined=False)
        pen.oval(x - radius * 0.25, y - radius * 0.35, radius * 0.22, radius * 0.22, WHITE, outlined=False)


def _sitting(pen: Pen, coat: Colour, belly: Colour) -> None:
    """Body and paws of an animal that sits and looks at us."""
    pen.oval(0, 0.68, 0.46, 0.42, coat)
    pen.oval(0, 0.75, 0.24, 0.28, belly, outlined=False)
    for side in (-0.2, 0.2):
        pen.oval(side, 1.02, 0.16, 0.1, belly)


def cat(pen: Pen, coat: Colour, rng: np.random.Generator) -> Body:
    """Pointed ears, slit eyes, whiskers, a tail that curls upwards."""
    dark, light = shaded(coat, 0.25), shaded(coat, -0.55)
    tail = [(0.35, 0.85), (0.75, 0.75), (0.87, 0.4), (0.76, 0.15)]
    pen.line(tail, width=4.2)
    pen.line(tail, dark, 2.6)
    _sitting(pen, coat, light)
    tall = rng.uniform(0.92, 1.05)
    for side in (-1, 1):
        pen.shape([(side * 0.62, -0.15), (side * 0.6, -0.9 * tall), (side * 0.08, -0.5)], coat)
        pen.shape([(side * 0.5, -0.3), (side * 0.51, -0.7 * tall), (side * 0.22, -0.47)], (240, 160, 170), False)
    pen.oval(0, -0.08, 0.66, 0.54, coat)
    for x in (-0.14, 0, 0.14):
        pen.line([(x, -0.58), (x * 0.8, -0.4)], dark, 1.3)
    pen.oval(0, 0.15, 0.3, 0.2, light, outlined=False)
    eyes = ((-0.27, -0.1), (0.27, -0.1))
    _eyes(pen, eyes, 0.17, (170, 220, 90), slit=True)
    pen.shape([(-0.09, 0.06), (0.09, 0.06), (0, 0.16)], (225, 90, 115), outlined=False)
    for side in (-1, 1):
        pen.line([(0, 0.14), (side * 0.1, 0.25)])
        for drop in (-0.06, 0.05, 0.16):
            pen.line([(side * 0.3, 0.14 + drop * 0.5), (side * 0.84, 0.1 + drop * 1.8)], width=0.7)
    return Body((0, -0.5, 0.36), eyes, 0.2, (0, 0.47))


def dog(pen: Pen, coat: Colour, rng: np.random.Generator) -> Body:
    """Long dark ears that hang, a pale muzzle with a black nose, the tongue out."""
    dark, light = shaded(coat, 0.4), shaded(coat, -0.6)
    pen.line([(0.4, 0.75), (0.8, 0.35)], width=5)
    pen.line([(0.4, 0.75), (0.79, 0.37)], coat, 3.2)
    _sitting(pen, coat, light)
    pen.oval(0, -0.1, 0.54, 0.56, coat)
    long = rng.uniform(0.95, 1.1)
    for side in (-1, 1):
        pen.oval(side * 0.58, -0.04, 0.2, 0.48 * long, dark, turn=-side * 0.25)
    pen.oval(0, 0.2, 0.34, 0.26, light)
    eyes = ((-0.2, -0.2), (0.2, -0.2))
    _eyes(pen, eyes, 0.13)
    pen.oval(0, 0.42, 0.1, 0.16, (235, 90, 110))
    pen.line([(-0.17, 0.27), (0, 0.31), (0.17, 0.27)])
    pen.oval(0, 0.07, 0.15, 0.11, (30, 28, 32), outlined=False)
    return Body((0, -0.58, 0.34), eyes, 0.19, (0, 0.55))


def bird(pen: Pen, coat: Colour, rng: np.random.Generator) -> Body:
    """From the side: a beak to the right, a wing, two thin legs."""
    dark, light = shaded(coat, 0.28), shaded(coat, -0.5)
    for x in (-0.14, 0.14):
        pen.line([(x, 0.6), (x, 1.0), (x + 0.16, 1.04)], (225, 130, 30), 1.7)
    pen.shape([(-0.5, 0.3), (-1.02, 0.08), (-0.98, 0.44)], dark)
    pen.oval(-0.08, 0.25, 0.6, 0.46, coat)
    pen.oval(0.1, 0.38, 0.34, 0.28, light, outlined=False)
    pen.shape([(0.7, -0.46), (1.08, -0.28), (0.68, -0.16)], (250, 165, 30))
    pen.oval(0.38, -0.3, 0.4, 0.38, coat)
    pen.oval(-0.22, 0.2, 0.36, 0.2, dark, turn=rng.uniform(-0.3, 0.1))
    eyes = ((0.46, -0.36),)
    _eyes(pen, eyes, 0.14)
    return Body((0.36, -0.58, 0.38), eyes, 0.2, (0.36, 0.1))


def fish(pen: Pen, coat: Colour, rng: np.random.Generator) -> Body:
    """From the side: a tail to the left, fins, pale stripes, bubbles."""
    dark, light = shaded(coat, 0.25), shaded(coat, -0.5)
    pen.shape([(-0.55, 0.05), (-1.05, -0.42), (-0.9, 0.05), (-1.05, 0.52)], dark)
    pen.shape([(-0.35, -0.3), (-0.1, -0.74), (0.35, -0.38)], dark)
    pen.shape([(-0.2, 0.38), (-0.1, 0.72), (0.15, 0.42)], dark)
    pen.oval(0.05, 0.05, 0.78, 0.48, coat)
    for x in (-0.32, -0.06):
        pen.line([(x, -0.32), (x + 0.08, 0.05), (x, 0.4)], light, 2.5)
    pen.oval(0.1, 0.16, 0.18, 0.1, dark, turn=0.3)
    eyes = ((0.5, -0.08),)
    _eyes(pen, eyes, 0.15)
    pen.line([(0.8, 0.16), (0.66, 0.22), (0.58, 0.2)])
    rise = rng.uniform(-0.05, 0.05)
    pen.oval(0.9, -0.34 + rise, 0.08, 0.08, (205, 232, 250))
    pen.oval(0.98, -0.62 + rise, 0.1, 0.1, (205, 232, 250))
    return Body((0.2, -0.36, 0.38), eyes, 0.2, (0.22, 0.5))


_SKINS: tuple[Colour, ...] = ((250, 215, 185), (232, 180, 140), (180, 120, 80), (120, 78, 50))
_HAIRS: tuple[Colour, ...] = ((50, 35, 25), (150, 90, 40), (235, 200, 90))


def person(pen: Pen, cloth: Colour, rng: np.random.Generator) -> Body:
    """Head and shoulders; the colour is that of the jersey."""
    skin, hair = _SKINS[rng.integers(len(_SKINS))], _HAIRS[rng.integers(len(_HAIRS))]
    if rng.random() < 0.5:
        pen.oval(0, 0.0, 0.64, 0.72, hair)
    pen.shape([(-0.78, 1.15), (-0.6, 0.72), (-0.2, 0.58), (0.2, 0.58), (0.6, 0.72), (0.78, 1.15)], cloth)
    pen.shape([(-0.13, 0.4), (0.13, 0.4), (0.13, 0.64), (-0.13, 0.64)], skin, outlined=False)
    for side in (-0.5, 0.5):
        pen.oval(side, 0.0, 0.1, 0.13, skin)
    pen.oval(0, 0, 0.49, 0.56, skin)
    fringe = [(-0.5, -0.06), (-0.48, -0.4), (-0.26, -0.62), (0, -0.68), (0.26, -0.62), (0.48, -0.4), (0.5, -0.06)]
    pen.shape([*fringe, (0.36, -0.28), (0.0, -0.36), (-0.36, -0.28)], hair)
    eyes = ((-0.19, -0.05), (0.19, -0.05))
    _eyes(pen, eyes, 0.1)
    pen.line([(0, 0.02), (0.05, 0.16), (-0.02, 0.17)], shaded(skin, 0.4), 0.8)
    pen.line([(-0.18, 0.28), (-0.08, 0.35), (0.08, 0.35), (0.18, 0.28)], (175, 45, 50), 1.4)
    return Body((0, -0.58, 0.36), eyes, 0.17, (0, 0.68))


def plane(pen: Pen, paint: Colour, rng: np.random.Generator) -> None:
    """Flies to the right: wings, a tail fin, a row of windows."""
    dark = shaded(paint, 0.28)
    pen.shape([(-0.68, -0.05), (-0.98, -0.55), (-0.72, -0.55), (-0.38, -0.1)], dark)
    pen.shape([(0.1, -0.05), (-0.2, -0.52), (0.02, -0.52), (0.36, -0.05)], dark)
    pen.oval(0, 0.05, 1.0, 0.26, paint)
    for x in (-0.5, -0.25, 0, 0.25, 0.5):
        pen.oval(x, 0, 0.08, 0.08, GLASS)
    reach = rng.uniform(0.6, 0.7)
    pen.shape([(0.1, 0.12), (-0.42, reach), (-0.12, reach), (0.44, 0.12)], dark)
    pen.shape([(0.68, -0.1), (0.92, -0.01), (0.72, 0.04)], GLASS, outlined=False)


def house(pen: Pen, paint: Colour, rng: np.random.Generator) -> None:
    """A gable, a chimney, a door and a lit window."""
    pen.shape([(0.34, -0.2), (0.34, -0.86), (0.55, -0.86), (0.55, -0.2)], (150, 90, 80))
    pen.shape([(-0.72, 1), (-0.72, -0.05), (0.72, -0.05), (0.72, 1)], paint)
    pen.shape([(-0.94, -0.02), (0, -0.9), (0.94, -0.02)], (120, 70, 60))
    door = -0.32 + rng.uniform(-0.04, 0.04)
    pen.shape([(door - 0.18, 1), (door - 0.18, 0.38), (door + 0.18, 0.38), (door + 0.18, 1)], (95, 60, 40))
    pen.oval(door + 0.1, 0.72, 0.04, 0.04, (250, 220, 90), outlined=False)
    pen.shape([(0.14, 0.55), (0.14, 0.16), (0.52, 0.16), (0.52, 0.55)], (255, 235, 140))
    pen.line([(0.33, 0.55), (0.33, 0.16)])
    pen.line([(0.14, 0.36), (0.52, 0.36)])


def tree(pen: Pen, leaves: Colour, rng: np.random.Generator) -> None:
    """A round crown of three parts on a brown trunk."""
    pen.shape([(-0.15, 1.05), (-0.11, 0.1), (0.11, 0.1), (0.15, 1.05)], (125, 80, 45))
    high = -0.42 + rng.uniform(-0.04, 0.04)
    crown = ((-0.4, 0.0, 0.4), (0.4, 0.0, 0.4), (0.0, high, 0.48), (0.0, 0.02, 0.4))
    for x, y, radius in crown:
        pen.oval(x, y, radius, radius, leaves)
    for x, y, radius in crown:
        pen.oval(x, y, radius - 0.04, radius - 0.04, leaves, outlined=False)
    light = shaded(leaves, -0.35)
    for x, y in ((-0.42, -0.12), (0.1, -0.55), (0.34, -0.1)):
        pen.oval(x, y, 0.13, 0.08, light, outlined=False, turn=-0.5)


def party_hat(pen: Pen, body: Body) -> None:
    """A tall striped cone with a ball at its tip."""
    x, y, half = body.crown
    tall, y = half * 2.2, y + 0.06
    pen.shape([(x - half, y), (x, y - tall), (x + half, y)], (225, 45, 130))
    for low in (0.16, 0.5):
        high = low + 0.17
        band = ((-1, low), (-1, high), (1, high), (1, low))
        pen.shape([(x + side * half * (1 - h), y - tall * h) for side, h in band], (250, 220, 70), outlined=False)
    pen.oval(x, y - tall, 0.14, 0.14, (250, 220, 70))


def bow_tie(pen: Pen, body: Body) -> None:
    """Two triangles and a knot, under the chin."""
    x, y = body.neck
    for side in (-1, 1):
        pen.shape([(x, y), (x + side * 0.42, y - 0.22), (x + side * 0.42, y + 0.22)], (120, 40, 170))
    pen.oval(x, y, 0.1, 0.11, (80, 25, 120))


def glasses(pen: Pen, body: Body) -> None:
    """Round black frames."""
    radius, frame = body.eye + 0.05, (18, 18, 22)
    for x, y in body.eyes:
        pen.ring(x, y, radius, frame, 1.8)
    first, last = body.eyes[0], body.eyes[-1]
    pen.line([(first[0] - radius, first[1]), (first[0] - radius - 0.26, first[1] - 0.07)], frame, 2.0)
    if last != first:  # seen from the front
        pen.line([(first[0] + radius, first[1]), (last[0] - radius, last[1])], frame, 2.0)
        pen.line([(last[0] + radius, last[1]), (last[0] + radius + 0.26, last[1] - 0.07)], frame, 2.0)


#: Figures that can wear something, and those that cannot.
WEARERS: dict[str, Callable[[Pen, Colour, np.random.Generator], Body]] = {
    "cat": cat,
    "dog": dog,
    "bird": bird,
    "fish": fish,
    "person": person,
}
OTHERS: dict[str, Callable[[Pen, Colour, np.random.Generator], None]] = {
    "plane": plane,
    "house": house,
    "tree": tree,
}
ACCESSORIES: dict[str, Callable[[Pen, Body], None]] = {
    "bow tie": bow_tie,
    "glasses": glasses,
    "party hat": party_hat,
}


def _scenery(paper: ImageDraw.ImageDraw, size: int, sky: tuple[Colour, Colour], earth: Colour) -> None:
    horizon = int(size * 0.74)
    for y in range(0, horizon, 8):
        paper.rectangle((0, y, size, y + 8), fill=blend(*sky, y / horizon))
    paper.rectangle((0, horizon, size, size), fill=earth)


def _light(paper: ImageDraw.ImageDraw, size: int, rng: np.random.Generator, colour: Colour) -> tuple[float, ...]:
    """Sun or moon: draws it, and gives its centre and radius."""
    x, y, r = size * 0.12, size * (0.13 + rng.uniform(-0.02, 0.02)), size * 0.085
    paper.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return x, y, r


def day(paper: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """Blue sky, the sun, grass."""
    _scenery(paper, size, ((110, 180, 245), (205, 232, 250)), (110, 190, 90))
    _light(paper, size, rng, (255, 222, 80))


def night(paper: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """Dark sky with the moon and stars over dark grass."""
    _scenery(paper, size, ((14, 16, 52), (44, 46, 108)), (30, 62, 52))
    x, y, r = _light(paper, size, rng, (250, 245, 210))
    paper.ellipse((x - r * 0.3, y - r * 1.2, x + r * 1.5, y + r * 0.7), fill=(19, 21, 60))
    for sx, sy in ((0.3, 0.08), (0.72, 0.06), (0.92, 0.2), (0.06, 0.4), (0.94, 0.5), (0.1, 0.62), (0.86, 0.36)):
        cx, cy = size * (sx + rng.uniform(-0.02, 0.02)), size * (sy + rng.uniform(-0.02, 0.02))
        paper.ellipse((cx - 3, cy - 3, cx + 3, cy + 3), fill=(255, 255, 220))


def snow(paper: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """Grey sky, white ground, flakes."""
    _scenery(paper, size, ((150, 168, 192), (205, 214, 226)), (246, 249, 252))
    for x, y in rng.uniform(0, size, (18, 2)):
        paper.ellipse((x - 4, y - 4, x + 4, y + 4), fill=WHITE)


#: Grounds with scenery, by the words that name them; all others are plain paper of a colour.
SCENES: dict[str, Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]] = {
    "in the day": day,
    "at night": night,
    "in the snow": snow,
}
