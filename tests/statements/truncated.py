"""Truncated means, brightness and repair of background images, one pixel or one frame at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve
from scipy.stats import norm

Array = NDArray[Any]


def first(samples: Array, gain: float, offset: float, variance: float) -> float:
    """Where to begin: the median of eleven minima of three samples, lifted by what noise does to it."""
    apart = [i * len(samples) // 33 for i in range(33)]
    fifth = np.median([samples[apart[k::11]].min() for k in range(11)])
    level = fifth + 1 / gain
    for _ in range(3):
        level = fifth + 0.8193 * math.sqrt(max(level - offset, 0) / gain + variance + 1 / 12)
    return float(level)


def truncated_mean(samples: Array, c: float, start: float, gain: float, variance: float) -> float:
    """The background whose truncated mean is that of the samples (light in adu), after many steps."""
    lam = norm.pdf(c) / norm.cdf(c)
    b = start
    for _ in range(60):
        s = noise(b, gain, variance)
        part = np.clip(b + c * s - samples + 0.5, 0, 1)
        mean = np.sum(part * (samples - 0.5 + part / 2)) / np.sum(part)
        b += (mean - b - s * expected(c, b, gain, variance)[1]) / (1 - lam * (c + lam))
    return b


def noise(b: float, gain: float, variance: float, steps: float = 1 / 6) -> float:
    """Of a sample that was rounded and is taken as uniform on its step."""
    return math.sqrt(max(b, 0) / gain + variance + steps)


def expected(c: float, b: float, gain: float, variance: float) -> tuple[float, float]:
    """Share below the limit and mean there in standard deviations, with the skewness of shot noise."""
    skewness = max(b, 0) / (gain**2 * noise(b, gain, variance) ** 3)
    share = norm.cdf(c) - skewness / 6 * (c * c - 1) * norm.pdf(c)
    return share, -norm.pdf(c) * (1 + skewness * c**3 / 6) / share


def contaminated(samples: Array, b: float, gain: float, variance: float) -> float:
    """Share of the samples that is not background, by the limit of one standard deviation."""
    below = np.clip(b + noise(b, gain, variance) - samples + 0.5, 0, 1).sum()
    return 1 - below / (len(samples) * expected(1, b, gain, variance)[0])


def brightness(frame: Array, light: Array, gain: float, offset: float, variance: float) -> float:
    """Clipped weighted least-squares factor of one frame, from the median of ratios."""
    x, noise2 = frame - offset, variance + 1 / 12
    weight = light / gain / (light / gain + noise2)
    factor = np.median(x / light)
    for _ in range(4):
        keep = np.abs(x - factor * light) < 2.5 * np.sqrt(factor * light / gain + noise2)
        factor = np.sum((weight * x)[keep]) / np.sum((weight * light)[keep])
    return float(factor)


def settled(packed: Array, frames: int, gain: Array, variance: Array, weight: Array) -> Array:
    """Light, share and error of images whose known pixels count by ``weight``."""
    light, rise, share = packed
    floor = variance + 1 / 12
    s = np.sqrt(np.maximum(light, 0) / gain + floor)
    density = smoothed(np.clip(rise / s, -0.5, 0.5), weight)
    c = np.array([0.5, 1, 1.5])
    lam = norm.pdf(c) / norm.cdf(c)
    damping = lam * (c + lam)
    mass = c * norm.cdf(c) + norm.pdf(c)
    moment = ((c * c - 1) * norm.cdf(c) + c * norm.pdf(c)) / 2
    slopes = (moment + lam * mass) / (norm.cdf(c) * (1 - damping))
    found = light - slopes[1] / (slopes[2] - slopes[0]) * np.maximum(density, 0) * s
    b = np.maximum(light + np.clip(smoothed(found, weight) - light, -0.3 * s, 0.3 * s), 0)
    near = np.sqrt(b / gain + floor)
    found += (damping[1] + lam[1]) / (1 - damping[1]) * (near - s)
    skewness = b / gain**2 / near**3
    calm = np.maximum(1 - np.clip(share, 0, 1), 0.2)
    error2 = 2.2 / (frames * calm * (1 + skewness**2)) + (0.3 * np.clip(share, 0, 1)) ** 2
    return np.stack([found, share, near * np.sqrt(error2)])


def smoothed(image: Array, weight: Array) -> Array:
    """Gaussian mean over a pixel around, by weights; zero where a pixel is not known."""
    steps = np.arange(-3, 4) / math.sqrt(2)
    taps = np.diff([math.erf(x) for x in np.append(steps - 0.5 / math.sqrt(2), 3.5 / math.sqrt(2))])
    taps = taps[abs(np.arange(-3, 4)) <= 2]
    kernel = np.outer(taps, taps) / taps.sum() ** 2

    def mean(values: Array) -> Array:
        return np.asarray(convolve(values, kernel, mode="nearest"))

    return mean(np.where(weight > 0, image, 0) * weight) / mean(weight)


def repaired(
    levels: Array,
    shares: Array,
    errors: Array,
    place: int,
    frames: int,
    gain: float,
    variance: float,
) -> tuple[float, float]:
    """Level and error of one pixel of the window at ``place``, among its neighbours (window,)."""
    own = float(levels[place]), float(errors[place])
    calm = np.sort(levels[shares <= 0.45])
    if len(calm) == 0:
        return own
    reference = calm[len(calm) // 3]
    s = noise(reference, gain, variance, 1 / 12)
    error = s * np.sqrt(2.5 / (frames * np.maximum(1 - shares, 0.2)))
    flagged = (shares > 0.45) | (levels - reference > 3.5 * error)
    if not flagged[place] or flagged.all():
        return own
    weight = np.exp(-np.abs(np.arange(len(levels)) - place) / 2) / (0.02 + np.maximum(shares, 0))
    weight = weight[~flagged] / np.sum(weight[~flagged])
    mean = float(np.sum(weight * levels[~flagged]))
    mean_error = math.sqrt(np.sum((weight * errors[~flagged]) ** 2))
    return (mean, mean_error) if mean < own[0] else own


def electrons(light: float, read: float, excess: float, samples: int, seed: int) -> Array:
    """Simulated electrons, each multiplied by a gamma variable of mean 1 and variance ``excess - 1``."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(light, samples).astype(float)
    if excess > 1:
        count = rng.gamma(count / (excess - 1), excess - 1)
    return np.asarray(count + rng.normal(0, read, samples))


def below(c: float, light: float, s: float, values: Array) -> tuple[float, float]:
    """Share below the limit and mean there, in ``s`` from the background."""
    low = values[values < light + c * s]
    return len(low) / len(values), (low.mean() - light) / s


def coarse(
    c: float, light: float, gain: float, read: float, samples: int, seed: int
) -> tuple[float, float]:
    """The same of samples that are rounded, and uniform on their steps."""
    values = np.rint(electrons(light, read, 1, samples, seed) / gain)
    b, variance = light / gain, (read / gain) ** 2
    s = noise(b, gain, variance)
    part = np.clip(b + c * s - values + 0.5, 0, 1)
    return part.mean(), (np.sum(part * (values - 0.5 + part / 2)) / part.sum() - b) / s
