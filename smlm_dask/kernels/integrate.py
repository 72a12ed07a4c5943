"""Photons of the emitters of one frame block: rows of a table in, one row of numbers for each out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.crops import inside
from smlm_dask.kernels.photons import (
    border_sums,
    gaussian_sums,
    remove_border_background,
    rotated_sums,
    spline_sums,
)
from smlm_dask.kernels.reason import Reason

__all__ = [
    "COLUMNS",
    "RESULTS",
    "integrate_border",
    "integrate_gaussian",
    "integrate_spline",
    "without_border",
]

Array = NDArray[Any]

# What a row of the table carries into a task, and what comes back.
COLUMNS = ("y0", "x0", "mu_y", "mu_x", "z", "background", "sigma_y", "sigma_x", "theta")
WIDTHS = ("sigma_y", "sigma_x", "theta")
RESULTS = ("photons", "border_level", "psf_sum", "psf_square", "status")


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
    """Photons as the sum of each crop above the median of its border; the columns of ``RESULTS``."""
    del images, image_index, image_offset  # the border is the background
    y0, x0 = rows[:, 0].astype("i8"), rows[:, 1].astype("i8")
    total, level = border_sums(block, frame, y0, x0, size, padding=padding).T
    out = np.full((len(rows), len(RESULTS)), np.nan)
    out[:, 0] = total * _photons_per_adu(gain, quantum_efficiency)
    out[:, 1] = level
    out[:, 4] = _status(out[:, 0], y0, x0, size, block.shape, np.isnan(total))
    return out


def without_border(crops: Array) -> Array:
    """Crops less the median of their border, zeros connected to the border taken for padding."""
    return remove_border_background(crops, padding=True)[0]


def integrate_gaussian(
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
    sigma_y: float,
    sigma_x: float,
    theta: float,
) -> NDArray[np.float64]:
    """Photons by projection on a Gaussian, with widths and angle of the rows where they have ``own``."""
    y0, x0, mu_y, mu_x, _, background, *columns = rows.T
    given = (np.full(len(rows), value) for value in (sigma_y, sigma_x, theta))
    widths = [c if has else g for c, has, g in zip(columns, own, given, strict=True)]
    scale = _photons_per_adu(gain, quantum_efficiency)
    centre: dict[str, Any] = {"mu_y": mu_y, "mu_x": mu_x, "pixel": pixel}
    light = background / scale
    cut = _cut(block, frame, y0, x0, size, light, offset, images, image_index, image_offset)
    shape: dict[str, Any] = dict(zip(WIDTHS, widths, strict=True))
    if (shape["theta"] == 0).all():  # a turned round Gaussian is another one: the pixel turns too
        sums = gaussian_sums(**cut, **centre, sigma_y=shape["sigma_y"], sigma_x=shape["sigma_x"])
    else:
        sums = rotated_sums(**cut, **centre, **shape)
    known = (np.isfinite(widths).all(axis=0)) & (widths[0] > 0) & (widths[1] > 0)
    return _results(sums, scale, y0, x0, size, block.shape, known)


def integrate_spline(
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
    knots_y: Array,
    knots_x: Array,
    knots_z: Array,
    coefficients: Array,
) -> NDArray[np.float64]:
    """Photons by projection on a three-dimensional cubic spline."""
    y0, x0, mu_y, mu_x, z, background, *_ = rows.T
    scale = _photons_per_adu(gain, quantum_efficiency)
    centre: dict[str, Any] = {"mu_y": mu_y, "mu_x": mu_x, "pixel": pixel}
    light = background / scale
    cut = _cut(block, frame, y0, x0, size, light, offset, images, image_index, image_offset)
    knots: dict[str, Any] = {"knots_y": knots_y, "knots_x": knots_x, "knots_z": knots_z}
    sums = spline_sums(**cut, **centre, z=z, **knots, coefficients=coefficients)
    return _results(sums, scale, y0, x0, size, block.shape, np.ones(len(rows), np.bool_))


def _photons_per_adu(gain: float, quantum_efficiency: float) -> float:
    """NaN, the mark of no answer, also for a gain that cannot be."""
    return float(gain) / float(quantum_efficiency) if gain > 0 else np.nan


def _cut(
    block: Array,
    frame: Array,
    y0: Array,
    x0: Array,
    size: tuple[int, int],
    level: Array,
    offset: float | Array,
    images: Array,
    image_index: Array,
    image_offset: Array,
) -> dict[str, Any]:
    """Where the crops are and what to subtract: a level for each, or an image for each frame."""
    if np.ndim(offset):  # a map of the camera's offset is a background image for all frames
        frames = len(block)
        images = np.asarray(offset, "f4")[None]
        image_index, image_offset = np.zeros(frames, "i8"), np.zeros(frames)
    else:
        level = level + offset
    return {
        "frames": block,
        "index": frame,
        "y0": y0.astype("i8"),
        "x0": x0.astype("i8"),
        "size": size,
        "level": level,
        "series": images,
        "series_index": image_index,
        "series_offset": image_offset,
    }


def _results(
    sums: Array,
    scale: float,
    y0: Array,
    x0: Array,
    size: tuple[int, int],
    shape: tuple[int, ...],
    known: Array,
) -> NDArray[np.float64]:
    out = np.full((len(sums), len(RESULTS)), np.nan)
    out[:, 0] = sums[:, 0] * scale
    out[:, 2:4] = sums[:, 1:3]
    out[:, 4] = _status(out[:, 0], y0, x0, size, shape, np.isfinite(scale))
    lost = out[:, 4] == Reason.NOT_FINITE
    out[lost & (sums[:, 1] == 0), 4] = Reason.NO_OVERLAP_WITH_PSF
    out[lost & ~known, 4] = Reason.NO_PSF
    return out


def _status(
    photons: Array,
    y0: Array,
    x0: Array,
    size: tuple[int, int],
    shape: tuple[int, ...],
    gain: Array | bool,
) -> NDArray[np.float64]:
    """Why photons are NaN; ``gain`` says where the camera's gain is not what is missing."""
    lost = np.where(gain, Reason.NOT_FINITE, Reason.NO_GAIN)
    status = np.where(np.isfinite(photons), float(Reason.OK), lost)
    leaves = ~inside(y0.astype("i8"), x0.astype("i8"), size, (shape[-2], shape[-1]))
    status[leaves] = Reason.CROP_LEAVES_FRAME
    return status
