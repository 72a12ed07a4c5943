"""Photons of the emitters of one frame block: rows of a table in, one row of numbers for each out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.border import border_sums, remove_border_background
from smlm_dask.kernels.crops import Crops, inside, place, ranges
from smlm_dask.kernels.photons import Sensor, likelihood_fits, weighted_sums
from smlm_dask.kernels.projection import Background
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.spots import Spline, Spots, Straight, Turned
from smlm_dask.kernels.truncated import BELOW, BELOW_ADU

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


class Knowledge(NamedTuple):
    """What `likelihood.fit_crops` is told beside the numbers of each emitter."""

    relative: bool
    known: int
    robust: bool


def integrate_border(
    block: Array,
    frame: Array,
    rows: Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
    size: tuple[int, int],
    padding: bool,
    gain: float,
    quantum_efficiency: float,
) -> NDArray[np.float64]:
    """Photons as the sum of each crop above the median of its border; the columns of ``BORDER``."""
    del images, image_index, image_offset  # the border is the background
    y0, x0 = rows[:, 0].astype("i8"), rows[:, 1].astype("i8")
    total, level = border_sums(block, frame, y0, x0, size, padding=padding).T
    photons = total * _photons_per_adu(gain, quantum_efficiency)
    crops = place(block, frame, y0, x0, size)
    return np.column_stack([photons, level, _status(photons, crops, np.isnan(total))])


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
    size: tuple[int, int],
    pixel: tuple[float, float],
    gain: float,
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
    crops = _crops(block, frame, rows, size)
    background = _background(crops, rows, scale, offset, images, image_index, image_offset)
    spots, shaped = _spots(rows, size, pixel, own, psf)
    sums = weighted_sums(crops, background, spots)
    photons = sums[:, 0] * scale
    spoilt = _spoilt(crops, block.dtype)
    photons[spoilt > 0] = np.nan
    status = _status(photons, crops, np.isfinite(scale), sums[:, 1], shaped, spoilt)
    return np.column_stack([photons, sums[:, 1:], status])


def integrate_likelihood(
    block: Array,
    frame: Array,
    rows: Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
    knowledge: Knowledge,
    read_noise: float,
    size: tuple[int, int],
    pixel: tuple[float, float],
    gain: float,
    quantum_efficiency: float,
    offset: float | Array,
    variance: float | Array | None,
    own: tuple[bool, bool, bool],
    *psf: float | Array,
) -> NDArray[np.float64]:
    """Photons by likelihood, with their errors; the columns of ``LIKELIHOOD``.

    ``variance`` is that of the camera without light, in adu^2; without it ``read_noise``, in
    electrons, counts. The rest as for `integrate_weighted`.
    """
    scale = _photons_per_adu(gain, quantum_efficiency)
    crops = _crops(block, frame, rows, size)
    background = _background(crops, rows, scale, offset, images, image_index, image_offset)
    spots, shaped = _spots(rows, size, pixel, own, psf)
    # An offset that nobody knows is part of the images that are given, and counts as light.
    dark = 0.0 if np.size(images) and np.isnan(offset).all() else offset
    unknown = variance is None or np.isnan(variance).all()
    read = read_noise**2 if unknown else np.asarray(variance) * gain**2
    sensor = Sensor(gain, dark, read + gain**2 / 12)  # a whole number of adu is off by up to half
    error = rows[:, 6] * (1.0 if knowledge.relative else quantum_efficiency)
    fits = likelihood_fits(crops, background, sensor, spots, error, **knowledge._asdict())
    fits[:, :4] /= quantum_efficiency if gain > 0 else np.nan
    least = np.min(dark) - BELOW * np.sqrt(np.max(read)) / gain - BELOW_ADU
    spoilt = _spoilt(crops, block.dtype, -np.inf if unknown or dark is not offset else least)
    fits[spoilt > 0, :5] = np.nan
    status = _status(fits[:, :5].sum(axis=1), crops, np.isfinite(scale), fits[:, 5], shaped, spoilt)
    fits[status != Reason.OK, :5] = np.nan
    return np.column_stack([fits[:, :5], status])


def _photons_per_adu(gain: float, quantum_efficiency: float) -> float:
    """NaN, the mark of no answer, also for a gain that cannot be."""
    return float(gain) / float(quantum_efficiency) if gain > 0 else np.nan


def _crops(block: Array, frame: Array, rows: Array, size: tuple[int, int]) -> Crops:
    return place(block, frame, rows[:, 0].astype("i8"), rows[:, 1].astype("i8"), size)


def _background(
    crops: Crops,
    rows: Array,
    scale: float,
    offset: float | Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
) -> Background:
    """What lies under the crops: a level for each above the offset, or an image for each frame."""
    level = rows[:, 5] / scale
    if np.size(images):
        return Background(crops, level, images, image_index, image_offset)
    if not np.ndim(offset):
        return Background(crops, level + offset, images, image_index, image_offset)
    # A map of the camera's offset is a background image for all frames.
    frames = len(crops.frames)
    zeros = np.zeros(frames, "i8"), np.zeros(frames)
    return Background(crops, level, np.asarray(offset, "f4")[None], *zeros)


def _spots(
    rows: Array,
    size: tuple[int, int],
    pixel: tuple[float, float],
    own: tuple[bool, bool, bool],
    psf: tuple[Any, ...],
) -> tuple[Spots, Array]:
    """The shapes of the emitters, and of which of them they are known."""
    n, (mu_y, mu_x, z, blur) = len(rows), (rows[:, i] for i in (2, 3, 4, 7))
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


def _spoilt(crops: Crops, dtype: np.dtype[Any], least: float = -np.inf) -> Array:
    """Why the samples of each crop are not those of a camera, 0 where they may be.

    A frame that was dropped has one value; light at the top of the type was brighter; what is far below the
    offset (``least``) was never measured.
    """
    low, high = ranges(crops).T
    most = np.iinfo(dtype).max if dtype.kind in "iu" else np.inf
    reason = np.where((low < least) | (high >= most), Reason.CLIPPED, Reason.OK)
    return np.where(low == high, Reason.CONSTANT_SIGNAL, reason)


def _status(
    photons: Array,
    crops: Crops,
    gain: Array | bool,
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
