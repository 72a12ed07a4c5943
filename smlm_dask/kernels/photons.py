"""Light of single emitters: what a crop holds of it, by projection or by likelihood.

Each kernel goes through the crops a batch at a time. One loop makes the shapes and does not know
the type of the frames (`spots`); small ones multiply them with the pixels where they lie
(`projection`), or bring the pixels of the batch together (`crops`) for the fit (`likelihood`). No
array of all crops or shapes is made, and a new type of frames compiles quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.crops import Crops, Place, batch_length, column, gather, slices
from smlm_dask.kernels.likelihood import RESULTS, fit_crops
from smlm_dask.kernels.projection import Background, project
from smlm_dask.kernels.spots import Spots

__all__ = ["Sensor", "likelihood_fits", "weighted_sums"]

Array = NDArray[Any]


def weighted_sums(crops: Crops, background: Background, spots: Spots) -> NDArray[np.float64]:
    """Project crops on the shapes of their emitters.

    Parameters
    ----------
    crops : Crops
        Where the pixels are. Given crops are frames with origin (0, 0) and index ``arange(n)``.
    background : Background
        What to subtract from them.
    spots : Spots
        Shapes of the emitters.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Per emitter, with ``p = psf / sum(psf)`` over the pixels of the crop: ``sum(p (counts -
        background)) / sum(p^2)`` in adu, ``sum(psf)`` of a peak of 1 (of a spline as it is), and
        ``sum(p^2)``. All NaN where the crop leaves the frame, or a column of the shape is not finite,
        or a width not positive. If no light falls on the crop, ``sum(psf)`` is 0 and the others are
        NaN.
    """
    sums = np.empty((len(crops.valid), 3))
    for part in slices(len(sums), spots.length):
        project(crops, background, part, spots.sums(part, sums[part]), sums[part])
    return sums


@dataclass(frozen=True)
class Sensor:
    """What turns adu into electrons whose variance is known.

    Attributes
    ----------
    gain : float
        Electrons for each adu.
    dark : float or ndarray, shape (Y, X)
        Level without light, adu.
    read : float or ndarray, shape (Y, X)
        Variance without light, electron^2, that of rounding to whole adu included.
    """

    gain: float
    dark: float | Array
    read: float | Array

    def electrons(self, place: Place, signal: Array, spread: Array) -> Array:
        """Turn counts and what lies under them into counts above it and their variance, in place.

        Returns the mean of the light under each crop, in electrons.
        """
        signal -= spread
        signal *= self.gain
        spread -= _under(self.dark, place, spread)
        spread *= self.gain
        light: Array = spread.mean(axis=(1, 2))
        spread += _under(self.read, place, spread)
        return light


def _under(value: float | Array, place: Place, like: Array) -> float | Array:
    """A number, or the pixels of a map that lie under some crops."""
    if np.ndim(value) == 0:
        return float(value)
    _, valid, index, y0, x0 = place
    out = np.empty_like(like)
    gather((np.asarray(value)[None], valid, np.zeros_like(index), y0, x0), out)
    return out


def likelihood_fits(
    crops: Crops,
    background: Background,
    sensor: Sensor,
    spots: Spots,
    error: ArrayLike,
    *,
    relative: bool,
    known: int,
    robust: bool,
) -> NDArray[np.float64]:
    """Fit photons and background of crops.

    Parameters
    ----------
    crops : Crops
        Where the pixels are.
    background : Background
        What lies under them, with the camera's offset in it.
    sensor : Sensor
        The camera.
    spots : Spots
        Shapes of the emitters.
    error : array_like, shape (n,) or ()
        Standard deviation of the background; with the three others as for `likelihood.fit_crops`.
    relative, known, robust
        What the error is relative to, what is known of the background, whether to leave pixels out.

    Returns
    -------
    ndarray of float64, shape (n, 6)
        The columns of ``likelihood.RESULTS`` in electrons, with ``level`` the mean of all light under
        the emitter, and the sum of the shape over the crop as in `weighted_sums`. All but the last
        are NaN where the crop leaves the frame, or a column of the shape is not finite, or a width
        not positive, or no light falls on the crop.
    """
    n, error = len(crops.valid), column(error, len(crops.valid))
    out = np.empty((n, len(RESULTS) + 1))
    length = min(spots.length, batch_length(n, 8 * crops.size[0] * crops.size[1]))
    batch, sums = np.empty((3, length, *crops.size)), np.empty((length, 3))
    for part in slices(n, length):
        place = crops.part(part)
        k = place[1].size
        shape, signal, spread = batch[:, :k]
        spots.plane(part, shape, sums[:k])
        gather(place, signal)
        background.gather(part, place, spread)
        light = sensor.electrons(place, signal, spread)
        p, x, v = (a.reshape(k, -1) for a in (shape, signal, spread))
        own = error[part].astype(np.float64)
        fit_crops(p, x, v, own, relative, known, robust, out[part, :-1])
        out[part, 2] += light
        out[part, -1] = sums[:k, 1]
    return out
