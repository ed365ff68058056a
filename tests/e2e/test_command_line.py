"""The command line as a user meets it: real processes, real files, real errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "librosa",
    "pyo",
    "textual",
    "matplotlib",
    "sqlalchemy",
    "scipy",
    "numpy",
)
SHORT = ("--ticks", 120, "--quiet")


def mix_of(take: dict[str, object]) -> Path:
    media = take["media"]
    assert isinstance(media, list)
    return Path(next(m["path"] for m in media if m["role"] == "mix"))


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom studio.cli import main\nsys.argv = ['descant', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "compose" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("module", ["pieces.source", "pieces.training.digits", "sonify.score", "studio.catalogue"])
def test_rooms_import_no_torch_and_no_sound_engine(module):
    code = f"import sys, {module}\nprint([m for m in ('torch', 'pyo', 'librosa', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_take_from_compose_to_export(descant, tmp_path):
    out = tmp_path / "out"
    done = descant("compose", "cubics", "--seed", 3, "--ticks", 300, "--out", out, "--stems", "--video")
    take_id = re.search(r"take +(\S+)", done.stdout)[1]
    listed = json.loads(descant("takes", "--json").stdout)
    assert [t["id"] for t in listed] == [take_id]
    assert {"piece", "status", "created", "duration_s", "parents", "retention", "origin"} <= listed[0].keys()
    assert listed[0]["status"] == "done"
    assert take_id in descant("takes").stdout

    wavs = sorted(out.glob("*.wav"))
    mix, stems = [w for w in wavs if "stem" not in w.name], [w for w in wavs if "stem" in w.name]
    assert len(mix) == 1
    assert len(stems) >= 2
    audio, rate = soundfile.read(mix[0], always_2d=True)
    assert pyloudnorm.Meter(rate).integrated_loudness(audio) == pytest.approx(-16, abs=0.1)
    together = sum(soundfile.read(s, always_2d=True)[0] for s in stems)
    np.testing.assert_allclose(together, audio, atol=1e-5)
    assert len(list(out.glob("*.png"))) == 1
    assert len(list(out.glob("*.mp4"))) == 1

    assert "bit for bit" in descant("replay", take_id, "--verify").stdout
    shown = json.loads(descant("show", take_id[:30], "--json").stdout)
    assert shown["signals_hash"]
    assert shown["versions"]["pyo"]
    export = descant("export", take_id, "--to", tmp_path / "x", "--format", "wav,flac,png,csv,parquet,jsonl")
    files = [Path(line) for line in export.stdout.split()]
    assert all(f.stat().st_size > 0 for f in files if f.suffix)
    flac, _ = soundfile.read(next(f for f in files if f.suffix == ".flac"), always_2d=True)
    np.testing.assert_allclose(flac, audio, atol=2**-22)
    csv = next(f for f in files if f.suffix == ".csv").read_text().splitlines()
    assert len(csv) == 1 + shown["ticks"]
    assert "clean" in descant("archive", "check").stdout


def test_out_without_stems_receives_exactly_one_wav(descant, tmp_path):
    descant("compose", "cubics-paper", *SHORT, "--out", tmp_path / "one")
    assert len(list((tmp_path / "one").glob("*.wav"))) == 1


def test_a_piece_edited_by_hand_is_performed(descant, tmp_path, error):
    text = descant("pieces", "cubics-robust", "--toml").stdout
    mine = tmp_path / "my.toml"
    mine.write_text(text.replace("[master]", "[master]\nloudness = -20.0"))
    take_id = descant("compose", mine, *SHORT).stdout.strip()
    shown = json.loads(descant("show", take_id, "--json").stdout)
    assert shown["render"]["loudness"] == pytest.approx(-20, abs=0.1)

    mine.write_text(text.replace('instrument = "partials"', 'instrument = "partial"'))
    line = error("compose", mine)
    assert "my.toml" in line
    assert "did you mean 'partials'" in line
    mine.write_text(re.sub(r"rate = [\d.]+", "rate = -3", text))
    line = error("compose", mine)
    assert re.search(r"my\.toml: parts\.\w+\.rate = -3", line)
    assert "greater than 0" in line
    mine.write_text(text + "\nnonsense = [")
    assert "not TOML" in error("compose", mine)
    mine.write_bytes(b"\xff\xfe\x00")
    assert "my.toml" in error("compose", mine)


def test_same_seed_same_take_other_seed_another(descant):
    ids = [descant("compose", "cubics", "--seed", s, *SHORT).stdout.strip() for s in (1, 1, 2)]
    takes = [json.loads(descant("show", i, "--json").stdout) for i in ids]
    assert takes[0]["signals_hash"] == takes[1]["signals_hash"] != takes[2]["signals_hash"]
    hashes = [t["render"]["samples_hash"] for t in takes]
    assert hashes[0] == hashes[1] != hashes[2]


def test_controls_are_set_from_the_command_line(descant, error):
    take_id = descant("compose", "cubics", *SHORT, "--set", "learning_rate=0.02").stdout.strip()
    assert json.loads(descant("show", take_id, "--json").stdout)["controls"]["cubics"]["learning_rate"] == 0.02
    line = error("compose", "cubics", "--set", "learning_rate=1e9")
    assert "learning_rate" in line
    assert "allowed are numbers from" in line
    assert "did you mean 'learning_rate'" in error("compose", "cubics", "--set", "learningrate=1")
    assert "part.control=value" in error("compose", "cubics", "--set", "rubbish", code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compose", "cubic"), "did you mean 'cubics'"),
        (("compose", "nothing-like-it-at-all"), "known are"),
        (("compose", "missing.toml"), "missing.toml: cannot be read"),
        (("compose", "missing.py"), "no source file"),
        (("sources", "digit"), "did you mean 'digits'"),
        (("pieces", "knot", "--toml"), "did you mean 'knots'"),
        (("steer", "cubics", "--audience", "listner"), "did you mean 'listener'"),
        (("steer", "cubics", "--steerer", "gpp"), "did you mean 'gp'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(error, words, said):
    assert said in error(*words)


def test_an_unknown_take_is_one_line(descant, error):
    descant("compose", "cubics", *SHORT)
    for verb in (("show",), ("play",), ("resume",), ("export",), ("replay", "--verify")):
        assert "nothing" in error(verb[0], "nothing", *verb[1:])


def test_wrong_usage_exits_2(error):
    for words in (
        ("compose",),
        ("compose", "cubics", "--seed", "x"),
        ("nonsense",),
        ("export", "t", "--format", "ogg"),
    ):
        error(*words, code=2)


def test_every_list_has_json(descant):
    assert {s["name"] for s in json.loads(descant("sources", "--json").stdout)} >= {
        "cubics",
        "knots",
        "digits",
        "landscape",
    }
    assert {p["name"] for p in json.loads(descant("pieces", "--json").stdout)} >= {
        "cubics-paper",
        "cubics-code",
        "cubics-robust",
    }
    for name in ("cubics", "knots", "digits", "landscape", "series"):
        card = json.loads(descant("sources", name, "--json").stdout)
        assert card["controls"] or name == "series"
        assert name in descant("sources", name).stdout
    assert json.loads(descant("takes", "--json").stdout) == []
    assert "no takes yet" in descant("takes").stdout


def test_archives_that_are_none(error, tmp_path):
    text = tmp_path / "text.db"
    text.write_text("dear diary, this is no database at all\n" * 100)
    assert "text.db" in error("--archive", text, "takes")
    assert text.read_text().startswith("dear diary")
    assert error("--archive", tmp_path, "takes")
    assert error("--archive", "nosuchdialect://x/y", "takes")


def test_doctor_says_what_works(descant):
    found = {f["what"]: f for f in json.loads(descant("doctor", "--json").stdout)}
    assert found["python"]["ok"] == "yes"
    assert found["archive"]["ok"] == "yes"
    assert found["video"]["ok"] == "yes"
    assert found["sound device"]["ok"] in ("yes", "-")


def test_reading_verbs_make_no_archive_where_a_name_is_misspelt(error, tmp_path):
    assert "no archive there" in error("--archive", tmp_path / "archvie.db", "takes")
    assert not (tmp_path / "archvie.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("compose", "cubics", "--duration", "nan"),
        ("compose", "cubics", "--duration", "inf"),
        ("archive", "gc", "--scratch-days", "nan"),
        ("takes", "--limit", "99999999999999999999"),
        ("export", "latest", "--format", ","),
    ],
)
def test_numbers_that_are_none_are_wrong_usage(error, words):
    error(*words, code=2)


BAD = """
descant = 1
title = "bad"
[parts.cubics]
source = "cubics"
rate = 50
ticks = 20
[score.voices.tone]
instrument = "glide"
lanes = { pitch = { channel = "loss", range = ["A2", "A5"] } }
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rate = 50", "rate = nan", "parts.cubics.rate = nan"),
        ("ticks = 20", "ticks = 20\nspeed = 3", "parts.cubics.speed: no such field"),
        ('channel = "loss"', 'channel = "los"', "did you mean 'loss'"),
        ("lanes = {", 'part = "nope"\nlanes = {', "score.voices.tone.part = 'nope'"),
        ('instrument = "glide"', 'instrument = "pluck"\non = ["nope"]', "cubics has no event 'nope'"),
        ('["A2", "A5"]', '["A5", "A2"]', "must rise"),
        ('title = "bad"', 'title = "bad"\n[picture]\nview = "knots"', "view 'knots' needs channel"),
        ('title = "bad"', 'title = "bad"\n[picture]\noptions = { nope = 1 }', "no option 'nope'"),
        ('title = "bad"', 'title = "bad"\n[[knobs]]\npath = "parts.nope.x"\nrange = [0, 1]', "nothing is there"),
        ('title = "bad"', 'title = "bad"\n[[knobs]]\npath = "parts.cubics.rate"\nrange = [1, inf]', "knobs.0.range"),
        ("descant = 1", "descant = 2", "newer Descant"),
    ],
)
def test_a_piece_that_is_wrong_is_refused_before_anything_is_performed(descant, error, tmp_path, old, new, said):
    text = BAD.replace(old, new)
    (tmp_path / "bad.toml").write_text(text)
    line = error("compose", "bad.toml", "--quiet")
    assert line.startswith("descant: bad.toml: ")
    assert said in line
    assert json.loads(descant("takes", "--json").stdout) == []


def test_a_damaged_mix_is_rendered_again_bit_for_bit(descant, tmp_path):
    take = descant("compose", "cubics", *SHORT).stdout.strip()
    mix = mix_of(json.loads(descant("show", take, "--json").stdout))
    whole = mix.read_bytes()
    for damage in (b"", whole[:-1000] + bytes(1000)):
        mix.write_bytes(damage)
        assert "damaged" in descant("archive", "check", code=1).stdout
        file = Path(descant("export", take, "--to", tmp_path / "x", "--format", "wav").stdout.strip())
        assert file.read_bytes() == whole
    mix.unlink()
    descant("export", take, "--to", tmp_path / "x", "--format", "flac")
    assert mix.read_bytes() == whole
    assert "clean" in descant("archive", "check").stdout
