"""A rough background to begin with, from a few frames of a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.pixels import ROUNDING, flat_map, least_sample

__all__ = ["first_image"]

Array = NDArray[Any]

GROUPS, EACH = 11, 3  # of the frames that are looked at
# Standard deviations from the mean of normal samples to the median of minima of three.
BELOW = 0.8193
WIDTH = 512  # pixels per tile


def first_image(frames: Array, gain: Any, offset: Any, variance: Any) -> NDArray[np.float32]:
    """Lower fifth of a few frames, and what the mean of noise is above it: ``(y, x)``, adu.

    A median is light of an emitter where one is on in half of the frames, and a truncated mean that
    begins there may stay there. The fifth is the median of eleven minima of three frames: a
    quarter of the work of a rank. Samples that no camera gives, of dropped frames, are not among them.
    """
    count, shape = len(frames), frames.shape[1:]
    if frames.size == 0:
        return np.full(shape, np.nan, np.float32)
    places = np.arange(GROUPS * EACH) * count // (GROUPS * EACH)
    if not (frames.flags.c_contiguous and frames.dtype.isnative):
        frames = np.array(frames[places], frames.dtype.newbyteorder("="), order="C")
        places = np.arange(len(places))
    level = np.empty(int(np.prod(shape)), np.float32)
    # The minima of a group are of frames far apart, not of one blink.
    order = places.reshape(EACH, GROUPS).T.ravel()
    gain, offset, variance = (flat_map(m, shape) for m in (gain, offset, variance))
    least = least_sample(offset, variance)
    _levels(frames.reshape(len(frames), -1), order, gain, offset, variance, least, level)
    return level.reshape(shape)


@njit(nogil=True, cache=True, error_model="numpy")
def _levels(
    frames: Array,
    order: Array,
    gain: Array,
    offset: Array,
    variance: Array,
    least: Array,
    level: Array,
) -> None:
    minima = np.empty((GROUPS, WIDTH), np.float32)
    for first in range(0, level.size, WIDTH):
        part = slice(first, min(first + WIDTH, level.size))
        for k in range(GROUPS):
            _minimum(frames, order[k * EACH : (k + 1) * EACH], part, least[part], minima[k])
        for last in range(GROUPS - 1, GROUPS // 2 - 1, -1):
            for k in range(last):
                _exchange(minima[k], minima[k + 1])
        _lift(minima[GROUPS // 2], gain[part], offset[part], variance[part], level[part])


@njit(nogil=True, cache=True, error_model="numpy")
def _minimum(frames: Array, group: Array, part: slice, least: Array, minimum: Array) -> None:
    never = np.float32(np.inf)
    minimum[:] = never
    for t in group:
        source = frames[t, part]
        for j in range(source.size):
            x = np.float32(source[j])
            x = x if x >= least[j] else never
            minimum[j] = min(minimum[j], x)


@njit(nogil=True, cache=True, error_model="numpy")
def _exchange(low: Array, high: Array) -> None:
    for j in range(WIDTH):
        a, b = low[j], high[j]
        low[j], high[j] = min(a, b), max(a, b)


@njit(nogil=True, cache=True, error_model="numpy")
def _lift(fifth: Array, gain: Array, offset: Array, variance: Array, level: Array) -> None:
    """Write to `level` what has its fifth there, by the noise at that level.

    Begun an electron higher: where electrons are seen, none of them is a level of its own.
    """
    zero, one, below, rounding = (
        np.float32(0),
        np.float32(1),
        np.float32(BELOW),
        np.float32(ROUNDING),
    )
    for j in range(level.size):
        b = fifth[j] + one / gain[j]
        for _ in range(3):
            light = max(zero, b - offset[j])
            b = fifth[j] + below * np.sqrt(light / gain[j] + variance[j] + rounding)
        level[j] = b
