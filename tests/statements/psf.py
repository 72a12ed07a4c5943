"""The steps from movie to PSF width in plain numpy, float64 throughout."""

from __future__ import annotations

import numpy as np
from scipy.integrate import dblquad


def prepare(frames: np.ndarray, background: np.ndarray | None) -> np.ndarray:
    movie = frames.astype(np.float64)
    if background is not None:
        movie = np.maximum(movie - background, 0)
    return movie - movie.mean(axis=(1, 2), keepdims=True)


def power_spectrum(frames: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
    half = frames.shape[2] // 2 + 1
    spectra = np.fft.fft2(prepare(frames, background))[:, :, :half]
    return (np.abs(spectra) ** 2).sum(axis=0)


def autocorrelation(frames: np.ndarray, background: np.ndarray | None, size: int) -> np.ndarray:
    """Sum over pixels of each frame times itself, shifted round the edges; mean over frames."""
    movie, reach = prepare(frames, background), size // 2
    lags = range(-reach, reach + 1)
    return np.array(
        [[(movie * np.roll(movie, (i, j), (1, 2))).sum((1, 2)).mean() for j in lags] for i in lags]
    )


def normalise(image: np.ndarray) -> np.ndarray:
    middle = image.shape[0] // 2, image.shape[1] // 2
    others = np.ones(image.shape, bool)
    others[middle] = False
    low, high = image[others].min(), image[others].max()
    return np.where(others, image - low, image) / (high - low)


def psf_image(lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lags = normalise(lags)
    spectrum = np.fft.fftshift(np.fft.fft2(lags))
    root = np.fft.ifft2(np.fft.ifftshift(np.sqrt(np.abs(spectrum)))).real
    return lags, normalise(np.fft.fftshift(root))


def gaussian_pixel(
    y: float, x: float, sigma_x: float, sigma_y: float, theta: float, extent: tuple[float, float]
) -> float:
    """Peak-1 Gaussian averaged over a box that turns with the Gaussian.

    The box has the variance a pixel of ``extent`` (y, x) has along each of the Gaussian's axes.
    """
    cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    along_x, along_y = x * cos - y * sin, x * sin + y * cos
    high, wide = extent
    box_x = np.sqrt((wide * cos) ** 2 + (high * sin) ** 2)
    box_y = np.sqrt((wide * sin) ** 2 + (high * cos) ** 2)

    def density(v: float, u: float) -> float:
        return float(np.exp(-(u**2) / (2 * sigma_x**2) - v**2 / (2 * sigma_y**2)))

    left, low = along_x - box_x / 2, along_y - box_y / 2
    total, _ = dblquad(density, left, left + box_x, low, low + box_y, epsabs=1e-12)
    return total / (box_x * box_y)
