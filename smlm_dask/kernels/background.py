"""Sparse median background: windows on a time axis, cleansing of the series, an image for each frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from smlm_dask.kernels.selection import rank

__all__ = [
    "assign_centre",
    "assign_start",
    "clean",
    "even_starts",
    "frame_level",
    "frame_offset",
    "mix",
    "overlap",
    "step_times",
    "upper_median",
    "window_starts",
]


def upper_median(frames: NDArray[Any]) -> NDArray[Any]:
    """The element of rank n // 2 over frames: ``(frame, y, x) -> (y, x)``, dtype kept, no averaging."""
    return rank(frames, len(frames) // 2)


def step_times(time: NDArray[Any], step: float) -> NDArray[Any]:
    """Times of the background images: every ``step`` from 0 up to, not including, the duration.

    ``np.arange`` itself, not multiples of the step: its rounding decides whether the last one exists.
    """
    return np.arange(0, time[-1] - time[0], step)


def window_starts(time: NDArray[Any], times: NDArray[Any], window: int) -> NDArray[np.int64]:
    """First frame of each window: the frame nearest in time, moved back where the movie ends."""
    time = np.asarray(time, "f8")  # once: searchsorted would convert whole numbers at each call
    nearest = np.array([_nearest(time, t, 0.0) for t in times], np.int64)
    return np.minimum(nearest, len(time) - window)


def _nearest(time: NDArray[Any], at: Any, late: float) -> int:
    """First index of the smallest ``|(time - at) - late|``, for a time axis that never goes back.

    Looking at a few distinct times around the answer instead of all of them keeps the assignment of a
    million frames fast; the subtraction keeps its order because rounding decides ties.
    """
    last = len(time) - 1
    spot = int(np.searchsorted(time, at + late))
    low = int(np.searchsorted(time, time[min(max(spot - 2, 0), last)], "left"))
    high = int(np.searchsorted(time, time[min(spot + 2, last)], "right"))
    return low + int(np.argmin(np.abs((time[low:high] - at) - late)))


def assign_start(
    used: NDArray[np.bool_], time: NDArray[Any], times: NDArray[Any], step: float
) -> NDArray[np.int64]:
    """Entry of the series for each frame, dcnum's way: image j until half a step after its time."""
    time = np.asarray(time, "f8")
    index = np.zeros(len(time), np.int64)
    begin, last = 0, 0
    for j in np.flatnonzero(used):
        end = _nearest(time, times[j], step / 2)
        index[begin:end] = j
        begin, last = end, int(j)
    index[begin:] = last
    return index


def assign_centre(
    used: NDArray[np.bool_], time: NDArray[Any], starts: NDArray[np.int64], window: int
) -> NDArray[np.int64]:
    """Entry of the series for each frame: the image whose window's middle is nearest in time."""
    kept = np.flatnonzero(used)
    first, last = starts[kept], starts[kept] + window - 1
    middle = (time[first].astype("f8") + time[last].astype("f8")) / 2
    change = (middle[:-1] + middle[1:]) / 2
    return kept[np.searchsorted(change, time, side="right")].astype(np.int64)


def even_starts(frames: int, window: int, step: int) -> NDArray[np.int64]:
    """First frame of each window, every ``step`` frames; the last window ends with the movie."""
    starts = np.arange(0, frames - window + 1, step, dtype=np.int64)
    rest = frames - window - starts[-1]
    return np.append(starts, starts[-1] + rest) if rest else starts


def mix(
    frames: int, starts: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Image whose window's middle each frame follows, and the share of the next: linear in between."""
    middle = starts + (window - 1) / 2
    frame = np.arange(frames)
    index = np.clip(np.searchsorted(middle, frame, side="right") - 1, 0, len(middle) - 1)
    after = np.minimum(index + 1, len(middle) - 1)
    gap = np.maximum(middle[after] - middle[index], 1)
    return index.astype(np.int64), np.clip((frame - middle[index]) / gap, 0, 1) * (after > index)


def overlap(
    index: NDArray[np.int64], starts: NDArray[np.int64], window: int
) -> NDArray[np.float64]:
    """Share of its frames that the window of each frame's image has in common with the next one."""
    gap = np.append(np.diff(starts), window)[index]
    return np.asarray(np.maximum(1 - gap / window, 0))


def clean(ranges: NDArray[Any], fraction: float, threshold: float) -> NDArray[np.bool_]:
    """Which background images hold no event, judged by the ranges of their central rows.

    Parameters
    ----------
    ranges : (window, y)
        Largest minus smallest value of each row of every image, in the dtype of the images.
    fraction : float
        At least this share of the images stays (0 < fraction <= 1; 1 keeps all).
    threshold : float
        0 discards a fixed share; larger values discard more.

    Returns
    -------
    (window,) bool
    """
    if fraction == 1:
        return np.ones(len(ranges), np.bool_)
    finite = np.isfinite(ranges).all(axis=1)
    if not finite.any():  # a dead pixel: none can be judged, and all stay
        return np.ones(len(ranges), np.bool_)
    if not finite.all():  # an image with lost samples is not used, and judges no other
        used = np.zeros(len(ranges), np.bool_)
        used[finite] = clean(ranges[finite], fraction, threshold)
        return used
    deviation = _deviation(_score(ranges))
    limit = float(np.quantile(deviation, fraction))
    if threshold:
        scaled = float(np.var(deviation)) * 150 / threshold
        removed = np.sum(deviation > scaled) / len(deviation)
        limit = scaled if 1 - removed >= fraction else limit
    return np.asarray(deviation <= limit)


def _score(ranges: NDArray[Any]) -> NDArray[np.float64]:
    height = ranges.shape[1]
    half = max(20, height // 4)
    # Frames of 14 to 39 rows make the start negative and the slice wraps: kept, it decides the numbers.
    centre = slice(height // 2 - half, height // 2 + half)
    score: NDArray[np.float64] = (ranges - np.median(ranges, axis=0))[:, centre].mean(axis=1)
    return score


def _deviation(score: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = score - median_filter(score, size=10)
    deviation: NDArray[np.float64] = np.abs(flat - np.median(flat))
    return deviation


def frame_level(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of each frame: ``(frame, y, x) -> (frame,)``."""
    level: NDArray[np.float64] = frames.mean(axis=(1, 2), dtype=np.float64)
    return level


def frame_offset(
    frame_level: NDArray[np.float64], image_level: NDArray[np.float64], index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Level of each frame above the level of its background image, on the same rows."""
    return frame_level - image_level[index] if len(index) else np.empty(0)
