"""PSF kernels against smlmlp's recorded results, scipy, numpy statements and known truth."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import curve_fit

from smlm_dask.kernels.psf import (
    GaussianFit,
    autocorrelation,
    evaluate_spline,
    fit_gaussian,
    gaussian_image,
    power_spectrum,
    psf_image,
    spline,
)
from tests.statements import psf as statement

REFERENCE = Path(__file__).parent / "reference" / "smlmlp"
CASES = [
    case
    for case in json.loads((REFERENCE / "manifest.json").read_text())["cases"]
    if case["function"] == "blink_spatial_psf"
]
CHANNELS = [(case, channel) for case in CASES for channel in range(len(case["inputs"]))]
reference = pytest.mark.parametrize(("case", "channel"), CHANNELS, ids=lambda v: str(v)[:48])


def pixel_size(case, channel):
    sizes = np.asarray(case["args"]["channels_pixels_nm"], float)
    return tuple(np.broadcast_to(sizes, (2,)) if sizes.ndim < 2 else sizes[channel])


def known(case, channel):
    with np.load(REFERENCE / case["file"]) as stored:
        ending = f"__{channel}"
        return {
            name.removeprefix("info_").removesuffix(ending): stored[name]
            for name in stored.files
            if name.startswith("info_") and name.endswith(ending)
        }


def movie(case, channel):
    with np.load(REFERENCE / f"input_{case['inputs'][channel]}.npz") as stored:
        return stored["stack"]


def positions(size, pixel):
    steps = np.arange(-(size // 2), size // 2 + 1)
    return steps * pixel[0], steps * pixel[1]


def spots(shape, sigma, seed=0, count=12):
    """Frames of Gaussian spots at random places, a border away from the edges, without noise."""
    generator = np.random.default_rng(seed)
    y, x = np.arange(shape[1])[:, None], np.arange(shape[2])
    frames = np.zeros(shape)
    for frame in frames:
        for cy, cx in generator.uniform([12, 12], np.array(shape[1:]) - 12, (count, 2)):
            frame += 1e3 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return frames


def ellipse(amplitude=1.0, offset=0.0, theta=25.0, sigmas=(190.0, 130.0)):
    return GaussianFit(*sigmas, theta, amplitude, offset, np.zeros(5))


def draw(fit, size, pixel, **keywords):
    return fit.amplitude * gaussian_image(fit, size, pixel, **keywords) + fit.offset


@reference
def test_the_whole_way_agrees_with_the_reference(case, channel):
    args, pixel, expected = case["args"], pixel_size(case, channel), known(case, channel)
    frames = movie(case, channel)
    background = np.median(frames, axis=0) if args.get("remove_bkgd", True) else None
    power = power_spectrum(frames, background)
    lags = autocorrelation(power, len(frames), frames.shape[1:], args["crop_pix"], seed_width=True)
    lags, psf = psf_image(lags)
    # The reference is float32 from the first step: its own rounding is 6e-7 of the peak here,
    # and the root in Fourier space makes five times as much of it.
    np.testing.assert_allclose(lags, expected["ac"], rtol=0, atol=1e-6)
    fit = fit_gaussian(psf, pixel, seed_pixels=True)
    np.testing.assert_allclose(fit.sigma_x, expected["sigx"], rtol=1e-5)
    np.testing.assert_allclose(fit.sigma_y, expected["sigy"], rtol=1e-5)
    if abs(fit.sigma_x / fit.sigma_y - 1) > 0.1:
        assert fit.theta == pytest.approx(float(expected["theta"]), abs=1e-3)
    drawn = gaussian_image(fit, len(psf), pixel, seed_pixels=True)
    np.testing.assert_allclose(drawn, expected["fit"], rtol=0, atol=3e-6)
    scaled = (psf - fit.offset) / fit.amplitude
    np.testing.assert_allclose(scaled, expected["psf"], rtol=0, atol=5e-6)
    found = spline(scaled, pixel)
    np.testing.assert_array_equal(found.tx, expected["tx"])
    np.testing.assert_array_equal(found.ty, expected["ty"])
    evaluated = evaluate_spline(*found, *positions(len(psf), pixel))
    np.testing.assert_allclose(evaluated, expected["spline"], rtol=0, atol=2e-6)


@reference
def test_each_step_on_the_references_own_input_agrees_to_its_last_digits(case, channel):
    pixel, expected = pixel_size(case, channel), known(case, channel)
    lags, psf = psf_image(expected["ac"].astype(float))
    np.testing.assert_allclose(lags, expected["ac"], rtol=1e-15, atol=1e-15)
    fit = fit_gaussian(psf, pixel, seed_pixels=True)
    np.testing.assert_allclose(fit[:2], [expected["sigx"], expected["sigy"]], rtol=1e-6)
    scaled = (psf - fit.offset) / fit.amplitude
    np.testing.assert_allclose(scaled, expected["psf"], rtol=0, atol=3e-7)
    found = spline(expected["psf"], pixel)
    assert {part.dtype for part in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found.coeffs, expected["coeffs"], rtol=0, atol=6e-8)
    evaluated = evaluate_spline(
        expected["tx"], expected["ty"], expected["coeffs"], *positions(len(psf), pixel)
    )
    np.testing.assert_allclose(evaluated, expected["spline"], rtol=0, atol=1e-12)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 41)),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32", "float64", ">u2"]),
    removed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=50, deadline=None)
def test_power_spectrum_agrees_with_the_statement(shape, dtype, removed, seed):
    frames = np.random.default_rng(seed).gamma(3, 20, shape).clip(0, 255).astype(dtype)
    background = np.median(frames, axis=0) if removed else None
    result = power_spectrum(frames, background)
    expected = statement.power_spectrum(frames, background)
    assert result.dtype == np.float64
    assert result.shape == (shape[1], shape[2] // 2 + 1)
    scale = 1e-6 * max(1.0, float(expected.max()))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=scale)


def test_power_spectra_of_blocks_add_up():
    frames = np.random.default_rng(1).poisson(50, (90, 48, 57)).astype(np.uint16)
    background = np.median(frames, axis=0)
    whole = power_spectrum(frames, background)
    parts = sum(power_spectrum(frames[i : i + 11], background) for i in range(0, 90, 11))
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 8, 9), (3, 0, 9), (3, 8, 0)])
def test_empty_blocks_have_no_power(shape):
    result = power_spectrum(np.zeros(shape, np.uint16), np.zeros(shape[1:]))
    np.testing.assert_array_equal(result, np.zeros((shape[1], shape[2] // 2 + 1)))


def test_inputs_may_be_read_only_and_strided_and_stay_as_they_were():
    stored = np.random.default_rng(2).normal(50, 9, (24, 6, 20)).astype(np.float32)
    background = np.median(stored, axis=1)[::2].copy()
    before = stored.copy(), background.copy()
    stored.flags.writeable = background.flags.writeable = False
    frames = stored.transpose(1, 0, 2)[:, ::2]
    result = power_spectrum(frames, background)
    np.testing.assert_array_equal(result, power_spectrum(frames.copy(), background))
    for now, then in zip((stored, background), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("shape", [(12, 14), (13, 15), (12, 15), (13, 14)])
@pytest.mark.parametrize("size", [1, 4, 11, 12])
def test_autocorrelation_is_the_mean_of_shifted_products(shape, size):
    frames = np.random.default_rng(3).gamma(2, 30, (7, *shape)).astype(np.float32)
    if 2 * (size // 2) + 1 > min(shape):
        with pytest.raises(ValueError, match="lags"):
            autocorrelation(np.zeros((shape[0], shape[1] // 2 + 1)), 1, shape, size)
        return
    background = np.median(frames, axis=0)
    result = autocorrelation(power_spectrum(frames, background), 7, shape, size)
    expected = statement.autocorrelation(frames, background, size)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * expected.max())
    assert np.unravel_index(result.argmax(), result.shape) == (size // 2, size // 2)


def test_seed_width_changes_only_odd_widths():
    def lags(width, seed_width):
        frames = spots((4, 40, width), 1.5)
        power = power_spectrum(frames)
        return autocorrelation(power, 4, (40, width), 21, seed_width=seed_width)

    np.testing.assert_array_equal(lags(44, True), lags(44, False))
    assert np.abs(lags(45, True) - lags(45, False)).max() > 1e-3 * lags(45, False).max()
    power = np.zeros((45, 23))
    assert autocorrelation(power, 1, (45, 45), 45).shape == (45, 45)
    with pytest.raises(ValueError, match=r"\(45, 44\)"):
        autocorrelation(power, 1, (45, 45), 45, seed_width=True)


@pytest.mark.parametrize("size", [0, -3, 41, 60])
def test_a_square_of_lags_that_does_not_fit_raises(size):
    with pytest.raises(ValueError, match="lags"):
        autocorrelation(np.zeros((40, 26)), 1, (40, 50), size)


def test_psf_image_agrees_with_the_statement():
    lags = statement.autocorrelation(spots((2, 40, 44), 1.7), None, 21)
    for result, expected in zip(psf_image(lags), statement.psf_image(lags), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed_pixels", [False, True])
@pytest.mark.parametrize("pixel", [(100.0, 100.0), (130.0, 100.0), (90.0, 120.0)])
def test_the_drawn_gaussian_is_an_integral_over_pixels(pixel, seed_pixels):
    fit, unit = ellipse(), min(pixel)
    image = gaussian_image(fit, 7, pixel, seed_pixels=seed_pixels)
    extent = (1, 1) if seed_pixels else (pixel[0] / unit, pixel[1] / unit)
    y, x = (axis / unit for axis in positions(7, pixel))
    widths = fit.sigma_x / unit, fit.sigma_y / unit
    for i, j in [(3, 3), (0, 6), (2, 5), (6, 1)]:
        expected = statement.gaussian_pixel(y[i], x[j], *widths, fit.theta, extent)
        assert image[i, j] == pytest.approx(expected, rel=1e-9)


def test_the_long_axis_turns_counter_clockwise_on_screen():
    image = gaussian_image(ellipse(theta=45, sigmas=(300, 100)), 11, (100, 100))
    # y points down: up and to the right is row 3, column 7.
    assert image[3, 7] > 5 * image[3, 3]


@given(
    sigmas=st.tuples(st.floats(110, 260), st.floats(110, 260)),
    theta=st.floats(5, 85),
    amplitude=st.floats(0.8, 1.2),
    offset=st.floats(-0.2, 0.2),
    pixel=st.sampled_from([(100.0, 100.0), (130.0, 100.0), (97.5, 108.3)]),
)
@settings(max_examples=25, deadline=None)
def test_the_fit_finds_what_was_drawn(sigmas, theta, amplitude, offset, pixel):
    truth = ellipse(amplitude, offset, theta, sigmas)
    fit = fit_gaussian(draw(truth, 21, pixel), pixel)
    assert math.prod(fit[:2]) == pytest.approx(math.prod(sigmas), rel=1e-3)
    assert fit.amplitude == pytest.approx(amplitude, rel=1e-3)
    assert fit.offset == pytest.approx(offset, abs=1e-3)
    if abs(sigmas[0] / sigmas[1] - 1) > 0.1:  # a round one has no angle, and no axes
        assert fit.sigma_x == pytest.approx(sigmas[0], rel=1e-3)
        assert fit.theta == pytest.approx(theta, abs=0.2)


def test_a_low_bound_of_the_amplitude_widens_the_fit():
    narrow = draw(ellipse(1.8, sigmas=(100.0, 100.0)), 21, (100, 100))
    bound, free = (fit_gaussian(narrow, (100, 100), max_amplitude=a) for a in (1.25, 10))
    assert bound.amplitude == pytest.approx(1.25, rel=1e-3)
    assert bound.sigma_x > 110
    assert free.amplitude == pytest.approx(1.8, rel=1e-4)
    assert free.sigma_x == pytest.approx(100, rel=1e-4)


def test_values_and_variances_are_those_of_curve_fit():
    pixel, size = (100.0, 100.0), 15
    image = draw(ellipse(1.1, 0.05), size, pixel)
    image += np.random.default_rng(5).normal(0, 0.02, image.shape)
    keep = np.ix_(*[np.delete(np.arange(size), size // 2)] * 2)

    def model(_, sigma_x, sigma_y, amplitude, offset, theta):
        fit = GaussianFit(sigma_x * 100, sigma_y * 100, theta, amplitude, offset, np.zeros(5))
        return draw(fit, size, pixel)[keep].ravel()

    bounds = [0, 0, 0.75, -0.25, 0], [7, 7, 1.25, 0.25, 90]
    values, covariance = curve_fit(model, 0, image[keep].ravel(), (1, 1, 1, 0, 0), bounds=bounds)
    scale = np.array([100, 100, 1, 1, 1])
    fit = fit_gaussian(image, pixel)
    order = [0, 1, 4, 2, 3]
    np.testing.assert_allclose(fit[:5], (values * scale)[order], rtol=1e-7)
    np.testing.assert_allclose(fit.variance, (np.diag(covariance) * scale**2)[order], rtol=1e-5)


def test_the_width_of_simulated_spots_is_found():
    # One spot a frame: several correlate with each other, and widen it until many frames average.
    sigma = 1.8
    frames = spots((30, 96, 101), sigma, count=1)
    lags = autocorrelation(power_spectrum(frames), 30, (96, 101), 31)
    fit = fit_gaussian(psf_image(lags)[1], (100, 100), max_amplitude=3)
    assert math.sqrt(fit.sigma_x * fit.sigma_y) == pytest.approx(100 * sigma, rel=0.01)


@pytest.mark.parametrize("pixel", [(100.0, 100.0), (108.3, 97.1)])
def test_the_spline_goes_through_the_image_and_is_zero_outside(pixel):
    size, reach = 15, 7
    image = draw(ellipse(), size, pixel) + np.random.default_rng(6).normal(0, 0.1, (size, size))
    found = spline(image, pixel)
    y, x = positions(size, pixel)
    keep = np.delete(np.arange(size), reach)
    values = evaluate_spline(*found, y, x)
    np.testing.assert_allclose(values[np.ix_(keep, keep)], image[np.ix_(keep, keep)], atol=1e-6)
    oracle = RectBivariateSpline(y[keep], x[keep], image[np.ix_(keep, keep)], s=0)
    fine_y, fine_x = np.linspace(y[0], y[-1], 37), np.linspace(x[0], x[-1], 41)
    np.testing.assert_allclose(
        evaluate_spline(*found, fine_y, fine_x), oracle(fine_y, fine_x), atol=1e-6
    )
    outside = evaluate_spline(*found, np.array([y[0] - 1, 0, y[-1] + 1]), np.array([0, x[-1] + 1]))
    np.testing.assert_array_equal(outside != 0, [[False, False], [True, False], [False, False]])


def without_answer():
    noise = np.random.default_rng(7).normal(50, 5, (6, 24, 26)).astype(np.float32)
    spoiled, endless = noise.copy(), noise.copy()
    spoiled[3, 5, 6], endless[3, 5, 6] = np.nan, np.inf
    return {
        "constant": np.full((6, 24, 26), 7, np.uint16),
        "NaN": spoiled,
        "infinity": endless,
        "no frames": noise[:0],
        "one frame less itself": noise[:1],
    }


@pytest.mark.parametrize("name", without_answer())
def test_no_answer_is_nan_without_an_exception(name):
    frames = without_answer()[name]
    background = np.median(frames, axis=0) if len(frames) else np.zeros((24, 26))
    power = power_spectrum(frames, background)
    lags = autocorrelation(power, len(frames), (24, 26), 15)
    lags, psf = psf_image(lags)
    fit = fit_gaussian(psf, (100, 100))
    found = spline(psf, (100, 100))
    image = gaussian_image(fit, 15, (100, 100))
    evaluated = evaluate_spline(*found, *positions(15, (100, 100)))
    for part in (lags, psf, fit[:5], fit.variance, image, *found, evaluated):
        assert np.isnan(part).all()
    assert [len(found.tx), len(found.ty), found.coeffs.shape] == [18, 18, (14, 14)]


@pytest.mark.parametrize("size", [1, 3])
def test_too_few_lags_for_a_fit_or_a_spline_are_nan(size):
    image = np.random.default_rng(8).random((size, size))
    assert np.isnan(fit_gaussian(image, (100, 100)).sigma_x)
    assert np.isnan(spline(image, (100, 100)).coeffs).all()
    assert np.isnan(evaluate_spline(*spline(image, (100, 100)), np.zeros(2), np.zeros(3))).all()
    assert psf_image(np.ones((size, size)))[1].shape == (size, size)
