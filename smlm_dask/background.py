"""Background of a movie: a Gaussian mean in space, or a series of images in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smlm_dask import _graph
from smlm_dask.check import choice, flag, number, pair, shown, whole_number
from smlm_dask.errors import ParameterError
from smlm_dask.kernels.background import (
    assign_centre,
    assign_start,
    clean,
    even_starts,
    frame_level,
    frame_offset,
    mix,
    overlap,
    step_times,
    upper_median,
    window_starts,
)
from smlm_dask.kernels.first import first_image
from smlm_dask.kernels.flicker import brightness, image_level, relative_brightness, row_step
from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.repair import NEIGHBOURS, repair, settle, weigh_neighbours
from smlm_dask.kernels.smooth import gaussian_taps, noise_factor, smooth
from smlm_dask.kernels.truncated import truncated_means
from smlm_dask.movie import check_movie, select_map
from smlm_dask.variables import to_dataset

MOST_IMAGES = 1_000_000
Values = dict[str, tuple[tuple[str, ...], Any]]

__all__ = [
    "Cleansing",
    "background_sparse_median",
    "background_spatial_mean",
    "estimate_background",
]


def background_spatial_mean(
    movie: xr.DataArray, /, *, radius: float | tuple[float, float] = 7.0
) -> xr.Dataset:
    """Background of each frame as its Gaussian mean in space.

    The Gaussian has ``sigma = radius / 2`` pixels along y and x, integrated over pixels, cut at
    2.58 sigma and normalised; beyond the edge the edge pixel is repeated. Frames do not mix.
    Emitters stay in the mean: they raise the background under and around themselves.

    Parameters
    ----------
    movie : (frame, y, x)
        Camera frames in adu.
    radius : float or (float, float)
        Radius in pixels, or radii along (y, x).

    Returns
    -------
    xarray.Dataset
        ``background`` (frame, y, x) adu, float32, lazy; ``noise_factor`` () 1, the noise of movie
        minus background over the noise of the movie for white noise.

    Raises
    ------
    SmlmError
        ``ParameterError`` for a radius that is negative, not finite, or larger than the frame.

    References
    ----------
    The same images as ``bkgd_spatial_mean`` of smlmlp; its noise correction is the product of the
    factors of y and x, which is 0.853 where the noise factor is 0.990.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(20, (32, 32), seed=1)
    >>> smlm.background_spatial_mean(movie).background.shape
    (20, 32, 32)
    """
    movie = check_movie(movie)
    radii = _radii(radius, movie)
    taps = [gaussian_taps(r / 2) for r in radii]
    data = spatial_mean(movie, *taps)
    return to_dataset(
        "background_spatial_mean",
        {"background": (("frame", "y", "x"), data), "noise_factor": ((), noise_factor(*taps))},
        coords=movie.coords,
        parameters={"radius": radii},
    )


def spatial_mean(
    movie: xr.DataArray, taps_y: NDArray[np.float32], taps_x: NDArray[np.float32]
) -> Any:
    """Each frame correlated with taps of any length along y and x, float32."""
    return _graph.frame_map(smooth, _graph.movie_data(movie), taps_y, taps_x, dtype="f4")


def _radii(radius: float | tuple[float, float], movie: xr.DataArray) -> tuple[float, float]:
    fix = f"pass radius={min(7, *movie.shape[1:])}"
    radii = pair("radius", radius, at_least=0, fix=fix)
    if radii[0] > movie.shape[1] or radii[1] > movie.shape[2]:
        raise ParameterError(
            "radius",
            got=shown(radius),
            wanted=f"at most the frame's {movie.shape[1:]} pixels",
            fix=fix,
        )
    return radii


@dataclass(frozen=True)
class Cleansing:
    """Which images of a background series to leave out because an event stands in them.

    Attributes
    ----------
    fraction : float
        Share of the images that must stay, 0 to 1.
    threshold : float
        0 discards ``1 - fraction`` of the images always; larger values discard more, as long as the
        fraction stays.
    """

    fraction: float = 0.8
    threshold: float = 0.0

    def __post_init__(self) -> None:
        number("Cleansing.fraction", self.fraction, above=0, at_most=1, fix="Cleansing()")
        number("Cleansing.threshold", self.threshold, at_least=0, fix="Cleansing()")


def estimate_background(
    movie: xr.DataArray,
    /,
    *,
    camera: xr.Dataset | None = None,
    method: Literal["auto", "truncated", "median"] = "auto",
    window: int = 200,
    step: int | None = None,
    flicker: bool = True,
    joint: bool = False,
) -> xr.Dataset:
    """Background as a series of images between which each frame's is found, and the light of each frame.

    Light of emitters only adds, so the darker samples of a pixel tell its background. With the camera's
    gain, offset and noise known, the image of a window is the level ``b`` that is consistent with the
    mean of the samples below ``b + s``, where ``s^2 = b / gain + variance + 1/6`` (adu2; 1/12 for
    rounding, and 1/12 as a sample is taken as uniform on its step) and the skewness of shot noise is
    allowed for. What dim and distant emitters leave below that limit is told by how the estimate rises
    from ``b + 0.5 s`` to ``b + 1.5 s``, averaged over a pixel around, and taken off. Before, frames are
    brought to the same brightness: that of a frame is a clipped weighted least-squares factor over its
    pixels. After, a pixel in which an emitter is on through most of a window is replaced by the mean of
    up to twenty windows around it. The background of frame i is::

        light = (1 - series_share) * series[series_index] + series_share * series[series_index + 1]
        background = offset + series_scale * (light - offset) + series_offset

    Assumed are shot noise, with the ``excess_noise`` of a multiplying register if the camera has one, a
    Gaussian camera noise that the camera's numbers describe, whole adu, and a background whose every
    pixel changes with the brightness of the field within twenty windows.

    It fails where emitters are on through nearly all of 21 windows, and where a gain is wrong (10 % too
    large gives -0.1 standard deviations, too small +0.12). With less than half an electron of
    light or fewer than 1,000 pixels flicker is left in. Smoothed, resampled or clipped frames do not have
    the noise that is assumed. Where the camera is given as maps and its noise is below half an adu, it
    shows where the steps of the samples stand: errors up to 0.06 standard deviations.

    Frames that were dropped do no harm: samples more than 10 standard deviations and 10 adu below the
    offset or at the top of their type are left out, and so are frames ten times dimmer or brighter than is
    usual. A pixel that never changes, or has no other samples, is NaN; if all are, ``status`` says
    ``not_finite``.

    Without these numbers it is ``background_sparse_median``: too high by 0.14 standard deviations where
    emitters are on in a tenth of the frames, by 0.7 to 1 at 0.4.

    Parameters
    ----------
    movie : (frame, y, x)
        Camera frames in adu.
    camera : xarray.Dataset, optional
        ``gain``, ``offset`` and ``variance``, numbers or (y, x), from ``as_camera``, or from
        ``estimate_gain`` if it was told the offset or the read noise. May be lazy.
        ``excess_noise`` (), 1 if it is not there. Pixels of a map that are NaN are NaN in the series.
    method : "auto", "truncated" or "median"
        "auto" takes the truncated mean if the camera has its three numbers, else the median.
    window : int
        Frames in a window. The error goes with its root: 0.1 standard deviations at 200.
    step : int, optional
        Frames from one window to the next, at most a window; a window if not given.
    flicker : bool
        Whether the light of each frame is measured.
    joint : bool
        Whether pixels are drawn to those around them: a third of the error, but structure finer than
        about 4 pixels is smoothed.

    Returns
    -------
    xarray.Dataset
        ``series`` (window, y, x) adu with the offset in it, and its standard error ``series_error``,
        float32; ``series_index``, ``series_share``, ``series_scale``, ``series_overlap`` and
        ``series_offset`` (frame);
        ``contamination`` (window, y, x), the share of frames with emitters; ``window_start`` and
        ``window_stop`` (window); ``offset``; ``status`` (). The method "median" gives what
        ``background_sparse_median`` does, which has no errors. The movie is read once, and once more
        if the camera comes from it.

        The error is that of a pixel of an image, bias included. Errors of pixels next to each other are
        nearly independent (0.13 to 0.23 without ``joint``). Those of two images, which are independent as
        far as their windows do not overlap, add in squares: 0.7 of them is left halfway between two.

    Raises
    ------
    SmlmError
        ``TooFewFramesError`` if the movie is shorter than the window; ``ParameterError`` for the
        method "truncated" without the camera's numbers, or a step longer than the window.

    References
    ----------
    M. Hoogendoorn et al. on what a temporal median of a background is good for:
    doi:10.1038/srep03854; H. Ma, Y. Liu on its overestimation in dense movies:
    doi:10.1038/s41598-021-00066-3.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(400, (32, 32), seed=1)
    >>> camera = smlm.as_camera(0.5, offset=100.0, variance=4.0)
    >>> smlm.estimate_background(movie, camera=camera, window=100).sizes["window"]
    4
    """
    camera_known = _chosen(method, camera)
    whole_number("window", window, at_least=2)
    step = window if step is None else whole_number("step", step, at_least=1, at_most=window)
    flag("flicker", flicker)
    flag("joint", joint)
    if not camera_known:
        rows = 20 if flicker else None
        return background_sparse_median(movie, window=window, step=step, offset_rows=rows)
    movie = check_movie(movie, minimum_frames=window)
    numbers = [_camera_number(camera, name, movie) for name in (*CAMERA, "excess_noise")]
    data, again = _graph.movie_data(movie), False
    if _graph.shares_source([data], numbers):
        data, again = _graph.second_pass([data], numbers)[0], True
    starts = even_starts(len(movie), window, step)
    values = _truncated(data, starts, window, numbers, flicker, joint)
    values["offset"] = ("y", "x")[: 2 * (np.ndim(numbers[1]) > 0)], numbers[1]
    return to_dataset(
        "estimate_background",
        values,
        coords=movie.coords,
        passes=1 + (int(camera.attrs.get("passes", 1)) if again and camera is not None else 0),
        parameters={"method": "truncated", "window": window, "step": step, "joint": joint},
    )


CAMERA = ("gain", "offset", "variance")


def _chosen(method: str, camera: xr.Dataset | None) -> bool:
    """Whether the camera's noise is used; what is missing where it must be."""
    choice("method", method, ("auto", "truncated", "median"))
    if camera is not None and not isinstance(camera, xr.Dataset):
        raise ParameterError(
            "camera",
            got=shown(camera),
            wanted="a Dataset with gain, offset and variance",
            fix="camera=smlm.as_camera(gain, offset=100, variance=9)",
        )
    missing = [name for name in CAMERA if camera is None or name not in camera]
    if missing and method == "truncated":
        raise ParameterError(
            "camera",
            got=f"no {', no '.join(missing)}",
            wanted="gain, offset and variance of the camera, which the truncated mean stands on",
            fix='camera=smlm.as_camera(gain, offset=100, variance=9), or method="median"',
        )
    return method != "median" and not missing


def _camera_number(camera: Any, name: str, movie: xr.DataArray) -> Any:
    if name not in camera:
        return 1.0
    value = select_map(name, camera[name], movie).data
    lazy = _graph.is_lazy(value)
    return value if lazy or value.ndim else float(value)


def _truncated(
    data: Any,
    starts: NDArray[np.int64],
    window: int,
    numbers: list[Any],
    flicker: bool,
    joint: bool,
) -> Values:
    """The series of truncated means, by name.

    1. A first image, rough. 2. The brightness of frames against it. 3. Truncated means of frames of
    equal brightness. 4. What needs neighbouring pixels. 5. What needs neighbouring windows.
    """
    gain, offset, variance, excess = numbers
    shot = gain / excess  # light over its shot noise
    windows = data, starts.tolist(), window
    first = _graph.window_map(first_image, *windows, dtype="f4", maps=(shot, offset, variance))
    bright = _graph.from_array(np.ones((len(starts), window)))
    if flicker:
        step = row_step(data.shape[1:])
        bright = _graph.window_numbers(brightness, *windows, step, first, shot, offset, variance)
    means = _graph.window_map(
        truncated_means, *windows, lead=(3,), dtype="f4", each=(bright, first), maps=numbers
    )
    noise = window, shot, variance
    settled = _graph.neighbour_map(_settle, means, 0, joint, excess, *noise, lead=(3,), dtype="f4")
    light = _graph.neighbour_map(repair, settled, NEIGHBOURS, *noise, lead=(2,), dtype="f4")
    levels = _graph.frame_reduce(image_level, light[:, 0], light.shape[2], dtype="f8")
    index, share = mix(data.shape[0], starts, window)
    scale: Any = np.ones(len(index))
    if flicker:
        scale = _graph.between_windows(
            relative_brightness, bright, levels, starts.tolist(), index, share
        )
    images = "window", "y", "x"
    return {
        "series": (images, _graph.neighbour_map(_lifted, light, 0, offset, dtype="f4")),
        "series_error": (images, light[:, 1]),
        "series_index": (("frame",), index),
        "series_share": (("frame",), share),
        "series_scale": (("frame",), scale),
        "series_overlap": (("frame",), overlap(index, starts, window)),
        "series_offset": (("frame",), np.zeros(len(index))),
        "contamination": (images, settled[:, 1]),
        "window_start": (("window",), starts),
        "window_stop": (("window",), starts + window),
        "status": ((), _graph.finish(_status, levels, *numbers, dtype="u1")),
    }


def _settle(
    packed: Any, _: int, joint: bool, excess: float, frames: int, gain: Any, variance: Any
) -> Any:
    settled = settle(packed[0], frames, gain, variance, excess)
    return weigh_neighbours(settled, frames, gain, variance) if joint else settled


def _lifted(light: Any, _: int, offset: Any) -> NDArray[np.float32]:
    """Light above the camera's offset as a level in adu."""
    return np.asarray(light[0][0] + np.asarray(offset, "f4"))


def _status(levels: Any, gain: Any, *others: Any) -> NDArray[np.uint8]:
    known = all(np.isfinite(n).any() for n in (gain, *others)) and np.nanmax(gain) > 0
    lost = Reason.OK if np.isfinite(levels).any() else Reason.NOT_FINITE
    return np.asarray(lost if known else Reason.NO_GAIN, np.uint8)


def background_sparse_median(
    movie: xr.DataArray,
    /,
    *,
    window: int = 200,
    step: float | None = None,
    time: ArrayLike | None = None,
    cleansing: Cleansing | None = None,
    offset_rows: int | None = 20,
    assign: Literal["centre", "start"] = "centre",
) -> xr.Dataset:
    """Background as a short series of temporal medians, an entry of it and an offset for each frame.

    Every ``step`` of ``time`` an image is the upper median (the element of rank window // 2, no
    averaging, so the movie's dtype is kept) of ``window`` frames from the frame nearest in time, or
    of the last ``window`` frames. The background of frame ``i`` is
    ``series[series_index[i]] + series_offset[i]``; the offset, for light that flickers, is the mean
    of the frame's first rows minus that of its background image.

    A pixel in which an emitter is on for a fraction p of the frames is too high: its median is the
    background's quantile 0.5 / (1 - p), +0.14 standard deviations at p = 0.1, +0.97 at 0.4.

    Parameters
    ----------
    movie : (frame, y, x)
        Camera frames in adu.
    window : int
        Frames in a window.
    step : float, optional
        Time between two images, in the unit of ``time``; without it the time a window takes.
    time : (frame,), optional
        Time of each frame, never going back. Without it the position of the frame, in frames.
    cleansing : Cleansing, optional
        Leaves out images with events in them. Without it all are used.
    offset_rows : int or None
        Rows from the top that measure the offset; None leaves it zero.
    assign : "centre" or "start"
        The image of a frame is the one whose window's middle is nearest in time, or, as dcnum has
        it, whose window's start is.

    Returns
    -------
    xarray.Dataset
        ``series`` (window, y, x) adu in the movie's dtype, ``series_index`` (frame) 1,
        ``series_offset`` (frame) adu, ``series_used`` (window) 1, ``window_start``, ``window_stop``
        and ``window_time`` (window). Lazy but for the windows' frames and times. Images that fall
        in a gap of the time axis share their window, which is computed once.

    Raises
    ------
    SmlmError
        ``TooFewFramesError`` if the movie is shorter than the window, ``ParameterError`` for a time
        axis that has NaN, goes back, or does not advance.

    References
    ----------
    The series, index and offset of ``BackgroundSparseMed`` of dcnum, which with ``assign="start"``
    and ``Cleansing()`` are equal bit for bit. M. Hoogendoorn et al. on temporal medians in
    localization microscopy: doi:10.1038/srep03854.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(400, (32, 32), seed=1)
    >>> smlm.background_sparse_median(movie, window=100).sizes["window"]
    4
    """
    _check(window, offset_rows, cleansing, assign)
    movie = check_movie(movie, minimum_frames=max(2, window))
    clock = _clock(time, movie)
    step = _step(step, window, clock)
    times = step_times(clock, step)
    starts = window_starts(clock, times, window)
    series = _series(movie, starts, window)
    used = _used(series, cleansing)
    index = _index(used, clock, times, starts, step if assign == "start" else None, window)
    values = {
        "series": (("window", "y", "x"), series),
        "series_index": (("frame",), index),
        "series_offset": (("frame",), _offset(movie, series, index, offset_rows)),
        "series_used": (("window",), used),
        "window_start": (("window",), starts),
        "window_stop": (("window",), starts + window),
        "window_time": (("window",), times),
    }
    parameters = {"window": window, "step": step, "cleansing": cleansing, "assign": assign}
    return to_dataset(
        "background_sparse_median", values, coords=movie.coords, parameters=parameters
    )


def _check(window: int, offset_rows: int | None, cleansing: object, assign: str) -> None:
    whole_number("window", window, at_least=1)
    choice("assign", assign, ("centre", "start"))
    if offset_rows is not None:
        whole_number("offset_rows", offset_rows, at_least=1)
    if not (cleansing is None or isinstance(cleansing, Cleansing)):
        raise ParameterError(
            "cleansing",
            got=shown(cleansing),
            wanted="Cleansing(...) or None",
            fix="cleansing=Cleansing()",
        )


def _step(step: float | None, window: int, clock: NDArray[Any]) -> float:
    """Time between images: without one given, the time that a window takes."""
    if step is None:
        step = window * float(clock[-1]) / (len(clock) - 1)
    step = number("step", step, above=0)
    if clock[-1] / step > MOST_IMAGES:
        raise ParameterError(
            "step",
            got=f"{step:g}, which makes {clock[-1] / step:.3g} images",
            wanted=f"at most {MOST_IMAGES}",
            fix="a larger step, in the unit of time; or split the movie at its pause",
        )
    return step


def _clock(time: ArrayLike | None, movie: xr.DataArray) -> NDArray[Any]:
    """Time since the first frame; the caller's dtype is kept because rounding decides ties."""
    clock = np.arange(len(movie)) if time is None else _times(time)
    if clock.shape != (len(movie),):
        raise ParameterError(
            "time",
            got=f"shape {clock.shape}",
            wanted=f"({len(movie)},)",
            fix="one time for each frame",
        )
    # Compared before they are subtracted: unsigned numbers that go back would come out large.
    rises = np.isfinite(clock).all() and (clock[1:] >= clock[:-1]).all() and clock[-1] > clock[0]
    clock = np.asarray(clock - clock[0])
    if not (rises and np.isfinite(clock[-1])):
        raise ParameterError(
            "time",
            got="a time axis with NaN, a step back or no duration",
            wanted="finite times that never go back",
            fix="split the movie where its clock restarts, or leave time out",
        )
    return clock


def _times(time: ArrayLike) -> NDArray[Any]:
    try:
        clock = np.asarray(time)
    except ValueError:  # lists of unequal length
        clock = np.asarray(None)
    if clock.dtype.kind in "iu":
        return clock.astype("i8")
    if clock.dtype not in (np.float32, np.float64):
        raise ParameterError(
            "time",
            got=f"dtype {clock.dtype}",
            wanted="integers, float32 or float64",
            fix="seconds from the first frame: (time - time[0]) / numpy.timedelta64(1, 's')",
        )
    return clock


def _series(movie: xr.DataArray, starts: NDArray[np.int64], window: int) -> Any:
    data = _graph.movie_data(movie)
    return _graph.window_map(upper_median, data, starts.tolist(), window, dtype=data.dtype)


def _used(series: Any, cleansing: Cleansing | None) -> Any:
    if cleansing is None or cleansing.fraction == 1:
        return np.ones(len(series), np.bool_)
    ranges = series.max(axis=2) - series.min(axis=2)
    return _graph.finish(
        clean,
        ranges,
        cleansing.fraction,
        cleansing.threshold,
        shape=(len(series),),
        dtype=bool,
    )


def _index(used: Any, clock: Any, times: Any, starts: Any, step: float | None, window: int) -> Any:
    kernel, where, span = _assignment(times, starts, step, window)
    if not _graph.is_lazy(used):
        return kernel(used, clock, where, span)
    return _graph.finish(kernel, used, clock, where, span, shape=clock.shape, dtype="i8")


def _assignment(times: Any, starts: Any, step: float | None, window: int) -> tuple[Any, Any, Any]:
    return (assign_centre, starts, window) if step is None else (assign_start, times, step)


def _offset(movie: xr.DataArray, series: Any, index: Any, rows: int | None) -> Any:
    if rows is None:
        return np.zeros(len(movie))
    of_frames = _graph.frame_reduce(frame_level, _graph.movie_data(movie), rows, dtype="f8")
    of_images = _graph.frame_reduce(frame_level, series, rows, dtype="f8")
    return _graph.series_map(frame_offset, of_frames, of_images, index, dtype="f8")
