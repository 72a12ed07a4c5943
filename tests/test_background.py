"""Backgrounds against scipy, dask-image, numpy and what they promise."""

import numpy as np
import pytest
from dask._task_spec import Alias
from dask_image.ndfilters import convolve
from scipy.ndimage import correlate1d

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, SmlmError, TooFewFramesError
from smlm_dask.kernels.smooth import gaussian_taps


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(3).poisson(200, (130, 30, 41)).astype("u2")


def as_movie(frames, **keywords):
    return smlm.as_movie(frames, pixel_size=100, **keywords)


# ------------------------------------------------------------------ mean in space


@pytest.mark.parametrize("radius", [0.0, 1.3, 7.0, (6.0, 10.0)])
def test_mean_equals_scipy(frames, radius):
    found = smlm.background_spatial_mean(as_movie(frames), radius=radius).background
    wanted = frames.astype("f4")
    for axis, r in zip((1, 2), np.broadcast_to(radius, 2), strict=True):
        wanted = correlate1d(wanted, gaussian_taps(r / 2), axis=axis, mode="nearest")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)


def test_mean_equals_dask_image(frames):
    movie = as_movie(frames, chunks={"frame": 40})
    found = smlm.background_spatial_mean(movie, radius=4.0).background
    taps = gaussian_taps(2.0)
    kernel = (taps[:, None] * taps[None, :])[None]
    wanted = convolve(movie.data.astype("f8"), kernel.astype("f8"), mode="nearest")
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_noise_factor_is_the_noise_left(frames):
    noise = np.random.default_rng(5).normal(0, 10, (40, 128, 128)).astype("f4")
    for radius in (1.0, 3.0, 7.0):
        found = smlm.background_spatial_mean(as_movie(noise), radius=radius)
        left = (noise - found.background.to_numpy())[:, 16:-16, 16:-16].std()
        np.testing.assert_allclose(left / 10, found.noise_factor, rtol=0.005)


@pytest.mark.parametrize("radius", [-1.0, np.nan, np.inf, (1.0, 2.0, 3.0), 42.0, (31.0, 5.0)])
def test_bad_radius(frames, radius):
    with pytest.raises(ParameterError, match="radius"):
        smlm.background_spatial_mean(as_movie(frames), radius=radius)


def test_nan_reaches_as_far_as_the_taps(frames):
    one = frames[:1].astype("f4")
    one[0, 15, 20] = np.nan
    found = smlm.background_spatial_mean(as_movie(one), radius=4.0).background.to_numpy()[0]
    lost = np.isnan(found)
    assert lost[15, 20]
    assert lost.sum() == 11 * 11 or lost.sum() == 13 * 13


# ------------------------------------------------------------------ medians in time


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_series_is_the_upper_median_of_its_window(frames, dtype):
    movie = as_movie(frames.astype(dtype))
    found = smlm.background_sparse_median(movie, window=40).compute()
    assert found.series.dtype == dtype
    np.testing.assert_array_equal(found.window_start, [0, 40, 80, 90])
    for image, start in zip(found.series.to_numpy(), found.window_start.to_numpy(), strict=True):
        wanted = np.sort(frames.astype(dtype)[start : start + 40], axis=0)[20]
        np.testing.assert_array_equal(image, wanted)


def test_a_frame_gets_the_window_around_it(frames):
    found = smlm.background_sparse_median(as_movie(frames), window=40).compute()
    middle = found.window_start.to_numpy() + 19.5
    nearest = np.abs(np.arange(130)[:, None] - middle).argmin(axis=1)
    np.testing.assert_array_equal(found.series_index, nearest)


def test_start_assignment_lags_as_dcnum_does(frames):
    found = smlm.background_sparse_median(as_movie(frames), window=40, assign="start").compute()
    change = np.flatnonzero(np.diff(found.series_index)) + 1
    np.testing.assert_array_equal(change, [20, 60, 100])


def test_offset_brings_flicker_back(frames):
    flicker = np.random.default_rng(4).integers(0, 50, 130).astype("u2")
    movie = as_movie(frames + flicker[:, None, None])
    found = smlm.background_sparse_median(movie, window=40).compute()
    level = found.series.to_numpy()[found.series_index, :20].mean(axis=(1, 2))
    level += found.series_offset.to_numpy()
    np.testing.assert_allclose(level, movie.to_numpy()[:, :20].mean(axis=(1, 2)), rtol=1e-12)
    none = smlm.background_sparse_median(movie, window=40, offset_rows=None)
    assert not none.series_offset.any()


def test_time_axis_with_a_gap_computes_each_window_once(frames):
    time = np.arange(130) * 0.1
    time[70:] += 100
    found = smlm.background_sparse_median(as_movie(frames), window=30, step=1.0, time=time)
    distinct = np.unique(found.window_start)
    assert len(found.series) > 100 > len(distinct)
    graph = dict(found.series.data.dask)
    tasks = [task for key, task in graph.items() if str(key[0]).startswith("upper_median")]
    assert sum(not isinstance(task, Alias) for task in tasks) == len(distinct)
    computed = found.compute()
    for start in distinct:
        images = computed.series.to_numpy()[computed.window_start.to_numpy() == start]
        assert (images == np.sort(frames[start : start + 30], axis=0)[15]).all()


def test_cleansing_keeps_the_share_and_points_to_kept_images():
    images = np.random.default_rng(6).poisson(100, (400, 44, 40)).astype("u1")
    images[100:150, 15:25, 10:30] = 0  # a dark event in one window
    movie = as_movie(images)
    found = smlm.background_sparse_median(movie, window=50, cleansing=smlm.Cleansing(0.8)).compute()
    assert not found.series_used[2]
    assert found.series_used[found.series_index].all()
    assert int(found.series_used.sum()) == 6


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"window": 0}, "window"),
        ({"step": -1.0}, "step"),
        ({"time": np.arange(3)}, "one time for each frame"),
        ({"time": np.r_[np.arange(65), np.arange(65)]}, "never go back"),
        ({"time": np.full(130, np.nan)}, "NaN"),
        ({"assign": "end"}, "assign"),
        ({"offset_rows": 0}, "offset_rows"),
    ],
)
def test_bad_parameters(frames, keywords, words):
    with pytest.raises(SmlmError, match=words):
        smlm.background_sparse_median(as_movie(frames), **({"window": 40} | keywords))


def test_a_window_longer_than_the_movie(frames):
    with pytest.raises(TooFewFramesError, match="130 frames"):
        smlm.background_sparse_median(as_movie(frames), window=131)


@pytest.mark.parametrize("parameters", [(0.0, 0), (1.5, 0), (0.5, -1), ("a", 0)])
def test_bad_cleansing(parameters):
    with pytest.raises(ParameterError, match="Cleansing"):
        smlm.Cleansing(*parameters)
