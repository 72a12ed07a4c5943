"""The background block: which method it takes, what its numbers mean, and what photons make of them."""

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, TooFewFramesError
from smlm_dask.kernels.reason import Reason

GAIN, OFFSET, READ = 0.5, 100.0, 1.5
SHAPE = (48, 50)


def camera(**keywords):
    known = {"offset": OFFSET, "variance": (READ / GAIN) ** 2} | keywords
    return smlm.as_camera(
        keywords.pop("gain", GAIN), **{k: v for k, v in known.items() if k != "gain"}
    )


def scene(frames, seed=1, flicker=0.0, slope=0.0):
    """Blinking light over a gradient: the movie, the background of each frame, the pixels' noise."""
    rng = np.random.default_rng(seed)
    light = 30 + 20 * np.linspace(-1, 1, SHAPE[1]) + np.zeros(SHAPE)
    factor = (1 + slope * np.arange(frames) / frames) * (1 + flicker * rng.normal(size=frames))
    under = factor[:, None, None] * light
    on = rng.random((frames, *SHAPE)) < 0.2
    electrons = rng.poisson(under + on * rng.exponential(100, on.shape))
    adu = (electrons + rng.normal(0, READ, under.shape)) / GAIN + OFFSET
    movie = smlm.as_movie(np.rint(adu).astype("u2"), pixel_size=100.0, chunks={"frame": 130})
    return movie, under, np.sqrt(light + READ**2 + GAIN**2 / 12)


def of_frames(background):
    """The background of each frame in adu, as the docstring says it."""
    index, share = background.series_index.to_numpy(), background.series_share.to_numpy()
    series = background.series.to_numpy().astype("f8")
    after, share = np.minimum(index + 1, len(series) - 1), share[:, None, None]
    light = (1 - share) * series[index] + share * series[after]
    offset = background.offset.to_numpy()
    scale = background.series_scale.to_numpy()[:, None, None]
    return offset + scale * (light - offset) + background.series_offset.to_numpy()[:, None, None]


@pytest.fixture(scope="module")
def flickering():
    return scene(470, flicker=0.1, slope=-0.3)


def test_the_background_of_each_frame_is_found(flickering):
    movie, under, noise = flickering
    background = smlm.estimate_background(movie, camera=camera()).compute()
    error = ((of_frames(background) - OFFSET) * GAIN - under) / noise
    assert abs(error.mean()) < 0.1
    assert error.std() < 0.2
    seed = smlm.background_sparse_median(movie).compute()
    image = seed.series.to_numpy()[seed.series_index.to_numpy()] - OFFSET
    image = image + seed.series_offset.to_numpy()[:, None, None]
    assert (((image * GAIN) - under) / noise).std() > 0.5
    assert 0.1 < float(background.contamination.mean()) < 0.3
    assert background.status == Reason.OK


def test_without_flicker_frames_are_as_bright_as_their_images(flickering):
    movie, *_ = flickering
    found = smlm.estimate_background(movie, camera=camera(), flicker=False)
    np.testing.assert_array_equal(found.series_scale, 1)


def test_joint_images_are_smoother(flickering):
    movie, *_ = flickering
    alone, joint = (
        smlm.estimate_background(movie, camera=camera(), joint=j)
        .series[0]
        .diff("y")
        .std()
        .compute()
        .item()
        for j in (False, True)
    )
    assert joint < 0.5 * alone


def test_maps_of_the_camera_count(flickering):
    movie, under, noise = flickering
    rng = np.random.default_rng(2)
    extra = rng.integers(0, 40, SHAPE)
    at = {n: movie.coords[n] for n in ("y", "x")}
    offset = xr.DataArray(OFFSET + extra, at, ("y", "x"))
    shifted = (movie + xr.DataArray(extra.astype("u2"), at, ("y", "x"))).assign_coords(movie.coords)
    shifted = smlm.as_movie(shifted.data, pixel_size=100.0)
    found = smlm.estimate_background(shifted, camera=camera(offset=offset)).compute()
    error = ((of_frames(found) - OFFSET - extra) * GAIN - under) / noise
    assert abs(error.mean()) < 0.1
    assert error.std() < 0.2


def test_the_error_is_that_of_the_series():
    movie, under, _ = scene(400, seed=3001)
    found = smlm.estimate_background(movie, camera=camera(), window=100).compute()
    light = under[:100].mean(axis=0)
    pull = ((found.series - OFFSET) * GAIN - light) / (found.series_error * GAIN)
    assert abs(pull.mean()) < 0.5
    assert 0.85 < pull.std() < 1.15
    assert found.series_error.dtype == "f4"
    repaired = smlm.estimate_background(movie, camera=camera(), window=100, joint=True).compute()
    assert repaired.series_error.mean() < 0.7 * found.series_error.mean()


# ------------------------------------------------------------------ cameras


@pytest.mark.parametrize(("photons", "em_gain"), [(2.0, 300.0), (20.0, 100.0)])
def test_a_multiplying_register_does_no_harm(photons, em_gain):
    known = smlm.Camera(gain=5.0, read_noise=40.0, em_gain=em_gain)
    emitters, light = smlm.Emitters(density=0.5), smlm.Light(background=photons)
    movie, truth = smlm.simulate_movie(
        200, SHAPE, emitters=emitters, camera=known, light=light, seed=3002
    )
    numbers = {"offset": known.offset, "variance": (known.read_noise / known.gain) ** 2}
    plain = smlm.as_camera(float(truth.mean_gain), **numbers)
    level = photons * known.quantum_efficiency
    noise = np.sqrt(2 * level + (known.read_noise / em_gain) ** 2)

    def bias(camera):
        series = smlm.estimate_background(movie, camera=camera).series
        return float(((series - known.offset) * truth.mean_gain - level).mean()) / noise

    assert abs(bias(plain.assign(excess_noise=2.0))) < 0.1
    lazy = xr.DataArray(dask.array.from_array(2.0))
    assert bias(plain.assign(excess_noise=lazy)) == bias(plain.assign(excess_noise=2.0))
    assert abs(bias(plain)) > 0.15


def test_maps_with_hot_and_unknown_pixels_break_nothing():
    known = smlm.Camera(
        offset=500.0, gain_spread=0.05, hot_fraction=0.02, hot_noise=25.0, offset_spread=3.0
    )
    movie, truth = smlm.simulate_movie(
        400, SHAPE, emitters=smlm.Emitters(density=0.5), camera=known, seed=3003
    )
    given = xr.Dataset({n: truth[n].compute() for n in ("gain", "offset", "variance")})
    hot = given.variance > 10 * given.variance.median()
    dead = xr.zeros_like(hot)
    dead[5, 5], dead[20, 30], dead[40, 7] = True, True, True
    maps = {n: given[n].where(~dead) for n in given if n != "gain"}
    sensor = smlm.as_camera(given.gain.where(~dead), **maps)
    found = smlm.estimate_background(movie, camera=sensor).compute()
    assert found.status == Reason.OK
    np.testing.assert_array_equal(np.isnan(found.series), np.broadcast_to(dead, (2, *SHAPE)))
    assert np.isfinite(found.series_scale).all()
    light = (found.series - given.offset) * given.gain
    level = 10.0 * known.quantum_efficiency
    noise = np.sqrt(level + given.variance * given.gain**2)
    error = (light - level) / noise
    assert abs(float(error.where(~hot).mean())) < 0.05
    beside = (hot | dead).rolling(y=3, x=3, center=True, min_periods=1).max().astype(bool)
    good, calm = error.where(beside & ~hot), error.where(~beside)
    assert float(good.std()) < 1.2 * float(calm.std())
    assert float(abs(error.where(hot)).max()) < 0.6


def test_a_camera_from_the_movie_is_lazy(flickering):
    movie, *_ = flickering
    level = movie.data.mean() * 0
    numbers = {"offset": OFFSET, "variance": (READ / GAIN) ** 2, "excess_noise": 1.0}
    lazy = {name: ((), level + value) for name, value in numbers.items()}
    sensor = smlm.as_camera(xr.DataArray(level + GAIN)).assign(lazy)
    found = smlm.estimate_background(movie, camera=sensor)
    assert all(dask.is_dask_collection(found[n].data) for n in ("series", "series_error", "status"))
    assert found.attrs["passes"] == 2
    known = smlm.estimate_background(movie, camera=camera())
    np.testing.assert_allclose(found.series, known.series, rtol=1e-4)
    np.testing.assert_allclose(found.series_error, known.series_error, rtol=1e-3)


@pytest.mark.parametrize("known", [None, smlm.as_camera(2.0), smlm.as_camera(2.0, offset=100.0)])
def test_without_the_camera_it_is_the_median(flickering, known):
    movie, *_ = flickering
    found = smlm.estimate_background(movie, camera=known, window=100)
    assert found.equals(smlm.background_sparse_median(movie, window=100).compute())


def test_the_median_can_be_asked_for(flickering):
    movie, *_ = flickering
    found = smlm.estimate_background(movie, camera=camera(), method="median", flicker=False)
    assert found.equals(smlm.background_sparse_median(movie, offset_rows=None).compute())


def test_a_camera_without_an_answer_gives_none(flickering):
    movie, *_ = flickering
    unknown = smlm.as_camera(xr.DataArray(np.nan), offset=100.0, variance=4.0)
    found = smlm.estimate_background(movie, camera=unknown).compute()
    assert np.isnan(found.series).all()
    assert found.status == Reason.NO_GAIN


def test_windows_cover_the_movie(flickering):
    movie, *_ = flickering
    found = smlm.estimate_background(movie, camera=camera(), window=100, step=60)
    starts = found.window_start.to_numpy()
    assert starts.tolist() == [0, 60, 120, 180, 240, 300, 360, 370]
    np.testing.assert_array_equal(found.window_stop, starts + 100)
    index, share = found.series_index.to_numpy(), found.series_share.to_numpy()
    middle = starts + 49.5
    inside = slice(50, 419)
    place = (1 - share) * middle[index] + share * middle[np.minimum(index + 1, 7)]
    np.testing.assert_allclose(place[inside], np.arange(470)[inside])
    assert share[:50].max() == 0
    assert share[420:].max() == 0
    np.testing.assert_allclose(found.series_overlap[[0, 200, 415]], [0.4, 0.4, 0.9])


def test_an_emitter_that_stays_to_the_end_is_no_background():
    rng = np.random.default_rng(3004)
    electrons = rng.poisson(10.0, (30 * 20, *SHAPE))
    electrons[18 * 20 :, 20:24, 20:24] += rng.poisson(40.0, (12 * 20, 4, 4))
    adu = (electrons + rng.normal(0, READ, electrons.shape)) / GAIN + OFFSET
    movie = smlm.as_movie(np.rint(adu).astype("u2"), pixel_size=100.0)
    found = smlm.estimate_background(movie, camera=camera(), window=20, flicker=False)
    last = (found.series[-1, 20:24, 20:24] - OFFSET).to_numpy() * GAIN
    assert abs(last.mean() - 10) < 1


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"method": "mean"}, "method"),
        ({"method": "truncated"}, "camera"),
        ({"method": "truncated", "camera": smlm.as_camera(2.0, offset=1.0)}, "variance"),
        ({"camera": 2.0}, "camera"),
        ({"window": 1}, "window"),
        ({"window": 20, "step": 21}, "step"),
        ({"step": 0}, "step"),
        ({"flicker": 1}, "flicker"),
        ({"joint": "yes"}, "joint"),
    ],
)
def test_bad_keywords(flickering, keywords, name):
    with pytest.raises(ParameterError, match=name):
        smlm.estimate_background(flickering[0], **keywords)


def test_a_movie_shorter_than_the_window(flickering):
    with pytest.raises(TooFewFramesError):
        smlm.estimate_background(flickering[0][:150], camera=camera())


# ------------------------------------------------------------------ under emitters


def table(movie):
    rng = np.random.default_rng(5)
    place = {axis: 100.0 * rng.uniform(8, 40, 300) for axis in "yx"}
    return pd.DataFrame({"frame": rng.integers(0, len(movie), 300)} | place)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_photons_stand_on_it(flickering, mapped, stored):
    movie, *_ = flickering
    at = {n: movie.coords[n] for n in ("y", "x")}
    bumps = xr.DataArray(OFFSET + np.random.default_rng(2).random(SHAPE), at, ("y", "x"))
    known = camera(offset=bumps) if mapped else camera()
    background = smlm.estimate_background(movie, camera=known, window=100)
    full = xr.DataArray(of_frames(background.compute()), movie.coords, movie.dims)
    full.attrs["units"] = "adu"
    keywords = {"camera": GAIN, "psf": 120.0, "method": "weighted"}
    wanted = smlm.integrate_photons(movie, table(movie), background=full, **keywords)
    background = background.compute() if stored else background
    found = smlm.integrate_photons(movie, table(movie), background=background, **keywords)
    assert found.attrs["passes"] == (1 if stored else 2)
    np.testing.assert_allclose(found.photons, wanted.photons, atol=0.01)


def test_a_lazy_index_gives_the_same(flickering, tmp_path):
    movie, *_ = flickering
    background = smlm.estimate_background(movie, camera=camera(), window=100)
    kept = smlm.open_results(smlm.store({"background": background}, tmp_path / "b.zarr"))
    kept = kept["background"].to_dataset()
    keywords = {"camera": GAIN, "psf": 120.0, "method": "weighted"}
    with dask.config.set(scheduler="synchronous"):
        one, two = (
            smlm.integrate_photons(movie, table(movie), background=b, **keywords).photons.to_numpy()
            for b in (background, kept)
        )
    np.testing.assert_array_equal(one, two)
