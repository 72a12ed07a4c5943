"""What a file format is to xarray: a class that makes readers; an entry point makes it known."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing

from smlm_dask.check import is_whole, shown
from smlm_dask.errors import FormatError, ParameterError, SmlmError
from smlm_dask.readers.chunks import MOST_CHUNKS, can_be_cut, default_chunks
from smlm_dask.readers.labels import DIMS, label
from smlm_dask.readers.lazy import MovieArray, unreadable
from smlm_dask.readers.reader import Reader

__all__ = ["Format"]

UNREAL = (np.dtype("f2"), np.dtype("g"))  # no compiled kernel takes them


class Format(BackendEntrypoint):
    """A way to keep a movie in files: ``xr.open_dataset(path, engine="smlm-dax", pixel_size=108)``.

    A format is a subclass with the two class variables and ``reader``, named in the entry points
    ``xarray.backends`` under ``smlm-`` and a word; `open_movie` then finds it too.

    Attributes
    ----------
    suffixes : tuple of str
        What its files' names end in, lower case.
    several : bool
        Whether a file may hold arrays to choose from.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    several: ClassVar[bool] = False
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "pixel_size", "frame_time", "axes", "array", "select",
    )  # fmt: skip

    @abstractmethod
    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Reader:
        """Make the reader of the file at ``path``, an absolute one; reads metadata only."""

    def holds(self, path: str) -> bool:
        """Tell whether ``path`` is of this format, from its name or a look at its first bytes."""
        return path.lower().endswith(self.suffixes) and Path(path).is_file()

    def open_reader(
        self,
        path: str | os.PathLike[str],
        *,
        axes: str | None = None,
        array: str | int | None = None,
        select: Mapping[str, int] | None = None,
    ) -> Reader:
        """Make the reader of the movie at ``path``, with every fault in the errors of this package."""
        full = _full_path(path)
        _check_keywords(axes, array, select)
        if array is not None and not self.several:
            raise ParameterError(
                "array",
                got=repr(array),
                wanted="nothing: the file holds one array",
                fix="leave it out",
            )
        try:
            reader = self.reader(full, axes, select, None if array is None else str(array))
            return _check(reader)
        except SmlmError:
            raise
        except Exception as error:
            raise unreadable(full, error) from error

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
        reader = self.open_reader(filename_or_obj, axes=axes, array=array, select=select)
        chunks = default_chunks(reader.shape, reader.dtype, reader.chunk)
        data = indexing.LazilyIndexedArray(MovieArray(reader))
        encoding: dict[str, Any] = {"preferred_chunks": dict(zip(DIMS, chunks, strict=True))}
        encoding |= {"source": reader.path, "stamp": reader.stamp}
        known = reader.metadata
        names = {"camera": known.camera, "channel": known.channel, "exposure": known.exposure}
        attrs = {"units": "adu"} | {n: value for n, value in names.items() if value is not None}
        movie = xr.Variable(DIMS, data, attrs, encoding)
        size = known.pixel_size if pixel_size is None else pixel_size
        step = known.frame_time if frame_time is None else frame_time
        coords = label(reader.shape, size, step, _index(reader))
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        return xr.Dataset({"movie": movie}, coords).drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Tell xarray, by the name alone, whether to try."""
        if not isinstance(filename_or_obj, str | os.PathLike) or not self.suffixes:
            return False
        return str(filename_or_obj).lower().endswith(self.suffixes)


def _index(reader: Reader) -> Mapping[str, Any]:
    try:
        return reader.index()
    except SmlmError:
        raise
    except Exception as error:  # as in open_reader
        raise unreadable(reader.path, error) from error


def _full_path(path: Any) -> str:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise FormatError(
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


def _check(reader: Reader) -> Reader:
    if (
        reader.dtype.kind not in "iuf"
        or reader.dtype in UNREAL
        or not all(reader.shape)
        or not can_be_cut(reader.shape, reader.dtype, reader.chunk)
    ):
        raise FormatError(
            reader.path,
            got=f"shape {reader.shape}, {reader.dtype}",
            wanted="real numbers (integers, float32, float64), no empty axis, at most "
            f"{MOST_CHUNKS} chunks that memory can hold",
            fix="the file is damaged, or no camera movie",
        )
    return reader
