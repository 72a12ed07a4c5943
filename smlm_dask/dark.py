"""Camera maps from a movie without light."""

from __future__ import annotations

import numpy as np
import xarray as xr

from smlm_dask import _graph
from smlm_dask.kernels.dark import dark_maps, dark_sums
from smlm_dask.movie import check_movie
from smlm_dask.variables import to_dataset

__all__ = ["calibrate_dark"]

WINDOW = 200  # frames that are added up at a time


def calibrate_dark(movie: xr.DataArray, /) -> xr.Dataset:
    """Measure level and noise of each pixel from a movie without light.

    The mean of each pixel, and its variance over frames, in one reading. Of integers up to 16 bit the
    sums are exact. The variance has the rounding in it, 1/12 adu2, and an error of
    ``variance sqrt(2 / frames)``: 5,000 frames give 2 %. Nothing is left out: a flash of light or a
    cosmic is in the maps.

    Parameters
    ----------
    movie : (frame, y, x)
        Raw frames in adu, with the exposure, region and settings of the movies that it is for.

    Returns
    -------
    xarray.Dataset
        ``offset`` (y, x) adu, ``variance`` (y, x) adu2 and ``hot_pixel`` (y, x): twice as noisy as the
        pixels around it, or brighter than they by six times their noise. Lazy. For
        ``as_camera(gain, offset=dark.offset, variance=dark.variance)`` and
        ``estimate_gain(movie, offset=dark.offset)``; a movie of a part of the sensor takes its part.

    Raises
    ------
    MovieError
        The movie is none, or has one frame.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> none = smlm.Emitters(number=0)
    >>> movie, _ = smlm.simulate_movie(300, (16, 16), emitters=none, light=smlm.Light(background=0))
    >>> dark = smlm.calibrate_dark(movie)
    >>> dark.offset.attrs["units"], round(float(dark.offset.mean()))
    ('adu', 100)
    """
    movie = check_movie(movie, minimum_frames=2)
    data = _graph.movie_data(movie)
    begins = range(0, len(movie), WINDOW)
    picks = [np.arange(begin, min(begin + WINDOW, len(movie))) for begin in begins]
    gives = 16 * data.shape[1] * data.shape[2]
    parts = _graph.picked_map(dark_sums, data, picks, [()] * len(picks), gives)
    sums = _graph.folded(np.add, parts)
    maps = _graph.finish(dark_maps, sums, len(movie), shape=(3, *data.shape[1:]))
    values = {name: (("y", "x"), maps[i]) for i, name in enumerate(("offset", "variance"))}
    values["hot_pixel"] = ("y", "x"), maps[2].astype("?")
    coords = {n: movie.coords[n] for n in ("y", "x", "pixel_size_y", "pixel_size_x")}
    return to_dataset("calibrate_dark", values, coords=coords)
