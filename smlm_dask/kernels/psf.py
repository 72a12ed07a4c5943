"""Width of the emitters from the mean spatial autocorrelation of a movie's frames.

Power spectra add up, so a movie becomes one small array; one inverse transform, one square root
in Fourier space and one fit then give the point-spread function.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import BSpline, RectBivariateSpline
from scipy.optimize import OptimizeResult, least_squares
from scipy.special import erf

__all__ = [
    "GaussianFit",
    "Spline",
    "autocorrelation",
    "evaluate_spline",
    "fit_gaussian",
    "gaussian_image",
    "power_spectrum",
    "psf_image",
    "spline",
]

Image = NDArray[np.float64]
# Pixels transformed at a time: the batch and its spectrum stay in cache.
_BATCH_PIXELS = 1 << 17
# Where the fit starts: two widths in pixels, amplitude, offset, angle in degree.
_START = (1.0, 1.0, 1.0, 0.0, 0.0)


class GaussianFit(NamedTuple):
    """A rotated Gaussian, integrated over pixels, fitted to a PSF image.

    ``sigma_x`` and ``sigma_y`` are in nm, ``theta`` in degree, ``amplitude`` and ``offset`` in
    units of the image; ``variance`` holds the variances of the five in this order. All NaN where
    there is no answer.
    """

    sigma_x: float
    sigma_y: float
    theta: float
    amplitude: float
    offset: float
    variance: Image


class Spline(NamedTuple):
    """A bicubic spline: knots in nm along x and y, and float32 coefficients ``[iy, ix]``."""

    tx: NDArray[np.float32]
    ty: NDArray[np.float32]
    coeffs: NDArray[np.float32]


def power_spectrum(frames: NDArray[Any], background: NDArray[Any] | None = None) -> Image:
    """Sum over frames of the squared modulus of each frame's Fourier transform.

    Parameters
    ----------
    frames
        ``(frame, y, x)`` of any real dtype, whole frames.
    background
        ``(y, x)``, subtracted first, what falls below it being set to 0. None subtracts nothing.

    Returns
    -------
    ndarray
        ``(y, x // 2 + 1)`` float64, the frames' own means removed; spectra of blocks add up.
    """
    _, height, width = frames.shape
    power = np.zeros((height, width // 2 + 1))
    if frames.size == 0:
        return power
    with np.errstate(over="ignore"):
        floor = None if background is None else background.astype(np.float32)
    step = max(1, _BATCH_PIXELS // (height * width))
    for start in range(0, len(frames), step):
        batch = _centred(frames[start : start + step], floor)
        spectra = fft.rfft2(batch, axes=(1, 2), overwrite_x=True, workers=1)
        _add_power(spectra, power)
    return power


def _centred(frames: NDArray[Any], floor: NDArray[np.float32] | None) -> NDArray[np.float32]:
    # An infinity becomes NaN here, and the answer with it.
    with np.errstate(invalid="ignore", over="ignore"):
        batch = frames.astype(np.float32, order="C")  # the mean's last bit depends on the layout
        if floor is not None:
            batch -= floor
            np.maximum(batch, 0, out=batch)
        batch -= batch.mean(axis=(1, 2), keepdims=True)
    return batch


@njit(nogil=True, cache=True)
def _add_power(spectra: Any, power: Any) -> None:
    for spectrum in spectra:
        for y in range(power.shape[0]):
            for x in range(power.shape[1]):
                real, imag = np.float64(spectrum[y, x].real), np.float64(spectrum[y, x].imag)
                power[y, x] += real * real + imag * imag


def autocorrelation(
    power: Image,
    n_frames: int,
    shape: tuple[int, int],
    size_pixels: int,
    *,
    seed_width: bool = False,
) -> Image:
    """Mean circular autocorrelation of the frames around lag zero.

    Parameters
    ----------
    power
        Sum of :func:`power_spectrum` over ``n_frames`` frames of ``shape`` (y, x).
    size_pixels
        Width of the square of lags; an even number gives one more.
    seed_width
        Transform back to an even width, as smlmlp does: a movie of odd width loses a column and
        its lags along x are stretched.

    Returns
    -------
    ndarray
        ``(size, size)`` float64, lag zero in the middle; NaN without frames.
    """
    reach = size_pixels // 2
    width = 2 * (power.shape[1] - 1) if seed_width else shape[1]
    rows, columns = (slice(n // 2 - reach, n // 2 + reach + 1) for n in shape)
    if size_pixels < 1 or rows.start < 0 or columns.start < 0:
        raise ValueError(_too_large(size_pixels, shape))
    if rows.stop > shape[0] or columns.stop > width:
        raise ValueError(_too_large(size_pixels, (shape[0], width)))
    if n_frames == 0:
        return np.full((2 * reach + 1, 2 * reach + 1), np.nan)
    lags = fft.fftshift(fft.irfft2(power, s=(shape[0], width), workers=1))
    return np.asarray(lags[rows, columns] / n_frames, np.float64)


def _too_large(size_pixels: int, shape: tuple[int, int]) -> str:
    return f"got {size_pixels} lags of frames of shape {shape}, wanted 1 to the frame's width"


def psf_image(lags: Image) -> tuple[Image, Image]:
    """Normalise the autocorrelation and take its square root in Fourier space.

    Parameters
    ----------
    lags
        ``(size, size)`` from :func:`autocorrelation`, size odd.

    Returns
    -------
    lags, psf
        Both ``(size, size)`` float64 with least value 0 and greatest 1 away from the middle
        pixel, which noise lifts; NaN where the frames hold no structure.
    """
    lags = _normalise(lags)
    # fftshift around the root and back would cancel: only the last one moves anything.
    root = fft.ifft2(np.sqrt(np.abs(fft.fft2(lags, workers=1))), workers=1).real
    return lags, _normalise(fft.fftshift(root))


def _normalise(image: Image) -> Image:
    """Scale to 0..1 without the middle pixel, which is divided but not shifted."""
    middle = image.shape[0] // 2, image.shape[1] // 2
    others = np.delete(image.ravel(), middle[0] * image.shape[1] + middle[1])
    if not np.isfinite(image).all() or others.size == 0 or np.ptp(others) == 0:
        return np.full(image.shape, np.nan)
    shifted: Image = image - others.min()
    shifted[middle] = image[middle]
    shifted /= np.ptp(others)
    return shifted


def fit_gaussian(
    psf: Image,
    pixel_size: tuple[float, float],
    *,
    max_amplitude: float = 1.25,
    seed_pixels: bool = False,
) -> GaussianFit:
    """Fit a rotated, pixel-integrated Gaussian to a PSF image, its middle row and column left out.

    Parameters
    ----------
    psf
        ``(size, size)`` from :func:`psf_image`.
    pixel_size
        ``(y, x)`` in nm.
    max_amplitude
        Upper bound of the amplitude; its lower bound is 0.75. A narrow PSF, scaled to its nearest
        neighbour, has a true amplitude of 1.5 to 2.1.
    seed_pixels
        Fit as smlmlp does: integrate over squares of the smaller pixel size even where pixels are
        oblong, and keep the angle within 0 to 90 degree on the way, where the fit may get stuck at
        0 when the answer is beyond 45. Otherwise the angle is free and turned back at the end.
    """
    unit = min(pixel_size)
    reach = psf.shape[0] // 2
    if reach < 2 or not np.isfinite(psf).all():
        return _no_fit()
    off_axis = np.ix_(*[np.delete(np.arange(len(psf)), reach)] * 2)
    y, x = (axis[off_axis].ravel() for axis in _grid(reach, pixel_size))
    seen, extent = psf[off_axis].ravel(), _extent(pixel_size, seed_pixels)

    def residual(parameters: Image) -> Image:
        sigma_x, sigma_y, amplitude, offset, theta = map(float, parameters)
        return amplitude * _gaussian(y, x, sigma_x, sigma_y, theta, extent) + offset - seen

    low, high = (0, 90) if seed_pixels else (-math.inf, math.inf)
    bounds = [0, 0, 0.75, -0.25, low], [reach, reach, max_amplitude, 0.25, high]
    # What curve_fit does with bounds, without its warning where the covariance is singular.
    found = least_squares(residual, _START, bounds=bounds, method="trf")
    return _to_fit(found, unit) if found.success else _no_fit()


def _to_fit(found: OptimizeResult, unit: float) -> GaussianFit:
    """Give widths their unit and turn the angle back to 0..90 degree, a quarter swapping them."""
    theta = float(found.x[4])
    quarters = 0 if 0 <= theta <= 90 else math.floor(theta / 90)
    order = [1, 0, 4, 2, 3] if quarters % 2 else [0, 1, 4, 2, 3]
    scale = np.array([unit, unit, 1, 1, 1])
    values = found.x[order] * scale - [0, 0, 90 * quarters, 0, 0]
    sigma_x, sigma_y, theta, amplitude, offset = map(float, values)
    variance = _variances(found)[order] * scale**2
    return GaussianFit(sigma_x, sigma_y, theta, amplitude, offset, variance)


def _variances(found: OptimizeResult) -> Image:
    """Diagonal of the covariance, residual scatter over the directions the data determine."""
    freedom = len(found.fun) - len(found.x)
    if freedom <= 0:
        return np.full(len(found.x), np.nan)
    _, size, axes = np.linalg.svd(found.jac, full_matrices=False)
    known = size > np.finfo(float).eps * max(found.jac.shape) * size[0]
    spread = (axes[known] / size[known, None]) ** 2
    return np.asarray(spread.sum(axis=0) * 2 * found.cost / freedom, np.float64)


def _no_fit() -> GaussianFit:
    nothing = math.nan
    return GaussianFit(nothing, nothing, nothing, nothing, nothing, np.full(5, np.nan))


def gaussian_image(
    fit: GaussianFit,
    size_pixels: int,
    pixel_size: tuple[float, float],
    *,
    seed_pixels: bool = False,
) -> Image:
    """Draw the fitted Gaussian with amplitude 1 and no offset on ``(size, size)`` pixels."""
    unit = min(pixel_size)
    y, x = _grid(size_pixels // 2, pixel_size)
    widths = fit.sigma_x / unit, fit.sigma_y / unit
    return _gaussian(y, x, *widths, fit.theta, _extent(pixel_size, seed_pixels))


def _grid(reach: int, pixel_size: tuple[float, float]) -> tuple[Image, Image]:
    """Centres of pixels in units of the smaller pixel size."""
    steps = np.arange(-reach, reach + 1)
    y, x = (steps * (size / min(pixel_size)) for size in pixel_size)
    return np.broadcast_to(y[:, None], (len(y), len(x))), np.broadcast_to(x, (len(y), len(x)))


def _extent(pixel_size: tuple[float, float], seed_pixels: bool) -> tuple[float, float]:
    if seed_pixels:
        return 1.0, 1.0
    return pixel_size[0] / min(pixel_size), pixel_size[1] / min(pixel_size)


def _gaussian(
    y: Image,
    x: Image,
    sigma_x: float,
    sigma_y: float,
    theta: float,
    extent: tuple[float, float],
) -> Image:
    """Peak-1 Gaussian, its x axis along (cos, -sin) of (x, y), integrated over pixels.

    The pixel enters each axis as a box with the pixel's own variance along that axis: exact for
    angles of 0 and 90 degree; a square stays itself at any angle.
    """
    cos, sin = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    box_x = math.hypot(extent[1] * cos, extent[0] * sin)
    box_y = math.hypot(extent[1] * sin, extent[0] * cos)
    along_x = _integrated(x * cos - y * sin, sigma_x, box_x)
    return along_x * _integrated(x * sin + y * cos, sigma_y, box_y)


def _integrated(x: Image, sigma: float, extent: float) -> Image:
    scale = math.sqrt(2) * sigma
    with np.errstate(over="ignore"):  # the fit may try a width of next to nothing
        area = erf((x + extent / 2) / scale) - erf((x - extent / 2) / scale)
    return np.asarray(math.sqrt(math.pi / 2) * sigma / extent * area, np.float64)


def spline(psf: Image, pixel_size: tuple[float, float]) -> Spline:
    """Interpolate a PSF image by a bicubic spline, its middle row and column left out.

    Parameters
    ----------
    psf
        ``(size, size)``, size odd and at least 5.
    pixel_size
        ``(y, x)`` in nm.
    """
    reach = psf.shape[0] // 2
    count = 2 * reach
    if reach < 2 or not np.isfinite(psf).all():
        knots = np.full(count + 4, np.nan, np.float32)
        return Spline(knots, knots.copy(), np.full((count, count), np.nan, np.float32))
    steps = np.delete(np.arange(-reach, reach + 1), reach)
    kept = psf[np.ix_(steps + reach, steps + reach)]
    y, x = (steps * size for size in pixel_size)
    ty, tx, coeffs = (
        np.asarray(part, np.float32) for part in RectBivariateSpline(y, x, kept, s=0).tck
    )
    return Spline(tx, ty, coeffs.reshape(count, count))


def evaluate_spline(
    tx: NDArray[np.float32],
    ty: NDArray[np.float32],
    coeffs: NDArray[np.float32],
    y: Image,
    x: Image,
) -> Image:
    """Evaluate on the grid of 1-D positions ``y`` and ``x`` in nm: ``(len(y), len(x))``.

    Zero outside the knots' span, NaN for a spline of NaN.
    """
    if not (np.isfinite(tx).all() and np.isfinite(ty).all()):
        return np.full((len(y), len(x)), np.nan)
    return np.asarray(_basis(ty, y) @ coeffs.astype(np.float64) @ _basis(tx, x).T, np.float64)


def _basis(knots: NDArray[np.float32], positions: Image) -> Image:
    """Every cubic B-spline at every position: ``(position, spline)``."""
    low, high = knots[3], knots[-4]
    # Compared as float32: a position on the border is one with the knot that was rounded there.
    rounded = np.asarray(positions, np.float32)
    values = BSpline(knots.astype(np.float64), np.eye(len(knots) - 4), 3)(
        np.clip(positions, low, high)
    )
    return np.asarray(values * ((rounded >= low) & (rounded <= high))[:, None], np.float64)
