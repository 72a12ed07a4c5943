"""Crops of a block of frames: which lie inside, and sums over them without copying them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Crops", "batch_length", "constant", "inside", "place", "slices"]

Array = NDArray[Any]

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
    """Checked places of ``n`` crops in ``frames``, safe for loops that do not check.

    Attributes
    ----------
    frames : ndarray, shape (t, Y, X)
        Counts in adu, read-only.
    valid : ndarray of bool, shape (n,)
        Whether frame and crop exist. The loops never look at the others.
    index, y0, x0 : ndarray of int64, shape (n,)
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

    def part(self, which: slice) -> tuple[Array, Array, Array, Array, Array]:
        """Frames and places of some of the crops, as the loops take them."""
        return self.frames, self.valid[which], self.index[which], self.y0[which], self.x0[which]


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
    frames = _readable(frames)
    n = np.shape(index)[0]
    index, y0, x0 = (constant(array, np.int64, (n,)) for array in (index, y0, x0))
    known = (index >= 0) & (index < frames.shape[0])
    valid = constant(known & inside(y0, x0, size, frames.shape[1:]), np.bool_)
    return Crops(frames, valid, index, y0, x0, size)


def batch_length(n: int, bytes_each: int) -> int:
    """How many of ``n`` crops to work on at a time, if each needs ``bytes_each`` of scratch."""
    return min(n, max(32, min(1024, BATCH_BYTES // max(bytes_each, 1))))


def slices(n: int, length: int) -> Iterator[slice]:
    """Consecutive batches of ``n`` crops."""
    for start in range(0, n, max(length, 1)):
        yield slice(start, min(start + length, n))


def constant(values: ArrayLike, dtype: DTypeLike, shape: tuple[int, ...] | None = None) -> Array:
    """A contiguous read-only array: one compiled signature whatever the caller's look like."""
    array = np.asarray(values, dtype=dtype)
    array = np.ascontiguousarray(array if shape is None else np.broadcast_to(array, shape)).view()
    array.flags.writeable = False
    return array


def _readable(frames: Array) -> Array:
    """The frames as compiled loops read them: read-only, and converted only if they must be."""
    frames = np.asarray(frames)
    if frames.dtype.char not in NATIVE or not frames.dtype.isnative:
        small = frames.dtype.kind in "biuf" and frames.dtype.itemsize <= 2
        frames = frames.astype(np.float32 if small else np.float64)
    frames = frames.view()
    frames.flags.writeable = False
    return frames
