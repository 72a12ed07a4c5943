"""What a column of a localization table must be: there, once, and in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smlm_dask.errors import TableError

__all__ = ["check_numbers", "check_once", "check_table"]

LAST_FRAME = 2.0**63  # beyond it int64 turns negative


def check_table(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the table with whole frames, if it has these columns and they hold numbers.

    Rows with a position that is NaN or infinite are kept: what is computed from them is NaN.

    Parameters
    ----------
    table : pd.DataFrame
        Localizations.
    columns : sequence of str
        The columns that must be there.

    Returns
    -------
    pd.DataFrame
        The same rows; ``frame``, if asked for, as int64.

    Raises
    ------
    TableError
        No table, a missing, doubled or non-numeric column, a frame that is negative or no integer.
    """
    if not isinstance(table, pd.DataFrame):
        raise TableError(
            "table",
            got=type(table).__name__,
            wanted="a pandas.DataFrame",
            fix="table = smlm_dask.read_table(path) or table = table.compute()",
        )
    if table.columns.nlevels > 1:
        raise TableError(
            "table",
            got=f"names of {table.columns.nlevels} levels",
            wanted="one name for each column",
            fix="table.columns = table.columns.get_level_values(0)",
        )
    _check_names(table, columns)
    for name in columns:
        check_numbers(table[name])
    return _check_frames(table) if "frame" in columns else table


def _check_names(table: pd.DataFrame, columns: Sequence[str]) -> None:
    got = f"columns {[str(c) for c in table.columns]}"
    missing = [c for c in columns if c not in table]
    if missing:
        fix = f"table.rename(columns={{'theirs': {missing[0]!r}}}), or read_table(path)"
        raise TableError("table", got=got, wanted=f"also {missing}", fix=fix)
    if table.columns[table.columns.isin(list(columns))].duplicated().any():
        fix = "table.loc[:, ~table.columns.duplicated()]"
        raise TableError("table", got=got, wanted="each column once", fix=fix)


def check_once(names: Iterable[Any], path: Path) -> None:
    """No name twice, theirs or ours: nothing says which of the columns would be used."""
    names = [str(name) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(
            str(path),
            got=f"columns {names}",
            wanted=f"each column once, not {twice} twice",
            fix="rename or drop one of them",
        )


def check_numbers(column: pd.Series[Any]) -> None:
    """No words, and no truth values either."""
    if column.dtype.kind not in "iuf":
        raise TableError(
            f"column {column.name!r}",
            got=f"dtype {column.dtype}",
            wanted="real numbers",
            fix=f"table[{column.name!r}] = pandas.to_numeric(table[{column.name!r}])",
        )


def _check_frames(table: pd.DataFrame) -> pd.DataFrame:
    frame = table["frame"].to_numpy("f8", na_value=np.nan)
    bad = ~((frame >= 0) & (frame == np.floor(frame)) & (frame < LAST_FRAME))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise TableError(
            "column 'frame'",
            got=f"{frame[first]:g} in row {first}, {int(bad.sum())} such rows",
            wanted="integers from 0, below 2^63",
            fix="table = table[table['frame'] >= 0].astype({'frame': 'int64'})",
        )
    return table if table["frame"].dtype == np.int64 else table.astype({"frame": "int64"})
