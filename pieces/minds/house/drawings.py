"""Captioned drawings without end: what the house mind has seen of the world, and in what words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pieces.minds.house.figures import ACCESSORIES, BLACK, OTHERS, SCENES, WEARERS, Colour, Pen, blend, shaded

#: Pixels of a drawing, a side; it is drawn so many times larger and reduced.
SIZE, OVERSAMPLING = 64, 4
OBJECTS = (*WEARERS, *OTHERS)
THINGS = tuple(ACCESSORIES)
COLOURS: dict[str, Colour] = {
    "red": (214, 52, 50),
    "orange": (242, 142, 40),
    "yellow": (247, 212, 62),
    "green": (66, 168, 82),
    "blue": (58, 112, 222),
    "pink": (246, 150, 182),
}
#: Plain papers; none has the colour of a figure.
PAPERS: dict[str, Colour] = {
    "on a white background": (244, 241, 236),
    "on a gray background": (142, 145, 153),
    "on a purple background": (138, 84, 186),
}
BACKGROUNDS = (*SCENES, *PAPERS)


@dataclass(frozen=True)
class Drawing:
    """What is on a drawing.

    Attributes
    ----------
    thing : str
        One of `OBJECTS`.
    colour : str
        One of `COLOURS`: of the coat, the paint, the leaves, a person's jersey.
    background : str
        One of `BACKGROUNDS`.
    wears : tuple of str
        Some of `THINGS`; empty unless `thing` is one of `WEARERS`.
    """

    thing: str
    colour: str
    background: str
    wears: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.wears and self.thing not in WEARERS:
            raise ValueError(f"a {self.thing} wears nothing, not {self.wears}: allowed are {', '.join(WEARERS)}")


def imagine(rng: np.random.Generator) -> Drawing:
    """A drawing at random: all objects, colours and backgrounds alike, each accessory on four of ten wearers."""
    thing = str(rng.choice(OBJECTS))
    wears = tuple(t for t in THINGS if rng.random() < 0.4) if thing in WEARERS else ()
    return Drawing(thing, str(rng.choice(list(COLOURS))), str(rng.choice(BACKGROUNDS)), wears)


def draw(drawing: Drawing, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The drawing as uint8 ``[64, 64, 3]``; `rng` moves the hand a little."""
    side = SIZE * OVERSAMPLING
    image = Image.new("RGB", (side, side), PAPERS.get(drawing.background, BLACK))
    paper = ImageDraw.Draw(image)
    if drawing.background in SCENES:
        SCENES[drawing.background](paper, side, rng)
    colour = blend(COLOURS[drawing.colour], BLACK, rng.uniform(0, 0.08))
    hatted = "party hat" in drawing.wears
    scale = (0.385 if drawing.thing in WEARERS else 0.41) * rng.uniform(0.96, 1.04) * (0.84 if hatted else 1.0)
    centre = (
        side * (0.5 + rng.uniform(-0.03, 0.03)),
        side * ((0.56 if hatted else 0.48) + rng.uniform(-0.02, 0.02)),
    )
    pen = Pen(paper, centre, side * scale, rng.uniform(-0.05, 0.05), shaded(colour, 0.72))
    if drawing.thing in WEARERS:
        body = WEARERS[drawing.thing](pen, colour, rng)
        for thing in drawing.wears:
            ACCESSORIES[thing](pen, body)
    else:
        OTHERS[drawing.thing](pen, colour, rng)
    return np.asarray(image.reduce(OVERSAMPLING), dtype=np.uint8)


def caption(drawing: Drawing, rng: np.random.Generator | None = None) -> str:
    """The drawing in words; with `rng` some of what is on it may be left unsaid, but never what it wears.

    Examples
    --------
    >>> caption(Drawing("cat", "orange", "at night", ("party hat",)))
    'an orange cat in a party hat at night'
    """
    coloured = rng is None or rng.random() < 0.6
    placed = rng is None or rng.random() < 0.6
    words = ["a", *([drawing.colour] if coloured and drawing.thing != "person" else []), drawing.thing]
    if coloured and drawing.thing == "person":
        words += ["in", drawing.colour]
    if drawing.wears:
        worn = list(drawing.wears)
        if rng is not None:
            rng.shuffle(worn)
        words.append(_worn(worn).strip())
    if placed:
        words.append(drawing.background)
    return re.sub(r"^a (?=orange)", "an ", " ".join(words))


def dressings(caption: str) -> tuple[str, ...]:
    """A caption and what it may leave open: captions never leave out what is worn, so "a cat" alone wears nothing.

    Examples
    --------
    >>> dressings("a tree")
    ('a tree',)
    >>> len(dressings("a cat")), dressings("a cat")[1]
    (16, 'a cat in a party hat')
    """
    if caption.rpartition(" ")[2] not in WEARERS:
        return (caption,)
    orders = (worn for count in range(len(THINGS) + 1) for worn in itertools.permutations(THINGS, count))
    return tuple(f"{caption}{_worn(worn)}" for worn in orders)


def _worn(things: Sequence[str]) -> str:
    return f" in {' and '.join(t if t == 'glasses' else f'a {t}' for t in things)}" if things else ""


def vocabulary() -> tuple[str, ...]:
    """Every word that captions are made of, in alphabetical order: all that the house mind can know."""
    spoken = [*OBJECTS, *THINGS, *COLOURS, *BACKGROUNDS, "a an in and"]
    return tuple(sorted({word for phrase in spoken for word in phrase.split()}))


def unknown_words(prompt: str) -> tuple[str, ...]:
    """Words of `prompt` that the house mind has never seen, in their order."""
    known = set(vocabulary())
    return tuple(w for w in dict.fromkeys(re.findall(r"[^\W_]+", prompt.lower())) if w not in known)


@dataclass(frozen=True)
class Album:
    """Drawings with what is on them.

    Attributes
    ----------
    pictures : ndarray
        uint8 ``[n, 64, 64, 3]``.
    captions : sequence of str
        A caption each.
    drawings : sequence of Drawing
        What is on each.
    """

    pictures: NDArray[np.uint8]
    captions: Sequence[str]
    drawings: Sequence[Drawing]


def described(count: int, seed: int, first: int = 0) -> tuple[list[str], list[Drawing]]:
    """Captions and contents of an `album`, without its pictures."""
    drawings, captions = [], []
    for i in range(first, first + count):
        rng = np.random.default_rng((seed, i))
        drawings.append(imagine(rng))
        captions.append(caption(drawings[-1], rng))
    return captions, drawings


def album(count: int, seed: int, first: int = 0) -> Album:
    """Drawings `first` to ``first + count`` of the endless album `seed`: each has a random state of its own.

    About 1 ms of CPU time each.
    """
    captions, drawings = described(count, seed, first)
    pictures = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i, drawing in enumerate(drawings):
        pictures[i] = draw(drawing, np.random.default_rng((seed, first + i, 1)))
    return Album(pictures, captions, drawings)
