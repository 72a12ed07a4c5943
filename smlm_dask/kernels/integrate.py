"""Photons of the emitters of one frame block: rows of a table in, one row of numbers for each out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.border import border_sums, remove_border_background
from smlm_dask.kernels.crops import Crops, inside, place, ranges
from smlm_dask.kernels.photons import (
    calibrated_borders,
    calibrated_sums,
    joint_fits,
    likelihood_fits,
    weighted_sums,
)
from smlm_dask.kernels.pixels import least_sample
from smlm_dask.kernels.projection import NONE, Background
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.sensor import Sensor
from smlm_dask.kernels.spots import Spline, Spots, Straight, Turned
from smlm_dask.kernels.together import near

__all__ = [
    "BORDER",
    "COLUMNS",
    "LIKELIHOOD",
    "WEIGHTED",
    "Knowledge",
    "integrate_border",
    "integrate_likelihood",
    "integrate_weighted",
    "without_border",
]

Array = NDArray[Any]

# What a row of the table carries into a task, and what comes back from each kind.
COLUMNS = (
    "y0",
    "x0",
    "mu_y",
    "mu_x",
    "z",
    "background",
    "background_error",
    "position_error",
    "sigma_y",
    "sigma_x",
    "theta",
)
BORDER = ("photons", "border_level", "status")
WEIGHTED = ("photons", "psf_sum", "psf_square", "status")
LIKELIHOOD = (
    "photons",
    "photons_error",
    "background",
    "background_error",
    "chi2_z",
    "status",
)

BEYOND = 2.0  # pixels from a crop to an emitter that is fitted with it
# Of the pixels of a crop, and of the light on it, that the camera must be known of.
LEAST_SHARE = 0.5


class Knowledge(NamedTuple):
    """What `likelihood.fit_crops` is told beside the numbers of each emitter."""

    relative: bool
    known: int
    robust: bool
    joint: bool


def integrate_border(
    block: Array,
    frame: Array,
    rows: Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
    image_error: Array,
    size: tuple[int, int],
    padding: bool,
    gain: float | Array,
    quantum_efficiency: float,
    offset: float | Array,
) -> NDArray[np.float64]:
    """Photons as the sum of each crop above the median of its border; the columns of ``BORDER``.

    With a map of gains, ``border_level`` is that of a pixel of mean gain and offset.
    """
    crops = _crops(block, frame, rows, size)
    if np.ndim(gain):
        background = _background(crops, 0.0, offset, images, image_index, image_offset, image_error)
        total, level = calibrated_borders(crops, background, Sensor(gain, offset)).T
        photons = total / quantum_efficiency
        level, known = level / _mean(gain) + _mean(offset), np.any(gain > 0)
    else:
        columns = crops.index, crops.y0, crops.x0, size
        total, level = border_sums(block, *columns, padding=padding).T
        photons = total * _photons_per_adu(gain, quantum_efficiency)
        known = np.isnan(total)
    return np.column_stack([photons, level, _status(photons, crops, known)])


def _mean(values: float | Array) -> np.floating[Any]:
    """Mean of the numbers that are known; NaN, without a warning, of none."""
    known = np.isfinite(values)
    return np.sum(values, where=known) / np.float64(known.sum() or np.nan)


def without_border(crops: Array) -> Array:
    """Crops less the median of their border, zeros connected to the border taken for padding."""
    return remove_border_background(crops, padding=True)[0]


def integrate_weighted(
    block: Array,
    frame: Array,
    rows: Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
    image_error: Array,
    size: tuple[int, int],
    pixel: tuple[float, float],
    gain: float | Array,
    quantum_efficiency: float,
    offset: float | Array,
    own: tuple[bool, bool, bool],
    *psf: float | Array,
) -> NDArray[np.float64]:
    """Photons by projection on the PSF; the columns of ``WEIGHTED``.

    ``psf`` is a Gaussian's ``sigma_y, sigma_x, theta``, which the rows have of their ``own`` or not, or
    the knots along y, x and z of a spline and its coefficients.
    """
    scale = _photons_per_adu(gain, quantum_efficiency)
    crops, light = _crops(block, frame, rows, size), rows[:, 5]
    spots, shaped = _spots(rows, size, pixel, own, psf)
    under = offset, images, image_index, image_offset, image_error
    if np.ndim(gain):
        background = _background(crops, 0.0, *under)
        light = light * quantum_efficiency
        sums = calibrated_sums(crops, background, Sensor(gain, 0.0), spots, light)
        photons = sums[:, 0] / quantum_efficiency
    else:
        sums = weighted_sums(crops, _background(crops, light / scale, *under), spots)
        photons = sums[:, 0] * scale
    spoilt = _spoilt(crops, gain, block.dtype)
    photons[spoilt > 0] = np.nan
    status = _status(photons, crops, np.isfinite(scale).any(), sums[:, 1], shaped, spoilt)
    return np.column_stack([photons, sums[:, 1:], status])


def integrate_likelihood(
    block: Array,
    frame: Array,
    rows: Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
    image_error: Array,
    knowledge: Knowledge,
    read_noise: float,
    size: tuple[int, int],
    pixel: tuple[float, float],
    gain: float | Array,
    quantum_efficiency: float,
    offset: float | Array,
    variance: float | Array | None,
    excess_noise: float,
    own: tuple[bool, bool, bool],
    *psf: float | Array,
) -> NDArray[np.float64]:
    """Photons by likelihood, with their errors; the columns of ``LIKELIHOOD``.

    ``variance`` is that of the camera without light, in adu^2; without it ``read_noise``, in
    electrons, counts. Errors of images count where the rows have none. The variance of light is
    ``excess_noise`` times its electrons. The rest as for `integrate_weighted`.
    """
    crops = _crops(block, frame, rows, size)
    under = images, image_index, image_offset, image_error if knowledge.relative else NONE
    background = _background(crops, 0.0, offset, *under)
    blur, model = rows[:, 7], (rows, size, pixel, own, psf)
    spots, shaped = _spots(*model, blur)
    sharp = _spots(*model)[0] if (blur > 0).any() else None
    if excess_noise != 1:  # in units of light that have the variance of their number
        gain, quantum_efficiency = gain / excess_noise, quantum_efficiency / excess_noise
        read_noise = read_noise / excess_noise
    # An offset that nobody knows is part of the images that are given, and counts as light.
    dark = 0.0 if np.size(images) and np.isnan(offset).all() else offset
    sensor = _noisy(gain, dark, variance, read_noise)
    told: dict[str, Any] = {
        "error": rows[:, 6] * (1.0 if knowledge.relative else quantum_efficiency),
        "light": rows[:, 5] * quantum_efficiency,
    }
    told |= {"relative": knowledge.relative, "known": knowledge.known}
    alone: dict[str, Any] = {"robust": knowledge.robust, "sharp": sharp}
    fits = likelihood_fits(crops, background, sensor, spots, **told, **alone)
    single = np.isfinite(fits[:, 0])
    if knowledge.joint:
        some, every, begin = _together(frame, rows, shaped, size, pixel)
        told |= {name: told[name][some] for name in ("error", "light")}
        crowded = _crops(block, frame[some], rows[some], size)
        background = _background(crowded, 0.0, offset, *under)
        spots, _ = _spots(every, *model[1:], every[:, 7])
        fits[some] = joint_fits(crowded, background, sensor, spots, begin, **told)
    fits[:, :4] /= quantum_efficiency
    spoilt = _spoilt(crops, gain, block.dtype, _least(offset, variance))
    return _answers(fits, single, crops, np.any(gain > 0), shaped, spoilt)


def _answers(
    fits: Array, single: Array, crops: Crops, gain: np.bool, shaped: Array, spoilt: Array
) -> NDArray[np.float64]:
    """The columns of ``LIKELIHOOD``; ``single`` says which crops had an answer if fitted alone."""
    few = (fits[:, 6] > 0) & (fits[:, 6] < LEAST_SHARE)
    apart = ~single | np.isfinite(fits[:, 0])
    fits[few | (spoilt > 0)] = np.nan
    status = _status(fits[:, :5].sum(axis=1), crops, gain, fits[:, 5], shaped, spoilt)
    status[(status == Reason.NOT_FINITE) & ~apart] = Reason.FIT_FAILED
    status[(status == Reason.NOT_FINITE) & few] = Reason.TOO_FEW_PIXELS
    fits[status != Reason.OK, :5] = np.nan
    return np.column_stack([fits[:, :5], status])


def _together(
    frame: Array, rows: Array, shaped: Array, size: tuple[int, int], pixel: tuple[float, float]
) -> tuple[Array, Array, Array]:
    """Emitters with others near their crop; rows of them and the others, in that crop; where each's begin.

    An emitter farther than ``BEYOND`` pixels outside a crop leaves a hundredth of its light in it.
    """
    y, x = (rows[:, i] * pixel[i] + np.where(shaped, rows[:, 2 + i], np.nan) for i in (0, 1))
    reach = [(n / 2 + BEYOND) * p for n, p in zip(size, pixel, strict=True)]
    first, other = near(np.asarray(frame, np.int64), y, x, (reach[0], reach[1]))
    some, count = np.unique(first, return_counts=True)
    begin = np.concatenate([[0], np.cumsum(count + 1)])
    which = np.insert(other, begin[:-1] - np.arange(len(some)), some)
    every, corner = rows[which], rows[np.repeat(some, count + 1), :2]
    every[:, 2:4] += (every[:, :2] - corner) * pixel
    every[:, :2] = corner
    return some, every, begin


def _noisy(
    gain: float | Array, dark: float | Array, variance: float | Array | None, read_noise: float
) -> Sensor:
    """The camera, with a variance in adu^2, or one in electrons if that is not known."""
    if variance is None or np.isnan(variance).all():
        return Sensor(gain, dark, 0.0, read_noise**2)
    return Sensor(gain, dark, variance)


def _photons_per_adu(gain: float | Array, quantum_efficiency: float) -> Any:
    """NaN, the mark of no answer, also for a gain that cannot be."""
    return np.where(gain > 0, gain, np.nan) / quantum_efficiency


def _crops(block: Array, frame: Array, rows: Array, size: tuple[int, int]) -> Crops:
    return place(block, frame, rows[:, 0].astype("i8"), rows[:, 1].astype("i8"), size)


def _background(
    crops: Crops,
    level: float | Array,
    offset: float | Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
    image_error: Array,
) -> Background:
    """What lies under the crops: a level for each above the offset, or an image for each frame."""
    if np.size(images):
        return Background(crops, level, images, image_index, image_offset, image_error)
    if not np.ndim(offset):
        return Background(crops, level + offset, images, image_index, image_offset)
    # A map of the camera's offset is a background image for all frames.
    frames = len(crops.frames)
    zeros = np.zeros(frames, "i8"), np.zeros(frames)
    return Background(crops, level, np.asarray(offset)[None], *zeros)


def _spots(
    rows: Array,
    size: tuple[int, int],
    pixel: tuple[float, float],
    own: tuple[bool, bool, bool],
    psf: tuple[Any, ...],
    blur: float | Array = 0.0,
) -> tuple[Spots, Array]:
    """The shapes of the emitters, widened by ``blur``, and of which of them they are known."""
    n, (mu_y, mu_x, z) = len(rows), (rows[:, i] for i in (2, 3, 4))
    if len(psf) > len(own):
        return Spline(n, size, pixel, (mu_y, mu_x, z), psf), np.ones(n, np.bool_)
    columns = rows[:, 8:].T
    widths = [c if has else np.full(n, g) for c, has, g in zip(columns, own, psf, strict=True)]
    sigma_y, sigma_x, theta = widths
    shaped = np.isfinite(widths).all(axis=0) & (sigma_y > 0) & (sigma_x > 0)
    blurred = [np.where(shaped, np.hypot(w, blur), w) for w in (sigma_y, sigma_x)]
    if (theta == 0).all():  # a turned round Gaussian is another one: the pixel turns too
        return Straight(n, size, pixel, mu_y, mu_x, *blurred), shaped
    return Turned(n, size, pixel, mu_y, mu_x, *blurred, theta), shaped


def _least(offset: float | Array, variance: float | Array | None) -> Any:
    """The lowest sample of any pixel of which the camera is known."""
    least = least_sample(offset, np.nan if variance is None else variance)
    known = np.isfinite(least)
    return np.min(least, where=known, initial=np.inf) if known.any() else -np.inf


def _spoilt(
    crops: Crops, gain: float | Array, dtype: np.dtype[Any], least: float = -np.inf
) -> Array:
    """Why the samples of each crop are not those of a camera, 0 where they may be.

    A frame that was dropped has one value; light at the top of the type was brighter; what is far below the
    offset (``least``) was never measured. Pixels whose gain is not known count for nothing.
    """
    low, high = ranges(crops, np.isfinite(gain) if np.ndim(gain) else None).T
    most = np.iinfo(dtype).max if dtype.kind in "iu" else np.inf
    reason = np.where((low < least) | (high >= most), Reason.CLIPPED, Reason.OK)
    return np.where(low == high, Reason.CONSTANT_SIGNAL, reason)


def _status(
    photons: Array,
    crops: Crops,
    gain: Array | np.bool,
    psf_sum: Array | None = None,
    shaped: Array | None = None,
    spoilt: Array | None = None,
) -> NDArray[np.float64]:
    """Why photons are NaN; ``gain`` says where the camera's gain is not what is missing."""
    known = np.isfinite(photons)
    status = np.where(known, float(Reason.OK), np.where(gain, Reason.NOT_FINITE, Reason.NO_GAIN))
    lost = status == Reason.NOT_FINITE
    if psf_sum is not None:
        status[lost & (psf_sum == 0)] = Reason.NO_OVERLAP_WITH_PSF
    if shaped is not None:
        status[lost & ~shaped] = Reason.NO_PSF
    if spoilt is not None:
        status = np.where(lost & (spoilt > 0), spoilt, status)
    y0, x0 = np.asarray(crops.y0), np.asarray(crops.x0)
    status[~inside(y0, x0, crops.size, crops.frames.shape[1:])] = Reason.CROP_LEAVES_FRAME
    return status
