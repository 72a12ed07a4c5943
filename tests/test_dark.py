"""calibrate_dark: exact maps of a movie without light, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import smlm_dask as smlm
from smlm_dask.errors import TooFewFramesError
from smlm_dask.kernels.dark import dark_maps, dark_sums


def samples(dtype="u2", n=430, level=100.0, noise=2.0):
    """Offsets and noise that differ from pixel to pixel."""
    rng = np.random.default_rng(4)
    at, width = rng.normal(level, 1, (12, 17)), rng.uniform(0.7, 1.3, (12, 17)) * noise
    values = rng.normal(at, width, (n, 12, 17))
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
def test_mean_and_variance_of_each_pixel(dtype):
    frames = samples(dtype)
    found = smlm.calibrate_dark(smlm.as_movie(frames, pixel_size=100, chunks=70)).compute()
    np.testing.assert_allclose(found.offset, frames.mean(axis=0, dtype="f8"), rtol=1e-12)
    wanted = frames.astype("f8").var(axis=0, ddof=1)
    np.testing.assert_allclose(found.variance, wanted, rtol=1e-9)


def test_whole_sums_are_exact_at_the_top_of_the_range():
    frames = np.full((300, 2, 2), 65534, "u2")
    frames[::2] = 65535
    sums = sum(dark_sums(frames) for _ in range(1000))
    mean, variance, _ = dark_maps(sums, 300_000)
    assert (mean == 65534.5).all()
    np.testing.assert_allclose(variance, 0.25 * 300_000 / 299_999, rtol=1e-14)


def test_hot_pixels_are_found_and_no_others():
    frames = samples()
    frames[:, 3, 4] += 40
    frames[::3, 7, 9] += 30
    found = smlm.calibrate_dark(smlm.as_movie(frames, pixel_size=100))
    assert np.argwhere(found.hot_pixel.to_numpy()).tolist() == [[3, 4], [7, 9]]


def test_a_pixel_with_nan_has_no_answer():
    frames = samples("f4")
    frames[5, 2, 3] = np.nan
    found = smlm.calibrate_dark(smlm.as_movie(frames, pixel_size=100)).compute()
    bad = np.isnan(found.offset)
    assert np.argwhere(bad.to_numpy()).tolist() == [[2, 3]]
    xr.testing.assert_equal(bad.drop_attrs(), np.isnan(found.variance).drop_attrs())


def test_one_frame_has_no_noise():
    with pytest.raises(TooFewFramesError):
        smlm.calibrate_dark(smlm.as_movie(samples(n=1), pixel_size=100))


def test_a_movie_of_a_part_of_the_sensor_takes_its_part():
    dark = smlm.calibrate_dark(smlm.as_movie(samples(), pixel_size=100))
    movie, _ = smlm.simulate_movie(100, (12, 17), seed=3)
    part = movie[:, 3:, 5:]
    camera = smlm.as_camera(0.5, offset=dark.offset, variance=dark.variance)
    under = smlm.estimate_background(part, camera=camera, window=50)
    assert np.isfinite(under.series).all()
    gain = smlm.estimate_gain(part, offset=dark.offset, window=50)
    np.testing.assert_array_equal(gain.offset, dark.offset[3:, 5:])
