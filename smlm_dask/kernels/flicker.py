"""Brightness of each frame of a window, from all pixels at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.pixels import ROUNDING, flat_map
from smlm_dask.kernels.truncated import usable

__all__ = ["brightness", "image_level", "relative_brightness", "row_step"]

Array = NDArray[Any]

# A quarter of the field's pixels, within these limits: the error is 0.05 / sqrt(light) at 4,000 already.
ENOUGH_PIXELS, MOST_PIXELS = 4096, 8192
FEWEST_PIXELS = 1000
LEAST_LIGHT = 0.5  # electrons: below, nothing can be said about flicker
MEDIAN_PIXELS, MIDDLE_PIXELS = (
    64,
    1024,
)  # for the first guess of a frame, and the level of the image
CLIP = 2.5  # standard deviations above or below which a pixel holds an emitter
# Every how many-th row, and for how many rounds: four rounds of all rows were 2 % better.
ROUNDS = ((4, 2), (1, 1))
FLOOR = 0.05  # of the image's median: darker pixels tell nothing, and must not divide


def row_step(shape: tuple[int, ...]) -> int:
    """Every how many-th row is enough, for frames of this (y, x)."""
    pixels = math.prod(shape)
    return max(1, pixels // min(max(pixels // 4, ENOUGH_PIXELS), MOST_PIXELS))


def brightness(
    frames: Array, image: Array, gain: Any, offset: Any, variance: Any
) -> NDArray[np.float64]:
    """Brightness of each frame of a window relative to an image: ``(frame, y, x) -> (frame,)``.

    The light of a frame is the window's image times a number. The number is the weighted least-squares
    one over the pixels that lie within 2.5 standard deviations of it, found in rounds from a median
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
    gain, offset, variance = (
        flat_map(m, image.shape).reshape(image.shape) for m in (gain, offset, variance)
    )
    light = image.astype(np.float32) - offset
    known = np.isfinite(light) & np.isfinite(gain) & np.isfinite(variance) & (gain > 0)
    middle = _middle(light, known)
    if known.sum() < FEWEST_PIXELS or not middle * _middle(gain, known) >= LEAST_LIGHT:
        return one
    light = np.where(known, np.maximum(light, np.float32(FLOOR * middle)), 1)
    shot = np.where(known, 1 / gain, 1) / light
    noise = np.where(known, np.maximum(variance, 0) + np.float32(ROUNDING), 1) / light**2
    weight = np.where(known, shot / (shot + noise), 0) * light
    frames = np.ascontiguousarray(frames)
    few = np.flatnonzero(known)[:: max(1, int(known.sum()) // MEDIAN_PIXELS)]
    samples = frames.reshape(len(frames), -1)[:, few].astype(np.float32)
    ratio = (samples - offset.flat[few]) / light.flat[few]
    whole = np.partition(ratio, len(few) // 2, axis=1)[:, len(few) // 2].astype(np.float64)
    for step, rounds in ROUNDS:
        maps = np.stack([m[::step] for m in (offset, 1 / light, shot, noise, weight)])
        pixels = frames[:, ::step].reshape(len(frames), -1)
        halves, whole = _clipped(pixels, rounds, maps.reshape(len(maps), -1), whole)
    return _drawn(halves, whole) if np.median(whole) > 0 else one


def _middle(values: Array, known: Array) -> float:
    few = values[known][:: max(1, values.size // MIDDLE_PIXELS)]
    return float(np.partition(few, len(few) // 2)[len(few) // 2]) if len(few) else 0.0


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


@njit(nogil=True, cache=True, error_model="numpy")
def _clipped(
    pixels: Array,
    rounds: int,
    maps: Array,
    start: Array,
) -> tuple[Array, Array]:
    """Factor of each frame from the halves of its pixels, and from all of them.

    ``maps`` (5, pixel) are the offset, one over the image's light, the shot noise and the other noise (both
    variances of light over the image's), and the weight.
    """
    offset, inverse, shot, noise, weight = maps[0], maps[1], maps[2], maps[3], maps[4]
    whole, halves = start.copy(), np.empty((len(start), 2))
    own, parts = (
        np.empty(offset.size, np.float32),
        (slice(0, offset.size // 2), slice(offset.size // 2, offset.size)),
    )
    for t in range(pixels.shape[0]):
        row = pixels[t]
        for j in range(row.size):
            own[j] = (np.float32(row[j]) - offset[j]) * inverse[j]
        for _ in range(rounds):
            tops, bottoms = 0.0, 0.0
            for half in range(2):
                p = parts[half]
                top, bottom = _kept(np.float32(whole[t]), own[p], shot[p], noise[p], weight[p])
                halves[t, half] = top / bottom
                tops, bottoms = tops + top, bottoms + bottom
            if bottoms > 0:
                whole[t] = tops / bottoms
    return halves, whole


# The order of a sum over pixels is the compiler's, and the same in every run; NaN is still NaN.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _kept(factor: Any, own: Array, shot: Array, noise: Array, weight: Array) -> tuple[Any, Any]:
    """Weighted sums of the pixels without emitters."""
    clip, zero = np.float32(CLIP**2), np.float32(0)
    top, bottom = zero, zero
    for j in range(own.size):
        apart = own[j] - factor
        keep = apart * apart < clip * (factor * shot[j] + noise[j])
        top += weight[j] * own[j] if keep else zero
        bottom += weight[j] if keep else zero
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
