"""store and open_results: what is written, what is refused."""

import numpy as np
import pytest
import xarray as xr
import zarr

import smlm_dask as smlm
from smlm_dask.errors import StoreError


@pytest.fixture(scope="module")
def results():
    movie, truth = smlm.simulate_movie(250, (32, 40), light=smlm.Light(gradient=0.5), seed=2)
    spots = smlm.truth_table(truth, slice(0, 250))
    camera = smlm.estimate_gain(movie, window=100)
    signal = smlm.integrate_photons(movie, spots, camera=camera, method="border")
    background = smlm.background_sparse_median(movie, window=100)
    return {"camera": camera, "background": background, "signal": signal}


def test_what_comes_back_is_what_was_computed(results, tmp_path):
    path = smlm.store(results, tmp_path / "results.zarr")
    opened = smlm.open_results(path)
    for name, result in results.items():
        xr.testing.assert_equal(opened[name].to_dataset().compute(), result.compute())
        assert opened[name].attrs["history"] == result.attrs["history"]
        for variable in result:
            assert opened[name][variable].attrs.get("units") == result[variable].attrs.get("units")


def test_zeros_are_stored_not_left_to_the_fill_value(tmp_path):
    movie = smlm.as_movie(np.zeros((40, 16, 16), "u2"), pixel_size=100)
    path = smlm.store({"b": smlm.background_sparse_median(movie, window=20)}, tmp_path / "r.zarr")
    series = zarr.open_array(path, path="b/series")
    assert series.nchunks_initialized == series.nchunks


def test_an_interrupted_store_does_not_open(results, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smlm_dask._graph.write", stop)
    with pytest.raises(KeyboardInterrupt):
        smlm.store(results, tmp_path / "r.zarr")
    with pytest.raises(StoreError, match="no store of results"):
        smlm.open_results(tmp_path / "r.zarr")
    with pytest.raises(StoreError, match="did not end"):
        smlm.open_results(tmp_path / "r.zarr.part")
    monkeypatch.undo()
    smlm.store({"camera": results["camera"]}, tmp_path / "r.zarr")
    assert list(smlm.open_results(tmp_path / "r.zarr").children) == ["camera"]


def test_results_may_be_computed_from_the_store_they_replace(results, tmp_path):
    path = smlm.store({"background": results["background"]}, tmp_path / "r.zarr")
    again = smlm.open_results(path)
    smlm.store(again, path, overwrite=True)
    found = smlm.open_results(path)["background"].to_dataset()
    xr.testing.assert_equal(found.compute(), results["background"].compute())


@pytest.mark.parametrize("what", [None, [1], "a", {"a": 1}, xr.Dataset({"a": 1})])
def test_only_datasets_by_name_are_stored(what, tmp_path):
    with pytest.raises(StoreError, match="Dataset"):
        smlm.store(what, tmp_path / "r.zarr")


def test_nothing_is_overwritten_unless_asked(results, tmp_path):
    few = {"camera": smlm.as_camera(0.5)}
    path = smlm.store(few, tmp_path / "r.zarr")
    with pytest.raises(StoreError, match="overwrite=True"):
        smlm.store(few, path)
    smlm.store({"other": smlm.as_psf(120.0)}, path, overwrite=True)
    assert list(smlm.open_results(path).children) == ["other"]


def test_a_folder_that_is_no_result_is_never_removed(tmp_path):
    movie = tmp_path / "movie.zarr"
    zarr.create_array(movie, shape=(3, 4, 5), dtype="u2")
    with pytest.raises(StoreError, match="something there already"):
        smlm.store({"camera": smlm.as_camera(0.5)}, movie, overwrite=True)
    assert zarr.open_array(movie).shape == (3, 4, 5)


@pytest.mark.parametrize("what", ["nothing", "a movie"])
def test_what_is_no_result_does_not_open(what, tmp_path):
    if what == "a movie":
        zarr.create_array(tmp_path / "r", shape=(3, 4, 5), dtype="u2")
    with pytest.raises(StoreError, match="no store of results"):
        smlm.open_results(tmp_path / "r")


def test_nothing_to_store(tmp_path):
    with pytest.raises(StoreError, match="nothing"):
        smlm.store({}, tmp_path / "r.zarr")


@pytest.mark.parametrize("name", ["../escape", "", "a/b", ".hidden", "zarr.json"])
def test_names_stay_inside(name, tmp_path):
    with pytest.raises(StoreError, match="name"):
        smlm.store({name: smlm.as_camera(0.5)}, tmp_path / "r.zarr")
    assert not (tmp_path / "r.zarr").exists()
