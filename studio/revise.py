"""Changes of a piece as plain data: making one, checking it, saying what it means for who plays, writing it as TOML."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT

from pieces.errors import DescantError
from pieces.piece import Piece, PieceError, find_piece, parse_piece
from pieces.signals import Channel, Control, Value
from pieces.source import BUILT_IN, Source, nearest, source_names, split_source_path
from studio.elsewhere import elsewhere
from studio.plan import Plan, Player, check_channels, plan

#: What of a piece can change without a new performance: the rest is its form.
_LIVE = ("title", "about", "score", "picture", "master", "knobs")


@dataclass(frozen=True)
class Change:
    """What it takes to get from one piece to another while it is played.

    Attributes
    ----------
    score : bool
        The score is another.
    controls : mapping
        (part, control) → value of what is to be turned.
    reforms : bool
        Parts, form or metre differ.
    restarts : bool
        They do, or a control that is read once: only another performance can have it.
    later : tuple of str
        What a performance that has begun keeps as it was.
    """

    score: bool = False
    controls: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    reforms: bool = False
    restarts: bool = False
    later: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Nobody who plays need know."""
        return not (self.score or self.controls or self.restarts or self.later)


def foreign(piece: Piece) -> bool:
    """Whether a source is not Descant's own: reading it may run anything and load anything."""
    return any(part.source not in BUILT_IN for part in piece.parts.values())


def checked(
    name: str, raw: Mapping[str, Any], base: Path, channels: Mapping[str, Sequence[Channel]] | None = None
) -> Piece:
    """A piece with everything checked that can be, and with the tunings of files in it.

    Foreign sources are not read here but where they are performed: of their pieces the score is checked, and its
    channels if those are known already.

    Raises
    ------
    DescantError
        Whatever is wrong with it, as one line.
    """
    from sonify.scala import inline
    from sonify.score import parse_score

    piece = parse_piece(raw, name)
    if not foreign(piece):
        return plan(name, piece, base).piece
    try:
        piece = piece.model_copy(update={"score": inline(piece.score, base)})
    except DescantError as error:
        raise PieceError(f"{name}: {error}") from error
    score = parse_score(piece.score, name)
    if channels is not None and channels.keys() == piece.parts.keys():
        check_channels(name, piece, score, channels)
    return piece


def planned(name: str, piece: Piece, base: Path) -> Plan:
    """The plan of a piece, for who records it: the sources of foreign ones are read in a process of their own.

    Raises
    ------
    DescantError
        Whatever is wrong with it, or if its sources take more than a minute to be read.
    """
    if not foreign(piece):
        return plan(name, piece, base)
    return elsewhere(name, _plan_there, name, piece.model_dump(mode="json"), base)


def _plan_there(name: str, raw: Mapping[str, Any], base: Path) -> Plan:
    """A plan whose sources stay behind."""
    found = plan(name, parse_piece(raw, name), base)
    stand_in: Any = Source
    players = {part: Player(p.part, stand_in, p.controls, p.inputs) for part, p in found.players.items()}
    return replace(found, players=players)


def needs_takes(name: str, piece: Piece, base: Path) -> bool:
    """Whether earlier takes give it anything; of foreign sources that have inputs that cannot be seen from here."""
    if foreign(piece):
        samples = (voice.get("sample") for voice in piece.score.get("voices", {}).values())
        return any(part.inputs for part in piece.parts.values()) or any(str(s).startswith("take:") for s in samples)
    return bool(plan(name, piece, base).takes)


def changed(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A piece with the value at a dotted path changed; None takes it away.

    Raises
    ------
    PieceError
        If the path leads nowhere.
    """
    new: dict[str, Any] = copy.deepcopy(dict(raw))
    *way, last = path.split(".")
    node: Any = new
    for number, key in enumerate(way):
        at = ".".join(way[: number + 1])
        if isinstance(node, list):
            if not key.isdecimal() or int(key) >= len(node):
                raise PieceError(f"{path}: no {at}: there are {len(node)}, counted from 0")
            node = node[int(key)]
        elif isinstance(node, dict):
            if key not in node and number < 2:
                raise PieceError(f"{path}: no {key!r}{nearest(key, node)}")
            node = node.setdefault(key, {})
        else:
            raise PieceError(f"{path}: {at.rpartition('.')[0]} is a value, not a table")
    if isinstance(node, list) and last.isdecimal() and int(last) < len(node):
        node[int(last)] = value
    elif not isinstance(node, dict):
        raise PieceError(f"{path}: {'.'.join(way)} has no {last!r}")
    elif value is None:
        node.pop(last, None)
    else:
        node[last] = value
    return new


def compared(old: Mapping[str, Any], new: Mapping[str, Any], controls: Mapping[str, Sequence[Control]]) -> Change:
    """What it takes to get from one piece to another.

    Parameters
    ----------
    old, new : mapping
        As `checked` gives them, as plain data.
    controls : mapping
        Part → the controls that its source declares.
    """
    same_form = {k: v for k, v in old.items() if k not in (*_LIVE, "parts")} == {
        k: v for k, v in new.items() if k not in (*_LIVE, "parts")
    }
    reforms, restarts = not same_form or list(old["parts"]) != list(new["parts"]), False
    turned: dict[tuple[str, str], Value] = {}
    for part in old["parts"] if not reforms else ():
        before, after = dict(old["parts"][part]), dict(new["parts"][part])
        values = before.pop("controls"), after.pop("controls")
        reforms |= before != after
        known = {c.name: c for c in controls.get(part, ())}
        for name in {*values[0], *values[1]}:
            if values[0].get(name) == values[1].get(name):
                continue
            control = known.get(name)
            if control is None or not control.live:
                restarts = True
            else:
                turned[part, name] = values[1].get(name, control.default)
    restarts |= reforms
    later = tuple(what for what in ("master",) if old[what] != new[what] and not restarts)
    return Change(old["score"] != new["score"], turned, reforms, restarts, later)


class Paper:
    """A piece as a text that a person wrote: what is changed is changed in it, and the rest, comments too, stays.

    Parameters
    ----------
    text : str
        TOML.
    data : mapping
        The piece that it says, as plain data.
    """

    def __init__(self, text: str, data: Mapping[str, Any]) -> None:
        self.text = text
        self.data = data

    def written(self, data: Mapping[str, Any], base: Path) -> str:
        """The text of a changed piece."""
        document = tomlkit.parse(self.text)
        _write(document, self.data, data)
        text = tomlkit.dumps(document)
        wanted = parse_piece(data, "the piece")
        # What the text cannot say in its own way (a table that it writes in two places) is said in ours.
        return text if _says(text, wanted, base) else wanted.to_toml()


def _write(table: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Change in a TOML table what differs between two pieces of plain data."""
    for key in old.keys() - new.keys():
        if key in table:
            del table[key]
    for key, value in new.items():
        before = old.get(key)
        if value == before:
            continue
        if value is None:
            if key in table:
                del table[key]
        elif isinstance(value, Mapping) and isinstance(before, Mapping) and isinstance(table.get(key, {}), Mapping):
            if key not in table:
                table[key] = tomlkit.table() if not isinstance(table, tomlkit.items.InlineTable) else {}
            _write(table[key], before, value)
        elif isinstance(table.get(key), AoT) and isinstance(before, list) and len(value) == len(before):
            for row, then, now in zip(table[key], before, value, strict=True):
                _write(row, then, now)
        else:
            table[key] = _without_none(value)


def _without_none(value: Any) -> Any:
    """TOML knows no null."""
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def _says(text: str, piece: Piece, base: Path) -> bool:
    from sonify.scala import inline

    try:
        found = parse_piece(tomllib.loads(text), "the piece")
        return found.model_copy(update={"score": inline(found.score, base)}) == piece
    except (DescantError, ValueError):
        return False


def read(name: str) -> tuple[Piece, Path, Path | None]:
    """The piece called `name`, the folder its paths are read against, and its file if it has one."""
    is_foreign = name not in BUILT_IN and (split_source_path(name) or name in source_names())
    piece, base = elsewhere(name, find_piece, name) if is_foreign else find_piece(name)
    return piece, base, Path(name).resolve() if name.endswith(".toml") else None
