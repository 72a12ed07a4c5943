"""A movie: camera frames of one channel as a lazy DataArray with dims (frame, y, x)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import ArrayLike

from smlm_dask import _graph
from smlm_dask.check import chunk_sizes, shown, whole_number
from smlm_dask.errors import (
    DimsError,
    DtypeError,
    EmptyMovieError,
    ParameterError,
    PixelSizeError,
    TooFewFramesError,
)
from smlm_dask.readers.backend import SmlmBackend, fingerprint
from smlm_dask.readers.chunks import MOST_CHUNKS, default_chunks
from smlm_dask.readers.labels import DIMS, label

__all__ = ["as_movie", "check_movie", "check_samples", "open_movie", "select_map"]

Chunks = int | str | Sequence[Any] | Mapping[str, Any]
Several = (xr.Dataset, xr.DataTree)
FRAMES_END = 2**63  # frame numbers of movies and tables meet as int64


def open_movie(
    path: str | os.PathLike[str],
    *,
    pixel_size: float | tuple[float, float] | None = None,
    chunks: Chunks | None = None,
    frame_time: float | None = None,
    axes: str | None = None,
    array: str | int | None = None,
    select: Mapping[str, int] | None = None,
) -> xr.DataArray:
    """Open a movie on disk without reading it.

    Zarr (versions 2 and 3, sharded, groups written by xarray, OME-Zarr), TIFF (OME, ImageJ,
    Micro-Manager, NDTiff, STK, LSM, plain pages, BigTIFF) in one file or a folder of them, ``.dax`` with
    its ``.inf``, Picasso's ``.raw`` with its ``.yaml``, Princeton ``.spe``, ``.npy``, HDF5 (PYME,
    ``.rtdc``, others) with h5py, and ``.nd2`` with the package nd2. Only metadata are read. What you say
    goes before what they say: many a file states a pixel size nobody ever set.

    Parameters
    ----------
    path : str or path
        File, zarr folder, folder of TIFF files, or a pattern such as ``"cell/img_*.tif"``.
    pixel_size : float or (float, float), optional
        Size of a pixel in the sample in nm; a pair is (y, x). By default what the file says.
    chunks : int, (frame, y, x), mapping or "auto", optional
        Whole frames in a chunk; or a size for each axis, or by dimension: a number, -1 for all of
        it, "auto", or sizes that add up. By default, and with "auto", chunks are whole stored
        chunks and whole windows of 200 frames within the ``dask.config`` value
        ``smlm_dask.chunk-bytes`` (128 MiB).
    frame_time : float, optional
        Seconds from one frame to the next; adds the coordinate ``time``. By default what the file says.
    axes : str, optional
        One letter for each stored axis, where the file names them wrongly or not at all: t for
        frames, y, x, and any other for axes of length 1 or in `select`. ``axes="tyx"`` on a TIFF
        of several pages takes every page as a frame, whatever its metadata say, and in a folder every
        page of every file.
    array : str or int, optional
        Name of the array in a zarr group or HDF5 file, or number of the image in a TIFF that holds
        several.
    select : mapping, optional
        Index to take from another axis, e.g. ``{"c": 0, "z": 2}``.

    Returns
    -------
    xarray.DataArray
        ``movie`` with dims (frame, y, x) in adu, over dask; integer coordinates ``frame``, ``y``,
        ``x``, scalar coordinates ``pixel_size_y`` and ``pixel_size_x`` in nm. If the file says so, the
        attributes ``camera``, ``channel`` and ``exposure`` (s).

    Raises
    ------
    FormatError, AxisError, FrameShapeError, FrameCountError, SourceCorruptError
        The file is missing or of an unknown format, holds no single movie, has frames that differ, more
        or fewer than it says, or is damaged. All are ``MovieError``.
    PixelSizeError, ParameterError, DimsError
        A keyword does not fit.

    Notes
    -----
    What is damaged raises when it is read, by the frame or chunk. Uncompressed, LZW and blosc data carry
    no checksum, so that flipped bits pass. A zarr chunk that is missing is an error, though zarr leaves
    out those that are black: if they are meant, open the array yourself and pass it to `as_movie`.

    Examples
    --------
    >>> import numpy, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "movie.npy")
    >>> numpy.save(path, numpy.zeros((400, 8, 8), "uint16"))
    >>> movie = open_movie(path, pixel_size=108)
    >>> movie.dims, movie.shape, str(movie.dtype)
    (('frame', 'y', 'x'), (400, 8, 8), 'uint16')
    """
    keywords = {"frame_time": frame_time, "axes": axes, "array": array, "select": select}
    opened = SmlmBackend().open_dataset(path, pixel_size=pixel_size, **keywords).movie  # type: ignore[arg-type]
    encoding = opened.encoding
    token = fingerprint(encoding["source"]), encoding["stamp"], str(axes), str(array), str(select)
    return check_movie(_cut(opened, chunks, encoding["preferred_chunks"], token))


def as_movie(
    data: ArrayLike | xr.DataArray,
    *,
    pixel_size: float | tuple[float, float],
    frame_time: float | None = None,
    chunks: Chunks | None = None,
) -> xr.DataArray:
    """Make a movie of an array in memory or in an open zarr or HDF5 file, dask array or DataArray.

    Parameters
    ----------
    data : array_like or xarray.DataArray
        Axes in the order (frame, y, x); those of a DataArray are found by their names. Integer
        coordinates ``frame``, ``y``, ``x`` are kept.
    pixel_size : float or (float, float)
        Size of a pixel in the sample in nm; a pair is (y, x).
    frame_time : float, optional
        Seconds from one frame to the next; adds the coordinate ``time``.
    chunks : int, (frame, y, x), mapping or "auto", optional
        As in `open_movie`, but by default a dask array keeps its chunks.

    Returns
    -------
    xarray.DataArray
        ``movie`` with dims (frame, y, x) in adu, over dask; coordinates as in `open_movie`.

    Raises
    ------
    DimsError, DtypeError, EmptyMovieError, PixelSizeError, ParameterError
        The array is no movie.

    Examples
    --------
    >>> import numpy
    >>> movie = as_movie(numpy.zeros((400, 8, 8), "uint16"), pixel_size=(108, 110))
    >>> float(movie.pixel_size_x)
    110.0
    """
    data = xr.DataArray(data) if isinstance(data, xr.Variable) else data
    array = data if isinstance(data, xr.DataArray) else _named(data)
    if sorted(map(str, array.dims)) != sorted(DIMS):
        raise _dims_error(array.dims)
    array = array.transpose(*DIMS)
    _check_sizes(array.sizes)
    index = {name: array.indexes[name] for name in DIMS if name in array.indexes}
    coords = label(array.shape, pixel_size, frame_time, index)
    kept = array.coords.get("time")
    if kept is not None and kept.dims == ("frame",):
        coords = {"time": kept.variable, **coords}
    movie = xr.DataArray(array.variable.data, coords, DIMS, "movie", {"units": "adu"})
    if movie.chunks is None or not _default(chunks):
        shape = (movie.shape[0], movie.shape[1], movie.shape[2])
        default = dict(zip(DIMS, default_chunks(shape, movie.dtype, (1, 1, shape[2])), strict=True))
        movie = _cut(movie, chunks, default, None)
    return check_movie(_native(movie))


def check_movie(movie: xr.DataArray, *, minimum_frames: int = 1) -> xr.DataArray:
    """Return ``movie`` if it is one, computing nothing.

    Parameters
    ----------
    movie : xarray.DataArray
        What a block was given.
    minimum_frames : int
        Fewest frames with which the block can work.

    Raises
    ------
    DimsError
        No DataArray, other dims or order, or an index that is missing, not integer or not rising.
    DtypeError
        Samples that are not integers, float32 or float64.
    EmptyMovieError, TooFewFramesError, PixelSizeError
        An empty axis, too few frames, or no usable pixel size.

    Examples
    --------
    >>> import numpy
    >>> check_movie(numpy.zeros((3, 4, 5)))
    Traceback (most recent call last):
    smlm_dask.errors.DimsError: movie: got ndarray; wanted ...
    """
    if not isinstance(movie, xr.DataArray):
        raise DimsError(
            "movie",
            got=type(movie).__name__,
            wanted="an xarray.DataArray with dims (frame, y, x)",
            fix=_array_of(movie) or "as_movie(array, pixel_size=108), or open_movie(path, ...)",
        )
    if movie.dims != DIMS:
        raise _dims_error(movie.dims)
    _check_sizes(movie.sizes)
    if movie.sizes["frame"] < whole_number("minimum_frames", minimum_frames, at_least=0):
        raise _too_few(movie.sizes["frame"], minimum_frames)
    for name in DIMS:
        _check_index(movie, name)
    return check_samples(movie)


def check_samples(samples: xr.DataArray) -> xr.DataArray:
    """Return ``samples`` if dtype and pixel sizes are those of a movie, whatever its first axis.

    Parameters
    ----------
    samples : xarray.DataArray
        A movie, or crops with dims (emitter, y, x), of which there may be none.

    Raises
    ------
    DtypeError, EmptyMovieError, PixelSizeError
        As `check_movie`.
    """
    dtype = samples.dtype
    native = dtype.newbyteorder("=")
    if native.kind not in "iu" and native not in (np.float32, np.float64):
        raise DtypeError(
            "movie",
            got=f"dtype {dtype}",
            wanted="integers, float32 or float64",
            fix='movie.astype("float32") if the values are real numbers',
        )
    if dtype != native:
        raise DtypeError(
            "movie",
            got=f"dtype {dtype}, of the other byte order",
            wanted=f"{native}",
            fix=f'movie.astype("{native}"), or as_movie, which does it',
        )
    _check_sizes({name: samples.sizes[name] for name in ("y", "x")})
    for name in ("pixel_size_y", "pixel_size_x"):
        _check_pixel_size(samples, name)
    return samples


def select_map(name: str, values: xr.DataArray, movie: xr.DataArray) -> xr.DataArray:
    """A number as it is, or the part of a (y, x) map that lies under the movie."""
    if values.dtype.kind not in "iuf":
        raise ParameterError(
            name,
            got=f"dtype {values.dtype}",
            wanted="real numbers",
            fix=f'{name}.astype("float64") if they are numbers',
        )
    if values.ndim == 0:
        return values
    fits = values.dims == ("y", "x") and all(
        d in values.indexes
        and values.indexes[d].is_unique
        and movie.indexes[d].isin(values.indexes[d]).all()
        for d in ("y", "x")
    )
    if not fits:
        raise DimsError(
            name,
            got=f"dims {values.dims} of other sensor pixels than the movie's",
            wanted="a number, or a (y, x) map whose y and x hold those of the movie",
            fix=f"give {name} the sensor's y and x coordinates",
        )
    return values.sel(y=movie.y, x=movie.x)


def _named(data: ArrayLike) -> xr.DataArray:
    array: Any = data
    if not (hasattr(data, "dtype") and hasattr(data, "ndim")):
        try:
            array = np.asarray(data)
        except (TypeError, ValueError):  # a Dataset; lists of unequal length
            array = np.empty(())
    if array.ndim != len(DIMS):
        raise DimsError(
            "movie",
            got=f"{type(data).__name__} of {array.ndim} axes",
            wanted="an array with the three axes (frame, y, x)",
            fix=_array_of(data) or "array[None] for a single frame, numpy.stack for a list of them",
        )
    if not hasattr(
        array, "__array_function__"
    ):  # of an open zarr or HDF5 file: xarray would read it
        stored = getattr(array, "chunks", None) or (1, 1, array.shape[2])
        array = _graph.from_array(array, default_chunks(array.shape, array.dtype, stored))
    return xr.DataArray(array, dims=DIMS)


def _array_of(data: object) -> str:
    """How to get at the array in what holds several; nothing to say about others."""
    return 'pass one of its arrays, e.g. data["movie"]' if isinstance(data, Several) else ""


def _cut(
    movie: xr.DataArray, chunks: Chunks | None, default: Mapping[str, int], token: object
) -> xr.DataArray:
    sizes = chunk_sizes("auto" if _default(chunks) else chunks, _lengths(movie), default)
    count = math.prod(_pieces(size, movie.sizes[name]) for name, size in sizes.items())
    if count > MOST_CHUNKS:
        raise ParameterError(
            "chunks",
            got=f"{shown(chunks)}, which make {count} chunks",
            wanted=f"at most {MOST_CHUNKS} chunks",
            fix='e.g. chunks={"frame": 200}, or leave it out',
        )
    name = f"open_movie-{tokenize(token, sizes)}" if token is not None else None
    # The variable alone: DataArray.chunk would make the time a dask array as well.
    return movie.copy(data=movie.variable.chunk(sizes, name=name).data)


def _default(chunks: object) -> bool:
    return chunks is None or (isinstance(chunks, Mapping) and not chunks)


def _lengths(movie: xr.DataArray) -> dict[str, int]:
    return {name: movie.sizes[name] for name in DIMS}


def _pieces(size: int | Sequence[int], length: int) -> int:
    """How many chunks an axis is cut into."""
    if isinstance(size, Sequence):
        return len(size)
    return 1 if size == -1 else -(-length // size)


def _native(movie: xr.DataArray) -> xr.DataArray:
    """In this machine's byte order, turned where a chunk is made: numba knows no other."""
    dtype = movie.dtype
    return movie if dtype.isnative else movie.copy(data=movie.data.astype(dtype.newbyteorder("=")))


def _too_few(frames: int, wanted: int) -> TooFewFramesError:
    # What asks for more than two frames asks for a window of them.
    window = f", or window={frames}" if 2 <= frames < wanted else ""
    return TooFewFramesError(
        "movie",
        got=f"{frames} frame{'s' if frames > 1 else ''}",
        wanted=f"at least {wanted}",
        fix=f"use a longer part of the movie{window}",
    )


def _dims_error(dims: tuple[Any, ...]) -> DimsError:
    return DimsError(
        "movie",
        got=f"dims ({', '.join(map(str, dims))})",
        wanted="dims (frame, y, x), in this order",
        fix='movie.rename(...).transpose("frame", "y", "x")',
    )


def _check_sizes(sizes: Mapping[Any, int]) -> None:
    if any(math.isnan(size) for size in sizes.values()):
        raise DimsError(
            "movie",
            got="a dask array of unknown size, as after selecting with an array of truth values",
            wanted="a known number of frames, rows and columns",
            fix="array.compute_chunk_sizes()",
        )
    if not all(sizes.values()):
        raise EmptyMovieError(
            "movie",
            got=f"sizes {dict(sizes)}",
            wanted="at least one frame, row and column",
            fix="check the slice the movie was cut with",
        )


def _check_index(movie: xr.DataArray, name: str) -> None:
    index = movie.indexes.get(name)
    if index is None or index.dtype.kind not in "iu":
        raise DimsError(
            f"movie.{name}",
            got="no index" if index is None else f"an index of {index.dtype}",
            wanted="integers: frame numbers, sensor pixels (nm follow from pixel_size)",
            fix=f'as_movie(movie.drop_vars("{name}", errors="ignore"), pixel_size=...)',
        )
    if not (index.is_monotonic_increasing and index.is_unique):
        raise DimsError(
            f"movie.{name}",
            got="an index with repeated or falling values",
            wanted="a rising index",
            fix=f'movie.drop_duplicates("{name}").sortby("{name}")',
        )
    if name == "frame" and not 0 <= index[0] <= index[-1] < FRAMES_END:
        raise DimsError(
            "movie.frame",
            got=f"frame numbers from {index[0]} to {index[-1]}",
            wanted="numbers from 0 that fit int64, as in tables",
            fix="movie.assign_coords(frame=movie.frame - movie.frame[0])",
        )
    # By its ends: an index of 2^31 frames is a range, and must not be written out.
    if name != "frame" and index[-1] - index[0] + 1 != len(index):
        raise DimsError(
            f"movie.{name}",
            got="rows or columns that are not neighbours on the sensor",
            wanted="consecutive sensor pixels: the PSF and crops are measured in them",
            fix=f"movie.isel({name}=slice(start, stop)), without a step",
        )


def _check_pixel_size(movie: xr.DataArray, name: str) -> None:
    size = movie.coords.get(name)
    plain = size is not None and size.ndim == 0 and size.chunks is None and size.dtype.kind in "iuf"
    if size is None or not plain or not 0 < float(size) < math.inf:
        raise PixelSizeError(
            f"movie.{name}",
            got="nothing"
            if size is None
            else f"{size.dtype} {size.shape}"
            if not plain
            else f"{float(size)}",
            wanted="a scalar coordinate in nm, above zero",
            fix="as_movie(movie, pixel_size=108)",
        )
