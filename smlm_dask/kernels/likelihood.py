"""Photons and background of single crops, each pixel weighted by the variance its model gives it.

The counts of a pixel, in electrons, have mean ``m + level + photons p`` and variance
``m + level + max(photons, 0) p + read``: Poisson light on a camera with Gaussian noise, with ``p`` the
part of the PSF that falls on the pixel and ``m`` the background as known beforehand. Solving the
weighted least squares again with the weights of the last solution is Fisher scoring of that
likelihood. Weights come from the model, never from the counts: those would favour low ones.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.projection import ANY_ORDER

__all__ = ["FIXED", "FREE", "PRIOR", "RESULTS", "blur_errors", "fit_crops", "prior_precision"]

Array = NDArray[Any]
Moments = tuple[float, float, float, float, float]

# What is known of the background: its value and an error, the value alone, nothing.
PRIOR, FIXED, FREE = range(3)
RESULTS = ("photons", "photons_error", "level", "level_error", "chi2_z")

UPDATES = 3  # after the start: the solution is then within 0.0005 of its standard deviation
LEAST = 1e-3  # electron^2: no pixel is surer than that
CLIP = 3.5  # standard deviations above the model, from where on a pixel is another emitter's
REFITS = 6


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fit_crops(
    shape: Array,
    signal: Array,
    spread: Array,
    pixels: Array,
    error: Array,
    relative: bool,
    known: int,
    robust: bool,
    out: Array,
) -> None:
    """Fit every crop, in electrons.

    Parameters
    ----------
    shape : ndarray, shape (n, pixels)
        Part of the light of an emitter that falls on each pixel; sums to 1 over the plane, not the crop.
    signal, spread : ndarray, shape (n, pixels)
        Counts above the background that is known, and the variance of each count without an emitter:
        infinite, with a signal of 0, for a pixel that is left out.
    pixels : ndarray, shape (n,)
        How many are not left out.
    error : ndarray, shape (n,)
        Standard deviation of the known background: electrons, or, where ``relative``, in units of the
        noise of one pixel.
    known : int
        ``PRIOR``: the background is known within its error, and the crop has its say. ``FIXED``: it
        stays, and its error only widens that of the photons. ``FREE``: the crop alone decides.
    robust : bool
        Whether pixels that stand out above the model are left out.
    out : ndarray, shape (n, 5)
        Filled with the columns of ``RESULTS``; ``level`` is what the crop adds to the background.
    """
    keep = np.ones(shape.shape[1])
    for k in range(len(out)):
        keep[:] = 1.0
        columns = shape[k], signal[k], spread[k], keep
        _fit(*columns, pixels[k], error[k], relative, known, robust, out[k])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fit(
    shape: Array,
    signal: Array,
    spread: Array,
    keep: Array,
    pixels: float,
    error: float,
    relative: bool,
    known: int,
    robust: bool,
    out: Array,
) -> None:
    photons, level = 0.0, signal.sum() / pixels if known == FREE else 0.0
    own, precision = error, prior_precision(error, known)
    # Twice where the error is relative: noise of a level that is told too low would hold it there.
    for _ in range(2 if relative else 1):
        moments = _moments(shape, signal, spread, keep, 0.0, level)
        if relative:
            own = error * math.sqrt(pixels / moments[2])
            precision = prior_precision(own, known)
        photons, level = _solve(moments, precision)
    photons, level = _converge(shape, signal, spread, keep, precision, photons, level)
    for _ in range(REFITS if robust else 0):
        _clip(shape, signal, spread, photons, level, keep)
        photons, level = _converge(shape, signal, spread, keep, precision, photons, level)
    out[0], out[2] = photons, level
    out[1], out[3] = _errors(shape, spread, keep, photons, level, precision, own)
    out[4] = _excess(shape, signal, spread, pixels, photons, level)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def prior_precision(error: float, known: int) -> float:
    """Of what is known about the level; infinite where the crop has no say."""
    if known == FREE:
        return 0.0
    return np.inf if known == FIXED else 1.0 / (error * error)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _variance(spread: float, level: float, photons: float, shape: float) -> float:
    bright = max(photons, 0.0)  # NaN stays NaN if it stands first
    variance = spread + level + bright * shape
    return max(variance, LEAST)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _moments(
    shape: Array, signal: Array, spread: Array, keep: Array, photons: float, level: float
) -> Moments:
    """Sums over the pixels of w p^2, w p, w, w p x and w x."""
    a = b = c = u = v = 0.0
    for i in range(shape.size):
        w = keep[i] / _variance(spread[i], level, photons, shape[i])
        wp = w * shape[i]
        a += wp * shape[i]
        b += wp
        c += w
        u += wp * signal[i]
        v += w * signal[i]
    return a, b, c, u, v


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _solve(moments: Moments, precision: float) -> tuple[float, float]:
    a, b, c, u, v = moments
    if precision == np.inf:
        return u / a, 0.0
    c += precision
    determinant = a * c - b * b
    return (c * u - b * v) / determinant, (a * v - b * u) / determinant


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _converge(
    shape: Array,
    signal: Array,
    spread: Array,
    keep: Array,
    precision: float,
    photons: float,
    level: float,
) -> tuple[float, float]:
    for _ in range(UPDATES):
        moments = _moments(shape, signal, spread, keep, photons, level)
        photons, level = _solve(moments, precision)
    return photons, level


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _clip(
    shape: Array, signal: Array, spread: Array, photons: float, level: float, keep: Array
) -> None:
    """One-sided: a neighbour only adds light."""
    for i in range(shape.size):
        excess = signal[i] - level - photons * shape[i]
        limit = CLIP * math.sqrt(_variance(spread[i], level, photons, shape[i]))
        keep[i] = 0.0 if excess > limit else 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _errors(
    shape: Array,
    spread: Array,
    keep: Array,
    photons: float,
    level: float,
    precision: float,
    error: float,
) -> tuple[float, float]:
    """Standard deviations of photons and level, the known background's own among them.

    The variance ``v`` is that at the photons that were found, too small where they are too few by chance.
    In units of it, errors have a variance of ``1 + 2 v'^2 / v`` with ``v'`` its rise with the photons
    (3 for that, less 1 for the skewness of shot noise): 4 % at 20 photons.
    """
    a = b = c = one = two = three = 0.0
    for i in range(shape.size):
        w = keep[i] / _variance(spread[i], level, photons, shape[i])
        p = shape[i]
        a, b, c = a + w * p * p, b + w * p, c + w
        rise = w * w * p if photons > 0.0 else 0.0
        one, two, three = one + rise, two + rise * p, three + rise * p * p
    if precision == np.inf:
        variance, rise = 1.0 / a, three / (a * a)
        own = error * b / a
        return math.sqrt(variance + own * own + 2.0 * rise * rise), error
    c += precision
    determinant = a * c - b * b
    rise = (c * c * three - 2.0 * b * c * two + b * b * one) / (determinant * determinant)
    return math.sqrt(c / determinant + 2.0 * rise * rise), math.sqrt(a / determinant)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _excess(
    shape: Array, signal: Array, spread: Array, pixels: float, photons: float, level: float
) -> float:
    """Chi-square of all pixels, in standard deviations above what noise alone gives."""
    chi2 = 0.0
    for i in range(shape.size):
        residual = signal[i] - level - photons * shape[i]
        chi2 += residual * residual / _variance(spread[i], level, photons, shape[i])
    free = pixels - 1
    return (chi2 - free) / math.sqrt(2.0 * max(free, 1.0))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def blur_errors(shape: Array, sharp: Array, spread: Array, known: int, out: Array) -> None:
    """Add to the errors of photons what comes of positions that are uncertain.

    An emitter that is not where it is said to be gives ``photons q``; ``q`` falls with the square of the
    distance, and has mean 1 if the shape is widened by the uncertainty. To second order its standard
    deviation is what the shape that is not widened would give, less 1.

    Parameters
    ----------
    shape, sharp : ndarray, shape (n, pixels)
        Shapes that were fitted, and those of emitters whose positions are certain.
    spread : ndarray, shape (n, pixels)
        As for `fit_crops`, which filled ``out``.
    known : int
        ``FIXED``, or else the level was fitted as far as its error allows.
    out : ndarray, shape (n, 5)
        ``photons_error`` is changed.
    """
    keep = np.ones(shape.shape[1])
    for k in range(len(out)):
        photons, error, level, level_error, _ = out[k]
        p, missed = shape[k], sharp[k] - shape[k]
        a, b, _, u, v = _moments(p, missed, spread[k], keep, photons, level)
        own = u / a
        if known != FIXED and level_error > 0.0:
            # The level's error and a, b tell the precision that the level had in the fit.
            precision = 1.0 / (level_error * level_error) + b * b / a
            own = (precision * u - b * v) / (precision * a - b * b)
        out[k, 1] = math.hypot(error, max(photons, 0.0) * own)
