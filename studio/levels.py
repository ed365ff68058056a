"""How loud a piece is live, where nobody knows the whole yet: its file says it, or a take of it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.archive import Archive
    from db.records import Json
    from pieces.piece import Piece

#: dB that a piece is given of which nothing is known: those of the library need 2 to 11 less than they have.
GUESS = -6.0
#: Newest takes among which one of the piece is looked for.
_LOOKED_AT = 200


def measured(archive: Archive, name: str, piece: Piece) -> Json | None:
    """What rendering measured of the newest take of a piece with this score; None if there is none."""
    score = piece.model_dump(mode="json")["score"]
    for row in archive.takes(status="done", limit=_LOOKED_AT):
        if Path(row.piece).stem == Path(name).stem:
            take = archive.take(row.id)
            if take.render and take.piece["score"] == score:
                return take.render
    return None
