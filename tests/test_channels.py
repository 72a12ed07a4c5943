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


@pytest.mark.parametrize("channels", [None, 3, "ab", [1], {}, xr.DataArray([1.0])], ids=str)
def test_channels_are_a_mapping(channels):
    with pytest.raises(ParameterError, match="channels: got"):
        smlm.map_channels(smlm.estimate_gain, channels)


@pytest.mark.parametrize("block", [None, "estimate_gain", lambda movie: None, lambda movie: movie])
def test_a_block_makes_a_dataset(movies, block):
    tree = xr.DataTree.from_dict({n: m.to_dataset(name="movie") for n, m in movies.items()})
    for channels in (movies, tree):
        with pytest.raises(ParameterError, match="block: got"):
            smlm.map_channels(block, channels)


def test_a_tree_that_lacks_a_channel(movies):
    cameras = xr.DataTree.from_dict({"red": smlm.as_camera(1.0)})
    with pytest.raises(ParameterError, match=r"camera by channel.*red.*green"):
        smlm.map_channels(
            smlm.integrate_photons, movies, _spots(None), camera=cameras, psf=120.0, size_pixels=7
        )


def test_values_that_lack_a_channel_are_named_whatever_their_keys(movies):
    numbered = {1: movies["red"], "a": movies["green"]}
    with pytest.raises(ParameterError, match=r"radius by channel.*'1', 'a'"):
        smlm.map_channels(smlm.background_spatial_mean, numbered, radius={1: 3.0})


def test_an_error_of_a_block_tells_the_channel(movies):
    radius = {"red": 3.0, "green": -1.0}
    with pytest.raises(ParameterError, match="radius: got -1") as caught:
        smlm.map_channels(smlm.background_spatial_mean, movies, radius=radius)
    assert caught.value.__notes__ == ["in channel 'green'"]
