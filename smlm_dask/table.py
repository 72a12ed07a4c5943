"""Localization tables: a row for each emitter in each frame, in this package's names and units."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from packaging.version import Version

from smlm_dask.errors import SmlmError, TableError
from smlm_dask.readers.labels import pixel_sizes

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
TEXT = (".csv", ".txt", ".tsv")
PARQUET = (".parquet", ".pq")
HDF5 = (".hdf5", ".h5")

LAST_FRAME = 2.0**63  # beyond it int64 turns negative

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
        No such file, a damaged one, an unknown kind or unit, an unknown pixel size, a name that
        stands twice, or no numbers where there should be.
    PixelSizeError
        A pixel size that cannot be.
    """
    path = _as_path(path)
    pixel_size = None if pixel_size is None else pixel_sizes(pixel_size)
    raw = _read(path)
    if any(_HEADER.match(str(name)) for name in raw.columns):
        table = _from_thunderstorm(raw, path, pixel_size)
    elif {"sx", "lpx"} & set(raw.columns):
        table = _from_picasso(raw, path, pixel_size)
    else:
        table = raw
    _check_once(table.columns, path)
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
        No table, a name that stands twice, another suffix, no folder to write to, or ThunderSTORM
        without a pixel size.
    PixelSizeError
        A pixel size that cannot be.
    """
    path = _as_path(path)
    _check_target(path, thunderstorm)
    _check_once(check_table(table, []).columns, path)
    text = _to_thunderstorm(table, path, pixel_size) if thunderstorm else table
    part = path.with_name(f".{path.name}.part")
    try:
        _write(text, part, path, thunderstorm)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(text: pd.DataFrame, part: Path, path: Path, thunderstorm: bool) -> None:
    if path.suffix.lower() in TEXT:
        headers = pd.DataFrame(columns=text.columns)
        quoting = 2 if thunderstorm else 0
        headers.to_csv(part, sep=_separator(path), index=False, quoting=quoting)  # type: ignore[call-overload]
        text.to_csv(part, sep=_separator(path), index=False, header=False, mode="a")
        return
    try:
        text.to_parquet(part, index=False)
    except (TypeError, ValueError) as error:  # pyarrow's own errors are among them
        raise TableError(
            str(path),
            got=_first_line(error),
            wanted="columns of one type each",
            fix="table.astype(...), or write .csv",
        ) from error


def _check_target(path: Path, thunderstorm: bool) -> None:
    wanted = TEXT if thunderstorm else (*TEXT, *PARQUET)
    if path.suffix.lower() not in wanted:
        raise TableError(
            str(path), got=repr(path.suffix), wanted=" or ".join(wanted), fix="rename the file"
        )
    if path.is_dir() or not path.parent.is_dir():
        raise TableError(
            str(path),
            got="a folder" if path.is_dir() else f"no folder {str(path.parent)!r}",
            wanted="a file in a folder that exists",
            fix="another name, or make the folder",
        )


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


def _check_once(names: Iterable[Any], path: Path) -> None:
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
    line = len(names) == 1 and re.search(r"[;,\t]|\S\s+\S", _name_and_unit(names[0])[0])
    if numbers or line:
        raise TableError(
            str(path),
            got=f"the first line {names}" if numbers else f"one column {names[0]!r}",
            wanted=f"names of columns, separated by {_separator(path)!r}",
            fix=f"pandas.read_csv({path.name!r}, sep=..., decimal=...), and name its columns",
        )
    _check_once(names, path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _read_hdf5(path: Path) -> pd.DataFrame:
    try:
        import h5py
    except ImportError as error:
        raise TableError(
            str(path),
            got="no h5py",
            wanted="h5py, which reads hdf5",
            fix="pip install 'smlm-dask[hdf5]'",
        ) from error
    with h5py.File(path) as file:
        names = sorted(file)
        fix = "save localizations from Picasso, not a movie"
        if "locs" not in names:
            raise TableError(str(path), got=f"datasets {names}", wanted="'locs'", fix=fix)
        fields = getattr(getattr(file["locs"], "dtype", None), "names", None)
        if fields is None or file["locs"].ndim != 1:
            raise TableError(
                str(path), got=f"'locs' is {file['locs']}", wanted="rows with named fields", fix=fix
            )
        rows = file["locs"][:]
    return pd.DataFrame({name: rows[name] for name in fields})


# ------------------------------------------------------------------ other programs


def _from_thunderstorm(raw: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    pixels = _pixels(path, pixel_size, _beside_thunderstorm(path))
    out: dict[str, Any] = {}
    headers = [_name_and_unit(str(header)) for header in raw.columns]
    _check_once((name for name, _ in headers), path)
    for header, (name, unit) in zip(raw.columns, headers, strict=True):
        width = pixels[0 if name in _ALONG_Y else 1]
        scale = _scale(name, unit, width, path)
        if scale is not None or name == "frame":
            _check_numbers(raw[header])
        out[name] = raw[header] if scale in (None, 1.0) else raw[header] * scale
        shift = {"x": 0.5 * width, "y": 0.5 * width, "frame": 1}.get(name, 0)
        out[name] = out[name] - shift if shift else out[name]
    return pd.DataFrame(out)


def _name_and_unit(header: str) -> tuple[str, str]:
    """Our name, and the unit that stands behind theirs."""
    match = _HEADER.match(header)
    name, unit = (match["name"], match["unit"]) if match else (header.strip(), "")
    return THUNDERSTORM.get(name, name), unit


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
    _check_once(table.columns, path)
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
    return pixel_sizes(size)


def _beside_thunderstorm(path: Path) -> float | None:
    return _find(path.with_name(f"{path.stem}-protocol.txt"), r'"pixelSize"\s*:\s*([^\s,}]+)')


def _beside_picasso(path: Path) -> float | None:
    return _find(path.with_suffix(".yaml"), r"(?m)^Pixelsize:\s*(\S+)")


def _find(path: Path, pattern: str) -> float | None:
    """Read the last number that follows a pattern: later steps of a protocol stand below."""
    if not path.exists():
        return None
    found = re.findall(pattern, path.read_text(errors="replace"))
    try:
        return float(found[-1]) if found else None
    except ValueError:
        return None


def _to_thunderstorm(table: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    y, x = _pixels(path, pixel_size, None)
    out = table.copy()
    for name, step in (("x", 0.5 * x), ("y", 0.5 * y), ("frame", 1)):
        if name in out:
            _check_numbers(out[name])
            out[name] = out[name] + step
    theirs = {ours: name for name, ours in THUNDERSTORM.items()}
    return out.rename(columns={c: _header(theirs.get(c, c), c) for c in map(str, out.columns)})


def _header(theirs: str, ours: str) -> str:
    if ours in _LENGTHS or ours == "z":
        return f"{theirs} [nm]"
    return f"{theirs} [photon]" if ours in ("photons", "background") else theirs
