"""Reverbs that all voices of a score share. pyo is imported where the graph is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonify.score import Reverb

#: Seconds of two all-pass diffusers for each side: J. Dattorro, "Effect design 1", JAES 45, 1997, fig. 1 (at 29761 Hz).
_DIFFUSERS = ((142 / 29761, 379 / 29761), (107 / 29761, 277 / 29761))
#: Mean delay of the eight lines of pyo's waveguide reverb, in seconds: what its feedback acts on.
_WAVEGUIDE_DELAY = 0.066
#: What pyo's room model must be told to decay by 60 dB in one second (measured).
_ROOM_TIME = 0.73


def reverb(settings: Reverb, dry: Any) -> Any:
    """The wet return, two signals left and right, of one mono signal.

    The hall is a room model with first reflections, the plate a dense waveguide network behind all-pass diffusers of
    its own on each side. Both decay by 60 dB in about ``settings.decay_s``.
    """
    import pyo64 as pyo

    cutoff = 16_000.0 * 2.0 ** (-4.0 * settings.damping)
    if settings.kind == "hall":
        return pyo.STRev(dry, inpos=0.5, revtime=_ROOM_TIME * settings.decay_s, cutoff=cutoff, bal=1.0, roomSize=1.5)
    sides = [pyo.Allpass(pyo.Allpass(dry, delay=a, feedback=0.7), delay=b, feedback=0.6) for a, b in _DIFFUSERS]
    feedback = 10.0 ** (-3.0 * _WAVEGUIDE_DELAY / settings.decay_s)
    return pyo.WGVerb(pyo.Mix(sides, voices=2), feedback=feedback, cutoff=cutoff, bal=1.0)
