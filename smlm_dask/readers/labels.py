"""The coordinates every movie carries: integer indices, pixel sizes in nm, and the time in s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from smlm_dask.check import number, shown
from smlm_dask.errors import PixelSizeError

__all__ = ["DIMS", "label", "pixel_sizes"]

DIMS = ("frame", "y", "x")
# A pixel below 1 nm or above 0.1 mm is a value in another unit.
PIXEL_LIMITS_NM = (1.0, 1e5)
REAL = (int, float, np.integer, np.floating)


def pixel_sizes(pixel_size: object) -> tuple[float, float]:
    """``(y, x)`` in nm, from one number or a pair."""
    pair: Any = (
        pixel_size if isinstance(pixel_size, Sequence | np.ndarray) else (pixel_size, pixel_size)
    )
    low, high = PIXEL_LIMITS_NM
    good = (
        not isinstance(pair, str)
        and len(pair) == 2
        and all(
            isinstance(size, REAL) and not isinstance(size, bool) and low <= size <= high
            for size in pair
        )
    )
    if not good:
        raise PixelSizeError(
            "pixel_size",
            got=shown(pixel_size),
            wanted="nm in the sample, one number or (y, x)",
            fix="pass camera pixel / magnification in nm, e.g. pixel_size=108",
        )
    return float(pair[0]), float(pair[1])


def label(
    sizes: Sequence[int],
    pixel_size: object,
    frame_time: float | None = None,
    index: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Any]:
    """Coordinates of a movie of ``sizes``; ``index`` holds indices that are known already."""
    known = {name: _compact(values) for name, values in (index or {}).items()}
    coords: dict[str, Any] = {
        name: known.get(name, pd.RangeIndex(size)) for name, size in zip(DIMS, sizes, strict=True)
    }
    for name, size in zip(("pixel_size_y", "pixel_size_x"), pixel_sizes(pixel_size), strict=True):
        coords[name] = xr.Variable((), size, {"units": "nm"})
    if frame_time is not None:
        step = number("frame_time", frame_time, above=0, fix="frame_time=0.02, or leave it out")
        seconds = np.asarray(coords["frame"]) * step
        coords["time"] = xr.Variable("frame", seconds, {"units": "s"})
    return coords


def _compact(values: ArrayLike) -> pd.Index:
    """Make an index, a range where it is one: 100,000 frame numbers would pickle in 800 kB."""
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "iu":
        return pd.Index(numbers)  # no place on a sensor: check_movie says so
    step = int(numbers[1]) - int(numbers[0]) if numbers.size > 1 else 1
    start = int(numbers[0]) if numbers.size else 0
    span = pd.RangeIndex(start, start + step * numbers.size, step) if step else None
    return span if span is not None and np.array_equal(span, numbers) else pd.Index(numbers)
