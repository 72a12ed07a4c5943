"""What results were computed from: the version, the files, and the name of each graph.

The name of a graph follows from the kernels, their parameters and the movie: of a file from its path, size
and time of change. So two runs whose names agree compute the same numbers, and a half of one may be ended
by the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
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
    values = {f"{g}/{n}": v.data for g, d in results.items() for n, v in d.variables.items()}
    lazy = [value for value in values.values() if _graph.is_lazy(value)]
    return {
        "version": version("smlm-dask"),
        "sources": {p: s for p, s in _sources(_graph.origins(lazy)).items() if Path(p) != path},
        "names": {name: _graph.identity(value) for name, value in values.items()},
    }


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
    origin = getattr(origin, "_array", origin)  # xarray's, of a zarr array
    if isinstance(origin, zarr.Array):
        root = getattr(origin.store, "root", None)
        return None if root is None else str(Path(root).absolute())
    if isinstance(origin, np.memmap) and origin.filename is not None:
        return str(Path(origin.filename).absolute())
    return None


def _stated(path: str, stamp: int) -> list[Any]:
    """Sizes and times of change as JSON gives them back, and the stamp of a movie in several files."""
    return [stamp, *json.loads(json.dumps(fingerprint(path)[1:]))]


def _now(path: str, stamp: int) -> list[Any]:
    """The stamp is that of further files, which a reader knows."""
    try:
        stamp = open_reader(path).stamp if stamp else 0
    except SmlmError:  # it is gone, or opens with keywords only
        return _stated(path, stamp)
    return _stated(path, stamp)
