"""Background images of neighbouring windows, and of neighbouring pixels, put right by each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.pixels import ROUNDING, flat_map
from smlm_dask.kernels.selection import rank
from smlm_dask.kernels.smooth import gaussian_taps, smooth
from smlm_dask.kernels.truncated import BENDS, LEAST_SLOPE, LEVERS, SLOPES, VARIANCES

__all__ = ["NEIGHBOURS", "repair", "settle", "weigh_neighbours"]

Array = NDArray[Any]

NEIGHBOURS = 10  # windows before and after
CROWDED = 0.45  # share of contaminated frames above which a window is not believed
STEEPEST = 0.5  # in the noise of one sample: what a rise may be
NEAR = 0.3  # in that, too: how far the pixels around may be from a pixel, to count as they are
TOO_HIGH = 3.5  # standard errors
LEVEL_PIXELS = 512
LOSS = 2.5  # variance of a truncated mean over that of a mean of as many samples
FEWEST = 0.2  # share of a window's frames that are background at least, as its error goes
# Of the errors that are told: how the variance of a truncated mean falls with the skewness of the light,
# ``exp(-0.82 skewness)`` (within 5 % of exact sums, for Poisson light and a register); how much more that
# of a mean of pixels around is than if they were independent (they share what is taken off), measured; and
# what contamination of all frames would leave, in a sample's noise, measured.
SKEWED, SHARED, LEFT = 0.82, 3.0, 0.3

AROUND, DENSE = (
    2.0,
    1.0,
)  # pixels over which the light that makes noise, and the density, are averaged
PART = SLOPES[1] / (SLOPES[2] - SLOPES[0])  # of the rise, taken off the middle estimate
APART = LEVERS[0] - LEVERS[2]  # how far the noise that is taken lowers the rise


def _taps_of(sigma: float) -> tuple[float, float]:
    """What a Gaussian mean has of its middle pixel, and its variance over that of a pixel."""
    taps = gaussian_taps(sigma).astype("f8")
    return float(taps.max() ** 2), float((taps**2).sum() ** 2)


OF_AROUND, OF_DENSE = _taps_of(AROUND), _taps_of(DENSE)


def settle(
    packed: Array, frames: int, gain: Any, variance: Any, excess: float = 1.0
) -> NDArray[np.float32]:
    """Truncated means less what dim contamination adds, and their errors: ``(3, y, x) -> (3, y, x)``.

    Contamination of flat density just above the background raises the estimates at higher limits more.
    Its density is their rise, averaged over a pixel around. Where it is below zero by chance it stays so:
    cut off there, its mean was not zero where there are no emitters, and images were 0.015 of a
    sample's noise too low.

    The noise that sets a pixel's limit was that of its own estimate, which made errors larger by a tenth
    at ten electrons and by a half at one. It is replaced by the noise at the mean of the pixels around.

    Where the camera is given pixel by pixel, pixels around count by the inverse of their variance: what
    a hot one knows is not told to others.

    Parameters
    ----------
    packed : (3, y, x)
        As ``truncated_means`` gives them.
    frames : int
        Frames of the window.
    gain, variance : float or (y, x)
        Light over its shot noise, in adu over adu2; noise variance without light, adu2.
    excess : float
        Excess noise: variance of the light over that of shot noise alone.

    Returns
    -------
    ndarray of float32
        Row 0: light, adu. Row 1: share of contaminated frames. Row 2: standard error of the light, adu.
    """
    light, rise, share = packed
    shape = light.shape
    shot, floor = 1 / flat_map(gain, shape), flat_map(variance, shape) + np.float32(ROUNDING)
    flat = light.reshape(-1)
    weight = None
    if np.ndim(gain) or np.ndim(variance):
        # At one light: by the noise that each found itself, low ones would count more.
        weight = (1 / (_level(flat) * shot + floor)).reshape(shape)
    around = _smooth(light, AROUND, weight).reshape(-1)
    steep = _steep(flat, around, rise.reshape(-1), shot, floor)
    density = _smooth(steep.reshape(shape), DENSE, weight).reshape(-1)
    out = np.empty((3, *shape), np.float32)
    out[1] = share
    tail = np.float32((2 * excess - 1) / excess)
    _less(flat, around, density, shot, floor, tail, frames, out.reshape(3, -1))
    return out


def _level(light: Array) -> float:
    known = light[:: max(1, light.size // LEVEL_PIXELS)]
    known = known[np.isfinite(known)]
    return max(float(np.median(known)), 0.0) if len(known) else 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _near(light: Any, around: Any, shot: Any, floor: Any) -> tuple[Any, Any]:
    """Noise at the light of a pixel, and the light around it, as far as that may be its own."""
    zero, near = np.float32(0), np.float32(NEAR)
    s = np.sqrt(max(zero, light) * shot + floor)
    return s, light + max(-near * s, min(near * s, around - light))


@njit(nogil=True, cache=True, error_model="numpy")
def _steep(light: Array, around: Array, rise: Array, shot: Array, floor: Array) -> Array:
    """The rise at the noise around, in that noise.

    Beyond the steepest the estimates stand on different light, and their difference is no rise.
    """
    steep = np.empty_like(light)
    zero, most, apart = np.float32(0), np.float32(STEEPEST), np.float32(APART)
    for j in range(light.size):
        own, b = _near(light[j], around[j], shot[j], floor[j])
        s = np.sqrt(max(zero, b) * shot[j] + floor[j])
        steep[j] = max(-most, min(most, (rise[j] + apart * (own - s)) / s)) + zero * light[j]
    return steep


@njit(nogil=True, cache=True, error_model="numpy")
def _less(
    light: Array,
    around: Array,
    density: Array,
    shot: Array,
    floor: Array,
    tail: Any,
    frames: int,
    out: Array,
) -> None:
    """Write the light to row 0 of ``out``, and its error to row 2.

    What is around is contaminated too: less that, its noise is smaller, and the rise at that larger.
    """
    zero, one, fewest = np.float32(0), np.float32(1), np.float32(FEWEST)
    part, apart, lever = np.float32(PART), np.float32(APART), np.float32(LEVERS[1])
    left, skewed = np.float32(LEFT), np.float32(SKEWED)
    for j in range(light.size):
        own, b = _near(light[j], around[j], shot[j], floor[j])
        s = np.sqrt(max(zero, b) * shot[j] + floor[j])
        rise, noise, low = s * density[j], s, zero
        for _ in range(2):
            low = max(zero, b - part * rise)
            noise = np.sqrt(low * shot[j] + floor[j])
            rise = s * density[j] + apart * (s - noise)
        share = min(one, max(zero, out[1, j]))
        calm = np.float32(frames) * max(fewest, one - share)
        damp = np.exp(-skewed * tail * low * shot[j] * shot[j] / (noise * noise * noise))
        # With skewness the noise that is taken counts less, too: measured.
        wide, near = _around_and_rise(damp * damp * shot[j] / (noise + noise))
        few = _bend(wide, near) * noise / calm
        out[0, j] = light[j] + lever * (noise - own) - part * rise - few
        error2 = damp * _loss(wide, near) / calm + (left * share) ** 2
        out[2, j] = noise * np.sqrt(error2) + zero * out[0, j]


@njit(nogil=True, cache=True, error_model="numpy")
def _around_and_rise(lean: Any) -> tuple[Any, Any]:
    """What errors at known noise make of settled light: ``middle + wide <middle> - near <high - low>``.

    The means are over pixels around. ``lean`` is how the noise of a sample grows with the light.
    """
    one, lever = np.float32(1), np.float32(LEVERS[1])
    again = np.float32(PART * APART) * lean
    near = np.float32(PART) * (one + lever * lean) * (one + again + again * again)
    slope = max(np.float32(LEAST_SLOPE), one - lever * lean)
    return (lever + near * np.float32(APART)) * lean / slope, near


@njit(nogil=True, cache=True, error_model="numpy")
def _bend(wide: Any, near: Any) -> Any:
    """How far settled light of few samples is off, over their number."""
    return np.float32(BENDS[1]) * (np.float32(1) + wide) - near * np.float32(BENDS[2] - BENDS[0])


@njit(nogil=True, cache=True, error_model="numpy")
def _loss(wide: Any, near: Any) -> Any:
    """Variance of settled light over that of a mean of as many samples, without skewness.

    Of two estimates together the variance is that of the higher limit: they differ by independent parts.
    """
    own = wide * (np.float32(2 * OF_AROUND[0]) + wide * np.float32(OF_AROUND[1])) + np.float32(1)
    rise = near * np.float32(OF_DENSE[1] * (VARIANCES[0] - VARIANCES[2]))
    both = np.float32(2 * OF_DENSE[0] * (VARIANCES[1] - VARIANCES[2]))
    return np.float32(VARIANCES[1]) * own + near * (rise + both)


def _smooth(image: Array, sigma: float, weight: Array | None = None) -> NDArray[np.float32]:
    """Gaussian mean of the known pixels, by their weights if they have any."""
    known, taps = np.isfinite(image), gaussian_taps(sigma)
    if weight is None and known.all():
        return smooth(image[np.newaxis], taps, taps)[0]
    counts = known if weight is None else np.where(known & np.isfinite(weight), weight, 0)
    parts = np.stack([counts, np.where(counts > 0, image, 0) * counts]).astype(np.float32)
    weights, mean = smooth(parts, taps, taps)
    return np.asarray(mean / np.where(weights > 0, weights, np.nan), np.float32)


def _noise2(light: Array, gain: Any, variance: Any) -> Array:
    """Variance of one sample, adu2."""
    return np.asarray(np.maximum(light, 0) / gain + variance + ROUNDING)


def weigh_neighbours(settled: Array, frames: int, gain: Any, variance: Any) -> NDArray[np.float32]:
    """Light drawn towards that of the pixels around, as far as its error allows: ``(3, y, x)`` again.

    The background is taken as a smooth image (over 2 pixels) and a part of each pixel's own, whose
    variance is what the residuals have beyond their errors. Structure finer than about 4 pixels is
    smoothed.

    Parameters
    ----------
    settled : (3, y, x)
        As ``settle`` gives it.
    frames : int
        Frames of the window.
    gain, variance : float or (y, x)
        Light over its shot noise, in adu over adu2; noise variance without light, adu2.
    """
    light, share, _ = settled
    noise2 = _noise2(light, gain, variance)
    near = np.clip(_smooth(share, 0.7), 0, 1)
    error2 = noise2 * (LOSS / (frames * np.maximum(1 - near, 0.05)) + (0.2 * near) ** 2)
    error2 = error2.astype(np.float32)
    weights = _smooth(1 / error2, 2.0)
    mean = _smooth(light / error2, 2.0) / weights
    excess = _smooth(((light - mean) ** 2 - 0.9 * error2) / noise2, 4.0) / _smooth(1 / noise2, 4.0)
    error2_mean = np.maximum(excess, 0) + 1 / (4 * math.pi * 2.0**2 * weights)
    drawn = (error2_mean * light + error2 * mean) / (error2_mean + error2)
    error2 = SHARED * error2_mean * error2 / (error2_mean + error2) + (LEFT * near) ** 2 * noise2
    return np.stack([drawn, share, np.sqrt(error2)]).astype(np.float32)


def repair(
    windows: Sequence[Array], place: int, frames: int, gain: Any, variance: Any
) -> NDArray[np.float32]:
    """Light of one window, taken from its neighbours in time where emitters are on all through it.

    A pixel is replaced by the weighted mean of its neighbours where emitters were found in more than 0.45
    of the frames (few samples are left, and what is taken off may be too much), or, if the mean is lower,
    where it is more than 3.5 standard errors above their lower third. The images are compared at the
    same mean level.

    Parameters
    ----------
    windows : sequence of (3, y, x)
        Light (adu), share of contaminated frames and error (adu) of the window and of those around it.
    place : int
        Which of them is the window.
    frames : int
        Frames of a window.
    gain, variance : float or (y, x)
        Light over its shot noise, in adu over adu2; noise variance without light, adu2.

    Returns
    -------
    ndarray of float32, (2, y, x)
        Light and its standard error, adu.
    """
    light, share, error = windows[place]
    out = np.stack([light, error])
    if len(windows) == 1:
        return out
    scales = _scales([w[0] for w in windows], place)
    low = light.reshape(-1).copy()
    for window, scale in zip(windows, scales, strict=True):
        _lower(low, window[0].reshape(-1), scale)
    gains, variances = (flat_map(m, light.shape) for m in (gain, variance))
    # Hardly any pixel is so far above the lowest of its neighbours: only those are looked at.
    flat = light.reshape(-1), share.reshape(-1), low
    suspect = np.flatnonzero(_suspicion(*flat, frames, gains, variances))
    if len(suspect):
        of_pixel = [np.take(w.reshape(3, -1), suspect, axis=1) for w in windows]
        levels, shares, errors = np.stack(of_pixel, axis=1)
        scales = scales[:, None]
        out.reshape(2, -1)[:, suspect] = _replace(
            levels * scales,
            shares,
            errors * scales,
            place,
            frames,
            gains[suspect],
            variances[suspect],
        )
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _lower(low: Array, light: Array, scale: Any) -> None:
    for j in range(low.size):
        other = light[j] * scale
        low[j] = min(low[j], other)


@njit(nogil=True, cache=True, error_model="numpy")
def _suspicion(
    light: Array, share: Array, low: Array, frames: int, gain: Array, variance: Array
) -> Array:
    """Which pixels are crowded, or stand too high above the lowest of their neighbours."""
    out = np.empty(light.size, np.bool_)
    zero, one, fewest = np.float32(0), np.float32(1), np.float32(FEWEST)
    crowded, rounding = np.float32(CROWDED), np.float32(ROUNDING)
    most = np.float32(TOO_HIGH**2 * LOSS / frames)
    for j in range(light.size):
        noise2 = max(zero, low[j]) / gain[j] + variance[j] + rounding
        above = light[j] - low[j]
        high = above * above * max(fewest, one - share[j]) > most * noise2
        out[j] = (share[j] > crowded) | high
    return out


def _scales(images: Sequence[Array], place: int) -> NDArray[np.float32]:
    """What brings each image to the level of one of them."""
    step = max(1, images[0].size // LEVEL_PIXELS)
    samples = np.stack([image.reshape(-1)[::step] for image in images])
    middle = rank(samples[:, None], len(samples) // 2)[0]
    known = np.isfinite(middle)
    bright = known & (middle > 0.05 * np.median(middle[known])) if known.any() else known
    if not bright.any() or not np.median(middle[bright]) > 0:
        return np.ones(len(images), np.float32)
    ratios = samples[:, bright] / middle[bright]
    half = ratios.shape[1] // 2
    levels = np.partition(ratios, half, axis=1)[:, half]
    levels = np.where(levels > 0, levels, 1)
    return np.asarray(levels[place] / levels, np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _replace(
    levels: Array,
    shares: Array,
    errors: Array,
    place: int,
    frames: int,
    gain: Array,
    variance: Array,
) -> Array:
    windows, pixels = levels.shape
    out, order = np.empty((2, pixels), np.float32), np.empty(windows)
    near = np.exp(-np.abs(np.arange(windows) - place) / 2)
    most = TOO_HIGH**2 * LOSS / frames
    for p in range(pixels):
        level, share = levels[place, p], shares[place, p]
        out[0, p], out[1, p] = level, errors[place, p]
        calm = _sorted(levels[:, p], shares[:, p], order)
        if calm == 0:
            continue
        low = order[calm // 3]
        noise2 = most * (max(low, 0.0) / gain[p] + variance[p] + ROUNDING)
        if not _high(level, share, low, noise2):
            continue
        total, weights, error2 = 0.0, 0.0, 0.0
        for i in range(windows):
            if math.isfinite(levels[i, p]) and not _high(levels[i, p], shares[i, p], low, noise2):
                weight = near[i] / (0.02 + max(shares[i, p], 0.0))
                total += weight * levels[i, p]
                weights += weight
                error2 += (weight * errors[i, p]) ** 2
        if total < weights * level or (share > CROWDED and weights > 0.0):
            out[0, p], out[1, p] = total / weights, math.sqrt(error2) / weights
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _high(level: float, share: float, low: float, noise2: float) -> bool:
    """Whether emitters are on through most of a window, or have raised it."""
    above = max(level - low, 0.0)
    return share > CROWDED or above * above * max(FEWEST, 1.0 - share) > noise2


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
