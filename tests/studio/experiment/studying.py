"""What the tests of studies share: a piece of two seconds, visitors of our own, and studies of both."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np

from db.archive import Archive
from studio.experiment.outcomes import outcomes
from studio.words.artefact import Artefact

SR, FPS = 24_000, 16.0

#: A melody that rises by a step a moment, from a note that the seed gives.
SOURCE = """
import numpy as np
from pieces.signals import Channel, Control, FrameBlock
from pieces.source import Source


class Rising(Source):
    name = "SECRET"
    about = "SECRET melody"
    channels = (Channel("heard", "SECRET", range=(0, 24)),)
    controls = (Control("step", "semitones a moment", 3.0, (0.0, 6.0)),)

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick, self.first = 0, seed % 5

    def step(self, controls, events, n):
        t = np.arange(self.tick, self.tick + n)
        self.tick += n
        return FrameBlock(int(t[0]), {"heard": (self.first + t // 4 * controls["step"]).astype("float32")})
"""

PIECE = """
descant = 1
title = "SECRET"
[parts.melody]
source = "SECRET.py"
rate = 8
ticks = 16
[score.voices.SECRET_VOICE]
instrument = "glide"
lanes = { pitch = { channel = "heard", domain = [0, 24], range = ["C4", "C6"] } }
[picture]
view = "plots"
options = { channels = ["heard"] }
[master]
tail = 0.0
"""

#: A visitor that hears: of two works it prefers the one that rises more often and further, and it finds what is the
#: same. Where it hears no difference it chooses evenly. With a taste it is surprised by notes in its own way, and knows
#: its own curve; with 3 and 4 its surprise is of its seed and of the work's name. And one that does all that
#: visitors should not.
VISITORS = """
import os, re, signal, time, zlib
from pathlib import Path
import numpy as np
from studio.audience.visitor import AudienceError, Decision, MomentRow, Report, certain, drawn


class Hearer:
    name, register, senses = "hearer", "numbers", frozenset()

    def __init__(self, argument, cache, **options):
        self.gate, self.taste = Path(options.get("gate", os.devnull)), int(options.get("taste", 0))
        self.begun, self.after, self.rates = 0, int(options.get("after", 5)), bool(options.get("rates"))

    def begin(self, instruction, seed):
        self.rng, self.works, self.begun = np.random.default_rng(seed), {}, self.begun + 1
        self.curves, self.seed = {}, seed
        while self.begun > self.after and self.gate.is_file():
            (self.gate.parent / f"waiting-{os.getpid()}").touch()
            time.sleep(0.01)

    def observe(self, text, clips=()):
        for line in text.splitlines():
            if found := re.match(r"(?:Work|Room) (\\w+):", line):
                self.works[found[1]] = []
            elif self.works and (found := re.match(r"\\d+: (.*)", line)):
                [*self.works.values()][-1].append(found[1])
            elif found := re.match(r"([a-z]): ([\\d. ]+)$", line):
                self.curves[found[1]] = [float(n) for n in found[2].split()]

    def heard(self, name):
        return [float(n) for line in self.works[name] for n in re.findall(r"pitch (\\d+\\.\\d)", line)]

    @staticmethod
    def worth(notes):
        return 10 * int((np.diff(notes) > 0.5).sum()) + round(max(notes) - min(notes)) if notes else 0

    def decide(self, question):
        if question.about == "same":
            third = [*self.works.values()][-1]
            scores = [self.works[name] == third for name in question.options]
        elif question.about == "choose":
            own = [row.surprise for row in self.report().moments]
            scores = [float(np.corrcoef(own, self.curves[letter])[0, 1]) for letter in question.options]
        elif question.about == "prefer":
            scores = [self.worth(self.heard(name)) for name in question.options]
        elif question.about == "rate":
            scores = [-abs(int(grade) - self.worth(self.heard([*self.works][-1])) // 6) for grade in question.options]
        elif question.about == "" and self.rates:
            wanted = "leave" if self.works and any(self.works.values()) else "listen" if self.works else "go"
            scores = [verb == wanted for verb in question.options]
        else:
            scores = [0] * len(question.options)
        facts = {"tokens": 10, "cost": 0.5}
        best = [name for name, score in zip(question.options, scores) if score == max(scores)]
        return certain(question.options, best[0], facts) if len(best) == 1 else drawn(
            question.options, np.ones(len(scores)), self.rng, facts
        )

    def report(self):
        if not self.taste or len(self.works) != 1:
            return Report()
        heard = self.heard(*self.works)
        surprise = [note if self.taste == 1 else 200 - note for note in heard]
        if self.taste > 2:
            name = zlib.crc32(next(iter(self.works)).encode())
            rest = np.random.default_rng([self.seed, name]).random(len(heard) - 1)
            surprise = [float(self.taste == 3), *rest.tolist()]
        rows = [MomentRow(start=i / 2, surprise=nats) for i, nats in enumerate(surprise)]
        return Report(moments=tuple(rows))

    def about(self):
        return {"kind": "small"}


class Odd(Hearer):
    name = "odd"

    def __init__(self, argument, cache, **options):
        super().__init__(argument, cache, **options)
        self.how, self.deaths = argument, Path(options.get("deaths", os.devnull))
        if argument == "gone":
            raise AudienceError("odd:gone: no such model")

    def decide(self, question):
        if self.how == "down":
            raise AudienceError("odd: no answer from http://127.0.0.1:9: is the server up?")
        if self.how == "babbling":
            return Decision("\\x1b[31mI love \\u202e it", tuple(1 / len(question.options) for _ in question.options))
        if self.how == "permuting" and question.about == "choose":
            order = np.random.default_rng(self.seed).permutation(len(question.options))
            return certain(question.options, question.options[int(np.flatnonzero(order == 0)[0])])
        if self.how == "buggy":
            raise ZeroDivisionError("a bug\\nof somebody")
        if self.how == "dying":
            deaths = int(self.deaths.read_text())
            self.deaths.write_text(str(max(0, deaths - 1)))
            if deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().decide(question)
"""


def write_visitors(folder: Path) -> Path:
    """Install the visitors in a folder that is to stand in ``sys.path``."""
    about = folder / "hearing-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "hearing.py").write_text(VISITORS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hearing\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[descant.audiences]\nhearer = hearing:Hearer\nodd = hearing:Odd\n")
    return folder


#: So that what is drawn from it is the same in every run of the tests.
SECRET = "5e" * 16


def write_piece(folder: Path, name: str = "secret") -> Path:
    """A piece of two seconds, with its source."""
    (folder / f"{name}.py").write_text(SOURCE.replace("SECRET", name))
    path = folder / f"{name}.toml"
    path.write_text(PIECE.replace("SECRET_VOICE", f"{name}_voice").replace("SECRET", name))
    return path


def study(folder: Path, **replaced: str) -> Path:
    """A study in a file; tables may be replaced, by their first key."""
    parts = {
        "head": 'descant = 1\nname = "test study"\nseed = 1',
        "arms": 'arms = { neutral = "", moving = "You look for what changes." }',
        "rest": "moments = 4\nrepeats = 1",
        "hypotheses": '[hypotheses]\nH1 = "Visitors choose a work as it is."',
        "audiences": '[[audiences]]\nname = "small one"\nvisitor = "hearer"',
        "works": '[[works]]\nname = "first one"\npiece = "secret.toml"\nseed = 1\n'
        '[[works]]\nname = "other one"\npiece = "secret.toml"\nseed = 2\nset = { step = 4.0 }',
        "tasks": '[[tasks]]\ntask = "prefer"\nconditions = ["shuffled"]',
        "analysis": '[analysis]\nprimary = ["prefer/shuffled"]',
        "more": "",
    }
    assert set(replaced) <= set(parts)
    path = folder / "study.toml"
    path.write_text("\n".join(textwrap.dedent(part) for part in {**parts, **replaced}.values()))
    return path


def melody(notes: list[float], seconds: float = 0.5, colour: tuple[int, int, int] = (200, 60, 20)) -> Artefact:
    """An artefact of tones, a moment each, with a disc that wanders from left to right."""
    t = np.arange(round(seconds * SR)) / SR
    tones = np.concatenate([0.2 * np.sin(2 * np.pi * 440 * 2 ** ((n - 69) / 12) * t) for n in notes])
    count = round(len(notes) * seconds * FPS)
    rows, columns = np.mgrid[:36, :64]
    pictures = np.zeros((count, 36, 64, 3), np.uint8)
    for i, picture in enumerate(pictures):
        picture[(columns - 10 - 44 * i / count) ** 2 + (rows - 18) ** 2 < 60] = colour
    return Artefact(np.repeat(tones.astype(np.float32)[:, None], 2, axis=1), SR, pictures, FPS)


def found(place: Path, study_id: str) -> list[dict]:
    with Archive.open(place / "a.db", create=False) as archive:
        return outcomes(archive, study_id)


def share(rows: list[dict], **wanted: object) -> tuple[float, int]:
    own = [row["target"] for row in rows if all(row[name] == value for name, value in wanted.items())]
    return sum(own) / len(own), len(own)


RUN = """
import sys
from pathlib import Path
from studio.experiment.running import run
run(sys.argv[1], Path(sys.argv[2]))
"""


def running(visitors: Path, place: Path, path: Path, code: str = RUN) -> subprocess.Popen[str]:
    """A run in a process group of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(visitors), os.getcwd()])}
    words = [sys.executable, "-c", code, str(place / "a.db"), str(path)]
    return subprocess.Popen(words, env=env, start_new_session=True, stderr=subprocess.PIPE, text=True)


def waiting(folder: Path, count: int) -> list[int]:
    """Ids of so many processes that wait at a gate."""
    deadline = time.monotonic() + 60
    while len(found := list(folder.glob("waiting-*"))) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(found) == count
    return [int(path.name.partition("-")[2]) for path in found]
