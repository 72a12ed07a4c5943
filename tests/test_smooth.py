"""Smoothing kernels against smlmlp's recorded backgrounds, scipy and a numpy statement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from smlm_dask.kernels.smooth import gaussian_taps, noise_factor, seed_noise_factor, smooth
from tests.statements import smooth as statement

REFERENCE = Path(__file__).parent / "reference" / "smlmlp"
CASES = [
    case
    for case in json.loads((REFERENCE / "manifest.json").read_text())["cases"]
    if case["function"] == "bkgd_spatial_mean"
]
CHANNELS = [(case, channel) for case in CASES for channel in range(len(case["inputs"]))]


def scipy_smooth(frames, taps_y, taps_x):
    along_y = ndimage.correlate1d(frames.astype(np.float32), taps_y, axis=1, mode="nearest")
    return ndimage.correlate1d(along_y, taps_x, axis=2, mode="nearest")


def radii(case, channel):
    wanted = np.asarray(case["args"]["channels_mean_radii_pix"], float)
    return np.broadcast_to(wanted, (2,)) if wanted.ndim < 2 else wanted[channel]


def movie(case, channel):
    args = case["args"]
    with np.load(REFERENCE / f"input_{case['inputs'][channel]}.npz") as stored:
        return stored["stack"][: args["first_frames"]].astype(args["dtype"])


@pytest.mark.parametrize(("case", "channel"), CHANNELS, ids=lambda v: str(v)[:60])
def test_backgrounds_taps_and_noise_are_bit_equal_to_the_reference(case, channel):
    taps_y, taps_x = (gaussian_taps(radius / 2) for radius in radii(case, channel))
    initial = (case["args"]["noise_corrections"] or [1.0] * len(case["inputs"]))[channel]
    with np.load(REFERENCE / case["file"]) as stored:
        for axis, taps in {"y": taps_y, "x": taps_x}.items():
            difference = -taps
            difference[len(taps) // 2] += np.float32(1)
            known = stored[f"info_spatial_mean_kernels_{axis}__{channel}"]
            np.testing.assert_array_equal(difference, known)
        result = smooth(movie(case, channel), taps_y, taps_x)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, stored[f"bkgd__{channel}"])
        factor = seed_noise_factor(taps_y, taps_x)
        assert factor.dtype == np.float32
        assert initial * factor == stored["noise_corrections"][channel]


def test_taps_are_bit_equal_to_the_reference():
    with np.load(REFERENCE / "case_kernel_038.npz") as stored:
        assert len(stored.files) == 8
        for name in stored.files:
            taps = gaussian_taps(float(name.removeprefix("sigma_")))
            assert taps.dtype == np.float32
            np.testing.assert_array_equal(taps, stored[name])


@given(sigma=st.floats(0.2, 40))
@settings(max_examples=40, deadline=None)
def test_taps_agree_with_the_statement_and_sum_to_one(sigma):
    taps = gaussian_taps(sigma)
    np.testing.assert_allclose(taps, statement.gaussian_taps(sigma), rtol=3e-7, atol=1e-9)
    assert taps.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(taps, taps[::-1])


def test_sigma_zero_changes_nothing():
    frames = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    taps = gaussian_taps(0)
    np.testing.assert_array_equal(taps, np.ones(1, np.float32))
    np.testing.assert_array_equal(smooth(frames, taps, taps), frames)


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf")])
def test_an_impossible_sigma_raises(sigma):
    with pytest.raises(ValueError, match="sigma"):
        gaussian_taps(sigma)


@pytest.mark.parametrize("taps", [[0.5, 0.5], [0.2, 0.5, 0.3], [[1.0]], []])
def test_taps_without_a_centre_or_symmetry_raise(taps):
    with pytest.raises(ValueError, match="symmetric"):
        smooth(np.zeros((1, 4, 4)), taps, [1.0])


DTYPES = ["bool", "uint8", "uint16", "int32", "int64", "float16", "float32", "float64", ">u2"]


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 90), st.integers(1, 140)),
    sigmas=st.tuples(st.floats(0, 12), st.floats(0, 12)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_bit_equal_to_scipy_and_to_the_statement(shape, sigmas, dtype, seed):
    frames = np.random.default_rng(seed).gamma(2, 60, shape).clip(0, 255).astype(dtype)
    taps = [gaussian_taps(sigma) for sigma in sigmas]
    result = smooth(frames, *taps)
    np.testing.assert_array_equal(result, scipy_smooth(frames, *taps))
    np.testing.assert_array_equal(result, statement.smooth(frames, *taps))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 200), (2, 200, 1), (3, 64, 64), (2, 65, 129)])
def test_taps_longer_than_the_frame_repeat_the_edge(shape):
    frames = np.random.default_rng(1).normal(100, 30, shape).astype(np.float32)
    taps = gaussian_taps(60)
    np.testing.assert_array_equal(smooth(frames, taps, taps), scipy_smooth(frames, taps, taps))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_sample_spreads_over_the_taps_only(bad):
    frames = np.random.default_rng(2).normal(100, 5, (2, 70, 150)).astype(np.float32)
    frames[1, 30, 63] = bad
    taps_y, taps_x = gaussian_taps(3.5), gaussian_taps(2)
    result = smooth(frames, taps_y, taps_x)
    np.testing.assert_array_equal(result, scipy_smooth(frames, taps_y, taps_x))
    expected = np.zeros(frames.shape, bool)
    expected[1, 20:41, 57:70] = True
    np.testing.assert_array_equal(~np.isfinite(result), expected)


def test_chunks_of_frames_change_nothing_and_many_batches_agree():
    frames = np.random.default_rng(3).poisson(200, (37, 60, 50)).astype(np.uint16)
    taps = gaussian_taps(3.5)
    whole = smooth(frames, taps, taps)
    parts = [smooth(frames[i : i + 5], taps, taps) for i in range(0, 37, 5)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(whole, scipy_smooth(frames, taps, taps))


@pytest.mark.parametrize("shape", [(0, 5, 6), (2, 0, 6), (2, 5, 0)])
def test_empty_blocks(shape):
    taps = gaussian_taps(1)
    result = smooth(np.zeros(shape, np.uint16), taps, taps)
    assert result.shape == shape
    assert result.dtype == np.float32


def test_input_may_be_read_only_and_strided_and_stays_as_it_was():
    movie = np.random.default_rng(4).poisson(90, (40, 6, 66)).astype(np.uint16)
    before = movie.copy()
    movie.flags.writeable = False
    frames = movie.transpose(1, 0, 2)[::2, ::-1]
    taps = gaussian_taps(1.5)
    result = smooth(frames, taps, taps)
    assert result.flags.owndata
    np.testing.assert_array_equal(result, scipy_smooth(frames.copy(), taps, taps))
    np.testing.assert_array_equal(movie, before)


@given(sigmas=st.tuples(st.floats(0, 15), st.floats(0, 15)))
@settings(max_examples=30, deadline=None)
def test_noise_factor_is_the_norm_of_the_operator(sigmas):
    taps = [gaussian_taps(sigma) for sigma in sigmas]
    exact = statement.noise_factor(*taps)
    assert noise_factor(*taps) == pytest.approx(exact, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("radius", "truth", "seed"),
    [(7, 0.990, 0.853), (3, 0.946, 0.659), (2, 0.881, 0.502), (1, 0.576, 0.149)],
)
def test_noise_factors_have_their_known_values(radius, truth, seed):
    taps = gaussian_taps(radius / 2)
    assert noise_factor(taps, taps) == pytest.approx(truth, abs=5e-4)
    assert seed_noise_factor(taps, taps) == pytest.approx(seed, abs=5e-4)


@pytest.mark.parametrize(
    ("radii", "truth"),
    [
        ((7, 7), 0.99019),
        ((3, 3), 0.94603),
        ((2, 2), 0.88115),
        ((1, 1), 0.57576),
        ((6, 10), 0.99193),
        ((2, 7), 0.96640),
        ((1, 4), 0.89517),
        ((7, 1), 0.94108),
    ],
)
def test_noise_factor_is_what_white_noise_keeps(radii, truth):
    noise = np.random.default_rng(5).normal(size=(40, 192, 192)).astype(np.float32)
    taps = [gaussian_taps(radius / 2) for radius in radii]
    rest = (noise - smooth(noise, *taps))[:, 16:-16, 16:-16]
    # 1.0e6 samples, with as many of the noise in the same pixels: the ratio is known to 0.05 %.
    ratio = rest.std() / noise[:, 16:-16, 16:-16].std()
    assert ratio == pytest.approx(noise_factor(*taps), rel=2e-3)
    assert noise_factor(*taps) == pytest.approx(truth, abs=6e-6)
