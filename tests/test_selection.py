"""Order statistics over frames are those of numpy, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from smlm_dask.kernels import selection
from tests.statements import selection as statement

Array = NDArray[Any]

FAST = ("bool", "int8", "uint8", "int16", "uint16", "float32")
SLOW = ("float16", "float64", "int32", "uint32", "int64", "uint64", ">u2", ">f4")
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 66, 200, 201)


def assert_same(got: Array, wanted: Array) -> None:
    """Same shape, dtype and values; NaN equals NaN."""
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def movie(dtype: str, length: int, kind: str, shape: tuple[int, int], seed: int = 0) -> Array:
    """A movie of camera-like, full-range, constant or bleaching samples."""
    rng = np.random.default_rng(seed)
    size = (length, *shape)
    if dtype == "bool":
        return rng.random(size) < 0.5
    limit = 2.0**14 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    samples = {
        "camera": limit / 4 + rng.poisson(9, size) * 1.75,
        "full": rng.uniform(-limit if np.dtype(dtype).kind in "if" else 0, limit, size),
        "constant": np.full(size, limit - 1),
        "bleaching": limit * np.linspace(0.9, 0.1, length)[:, None, None] * rng.random(size),
    }[kind]
    return samples.astype(dtype)


KINDS = ("camera", "full", "constant", "bleaching")


@settings(deadline=None)  # the first call compiles
@given(
    dtype=st.sampled_from(FAST),
    length=st.sampled_from(LENGTHS),
    kind=st.sampled_from(KINDS),
    shape=st.sampled_from([(1, 1), (2, 63), (1, 64), (3, 65), (5, 50)]),
    seed=st.integers(0, 99),
)
def test_median_and_mad_are_numpys(
    dtype: str, length: int, kind: str, shape: tuple[int, int], seed: int
) -> None:
    frames = movie(dtype, length, kind, shape, seed)
    wanted = statement.median_and_mad(frames)
    assert_same(selection.median_and_mad(frames), wanted)
    assert_same(selection.median(frames), wanted[0])


@settings(deadline=None)  # the first call compiles
@given(
    dtype=st.sampled_from(FAST),
    length=st.sampled_from(LENGTHS),
    kind=st.sampled_from(KINDS),
    share=st.floats(0, 1),
)
def test_every_rank_is_numpys(dtype: str, length: int, kind: str, share: float) -> None:
    frames = movie(dtype, length, kind, (2, 41))
    k = round(share * (length - 1))
    assert_same(selection.rank(frames, k), statement.rank(frames, k))


@settings(deadline=None)  # the first call compiles
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.float32]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
    )
)
def test_odd_samples(frames: Array) -> None:
    # hypothesis likes extremes: NaN, infinities, subnormals, the ends of a dtype
    wanted = statement.median_and_mad(frames)
    assert_same(selection.median_and_mad(frames), wanted)
    assert_same(selection.median(frames), wanted[0])
    k = len(frames) // 2
    assert_same(selection.rank(frames, k), statement.rank(frames, k))


@pytest.mark.parametrize("dtype", SLOW)
@pytest.mark.parametrize("length", [1, 4, 9])
def test_dtypes_without_a_fast_path(dtype: str, length: int) -> None:
    frames = movie(dtype, length, "full", (3, 7))
    native = frames.astype(frames.dtype.newbyteorder("="))
    wanted = statement.median_and_mad(native)
    assert_same(selection.median_and_mad(frames), wanted)
    assert_same(selection.median(frames), wanted[0])
    assert_same(selection.rank(frames, length // 2), statement.rank(native, length // 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_nan_is_nan_in_every_statistic(dtype: type, sign: int) -> None:
    frames = np.arange(12, dtype=dtype).reshape(3, 2, 2)
    frames[1, 0, 0] = np.copysign(np.nan, sign)
    lost = np.array([[True, False], [False, False]])
    for k in range(3):
        np.testing.assert_array_equal(np.isnan(selection.rank(frames, k)), lost)
    np.testing.assert_array_equal(np.isnan(selection.median(frames)), lost)
    np.testing.assert_array_equal(np.isnan(selection.median_and_mad(frames)), [lost, lost])


LARGE = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).smallest_subnormal)


@pytest.mark.parametrize(
    "samples",
    [
        [np.inf, 1, 2],
        [np.inf, np.inf, 2],
        [-np.inf, np.inf],
        [-np.inf, -np.inf, 3, np.inf],
        [LARGE, LARGE],
        [LARGE, LARGE, -LARGE],
        [0.0, -0.0, -1.0],
        [TINY, -TINY, 2 * TINY, 0],
    ],
)
def test_the_ends_of_float32(samples: list[float]) -> None:
    frames = np.array(samples, np.float32).reshape(-1, 1, 1)
    assert_same(selection.median_and_mad(frames), statement.median_and_mad(frames))
    for k in range(len(frames)):
        assert_same(selection.rank(frames, k), statement.rank(frames, k))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_no_frames_have_no_median(dtype: type) -> None:
    empty = np.empty((0, 2, 3), dtype)
    wanted = np.float64 if dtype == np.uint16 else dtype
    assert_same(selection.median(empty), np.full((2, 3), np.nan, wanted))
    assert_same(selection.median_and_mad(empty), np.full((2, 2, 3), np.nan, wanted))


@pytest.mark.parametrize("shape", [(4, 0, 3), (4, 3, 0), (0, 0, 0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_no_pixels(shape: tuple[int, int, int], dtype: type) -> None:
    frames = np.empty(shape, dtype)
    assert selection.median_and_mad(frames).shape == (2, *shape[1:])
    assert selection.median(frames).shape == shape[1:]
    if shape[0]:
        assert_same(selection.rank(frames, 0), np.empty(shape[1:], dtype))


@pytest.mark.parametrize("dtype", FAST)
def test_any_layout_and_read_only(dtype: str) -> None:
    frames = movie(dtype, 22, "full", (14, 150))
    frames.flags.writeable = False
    before = frames.copy()
    for view in (frames[:, 3:9], frames[::-2, :, ::3], frames[3:, 1:2, 140:], frames.T):
        wanted = statement.median_and_mad(np.ascontiguousarray(view))
        assert_same(selection.median_and_mad(view), wanted)
        assert_same(selection.rank(view, 2), statement.rank(view, 2))
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_result_owns_its_memory(dtype: str) -> None:
    frames = movie(dtype, 1, "camera", (4, 5))
    for result in (selection.rank(frames, 0), selection.median(frames)):
        assert result.base is None
        result[:] = 0
    assert frames.all()


def test_frame_wider_than_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "BAND_BYTES", 1500)
    for shape in ((3, 500), (40, 3), (7, 64)):
        frames = movie("uint16", 6, "full", shape)
        assert_same(selection.median_and_mad(frames), statement.median_and_mad(frames))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("length", [65_535, 65_536, 140_001])
def test_more_frames_than_a_small_counter_holds(dtype: str, length: int) -> None:
    frames = movie(dtype, length, "full", (1, 2))
    assert_same(selection.median_and_mad(frames), statement.median_and_mad(frames))
    frames[:] = 7  # all samples in one counter
    assert_same(selection.median_and_mad(frames), statement.median_and_mad(frames))


def test_dcnum_takes_the_upper_middle() -> None:
    frames = np.array([4, 1, 3, 2], np.uint8).reshape(4, 1, 1)
    assert selection.rank(frames, len(frames) // 2).item() == 3


@pytest.mark.parametrize("k", [-1, 3])
def test_no_such_rank(k: int) -> None:
    with pytest.raises(IndexError, match=f"got rank {k}, wanted 0 <= rank < 3"):
        selection.rank(np.zeros((3, 2, 2), np.uint8), k)


def test_what_has_no_order_or_frames() -> None:
    with pytest.raises(TypeError, match="got dtype complex64, wanted real"):
        selection.median(np.zeros((3, 2, 2), np.complex64))
    with pytest.raises(ValueError, match="got 2 dimensions, wanted 3"):
        selection.median_and_mad(np.zeros((3, 2), np.uint8))
