"""store and open_results: what is written, what is refused."""

import shutil

import dask
import dask.array as da
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


@pytest.fixture(scope="module")
def whole(results, tmp_path_factory):
    return smlm.store(results, tmp_path_factory.mktemp("whole") / "r.zarr")


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
    for name in ("r.zarr", "r.zarr.part"):
        with pytest.raises(StoreError, match="did not end"):
            smlm.open_results(tmp_path / name)
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"other results, which differ in.*background/series"):
        smlm.store({"camera": results["camera"]}, tmp_path / "r.zarr")
    smlm.store({"camera": results["camera"]}, tmp_path / "r.zarr", resume=False)
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


@pytest.mark.parametrize("name", [1, None])
def test_names_are_words(name, tmp_path):
    with pytest.raises(StoreError, match="name"):
        smlm.store({name: smlm.as_camera(0.5)}, tmp_path / "r.zarr")


@pytest.mark.parametrize("name", ["b/c", "../x", "", 3])
def test_names_of_variables_stay_inside(name, tmp_path):
    with pytest.raises(StoreError, match="name"):
        smlm.store({"a": xr.Dataset({name: 1.0})}, tmp_path / "r.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tree",
    [
        xr.DataTree(smlm.as_psf(120.0), children={"camera": xr.DataTree(smlm.as_camera(0.5))}),
        xr.DataTree.from_dict({"/a": smlm.as_psf(120.0), "/a/b": smlm.as_camera(0.5)}),
    ],
)
def test_no_part_of_a_tree_is_left_out_silently(tree, tmp_path):
    with pytest.raises(StoreError, match="a tree with data in"):
        smlm.store(tree, tmp_path / "r.zarr")


@pytest.mark.parametrize(
    "result",
    [
        xr.Dataset({"v": ("i", np.array([{}, 1], object))}),
        xr.Dataset({"v": 1.0}, attrs={"x": object()}),
        xr.Dataset({"v": ("i", [1, 2])}, {"a": ("i", [0, 1])}).set_index(i=["a"]).stack(j=["i"]),
    ],
)
def test_what_zarr_cannot_hold_is_named(result, tmp_path):
    with pytest.raises(StoreError, match="result 'mine'"):
        smlm.store({"mine": result}, tmp_path / "r.zarr")
    with pytest.raises(StoreError, match="did not end"):
        smlm.open_results(tmp_path / "r.zarr")


def test_lazy_coordinates_of_any_chunks(tmp_path):
    time = smlm.as_movie(np.zeros((5, 4, 4), "u1"), pixel_size=100).chunk(frame=(1, 3, 1))[:, 0, 0]
    dataset = xr.Dataset({"v": ("i", np.arange(5))}, coords={"c": ("i", time.data)})
    path = smlm.store({"a": dataset}, tmp_path / "r.zarr")
    assert smlm.open_results(path)["a"]["c"].to_numpy().tolist() == [0] * 5


@pytest.mark.parametrize("path", [3, None, b"r.zarr", "s3://bucket/r.zarr"])
def test_paths_that_are_no_folder_here(path):
    for call in (
        lambda: smlm.store({"a": smlm.as_camera(1.0)}, path),
        lambda: smlm.open_results(path),
    ):
        with pytest.raises(StoreError, match="a folder on this machine"):
            call()


@pytest.mark.parametrize("path", [".", "", "/"])
def test_folders_that_are_there(path):
    with pytest.raises(
        StoreError, match=r"something there already|wanted a folder on this machine"
    ):
        smlm.store({"a": smlm.as_camera(1.0)}, path, overwrite=True)


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="can be written to"):
        smlm.store({"a": smlm.as_camera(1.0)}, tmp_path / "file" / "r.zarr")
    with pytest.raises(StoreError, match="something there already"):
        smlm.store({"a": smlm.as_camera(1.0)}, tmp_path / "file", overwrite=True)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="something there already"):
        smlm.store({"a": smlm.as_camera(1.0)}, tmp_path / "link.zarr", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_lies_in_the_way_of_the_unfinished_store_is_never_removed(kind, tmp_path):
    part = tmp_path / "r.zarr.part"
    mine = part if kind == "file" else part / "thesis.tex"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("all of it")
    with pytest.raises(StoreError, match="before it gets its name"):
        smlm.store({"camera": smlm.as_camera(0.5)}, tmp_path / "r.zarr", overwrite=True)
    assert mine.read_text() == "all of it"


GROUP = '{"zarr_format": 3, "node_type": "group", "attributes": %s}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no store of results"),
        ("[]", "no store of results"),
        ("null", "no store of results"),
        ('{"zarr_format": 3}', "no store of results"),
        (GROUP % "{}", "no store of results"),
        (GROUP % "[1]", "no store of results"),
        (GROUP % '{"smlm_dask": "results"}', "did not end"),
        (GROUP % '{"smlm_dask": "results", "complete": "no"}', "did not end"),
        (GROUP % '{"smlm_dask": "results", "complete": true}', "did not end"),
        (GROUP % '{"smlm_dask": "results", "complete": true, "parts": 3}', "undamaged"),
    ],
)
def test_folders_of_anything_do_not_open(text, words, tmp_path):
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(StoreError, match=words):
        smlm.open_results(tmp_path)


def _remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


DAMAGE = {
    "group": lambda path: _remove(path / "camera"),
    "group's names": lambda path: _remove(path / "camera" / "zarr.json"),
    "array": lambda path: _remove(path / "camera" / "gain"),
    "array's names": lambda path: _remove(path / "camera" / "gain" / "zarr.json"),
    "chunk": lambda path: _remove(path / "background" / "series" / "c" / "1"),
    "index": lambda path: _remove(path / "background" / "frame" / "c"),
    "cut names": lambda path: (path / "camera" / "gain" / "zarr.json").write_text("{"),
    "cut group": lambda path: (path / "camera" / "zarr.json").write_text("{"),
    "cut index": lambda path: (path / "background" / "frame" / "c" / "0").write_bytes(b"abc"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_store_that_lost_a_part_does_not_open(what, whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "r.zarr")
    assert len(smlm.open_results(path).children) == 3
    DAMAGE[what](path)
    with pytest.raises(StoreError, match="undamaged"):
        smlm.open_results(path)


# ------------------------------------------------------------------ what others do meanwhile, or did


def line(block=None, **attrs):
    """A lazy result of eight numbers in four chunks."""
    x = da.from_array(np.arange(8.0), 2)
    x = x if block is None else x.map_blocks(block, dtype="f8", meta=np.empty(0))
    return {"r": xr.Dataset({"v": ("x", x, attrs)})}


def begin(results, path, monkeypatch):
    """Write the frame, and be interrupted."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("smlm_dask._graph.write", stop)
        with pytest.raises(KeyboardInterrupt):
            smlm.store(results, path)


def test_a_folder_that_came_meanwhile_is_not_removed(tmp_path):
    def come(block):
        (tmp_path / "r.zarr").mkdir(exist_ok=True)
        (tmp_path / "r.zarr" / "precious.txt").write_text("years of work")
        return block

    with pytest.raises(StoreError, match="something there already"):
        smlm.store(line(come), tmp_path / "r.zarr")
    assert (tmp_path / "r.zarr" / "precious.txt").read_text() == "years of work"


def test_two_runs_to_one_place_do_not_mix(tmp_path):
    begun = []

    def other(block):
        if not begun:
            begun.append(True)
            smlm.store(line(lambda b: b + 100), tmp_path / "r.zarr", resume=False)
        return block

    with dask.config.set(scheduler="sync"), pytest.raises(StoreError, match=r"another run|already"):
        smlm.store(line(other), tmp_path / "r.zarr")
    kept = smlm.open_results(tmp_path / "r.zarr")["r"]["v"]
    np.testing.assert_array_equal(kept, np.arange(8.0) + 100)


@pytest.mark.parametrize(
    "attrs",
    [
        {"scale_factor": 2.0},
        {"add_offset": 5},
        {"_FillValue": 3.0},
        {"units": "days since 2000-01-01"},
    ],
)
def test_attributes_that_make_other_numbers_are_refused(attrs, tmp_path):
    with pytest.raises(StoreError, match="variable 'r/v'"):
        smlm.store(line(**attrs), tmp_path / "r.zarr")


@pytest.mark.parametrize("block", [lambda b: b[:1], lambda b: np.repeat(b, 2), lambda b: b[None]])
def test_a_block_that_is_not_what_the_graph_said(block, tmp_path):
    with pytest.raises(StoreError, match=r"chunk \(\d,\) of r/v: got float64 of shape"):
        smlm.store(line(block), tmp_path / "r.zarr")


def test_times_that_are_still_to_compute_are_refused(tmp_path):
    x = da.from_array(np.arange(8).astype("M8[ns]"), 2)
    with pytest.raises(StoreError, match="still to compute"):
        smlm.store({"r": xr.Dataset({"v": ("x", x)})}, tmp_path / "r.zarr")
    path = smlm.store({"r": xr.Dataset({"v": ("x", x.compute())})}, tmp_path / "r.zarr")
    np.testing.assert_array_equal(smlm.open_results(path)["r"]["v"], x.compute())


def test_unknown_sizes_are_refused(tmp_path):
    x = da.from_array(np.arange(8.0), 2)
    with pytest.raises(StoreError, match="chunks of unknown sizes"):
        smlm.store({"r": xr.Dataset({"v": ("x", x[x > 3])})}, tmp_path / "r.zarr")


def test_the_home_folder_is_one_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert smlm.store(line(), "~/r.zarr") == tmp_path / "r.zarr"
    assert float(smlm.open_results("~/r.zarr")["r"]["v"][3]) == 3


def test_partial_results_have_gaps_of_every_kind(tmp_path):
    types = ["i8", "f4", "?", "c8"]
    lazy = {f"v{i}": da.from_array(np.arange(6).astype(t), 2) for i, t in enumerate(types)}
    data = {n: ("x", a) for n, a in lazy.items()} | {"s": ((), da.zeros((), chunks=()))}
    coords = {"x": np.arange(6), "t": ("x", lazy["v0"])}
    path = smlm.store({"r": xr.Dataset(data, coords)}, tmp_path / "r.zarr")
    for name in (*lazy, "t"):
        (path / "r" / name / "c" / "1").unlink()
    (path / "r" / "s" / "c").unlink()
    (path / "r" / "x" / "c" / "0").unlink()
    found = smlm.open_results(path, partial=True)["r"].to_dataset().compute()
    for name in (*lazy, "t"):
        assert found[name].isnull().to_numpy().tolist() == [False, False, True, True, False, False]
    assert np.isnan(found["s"])
    assert "x" not in found.coords


def test_a_damaged_coordinate_costs_no_chunk_of_the_others(tmp_path):
    calls = []

    def counted(block):
        calls.append(1)
        return block

    results = line(counted)
    results["r"] = results["r"].assign_coords(x=np.arange(8))
    path = smlm.store(results, tmp_path / "r.zarr")
    (path / "r" / "x" / "c" / "0").unlink()
    calls.clear()
    assert len(smlm.repair(results, path)) == 1
    assert smlm.verify(path).empty
    assert calls == []


@pytest.mark.parametrize("lost", ["r/v/zarr.json", "r/zarr.json", "r/x/c/0"])
def test_a_frame_that_was_lost_is_written_again(lost, tmp_path, monkeypatch):
    results = line()
    results["r"] = results["r"].assign_coords(x=np.arange(8))

    begin(results, tmp_path / "r.zarr", monkeypatch)
    (tmp_path / "r.zarr.part" / lost).write_bytes(b"")
    path = smlm.store(results, tmp_path / "r.zarr")
    xr.testing.assert_identical(
        smlm.open_results(path)["r"].to_dataset().compute(), results["r"].compute()
    )


def test_what_a_variable_is_said_to_be_is_part_of_what_it_is(tmp_path, monkeypatch):
    begin(line(note="old"), tmp_path / "r.zarr", monkeypatch)
    with pytest.raises(StoreError, match=r"which differ in \['r/v'\]"):
        smlm.store(line(note="new"), tmp_path / "r.zarr")


def test_a_zarr_movie_that_was_rewritten_in_place_is_stale(tmp_path):
    frames = np.random.default_rng(0).poisson(50, (40, 8, 8)).astype("u2")
    stored = zarr.create_array(
        tmp_path / "m.zarr", shape=frames.shape, chunks=(10, 8, 8), dtype="u2"
    )
    stored[:] = frames
    movie = smlm.open_movie(tmp_path / "m.zarr", pixel_size=100)
    path = smlm.store({"b": smlm.background_sparse_median(movie, window=10)}, tmp_path / "r.zarr")
    smlm.open_results(path)
    stored[:] = frames + 1000
    with pytest.raises(StoreError, match=r"m\.zarr as it was before it changed"):
        smlm.open_results(path)
