"""Maps of a mind's space: what they ask is kept, what was stopped goes on, and the files are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pieces.errors import DescantError
from pieces.minds.mind import Settings
from pieces.minds.space import grid
from pieces.minds.surgery import fingerprint
from studio.atlas import Asked, Atlas, Sizes, operations_of
from studio.commands.mind_space import coast, line, plane

SIZES = Sizes(radius=1.0, cells=2, depth=1, directions=3, furthest=1.0)


def atlas(folder: Path, progress=lambda stage, done, total: None, **more) -> Atlas:
    return Atlas(Asked(settings=Settings(1), batch=2, **more), "a cat", folder, progress)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Atlas:
    return atlas(tmp_path_factory.mktemp("sweeps"))


class Stopped(Exception):
    """Somebody pressed Ctrl-C."""


def test_a_line_that_was_stopped_goes_on_where_it_was(tmp_path):
    drawn = []

    def stop(stage, done, total):
        drawn.append((stage, done))
        if (stage, done) == ("draw", 2):
            raise Stopped

    shares = np.linspace(-1, 2, 7)
    with pytest.raises(Stopped):
        atlas(tmp_path, stop).line("a dog", shares)
    kept = sorted(tmp_path.glob("*/batch-*.npz"))
    assert len(kept) == 2
    before = [p.stat().st_mtime_ns for p in kept]
    again = atlas(tmp_path)
    strip = again.line("a dog", shares)
    assert [p.stat().st_mtime_ns for p in kept] == before, "what was kept is not drawn again"
    assert strip.pictures.shape == (7, 1, 64, 64, 3)
    assert strip.scores.shape == (7, 9)
    assert len(list(tmp_path.glob("*/batch-*.npz"))) == 4
    again.forget()
    assert not list(tmp_path.iterdir())


def test_other_questions_are_kept_apart(opened, tmp_path):
    one = opened.around(0.5, 2)
    other = opened.around(0.9, 2)
    assert (one.pictures != other.pictures).any()
    seeded = atlas(tmp_path, seed=1).around(0.5, 2)
    assert (one.pictures != seeded.pictures).any()


def test_a_plane_is_read_like_a_page_and_its_middle_is_the_prompt(opened):
    wide, close = opened.plane("a dog", "", 0.6, 3, 2, 0.2)
    assert (wide.radius, close.radius) == pytest.approx((0.6, 0.2))
    np.testing.assert_array_equal(grid(3, 0.6)[4], [0, 0])
    apart = np.abs(wide.pictures[4].astype(int) - close.pictures[4])
    assert apart.max() <= 1, "both have the prompt in the middle"
    assert (wide.pictures[0] != close.pictures[0]).any()
    places = opened.places("a dog", "")
    assert places["a cat"] == pytest.approx((0, 0), abs=1e-9)
    assert places["a dog"][0] > 0.1
    assert places["a dog"][1] == pytest.approx(0, abs=1e-6)


def test_a_coast_is_charted_in_every_state_and_the_mind_is_as_before(opened):
    before = fingerprint(opened.mind.modules)
    broken = operations_of(opened.mind, "noise", [1.0], 0)
    whole, damaged = opened.coast("", "", SIZES, broken)
    assert fingerprint(opened.mind.modules) == before
    assert (whole.label, damaged.label) == ("", "noise 1")
    assert whole.coast.asked.sum() >= 9
    assert len(whole.radii.middle) == SIZES.directions
    assert whole.extent.radius >= damaged.extent.radius == 0.0, "noise alone draws no cat"


@pytest.mark.parametrize(("kind", "strength"), [("noise", 1.5), ("down", -0.1), ("up", 0.5), ("hal", 2.0)])
def test_a_strength_that_a_surgery_does_not_have_is_refused(opened, kind, strength):
    with pytest.raises(DescantError, match=f"strength .* of {kind}: allowed are"):
        operations_of(opened.mind, kind, [strength], 0)


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (line, ["--pictures", "3", "--noises", "2"]),
        (plane, ["--side", "2", "--zooms", "2", "--right", "a dog"]),
        (plane, ["--around", "2"]),
        (
            coast,
            ["--cells", "2", "--depth", "0", "--directions", "2", "--surgery", "down", "--strengths", "0.5", "--json"],
        ),
    ],
    ids=["line", "plane", "around", "coast"],
)
def test_commands_write_a_map_and_say_where(command, given, tmp_path, monkeypatch):
    monkeypatch.setenv("DESCANT_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(command, [*given, "--steps", "1", "--quiet", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    (made,) = tmp_path.glob("*.png")
    if command is coast:
        told = json.loads(result.stdout)
        assert told["map"] == str(made)
        assert [s["state"] for s in told["shores"]] == ["as it is", "down 0.5"]
        assert told["shores"][0]["low"] <= told["shores"][0]["radius"] <= told["shores"][0]["high"]
    else:
        assert result.stdout.strip() == str(made)
    picture = np.asarray(Image.open(made).convert("RGB"))
    assert min(picture.shape[:2]) >= 250
    assert picture.std() > 20
    assert not list((tmp_path / "home" / "sweeps").glob("*")), "nothing is left lying about"


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (coast, ["--strengths", "0.1"], "--strengths are those of a --surgery"),
        (coast, ["--surgery", "noise", "--strengths", "much"], "give numbers with commas"),
        (line, ["--steps", "0"], "not in the range"),
        (plane, ["--radius", "nan"], "not"),
    ],
)
def test_what_makes_no_sense_is_said(command, given, said, tmp_path):
    result = CliRunner().invoke(command, [*given, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert said in result.output
