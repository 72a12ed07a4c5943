"""Pixels times the shape of a point-spread function, summed where the pixels lie.

A projection is linear, so frames and background images go through the same loops and are then
subtracted. Only these loops are compiled for each type of frames; they are kept small.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.crops import Crops, constant, place

__all__ = ["Background", "model_dots", "project", "summarise"]

Array = NDArray[Any]

# Sums over pixels in any order: 'reassoc' lets them use SIMD (80 -> 60 ns for 11 x 11 pixels) and,
# unlike the whole of fastmath, forgets neither NaN nor inf.
ANY_ORDER = {"contract", "reassoc", "nsz"}


class Background:
    """What lies under each crop: a level in adu per pixel and, perhaps, an image.

    Parameters
    ----------
    crops : Crops
        Places of ``n`` crops in ``t`` frames.
    level : array_like, shape (n,)
        Adu per pixel.
    series : ndarray, shape (m, Y, X), or empty for none
        Background images, in adu.
    series_index, series_offset : array_like, shape (t,)
        The background of frame ``f`` is ``series[series_index[f]] + series_offset[f]``. A crop
        whose frame has no image (an index outside the series) has no answer.
    """

    def __init__(
        self,
        crops: Crops,
        level: ArrayLike,
        series: Array,
        series_index: ArrayLike,
        series_offset: ArrayLike,
    ) -> None:
        n, t = crops.valid.size, crops.frames.shape[0]
        self.level = constant(level, np.float64, (n,))
        self.images: Crops | None = None
        self.valid = crops.valid
        if np.size(series) == 0 or t == 0:
            return
        frame = np.where(crops.valid, crops.index, 0)
        which = constant(series_index, np.int64, (t,))[frame]
        offset = constant(series_offset, np.float64, (t,))[frame]
        if np.shape(series)[1:] != crops.frames.shape[1:]:
            raise ValueError(
                f"background images: got {np.shape(series)[1:]} pixels; wanted those of the "
                f"frames, {crops.frames.shape[1:]}. Fix: cut both to the same rows and columns"
            )
        self.images = place(series, which, crops.y0, crops.x0, crops.size)
        self.level = constant(self.level + offset, np.float64)
        self.valid = constant(crops.valid & self.images.valid, np.bool_)


def project(
    crops: Crops, background: Background, part: slice, model: tuple[Array, ...], sums: Array
) -> None:
    """Turn what a shape alone decides into the projection of the crops of ``part``.

    Parameters
    ----------
    crops : Crops
        Where the pixels are.
    background : Background
        What to subtract from them.
    part : slice
        Which crops.
    model : tuple of ndarray
        The shapes: ``(k, rows, columns)``, or ``(k, rows)`` and ``(k, columns)`` if separable.
    sums : ndarray, shape (k, 3)
        As `summarise` leaves them; completed in place.
    """
    dots = np.zeros(len(sums))
    _add(crops, part, model, 1.0, dots)
    if background.images is not None:
        _add(background.images, part, model, -1.0, dots)
    _settle(background.valid[part], dots, background.level[part], sums)


def _add(crops: Crops, part: slice, model: tuple[Array, ...], sign: float, dots: Array) -> None:
    frames, valid, index, y0, x0 = crops.part(part)
    if len(model) == 2:
        _separable_dots(frames, valid, index, y0, x0, model[0], model[1], sign, dots)
    else:
        model_dots(frames, valid, index, y0, x0, model[0], sign, dots)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def summarise(total: float, square: float, amplitude: float, sums: Array) -> None:
    """What a shape alone decides: ``(raw per dot, psf_sum, denominator)``.

    ``total`` and ``square`` are the sums of the shape and of its square, before it is multiplied
    by ``amplitude``. Without light in the crop, only ``psf_sum`` is a number.
    """
    psf_sum = total * amplitude
    sums[:] = np.nan
    sums[1] = psf_sum
    if math.isfinite(psf_sum) and psf_sum != 0.0:
        sums[0] = total / square
        sums[2] = square / (total * total)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _separable_dots(
    frames: Array,
    valid: Array,
    index: Array,
    y0: Array,
    x0: Array,
    share_y: Array,
    share_x: Array,
    sign: float,
    dots: Array,
) -> None:
    """Add ``sign * sum_yx share_y share_x pixel`` of each crop to ``dots``."""
    for k in range(valid.size):
        if not valid[k]:
            continue
        # Unsigned: an index that could be negative costs a test per pixel.
        frame, top, left = np.uint64(index[k]), np.uint64(y0[k]), np.uint64(x0[k])
        dot = 0.0
        for y in range(share_y.shape[1]):
            inner = 0.0
            for x in range(share_x.shape[1]):
                inner += share_x[k, x] * frames[frame, top + np.uint64(y), left + np.uint64(x)]
            dot += share_y[k, y] * inner
        dots[k] += sign * dot


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def model_dots(
    frames: Array,
    valid: Array,
    index: Array,
    y0: Array,
    x0: Array,
    model: Array,
    sign: float,
    dots: Array,
) -> None:
    """Add ``sign * sum_yx model pixel`` of each crop to ``dots``."""
    for k in range(valid.size):
        if not valid[k]:
            continue
        frame, top, left = np.uint64(index[k]), np.uint64(y0[k]), np.uint64(x0[k])
        dot = 0.0
        for y in range(model.shape[1]):
            for x in range(model.shape[2]):
                dot += model[k, y, x] * frames[frame, top + np.uint64(y), left + np.uint64(x)]
        dots[k] += sign * dot


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _settle(valid: Array, dots: Array, level: Array, sums: Array) -> None:
    """Projections less that of the level, which is level / denominator; NaN where not valid."""
    for k in range(dots.size):
        if valid[k]:
            sums[k, 0] = sums[k, 0] * dots[k] - level[k] / sums[k, 2]
        else:
            sums[k] = np.nan
