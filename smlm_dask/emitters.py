"""Rows of a localization table as the kernels take them: where each crop lies, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smlm_dask.columns import check_table
from smlm_dask.errors import TableError
from smlm_dask.kernels.integrate import COLUMNS

__all__ = ["own_widths", "rows_of"]

WIDTHS = COLUMNS[-3:]
OPTIONAL = ("x", "y", "z", "sigma", "sigma_y", "sigma_x", "theta")


def rows_of(
    movie: xr.DataArray,
    table: pd.DataFrame,
    size: tuple[int, int],
    needed: Sequence[str],
    defaults: Mapping[str, float],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Position on the frame axis and the columns of ``COLUMNS`` for each row of the table.

    Parameters
    ----------
    movie : (frame, y, x)
        Without a column ``frame`` in ``needed``, one crop for each row.
    table : pandas.DataFrame
        Checked here.
    size : tuple of int
        Rows and columns of a crop.
    needed : sequence of str
        Columns that the table must have.
    defaults : mapping of str to float
        Columns that it may have, and what counts where it has none.

    Raises
    ------
    TableError
        For missing columns, or frames or positions outside the movie.
    """
    table = check_table(table, needed)
    check_table(table, [n for n in (*OPTIONAL, *defaults) if n in table and n not in needed])
    rows = np.full((len(table), len(COLUMNS)), np.nan)
    place = _corner if "frame" in needed else _corner_of_crop
    for i, axis in enumerate("yx"):
        rows[:, i], rows[:, 2 + i] = place(movie, table, axis, size[i])
    names = {name: name for name in ("z", *needed, *defaults) if name in table}
    names |= {n: own for n, own in zip(WIDTHS, own_widths(table), strict=True) if own is not None}
    for i, name in enumerate(COLUMNS[4:], start=4):
        if name in names:
            rows[:, i] = table[names[name]]
        elif name not in WIDTHS:
            rows[:, i] = defaults.get(name, 0.0)
    # An infinite number is as little known as NaN; the sums would show it as an infinite photon count.
    rows[np.isinf(rows)] = np.nan
    frames = _frames(movie, table) if "frame" in needed else np.arange(len(table))
    return frames, rows


def own_widths(table: pd.DataFrame) -> tuple[str | None, str | None, str | None]:
    """The columns that hold sigma_y, sigma_x and theta of each emitter, where the table has them."""
    both = "sigma" if "sigma" in table else None
    width_y, width_x = (name if name in table else both for name in ("sigma_y", "sigma_x"))
    return width_y, width_x, "theta" if "theta" in table else None


def _corner(movie: xr.DataArray, table: pd.DataFrame, axis: str, length: int) -> tuple[Any, Any]:
    """First pixel of each crop within the frame, and the emitter's distance from its centre in nm."""
    pixel = float(movie[f"pixel_size_{axis}"])
    position = table[axis].to_numpy("f8")
    index = movie.get_index(axis).to_numpy()
    _check_inside(axis, position / pixel, index)
    corner = np.nan_to_num(np.rint(position / pixel)) - length // 2
    return corner - index[0], position - corner * pixel


def _corner_of_crop(
    movie: xr.DataArray, table: pd.DataFrame, axis: str, length: int
) -> tuple[Any, Any]:
    """The same for a crop that is a frame of its own, and stands at ``x0``, ``y0`` on the sensor."""
    if len(table) != len(movie):
        raise TableError(
            "table",
            got=f"{len(table)} rows",
            wanted=f"one for each of {len(movie)} crops",
            fix="select alike",
        )
    origin = table[f"{axis}0"].to_numpy("f8") * float(movie[f"pixel_size_{axis}"])
    position = table[axis].to_numpy("f8") if axis in table else origin
    return np.zeros(len(table)), position - origin


def _check_inside(axis: str, position: NDArray[np.float64], index: NDArray[Any]) -> None:
    outside = (position < index[0] - 0.5) | (position > index[-1] + 0.5)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise TableError(
            f"column {axis!r}",
            got=f"{outside.sum()} positions outside the movie, first row {row} at pixel {position[row]:.1f}",
            wanted=f"positions on pixels {index[0]} to {index[-1]}, in nm",
            fix="check the unit (nm) and the movie's pixel size and crop",
        )


def _frames(movie: xr.DataArray, table: pd.DataFrame) -> NDArray[np.int64]:
    place = movie.get_index("frame").get_indexer(pd.Index(table["frame"].to_numpy("i8")))
    if (place < 0).any():
        row = int(np.flatnonzero(place < 0)[0])
        raise TableError(
            "column 'frame'",
            got=f"{(place < 0).sum()} frames outside the movie, first row {row}: {table['frame'].iloc[row]}",
            wanted=f"frames of the movie, {int(movie.frame[0])} to {int(movie.frame[-1])}",
            fix='count frames from 0, or select rows: table[table["frame"].isin(movie.frame)]',
        )
    return np.asarray(place, np.int64)
