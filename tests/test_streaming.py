"""Median and MAD by counting passes are those of the whole movie, bit for bit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from smlm_dask.kernels import streaming
from smlm_dask.kernels.selection import median_and_mad
from tests.statements import selection as statement

Array = NDArray[Any]


def blocks(frames: Array, cuts: list[int]) -> list[Array]:
    """Cut a movie before these frames."""
    edges = [0, *sorted(min(cut, len(frames)) for cut in cuts), len(frames)]
    return [frames[a:b] for a, b in pairwise(edges)]


def streamed(frames: Array, cuts: list[int], first: int) -> tuple[Array, int]:
    """Median and MAD by passes over blocks, and the number of passes."""
    state, passes = streaming.start(frames[:first]), 0
    while not state.resolved:
        counts = sum(streaming.count(block, state) for block in blocks(frames, cuts))
        state = streaming.narrow(state, np.asarray(counts), len(frames))
        passes += 1
        assert passes <= 18
    return streaming.finish(state), passes


def assert_same(got: Array, wanted: Array) -> None:
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def movie(dtype: str, length: int, kind: str, seed: int) -> Array:
    """Camera-like, wide, constant or drifting samples over the range of a dtype."""
    rng = np.random.default_rng(seed)
    size = (length, 3, 21)
    top = 2.0**15 if dtype == "float32" else float(np.iinfo(dtype).max)
    ramp = np.linspace(0, 1, length)[:, None, None]
    samples = {
        "camera": top / 3 + rng.normal(0, 5, size),
        "wide": top / 2 + rng.normal(0, top / 20, size),
        "full": rng.uniform(0, top, size),
        "constant": np.full(size, top),
        "drifting": top * ramp * 0.9 + rng.uniform(0, top / 50, size),
        "jumping": top * (ramp > 0.4) * rng.uniform(0.5, 1, size),
    }[kind]
    return np.clip(samples, 0, top).astype(dtype)


@settings(deadline=None, max_examples=150)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int8", "int16", "float32"]),
    length=st.sampled_from([1, 2, 3, 4, 5, 64, 65, 150, 201]),
    kind=st.sampled_from(["camera", "wide", "full", "constant", "drifting", "jumping"]),
    cuts=st.lists(st.integers(0, 201), max_size=4),
    first=st.sampled_from([0, 1, 5, 40, 400]),
    seed=st.integers(0, 9),
    budget=st.sampled_from([0, 2**16, 2**25]),
)
def test_any_split_of_any_movie(
    dtype: str, length: int, kind: str, cuts: list[int], first: int, seed: int, budget: int
) -> None:
    frames = movie(dtype, length, kind, seed)
    wanted = statement.median_and_mad(frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "BUDGET", budget)
        got, passes = streamed(frames, cuts, first)
    assert_same(got, wanted)
    bits = 32 if dtype == "float32" else 8 * frames.itemsize
    assert passes <= 2 + 2 * -(-bits // 4)


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.bool_, np.uint8, np.int16, np.float32]),
        st.tuples(st.integers(1, 9), st.integers(1, 2), st.integers(1, 3)),
    ),
    st.lists(st.integers(0, 9), max_size=2),
    st.integers(0, 9),
)
def test_odd_samples(frames: Array, cuts: list[int], first: int) -> None:
    # NaN, infinities, subnormals, the ends of a dtype
    assert_same(streamed(frames, cuts, first)[0], median_and_mad(frames))


@pytest.mark.parametrize("length", [6, 7])
def test_nan_and_infinity(length: int) -> None:
    frames = np.arange(length * 4, dtype=np.float32).reshape(length, 1, 4)
    frames[5, 0, 0] = np.nan
    frames[1, 0, 1] = -np.copysign(np.nan, 1)
    frames[1:, 0, 2] = np.inf
    got, _ = streamed(frames, [2], 2)
    assert_same(got, statement.median_and_mad(frames))
    np.testing.assert_array_equal(
        np.isnan(got[:, 0]), [[True, True, False, False], [True, True, True, False]]
    )


def test_camera_movie_takes_one_pass() -> None:
    rng = np.random.default_rng(1)
    light = rng.uniform(15, 45, (30, 40))
    frames = (100 + 2 * rng.poisson(light, (900, 30, 40))).astype(np.uint16)
    state = streaming.start(frames[:200])
    counts = streaming.count(frames, state)
    left = streaming.narrow(state, counts, len(frames))
    assert state.bins == 64
    assert left.resolved
    assert_same(streaming.finish(left), statement.median_and_mad(frames))


def test_bright_pixels_go_on_alone() -> None:
    rng = np.random.default_rng(2)
    frames = rng.poisson(30, (300, 20, 60)).astype(np.uint16)
    frames[:, 3, 5] = rng.integers(0, 65536, 300)
    state = streaming.start(frames[:100])
    assert state.bins == 64
    state = streaming.narrow(state, streaming.count(frames, state), 300)
    assert set(state.pixel) == {3 * 60 + 5}
    got, passes = streamed(frames, [100, 200], 100)
    assert_same(got, statement.median_and_mad(frames))
    assert passes <= 4


def test_full_range_worst_case_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BUDGET", 0)  # 16 bins, as of a very large frame
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 65536, (250, 4, 8)).astype(np.uint16)
    frames[:50] = 7  # the first frames mislead
    got, passes = streamed(frames, [60], 50)
    assert_same(got, statement.median_and_mad(frames))
    assert passes <= 10


def test_counts_add_up() -> None:
    frames = movie("float32", 90, "drifting", 0)
    frames[[3, 50, 51], 0, 0] = np.nan
    state = streaming.start(frames[:40])
    for _ in range(3):
        whole = streaming.count(frames, state)
        parts = [streaming.count(block, state) for block in blocks(frames, [0, 7, 50])]
        np.testing.assert_array_equal(sum(parts), whole)
        state = streaming.narrow(state, whole, len(frames))
    assert whole.dtype == np.uint32


def test_counts_are_samples_in_bins() -> None:
    frames = movie("uint16", 70, "wide", 4)
    state = streaming.start(frames[:20])
    counts = streaming.count(frames, state)
    samples = frames.reshape(70, -1)[:, state.pixel].astype(np.int64)
    assert counts.shape == (63, 3 + state.bins)
    np.testing.assert_array_equal(counts[:, 1], (samples < state.low).sum(0))
    np.testing.assert_array_equal(counts.sum(1), 70)
    for bin_ in range(state.bins):
        inside = (samples - state.low) >> state.shift == bin_
        np.testing.assert_array_equal(counts[:, 2 + bin_], inside.sum(0))


def test_more_frames_than_16_bits_count() -> None:
    frames = np.full((140_001, 1, 2), 5, np.uint8)
    frames[:60_000, 0, 1] = 9
    assert_same(streamed(frames, [65_536], 10)[0], statement.median_and_mad(frames))


@pytest.mark.parametrize("shape", [(5, 0, 3), (5, 3, 0), (0, 0, 0)])
def test_no_pixels(shape: tuple[int, int, int]) -> None:
    frames = np.zeros(shape, np.uint16)
    got, passes = streamed(frames, [], 5)
    assert got.shape == (2, *shape[1:])
    assert passes == 0


def test_no_frames() -> None:
    frames = np.zeros((0, 2, 3), np.uint16)
    got, _ = streamed(frames, [], 5)
    assert_same(got, np.full((2, 2, 3), np.nan))


def test_inputs_are_left_alone() -> None:
    frames = movie("uint16", 60, "full", 5)[:, ::-1, ::2]
    frames.flags.writeable = False
    state = streaming.start(frames[:20])
    before = [np.copy(part) for part in vars(state).values() if isinstance(part, np.ndarray)]
    counts = streaming.count(frames, state)
    counts.flags.writeable = False
    streaming.narrow(state, counts, 60)
    after = [part for part in vars(state).values() if isinstance(part, np.ndarray)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_resolved_state_counts_nothing() -> None:
    frames = np.full((9, 4, 4), 3, np.uint16)
    state = streaming.start(frames)
    state = streaming.narrow(state, streaming.count(frames, state), 9)
    assert state.resolved
    assert streaming.count(frames, state).shape[0] == 0


def test_errors_say_what_is_wanted() -> None:
    frames = movie("uint16", 30, "full", 6)
    state = streaming.start(frames)
    with pytest.raises(TypeError, match="got dtype float64, wanted bool, an integer of 8 or 16"):
        streaming.start(frames.astype(float))
    with pytest.raises(ValueError, match=r"got frames \(3, 20\) of uint16, wanted \(3, 21\)"):
        streaming.count(frames[:, :, 1:], state)
    with pytest.raises(ValueError, match=r"got frames .* of uint8, wanted .* of uint16"):
        streaming.count(frames.astype(np.uint8), state)
    with pytest.raises(ValueError, match="got 63 open searches, wanted none"):
        streaming.finish(state)
