"""estimate_gain against numpy, the truth, and its own promises."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import xarray as xr
from scipy.stats import linregress

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, TooFewFramesError
from smlm_dask.kernels.reason import Reason

GAIN, OFFSET = 0.46, 100.0
seed_gain = partial(smlm.estimate_gain, method="smlmlp")


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
    found = seed_gain(smlm.as_movie(ramp, pixel_size=100), window=window).compute()
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
    found = seed_gain(smlm.as_movie(ramp, pixel_size=100), window=250).compute()
    assert abs(float(found.gain) - GAIN) < 3 * float(found.gain_error)
    assert float(found.gain_error) < 0.05 * GAIN


def test_the_offset_does_not_matter(ramp):
    one, two = (
        seed_gain(smlm.as_movie(ramp + extra, pixel_size=100)).gain.compute()
        for extra in np.array([0, 1000], "u2")
    )
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_the_tail_that_fills_no_window_is_left_out(ramp):
    whole, cut = (
        seed_gain(smlm.as_movie(frames, pixel_size=100)).compute() for frames in (ramp, ramp[:400])
    )
    xr.testing.assert_identical(whole.drop_attrs(deep=False), cut.drop_attrs(deep=False))


def test_a_long_movie_streams_to_the_same_bits(ramp):
    import dask

    movie = smlm.as_movie(ramp, pixel_size=100, chunks={"frame": 70})
    with dask.config.set({"smlm_dask.chunk-bytes": "64 kiB"}):
        streamed = seed_gain(movie, window=None)
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
    found = seed_gain(movie).compute()
    assert np.isnan(found.gain)
    assert found.status == reason


def test_flat_light_has_too_few_bins():
    frames = np.random.default_rng(1).poisson(50, (200, 16, 16)).astype("u2")
    found = seed_gain(smlm.as_movie(frames, pixel_size=100)).compute()
    assert np.isnan(found.gain)
    assert found.status in (Reason.TOO_FEW_BINS, Reason.SLOPE_NOT_POSITIVE)


def test_a_falling_line_is_no_gain(ramp):
    """Saturation: the brightest pixels have the smallest variance."""
    clipped = np.minimum(ramp, 700)
    found = seed_gain(smlm.as_movie(clipped, pixel_size=100)).compute()
    assert float(found.regression[0]) < 0
    assert np.isnan(found.gain)
    assert found.status == Reason.SLOPE_NOT_POSITIVE


def test_a_pixel_with_nan_is_left_out(ramp):
    frames = ramp.astype("f4")
    clean = seed_gain(smlm.as_movie(frames, pixel_size=100)).compute()
    frames[3, 4, 5] = np.nan
    found = seed_gain(smlm.as_movie(frames, pixel_size=100)).compute()
    assert np.isnan(found.signal_mean[4, 5])
    assert int(found.bin_count.sum()) == frames[0].size - 1
    np.testing.assert_allclose(found.gain, clean.gain, rtol=0.01)


def test_all_nan_says_so():
    movie = smlm.as_movie(np.full((200, 8, 8), np.nan, "f4"), pixel_size=100)
    found = seed_gain(movie).compute()
    assert np.isnan(found.gain)
    assert found.status == Reason.NOT_FINITE


def test_an_offset_map_is_selected_to_the_movie(ramp):
    movie = smlm.as_movie(ramp, pixel_size=100).isel(y=slice(10, 20), x=slice(5, 9))
    offset = xr.DataArray(np.arange(40 * 48.0).reshape(40, 48), dims=("y", "x"))
    offset = offset.assign_coords(y=np.arange(40), x=np.arange(48))
    found = seed_gain(movie, offset=offset)
    np.testing.assert_array_equal(found.offset, offset[10:20, 5:9])
    assert found.offset.attrs["units"] == "adu"


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"window": 501}, TooFewFramesError, "500 frames"),
        ({"window": 1}, ParameterError, "at least 2"),
        ({"method": "ramp", "window": None}, ParameterError, "frames in a window"),
        ({"method": "corner", "window": None}, ParameterError, "frames in a window"),
        ({"method": "best"}, ParameterError, "corner or ramp or smlmlp"),
        ({"read_noise": 1.4}, ParameterError, "neither"),
        ({"excess_noise": 2.0}, ParameterError, "neither"),
        ({"method": "corner", "excess_noise": 0.5}, ParameterError, "from 1"),
        ({"method": "corner", "read_noise": -1.0}, ParameterError, "from 0"),
    ],
)
def test_bad_parameters(ramp, keywords, error, words):
    with pytest.raises(error, match=words):
        seed_gain(smlm.as_movie(ramp, pixel_size=100), **keywords)


# ------------------------------------------------------------------ corner and ramp


def blinking(seed=1, n=300, **camera):
    return smlm.simulate_movie(
        n,
        (96, 96),
        emitters=smlm.Emitters(number=1000),
        camera=smlm.Camera(gain=GAIN, **camera),
        light=smlm.Light(background=10, gradient=0.5),
        seed=seed,
    )[0]


@pytest.fixture(scope="module")
def movie():
    return blinking().compute()


def test_blinking_emitters_do_not_matter(movie):
    found = smlm.estimate_gain(movie, read_noise=1.4).compute()
    assert found.status == Reason.OK
    assert abs(float(found.gain) - GAIN) < 2.5 * float(found.gain_error) < 0.06 * GAIN
    assert abs(float(found.offset) - OFFSET) < 0.5
    assert float(found.hot_pixel.mean()) < 1e-3
    theirs = float(seed_gain(movie, window=None).gain)
    assert not abs(theirs / GAIN - 1) < 0.1


def test_the_offset_yields_the_read_noise(movie):
    found = smlm.estimate_gain(movie, offset=OFFSET).compute()
    assert abs(float(found.read_noise) - 1.4) < 2.5 * float(found.read_noise_error) < 0.4
    assert float(found.offset) == OFFSET
    assert "offset_error" not in found
    place = {"y": movie.y, "x": movie.x}
    given = xr.DataArray(np.full((96, 96), OFFSET), dims=("y", "x"), coords=place)
    mapped = smlm.estimate_gain(movie, offset=given).compute()
    assert mapped.offset.shape == (96, 96)
    assert mapped.read_noise == found.read_noise


def test_a_movie_does_not_tell_both(movie):
    found = smlm.estimate_gain(movie)
    assert not {"offset", "read_noise", "variance"} & set(found)


@pytest.mark.parametrize("method", ["corner", "ramp"])
@pytest.mark.parametrize(
    "known", [{"offset": OFFSET}, {"read_noise": 1.4}, {"offset": OFFSET, "read_noise": 1.4}]
)
def test_what_is_known_yields_the_noise_of_the_camera(ramp, known, method):
    movie = smlm.as_movie(ramp, pixel_size=100)
    found = smlm.estimate_gain(movie, method=method, **known).compute()
    noise = float(np.sqrt(found.variance)) * float(found.gain)
    if "read_noise" in known:
        assert abs(noise - 1.4) < 1e-9
    else:
        assert abs(noise - float(found.read_noise)) < 1e-9
        assert abs(noise - 1.4) < 2.5 * float(found.read_noise_error)
    if "offset" in known:
        assert abs(float(found.read_noise) - noise) < 1e-9
    assert [f"{n}_error" in found for n in ("offset", "read_noise")] == [
        "offset" not in known,
        "read_noise" not in known,
    ]
    assert float(found.excess_noise) == 1


def test_the_camera_of_a_movie_is_enough_for_its_background(movie):
    camera = smlm.estimate_gain(movie, offset=OFFSET)
    found = smlm.estimate_background(movie, camera=camera)
    assert (found.attrs["passes"], "contamination" in found) == (2, True)
    gain, variance = float(camera.gain), float(camera.variance)
    plain = smlm.as_camera(gain, offset=OFFSET, variance=variance)
    wanted = smlm.estimate_background(movie, camera=plain)
    np.testing.assert_allclose(found.series, wanted.series, rtol=1e-6)


def test_the_words_of_quality_are_in_its_attributes(movie):
    found = smlm.estimate_gain(movie).compute().quality
    words = found.attrs["flag_meanings"].split()
    masks = found.attrs["flag_masks"]
    said = {w for w, m in zip(words, masks, strict=True) if int(found) & int(m)}
    assert said == {"error_below_2_5_percent"}


def test_an_em_register_needs_to_be_told():
    camera = {"em_gain": 10.0, "read_noise": 5.0}
    movie = blinking(3, **camera)
    found = smlm.estimate_gain(movie, excess_noise=2.0).compute()
    assert abs(float(found.gain) * 10 - GAIN) < 2.5 * float(found.gain_error) * 10


@pytest.mark.parametrize("method", ["corner", "ramp"])
def test_other_methods_have_the_gain_of_a_ramp(ramp, method):
    movie = smlm.as_movie(ramp, pixel_size=100)
    found = smlm.estimate_gain(movie, method=method, read_noise=1.4).compute()
    assert found.status == Reason.OK
    assert abs(float(found.gain) - GAIN) < 2.5 * float(found.gain_error)
    assert float(found.gain_error) < {"corner": 0.02, "ramp": 0.01}[method] * GAIN


def test_frames_of_the_tail_count(ramp):
    """Fewer than half a window belong to the last window, more are one of their own."""
    for n in (430, 320):
        movie = smlm.as_movie(ramp[:n], pixel_size=100)
        found = smlm.estimate_gain(movie).compute()
        inside = len(range(4, 36, 2)) * len(range(4, 44, 2))
        windows = int(found.bin_count.sum()) / inside
        assert 0.9 * (n - 2) <= windows <= n - 2


@pytest.mark.parametrize(
    ("n", "side", "step", "stride"),
    [(300, 96, 1, 2), (1000, 256, 3, 3), (10_000, 512, 12, 3), (24_000, 2048, 20, 3)],
)
def test_pairs_are_fewer_in_larger_movies(n, side, step, stride):
    from smlm_dask.gain import _pairs

    picks, arguments = _pairs(n, side * side, 200)
    assert len(picks) == len(arguments) == round(n / 200)
    assert arguments[0][:2] == (min(step, 2), stride)
    assert picks[0][:4].tolist() == ([0, 1, 2, 3] if step == 1 else [0, 1, step, step + 1])
    pairs = sum(len(group) for _, _, group, *_ in arguments)
    assert pairs * side * side >= min(n * side * side * 0.9, 20_000_000)
    assert all(len(p) * side * side <= 2**27 for p in picks)
    assert max(group.max() for _, _, group, *_ in arguments) == 19


def test_short_windows_have_no_gain(movie):
    for method in ("corner", "ramp", "smlmlp"):
        found = smlm.estimate_gain(movie[:28], window=14, method=method).compute()
        assert found.status == Reason.TOO_FEW_FRAMES
        assert np.isnan(found.gain)


def test_the_package_does_not_import_scipy_stats():
    code = "import sys, smlm_dask; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
