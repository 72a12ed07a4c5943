"""Light of single emitters: a crop projected on the shape of its point-spread function.

Each kernel goes through the crops a batch at a time. One loop makes the shapes and does not know
the type of the frames; a small one (`projection`) multiplies them with the pixels where they lie.
No crop is copied, no array of all shapes is made, and a new type of frames compiles quickly.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlm_dask.kernels.border import border_sums, remove_border_background
from smlm_dask.kernels.crops import batch_length, column, inside, place, slices
from smlm_dask.kernels.erf import FAST, interval_share, signed_tail
from smlm_dask.kernels.projection import Background, project, summarise
from smlm_dask.kernels.spline import spline_shapes

__all__ = [
    "border_sums",
    "gaussian_sums",
    "inside",
    "remove_border_background",
    "rotated_sums",
    "spline_sums",
]

Array = NDArray[Any]


def gaussian_sums(
    frames: Array,
    index: ArrayLike,
    y0: ArrayLike,
    x0: ArrayLike,
    size: tuple[int, int],
    level: ArrayLike,
    series: Array,
    series_index: ArrayLike,
    series_offset: ArrayLike,
    mu_y: ArrayLike,
    mu_x: ArrayLike,
    sigma_y: ArrayLike,
    sigma_x: ArrayLike,
    *,
    pixel: tuple[float, float],
) -> NDArray[np.float64]:
    """Project crops on Gaussians along the axes of the camera.

    Parameters
    ----------
    frames : ndarray of real numbers, shape (t, Y, X)
        Counts, in adu. Any strides, never written.
    index, y0, x0 : array_like of int, shape (n,)
        Frame within the block and first pixel of each crop. Given crops are frames with origin
        (0, 0) and index ``arange(n)``.
    size : tuple of int
        Rows and columns of a crop.
    level : array_like, shape (n,) or ()
        Background of each emitter, in adu per pixel.
    series : ndarray, shape (m, Y, X), or empty for none
        Background images, in adu, subtracted as well.
    series_index, series_offset : array_like, shape (t,)
        The background of frame ``f`` is ``series[series_index[f]] + series_offset[f]``.
    mu_y, mu_x : array_like, shape (n,) or ()
        Centre, in nm from the centre of the crop's first pixel.
    sigma_y, sigma_x : array_like, shape (n,) or ()
        Widths, in nm.
    pixel : tuple of float
        Height and width of a pixel, in nm.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Per emitter, with ``p = psf / sum(psf)`` over the pixels of the crop: ``sum(p (counts -
        background)) / sum(p^2)`` in adu, ``sum(psf)`` of a peak of 1, and ``sum(p^2)``. All
        NaN where the crop leaves the frame, or a centre or a width is not finite, or a
        width not positive. If no light falls on the crop, ``sum(psf)`` is 0 and the others are
        NaN.

    Notes
    -----
    The Gaussian is averaged over each pixel, within 3e-11 of its value however narrow it is and
    however far off. A pixel 8.37 sigma or more away from it gets exactly nothing: that is where
    ``erf`` is 1 in double precision.
    """
    crops = place(frames, index, y0, x0, size)
    background = Background(crops, level, series, series_index, series_offset)
    columns = [column(a, len(crops.valid)) for a in (mu_y, mu_x, sigma_y, sigma_x)]
    sums = np.empty((len(crops.valid), 3))
    length = batch_length(len(sums), 8 * (sum(size) + max(size) + 1))
    share_y, share_x = np.empty((length, size[0])), np.empty((length, size[1]))
    tails = np.empty((max(size) + 1, length))
    for part in slices(len(sums), length):
        y, x, width_y, width_x = (a[part].astype(np.float64) for a in columns)
        of_y, of_x = share_y[: y.size], share_x[: y.size]
        _separable_shapes(y, x, width_y, width_x, pixel[0], pixel[1], tails, of_y, of_x, sums[part])
        project(crops, background, part, (of_y, of_x), sums[part])
    return sums


def rotated_sums(
    frames: Array,
    index: ArrayLike,
    y0: ArrayLike,
    x0: ArrayLike,
    size: tuple[int, int],
    level: ArrayLike,
    series: Array,
    series_index: ArrayLike,
    series_offset: ArrayLike,
    mu_y: ArrayLike,
    mu_x: ArrayLike,
    sigma_y: ArrayLike,
    sigma_x: ArrayLike,
    theta: ArrayLike,
    *,
    pixel: tuple[float, float],
) -> NDArray[np.float64]:
    """Project crops on Gaussians turned by an angle.

    Parameters
    ----------
    frames : ndarray of real numbers, shape (t, Y, X)
        Counts, in adu. Any strides, never written.
    index, y0, x0 : array_like of int, shape (n,)
        Frame within the block and first pixel of each crop. Given crops are frames with origin
        (0, 0) and index ``arange(n)``.
    size : tuple of int
        Rows and columns of a crop.
    level : array_like, shape (n,) or ()
        Background of each emitter, in adu per pixel.
    series : ndarray, shape (m, Y, X), or empty for none
        Background images, in adu, subtracted as well.
    series_index, series_offset : array_like, shape (t,)
        The background of frame ``f`` is ``series[series_index[f]] + series_offset[f]``.
    mu_y, mu_x : array_like, shape (n,) or ()
        Centre, in nm from the centre of the crop's first pixel.
    sigma_y, sigma_x : array_like, shape (n,) or ()
        Widths along the turned axes, in nm.
    theta : array_like, shape (n,) or ()
        Angle in degrees: with ``x`` and ``y`` from the centre, ``sigma_x`` is the width along
        ``x cos(theta) - y sin(theta)`` and ``sigma_y`` along ``x sin(theta) + y cos(theta)``.
    pixel : tuple of float
        Height and width of a pixel, in nm.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Per emitter, with ``p = psf / sum(psf)`` over the pixels of the crop: ``sum(p (counts -
        background)) / sum(p^2)`` in adu, ``sum(psf)`` of a peak of 1, and ``sum(p^2)``. All
        NaN where the crop leaves the frame, or a centre, width or angle is not finite,
        or a width not positive.
        If no light falls on the crop, ``sum(psf)`` is 0 and the others are NaN.

    Notes
    -----
    The Gaussian is averaged over a pixel that is turned with it, within 3e-11 of its value however
    narrow it is and however far off. A pixel 8.37 sigma or more away from it gets exactly nothing:
    that is where ``erf`` is 1 in double precision.
    """
    crops = place(frames, index, y0, x0, size)
    background = Background(crops, level, series, series_index, series_offset)
    columns = [column(a, len(crops.valid)) for a in (mu_y, mu_x, sigma_y, sigma_x, theta)]
    sums = np.empty((len(crops.valid), 3))
    length = batch_length(len(sums), 8 * size[0] * size[1])
    models = np.empty((length, *size))
    for part in slices(len(sums), length):
        y, x, width_y, width_x, angle = (a[part].astype(np.float64) for a in columns)
        model = models[: y.size]
        _rotated_shapes(y, x, width_y, width_x, angle, pixel[0], pixel[1], model, sums[part])
        project(crops, background, part, (model,), sums[part])
    return sums


def spline_sums(
    frames: Array,
    index: ArrayLike,
    y0: ArrayLike,
    x0: ArrayLike,
    size: tuple[int, int],
    level: ArrayLike,
    series: Array,
    series_index: ArrayLike,
    series_offset: ArrayLike,
    mu_y: ArrayLike,
    mu_x: ArrayLike,
    z: ArrayLike,
    knots_y: ArrayLike,
    knots_x: ArrayLike,
    knots_z: ArrayLike,
    coefficients: ArrayLike,
    *,
    pixel: tuple[float, float],
) -> NDArray[np.float64]:
    """Project crops on a three-dimensional cubic spline.

    Parameters
    ----------
    frames : ndarray of real numbers, shape (t, Y, X)
        Counts, in adu. Any strides, never written.
    index, y0, x0 : array_like of int, shape (n,)
        Frame within the block and first pixel of each crop. Given crops are frames with origin
        (0, 0) and index ``arange(n)``.
    size : tuple of int
        Rows and columns of a crop.
    level : array_like, shape (n,) or ()
        Background of each emitter, in adu per pixel.
    series : ndarray, shape (m, Y, X), or empty for none
        Background images, in adu, subtracted as well.
    series_index, series_offset : array_like, shape (t,)
        The background of frame ``f`` is ``series[series_index[f]] + series_offset[f]``.
    mu_y, mu_x : array_like, shape (n,) or ()
        Centre, in nm from the centre of the crop's first pixel.
    z : array_like, shape (n,) or ()
        Axial position, in nm.
    knots_y, knots_x, knots_z : array_like
        Knots of the cubic spline along each axis, ascending, in nm from its centre.
    coefficients : array_like, shape (len(knots_z) - 4, len(knots_y) - 4, len(knots_x) - 4)
        Of the products of basis functions.
    pixel : tuple of float
        Height and width of a pixel, in nm.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Per emitter, with ``p = psf / sum(psf)`` over the pixels of the crop: ``sum(p (counts -
        background)) / sum(p^2)`` in adu, ``sum(psf)`` as it is, and ``sum(p^2)``. All
        NaN where the crop leaves the frame, or a position is not finite.
        If no light falls on the crop, ``sum(psf)`` is 0 and the others are NaN.

    Notes
    -----
    The spline is taken at ``(x - mu_x, y - mu_y, -z)`` with ``x`` and ``y`` the centre of a pixel,
    and is 0 outside its knots.
    """
    crops = place(frames, index, y0, x0, size)
    background = Background(crops, level, series, series_index, series_offset)
    columns = [column(a, len(crops.valid)) for a in (mu_y, mu_x, z)]
    *knots, values = _check_spline(knots_y, knots_x, knots_z, coefficients)
    sums = np.empty((len(crops.valid), 3))
    length = batch_length(len(sums), 8 * size[0] * size[1])
    models = np.empty((length, *size))
    for part in slices(len(sums), length):
        y, x, depth = (a[part].astype(np.float64) for a in columns)
        model = models[: y.size]
        spline_shapes(
            y, x, depth, pixel[0], pixel[1], knots[0], knots[1], knots[2], values, model, sums[part]
        )
        project(crops, background, part, (model,), sums[part])
    return sums


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
