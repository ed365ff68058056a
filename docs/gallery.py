"""Make the README's pictures: moments of four pieces, and a sheet. Run: .venv/bin/python docs/gallery.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from db.archive import Archive
from pieces.piece import find_piece
from studio.compose import compose
from studio.plan import plan
from studio.rendering import sheet, staged

#: Piece, seed, and the moment shown (seconds).
MOMENTS = (("cubics", 1, 22.4), ("knots", 1, 9.3), ("digits", 1, 12.0), ("landscape", 1, 15.9))
SIZE = (800, 450)


def main() -> None:
    docs = Path(__file__).parent
    shown = []
    with tempfile.TemporaryDirectory() as folder, Archive.open(Path(folder) / "archive.db") as archive:
        for name, seed, second in MOMENTS:
            piece, base = find_piece(name)
            take = archive.take(compose(archive, plan(name, piece, base), seed))
            _, scene = staged(archive, take, piece)
            shown.append(scene.draw(second, *SIZE))
        piece, base = find_piece("canon")
        take_id = compose(archive, plan("canon", piece, base), 1)
        Image.open(sheet(archive, take_id)).convert("RGB").save(docs / "sheet.png", optimize=True)
    rows = [np.hstack(shown[:2]), np.hstack(shown[2:])]
    Image.fromarray(np.vstack(rows)).save(docs / "four-pieces.png", optimize=True)


if __name__ == "__main__":
    main()
