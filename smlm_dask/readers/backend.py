"""The xarray backend ``engine="smlm"``: a path becomes a lazy Dataset with one variable, movie."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from smlm_dask._graph import chunk_bytes
from smlm_dask.check import is_whole, shown
from smlm_dask.errors import ParameterError, ReaderError, SmlmError
from smlm_dask.readers.labels import DIMS, label
from smlm_dask.readers.nd2 import open_nd2
from smlm_dask.readers.raw import open_dax, open_npy, open_spe
from smlm_dask.readers.reader import Reader
from smlm_dask.readers.tiff import open_tiff
from smlm_dask.readers.zarr import METADATA, is_zarr, open_zarr

__all__ = ["SmlmBackend", "default_chunks", "fingerprint", "open_reader"]

WINDOW = 200  # frames in the default window of the blocks
MOST_CHUNKS = 1_000_000
PIECES = 16  # a short movie is cut into at least as many chunks, if a window fits into each

TIFF = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm")
PLAIN: dict[str, Callable[..., Reader]] = {
    ".dax": open_dax,
    ".npy": open_npy,
    ".spe": open_spe,
    ".nd2": open_nd2,
}


def open_reader(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    array: str | int | None = None,
    select: Mapping[str, int] | None = None,
) -> Reader:
    """Make the reader of the movie at ``path``; reads metadata only."""
    full = _full_path(path)
    suffix = Path(full).suffix.lower()
    _check_keywords(axes, array, select)
    name = None if array is None else str(array)
    try:
        if is_zarr(full):
            reader: Reader = open_zarr(full, axes, select, name)
        elif suffix in TIFF and Path(full).is_file():
            reader = open_tiff(full, axes, select, name)
        else:
            reader = _open_plain(full, suffix, axes, select, name)
        return _check(reader)
    except SmlmError:
        raise
    except Exception as error:  # a damaged file makes its library raise anything at all
        raise _unreadable(full, error) from error


def _full_path(path: Any) -> str:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise ReaderError(
            "path",
            got=shown(path),
            wanted="the path of one file or zarr folder",
            fix="open_movie('movie.tif', ...), or as_movie(array, ...) for an array in memory",
        )
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # "~name" without such a user is a name like any other
        return str(Path(path).absolute())


def _check_keywords(axes: Any, array: Any, select: Any) -> None:
    """Before the file is opened: what fails within a reader is blamed on the file."""

    def named(value: Any) -> bool:
        return isinstance(value, str) and value != ""

    fits = {
        "axes": (axes, named(axes), "a letter for each axis", "'tyx'"),
        "array": (array, is_whole(array) or named(array), "a name or a number", "'movie'"),
        "select": (select, isinstance(select, Mapping), "an index by axis", "{'c': 0}"),
    }
    for name, (value, good, wanted, example) in fits.items():
        if value is not None and not good:
            fix = f"{name}={example}, or leave it out"
            raise ParameterError(name, got=shown(value), wanted=wanted, fix=fix)


def _open_plain(
    path: str, suffix: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
) -> Reader:
    if suffix not in PLAIN or not Path(path).is_file():
        known = ", ".join(sorted({*TIFF, *PLAIN}))
        there = "a format this package cannot read"
        there = "a folder that is no zarr store" if Path(path).is_dir() else there
        raise ReaderError(
            path,
            got=there if Path(path).exists() else "no such file",
            wanted=f"a zarr store or one of {known}",
            fix="check the path, or load it yourself and pass the array to as_movie",
        )
    if array is not None:
        raise ParameterError(
            "array", got=repr(array), wanted="nothing: the file holds one array", fix="leave it out"
        )
    return PLAIN[suffix](path, axes, select)


def _unreadable(path: str, error: Exception) -> ReaderError:
    return ReaderError(
        path,
        got=f"{type(error).__name__}: {str(error)[:300]}",
        wanted="a complete, undamaged file",
        fix="copy the file again from its source, or open it with the program that wrote it",
    )


def _check(reader: Reader) -> Reader:
    if reader.dtype.kind not in "iuf" or not all(reader.shape) or _pieces(reader) > MOST_CHUNKS:
        raise ReaderError(
            reader.path,
            got=f"shape {reader.shape}, {reader.dtype}",
            wanted=f"real numbers, no empty axis, at most {MOST_CHUNKS} chunks",
            fix="the file is damaged, or no camera movie",
        )
    return reader


def _pieces(reader: Reader) -> int:
    chunk = default_chunks(reader.shape, reader.dtype, reader.chunk)
    return math.prod(-(-size // piece) for size, piece in zip(reader.shape, chunk, strict=True))


def default_chunks(
    shape: tuple[int, int, int], dtype: np.dtype[Any], stored: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Frames, rows and columns of a chunk within the byte budget ``smlm_dask.chunk-bytes``.

    Whole windows of whole stored chunks, so that a block reads once and cuts nothing. Where one
    window is too large: tiles in y if the file can be read so, otherwise a part of a window.
    """
    frames, height, width = shape
    row = max(1, width * dtype.itemsize)
    fit = chunk_bytes() // (max(1, height) * row)
    length = max(1, min(stored[0], frames))
    unit = max(1, min(math.lcm(length, WINDOW), frames))
    if unit <= fit:
        return min(frames, unit * max(1, min(fit, frames // PIECES) // unit)), height, width
    for count in (unit, length) if length > fit else (unit,):
        rows = chunk_bytes() // (count * row) // stored[1] * stored[1]
        if 0 < rows < height:
            even = math.ceil(height / math.ceil(height / rows))
            return count, math.ceil(even / stored[1]) * stored[1], width
    parts = [n for n in range(1, WINDOW + 1) if WINDOW % n == 0 == n % length and n <= fit]
    return max(parts, default=max(1, fit // length) * length), height, width


def fingerprint(path: str) -> tuple[object, ...]:
    """Tell what identifies a file's content without reading it: path, size and time of change."""
    names = [Path(path, name) for name in (".", *METADATA, ".zattrs")]
    found = [name.stat() for name in names if name.exists()]
    return path, *((entry.st_size, entry.st_mtime_ns) for entry in found)


class MovieArray(BackendArray):
    """A reader as xarray asks for it: integers, slices and lists become boxes."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.shape = reader.shape
        self.dtype = reader.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._take
            )
        # The adapter would fail on an empty slice that runs backwards.
        return self._take(key.tuple)

    def _take(self, key: tuple[Any, ...]) -> NDArray[Any]:
        (frames, at), (y, rows), (x, columns) = (
            _cover(part, size) for part, size in zip(key, self.shape, strict=True)
        )
        block = (
            self._scattered(key[0], y, x)
            if isinstance(at, np.ndarray)
            else self._read(frames, y, x)[at]
        )
        axes = (slice(None),) * (block.ndim - 2)
        block = block[(*axes, rows)]
        return block[(..., columns)]

    def _scattered(self, frames: NDArray[np.int64], y: slice, x: slice) -> NDArray[Any]:
        """Frames of a list: far ones are read apart, never all that lie between."""
        wanted, back = np.unique(frames % self.shape[0], return_inverse=True)
        gaps = np.flatnonzero(np.diff(wanted) > self.reader.chunk[0]) + 1
        runs = [run for run in np.split(wanted, gaps) if run.size]
        boxes = [self._read(slice(int(r[0]), int(r[-1]) + 1, 1), y, x)[r - r[0]] for r in runs]
        return np.concatenate(boxes or [self._read(slice(0, 0, 1), y, x)])[back]

    def _read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        try:
            return self.reader.read(frames, y, x)
        except SmlmError:
            raise
        except Exception as error:  # as in open_reader
            raise _unreadable(self.reader.path, error) from error


def _cover(key: Any, size: int) -> tuple[slice, Any]:
    """Give a forward slice that holds all of ``key``, and what to take from it."""
    if isinstance(key, slice):
        span = range(*key.indices(size))
        forward = span if span.step > 0 else span[::-1]
        turn = slice(None) if span.step > 0 else slice(None, None, -1)
        stop = forward[-1] + 1 if forward else forward.start
        return slice(forward.start, stop, forward.step), turn
    index = np.asarray(key) % max(1, size)
    if index.size == 0:
        return slice(0, 0, 1), index
    low = int(index.min())
    return slice(low, int(index.max()) + 1, 1), index - low if index.ndim else int(index) - low


class SmlmBackend(BackendEntrypoint):
    """``xr.open_dataset(path, engine="smlm", pixel_size=108, chunks={})``."""

    description = "Open microscopy movies (TIFF, zarr, DAX, SPE, ND2, NPY) with smlm_dask"
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "pixel_size", "frame_time", "axes", "array", "select",
    )  # fmt: skip

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        pixel_size: float | tuple[float, float] | None = None,
        frame_time: float | None = None,
        axes: str | None = None,
        array: str | int | None = None,
        select: Mapping[str, int] | None = None,
    ) -> xr.Dataset:
        """Open a Dataset with the variable ``movie`` (frame, y, x); see `smlm_dask.open_movie`."""
        reader = open_reader(filename_or_obj, axes=axes, array=array, select=select)
        chunks = default_chunks(reader.shape, reader.dtype, reader.chunk)
        data = indexing.LazilyIndexedArray(MovieArray(reader))
        encoding = {"preferred_chunks": dict(zip(DIMS, chunks, strict=True)), "source": reader.path}
        movie = xr.Variable(DIMS, data, {"units": "adu"}, encoding)
        coords = label(reader.shape, pixel_size, frame_time, reader.index())
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        return xr.Dataset({"movie": movie}, coords).drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Only suffixes that no other backend of xarray itself claims; never a zarr store."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return Path(filename_or_obj).suffix.lower() in (".tif", ".tiff", ".dax", ".spe", ".nd2")
