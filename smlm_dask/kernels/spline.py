"""Shapes of a three-dimensional cubic spline on the pixels of many crops."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.projection import summarise

__all__ = ["spline_shapes"]

Array = NDArray[Any]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _span(x: float, knots: Array, start: int) -> int:
    """The interval ``knots[s] <= x < knots[s + 1]``, searched upwards from ``start``.

    The last interval takes its end. Outside the knots (and for NaN): -1.
    """
    last = knots.size - 5
    if not knots[3] <= x <= knots[last + 1]:
        return -1
    s = start
    while s < last and x >= knots[s + 1]:
        s += 1
    while s > 3 and knots[s] == knots[s + 1]:  # the end of knots that repeat early
        s -= 1
    return s


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _weights(x: float, knots: Array, s: int, weights: Array) -> None:
    """The four cubic basis functions that are not zero at ``x``, degree by degree (Cox-de Boor)."""
    weights[0] = 1.0
    for degree in range(1, 4):
        carry = 0.0
        for r in range(degree):
            right, left = knots[s + 1 + r], knots[s + 1 + r - degree]
            piece = weights[r] / (right - left)
            weights[r] = carry + (right - x) * piece
            carry = (x - left) * piece
        weights[degree] = carry


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _axis(origin: float, pixel: float, knots: Array, spans: Array, weights: Array) -> None:
    """Interval and weights of each pixel centre of one axis."""
    s = 3
    for j in range(spans.size):
        x = j * pixel - origin
        spans[j] = _span(x, knots, s)
        if spans[j] >= 0:
            s = spans[j]
            _weights(x, knots, s, weights[j])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _range(spans: Array) -> tuple[int, int]:
    """First and last + 1 coefficient that the pixels of one axis need."""
    first, stop = spans.max(), 0
    for s in spans:
        if s >= 0:
            first, stop = min(first, s - 3), s + 1
    return first, stop


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _mix(weights: Array, rows: Array, first: int, stop: int, out: Array) -> None:
    """``out = weights @ rows`` over four rows, from ``first`` to ``stop``."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    r0, r1, r2, r3 = rows[0], rows[1], rows[2], rows[3]
    for i in range(first, stop):
        out[i] = a * r0[i] + b * r1[i] + c * r2[i] + d * r3[i]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def spline_shapes(
    mu_y: Array,
    mu_x: Array,
    z: Array,
    pixel_y: float,
    pixel_x: float,
    knots_y: Array,
    knots_x: Array,
    knots_z: Array,
    coefficients: Array,
    model: Array,
    sums: Array,
) -> None:
    """Evaluate the spline on each crop: coefficients along z first, then y, then x.

    Three small contractions instead of 64 products per pixel, over the coefficients in reach only.
    """
    _, rows, columns = model.shape
    nz, ny, nx = coefficients.shape
    spans_y, spans_x = np.empty(rows, np.int64), np.empty(columns, np.int64)
    span_z = np.empty(1, np.int64)
    weights_y, weights_x = np.empty((rows, 4)), np.empty((columns, 4))
    weights_z = np.empty((1, 4))
    plane, line = np.zeros((ny, nx)), np.zeros(nx)
    for k in range(mu_y.size):
        _axis(mu_y[k], pixel_y, knots_y, spans_y, weights_y)
        _axis(mu_x[k], pixel_x, knots_x, spans_x, weights_x)
        _axis(z[k], 0.0, knots_z, span_z, weights_z)
        model[k] = 0.0
        total = square = 0.0
        if span_z[0] >= 0:
            first_y, stop_y = _range(spans_y)
            first_x, stop_x = _range(spans_x)
            below = span_z[0] - 3
            for i in range(first_y, stop_y):
                _mix(weights_z[0], coefficients[below : below + 4, i], first_x, stop_x, plane[i])
            for y in range(rows):
                if spans_y[y] < 0:
                    continue
                near = spans_y[y] - 3
                _mix(weights_y[y], plane[near : near + 4], first_x, stop_x, line)
                for x in range(columns):
                    i = spans_x[x] - 3
                    if i >= 0:
                        w = weights_x[x]
                        value = w[0] * line[i] + w[1] * line[i + 1]
                        value += w[2] * line[i + 2] + w[3] * line[i + 3]
                        model[k, y, x] = value
                        total += value
                        square += value * value
        if not np.isfinite(mu_y[k] + mu_x[k] + z[k]):
            total = np.nan
        summarise(total, square, 1.0, sums[k])
