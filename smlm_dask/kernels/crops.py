"""Crops of a block of frames: which lie inside, and sums over them without copying them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Crops",
    "Place",
    "batch_length",
    "column",
    "gather",
    "inside",
    "place",
    "ranges",
    "readable",
    "slices",
]

Array = NDArray[Any]
Place = tuple[Array, Array, Array, Array, Array]

# What is made for a batch of crops (shapes, borders) stays in the second-level cache. It is made
# once and overwritten: fresh memory of that size costs more than filling it.
BATCH_BYTES = 1 << 18
NATIVE = frozenset("?bBhHiIlLqQfd")


def inside(y0: ArrayLike, x0: ArrayLike, size: tuple[int, int], shape: tuple[int, int]) -> Array:
    """Whether each crop lies wholly inside the frame.

    Parameters
    ----------
    y0, x0 : array_like of int, shape (n,)
        First row and column of each crop.
    size : tuple of int
        Rows and columns of a crop.
    shape : tuple of int
        Rows and columns of a frame.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    y0, x0 = np.asarray(y0), np.asarray(x0)
    # Compared with the last origin that fits: no sum that could overflow.
    rows = (y0 >= 0) & (y0 <= shape[0] - size[0])
    columns = (x0 >= 0) & (x0 <= shape[1] - size[1])
    return np.asarray(rows & columns)


@dataclass(frozen=True)
class Crops:
    """Where ``n`` crops lie in ``frames``, checked for loops that do not check.

    Attributes
    ----------
    frames : ndarray, shape (t, Y, X)
        Counts in adu, read-only.
    valid : ndarray of bool, shape (n,)
        Whether frame and crop exist. The loops never look at the others.
    index, y0, x0 : ndarray of int, shape (n,)
        Frame and first pixel.
    size : tuple of int
        Rows and columns of a crop.
    """

    frames: Array
    valid: Array
    index: Array
    y0: Array
    x0: Array
    size: tuple[int, int]

    def part(self, which: slice) -> Place:
        """Pick some crops as the loops take them: frames, valid, index, y0, x0."""
        # Copied a batch at a time, so that one signature serves every type of column.
        index, y0, x0 = (a[which].astype(np.int64) for a in (self.index, self.y0, self.x0))
        return self.frames, self.valid[which], index, y0, x0


def place(
    frames: Array, index: ArrayLike, y0: ArrayLike, x0: ArrayLike, size: tuple[int, int]
) -> Crops:
    """Check where crops lie.

    Parameters
    ----------
    frames : ndarray of real numbers, shape (t, Y, X)
        Any strides, never written.
    index, y0, x0 : array_like of int, shape (n,)
        Frame within the block and first pixel of each crop.
    size : tuple of int
        Rows and columns of a crop.

    Returns
    -------
    Crops
    """
    frames = readable(frames)
    n = np.shape(index)[0]
    index, y0, x0 = (column(array, n) for array in (index, y0, x0))
    valid = inside(y0, x0, size, frames.shape[1:])
    valid &= index >= 0
    valid &= index < frames.shape[0]
    return Crops(frames, valid, index, y0, x0, size)


def gather(place: Place, out: Array) -> None:
    """Copy the pixels of some crops into ``out`` (k, rows, columns); NaN where there is no crop."""
    _gather(*place, out)


@numba.njit(nogil=True, cache=True)
def _gather(frames: Array, valid: Array, index: Array, y0: Array, x0: Array, out: Array) -> None:
    for k in range(valid.size):
        if not valid[k]:
            out[k] = np.nan
            continue
        # Unsigned: an index that could be negative costs a test per pixel.
        frame, top, left = np.uint64(index[k]), np.uint64(y0[k]), np.uint64(x0[k])
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[k, y, x] = frames[frame, top + np.uint64(y), left + np.uint64(x)]


def ranges(crops: Crops, known: Array | None = None) -> Array:
    """Least and largest sample of each crop, of pixels ``known`` (Y, X), (n, 2); NaN without any."""
    out = np.full((len(crops.valid), 2), np.nan)
    place = crops.part(slice(None))
    if known is None:
        _ranges(place, *crops.size, out)
    else:
        _known_ranges(place, *crops.size, np.ascontiguousarray(known), out)
    return out


@numba.njit(nogil=True, cache=True)
def _ranges(place: Place, rows: int, columns: int, out: Array) -> None:
    frames, valid, index, y0, x0 = place
    for k in range(valid.size):
        if valid[k]:
            low = high = frames[index[k], y0[k], x0[k]]
            for y in range(y0[k], y0[k] + rows):
                # A slice, not an index into the frames: the compiler takes many samples at a time.
                row = frames[index[k], y, x0[k] : x0[k] + columns]
                for x in range(row.size):
                    low, high = min(low, row[x]), max(high, row[x])
            out[k, 0], out[k, 1] = low, high


@numba.njit(nogil=True, cache=True)
def _known_ranges(place: Place, rows: int, columns: int, known: Array, out: Array) -> None:
    frames, valid, index, y0, x0 = place
    for k in range(valid.size):
        if valid[k]:
            low, high = np.inf, -np.inf
            for y in range(y0[k], y0[k] + rows):
                for x in range(x0[k], x0[k] + columns):
                    sample = np.float64(frames[index[k], y, x])
                    low = min(low, sample) if known[y, x] else low
                    high = max(high, sample) if known[y, x] else high
            if low <= high:
                out[k, 0], out[k, 1] = low, high


def column(values: ArrayLike, n: int) -> Array:
    """One value for each of ``n`` crops, without a copy."""
    return np.broadcast_to(np.asarray(values), (n,))


def readable(frames: Array) -> Array:
    """Hand out frames as compiled loops read them: read-only, converted only if need be."""
    frames = np.asarray(frames)
    if frames.dtype.char not in NATIVE or not frames.dtype.isnative:
        small = frames.dtype.kind in "biuf" and frames.dtype.itemsize <= 2
        frames = frames.astype(np.float32 if small else np.float64)
    frames = frames.view()
    frames.flags.writeable = False
    return frames


def batch_length(n: int, bytes_each: int) -> int:
    """How many of ``n`` crops to work on at a time, if each needs ``bytes_each`` of scratch."""
    return min(n, max(32, min(1024, BATCH_BYTES // max(bytes_each, 1))))


def slices(n: int, length: int) -> Iterator[slice]:
    """Consecutive batches of ``n`` crops."""
    for start in range(0, n, max(length, 1)):
        yield slice(start, min(start + length, n))
