"""Photons of emitters that shine into each other's crops, all of a crop's emitters fitted at once.

The model of `likelihood` with a shape for each emitter near a crop. What the others have of it is known
from this crop alone, so that errors hold what they leave open.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.likelihood import FREE, LEAST, UPDATES, prior_precision
from smlm_dask.kernels.projection import ANY_ORDER

__all__ = ["fit_together", "near"]

Array = NDArray[Any]

SAME = 1e-6  # of the information on an emitter: less of its own means that it is where another is


def near(frame: Array, y: Array, x: Array, reach: tuple[float, float]) -> tuple[Array, Array]:
    """Pairs of emitters of a frame that are no farther apart than ``reach`` along y and x.

    Parameters
    ----------
    frame : ndarray of int, shape (n,)
        In order.
    y, x : ndarray, shape (n,)
        Places; pairs with one that is not known do not count.
    reach : tuple of float
        In the unit of the places.

    Returns
    -------
    first, other : ndarray of int, shape (pairs,)
        Each pair twice, ordered by ``first``.
    """
    found = _near(frame, y, x, *reach, np.empty((0, 2), np.int64))
    pairs = np.empty((found, 2), np.int64)
    _near(frame, y, x, *reach, pairs)
    return pairs[:, 0], pairs[:, 1]


@numba.njit(nogil=True, cache=True)
def _near(frame: Array, y: Array, x: Array, high: float, wide: float, pairs: Array) -> int:
    """Count the pairs, and write down as many as there is room for."""
    found = begin = 0
    for i in range(frame.size):
        while frame[begin] < frame[i]:
            begin += 1
        j = begin
        while j < frame.size and frame[j] == frame[i]:
            if j != i and abs(y[j] - y[i]) <= high and abs(x[j] - x[i]) <= wide:
                if found < len(pairs):
                    pairs[found, 0], pairs[found, 1] = i, j
                found += 1
            j += 1
    return found


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fit_together(
    shape: Array,
    begin: Array,
    signal: Array,
    spread: Array,
    pixels: Array,
    error: Array,
    relative: bool,
    known: int,
    out: Array,
) -> None:
    """Fit crops with several emitters; parameters as for `likelihood.fit_crops` where not said.

    Parameters
    ----------
    shape : ndarray, shape (shapes, pixels)
        Those of the crops' own emitters and of the others near them.
    begin : ndarray of int, shape (n + 1,)
        Where the shapes of each crop begin, its own emitter's first.
    """
    for k in range(len(out)):
        design = np.ones((begin[k + 1] - begin[k] + 1, shape.shape[1]))
        design[:-1] = shape[begin[k] : begin[k + 1]]
        _fit(design, signal[k], spread[k], pixels[k], error[k], relative, known, out[k])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fit(
    design: Array,
    signal: Array,
    spread: Array,
    pixels: float,
    error: float,
    relative: bool,
    known: int,
    out: Array,
) -> None:
    """Rows of ``design`` are the shapes, and 1 for the level, which stands last in all that follows."""
    n = len(design)
    value, one, weight = np.zeros(n), np.zeros(n), np.empty(signal.size)
    normal = np.empty((n, n))
    value[-1] = signal.sum() / pixels if known == FREE else 0.0
    own, precision = error, prior_precision(error, known)
    start = 2 if relative else 1
    for update in range(start + UPDATES):
        if update < start:
            value[:-1] = 0.0
        _weigh(design, spread, value, weight)
        if relative and update < start:
            own = error * math.sqrt(pixels / weight.sum())
            precision = prior_precision(own, known)
        _equations(design, signal, weight, precision, normal, value)
        _solve(normal, value)
    _weigh(design, spread, value, weight)
    out[0], out[2] = value[0], value[-1]
    chi2 = _chi2(design, signal, weight, value)
    out[4] = (chi2 - pixels + 1.0) / math.sqrt(2.0 * max(pixels - 1.0, 1.0))
    one[0] = 1.0
    _equations(design, signal, weight, precision, normal, np.empty(n))
    _solve(normal, one)
    share, rise = _response(design, weight, one)
    rise = rise if value[0] > 0.0 else 0.0
    share = share * own if precision == np.inf else 0.0
    out[1] = math.sqrt(one[0] + share * share + 2.0 * rise * rise)
    one[:] = 0.0
    one[-1] = 1.0
    _solve(normal, one)
    out[3] = own if precision == np.inf else math.sqrt(one[-1])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _weigh(design: Array, spread: Array, value: Array, weight: Array) -> None:
    """Make the weights of pixels of the model's variance in them."""
    weight[:] = spread
    for j in range(len(design)):
        bright = max(value[j], 0.0) if j < len(design) - 1 else value[j]
        for i in range(weight.size):
            weight[i] += bright * design[j, i]
    for i in range(weight.size):
        weight[i] = 1.0 / max(weight[i], LEAST)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _equations(
    design: Array, signal: Array, weight: Array, precision: float, normal: Array, right: Array
) -> None:
    """Make the normal equations; a level that is certain is 0."""
    last = len(design) - 1
    for j in range(last + 1):
        right[j] = 0.0
        for i in range(weight.size):
            right[j] += weight[i] * design[j, i] * signal[i]
        for k in range(j + 1):
            total = 0.0
            for i in range(weight.size):
                total += weight[i] * design[j, i] * design[k, i]
            normal[j, k] = normal[k, j] = total
    normal[last, last] += precision
    if precision == np.inf:
        normal[last], normal[:, last], right[last] = 0.0, 0.0, 0.0
        normal[last, last] = 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _solve(normal: Array, right: Array) -> None:
    """Solve in place by Cholesky's factors; NaN where emitters cannot be told apart."""
    factor = normal.copy()
    n = len(right)
    for j in range(n):
        for k in range(j):
            factor[j, k] -= (factor[j, :k] * factor[k, :k]).sum()
            factor[j, k] /= factor[k, k]
        left = factor[j, j] - (factor[j, :j] ** 2).sum()
        factor[j, j] = math.sqrt(left) if left > SAME * factor[j, j] else np.nan
    for j in range(n):
        right[j] = (right[j] - (factor[j, :j] * right[:j]).sum()) / factor[j, j]
    for j in range(n - 1, -1, -1):
        right[j] = (right[j] - (factor[j + 1 :, j] * right[j + 1 :]).sum()) / factor[j, j]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _response(design: Array, weight: Array, inverse: Array) -> tuple[float, float]:
    """What a level adds to the photons, and how fast their variance rises with them."""
    level = rise = 0.0
    for i in range(weight.size):
        share = 0.0
        for j in range(len(design)):
            share += inverse[j] * design[j, i]
        share *= weight[i]
        level += share
        rise += share * share * design[0, i]
    return level, rise


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _chi2(design: Array, signal: Array, weight: Array, value: Array) -> float:
    total = 0.0
    for i in range(weight.size):
        left = signal[i]
        for j in range(len(design)):
            left -= value[j] * design[j, i]
        total += weight[i] * left * left
    return total
