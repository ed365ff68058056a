"""Alien minds heard: one prompt, one starting noise, and surgery after surgery."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from pieces.minds.concepts import CONCEPTS, concepts_of
from pieces.minds.mind import find_mind, nothing, shape_of
from pieces.signals import Array, Channel, Control, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError

if TYPE_CHECKING:
    from pieces.minds.alien_bench import Bench

PROMPT = "a cat in a party hat"
#: A picture has changed visibly when its mean distance in brightness reaches this share (3 of 255 levels).
VISIBLE = 3 / 255
#: A HAL run, noise and scalings reach this damage where nothing else is said.
MOST: Mapping[str, float] = {"hal": 0.5, "noise": 1.0, "down": 0.5, "up": 0.5}
#: Layers by the number that the channel ``layer`` gives them; any other is 0.
LAYERS = ("", "Conv2d", "Linear", "GroupNorm", "LayerNorm", "Embedding")
#: Batches of sheets that were drawn in this process, by sheet; and how many sheets are remembered.
_drawn: dict[str, dict[int, dict[str, Array]]] = {}
_REMEMBERED = 2


def channels(latent: tuple[int, int, int], picture: tuple[int, int], concepts: int) -> tuple[Channel, ...]:
    """Channels for latents ``(c, h, w)``, pictures ``(height, width)`` and so many concepts."""
    return (
        Channel("distance_pixels", "Mean distance of the picture from the untouched one, as share of brightness."),
        Channel("distance_latents", "The same of the latents, in deviations of the untouched ones.", "", (0.0, 3.0)),
        Channel("distance_embedding", "1 - cosine between both pictures as CLIP sees them.", "", (0.0, 2.0)),
        Channel("concept", "Score of the concept that was asked for."),
        Channel("complete", "How far all that was asked for is there (the hat), and not the bare concept."),
        Channel("nothing", "Score of nothing: noise, or an empty picture."),
        Channel(
            "strongest", "Number of the concept that scores highest; the last is nothing.", "", (0.0, float(concepts))
        ),
        Channel("doubt", "Entropy of the scores.", "bits", (0.0, 4.0)),
        Channel("damage", "Strength of the surgery; 0: none, 1: all that a module has.", "", (0.0, 4.0)),
        Channel("struck", "Modules that the surgery reaches.", "modules", (0.0, 1000.0)),
        Channel("depth", "Where the first of them is on the way through its part: 0 first, 1 last."),
        Channel("layer", "Kind of that module: 1 convolution, 2 linear, 3 and 4 norms, 5 embedding.", "", (0.0, 5.0)),
        Channel("parameters", "Parameters of all that is reached.", "", (0.0, 1e10)),
        Channel("entropy", "Entropy of the picture's grey levels.", "bits", (0.0, 8.0)),
        Channel("detail", "What the picture has in its finest octave, root mean square.", "levels", (0.0, 60.0)),
        Channel("brightness", "Mean brightness."),
        Channel("contrast", "Standard deviation of brightness.", "", (0.0, 0.5)),
        Channel("colourfulness", "Mean difference of the strongest colour from the weakest."),
        *(Channel(colour, f"Mean of {colour}.") for colour in ("red", "green", "blue")),
        Channel("tilt", "Distance of the right half from the untouched one minus that of the left.", "", (-1.0, 1.0)),
        Channel("scores", "Scores of all concepts, and of nothing.", shape=(concepts + 1,)),
        Channel("latents", "Latents of the picture.", "", (-4.0, 4.0), latent),
        Channel("picture", "The picture.", "", (0.0, 255.0), (*picture, 3), "uint8"),
    )


class Alien(Source):
    """A mind under surgery: the same prompt and starting noise, drawn under one surgery after the other.

    Tick 0 is the untouched picture, each further tick one surgery: of knock-outs and randomisations a module each, in
    the order of a picture's way through the mind; of a HAL run, noise and scalings (over all chosen modules) one grade
    of damage each, from 0 on. Damage is the share of modules that are out (hal), of randomness in every weight (noise),
    or what the weights' factor lacks of 1 (down) or exceeds it by (up).

    Pictures are drawn in batches, so that ticks come in batches too; a batch is always the same ticks. Sheets that were
    drawn in a process are remembered in it, the last two. The mind is untouched between batches, bit for bit.

    An event ``surgery`` names what is done at each tick; what became of the picture is another: ``unmoved`` (no visible
    effect: a mean distance below 3 of 255 levels), ``changed`` (another concept scores highest), ``lost`` (nothing
    does), ``nothing`` (what was drawn is no number).

    References
    ----------
    S. Wolfram, "Generative AI Space and the Mental Imagery of Alien Minds", 2023.
    A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021: the scores.
    """

    name: ClassVar[str] = "alien"
    about: ClassVar[str] = "A mind with parts knocked out, randomised or scaled: what it still imagines."
    references: ClassVar[tuple[str, ...]] = (
        "S. Wolfram, Generative AI Space and the Mental Imagery of Alien Minds, 2023",
        "A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
    )
    channels = channels((4, 16, 16), (64, 64), len(CONCEPTS))
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "surgery",
            "knockout, randomise: one module after the other; hal: more and more; noise, down, up: all, ever stronger.",
            "knockout",
            choices=("knockout", "hal", "randomise", "noise", "down", "up"),
            live=False,
        ),
        Control(
            "part",
            "Which part of the mind is operated.",
            "unet",
            choices=("unet", "text_encoder", "text_encoder_2", "vae", "all"),
            live=False,
        ),
        Control("layer", "Which layers in it.", "all", choices=("all", *LAYERS[1:]), live=False),
        Control("from_depth", "The first of them, by place: 0 is the first of its part.", 0.0, (0.0, 1.0), live=False),
        Control("to_depth", "The last of them.", 1.0, (0.0, 1.0), live=False),
        Control("half", "Strike one half of the picture only.", "both", choices=("both", "left", "right"), live=False),
        Control("modules", "At most so many, evenly spread; 0: all.", 0, (0, 10_000), live=False),
        Control("grades", "Grades of damage, for hal, noise, down and up.", 24, (2, 1000), live=False),
        Control("most", "The last grade of damage; 0: what is usual for the surgery.", 0.0, (0.0, 8.0), live=False),
        Control("steps", "Denoising steps of a picture.", 20, (1, 200), shape="log", live=False),
        Control("guidance", "How strongly the prompt is followed.", 3.0, (0.0, 15.0), live=False),
        Control("height", "Of the pictures; 0: the mind's own.", 0, (0, 8192), unit="pixels", live=False),
        Control("width", "Of the pictures; 0: the mind's own.", 0, (0, 8192), unit="pixels", live=False),
        Control(
            "batch",
            "Pictures that are drawn together, where they fit in memory.",
            16,
            (1, 256),
            shape="log",
            live=False,
        ),
    )
    emits: ClassVar[Mapping[str, str]] = {
        "mind": "Which mind it is (data: weights, settings, eye, device, precision).",
        "surgery": "A surgery (data: name of the first module or of the grade, kind, count of modules).",
        "unmoved": "It has no visible effect.",
        "changed": "Another concept scores highest (data: to).",
        "lost": "Nothing scores highest: there is noise, or an empty picture.",
        "nothing": "What the mind draws is no number.",
        "notice": "What one should know: of unknown words in the prompt, of memory that ran out (data: line).",
    }
    inputs: ClassVar[Mapping[str, Input]] = {
        "prompt": Input("text", f"what is drawn; default: {PROMPT}"),
        "mind": Input("text", "house (default), a folder, or a hub name"),
        "modules": Input("text", "pattern for the names of the modules, such as mid_block.*; default: all"),
        "concepts": Input("text", "captions to compare with, ; between, that which is asked for first"),
        "clip": Input("text", "folder or hub name of the CLIP that scores; default: the mind's own"),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._controls = dict(controls)
        self._tick = 0
        self._bench: Bench | None = None
        self.concepts = concepts_of(self.prompt, self.given.get("concepts", ""))
        if not 1 <= len(self.concepts) <= 64:
            raise SourceError(f"alien: concepts = {self.given['concepts']!r}: allowed are 1 to 64 captions, ; between")
        if self.surgery in ("hal", "noise", "down") and (most := float(controls["most"])) > 1:
            raise SourceError(f"alien: most = {most:g}: {self.surgery} ends at 1, all that there is; only up goes on")
        sides = int(controls["height"]), int(controls["width"])
        latent, picture = shape_of(find_mind(self.given.get("mind", "house")), *sides)
        self.channels = channels(latent, picture, len(self.concepts))
        self.sheet = _hash([seed, self._controls, self.given])

    @property
    def prompt(self) -> str:
        """What is drawn."""
        return self.given.get("prompt", PROMPT)

    @property
    def surgery(self) -> str:
        """Which surgery it is."""
        return str(self._controls["surgery"])

    @property
    def bench(self) -> Bench:
        """The opened mind with the list of its surgeries.

        Raises
        ------
        MindError
            If the mind cannot be opened, or no module is chosen.
        """
        if self._bench is None:
            from pieces.minds.alien_bench import Bench

            latent = next(c.shape for c in self.channels if c.name == "latents")
            self._bench = Bench(self.seed, self._controls, self.given, self.prompt, self.concepts, latent)
        return self._bench

    @cached_property
    def _memory(self) -> str:
        """What remembered pictures follow from."""
        return _hash([self.sheet, self.bench.identity])

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Open the mind and draw the first batch."""
        self._rows(0)

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """The next `n` surgeries; fewer at the end of the sheet.

        Raises
        ------
        MindError
            At the first step, if the mind cannot be opened or no module is chosen.
        """
        first, size = self._tick, int(self._controls["batch"])
        end = min(first + n, self.bench.ticks)
        parts = []
        for k in range(first // size, -(-end // size)):
            rows = slice(max(first - k * size, 0), min(end - k * size, size))
            parts.append({name: array[rows] for name, array in self._rows(k).items()})
        self._tick = end
        arrays = {c.name: _joined(c, [p[c.name] for p in parts]) for c in self.channels}
        told = [e for t in range(first, end) for e in self._told(t, arrays, first)]
        news = [Event(first, "notice", {"line": line}) for line in self.bench.mind.news()] if end > first else []
        return FrameBlock(first, arrays, (*news, *told))

    @property
    def batches(self) -> int:
        """Batches of the sheet."""
        return -(-self.bench.ticks // int(self._controls["batch"]))

    def batch(self, k: int) -> dict[str, Array]:
        """Draw and measure batch `k`: its ticks' values by channel."""
        size = int(self._controls["batch"])
        return self.bench.measured(range(k * size, min((k + 1) * size, self.bench.ticks)))

    def remember(self, k: int, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take a batch that was drawn before: it is not drawn again in this process."""
        _drawn.setdefault(self._memory, {})[k] = dict(arrays)
        while len(_drawn) > _REMEMBERED:
            del _drawn[next(iter(_drawn))]

    def _rows(self, k: int) -> dict[str, Array]:
        if k not in _drawn.get(self._memory, {}):
            self.remember(k, self.batch(k))
        return _drawn[self._memory][k]

    def _told(self, tick: int, arrays: Mapping[str, Array], first: int) -> list[Event]:
        """What is done at a tick, and what becomes of the picture."""
        row = {name: array[tick - first] for name, array in arrays.items()}
        told = [] if tick else [Event(0, "mind", self.bench.identity)]
        told += [Event(0, "notice", {"line": line}) for line in self.bench.mind.notices(self.prompt) if not tick]
        told.append(Event(tick, "surgery", self.bench.facts(tick)))
        best = int(row["strongest"])
        if not np.isfinite(row["latents"]).all() or nothing(row["picture"][None])[0]:
            return [*told, Event(tick, "nothing")]
        if tick and float(row["distance_pixels"]) < VISIBLE:
            told.append(Event(tick, "unmoved"))
        elif best == len(self.concepts):
            told.append(Event(tick, "lost"))
        elif best:
            told.append(Event(tick, "changed", {"to": self.concepts[best]}))
        return told

    def snapshot(self) -> bytes:
        """The place in the sheet; the sheet itself follows from seed, controls and inputs."""
        return json.dumps({"tick": self._tick, "sheet": self.sheet}).encode()

    def restore(self, state: bytes) -> None:
        """Go to the place of a snapshot; `SourceError` if `state` is none, or of another sheet."""
        try:
            raw = json.loads(state)
            tick, sheet = raw["tick"], raw["sheet"]
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"not a snapshot of alien ({len(state)} bytes): {error}") from error
        if sheet != self.sheet:
            raise SourceError("a snapshot of another sheet: restore it with the seed, controls and inputs of its own")
        if not isinstance(tick, int) or not 0 <= tick <= self.bench.ticks:
            raise SourceError(f"not a snapshot of alien: tick {tick!r}; allowed are 0 to {self.bench.ticks}")
        self._tick = tick


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _joined(channel: Channel, parts: Sequence[Array]) -> Array:
    empty = np.empty((0, *channel.shape), channel.dtype)
    return np.concatenate([empty, *parts]).astype(channel.dtype, copy=False)
