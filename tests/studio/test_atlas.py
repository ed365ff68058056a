"""Maps of a mind's space: what they ask is kept, what was stopped goes on, and the files are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import find_objects, label

from pieces.errors import DescantError
from pieces.minds.coast import Radii, extent, survey
from pieces.minds.concepts import CONCEPTS
from pieces.minds.mind import Settings
from pieces.minds.space import grid
from pieces.minds.surgery import fingerprint
from studio.atlas import Asked, Atlas, Panel, Shore, Sizes, operations_of
from studio.commands.mind_space import coast, line, plane
from studio.maps import draw_coast, draw_plane, facts, table
from studio.pictures.canvas import GROUND

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
    assert damaged.extent.bound == "no island", "noise alone draws no cat"


@pytest.mark.parametrize(("kind", "strength"), [("noise", 1.5), ("down", -0.1), ("up", 0.5), ("hal", 2.0)])
def test_a_strength_that_a_surgery_does_not_have_is_refused(opened, kind, strength):
    with pytest.raises(DescantError, match=f"strength .* of {kind}: allowed are"):
        operations_of(opened.mind, kind, [strength], 0)


def test_a_strength_that_reaches_no_module_is_refused(opened):
    with pytest.raises(DescantError, match=r"strength 0\.001 of hal is none of 184 modules"):
        operations_of(opened.mind, "hal", [0.1, 0.001], 0)


def test_a_strength_is_refused_before_the_mind_is_opened(tmp_path):
    result = CliRunner().invoke(coast, ["no-such-mind", "--surgery", "noise", "--strengths", "0.1,2"])
    assert str(result.exception) == "strength 2 of noise: allowed are 0 to 1"
    other = CliRunner().invoke(coast, ["no-such-mind", "--surgery", "noise", "--strengths", "0.1", "--out", tmp_path])
    assert "no-such-mind" in str(other.exception), "else it is the mind that there is not"


def shore(label: str, *true: float, furthest: float = 2.0) -> Shore:
    """A round island, and radii that end at a distance; at 0 there is none."""
    size = max(float(np.median(true)), 0.01)
    chart = survey(lambda p: 1 / (1 + np.exp(8 * (np.hypot(*p.T) - min(size, 1.7)))) * (true[0] > 0), 2.0, depth=1)
    values = np.array(true)
    found = Radii(np.minimum(values, furthest), np.minimum(values, furthest), values >= furthest)
    return Shore(label, chart, found, extent(found))


WHOLE = shore("", *np.linspace(1.0, 1.4, 8))
OPEN = shore("up 1.1", 0.9, 1.2, 1.3, *[3.0] * 5)
LOST = shore("up 1.3", *[0.0] * 8)


def test_what_is_not_known_is_not_told():
    whole, unknown, lost = json.loads(json.dumps(facts([WHOLE, OPEN, LOST]), allow_nan=False))
    assert (whole["bound"], unknown["bound"], lost["bound"]) == ("measured", "at least", "no island")
    assert 1.0 <= whole["low"] < whole["radius"] < whole["high"] <= 1.4
    assert (unknown["radius"], unknown["high"], unknown["closed"]) == (2.0, None, True)
    assert (lost["radius"], lost["low"], lost["high"]) == (0.0, None, None)
    first, second, third = table([WHOLE, OPEN, LOST])
    assert (first["state"], first["radius"]) == ("as it is", "1.20")
    assert (second["radius"], second["95%"]) == (">= 2.00", f"{OPEN.extent.low:.2f} and more")
    assert (third["radius"], third["95%"], third["closed"]) == ("no island", "-", "-")


def test_a_map_shows_views_where_they_are_and_bounds_other_than_measures(tmp_path):
    """Its left half is the chart, its lower right quarter the extents."""
    views = Panel(1.8, np.full((36, 1, 8, 16, 3), (255, 0, 255), np.uint8), np.zeros((36, 9)))

    def drawn(*shores: Shore) -> np.ndarray:
        draw_coast(tmp_path / "map.png", shores, views, "a cat", {"a cat": (0.0, 0.0)}, "")
        return np.asarray(Image.open(tmp_path / "map.png").convert("RGB")).astype(int)

    whole, again, unknown, lost = (drawn(WHOLE, s) for s in (WHOLE, WHOLE, OPEN, LOST))
    assert (whole == again).all()
    pink = (whole[..., 0] > 200) & (whole[..., 1] < 60) & (whole[..., 2] > 200)
    height, width = whole.shape[:2]
    assert pink[:, : width * 6 // 10].mean() > 0.03
    assert not pink[:, width * 6 // 10 :].any()
    assert label(pink)[1] >= 36, "apart from one another"
    quarters = [image[height * 55 // 100 :, width * 62 // 100 :] for image in (whole, unknown, lost)]
    assert (quarters[0] != quarters[1]).any(axis=-1).mean() > 0.005
    assert (quarters[1] != quarters[2]).any(axis=-1).mean() > 0.005


def boxes(found: np.ndarray) -> list[tuple[int, int]]:
    """Height and width of what hangs together, the largest first."""
    places = [[s.stop - s.start for s in where] for where in find_objects(label(found)[0])]
    return sorted(((height, width) for height, width in places), key=lambda box: -box[0] * box[1])


@pytest.mark.parametrize(("height", "width"), [(24, 48), (48, 24), (40, 40)])
def test_a_plane_shows_pictures_as_wide_as_they_are(height, width, tmp_path):
    pictures = np.full((9, 1, height, width, 3), (255, 0, 255), np.uint8)
    draw_plane(tmp_path / "plane.png", [Panel(1.0, pictures, np.eye(9))], CONCEPTS, {"a cat": (9.0, 9.0)}, "")
    drawn = np.asarray(Image.open(tmp_path / "plane.png").convert("RGB")).astype(int)
    shown = boxes((drawn[..., 0] > 200) & (drawn[..., 1] < 60) & (drawn[..., 2] > 200))
    assert len(shown) == 9
    for high, wide in shown:
        assert wide / high == pytest.approx(width / height, rel=0.03)


def test_a_line_of_wide_pictures_is_drawn_as_wide_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCANT_HOME", str(tmp_path / "home"))
    given = ["--height", "48", "--width", "96", "--steps", "1", "--pictures", "2", "--quiet", "--out", str(tmp_path)]
    result = CliRunner().invoke(line, given)
    assert result.exit_code == 0, result.output
    drawn = np.asarray(Image.open(result.stdout.strip()).convert("RGB")).astype(int)
    upper = drawn[: len(drawn) * 45 // 100]
    for high, wide in boxes(np.abs(upper - GROUND).max(axis=2) > 30)[:2]:
        assert high > 80
        assert wide / high == pytest.approx(2, rel=0.06)


def test_memory_that_runs_out_is_told_once_the_map_is_there(tmp_path, monkeypatch):
    from diffusers.models.autoencoders.vae import Decoder, DecoderTiny
    from torch import OutOfMemoryError
    from torch.nn.modules.module import register_module_forward_pre_hook

    monkeypatch.setenv("DESCANT_HOME", str(tmp_path / "home"))

    def full(module, given):
        if isinstance(module, Decoder | DecoderTiny) and len(given[0]) > 2:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    def told(*more: str) -> list[str]:
        given = ["--from", "a zebra", "--pictures", "6", "--steps", "1", "--out", str(tmp_path), *more]
        result = CliRunner().invoke(line, given)
        assert result.exit_code == 0, result.output
        return result.stderr.splitlines()

    (unknown,) = told()
    assert "does not know zebra" in unknown
    hook = register_module_forward_pre_hook(full)
    try:
        first, halved, again = told()
        quiet = told("--quiet")
    finally:
        hook.remove()
    assert first == unknown
    assert "6 pictures at once: 3 from now on" in halved
    assert "3 pictures at once: 1 from now on" in again
    assert quiet == []


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (line, ["--pictures", "3", "--noises", "2"]),
        (plane, ["--side", "2", "--zooms", "2", "--right", "a dog"]),
        (plane, ["--around", "2"]),
        (
            coast,
            ["--cells", "2", "--depth", "0", "--directions", "6", "--surgery", "down", "--strengths", "0.5", "--json"],
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
        assert told["shores"][1]["bound"] == "no island"
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
        (coast, ["--surgery", "noise", "--strengths", ","], "give numbers with commas"),
        (line, ["--steps", "0"], "not in the range"),
        (plane, ["--radius", "nan"], "not"),
    ],
)
def test_what_makes_no_sense_is_said(command, given, said, tmp_path):
    result = CliRunner().invoke(command, [*given, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert said in result.output
