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

from smlm_dask.kernels.crops import Crops, Place, column, gather, readable

__all__ = ["NONE", "Background", "add_dots", "project", "summarise"]

Array = NDArray[Any]

# Sums over pixels in any order: 'reassoc' lets them use SIMD (80 -> 60 ns for 11 x 11 pixels) and,
# unlike the whole of fastmath, forgets neither NaN nor inf.
ANY_ORDER = {"contract", "reassoc", "nsz"}

NONE = np.empty((0, 0, 0))


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
    series_index : array_like, shape (t,)
        The image of each frame. A crop whose frame has no image (an index outside the series) has no
        answer.
    series_offset : array_like, shape (t,) or (t, 5)
        The background of frame ``f`` is ``series[series_index[f]] + series_offset[f]``; or, with five
        numbers ``a, b, c, d, e``, ``a + b series[i] + c series[i + 1] + d series[-1]``, where errors of
        ``series[i]`` and ``series[i + 1]`` have a correlation of ``e``.
    series_error : ndarray, shape (m or m - 1, Y, X), or empty for none
        Standard deviations of the images, in adu, but for the last with five numbers.
    """

    def __init__(
        self,
        crops: Crops,
        level: ArrayLike,
        series: Array,
        series_index: ArrayLike,
        series_offset: ArrayLike,
        series_error: Array = NONE,
    ) -> None:
        t, *shape = crops.frames.shape
        self.level = column(level, len(crops.valid))
        self.has_images = np.size(series) > 0 and t > 0
        self.has_errors = self.has_images and np.size(series_error) > 0
        if not self.has_images:
            return
        if list(np.shape(series)[1:]) != shape:
            raise ValueError(
                f"background images: got {np.shape(series)[1:]} pixels; wanted those of the "
                f"frames, {tuple(shape)}. Fix: cut both to the same rows and columns"
            )
        self.series = readable(series)
        self.error = readable(series_error)
        self.index, numbers = column(series_index, t), np.asarray(series_offset)
        mixed = numbers.ndim == 2
        self.shares = numbers[:, 1:4] if mixed else np.ones((t, 1))
        self.alike = numbers[:, 4] if mixed else np.zeros(t)
        self.offset = column(numbers[:, 0] if numbers.ndim == 2 else numbers, t)

    def under(self, place: Place) -> tuple[list[tuple[Place, Array]], Array, Array]:
        """Where the images of some crops lie, with the share of each, and what else to subtract.

        Also whether each crop has all the images that it has a share of.
        """
        _, valid, index, y0, x0 = place
        frame = np.where(valid, index, 0)
        own = self.index[frame].astype(np.int64)
        last = len(self.series) - 1
        found = []
        for image, share in zip((own, own + 1, own * 0 + last), self.shares[frame].T, strict=False):
            needed = share != 0
            known = (image >= 0) & (image <= last)
            valid = valid & (known | ~needed)
            found.append(((self.series, valid & known & needed, image, y0, x0), share))
        return found, self.offset[frame], valid

    def gather(self, part: slice, place: Place, out: Array) -> None:
        """Fill ``out`` (k, rows, columns) with what lies under some crops, in adu."""
        out[:] = self.level[part][:, None, None]
        if not self.has_images:
            return
        images, offset, _ = self.under(place)
        out += offset[:, None, None]
        pixels = np.empty_like(out)
        for under, share in images:
            gather(under, pixels)
            pixels[share == 0] = 0  # an image that has no share may be missing
            out += share[:, None, None] * pixels

    def gather_errors(self, place: Place, out: Array) -> None:
        """Fill ``out`` (k, rows, columns) with the errors of what lies under crops, in adu.

        Between two images errors are smaller than in each of them: those of different frames add in squares.
        """
        _, valid, index, y0, x0 = place
        frame = np.where(valid, index, 0)
        shares = [*self.shares[frame].T, np.zeros(len(frame))][:2]
        both, pixels, total = np.ones(out.shape), np.empty_like(out), np.zeros_like(out)
        for image, share in zip((self.index[frame], self.index[frame] + 1), shares, strict=True):
            known = valid & (image >= 0) & (image < len(self.error)) & (share != 0)
            gather((self.error, known, image, y0, x0), pixels)
            pixels[valid & (share == 0)] = 0
            pixels *= share[:, None, None]
            total += pixels * pixels
            both *= pixels
        np.sqrt(total + 2 * self.alike[frame][:, None, None] * both, out=out)


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
    place, level = crops.part(part), background.level[part].astype(np.float64)
    valid, dots = place[1], np.zeros(len(sums))
    add_dots(place, model, 1.0, dots)
    if background.has_images:
        images, offset, valid = background.under(place)
        for under, share in images:
            of_image = np.zeros(len(sums))
            add_dots(under, model, -1.0, of_image)
            dots += share * of_image
        level = level + offset
    _settle(valid, dots, level, sums)


def add_dots(place: Place, model: tuple[Array, ...], sign: float, dots: Array) -> None:
    """Add ``sign * sum_yx model pixel`` of each crop to ``dots``; see `project` for the model."""
    frames, valid, index, y0, x0 = place
    if len(model) == 2:
        _separable_dots(frames, valid, index, y0, x0, model[0], model[1], sign, dots)
    else:
        _model_dots(frames, valid, index, y0, x0, model[0], sign, dots)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def summarise(total: float, square: float, amplitude: float, sums: Array) -> None:
    """Work out what a shape alone decides: ``(raw per dot, psf_sum, denominator)``.

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
def _model_dots(
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
