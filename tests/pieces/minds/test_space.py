"""Lines, planes and random points among embeddings, of tokens alone and with a pooled summary."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.minds.mind import Meaning, MindError, Settings, open_mind
from pieces.minds.space import Plane, Space, grid, line, plane_through, zooms


def embedding(count: int, seed: int, pooled: bool) -> Meaning:
    """Embeddings of 5 tokens, 8 wide; the pooled summary is a hundred times as large."""
    drawn = torch.Generator().manual_seed(seed)
    asked, against = torch.randn(count, 5, 8, generator=drawn), torch.randn(1, 5, 8, generator=drawn)
    summary = (100 * torch.randn(count, 6, generator=drawn), torch.randn(1, 6, generator=drawn))
    return Meaning(asked, against.expand(count, -1, -1), summary if pooled else None)


def home(seed: int, pooled: bool) -> Meaning:
    whole = embedding(1, seed, pooled)
    return Meaning(whole.asked, whole.against, whole.pooled)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), pooled=st.booleans(), count=st.integers(1, 5))
def test_embeddings_come_back_from_vectors_and_home_has_length_one(seed, pooled, count):
    space = Space(home(seed, pooled))
    others = embedding(count, seed + 1, pooled)
    back = space.meaning(space.vectors(others))
    torch.testing.assert_close(back.asked, others.asked, rtol=1e-6, atol=1e-6)
    assert len(back) == count
    assert torch.equal(back.against, space.home.against.expand(count, -1, -1))
    assert (back.pooled is None) != pooled
    if back.pooled is not None and others.pooled is not None:
        torch.testing.assert_close(back.pooled[0], others.pooled[0], rtol=1e-6, atol=1e-4)
        assert len(back.pooled[1]) == count
    assert np.linalg.norm(space.vectors(space.home)) == pytest.approx(1)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), pooled=st.booleans(), share=st.floats(-20, 20))
def test_a_line_is_straight_in_every_embedding_also_beyond(seed, pooled, share):
    space = Space(home(seed, pooled))
    both = embedding(2, seed + 1, pooled)
    start, end = space.vectors(both)
    at = space.meaning(line(start, end, np.array([0.0, 1.0, share])))
    for found, ends in ((at.asked, both.asked), *(((at.pooled[0], both.pooled[0]),) if pooled else ())):
        wanted = torch.stack([ends[0], ends[1], ends[0] + share * (ends[1] - ends[0])])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(ends.abs().max()))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), pooled=st.booleans(), x=st.floats(-9, 9), y=st.floats(-9, 9))
def test_a_plane_has_right_angles_and_the_unit_of_home(seed, pooled, x, y):
    space = Space(home(seed, pooled))
    plane = space.plane(seed=seed)
    point = np.array([[x, y]])
    vector = plane.at(point)
    assert np.linalg.norm(vector - plane.centre) == pytest.approx(np.hypot(x, y), abs=1e-9)
    np.testing.assert_allclose(plane.place(vector), point, atol=1e-9)
    np.testing.assert_array_equal(plane.at(np.zeros((1, 2))), space.vectors(space.home))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), pooled=st.booleans(), near=st.sampled_from([1.0, 1e-2, 1e-4]))
def test_a_plane_goes_through_its_three_prompts(seed, pooled, near):
    """Also where two of them are close together, seen from the first."""
    space = Space(home(seed, pooled))
    right, other = space.vectors(embedding(2, seed + 1, pooled))
    above = right + near * (other - right)
    plane = space.plane(right, above, seed=seed)
    assert abs(plane.right @ plane.up) < 1e-9
    assert plane.place(right[None])[0] == pytest.approx([np.linalg.norm(right - plane.centre), 0.0], abs=1e-9)
    placed = plane.place(above[None])
    assert placed[0, 1] > 0
    np.testing.assert_allclose(plane.at(placed)[0], above, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.5, -2.0])
def test_three_prompts_on_one_line_span_no_plane(share):
    centre, right = np.random.default_rng(0).standard_normal((2, 12))
    with pytest.raises(MindError, match="on one line span no plane"):
        plane_through(centre, right, centre + share * (right - centre))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), pooled=st.booleans())
def test_random_directions_weigh_both_embeddings_alike(seed, pooled):
    space = Space(home(seed, pooled))
    drawn = space.directions(6, np.random.default_rng(seed))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, :40], axis=1), np.sqrt(0.5) if pooled else 1)
    again = space.directions(6, np.random.default_rng(seed))
    np.testing.assert_array_equal(drawn, again)


def test_a_home_without_length_is_refused():
    nothing = Meaning(torch.zeros(1, 5, 8), torch.zeros(1, 5, 8))
    with pytest.raises(MindError, match="one embedding that is not zero"):
        Space(nothing).vectors(nothing)


def test_a_grid_is_read_from_its_upper_left_corner_and_zooms_shrink_by_one_factor():
    np.testing.assert_allclose(grid(3, 2.0)[[0, 1, 2, 3, 8]], [[-2, 2], [0, 2], [2, 2], [-2, 0], [2, -2]])
    np.testing.assert_array_equal(grid(1, 2.0), [[0, 0]])
    sizes = zooms(4.0, 0.5, 4)
    np.testing.assert_allclose(sizes, [4, 2, 1, 0.5])


def test_a_mind_with_a_pooled_summary_draws_at_any_point_and_home_is_its_prompt(tiny_xl):
    mind = open_mind(str(tiny_xl), device="cpu")
    meaning = mind.meaning(["a cat"])
    space = Space(meaning)
    plane = space.plane(space.vectors(mind.meaning(["a dog"]))[0], seed=1)
    noise, drawn = mind.noise([5]), Settings(2)
    at_home, away = (mind.draw(space.meaning(plane.at(np.array([p]))), noise, drawn) for p in ((0, 0), (3.0, 2.0)))
    torch.testing.assert_close(at_home, mind.draw(meaning, noise, drawn), rtol=1e-3, atol=1e-4)
    assert float((away - at_home).abs().max()) > 1e-3
    assert isinstance(plane, Plane)
