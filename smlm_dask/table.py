"""Localization tables: a row for each emitter in each frame, in this package's names and units."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from packaging.version import Version

from smlm_dask.check import choice
from smlm_dask.columns import check_once, check_table
from smlm_dask.errors import SmlmError, TableError
from smlm_dask.programs import (
    FROM,
    METADATA,
    PROGRAMS,
    TO,
    PixelSize,
    name_and_unit,
    picasso_info,
    program_of,
)
from smlm_dask.readers.hdf5_file import check_inside, opened, resolve
from smlm_dask.readers.labels import pixel_sizes

__all__ = ["check_table", "read_table", "write_table"]

# Text to the nearest number: what pandas does by itself from 3.1 on, and warns about if told.
EXACT: dict[str, Any] = (
    {} if Version(pd.__version__) >= Version("3.1") else {"float_precision": "round_trip"}
)

TEXT = (".csv", ".txt", ".tsv")
PARQUET = (".parquet", ".pq")
HDF5 = (".hdf5", ".h5")

# What each program reads; None is this package.
SUFFIXES: dict[str | None, tuple[str, ...]] = {
    None: (*TEXT, *PARQUET),
    "thunderstorm": TEXT,
    "smlmlp": TEXT,
    "picasso": HDF5,
}


def read_table(path: str | Path, *, pixel_size: PixelSize = None) -> pd.DataFrame:
    """Read localizations written by ThunderSTORM, Picasso, smlmlp or this package.

    The file's own names and units tell which: ``x fit [nm]`` or ``x detection [nm]`` are smlmlp's,
    other headers with units (``x [nm]``) ThunderSTORM's, ``sx`` or ``lpx`` Picasso's, all else is taken
    as this package's. ThunderSTORM counts frames from 1 and lengths from the corner of the first pixel,
    smlmlp frames from 1 and lengths from its centre, Picasso frames from 0 and pixels from its centre:
    all are brought to frames from 0 and nm from the centre.

    Parameters
    ----------
    path : str or Path
        A file (.csv, .txt, .tsv, .parquet, .pq, .hdf5, .h5) or a folder of parquet files.
    pixel_size : float or (y, x), optional
        Width of a camera pixel in the sample, nm. Needed for files of ThunderSTORM and Picasso,
        unless ThunderSTORM's ``-protocol.txt`` or Picasso's ``.yaml`` lies beside the file, or
        Picasso wrote it into the file.

    Returns
    -------
    pd.DataFrame
        In the order of the file, those that it has of: ``frame`` (int64, from 0), ``x``, ``y`` and
        ``z`` nm, ``photons`` photon, ``background`` photon / pix, ``sigma``, ``sigma_x`` and
        ``sigma_y`` nm, ``uncertainty``, ``uncertainty_x`` and ``uncertainty_y`` nm; and others
        under their own names. Picasso's photons are what its camera settings make of a count:
        divide them by the quantum efficiency if those had none.

    Raises
    ------
    TableError
        No such file, a damaged one, an unknown kind or unit, an unknown pixel size, a name that
        stands twice, or no numbers where there should be.
    PixelSizeError
        A pixel size that cannot be.
    """
    path = _as_path(path)
    pixel_size = None if pixel_size is None else pixel_sizes(pixel_size)
    raw = _read(path)
    # Only Picasso writes localizations to hdf5, whatever columns it has: taken as ours, pixels were nm.
    program = "picasso" if path.suffix.lower() in HDF5 else program_of(raw.columns)
    table = raw if program is None else FROM[program](raw, path, pixel_size)
    table.attrs.pop(METADATA, None)
    check_once(table.columns, path)
    return check_table(table, [c for c in ("frame", "x", "y") if c in table])


def write_table(
    table: pd.DataFrame,
    path: str | Path,
    *,
    program: str | None = None,
    pixel_size: PixelSize = None,
    shape: Sequence[int] | None = None,
) -> None:
    """Write localizations, whole or not at all.

    Parameters
    ----------
    table : pd.DataFrame
        Columns in this package's names and units.
    path : str or Path
        The suffix chooses: .csv, .txt, .tsv, .parquet or .pq; .hdf5 or .h5 for Picasso.
    program : "thunderstorm", "picasso" or "smlmlp", optional
        Write what this program reads: its names and units, its first frame and pixel. For Picasso
        with a ``.yaml`` beside, in single precision; it leaves out rows with a negative position or
        with NaN when it opens them.
    pixel_size : float or (y, x), optional
        nm; needed for ThunderSTORM's half pixel and for Picasso's pixels.
    shape : (frame, y, x), optional
        Of the movie, for Picasso. By default the least that holds all rows.

    Raises
    ------
    TableError
        No table, a name that stands twice, another suffix, no folder to write to, a program without
        the pixel size that it needs, or columns that it cannot have.
    PixelSizeError, ParameterError
        A pixel size that cannot be, an unknown program.
    """
    path = _as_path(path)
    if program is not None:
        choice("program", program, PROGRAMS)
    _check_target(path, SUFFIXES[program])
    check_once(check_table(table, []).columns, path)
    rows = table if program is None else TO[program](table, path, pixel_size)
    with ExitStack() as parts:
        part = parts.enter_context(_whole(path))
        if program == "picasso":
            info = picasso_info(rows, shape, pixel_size)
            parts.enter_context(_whole(path.with_suffix(".yaml"))).write_text(
                yaml.safe_dump(info, sort_keys=False)
            )
            _write_hdf5(rows, part, info)
        elif path.suffix.lower() in TEXT:
            _write_text(rows, part, _separator(path), quoting=2 if program else 0)
        else:
            _write_parquet(rows, part, path)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file that gets its name when everything is in it."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_text(rows: pd.DataFrame, part: Path, separator: str, *, quoting: int) -> None:
    headers = pd.DataFrame(columns=rows.columns)
    headers.to_csv(part, sep=separator, index=False, quoting=quoting)  # type: ignore[call-overload]
    rows.to_csv(part, sep=separator, index=False, header=False, mode="a")


def _write_parquet(rows: pd.DataFrame, part: Path, path: Path) -> None:
    try:
        rows.to_parquet(part, index=False)
    except (TypeError, ValueError) as error:  # pyarrow's own errors are among them
        raise TableError(
            str(path),
            got=_first_line(error),
            wanted="columns of one type each",
            fix="table.astype(...), or write .csv",
        ) from error


def _write_hdf5(rows: pd.DataFrame, part: Path, info: dict[str, Any]) -> None:
    with opened(str(part), "w") as file:
        file.create_dataset("locs", data=rows.to_records(index=False))
        file.create_dataset("metadata", data=json.dumps([info]))


def _check_target(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise TableError(
            str(path), got=repr(path.suffix), wanted=" or ".join(suffixes), fix="rename the file"
        )
    if path.is_dir() or not path.parent.is_dir():
        raise TableError(
            str(path),
            got="a folder" if path.is_dir() else f"no folder {str(path.parent)!r}",
            wanted="a file in a folder that exists",
            fix="another name, or make the folder",
        )


# ------------------------------------------------------------------ files


def _as_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TableError(
            "path", got=repr(path), wanted="a str or pathlib.Path", fix='read_table("spots.csv")'
        )
    return Path(path)


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise TableError(str(path), got="no such file", wanted="a file", fix="check the path")
    known = (*TEXT, *PARQUET, *HDF5)
    if path.suffix.lower() not in known and not path.is_dir():
        wanted = f"{', '.join(known[:-1])} or {known[-1]}"
        raise TableError(str(path), got=repr(path.suffix), wanted=wanted, fix="rename the file")
    try:
        if path.is_dir() or path.suffix.lower() in PARQUET:
            return _read_parquet(path)
        return _read_hdf5(path) if path.suffix.lower() in HDF5 else _read_text(path)
    except SmlmError:
        raise
    except Exception as error:  # a damaged file makes its library raise anything at all
        wanted = "a folder of parquet files" if path.is_dir() else "a complete, undamaged table"
        fix = "export it again, or copy it again from its source"
        raise TableError(str(path), got=_first_line(error), wanted=wanted, fix=fix) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _read_parquet(path: Path) -> pd.DataFrame:
    if path.is_dir() and not any(p.suffix.lower() in PARQUET for p in path.rglob("*")):
        raise TableError(
            str(path),
            got="a folder without .parquet or .pq files",
            wanted="a table",
            fix="check the path",
        )
    return pd.read_parquet(path)


def _read_text(path: Path) -> pd.DataFrame:
    options: dict[str, Any] = {"sep": _separator(path), "skipinitialspace": True}
    try:
        # pandas numbers names that stand twice and those that are missing: the line itself is read, too.
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0].str.strip()
        _check_header(header.dropna().tolist(), path)
        with warnings.catch_warnings():
            # More fields in a row than in the header: pandas would shift or drop columns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False, **options, **EXACT)
    except SmlmError:
        raise
    except (ValueError, pd.errors.ParserWarning) as error:
        raise TableError(
            str(path), got=_first_line(error), wanted="text with a header", fix="export it again"
        ) from error
    table.columns = pd.Index(header.where(header.notna(), table.columns).tolist())
    # Without rows nothing tells numbers from words.
    return table.astype("f8") if table.empty else table


def _check_header(names: list[str], path: Path) -> None:
    """Numbers are no names but the first row, and one column with a separator in it is a whole line."""
    numbers = all(map(_is_number, names))
    line = len(names) == 1 and re.search(r"[;,\t]|\S\s+\S", name_and_unit(names[0])[0])
    if numbers or line:
        raise TableError(
            str(path),
            got=f"the first line {names}" if numbers else f"one column {names[0]!r}",
            wanted=f"names of columns, separated by {_separator(path)!r}",
            fix=f"pandas.read_csv({path.name!r}, sep=..., decimal=...), and name its columns",
        )
    check_once(names, path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _read_hdf5(path: Path) -> pd.DataFrame:
    with opened(str(path)) as file:
        fix = "save localizations from Picasso, not a movie"
        name = resolve(str(path), file, "locs")
        if name is None:
            names = sorted(file)
            raise TableError(str(path), got=f"datasets {names}", wanted="'locs'", fix=fix)
        locs = file[name]
        fields = getattr(getattr(locs, "dtype", None), "names", None)
        if fields is None or locs.ndim != 1:
            raise TableError(
                str(path), got=f"'locs' is {locs}", wanted="rows with named fields", fix=fix
            )
        check_inside(str(path), name, locs)
        rows = locs[:]
        beside = resolve(str(path), file, "metadata")
        said = b"" if beside is None else file[beside][()]
    table = pd.DataFrame({field: rows[field] for field in fields})
    table.attrs[METADATA] = said.decode(errors="replace") if isinstance(said, bytes) else ""
    return table
