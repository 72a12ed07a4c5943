"""Light of single emitters: what a crop holds of it, by projection or by likelihood.

Each kernel goes through the crops a batch at a time. One loop makes the shapes and does not know
the type of the frames (`spots`); small ones multiply them with the pixels where they lie
(`projection`), or bring the pixels of the batch together (`sensor`) for the fit (`likelihood`). No
array of all crops or shapes is made, and a new type of frames compiles quickly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.border import border_sums
from smlm_dask.kernels.crops import Crops, batch_length, column, place, slices
from smlm_dask.kernels.likelihood import RESULTS, blur_errors, fit_crops
from smlm_dask.kernels.projection import NONE, Background, project
from smlm_dask.kernels.sensor import Electrons, Sensor, electrons
from smlm_dask.kernels.spots import Spots
from smlm_dask.kernels.together import fit_together

__all__ = [
    "calibrated_borders",
    "calibrated_sums",
    "joint_fits",
    "likelihood_fits",
    "weighted_sums",
]

Array = NDArray[Any]
# Of the error of a background's pixels, what all pixels of a crop have alike: a bias of 0.2 where emitters
# are in a third of the frames, as much again where the light flickers.
COMMON = 0.25
NO_IMAGES = NONE, np.empty(0, np.int64), np.empty(0)


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


def calibrated_sums(
    crops: Crops, background: Background, sensor: Sensor, spots: Spots, light: ArrayLike
) -> NDArray[np.float64]:
    """`weighted_sums` in electrons, of crops whose pixels have gains of their own.

    Parameters
    ----------
    crops, background, spots
        As for `weighted_sums`.
    sensor : Sensor
        The camera. Without a number for one pixel of a crop there is no sum.
    light : array_like, shape (n,) or ()
        Electrons in each pixel to subtract beside the background.
    """
    sums = np.empty((len(crops.valid), 3))
    for batch in electrons(crops, background, sensor, light, spots.length):
        own, model = sums[batch.part], spots.sums(batch.part, sums[batch.part])
        pixels = _of_their_own(batch.signal, crops.size)
        project(pixels, Background(pixels, 0.0, *NO_IMAGES), slice(None), model, own)
        own[batch.pixels < batch.signal.shape[1], 0] = np.nan
    sums[~crops.valid] = np.nan
    return sums


def calibrated_borders(crops: Crops, background: Background, sensor: Sensor) -> NDArray[np.float64]:
    """`border.border_sums` in electrons, of crops whose pixels have gains of their own.

    Parameters
    ----------
    crops : Crops
        Where the pixels are.
    background : Background
        The camera's level, and nothing else.
    sensor : Sensor
        The camera. Without a number for one pixel of a crop there is no sum.
    """
    sums = np.empty((len(crops.valid), 2))
    length = batch_length(len(sums), 8 * crops.size[0] * crops.size[1])
    for batch in electrons(crops, background, sensor, 0.0, length):
        pixels = _of_their_own(batch.signal, crops.size)
        own = border_sums(pixels.frames, pixels.index, pixels.y0, pixels.x0, crops.size)
        own[batch.pixels < batch.signal.shape[1]] = np.nan
        sums[batch.part] = own
    sums[~crops.valid] = np.nan
    return sums


def _of_their_own(signal: Array, size: tuple[int, int]) -> Crops:
    """A batch of pixels as given crops."""
    zeros = np.zeros(len(signal), np.int64)
    return place(signal.reshape(-1, *size), np.arange(len(signal)), zeros, zeros, size)


def likelihood_fits(
    crops: Crops,
    background: Background,
    sensor: Sensor,
    spots: Spots,
    error: ArrayLike,
    *,
    light: ArrayLike = 0.0,
    relative: bool,
    known: int,
    robust: bool,
    sharp: Spots | None = None,
) -> NDArray[np.float64]:
    """Fit photons and background of crops.

    Parameters
    ----------
    crops : Crops
        Where the pixels are.
    background : Background
        What lies under them in adu, with the camera's offset in it.
    sensor : Sensor
        The camera. Pixels without a number are left out.
    spots : Spots
        Shapes of the emitters.
    error : array_like, shape (n,) or ()
        Standard deviation of the background, where its images have none of their own; with the three
        others as for `likelihood.fit_crops`.
    light : array_like, shape (n,) or ()
        Electrons in each pixel that lie under a crop beside the background.
    relative, known, robust
        What the error is relative to, what is known of the background, whether to leave pixels out.
    sharp : Spots, optional
        Shapes as they would be if positions were certain, where ``spots`` are widened.

    Returns
    -------
    ndarray of float64, shape (n, 7)
        The columns of ``likelihood.RESULTS`` in electrons, with ``level`` the mean of all light under
        the emitter, the sum of the shape over the crop as in `weighted_sums`, and the share of pixels,
        or of the shape if less, that is not left out. All but these are NaN where the crop leaves the
        frame, or a column of the shape is not finite, or a width not positive, or no light falls on
        the crop.
    """
    n, error = len(crops.valid), column(error, len(crops.valid))
    out = np.empty((n, len(RESULTS) + 2))
    length = min(spots.length, batch_length(n, 8 * crops.size[0] * crops.size[1]))
    shape, other = np.empty((2, length, *crops.size))
    sums = np.empty((length, 3))
    relative = relative and not background.has_errors
    for batch in electrons(crops, background, sensor, light, length):
        k, own = len(batch.signal), out[batch.part]
        if sharp is not None:
            sharp.plane(batch.part, other[:k], sums[:k])
        spots.plane(batch.part, shape[:k], sums[:k])
        p, q = (a[:k].reshape(k, -1) for a in (shape, other))
        columns = batch.signal, batch.spread, batch.pixels, _unsure(error, background, batch)
        fit_crops(p, *columns, relative, known, robust, own[:, :-2])
        if sharp is not None:
            blur_errors(p, q, batch.spread, known, own[:, :-2])
        _complete(batch, p, sums[:k, 1], own)
    return out


def joint_fits(
    crops: Crops,
    background: Background,
    sensor: Sensor,
    spots: Spots,
    begin: Array,
    error: ArrayLike,
    *,
    light: ArrayLike = 0.0,
    relative: bool,
    known: int,
) -> NDArray[np.float64]:
    """Fit photons of several emitters to each crop; parameters and result as for `likelihood_fits`.

    Parameters
    ----------
    crops, background, sensor, error, light, relative, known
        As for `likelihood_fits`.
    spots : Spots
        Shapes of all emitters on each crop, its own first.
    begin : ndarray of int, shape (n + 1,)
        Where the shapes of each crop begin.
    """
    n, error = len(crops.valid), column(error, len(crops.valid))
    out = np.empty((n, len(RESULTS) + 2))
    relative = relative and not background.has_errors
    length = batch_length(n, 8 * crops.size[0] * crops.size[1])
    for batch in electrons(crops, background, sensor, light, length):
        own, which = out[batch.part], begin[batch.part.start : batch.part.stop + 1]
        p, sums = _planes(spots, int(which[0]), int(which[-1]), crops.size)
        which = which - which[0]
        columns = batch.signal, batch.spread, batch.pixels, _unsure(error, background, batch)
        fit_together(p, which, *columns, relative, known, own[:, :-2])
        _complete(batch, p[which[:-1]], sums[which[:-1], 1], own)
    return out


def _planes(spots: Spots, start: int, stop: int, size: tuple[int, int]) -> tuple[Array, Array]:
    """Shapes from ``start`` to ``stop``, and their sums."""
    shape, sums = np.empty((stop - start, *size)), np.empty((stop - start, 3))
    for part in slices(stop - start, spots.length):
        spots.plane(slice(start + part.start, start + part.stop), shape[part], sums[part])
    return shape.reshape(stop - start, -1), sums


def _unsure(error: Array, background: Background, batch: Electrons) -> NDArray[np.float64]:
    """The error of each crop's level."""
    told = COMMON * batch.error if background.has_errors else error[batch.part]
    return np.asarray(told, np.float64)


def _complete(batch: Electrons, shape: Array, psf_sum: Array, out: Array) -> None:
    """The columns of a fit that are not the fit's."""
    out[:, 2] += batch.light
    out[:, -2] = psf_sum
    out[:, -1] = batch.pixels / shape.shape[1]
    some = np.flatnonzero(batch.pixels < shape.shape[1])
    if some.size:
        out[some, -1] = np.minimum(out[some, -1], _light_left(shape[some], batch.spread[some]))


def _light_left(shape: Array, spread: Array) -> NDArray[np.float64]:
    """Share of the light on each crop that falls on pixels that are not left out."""
    left = np.where(spread < np.inf, shape, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):  # no light at all
        return np.asarray(left / shape.sum(axis=1))
