"""What results were computed from: the version, the files, and the name of each graph.

The name of a graph follows from the kernels, their parameters and the movie: of a file from its path, size
and time of change. So two runs whose names agree compute the same numbers, and a half of one may be ended
by the other.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from smlm_dask import _graph
from smlm_dask.errors import SmlmError
from smlm_dask.readers.backend import fingerprint, open_reader
from smlm_dask.readers.lazy import MovieArray

__all__ = ["changed", "describe"]


def describe(results: Mapping[str, xr.Dataset], path: Path) -> dict[str, Any]:
    """In plain values: the version, the fingerprint of each source, the name of each graph.

    Results that are computed from those at ``path``, and will replace them, have no source that stays.
    """
    values = [v.data for dataset in results.values() for v in dataset.variables.values()]
    sources = _sources(_graph.origins([value for value in values if _graph.is_lazy(value)]))
    return {
        "version": version("smlm-dask"),
        "sources": {p: s for p, s in sources.items() if Path(p).resolve() != path.resolve()},
        "names": {f"{g}/{n}": _name(d, n) for g, d in results.items() for n in d.variables},
    }


def _name(dataset: xr.Dataset, key: Any) -> str:
    """All that decides a variable: its numbers, their shape and type, what it is called and said to be."""
    variable = dataset.variables[key]
    about = (
        variable.dims,
        variable.shape,
        variable.dtype.str,
        variable.chunks,
        key in dataset.coords,
    )
    attrs = sorted((str(name), str(value)) for name, value in variable.attrs.items())
    return _graph.identity((_graph.identity(variable.data), about, attrs))


def changed(sources: Mapping[str, Any]) -> list[str]:
    """Paths whose content is another one now; of a source that is gone nothing can be told."""
    return [path for path, was in sources.items() if _now(path, was[0]) not in (was, [was[0]])]


def _sources(origins: Iterable[Any]) -> dict[str, Any]:
    """Of arrays in memory and simulated movies the names of the graphs tell all."""
    found: dict[str, Any] = {}
    for origin in origins:
        if isinstance(origin, MovieArray):
            found[origin.reader.path] = _stated(origin.reader.path, origin.reader.stamp)
        elif (path := _path(origin)) is not None:
            found[path] = _stated(path, 0)
    return found


def _path(origin: Any) -> str | None:
    """Of an array that the user opened."""
    if (file := getattr(getattr(origin, "file", None), "filename", None)) is not None:
        return str(Path(file).absolute())  # of h5py
    origin = getattr(origin, "_array", origin)  # xarray's, of a zarr array
    if isinstance(origin, zarr.Array):
        root = getattr(origin.store, "root", None)
        return None if root is None else str(Path(root).absolute())
    return None


def _stated(path: str, stamp: int) -> list[Any]:
    """Sizes and times of change as JSON gives them back, and the stamp of a movie in several files.

    A folder, as that of a zarr store, keeps its own when a file in it changes.
    """
    return [stamp, *json.loads(json.dumps(fingerprint(path)[1:])), *_inside(Path(path))]


def _inside(path: Path) -> list[int]:
    if not path.is_dir():
        return []
    files = [(str(file), file.stat()) for file in path.rglob("*") if file.is_file()]
    states = sorted((name, state.st_size, state.st_mtime_ns) for name, state in files)
    return [zlib.crc32(repr(states).encode("utf-8", "surrogateescape"))]


def _now(path: str, stamp: int) -> list[Any]:
    """The stamp is that of further files, which a reader knows."""
    try:
        stamp = open_reader(path).stamp if stamp else 0
    except SmlmError:  # it is gone, or opens with keywords only
        return _stated(path, stamp)
    return _stated(path, stamp)
