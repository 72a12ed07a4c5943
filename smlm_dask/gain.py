"""Camera gain from a movie: noise against light."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from smlm_dask import _graph
from smlm_dask.check import choice, number, whole_number
from smlm_dask.errors import ParameterError
from smlm_dask.kernels import corner, corner_line, ramp, rim
from smlm_dask.kernels.gain import robust_moments, robust_variance, transfer_curve
from smlm_dask.kernels.pixels import live_frames
from smlm_dask.kernels.reason import Reason
from smlm_dask.movie import check_movie, select_map
from smlm_dask.variables import to_dataset

__all__ = ["estimate_gain", "photon_transfer"]

Values = dict[str, tuple[tuple[str, ...], Any]]
Known = tuple[Any, float, float]  # offset, read noise, excess noise
# Of a window: pure shot noise gave 0.448 for 0.5 with 2, 0.645 with 3, 0.526 with 10.
FEWEST_FRAMES = 15
BINS = 50  # of method="smlmlp"
# Samples in the pairs of frames that are used: at 20 million the error is below 1 %.
ALL_SAMPLES, ENOUGH_SAMPLES = 20_000_000, 20_000_000
MOST_STEP = 12  # frames from pair to pair, unless a window of large frames would not fit a task
TASK_SAMPLES, FEWEST_PAIRS = 2**26, 10
# Patches that tell a blur of 0.35 pixel four errors away, and pairs of a window that they are cut from.
RIM_PATCHES, MOST_RIM_PAIRS = 10_000, 100
WHITENESS = ("leak", "leak_error", "smoothing", "smoothing_error")


def estimate_gain(
    movie: xr.DataArray,
    /,
    *,
    method: str = "corner",
    window: int | None = 200,
    offset: float | xr.DataArray | None = None,
    read_noise: float | None = None,
    excess_noise: float = 1.0,
    quantum_efficiency: float = 1.0,
) -> xr.Dataset:
    """Estimate the camera's gain from its noise and its light.

    For shot noise ``variance = excess_noise (level - zero_level) / gain``: variance against level is a
    line, and its slope is ``excess_noise / gain`` whatever the offset. The methods differ in what they
    call variance and level, and in the light that they stand.

    ``"corner"`` takes pairs of neighbouring frames. A filter of the highest spatial frequencies (5 x 5
    taps, sum zero), where a band-limited PSF leaves noise alone, gives the variance of the pairs'
    difference around each pixel, and the squares of the same taps the level of their mean. Both are
    averaged over windows of equal light on the rows just beyond: noise that these share with neither,
    so that sorting by it does not bend the line. Emitters, dense or slow, and gradients need no mask:
    they are the light. The error is the larger of two jackknifes, over 20 groups of frames and over 16
    tiles. Emitters that are in the noise all the same show with 7 taps (``leak``), smoothed frames in
    the spectrum of their noise beyond the light (``smoothing``). Where that spectrum shows a narrow
    PSF the leak is taken away, and ``quality`` says so.

    ``"ramp"`` is for calibrations with steady light that varies over the field: the mean square of
    the differences of neighbouring frames, none above five standard deviations, 40 bins of equal
    count, the median of the slopes between any two. Three times as precise there; emitters make its
    gain far too small.

    ``"smlmlp"`` is the photon-transfer curve of that program: median and ``(1.4826 MAD)^2`` of each
    pixel, 50 bins of equal level, an unweighted line through those in the central third. Its
    ``gain_error`` is that of the line alone. Emitters make its gain up to 94 % too small.

    There is no gain, and ``status`` says why, where there cannot be: in flat, empty fields and short
    movies (``gain_uncertain``: the error is above 4 %), with a PSF below 0.8 pixel
    (``psf_too_narrow``), on frames that were smoothed, resampled or denoised (``noise_not_white``),
    subtracted and clipped (``clipped``), or with less noise than half an adu
    (``noise_below_rounding``). A blur of 0.35 pixel and a PSF below 0.8 pixel can pass in a small
    movie, sharpened frames in any. Run it on raw frames. Gain that varies by 2 % between pixels is up
    to 3 % off with bright emitters; non-linear cameras were not tried: look at the bins.

    Parameters
    ----------
    movie : (frame, y, x)
        Raw camera frames in adu.
    method : "corner", "ramp" or "smlmlp"
        See above.
    window : int or None
        Frames in a window; below 15 there is no gain. Pairs of frames lie inside windows, which decide
        nothing else of ``"corner"``. None, for ``"smlmlp"`` alone, takes the median and MAD of the
        whole movie, exactly, by counting passes over it.
    offset : float or (y, x), optional
        Camera level without light in adu. Yields the read noise, unless that is given as well.
    read_noise : float, optional
        Camera noise without light in electrons rms. Yields the offset, unless that is given as well.
    excess_noise : float
        Variance of the signal over that of its photoelectrons: 1, or 2 behind an EM register. The
        movie cannot tell. Passed on.
    quantum_efficiency : float
        Electrons for each photon; passed on.

    Returns
    -------
    xarray.Dataset
        All methods: ``gain`` () electron / adu, ``gain_error`` () electron / adu, ``intercept`` ()
        adu2, ``signal_mean`` (y, x) adu, ``signal_variance`` (y, x) adu2, ``bin_mean`` (bin) adu,
        ``bin_variance`` (bin) adu2, ``bin_count`` (bin), ``quantum_efficiency`` (), ``excess_noise``
        (), ``status`` () and, if it was given, ``offset``. All lazy. Where there is no line ``gain``
        is NaN and ``status`` says why.

        ``"corner"`` and ``"ramp"``: ``slope`` () adu, ``zero_level`` and ``zero_level_error`` () adu,
        ``quality`` () bits whose words are in its ``flag_meanings``; with ``read_noise`` also
        ``offset`` and ``offset_error`` () adu, with ``offset`` also ``read_noise`` and
        ``read_noise_error`` () electron, with either ``variance`` () adu2 of the camera without light:
        all that the other blocks need to know of its noise.

        ``"corner"``: ``leak``, ``leak_error``, ``smoothing``, ``smoothing_error`` (),
        ``read_variance_excess`` (y, x) adu2 and ``hot_pixel`` (y, x). ``"smlmlp"``: ``regression``
        (parameter).

    Raises
    ------
    SmlmError
        ``DimsError``, ``DtypeError``, ``TooFewFramesError`` if the movie is shorter than the window
        or has one frame, ``ParameterError`` for a window below 2, an unknown method, or what a method
        has no use for.

    References
    ----------
    R. Heintzmann et al., Calibrating photon counts from a single image, arXiv:1611.05654 (2016): noise
    in the corner of Fourier space. J. R. Janesick, Photon Transfer (SPIE, 2007),
    doi:10.1117/3.725073. ``"smlmlp"`` is the arithmetic of ``detect_gain`` of smlmlp, whose chunk is
    here a window.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(400, (64, 64), seed=1)
    >>> camera = smlm.estimate_gain(movie, read_noise=1.4)
    >>> camera.gain.attrs["units"]
    'electron / adu'
    """
    _check(method, window, quantum_efficiency, excess_noise)
    movie = check_movie(movie, minimum_frames=window or 2)
    known = _known(method, movie, offset, read_noise, excess_noise)
    values = _METHODS[method](movie, window, known)
    if (window or len(movie)) < FEWEST_FRAMES:
        values |= _no_gain(values)
    values["quantum_efficiency"] = (), float(quantum_efficiency)
    values["excess_noise"] = (), float(excess_noise)
    if offset is not None:
        values["offset"] = _offset(offset, movie)
    coords = {n: movie.coords[n] for n in ("y", "x", "pixel_size_y", "pixel_size_x")}
    return to_dataset(
        "estimate_gain",
        values,
        coords=coords,
        passes=1 if window else _graph.stream_passes(_graph.movie_data(movie)),
        parameters={"method": method, "window": window, "excess_noise": excess_noise},
    )


def _check(method: str, window: int | None, quantum_efficiency: float, excess_noise: float) -> None:
    choice("method", method, tuple(_METHODS))
    if window is not None:
        whole_number("window", window, at_least=2)
    elif method != "smlmlp":
        raise ParameterError(
            "window",
            got="None",
            wanted=f'frames in a window, for method="{method}"',
            fix='window=200, or method="smlmlp" for the median of the whole movie',
        )
    number("quantum_efficiency", quantum_efficiency, above=0, at_most=1)
    number("excess_noise", excess_noise, at_least=1)


def _known(
    method: str,
    movie: xr.DataArray,
    offset: float | xr.DataArray | None,
    read_noise: float | None,
    excess_noise: float,
) -> tuple[Any, float, float]:
    if method == "smlmlp" and (read_noise is not None or excess_noise != 1):
        raise ParameterError(
            "read_noise and excess_noise",
            got=f"{read_noise} and {excess_noise}",
            wanted='neither with method="smlmlp"',
            fix='method="corner", or multiply the gain by the excess noise',
        )
    noise = np.nan if read_noise is None else number("read_noise", read_noise, at_least=0)
    level = np.nan if offset is None else _offset(offset, movie)[1]
    return level, noise, float(excess_noise)


def _offset(offset: float | xr.DataArray, movie: xr.DataArray) -> tuple[tuple[str, ...], Any]:
    if not isinstance(offset, xr.DataArray):
        return (), number("offset", offset)
    chosen = select_map("offset", offset, movie)
    return tuple(map(str, chosen.dims)), chosen.data


# ------------------------------------------------------------------ method="corner"


def _corner(movie: xr.DataArray, window: int | None, known: Known) -> Values:
    """Pairs of frames inside windows, their sums added up in the order of the windows."""
    data = _graph.movie_data(movie)
    picks, arguments = _pairs(len(movie), movie[0].size, window or len(movie))
    parts = _graph.picked_map(
        corner.corner_sums, data, picks, arguments, corner.sums_bytes(data.shape[1:])
    )
    sums = _graph.folded(corner.add, parts)
    shape = (len(corner_line.NUMBERS) + 3 * corner_line.BINS,)
    packed = _graph.finish(corner_line.corner_gain, sums, *known, shape=shape)
    maps = _graph.finish(corner_line.pixel_noise, sums, packed, shape=(4, *data.shape[1:]))
    values = _unpacked(packed, corner_line.BINS, known)
    names = ("signal_mean", "signal_variance", "read_variance_excess", "hot_pixel")
    values |= {name: (("y", "x"), maps[i]) for i, name in enumerate(names)}
    values["hot_pixel"] = ("y", "x"), maps[3].astype("?")
    return values


def _pairs(n: int, size: int, window: int) -> tuple[list[NDArray[np.int64]], list[tuple[Any, ...]]]:
    """Frames of the pairs of each window, and how they are paired: a rule of the movie's shape alone.

    Pairs lie inside windows, so that no window needs its neighbour. A tail of less than half a window
    belongs to the last.
    """
    step, stride, map_pairs = _sampling(n, size, window)
    count = max(1, (n + window // 2) // window)
    rim_pairs = min(max(-(-RIM_PATCHES * rim.SIDE**2 // (size * count)), 4), MOST_RIM_PAIRS)
    picks: list[NDArray[np.int64]] = []
    arguments: list[tuple[Any, ...]] = []
    for j in range(count):
        first = np.arange(j * window, (n if j == count - 1 else (j + 1) * window) - 1, step)
        picks.append(np.unique([first, first + 1]))
        group = first * corner.TIME // n
        arguments.append((min(step, 2), stride, group, map_pairs, rim_pairs))
    return picks, arguments


def _sampling(n: int, size: int, window: int) -> tuple[int, int, int]:
    """Frames from pair to pair, pixels from window to window, pairs in the maps of a window."""
    if n * size <= ALL_SAMPLES:
        return 1, 2, 16
    step = min(max(n * size // ENOUGH_SAMPLES, 2), MOST_STEP)
    large = min(-(-window * 2 * size // TASK_SAMPLES), window // FEWEST_PAIRS)
    return max(step, large), 3, 8


def _unpacked(packed: Any, bins: int, known: Known) -> Values:
    """The numbers that follow from what is known, and the curve."""
    values: Values = {name: ((), packed[i]) for i, name in enumerate(corner_line.NUMBERS)}
    values |= {name: ((), values[name][1].astype("u1")) for name in ("quality", "status")}
    offset, read_noise = (not (isinstance(n, float) and np.isnan(n)) for n in known[:2])
    told = {"read_noise": offset and not read_noise, "offset": read_noise and not offset}
    for name in (name for name, by_line in told.items() if not by_line):
        del values[name], values[f"{name}_error"]
    if not (offset or read_noise):
        del values["variance"]
    if offset and read_noise:
        values["read_noise"] = (), known[1]
    begin = len(corner_line.NUMBERS)
    for k, name in enumerate(("bin_mean", "bin_variance", "bin_count")):
        values[name] = ("bin",), packed[begin + k * bins : begin + (k + 1) * bins]
    values["bin_count"] = ("bin",), values["bin_count"][1].astype("i8")
    return values


# ------------------------------------------------------------------ method="ramp"


def _ramp(movie: xr.DataArray, window: int | None, known: Known) -> Values:
    data = _graph.movie_data(movie)
    count = max(1, (len(movie) + (window or 0) // 2) // (window or len(movie)))
    length = len(movie) // count  # equal windows that leave out less than one frame each
    starts = range(0, count * length, length)
    live = _graph.window_numbers(live_frames, data, starts, length, 1)
    windows = data, starts, length
    moments = _graph.window_map(ramp.ramp_moments, *windows, lead=(2,), dtype="f8", each=[live])
    mean = _graph.total(moments) / len(moments)
    shape, pairs = (len(corner_line.NUMBERS) + 3 * ramp.BINS,), count * (length - 1)
    packed = _graph.finish(ramp.ramp_gain, mean, *known, pairs, shape=shape)
    values = _unpacked(packed, ramp.BINS, known)
    maps = {"signal_mean": (("y", "x"), mean[0]), "signal_variance": (("y", "x"), mean[1])}
    return {n: v for n, v in values.items() if n not in WHITENESS} | maps


# ------------------------------------------------------------------ method="smlmlp"


def _transfer(movie: xr.DataArray, window: int | None, known: Known) -> Values:
    return photon_transfer(movie, window, BINS)


_METHODS = {"corner": _corner, "ramp": _ramp, "smlmlp": _transfer}


def photon_transfer(movie: xr.DataArray, window: int | None, bins: int, fewest: int = 3) -> Values:
    """Maps, bins, line and gain of a movie of any length, by name."""
    level, variance = _moments(movie, window)
    shape = (3 * (bins + 1) + 9,)
    curve = _graph.finish(transfer_curve, level, variance, bins, fewest, shape=shape)
    maps = {"signal_mean": (("y", "x"), level), "signal_variance": (("y", "x"), variance)}
    return maps | _curve(curve, bins)


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


def _no_gain(values: Values) -> Values:
    """The median of few deviations is far from that of many: up to 30 % of gain, and no error shows it."""
    found = ("gain", "zero_level", "offset", "read_noise")
    numbers = (*found, *(f"{name}_error" for name in found), "variance")
    nan: Values = {n: ((), np.nan) for n in numbers if n in values}
    nan |= {"quality": ((), np.uint8(0))} if "quality" in values else {}
    return nan | {"status": ((), np.uint8(Reason.TOO_FEW_FRAMES))}
