"""Truncated means, brightness and repair of background images, one pixel or one frame at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[Any]


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


def noise(b: float, gain: float, variance: float) -> float:
    return math.sqrt(max(b, 0) / gain + variance + 1 / 12)


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


def repaired(
    levels: Array, shares: Array, place: int, frames: int, gain: float, variance: float
) -> float:
    """One pixel of the window at ``place``, among the levels (window,) of its neighbours."""
    calm = np.sort(levels[shares <= 0.45])
    if len(calm) == 0:
        return float(levels[place])
    reference = calm[len(calm) // 3]
    s = noise(reference, gain, variance)
    error = s * np.sqrt(2.5 / (frames * np.maximum(1 - shares, 0.2)))
    flagged = (shares > 0.45) | (levels - reference > 3.5 * error)
    if not flagged[place] or flagged.all():
        return float(levels[place])
    weight = np.exp(-np.abs(np.arange(len(levels)) - place) / 2) / (0.02 + np.maximum(shares, 0))
    mean = np.sum((weight * levels)[~flagged]) / np.sum(weight[~flagged])
    return float(min(levels[place], mean))


def coarse(
    c: float, light: float, gain: float, read: float, samples: int, seed: int
) -> tuple[float, float]:
    """Share below the limit and mean there of simulated samples; ``light`` and ``read`` in electrons."""
    rng = np.random.default_rng(seed)
    values = np.rint((rng.poisson(light, samples) + rng.normal(0, read, samples)) / gain)
    b, variance = light / gain, (read / gain) ** 2
    s = noise(b, gain, variance)
    part = np.clip(b + c * s - values + 0.5, 0, 1)
    return part.mean(), (np.sum(part * (values - 0.5 + part / 2)) / part.sum() - b) / s
