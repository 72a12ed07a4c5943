"""Width and shape of the PSF from a whole movie: how pixels fluctuate together."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from smlm_dask import _graph
from smlm_dask.check import choice, whole_number
from smlm_dask.errors import ParameterError
from smlm_dask.kernels.fluctuation import lag_sums, strip_edges
from smlm_dask.kernels.gain import robust_moments
from smlm_dask.kernels.psf import power_spectrum
from smlm_dask.kernels.shape import psf_parts, psf_shape
from smlm_dask.kernels.width import width_parts, width_shape
from smlm_dask.movie import check_movie
from smlm_dask.variables import to_dataset

__all__ = ["WINDOW", "estimate_psf"]

WINDOW = 50  # frames: short beside bleaching and drift, long beside a sighting
GROUPS = 32  # in time, at most

Parts = dict[str, tuple[int, tuple[int, ...]]]


def estimate_psf(
    movie: xr.DataArray,
    /,
    *,
    window: int | None = None,
    max_frames: int | None = 400,
    size_pixels: int = 41,
    remove_background: bool = True,
    method: Literal["fluctuation", "smlmlp"] = "fluctuation",
    noisy_lags: Literal["row", "column", "cross"] = "row",
) -> xr.Dataset:
    """Estimate the PSF of a movie of blinking emitters from how pixels fluctuate together.

    From each frame the mean of its window is taken off, and of the mean's pattern as much as the
    lamp flickered. Products of pixels a lag apart are summed over frames and over strips of the sensor.
    Two pixels share what they see of one emitter, so their correlation is that of the PSF with itself:
    ``amplitude * Gaussian(2 * covariance) + pedestal``, averaged over the pixels exactly. It is fitted
    without the lags along the read-out's rows, where the noise of the camera lies.

    Assumes emitters that blink independently of each other and stay in place while they are on. Static
    light of any shape, bleaching, flicker, drift of the background, fixed pattern, hot pixels and slow
    blinking do not bias it. These do: emitters that stay on for a window and move (narrower along the
    way, by some 4 % for half a pixel in a window's time), neighbours that blink together (wider), a PSF
    with skirts or rings (the width is that of its core, within 4 % of a least-squares fit), and a sample
    in depth (a mean over depths, the bright ones counting twice). The error cannot tell of these.
    Light that only moves, as of beads that shake, has no width: ``emitters_move``.

    Parameters
    ----------
    movie : (frame, y, x)
        Camera frames in adu.
    window : int or None
        Frames whose mean is taken off; None takes 50. Compare 20 and 200: if the widths differ by more
        than three errors, emitters move. ``smlmlp``: frames whose median is the background; None takes
        the whole movie's, read in its own pass.
    max_frames : int or None
        At most so many frames enter, as whole windows, evenly spread; None takes all. Some 400
        sightings of emitters of 1000 photons give 1 %, ten times as many of 100 photons. The frames
        between are read as well, for what else is computed of the movie; pick the windows beforehand
        where nothing is.
    size_pixels : int
        Odd height and width of the autocorrelation around lag 0. Widths up to 0.11 of it are found.
    remove_background : bool
        Without it the frames go in as they are; ``smlmlp`` only.
    method : "fluctuation" or "smlmlp"
        ``smlmlp`` keeps that program's numbers, without errors: frames above the median, the PSF image
        from the root of their power spectrum, and a fit whose amplitude may not pass 1.25. It is 2 to
        26 % too wide.
    noisy_lags : "row", "column" or "cross"
        Lags left out, lag 0 among them: along rows, along columns, or along both, where the camera's
        noise or its processing correlates pixels. ``fluctuation`` only.

    Returns
    -------
    xarray.Dataset
        ``sigma``, ``sigma_x``, ``sigma_y`` () nm, ``theta`` () degree, with ``sigma_error``,
        ``sigma_x_error``, ``sigma_y_error`` and ``theta_error``; ``amplitude``, ``pedestal`` () 1 of
        the fit, as shares of the variance at lag 0; ``autocorrelation``, ``psf_image``, ``psf_fit``,
        ``psf_spline`` (lag_y, lag_x) 1, ``knots_x``, ``knots_y`` nm, ``coefficients`` (coefficient_y,
        coefficient_x), ``status`` (). All lazy. Theta is within 45 degrees, so that sigma_x is the
        width of the axis next to the rows; of a PSF that is round within its error, theta is 0 with an
        error of 45. Where the emitters cannot be told from nothing, or saturate, the numbers are NaN
        and ``status`` says why.

    Raises
    ------
    SmlmError
        ``TooFewFramesError`` if the movie is shorter than the window, ``ParameterError`` for a size
        that is even, below 5 or larger than the frame, or a keyword of the other method.

    References
    ----------
    That blinking emitters correlate with themselves only is the idea of SOFI (Dertinger 2009,
    doi:10.1073/pnas.0907866106); the errors of sums over times and places are two-way cluster errors
    (Cameron 2011, doi:10.1198/jbes.2010.07136). No published reference is known for the width of the
    PSF from a raw movie in this way. ``smlmlp``: ``blink_spatial_psf`` of that program.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(200, (64, 64), seed=1)
    >>> psf = smlm.estimate_psf(movie, size_pixels=21)
    >>> psf.sigma.attrs["units"]
    'nm'
    """
    _check(window, max_frames, size_pixels, method, remove_background, noisy_lags)
    seed = method == "smlmlp"
    window = window if seed or window is not None else WINDOW
    movie = check_movie(movie, minimum_frames=window or 2)
    _check_size(size_pixels, movie)
    if seed:
        packed, parts = _seed(movie, window, max_frames, size_pixels, remove_background)
    else:
        packed, parts = _fluctuation(movie, window or WINDOW, max_frames, size_pixels, noisy_lags)
    lags = np.arange(-(size_pixels // 2), size_pixels // 2 + 1)
    return to_dataset(
        "estimate_psf",
        {name: _part(packed, name, *part) for name, part in parts.items()},
        coords={"lag_y": lags, "lag_x": lags},
        passes=_passes(movie, window, remove_background),
        parameters={"window": window, "max_frames": max_frames, "method": method},
    )


def _check(
    window: int | None,
    max_frames: int | None,
    size_pixels: int,
    method: str,
    remove_background: bool,
    noisy_lags: str,
) -> None:
    if window is not None:
        whole_number("window", window, at_least=2)
    if max_frames is not None:
        whole_number("max_frames", max_frames, at_least=1)
    whole_number("size_pixels", size_pixels, at_least=5)
    choice("method", method, ("fluctuation", "smlmlp"))
    choice("noisy_lags", noisy_lags, ("row", "column", "cross"))
    if method == "fluctuation" and not remove_background:
        raise ParameterError(
            "remove_background",
            got="False with method='fluctuation'",
            wanted="True: what does not fluctuate is always taken off",
            fix="leave it out, or pass method='smlmlp'",
        )


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


def _fluctuation(
    movie: xr.DataArray, window: int, max_frames: int | None, size_pixels: int, noisy_lags: str
) -> tuple[Any, Parts]:
    """All parts of the answer in one array, and where they are in it.

    1. Windows on absolute frames, every so many of them: each gives sums by strip and lag.
    2. Runs of windows are added up: the groups in time whose scatter tells the error.
    3. One task fits, and has the few sums that the errors need.
    """
    count = len(movie) // window
    every = 1 if max_frames is None else -(-count * window // max(max_frames, window))
    reach, (height, width) = size_pixels // 2, movie.shape[1:]
    shape = (2, len(strip_edges(height, width)) - 1, reach + 1, size_pixels)
    data = _graph.movie_data(movie)
    sums = _graph.whole_window_map(lag_sums, data, count, window, reach, shape=shape, every=every)
    cells = _graph.group_totals(sums, min(GROUPS, -(-count // every)))
    pixel = float(movie["pixel_size_y"]), float(movie["pixel_size_x"])
    parts = width_parts(size_pixels)
    arguments = width_shape, cells, pixel, noisy_lags
    return _graph.finish(*arguments, shape=(_length(parts),)), parts


def _seed(
    movie: xr.DataArray,
    window: int | None,
    max_frames: int | None,
    size_pixels: int,
    remove_background: bool,
) -> tuple[Any, Parts]:
    power, frames = _power(movie, window, max_frames, remove_background)
    pixel = float(movie["pixel_size_y"]), float(movie["pixel_size_x"])
    parts = psf_parts(size_pixels)
    arguments = power, frames, movie.shape[1:], size_pixels, pixel
    return _graph.finish(psf_shape, *arguments, shape=(_length(parts),)), parts


def _length(parts: Parts) -> int:
    return sum(int(np.prod(shape)) for _, shape in parts.values())


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
