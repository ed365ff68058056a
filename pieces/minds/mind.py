"""Minds: diffusion pipelines opened as instruments, the house mind and any Stable Diffusion by the same code.

Importing this module is cheap; torch and diffusers are loaded by `open_mind`.
"""

from __future__ import annotations

import difflib
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.minds.memory import place as place_on
from pieces.minds.places import (
    HOUSE,
    KINDS,
    PARTS,
    MindError,
    fetched,
    find_mind,
    house_is_there,
    hush,
    kind_of,
    one_line,
    shape_of,
    variant_of,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = [
    "HOUSE",
    "KINDS",
    "PARTS",
    "Device",
    "Meaning",
    "Mind",
    "MindError",
    "Precision",
    "Settings",
    "chosen_for",
    "fast_precision",
    "find_mind",
    "house_is_there",
    "nothing",
    "open_mind",
    "shape_of",
    "unknown",
]

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
PRECISIONS = ("auto", "fast", "float32", "float16", "bfloat16")
Precision: TypeAlias = Literal["auto", "fast", "float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Settings:
    """How a picture is drawn.

    Attributes
    ----------
    steps : int
        Denoising steps, 1 to 1000.
    guidance : float
        Classifier-free guidance (Ho & Salimans 2022), 0 to 100; 1 and less is none.
    eta : float
        Share of fresh noise in each step (Song et al. 2021, eq. 16): 0 is deterministic DDIM, 1 ancestral DDPM.

    Raises
    ------
    MindError
        On values outside these ranges.
    """

    steps: int = 20
    guidance: float = 3.0
    eta: float = 0.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("steps", self.steps, 1, 1000),
            ("guidance", self.guidance, 0, 100),
            ("eta", self.eta, 0, 1),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise MindError(f"{name} {value}: allowed are {low} to {high}")


@dataclass(frozen=True)
class Meaning:
    """Prompts as a pipeline takes them: what is asked for and what is asked against, of equal batch size.

    ``pooled`` is SDXL's summary of each, empty for other pipelines.
    """

    asked: Tensor
    against: Tensor
    pooled: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, rows: slice) -> Meaning:
        """The meanings of some of the pictures."""
        pooled = None if self.pooled is None else (self.pooled[0][rows], self.pooled[1][rows])
        return Meaning(self.asked[rows], self.against[rows], pooled)

    def repeated(self, count: int) -> Meaning:
        """One meaning for `count` pictures."""
        pooled = None if self.pooled is None else (self.pooled[0].expand(count, -1), self.pooled[1].expand(count, -1))
        return Meaning(self.asked.expand(count, -1, -1), self.against.expand(count, -1, -1), pooled)

    def arguments(self) -> dict[str, Tensor]:
        """Keyword arguments of the pipeline."""
        given = {"prompt_embeds": self.asked, "negative_prompt_embeds": self.against}
        if self.pooled is not None:
            given |= {"pooled_prompt_embeds": self.pooled[0], "negative_pooled_prompt_embeds": self.pooled[1]}
        return given


@dataclass
class Mind:
    """An opened mind.

    Attributes
    ----------
    name : str
        As it was asked for; ``"house"`` for the house mind however it was.
    pipeline : diffusers.DiffusionPipeline
        On its device, without safety checker and progress bar.
    folder : Path
        Where it was read from.
    said : list of str
        What a user should know of how it was opened and of what happened since (words of a line each).
    at_once : int or None
        Pictures that memory was found to hold at once, if that limit was met (`pieces.minds.memory`).
    spared : bool
        Whether it computes in a way that needs less memory and more time.
    held : dict
        Bytes that work on one picture was found to hold, by the work (`pieces.minds.fitting`).
    """

    name: str
    pipeline: Any
    folder: Path
    said: list[str] = field(default_factory=list)
    at_once: int | None = None
    spared: bool = False
    held: dict[object, int] = field(default_factory=dict)
    _told: int = 0

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self.pipeline._execution_device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """In which precision it computes."""
        dtype: torch.dtype = self.pipeline.unet.dtype
        return dtype

    @property
    def precision(self) -> str:
        """The same by name: ``"float32"``."""
        return str(self.dtype).removeprefix("torch.")

    def news(self) -> list[str]:
        """Lines of `said` that nobody has asked for yet."""
        new, self._told = self.said[self._told :], len(self.said)
        return new

    def sides(self, latents: Tensor) -> dict[str, int]:
        """Size of the pictures of some latents, as arguments of the pipeline."""
        return {"height": latents.shape[-2] * self.factor, "width": latents.shape[-1] * self.factor}

    @property
    def is_house(self) -> bool:
        """Whether it is the house mind."""
        return self.name == "house"

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """Leaf layers with weights of their own by dotted name, in the order in which a picture passes their blocks.

        Stable Diffusion 1.5 has 391 in its UNet. Left out is the way from pictures to latents, which no drawing takes.
        """
        return {
            f"{part}.{name}": module
            for part in PARTS
            if (whole := getattr(self.pipeline, part, None)) is not None
            for name, module in sorted(whole.named_modules(), key=_passed)
            if not any(module.children()) and any(True for _ in module.parameters(recurse=False))
            if not (part == "vae" and name.startswith(("encoder.", "quant_conv")))
        }

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents at the mind's own size."""
        config = self.pipeline.unet.config
        side = config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        return config.in_channels, height, width

    @property
    def factor(self) -> int:
        """Pixels of a picture, a side, for one of its latents."""
        factor: int = self.pipeline.vae_scale_factor
        return factor

    def noise(self, seeds: Sequence[int], shape: tuple[int, ...] | None = None) -> Tensor:
        """Starting noise, a picture a seed; drawn on the CPU, so that every device begins alike.

        Parameters
        ----------
        seeds : sequence of int
            One for each picture.
        shape : tuple of int, optional
            Of the latents (`shape_of`); by default `latent_shape`.
        """
        import torch

        shape = shape or self.latent_shape
        made = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(made).to(self.device, self.dtype)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All words that the house mind has seen; empty for other minds, which know more than can be listed."""
        from pieces.minds.house.drawings import vocabulary

        return vocabulary() if self.is_house else ()

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Words of a prompt that the house mind has never seen; empty for other minds."""
        from pieces.minds.house.drawings import unknown_words

        return unknown_words(prompt) if self.is_house else ()

    def notices(self, prompt: str) -> list[str]:
        """What a user should know of a prompt: words that the house mind has not seen, an end that is not read."""
        lines = []
        if new := self.unknown_words(prompt):
            lines.append(f"the {self.name} mind does not know {', '.join(new)}; it knows {', '.join(self.vocabulary)}")
        tokenizer = self.pipeline.tokenizer
        count, most = len(tokenizer(prompt, verbose=False).input_ids), tokenizer.model_max_length
        if count > most:
            lines.append(f"{prompt!r} has {count} tokens: {self.name} reads the first {most}")
        return lines

    def meaning(self, prompts: Sequence[str], against: str = "") -> Meaning:
        """Prompts as the mind understands them."""
        import torch

        words = {"device": self.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        with torch.inference_mode():
            found = self.pipeline.encode_prompt(prompt=list(prompts), negative_prompt=[against] * len(prompts), **words)
        asked, denied, *pooled = found
        return Meaning(asked.clone(), denied.clone(), (pooled[0].clone(), pooled[1].clone()) if pooled else None)

    def draw(
        self, meaning: Meaning, noise: Tensor, settings: Settings, seed: int | Sequence[int] = 0, **more: Any
    ) -> Tensor:
        """Latents of the finished pictures, ``[n, *latent_shape]``.

        Parameters
        ----------
        meaning, noise
            Of equal batch size.
        seed : int or sequence of int
            Of the fresh noise where ``settings.eta`` is not 0: one for each picture, or the same for all. A picture is
            the same in whatever batch it is drawn.
        **more
            Further arguments of the pipeline (``callback_on_step_end``).
        """
        import torch

        seeds = [seed] * len(noise) if isinstance(seed, int) else list(seed)
        with torch.inference_mode():
            drawn = self.pipeline(
                **meaning.arguments(),
                latents=noise,
                **self.sides(noise),
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                eta=settings.eta,
                generator=[torch.Generator().manual_seed(s) for s in seeds],
                output_type="latent",
                **more,
            )
        latents: Tensor = drawn.images
        return latents

    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Pictures of latents, uint8 ``[n, h, w, 3]``; one with what is not a number in it is black (see `nothing`)."""
        import torch

        vae = self.pipeline.vae
        with torch.inference_mode():
            scaled = latents.to(self.device, vae.dtype) / vae.config.scaling_factor
            decoded = vae.decode(scaled, return_dict=False)[0].float()
            seen = scaled.isfinite().flatten(1).all(1) & decoded.isfinite().flatten(1).all(1)
            levels = torch.where(seen[:, None, None, None], decoded, -1.0).clamp(-1, 1)
        pictures: NDArray[np.uint8] = ((levels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return pictures


def _passed(named: tuple[str, Any]) -> int:
    """When a picture passes a module, by its name: diffusers registers the middle after what follows it."""
    way = ("post_quant_conv", "", "mid_block", "up_blocks", "conv_norm_out", "conv_out")
    return next((way.index(word) for word in named[0].split(".")[:2] if word in way), 1)


def nothing(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of pictures ``[n, h, w, 3]`` show nothing at all: what a mind makes of numbers that are none."""
    empty: NDArray[np.bool_] = np.logical_not(pictures.reshape(len(pictures), -1).any(axis=1))
    return empty


def open_mind(
    name: str = "house",
    *,
    device: Device = "auto",
    precision: Precision = "auto",
    offload: bool = False,
    slicing: bool = False,
    base: Path | None = None,
) -> Mind:
    """Open a mind.

    Parameters
    ----------
    name : str
        ``"house"``, a folder, or a hub name ``owner/model``.
    device, precision : str
        ``"auto"`` is what ``DESCANT_DEVICE`` and ``DESCANT_PRECISION`` say in the environment, by default CUDA in
        float16 where there is a GPU, else the CPU in float32; ``"fast"`` is `fast_precision`.
    offload : bool
        Keep layers on the GPU only while they compute: less memory, more time. A mind that does not fit otherwise is
        offloaded by itself, and says so. ``DESCANT_OFFLOAD=1`` asks for it too.
    slicing : bool
        Compute attention and decoding a piece at a time: less memory, more time. ``DESCANT_SLICING=1`` asks for it too.
    base : Path, optional
        Folder against which a relative path is read.

    Raises
    ------
    MindError
        If there is none, or it cannot be opened so: one line that says what to do.
    """
    place = find_mind(name, base)
    folder = place if isinstance(place, Path) else fetched(place)
    shape_of(folder)
    where, exactly = chosen_for(device, precision)
    offloaded = _chosen("offload", str(int(offload)), ("0", "1")) == "1"
    sliced = _chosen("slicing", str(int(slicing)), ("0", "1")) == "1"
    mind = Mind("house" if folder == HOUSE else name, _loaded(name, folder, exactly), folder)
    place_on(mind, where, offloaded=offloaded, sliced=sliced)
    return mind


def chosen_for(device: Device = "auto", precision: Precision = "auto") -> tuple[str, str]:
    """Device and precision by name that a mind is opened with, where so much is asked for: see `open_mind`."""
    where = _device(_chosen("device", device, ("auto", "cpu", "cuda")))
    exactly = _chosen("precision", precision, PRECISIONS)
    usual = "float16" if where == "cuda" else "float32"
    return where, {"auto": usual, "fast": fast_precision(where)}.get(exactly, exactly)


def _chosen(what: str, asked: str, allowed: Sequence[str]) -> str:
    """What is asked for, or, if that is the first of what is allowed, what the environment says."""
    variable = f"DESCANT_{what.upper()}"
    said = os.environ.get(variable, "") if asked == allowed[0] else ""
    if (said or asked) not in allowed:
        shown = f"{variable}={said}" if said else f"{what} {asked!r}"
        raise MindError(f"{shown}: allowed are {', '.join(allowed)}")
    return said or asked


def _device(asked: str) -> str:
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise MindError("device cuda: there is none here that torch can use; allowed are auto, cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked


def fast_precision(device: str) -> Precision:
    """The fastest precision on a device (``"cpu"``, ``"cuda"``) that pictures do not suffer much from.

    bfloat16 on CPUs that multiply it (AVX512-BF16, AMX), float16 on GPUs, else float32.
    """
    if device == "cuda":
        return "float16"
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _loaded(name: str, folder: Path, precision: str) -> Any:
    """The pipeline of a folder, in the CPU's memory, that says nothing of itself and samples with DDIM."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from diffusers import DiffusionPipeline

    from pieces.minds.sampler import Sampler

    hush()
    dtype = getattr(torch, precision)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # a user cannot mend old configurations
            pipeline = DiffusionPipeline.from_pretrained(
                folder,
                dtype=dtype,
                variant=variant_of(folder),
                use_safetensors=True,
                local_files_only=True,
                feature_extractor=None,
                image_encoder=None,
                **({} if "XL" in kind_of(folder) else {"safety_checker": None, "requires_safety_checker": False}),
            )
    except MindError:
        raise
    except Exception as error:  # whatever the libraries meet in a folder that only looks right
        raise MindError(f"mind {name!r} does not load from {folder}: {one_line(error)}") from error
    pipeline.set_progress_bar_config(disable=True)
    for part in PARTS:
        if (module := getattr(pipeline, part, None)) is not None:
            module.requires_grad_(False).eval()
    if dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        pipeline.vae.to(torch.float32)  # that of SDXL leaves float16's range
    pipeline.scheduler = Sampler.from_config(pipeline.scheduler.config, clip_sample=False)
    return pipeline


def unknown(names: Sequence[str], known: Mapping[str, Any]) -> Iterator[str]:
    """A line for each name that is not known, with the nearest that are."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
            yield f"no module {name!r}; {'nearest' if near else 'there'} are {', '.join(near or list(known)[:3])}"
