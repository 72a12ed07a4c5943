"""The sum of a crop above the median of its border, and crops less that median."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.crops import Crops, batch_length, place, slices
from smlm_dask.kernels.projection import add_dots

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
    for part, count, medians in _batches(crops, padding):
        total = np.zeros(len(medians))
        add_dots(crops.part(part), (count,), 1.0, total)
        pixels = count.sum((1, 2)) if padding else size[0] * size[1]
        with np.errstate(invalid="ignore"):  # a border of infinities has no sum above it
            sums[part, 0] = total - medians * np.float64(pixels)
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
    for part, count, found in _batches(placed, padding):
        medians[part] = found
        with np.errstate(invalid="ignore"):
            np.subtract(placed.frames[part], found[:, None, None], out=corrected[part])
        corrected[part][count == 0] = 0
    return corrected, medians


def _work_dtype(frames: Array) -> np.dtype[Any]:
    return np.result_type(frames.dtype, np.float32)


def _batches(crops: Crops, padding: bool) -> Iterator[tuple[slice, Array, Array]]:
    """Which crops, 1 for each pixel that counts and 0 for padding, and the medians."""
    ring = _ring(*crops.size)
    length = batch_length(len(crops.valid), 8 * crops.size[0] * crops.size[1])
    counts = np.ones((length, *crops.size))
    borders = np.empty(len(ring[0]) * length, _work_dtype(crops.frames))
    for part in slices(len(crops.valid), length):
        place, count = crops.part(part), counts[: part.stop - part.start]
        if padding:
            count[:] = 1.0
            _clear_padding(*place, count)
        border = borders[: len(ring[0]) * len(count)].reshape(-1, len(count))
        medians, number = np.empty(len(count), borders.dtype), np.zeros(len(count), np.int64)
        _gather(*place, ring[0], ring[1], count, border, number)
        _sort_columns(border)
        _middle(border, number, medians)
        if padding:
            medians[number == 0] = 0
        yield part, count, medians


def _ring(rows: int, columns: int) -> tuple[Array, Array]:
    edge = np.ones((rows, columns), bool)
    edge[1:-1, 1:-1] = False
    rows_of, columns_of = np.nonzero(edge)
    return rows_of, columns_of


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
    number: Array,
) -> None:
    """Put the border of each crop in a column, with infinity for what is no number.

    ``number`` counts the numbers: sorted, they come before what stands for none.
    """
    for k in range(valid.size):
        if not valid[k]:
            border[:, k] = np.inf
            continue
        frame, top, left = np.uint64(index[k]), np.uint64(y0[k]), np.uint64(x0[k])
        for j in range(rows.size):
            y, x = np.uint64(rows[j]), np.uint64(columns[j])
            value = border.dtype.type(frames[frame, top + y, left + x])
            counts = not np.isnan(value) and count[k, y, x] != 0.0
            number[k] += counts
            border[j, k] = value if counts else np.inf


@numba.njit(nogil=True, cache=True)
def _sort_columns(border: Array) -> None:
    """Sort every column, by a network that SIMD runs over the columns.

    Batcher's merge exchange (Knuth, volume 3, algorithm 5.2.2 M): which rows are compared does
    not depend on the values. Tried: counting ranks (4x slower for 40 rows).
    """
    rows = border.shape[0]
    top = 1
    while 2 * top < rows:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for i in range(rows - d):
                if i & p == r:
                    _exchange(border[i], border[i + d])
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2


@numba.njit(nogil=True, cache=True)
def _exchange(low: Array, high: Array) -> None:
    for k in range(low.size):
        a, b = low[k], high[k]
        low[k] = min(a, b)
        high[k] = max(a, b)


@numba.njit(nogil=True, cache=True)
def _middle(border: Array, number: Array, medians: Array) -> None:
    """Take the middle of each sorted column, or the mean of the two, in its own type."""
    half = border.dtype.type(0.5)
    for k in range(number.size):
        middle = number[k] // 2
        if number[k] == 0:
            medians[k] = np.nan
        elif number[k] % 2:
            medians[k] = border[middle, k]
        else:
            medians[k] = half * (border[middle - 1, k] + border[middle, k])


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
