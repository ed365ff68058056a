"""Inverse diffusion heard: from noise to a picture, step by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pieces.minds.identity import identity
from pieces.minds.mind import Mind, find_mind, open_mind, shape_of
from pieces.signals import Channel, Control, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError

if TYPE_CHECKING:
    import torch

    from pieces.minds.tracing import Row, Tracer

PROMPT = "a cat in a party hat"
#: Noise levels of the minds' schedulers.
LEVELS = 1000


def channels(latent: tuple[int, int, int], picture: tuple[int, int]) -> tuple[Channel, ...]:
    """Channels for latents ``(c, h, w)`` and pictures ``(height, width)``."""
    count, size = latent[0], (*picture, 3)
    each = tuple(
        Channel(f"{what}_{i}", f"{about} of latent channel {i}.", "", span)
        for what, about, span in (("mean", "Mean", (-2.0, 2.0)), ("deviation", "Standard deviation", (0.0, 2.0)))
        for i in range(count)
    )
    return (
        Channel("noise_level", "Share of noise in the latents that the step began with: sqrt(1 - a)."),
        Channel("step_size", "Noise levels that the step went down.", "", (0.0, 1000.0)),
        Channel("spread", "Standard deviation of the picture that is still possible: x0 over noise draws.", "", (0, 1)),
        Channel("change", "Distance of x0 from that of the step before, root mean square.", "", (0.0, 1.5)),
        Channel("guidance_difference", "What the prompt changes in the prediction, root mean square.", "", (0.0, 1.0)),
        Channel("epsilon_size", "Predicted noise, root mean square.", "", (0.0, 2.0)),
        Channel("detail", "What x0's picture has in its finest octave, root mean square.", "levels", (0.0, 30.0)),
        *each,
        Channel("latents", "Latents after the step.", "", (-4.0, 4.0), latent),
        Channel("epsilon", "Predicted noise.", "", (-4.0, 4.0), latent),
        Channel("x0", "Predicted clean latents.", "", (-4.0, 4.0), latent),
        Channel("difference", "Conditional minus unconditional prediction.", "", (-2.0, 2.0), latent),
        Channel("x0_picture", "The predicted clean picture.", "", (0.0, 255.0), size, "uint8"),
        Channel("step_time", "Time that the tick took.", "s", (0.0, 1.0), reproducible=False),
    )


@dataclass
class State:
    """Where a trajectory is: all that a branch needs beside the mind.

    Attributes
    ----------
    tick, picture : int
        Ticks made, and number of the picture.
    position : float
        Noise levels between the latents and the picture: 1000 at noise alone, 0 when it is finished.
    resting : int
        Ticks that the finished picture has stayed.
    lost : bool
        Whether there is nothing to be seen.
    latents : Tensor
        ``[1, c, h, w]``.
    last_x0 : Tensor or None
        Clean latents predicted at the last step; None before the first one.
    """

    tick: int
    picture: int
    position: float
    resting: int
    lost: bool
    latents: torch.Tensor
    last_x0: torch.Tensor | None


class Denoising(Source):
    """A mind draws its pictures from noise; a tick is a denoising step, and the ticks of rest after each picture.

    The step from level t to t - d is one step of the mind's own pipeline with DDIM (Song et al. 2021, eq. 12) at the
    given eta: 0 is deterministic, 1 ancestral (eq. 16). d is ``1000 / steps`` times the step size, so that steps may
    become larger or smaller under way; guidance, sampler and eta may be changed too.

    The spread is how much of the picture is open: from the predicted x0 the latents are taken back to half their noise
    level with fresh noise, a few times, and the mind predicts x0 again; the spread is the standard deviation of these
    over the draws, root mean square over the latents. At the level itself it would say nothing where it matters most:
    in noise alone a mind sees nothing but the mean of all pictures, whichever the noise is. Draws have a random state
    of their own: they change nothing.

    References
    ----------
    J. Ho, A. Jain and P. Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020.
    J. Song, C. Meng and S. Ermon, "Denoising Diffusion Implicit Models", ICLR 2021: equations 12 and 16.
    J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022: equation 6, whose difference is a channel.
    """

    name: ClassVar[str] = "denoising"
    about: ClassVar[str] = "A diffusion model draws a picture out of noise, step by step."
    references: ClassVar[tuple[str, ...]] = (
        "J. Ho, A. Jain and P. Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020",
        "J. Song, C. Meng and S. Ermon, Denoising Diffusion Implicit Models, ICLR 2021",
        "J. Ho and T. Salimans, Classifier-Free Diffusion Guidance, 2022",
    )
    channels = channels((4, 16, 16), (64, 64))
    controls: ClassVar[tuple[Control, ...]] = (
        Control("steps", "Steps from noise to picture, at step size 1.", 20, (1, 200), shape="log"),
        Control("step_size", "Larger or smaller steps: a factor.", 1.0, (0.1, 20.0), shape="log"),
        Control("guidance", "How strongly the prompt is followed; 1: as learned.", 3.0, (1.0, 15.0)),
        Control(
            "sampler",
            "ddim repeats itself; ancestral takes fresh noise at every step.",
            "ddim",
            choices=("ddim", "ancestral"),
        ),
        Control("eta", "Share of fresh noise that the ancestral sampler takes.", 1.0, (0.0, 1.0)),
        Control("draws", "Noise draws that the spread is estimated from; less than 2: none.", 4, (0, 16)),
        Control("rest", "Ticks that a finished picture stays.", 4, (0, 1000)),
        Control("pictures", "Pictures, one after the other.", 1, (1, 64), live=False),
        Control(
            "noise",
            "What they begin with: noise of its own each, or all the same.",
            "own",
            choices=("own", "same"),
            live=False,
        ),
        Control("height", "Of the pictures; 0: the mind's own.", 0, (0, 8192), unit="pixels", live=False),
        Control("width", "Of the pictures; 0: the mind's own.", 0, (0, 8192), unit="pixels", live=False),
    )
    emits: ClassVar[Mapping[str, str]] = {
        "mind": "Which mind it is (data: weights, settings, device, precision).",
        "picture": "A picture begins (data: number).",
        "finished": "A picture is finished (data: number).",
        "nothing": "What the mind sees is no number any more: there is nothing to be seen (data: number).",
        "notice": "What one should know: of unknown words in the prompt, of memory that ran out (data: line).",
    }
    inputs: ClassVar[Mapping[str, Input]] = {
        "prompt": Input("text", f"what is drawn; default: {PROMPT}"),
        "against": Input("text", "what is not to be drawn; default: nothing said"),
        "mind": Input("text", "house (default), a folder, or a hub name"),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._controls = dict(controls)
        sides = int(controls["height"]), int(controls["width"])
        self._latent, picture = shape_of(find_mind(self.given.get("mind", "house")), *sides)
        self.channels = channels(self._latent, picture)
        self._mind: Mind | None = None
        self._tracer: Tracer | None = None
        self._state: State | None = None

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Open the mind and let it read the prompt."""
        self._ready()

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """The next `n` ticks; fewer when all pictures are finished.

        Raises
        ------
        MindError
            At the first step, if the mind cannot be opened.
        """
        from pieces.minds.tracing import steadied

        mind, tracer = self._ready()
        if self._state is None:
            self._state = self._begun(0, 0)
        state = self._state
        first = state.tick
        rows: list[Row] = []
        happened = self._told(mind) if first == 0 else []
        with steadied(mind):
            while len(rows) < n and state.picture < int(self._controls["pictures"]):
                made, emitted = tracer.ticks(state, controls, n - len(rows))
                rows += made
                happened += emitted
                if state.position <= 0 and state.resting >= int(controls["rest"]):
                    self._state = state = self._begun(state.tick, state.picture + 1)
        happened = [*(Event(first, "notice", {"line": line}) for line in mind.news()), *happened]
        arrays = {
            c.name: np.asarray([row[c.name] for row in rows], dtype=c.dtype).reshape(len(rows), *c.shape)
            for c in self.channels
        }
        return FrameBlock(first, arrays, tuple(happened))

    def _ready(self) -> tuple[Mind, Tracer]:
        from pieces.minds.tracing import Tracer, steadied

        if self._mind is None or self._tracer is None:
            self._mind = mind = open_mind(self.given.get("mind", "house"))
            with steadied(mind):
                meaning = mind.meaning([self.given.get("prompt", PROMPT)], self.given.get("against", ""))
            self._tracer = Tracer(mind, meaning, self.seed)
        return self._mind, self._tracer

    def _told(self, mind: Mind) -> list[Event]:
        """What there is to know before the first tick."""
        lines = mind.notices(self.given.get("prompt", PROMPT)) + mind.notices(self.given.get("against", ""))
        return [Event(0, "mind", identity(mind)), *(Event(0, "notice", {"line": line}) for line in lines)]

    def _begun(self, tick: int, picture: int) -> State:
        assert self._mind is not None
        number = picture if self._controls["noise"] == "own" else 0
        noise = self._mind.noise([picture_seed(self.seed, number)], self._latent)
        return State(tick, picture, float(LEVELS), 0, False, noise, None)

    def snapshot(self) -> bytes:
        """Latents and place as safetensors."""
        from safetensors.torch import save

        self._ready()
        state = self._state or self._begun(0, 0)
        tensors = {"latents": state.latents.contiguous()}
        if state.last_x0 is not None:
            tensors["x0"] = state.last_x0.contiguous()
        place = {name: getattr(state, name) for name in ("tick", "picture", "position", "resting", "lost")}
        return save(tensors, {"place": json.dumps(place)})

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot; `SourceError` if `state` is none, or of a mind of another size."""
        from safetensors.torch import load

        mind, _ = self._ready()
        try:
            size = int.from_bytes(state[:8], "little")
            place: dict[str, Any] = json.loads(json.loads(state[8 : 8 + size])["__metadata__"]["place"])
            tensors = {name: tensor.to(mind.device) for name, tensor in load(state).items()}
            found = State(**place, latents=tensors["latents"], last_x0=tensors.get("x0"))
        except Exception as error:
            raise SourceError(f"not a snapshot of denoising ({len(state)} bytes): {error}") from error
        if (shape := tuple(found.latents.shape[1:])) != self._latent:
            raise SourceError(f"a snapshot of latents {shape}: here they are {self._latent}")
        self._state = found


def picture_seed(seed: int, picture: int) -> int:
    """Seed of a picture's starting noise; that of the first is the take's own."""
    return seed if picture == 0 else int(np.random.SeedSequence((seed, picture)).generate_state(1)[0])
