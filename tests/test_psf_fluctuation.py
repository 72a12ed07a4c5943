"""Kernels of the fluctuation PSF against their statements, known correlations and known scatter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from smlm_dask.kernels.fluctuation import lag_sums
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.width import (
    correlation,
    drawn_psf,
    fit_correlation,
    two_way,
    width_parts,
    width_shape,
)
from tests.statements import fluctuation as statement


def frames(shape, dtype, seed=0):
    """Shot noise on a ramp that flickers, with two hot pixels and blinking spots."""
    rng = np.random.default_rng(seed)
    n, height, width = shape
    y, x = np.mgrid[:height, :width]
    lamp = 1 + 0.1 * rng.normal(size=(n, 1, 1))
    movie = rng.poisson((40 + y + 2 * x) * lamp).astype(float)
    for at_y, at_x in rng.uniform(0, [height, width], (5, 2)):
        spot = 200 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / 3)
        movie += rng.integers(0, 2, (n, 1, 1)) * spot
    movie[:, height // 3, width // 3] += 900 * rng.integers(0, 2, n)
    movie[:, height // 2, width - 3] += 900 * rng.integers(0, 2, n)
    return movie.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("shape", [(12, 43, 39), (7, 23, 19), (2, 9, 70), (30, 16, 15)])
def test_sums_agree_with_the_statement(shape, dtype):
    movie, reach = frames(shape, dtype), min(7, min(shape[1:]) // 2)
    found, wanted = lag_sums(movie, reach), statement.lag_sums(movie, reach)
    assert found.shape == wanted.shape
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-6 * wanted[0].max())


def test_hot_pixels_are_left_out_and_emitters_are_not():
    movie = frames((50, 48, 48), "uint16")
    within = statement.inside(48, 48)
    hot = statement.hot(movie, within)
    assert np.argwhere(hot).tolist() == [[16, 16], [24, 45]]
    pairs = lag_sums(movie, 5)[1].sum(axis=0)
    assert pairs[0, 5] == 50 * (within & ~hot).sum()


def test_batches_of_frames_do_not_show():
    """More frames than are transformed together: the sums of a window are those of its parts."""
    movie = frames((60, 32, 40), "float32")
    np.testing.assert_allclose(
        lag_sums(movie, 6)[0],
        statement.lag_sums(movie, 6)[0],
        atol=1e-6 * statement.lag_sums(movie, 6)[0].max(),
    )


def test_layout_does_not_show_and_input_stays():
    movie = frames((9, 20, 26), "uint16")
    turned = np.asfortranarray(movie)
    movie.flags.writeable = False
    np.testing.assert_array_equal(lag_sums(turned, 5), lag_sums(movie, 5))
    assert lag_sums(movie[:0], 5).shape == lag_sums(movie, 5).shape
    assert not lag_sums(movie[:0], 5).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_lost_sample_is_seen(value):
    movie = frames((9, 20, 26), "float32")
    movie[3, 10, 10] = value
    parts = width_parts(11)
    packed = width_shape(lag_sums(movie, 5)[None], (100.0, 100.0), "row")
    assert packed[parts["status"][0]] == Reason.NOT_FINITE
    assert np.isnan(packed[: parts["status"][0]]).all()


# ------------------------------------------------------------------ model and fit


@pytest.mark.parametrize("spread", [(1.44, 1.44, 0.0), (0.25, 0.16, 0.05), (3.0, 1.5, -1.2)])
def test_the_model_is_the_correlation_of_what_pixels_see(spread):
    lags = [(0, 0), (1, 0), (0, 2), (3, -1), (2, 4)]
    y, x = np.array(lags, float).T
    wanted = [statement.correlation(spread, *lag) for lag in lags]
    peak = max(wanted)
    np.testing.assert_allclose(correlation(np.array(spread), y, x), wanted, atol=2e-4 * peak)


def test_the_model_is_what_spots_at_all_places_give():
    sigma, places = 0.5, (np.arange(64) + 0.5) / 64
    edges = np.arange(-12, 13)
    share = np.diff(ndtr((edges[:, None] - places) / sigma), axis=0)
    along = np.array([(share[: 24 - i] * share[i:]).sum() / 64 for i in range(4)])
    zero = np.zeros(4)
    found = correlation(np.array([0.25, 0.25, 0.0]), np.arange(4.0), zero)
    np.testing.assert_allclose(found, along * along[0], rtol=1e-4, atol=1e-9)


def drawn(spread, reach, amplitude=50.0, pedestal=-0.02):
    y, x = np.mgrid[: reach + 1, -reach : reach + 1].astype(float)
    shape = correlation(np.array(spread), y.ravel(), x.ravel()).reshape(y.shape)
    return amplitude * shape + pedestal


@given(
    widths=st.tuples(st.floats(0.6, 2.4), st.floats(0.6, 2.4)),
    turn=st.floats(0, 3.14),
    excluded=st.sampled_from(["row", "column", "cross"]),
)
@settings(max_examples=20, deadline=None)
def test_the_fit_finds_what_was_drawn(widths, turn, excluded):
    a, b = (w * w for w in widths)
    c, s = math.cos(turn), math.sin(turn)
    spread = a * s * s + b * c * c, a * c * c + b * s * s, (a - b) * s * c
    image = drawn(spread, 12)
    noisy = image.copy()
    if excluded in ("row", "cross"):
        noisy[0] += 7
    if excluded in ("column", "cross"):
        noisy[:, 12] -= 3
    fit = fit_correlation(noisy, excluded)
    np.testing.assert_allclose(fit.spread, spread, atol=1e-4 * max(a, b))
    assert fit.amplitude == pytest.approx(50, rel=1e-3)


def test_too_few_lags_for_a_fit_are_no_answer():
    assert fit_correlation(drawn((1.0, 1.0, 0.0), 1), "row") is None


def field(sigma=(1.3, 1.3), n=12, seed=1, count=40):
    """Cells of a movie without noise: emitters that blink at random places, in pixels (y, x)."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-4, 68, (count, 2))
    edges = np.arange(65) - 0.5
    share_y, share_x = (
        np.diff(ndtr((edges[:, None] - places[:, i]) / sigma[i]), axis=0) for i in range(2)
    )
    light = rng.exponential(1000, (n * 20, count)) * (rng.random((n * 20, count)) < 0.2)
    movie = np.einsum("ye,te,xe->tyx", share_y, light, share_x).astype("f4")
    movie += rng.normal(0, 3, movie.shape)
    return np.stack([lag_sums(movie[i : i + 20], 10) for i in range(0, n * 20, 20)])


def numbers(cells, pixel=(100.0, 100.0), excluded="row"):
    parts = width_parts(cells.shape[-1])
    packed = width_shape(cells, pixel, excluded)
    return {k: packed[b : b + int(np.prod(s))].reshape(s) for k, (b, s) in parts.items()}


def test_widths_are_true_within_their_errors():
    found = [numbers(field(seed=seed)) for seed in range(20)]
    sigma, error = (np.array([f[n] for f in found]) for n in ("sigma", "sigma_error"))
    assert abs(sigma.mean() / 130 - 1) < 0.01
    assert (abs(sigma - 130) < 2 * error).sum() >= 17
    assert 0.6 < np.sqrt(np.mean(error**2)) / sigma.std() < 1.7


def test_oblong_pixels_are_exact():
    found = numbers(field((1.0, 1.6)), (160.0, 100.0))
    assert abs(found["sigma_y"] - 160) < 3 * found["sigma_y_error"] < 12
    assert abs(found["sigma_x"] - 160) < 3 * found["sigma_x_error"] < 12
    np.testing.assert_allclose(found["psf_image"], found["psf_fit"], atol=0.1)


def test_the_image_is_that_of_the_psf():
    found = numbers(field((1.1, 1.5)))
    assert found["sigma_x"] > found["sigma_y"]
    np.testing.assert_allclose(found["psf_image"], found["psf_fit"], atol=0.05)
    np.testing.assert_array_equal(found["autocorrelation"][10, 10], 1)
    near = slice(6, 15)
    beside = np.delete(np.arange(21), 10)[5:-5]
    np.testing.assert_allclose(
        found["psf_spline"][np.ix_(beside, beside)],
        found["psf_image"][np.ix_(beside, beside)],
        atol=1e-5,
    )
    assert found["psf_image"][near, near].max() < 1.05


def test_the_long_axis_turns_counter_clockwise_on_screen():
    image = drawn_psf(np.array([0, 300.0, 100.0, 45.0]), 11, (100.0, 100.0))
    assert image[3, 7] > 5 * image[3, 3]


def test_two_way_errors_count_what_cells_share():
    rng = np.random.default_rng(3)
    cells = rng.normal(size=(300, 40, 16))
    times, strips = 3 * rng.normal(size=(300, 40, 1)), 2 * rng.normal(size=(300, 1, 16))
    of_time, of_strip = 9 * 16, 4 * 40
    both = times + strips, 1 + of_time + of_strip
    for shared, wanted in ((0, 1), (times, 1 + of_time), (strips, 1 + of_strip), both):
        found = np.mean([two_way(c) for c in cells + shared]) / 640
        assert wanted * 0.9 < found < wanted * 1.35
