"""A movie of any format to a store of its own: compressed, with checksums, and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from smlm_dask import _graph, folder
from smlm_dask.check import flag, shown
from smlm_dask.errors import ParameterError, StoreError
from smlm_dask.movie import check_movie, open_movie
from smlm_dask.readers.labels import DIMS
from smlm_dask.readers.named import MOVIE
from smlm_dask.shards import Layout, copy, lay_out

__all__ = ["ingest"]

KIND = MOVIE  # of the store, as its mark says
SOURCE = "source"  # attribute that tells what it was made of
PLACE = (*DIMS, "time", "pixel_size_y", "pixel_size_x")


def ingest(
    movie: str | os.PathLike[str] | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    pixel_size: float | tuple[float, float] | None = None,
    frame_time: float | None = None,
    axes: str | None = None,
    array: str | int | None = None,
    select: Mapping[str, int] | None = None,
    overwrite: bool = False,
    resume: bool = True,
) -> Path:
    """Copy a movie to a zarr store that opens without a word: `open_movie` needs no pixel size for it.

    Shards of whole windows of 200 frames within the byte budget of `open_movie`, in them chunks of 100
    frames of 128 x 128 pixels, bit-shuffled lz4, a crc32c for each. A shard gets its name when it was
    read back and is the same bit for bit, the store when all shards have theirs. A copy that was
    interrupted, even killed, lies at ``path.part``: the same call goes on with what is missing.

    Parameters
    ----------
    movie : path or xarray.DataArray
        Anything that `open_movie` opens, or a movie, perhaps cropped or corrected.
    path : path
        A folder that does not exist yet; with workers elsewhere, one that they share.
    pixel_size, frame_time, axes, array, select
        As in `open_movie`, for a path.
    overwrite : bool
        Replace a movie that was ingested there before, at the end. Any other folder is never removed.
    resume : bool
        Go on with a copy that was interrupted; False begins again.

    Returns
    -------
    pathlib.Path
        Where the movie is.

    Raises
    ------
    MovieError
        The movie does not open, or is damaged.
    StoreError
        Something is at ``path`` already or in the way at ``path.part``, it lies in the source or the
        source in it, the disk has not enough space, the source changed since the copy began, or what
        was read back differs.
    ParameterError
        A keyword does not fit.

    Examples
    --------
    >>> import os, tempfile, numpy
    >>> import smlm_dask as smlm
    >>> folder = tempfile.mkdtemp()
    >>> numpy.save(os.path.join(folder, "movie.npy"), numpy.ones((400, 8, 8), "uint16"))
    >>> path = smlm.ingest(os.path.join(folder, "movie.npy"), folder + "/movie.zarr", pixel_size=108)
    >>> float(smlm.open_movie(path).pixel_size_y)
    108.0
    """
    resume, overwrite = flag("resume", resume), flag("overwrite", overwrite)
    path = folder.as_path(path, "movie.zarr")
    options = {"axes": axes, "array": array, "select": select}
    source = _open(movie, pixel_size=pixel_size, frame_time=frame_time, **options)
    if (origin := source.encoding.get("source")) is not None:
        folder.check_apart(origin, path)
    folder.check_target(path, KIND, overwrite)
    layout = lay_out(source)
    stated = _stated(source, layout, options if source is not movie else None)
    root = _begun(path, source, layout, stated, resume)
    copy(source, layout, folder.unfinished(path))
    root.attrs["complete"] = True
    return folder.finish(path, KIND, overwrite)


def _open(movie: Any, **keywords: Any) -> xr.DataArray:
    """The movie, opened if it is a path."""
    if not isinstance(movie, xr.DataArray):
        return open_movie(movie, **keywords)
    given = sorted(name for name, value in keywords.items() if value is not None)
    if given:
        raise ParameterError(
            ", ".join(given),
            got="a value for a movie that is open already",
            wanted="nothing beside a DataArray",
            fix="pass it to open_movie or as_movie",
        )
    return check_movie(movie)


# ------------------------------------------------------------------ begin, or go on


def _stated(
    movie: xr.DataArray, layout: Layout, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What tells of which movie an interrupted copy is, in plain values that the store keeps.

    With the options of a path its files say the rest; otherwise the name of the graph says what was done
    to the samples.
    """
    place = {name: movie.coords[name].to_numpy() for name in PLACE if name in movie.coords}
    path = movie.encoding.get("source")
    return {
        "path": path,
        "files": _files(Path(path)) if path else None,
        "stamp": movie.encoding.get("stamp"),
        "movie": _graph.movie_data(movie).name if options is None else _told(options),
        "shape": list(movie.shape),
        "dtype": movie.dtype.str,
        "shard": list(layout.shard),
        "place": {n: [float(np.min(a)), float(np.max(a))] for n, a in place.items()},
    }


def _told(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _files(path: Path) -> dict[str, int]:
    """Number, bytes and last change of a file, or of all in a folder; a pattern has its stamp alone."""
    found = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    entries = [p.stat() for p in found]
    return {
        "number": len(entries),
        "bytes": sum(e.st_size for e in entries),
        "changed_ns": max((e.st_mtime_ns for e in entries), default=0),
    }


def _begun(
    path: Path, movie: xr.DataArray, layout: Layout, stated: dict[str, Any], resume: bool
) -> zarr.Group:
    """The unfinished store: the one that is there, if it is of this movie, or a new one."""
    part = folder.unfinished(path)
    root = folder.marked(part, KIND)
    if root is None or not resume or SOURCE not in root.attrs:
        folder.begin(path, KIND)
        _write_frame(part, movie, layout)
    else:
        _check_same(part, root.attrs[SOURCE], stated)
    root = zarr.open_group(part, mode="r+")
    root.attrs[SOURCE] = stated
    return root


def _write_frame(part: Path, movie: xr.DataArray, layout: Layout) -> None:
    """Everything but the samples."""
    other = [name for name in movie.coords if name not in PLACE]
    dataset = movie.drop_vars(other).drop_encoding().to_dataset(name=MOVIE)
    dataset[MOVIE] = dataset[MOVIE].variable.chunk(layout.chunks)
    # xarray replaces the attributes of the root, so that those which mark the store are among its own.
    dataset.attrs = {
        folder.MARK: KIND,
        "complete": False,
        "history": f"smlm_dask {version('smlm-dask')} ingest",
    }
    encoding = {MOVIE: layout.encoding | {"_FillValue": None}}
    try:
        dataset.to_zarr(part, mode="a", compute=False, encoding=encoding, consolidated=False)
    except (OSError, TypeError, ValueError, NotImplementedError) as error:
        raise StoreError(
            str(part),
            got=f"{type(error).__name__}: {error}",
            wanted="plain attributes and coordinates, and a folder that can be written to",
            fix="movie.drop_attrs(), or another path",
        ) from error


def _check_same(part: Path, found: Any, stated: dict[str, Any]) -> None:
    """A file may move, but not change: half of the shards would be of another movie."""
    names = [n for n in stated if n != "path"]
    other = [n for n in names if not isinstance(found, dict) or found.get(n) != stated[n]]
    if other:
        now = {name: stated[name] for name in other}
        then = {name: found.get(name) for name in other} if isinstance(found, dict) else found
        raise StoreError(
            str(part),
            got=f"a copy of a movie with {shown(then)}",
            wanted=f"one with {shown(now)}, as the source and the keywords are now",
            fix="resume=False (--fresh) to begin again, or another path",
        )
