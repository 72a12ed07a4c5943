"""Backgrounds against scipy, dask-image, numpy and what they promise."""

import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias
from dask_image.ndfilters import convolve
from scipy.ndimage import correlate1d

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, SmlmError, TooFewFramesError
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.smooth import gaussian_taps
from smlm_dask.variables import VARIABLES


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


@pytest.mark.parametrize(
    "radius",
    [
        *(
            -1.0,
            np.nan,
            np.inf,
            (1.0, 2.0, 3.0),
            42.0,
            (31.0, 5.0),
            "7",
            True,
            (1, True),
            [1],
            None,
        ),
        *((3, None), [[1, 2]], np.array(3.0), {}, 10**400, b"ab", (1, [2])),
    ],
    ids=repr,
)
def test_bad_radius(frames, radius):
    with pytest.raises(ParameterError, match="radius"):
        smlm.background_spatial_mean(as_movie(frames), radius=radius)


def test_the_proposed_radius_fits_the_frame(frames):
    for size in (1, 5, 30):
        movie = as_movie(frames[:2, :size, :size])
        with pytest.raises(ParameterError, match=f"Fix: pass radius={min(7, size)}$"):
            smlm.background_spatial_mean(movie, radius=99)
        smlm.background_spatial_mean(movie, radius=min(7, size))


@pytest.mark.parametrize(("size", "asked", "proposed"), [(30, 41, 29), (41, 42, 41), (30, 8, 7)])
def test_the_proposed_size_of_a_psf_fits_the_frame(frames, size, asked, proposed):
    movie = as_movie(np.resize(frames, (40, size, size)))
    with pytest.raises(ParameterError, match=f"Fix: pass size_pixels={proposed}$"):
        smlm.estimate_psf(movie, window=20, size_pixels=asked)
    smlm.estimate_psf(movie, window=20, size_pixels=proposed)
    with pytest.raises(ParameterError, match="at least 5 rows"):
        smlm.estimate_psf(movie[:, :4], window=20, size_pixels=5)


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
        ({"step": 10**400}, "step"),
        ({"time": ["a"] * 130}, "time: got dtype"),
        ({"time": [None] * 130}, "time: got dtype object"),
        ({"time": [[1], [1, 2]]}, "time: got dtype"),
        ({"time": pd.date_range("2000", periods=130)}, "time: got dtype datetime64.*timedelta64"),
        ({"time": np.arange(130) > 9}, "time: got dtype bool"),
        ({"time": np.arange(130) * 1j}, "time: got dtype complex"),
        ({"time": np.arange(130).astype("f2")}, "time: got dtype float16"),
        ({"time": np.r_[5, 3, np.arange(6, 134)].astype("u8")}, "never go back"),
        ({"time": np.r_[9, np.zeros(129)].astype("u8")}, "never go back"),
        ({"cleansing": True}, "cleansing"),
    ],
)
def test_bad_parameters(frames, keywords, words):
    with pytest.raises(SmlmError, match=words):
        smlm.background_sparse_median(as_movie(frames), **({"window": 40} | keywords))


def test_a_window_longer_than_the_movie(frames):
    with pytest.raises(TooFewFramesError, match="130 frames"):
        smlm.background_sparse_median(as_movie(frames), window=131)
    smlm.background_sparse_median(as_movie(frames), window=130)  # as the message proposes


def test_one_frame_has_no_series(frames):
    with pytest.raises(TooFewFramesError, match=r"got 1 frame; .* part of the movie$"):
        smlm.background_sparse_median(as_movie(frames[:1]))


@pytest.mark.parametrize("dtype", ["i1", "u1", "u2", "i4", "u8", "f4"])
def test_times_of_any_number_are_the_same_times(frames, dtype):
    time = np.arange(130) // 2 - (60 if dtype == "i1" else 0)
    movie = as_movie(frames)
    found = smlm.background_sparse_median(movie, window=20, time=time.astype(dtype)).compute()
    wanted = smlm.background_sparse_median(movie, window=20, time=time).compute()
    np.testing.assert_array_equal(found.series, wanted.series)
    np.testing.assert_array_equal(found.series_index, wanted.series_index)


# ------------------------------------------------------------------ what lies beside and within a movie


@pytest.mark.parametrize("dims", [(), ("frame",)], ids=["scalar", "frame"])
def test_coordinates_named_like_results_change_no_result(frames, dims):
    movie = as_movie(frames)
    names = [*VARIABLES, "window", "bin", "parameter", "lag_y", "knot_x", "emitter"]
    values = np.full((130,) * len(dims), 3.0)
    beside = movie.assign_coords(dict.fromkeys(names, (dims, values)))
    spots = pd.DataFrame({"frame": [1], "x": [1500.0], "y": [1500.0], "background": [5.0]})
    camera = smlm.as_camera(1.0, offset=100.0)
    blocks = {
        "mean": smlm.background_spatial_mean,
        "median": lambda m: smlm.background_sparse_median(m, window=40),
        "gain": lambda m: smlm.estimate_gain(m, window=40),
        "psf": lambda m: smlm.estimate_psf(m, window=40, size_pixels=7),
        "photons": lambda m: smlm.integrate_photons(
            m, spots, camera=camera, psf=120.0, size_pixels=5
        ),
    }
    for block in blocks.values():
        found, wanted = block(beside), block(movie)
        assert set(found.data_vars) == set(wanted.data_vars)
        assert set(wanted.coords) <= set(found.coords)
        assert not set(VARIABLES) & set(found.coords)
        for variable in wanted.data_vars:
            np.testing.assert_array_equal(found[variable], wanted[variable])


def test_lost_samples_are_lost_backgrounds(frames):
    """What docs/conventions.md says of backgrounds, and that photons over them say why."""
    lost = frames.astype("f4")
    lost[50, 25, 25] = np.nan
    lost[100, 2, 3] = np.nan
    movie = as_movie(lost)
    found = smlm.background_sparse_median(movie, window=40).compute()
    nan = np.argwhere(np.isnan(found.series.to_numpy())).tolist()
    assert nan == [[1, 25, 25], [2, 2, 3], [3, 2, 3]]
    level = np.isnan(found.series_offset.to_numpy())
    np.testing.assert_array_equal(level, found.series_index.to_numpy() >= 2)
    spots = pd.DataFrame({"frame": [10, 50, 50, 110], "x": [2500.0, 2500, 1000, 1000]})
    spots["y"] = [2500.0, 2500, 1000, 2500]
    signal = smlm.integrate_photons(
        movie, spots, camera=1.0, psf=120.0, size_pixels=5, background=found
    ).compute()
    assert np.isnan(signal.photons).to_numpy().tolist() == [False, True, False, True]
    assert signal.status.to_numpy().tolist() == [0, Reason.NOT_FINITE, 0, Reason.NOT_FINITE]


@pytest.mark.parametrize("parameters", [(0.0, 0), (1.5, 0), (0.5, -1), ("a", 0), (10**400, 0)])
def test_bad_cleansing(parameters):
    with pytest.raises(ParameterError, match="Cleansing"):
        smlm.Cleansing(*parameters)
