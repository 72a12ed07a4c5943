"""Level and noise of each pixel without light, from sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels import pixels

__all__ = ["dark_maps", "dark_sums"]

# Of a pixel over those around it: its variance, its level in their noise, errors of the variance.
NOISY, BRIGHT, ERRORS = 4.0, 6.0, 6.0


def dark_sums(frames: NDArray[Any]) -> NDArray[Any]:
    """Sums of samples and of their squares, (2, y, x): int64, exact, of integers up to 16 bit."""
    exact = frames.dtype.kind in "iu" and frames.dtype.itemsize <= 2
    sums = np.zeros((2, *frames.shape[1:]), "i8" if exact else "f8")
    _add(np.ascontiguousarray(frames), sums.dtype.type(1), sums)
    return sums


@njit(nogil=True, cache=True)
def _add(frames, one, sums):  # type: ignore[no-untyped-def]
    """Add frames in their order; ``one`` makes a sample as wide as the sums before it is squared."""
    for y in range(frames.shape[1]):
        total, square = sums[0, y], sums[1, y]
        for n in range(frames.shape[0]):
            row = frames[n, y]
            for x in range(row.size):
                sample = one * row[x]
                total[x] += sample
                square[x] += sample * sample


def dark_maps(sums: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Mean, unbiased variance, and 1 where a pixel is hot: (3, y, x)."""
    total, square = sums
    mean = total / count
    # Around the nearest whole number: in whole sums this is exact, and leaves little to cancel.
    middle = np.rint(mean).astype(sums.dtype) if sums.dtype.kind == "i" else mean
    rest = total - count * middle
    spread = square - 2 * middle * total + count * middle * middle
    variance = np.maximum(spread - rest * (rest / count), 0) / (count - 1)
    return np.stack([mean, variance, _hot(mean, variance, count)])


def _hot(mean: NDArray[np.float64], variance: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    noise = np.maximum(pixels.local_median(variance), pixels.ROUNDING)
    most = NOISY + ERRORS * np.sqrt(2 / (count - 1))
    bright = mean > pixels.local_median(mean) + BRIGHT * np.sqrt(noise)
    return np.asarray(bright | (variance > most * noise))
