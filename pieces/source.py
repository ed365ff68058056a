"""What a source is, and how one is found: built in, by entry point, or in a single file of the user's."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal

from pieces.errors import ControlError, DescantError
from pieces.signals import Channel, Control, Event, FrameBlock, Value

#: Built-in sources; a class is imported only when it is asked for, so that listing costs no torch.
BUILT_IN: dict[str, str] = {
    "cubics": "pieces.training.cubics:Cubics",
    "knots": "pieces.training.knots:Knots",
    "digits": "pieces.training.digits:Digits",
    "landscape": "pieces.weights.landscape:Landscape",
    "denoising": "pieces.minds.denoising:Denoising",
    "alien": "pieces.minds.alien:Alien",
    "knockouts": "pieces.minds.alien_keys:Knockouts",
    "interconcept": "pieces.minds.interconcept:Interconcept",
    "series": "pieces.series:Series",
    "recording": "pieces.recording:Recording",
    "keys": "pieces.keys:Keys",
    "video": "pieces.video:Video",
}


class SourceError(DescantError):
    """No such source, or one that cannot be used."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something a source is given beside controls. All but texts are files, which are hashed and kept with the take."""

    kind: Literal["series", "checkpoint", "video", "text", "take"]
    about: str


class Source(ABC):
    """A process that emits signals at its own tick. It knows nothing of sound, pictures, archive or screen.

    A subclass declares what it emits and what may be changed, and steps. Heavy libraries (torch) are imported inside
    methods, so that the class can be listed without them. Same seed, controls, events and inputs give the same frames,
    bit for bit, on the same machine and versions; every random number comes from `seed`.

    Parameters
    ----------
    seed : int
        Non-negative seed of everything random.
    controls : mapping
        Values of the controls at the first tick, complete and checked (see `check_controls`).
    inputs : mapping of str to str
        Named inputs: paths of series, checkpoints, videos, or texts.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    references: ClassVar[tuple[str, ...]] = ()
    #: Declared channels; a source whose channels depend on its inputs sets them on the instance.
    channels: tuple[Channel, ...] = ()
    controls: ClassVar[tuple[Control, ...]] = ()
    #: Kinds of event it understands, with a sentence each (``{"note": "..."}``).
    listens: ClassVar[Mapping[str, str]] = {}
    #: Kinds of event it emits, with a sentence each.
    emits: ClassVar[Mapping[str, str]] = {}
    #: Its inputs by name.
    inputs: ClassVar[Mapping[str, Input]] = {}
    #: False for a source that steps only on events (a note makes a gradient step); headless it steps by itself.
    clocked: ClassVar[bool] = True
    #: The default piece as TOML, for sources outside the built-in library; empty: one voice per scalar channel.
    piece: ClassVar[str] = ""

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        self.seed = seed
        self.given = dict(inputs or {})

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Load and build what the first tick needs, so that it comes at once.

        Called in a thread of its own before the first tick, or not at all: `step` must do without. What it raises
        is for nobody: the first tick will raise it again.
        """

    @abstractmethod
    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """Advance up to `n` ticks.

        ``step(a)`` and then ``step(b)`` must give what ``step(a + b)`` gives, bit for bit: block sizes follow the
        machine's speed and are no part of a take. So random numbers are drawn tick by tick.

        Parameters
        ----------
        controls : mapping
            Values of all controls, valid for the whole block.
        events : sequence of Event
            Events that fall on the block's first tick.
        n : int
            Ticks wanted, at least 1.

        Returns
        -------
        FrameBlock
            The ticks made, with the events that happened. Fewer than `n` ticks say that the source is over.
        """

    def snapshot(self) -> bytes:
        """Whole state (weights, optimiser, random state) after the last step; a source that cannot branch refuses."""
        raise SourceError(f"{self.name} keeps no snapshots: replay it from its seed")

    def restore(self, state: bytes) -> None:
        """Return to a state made by `snapshot` in this or another instance of equal inputs."""
        raise SourceError(f"{self.name} keeps no snapshots: replay it from its seed")


def check_controls(source: type[Source], values: Mapping[str, Any]) -> dict[str, Value]:
    """Complete and check control values against what `source` declares.

    Raises
    ------
    ControlError
        On an unknown name (with the nearest known one) or a value out of range.
    """
    known = {c.name: c for c in source.controls}
    for name in values:
        if name not in known:
            raise ControlError(f"{source.name} has no control {name!r}{nearest(name, known)}")
    return {name: c.check(values.get(name, c.default)) for name, c in known.items()}


def nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """``"; did you mean ...?"`` or ``"; known are ..."``, to close an error line."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else "; there are none"


def source_names() -> list[str]:
    """Names of all sources that can be asked for: built in and installed."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group="descant.sources"))})


def split_source_path(name: str) -> tuple[str, str] | None:
    """``"my/source.py:Class"`` → ``("my/source.py", "Class")``, the class possibly empty; None for a mere name."""
    found = re.fullmatch(r"(.+\.py)(?::(\w+))?", name)
    return (found[1], found[2] or "") if found else None


def find_source(name: str, base: Path | None = None) -> type[Source]:
    """The source class called `name`.

    Parameters
    ----------
    name : str
        A built-in or installed name, or a path ``my_source.py`` (one `Source` in it) or ``my_source.py:Class``.
    base : Path, optional
        Folder against which a relative path is read (the piece file's).

    Raises
    ------
    SourceError
        If there is none, or it does not import; the line says why.
    """
    if split := split_source_path(name):
        return _from_file(*split, base or Path.cwd())
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return _checked(getattr(importlib.import_module(module), attribute), name)
    for entry in entry_points(group="descant.sources"):
        if entry.name == name:
            try:
                return _checked(entry.load(), name)
            except (Exception, SystemExit) as error:
                raise SourceError(f"source {name!r} ({entry.value}) does not load: {error}") from error
    raise SourceError(f"no source {name!r}{nearest(name, source_names())}")


def _from_file(file: str, attribute: str, base: Path) -> type[Source]:
    path = (base / Path(file).expanduser()).resolve()
    if not path.is_file():
        raise SourceError(f"no source file {path}")
    module_name = "descant_user_" + hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SourceError(f"source file {path.name} does not load: {type(error).__name__}: {error}") from error
    found = {
        n: c
        for n, c in vars(module).items()
        if inspect.isclass(c) and issubclass(c, Source) and c.__module__ == module_name and not inspect.isabstract(c)
    }
    if attribute:
        if attribute not in found:
            raise SourceError(f"{path.name} has no source class {attribute!r}{nearest(attribute, found)}")
        return _checked(found[attribute], path.name)
    if len(found) != 1:
        raise SourceError(
            f"{path.name} holds {len(found)} source classes ({', '.join(found)}): name one as {path.name}:Class"
        )
    return _checked(next(iter(found.values())), path.name)


def _checked(cls: Any, name: str) -> type[Source]:
    if not (inspect.isclass(cls) and issubclass(cls, Source)):
        raise SourceError(f"source {name!r} is {cls!r}, not a subclass of pieces.source.Source")
    for attribute in ("name", "about"):
        if not getattr(cls, attribute, ""):
            raise SourceError(f"source {name!r} declares no {attribute}")
    for attribute, kind in (("channels", Channel), ("controls", Control)):
        declared = getattr(cls, attribute)
        names = [getattr(one, "name", one) for one in declared]
        if not all(isinstance(one, kind) for one in declared) or len(set(names)) < len(names):
            raise SourceError(f"source {name!r}: {attribute} must be {kind.__name__}s of different names, not {names}")
    if not (isinstance(cls.inputs, Mapping) and all(isinstance(one, Input) for one in cls.inputs.values())):
        raise SourceError(f"source {name!r}: inputs must be Inputs by name, not {cls.inputs}")
    return cls
