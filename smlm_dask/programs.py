"""Other programs' localization tables: their names, units and origins, from them and to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smlm_dask.check import is_whole, shown
from smlm_dask.columns import check_numbers, check_once
from smlm_dask.errors import TableError
from smlm_dask.readers.labels import pixel_sizes

__all__ = [
    "FROM",
    "METADATA",
    "PROGRAMS",
    "TO",
    "name_and_unit",
    "picasso_info",
    "program_of",
]

# Their names, ThunderSTORM's without unit, and ours.
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
SMLMLP = {
    "x fit [nm]": "x",
    "y fit [nm]": "y",
    "z fit [nm]": "z",
    "intensity [photon]": "photons",
    "offset fit [photon.pix-2]": "background",
    "gaussian sigma fit [nm]": "sigma",
    "gaussian sigma x fit [nm]": "sigma_x",
    "gaussian sigma y fit [nm]": "sigma_y",
    "crlb xy [nm]": "uncertainty",
    "crlb x [nm]": "uncertainty_x",
    "crlb y [nm]": "uncertainty_y",
}
# Of localizations that were found and not fitted.
DETECTED = {"x detection [nm]": "x", "y detection [nm]": "y"}
_ALONG_Y = {"y", "sigma_y", "uncertainty_y"}
_LENGTHS = {"x", "sigma", "sigma_x", "uncertainty", "uncertainty_x"} | _ALONG_Y
_NANOMETRES = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3}
_HEADER = re.compile(r"^\s*(?P<name>.*?)\s*\[(?P<unit>[^\]]*)\]\s*$")
METADATA = "picasso metadata"  # attribute of a table: what its file says
LAST_PICASSO_FRAME = 2**32 - 1

PixelSize = float | tuple[float, float] | None


def program_of(names: Iterable[Any]) -> str | None:
    """Whose table has these columns, by their names and units; None if it is ours."""
    found = {str(name) for name in names}
    if found & {"x fit [nm]", *DETECTED}:
        return "smlmlp"
    if any(_HEADER.match(name) for name in found):
        return "thunderstorm"
    return "picasso" if found & {"sx", "lpx"} else None


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


def _find(path: Path, pattern: str) -> float | None:
    """Read the last number that follows a pattern: later steps of a protocol stand below."""
    return _number(path.read_text(errors="replace"), pattern) if path.exists() else None


def _number(text: str, pattern: str) -> float | None:
    found = re.findall(pattern, text)
    try:
        return float(found[-1]) if found else None
    except ValueError:
        return None


def _shifted(table: pd.DataFrame, steps: dict[str, float]) -> pd.DataFrame:
    """A copy with something added to the columns that it has of these."""
    out = table.copy()
    for name, step in steps.items():
        if name in out:
            check_numbers(out[name])
            out[name] = out[name] + step
    return out


# ------------------------------------------------------------------ ThunderSTORM


def _from_thunderstorm(raw: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    beside = _find(path.with_name(f"{path.stem}-protocol.txt"), r'"pixelSize"\s*:\s*([^\s,}]+)')
    pixels = _pixels(path, pixel_size, beside)
    out: dict[str, Any] = {}
    headers = [name_and_unit(str(header)) for header in raw.columns]
    check_once((name for name, _ in headers), path)
    for header, (name, unit) in zip(raw.columns, headers, strict=True):
        width = pixels[0 if name in _ALONG_Y else 1]
        scale = _scale(name, unit, width, path)
        if scale is not None or name == "frame":
            check_numbers(raw[header])
        out[name] = raw[header] if scale in (None, 1.0) else raw[header] * scale
        shift = {"x": 0.5 * width, "y": 0.5 * width, "frame": 1}.get(name, 0)
        out[name] = out[name] - shift if shift else out[name]
    return pd.DataFrame(out)


def name_and_unit(header: str) -> tuple[str, str]:
    """Our name, and the unit that stands behind ThunderSTORM's."""
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


def _to_thunderstorm(table: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    y, x = _pixels(path, pixel_size, None)
    out = _shifted(table, {"x": 0.5 * x, "y": 0.5 * y, "frame": 1})
    theirs = {ours: name for name, ours in THUNDERSTORM.items()}
    return out.rename(columns={c: _header(theirs.get(c, c), c) for c in map(str, out.columns)})


def _header(theirs: str, ours: str) -> str:
    if ours in _LENGTHS or ours == "z":
        return f"{theirs} [nm]"
    return f"{theirs} [photon]" if ours in ("photons", "background") else theirs


# ------------------------------------------------------------------ smlmlp


def _from_smlmlp(raw: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    """Frames from 1, nm from the centre of the first pixel."""
    names = SMLMLP | {theirs: ours for theirs, ours in DETECTED.items() if _no_fit(theirs, raw)}
    return _shifted(raw.rename(columns=names), {"frame": -1})


def _no_fit(detected: str, raw: pd.DataFrame) -> bool:
    return detected.replace("detection", "fit") not in raw


def _to_smlmlp(table: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    theirs = {ours: name for name, ours in SMLMLP.items()}
    out = _shifted(table, {"frame": 1}).rename(columns=theirs)
    if "detection" not in out:
        out.insert(0, "detection", np.arange(1, len(out) + 1))
    return out


# ------------------------------------------------------------------ Picasso


def _from_picasso(raw: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    pixels = _pixels(path, pixel_size, _beside_picasso(path, raw))
    table = raw.astype({c: "f8" for c in raw if raw[c].dtype == "f4"}).rename(columns=PICASSO)
    check_once(table.columns, path)
    for name in _LENGTHS & set(table.columns):
        check_numbers(table[name])
        table[name] = table[name] * pixels[0 if name in _ALONG_Y else 1]
    return table


def _beside_picasso(path: Path, raw: pd.DataFrame) -> float | None:
    """From the file beside, which Picasso itself reads first, or from the table's own file."""
    size = _find(path.with_suffix(".yaml"), r"(?m)^Pixelsize:\s*(\S+)")
    inside = str(raw.attrs.get(METADATA, ""))
    return _number(inside, r'"Pixelsize"\s*:\s*([^\s,}\]]+)') if size is None else size


def _to_picasso(table: pd.DataFrame, path: Path, pixel_size: PixelSize) -> pd.DataFrame:
    """In pixels and single precision; one width or error of ours stands for both axes of theirs."""
    pixels = _pixels(path, pixel_size, None)
    if pixels[0] != pixels[1]:
        raise TableError(
            str(path),
            got=f"pixels of {pixels} nm (y, x)",
            wanted="square ones, for Picasso knows no others",
            fix='another program, e.g. program="thunderstorm"',
        )
    out = table.copy()
    for name in ("sigma", "uncertainty"):
        both = {f"{name}_{axis}" for axis in "xy"} - set(out)
        if name in out and both:
            alone = out.pop(name)
            out = out.assign(**dict.fromkeys(sorted(both), alone))
    for name in map(str, out.columns):
        check_numbers(out[name])
        if name in _LENGTHS:
            out[name] = out[name] / pixels[0]
    _check_frames(out, path)
    single = {c: "f4" for c in out if out[c].dtype.kind == "f"} | {"frame": "u4"}
    theirs = {ours: name for name, ours in PICASSO.items()}
    return out.astype({c: t for c, t in single.items() if c in out}).rename(columns=theirs)


def _check_frames(table: pd.DataFrame, path: Path) -> None:
    missing = [name for name in ("frame", "x", "y") if name not in table]
    if missing or not table["frame"].between(0, LAST_PICASSO_FRAME).all():
        raise TableError(
            str(path),
            got=f"no column {missing[0]!r}" if missing else "frames beyond 32 bits",
            wanted="frame, x and y, with frames from 0 to 2^32 - 1",
            fix="another program, or without these rows",
        )


def picasso_info(
    rows: pd.DataFrame, shape: Sequence[int] | None, pixel_size: PixelSize
) -> dict[str, Any]:
    """What Picasso must know of the movie; without its shape the least that holds all rows."""
    if shape is None:
        ends = [np.nanmax(rows[n].to_numpy("f8"), initial=0) for n in ("frame", "y", "x")]
        shape = [int(end) + 1 for end in ends]
    if len(shape) != 3 or not all(is_whole(n) and n > 0 for n in shape):
        raise TableError(
            "shape", got=shown(shape), wanted="frames, height and width", fix="shape=movie.shape"
        )
    frames, height, width = (int(n) for n in shape)
    size = pixel_sizes(pixel_size)[0]
    said = {"Generated by": "smlm_dask", "Width": width, "Height": height, "Frames": frames}
    return said | {"Pixelsize": size}


FROM = {"thunderstorm": _from_thunderstorm, "picasso": _from_picasso, "smlmlp": _from_smlmlp}
TO = {"thunderstorm": _to_thunderstorm, "picasso": _to_picasso, "smlmlp": _to_smlmlp}
PROGRAMS = tuple(TO)
