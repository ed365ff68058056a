"""A desk, stretch by stretch: banks of voices side by side, then the groups in the order of their flow, then the mix.

Everything is summed in the order of the score, so that a mix is the same, bit for bit, whoever played its voices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonify.desk import MIX, Desk
from sonify.graph import Return, Strips
from sonify.workers import RenderError, Work, play, play_apart

#: Voices that are worth a bank of their own, and most such banks: each is a server, and a sound to be sent and added.
_BANK, _BANKS = 4, 8


def banks(desk: Desk, solos: bool = False) -> tuple[Strips, ...]:
    """The voices of a desk, cut by their order alone, into as many banks as a number of processes often divides."""
    names, found = list(desk.voices), []
    count = 1
    while count * _BANK < len(names) and count < _BANKS:
        count *= 2
    for i in range(count if names else 0):
        first, last = (len(names) * k // count for k in (i, i + 1))
        voices = {name: desk.voices[name] for name in names[first:last]}
        used = {way for voice in voices.values() for way in (voice.into, *voice.sends)}
        ways = tuple(way for way in (MIX, *desk.groups) if way in used)
        found.append(Strips(voices, ways, first, solos))
    return tuple(found)


def mixdown(
    desk: Desk, duration: float, sample_rate: int, stretch: int, stems: bool, processes: int
) -> Generator[dict[str, NDArray[np.float32]]]:
    """The mix and, where they are asked for, the stems: name → [samples, 2], `stretch` samples at a time.

    Parameters
    ----------
    desk : Desk
    duration : float
        Seconds.
    sample_rate : int
    stretch : int
        A whole number of 100 ms.
    stems : bool
        Whether voices are given too; groups always are.
    processes : int
        Most processes to spawn; none below 2.

    Raises
    ------
    RenderError
        If a sound is not finite, or a process dies.
    """
    total = round(duration * sample_rate)
    stretches = tuple(min(stretch, total - start) for start in range(0, total, stretch))
    work = Work(banks(desk, stems), duration, sample_rate, stretches)
    processes = min(processes, len(work.banks))
    returns = {
        name: Return(group, duration, sample_rate, len(desk.voices) + i)
        for i, (name, group) in enumerate(desk.groups.items())
    }
    with closing(play_apart(work, processes) if processes > 1 else play(work)) as sounds:
        for number, samples in enumerate(stretches):
            sums = {way: np.zeros((samples, 2), dtype=np.float32) for way in (MIX, *desk.groups)}
            tracks = {MIX: sums[MIX]}
            for i, strips in enumerate(work.banks):
                sound = next(sounds)
                if not np.isfinite(sound).all():
                    raise _not_finite(f"voice {_culprits(work, i, number)}")
                for track, way in enumerate(strips.ways):
                    sums[way] += sound[:, track]
                if stems:
                    tracks |= {name: sound[:, len(strips.ways) + k] for k, name in enumerate(strips.voices)}
            for name, group in desk.groups.items():
                sound = returns[name].run(samples, sums[name])
                if not np.isfinite(sound).all():
                    raise _not_finite(f"group {name}")
                tracks[name] = sound[:, 0]
                for track, way in enumerate((group.into, *group.sends)):
                    sums[way] += sound[:, track]
            yield tracks
    for graph in returns.values():
        graph.close()


def _culprits(work: Work, bank: int, stretch: int) -> str:
    """The voices of a bank that are not finite in a stretch, found by playing it again with each on a track."""
    strips = replace(work.banks[bank], solos=True)
    again = play(replace(work, banks=(strips,), stretches=work.stretches[: stretch + 1]))
    (sound,) = deque(again, maxlen=1)
    solos = sound[:, len(strips.ways) :].swapaxes(0, 1)
    found = [name for name, solo in zip(strips.voices, solos, strict=True) if not np.isfinite(solo).all()]
    return ", ".join(found or strips.voices)  # finite by themselves: what they send, or their sum, is not


def _not_finite(what: str) -> RenderError:
    return RenderError(f"{what} made a sound that is not finite: narrow the ranges of its lanes")
