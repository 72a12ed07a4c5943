"""Shapes of point-spread functions on the pixels of crops, a batch of crops at a time.

Each class holds the columns of all emitters. ``sums`` makes the shapes of a batch in its own memory,
for the projection (`projection`); ``plane`` makes them as parts of the light that falls on the plane.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.crops import batch_length, column
from smlm_dask.kernels.erf import FAST, interval_share, signed_tail
from smlm_dask.kernels.projection import summarise
from smlm_dask.kernels.spline import plane_light, spline_shapes

__all__ = ["Spline", "Spots", "Straight", "Turned"]

Array = NDArray[Any]
Size = tuple[int, int]


class Spots(Protocol):
    """Shapes of ``n`` emitters, made for ``length`` of them at a time.

    ``sums(part, out)`` returns the shapes of a batch as `project` takes them, and fills ``out`` as
    `summarise` does. ``plane(part, model, out)`` also fills ``model`` (k, rows, columns) with the part
    of an emitter's light that falls on each pixel; NaN where there is no such shape.
    """

    length: int

    def sums(self, part: slice, out: Array) -> tuple[Array, ...]: ...  # noqa: D102

    def plane(self, part: slice, model: Array, out: Array) -> None: ...  # noqa: D102


class Straight:
    """Gaussians along the axes of the camera.

    Parameters
    ----------
    n : int
        Emitters.
    size : tuple of int
        Rows and columns of a crop.
    pixel : tuple of float
        Height and width of a pixel, in nm.
    mu_y, mu_x : array_like, shape (n,) or ()
        Centre, in nm from the centre of the crop's first pixel.
    sigma_y, sigma_x : array_like, shape (n,) or ()
        Widths, in nm.

    Notes
    -----
    The Gaussian is averaged over each pixel, within 3e-11 of its value however narrow it is and
    however far off. A pixel 8.37 sigma or more away from it gets exactly nothing: that is where
    ``erf`` is 1 in double precision.
    """

    def __init__(self, n: int, size: Size, pixel: tuple[float, float], *columns: ArrayLike) -> None:
        self.pixel, self.columns = pixel, [column(a, n) for a in columns]
        self.length = batch_length(n, 8 * (sum(size) + max(size) + 1))
        self.shares = np.empty((self.length, size[0])), np.empty((self.length, size[1]))
        self.tails = np.empty((max(size) + 1, self.length))

    def sums(self, part: slice, out: Array) -> tuple[Array, ...]:
        """Light on each row and on each column, twice."""
        y, x, sigma_y, sigma_x = (a[part].astype(np.float64) for a in self.columns)
        share_y, share_x = (a[: y.size] for a in self.shares)
        high, wide = self.pixel
        _separable_shapes(y, x, sigma_y, sigma_x, high, wide, self.tails, share_y, share_x, out)
        return share_y, share_x

    def plane(self, part: slice, model: Array, out: Array) -> None:
        """Products of the two; see `Spots`."""
        share_y, share_x = self.sums(part, out)
        _outer(share_y, share_x, model)
        model[np.isnan(out[:, 1])] = np.nan


class Turned:
    """Gaussians turned by an angle; parameters as for `Straight`, and the angle.

    Parameters
    ----------
    theta : array_like, shape (n,) or ()
        Angle in degrees: with ``x`` and ``y`` from the centre, ``sigma_x`` is the width along
        ``x cos(theta) - y sin(theta)`` and ``sigma_y`` along ``x sin(theta) + y cos(theta)``.

    Notes
    -----
    The Gaussian is averaged over a pixel that is turned with it.
    """

    def __init__(self, n: int, size: Size, pixel: tuple[float, float], *columns: ArrayLike) -> None:
        self.pixel, self.columns = pixel, [column(a, n) for a in columns]
        self.length = batch_length(n, 8 * size[0] * size[1])
        self.model = np.empty((self.length, *size))

    def sums(self, part: slice, out: Array) -> tuple[Array, ...]:
        """Light on each pixel, four times."""
        model = self.model[: len(out)]
        self._fill(part, model, out)
        return (model,)

    def plane(self, part: slice, model: Array, out: Array) -> None:
        """Light on each pixel; see `Spots`."""
        self._fill(part, model, out)
        model *= 0.25
        model[np.isnan(out[:, 1])] = np.nan

    def _fill(self, part: slice, model: Array, out: Array) -> None:
        y, x, sigma_y, sigma_x, theta = (a[part].astype(np.float64) for a in self.columns)
        _rotated_shapes(y, x, sigma_y, sigma_x, theta, self.pixel[0], self.pixel[1], model, out)


class Spline:
    """Three-dimensional cubic splines.

    Parameters
    ----------
    n, size, pixel
        As for `Straight`.
    columns : array_like, shape (n,) or ()
        Centre ``mu_y``, ``mu_x`` in nm from the centre of the crop's first pixel, axial position ``z``
        in nm.
    spline : array_like
        ``knots_y``, ``knots_x``, ``knots_z``, ascending, in nm from the centre, and the coefficients
        ``(len(knots_z) - 4, len(knots_y) - 4, len(knots_x) - 4)`` of the products of basis functions.

    Notes
    -----
    The spline is taken at ``(x - mu_x, y - mu_y, -z)`` with ``x`` and ``y`` the centre of a pixel,
    and is 0 outside its knots. Its plane ends with its knots.
    """

    def __init__(
        self,
        n: int,
        size: Size,
        pixel: tuple[float, float],
        columns: tuple[ArrayLike, ...],
        spline: tuple[ArrayLike, ...],
    ) -> None:
        self.pixel, self.columns = pixel, [column(a, n) for a in columns]
        self.spline = _check_spline(*spline)
        self.light = plane_light(*self.spline)
        self.length = batch_length(n, 8 * size[0] * size[1])
        self.model = np.empty((self.length, *size))

    def sums(self, part: slice, out: Array) -> tuple[Array, ...]:
        """Values of the spline."""
        model = self.model[: len(out)]
        self._fill(part, model, out)
        return (model,)

    def plane(self, part: slice, model: Array, out: Array) -> None:
        """Values over their sum in the plane; see `Spots`."""
        self._fill(part, model, out)
        z = self.columns[2][part].astype(np.float64)
        light = self.light(-z) / (self.pixel[0] * self.pixel[1])
        there = out[:, 1] != 0  # NaN: no such shape
        model[there] /= light[there, None, None]
        model[np.isnan(out[:, 1])] = np.nan

    def _fill(self, part: slice, model: Array, out: Array) -> None:
        y, x, z = (a[part].astype(np.float64) for a in self.columns)
        knots_y, knots_x, knots_z, coefficients = self.spline
        high, wide = self.pixel
        spline_shapes(y, x, z, high, wide, knots_y, knots_x, knots_z, coefficients, model, out)


def _check_spline(*spline: ArrayLike) -> list[Array]:
    """Knots and coefficients as arrays that fit each other: the loops do not check."""
    arrays = [np.array(array, np.float64, order="C") for array in spline]
    y, x, z, coefficients = (array.shape for array in arrays)
    if min(y, x, z) < (8,) or coefficients != (z[0] - 4, y[0] - 4, x[0] - 4):
        raise ValueError(
            f"coefficients: got shape {coefficients} for {z[0]}, {y[0]} and {x[0]} knots along z, "
            f"y and x; wanted {(z[0] - 4, y[0] - 4, x[0] - 4)}, and 8 knots or more. "
            "Fix: give the coefficients of a cubic spline in the order (z, y, x)"
        )
    return arrays


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _axis_shares(mu: Array, sigma: Array, pixel: float, tails: Array, shares: Array) -> None:
    """Light per pixel along one axis, pixel by pixel over all crops; neighbours share an edge."""
    for j in range(tails.shape[0]):
        for k in range(mu.size):
            tails[j, k] = signed_tail(((j - 0.5) * pixel - mu[k]) / (math.sqrt(2.0) * sigma[k]))
    for j in range(shares.shape[1]):
        for k in range(mu.size):
            shares[k, j] = interval_share(tails[j, k], tails[j + 1, k])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _separable_shapes(
    mu_y: Array,
    mu_x: Array,
    sigma_y: Array,
    sigma_x: Array,
    pixel_y: float,
    pixel_x: float,
    tails: Array,
    share_y: Array,
    share_x: Array,
    sums: Array,
) -> None:
    _axis_shares(mu_y, sigma_y, pixel_y, tails[: share_y.shape[1] + 1], share_y)
    _axis_shares(mu_x, sigma_x, pixel_x, tails[: share_x.shape[1] + 1], share_x)
    for k in range(mu_y.size):
        total_y, square_y = _moments(share_y[k])
        total_x, square_x = _moments(share_x[k])
        amplitude = _amplitude(mu_y[k] + mu_x[k], sigma_y[k] / pixel_y, sigma_x[k] / pixel_x)
        summarise(total_y * total_x, square_y * square_x, amplitude, sums[k])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _moments(shape: Array) -> tuple[float, float]:
    total = square = 0.0
    for j in range(shape.size):
        total += shape[j]
        square += shape[j] * shape[j]
    return total, square


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _amplitude(centre: float, sigma_y: float, sigma_x: float) -> float:
    """Factor from shares to a peak of 1 (widths in pixels); NaN if there is no such Gaussian."""
    if math.isfinite(centre) and 0.0 < sigma_y < np.inf and 0.0 < sigma_x < np.inf:
        return math.pi / 2 * sigma_y * sigma_x
    return np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _rotated_shapes(
    mu_y: Array,
    mu_x: Array,
    sigma_y: Array,
    sigma_x: Array,
    theta: Array,
    pixel_y: float,
    pixel_x: float,
    model: Array,
    sums: Array,
) -> None:
    """Pixel-integrated Gaussians along two turned axes: 4 tails per pixel, none of them shared."""
    _, rows, columns = model.shape
    pixels = rows * columns
    y, x = np.empty(pixels), np.empty(pixels)
    for i in range(pixels):
        y[i], x[i] = (i // columns) * pixel_y, (i % columns) * pixel_x
    shape = np.empty(pixels)
    for k in range(mu_y.size):
        cos, sin = math.cos(math.radians(theta[k])), math.sin(math.radians(theta[k]))
        per_x, per_y = 1 / (math.sqrt(2.0) * sigma_x[k]), 1 / (math.sqrt(2.0) * sigma_y[k])
        half_x, half_y = pixel_x / 2 * per_x, pixel_y / 2 * per_y
        from_y, from_x = mu_y[k], mu_x[k]
        for i in range(pixels):
            u = ((x[i] - from_x) * cos - (y[i] - from_y) * sin) * per_x
            v = ((x[i] - from_x) * sin + (y[i] - from_y) * cos) * per_y
            along_x = interval_share(signed_tail(u - half_x), signed_tail(u + half_x))
            along_y = interval_share(signed_tail(v - half_y), signed_tail(v + half_y))
            shape[i] = along_x * along_y
        model[k] = shape.reshape(rows, columns)
        total, square = _moments(shape)
        amplitude = _amplitude(
            from_y + from_x + theta[k], sigma_y[k] / pixel_y, sigma_x[k] / pixel_x
        )
        summarise(total, square, amplitude, sums[k])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _outer(share_y: Array, share_x: Array, model: Array) -> None:
    """Products of shares that are twice the light each."""
    for k in range(model.shape[0]):
        for y in range(model.shape[1]):
            for x in range(model.shape[2]):
                model[k, y, x] = 0.25 * share_y[k, y] * share_x[k, x]
