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


VIEWS = {"left": (slice(0, 20), slice(0, 12)), "right": (slice(4, None), slice(12, 24))}


def test_views_keep_their_place_on_the_sensor(movies):
    movie = movies["red"]
    views = smlm.split_views(movie, VIEWS)
    assert list(views.children) == ["left", "right"]
    xr.testing.assert_identical(views["left"].movie, movie[:, :20, :12])
    xr.testing.assert_identical(views["right"].movie, movie[:, 4:, 12:])
    assert views["right"].movie.chunks is not None


def test_views_of_a_cropped_movie_are_told_in_sensor_pixels(movies):
    movie = movies["red"][:, 3:, 5:]
    view = smlm.split_views(movie, {"a": (slice(4, 10), slice(None, 12))})["a"].movie
    xr.testing.assert_identical(view, movies["red"][:, 4:10, 5:12])


def test_views_may_overlap(movies):
    both = {"a": (slice(0, 12), slice(0, 24)), "b": (slice(8, 20), slice(0, 24))}
    views = smlm.split_views(movies["red"], both)
    np.testing.assert_array_equal(views["a"].movie[:, 8:], views["b"].movie[:, :4])


def test_blocks_and_maps_of_the_chip_fit_views(movies):
    movie = movies["red"]
    at = {n: movie.coords[n] for n in ("y", "x")}
    ramp = np.arange(480.0).reshape(20, 24) / 100
    offset = xr.DataArray(ramp, at, ("y", "x"))
    views = smlm.split_views(movie, VIEWS)
    found = smlm.map_channels(smlm.estimate_gain, views, window=20, offset=offset)
    np.testing.assert_array_equal(found["right"].offset, ramp[4:, 12:])


def test_positions_in_a_view_are_those_of_the_chip(movies):
    movie = movies["red"]
    views = smlm.split_views(movie, {"a": (slice(4, 20), slice(6, 24))})
    keywords = {"camera": 1.0, "size_pixels": 7, "method": "border"}
    inside = smlm.integrate_photons(views["a"].movie, _spots(movie), **keywords)
    whole = smlm.integrate_photons(movie, _spots(movie), **keywords)
    np.testing.assert_array_equal(inside.photons, whole.photons)


WRONG_VIEWS = [
    None,
    {},
    [("a", (slice(0, 4), slice(0, 4)))],
    {"a": slice(0, 4)},
    {"a": (slice(0, 4),)},
    {"a": (slice(0, 4), 3)},
    {"a": (slice(0, 21), slice(0, 4))},
    {"a": (slice(-4, 4), slice(0, 4))},
    {"a": (slice(4, 4), slice(0, 4))},
    {"a": (slice(0, 8, 2), slice(0, 4))},
    {"a": (slice(0.0, 4.0), slice(0, 4))},
    {"a/b": (slice(0, 4), slice(0, 4))},
    {"": (slice(0, 4), slice(0, 4))},
    {3: (slice(0, 4), slice(0, 4))},
]


@pytest.mark.parametrize("views", WRONG_VIEWS, ids=str)
def test_views_that_cannot_be(views, movies):
    with pytest.raises(ParameterError, match="view"):
        smlm.split_views(movies["red"], views)


def test_views_below_and_left_of_a_cropped_movie(movies):
    with pytest.raises(ParameterError, match="from 3 to 20"):
        smlm.split_views(movies["red"][:, 3:], {"a": (slice(0, 10), slice(0, 4))})
