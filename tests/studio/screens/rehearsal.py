"""A performance for screens to show: a real source of a real piece, reported as a session reports it, deterministic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pieces.piece import find_piece
from pieces.signals import DescantError, Value
from pieces.source import Source, check_controls, find_source
from sonify.score import parse_score
from studio.messages import Made, Notice, Opened, Position, Rescored, Turned


class Rehearsal:
    """Does what a session does as far as a screen can tell, in the same thread and at once; notes what it was asked."""

    def __init__(self, post: Callable[[object], None], place: str = "") -> None:
        self._post, self.place = post, place
        self.sound = None
        self.asked: list[tuple[Any, ...]] = []
        self.name = ""
        self.piece: Mapping[str, Any] = {}
        self.unsaved = ""
        self._sources: dict[str, Source] = {}
        self._controls: dict[str, dict[str, Value]] = {}
        self._past: list[Mapping[str, Any]] = []
        self.mode, self.beat, self.end, self.speed_now = "paused", 0.0, 0.0, 1.0
        self.looped: tuple[float, float] | None = None

    def open(self, name: str) -> None:
        piece, base = find_piece(name)
        self.asked.append(("open", name))
        self.name, self.piece = name, piece.model_dump(mode="json")
        self.mode, self.beat, self.end, self.speed_now, self.looped = "paused", 0.0, 0.0, 1.0, None
        classes = {p: find_source(part.source, base) for p, part in piece.parts.items()}
        self._controls = {p: check_controls(c, piece.parts[p].controls) for p, c in classes.items()}
        self._sources = {p: c(1, self._controls[p]) for p, c in classes.items()}
        self._post(
            Opened(
                {p: s.channels for p, s in self._sources.items()},
                {p: s.controls for p, s in self._sources.items()},
                copy.deepcopy(self._controls),
                {p: tuple(s.listens) for p, s in self._sources.items()},
            )
        )
        self.stand()

    def make(self, ticks: int) -> None:
        """Ticks of every part, and the time that they take."""
        piece, _ = find_piece(self.name)
        rates = [piece.rate(part) for part in self._sources]
        for part, source in self._sources.items():
            self._post(Made(part, source.step(self._controls[part], [], ticks)))
        self.made = getattr(self, "made", 0) + ticks
        self.end = self.beat = self.made / rates[0] * piece.metre.tempo / 60
        self.stand()

    def stand(self, section: str = "whole") -> None:
        """Say where it is."""
        beats, tempo = self.piece["metre"]["beats"], self.piece["metre"]["tempo"]
        ticks = {p: max(getattr(self, "made", 0) - 1, 0) for p in self._sources}
        self._post(
            Position(
                *(self.mode, self.beat, self.beat * 60 / tempo, self.end, int(self.beat // beats) + 1),
                *(tempo, self.speed_now, section, ticks, self.looped),
            )
        )

    def play(self) -> None:
        self.asked.append(("play",))
        self.mode = "live" if self.beat >= self.end else "recorded"
        self.stand()

    def pause(self) -> None:
        self.asked.append(("pause",))
        self.mode = "paused"
        self.stand()

    def step(self) -> None:
        self.asked.append(("step",))
        self.make(1)

    def stop(self) -> None:
        self.asked.append(("stop",))

    def seek(self, beat: float) -> None:
        self.asked.append(("seek", beat))
        self.beat = min(beat, self.end)
        self.stand()

    def loop(self, beats: tuple[float, float] | None) -> None:
        self.asked.append(("loop", beats))
        self.looped = beats
        self.stand()

    def speed(self, factor: float) -> None:
        self.asked.append(("speed", factor))
        self.speed_now = factor
        self.stand()

    def branch(self) -> None:
        self.asked.append(("branch",))

    def new_seed(self, seed: int | None = None) -> None:
        self.asked.append(("new_seed", seed))

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        self.asked.append(("send", kind, dict(data)))

    def awaits(self, player: bool) -> None:
        self.asked.append(("awaits", player))

    def set(self, part: str, control: str, value: Value) -> None:
        self.asked.append(("set", part, control, value))
        self._post(Turned(part, control, value))

    def edit(self, path: str, value: Any) -> None:
        piece = copy.deepcopy(dict(self.piece))
        *parents, last = path.split(".")
        node: Any = piece
        for key in parents:
            node = node[key]
        node[last] = value
        parse_score(piece["score"], self.name)
        self.asked.append(("edit", path, value))
        self._past.append(self.piece)
        self.piece = piece
        self._post(Rescored(piece["score"], self.beat))

    def strip(self, voice: str, *, mute: bool | None = None, solo: bool | None = None) -> None:
        self.asked.append(("strip", voice, mute, solo))

    def gain(self, voice: str, gain_db: float) -> None:
        self.edit(f"score.voices.{voice}.gain_db", gain_db)

    def recover(self, session_id: str) -> None:
        self.asked.append(("recover", session_id))

    def forget(self, session_id: str) -> None:
        self.asked.append(("forget", session_id))

    def look_back(self) -> None:
        self.asked.append(("look_back",))

    def undo(self) -> None:
        if not self._past:
            raise DescantError("there is nothing to undo")
        self.piece = self._past.pop()
        self._post(Rescored(self.piece["score"], self.beat))

    def redo(self) -> None:
        raise DescantError("there is nothing to redo")

    def keep(self) -> None:
        self.asked.append(("keep",))

    def keep_last(self, bars: int = 16) -> None:
        self.asked.append(("keep_last", bars))

    def discard(self) -> None:
        self.asked.append(("discard",))

    def panic(self) -> None:
        self.asked.append(("panic",))

    def hush(self) -> None:
        self.asked.append(("hush",))

    def file(self) -> Path:
        return Path("piece.toml")

    def save_as(self, path: Path) -> None:
        self.asked.append(("save_as", path))

    def notice(self, line: str) -> None:
        self._post(Notice(line))

    def close(self) -> None:
        self.asked.append(("close",))
