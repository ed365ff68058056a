"""Make the README's pictures and sounds: moments, a sheet, a map. Run: python docs/gallery.py [PIECE|coast ...]"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from db.archive import Archive
from pieces.piece import find_piece
from studio.compose import compose
from studio.plan import plan
from studio.rendering import heard, sheet, staged

DOCS = Path(__file__).parent
#: Piece, and the moment shown (seconds); seed 1.
MOMENTS = {
    "cubics": 22.4,
    "knots": 9.3,
    "digits": 12.0,
    "landscape": 15.9,
    "denoising": 14.0,
    "alien": 15.7,
    "alien-keyboard": 32.2,
    "interconcept": 52.4,
}
FOUR = ("cubics", "knots", "digits", "landscape")
SIZE, EXCERPT = (800, 450), 14.0


def moment(archive: Archive, name: str) -> np.ndarray:
    """Compose a piece; write the sound around its moment and return the picture there."""
    piece, base = find_piece(name)
    take = archive.take(compose(archive, plan(name, piece, base), 1))
    _, scene = staged(archive, take, piece)
    picture = scene.draw(MOMENTS[name], *SIZE)
    sound, rate = soundfile.read(heard(archive, take), dtype="float32")
    first = round(max(0.0, MOMENTS[name] - EXCERPT / 2) * rate)
    cut = sound[first : first + round(EXCERPT * rate)].copy()
    fade = np.minimum(1, np.minimum(np.arange(len(cut)), np.arange(len(cut))[::-1]) / (0.3 * rate))
    (DOCS / "gallery").mkdir(exist_ok=True)
    soundfile.write(DOCS / "gallery" / f"{name}.mp3", cut * fade[:, None], rate, format="MP3")
    Image.fromarray(picture).save(DOCS / "gallery" / f"{name}.png", optimize=True)
    return picture


def coast(folder: Path) -> None:
    """The map of an island, by the README's own words."""
    words = "mind coast house --right 'a dog' --above 'a house' --surgery up"
    environment = {**os.environ, "DESCANT_HOME": str(folder)}
    command = [Path(sys.executable).with_name("descant"), *shlex.split(words), "--quiet", "--out", str(folder)]
    subprocess.run(command, check=True, env=environment)
    (drawn,) = folder.glob("coast-*.png")
    Image.open(drawn).convert("P", palette=Image.Palette.ADAPTIVE).save(DOCS / "gallery" / "coast.png", optimize=True)


def main() -> None:
    names = sys.argv[1:] or [*MOMENTS, "coast"]
    with tempfile.TemporaryDirectory() as folder, Archive.open(Path(folder) / "archive.db") as archive:
        shown = {name: moment(archive, name) for name in names if name != "coast"}
        if "coast" in names:
            coast(Path(folder))
        if set(FOUR) <= set(shown):
            rows = [np.hstack([shown[n] for n in FOUR[:2]]), np.hstack([shown[n] for n in FOUR[2:]])]
            Image.fromarray(np.vstack(rows)).save(DOCS / "four-pieces.png", optimize=True)
            piece, base = find_piece("canon")
            take_id = compose(archive, plan("canon", piece, base), 1)
            Image.open(sheet(archive, take_id)).convert("RGB").save(DOCS / "sheet.png", optimize=True)


if __name__ == "__main__":
    main()
