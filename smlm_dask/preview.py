"""A small movie that stands for a large one."""

from __future__ import annotations

import numpy as np
import xarray as xr

from smlm_dask import _graph
from smlm_dask.check import whole_number
from smlm_dask.movie import check_movie

__all__ = ["preview"]

ENOUGH = 3  # chunks that a movie must give to be taken by chunks


def preview(movie: xr.DataArray, /, *, every: int = 10, window: int = 200) -> xr.DataArray:
    """Take every so many windows of a movie, for a first look with any block.

    Windows of neighbouring frames, and not single ones: noise is told from light by frames that follow each
    other. Where chunks are whole windows, all alike and many, they are taken whole, so that nothing is read
    in vain. For a range of frames slice the movie: ``movie[:2000]``, or
    ``movie.sel(frame=slice(5000, 7000))``.

    Parameters
    ----------
    movie : (frame, y, x)
        Lazy or in memory; nothing is read.
    every : int
        Of so many windows or chunks the first one is taken.
    window : int
        Frames in a window, of the block that will follow.

    Returns
    -------
    xarray.DataArray
        A movie of about ``1 / every`` of the frames, which keep their numbers and times. Numbers that a
        block finds in it are those of a movie with these frames: a gain has an error ``sqrt(every)`` times
        as large, a background has no windows in between. Of a table of emitters take the rows of its frames:
        ``table[table["frame"].isin(first.frame)]``.

    Raises
    ------
    MovieError, ParameterError

    Examples
    --------
    >>> import numpy
    >>> import smlm_dask as smlm
    >>> movie = smlm.as_movie(numpy.zeros((4000, 8, 8), "uint16"), pixel_size=100, chunks=200)
    >>> first = smlm.preview(movie, every=5)
    >>> first.shape, first.frame.values[[0, 199, 200]].tolist()
    ((800, 8, 8), [0, 199, 1000])
    """
    movie = check_movie(movie)
    every = whole_number("every", every, at_least=1)
    window = whole_number("window", window, at_least=1)
    data = _graph.movie_data(movie)
    size, count = data.chunks[0][0], data.numblocks[0]
    even = size % window == 0 and set(data.chunks[0][:-1]) <= {size}
    step = size if even and count >= ENOUGH * every else window
    spans = [(b, min(b + step, len(movie))) for b in range(0, len(movie), every * step)]
    frames = np.concatenate([np.arange(*span) for span in spans])
    place = movie.coords.to_dataset().isel(frame=frames)
    joined = _graph.joined(data, spans)
    return xr.DataArray(joined, place.coords, movie.dims, movie.name, movie.attrs)
