"""Camera maps in files: one number for each pixel of the sensor, with a unit that the user says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from smlm_dask.check import choice, is_whole, shown
from smlm_dask.errors import AxisError, FormatError, ParameterError, SmlmError
from smlm_dask.readers.hdf5_file import check_inside, opened
from smlm_dask.readers.lazy import unreadable

__all__ = ["read_map"]

Arrays = dict[str, NDArray[Any]]
Convert = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


# Unit in the file -> unit here, how to get there, and whether a pixel must be above zero.
UNITS: dict[str, tuple[str, Convert, bool]] = {
    "electron / adu": ("electron / adu", _same, True),
    "adu / electron": ("electron / adu", np.reciprocal, True),
    "adu": ("adu", _same, False),
    "adu2": ("adu2", _same, True),
    "electron": ("electron", _same, True),
    "electron2": ("electron", np.sqrt, True),
}


def read_map(
    path: str | os.PathLike[str],
    *,
    unit: str,
    array: str | None = None,
    axes: str = "yx",
    origin: tuple[int, int] = (0, 0),
) -> xr.DataArray:
    """Read a camera map: gain, offset or noise of each pixel.

    Files do not say what their numbers are, and programs differ: a gain is electrons for each adu in
    some and adu for each electron in others. So the unit is yours to say.

    Parameters
    ----------
    path : path
        ``.npy``, ``.npz``, ``.tif``, ``.tiff``, ``.mat`` of all versions, ``.h5`` or ``.hdf5``; the
        latter two and ``.mat`` of version 7.3 need h5py.
    unit : str
        Of the numbers in the file: "electron / adu" or "adu / electron" (gain), "adu" (offset),
        "adu2" (variance), "electron" (read noise) or "electron2" (its square).
    array : str, optional
        Name of the array where the file holds several; in HDF5 with the names of its groups.
    axes : "yx" or "xy"
        Order of the axes in the file: rows first, or columns first.
    origin : (int, int)
        Row and column on the sensor of the first pixel in the file.

    Returns
    -------
    xarray.DataArray
        (y, x), float64, in electron / adu, adu, adu2 or electron, with the sensor's ``y`` and ``x``,
        for `as_camera`. Pixels that are not finite, and those of a gain or noise that are not above
        zero, are NaN; ``attrs["unusable_pixels"]`` counts them.

    Raises
    ------
    FormatError
        No such file, an unknown kind, or one that needs a package that is not there.
    AxisError
        Several arrays to choose from, or none of two axes.
    SourceCorruptError
        A damaged file.
    ParameterError
        An unknown unit or name, or another keyword that does not fit.

    Examples
    --------
    >>> import os, tempfile, numpy
    >>> path = os.path.join(tempfile.mkdtemp(), "gain.npy")
    >>> numpy.save(path, numpy.full((4, 6), 2.0))
    >>> gain = read_map(path, unit="adu / electron")
    >>> float(gain[0, 0]), gain.attrs["units"]
    (0.5, 'electron / adu')
    """
    wanted, convert, positive = UNITS[choice("unit", unit, tuple(UNITS))]
    choice("axes", axes, ("yx", "xy"))
    first = _origin(origin)
    if not isinstance(path, str | os.PathLike):
        raise FormatError("path", got=shown(path), wanted="a file", fix='read_map("gain.npy", ...)')
    values = _choose(Path(path), _read(Path(path)), array)
    values = values.T if axes == "xy" else values
    good = np.isfinite(values) & (values > 0 if positive else True)
    if not good.any():
        raise FormatError(
            str(path),
            got="no pixel with a usable number",
            wanted=f"numbers in {unit}",
            fix="check the array, and the unit",
        )
    clean = convert(np.where(good, values, np.nan))
    coords = {d: np.arange(n) + f for d, n, f in zip("yx", clean.shape, first, strict=True)}
    attrs = {"units": wanted, "unusable_pixels": int((~good).sum())}
    return xr.DataArray(clean, coords, ("y", "x"), attrs=attrs)


def _origin(origin: Any) -> tuple[int, int]:
    if not isinstance(origin, tuple | list) or len(origin) != 2 or not all(map(is_whole, origin)):
        raise ParameterError(
            "origin", got=shown(origin), wanted="row and column on the sensor", fix="origin=(0, 0)"
        )
    return int(origin[0]), int(origin[1])


def _choose(path: Path, arrays: Arrays, name: str | None) -> NDArray[np.float64]:
    """The array of this name, or the only one with two axes, as float64."""
    flat = {n: a.squeeze() for n, a in arrays.items() if a.dtype.kind in "iuf"}
    maps = {n: a for n, a in flat.items() if a.ndim == 2}
    if name is not None and name not in maps:
        raise ParameterError(
            f"array of {path}",
            got=shown(name),
            wanted=f"one of {sorted(maps)}, which hold numbers on two axes",
            fix=f"array={min(maps)!r}" if maps else "another file",
        )
    if name is None and len(maps) != 1:
        held = {n: a.shape for n, a in arrays.items()}
        raise AxisError(
            str(path),
            got=f"arrays {shown(held)}",
            wanted="one with the two axes y and x",
            fix=f"array={min(maps)!r}" if maps else "save one image of the sensor",
        )
    return np.asarray(maps[name] if name is not None else next(iter(maps.values())), "f8")


# ------------------------------------------------------------------ files


def _read(path: Path) -> Arrays:
    read = READERS.get(path.suffix.lower())
    if read is None or not path.is_file():
        raise FormatError(
            str(path),
            got=f"suffix {path.suffix!r}" if path.is_file() else "no such file",
            wanted=", ".join(READERS),
            fix="check the path, or save the map with numpy.save",
        )
    try:
        return read(path)
    except SmlmError:
        raise
    except Exception as error:
        raise unreadable(str(path), error) from error


def _read_npy(path: Path) -> Arrays:
    return {"": np.load(path, allow_pickle=False)}


def _read_npz(path: Path) -> Arrays:
    # Opened here: numpy leaves the file of a damaged archive open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_tiff(path: Path) -> Arrays:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = [s for s in file.series if _may_be_map(s.shape)]
        return {str(s.index): s.asarray() for s in series}


def _read_mat(path: Path) -> Arrays:
    """Version 7.3 is HDF5, where MATLAB's axes stand the other way round."""
    from scipy.io import loadmat

    try:
        found: Mapping[str, Any] = loadmat(path)
    except NotImplementedError:
        return {name: array.T for name, array in _read_hdf5(path).items()}
    return {n: a for n, a in found.items() if isinstance(a, np.ndarray)}


def _read_hdf5(path: Path) -> Arrays:
    found: Arrays = {}

    def visit(name: str, item: Any) -> None:
        shape = getattr(item, "shape", None)  # a group has none, nor has an empty dataset
        if shape is not None and _may_be_map(shape):
            check_inside(str(path), name, item)
            found[name] = np.asarray(item[()])

    with opened(str(path)) as file:
        file.visititems(visit)
    return found


def _may_be_map(shape: tuple[int, ...]) -> bool:
    """A movie in the same file is left where it is."""
    return len(shape) - shape.count(1) <= 2


READERS: dict[str, Callable[[Path], Arrays]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".mat": _read_mat,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
