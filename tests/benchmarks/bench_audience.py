"""A listener's visit of 60 moments on one core, birth, ears and imports excluded; steps of the game without a model; an
experiment that is killed and goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.measure import ROOT, Row, descant

if TYPE_CHECKING:
    from studio.audience.game import Game
    from studio.words.artefact import Artefact

MOMENTS, STEPS = 60, 20_000
#: Trials of the study that is killed: 2 works, 5 wordings, 2 orders and 2 sides, 5 times.
TRIALS = 200
STUDY = {
    "head": 'descant = 1\nname = "killed"\nseed = 1\nwordings = ["plain", "guest", "letter", "formal", "short"]',
    "arms": 'arms = { neutral = "" }',
    "rest": "moments = 4\nrepeats = 5",
    "audiences": '[[audiences]]\nname = "chance"\nvisitor = "random"',
}


def rows() -> Iterator[Row]:
    os.environ["OMP_NUM_THREADS"] = "1"
    artefact = _take()
    began = time.process_time()
    artefact.eyes, artefact.ears  # noqa: B018 (they are measured when they are asked for, and kept)
    ears = time.process_time() - began
    yield _visit(artefact, ears)
    yield from _steps(artefact)
    with tempfile.TemporaryDirectory() as folder:
        yield from _experiment(Path(folder))


def _take() -> Artefact:
    """30 s of a melody by chance, and of pictures by chance."""
    from studio.words.artefact import MOMENT_S, Artefact

    rate, random = 48_000, np.random.default_rng(0)
    pitch = np.repeat(220 * 2 ** (random.integers(0, 12, 120) / 12), round(MOMENTS * MOMENT_S * rate) // 120)
    tone = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    pictures = random.integers(0, 255, (240, 36, 64, 3), dtype=np.uint8)
    return Artefact(np.stack([tone, tone], axis=1).astype("float32"), rate, pictures, 8.0)


def _visit(artefact: Artefact, ears: float) -> Row:
    """Every moment is told, and learned from."""
    from studio.audience.visitor import Question, invite
    from studio.words.registers import spoken

    lines = "\n".join(f"{i}: {line}" for i, line in enumerate(spoken(artefact, "tokens")))
    with tempfile.TemporaryDirectory() as folder:
        listener = invite("listener", Path(folder))
        for _ in range(2):  # the first time it is born
            began = time.process_time()
            listener.begin("", 0)
            listener.observe(f"Room baduki: {MOMENTS} moments of 0.5 s, the next is 0.")
            listener.observe(lines)
            listener.decide(Question("", "What do you do?", ("look", "leave")))
            spent = time.process_time() - began
        heard = len(listener.report().moments)
    met = spent <= 6
    return Row(
        f"a listener's visit of {heard + 1} moments", spent, "CPU s", "<= 6 for 60", met, "its ears and eyes", ears
    )


def _steps(artefact: Artefact) -> Iterator[Row]:
    """Admissible commands by chance, where all words are known; beside the smallest game of Gymnasium's own."""
    import gymnasium

    from studio.audience.game import Game
    from studio.audience.playing import play
    from studio.audience.rooms import Room, Rules
    from studio.audience.simple import RandomVisitor

    game = Game([Room(artefact) for _ in range(3)], Rules(budget=1e9, moves=10 * STEPS))
    _walk(game, 200)
    ours = STEPS / _walk(game, STEPS)
    pole = gymnasium.make("CartPole-v1")
    pole.reset(seed=0)
    began = time.process_time()
    for i in range(STEPS):
        if pole.step(i % 2)[2]:
            pole.reset()
    theirs = STEPS / (time.process_time() - began)
    yield Row("steps of the game", ours, "a CPU s", ">= 1,000", ours >= 1000, "CartPole-v1", theirs)
    played, spent = 0, time.process_time()
    for seed in range(200):
        played += len(play(game, RandomVisitor(), seed).turns)
    yield Row("turns of random visitors, written down", played / (time.process_time() - spent), "a CPU s", "-", None)


def _walk(game: Game, steps: int) -> float:
    """CPU seconds of so many commands, and of nothing that chooses them."""
    random, spent = np.random.default_rng(0), 0.0
    _, info = game.reset(seed=0)
    for _ in range(steps):
        commands = info["admissible_commands"] or ["look"]
        command = commands[int(random.integers(len(commands)))]
        began = time.process_time()
        _, _, over, cut, info = game.step(command)
        spent += time.process_time() - began
        if over or cut:
            _, info = game.reset()
    return spent


def _experiment(folder: Path) -> Iterator[Row]:
    """One that is killed with -9, with all its processes, when half of its trials are over; and one that is not."""
    from tests.studio.experiment.studying import study, write_piece

    write_piece(folder)
    path = study(folder, **STUDY)
    whole, killed = folder / "whole.db", folder / "killed.db"
    for place in (whole, killed):
        _frozen(place, path)
    wall, cpu = _run(whole, path)
    times = [_run(killed, path, TRIALS // 2), _run(killed, path)]
    expected, found = _trials(whole), _trials(killed)
    lost = len(expected.keys() - found.keys()) + sum(found.get(n, (0, ""))[0] < 1 for n in expected)
    doubled = sum(max(0, told - 1) for told, _ in found.values())
    same = all(found[n][1] == outcome for n, (_, outcome) in expected.items() if n in found)
    what, met = f"an experiment of {TRIALS} trials, killed with -9 at about half, resumes", len(expected) == TRIALS
    yield Row(f"{what}: lost", lost, "trials", "0", met and lost == 0)
    yield Row(f"{what}: doubled", doubled, "trials", "0", met and doubled == 0)
    yield Row(f"{what}: outcomes as without", float(same), "", "1", same)
    ours = [sum(one) for one in zip(*times, strict=True)]
    yield Row("that experiment, both runs together", ours[0], "wall s", "-", None, "uninterrupted", wall)
    yield Row("that experiment, both runs together", ours[1], "CPU s", "-", None, "uninterrupted", cpu)


def _frozen(place: Path, path: Path) -> None:
    """The study frozen in an archive, its works made; equal in all archives."""
    from db.archive import Archive
    from studio.experiment.design import read
    from studio.experiment.freezing import freeze
    from studio.experiment.works import make
    from tests.studio.experiment.studying import SECRET

    with Archive.open(place) as archive:
        make(archive, freeze(archive, path, SECRET).id, read(path), path.parent)


def _run(place: Path, path: Path, kill_at: int | None = None) -> tuple[float, float]:
    """Run the study by its command until it ends, or until so many trials are over; wall and CPU seconds."""
    began = time.perf_counter()
    words = descant("--archive", str(place), "experiment", "run", str(path), "--quiet")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    spent = 0.0
    if kill_at is None:
        assert child.wait() == 0
    else:
        while _over(place) < kill_at and child.poll() is None:
            time.sleep(0.02)
        assert child.poll() is None, "it was over before it was killed"
        # Of processes that are killed nobody is told what they took, but of the one that is waited for.
        spent = sum(map(_ticks, set(_session(child.pid)) - {child.pid})) / os.sysconf("SC_CLK_TCK")
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu + spent


def _session(session: int) -> Iterator[int]:
    """The processes of a session."""
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((one / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                yield int(one.name)


def _ticks(process: int) -> int:
    """CPU time that a process took, in clock ticks (proc(5), stat, fields 14 and 15)."""
    with suppress(OSError):
        return sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return 0


def _over(place: Path) -> int:
    """Trials that are over; read beside whoever writes."""
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM trials WHERE status = 'done'").fetchone()[0])


def _trials(place: Path) -> dict[int, tuple[int, str]]:
    """Number of a trial that is done -> its transcripts, and its outcome but for the time it took."""
    from db.archive import Archive

    with Archive.open(place, create=False) as archive:
        (record,) = archive.studies.experiments()
        told = Counter(row.trial for row in archive.visiting.transcripts(experiment=record.id, limit=None))
        done = archive.studies.trials(record.id, "done")
        return {one.number: (told[one.number], json.dumps({**(one.outcome or {}), "latency": None})) for one in done}
