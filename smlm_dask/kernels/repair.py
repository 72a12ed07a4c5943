"""Background images of neighbouring windows, and of neighbouring pixels, put right by each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.selection import rank
from smlm_dask.kernels.smooth import gaussian_taps, smooth
from smlm_dask.kernels.truncated import LEVERS, ROUNDING, SLOPES

__all__ = ["NEIGHBOURS", "repair", "settle", "weigh_neighbours"]

Array = NDArray[Any]

NEIGHBOURS = 10  # windows before and after
CROWDED = 0.45  # share of contaminated frames above which a window is not believed
STEEPEST = 0.5  # in the noise of one sample: what a rise may be
NEAR = 0.3  # in that, too: how far the pixels around may be from a pixel, to count as they are
TOO_HIGH = 3.5  # standard errors
LEVEL_PIXELS = 1024


def settle(packed: Array, gain: Any, variance: Any) -> NDArray[np.float32]:
    """Truncated means less what dim contamination adds: ``(3, y, x) -> (2, y, x)``.

    Contamination of flat density just above the background raises the estimates at higher limits more.
    Its density is their rise, averaged over a pixel around, and never negative.

    The noise that sets a pixel's limit was that of its own estimate, which made errors larger by a tenth
    at ten electrons and by a half at one. It is replaced by the noise at the mean of the pixels around.

    Parameters
    ----------
    packed : (3, y, x)
        As ``truncated_means`` gives them.
    gain, variance : float or (y, x)
        Electrons for each adu; noise variance without light, adu2.

    Returns
    -------
    ndarray of float32
        Row 0: light, adu. Row 1: share of contaminated frames.
    """
    light, rise, share = packed
    with np.errstate(invalid="ignore"):  # where the camera is not known
        noise = np.sqrt(_noise2(light, gain, variance)).astype(np.float32)
    # Beyond this the estimates stand on different light, and their difference is no rise.
    rise = np.clip(rise, -STEEPEST * noise, STEEPEST * noise)
    density = _smooth(rise, 1.0) / np.float32(SLOPES[2] - SLOPES[0])
    settled = light - np.float32(SLOPES[1]) * np.maximum(density, 0)
    apart = np.clip(_smooth(settled, 1.0) - light, -NEAR * noise, NEAR * noise)
    with np.errstate(invalid="ignore"):
        near = np.sqrt(_noise2(light + apart, gain, variance)).astype(np.float32)
    return np.stack([settled + np.float32(LEVERS[1]) * (near - noise), share])


def _smooth(image: Array, sigma: float) -> Array:
    """Gaussian mean of the known pixels."""
    known, taps = np.isfinite(image), gaussian_taps(sigma)
    if known.all():
        return smooth(image[np.newaxis], taps, taps)[0]
    parts = np.stack([known, np.where(known, image, 0)]).astype(np.float32)
    weight, mean = smooth(parts, taps, taps)
    return np.asarray(mean / np.where(weight > 0, weight, np.nan), np.float32)


def _noise2(light: Array, gain: Any, variance: Any) -> Array:
    """Variance of one sample, adu2."""
    return np.asarray(np.maximum(light, 0) / gain + variance + ROUNDING)


def weigh_neighbours(settled: Array, frames: int, gain: Any, variance: Any) -> NDArray[np.float32]:
    """Light drawn towards that of the pixels around, as far as its error allows: ``(2, y, x)`` again.

    The background is taken as a smooth image (over 2 pixels) and a part of each pixel's own, whose
    variance is what the residuals have beyond their errors. Structure finer than about 4 pixels is
    smoothed.

    Parameters
    ----------
    settled : (2, y, x)
        As ``settle`` gives it.
    frames : int
        Frames of the window.
    gain, variance : float or (y, x)
        Electrons for each adu; noise variance without light, adu2.
    """
    light, share = settled
    noise2 = _noise2(light, gain, variance)
    near = np.clip(_smooth(share, 0.7), 0, 1)
    error2 = noise2 * (2.5 / (frames * np.maximum(1 - near, 0.05)) + (0.2 * near) ** 2)
    error2 = error2.astype(np.float32)
    weights = _smooth(1 / error2, 2.0)
    mean = _smooth(light / error2, 2.0) / weights
    excess = _smooth(((light - mean) ** 2 - 0.9 * error2) / noise2, 4.0) / _smooth(1 / noise2, 4.0)
    error2_mean = np.maximum(excess, 0) + 1 / (4 * math.pi * 2.0**2 * weights)
    drawn = (error2_mean * light + error2 * mean) / (error2_mean + error2)
    return np.stack([drawn, share]).astype(np.float32)


def repair(
    windows: Sequence[Array], place: int, frames: int, gain: Any, variance: Any
) -> NDArray[np.float32]:
    """Light of one window, taken from its neighbours in time where emitters are on all through it.

    A pixel is replaced where emitters were found in more than 0.45 of the frames, or where it is more
    than 3.5 standard errors above the lower third of the neighbours; by their weighted mean, and
    only if that is lower. The images are compared at the same mean level.

    Parameters
    ----------
    windows : sequence of (2, y, x)
        Light (adu) and share of contaminated frames of the window and of those around it.
    place : int
        Which of them is the window.
    frames : int
        Frames of a window.
    gain, variance : float or (y, x)
        Electrons for each adu; noise variance without light, adu2.

    Returns
    -------
    ndarray of float32, (y, x)
    """
    light, share = windows[place]
    scales = _scales([w[0] for w in windows], place)
    low = light.copy()
    for window, scale in zip(windows, scales, strict=True):
        np.fmin(low, window[0] * scale, out=low)
    # Hardly any pixel is so far above the lowest of its neighbours: only those are looked at.
    limit = TOO_HIGH * np.sqrt(_noise2(low, gain, variance) * _error2(share, frames))
    suspect = np.flatnonzero((share > CROWDED) | (light - low > limit))
    out = light.copy()
    if len(suspect) and len(windows) > 1:
        levels = np.stack(
            [(w[0].reshape(-1)[suspect] * s) for w, s in zip(windows, scales, strict=True)]
        )
        shares = np.stack([w[1].reshape(-1)[suspect] for w in windows])
        gains, noises = (_of(m, light.shape, suspect) for m in (gain, variance))
        out.reshape(-1)[suspect] = _replace(levels, shares, place, frames, gains, noises)
    return out


def _error2(share: Array, frames: int) -> Array:
    """Variance of a background in that of one sample."""
    return np.asarray(2.5 / (frames * np.maximum(1 - share, 0.2)))


def _of(values: Any, shape: tuple[int, ...], where: Array) -> Array:
    return np.broadcast_to(np.asarray(values, np.float64), shape).reshape(-1)[where]


def _scales(images: Sequence[Array], place: int) -> NDArray[np.float32]:
    """What brings each image to the level of one of them."""
    step = max(1, images[0].size // LEVEL_PIXELS)
    samples = np.stack([image.reshape(-1)[::step] for image in images])
    middle = rank(samples[:, None], len(samples) // 2)[0]
    known = np.isfinite(middle)
    bright = known & (middle > 0.05 * np.median(middle[known])) if known.any() else known
    if not bright.any() or not np.median(middle[bright]) > 0:
        return np.ones(len(images), np.float32)
    levels = np.median(samples[:, bright] / middle[bright], axis=1)
    levels = np.where(levels > 0, levels, 1)
    return np.asarray(levels[place] / levels, np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _replace(
    levels: Array, shares: Array, place: int, frames: int, gain: Array, variance: Array
) -> Array:
    windows, pixels = levels.shape
    out = np.empty(pixels, np.float32)
    order = np.empty(windows)
    for p in range(pixels):
        out[p] = levels[place, p]
        calm = _sorted(levels[:, p], shares[:, p], order)
        if calm == 0:
            continue
        reference = order[calm // 3]
        noise2 = max(reference, 0.0) / gain[p] + variance[p] + ROUNDING
        total, weights = 0.0, 0.0
        flagged = False
        for i in range(windows):
            error = math.sqrt(noise2 * 2.5 / (frames * max(1 - shares[i, p], 0.2)))
            high = shares[i, p] > CROWDED or levels[i, p] - reference > TOO_HIGH * error
            if i == place:
                flagged = high
            if not high and math.isfinite(levels[i, p]):
                weight = math.exp(-abs(i - place) / 2) / (0.02 + max(shares[i, p], 0.0))
                total += weight * levels[i, p]
                weights += weight
        if flagged and weights > 0 and math.isfinite(out[p]):
            out[p] = min(levels[place, p], total / weights)
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _sorted(levels: Array, shares: Array, order: Array) -> int:
    """Sort the levels of calm windows to the front of `order`; how many they are."""
    count = 0
    for i in range(levels.size):
        if not shares[i] <= CROWDED or not math.isfinite(levels[i]):
            continue
        k = count
        while k > 0 and order[k - 1] > levels[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = levels[i]
        count += 1
    return count
