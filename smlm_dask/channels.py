"""Several channels of one experiment: the one place that loops over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import xarray as xr

from smlm_dask.errors import ParameterError

__all__ = ["map_channels"]

Block = Callable[..., xr.Dataset]


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
        If there are no channels, a child has no movie, or a taken-apart argument lacks a channel.

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
    results = {}
    for name, movie in movies.items():
        own = [_own(a, name, movies) for a in arguments]
        named = {k: _own(v, name, movies) for k, v in keywords.items()}
        results[name] = block(movie, *own, **named)
    return xr.DataTree.from_dict(results) if isinstance(channels, xr.DataTree) else results


def _movies(channels: Mapping[str, xr.DataArray] | xr.DataTree) -> dict[str, xr.DataArray]:
    tree = isinstance(channels, xr.DataTree)
    missing = [n for n, c in channels.children.items() if "movie" not in c] if tree else []  # type: ignore[union-attr]
    if missing or not len(channels.children if tree else channels):  # type: ignore[union-attr]
        raise ParameterError(
            "channels",
            got=f"no movie in {missing}" if missing else "no channels",
            wanted="a dict of movies, or a DataTree whose children hold the variable 'movie'",
            fix='{"red": movie}',
        )
    if isinstance(channels, xr.DataTree):
        return {str(n): child.to_dataset()["movie"] for n, child in channels.children.items()}
    return dict(channels)


def _own(value: Any, name: str, movies: Mapping[str, xr.DataArray]) -> Any:
    """A channel's part of an argument that is given for each channel; other arguments as they are."""
    if isinstance(value, xr.DataTree):
        return value[name].to_dataset()
    if type(value) is not dict:
        return value
    if set(value) != set(movies):
        raise ParameterError(
            "argument by channel",
            got=f"values for {sorted(value)}",
            wanted=f"one for each of {sorted(movies)}",
            fix="name every channel, or pass one value for all",
        )
    return value[name]
