"""Localization tables: a row for each emitter in each frame, in this package's names and units."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from packaging.version import Version

from smlm_dask.errors import TableError

__all__ = ["check_table", "read_table", "write_table"]

# Text to the nearest number: what pandas does by itself from 3.1 on, and warns about if told.
EXACT: dict[str, Any] = (
    {} if Version(pd.__version__) >= Version("3.1") else {"float_precision": "round_trip"}
)

# Other programs' names, without unit, and ours.
THUNDERSTORM = {
    "intensity": "photons",
    "offset": "background",
    "sigma1": "sigma_x",
    "sigma2": "sigma_y",
    "uncertainty_xy": "uncertainty",
}
PICASSO = {
    "bg": "background",
    "sx": "sigma_x",
    "sy": "sigma_y",
    "lpx": "uncertainty_x",
    "lpy": "uncertainty_y",
}
_ALONG_Y = {"y", "sigma_y", "uncertainty_y"}
_LENGTHS = {"x", "sigma", "sigma_x", "uncertainty", "uncertainty_x"} | _ALONG_Y
_NANOMETRES = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3}
_HEADER = re.compile(r"^\s*(?P<name>.*?)\s*\[(?P<unit>[^\]]*)\]\s*$")
_SUFFIXES = ".csv, .txt, .tsv, .parquet, .pq, .hdf5 or .h5"

PixelSize = float | tuple[float, float] | None


def read_table(path: str | Path, *, pixel_size: PixelSize = None) -> pd.DataFrame:
    """Read localizations written by ThunderSTORM, Picasso or this package.

    The file's own names and units tell which: headers with units (``"x [nm]"``) are ThunderSTORM's,
    ``sx`` or ``lpx`` are Picasso's, all else is taken as this package's. ThunderSTORM counts frames
    from 1 and lengths from the corner of the first pixel: they are brought to frames from 0 and a
    first pixel centred at 0. Picasso gives pixels, already centred so.

    Parameters
    ----------
    path : str or Path
        A file (.csv, .txt, .tsv, .parquet, .pq, .hdf5, .h5) or a folder of parquet files.
    pixel_size : float or (y, x), optional
        Width of a camera pixel in the sample, nm. Needed for files of ThunderSTORM and Picasso,
        unless ThunderSTORM's ``-protocol.txt`` or Picasso's ``.yaml`` lies beside the file.

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
        No such file, an unknown kind or unit, an unknown pixel size, or no numbers where there
        should be.
    """
    path = Path(path)
    raw = _read(path)
    if any(_HEADER.match(str(name)) for name in raw.columns):
        table = _from_thunderstorm(raw, path, pixel_size)
    elif {"sx", "lpx"} & set(raw.columns):
        table = _from_picasso(raw, path, pixel_size)
    else:
        table = raw
    return check_table(table, [c for c in ("frame", "x", "y") if c in table])


def write_table(
    table: pd.DataFrame,
    path: str | Path,
    *,
    thunderstorm: bool = False,
    pixel_size: PixelSize = None,
) -> None:
    """Write localizations, whole or not at all.

    Parameters
    ----------
    table : pd.DataFrame
        Columns in this package's names and units.
    path : str or Path
        The suffix chooses: .csv, .txt, .tsv, .parquet or .pq.
    thunderstorm : bool
        Write text as ThunderSTORM does: its names with units, frames from 1, lengths from the
        corner of the first pixel.
    pixel_size : float or (y, x), optional
        nm; needed for ThunderSTORM's half pixel.

    Raises
    ------
    TableError
        Another suffix, or ThunderSTORM without a pixel size.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    if path.suffix in (".parquet", ".pq") and not thunderstorm:
        table.to_parquet(part, index=False)
    elif path.suffix in (".csv", ".txt", ".tsv"):
        text = _to_thunderstorm(table, path, pixel_size) if thunderstorm else table
        quoting = 2 if thunderstorm else 0
        headers = pd.DataFrame(columns=text.columns)
        headers.to_csv(part, sep=_separator(path), index=False, quoting=quoting)  # type: ignore[call-overload]
        text.to_csv(part, sep=_separator(path), index=False, header=False, mode="a")
    else:
        wanted = ".csv, .txt or .tsv" if thunderstorm else ".csv, .txt, .tsv, .parquet or .pq"
        raise TableError(str(path), got=repr(path.suffix), wanted=wanted, fix="rename the file")
    part.replace(path)


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
    _check_names(table, columns)
    for name in columns:
        _check_numbers(table[name])
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


def _check_numbers(column: pd.Series[Any]) -> None:
    if column.dtype.kind not in "iuf":
        raise TableError(
            f"column {column.name!r}",
            got=f"dtype {column.dtype}",
            wanted="real numbers",
            fix=f"table[{column.name!r}] = pandas.to_numeric(table[{column.name!r}])",
        )


def _check_frames(table: pd.DataFrame) -> pd.DataFrame:
    frame = table["frame"].to_numpy("f8", na_value=np.nan)
    bad = ~((frame >= 0) & (frame == np.floor(frame)) & np.isfinite(frame))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise TableError(
            "column 'frame'",
            got=f"{frame[first]:g} in row {first}, {int(bad.sum())} such rows",
            wanted="integers from 0",
            fix="table = table[table['frame'] >= 0].astype({'frame': 'int64'})",
        )
    return table if table["frame"].dtype == np.int64 else table.astype({"frame": "int64"})


# ------------------------------------------------------------------ files


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise TableError(str(path), got="no such file", wanted="a file", fix="check the path")
    if path.suffix in (".hdf5", ".h5"):
        return _read_hdf5(path)
    if path.suffix in (".parquet", ".pq") or path.is_dir():
        return pd.read_parquet(path)
    if path.suffix not in (".csv", ".txt", ".tsv"):
        raise TableError(str(path), got=repr(path.suffix), wanted=_SUFFIXES, fix="rename the file")
    try:
        with warnings.catch_warnings():
            # More fields in a row than in the header: pandas would shift or drop columns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, sep=_separator(path), index_col=False, **EXACT)
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
    ) as error:
        raise TableError(
            str(path), got=str(error).strip(), wanted="text with a header", fix="export it again"
        ) from error


def _separator(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _read_hdf5(path: Path) -> pd.DataFrame:
    try:
        import h5py
    except ImportError as error:
        raise TableError(
            str(path),
            got="no h5py",
            wanted="h5py, which reads hdf5",
            fix="pip install 'smlm-dask[picasso]'",
        ) from error
    with h5py.File(path) as file:
        names = sorted(file)
        if "locs" not in names:
            fix = "save localizations from Picasso, not a movie"
            raise TableError(str(path), got=f"datasets {names}", wanted="'locs'", fix=fix)
        rows = file["locs"][:]
    return pd.DataFrame({name: rows[name] for name in rows.dtype.names})


# ------------------------------------------------------------------ other programs


def _from_thunderstorm(raw: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    pixels = _pixels(path, pixel_size, _beside_thunderstorm(path))
    out: dict[str, Any] = {}
    for header in raw.columns:
        match = _HEADER.match(str(header))
        name, unit = (match["name"], match["unit"]) if match else (str(header).strip(), "")
        name = THUNDERSTORM.get(name, name)
        width = pixels[0 if name in _ALONG_Y else 1]
        scale = _scale(name, unit, width, path)
        if scale is not None or name == "frame":
            _check_numbers(raw[header])
        out[name] = raw[header] if scale in (None, 1.0) else raw[header] * scale
        shift = {"x": 0.5 * width, "y": 0.5 * width, "frame": 1}.get(name, 0)
        out[name] = out[name] - shift if shift else out[name]
    return pd.DataFrame(out)


def _scale(name: str, unit: str, width: float, path: Path) -> float | None:
    """Factor to this package's unit; None for columns that it does not know."""
    if name in _LENGTHS or name == "z":
        known = _NANOMETRES | ({} if name == "z" else {"px": width, "pixel": width})
    elif name in ("photons", "background"):
        known = {"photon": 1.0, "photons": 1.0}
    else:
        return None
    if unit not in known:
        raise TableError(
            f"{path}, column {name!r}",
            got=f"unit {unit!r}",
            wanted=" or ".join(sorted(known)),
            fix="export it in this unit",
        )
    return known[unit]


def _from_picasso(raw: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    pixels = _pixels(path, pixel_size, _beside_picasso(path))
    table = raw.astype({c: "f8" for c in raw if raw[c].dtype == "f4"}).rename(columns=PICASSO)
    for name in _LENGTHS & set(table.columns):
        _check_numbers(table[name])
        table[name] = table[name] * pixels[0 if name in _ALONG_Y else 1]
    return table


def _pixels(path: Path, given: PixelSize, beside: float | None) -> tuple[float, float]:
    """Pixel size (y, x), as given or as the other program wrote it down."""
    size = beside if given is None else given
    if size is None:
        raise TableError(
            str(path),
            got="no pixel size",
            wanted="nm, to turn pixels into lengths from the centre of the first one",
            fix=f"read_table({path.name!r}, pixel_size=100)",
        )
    y, x = np.broadcast_to(np.asarray(size, "f8"), (2,))
    if not (0 < y < np.inf and 0 < x < np.inf):
        raise TableError("pixel_size", got=repr(size), wanted="nm > 0", fix="pixel_size=100")
    return float(y), float(x)


def _beside_thunderstorm(path: Path) -> float | None:
    return _find(path.with_name(f"{path.stem}-protocol.txt"), r'"pixelSize"\s*:\s*([\d.]+)')


def _beside_picasso(path: Path) -> float | None:
    return _find(path.with_suffix(".yaml"), r"(?m)^Pixelsize:\s*([\d.]+)")


def _find(path: Path, pattern: str) -> float | None:
    """Read the last number that follows a pattern: later steps of a protocol stand below."""
    if not path.exists():
        return None
    found = re.findall(pattern, path.read_text(errors="replace"))
    return float(found[-1]) if found else None


def _to_thunderstorm(table: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    y, x = _pixels(path, pixel_size, None)
    out = table.copy()
    for name, step in (("x", 0.5 * x), ("y", 0.5 * y), ("frame", 1)):
        if name in out:
            out[name] = out[name] + step
    theirs = {ours: name for name, ours in THUNDERSTORM.items()}
    return out.rename(columns={c: _header(theirs.get(c, c), c) for c in map(str, out.columns)})


def _header(theirs: str, ours: str) -> str:
    if ours in _LENGTHS or ours == "z":
        return f"{theirs} [nm]"
    return f"{theirs} [photon]" if ours in ("photons", "background") else theirs
