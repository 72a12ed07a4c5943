"""What the photon kernels compute, one crop at a time in float64."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.special import erf, erfc

# erf rounds to 1 from here on: what lies beyond holds no light at all.
REACH = 5.9215871957945


def share(low, high):
    """``erf(high) - erf(low)``, by the complement where the two would cancel."""
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    light = erf(high) - erf(low)
    light = np.where(low > 0, erfc(low) - np.where(high < REACH, erfc(high), 0), light)
    light = np.where(high < 0, erfc(-high) - np.where(-low < REACH, erfc(-low), 0), light)
    return np.where((low >= REACH) | (high <= -REACH), 0.0, light)


def peak_one(distance, sigma, pixel):
    """Mean over a pixel of ``exp(-distance^2 / (2 sigma^2))``."""
    unit = np.sqrt(2) * sigma
    light = share((distance - pixel / 2) / unit, (distance + pixel / 2) / unit)
    return np.sqrt(np.pi / 2) * sigma / pixel * light


def gaussian(size, mu_y, mu_x, sigma_y, sigma_x, theta, pixel):
    """Rotated Gaussian on the pixels of one crop: ``(rows, columns)``."""
    y = (np.arange(size[0]) * pixel[0] - mu_y)[:, None]
    x = (np.arange(size[1]) * pixel[1] - mu_x)[None, :]
    cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    along_x = peak_one(x * cos - y * sin, sigma_x, pixel[1])
    return along_x * peak_one(x * sin + y * cos, sigma_y, pixel[0])


def basis(x, knots):
    """Every cubic B-spline of these knots at every x, 0 outside: ``(x, splines)``."""
    identity = np.eye(len(knots) - 4)
    return np.nan_to_num(BSpline(np.asarray(knots, float), identity, 3, extrapolate=False)(x))


def spline(size, mu_y, mu_x, z, knots_y, knots_x, knots_z, coefficients, pixel):
    """Tensor spline at (x - mu_x, y - mu_y, -z) on the pixels of one crop."""
    along_y = basis(np.arange(size[0]) * pixel[0] - mu_y, knots_y)
    along_x = basis(np.arange(size[1]) * pixel[1] - mu_x, knots_x)
    along_z = basis(np.atleast_1d(0.0 - z), knots_z)
    return np.einsum("za,yb,xc,abc->yx", along_z, along_y, along_x, coefficients)


def projection(crop, psf):
    """``(raw, psf_sum, denominator)`` of a crop without background."""
    total = psf.sum()
    if total == 0 or not np.isfinite(total):
        return np.nan, total, np.nan
    p = psf / total
    return (p * crop).sum() / (p**2).sum(), total, (p**2).sum()


def cut(frames, index, y0, x0, size):
    """One crop, or None where it leaves the frames."""
    t, height, width = frames.shape
    if not (0 <= index < t and 0 <= y0 <= height - size[0] and 0 <= x0 <= width - size[1]):
        return None
    return frames[index, y0 : y0 + size[0], x0 : x0 + size[1]]


def padding_of(crop):
    """Zeros connected with the edge of the crop."""
    labels, _ = ndimage.label(crop == 0)
    ring = np.ones(crop.shape, bool)
    ring[1:-1, 1:-1] = False
    return np.isin(labels, np.unique(labels[ring & (labels > 0)])) & (labels > 0)


def remove_border(crop, padding):
    """A crop less the median of its border, and that median."""
    work = crop.astype(np.result_type(crop.dtype, np.float32))
    padded = padding_of(crop) if padding else np.zeros(crop.shape, bool)
    ring = np.ones(crop.shape, bool)
    ring[1:-1, 1:-1] = False
    border = work[ring & ~padded & ~np.isnan(work)]
    empty = work.dtype.type(0 if padding else np.nan)
    median = np.median(border) if border.size else empty
    corrected = work - median
    corrected[padded] = 0
    return corrected, median


def plane_gaussian(size, mu_y, mu_x, sigma_y, sigma_x, theta, pixel):
    """Share of a Gaussian's light on each pixel: over the whole plane they sum to 1."""
    peak = gaussian(size, mu_y, mu_x, sigma_y, sigma_x, theta, pixel)
    return peak * pixel[0] * pixel[1] / (2 * np.pi * sigma_y * sigma_x)


def electrons(counts, under, gain, dark, variance, light):
    """Signal and variance of a crop, the mean light under it, and which pixels count."""
    known = (gain > 0) & np.isfinite(dark) & (variance >= 0)
    mean = np.where(known, (under - dark) * gain + light, 0.0)
    signal = np.where(known, (counts - under) * gain - light, 0.0)
    spread = np.where(known, mean + (variance + 1 / 12) * gain**2, np.inf)
    return signal, spread, mean.sum() / known.sum(), known


def likelihood(p, x, v, error, relative, known, robust):
    """Photons and their error, level and its error, excess of chi-square; all arrays are (pixels,).

    ``x`` are the counts above the background that is known, ``v`` their variance without an emitter,
    infinite in a pixel that is left out, of which nothing is used.
    ``known`` is "prior", "fixed" or "free".
    """
    p, x, v = (a[np.isfinite(v)] for a in (p, x, v))
    keep = np.ones(p.size)
    photons, level = 0.0, x.mean() if known == "free" else 0.0

    def variance():
        return np.maximum(v + level + max(photons, 0.0) * p, 1e-3)

    def absolute():
        return error * np.sqrt(p.size / (1 / variance()).sum()) if relative else error

    def solve():
        w = keep / variance()
        if precision == np.inf:
            return (w * p * x).sum() / (w * p * p).sum(), 0.0
        normal = [[(w * p * p).sum(), (w * p).sum()], [(w * p).sum(), w.sum() + precision]]
        return np.linalg.solve(normal, [(w * p * x).sum(), (w * x).sum()])

    own = absolute()
    certain = known == "fixed" or error == 0
    precision = 0.0 if known == "free" else np.inf if certain else 1 / own**2
    photons, level = solve()
    if relative:
        photons = 0.0
        own = absolute()
        precision = precision if certain or known == "free" else 1 / own**2
        photons, level = solve()
    for refit in range(7 if robust else 1):
        if refit:
            keep = 1.0 * (x - level - photons * p <= 3.5 * np.sqrt(variance()))
        for _ in range(3):
            photons, level = solve()
    w = keep / variance()
    if precision == np.inf:
        covariance, certain = np.diag([1 / (w * p * p).sum(), 0.0]), own
        extra = own * (w * p).sum() * covariance[0, 0]
    else:
        normal = [[(w * p * p).sum(), (w * p).sum()], [(w * p).sum(), w.sum() + precision]]
        covariance, extra = np.linalg.inv(normal), 0.0
        certain = np.sqrt(covariance[1, 1])
    pull = w * (covariance[0, 0] * p + covariance[0, 1])
    rise = (pull**2 * p).sum() if photons > 0 else 0.0
    errors = np.sqrt(covariance[0, 0] + extra**2 + 2 * rise**2), certain
    chi2 = ((x - level - photons * p) ** 2 / variance()).sum()
    free = p.size - 1
    return photons, errors[0], level, errors[1], (chi2 - free) / np.sqrt(2 * free)


def blur_error(p, sharp, v, photons, level, precision):
    """Standard deviation of photons from positions that widen ``sharp`` to ``p``, to second order.

    ``precision`` is that of the level in the fit, infinite where it stays.
    """
    w = 1 / np.maximum(v + level + max(photons, 0.0) * p, 1e-3)
    missed = w * (sharp - p)
    if precision == np.inf:
        return max(photons, 0.0) * abs((missed * p).sum() / (w * p * p).sum())
    normal = [[(w * p * p).sum(), (w * p).sum()], [(w * p).sum(), w.sum() + precision]]
    return max(photons, 0.0) * abs(np.linalg.solve(normal, [(missed * p).sum(), missed.sum()])[0])


def together(shapes, x, v, error, relative, known):
    """`likelihood` of a crop with several shapes, its own first."""
    free, certain = known == "free", known == "fixed" or error == 0
    shapes, x, v = shapes[:, np.isfinite(v)], x[np.isfinite(v)], v[np.isfinite(v)]
    design = np.vstack([shapes, np.ones(x.size)])
    value = np.zeros(len(design))
    value[-1] = x.mean() if free else 0.0

    def variance():
        bright = np.append(np.maximum(value[:-1], 0), value[-1])
        return np.maximum(v + bright @ design, 1e-3)

    def inverse():
        normal = design / variance() @ design.T
        normal[-1, -1] += 0.0 if free or certain else own**-2
        out = np.zeros_like(normal)
        last = -1 if certain and not free else len(design)
        out[:last, :last] = np.linalg.inv(normal[:last, :last])
        return out

    own = error
    for update in range((2 if relative else 1) + 3):
        if update < (2 if relative else 1):
            value[:-1] = 0.0
            own = error * np.sqrt(x.size / (1 / variance()).sum()) if relative else error
        value = inverse() @ (design / variance() @ x)
    covariance, w = inverse(), 1 / variance()
    response = w * (covariance[0] @ design)
    stays = certain and not free
    errors = (response.sum() * own, own) if stays else (0.0, np.sqrt(covariance[-1, -1]))
    rise = (response**2 * design[0]).sum() if value[0] > 0 else 0.0
    chi2 = (w * (x - value @ design) ** 2).sum()
    photons_error = np.sqrt(covariance[0, 0] + errors[0] ** 2 + 2 * rise**2)
    z = (chi2 - x.size + 1) / np.sqrt(2 * (x.size - 1))
    return value[0], photons_error, value[-1], errors[1], z
