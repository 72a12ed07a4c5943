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


def constants() -> tuple[Array, Array, Array, Array]:
    """Of the three limits: damping, what flat contamination and the noise do, and the variance."""
    c = np.array([0.5, 1, 1.5])
    lam = norm.pdf(c) / norm.cdf(c)
    damping = lam * (c + lam)
    mass = c * norm.cdf(c) + norm.pdf(c)
    moment = ((c * c - 1) * norm.cdf(c) + c * norm.pdf(c)) / 2
    slopes = (moment + lam * mass) / (norm.cdf(c) * (1 - damping))
    levers = (damping * c + lam) / (1 - damping)
    return lam, slopes, levers, 1 / (norm.cdf(c) * (1 - damping))


def settled(
    packed: Array, frames: int, gain: Array, variance: Array, weight: Array, excess: float = 1.0
) -> Array:
    """Light, share and error of images whose known pixels count by ``weight``."""
    light, rise, share = packed
    lam, slopes, levers, variances = constants()
    part, apart = slopes[1] / (slopes[2] - slopes[0]), levers[0] - levers[2]

    def at(b: Array) -> Array:
        return np.asarray(np.sqrt(np.maximum(b, 0) / gain + variance + 1 / 12))

    own = at(light)
    b = light + np.clip(smoothed(light, weight, 2) - light, -0.3 * own, 0.3 * own)
    s = at(b)
    density = smoothed(np.clip((rise + apart * (own - s)) / s, -0.5, 0.5), weight)
    found = s * density
    for _ in range(2):
        low = np.maximum(b - part * found, 0)
        found = s * density + apart * (s - at(low))
    near, calm = at(low), frames * np.maximum(1 - np.clip(share, 0, 1), 0.2)
    damp = np.exp(-0.82 * (2 * excess - 1) / excess * low / gain**2 / near**3)
    lean, bends = damp**2 / gain / (2 * near), -lam * variances / 2
    wide, rises = around_and_rise(lean)
    few = (rises * (bends[2] - bends[0]) - (1 + wide) * bends[1]) * near / calm
    loss = damp * without_skewness(lean)
    error = near * np.sqrt(loss / calm + (0.3 * np.clip(share, 0, 1)) ** 2)
    return np.stack([light + levers[1] * (near - own) - part * found + few, share, error])


def around_and_rise(lean: Any) -> tuple[Any, Any]:
    """``wide`` and ``near`` of ``middle + wide <middle> - near <high - low>``."""
    _, slopes, levers, _ = constants()
    part, apart = slopes[1] / (slopes[2] - slopes[0]), levers[0] - levers[2]
    x = part * apart * lean
    near = part * (1 + levers[1] * lean) * (1 + x + x * x)
    return (levers[1] + near * apart) * lean / np.maximum(1 - levers[1] * lean, 0.3), near


def without_skewness(lean: Any) -> Any:
    """Variance over that of a mean of as many samples."""
    _, _, _, (low, middle, high) = constants()
    wide, near = around_and_rise(lean)
    (w1, q1), (w2, q2) = ((k.max(), np.sum(k * k)) for k in (gaussian(1), gaussian(2)))
    own = middle * (1 + 2 * wide * w2 + wide**2 * q2)
    return own + near**2 * q1 * (low - high) + 2 * near * w1 * (middle - high)


def loss(values: Array, light: float, s: float) -> float:
    """`without_skewness` at known noise, of a distribution that is given by sorted ``values`` of it."""
    _, slopes, _, _ = constants()
    below, means, counts, slope = [], [], [], []
    for c in (0.5, 1, 1.5):
        limit = light + c * s
        low = values[values < limit]
        near = np.abs(values - limit) < 0.1 * s
        density = near.sum() / (0.2 * s)
        below.append(low)
        means.append(low.mean())
        counts.append(len(low) / len(values))
        slope.append(1 - density * (limit - low.mean()) / len(low))

    def both(i: int, j: int) -> float:  # i is not above j
        return float(below[i].var() / (counts[j] * slope[i] * slope[j]) / s**2)

    part = slopes[1] / (slopes[2] - slopes[0])
    rise = both(2, 2) + both(0, 0) - 2 * both(0, 2)
    kernel = gaussian(1)
    shared = 2 * part * kernel.max() * (both(1, 2) - both(0, 1))
    return both(1, 1) - shared + part**2 * float(np.sum(kernel**2)) * rise


def gaussian(sigma: float) -> Array:
    """A Gaussian over pixels, cut at 2.58 of its standard deviations."""
    reach = math.floor(2.58 * sigma)
    edges = (np.arange(-reach, reach + 2) - 0.5) / (math.sqrt(2) * sigma)
    taps = np.diff([math.erf(x) for x in edges])
    return np.asarray(np.outer(taps, taps) / taps.sum() ** 2)


def smoothed(image: Array, weight: Array, sigma: float = 1) -> Array:
    """Gaussian mean over a pixel around, by weights; zero where a pixel is not known."""

    def mean(values: Array) -> Array:
        return np.asarray(convolve(values, gaussian(sigma), mode="nearest"))

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
    return (mean, mean_error) if mean < own[0] or shares[place] > 0.45 else own


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
