"""The sum of a crop above the median of its border, and crops less that median."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.crops import Crops, place, slices
from smlm_dask.kernels.projection import model_dots

__all__ = ["border_sums", "remove_border_background"]

Array = NDArray[Any]


def border_sums(
    frames: Array,
    index: ArrayLike,
    y0: ArrayLike,
    x0: ArrayLike,
    size: tuple[int, int],
    *,
    padding: bool = False,
) -> NDArray[np.float64]:
    """Sum crops above the median of their border pixels.

    Parameters
    ----------
    frames : ndarray of real numbers, shape (t, Y, X)
        Counts, in adu. Any strides, never written.
    index, y0, x0 : array_like of int, shape (n,)
        Frame within the block and first pixel of each crop.
    size : tuple of int
        Rows and columns of a crop.
    padding : bool
        Whether zeros that touch the edge of the crop, directly or through other zeros (4
        neighbours), are padding: left out of the median, and 0 in the sum. False by default,
        because a count of zero is data.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Sum over the crop of ``counts - median``, and the median, both in adu. NaN where the crop
        leaves the frame.

    Notes
    -----
    The border is the outermost ring, ``2 (rows + columns) - 4`` pixels. Its median is that of the
    numbers that are not NaN, the mean of the two middle ones if they are even in number, in single
    precision for types that single precision holds (up to 16 bits, float32), else in double.
    With ``padding`` a border without a number has median 0, else NaN.
    """
    crops = place(frames, index, y0, x0, size)
    sums = np.empty((crops.valid.size, 2))
    for part in slices(len(sums), 8 * size[0] * size[1]):
        count = np.ones((part.stop - part.start, *size))
        if padding:
            _clear_padding(*crops.part(part), count)
        medians = _medians(crops, part, count, padding)
        total = np.zeros(len(medians))
        model_dots(*crops.part(part), count, 1.0, total)
        sums[part, 0] = total - medians * count.sum((1, 2))
        sums[part, 1] = medians
    sums[~crops.valid] = np.nan
    return sums


def remove_border_background(
    crops: Array, *, padding: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Subtract from each crop the median of its border.

    Parameters
    ----------
    crops : ndarray of real numbers, shape (n, h, w)
        Counts, in adu. Never written.
    padding : bool
        Whether zeros connected with the edge are padding, see `border_sums`; they come back as 0.

    Returns
    -------
    corrected : ndarray, shape (n, h, w)
        Counts less the median, float32 where that holds the counts, else float64.
    medians : ndarray, shape (n,)
        The medians, in the same type.
    """
    n, *size = np.shape(crops)
    zeros = np.zeros(n, np.int64)
    placed = place(crops, np.arange(n), zeros, zeros, (size[0], size[1]))
    work = _work_dtype(placed.frames)
    corrected, medians = np.empty(np.shape(crops), work), np.empty(n, work)
    for part in slices(n, 8 * size[0] * size[1]):
        count = np.ones((part.stop - part.start, *size))
        if padding:
            _clear_padding(*placed.part(part), count)
        medians[part] = _medians(placed, part, count, padding)
        np.subtract(placed.frames[part], medians[part, None, None], out=corrected[part])
        corrected[part][count == 0] = 0
    return corrected, medians


def _work_dtype(frames: Array) -> np.dtype[Any]:
    return np.result_type(frames.dtype, np.float32)


def _medians(crops: Crops, part: slice, count: Array, padding: bool) -> Array:
    """Medians of the borders of some crops; of pixels with ``count`` 0, nothing is taken."""
    rows, columns = _ring(*crops.size)
    border = np.empty((len(rows), len(count)), _work_dtype(crops.frames))
    _gather(*crops.part(part), rows, columns, count, border)
    medians = np.empty(len(count), border.dtype)
    _middle(border, medians)
    if padding:
        medians[np.isnan(medians)] = 0
    return medians


def _ring(rows: int, columns: int) -> tuple[Array, Array]:
    edge = np.ones((rows, columns), bool)
    edge[1:-1, 1:-1] = False
    return np.nonzero(edge)


@numba.njit(nogil=True, cache=True)
def _gather(
    frames: Array,
    valid: Array,
    index: Array,
    y0: Array,
    x0: Array,
    rows: Array,
    columns: Array,
    count: Array,
    border: Array,
) -> None:
    """The border of each crop in a column of ``border``, NaN where there is padding."""
    for k in range(valid.size):
        for j in range(rows.size):
            if valid[k] and count[k, rows[j], columns[j]] != 0.0:
                border[j, k] = frames[index[k], y0[k] + rows[j], x0[k] + columns[j]]
            else:
                border[j, k] = np.nan


@numba.njit(nogil=True, cache=True)
def _middle(border: Array, medians: Array) -> None:
    """Median of each column by counting ranks: no order to find, so SIMD runs over the columns.

    The number of rank ``r`` is the one with at most ``r`` smaller and more than ``r`` not larger
    ones. NaN is neither smaller nor larger, so it drops out by itself. Quadratic in the border,
    and still faster than sorting up to some hundred pixels.
    """
    pixels, crops = border.shape
    number = np.zeros(crops, np.int32)
    smaller, not_larger = np.empty(crops, np.int32), np.empty(crops, np.int32)
    low, high = np.full(crops, np.nan, border.dtype), np.full(crops, np.nan, border.dtype)
    for j in range(pixels):
        for k in range(crops):
            number[k] += border[j, k] == border[j, k]
    for i in range(pixels):
        smaller[:] = 0
        not_larger[:] = 0
        for j in range(pixels):
            for k in range(crops):
                smaller[k] += border[j, k] < border[i, k]
                not_larger[k] += border[j, k] <= border[i, k]
        for k in range(crops):
            lower, upper = (number[k] - 1) // 2, number[k] // 2
            if smaller[k] <= lower < not_larger[k]:
                low[k] = border[i, k]
            if smaller[k] <= upper < not_larger[k]:
                high[k] = border[i, k]
    half = border.dtype.type(0.5)
    for k in range(crops):
        medians[k] = low[k] if number[k] % 2 else half * (low[k] + high[k])


@numba.njit(nogil=True, cache=True)
def _clear_padding(
    frames: Array, valid: Array, index: Array, y0: Array, x0: Array, count: Array
) -> None:
    """Set ``count`` to 0 where zeros are connected with the edge of the crop."""
    _, rows, columns = count.shape
    stack = np.empty((rows * columns, 2), np.int64)
    for k in range(valid.size):
        if not valid[k]:
            continue
        crop = frames[index[k], y0[k] : y0[k] + rows, x0[k] : x0[k] + columns]
        depth = 0
        for y in range(rows):
            for x in range(columns):
                at_edge = y == 0 or x == 0 or y == rows - 1 or x == columns - 1
                if at_edge and crop[y, x] == 0:
                    count[k, y, x] = 0.0
                    stack[depth, 0], stack[depth, 1] = y, x
                    depth += 1
        while depth:
            depth -= 1
            y0_, x0_ = stack[depth, 0], stack[depth, 1]
            for y, x in ((y0_ - 1, x0_), (y0_ + 1, x0_), (y0_, x0_ - 1), (y0_, x0_ + 1)):
                if 0 <= y < rows and 0 <= x < columns and crop[y, x] == 0 and count[k, y, x]:
                    count[k, y, x] = 0.0
                    stack[depth, 0], stack[depth, 1] = y, x
                    depth += 1
