"""Photons on cameras whose pixels differ in gain, level and noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import smlm_dask as smlm
from smlm_dask import CropFit
from smlm_dask.errors import DimsError, ParameterError, SmlmError
from smlm_dask.kernels.reason import Reason
from smlm_dask.simulate import Camera, Emitters, Light
from tests.statements import photons as statement

GAIN, OFFSET, QE, PIXEL, SIGMA = 0.46, 100.0, 0.82, 100.0, 120.0
SIZE, LIGHT, PHOTONS = 11, 10.0, 1000.0


def shapes(n, random, size=SIZE):
    """Places of emitters in the middle pixels of crops, and their shares of light."""
    centre = size // 2 + random.uniform(-0.5, 0.5, (2, n))
    edges = (np.arange(size + 1) - 0.5)[:, None, None] - centre
    y, x = np.diff(statement.erf(edges / (np.sqrt(2) * SIGMA / PIXEL)), axis=0).swapaxes(0, 1) / 2
    return centre, np.einsum("yn,xn->nyx", y, x)


def maps_of(shape, random):
    """Gain, offset and noise of pixels as of a real sensor: spreads of 5 % and 5 adu, 2 % hot pixels."""
    gain = GAIN * random.normal(1, 0.05, shape)
    hot = random.random(shape) < 0.02
    variance = np.where(hot, random.uniform(200, 1000, shape), random.uniform(2, 15, shape))
    return gain, random.normal(OFFSET, 5, shape), variance


def as_map(values, movie):
    at = {n: movie.coords[n] for n in ("y", "x")}
    return xr.DataArray(values, at, ("y", "x"))


def camera_of(movie, gain, offset, variance):
    gain, offset, variance = (as_map(a, movie) for a in (gain, offset, variance))
    return smlm.as_camera(gain, offset=offset, variance=variance, quantum_efficiency=QE)


@pytest.fixture(scope="module")
def scene():
    """Emitters in the middle of small frames, the table of them, and the camera."""
    random, n = np.random.default_rng(3000), 5000
    centre, p = shapes(n, random)
    gain, offset, variance = maps_of((SIZE, SIZE), random)
    electrons = random.poisson(QE * (LIGHT + PHOTONS * p))
    noise = random.normal(0, 1, p.shape) * np.sqrt(variance)
    movie = smlm.as_movie(np.rint(electrons / gain + noise + offset), pixel_size=PIXEL)
    y, x = centre * PIXEL
    columns = {"frame": np.arange(n), "x": x, "y": y, "background": LIGHT, "background_error": 0.0}
    return movie, pd.DataFrame(columns), camera_of(movie, gain, offset, variance)


def photons_of(movie, table, camera, **keywords):
    return smlm.integrate_photons(movie, table, camera=camera, psf=SIGMA, **keywords).compute()


def bound(camera, centre, free):
    """Cramer and Rao's for each emitter, in photons."""
    edges = (np.arange(SIZE + 1) - 0.5)[:, None, None] - centre
    y, x = np.diff(statement.erf(edges / (np.sqrt(2) * SIGMA / PIXEL)), axis=0).swapaxes(0, 1) / 2
    p = np.einsum("yn,xn->nyx", y, x)
    read = (camera.variance.to_numpy() + 1 / 12) * camera.gain.to_numpy() ** 2
    w = QE**2 / (QE * (LIGHT + PHOTONS * p) + read)
    a, b, c = ((w * p**power).sum((1, 2)) for power in (2, 1, 0))
    return np.sqrt(1 / (a - b**2 / c if free else a))


@pytest.mark.parametrize("method", ["map", "free"])
def test_photons_are_unbiased_at_the_bound_and_their_errors_true(scene, method):
    movie, table, camera = scene
    found = photons_of(movie, table, camera, method=method)
    error = found.photons.to_numpy() - PHOTONS
    least = bound(camera, table[["y", "x"]].to_numpy().T / PIXEL, method == "free")
    sampling = 1 / np.sqrt(2 * len(error))
    assert abs(error.mean()) < 3.5 * error.std() / np.sqrt(len(error))
    assert error.std() / np.sqrt((least**2).mean()) == pytest.approx(1, abs=0.01 + 3 * sampling)
    assert (error / found.photons_error).std() == pytest.approx(1, abs=3.5 * sampling)
    np.testing.assert_allclose(found.photons_error.mean(), least.mean(), rtol=2e-3)
    assert abs(found.chi2_z.mean()) < 0.1
    one_gain = camera.assign(gain=camera.gain.mean())
    blind = photons_of(movie, table, one_gain, method=method)
    assert blind.chi2_z.mean() > found.chi2_z.mean() + 0.1


def test_sums_are_those_of_the_calibrated_crop(scene):
    movie, table, camera = scene
    table = table[:50]
    found = photons_of(movie, table, camera, method="weighted")
    border = photons_of(movie, table, camera, method="border")
    gain, offset = camera.gain.to_numpy(), camera.offset.to_numpy()
    light = (movie.to_numpy()[:50] - offset) * gain
    for k, spot in enumerate(table.itertuples()):
        p = statement.plane_gaussian((SIZE,) * 2, spot.y, spot.x, *(SIGMA,) * 2, 0, (PIXEL,) * 2)
        wanted, _, square = statement.projection(light[k] - LIGHT * QE, p)
        np.testing.assert_allclose([found.photons[k] * QE, found.psf_square[k]], [wanted, square])
        corrected, level = statement.remove_border(light[k], False)
        np.testing.assert_allclose(border.photons[k] * QE, corrected.sum(), rtol=1e-9)
        np.testing.assert_allclose(border.border_level[k], level / gain.mean() + offset.mean())


METHODS = ["map", "fixed", "free", CropFit(robust=True), "weighted", "border"]


@pytest.mark.parametrize("method", METHODS)
def test_a_map_of_one_gain_is_that_gain(scene, method):
    movie, table, camera = scene
    movie, table = movie[:60].chunk(frame=25), table[:60]
    one = camera.assign(gain=camera.gain.mean(), offset=camera.offset.mean())
    flat = [xr.full_like(camera.gain, one[n].item()) for n in ("gain", "offset")]
    maps = camera.assign(gain=flat[0], offset=flat[1])
    found, wanted = (photons_of(movie, table, c, method=method) for c in (maps, one))
    for name in found:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-9)
    lazy = photons_of(movie, table, maps.chunk(), method=method)
    np.testing.assert_array_equal(lazy.photons, found.photons)


@pytest.mark.parametrize("method", ["map", "weighted", "border"])
def test_a_map_of_the_sensor_is_selected_for_a_part_of_it(method):
    random = np.random.default_rng(3001)
    whole = smlm.as_movie(random.poisson(30, (4, 40, 44)) + 100, pixel_size=PIXEL)
    camera = camera_of(whole, *maps_of((40, 44), random))
    place = {"x": random.uniform(1800, 3200, 30), "y": random.uniform(1500, 2500, 30)}
    table = pd.DataFrame(place | {"frame": random.integers(0, 4, 30), "background": LIGHT})
    part = whole[:, 7:37, 11:42]
    found, wanted = (photons_of(m, table, camera, method=method) for m in (part, whole))
    assert (found.status == Reason.OK).all()
    np.testing.assert_array_equal(found.photons, wanted.photons)
    with pytest.raises(DimsError, match="gain"):
        photons_of(whole, table, camera.isel(x=slice(3, None)), method=method)


@pytest.mark.parametrize("name", ["gain", "offset", "variance"])
@pytest.mark.parametrize("method", ["map", "fixed", "free", CropFit(robust=True)])
def test_pixels_that_the_calibration_does_not_know_are_left_out(scene, name, method):
    movie, table, camera = scene
    movie, table = movie[:2000], table[:2000]
    dead = np.zeros((SIZE, SIZE), bool)
    dead[[2, 5, 6, 9], [3, 5, 4, 8]] = True
    spoilt = movie.copy(data=np.where(dead, 4e4, movie))
    known = camera.assign({name: camera[name].where(~dead)})
    found = photons_of(spoilt, table, known, method=method)
    np.testing.assert_array_equal(
        found.photons, photons_of(movie, table, known, method=method).photons
    )
    assert (found.status == Reason.OK).all()
    error = found.photons.to_numpy() - PHOTONS
    assert abs(error.mean()) < 3.5 * error.std() / np.sqrt(len(error))
    assert (error / found.photons_error).std() == pytest.approx(1, abs=3.5 / np.sqrt(4000))
    assert (
        found.photons_error > photons_of(movie, table, camera, method=method).photons_error
    ).all()
    assert abs(found.chi2_z.mean()) < 0.15


def test_too_few_pixels_are_said(scene):
    movie, table, camera = scene
    movie, table = movie[:30], table[:30]
    y, x = np.indices((SIZE, SIZE))
    for dead in (y < 6, (abs(y - 5) < 2) & (abs(x - 5) < 2)):  # half of the crop; of the light
        known = camera.assign(gain=camera.gain.where(~dead))
        found = photons_of(movie, table, known)
        assert np.isnan(found.photons).all()
        assert set(found.status.to_numpy()) == {Reason.TOO_FEW_PIXELS}
    nothing = camera.assign(gain=camera.gain * np.nan)
    for method in METHODS:
        found = photons_of(movie, table, nothing, method=method)
        assert set(found.status.to_numpy()) == {Reason.NO_GAIN}


@pytest.mark.parametrize("method", ["weighted", "border"])
def test_a_sum_wants_every_pixel(scene, method):
    movie, table, camera = scene
    known = camera.assign(gain=camera.gain.where(np.arange(SIZE) != 4))
    found = photons_of(movie[:9], table[:9], known, method=method)
    assert np.isnan(found.photons).all()
    assert set(found.status.to_numpy()) == {Reason.NOT_FINITE}


def test_what_does_not_go_with_a_map_of_gains(scene):
    movie, table, camera = scene
    with pytest.raises(ParameterError, match="border-padded"):
        photons_of(movie, table, camera, method="border-padded")
    for method in ("weighted", "border"):
        with pytest.raises(ParameterError, match="no offset"):
            photons_of(movie, table, camera.drop_vars("offset"), method=method)


# ------------------------------------------------------------------ electron multiplication


def one_emitter(camera, seed):
    """An emitter that is always on, in the middle of 5000 small frames."""
    emitters = Emitters(number=1, photons=300.0, exponential=False, off_frames=0.0)
    movie, truth = smlm.simulate_movie(
        5000, (13, 13), emitters=emitters, camera=camera, light=Light(background=2.0), seed=seed
    )
    known = smlm.as_camera(
        truth.mean_gain, offset=float(camera.offset), variance=float(truth.variance.mean())
    )
    known = known.assign(
        quantum_efficiency=truth.quantum_efficiency, excess_noise=truth.excess_noise
    )
    return movie, smlm.truth_table(truth).assign(background_error=0.0), known


@pytest.mark.parametrize("method", ["map", "free"])
def test_errors_grow_by_the_root_of_the_excess_noise(method):
    register = Camera(gain=20.0, read_noise=40.0, em_gain=200.0)
    movie, table, camera = one_emitter(register, 3003)
    assert camera.excess_noise == 2
    found = photons_of(movie, table, camera, method=method)
    error, sampling = found.photons.to_numpy() - 300, 1 / np.sqrt(2 * len(table))
    assert abs(error.mean()) < 3.5 * error.std() / np.sqrt(len(error))
    assert (error / found.photons_error).std() == pytest.approx(1, abs=3.5 * sampling + 0.01)
    assert abs(found.chi2_z.mean()) < 0.1
    plain = photons_of(movie, table, camera.drop_vars("excess_noise"), method=method)
    assert (error / plain.photons_error).std() > 1.35
    lazy = camera.assign(excess_noise=camera.excess_noise.chunk())
    np.testing.assert_array_equal(
        photons_of(movie, table, lazy, method=method).photons, found.photons
    )


def test_sums_do_not_know_the_excess_noise(scene):
    movie, table, camera = scene
    for method in ("weighted", "border"):
        one, two = (
            photons_of(movie[:9], table[:9], camera.assign(excess_noise=n), method=method)
            for n in (1.0, 2.0)
        )
        np.testing.assert_array_equal(one.photons, two.photons)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, "2"])
def test_excess_noise_that_cannot_be(scene, bad):
    movie, table, camera = scene
    with pytest.raises(ParameterError, match="excess_noise"):
        photons_of(movie, table, camera.assign(excess_noise=((), bad)))


# ------------------------------------------------------------------ errors of a background's images

# What neighbouring errors add up to, and what all pixels of a crop have alike.
ALIKE, COMMON = 1.5, 0.25


@pytest.fixture(scope="module")
def uncertain():
    """A movie on 50 images that are wrong, and how wrong."""
    random, n, each = np.random.default_rng(3002), 6000, 120
    centre, p = shapes(n, random)
    level = OFFSET + 50 * QE / GAIN
    sigma = 0.4 * np.sqrt(50 * QE) / GAIN
    images = n // each
    wrong = np.sqrt(ALIKE) * random.normal(0, sigma, (images, SIZE, SIZE))
    wrong += COMMON * sigma * random.normal(size=(images, 1, 1))
    electrons = random.poisson(QE * (50 + PHOTONS * p)) + random.normal(0, 1.4, p.shape)
    movie = smlm.as_movie(np.rint(electrons / GAIN + OFFSET), pixel_size=PIXEL)
    y, x = centre * PIXEL
    table = pd.DataFrame({"frame": np.arange(n), "x": x, "y": y})
    at = ("window", "y", "x")
    background = xr.Dataset(
        {
            "series": (at, level + wrong),
            "series_error": (at, np.full(wrong.shape, sigma, "f4")),
            "series_index": ("frame", np.arange(n) // each),
            "series_offset": ("frame", np.zeros(n)),
        },
        movie.coords,
    )
    camera = smlm.as_camera(GAIN, offset=OFFSET, variance=(1.4 / GAIN) ** 2, quantum_efficiency=QE)
    return movie, table, camera, background


@pytest.mark.parametrize("method", ["map", "fixed", "free"])
def test_errors_of_images_are_errors_of_photons(uncertain, method):
    movie, table, camera, background = uncertain
    found = photons_of(movie, table, camera, background=background, method=method)
    error = found.photons.to_numpy() - PHOTONS
    # 50 images: the errors of 120 emitters on one of them are alike.
    assert (error / found.photons_error).std() == pytest.approx(1, abs=0.05)
    blind = photons_of(
        movie, table, camera, background=background.drop_vars("series_error"), method=method
    )
    assert (error / blind.photons_error).std() > 1.05
    lazy = photons_of(
        movie.chunk(frame=70), table, camera, background=background.chunk(), method=method
    )
    np.testing.assert_array_equal(lazy.photons, found.photons)


@pytest.mark.parametrize("overlap", [None, 0.5])
def test_errors_of_two_images_add_in_squares(uncertain, overlap):
    movie, table, camera, background = uncertain
    mixed = background.assign(
        series_share=("frame", np.full(len(movie), 0.25)),
        series_scale=("frame", np.full(len(movie), 0.5)),
        series=background.series * 0 + OFFSET + 100 * QE / GAIN,
        offset=((), OFFSET),
    )
    if overlap:
        mixed = mixed.assign(series_overlap=("frame", np.full(len(movie), overlap)))
    first = xr.zeros_like(mixed.series_error) + 3.0
    two = mixed.assign(series_error=first.where(mixed.window == 0, 6.0))
    both = np.sqrt((0.75 * 3) ** 2 + (0.25 * 6) ** 2 + 2 * (overlap or 0) * 0.75 * 3 * 0.25 * 6)
    alone = mixed.assign(
        series_share=("frame", np.zeros(len(movie))), series_error=first / 3 * both
    )
    rows = table[:120]
    found, wanted, more = (
        photons_of(movie, rows, camera, background=b)
        for b in (two, alone, alone.assign(series_error=1.2 * alone.series_error))
    )
    np.testing.assert_allclose(found.photons, wanted.photons, rtol=1e-6)
    np.testing.assert_allclose(found.photons_error, wanted.photons_error, rtol=1e-6)
    assert wanted.photons_error.mean() < more.photons_error.mean()


def test_an_error_of_the_table_comes_before_those_of_the_images(uncertain):
    movie, table, camera, background = uncertain
    movie, background = movie[:60], background.isel(frame=slice(60))
    table = table[:60].assign(background_error=0.0)
    found, wanted = (
        photons_of(movie, table, camera, background=b)
        for b in (background, background.drop_vars("series_error"))
    )
    np.testing.assert_array_equal(found.photons, wanted.photons)


def test_errors_that_cannot_be(uncertain):
    movie, table, camera, background = uncertain
    for wrong in (
        background.series_error.isel(window=0),
        background.series_error.astype(str),
        background.series_error.assign_attrs(units="photon"),
    ):
        with pytest.raises(SmlmError, match=r"background\.series_error"):
            photons_of(movie, table, camera, background=background.assign(series_error=wrong))
