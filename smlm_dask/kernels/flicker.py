"""Brightness of each frame of a window, from all pixels at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.selection import rank
from smlm_dask.kernels.truncated import ROUNDING, usable

__all__ = ["brightness", "image_level", "relative_brightness", "row_step"]

Array = NDArray[Any]

MOST_PIXELS = 8192  # rows are left out beyond: the error is 0.05 / sqrt(light) at 4,000 already
FEWEST_PIXELS = 1000
LEAST_LIGHT = 0.5  # electrons: below, nothing can be said about flicker
MEDIAN_PIXELS = 256  # for the first guess
ROUNDS, CLIP = 4, 2.5  # standard deviations above or below which a pixel holds an emitter
FLOOR = 0.05  # of the image's median: darker pixels tell nothing, and must not divide


def row_step(shape: tuple[int, ...]) -> int:
    """Every how many-th row is enough, for frames of this (y, x)."""
    return max(1, -(-math.prod(shape) // MOST_PIXELS))


def brightness(
    frames: Array, image: Array, gain: Any, offset: Any, variance: Any
) -> NDArray[np.float64]:
    """Brightness of each frame of a window relative to an image: ``(frame, y, x) -> (frame,)``.

    The light of a frame is the window's image times a number. The number is the weighted least-squares
    one over the pixels that lie within 2.5 standard deviations of it, found in four rounds from a median
    of ratios; weights are those of shot noise and camera noise. What is found is drawn towards its mean by
    the part of its variance that is no flicker: the covariance of the upper and the lower half of the
    field tells what is.

    Parameters
    ----------
    frames
        Samples in adu, shape (frame, y, x): some rows of whole frames are enough.
    image : (y, x)
        The window's background, roughly, in adu with the offset.
    gain, offset, variance : float or (y, x)
        Electrons for each adu; level (adu) and noise variance (adu2) without light.

    Returns
    -------
    ndarray of float64
        All 1 where the field has fewer than 1,000 pixels or less than half an electron of light.
    """
    one = np.ones(len(frames))
    gain, offset, variance = (_map(m, image.shape) for m in (gain, offset, variance))
    light = image.reshape(-1).astype(np.float32) - offset
    known = np.isfinite(light) & np.isfinite(gain) & np.isfinite(variance) & (gain > 0)
    if known.sum() < FEWEST_PIXELS or not np.median((light * gain)[known]) >= LEAST_LIGHT:
        return one
    middle = float(np.median(light[known]))
    light = np.where(known, np.maximum(light, FLOOR * middle), 1).astype(np.float32)
    noise = np.where(known, variance + np.float32(ROUNDING), 1).astype(np.float32)
    gain = np.where(known, gain, 1).astype(np.float32)
    weight = np.where(known, light / gain / (light / gain + noise), 0).astype(np.float32)
    pixels = frames.reshape(len(frames), -1)
    few = np.flatnonzero(known)[:: max(1, int(known.sum()) // MEDIAN_PIXELS)]
    ratio = (pixels[:, few].astype(np.float32) - offset[few]) / light[few]
    start = rank(np.ascontiguousarray(ratio.T)[:, None], len(few) // 2)[0].astype(np.float64)
    halves, whole = _clipped(pixels, light, 1 / gain, offset, noise, weight, start)
    return _drawn(halves, whole) if np.median(whole) > 0 else one


def _drawn(halves: Array, whole: Array) -> NDArray[np.float64]:
    """Factors drawn towards their mean, but for frames without light, or with too much."""
    used = usable(whole)
    if not np.isfinite(halves[used]).all():
        return np.ones(len(whole))
    mean = whole[used].mean()
    apart = halves[used] - halves[used].mean(axis=0)
    flicker = float(np.mean(apart[:, 0] * apart[:, 1]))
    share = min(max(flicker / max(float(whole[used].var()), 1e-30), 0.0), 1.0)
    return np.where(used, mean + share * (whole - mean), whole)


def _map(values: Any, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(np.asarray(values, np.float32), shape).reshape(-1)


@njit(nogil=True, cache=True, error_model="numpy")
def _clipped(
    pixels: Array,
    light: Array,
    shot: Array,
    offset: Array,
    noise: Array,
    weight: Array,
    start: Array,
) -> tuple[Array, Array]:
    """Factor of each frame from the halves of its pixels, and from all of them."""
    whole, halves = start.copy(), np.empty((len(start), 2))
    own, gram = np.empty(light.size, np.float32), weight * light
    parts = slice(0, light.size // 2), slice(light.size // 2, light.size)
    for t in range(pixels.shape[0]):
        row = pixels[t]
        for j in range(row.size):
            own[j] = np.float32(row[j]) - offset[j]
        for _ in range(ROUNDS):
            tops, bottoms = 0.0, 0.0
            for half in range(2):
                p = parts[half]
                top, bottom = _kept(
                    np.float32(whole[t]), own[p], light[p], shot[p], noise[p], weight[p], gram[p]
                )
                halves[t, half] = top / bottom
                tops, bottoms = tops + top, bottoms + bottom
            if bottoms > 0:
                whole[t] = tops / bottoms
    return halves, whole


# The order of a sum over pixels is the compiler's, and the same in every run; NaN is still NaN.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _kept(
    factor: Any, own: Array, light: Array, shot: Array, noise: Array, weight: Array, gram: Array
) -> tuple[Any, Any]:
    """Weighted sums of the pixels without emitters."""
    clip, zero = np.float32(CLIP**2), np.float32(0)
    top, bottom = zero, zero
    for j in range(own.size):
        mean = factor * light[j]
        apart = own[j] - mean
        keep = apart * apart < clip * (mean * shot[j] + noise[j])
        top += weight[j] * own[j] if keep else zero
        bottom += gram[j] if keep else zero
    return top, bottom


def image_level(images: Array) -> NDArray[np.float64]:
    """Mean of the known pixels of each image, NaN if there are none: ``(image, y, x) -> (image,)``."""
    known = np.isfinite(images)
    total = np.where(known, images, 0).sum(axis=(1, 2), dtype=np.float64)
    count = known.sum(axis=(1, 2))
    return np.asarray(total / np.where(count > 0, count, np.nan))


def relative_brightness(
    first: Array,
    second: Array,
    levels: Array,
    starts: tuple[int, int],
    begin: int,
    share: Array,
) -> NDArray[np.float64]:
    """Brightness of frames relative to what two background images make of them between each other.

    Parameters
    ----------
    first, second : (frame,)
        Brightness of the frames in the windows of the two images.
    levels : (2,)
        Level of light in the images.
    starts : (int, int)
        Frames where the two windows begin.
    begin : int
        Frame of the first number in `share`.
    share : (frame,)
        Share of the second image in each frame; a frame is in the window of which it has more.

    Returns
    -------
    ndarray of float64, (frame,)
    """
    frame = begin + np.arange(len(share))
    later = share > 0.5
    first, second = (b / b[usable(b)].mean() for b in (first, second))
    own = np.where(
        later,
        second[np.clip(frame - starts[1], 0, len(second) - 1)],
        first[np.clip(frame - starts[0], 0, len(first) - 1)],
    )
    if (own == 1).all() or not (levels > 0).all():
        return own
    between = (1 - share) * levels[0] + share * levels[1]
    return np.asarray(own * np.where(later, levels[1], levels[0]) / between)
