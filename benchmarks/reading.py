"""Reading through `open_movie` beside the bare library, slab by slab: ``python benchmarks/reading.py``.

Both read the same frames, one slab after another on one thread, and drop them. The library has its file open
and reads into nothing but the slab; ours opens the file in each task, as workers must. The gate is 0.9 of the
library's speed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import xarray as xr
import zarr
from peers import Row, cpu_times, row, show
from zarr.codecs import BloscCodec

import smlm_dask as smlm

GATE = 0.9
SHAPE = (800, 512, 512)
PIXEL_SIZE = 100
Read = Callable[[slice], object]
Array = np.ndarray[Any, Any]


def frames() -> Array:
    """Poisson noise on a gradient: what codecs and predictors meet in a movie."""
    rng = np.random.default_rng(0)
    level = np.linspace(20, 200, SHAPE[2]) * np.ones(SHAPE[1:])
    return (100 + rng.poisson(level, SHAPE)).astype("u2")


def _pages(path: Path, movie: Array, **keywords: Any) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for frame in movie:
            file.write(frame, contiguous=False, metadata=None, **keywords)


def _singles(path: Path, movie: Array) -> None:
    path.mkdir()
    for number, frame in enumerate(movie):
        tifffile.imwrite(path / f"{number:06d}.tif", frame)


def _hdf5(path: Path, movie: Array, **keywords: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=movie, chunks=(10, *SHAPE[1:]), **keywords)


def _zarr(path: Path, movie: Array, **keywords: Any) -> None:
    array = zarr.create_array(path, shape=SHAPE, dtype="u2", **keywords)
    array[:] = movie


def _by_tiff(path: Path) -> Read:
    file = tifffile.TiffFile(path)
    return lambda part: file.asarray(key=part)


def _by_tiffs(path: Path) -> Read:
    names = sorted(path.iterdir())
    return lambda part: np.stack([tifffile.imread(name) for name in names[part]])


def _by_hdf5(path: Path) -> Read:
    array = h5py.File(path)["movie"]
    return lambda part: array[part]


def _by_zarr(path: Path) -> Read:
    array = zarr.open_array(path, mode="r")
    return lambda part: array[part]


def _by_npy(path: Path) -> Read:
    array = np.load(path, mmap_mode="r")
    return lambda part: np.array(array[part])


BLOSC = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
# Name of the file -> how it is written, and how its library reads a slab of frames.
FILES: dict[str, tuple[Callable[[Path, Array], object], Callable[[Path], Read]]] = {
    "plain.tif": (_pages, _by_tiff),
    "zlib.tif": (lambda p, m: _pages(p, m, compression="zlib", predictor=True), _by_tiff),
    "lzw.tif": (lambda p, m: _pages(p, m, compression="lzw"), _by_tiff),
    "contiguous.tif": (lambda p, m: tifffile.imwrite(p, m, bigtiff=True), _by_tiff),
    "movie.ome.tif": (
        lambda p, m: tifffile.imwrite(p, m, ome=True, metadata={"axes": "TYX"}),
        _by_tiff,
    ),
    "singles": (_singles, _by_tiffs),
    "plain.h5": (_hdf5, _by_hdf5),
    "gzip.h5": (lambda p, m: _hdf5(p, m, compression="gzip", compression_opts=1), _by_hdf5),
    "default.zarr": (lambda p, m: _zarr(p, m, chunks=(20, *SHAPE[1:])), _by_zarr),
    "blosc.zarr": (lambda p, m: _zarr(p, m, chunks=(20, *SHAPE[1:]), compressors=BLOSC), _by_zarr),
    "sharded.zarr": (
        lambda p, m: _zarr(p, m, chunks=(100, 128, 128), shards=(200, *SHAPE[1:])),
        _by_zarr,
    ),
    "movie.npy": (np.save, _by_npy),
}


def rows() -> list[Row]:
    movie, table = frames(), []
    with tempfile.TemporaryDirectory() as name:
        for file, (write, by_library) in FILES.items():
            path = Path(name) / file
            write(path, movie)
            opened = smlm.open_movie(path, pixel_size=PIXEL_SIZE)
            table.append(_row(file, opened, by_library(path)))
    return table


def _row(file: str, movie: xr.DataArray, library: Read) -> Row:
    ends = np.cumsum([0, *movie.chunksizes["frame"]])
    slabs = [slice(int(a), int(b)) for a, b in pairwise(ends)]
    first = movie[slabs[0]].to_numpy()
    np.testing.assert_array_equal(first, library(slabs[0]))
    seen = movie.data.map_blocks(_seen, dtype="u2")

    def ours() -> None:
        seen.compute(scheduler="synchronous")

    def theirs() -> None:
        for slab in slabs:
            library(slab)

    seconds = cpu_times({"ours": ours, "library": theirs}, repeats=9)
    return row(file, "library", seconds, movie.size, GATE)


def _seen(block: Array) -> Array:
    return block[:1, :1, :1].copy()  # a view would keep the block


if __name__ == "__main__":
    show(rows())
