"""Every format gives the values that were written, or a MovieError that names the file."""

import math
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from picasso import io as picasso_io

from smlm_dask.errors import MovieError, ParameterError, PixelSizeError, SourceCorruptError
from smlm_dask.movie import open_movie
from smlm_dask.readers import SmlmBackend, open_reader
from smlm_dask.readers.backend import formats
from smlm_dask.readers.chunks import default_chunks
from smlm_dask.readers.lazy import MovieArray
from smlm_dask.readers.raw import RawFrames, raw_frames
from smlm_dask.readers.reader import Joined
from smlm_dask.readers.tiff import TiffFrames

REAL = Path(__file__).parents[2] / "shared" / "real"
FRAMES = np.random.default_rng(1).integers(0, 60000, (23, 12, 17)).astype(np.uint16)


# ------------------------------------------------------------------ writers, one per kind of file


def page_by_page(path, *, frames=FRAMES, bigtiff=False, byteorder="<", **keywords):
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as tif:
        for frame in frames:
            tif.write(frame, contiguous=False, **keywords)


def whole(path, *, frames=FRAMES, axes="TYX", writer=None, **keywords):
    tifffile.imwrite(path, frames, metadata={"axes": axes}, **(writer or {}), **keywords)


def two_files(path):
    """An OME-TIFF whose second half lies in another file."""
    half = len(FRAMES) // 2
    second = path.with_name("second.ome.tif")
    data = "".join(
        f'<TiffData FirstT="{t}" FirstC="0" FirstZ="0" IFD="{t if t < half else t - half}" '
        f'PlaneCount="1"><UUID FileName="{path.name if t < half else second.name}">'
        f"urn:uuid:{1 if t < half else 2}</UUID></TiffData>"
        for t in range(len(FRAMES))
    )
    for number, (name, frames) in enumerate(((path, FRAMES[:half]), (second, FRAMES[half:])), 1):
        text = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{number}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            f'DimensionOrder="XYCZT" Type="uint16" SizeX="17" SizeY="12" SizeC="1" SizeZ="1" '
            f'SizeT="{len(FRAMES)}"><Channel ID="Channel:0" SamplesPerPixel="1"/>{data}'
            "</Pixels></Image></OME>"
        )
        with tifffile.TiffWriter(name) as tif:
            for index, frame in enumerate(frames):
                description = text if index == 0 else None
                tif.write(frame, contiguous=False, metadata=None, description=description)


def dax(path, *, order="big", frames=FRAMES):
    frames.astype(">u2" if order == "big" else "<u2").tofile(path)
    path.with_suffix(".inf").write_text(
        f"data type = 16 bit integers (binary, {order} endian)\n"
        f"frame dimensions = {frames.shape[2]} x {frames.shape[1]}\n"
        f"number of frames = {len(frames)}\nx_start = 1\n"
    )


def spe(path, *, frames=FRAMES):
    header = bytearray(4100)
    struct.pack_into("<H", header, 42, frames.shape[2])
    struct.pack_into("<H", header, 656, frames.shape[1])
    struct.pack_into("<i", header, 1446, len(frames))
    struct.pack_into("<h", header, 108, 3)
    path.write_bytes(bytes(header) + frames.astype("<u2").tobytes())


def plain_zarr(path, *, frames=FRAMES, chunks=(5, 6, 17), **keywords):
    zarr.create_array(path, shape=frames.shape, chunks=chunks, dtype=frames.dtype, **keywords)[
        :
    ] = frames


def grouped_zarr(path, *, version=3):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("stack", shape=FRAMES.shape, chunks=(5, 12, 17), dtype="u2")[:] = FRAMES
    group.create_array("dark", shape=(12, 17), dtype="f4")


def dataset_zarr(path, *, version=3, consolidated=True):
    movie = xr.DataArray(FRAMES, dims=("frame", "y", "x"), name="movie")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # consolidated version 3
        movie.to_dataset().to_zarr(path, zarr_format=version, consolidated=consolidated)


def ome_zarr(path, *, version=3, frames=FRAMES[:, None, None]):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for level, step in (("0", 1), ("1", 2)):
        values = frames[..., ::step, ::step]
        chunks = (4, 1, 1, *values.shape[3:])
        group.create_array(level, shape=values.shape, chunks=chunks, dtype="u2")[:] = values
    images = {
        "axes": [{"name": name} for name in "tczyx"],
        "datasets": [{"path": "0"}, {"path": "1"}],
        "version": "0.4",
    }
    group.attrs.update(
        {"multiscales": [images]} if version == 2 else {"ome": {"multiscales": [images]}}
    )


def files_of(folder, count, **keywords):
    folder.mkdir()
    for number, frames in enumerate(np.array_split(FRAMES, count)):
        page_by_page(folder / f"part{number}.tif", frames=frames, metadata=None, **keywords)


def picasso(path, *, order="<", frames=FRAMES, **told):
    info = {"Byte Order": order, "Data Type": frames.dtype.name, "Camera": "None"}
    info |= dict(zip(("Frames", "Height", "Width"), frames.shape, strict=True)) | told
    picasso_io.save_raw(str(path), frames.astype(frames.dtype.newbyteorder(order)), [info])


def hdf5(path, *, name="stack", frames=FRAMES, **keywords):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=frames, **keywords)
        file["table"] = np.zeros(5, [("x", "f4")])
        file["map"] = np.ones(frames.shape[1:], "f4")


def pyme(path, *, frames=FRAMES, **attributes):
    """PYME's arrangement: x before y, metadata as attributes of nested groups."""
    with h5py.File(path, "w") as file:
        data = frames.transpose(0, 2, 1)
        file.create_dataset("ImageData", data=data, chunks=(1, *data.shape[1:]), compression="gzip")
        told = {"voxelsize": {"x": 0.07, "y": 0.08, "units": "um"}}
        told["Camera"] = {"CycleTime": 0.05, "IntegrationTime": 0.04, "Name": np.bytes_("DV97")}
        for group, values in (told | attributes).items():
            file.create_group(f"MetaData/{group}").attrs.update(values)


FORMATS = {
    "plain.tif": lambda p: page_by_page(p, metadata=None),
    "described.tif": page_by_page,
    "compressed.tif": lambda p: page_by_page(p, metadata=None, compression="zlib", predictor=True),
    "lzw.tif": lambda p: page_by_page(p, metadata=None, compression="lzw"),
    "bigendian.tif": lambda p: page_by_page(p, metadata=None, byteorder=">"),
    "bigendian_big.tif": lambda p: page_by_page(p, metadata=None, byteorder=">", bigtiff=True),
    "strips.tif": lambda p: page_by_page(p, metadata=None, rowsperstrip=5),
    "tiles.tif": lambda p: page_by_page(p, metadata=None, tile=(16, 16)),
    "bigtiff.tif": lambda p: whole(p, bigtiff=True),
    "shaped.tif": whole,
    "shaped_zlib.tif": lambda p: whole(p, compression="zlib"),
    "untold.tif": lambda p: whole(p, axes="QYX"),
    "imagej.tif": lambda p: whole(p, imagej=True),
    "imagej_zlib.tif": lambda p: whole(p, imagej=True, compression="zlib"),
    "one.ome.tif": lambda p: whole(p, ome=True),
    "zlib.ome.tif": lambda p: whole(p, ome=True, compression="zlib"),
    "first.ome.tif": two_files,
    "movie.dax": dax,
    "little.dax": lambda p: dax(p, order="little"),
    "movie.SPE": spe,
    "movie.npy": lambda p: np.save(p, FRAMES),
    "bigendian.npy": lambda p: np.save(p, FRAMES.astype(">u2")),
    "v3.zarr": plain_zarr,
    "v2.zarr": lambda p: plain_zarr(p, zarr_format=2),
    "sharded.zarr": lambda p: plain_zarr(p, shards=(10, 12, 17)),
    "group.zarr": grouped_zarr,
    "group2.zarr": lambda p: grouped_zarr(p, version=2),
    "dataset.zarr": dataset_zarr,
    "dataset2.zarr": lambda p: dataset_zarr(p, version=2),
    "loose.zarr": lambda p: dataset_zarr(p, consolidated=False),
    "ome05.zarr": ome_zarr,
    "ome04.zarr": lambda p: ome_zarr(p, version=2),
    "singles": lambda p: files_of(p, len(FRAMES)),
    "parts/part*": lambda p: files_of(p.parent, 4, compression="zlib"),
    "movie.raw": picasso,
    "bigendian.raw": lambda p: picasso(p, order=">"),
    "whole.h5": hdf5,
    "chunked.hdf5": lambda p: hdf5(p, chunks=(5, 6, 17), compression="gzip", shuffle=True),
    "lzf.h5": lambda p: hdf5(p, chunks=(4, 12, 9), compression="lzf", maxshape=(None, 12, 17)),
    "bigendian.h5": lambda p: hdf5(p, frames=FRAMES.astype(">u2")),
    "inner.h5": lambda p: hdf5(p, name="Channel01/Data0001"),
    "zstd.h5": lambda p: hdf5(p, chunks=(5, 12, 17), compression=hdf5plugin.Zstd()),
    "pyme.h5": pyme,
    "events.rtdc": lambda p: hdf5(p, name="events/image", chunks=(3, 12, 17), fletcher32=True),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    for name, write in FORMATS.items():
        write(folder / name)
    return folder


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("name", FORMATS)
def test_values_are_what_was_written(files, name):
    movie = open_movie(files / name, pixel_size=108)
    values = movie.values
    assert movie.dtype == values.dtype == np.uint16
    assert values.dtype.isnative  # compiled kernels take no other byte order
    np.testing.assert_array_equal(values, FRAMES)


INDICES = st.tuples(
    *(
        st.one_of(
            st.integers(-size, size - 1),
            st.slices(size),
            st.lists(st.integers(-size, size - 1), max_size=4),
        )
        for size in FRAMES.shape
    )
)
ONE_OF_EACH = [
    "plain.tif", "compressed.tif", "first.ome.tif", "movie.dax", "v3.zarr", "ome05.zarr", "pyme.h5",
    "chunked.hdf5", "singles",
]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(index=INDICES, name=st.sampled_from(ONE_OF_EACH), lazy=st.booleans())
def test_any_slicing(files, index, name, lazy):
    keywords = {"chunks": {"frame": 7, "y": 5}} if lazy else {}
    with xr.open_dataset(files / name, engine=SmlmBackend, pixel_size=108) as dataset:
        movie = open_movie(files / name, pixel_size=108, **keywords) if lazy else dataset.movie
        selected = movie.isel(frame=index[0], y=index[1], x=index[2]).values
    expected = xr.DataArray(FRAMES, dims=("frame", "y", "x"))
    np.testing.assert_array_equal(
        selected, expected.isel(frame=index[0], y=index[1], x=index[2]).values
    )


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_reader_returns_memory_of_its_own(files, name):
    reader = open_reader(files / name)
    block = reader.read(slice(1, 20, 3), slice(2, 9, 1), slice(3, 5, 1))
    np.testing.assert_array_equal(block, FRAMES[1:20:3, 2:9, 3:5])
    base = block if block.base is None else block.base
    assert base.nbytes == block.nbytes


@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith(".tif")])
def test_uncompressed_pages_need_no_decoder(files, name):
    decoded = {"compressed", "lzw", "strips", "tiles", "shaped_zlib", "imagej_zlib", "zlib.ome"}
    kind = TiffFrames if name.removesuffix(".tif") in decoded else RawFrames | Joined
    assert isinstance(open_reader(files / name), kind)


@pytest.mark.parametrize("most", [1, 500, 2**28])
@pytest.mark.parametrize("rows", [slice(0, 5), slice(1, 4)])
def test_raw_frames_are_read_in_runs(tmp_path, monkeypatch, most, rows):
    monkeypatch.setattr("smlm_dask.readers.raw.MOST_AT_ONCE", most)
    values = np.random.default_rng(0).integers(0, 9, (12, 5, 8)).astype("u2")
    path = tmp_path / "movie.raw"
    path.write_bytes(b"head" + values[:7].tobytes() + b"between" + values[7:].tobytes())
    starts = 4 + np.arange(12) * 80 + 7 * (np.arange(12) >= 7)
    reader = raw_frames(str(path), (5, 8), np.dtype("u2"), starts)
    found = reader.read(slice(2, 11), rows, slice(0, 8))
    np.testing.assert_array_equal(found, values[2:11, rows])
    path.write_bytes(path.read_bytes()[: 4 + 10 * 80 + 7 - 1])
    with pytest.raises(SourceCorruptError, match="the end of the file inside frame 9"):
        reader.read(slice(2, 11), slice(0, 5), slice(0, 8))


def test_far_frames_of_a_list_are_read_apart(files):
    reader = open_reader(files / "compressed.tif")
    boxes = []

    class Counting(type(reader)):
        def read(self, frames, y, x):
            boxes.append(len(range(*frames.indices(23))))
            return super().read(frames, y, x)

    counting = Counting(reader.path, reader.shape, reader.dtype, reader.chunk, reader.table)
    array = xr.Variable(
        ("frame", "y", "x"), xr.core.indexing.LazilyIndexedArray(MovieArray(counting))
    )
    np.testing.assert_array_equal(array[[22, 0, 0]].values, FRAMES[[22, 0, 0]])
    assert boxes == [1, 1]


@pytest.mark.parametrize(
    "name", ["plain.tif", "compressed.tif", "described.tif", "sharded.zarr", "chunked.hdf5"]
)
def test_threads_share_nothing(files, name):
    movie = open_movie(files / name, pixel_size=108, chunks={"frame": 1}).data
    with dask.config.set(pool=ThreadPoolExecutor(8), scheduler="threads"):
        for _ in range(5):
            np.testing.assert_array_equal(movie.compute(), FRAMES)


def test_fresh_process_reads_what_was_pickled(files, tmp_path):
    movies = {name: open_movie(files / name, pixel_size=108) for name in ONE_OF_EACH}
    (tmp_path / "movies.pickle").write_bytes(pickle.dumps(movies))
    program = (
        "import pickle, sys\nfrom smlm_dask.movie import open_movie\n"
        "movies = pickle.load(open(sys.argv[1], 'rb'))\n"
        "for name, movie in movies.items():\n"
        "    again = open_movie(sys.argv[2] + '/' + name, pixel_size=108)\n"
        "    same = again.data.name == movie.data.name\n"
        "    print(name, int(movie.values.astype('i8').sum()), same)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "movies.pickle"), str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total = int(FRAMES.astype("i8").sum())
    assert done.stdout.splitlines() == [f"{name} {total} True" for name in ONE_OF_EACH]


@pytest.mark.nightly
def test_worker_processes(files):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        for name in FORMATS:
            movie = open_movie(files / name, pixel_size=108, chunks={"frame": 3})
            np.testing.assert_array_equal(movie.values, FRAMES)


# ------------------------------------------------------------------ axes


@pytest.mark.parametrize("keywords", [{"imagej": True}, {"ome": True}, {"compression": "zlib"}])
def test_channel_is_selected(tmp_path, keywords):
    frames = np.stack([FRAMES, FRAMES[::-1]], axis=1)
    path = tmp_path / ("a.ome.tif" if "ome" in keywords else "a.tif")
    whole(path, frames=frames, axes="TCYX", **keywords)
    with pytest.raises(MovieError, match=re.escape('select={"c": 0}')):
        open_movie(path, pixel_size=108)
    movie = open_movie(path, pixel_size=108, select={"c": 1})
    np.testing.assert_array_equal(movie.values, FRAMES[::-1])
    with pytest.raises(ParameterError, match="index into one of the axes"):
        open_movie(path, pixel_size=108, select={"c": 2})


def test_ome_zarr_channel_is_selected(tmp_path):
    ome_zarr(tmp_path / "a.zarr", frames=np.stack([FRAMES, FRAMES[::-1]], axis=1)[:, :, None])
    with pytest.raises(MovieError, match="select="):
        open_movie(tmp_path / "a.zarr", pixel_size=108)
    movie = open_movie(tmp_path / "a.zarr", pixel_size=108, select={"c": 1})
    np.testing.assert_array_equal(movie.values, FRAMES[::-1])


def test_zarr_axes_are_found_by_name(tmp_path):
    turned = xr.DataArray(FRAMES, dims=("frame", "y", "x"), name="a").transpose("x", "frame", "y")
    turned.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    np.testing.assert_array_equal(open_movie(tmp_path / "a.zarr", pixel_size=108).values, FRAMES)


def test_unknown_axis_names_must_be_told(tmp_path):
    array = xr.DataArray(FRAMES, dims=("n", "row", "col"), name="a")
    array.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(MovieError, match="axes"):
        open_movie(tmp_path / "a.zarr", pixel_size=108)
    movie = open_movie(tmp_path / "a.zarr", pixel_size=108, axes="tyx")
    np.testing.assert_array_equal(movie.values, FRAMES)


def test_single_frame_is_a_movie(tmp_path):
    whole(tmp_path / "a.tif", frames=FRAMES[0], axes="YX")
    np.save(tmp_path / "a.npy", FRAMES[0])
    plain_zarr(tmp_path / "a.zarr", frames=FRAMES[0], chunks=(6, 17))
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(open_movie(path, pixel_size=1).values, FRAMES[:1])


def test_group_array_is_named(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("left", "right"):
        group.create_array(f"cell/{name}", shape=FRAMES.shape, dtype="u2")[:] = FRAMES
    with pytest.raises(MovieError, match="array="):
        open_movie(tmp_path / "a.zarr", pixel_size=108)
    movie = open_movie(tmp_path / "a.zarr", pixel_size=108, array="cell/left")
    np.testing.assert_array_equal(movie.values, FRAMES)
    for name in ("../a.zarr/cell/left", "/etc", "cell", "", 3):
        with pytest.raises(ParameterError, match="array"):
            open_movie(tmp_path / "a.zarr", pixel_size=108, array=name)


def test_cropped_movie_keeps_its_place(tmp_path):
    movie = open_movie_of(tmp_path, FRAMES).isel(frame=slice(2, 20, 2), y=slice(3, 9))
    movie.to_dataset().to_zarr(tmp_path / "crop.zarr", consolidated=False)
    again = open_movie(tmp_path / "crop.zarr", pixel_size=108)
    xr.testing.assert_identical(again.compute(), movie.compute())
    assert all(isinstance(again.indexes[name], pd.RangeIndex) for name in movie.dims)


def open_movie_of(folder, frames):
    np.save(folder / "frames.npy", frames)
    return open_movie(folder / "frames.npy", pixel_size=108)


# ------------------------------------------------------------------ laziness, size, names


def sparse_pages(path, count, size=512):
    """A plain BigTIFF of ``count`` separate pages that takes no room on disk."""
    nbytes, header = size * size * 2, 8 + 9 * 20 + 8
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
        for page in range(count):
            at = 16 + page * (header + nbytes)
            tags = [(256, 4, size), (257, 4, size), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
            tags += [(273, 16, at + header), (277, 3, 1), (278, 4, size), (279, 16, nbytes)]
            entries = b"".join(struct.pack("<HHQQ", code, kind, 1, v) for code, kind, v in tags)
            following = at + header + nbytes if page + 1 < count else 0
            file.seek(at)
            file.write(struct.pack("<Q", 9) + entries + struct.pack("<Q", following))
        file.truncate(16 + count * (header + nbytes))


def big_contiguous(path):
    mapped = tifffile.memmap(path, shape=(9000, 512, 512), dtype="u2", bigtiff=True)
    mapped[8999, 511, 510:] = 7, 9
    mapped.flush()


def big_pages(path):
    sparse_pages(path, 9000)
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(struct.pack("<HH", 7, 9))


def big_zarr(path):
    array = zarr.create_array(path, shape=(9000, 512, 512), chunks=(20, 512, 512), dtype="u2")
    array[8999, 511, 510:] = 7, 9


def big_hdf5(path):
    """A dataset whose place in the file is taken and never filled."""
    path = path.with_suffix(".h5")
    kept = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kept.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    kept.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((9000, 512, 512))
        h5py.h5d.create(file.id, b"stack", h5py.h5t.STD_U16LE, space, kept)
        file["stack"][8999, 511, 510:] = 7, 9
    return path


@pytest.mark.parametrize("write", [big_contiguous, big_pages, big_zarr, big_hdf5])
def test_above_four_gigabytes_only_metadata_are_read(tmp_path, write):
    path = tmp_path / "big.tif"
    path = write(path) or path
    before = bytes_read()
    movie = open_movie(path, pixel_size=108)
    read = bytes_read() - before
    assert movie.nbytes > 4 * 2**30
    assert read < 16 * 2**20
    assert len(pickle.dumps(movie)) < 20_000
    assert movie[-1, -1, -3:].values.tolist() == [0, 7, 9]


def bytes_read():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def test_name_follows_path_size_and_time(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, FRAMES)
    names = {open_movie(path, pixel_size=size).data.name for size in (100, 100, 120)}
    assert len(names) == 1
    assert open_movie(path, pixel_size=100, chunks={"frame": 5}).data.name not in names
    os.utime(path, ns=(1, 1))
    assert open_movie(path, pixel_size=100).data.name not in names


def test_graph_of_many_chunks_pickles_in_kilobytes(files):
    zarr.create_array(files / "wide.zarr", shape=(200_000, 64, 64), chunks=(20, 64, 64), dtype="u2")
    movie = open_movie(files / "wide.zarr", pixel_size=108, chunks={"frame": 20})
    assert movie.data.npartitions == 10_000
    assert len(pickle.dumps(movie)) < 100_000


@given(
    frames=st.integers(1, 100_000),
    height=st.integers(1, 4096),
    width=st.integers(1, 4096),
    stored=st.tuples(st.sampled_from([1, 7, 20, 64, 100, 400]), st.integers(1, 4096)),
)
def test_default_chunks_are_whole_stored_chunks_within_the_budget(frames, height, width, stored):
    length, rows = min(stored[0], frames), min(stored[1], height)
    chunk = default_chunks((frames, height, width), np.dtype("u2"), (length, rows, width))
    assert chunk[2] == width
    assert chunk[0] % length == 0 or chunk[0] == frames
    assert chunk[1] % rows == 0 or chunk[1] == height
    smallest = length * rows * width * 2
    assert math.prod(chunk) * 2 <= max(2**27, 2 * smallest) or chunk[:2] == (length, height)
    window = math.lcm(length, 200)
    if window <= frames and window * height * width * 2 <= 2**27:
        assert chunk[0] % 200 == 0


def test_chunks_follow_the_byte_budget(files):
    with dask.config.set({"smlm_dask.chunk-bytes": "1 kiB"}):
        small = open_movie(files / "plain.tif", pixel_size=108)
    assert small.data.chunksize == (23, 1, 17)
    assert open_movie(files / "plain.tif", pixel_size=108).data.chunksize == FRAMES.shape


def test_shards_are_read_whole(files):
    assert open_reader(files / "sharded.zarr").chunk == (10, 12, 17)
    with dask.config.set({"smlm_dask.chunk-bytes": "2 kiB"}):
        assert open_reader(files / "sharded.zarr").chunk == (5, 6, 17)


# ------------------------------------------------------------------ the xarray engine


def test_engine_gives_a_dataset(files):
    keywords = {"pixel_size": (108, 110), "frame_time": 0.02}
    with xr.open_dataset(files / "plain.tif", engine=SmlmBackend, chunks={}, **keywords) as dataset:
        assert list(dataset.data_vars) == ["movie"]
        assert dataset.movie.chunks == ((23,), (12,), (17,))
        np.testing.assert_array_equal(dataset.movie.values, FRAMES)
    assert float(dataset.pixel_size_x) == 110.0


def test_engine_without_pixel_size_says_so(files):
    with pytest.raises(PixelSizeError, match="pixel_size=108"):
        xr.open_dataset(files / "plain.tif", engine=SmlmBackend)


def test_engine_claims_no_foreign_file():
    def can(name):
        return sum(one.guess_can_open(name) for one in (SmlmBackend(), *formats()))

    assert all(can(name) == 1 for name in ("a.tif", Path("a.ome.TIFF"), "a.dax", "a.spe"))
    assert not any(can(name) for name in ("a.nc", "a.zarr", "a.h5", "a", b"II*\0", 3))


# ------------------------------------------------------------------ files that must be refused


def wrong_count(path, told, real):
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="17" '
        f'SizeY="12" SizeC="1" SizeZ="1" SizeT="{told}"><Channel ID="Channel:0" '
        'SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(path) as tif:
        for index, frame in enumerate(FRAMES[:real]):
            description = text if index == 0 else None
            tif.write(frame, contiguous=False, metadata=None, description=description)


@pytest.mark.parametrize("path", [None, 3, True, "", b"a.tif", ["a.tif"], FRAMES], ids=repr)
def test_a_path_is_a_path(path):
    with pytest.raises(MovieError, match=r"path: got .*as_movie"):
        open_movie(path, pixel_size=108)


def test_a_user_that_is_not_there_is_a_name():
    with pytest.raises(MovieError, match="no such file"):
        open_movie("~no-user-of-this-name/a.tif", pixel_size=108)


WRONG_KEYWORDS = [
    *({"axes": wrong} for wrong in (3, "", ["t", "y", "x"], b"tyx", True, {"t": 0}, np.nan)),
    *({"array": wrong} for wrong in ("", ["stack"], b"stack", True, 1.5, {"a": 1}, "none")),
    *({"select": wrong} for wrong in (3, "c", [0], True, [("t", 0)])),
    *({"select": {"t": wrong}} for wrong in (True, 99, -1, "a", 1.0, slice(0, 2), [1, 2])),
    *({"select": wrong} for wrong in ({"y": 0}, {0: 0}, {"frame": 0})),
]


@pytest.mark.parametrize("keywords", WRONG_KEYWORDS, ids=repr)
@pytest.mark.parametrize("name", ["plain.tif", "movie.npy", "v3.zarr"])
def test_a_wrong_keyword_is_not_blamed_on_the_file(files, name, keywords):
    (word,) = keywords
    with pytest.raises(ParameterError, match=f"^{word}") as caught:
        open_movie(files / name, pixel_size=108, **keywords)
    assert "undamaged" not in str(caught.value)


def test_one_frame_may_be_taken_by_any_integer(files):
    movie = open_movie(files / "v3.zarr", pixel_size=108, select={"t": np.int64(3)})
    np.testing.assert_array_equal(movie.values, FRAMES[3:4])


def test_every_page_can_be_demanded(tmp_path):
    wrong_count(tmp_path / "a.ome.tif", 10, 20)
    movie = open_movie(tmp_path / "a.ome.tif", pixel_size=108, axes="tyx")
    np.testing.assert_array_equal(movie.values, FRAMES[:20])


@pytest.mark.parametrize("name", ["plain.tif", "compressed.tif", "v3.zarr"])
def test_damage_after_opening_is_named(files, tmp_path, name):
    path = tmp_path / name
    copy = shutil.copytree if (files / name).is_dir() else shutil.copy
    copy(files / name, path)
    movie = open_movie(path, pixel_size=108)
    parts = [path] if path.is_file() else sorted((path / "c").rglob("*"))
    for part in parts:
        if part.is_file():
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(MovieError, match=name):
        movie.compute(scheduler="threads")


# ------------------------------------------------------------------ real movies

needs_real = pytest.mark.skipif(not REAL.exists(), reason="no ../shared/real beside the repository")


def pages_by_hand(path):
    with tifffile.TiffFile(path) as tif:
        return np.stack([page.asarray() for page in tif.pages])


def dax_by_hand(path, shape):
    return np.fromfile(path, ">u2").reshape(shape)


REAL_MOVIES = {
    "deepstorm3d_tetrapod_50f.tif": ((50, 332, 492), tifffile.imread),
    "pims_stuck.tif": ((5, 512, 512), pages_by_hand),
    "sdt_pMHC_AF647.SPE": ((10, 128, 128), lambda p: np.load(p.with_suffix(".npy"))),
    "sdt_pMHC_AF647.npy": ((10, 128, 128), np.load),
    "storm-analysis/test.dax": ((10, 256, 256), lambda p: dax_by_hand(p, (10, 256, 256))),
    "storm-analysis/test_300x200.dax": ((10, 200, 300), lambda p: dax_by_hand(p, (10, 200, 300))),
    "storm-analysis/test_bg_sub.dax": ((5, 256, 256), lambda p: dax_by_hand(p, (5, 256, 256))),
}


@needs_real
@pytest.mark.parametrize("name", REAL_MOVIES)
def test_real_movie(name):
    shape, other_reader = REAL_MOVIES[name]
    movie = open_movie(REAL / name, pixel_size=108)
    assert (movie.shape, movie.dtype) == (shape, np.uint16)
    np.testing.assert_array_equal(movie.values, other_reader(REAL / name))


@needs_real
def test_real_nd2():
    nd2 = pytest.importorskip("nd2")
    path = REAL / "pims_cluster.nd2"
    with pytest.raises(MovieError, match=re.escape('select={"z": 0, "c": 0}')):
        open_movie(path, pixel_size=108)
    movie = open_movie(path, pixel_size=108, select={"z": 3, "c": 1})
    np.testing.assert_array_equal(movie.values, nd2.imread(path)[:, 3, 1])


def test_nd2_without_its_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nd2", None)
    (tmp_path / "a.nd2").write_bytes(b"")
    with pytest.raises(MovieError, match="pip install nd2"):
        open_movie(tmp_path / "a.nd2", pixel_size=108)
