"""The library is heard: takes, two of them compared; and its jobs in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from db.archive import Archive
from studio.audition import A, B
from studio.jobs import Failed, Running, Stretch
from studio.widgets.waveform import Waveform
from tests.studio.screens.takes import like, take_id
from tests.studio.screens.visits import Visit, visit


def test_the_sound_of_a_live_take_is_made_when_somebody_wants_to_hear_it(place, speaker):
    with Archive.open(place) as archive:
        first = archive.take(take_id("first"))
        new = like(archive, first.id)
        recorder = archive.begin(new)
        recorder.channels(first.parts["cubics"].channels)
        for block in archive.blocks(first.id):
            recorder.append(block)
        recorder.finish(duration_s=1.5)

    async def test(seen: Visit) -> None:
        assert seen.library.current == recorder.take_id
        assert "play it, and it is made" in seen.text("#waveform")
        await seen.pilot.press("space")
        await seen.until(lambda: seen.library.card.mix is not None, 60)
        await seen.calm()
        assert seen.library.query_one(Waveform).duration == pytest.approx(2.0)
        await seen.pilot.press("space")
        await seen.until(lambda: A in speaker.state().decks)

    visit(place, test, sound=speaker)


def test_a_job_begins_under_a_screen_as_the_first_process_of_all(place, tmp_path):
    """A screen's stderr has no file, for which multiprocessing asks when it starts anything for the first time."""
    code = f"""
import asyncio, sys
from pathlib import Path
from textual.app import App
from studio.jobs import Done, Running, Stretch

class Host(App):
    def job(self):
        job = Running({str(place)!r}, Stretch({take_id("first")!r}, Path({str(tmp_path / "a.wav")!r}), 0.0, 1.0))
        return job.wait(lambda progress: None)

async def main():
    app = Host()
    async with app.run_test():
        assert sys.stderr.fileno() == -1
        assert isinstance(await asyncio.to_thread(app.job), Done)

if __name__ == "__main__":
    asyncio.run(main())
"""
    (tmp_path / "first.py").write_text(code)
    done = subprocess.run([sys.executable, str(tmp_path / "first.py")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").exists()


def test_a_job_whose_process_dies_says_so(place, tmp_path):
    job = Running(str(place), Stretch(take_id("first"), tmp_path / "a.wav", 0.0, 1.0))
    job._process.kill()
    found = job.wait(lambda progress: None)
    assert isinstance(found, Failed)
    assert "ended with code -9" in found.reason


def test_a_take_is_heard_from_the_cursor_and_stopped(place, speaker):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        wave = seen.library.query_one(Waveform)
        wave.place(0.5)
        await seen.pilot.press("space")
        await seen.until(lambda: A in speaker.state().decks)
        await seen.until(lambda: wave.playhead is not None and wave.playhead > 0.6)
        assert speaker.state().decks[A][1] > 0.001
        assert "▶" in seen.text("#deck")
        await seen.pilot.press("space")
        await seen.until(lambda: A not in speaker.state().decks)
        assert wave.playhead is None
        wave.select(0.2, 0.4)
        await seen.pilot.press("space")
        turns = []

        def turned() -> bool:
            turns.append(wave.playhead or 0.0)
            return any(b < a - 0.05 for a, b in pairwise(turns))

        await seen.until(turned)  # the selection comes again
        assert max(turns) < 0.5
        await seen.pilot.press("space")

    visit(place, test, sound=speaker)


def test_a_take_that_is_over_stops(place, speaker):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        seen.library.query_one(Waveform).place(1.6)
        await seen.pilot.press("space")
        await seen.until(lambda: seen.library.audition.playing)
        await seen.until(lambda: not seen.library.audition.playing)
        assert "■" in seen.text("#deck")

    visit(place, test, sound=speaker)


def test_two_takes_are_compared_at_the_same_place(place, speaker):
    async def test(seen: Visit) -> None:
        await seen.goto("first")
        await seen.press("a")
        await seen.goto("louder")
        await seen.pilot.press("b")
        await seen.until(lambda: {A, B} <= speaker.state().decks.keys())
        assert "A" in seen.line("first")
        assert "B" in seen.line("louder")
        await seen.until(lambda: speaker.state().decks[A][0] > 0.2)
        decks = speaker.state().decks
        assert abs(decks[A][0] - decks[B][0]) < 0.03
        assert "[A]" in seen.text("#deck")
        await seen.pilot.press("v")
        await seen.until(lambda: "[B]" in seen.text("#deck"))
        assert seen.library.current == take_id("louder")
        await seen.pilot.press("v")
        await seen.until(lambda: "[A]" in seen.text("#deck"))
        await seen.pilot.press("escape")
        await seen.until(lambda: not speaker.state().decks)

    visit(place, test, sound=speaker)


def test_to_hear_the_other_one_makes_no_click(tmp_path, speaker):
    """Two tones, switched between: what is played turns from one into the other without a step."""
    from studio.audition import Audition

    seconds = np.arange(6 * 48_000) / 48_000
    for name, hertz in (("a", 220.0), ("b", 330.0)):
        tone = 0.3 * np.sin(2 * np.pi * hertz * seconds)
        soundfile.write(tmp_path / f"{name}.wav", np.stack([tone, tone], axis=1), 48_000, subtype="FLOAT")
    audition = Audition(speaker)

    def wait(seconds: float) -> None:
        end = time.monotonic() + 20
        while (audition.position() or 0.0) < seconds:
            assert time.monotonic() < end
            time.sleep(0.01)

    audition.compare(tmp_path / "a.wav", tmp_path / "b.wav", 0.0)
    wait(0.3)
    speaker.record(True)
    wait(0.8)
    assert audition.switch() == B
    wait(1.4)
    assert audition.switch() == A
    wait(2.0)
    speaker.record(False)
    end = time.monotonic() + 20
    while not speaker.path.exists() or len(sound := soundfile.read(speaker.path)[0][:, 0]) < 48_000:
        assert time.monotonic() < end
        time.sleep(0.02)
    heard = sound[2048:-2048]
    blocks = heard[: len(heard) // 4800 * 4800].reshape(-1, 4800)
    strongest = np.abs(np.fft.rfft(blocks * np.hanning(4800), axis=1)).argmax(axis=1) * 10
    order = [int(h) for k, h in enumerate(strongest) if k == 0 or h != strongest[k - 1]]
    assert [h for h in order if h in (220, 330)] == [220, 330, 220]
    steps = np.abs(np.diff(heard, 2))
    assert steps.max() < 3 * 0.3 * (2 * np.pi * 330 / 48_000) ** 2  # as smooth as the two tones are
