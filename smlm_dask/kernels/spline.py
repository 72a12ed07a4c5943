"""Shapes of a three-dimensional cubic spline on the pixels of many crops."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from smlm_dask.kernels.erf import FAST
from smlm_dask.kernels.projection import summarise

__all__ = ["plane_light", "spline_shapes"]

Array = NDArray[Any]


def plane_light(knots_y: Array, knots_x: Array, knots_z: Array, coefficients: Array) -> BSpline:
    """Integral of the spline over the plane, along its third axis; NaN outside the knots."""
    along_y, along_x = (
        BSpline(t, np.eye(len(t) - 4), 3).integrate(t[3], t[-4]) for t in (knots_y, knots_x)
    )
    light = np.einsum("zyx,y,x->z", coefficients, along_y, along_x)
    return BSpline(knots_z, light, 3, extrapolate=False)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
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
    _, ny, nx = coefficients.shape
    first_y, first_x = np.empty(rows, np.int64), np.empty(columns, np.int64)
    first_z = np.empty(1, np.int64)
    weights_y, weights_x, weights_z = np.empty((rows, 4)), np.empty((columns, 4)), np.empty((1, 4))
    plane, lines = np.empty((ny, nx)), np.empty((rows, nx))
    for k in range(mu_y.size):
        _axis(mu_y[k], pixel_y, knots_y, first_y, weights_y)
        _axis(mu_x[k], pixel_x, knots_x, first_x, weights_x)
        _axis(z[k], 0.0, knots_z, first_z, weights_z)
        total, square = 0.0, 0.0
        model[k] = 0.0
        if first_z[0] >= 0:
            xs = _reach(first_x)
            _along_z(first_z[0], weights_z, coefficients, _reach(first_y), xs, plane)
            _along_y(first_y, weights_y, plane, xs, lines)
            total, square = _along_x(first_y, first_x, weights_x, lines, k, model)
        if not np.isfinite(mu_y[k] + mu_x[k] + z[k]):
            total = np.nan
        summarise(total, square, 1.0, sums[k])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _axis(origin: float, pixel: float, knots: Array, first: Array, weights: Array) -> None:
    """First coefficient (-1 for none) and the four weights of each pixel centre of one axis.

    The weights are the basis functions that are not zero there, degree by degree (Cox-de Boor).
    """
    s = 3
    for j in range(first.size):
        x = j * pixel - origin
        found = _find(x, knots, s)
        first[j] = -1
        if found >= 0:
            s = found
            first[j] = s - 3
            weights[j, 0] = 1.0
            for degree in range(1, 4):
                carry = 0.0
                for r in range(degree):
                    right, left = knots[s + 1 + r], knots[s + 1 + r - degree]
                    piece = weights[j, r] / (right - left)
                    weights[j, r] = carry + (right - x) * piece
                    carry = (x - left) * piece
                weights[j, degree] = carry


@numba.njit(nogil=True, cache=True)
def _find(x: float, knots: Array, start: int) -> int:
    """Find the interval ``knots[s] <= x < knots[s + 1]``, upwards from ``start``.

    The last interval takes its end. Outside the knots, and for NaN: -1.
    """
    last = knots.size - 5
    while last > 3 and knots[last] == knots[last + 1]:  # an end repeated more often than needed
        last -= 1
    if not knots[3] <= x <= knots[last + 1]:
        return -1
    s = start
    while s < last and x >= knots[s + 1]:
        s += 1
    return s


@numba.njit(nogil=True, cache=True)
def _reach(first: Array) -> tuple[int, int]:
    """First and last + 1 coefficient that the pixels of one axis need; pixels ascend."""
    start, stop = 0, 0
    for i in first:
        if i >= 0:
            start = start if stop else i
            stop = i + 4
    return start, stop


# In the contractions indices are unsigned: one that could be negative costs a test each, and
# keeps the loop from SIMD.


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _along_z(
    first: int,
    weights: Array,
    coefficients: Array,
    ys: tuple[int, int],
    xs: tuple[int, int],
    plane: Array,
) -> None:
    n = np.uint64(first)
    a, b, c, d = weights[0, 0], weights[0, 1], weights[0, 2], weights[0, 3]
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for i in range(np.uint64(ys[0]), np.uint64(ys[1])):
        for j in range(np.uint64(xs[0]), np.uint64(xs[1])):
            near = a * coefficients[n, i, j] + b * coefficients[n + one, i, j]
            plane[i, j] = near + c * coefficients[n + two, i, j] + d * coefficients[n + three, i, j]


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _along_y(first: Array, weights: Array, plane: Array, xs: tuple[int, int], lines: Array) -> None:
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for y in range(first.size):
        if first[y] < 0:
            continue
        n = np.uint64(first[y])
        a, b, c, d = weights[y, 0], weights[y, 1], weights[y, 2], weights[y, 3]
        for j in range(np.uint64(xs[0]), np.uint64(xs[1])):
            near = a * plane[n, j] + b * plane[n + one, j]
            lines[y, j] = near + c * plane[n + two, j] + d * plane[n + three, j]


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _along_x(
    first_y: Array, first_x: Array, weights: Array, lines: Array, k: int, model: Array
) -> tuple[float, float]:
    """Make the pixels of crop ``k``; return their sum and the sum of their squares."""
    total, square = 0.0, 0.0
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for x in range(first_x.size):
        if first_x[x] < 0:
            continue
        n = np.uint64(first_x[x])
        a, b, c, d = weights[x, 0], weights[x, 1], weights[x, 2], weights[x, 3]
        for y in range(first_y.size):
            if first_y[y] >= 0:
                near = a * lines[y, n] + b * lines[y, n + one]
                value = near + c * lines[y, n + two] + d * lines[y, n + three]
                model[k, y, x] = value
                total += value
                square += value * value
    return total, square
