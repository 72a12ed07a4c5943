"""The fit of a crop against its statement, its own error bars, and what it promises."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import make_interp_spline

import smlm_dask as smlm
from smlm_dask import CropFit
from smlm_dask.crop_fit import KNOWN
from smlm_dask.errors import ParameterError, TableError
from smlm_dask.kernels.crops import place
from smlm_dask.kernels.likelihood import RESULTS, blur_errors, fit_crops
from smlm_dask.kernels.photons import likelihood_fits
from smlm_dask.kernels.projection import Background
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.sensor import Sensor
from smlm_dask.kernels.spots import Spline, Straight, Turned
from tests.statements import photons as statement

GAIN, OFFSET, QE, READ, PIXEL = 0.46, 100.0, 0.82, 1.4, 100.0
SIGMA = 120.0
CAMERA = smlm.as_camera(GAIN, offset=OFFSET, variance=(READ / GAIN) ** 2, quantum_efficiency=QE)


# ------------------------------------------------------------------ against the statement


def plane(size, mu, sigma, theta=None):
    """Parts of an emitter's light on the pixels of crops, as the package makes them."""
    n, out = mu.shape[1], np.empty((mu.shape[1], 3))
    columns = (*mu, *sigma, *([] if theta is None else [theta]))
    spots = (Straight if theta is None else Turned)(n, size, (PIXEL, 90.0), *columns)
    model = np.empty((n, *size))
    spots.plane(slice(0, n), model, out)
    return model


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    known=st.sampled_from(sorted(KNOWN)),
    relative=st.booleans(),
    robust=st.booleans(),
    light=st.sampled_from([0.0, 20.0, 1000.0, 1e5]),
    error=st.sampled_from([0.0, 0.1, 3.0]),
    lost=st.sampled_from([0.0, 0.1]),
)
def test_a_fit_equals_its_statement(seed, known, relative, robust, light, error, lost):
    random = np.random.default_rng(seed)
    size = random.integers(9, 14, 2)
    mu = random.uniform(300, 600, (2, 6))
    p = plane(tuple(size), mu, random.uniform(90, 160, (2, 6))).reshape(6, -1)
    background = random.uniform(0, 50, p.shape)
    read = random.uniform(1, 9, p.shape)
    x = random.poisson(background + light * p) + random.normal(0, np.sqrt(read))
    left = random.random(p.shape) < lost
    signal = np.where(left, 0.0, x - background - random.normal(0, 1))
    inputs = p, signal, np.where(left, np.inf, background + read)
    out = np.empty((6, len(RESULTS)))
    numbers = (~left).sum(axis=1).astype(float), np.full(6, error)
    fit_crops(*inputs, *numbers, relative, KNOWN[known], robust, out)
    for found, *crop in zip(out, *inputs, strict=True):
        wanted = statement.likelihood(*crop, error, relative, known, robust)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("known", sorted(KNOWN))
@pytest.mark.parametrize("error", [0.0, 0.7])
def test_errors_of_positions_equal_their_statement(known, error):
    random = np.random.default_rng(4)
    mu, sigma = random.uniform(300, 600, (2, 8)), random.uniform(90, 160, (2, 8))
    p, sharp = (plane((11, 10), mu, s).reshape(8, -1) for s in (np.hypot(sigma, 40), sigma))
    v = random.uniform(5, 20, p.shape)
    x = random.normal(np.linspace(-50, 2000, 8)[:, None] * sharp, np.sqrt(v))
    out = np.empty((8, len(RESULTS)))
    columns = np.full(8, 110.0), np.full(8, error), False, KNOWN[known], False
    fit_crops(p, x, v, *columns, out)
    found = out.copy()
    blur_errors(p, sharp, v, KNOWN[known], found)
    free, fixed = known == "free", known == "fixed" or error == 0
    precision = 0.0 if free else np.inf if fixed else 1 / error**2
    for before, after, *crop in zip(out, found, p, sharp, v, strict=True):
        own = statement.blur_error(*crop, before[0], before[2], precision)
        np.testing.assert_allclose(after[1], np.hypot(before[1], own), rtol=1e-9)
        np.testing.assert_array_equal(after[[0, 2, 3, 4]], before[[0, 2, 3, 4]])


@pytest.mark.parametrize("theta", [None, 0.0, 33.0])
def test_shapes_are_parts_of_the_light_on_the_plane(theta):
    random = np.random.default_rng(1)
    mu, sigma = random.uniform(-100, 900, (2, 20)), random.uniform(80, 200, (2, 20))
    found = plane((9, 8), mu, sigma, theta)
    for k in range(20):
        wanted = statement.plane_gaussian(
            (9, 8), *mu[:, k], *sigma[:, k], theta or 0.0, (PIXEL, 90.0)
        )
        np.testing.assert_allclose(found[k], wanted, rtol=1e-9, atol=1e-300)
    wide = plane((60, 60), mu + 2500.0, sigma, theta)
    np.testing.assert_allclose(wide.sum((1, 2)), 1, atol=1e-5)


def test_a_spline_sums_to_one_over_its_plane_at_every_depth():
    knots = np.r_[[-900.0] * 3, np.linspace(-900, 900, 13), [900.0] * 3]
    z, y, x = np.ogrid[-1:1:15j, -1:1:15j, -1:1:15j]
    coefficients = 7.0 * np.exp(-(y**2 + x**2) / (0.05 + 0.1 * (z - 0.2) ** 2))
    depths = np.array([-800.0, -10.0, 0.0, 300.0, 1000.0, np.nan])
    columns = np.full(6, 2050.0), np.full(6, 2032.0), depths
    spots = Spline(6, (41, 41), (PIXEL, PIXEL), columns, (knots, knots, knots, coefficients))
    model, out = np.empty((6, 41, 41)), np.empty((6, 3))
    spots.plane(slice(0, 6), model, out)
    np.testing.assert_allclose(model[:4].sum((1, 2)), 1, rtol=2e-3)
    assert (model[4] == 0).all()
    assert np.isnan(model[5]).all()


# ------------------------------------------------------------------ crops in frames


def crops_in_frames(n=700):
    random = np.random.default_rng(3)
    frames = random.poisson(30, (8, 40, 44)).astype(np.uint16) + 100
    index, y0, x0 = (random.integers(0, m, n) for m in (8, 31, 35))
    return frames, index, y0, x0, random.uniform(350, 450, (2, n)), random.uniform(90, 150, (2, n))


def fits(frames, index, y0, x0, mu, sigma, under, sensor, **options):
    crops = place(frames, index, y0, x0, (9, 9))
    spots = Straight(len(index), (9, 9), (PIXEL, PIXEL), *mu, *sigma)
    options = {"relative": True, "known": KNOWN["prior"], "robust": False} | options
    return likelihood_fits(crops, Background(crops, *under), sensor, spots, 0.1, **options)


NO_IMAGES = np.zeros((0, 0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0)


def test_maps_and_images_lie_under_the_crops():
    frames, index, y0, x0, mu, sigma = crops_in_frames()
    random = np.random.default_rng(4)
    dark, noise = random.uniform(90, 110, (40, 44)), random.uniform(1, 80, (40, 44)).astype("f4")
    gain = random.normal(0.5, 0.05, (40, 44)).astype("f4")
    for camera, wrong in ((dark, np.nan), (noise, -1.0), (gain, 0.0), (gain, -0.5)):
        camera[random.random((40, 44)) < 0.02] = wrong
    images, which = random.uniform(110, 140, (3, 40, 44)), random.integers(0, 3, 8)
    offset, light = random.normal(0, 2, 8), random.uniform(0, 4, len(index))
    under = (0.0, images, which, offset)
    sensor = Sensor(gain, dark, noise)
    found = fits(frames, index, y0, x0, mu, sigma, under, sensor, light=light)
    for k in range(0, 700, 50):
        here = slice(y0[k], y0[k] + 9), slice(x0[k], x0[k] + 9)
        below = images[which[index[k]]][here] + offset[index[k]]
        maps = (a[here].astype("f8") for a in (gain, dark, noise))
        *crop, mean, known = statement.electrons(frames[index[k]][here], below, *maps, light[k])
        p = statement.plane_gaussian((9, 9), *mu[:, k], *sigma[:, k], 0.0, (PIXEL, PIXEL))
        columns = (a.ravel() for a in (p, *crop))
        wanted = np.array(statement.likelihood(*columns, 0.1, True, "prior", False))
        wanted[2] += mean
        np.testing.assert_allclose(found[k, :5], wanted, rtol=1e-7)
        share = min(known.mean(), p[known].sum() / p.sum())
        np.testing.assert_allclose(found[k, 6], share, rtol=1e-9)


def test_a_crop_is_the_same_alone_and_among_others():
    frames, index, y0, x0, mu, sigma = crops_in_frames()
    under, sensor = (120.0, *NO_IMAGES), Sensor(0.5, 100.0, 8.0)
    inputs = [frames, index, y0, x0, mu, sigma]
    before = [a.copy() for a in inputs]
    for array in inputs:
        array.flags.writeable = False
    found = fits(*inputs, under, sensor, robust=True)
    assert np.isfinite(found).all()
    assert found.base is None
    for array, was in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, was)
    for k in (0, 300, 699):
        one = [a[..., [k]] for a in inputs[1:]]
        np.testing.assert_array_equal(fits(frames, *one, under, sensor, robust=True)[0], found[k])
    assert fits(frames, *(a[..., :0] for a in inputs[1:]), under, sensor).shape == (0, 7)


@pytest.mark.parametrize("known", sorted(KNOWN))
@pytest.mark.parametrize("robust", [False, True])
def test_what_is_no_number_has_no_answer_and_spoils_no_other(known, robust):
    frames, index, y0, x0, mu, sigma = crops_in_frames(9)
    index, frames = np.arange(9), np.repeat(frames.astype("f8"), 2, axis=0)
    y0[8] = 35
    frames[1, y0[1] + 4, x0[1] + 4] = np.nan
    frames[2, y0[2], x0[2]] = np.inf
    mu[0, 3], mu[1, 4], sigma[0, 5], sigma[1, 6] = np.nan, np.inf, 0.0, -1.0
    level = np.full(9, 120.0)
    level[7] = np.nan
    options = {"known": KNOWN[known], "robust": robust}
    under, sensor = (level, *NO_IMAGES), Sensor(0.5, 100.0, 8.0)
    found = fits(frames, index, y0, x0, mu, sigma, under, sensor, **options)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[[1, 3, 4, 5, 6, 7, 8], :2]).all()
    assert not np.isfinite(found[2, :2]).all() or robust  # one lost pixel may be clipped
    nowhere = Sensor(0.5, 100.0, np.full((40, 44), np.nan))
    assert np.isnan(fits(frames, index, y0, x0, mu, sigma, under, nowhere, **options)[:, :2]).all()


def test_extra_memory_stays_below_a_tenth_of_the_crops():
    n = 40_000
    crops = np.random.default_rng(0).poisson(30, (n, 9, 9)).astype(np.float64)
    zeros, mu, sigma = np.zeros(n, int), np.full((2, n), 400.0), np.full((2, n), 120.0)
    where = (crops, np.arange(n), zeros, zeros, mu, sigma, (20.0, *NO_IMAGES))
    sensor = Sensor(0.5, np.zeros((9, 9)), np.ones((9, 9)))
    result = fits(*where, sensor).nbytes
    tracemalloc.start()
    try:
        fits(*where, sensor)
        assert tracemalloc.get_traced_memory()[1] - result < crops.nbytes / 10
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------ the truth


def scene(n, photons, light, *, size=11, seed=0, neighbour=0.0, distance=4.0):
    """Crops of lone emitters in electrons counted by a camera, and the table of where they are."""
    random = np.random.default_rng(seed)
    centre = size // 2 + random.uniform(-0.5, 0.5, (2, n))
    turn = random.uniform(0, 2 * np.pi, n)
    beside = centre + distance * np.stack([np.cos(turn), np.sin(turn)])
    mean = np.full((n, size, size), light * QE)
    for bright, at in ((photons, centre), (neighbour, beside)):
        edges = (np.arange(size + 1) - 0.5)[:, None, None] - at
        shares = np.diff(statement.erf(edges / (np.sqrt(2) * SIGMA / PIXEL)), axis=0) / 2
        mean += bright * QE * np.einsum("yn,xn->nyx", shares[:, 0], shares[:, 1])
    counts = random.poisson(mean) + random.normal(0, READ, mean.shape)
    crops = xr.DataArray(np.rint(counts / GAIN + OFFSET), dims=("emitter", "y", "x"))
    crops = crops.assign_coords(pixel_size_y=PIXEL, pixel_size_x=PIXEL)
    y, x = centre * PIXEL
    columns = {"x0": np.zeros(n), "y0": np.zeros(n), "x": x, "y": y, "background": light}
    return crops, pd.DataFrame(columns)


def photons_of(crops, table, **keywords):
    keywords = {"camera": CAMERA, "psf": SIGMA} | keywords
    return smlm.integrate_photons(crops, table, **keywords).compute()


def bias_and_pull(found, photons):
    """Mean error in standard errors of the mean, and spread of the errors in claimed ones."""
    error = found.photons.to_numpy() - photons
    own = error / found.photons_error.to_numpy()
    return error.mean() / error.std() * np.sqrt(len(error)), own.std()


@pytest.mark.parametrize("method", ["map", "fixed", "free"])
@pytest.mark.parametrize(
    ("photons", "light", "size"), [(20, 1, 11), (1000, 10, 9), (10000, 50, 13)]
)
def test_photons_are_unbiased_and_their_errors_true(method, photons, light, size):
    crops, table = scene(6000, photons, light, size=size, seed=photons)
    noise = np.sqrt(light * QE + READ**2 + GAIN**2 / 12) / QE
    error = np.random.default_rng(1).normal(0, 0.05 * noise, len(table))
    found = photons_of(crops, table.assign(background=light + error), method=method)
    bias, pull = bias_and_pull(found, photons)
    assert abs(bias) < 3.5
    assert abs(pull - 1) < 3.5 / np.sqrt(2 * len(table))
    assert abs(found.chi2_z.mean()) < 0.2  # 0.1 are the errors of the background that stays


def test_a_background_known_exactly_reaches_the_bound():
    crops, table = scene(6000, 1000, 50, size=9, seed=5)
    known = photons_of(crops, table.assign(background_error=0.0))
    fixed = photons_of(crops, table, method=CropFit(background="fixed", background_error=0.0))
    np.testing.assert_array_equal(known.photons, fixed.photons)
    np.testing.assert_array_equal(known.photons_error, fixed.photons_error)
    assert (known.background_error == 0).all()
    assert bias_and_pull(known, 1000)[1] == pytest.approx(1, abs=3.5 / np.sqrt(12000))
    # The error of a column is in photons, that of the options in units of the noise at the fitted level.
    noise = np.sqrt(50 * QE + READ**2 + GAIN**2 / 12) / QE
    column = photons_of(crops, table.assign(background_error=0.05 * noise))
    np.testing.assert_allclose(column.photons, photons_of(crops, table).photons, rtol=2e-3)


def test_the_crop_corrects_a_background_that_is_off():
    crops, table = scene(6000, 1000, 50, seed=6)
    high = table.assign(background=51.5)
    unsure = CropFit(background_error=0.1)
    error = {
        m: photons_of(crops, high, method=m).photons.mean() - 1000
        for m in ("map", "fixed", "free", unsure)
    }
    assert error["fixed"] < 1.2 * error["map"] < 1.2 * 1.3 * error[unsure] < -5 < error["free"] < 3
    told = photons_of(crops, high.assign(background_error=1.5))
    assert told.background.mean() == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize("photons", [1000, 10000])
@pytest.mark.parametrize("method", ["prior", "fixed", "free"])
def test_errors_hold_what_positions_do(photons, method):
    crops, table = scene(6000, photons, 10, seed=20)
    shift = np.random.default_rng(2).normal(0, 30, (2, len(table)))
    moved = table.assign(x=table.x + shift[0], y=table.y + shift[1])
    fit = CropFit(background=method, background_error=0.01, position_error=30.0)
    found = photons_of(crops, moved, method=fit)
    assert bias_and_pull(found, photons)[1] == pytest.approx(1, abs=0.02 + 3.5 / np.sqrt(12000))
    sharp = CropFit(background=method, background_error=0.01)
    assert bias_and_pull(photons_of(crops, moved, method=sharp), photons)[1] > 1.05


def test_uncertain_positions_widen_the_psf():
    crops, table = scene(6000, 1000, 10, seed=7)
    shift = np.random.default_rng(2).normal(0, 30, (2, len(table)))
    moved = table.assign(x=table.x + shift[0], y=table.y + shift[1])
    sharp = photons_of(crops, moved).photons.mean()
    wide = photons_of(crops, moved, method=CropFit(position_error=30.0)).photons
    column = photons_of(crops, moved.assign(position_error=30.0)).photons
    np.testing.assert_array_equal(column, wide)
    assert sharp < 990
    assert wide.mean() == pytest.approx(1000, abs=3)


def test_neighbours_are_flagged_and_left_out():
    alone, table = scene(2000, 1000, 10, seed=8)
    near, same = scene(2000, 1000, 10, seed=8, neighbour=1000, distance=4.0)
    assert (photons_of(alone, table).chi2_z > 4).mean() < 0.002
    assert (photons_of(near, same).chi2_z > 4).mean() > 0.99
    robust = CropFit(background="fixed", robust=True)
    bias = {
        r: photons_of(near, same, method=r).photons.mean() / 1000 - 1 for r in ("fixed", robust)
    }
    assert bias["fixed"] > 0.15
    assert abs(bias[robust]) < 0.06
    kept = photons_of(alone, table, method=robust)
    assert kept.photons.mean() == pytest.approx(1000, abs=3.5 * 37 / np.sqrt(2000))


def test_emitters_that_are_off_have_as_often_negative_photons():
    crops, table = scene(4000, 0, 10, seed=9)
    found = photons_of(crops, table.assign(background_error=0.0))
    assert (found.photons < 0).mean() == pytest.approx(0.5, abs=0.05)
    assert bias_and_pull(found, 0)[1] == pytest.approx(1, abs=0.05)


# ------------------------------------------------------------------ the camera


def movie_of(crops):
    """The crops as frames of a movie, with the table's columns for it."""
    return smlm.as_movie(crops.to_numpy(), pixel_size=PIXEL)


def test_maps_of_the_sensor_equal_numbers():
    crops, table = scene(50, 1000, 10, seed=10)
    table = table.assign(frame=np.arange(50))
    movie = movie_of(crops)
    flat = movie.isel(frame=0, drop=True) * 0.0
    maps = smlm.as_camera(
        GAIN, offset=flat + OFFSET, variance=flat + (READ / GAIN) ** 2, quantum_efficiency=QE
    )
    found, wanted = (photons_of(movie.chunk(frame=20), table, camera=c) for c in (maps, CAMERA))
    assert (found.status == Reason.OK).all()
    for name in found:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)
    lazy = photons_of(movie.chunk(frame=20), table, camera=maps.chunk())
    np.testing.assert_array_equal(lazy.photons, found.photons)


def test_pixels_with_much_read_noise_count_little():
    crops, table = scene(4000, 300, 1, seed=11)
    random = np.random.default_rng(12)
    noise = np.where(random.random((11, 11)) < 0.1, 15.0, 0.0)
    counts = np.rint(crops + random.normal(0, 1, crops.shape) * noise / GAIN)
    movie, table = movie_of(counts), table.assign(frame=np.arange(4000))
    variance = movie.isel(frame=0, drop=True) * 0.0 + (READ**2 + noise**2) / GAIN**2
    camera = smlm.as_camera(GAIN, offset=OFFSET, variance=variance, quantum_efficiency=QE)
    known, plain = (photons_of(movie, table, camera=c) for c in (camera, CAMERA))
    assert bias_and_pull(known, 300)[1] == pytest.approx(1, abs=0.05)
    assert known.photons.std() < 0.8 * plain.photons.std()


def test_a_camera_without_variance_has_the_read_noise_of_the_fit():
    crops, table = scene(50, 1000, 2, seed=13)
    plain = smlm.as_camera(GAIN, offset=OFFSET, quantum_efficiency=QE)
    found = photons_of(crops, table, camera=plain, method=CropFit(read_noise=READ))
    np.testing.assert_allclose(found.photons, photons_of(crops, table).photons, rtol=1e-12)
    loud = photons_of(crops, table, camera=plain, method=CropFit(read_noise=10.0))
    assert (loud.photons_error > 1.7 * found.photons_error).all()


def test_a_background_with_an_offset_nobody_knows_counts_as_light():
    crops, table = scene(300, 1000, 10, seed=14)
    movie, table = movie_of(crops), table.assign(frame=np.arange(300))
    under = xr.full_like(movie, OFFSET + 10 * QE / GAIN, dtype="f4")
    gain = smlm.as_camera(GAIN, quantum_efficiency=QE)
    found = photons_of(movie, table, camera=gain, background=under)
    known = photons_of(movie, table, camera=CAMERA, background=under)
    assert (found.photons_error > 1.2 * known.photons_error).all()
    assert found.background.mean() == pytest.approx(
        known.background.mean() + OFFSET * GAIN / QE, abs=0.5
    )
    np.testing.assert_allclose(known.photons, photons_of(movie, table).photons, rtol=1e-5)


def test_a_variance_nobody_knows_is_the_read_noise_of_the_fit():
    crops, table = scene(50, 1000, 2, seed=13)
    lost = CAMERA.assign(variance=CAMERA.variance * np.nan)
    found = photons_of(crops, table, camera=lost, method=CropFit(read_noise=READ))
    np.testing.assert_allclose(found.photons, photons_of(crops, table).photons, rtol=1e-12)


def test_a_spline_of_the_gaussian_gives_its_photons():
    crops, table = scene(200, 1000, 10, seed=19)
    along = np.arange(-1000.0, 1001.0, 25.0)
    line = make_interp_spline(along, statement.peak_one(along, SIGMA, PIXEL))
    depth = np.r_[[-500.0] * 4, [500.0] * 4]
    coefficients = np.ones((4, 1, 1)) * line.c[:, None] * line.c
    spline = smlm.as_spline_psf(line.t, line.t, depth, coefficients)
    found, wanted = (photons_of(crops, table, psf=p) for p in (spline, SIGMA))
    for name in ("photons", "photons_error", "background"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-4)


# ------------------------------------------------------------------ what cannot be


def test_a_free_background_needs_none_and_room():
    crops, table = scene(20, 1000, 10, seed=15)
    found = photons_of(crops, table.drop(columns="background"), method="free")
    np.testing.assert_array_equal(found.photons, photons_of(crops, table, method="free").photons)
    with pytest.raises(TableError, match="background"):
        photons_of(crops, table.drop(columns="background"))
    with pytest.raises(ParameterError, match="9 or more"):
        photons_of(crops[:, :8], table, method="free")


@pytest.mark.parametrize(
    "words",
    [
        {"background": "none"},
        {"background_error": -0.1},
        {"background_error": np.nan},
        {"position_error": "10"},
        {"robust": 1},
        {"read_noise": np.inf},
    ],
)
def test_fits_that_cannot_be(words):
    with pytest.raises(ParameterError, match=f"CropFit.{next(iter(words))}"):
        CropFit(**words)


@pytest.mark.parametrize("name", ["background_error", "position_error"])
def test_columns_of_errors(name):
    crops, table = scene(3, 1000, 10, seed=16)
    with pytest.raises(TableError, match=name):
        photons_of(crops, table.assign(**{name: "a"}))
    found = photons_of(crops, table.assign(**{name: [0.1, np.nan, np.inf]}))
    assert np.isfinite(found.photons).to_numpy().tolist() == [True, False, False]
    assert np.isnan(found.background[1:]).all()
    assert set(found.status.to_numpy()[1:]) <= {Reason.NOT_FINITE, Reason.NO_PSF}
    # The matched filter knows no such columns.
    one, two = (
        photons_of(crops, t, method="weighted") for t in (table, table.assign(**{name: 9.0}))
    )
    np.testing.assert_array_equal(one.photons, two.photons)


def test_a_spline_is_not_widened():
    crops, table = scene(3, 1000, 10, seed=17)
    knots = np.r_[[-900.0] * 3, np.linspace(-900, 900, 8), [900.0] * 3]
    spline = smlm.as_spline_psf(knots, knots, knots, np.ones((10, 10, 10)))
    assert (photons_of(crops, table, psf=spline).status == 0).all()
    for wrong in (
        {"method": CropFit(position_error=5.0)},
        {"table": table.assign(position_error=5.0)},
    ):
        with pytest.raises(ParameterError, match="spline"):
            photons_of(crops, **{"table": table, "psf": spline} | wrong)


def test_maps_and_given_crops_do_not_go_together():
    crops, table = scene(3, 1000, 10, seed=18)
    for name in ("gain", "offset", "variance"):
        camera = CAMERA.assign({name: (("y", "x"), np.ones((11, 11)))})
        with pytest.raises(ParameterError, match=f"map of {name}"):
            photons_of(crops, table, camera=camera)
