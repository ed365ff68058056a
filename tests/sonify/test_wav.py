"""WAV files: the samples as they were given, and markers where a DAW looks for them."""

import hashlib
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sonify.wav import StereoWav

RATE = 44_100


def noise(samples):
    return np.random.default_rng(samples).uniform(-1, 1, (samples, 2)).astype("float32")


def written(path, sound, **markers):
    with StereoWav(path, RATE, len(sound), **markers) as wav:
        wav.write(sound[: len(sound) // 3])
        wav.write(sound[len(sound) // 3 :])
    return path


def chunks(raw):
    """RIFF by the book: an id, a size, that many bytes, one more to an even place."""
    assert raw[:4] == b"RIFF"
    assert raw[8:12] == b"WAVE"
    assert struct.unpack("<I", raw[4:8])[0] == len(raw) - 8
    return inside(raw[12:])


def inside(raw):
    found, at = [], 0
    while at < len(raw):
        name, size = struct.unpack_from("<4sI", raw, at)
        assert at + 8 + size <= len(raw)
        found.append((name, raw[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    assert at == len(raw)
    return found


def markers(path):
    """Sample and label of each cue point, as a DAW finds them."""
    found = chunks(path.read_bytes())
    assert [name for name, _ in found] == [b"fmt ", b"fact", b"data", b"cue ", b"LIST"]
    cue, listed = found[3][1], found[4][1]
    (count,) = struct.unpack_from("<I", cue)
    assert len(cue) == 4 + 24 * count
    points = [struct.unpack_from("<II4sIII", cue, 4 + 24 * i) for i in range(count)]
    assert all(p[2] == b"data" and p[3] == p[4] == 0 and p[1] == p[5] for p in points)
    assert listed[:4] == b"adtl"
    labels = {}
    for name, body in inside(listed[4:]):
        assert name == b"labl"
        assert body.endswith(b"\0")
        labels[struct.unpack_from("<I", body)[0]] = body[4:-1].decode()
    assert sorted(labels) == sorted(p[0] for p in points)
    return [(p[5], labels[p[0]]) for p in points]


@pytest.mark.parametrize("given", [{}, {"markers": ()}])
def test_a_file_without_markers_is_the_plainest_float_wav(tmp_path, given):
    sound = noise(1000)
    head = struct.pack("<4sI4s", b"RIFF", 50 + 8000, b"WAVE")
    head += struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, 2, RATE, RATE * 8, 8, 32, 0)
    head += struct.pack("<4sII4sI", b"fact", 4, 1000, b"data", 8000)
    assert written(tmp_path / "plain.wav", sound, **given).read_bytes() == head + sound.tobytes()


def test_markers_are_at_their_samples(tmp_path):
    given = [(0.25, "converged"), (0.0, "start"), (1.0, "coda"), (7 / RATE, "seven"), (0.25, "cliff")]
    path = written(tmp_path / "marked.wav", noise(RATE), markers=given)
    assert markers(path) == [(0, "start"), (7, "seven"), (11_025, "cliff"), (11_025, "converged"), (RATE, "coda")]


@given(st.lists(st.tuples(st.floats(-1, 2), st.text()), min_size=1, max_size=8), st.integers(1, 500))
def test_any_label_at_any_time_makes_a_sound_file(tmp_path_factory, given, samples):
    path = written(tmp_path_factory.mktemp("wav") / "a.wav", noise(samples), markers=given)
    found = markers(path)
    assert len(found) == len(given)
    assert all(0 <= at <= samples for at, _ in found)
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert all(label.isprintable() for _, label in found)
    inside = {(round(t * RATE), label) for t, label in given if 0 <= t <= samples / RATE and label.isprintable()}
    assert inside <= set(found)
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], noise(samples))


def test_samples_and_their_hash_do_not_know_of_markers(tmp_path):
    sound = noise(10_000)
    hashes = []
    for name, marked in (("plain.wav", ()), ("marked.wav", [(0.1, "a"), (0.2, "b")])):
        digest = hashlib.sha256()
        with StereoWav(tmp_path / name, RATE, len(sound), marked) as wav:
            wav.write(sound)
            for scaled in wav.scale(0.5, 3000):
                digest.update(scaled.data)
        hashes.append(digest.hexdigest())
        np.testing.assert_array_equal(soundfile.read(tmp_path / name, dtype="float32")[0], sound * np.float32(0.5))
    assert hashes[0] == hashes[1]
    assert hashes[0] == hashlib.sha256((sound * np.float32(0.5)).tobytes()).hexdigest()
    assert [label for _, label in markers(tmp_path / "marked.wav")] == ["a", "b"]


def test_half_a_file_is_no_file(tmp_path):
    def torn():
        with StereoWav(tmp_path / "torn.wav", RATE, 100, [(0.0, "a")]) as wav:
            wav.write(noise(10))
            raise KeyError("torn")

    with pytest.raises(KeyError, match="torn"):
        torn()
    assert not (tmp_path / "torn.wav").exists()
