"""The operating table of `alien`: the surgeries of one sheet, the pictures drawn under them, and what is measured.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.minds.alien import LAYERS, MOST
from pieces.minds.batched import pictures
from pieces.minds.concepts import open_eye
from pieces.minds.identity import identity
from pieces.minds.mind import Settings, nothing, open_mind
from pieces.minds.surgery import Half, Kind, Operation, chosen, series
from pieces.minds.tracing import detail, steadied
from pieces.signals import Array, Value

Floats = NDArray[np.float64]


class Bench:
    """An opened mind and the surgeries of a sheet; tick 0 is the untouched mind.

    Parameters
    ----------
    seed : int
        Of the starting noise, and of everything random in the surgeries.
    controls, given : mapping
        Controls and inputs of `alien`.
    prompt : str
    concepts : sequence of str
        That which is asked for first.
    latent : tuple of int
        Shape of the pictures' latents.

    Raises
    ------
    MindError
        If mind or CLIP cannot be opened, or no module is chosen.
    """

    def __init__(
        self,
        seed: int,
        controls: Mapping[str, Value],
        given: Mapping[str, str],
        prompt: str,
        concepts: Sequence[str],
        latent: tuple[int, ...],
    ) -> None:
        self.mind = open_mind(given.get("mind", "house"))
        self.operations = (Operation("knockout", ()), *operations(self.mind, controls, given.get("modules", ""), seed))
        self.eye = open_eye(self.mind, given.get("clip"))
        self._prompt, self._concepts = prompt, tuple(concepts)
        self._settings = Settings(int(controls["steps"]), float(controls["guidance"]))
        self._noise = self.mind.noise([seed], latent)
        self._untouched: dict[str, Any] | None = None

    @property
    def ticks(self) -> int:
        """Ticks of the sheet: the surgeries and, first, the untouched mind."""
        return len(self.operations)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Which mind it is, and which CLIP looks."""
        return identity(self.mind, self.eye)

    def facts(self, tick: int) -> dict[str, Any]:
        """What is done at a tick, in words and numbers."""
        operation = self.operations[tick]
        alone = len(operation.modules) == 1
        name = operation.modules[0] if alone else f"{operation.kind} {damage(operation):.3g}" if tick else "untouched"
        layer = type(self.mind.modules[operation.modules[0]]).__name__ if alone else ""
        return {"name": name, "kind": operation.kind, "layer": layer, "modules": len(operation.modules)}

    def measured(self, ticks: range) -> dict[str, Array]:
        """Pictures of some ticks, drawn as one batch, with all that is measured of them, by channel."""
        with steadied(self.mind):
            return self._measured(ticks)

    def _measured(self, ticks: range) -> dict[str, Array]:
        if self._untouched is None:
            drawn = self._drawn(self.operations[:1])
            self._untouched = {**drawn, "embedded": self.eye.embed(drawn["picture"])}
        wanted = [t for t in ticks if t]
        drawn = self._drawn([self.operations[t] for t in wanted]) if wanted else {}
        first = self._untouched if 0 in ticks else None
        both = [d for d in (first, drawn) if d]
        rows = {name: np.concatenate([d[name] for d in both]) for name in ("latents", "picture")}
        return {**self._facts(ticks), **rows, **self._seen(rows["latents"], rows["picture"])}

    def _drawn(self, operations: Sequence[Operation]) -> dict[str, Array]:
        """Latents and pictures under some surgeries, in their order."""
        count = len(operations)
        found: dict[str, Array] = {}
        for part in pictures(self.mind, self._prompt, self._noise, self._settings, operations, batch=count):
            arrays = {"latents": part.latents.float().cpu().numpy(), "picture": part.pictures}
            for name, array in arrays.items():
                found.setdefault(name, np.empty((count, *array.shape[1:]), array.dtype))[list(part.indices)] = array
        return found

    def _facts(self, ticks: range) -> dict[str, Array]:
        """What is known of the surgeries without drawing."""
        place = {name: i for i, name in enumerate(self.mind.modules)}
        parts = [name.split(".", 1)[0] for name in place]
        rows = []
        for operation in (self.operations[t] for t in ticks):
            names = operation.modules
            first = names[0] if names else ""
            part = first.split(".", 1)[0]
            inside = place[first] - parts.index(part) if names else 0
            kind = type(self.mind.modules[first]).__name__ if names else ""
            size = sum(p.numel() for n in names for p in self.mind.modules[n].parameters(recurse=False))
            depth = inside / max(parts.count(part) - 1, 1)
            layer = LAYERS.index(kind) if kind in LAYERS else 0
            rows.append((damage(operation), len(names), depth, layer, size))
        columns = np.array(rows, np.float32).T
        return dict(zip(("damage", "struck", "depth", "layer", "parameters"), columns, strict=True))

    def _seen(self, latents: Array, seen: NDArray[np.uint8]) -> dict[str, Array]:
        """What is measured of pictures."""
        assert self._untouched is not None
        embedded = self.eye.embed(seen)
        scores, blank = self.eye.scores_of(embedded, self._concepts), nothing(seen)
        scores[blank] = np.eye(scores.shape[1])[-1]
        whole, bare = self._prompt, self._concepts[0]
        complete = (
            np.ones(len(seen)) if whole == bare else _share(self.eye.scores_of(embedded, (whole, bare), exactly=True))
        )
        before = _finite(self._untouched["latents"])
        moved = np.sqrt(np.mean((_finite(latents) - before) ** 2, axis=(1, 2, 3)))
        change = np.abs(seen.astype(np.float64) - self._untouched["picture"]).mean(axis=(1, 3)) / 255
        middle = change.shape[1] // 2
        found = {
            "distance_pixels": change.mean(axis=1),
            "tilt": change[:, middle:].mean(axis=1) - change[:, :middle].mean(axis=1),
            "distance_latents": moved / max(float(before.std()), 1e-9),
            "distance_embedding": 1 - np.clip(embedded @ self._untouched["embedded"][0], -1, 1),
            "concept": scores[:, 0],
            "complete": np.where(blank, 0, complete),
            "nothing": scores[:, -1],
            "strongest": scores.argmax(axis=1),
            "doubt": _bits(scores.astype(np.float64)),
            "scores": scores,
            **colours(seen),
        }
        return {name: np.asarray(values, np.float32) for name, values in found.items()}


def operations(mind: Any, controls: Mapping[str, Value], pattern: str, seed: int) -> list[Operation]:
    """The surgeries that controls of `alien` ask for.

    Raises
    ------
    MindError
        If no module is chosen.
    """
    part, layer = str(controls["part"]), str(controls["layer"])
    names = chosen(
        mind,
        part="" if part == "all" else part,
        pattern=pattern or "*",
        kind="" if layer == "all" else layer,
        depth=(float(controls["from_depth"]), float(controls["to_depth"])),
    )
    most = int(controls["modules"])
    if 0 < most < len(names):
        names = [names[i] for i in np.linspace(0, len(names) - 1, most).round().astype(int)]
    kind: Kind = controls["surgery"]  # type: ignore[assignment]
    half: Half = "" if controls["half"] == "both" else controls["half"]  # type: ignore[assignment]
    strengths = graded(kind, int(controls["grades"]), float(controls["most"]))
    return [Operation(o.kind, o.modules, o.strength, o.seed, half) for o in series(kind, names, strengths, seed)]


def graded(kind: str, grades: int, most: float) -> list[float]:
    """Strengths of so many grades of damage from the first above 0 to `most`; none where modules take their turn."""
    if kind not in MOST:
        return []
    steps = [(most or MOST[kind]) * (i + 1) / grades for i in range(grades)]
    return [strength(kind, step) for step in steps]


def strength(kind: str, amount: float) -> float:
    """The strength, as `pieces.minds.surgery` has it, of an amount of damage; factors stay above 0, shares below 1."""
    if kind == "down":
        return max(1 - amount, 0.0)
    return 1 + amount if kind == "up" else min(amount, 1.0)


def damage(operation: Operation) -> float:
    """Inverse of `strength`; 1 for a module that is out or random."""
    if not operation.modules:
        return 0.0
    return {"down": 1 - operation.strength, "up": operation.strength - 1}.get(operation.kind, operation.strength)


def colours(pictures: NDArray[np.uint8]) -> dict[str, Floats]:
    """Statistics of pictures ``[n, h, w, 3]``: levels as shares of full brightness, entropy in bits."""
    shares = pictures / 255
    gray = shares.mean(axis=3)
    counts = np.stack([np.bincount((g * 255).round().astype(int).ravel(), minlength=256) for g in gray])
    return {
        "brightness": gray.mean(axis=(1, 2)),
        "contrast": gray.std(axis=(1, 2)),
        "colourfulness": np.ptp(shares, axis=3).mean(axis=(1, 2)),
        **{name: shares[..., i].mean(axis=(1, 2)) for i, name in enumerate(("red", "green", "blue"))},
        "entropy": _bits(counts / counts.sum(axis=1, keepdims=True)),
        "detail": np.array([detail(picture) for picture in pictures]),
    }


def _finite(latents: Array) -> Floats:
    """What is no number is 0, and what explodes stays within what a distance can be measured of."""
    return np.clip(np.nan_to_num(latents.astype(np.float64)), -1e3, 1e3)


def _share(scores: Array) -> Floats:
    """Of the first of two, without nothing."""
    shares: Floats = scores[:, 0] / np.maximum(scores[:, 0] + scores[:, 1], 1e-12)
    return shares


def _bits(shares: Floats) -> Floats:
    """Shannon entropy of each row."""
    found: Floats = -(shares * np.log2(np.maximum(shares, 1e-300))).sum(axis=1)
    return found
