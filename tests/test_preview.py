"""preview: whole windows of the movie, and blocks that take it as the movie it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import smlm_dask as smlm
from smlm_dask.errors import MovieError, ParameterError, TableError
from tests import laws

EVERY = 3


@pytest.mark.parametrize(
    ("chunks", "window", "step"),
    [(200, 200, 200), (40, 20, 40), (400, 200, 200), (70, 200, 200), (5000, 200, 200)],
)
def test_windows_keep_their_samples_numbers_and_times(chunks: int, window: int, step: int) -> None:
    values = np.random.default_rng(0).integers(0, 9000, (1750, 4, 5)).astype("u2")
    movie = smlm.as_movie(values, pixel_size=100, frame_time=0.5, chunks=chunks)
    first = 10 if chunks == 70 else 0
    found = smlm.preview(movie[first:], every=EVERY, window=window)
    wanted = np.arange(first, 1750)[(np.arange(1750 - first) // step) % EVERY == 0]
    np.testing.assert_array_equal(found, values[wanted])
    np.testing.assert_array_equal(found.frame, wanted)
    np.testing.assert_allclose(found.time, wanted * 0.5)
    assert found.attrs == movie.attrs
    assert float(found.pixel_size_y) == 100


def test_nothing_else_is_read() -> None:
    samples = laws.samples((2000, 32, 40))
    source = laws.Source(samples, (200, 32, 40))
    movie = smlm.preview(laws.movie_of(source, (200, -1, -1)), every=4)
    assert source.reads.sum() == 0
    smlm.estimate_gain(movie).compute()
    assert source.reads.ravel().tolist() == [1, 0, 0, 0] * 2 + [1, 0]


@pytest.mark.parametrize(
    "name", ["gain", "sparse-median", "background", "psf", "photons-own-gain", "readme"]
)
def test_blocks_take_it_as_a_movie_of_these_frames(name: str) -> None:
    samples = laws.samples((1200, *laws.SHAPE[1:]))
    taken = smlm.preview(laws.movie_of(samples, (200, -1, -1)), every=2)
    kept = samples.reshape(6, 200, *laws.SHAPE[1:])[::2].reshape(600, *laws.SHAPE[1:])
    alone = laws.movie_of(kept, (200, -1, -1)).assign_coords(frame=taken.frame.values)
    found, wanted = (laws.compute(laws.CASES[name].build(m)) for m in (taken, alone))
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_rows_of_frames_that_were_left_out_are_refused() -> None:
    movie = smlm.as_movie(
        np.random.default_rng(1).poisson(100, (1200, 16, 16)).astype("u2"), pixel_size=100
    )
    taken = smlm.preview(movie, every=2)
    table = pd.DataFrame({"frame": [5, 300, 401], "x": 800.0, "y": 700.0, "background": 90.0})
    known = {"camera": smlm.as_camera(1, offset=0, variance=1), "psf": smlm.as_psf(130)}
    with pytest.raises(TableError, match=r"first row 1: 300; wanted .*isin\(movie.frame\)"):
        smlm.integrate_photons(taken, table, **known)  # type: ignore[arg-type]
    rows = table[table["frame"].isin(taken.frame)]
    found, wanted = (smlm.integrate_photons(m, rows, **known) for m in (taken, movie))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.photons, wanted.photons)
    assert np.isfinite(found.photons).all()


def test_all_of_a_short_movie() -> None:
    movie = smlm.as_movie(np.ones((30, 4, 4), "u2"), pixel_size=100)
    xr.testing.assert_identical(smlm.preview(movie), movie.chunk())


@pytest.mark.parametrize("keywords", [{"every": 0}, {"every": 2.5}, {"window": 0}])
def test_keywords_are_whole_numbers(keywords: dict[str, float]) -> None:
    movie = smlm.as_movie(np.ones((30, 4, 4), "u2"), pixel_size=100)
    with pytest.raises(ParameterError):
        smlm.preview(movie, **keywords)  # type: ignore[arg-type]


def test_a_movie_is_wanted() -> None:
    with pytest.raises(MovieError):
        smlm.preview(np.ones((30, 4, 4)))  # type: ignore[arg-type]
