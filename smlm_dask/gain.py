"""Camera gain from a movie: the photon-transfer curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from smlm_dask import _graph
from smlm_dask.check import number, whole_number
from smlm_dask.kernels.gain import robust_moments, robust_variance, transfer_curve
from smlm_dask.kernels.reason import Reason
from smlm_dask.movie import check_movie, select_map
from smlm_dask.variables import to_dataset

__all__ = ["estimate_gain", "photon_transfer"]

Values = dict[str, tuple[tuple[str, ...], Any]]
FEWEST_FRAMES = (
    15  # of a window: pure shot noise gave 0.448 for 0.5 with 2, 0.645 with 3, 0.526 with 10
)


def estimate_gain(
    movie: xr.DataArray,
    /,
    *,
    window: int | None = 200,
    bins: int = 50,
    offset: float | xr.DataArray | None = None,
    quantum_efficiency: float = 1.0,
) -> xr.Dataset:
    """Estimate the camera's gain from the mean-variance line of a movie.

    For shot noise ``variance = (mean - offset) / gain + read noise``: variance against mean is a line
    whose slope is 1 / gain, whatever the offset. Mean and variance of each pixel are the median and
    the squared scaled MAD, ``(1.4826 MAD)^2``, over windows of frames, averaged over the windows;
    pixels are put in bins of equal level and an unweighted line is fitted to the bins in the central
    third of the levels. The tail of the movie that fills no window is left out.

    ``gain_error`` is the standard error of that line alone: it does not know what blinking emitters
    add to the variance, and the true deviation is often several times larger.

    The model assumes light that is steady within a window and varies over the field. It fails where
    emitters are on in many frames of a pixel (the gain comes out too small), on flat illumination
    (too few bins) and on denoised, interpolated or background-subtracted frames.

    Parameters
    ----------
    movie : (frame, y, x)
        Raw camera frames in adu.
    window : int or None
        Frames in a window; below 15 the MAD is biased and there is no gain. None takes the median and
        MAD of the whole movie, exactly, by counting passes over it.
    bins : int
        Steps between the lowest and the highest level.
    offset : float or (y, x), optional
        Camera level without light in adu; passed on in the result for the blocks that need it.
    quantum_efficiency : float
        Electrons for each photon; passed on.

    Returns
    -------
    xarray.Dataset
        ``gain`` () electron / adu, ``gain_error`` () electron / adu, ``intercept`` () adu2,
        ``signal_mean`` (y, x) adu, ``signal_variance`` (y, x) adu2, ``bin_mean`` (bin) adu,
        ``bin_variance`` (bin) adu2, ``bin_count`` (bin), ``regression`` (parameter),
        ``quantum_efficiency`` (), ``status`` () and, if it was given, ``offset``. All lazy. Where
        there is no line ``gain`` is NaN and ``status`` says why.

    Raises
    ------
    SmlmError
        ``DimsError``, ``DtypeError``, ``TooFewFramesError`` if the movie is shorter than the window
        or has one frame, ``ParameterError`` for a window below 2 or fewer than 3 bins.

    References
    ----------
    J. R. Janesick, Photon Transfer (SPIE, 2007), doi:10.1117/3.725073. The same arithmetic as
    ``detect_gain`` of smlmlp, whose chunk is here a window.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(400, (64, 64), seed=1)
    >>> camera = smlm.estimate_gain(movie)
    >>> camera.gain.attrs["units"]
    'electron / adu'
    """
    _check(window, bins, quantum_efficiency)
    movie = check_movie(movie, minimum_frames=window or 2)
    values = photon_transfer(movie, window, bins)
    if (window or len(movie)) < FEWEST_FRAMES:
        values |= _no_gain()
    values["quantum_efficiency"] = (), float(quantum_efficiency)
    if offset is not None:
        values["offset"] = _offset(offset, movie)
    coords = {n: movie.coords[n] for n in ("y", "x", "pixel_size_y", "pixel_size_x")}
    return to_dataset(
        "estimate_gain",
        values,
        coords=coords,
        passes=1 if window else _graph.stream_passes(_graph.movie_data(movie)),
        parameters={"window": window, "bins": bins},
    )


def photon_transfer(movie: xr.DataArray, window: int | None, bins: int, fewest: int = 3) -> Values:
    """Maps, bins, line and gain of a movie of any length, by name."""
    level, variance = _moments(movie, window)
    shape = (3 * (bins + 1) + 9,)
    curve = _graph.finish(transfer_curve, level, variance, bins, fewest, shape=shape)
    maps = {"signal_mean": (("y", "x"), level), "signal_variance": (("y", "x"), variance)}
    return maps | _curve(curve, bins)


def _check(window: int | None, bins: int, quantum_efficiency: float) -> None:
    if window is not None:
        whole_number("window", window, at_least=2)
    whole_number("bins", bins, at_least=3)
    number("quantum_efficiency", quantum_efficiency, above=0, at_most=1)


def _moments(movie: xr.DataArray, window: int | None) -> tuple[Any, Any]:
    """Level and variance of each pixel, (y, x) each."""
    data = _graph.movie_data(movie)
    kind = np.dtype("f4") if data.dtype == np.float32 else np.dtype("f8")
    if window is None:
        median, mad = _graph.stream_selection(data)
        return median, _graph.apply(robust_variance, mad)
    starts = range(0, len(movie) // window * window, window)
    moments = _graph.window_map(robust_moments, data, starts, window, lead=(2,), dtype=kind)
    # Accumulated in float64 over windows that stand on absolute frames: no chunking can show.
    mean = (_graph.total(moments) / len(moments)).astype(kind)
    return mean[0], mean[1]


def _curve(curve: Any, bins: int) -> Values:
    n = bins + 1
    return {
        "gain": ((), curve[-3]),
        "gain_error": ((), curve[-2]),
        "intercept": ((), curve[3 * n + 1]),
        "bin_mean": (("bin",), curve[:n]),
        "bin_variance": (("bin",), curve[n : 2 * n]),
        "bin_count": (("bin",), curve[2 * n : 3 * n].astype("i8")),
        "regression": (("parameter",), curve[3 * n : 3 * n + 6]),
        "status": ((), curve[-1].astype("u1")),
    }


def _no_gain() -> Values:
    """The median of few deviations is far from that of many: up to 30 % of gain, and no error shows it."""
    nan = ((), np.nan)
    return {"gain": nan, "gain_error": nan, "status": ((), np.uint8(Reason.TOO_FEW_FRAMES))}


def _offset(offset: float | xr.DataArray, movie: xr.DataArray) -> tuple[tuple[str, ...], Any]:
    if not isinstance(offset, xr.DataArray):
        return (), number("offset", offset)
    chosen = select_map("offset", offset, movie)
    return tuple(map(str, chosen.dims)), chosen.data
