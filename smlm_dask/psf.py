"""Width and shape of the PSF from a whole movie: spatial autocorrelation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from smlm_dask import _graph
from smlm_dask.check import choice, whole_number
from smlm_dask.errors import ParameterError
from smlm_dask.kernels.gain import robust_moments
from smlm_dask.kernels.psf import power_spectrum
from smlm_dask.kernels.shape import psf_parts, psf_shape
from smlm_dask.movie import check_movie
from smlm_dask.variables import to_dataset

__all__ = ["estimate_psf"]


def estimate_psf(
    movie: xr.DataArray,
    /,
    *,
    window: int | None = 200,
    max_frames: int | None = 1000,
    size_pixels: int = 41,
    remove_background: bool = True,
    method: Literal["autocorrelation", "smlmlp"] = "autocorrelation",
) -> xr.Dataset:
    """Estimate the PSF of a movie of blinking emitters from its mean spatial autocorrelation.

    The median of its window is taken from each frame and what is below it is set to it; the frame's
    mean is taken off; ``AC`` is the mean over frames of the circular autocorrelation, from one sum of
    ``|FFT|^2``. The PSF image is ``IFFT(sqrt(|FFT(AC)|))``, scaled to its brightest pixel beside the
    centre. A rotated, pixel-integrated Gaussian and a cubic spline are put through it without the
    row and column of lag 0, which hold the noise of the camera.

    Assumes sparse blinking over a background that is steady within a window. Noise leaves a pedestal
    in the PSF image, so that the width comes out too large: some 3 % with 1000 photons over a
    background of 10, 11 % with 300, 24 % with 100. A fit that explains less than half
    of the image, or whose widths are below 0.3 pixels or as wide as the lags go, is no answer.

    Parameters
    ----------
    movie : (frame, y, x)
        Camera frames in adu.
    window : int or None
        Frames whose median is the background. None takes the whole movie's, read in its own pass.
    max_frames : int or None
        At most about so many frames, evenly spread, enter the autocorrelation; None takes all. 100
        give 0.5 %.
    size_pixels : int
        Odd height and width of the autocorrelation around lag 0.
    remove_background : bool
        Without it the frames go in as they are.
    method : "autocorrelation" or "smlmlp"
        ``smlmlp`` keeps that program's numbers: a fit whose amplitude may not pass 1.25 (2 to 26 %
        too wide), square pixels in the fit, and a column less for frames of odd width.

    Returns
    -------
    xarray.Dataset
        ``sigma``, ``sigma_x``, ``sigma_y`` () nm, ``theta`` () degree, ``amplitude``, ``pedestal``
        () 1, ``autocorrelation``, ``psf_image``, ``psf_fit``, ``psf_spline`` (lag_y, lag_x) 1,
        ``knots_x``, ``knots_y`` nm, ``coefficients`` (coefficient_y, coefficient_x), ``status`` ().
        All lazy. Where there is no fit the numbers are NaN and ``status`` says why.

    Raises
    ------
    SmlmError
        ``TooFewFramesError`` if the movie is shorter than the window, ``ParameterError`` for a size
        that is even, below 5 or larger than the frame.

    References
    ----------
    The same arithmetic as ``blink_spatial_psf`` of smlmlp. No published reference is known for the
    autocorrelation of a raw movie; of images of single emitters it is the power spectrum of the PSF.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(200, (64, 64), seed=1)
    >>> psf = smlm.estimate_psf(movie, size_pixels=21)
    >>> psf.sigma.attrs["units"]
    'nm'
    """
    _check(window, max_frames, size_pixels, method)
    movie = check_movie(movie, minimum_frames=window or 2)
    _check_size(size_pixels, movie)
    power, frames = _power(movie, window, max_frames, remove_background)
    pixel = float(movie["pixel_size_y"]), float(movie["pixel_size_x"])
    arguments = (frames, movie.shape[1:], size_pixels, pixel, method == "smlmlp")
    parts = psf_parts(size_pixels)
    length = sum(int(np.prod(shape)) for _, shape in parts.values())
    packed = _graph.finish(psf_shape, power, *arguments, shape=(length,))
    lags = np.arange(-(size_pixels // 2), size_pixels // 2 + 1)
    return to_dataset(
        "estimate_psf",
        {name: _part(packed, name, *part) for name, part in parts.items()},
        coords={"lag_y": lags, "lag_x": lags},
        passes=_passes(movie, window, remove_background),
        parameters={"window": window, "max_frames": max_frames, "method": method},
    )


def _check(window: int | None, max_frames: int | None, size_pixels: int, method: str) -> None:
    if window is not None:
        whole_number("window", window, at_least=2)
    if max_frames is not None:
        whole_number("max_frames", max_frames, at_least=1)
    whole_number("size_pixels", size_pixels, at_least=5)
    choice("method", method, ("autocorrelation", "smlmlp"))


def _passes(movie: xr.DataArray, window: int | None, remove_background: bool) -> int:
    whole = window is None and remove_background
    return 1 + _graph.stream_passes(_graph.movie_data(movie)) if whole else 1


def _check_size(size_pixels: int, movie: xr.DataArray) -> None:
    most = (min(movie.shape[1:]) + 1) // 2 * 2 - 1
    if not (size_pixels % 2 == 1 and 5 <= size_pixels <= most):
        raise ParameterError(
            "size_pixels",
            got=repr(size_pixels),
            wanted=f"an odd number from 5 to the frame's {min(movie.shape[1:])} pixels",
            fix=f"pass size_pixels={min(size_pixels - 1, most) | 1}"
            if most >= 5
            else "use a movie of at least 5 rows and columns",
        )


def _power(
    movie: xr.DataArray, window: int | None, max_frames: int | None, remove_background: bool
) -> tuple[Any, int]:
    """Summed power spectrum of the sampled frames, and how many they are."""
    data = _graph.movie_data(movie)
    length = window or 200
    count = len(movie) // length * length if window else len(movie)
    every = _stride(length, count, max_frames)
    median = _median(data, window, count) if remove_background else None
    if remove_background and not window:
        data = _graph.second_pass([data], [median])[0]
    sampled = _graph.whole_frames(_graph.every_frame(data, count, every))
    spectra = _graph.spectrum_map(
        power_spectrum,
        sampled,
        range(0, len(sampled), length // every),
        length // every,
        median,
        shape=(movie.shape[1], movie.shape[2] // 2 + 1),
        dtype="f8",
    )
    return _graph.total(spectra), len(sampled)


def _stride(length: int, count: int, max_frames: int | None) -> int:
    """Every so many frames, so that each window gives the same number."""
    least = 1 if max_frames is None else -(-count // max_frames)
    divisors = [n for n in range(1, length + 1) if length % n == 0]
    return min((n for n in divisors if n >= least), default=length)


def _median(data: Any, window: int | None, count: int) -> Any:
    """Median of the whole movie (y, x), or of each window (window, y, x), whole frames in a block."""
    if window is None:
        return _graph.whole(_graph.stream_selection(data)[0])
    kind = np.dtype("f4") if data.dtype == np.float32 else np.dtype("f8")
    # The very layer estimate_gain makes for the same window: computed together, it is made once.
    starts = range(0, count, window)
    moments = _graph.window_map(robust_moments, data, starts, window, lead=(2,), dtype=kind)
    return _graph.one_image_each(moments[:, 0])


def _part(
    packed: Any, name: str, begin: int, shape: tuple[int, ...]
) -> tuple[tuple[str, ...], Any]:
    dims = {0: (), 1: (f"knot_{name[-1]}",), 2: ("lag_y", "lag_x")}[len(shape)]
    dims = ("coefficient_y", "coefficient_x") if name == "coefficients" else dims
    value = packed[begin : begin + int(np.prod(shape))].reshape(shape) if shape else packed[begin]
    return dims, value.astype("u1") if name == "status" else value
