"""dcnum's sparse median background under its own names.

Equal to ``dcnum.feat.feat_background.bg_sparse_median.BackgroundSparseMed`` of dcnum 0.31, bit for bit,
for uint8 images. What differs on purpose: other dtypes are kept where dcnum wraps them to uint8; the
time of an array can be given; a time axis that goes back or holds NaN is refused where dcnum
assigns one image to all frames.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smlm_dask import _graph
from smlm_dask.background import Cleansing, background_sparse_median
from smlm_dask.check import flag, number, whole_number
from smlm_dask.errors import ParameterError
from smlm_dask.movie import as_movie, check_movie

__all__ = ["sparse_median"]


def sparse_median(
    images: ArrayLike | xr.DataArray,
    *,
    time: ArrayLike | None = None,
    frame: ArrayLike | None = None,
    frame_rate: float | None = None,
    kernel_size: int = 200,
    split_time: float = 1.0,
    thresh_cleansing: float = 0,
    frac_cleansing: float = 0.8,
    offset_correction: bool = True,
) -> xr.Dataset:
    """Sparse median background with cleansing, as dcnum computes it.

    Parameters
    ----------
    images : (frame, y, x)
        Array, dask array or movie.
    time : (frame,), optional
        Seconds. Else ``frame / frame_rate``; else a clock guessed at 1.5 times the length of the
        movie at ``frame_rate``, or at 3600 frames a second.
    frame : (frame,), optional
        Frame numbers, with ``frame_rate``.
    frame_rate : float, optional
        Frames a second.
    kernel_size : int
        Frames in a window; the whole movie, with a warning, if it is shorter.
    split_time : float
        Seconds between background images.
    thresh_cleansing, frac_cleansing : float
        See ``Cleansing``; ``frac_cleansing=1`` keeps all images.
    offset_correction : bool
        Without it ``bg_off`` is missing.

    Returns
    -------
    xarray.Dataset
        ``image_bg`` (step, y, x), all images of the series; ``step_times`` (step) s; ``used`` (step)
        bool; ``bg_idx`` (event) int64 into the used images; ``bg_off`` (event) float64. The background
        of frame i is ``image_bg[used][bg_idx[i]] + bg_off[i]``. Lazy but for ``step_times``.

    Raises
    ------
    SmlmError
        ``ParameterError`` for impossible parameters or times, and the errors of the block.
    """
    movie = images if isinstance(images, xr.DataArray) else as_movie(images, pixel_size=1.0)
    clock = _clock(len(check_movie(movie)), time, frame, frame_rate)
    background = background_sparse_median(
        movie,
        window=_kernel_size(kernel_size, len(movie)),
        step=number("split_time", split_time, above=0),
        time=clock,
        cleansing=Cleansing(frac_cleansing, thresh_cleansing),
        offset_rows=20 if flag("offset_correction", offset_correction) else None,
        assign="start",
    )
    return _renamed(background, offset_correction)


def _clock(n: int, time: Any, frame: Any, frame_rate: float | None) -> NDArray[Any]:
    if frame_rate is not None:
        # An HDF5 attribute may be an array without axes.
        plain = (
            frame_rate.item()
            if isinstance(frame_rate, np.ndarray) and not frame_rate.ndim
            else frame_rate
        )
        frame_rate = number("frame_rate", plain, above=0)
    if time is not None:
        return _each_frame("time", time, n)
    if frame is not None and frame_rate is not None:
        # A float64 rate, as an HDF5 attribute is, turns float32 frame numbers to float64.
        return np.asarray(_each_frame("frame", frame, n) / np.float64(frame_rate))
    # 1.5 and 3600: the guesses of the program itself, when it knows no better.
    return np.linspace(0, n / (3600 if frame_rate is None else frame_rate) * 1.5, n)


def _each_frame(name: str, values: Any, n: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.shape != (n,):
        raise ParameterError(
            name,
            got=f"{array.dtype} of shape {array.shape}",
            wanted=f"real numbers, one for each of {n} frames",
            fix=f"check {name}",
        )
    return array


def _kernel_size(kernel_size: int, n: int) -> int:
    kernel_size = whole_number("kernel_size", kernel_size, at_least=1)
    if kernel_size > n:
        warnings.warn(
            f"kernel_size {kernel_size} is cut to the {n} frames of the movie", stacklevel=3
        )
    return min(kernel_size, n)


def _renamed(background: xr.Dataset, offset_correction: bool) -> xr.Dataset:
    used, index = background.series_used.data, background.series_index.data
    place = _graph.finish(_among_used, used, index, shape=index.shape, dtype="i8")
    values = {
        "image_bg": (("step", "y", "x"), background.series.data),
        "step_times": (("step",), background.window_time.data),
        "used": (("step",), used),
        "bg_idx": (("event",), place),
        "bg_off": (("event",), background.series_offset.data),
    }
    if not offset_correction:
        del values["bg_off"]
    return xr.Dataset(values)


def _among_used(used: NDArray[np.bool_], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices into the whole series as indices into its used images."""
    return np.maximum(np.cumsum(used) - 1, 0)[index]
