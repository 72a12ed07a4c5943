"""smlmlp's PSF from a movie's power spectrum: all that follows the sums, in one packed array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.psf import (
    GaussianFit,
    autocorrelation,
    evaluate_spline,
    fit_gaussian,
    gaussian_image,
    psf_image,
    spline,
)
from smlm_dask.kernels.reason import Reason

__all__ = ["psf_parts", "psf_shape"]

LARGEST_AMPLITUDE = 1.25
NO_FIT = GaussianFit(np.nan, np.nan, np.nan, np.nan, np.nan, np.full(5, np.nan))
NUMBERS = ("sigma", "sigma_x", "sigma_y", "theta", "amplitude", "pedestal", "status")
IMAGES = ("autocorrelation", "psf_image", "psf_fit", "psf_spline")


def psf_parts(size: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Where each part of ``psf_shape`` begins, and its shape, for ``size`` lags."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(NUMBERS, ())
    shapes |= dict.fromkeys(IMAGES, (size, size))
    shapes |= {"knots_x": (size + 3,), "knots_y": (size + 3,), "coefficients": (size - 1, size - 1)}
    begins = np.cumsum([0, *(int(np.prod(s)) for s in shapes.values())]).tolist()
    return {
        name: (begin, shape) for begin, (name, shape) in zip(begins, shapes.items(), strict=False)
    }


def psf_shape(
    power: NDArray[np.float64],
    n_frames: int,
    shape: tuple[int, int],
    size: int,
    pixel_size: tuple[float, float],
) -> NDArray[np.float64]:
    """Numbers, images and spline of the PSF, flat, in the order of ``psf_parts``.

    With three habits of smlmlp: a lost column for odd widths, square pixels in the fit, and a bound of
    its amplitude that a narrow PSF, scaled to its nearest neighbour, always exceeds.
    """
    lags, psf = psf_image(autocorrelation(power, n_frames, shape, size, seed_width=True))
    fit = fit_gaussian(psf, pixel_size, max_amplitude=LARGEST_AMPLITUDE, seed_pixels=True)
    reason = Reason.OK if np.isfinite(power).all() else Reason.NOT_FINITE
    reason = reason or _reason(psf, fit)
    fit = fit if reason == Reason.OK else NO_FIT
    level = (psf - fit.offset) / fit.amplitude
    drawn = gaussian_image(fit, size, pixel_size, seed_pixels=True)
    tx, ty, coefficients = spline(level, pixel_size)
    y, x = (np.arange(-(size // 2), size // 2 + 1) * np.float64(p) for p in pixel_size)
    curve = evaluate_spline(tx, ty, coefficients, y, x)
    numbers = np.sqrt(fit.sigma_x * fit.sigma_y), *fit[:5], reason
    return _pack(numbers, lags, level, drawn, curve, tx, ty, coefficients)


def _pack(*parts: Any) -> NDArray[np.float64]:
    return np.concatenate([np.ravel(part).astype("f8") for part in parts])


def _reason(psf: NDArray[np.float64], fit: GaussianFit) -> Reason:
    if not np.isfinite(psf).all():
        return Reason.CONSTANT_SIGNAL
    return Reason.OK if np.isfinite(fit.sigma_x) else Reason.FIT_FAILED
