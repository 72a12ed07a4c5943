"""estimate_gain against numpy, the truth, and its own promises."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import linregress

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, TooFewFramesError
from smlm_dask.kernels.reason import Reason

GAIN, OFFSET = 0.46, 100.0


@pytest.fixture(scope="module")
def ramp():
    """A static ramp of light: 20 to 600 photons, 500 frames, read noise 1.4 electrons."""
    rng = np.random.default_rng(7)
    light = np.linspace(20, 600, 48)[None] * np.linspace(0.8, 1.2, 40)[:, None]
    electrons = rng.poisson(light, (500, 40, 48)) + rng.normal(0, 1.4, (500, 40, 48))
    return np.rint(electrons / GAIN + OFFSET).astype("u2")


def maps_of(frames, window):
    """Mean over windows of median and squared scaled MAD."""
    parts = [frames[i : i + window] for i in range(0, len(frames) // window * window, window)]
    medians = [np.median(p, axis=0) for p in parts]
    variances = [
        (1.4826 * np.median(abs(p - m), axis=0)) ** 2 for p, m in zip(parts, medians, strict=True)
    ]
    return np.mean(medians, axis=0), np.mean(variances, axis=0)


def line_of(level, variance, bins):
    edges = np.linspace(level.min(), level.max(), bins + 1)
    where = np.digitize(level, edges)
    chosen = [where == i for i in range(1, bins + 2) if (where == i).sum() > 10]
    x = np.array([level[c].mean() for c in chosen])
    y = np.array([variance[c].mean() for c in chosen])
    low, high = np.percentile(level, (33, 66))
    keep = (x > low) & (x < high)
    return linregress(x[keep], y[keep])


@pytest.mark.parametrize(("window", "effective"), [(200, 200), (90, 90), (None, 500)])
def test_equals_its_statement(ramp, window, effective):
    found = smlm.estimate_gain(smlm.as_movie(ramp, pixel_size=100), window=window).compute()
    level, variance = maps_of(ramp, effective)
    np.testing.assert_allclose(found.signal_mean, level, rtol=1e-13)
    np.testing.assert_allclose(found.signal_variance, variance, rtol=1e-13)
    line = line_of(level, variance, 50)
    np.testing.assert_allclose(found.gain, 1 / line.slope, rtol=1e-9)
    np.testing.assert_allclose(found.gain_error, line.stderr / line.slope**2, rtol=1e-9)
    np.testing.assert_allclose(found.intercept, line.intercept, rtol=1e-9)
    assert int(found.bin_count.sum()) == level.size
    assert found.status == Reason.OK


def test_is_true_within_its_error(ramp):
    found = smlm.estimate_gain(smlm.as_movie(ramp, pixel_size=100), window=250).compute()
    assert abs(float(found.gain) - GAIN) < 3 * float(found.gain_error)
    assert float(found.gain_error) < 0.05 * GAIN


def test_the_offset_does_not_matter(ramp):
    one, two = (
        smlm.estimate_gain(smlm.as_movie(ramp + extra, pixel_size=100)).gain.compute()
        for extra in np.array([0, 1000], "u2")
    )
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_the_tail_that_fills_no_window_is_left_out(ramp):
    whole, cut = (
        smlm.estimate_gain(smlm.as_movie(frames, pixel_size=100)).compute()
        for frames in (ramp, ramp[:400])
    )
    xr.testing.assert_identical(whole.drop_attrs(deep=False), cut.drop_attrs(deep=False))


def test_a_long_movie_streams_to_the_same_bits(ramp):
    import dask

    movie = smlm.as_movie(ramp, pixel_size=100, chunks={"frame": 70})
    with dask.config.set({"smlm_dask.chunk-bytes": "64 kiB"}):
        streamed = smlm.estimate_gain(movie, window=None)
        assert streamed.attrs["passes"] > 1
        streamed = streamed.compute()
    median = np.median(ramp, axis=0)
    np.testing.assert_array_equal(streamed.signal_mean, median)
    mad = np.median(abs(ramp - median), axis=0)
    np.testing.assert_array_equal(streamed.signal_variance, (1.4826 * mad) ** 2)


@pytest.mark.parametrize(
    ("level", "reason"), [(0, Reason.CONSTANT_SIGNAL), (65535, Reason.CONSTANT_SIGNAL)]
)
def test_a_constant_movie_has_no_gain_and_says_why(level, reason):
    movie = smlm.as_movie(np.full((200, 16, 16), level, "u2"), pixel_size=100)
    found = smlm.estimate_gain(movie).compute()
    assert np.isnan(found.gain)
    assert found.status == reason


def test_flat_light_has_too_few_bins():
    frames = np.random.default_rng(1).poisson(50, (200, 16, 16)).astype("u2")
    found = smlm.estimate_gain(smlm.as_movie(frames, pixel_size=100), bins=3).compute()
    assert np.isnan(found.gain)
    assert found.status in (Reason.TOO_FEW_BINS, Reason.SLOPE_NOT_POSITIVE)


def test_a_falling_line_is_no_gain(ramp):
    """Saturation: the brightest pixels have the smallest variance."""
    clipped = np.minimum(ramp, 700)
    found = smlm.estimate_gain(smlm.as_movie(clipped, pixel_size=100)).compute()
    assert float(found.regression[0]) < 0
    assert np.isnan(found.gain)
    assert found.status == Reason.SLOPE_NOT_POSITIVE


def test_a_pixel_with_nan_is_left_out(ramp):
    frames = ramp.astype("f4")
    clean = smlm.estimate_gain(smlm.as_movie(frames, pixel_size=100)).compute()
    frames[3, 4, 5] = np.nan
    found = smlm.estimate_gain(smlm.as_movie(frames, pixel_size=100)).compute()
    assert np.isnan(found.signal_mean[4, 5])
    assert int(found.bin_count.sum()) == frames[0].size - 1
    np.testing.assert_allclose(found.gain, clean.gain, rtol=0.01)


def test_all_nan_says_so():
    movie = smlm.as_movie(np.full((200, 8, 8), np.nan, "f4"), pixel_size=100)
    found = smlm.estimate_gain(movie).compute()
    assert np.isnan(found.gain)
    assert found.status == Reason.NOT_FINITE


def test_an_offset_map_is_selected_to_the_movie(ramp):
    movie = smlm.as_movie(ramp, pixel_size=100).isel(y=slice(10, 20), x=slice(5, 9))
    offset = xr.DataArray(np.arange(40 * 48.0).reshape(40, 48), dims=("y", "x"))
    offset = offset.assign_coords(y=np.arange(40), x=np.arange(48))
    found = smlm.estimate_gain(movie, offset=offset)
    np.testing.assert_array_equal(found.offset, offset[10:20, 5:9])
    assert found.offset.attrs["units"] == "adu"


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"window": 501}, TooFewFramesError, "500 frames"),
        ({"window": 1}, ParameterError, "at least 2"),
        ({"bins": 2}, ParameterError, "at least 3"),
    ],
)
def test_bad_parameters(ramp, keywords, error, words):
    with pytest.raises(error, match=words):
        smlm.estimate_gain(smlm.as_movie(ramp, pixel_size=100), **keywords)
