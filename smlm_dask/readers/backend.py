"""The engine ``smlm``, which opens every format there is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from smlm_dask.errors import FormatError
from smlm_dask.readers.format import Format
from smlm_dask.readers.reader import Reader
from smlm_dask.readers.zarr import METADATA

__all__ = ["SmlmBackend", "fingerprint", "formats", "open_reader"]

GROUP, PREFIX = "xarray.backends", "smlm-"


@cache
def formats() -> tuple[Format, ...]:
    """All formats that are installed, here or by other packages."""
    found = entry_points(group=GROUP)
    return tuple(point.load()() for point in sorted(found) if point.name.startswith(PREFIX))


class SmlmBackend(Format):
    """``xr.open_dataset(path, engine="smlm", pixel_size=108, chunks={})``."""

    description = "Open microscopy movies with smlm_dask"
    several = True

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Reader:
        """Make the reader of the first format that holds ``path``."""
        for one in formats():
            if one.holds(path):
                return one.open_reader(path, axes=axes, array=array, select=select)
        raise _unknown(path)


def open_reader(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    array: str | int | None = None,
    select: Mapping[str, int] | None = None,
) -> Reader:
    """Make the reader of the movie at ``path``; reads metadata only."""
    return SmlmBackend().open_reader(path, axes=axes, array=array, select=select)


def _unknown(path: str) -> FormatError:
    there = "a format this package cannot read"
    there = "a folder of no known format" if Path(path).is_dir() else there
    known = ", ".join(sorted({suffix for one in formats() for suffix in one.suffixes}))
    return FormatError(
        path,
        got=there if Path(path).exists() else "no such file",
        wanted=f"a zarr store or one of {known}",
        fix="check the path, or load it yourself and pass the array to as_movie",
    )


def fingerprint(path: str) -> tuple[object, ...]:
    """Tell what identifies a file's content without reading it: path, size and time of change."""
    names = [Path(path, name) for name in (".", *METADATA, ".zattrs")]
    found = [name.stat() for name in names if name.exists()]
    return path, *((entry.st_size, entry.st_mtime_ns) for entry in found)
