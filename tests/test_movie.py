"""as_movie makes a movie, check_movie knows one, and neither computes anything."""

import pickle

import dask
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from smlm_dask import errors
from smlm_dask.movie import as_movie, check_movie, check_samples, open_movie, select_map

FRAMES = np.random.default_rng(2).integers(0, 60000, (23, 12, 17)).astype(np.uint16)
LABELS = {"frame", "y", "x", "pixel_size_y", "pixel_size_x"}


def raise_if_computed(*args, **keywords):
    raise AssertionError("something was computed")


@pytest.fixture
def movie():
    return as_movie(FRAMES, pixel_size=108)


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "movie.npy", FRAMES)
    return tmp_path / "movie.npy"


# ------------------------------------------------------------------ what a movie looks like


@pytest.mark.parametrize("source", ["file", "numpy", "dask", "DataArray"])
def test_every_source_gives_the_same_movie(path, source):
    keywords = {"pixel_size": (108, 110), "frame_time": 0.02}
    data = {"dask": da.from_array(FRAMES), "numpy": FRAMES}.get(
        source, xr.DataArray(FRAMES, dims=("frame", "y", "x"))
    )
    movie = open_movie(path, **keywords) if source == "file" else as_movie(data, **keywords)
    assert (movie.name, movie.dims, movie.attrs) == ("movie", ("frame", "y", "x"), {"units": "adu"})
    assert set(movie.coords) == LABELS | {"time"}
    for name, size in zip(movie.dims, FRAMES.shape, strict=True):
        assert movie[name].dtype == np.int64
        np.testing.assert_array_equal(movie[name], np.arange(size))
    assert (float(movie.pixel_size_y), float(movie.pixel_size_x)) == (108.0, 110.0)
    assert movie.pixel_size_y.attrs == movie.pixel_size_x.attrs == {"units": "nm"}
    assert (movie.time.attrs, movie.time.dims) == ({"units": "s"}, ("frame",))
    np.testing.assert_allclose(movie.time, np.arange(23) * 0.02)
    assert movie.time.chunks is None
    assert movie.chunks is not None
    np.testing.assert_array_equal(movie.values, FRAMES)


def test_nothing_is_computed(path):
    lazy = da.map_blocks(raise_if_computed, chunks=FRAMES.shape, dtype="u2", meta=FRAMES[:0])
    with dask.config.set(scheduler=raise_if_computed):
        check_movie(open_movie(path, pixel_size=108), minimum_frames=3)
        check_movie(as_movie(lazy, pixel_size=108))
        check_movie(as_movie(FRAMES, pixel_size=108)[3:, :4])


def test_dims_are_found_by_name():
    turned = xr.DataArray(FRAMES, dims=("frame", "y", "x")).transpose("x", "frame", "y")
    np.testing.assert_array_equal(as_movie(turned, pixel_size=108).values, FRAMES)


def test_cropped_data_array_keeps_its_place():
    place = {"frame": np.arange(5, 28), "y": np.arange(100, 112)}
    movie = as_movie(xr.DataArray(FRAMES, place, ("frame", "y", "x")), pixel_size=108)
    assert movie.y.values.tolist() == list(range(100, 112))
    assert movie.frame.values.tolist() == list(range(5, 28))
    assert movie.x.values.tolist() == list(range(17))


def test_as_movie_of_a_movie_changes_the_pixel_size_alone(movie):
    timed = as_movie(movie, pixel_size=108, frame_time=0.5)
    again = as_movie(timed, pixel_size=120)
    assert float(again.pixel_size_x) == 120
    assert again.data.name == movie.data.name
    np.testing.assert_array_equal(again.time, timed.time)


@given(chunks=st.tuples(st.integers(1, 30), st.integers(1, 30), st.sampled_from([-1, 5])))
def test_chunks_are_honoured(chunks):
    wanted = dict(zip(("frame", "y", "x"), chunks, strict=True))
    expected = xr.DataArray(FRAMES, dims=("frame", "y", "x")).chunk(wanted).chunks
    assert as_movie(FRAMES, pixel_size=108, chunks=wanted).chunks == expected
    lazy = da.from_array(FRAMES, chunks=(4, 4, 4))
    assert as_movie(lazy, pixel_size=108, chunks=wanted).chunks == expected
    assert as_movie(lazy, pixel_size=108).data.name == lazy.name


def test_large_array_is_cut_into_windows():
    movie = as_movie(np.broadcast_to(np.uint16(1), (1000, 2048, 64)), pixel_size=108)
    assert movie.data.chunksize == (200, 2048, 64)


def test_open_movie_honours_chunks(path):
    movie = open_movie(path, pixel_size=108, chunks={"frame": 4, "y": 5})
    assert movie.data.chunksize == (4, 5, 17)
    np.testing.assert_array_equal(movie.values, FRAMES)


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        (5, ((5, 5, 5, 5, 3), (12,), (17,))),
        (np.int64(20), ((20, 3), (12,), (17,))),
        (-1, ((23,), (12,), (17,))),
        ("auto", ((23,), (12,), (17,))),
        ({"frame": "auto", "y": 6}, ((23,), (6, 6), (17,))),
        ((10, 6, -1), ((10, 10, 3), (6, 6), (17,))),
        (((20, 3), 12, 17), ((20, 3), (12,), (17,))),
        ({"frame": [20, 3]}, ((20, 3), (12,), (17,))),
        ({"frame": None}, ((23,), (12,), (17,))),
        ({}, ((23,), (12,), (17,))),
    ],
)
def test_chunks_may_be_said_in_many_ways(path, chunks, wanted):
    with dask.config.set(scheduler=raise_if_computed):
        assert open_movie(path, pixel_size=108, chunks=chunks).chunks == wanted
        assert as_movie(FRAMES, pixel_size=108, chunks=chunks).chunks == wanted


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_other_byte_order_is_turned_in_the_chunks(dtype, lazy):
    stored = FRAMES.astype(dtype)
    with dask.config.set(scheduler=raise_if_computed):
        movie = as_movie(
            da.from_array(stored, chunks=(4, 12, 17)) if lazy else stored, pixel_size=1
        )
    assert movie.dtype == np.dtype(dtype).newbyteorder("=")
    assert movie.dtype.isnative
    np.testing.assert_array_equal(movie.values, FRAMES)
    wrong = movie.copy(data=stored)
    with pytest.raises(errors.DtypeError, match=f"byte order.*astype..{movie.dtype}"):
        check_movie(wrong)
    check_movie(wrong.astype(str(movie.dtype)))


def test_a_time_that_is_not_of_frames_is_left_behind():
    frames = xr.DataArray(FRAMES, dims=("frame", "y", "x"))
    for time in (3.0, (("y", "x"), FRAMES[0])):
        assert "time" not in as_movie(frames.assign_coords(time=time), pixel_size=108).coords


def test_labels_take_no_room():
    movie = as_movie(da.zeros((100_000, 8, 8), chunks=(1000, 8, 8), dtype="u2"), pixel_size=108)
    assert len(pickle.dumps(movie)) < 20_000
    assert isinstance(movie[::3].indexes["frame"], pd.RangeIndex)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "size", [0, -1, np.nan, np.inf, "108", None, (108,), (1, 2, 3), True, 0.108, 1e9, (108, None)]
)
def test_pixel_size_must_be_nanometres(size, path):
    with pytest.raises(errors.PixelSizeError, match="pixel_size"):
        as_movie(FRAMES, pixel_size=size)
    with pytest.raises(errors.PixelSizeError, match="pixel_size"):
        open_movie(path, pixel_size=size)


@pytest.mark.parametrize("time", [0, -0.1, np.nan, np.inf, "0.02", True, 10**400, [0.1]])
def test_frame_time_must_be_seconds(time):
    with pytest.raises(errors.ParameterError, match="frame_time"):
        as_movie(FRAMES, pixel_size=108, frame_time=time)


@pytest.mark.parametrize(
    "chunks",
    [0, -2, 2.5, True, np.nan, "100 MB", b"x", (), [5], (5, 5), (5, 5, 0), object(), {1: 1}]
    + [{"time": 5}, {"frame": 5, "z": 1}, {"z": "auto"}]
    + [{"frame": size} for size in (0, -5, 2.5, "a", True, (), (5, 5), (-1, 24), (0, 23), [23.0])],
    ids=repr,
)
def test_impossible_chunks_are_refused(path, chunks):
    with pytest.raises(errors.ParameterError, match="chunks"):
        open_movie(path, pixel_size=108, chunks=chunks)
    for data in (FRAMES, da.from_array(FRAMES, chunks=(4, 4, 4))):
        with pytest.raises(errors.ParameterError, match="chunks"):
            as_movie(data, pixel_size=108, chunks=chunks)


def test_too_many_chunks_are_refused_before_they_are_made():
    vast = np.broadcast_to(np.uint16(0), (10**9, 2, 2))
    with pytest.raises(errors.ParameterError, match="chunks"):
        as_movie(vast, pixel_size=108, chunks={"frame": 1})
    for chunks in (np.int64(1), {"frame": np.int64(1)}, (1, -1, -1)):
        with pytest.raises(errors.ParameterError, match="which make 1000000000 chunks"):
            as_movie(vast, pixel_size=108, chunks=chunks)


@pytest.mark.parametrize(
    "data",
    [FRAMES[0], FRAMES[None], xr.DataArray(FRAMES), xr.DataArray(FRAMES, dims=("t", "y", "x")), 3],
)
def test_as_movie_refuses_other_dims(data):
    with pytest.raises(errors.DimsError, match="frame, y, x"):
        as_movie(data, pixel_size=108)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "NoneType of 0 axes"),
        ("abc", "str of 0 axes"),
        ({}, "dict of 0 axes"),
        ([[1], [1, 2]], "list of 0 axes"),
        (FRAMES[0], r"ndarray of 2 axes.*array\[None\]"),
        (pd.DataFrame(FRAMES[0]), "DataFrame of 2 axes"),
        (xr.Dataset({"movie": (("frame", "y", "x"), FRAMES)}), r'Dataset.*data\["movie"\]'),
        (xr.DataTree(), r'DataTree.*data\["movie"\]'),
        (da.from_array(FRAMES)[da.from_array(FRAMES[:, 0, 0]) > 9], "compute_chunk_sizes"),
    ],
    ids=repr,
)
def test_as_movie_says_what_it_got(data, words):
    with dask.config.set(scheduler=raise_if_computed), pytest.raises(errors.DimsError, match=words):
        as_movie(data, pixel_size=108)


@pytest.mark.parametrize(
    "frame",
    [
        np.arange(-5, 18),
        np.arange(23, dtype="u8") + 2**63,
        np.arange(23.0),
        np.r_[np.nan, np.arange(22.0)],
        np.arange(23) * 1e300,
        list("abcdefghijklmnopqrstuvw"),
        pd.date_range("2000", periods=23),
        np.zeros(23, int),
        np.arange(23)[::-1],
    ],
    ids=repr,
)
def test_frame_numbers_are_those_a_table_can_hold(frame):
    with pytest.raises(errors.DimsError, match=r"movie.frame"):
        as_movie(xr.DataArray(FRAMES, {"frame": frame}, ("frame", "y", "x")), pixel_size=108)


def test_negative_frames_are_mended_as_proposed():
    data = xr.DataArray(FRAMES, {"frame": np.arange(-5, 18)}, ("frame", "y", "x"))
    mended = data.assign_coords(frame=data.frame - data.frame[0])
    assert as_movie(mended, pixel_size=108).frame[0] == 0


def test_frames_of_two_names_are_no_index():
    pairs = pd.MultiIndex.from_arrays([range(23), range(23)], names=["a", "b"])
    coords = xr.Coordinates.from_pandas_multiindex(pairs, "frame")
    with pytest.raises(errors.DimsError, match=r"movie.frame"):
        as_movie(xr.DataArray(FRAMES, coords, ("frame", "y", "x")), pixel_size=108)


def test_a_message_is_short_whatever_was_passed():
    for wrong in (FRAMES.tolist(), "x" * 10_000, 10**5000):
        with pytest.raises(errors.PixelSizeError) as caught:
            as_movie(FRAMES, pixel_size=wrong)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("number", [None, "a", 2.5, -1, True])
def test_the_fewest_frames_are_a_whole_number(movie, number):
    with pytest.raises(errors.ParameterError, match="minimum_frames"):
        check_movie(movie, minimum_frames=number)


def test_too_few_frames_are_not_mended_by_too_few(movie):
    with pytest.raises(errors.TooFewFramesError, match=r"got 23 frames.*or window=23$"):
        check_movie(movie, minimum_frames=40)
    with pytest.raises(errors.TooFewFramesError, match=r"got 1 frame;.*part of the movie$"):
        check_movie(movie[:1], minimum_frames=40)


def test_check_movie_returns_the_same_object(movie):
    assert check_movie(movie) is movie


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f4", "f8"])
def test_real_numbers_are_samples(movie, dtype):
    check_movie(movie.astype(dtype))


@pytest.mark.parametrize("dtype", ["?", "c8", "f2", "O", "U3", "M8[s]", "m8[s]"])
def test_other_types_are_no_samples(movie, dtype):
    lazy = da.zeros(FRAMES.shape, chunks=-1, dtype="u1").map_blocks(np.asarray, dtype=dtype)
    wrong = movie.copy(data=lazy)
    with pytest.raises(errors.DtypeError, match="dtype"):
        check_movie(wrong)
    with pytest.raises(errors.DtypeError, match="dtype"):
        as_movie(lazy, pixel_size=108)


def renamed(movie):
    return movie.rename(frame="t")


DAMAGE = {
    "numpy": (lambda m: FRAMES, errors.DimsError, "ndarray"),
    "Dataset": (lambda m: m.to_dataset(), errors.DimsError, "Dataset"),
    "order": (lambda m: m.transpose("y", "x", "frame"), errors.DimsError, r"dims \(y, x, frame\)"),
    "name": (renamed, errors.DimsError, r"dims \(t, y, x\)"),
    "one frame": (lambda m: m[0], errors.DimsError, r"dims \(y, x\)"),
    "no frames": (lambda m: m[:0], errors.EmptyMovieError, "'frame': 0"),
    "no rows": (lambda m: m[:, :0], errors.EmptyMovieError, "'y': 0"),
    "few": (lambda m: m[:4], errors.TooFewFramesError, "4 frames; wanted at least 5"),
    "no pixel": (lambda m: m.drop_vars("pixel_size_x"), errors.PixelSizeError, "nothing"),
    "zero pixel": (lambda m: m.assign_coords(pixel_size_y=0.0), errors.PixelSizeError, "0.0"),
    "text pixel": (lambda m: m.assign_coords(pixel_size_y="108"), errors.PixelSizeError, "U3"),
    "no index": (lambda m: m.drop_vars("y"), errors.DimsError, "movie.y: got no index"),
    "nm index": (lambda m: m.assign_coords(x=m.x * 108.0), errors.DimsError, "float64"),
    "falling": (lambda m: m[::-1], errors.DimsError, "repeated or falling"),
    "repeated": (lambda m: xr.concat([m, m], "frame"), errors.DimsError, "repeated or falling"),
    "flipped": (lambda m: m[:, ::-1], errors.DimsError, "movie.y.*repeated or falling"),
    "lazy pixel": (
        lambda m: m.assign_coords(pixel_size_y=((), da.asarray(108.0))),
        errors.PixelSizeError,
        "pixel_size_y",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_check_movie_names_what_is_wrong(movie, name):
    change, kind, message = DAMAGE[name]
    with dask.config.set(scheduler=raise_if_computed), pytest.raises(kind, match=message) as caught:
        check_movie(change(movie), minimum_frames=5)
    assert isinstance(caught.value, errors.SmlmError)
    assert "Fix: " in str(caught.value)


def test_the_proposed_fixes_work(movie):
    check_movie(movie[::-1].drop_duplicates("frame").sortby("frame"))
    check_movie(as_movie(movie.drop_vars("y", errors="ignore"), pixel_size=108))
    check_movie(renamed(movie).rename(t="frame").transpose("frame", "y", "x"))


def test_samples_may_be_crops(movie):
    crops = movie[:0].drop_vars("frame").rename(frame="emitter")
    assert check_samples(crops) is crops
    with pytest.raises(errors.PixelSizeError):
        check_samples(crops.drop_vars("pixel_size_y"))


@pytest.mark.parametrize(
    "values", ["a", True, 1j, np.zeros((12, 17), bool), np.full((12, 17), None)]
)
def test_maps_hold_real_numbers(movie, values):
    dims = ("y", "x")[: np.ndim(values)]
    with pytest.raises(errors.ParameterError, match="offset: got dtype"):
        select_map("offset", xr.DataArray(values, dims=dims), movie)


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_an_array_in_an_open_file_is_read_when_it_is_computed(kind, tmp_path):
    frames = np.arange(400 * 6 * 8, dtype="u2").reshape(400, 6, 8)
    layout = {"shape": frames.shape, "chunks": (50, 6, 8), "dtype": "u2"}
    if kind == "zarr":
        array = zarr.create_array(tmp_path / "a.zarr", **layout)
    else:
        array = h5py.File(tmp_path / "a.h5", "w").create_dataset("movie", **layout)
    movie = as_movie(array, pixel_size=100)
    array[:] = frames  # a movie that had been read would be zero
    np.testing.assert_array_equal(movie, frames)
