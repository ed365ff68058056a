"""Touching: from a moment on a take is performed with one of its controls a step further; what was heard before stays.

Nothing of this is told to a visitor: a control is a letter to it, and what cannot be is refused in words that name
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import arrange
from pieces.errors import DescantError
from pieces.piece import Piece, parse_piece
from pieces.signals import Control, Event, FrameBlock, SignalsHash, Value
from studio.audience.rooms import MOST_CONTROLS, GameError, Touch
from studio.compose import Origin, again, compose, cut
from studio.perceive import artefact as perceived
from studio.plan import Plan
from studio.rendering import final_piece, heard_channels, recorded
from studio.words.artefact import MOMENT_S, Artefact

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord

#: Share of its range, in its own shape, by which a touch moves a number that is not whole.
STEP = 0.25
#: Seconds in which what was heard before passes into what is heard from a touch on.
FADE_S = 0.01
#: What a visitor is told where a take does not go on with a touch. The reason stands with the take that failed.
REFUSED = "That control does not move now"

#: A part of a take, and a control of its source.
Lever: TypeAlias = tuple[str, Control]
Given: TypeAlias = dict[str, list[Event]]


def levers(archive: Archive, take_id: str, seed: int) -> tuple[Lever, ...]:
    """The controls of a take that may be touched, at most `MOST_CONTROLS`, in an order that is drawn.

    They are live and not turned by the sections of the piece, which would take no notice of a touch. A captured take
    has none, nor has one whose source or inputs are gone: there is nothing to perform it on with.
    """
    take = archive.take(take_id)
    if take.origin == "captured" or take.status != "done":
        return ()
    try:
        players = again(archive, take)
    except DescantError:
        return ()
    turned = {name for section in parse_piece(take.piece, "").form for name in section.controls}
    found = [
        (part, control)
        for part, player in players.items()
        for control in player.source.controls
        if control.live and f"{part}.{control.name}" not in turned
    ]
    drawn = np.random.default_rng(seed).permutation(len(found))[:MOST_CONTROLS]
    return tuple(found[i] for i in drawn)


def moved(control: Control, value: Value, steps: int) -> Value:
    """A control's value so many steps up, or down where `steps` is negative; at the end of its range it stays.

    A step is `STEP` of the range in the control's own shape; of whole numbers and of choices it is one.
    """
    if control.choices:
        return control.choices[min(max(control.choices.index(str(value)) + steps, 0), len(control.choices) - 1)]
    assert control.range is not None
    low, high = control.range
    number = float(value)
    if isinstance(control.default, int):
        return int(min(max(number + steps, low), high))
    log = control.shape == "log" and low > 0
    place = math.log(number / low) / math.log(high / low) if log else (number - low) / (high - low)
    return control.value(min(max(place + STEP * steps, 0.0), 1.0))


class Branches:
    """A take, and all that it becomes by being touched.

    Every branch is a scratch take in the archive with its parent and the tick from which on it differs; what is there
    already is not performed again. Up to that tick its signals are the parent's, bit for bit. It is performed by the
    parent's score, whose data-dependent domains are numbers in it, and is heard here at the parent's gain: its own mix
    differs from this by its overall level alone. Voices with the shape ``rank``, a limiter, and views that are scaled
    by the whole take go by all that there is, so that with them more than the control may change at the moment.

    Parameters
    ----------
    archive : Archive
    take_id : str
        A finished take.
    artefact : Artefact
        What is perceived of it.
    controls : sequence of Lever
        What may be touched, as a `Touch` counts them.
    """

    def __init__(self, archive: Archive, take_id: str, artefact: Artefact, controls: Sequence[Lever]) -> None:
        self._archive, self._controls = archive, tuple(controls)
        self._root = archive.take(take_id).id
        self._made: dict[tuple[Touch, ...], tuple[str, Artefact] | DescantError] = {(): (self._root, artefact)}

    def touched(self, touches: tuple[Touch, ...]) -> Artefact:
        """What the take becomes under some touches, in their order; equal touches give equal artefacts.

        Raises
        ------
        GameError
            If it does not go on with them; the branches before are as they were.
        """
        return self._branch(touches)[1]

    def take_of(self, touches: tuple[Touch, ...]) -> str:
        """The id of the take that is heard under some touches, for whoever reviews a visit; see `touched`."""
        return self._branch(touches)[0]

    def _branch(self, touches: tuple[Touch, ...]) -> tuple[str, Artefact]:
        if touches not in self._made:
            parent, before = self._branch(touches[:-1])
            touch = touches[-1]
            try:
                branch = performed_on(self._archive, parent, self._controls[touch.control], touch.moment, touch.step)
                after = before if branch == parent else self._joined(before, branch, touch.moment)
                self._made[touches] = (branch, after)
            except DescantError as error:
                self._made[touches] = error
        made = self._made[touches]
        if isinstance(made, DescantError):
            raise GameError(REFUSED) from made
        return made

    def _joined(self, before: Artefact, branch: str, moment: int) -> Artefact:
        """What was perceived up to the moment, and from there on the branch, as loud as if it were one take."""
        after = perceived(self._archive, branch)
        gains = [float((self._archive.take(i).render or {}).get("gain_db", 0.0)) for i in (self._root, branch)]
        audio = np.clip(after.audio * np.float32(10 ** ((gains[0] - gains[1]) / 20)), -1.0, 1.0)
        shown = round(moment * MOMENT_S * before.fps)
        pictures = np.concatenate([before.pictures[:shown], after.pictures[shown:]])
        heard = faded(before.audio, audio, round(moment * MOMENT_S * before.sample_rate), before.sample_rate)
        return Artefact(heard, before.sample_rate, pictures, before.fps)


def faded(before: NDArray[np.float32], after: NDArray[np.float32], at: int, sample_rate: int) -> NDArray[np.float32]:
    """Samples ``[n, 2]`` of `before` up to `at`, and from there on, after `FADE_S`, those of `after`."""
    fade = min(round(FADE_S * sample_rate), len(before) - at, len(after) - at)
    if fade <= 0:
        return np.concatenate([before[:at], after[at:]])
    share = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    between = (1 - share) * before[at : at + fade] + share * after[at : at + fade]
    return np.concatenate([before[:at], between, after[at + fade :]])


def performed_on(archive: Archive, take_id: str, lever: Lever, moment: int, steps: int) -> str:
    """Perform a take again, with a control `steps` further from a moment on; returns the id of the branch.

    Later changes of that control are moved by as much. Where the control cannot move any further, or its part is over
    at that moment, it is the take itself. Performed is from the seed: the archive holds no states of sources.

    Raises
    ------
    DescantError
        If it cannot be performed, or is not what was recorded up to the moment.
    """
    take = archive.take(take_id)
    ends = made_until(archive, take, moment * MOMENT_S)
    given: Given = {part: [e for e in archive.events(take.id, part=part) if e.given] for part in take.parts}
    part, tick = lever[0], ends[lever[0]]
    script = {**given, part: _shifted(lever, given[part], take.controls[part][lever[1].name], tick, steps)}
    script = {name: [e for e in events if e.kind != "score"] for name, events in script.items()}
    if tick >= take.parts[part].ticks or script[part] == [e for e in given[part] if e.kind != "score"]:
        return take.id
    link = (take.id, tick, "touched")
    if found := _found(archive, link, script):
        return found
    plan = _plan(archive, take)
    branch = compose(archive, plan, take.seed, origin=Origin((link,)), retention="scratch", given=script)
    try:
        _check_past(archive, take, branch, ends)
    except DescantError:
        archive.discard(branch)
        raise
    return branch


def made_until(archive: Archive, take: TakeRecord, seconds: float) -> dict[str, int]:
    """Part → the ticks of it that are heard before a time, however they are laid out in it."""
    played = arrange(final_piece(archive, take), recorded(archive, take, heard_channels(archive, take)), take.seed)
    made = {}
    for part, layout in played.layouts.items():
        before = layout.rows[layout.starts < seconds - 1e-9]
        made[part] = int(before.max()) + 1 if len(before) else 0
    return made


def _shifted(lever: Lever, events: Sequence[Event], begun: Value, tick: int, steps: int) -> list[Event]:
    """What a part is given, with a control `steps` further from a tick on; `begun` is its value at the beginning."""
    control = lever[1]
    found, now = [], begun
    for event in events:
        mine = event.kind == "control" and event.data["name"] == control.name
        if mine and event.tick <= tick:
            now = event.data["value"]
        elif mine:
            event = replace(event, data={**event.data, "value": moved(control, event.data["value"], steps)})
        found.append(event)
    after = moved(control, now, steps)
    if after != now:
        found.append(Event(tick, "control", {"name": control.name, "value": after}, given=True))
    return sorted(found, key=lambda e: e.tick)


def _found(archive: Archive, link: tuple[str, int, str], script: Given) -> str | None:
    """A branch of a take that was given the same."""
    for child, parent in archive.family(link[0]).links:
        if parent == link and archive.take(child).status == "done":
            events = {part: [e for e in archive.events(child, part=part) if e.given] for part in script}
            if events == script:
                return child
    return None


def _plan(archive: Archive, take: TakeRecord) -> Plan:
    """What it takes to perform a take again by its last score, with the domains that it had."""
    from sonify.score import parse_score

    piece = closed(archive, take)
    kept = {m.role.removeprefix("input:"): str(m.path) for m in archive.media(take.id) if m.role.startswith("input:")}
    files = {key: kept.get(key, str(given["path"])) for key, given in take.inputs.items()}
    score = parse_score(piece.score, take.piece_name)
    return Plan(take.piece_name, piece, again(archive, take), score, files, {})


def closed(archive: Archive, take: TakeRecord) -> Piece:
    """A take's piece in whose last score every domain that comes from the data is written as numbers."""
    from sonify.resolve import locate, take_stats
    from sonify.score import given_references, parse_score

    piece = parse_piece(take.piece, take.piece_name)
    piece = piece.model_copy(update={"score": final_piece(archive, take).score})
    score = parse_score(piece.score, take.piece_name)
    channels = {part: {c.name: c for c in record.channels} for part, record in take.parts.items()}
    stats = take_stats(score, channels, recorded(archive, take, heard_channels(archive, take)))
    domains: dict[str, tuple[float, float]] = {}
    for at, reference, part in given_references(score):
        given = _at(piece.score, at)
        domain, values = given.get("domain", "data"), stats[locate(reference, part, take.parts)].quantiles
        if "range" in given and domain in ("data", "p1-p99"):
            ends = values[[0, -1]] if domain == "data" else np.quantile(values, [0.01, 0.99])
            if ends[0] < ends[1]:  # of constant data there is no domain that a score could name
                domains[f"{at}.domain"] = (float(ends[0]), float(ends[1]))
    return piece.with_values(domains)


def _at(score: Mapping[str, object], path: str) -> Mapping[str, object]:
    """What stands in a score at a path that begins with its own name."""
    node: object = score
    for key in path.split(".")[1:]:
        assert isinstance(node, Mapping)
        node = node[key]
    assert isinstance(node, Mapping)
    return node


def _check_past(archive: Archive, take: TakeRecord, branch: str, ends: Mapping[str, int]) -> None:
    """See that a branch is what was recorded, bit for bit, up to so many ticks of each part."""
    for part, record in take.parts.items():
        then, now = SignalsHash(record.channels), SignalsHash(record.channels)
        for found, take_id in ((then, take.id), (now, branch)):
            for block in archive.blocks(take_id, part=part):
                past = cut(block, 0, ends[part] - block.first_tick)
                events = tuple(e for e in past.events if not e.given)
                found.update(FrameBlock(past.first_tick, past.arrays, events))
        if then.hexdigest() != now.hexdigest():
            raise DescantError(f"take {take.id}: part {part} performed again is not what was recorded: no branch of it")
