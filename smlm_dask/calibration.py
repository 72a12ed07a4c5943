"""Numbers you already know, in the form a block would have estimated them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smlm_dask import _graph
from smlm_dask.check import number, shown
from smlm_dask.errors import ParameterError
from smlm_dask.variables import VARIABLES, to_dataset

__all__ = ["as_camera", "as_psf", "as_spline_psf"]

Number = float | xr.DataArray

CAMERA_UNITS = ("electron / adu", "adu / electron", "adu2", "electron")


def as_camera(
    gain: Number,
    *,
    offset: Number | None = None,
    variance: Number | None = None,
    read_noise: Number | None = None,
    quantum_efficiency: float = 1.0,
    excess_noise: float = 1.0,
) -> xr.Dataset:
    """Camera constants as the Dataset ``estimate_gain`` returns.

    Parameters
    ----------
    gain : float or (y, x)
        Electrons for each adu.
    offset : float or (y, x), optional
        Level without light, adu.
    variance : float or (y, x), optional
        Noise variance without light, adu2.
    read_noise : float or (y, x), optional
        The same as noise in electrons rms: ``variance = (read_noise / gain)^2``.
    quantum_efficiency : float
        Electrons for each photon.
    excess_noise : float
        Variance of the signal over that of its photoelectrons: 1, or 2 behind an EM register.

    Returns
    -------
    xarray.Dataset
        ``gain``, ``quantum_efficiency``, ``excess_noise`` and what else was given.

    Raises
    ------
    ParameterError
        If a number is not finite or not positive where it must be, an array says that it has another
        unit, or the noise is given twice.
    """
    _check("gain", gain, above=0)
    number("quantum_efficiency", quantum_efficiency, above=0, at_most=1)
    number("excess_noise", excess_noise, at_least=1)
    for name, value, least in (
        ("offset", offset, -np.inf),
        ("variance", variance, 0),
        ("read_noise", read_noise, 0),
    ):
        if value is not None:
            _check(name, value, at_least=least)
            _check_unit(name, value)
    _check_unit("gain", gain)
    given = {"gain": gain, "offset": offset, "variance": _noise(gain, variance, read_noise)}
    values = {name: _variable(value) for name, value in given.items() if value is not None}
    values["quantum_efficiency"] = (), float(quantum_efficiency)
    values["excess_noise"] = (), float(excess_noise)
    return to_dataset("as_camera", values, coords=_coords(gain, offset, variance, read_noise))


def _noise(gain: Number, variance: Number | None, read_noise: Number | None) -> Number | None:
    if read_noise is None:
        return variance
    if variance is not None:
        raise ParameterError(
            "variance and read_noise",
            got="both",
            wanted="one of them: variance = (read_noise / gain)^2",
            fix="leave out one",
        )
    return (read_noise / gain) ** 2


def as_psf(
    sigma: Number | None = None,
    *,
    sigma_x: Number | None = None,
    sigma_y: Number | None = None,
    theta: Number = 0.0,
) -> xr.Dataset:
    """Gaussian PSF as the Dataset ``estimate_psf`` returns.

    Parameters
    ----------
    sigma : float, optional
        Width in nm of a round PSF; otherwise give ``sigma_x`` and ``sigma_y``.
    sigma_x, sigma_y : float, optional
        Widths in nm along and across the axis at ``theta``.
    theta : float
        Degrees, counter-clockwise on screen.

    Returns
    -------
    xarray.Dataset
        ``sigma_x``, ``sigma_y`` (nm) and ``theta`` (degree).

    Raises
    ------
    ParameterError
        If no width is given, one is not positive, or the angle is no number.
    """
    width_x, width_y = (sigma if w is None else w for w in (sigma_x, sigma_y))
    if width_x is None or width_y is None:
        raise ParameterError(
            "psf", got="no width", wanted="sigma, or sigma_x and sigma_y", fix="sigma=120"
        )
    for name, width in (("sigma_x", width_x), ("sigma_y", width_y)):
        _check(name, width, above=0, dims=("emitter",))
    _check("theta", theta, dims=("emitter",))
    widths = {"sigma_x": width_x, "sigma_y": width_y, "theta": theta}
    return to_dataset("as_psf", {name: _variable(value) for name, value in widths.items()})


def as_spline_psf(
    knots_y: ArrayLike, knots_x: ArrayLike, knots_z: ArrayLike, coefficients: ArrayLike
) -> xr.Dataset:
    """Cubic-spline PSF in three dimensions.

    Parameters
    ----------
    knots_y, knots_x, knots_z : (n + 4,)
        Knots along each axis, nm from the emitter.
    coefficients : (z, y, x)
        Coefficients of the tensor product.

    Returns
    -------
    xarray.Dataset
        ``knots_y``, ``knots_x``, ``knots_z``, ``coefficients``.

    Raises
    ------
    ParameterError
        If the knots do not fit the coefficients or fall, if there are fewer than 4 coefficients along
        an axis, or anything is no finite number.
    """
    knots = [
        _finite(f"knots_{axis}", k)
        for axis, k in zip("zyx", (knots_z, knots_y, knots_x), strict=True)
    ]
    table = _finite("coefficients", coefficients)
    if table.ndim != 3 or any(k.shape != (n + 4,) for k, n in zip(knots, table.shape, strict=True)):
        raise ParameterError(
            "spline",
            got=f"knots {[k.shape for k in knots]} (z, y, x) and coefficients {table.shape}",
            wanted="4 knots more than coefficients along each axis",
            fix="pass coefficients as (z, y, x)",
        )
    for axis, k in zip("zyx", knots, strict=True):
        _check_knots(f"knots_{axis}", k)
    values: dict[str, tuple[tuple[str, ...], Any]] = {
        f"knots_{axis}": ((f"knot_{axis}",), k) for axis, k in zip("zyx", knots, strict=True)
    }
    values["coefficients"] = tuple(f"coefficient_{axis}" for axis in "zyx"), table
    return to_dataset("as_spline_psf", values)


def _finite(name: str, values: ArrayLike) -> NDArray[Any]:
    """``values`` as an array of finite real numbers."""
    try:
        array = np.asarray(values)
        good = array.dtype.kind in "iuf" and bool(np.isfinite(array).all())
    except ValueError:  # rows of different lengths
        good = False
    if not good:
        raise ParameterError(
            name, got=shown(values), wanted="an array of finite numbers", fix=f"check {name}"
        )
    return array


def _check_knots(name: str, knots: NDArray[Any]) -> None:
    """A cubic needs four coefficients, and a stretch between its fourth knots from either end."""
    if len(knots) < 8 or (np.diff(knots) < 0).any() or not knots[3] < knots[-4]:
        raise ParameterError(
            name,
            got=shown(knots),
            wanted="8 or more knots that never fall, of which the fourth from either end differ",
            fix="the knots of a cubic scipy.interpolate.BSpline, in nm",
        )


def _check(
    name: str,
    value: Any,
    *,
    above: float = -np.inf,
    at_least: float = -np.inf,
    dims: tuple[str, ...] = ("y", "x"),
) -> None:
    """Numbers, and maps of them; NaN in a DataArray is a number that nobody knows."""
    if not isinstance(value, xr.DataArray):
        if not _graph.is_lazy(value):
            number(name, value, above=above, at_least=at_least)
        return
    values = value.variable.data
    good = value.dims in ((), dims) and values.dtype.kind in "iuf"
    if good and not _graph.is_lazy(values):
        within = np.isfinite(values) & (values > above) & (values >= at_least)
        good = bool((np.isnan(values) | within).all())
    if not good:
        low = "" if above == -np.inf else f" above {above:g}"
        low = low if at_least == -np.inf else f" of at least {at_least:g}"
        raise ParameterError(
            name,
            got=shown(value),
            wanted=f"a finite number{low}, or an array of them with dims ({', '.join(dims)})",
            fix=f"check {name}",
        )


def _check_unit(name: str, value: Number) -> None:
    """An array may say its unit: a read noise looks like a variance, and a gain upside down like a gain.

    "adu" says nothing: attributes of a movie stay with what is computed from it.
    """
    wanted = next(iter(VARIABLES[name].forms.values()))
    unit = value.attrs.get("units") if isinstance(value, xr.DataArray) else None
    if unit in CAMERA_UNITS and unit != wanted:
        raise ParameterError(
            name, got=f"an array in {unit}", wanted=wanted, fix="read_map(path, unit=...)"
        )


def _variable(value: Number) -> tuple[tuple[str, ...], Any]:
    if isinstance(value, xr.DataArray):
        return tuple(map(str, value.dims)), value.data
    return (), value if _graph.is_lazy(value) else float(value)


def _coords(*values: Number | None) -> dict[str, Any]:
    maps = [v for v in values if isinstance(v, xr.DataArray) and v.ndim]
    for other in maps[1:]:
        if any(not maps[0].get_index(n).equals(other.get_index(n)) for n in ("y", "x")):
            raise ParameterError(
                "camera",
                got="maps of different sensor pixels",
                wanted="maps with the same y and x",
                fix="select them alike",
            )
    return {n: m.coords[n] for m in maps for n in ("y", "x") if n in m.coords}
