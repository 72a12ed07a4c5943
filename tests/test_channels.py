"""map_channels: one block, several channels."""

import numpy as np
import pytest
import xarray as xr

import smlm_dask as smlm
from smlm_dask.errors import ParameterError


@pytest.fixture(scope="module")
def movies():
    rng = np.random.default_rng(1)
    shapes = {"red": (60, 20, 24), "green": (50, 24, 20)}
    sizes = {"red": 100.0, "green": (110.0, 90.0)}
    return {
        n: smlm.as_movie(rng.poisson(50, s).astype("u2"), pixel_size=sizes[n])
        for n, s in shapes.items()
    }


def test_each_channel_gets_the_block(movies):
    found = smlm.map_channels(smlm.background_spatial_mean, movies, radius=4.0)
    assert list(found) == ["red", "green"]
    for name, movie in movies.items():
        xr.testing.assert_identical(found[name], smlm.background_spatial_mean(movie, radius=4.0))


def test_values_by_channel_are_taken_apart(movies):
    windows = {"red": 20, "green": 25}
    found = smlm.map_channels(smlm.background_sparse_median, movies, window=windows)
    for name, movie in movies.items():
        alone = smlm.background_sparse_median(movie, window=windows[name])
        xr.testing.assert_identical(found[name], alone)


def test_a_tree_in_is_a_tree_out(movies):
    tree = xr.DataTree.from_dict({n: m.to_dataset(name="movie") for n, m in movies.items()})
    found = smlm.map_channels(smlm.background_spatial_mean, tree)
    assert isinstance(found, xr.DataTree)
    for name, movie in movies.items():
        alone = smlm.background_spatial_mean(movie)
        np.testing.assert_array_equal(found[name].background, alone.background)


def test_results_of_one_block_feed_the_next(movies):
    tree = xr.DataTree.from_dict({n: m.to_dataset(name="movie") for n, m in movies.items()})
    background = smlm.map_channels(smlm.background_sparse_median, tree, window=20)
    spots = {n: _spots(m) for n, m in movies.items()}
    signal = smlm.map_channels(
        smlm.integrate_photons,
        tree,
        spots,
        camera=1.0,
        psf=120.0,
        size_pixels=7,
        background=background,
    )
    for name, movie in movies.items():
        own = smlm.background_sparse_median(movie, window=20)
        alone = smlm.integrate_photons(
            movie, spots[name], camera=1.0, psf=120.0, size_pixels=7, background=own
        )
        np.testing.assert_array_equal(signal[name].photons, alone.photons)


def _spots(movie):
    import pandas as pd

    return pd.DataFrame({"frame": [0, 3, 9], "x": [1000.0] * 3, "y": [1100.0] * 3})


def test_no_channels():
    with pytest.raises(ParameterError, match="no channels"):
        smlm.map_channels(smlm.estimate_gain, {})


def test_a_child_without_a_movie():
    tree = xr.DataTree.from_dict({"red": xr.Dataset()})
    with pytest.raises(ParameterError, match="red"):
        smlm.map_channels(smlm.estimate_gain, tree)


def test_a_value_that_lacks_a_channel(movies):
    with pytest.raises(ParameterError, match="green"):
        smlm.map_channels(smlm.background_spatial_mean, movies, radius={"red": 7.0})
