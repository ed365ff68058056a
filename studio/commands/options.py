"""What verbs share: options, and the archive."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from db.archive import Archive


class Finite(click.FloatRange):
    """A range that NaN, which compares with nothing, does not slip through."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        number = float(super().convert(value, param, context))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, context)
        return number


JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
QUIET = click.option("--quiet", is_flag=True, help="No progress; only what was asked for.")
SEED = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of everything random."
)


@contextmanager
def opened(context: click.Context, create: bool = True) -> Iterator[Archive]:
    """The archive; one that a user names is created only by what writes into it, so that a slip of the pen is seen."""
    from db.archive import Archive
    from studio.config import archive_place

    named = context.obj is not None or "DESCANT_ARCHIVE" in os.environ
    with Archive.open(archive_place(context.obj), create=create or not named) as archive:
        yield archive
