"""Whether the audiences of a study can be invited as it says: asked before it is frozen; no model is loaded for it."""

from __future__ import annotations

import inspect
import math
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pieces.errors import DescantError
from studio.audience.rooms import Rules
from studio.audience.visitor import BUILT_IN, OURS, AudienceError, invite
from studio.experiment.design import Audience, Design, Prefer, Same, SteerTask, StudyError


def check_audiences(design: Design) -> None:
    """See that every audience takes its options, can be sent what it is told, and counts what it is to be stopped by.

    Raises
    ------
    StudyError
        Naming the audience, and what is wrong, as one line without any secret.
    """
    for audience in design.audiences:
        try:
            _check_options(audience)
            if audience.visitor.partition(":")[0] == "openai":
                _check_server(audience, design)
        except DescantError as error:
            raise StudyError(f"audience {audience.name!r}: {error}") from error


def _check_options(audience: Audience) -> None:
    """Ask the visitor itself; of a model, whose weights would be loaded, and of a package the signature alone."""
    kind, options = audience.visitor.partition(":")[0], dict(audience.options)
    if kind in BUILT_IN and (ours := [name for name in options if name in OURS]):
        raise AudienceError(f"options.{ours[0]}: no option of a study: leave it out")
    if kind in BUILT_IN and kind != "hf":
        visitor = invite(audience.visitor, Path(), **options)
        if kind == "listener" and {*audience.registers} - {visitor.register}:
            told = ", ".join(audience.registers)
            raise AudienceError(f"registers {told}: the listener reads {visitor.register} alone: leave them out")
        return
    if kind == "hf":
        from studio.audience.hf import OPTIONS

        for name, (right, allowed) in OPTIONS.items():
            if name in options and not right(options[name]):
                raise AudienceError(f"hf: {name} {options[name]!r}: allowed is {allowed}")
    try:
        inspect.signature(_maker(kind)).bind("", Path(), **options)
    except TypeError as error:
        raise AudienceError(f"options: {error}") from error


def _maker(kind: str) -> Any:
    if kind in BUILT_IN:
        module, _, attribute = BUILT_IN[kind].partition(":")
        return getattr(import_module(module), attribute)
    for found in entry_points(group="descant.audiences", name=kind):
        return found.load()
    raise AudienceError(f"no audience {kind!r}: the package that it came in is gone: install it")


def _check_server(audience: Audience, design: Design) -> None:
    """Whether it may be sent all that it is told, and is paid for where costs are to end the study."""
    from studio.audience.remote import checked_options

    options = checked_options(audience.options)
    if design.budget.max_cost is not None and not options.priced:
        raise AudienceError(
            "budget.max_cost cannot be reached without prices: give options.price_in and price_out, per million tokens"
        )
    told = [3 if isinstance(t, Same) else 2 for t in design.tasks if isinstance(t, Prefer | Same | SteerTask)]
    clips = max(told, default=0) * math.ceil(design.moments / Rules().stretch)
    if options.senses and clips > options.held:
        raise AudienceError(
            f"it would be sent {clips} clips of the works that are held against each other: allowed are "
            f"options.held = {options.held}: set moments lower, or held to {clips}"
        )
