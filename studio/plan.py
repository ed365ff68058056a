"""From a piece to a plan: everything that can be refused is refused before anything is performed."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import ControlError, DescantError
from pieces.piece import Part, Piece, PieceError, check_piece
from pieces.sections import Coupling
from pieces.signals import Channel, Control, Value
from pieces.source import Source, check_controls, nearest, split_source_path

if TYPE_CHECKING:
    from sonify.score import Score

#: Under which name a user's own source file is kept among a take's inputs.
CODE = "source code"
#: How a piece names an earlier take's recording where a sound file may stand.
_TAKE = "take:"


@dataclass(frozen=True)
class Player:
    """One part, ready to be performed."""

    part: Part
    source: type[Source]
    controls: Mapping[str, Value]
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """A piece that was checked.

    Attributes
    ----------
    name : str
    piece : Piece
        As it is stored: tunings that stood in files stand in it.
    players : mapping of str to Player
    score : Score
    files : mapping of str to str
        What is hashed and kept with the take: inputs that are files as ``part.input``, the file of a user's own source,
        and sound files as ``sample.voice``.
    takes : mapping of str to str
        The same for what earlier takes give: ``part.input`` → the id of a take, or ``id/part``; ``sample.voice`` → id.
    """

    name: str
    piece: Piece
    players: Mapping[str, Player]
    score: Score
    files: Mapping[str, str]
    takes: Mapping[str, str]


def plan(name: str, piece: Piece, base: Path) -> Plan:
    """Check a piece and find its sources.

    Parameters
    ----------
    name : str
        What the take's piece will be called.
    piece : Piece
    base : Path
        Folder that relative paths in the piece are read against.

    Raises
    ------
    DescantError
        Whatever is wrong with it, as one line.
    """
    from sonify.scala import inline
    from sonify.score import parse_score

    sources = check_piece(piece, name, base)
    try:
        piece = piece.model_copy(update={"score": inline(piece.score, base)})
    except DescantError as error:
        raise PieceError(f"{name}: {error}") from error
    score = parse_score(piece.score, name)
    _check_voices(name, piece, score, sources)
    _check_sections(name, piece, score, sources)
    declared = {p: cls.channels for p, cls in sources.items()}
    if all(declared.values()):
        check_channels(name, piece, score, declared)
    files: dict[str, str] = {}
    takes: dict[str, str] = {}
    players = {}
    for key, part in piece.parts.items():
        inputs = _inputs(key, sources[key], part, base, files, takes)
        players[key] = Player(part, sources[key], check_controls(sources[key], part.controls), inputs)
    _samples(name, score, base, files, takes)
    return Plan(name, piece, players, score, files, takes)


def _check_voices(name: str, piece: Piece, score: Score, sources: Mapping[str, type[Source]]) -> None:
    """See that voices name a part and events that there are."""
    for key, voice in score.voices.items():
        at = f"{name}: score.voices.{key}"
        if voice.part is not None and voice.part not in piece.parts:
            raise PieceError(f"{at}.part = {voice.part!r}{nearest(voice.part, piece.parts)}")
        for kind in voice.on:
            part, _, event = kind.rpartition(".")
            part = part or voice.part or next(iter(piece.parts))
            if part not in sources:
                raise PieceError(f"{at}.on: no part {part!r}{nearest(part, piece.parts)}")
            _check_event(sources[part], event, f"{at}.on")


def _check_event(source: type[Source], kind: str, at: str) -> None:
    if source.name == "recording":
        return  # what a take holds is not known before it is read
    events = {**source.emits, **source.listens, "diverged": "", "recovered": "", "control": ""}
    if kind not in events:
        raise PieceError(f"{at}: {source.name} has no event {kind!r}{nearest(kind, events)}")


def _check_sections(name: str, piece: Piece, score: Score, sources: Mapping[str, type[Source]]) -> None:
    """See that sections name voices, events and controls that there are, and values that these take."""
    for section in piece.sections:
        at = f"{name}: section {section.name!r}"
        for voice in section.voices or ():
            if voice not in score.voices:
                raise PieceError(f"{at}: voices: no voice {voice!r}{nearest(voice, score.voices)}")
        for key in section.gains:
            if key not in score.voices and key not in score.groups:
                raise PieceError(
                    f"{at}: gains: no voice or group {key!r}{nearest(key, [*score.voices, *score.groups])}"
                )
        if section.until:
            part, _, kind = section.until.partition(".")
            _check_event(sources[part], kind, f"{at}: until")
        for key, given in section.controls.items():
            part, _, control = key.partition(".")
            known = {c.name: c for c in sources[part].controls}
            try:
                if control not in known:
                    raise ControlError(f"{sources[part].name} has no control {control!r}{nearest(control, known)}")
                _check_change(known[control], given)
            except ControlError as error:
                raise PieceError(f"{at}: controls.{key}: {error}") from error


def _check_change(control: Control, given: float | tuple[float, float] | str | Coupling) -> None:
    if not control.live:
        raise ControlError(f"{control.name} is read once, at the first tick: set it in the part")
    if isinstance(given, Coupling):
        given = given.range
    if isinstance(given, tuple):
        if control.choices:
            raise ControlError(f"{control.name} is a choice and knows no in between: {', '.join(control.choices)}")
        for end in given:
            control.check(round(end) if isinstance(control.default, int) else end)
    else:
        control.check(given)


def check_channels(name: str, piece: Piece, score: Score, channels: Mapping[str, Sequence[Channel]]) -> None:
    """See that score, form and picture name channels that are there, and options that the views have."""
    from sonify.resolve import declared_stats
    from studio.pictures.draw import find_view

    known = {part: {c.name: c for c in declared} for part, declared in channels.items()}
    try:
        declared_stats(score, known)
        for tile in piece.picture.tiles:
            view = find_view(tile.view)
            part = tile.part or next(iter(piece.parts))
            for need in view.needs:
                if need not in known[part]:
                    raise PieceError(f"view {view.name!r} needs channel {need!r}{nearest(need, known[part])}")
            for option in tile.options:
                if option not in view.options:
                    raise PieceError(f"view {view.name!r} has no option {option!r}{nearest(option, view.options)}")
            if tile.ground and "media_time" not in known[tile.ground.video]:
                raise PieceError(f"picture ground: part {tile.ground.video!r} is no video: its source must be 'video'")
            if tile.ground and tile.ground.effect != "none" and not any(n.startswith("gradient_") for n in known[part]):
                raise PieceError(f"picture ground: effect {tile.ground.effect!r} goes by gradients; {part} has none")
        for section in piece.sections:
            named = [(p, w.channel) for p, w in section.warp.items() if w.channel is not None]
            followed = [c.channel for c in section.controls.values() if isinstance(c, Coupling)]
            named += [(c.partition(".")[0], c.partition(".")[2]) for c in followed]
            for part, channel in named:
                if channel not in known[part] or known[part][channel].shape:
                    scalars = [c.name for c in known[part].values() if not c.shape]
                    raise PieceError(
                        f"section {section.name!r}: {part} has no scalar channel {channel!r}{nearest(channel, scalars)}"
                    )
    except DescantError as error:
        raise PieceError(f"{name}: {error}") from error


def _inputs(
    name: str, source: type[Source], part: Part, base: Path, files: dict[str, str], takes: dict[str, str]
) -> dict[str, str]:
    """Inputs as the source takes them; those that are files or takes are noted, paths are read against `base`."""
    inputs = dict(part.inputs)
    for key, value in part.inputs.items():
        kind = source.inputs[key].kind
        if kind == "take":
            takes[f"{name}.{key}"] = value
        elif kind != "text":
            path = base / Path(os.path.expanduser(value))
            if not path.is_file():
                raise PieceError(f"{source.name}: input {key}: no file {path}")
            inputs[key] = files[f"{name}.{key}"] = str(path.resolve())
    if split_source_path(part.source):
        files[f"{name}.{CODE}"] = inspect.getfile(source)
    return inputs


def _samples(name: str, score: Score, base: Path, files: dict[str, str], takes: dict[str, str]) -> None:
    """Sound files that voices play."""
    from sonify.instruments.sample import read_sample

    for key, voice in score.voices.items():
        if voice.sample is None:
            continue
        if voice.sample.startswith(_TAKE):
            takes[f"sample.{key}"] = voice.sample.removeprefix(_TAKE)
            continue
        path = base / Path(os.path.expanduser(voice.sample))
        try:
            read_sample(path)
        except DescantError as error:
            raise PieceError(f"{name}: score.voices.{key}.sample: {error}") from error
        files[f"sample.{key}"] = str(path.resolve())
