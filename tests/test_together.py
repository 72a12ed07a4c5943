"""Photons of emitters that shine into each other's crops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import smlm_dask as smlm
from smlm_dask import CropFit
from smlm_dask.crop_fit import KNOWN
from smlm_dask.errors import ParameterError
from smlm_dask.kernels.likelihood import RESULTS, fit_crops
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.together import fit_together, near
from tests.statements import photons as statement

GAIN, OFFSET, READ, PIXEL, SIGMA = 0.46, 100.0, 1.4, 100.0, 120.0
CAMERA = smlm.as_camera(GAIN, offset=OFFSET, variance=(READ / GAIN) ** 2)
JOINT = CropFit(neighbours="joint")


def shape(y, x):
    return statement.plane_gaussian((11, 11), y, x, SIGMA, SIGMA, 0.0, (PIXEL, PIXEL)).ravel()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    known=st.sampled_from(sorted(KNOWN)),
    relative=st.booleans(),
    error=st.sampled_from([0.0, 0.1, 3.0]),
    lost=st.sampled_from([0.0, 0.1]),
)
def test_a_joint_fit_equals_its_statement(seed, known, relative, error, lost):
    random = np.random.default_rng(seed)
    begin = np.concatenate([[0], np.cumsum(random.integers(1, 4, 5))])
    place = np.stack([500 + 250 * (np.arange(begin[-1]) % 3), random.uniform(300, 700, begin[-1])])
    shapes = np.stack([shape(*p) for p in place.T])
    bright = random.uniform(0, 2000, begin[-1])
    light = np.stack([bright[a:b] @ shapes[a:b] for a, b in pairwise(begin)])
    under = random.uniform(1, 50, light.shape)
    left = random.random(light.shape) < lost
    signal = np.where(left, 0.0, random.poisson(light + under) - under)
    spread = np.where(left, np.inf, under + 2)
    numbers = (~left).sum(axis=1).astype(float), np.full(5, error)
    out = np.empty((5, len(RESULTS)))
    fit_together(shapes, begin, signal, spread, *numbers, relative, KNOWN[known], out)
    for k in range(5):
        columns = shapes[begin[k] : begin[k + 1]], signal[k], spread[k]
        wanted = statement.together(*columns, error, relative, known)
        np.testing.assert_allclose(out[k], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("known", sorted(KNOWN))
def test_one_emitter_together_is_one_alone(known):
    random = np.random.default_rng(1)
    shapes = np.stack([shape(*random.uniform(450, 550, 2)) for _ in range(9)])
    signal = random.normal(800 * shapes, 4)
    spread, numbers = np.full(signal.shape, 14.0), (np.full(9, 121.0), np.full(9, 0.1))
    one, two = np.empty((2, 9, len(RESULTS)))
    fit_together(shapes, np.arange(10), signal, spread, *numbers, True, KNOWN[known], one)
    fit_crops(shapes, signal, spread, *numbers, True, KNOWN[known], False, two)
    np.testing.assert_allclose(one, two, rtol=1e-7)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_pairs_are_those_of_a_frame_within_reach(seed, n):
    random = np.random.default_rng(seed)
    frame, (y, x) = np.sort(random.integers(0, 5, n)), random.uniform(0, 40, (2, n))
    y[random.random(n) < 0.1] = np.nan
    first, other = near(frame, y, x, (7.0, 9.0))
    wanted = [
        (i, j)
        for i in range(n)
        for j in range(n)
        if i != j and frame[i] == frame[j] and abs(y[i] - y[j]) <= 7 and abs(x[i] - x[j]) <= 9
    ]
    assert list(zip(first.tolist(), other.tolist(), strict=True)) == wanted


# ------------------------------------------------------------------ in movies


def crowd(n, distance, photons=(1000.0, 1000.0), seed=3010):
    """Two emitters in each of ``n`` frames, and their table."""
    random = np.random.default_rng(seed)
    own, turn = 1500 + random.uniform(-50, 50, (2, n)), random.uniform(0, 2 * np.pi, n)
    beside = own + distance * PIXEL * np.stack([np.sin(turn), np.cos(turn)])
    edges = (np.arange(32) - 0.5)[:, None, None] * PIXEL
    light = np.full((n, 31, 31), 10.0)
    for bright, at in zip(photons, (own, beside), strict=True):
        shares = np.diff(statement.erf((edges - at) / (np.sqrt(2) * SIGMA)), axis=0) / 2
        light += bright * np.einsum("yn,xn->nyx", shares[:, 0], shares[:, 1])
    counts = (random.poisson(light) + random.normal(0, READ, light.shape)) / GAIN + OFFSET
    place = np.concatenate([own, beside], axis=1)
    columns = {"frame": np.tile(np.arange(n), 2), "y": place[0], "x": place[1], "background": 10.0}
    return smlm.as_movie(np.rint(counts), pixel_size=PIXEL), pd.DataFrame(columns)


def photons_of(movie, table, method=JOINT, **keywords):
    keywords = {"camera": CAMERA, "psf": SIGMA} | keywords
    return smlm.integrate_photons(movie, table, method=method, **keywords).compute()


@pytest.mark.parametrize("background", ["prior", "fixed", "free"])
@pytest.mark.parametrize("distance", [1.5, 3.0, 5.0, 7.0])
def test_neighbours_that_are_known_do_no_harm(background, distance):
    n = 3000
    movie, table = crowd(n, distance)
    fit = CropFit(background=background, background_error=0.0, neighbours="joint")
    if background != "free":
        table = table.assign(background_error=0.0)
    found = photons_of(movie, table, fit)
    error = found.photons.to_numpy()[:n] - 1000
    assert abs(error.mean()) < 3.5 * error.std() / np.sqrt(n)
    assert (error / found.photons_error[:n]).std() == pytest.approx(1, abs=3.5 / np.sqrt(2 * n))
    assert (found.chi2_z > 4).mean() < 0.003
    alone = photons_of(movie, table, CropFit(background=background))
    assert (alone.chi2_z[:n] > 4).mean() > 0.9


def test_a_lone_emitter_is_fitted_alone():
    movie, table = crowd(40, 11.0)
    far, alone = photons_of(movie, table), photons_of(movie, table, "map")
    np.testing.assert_array_equal(far.photons, alone.photons)
    one = table[:40]
    np.testing.assert_array_equal(
        photons_of(movie, one).photons, photons_of(movie, one, "map").photons
    )


def test_the_order_of_rows_and_chunks_change_nothing():
    movie, table = crowd(60, 3.0)
    order = np.random.default_rng(1).permutation(len(table))
    found = photons_of(movie, table)
    other = photons_of(movie.chunk(frame=7), table.iloc[order])
    np.testing.assert_array_equal(other.photons, found.photons.to_numpy()[order])


def test_emitters_in_one_place_cannot_be_told_apart():
    movie, table = crowd(20, 0.0)
    found = photons_of(movie, table)
    assert np.isnan(found.photons).all()
    assert set(found.status.to_numpy()) == {Reason.FIT_FAILED}


def test_a_neighbour_that_is_not_known_is_none():
    movie, table = crowd(20, 3.0)
    second = table.index >= 20
    lost = table.assign(sigma=np.where(second, np.nan, SIGMA))
    found = photons_of(movie, lost)
    assert set(found.status.to_numpy()[second]) == {Reason.NO_PSF}
    alone = photons_of(movie, table[~second].assign(sigma=SIGMA), "map")
    np.testing.assert_array_equal(found.photons[~second], alone.photons)


def test_maps_images_and_own_widths_are_those_of_the_crop():
    movie, table = crowd(30, 3.0)
    random = np.random.default_rng(2)
    at = {n: movie.coords[n] for n in ("y", "x")}
    gain = xr.DataArray(GAIN * random.normal(1, 0.05, (31, 31)), at, ("y", "x"))
    camera = CAMERA.assign(gain=gain.where(random.random((31, 31)) > 0.03))
    table = table.assign(
        sigma_x=random.uniform(110, 130, 60), sigma_y=random.uniform(110, 130, 60), theta=20.0
    )
    found = photons_of(movie, table, camera=camera)
    frames, known = movie.to_numpy(), camera.gain.to_numpy()
    for k in (0, 17, 35, 59):
        own, other = table.iloc[k], table.iloc[(k + 30) % 60]
        y0, x0 = (int(np.rint(own[a] / PIXEL)) - 5 for a in "yx")
        here = slice(y0, y0 + 11), slice(x0, x0 + 11)
        shapes = [
            statement.plane_gaussian(
                (11, 11),
                *(e.y - y0 * PIXEL, e.x - x0 * PIXEL),
                *(e.sigma_y, e.sigma_x, e.theta, (PIXEL, PIXEL)),
            ).ravel()
            for e in (own, other)
        ]
        variance = np.full((11, 11), (READ / GAIN) ** 2)
        crop = frames[k % 30][here], OFFSET, known[here], np.full((11, 11), OFFSET), variance
        signal, spread, _, _ = statement.electrons(*crop, 10.0)
        columns = np.stack(shapes), signal.ravel(), spread.ravel()
        wanted = statement.together(*columns, 0.05, True, "prior")
        np.testing.assert_allclose(found.photons[k], wanted[0], rtol=1e-6)
        np.testing.assert_allclose(found.photons_error[k], wanted[1], rtol=1e-6)


def test_what_does_not_go_with_neighbours():
    movie, table = crowd(3, 3.0)
    with pytest.raises(ParameterError, match="one of the two"):
        CropFit(robust=True, neighbours="joint")
    with pytest.raises(ParameterError, match="neighbours"):
        CropFit(neighbours="both")
    crops = movie[:, 10:21, 10:21].rename(frame="emitter").drop_vars("emitter")
    with pytest.raises(ParameterError, match="frames are not known"):
        photons_of(crops, table[:3].assign(x0=10, y0=10))
