"""What single pixels and frames tell before any model: level, noise, and those that do not work."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.selection import median

__all__ = [
    "ROUNDING",
    "bad_pixels",
    "beside",
    "ceiling_of",
    "distances",
    "extremes",
    "flat_map",
    "frame_medians",
    "least_sample",
    "live_frames",
    "local_median",
    "pair_variance",
    "repeats",
    "spread",
    "surroundings",
    "variance_error",
]

Frames: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

# A sample further below the camera's offset is none: of a frame that was dropped, or of a dead pixel.
BELOW, BELOW_ADU = 10.0, 10.0  # standard deviations without light, and adu
ROUNDING = 1 / 12  # variance of a number that was rounded to a whole one


def flat_map(values: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A number, or a map of them, for each pixel: ``(pixel,)``."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32), shape)).reshape(-1)


def extremes(frames: Frames) -> Doubles:
    """Least and largest sample of each frame, (2, frame); NaN where it has a NaN."""
    if not frames.size:
        return np.zeros((2, len(frames)))
    return np.stack([frames.min(axis=(1, 2)), frames.max(axis=(1, 2))]).astype("f8")


def ceiling_of(frames: Frames, high: Doubles) -> float:
    """The level at which samples saturate: where they pile up at the top; inf if they do not."""
    top = float(np.max(high, initial=-np.inf, where=np.isfinite(high)))
    if not np.isfinite(top) or not frames.size:
        return math.inf
    if frames.dtype.kind in "iu" and top == np.iinfo(frames.dtype).max:
        return top
    step = max(4.0, 0.1 * (top - float(frame_medians(frames[len(frames) // 2 :][:1])[0])))
    full = [frames[i] for i in np.flatnonzero(high == top)]
    at_top = sum(np.count_nonzero(f == top) for f in full)
    below = sum(np.count_nonzero((f < top) & (f >= top - step)) for f in full)
    return top if at_top >= 8 and at_top > below else math.inf


def repeats(frames: Frames) -> Mask:
    """Which frames are the one before once more: no camera's noise does that."""
    again = np.zeros(len(frames), np.bool_)
    if frames.size:
        some = (frames[1:, 0] == frames[:-1, 0]).all(axis=1)  # the first row tells nearly always
        again[1:] = [bool(s) and np.array_equal(*frames[i : i + 2]) for i, s in enumerate(some)]
    return again


def live_frames(frames: Frames) -> Doubles:
    """1 for frames that a camera took, 0 for those of one value and for repeats: (frame,)."""
    low, high = extremes(frames)
    return np.asarray((low != high) & ~repeats(frames), "f8")


def least_sample(offset: Any, variance: Any) -> Any:
    """The lowest sample that a camera may give, adu, from its level (adu) and noise (adu2) without light."""
    with np.errstate(invalid="ignore"):
        return offset - np.float32(BELOW) * np.sqrt(variance) - np.float32(BELOW_ADU)


def frame_medians(frames: Frames) -> NDArray[np.float32]:
    """Median of each frame, from some 300 of its pixels; NaN if one of these is."""
    rows, columns = (max(1, n // 16) for n in frames.shape[1:])
    sampled = frames[:, ::rows, ::columns].reshape(len(frames), -1)
    if not sampled.size:
        return np.full(len(frames), np.nan, "f4")
    return median(sampled.T[:, None])[0].astype("f4")


def distances(a: Frames, b: Frames) -> Frames:
    """Absolute difference, in the dtype of the samples if they are unsigned."""
    if a.dtype.kind == "u":
        return np.maximum(a, b) - np.minimum(a, b)
    wide = np.result_type(a.dtype, np.float32)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN
        return np.abs(a.astype(wide) - b.astype(wide))


def pair_variance(distance: Frames, overlap: bool = False) -> Doubles:
    """Variance of a sample from absolute differences of pairs: ``(pair, y, x) -> (y, x)``.

    ``(1.4826 median)^2 / 2``. The median of whole numbers is a whole number, up to 30 % off in dim
    light. Samples are rounded, so a difference stands for an interval of 1 adu: the median of the
    intervals is what dither gives on average, and needs no random numbers. ``overlap`` says that
    neighbouring pairs share a frame.
    """
    if not distance.size:
        return np.full(distance.shape[1:], np.nan)
    own = 1 + (2.6 if overlap else 1.8) / len(distance)  # the variance of the median itself
    with np.errstate(invalid="ignore"):
        whole = distance.dtype.kind in "bui" or bool((distance == np.rint(distance)).all())
    if not whole:
        return np.asarray(np.square(1.4826 * median(distance).astype("f8")) / (2 * own))
    square = np.square(1.4826 * _interval_median(distance)) / own
    # A dithered difference has one more interval, 1/12 adu2; the samples keep their own rounding.
    return np.asarray(np.maximum(square - ROUNDING, 0) / 2)


def _interval_median(distance: Frames) -> Doubles:
    out = np.empty(distance.shape[1:])
    _middle_of_intervals(distance, median(distance).astype("f4"), out)
    return out


@njit(nogil=True, cache=True)
def _middle_of_intervals(distance, middle, out):  # type: ignore[no-untyped-def]
    """Where half of the intervals of the samples lie below, by the interval that the median is in."""
    half, width = np.float32(len(distance) / 2), out.shape[1]
    below, at = np.empty(width, np.int32), np.empty(width, np.int32)
    for y in range(out.shape[0]):
        below[:], at[:] = 0, 0
        for n in range(distance.shape[0]):
            _count(distance[n, y], middle[y], below, at)
        for x in range(width):
            m = np.float64(middle[y, x])
            share = (half - below[x]) / max(at[x], 1)
            # Zero is the interval from 0 to 1/2 when signs are dropped; between two samples there is none.
            inside = m - 0.5 + share if m > 0 else share / 2
            out[y, x] = inside if at[x] > 0 else m


@njit(nogil=True, cache=True)
def _count(samples, middle, below, at):  # type: ignore[no-untyped-def]
    """Add which samples of a row are below the middle one, and which are equal to it."""
    for x in range(below.size):
        sample = np.float32(samples[x])
        below[x] += sample < middle[x]
        at[x] += sample == middle[x]


def variance_error(pairs: float) -> float:
    """Relative standard error of ``pair_variance`` of so many pairs."""
    return 2.34 / math.sqrt(max(pairs, 1.0))


def bad_pixels(level: Doubles, variance: Doubles, pairs: int) -> Mask:
    """Pixels that are noisier, darker or brighter than those around them can be, or not finite."""
    noise, base = np.maximum(surroundings(variance), ROUNDING), surroundings(level)
    with np.errstate(invalid="ignore"):
        quiet = variance <= (1.5 + 6 * variance_error(pairs)) * noise
        below = level <= base + 6 * np.sqrt(noise)
        above = level >= -surroundings(-level) - 6 * np.sqrt(noise)
    return np.asarray(~(quiet & below & above))


def surroundings(image: Doubles) -> NDArray[np.float32]:
    """What is high around a pixel: the second of its four neighbours, or the local median.

    The image of a molecule is wider than a pixel, so that two neighbours are nearly as bright as its
    middle. With the median alone, dense emitters made four fifths of the field bad.
    """
    local = local_median(image)
    if not image.size:
        return local
    wide = np.pad(image.astype("f4"), 1, mode="edge")
    up, down, left, right = wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]
    across = np.minimum(np.maximum(up, down), np.maximum(left, right))
    beside = np.maximum(np.minimum(up, down), np.minimum(left, right))
    return np.asarray(np.maximum(local, np.maximum(across, beside)), "f4")


def beside(image: Doubles) -> Doubles:
    """The second largest of a pixel's eight neighbours: one of them may be as odd as itself."""
    if min(image.shape, default=0) < 2:
        return np.full(image.shape, np.nan)
    height, width = image.shape
    wide = np.pad(image, 1, mode="reflect")
    places = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return np.asarray(
        np.partition([wide[y : y + height, x : x + width] for y, x in places], 6, axis=0)[6]
    )


def local_median(image: Doubles) -> NDArray[np.float32]:
    """Median over five columns of the medians over five rows; edges repeat."""
    if not image.size:
        return image.astype("f4")
    height, width = image.shape
    wide = np.pad(image.astype("f4"), 2, mode="edge")
    wide = _middle(*(wide[i : i + height] for i in range(5)))
    return _middle(*(wide[:, i : i + width] for i in range(5)))


def _middle(*five: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of five."""
    a, b, c, d, e = five
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    inner, outer = np.minimum(low, high), np.maximum(low, high)
    return np.asarray(np.maximum(inner, np.minimum(outer, e)), "f4")


def spread(mask: Mask, reach: int) -> Mask:
    """Whether a pixel of the mask is within ``reach`` rows and columns."""
    for _ in range(2):
        wide = np.pad(mask, ((reach, reach), (0, 0)))
        parts = [wide[i : i + len(mask)] for i in range(2 * reach + 1)]
        mask = np.ascontiguousarray(np.logical_or.reduce(parts).T)
    return mask
