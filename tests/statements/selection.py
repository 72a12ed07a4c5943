"""Order statistics over frames, as numpy says them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rank(frames: Array, k: int) -> Array:
    """The sample of rank k; NaN where there is a NaN."""
    values: Array = np.sort(frames, axis=0)[k]
    if frames.dtype.kind == "f":
        values[np.isnan(frames).any(axis=0)] = np.nan
    return values


def median(frames: Array) -> Array:
    """The middle sample, or the mean of the two; NaN where there is a NaN or nothing."""
    if len(frames) == 0:
        return np.full(frames.shape[1:], np.nan, (frames[:0].sum() * 0.5).dtype)
    with np.errstate(all="ignore"):
        values: Array = np.median(frames, axis=0)
    return values


def median_and_mad(frames: Array) -> Array:
    """The median, and the median of the absolute deviations from it."""
    center = median(frames)
    with np.errstate(all="ignore"):
        return np.stack((center, median(np.abs(frames - center))))
