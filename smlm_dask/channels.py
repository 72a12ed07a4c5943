"""Several channels of one experiment: views of one chip, and the one place that loops over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import xarray as xr

from smlm_dask.check import is_whole, shown
from smlm_dask.errors import ParameterError, SmlmError
from smlm_dask.movie import Chunks, check_movie, open_movie
from smlm_dask.readers import open_reader
from smlm_dask.readers.reader import Metadata

__all__ = ["map_channels", "open_channels", "split_views"]

Block = Callable[..., xr.Dataset]
CHANNEL = "c"  # the letter of the axis


def open_channels(
    path: str | os.PathLike[str],
    *,
    pixel_size: float | tuple[float, float] | None = None,
    chunks: Chunks | None = None,
    frame_time: float | None = None,
    axes: str | None = None,
    array: str | int | None = None,
    select: Mapping[str, int] | None = None,
) -> xr.DataTree:
    """Open every channel of a file as a movie, without reading it.

    Parameters
    ----------
    path : str or path
        File or zarr folder with an axis ``c``, e.g. OME-TIFF, ImageJ, Micro-Manager, OME-Zarr, ND2.
        Without one, its movie is the only channel.
    pixel_size, chunks, frame_time, axes, array
        As in `open_movie`.
    select : mapping, optional
        Index to take from other axes, e.g. ``{"z": 2}``.

    Returns
    -------
    xarray.DataTree
        A child for each channel, in the file's order and with the file's name for it, or its number;
        ``/`` in a name becomes ``_``. Each holds the variable ``movie`` (frame, y, x) as `open_movie`
        gives it, as `map_channels` takes it.

    Raises
    ------
    ParameterError
        ``select`` names the channel.
    MovieError
        As `open_movie`.

    Examples
    --------
    >>> import numpy, os, tempfile, tifffile
    >>> path = os.path.join(tempfile.mkdtemp(), "cell.ome.tif")
    >>> told = {"axes": "TCYX", "Channel": {"Name": ["A647", "Cy3B"]}}
    >>> tifffile.imwrite(path, numpy.zeros((40, 2, 8, 8), "uint16"), metadata=told)
    >>> channels = open_channels(path, pixel_size=108)
    >>> list(channels), channels["Cy3B"].movie.shape
    (['A647', 'Cy3B'], (40, 8, 8))
    """
    given = dict(select) if isinstance(select, Mapping) else select
    if isinstance(given, dict) and CHANNEL in (str(letter).lower() for letter in given):
        raise ParameterError(
            "select",
            got=shown(select),
            wanted="indices of axes besides the channel: all channels are opened",
            fix="leave the channel out, or open it alone with open_movie",
        )
    told = _told(path, axes, array, given)
    numbers = range(len(told.channels))
    each: list[Any] = [{**(given or {}), CHANNEL: number} for number in numbers]
    names = _names(told.channels or (told.channel or "0",))
    movies = (
        open_movie(
            path,
            pixel_size=pixel_size,
            chunks=chunks,
            frame_time=frame_time,
            axes=axes,
            array=array,
            select=one,
        )
        for one in each or [select]
    )
    children = zip(names, movies, strict=True)
    return xr.DataTree.from_dict({name: movie.to_dataset(name="movie") for name, movie in children})


def _told(path: Any, axes: Any, array: Any, select: Any) -> Metadata:
    """What the file says of its channels; those without the axis refuse to select from it."""
    try:
        first = {**(select or {}), CHANNEL: 0}
        return open_reader(path, axes=axes, array=array, select=first).metadata
    except (ParameterError, TypeError):
        return open_reader(path, axes=axes, array=array, select=select).metadata


def _names(told: Sequence[str]) -> list[str]:
    """Names that a tree can have: no path, none twice."""
    plain = [name.replace("/", "_").strip(". ") or str(at) for at, name in enumerate(told)]
    twice = {name for name in plain if plain.count(name) > 1}
    return [f"{name} {at}" if name in twice else name for at, name in enumerate(plain)]


@overload
def map_channels(
    block: Block, channels: Mapping[str, xr.DataArray], /, *arguments: Any, **keywords: Any
) -> dict[str, xr.Dataset]: ...
@overload
def map_channels(
    block: Block, channels: xr.DataTree, /, *arguments: Any, **keywords: Any
) -> xr.DataTree: ...
def map_channels(
    block: Block,
    channels: Mapping[str, xr.DataArray] | xr.DataTree,
    /,
    *arguments: Any,
    **keywords: Any,
) -> dict[str, xr.Dataset] | xr.DataTree:
    """Apply a block to each channel; channels may differ in shape, pixel size and length.

    Parameters
    ----------
    block : callable
        A block of this package, e.g. ``estimate_gain``.
    channels : mapping of name to (frame, y, x), or xarray.DataTree
        A tree has one child for each channel with the variable ``movie``.
    *arguments, **keywords
        Passed to the block. A ``dict`` or ``DataTree`` with the channels' names is taken apart: each
        channel gets its own value.

    Returns
    -------
    dict of xarray.Dataset, or xarray.DataTree
        The same kind and names as ``channels``. Lazy. Call ``tree.compute()``: ``dask.compute`` hands
        a DataTree back uncomputed.

    Raises
    ------
    ParameterError
        If there are no channels, a child has no movie, a taken-apart argument has other channels,
        or the block is no function from a movie to a Dataset. What a block raises is passed on, with
        the channel's name in its notes.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> red, _ = smlm.simulate_movie(20, (32, 48), seed=1)
    >>> green, _ = smlm.simulate_movie(20, (40, 32), seed=2)
    >>> both = {"red": red, "green": green}
    >>> means = smlm.map_channels(smlm.background_spatial_mean, both, radius={"red": 7, "green": 5})
    >>> sorted(means)
    ['green', 'red']
    """
    movies = _movies(channels)
    if not callable(block):
        raise _no_block(shown(block))
    parts = {
        f"argument {i}": _apart(f"argument {i}", a, movies) for i, a in enumerate(arguments, 2)
    }
    named = {k: _apart(k, v, movies) for k, v in keywords.items()}
    results = {}
    for name, movie in movies.items():
        own = (part[name] for part in parts.values())
        results[name] = _call(block, name, movie, *own, **{k: v[name] for k, v in named.items()})
    return xr.DataTree.from_dict(results) if isinstance(channels, xr.DataTree) else results


def _movies(channels: Mapping[str, xr.DataArray] | xr.DataTree) -> dict[str, xr.DataArray]:
    tree = isinstance(channels, xr.DataTree)
    if not tree and not isinstance(channels, Mapping):
        raise _no_channels(type(channels).__name__)
    missing = [n for n, c in channels.children.items() if "movie" not in c] if tree else []  # type: ignore[union-attr]
    if missing or not len(channels.children if tree else channels):  # type: ignore[union-attr]
        raise _no_channels(f"no movie in {missing}" if missing else "no channels")
    if isinstance(channels, xr.DataTree):
        return {str(n): child.to_dataset()["movie"] for n, child in channels.children.items()}
    return dict(channels)


def _apart(what: str, value: Any, movies: Mapping[str, xr.DataArray]) -> dict[str, Any]:
    """What each channel gets of an argument: its own part, or the same as the others."""
    if isinstance(value, xr.DataTree):
        parts = {str(name): child.to_dataset() for name, child in value.children.items()}
    elif isinstance(value, dict):
        parts = value
    else:
        return dict.fromkeys(movies, value)
    if set(parts) != set(movies):
        raise ParameterError(
            f"{what} by channel",
            got=f"values for {sorted(map(str, parts))}",
            wanted=f"one for each of {sorted(map(str, movies))}",
            fix="name every channel, or pass one value for all",
        )
    return parts


def _call(block: Block, name: str, *arguments: Any, **keywords: Any) -> xr.Dataset:
    try:
        result = block(*arguments, **keywords)
    except SmlmError as error:
        error.add_note(f"in channel {name!r}")
        raise
    if not isinstance(result, xr.Dataset):
        raise _no_block(f"{shown(block)}, which returns {type(result).__name__}")
    return result


def _no_block(got: str) -> ParameterError:
    return ParameterError(
        "block",
        got=got,
        wanted="a function that makes a Dataset of a movie",
        fix="map_channels(estimate_gain, channels), without calling it",
    )


def _no_channels(got: str) -> ParameterError:
    return ParameterError(
        "channels",
        got=got,
        wanted="a dict of movies, or a DataTree whose children hold the variable 'movie'",
        fix='{"red": movie}',
    )


def split_views(movie: xr.DataArray, views: Mapping[str, tuple[slice, slice]], /) -> xr.DataTree:
    """Take the views of one chip apart: two colours or planes side by side, each a channel.

    Every view keeps its pixels' place on the sensor: camera maps of the chip fit, and positions in a
    view, in nm of the chip, fit the whole movie. Views may overlap; what they share is in both.

    Parameters
    ----------
    movie : (frame, y, x)
        The whole chip, or a part of it.
    views : mapping of name to (slice, slice)
        Rows and columns of each view in sensor pixels, the numbers in ``movie.y`` and ``movie.x``, the
        last one not included. An open end is the end of the movie.

    Returns
    -------
    xarray.DataTree
        A child for each view with the variable ``movie``, as `map_channels` takes it. Lazy: computed
        together, the views are read once.

    Raises
    ------
    ParameterError
        If there are no views, a name cannot be that of a child, or rows or columns are no range in
        the movie.
    MovieError
        The movie is none.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, _ = smlm.simulate_movie(20, (32, 64), seed=1)
    >>> left_right = {"left": (slice(0, 32), slice(0, 32)), "right": (slice(0, 32), slice(32, 64))}
    >>> views = smlm.split_views(movie, left_right)
    >>> views["right"].movie.x.values[[0, -1]].tolist()
    [32, 63]
    """
    check_movie(movie)
    if not isinstance(views, Mapping) or not views:
        raise _no_view("views", shown(views))
    for name in views:
        if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
            raise ParameterError(
                "views", got=f"the name {name!r}", wanted="words without '/'", fix='e.g. "left"'
            )
    parts = {name: movie.isel(_box(movie, name, view)) for name, view in views.items()}
    return xr.DataTree.from_dict({n: part.to_dataset(name="movie") for n, part in parts.items()})


def _box(movie: xr.DataArray, name: str, view: Any) -> dict[str, slice]:
    """Where a view lies in the movie, by dimension."""
    if not isinstance(view, tuple | list) or len(view) != 2:
        raise _no_view(f"view {name!r}", shown(view))
    box = {}
    for dim, part in zip("yx", view, strict=True):
        first, count = int(movie.indexes[dim][0]), movie.sizes[dim]
        ends = (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        start, stop = _ends(ends, first, first + count)
        if not first <= start < stop <= first + count:
            raise ParameterError(
                f"view {name!r}, {dim}",
                got=shown(part),
                wanted=f"slice(start, stop) of sensor pixels from {first} to {first + count}",
                fix=f"e.g. slice({first}, {first + count // 2 + count % 2})",
            )
        box[dim] = slice(start - first, stop - first)
    return box


def _ends(ends: tuple[Any, ...], first: int, last: int) -> tuple[int, int]:
    """Start and stop, the movie's where they are open; an empty range for all that is none."""
    start, stop, step = ends if len(ends) == 3 else (None, None, 0)
    start, stop = first if start is None else start, last if stop is None else stop
    good = step in (None, 1) and is_whole(start) and is_whole(stop)
    return (int(start), int(stop)) if good else (last, first)


def _no_view(what: str, got: str) -> ParameterError:
    return ParameterError(
        what,
        got=got,
        wanted="rows and columns of the chip for each name",
        fix='{"left": (slice(0, 256), slice(0, 256)), "right": (slice(0, 256), slice(256, 512))}',
    )
