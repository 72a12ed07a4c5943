"""Photon transfer of steady light: variance from differences of frames, a line of medians of slopes."""

from __future__ import annotations

import itertools
import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels import pixels
from smlm_dask.kernels.corner_line import (
    LEAST_NOISE,
    MOST_ERROR,
    NUMBERS,
    Known,
    camera,
    error_word,
    numbers,
)
from smlm_dask.kernels.reason import Reason

__all__ = ["BINS", "ramp_gain", "ramp_moments"]

Doubles: TypeAlias = NDArray[np.float64]

BINS = 40  # of equal count
TILES = 4  # along each axis, left out in turn
FEWEST = 10  # pixels in a bin
SPAN = 50
# Standard deviations of a difference that noise does not exceed: of normal noise it takes 1e-5 of the
# variance, and 1e-3 where the median of 15 frames is a third too low.
CLIP = 5.0


def ramp_moments(frames: NDArray[Any], live: Doubles | None = None) -> Doubles:
    """Mean, and variance from neighbouring frames, of each pixel: ``(frame, y, x) -> (2, y, x)``.

    What drifts slowly, a lamp or bleaching, is hardly in the differences, and what it leaves is taken away
    over spans of about ``SPAN`` frames: where light fades to 1/e in 150, half a per cent of the gain. Frames
    that are not ``live`` are left out: with 5 % of them zero the gain was a quarter too small, with 5 %
    repeated an eighth too large.
    """
    if live is not None and 2 <= np.count_nonzero(live) < len(frames):
        frames = frames[live != 0]
    cuts = np.linspace(0, len(frames), max(1, len(frames) // SPAN) + 1).astype(int)
    parts = [_variance(frames[a:b]) for a, b in itertools.pairwise(cuts)]
    return np.stack([frames.mean(axis=0, dtype="f8"), np.mean(parts, axis=0)])


def _variance(frames: NDArray[Any]) -> Doubles:
    """Half the mean square of the differences of neighbouring frames, none above ``CLIP`` of their medians.

    Their median alone, ``(1.4826 median)^2 / 2``, is the variance of normal noise. That of shot noise is
    broader: of a difference with an excess kurtosis K the square of the median is ``0.21 K`` too small, with
    ``K = n / 2 (n + read_noise^2)^2`` for n electrons. The loss grows with the light where the two noises
    are alike, and a ramp from 1 to 10 photons has 0.7 % more gain. A mean square knows no shape.
    """
    distance = pixels.distances(frames[1:], frames[:-1])
    median = pixels.pair_variance(distance, overlap=True)
    square = _clipped(distance, CLIP**2 * 2 * (median + pixels.ROUNDING))
    return np.asarray(np.maximum(square - _drift(frames) ** 2 / 2, 0))


def _drift(frames: NDArray[Any]) -> Doubles:
    """Change of a pixel from frame to frame, by the means of both halves."""
    half = len(frames) // 2
    early, late = (f.mean(axis=0, dtype="f8") for f in (frames[:half], frames[-half:]))
    return np.asarray((late - early) / (len(frames) - half))


@njit(nogil=True, cache=True)
def _clipped(distance, limit):  # type: ignore[no-untyped-def]
    """Half the mean square of distances (pair, y, x), of which none counts for more than its limit (y, x)."""
    total = np.zeros(limit.shape)
    for n in range(len(distance)):
        for y in range(limit.shape[0]):
            row, most, sums = distance[n, y], limit[y], total[y]
            for x in range(sums.size):
                square = np.float64(row[x]) ** 2
                # A NaN is one, of a sample or of the limit.
                sums[x] += most[x] if square > most[x] else square + 0 * most[x]
    return total / (2 * max(len(distance), 1))


def ramp_gain(
    moments: Doubles, offset: float | Doubles, read_noise: float, excess_noise: float, pairs: int
) -> Doubles:
    """The ``NUMBERS`` of ``corner_line``, then level, variance and count of ``BINS`` bins."""
    known = Known(float(np.mean(offset)), read_noise, excess_noise)
    level, variance = moments
    good = ~pixels.bad_pixels(level, variance, pairs)
    found = dict.fromkeys(NUMBERS, math.nan) | {"quality": 0.0}
    curve = np.full((3, BINS), np.nan)
    curve[2] = 0
    if good.sum() < FEWEST * BINS or level[good].min() == level[good].max():
        found["status"] = _nothing(level, variance)
        return _packed(found, curve)
    curve = _bins(level[good], variance[good])
    value, errors = _line(curve, known), _errors(level, variance, good, known)
    found |= numbers(value, errors)
    found["status"] = _status(found, float(curve[0, 0]))
    found["quality"] = error_word(found)
    if found["status"] != Reason.OK:
        kept = ("slope", "intercept", "status")
        found |= {n: math.nan for n in NUMBERS if n not in kept} | {"quality": 0.0}
    return _packed(found, curve)


def _packed(found: dict[str, float], curve: Doubles) -> Doubles:
    return np.concatenate([[float(found[n]) for n in NUMBERS], curve.ravel()])


def _nothing(level: Doubles, variance: Doubles) -> Reason:
    finite = np.isfinite(variance)
    if not finite.any():
        return Reason.NOT_FINITE
    steady = level[finite].min() == level[finite].max() and variance[finite].max() < pixels.ROUNDING
    return Reason.CONSTANT_SIGNAL if steady else Reason.TOO_FEW_BINS


def _bins(level: Doubles, variance: Doubles) -> Doubles:
    """Mean level, mean variance and number of the pixels in bins of equal count: (3, bin)."""
    order = np.argsort(level, kind="stable")
    starts = np.arange(BINS) * len(order) // BINS
    count = np.diff([*starts, len(order)])
    sums = (np.add.reduceat(a[order], starts) for a in (level, variance))
    return np.stack([*(s / count for s in sums), count.astype("f8")])


def _line(curve: Doubles, known: Known) -> dict[str, float]:
    """Theil-Sen: the median of the slopes between any two bins, robust at both ends.

    Slopes weighted by the distance of the bins over their noise were no more precise.
    """
    z, v = curve[:2]
    i, j = np.triu_indices(BINS, 1)
    apart = z[j] > z[i]
    slope = np.median((v[j] - v[i])[apart] / (z[j] - z[i])[apart]) if apart.any() else 0.0
    answers = camera(np.asarray(slope), np.median(v - slope * z), known)
    return {name: float(value) for name, value in answers.items()}


def _errors(
    level: Doubles, variance: Doubles, good: NDArray[np.bool_], known: Known
) -> dict[str, float]:
    """Standard errors from leaving out one tile after another."""
    rows, columns = (np.arange(n) * TILES // n for n in level.shape)
    tile = rows[:, None] * TILES + columns
    parts = [good & (tile != t) for t in np.unique(tile)]
    parts = [p for p in parts if FEWEST * BINS <= p.sum() < good.sum()]
    found = [_line(_bins(level[p], variance[p]), known) for p in parts]
    return {
        name: math.sqrt((len(found) - 1) * float(np.var([f[name] for f in found])))
        if len(found) > 1
        else math.inf
        for name in camera(np.ones(()), np.ones(()), known)
    }


def _status(found: dict[str, float], lowest: float) -> Reason:
    if not found["slope"] > 0:
        return Reason.SLOPE_NOT_POSITIVE
    if found["intercept"] + found["slope"] * lowest < LEAST_NOISE**2:
        return Reason.NOISE_BELOW_ROUNDING
    certain = found["gain_error"] <= MOST_ERROR * found["gain"]
    return Reason.OK if certain else Reason.GAIN_UNCERTAIN
