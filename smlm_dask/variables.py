"""Every variable once: its dims, its unit and its meaning. Results are built and checked from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from smlm_dask.errors import VariableError
from smlm_dask.kernels.reason import Quality, Reason

__all__ = ["VARIABLES", "Variable", "check_dataset", "to_dataset"]

Dims = tuple[str, ...]


@dataclass(frozen=True)
class Variable:
    """What a name means wherever it appears.

    Attributes
    ----------
    forms : mapping of dims to unit
        The dimensions the variable may have and its unit (an ``astropy.units`` string) in each.
    meaning : str
        One line for people; stored as ``long_name``.
    """

    forms: Mapping[Dims, str]
    meaning: str


def _variable(dims: str, unit: str, meaning: str) -> Variable:
    return Variable({tuple(d.split()): unit for d in dims.split("|")}, meaning)


MAP = "y x"
SCALAR_OR_MAP = "|y x"

VARIABLES: dict[str, Variable] = {
    # camera
    "gain": _variable(SCALAR_OR_MAP, "electron / adu", "camera conversion gain"),
    "gain_error": _variable("", "electron / adu", "standard error of the gain"),
    "offset": _variable(SCALAR_OR_MAP, "adu", "camera level without light"),
    "variance": _variable(SCALAR_OR_MAP, "adu2", "camera noise variance without light"),
    "quantum_efficiency": _variable("", "1", "electrons for each photon"),
    "excess_noise": _variable(
        "", "1", "variance of the signal over that of its photoelectrons: 2 behind an EM register"
    ),
    "offset_error": _variable("", "adu", "standard error of the offset"),
    "read_noise": _variable("", "electron", "camera noise without light, rms"),
    "read_noise_error": _variable("", "electron", "standard error of the read noise"),
    "slope": _variable("", "adu", "rise of the variance with the level"),
    "intercept": _variable("", "adu2", "variance of the regression line at level zero"),
    "zero_level": _variable("", "adu", "level at which the line says no variance"),
    "zero_level_error": _variable("", "adu", "standard error of the zero level"),
    "leak": _variable(
        "", "1", "slope of 5 taps over that of 7 taps, less 1: emitters in the noise"
    ),
    "leak_error": _variable("", "1", "standard error of the leak"),
    "smoothing": _variable(
        "", "1", "how much too large the gain is for frames that were smoothed; 0 for raw ones"
    ),
    "smoothing_error": _variable("", "1", "standard error of the smoothing"),
    "quality": _variable("", "", "bits that say what the gain is worth"),
    "read_variance_excess": _variable(
        MAP, "adu2", "variance of a pixel above that of the line at its level"
    ),
    "hot_pixel": _variable(
        MAP, "1", "whether a pixel is noisier, or in the dark brighter, than those around it can be"
    ),
    "signal_mean": _variable(MAP, "adu", "median over frames of a window, mean over windows"),
    "signal_variance": _variable(
        MAP, "adu2", "scaled square of a median deviation over frames, mean over windows"
    ),
    "bin_mean": _variable("bin", "adu", "mean level in a bin"),
    "bin_variance": _variable("bin", "adu2", "mean variance in a bin"),
    "bin_count": _variable("bin", "1", "pixels, or windows of them, in a bin"),
    "regression": _variable(
        "parameter", "", "slope, intercept, rvalue, pvalue, stderr and intercept_stderr of the line"
    ),
    # background
    "background": Variable(
        {("frame", "y", "x"): "adu", ("emitter",): "photon / pix"}, "light that is no emitter"
    ),
    "noise_factor": _variable("", "1", "noise of movie minus background over noise of movie"),
    "series": _variable("window y x", "adu", "background images, one for each window of frames"),
    "series_error": _variable("window y x", "adu", "standard error of a background image"),
    "series_index": _variable(
        "frame", "1", "entry of the series that is the background of a frame"
    ),
    "series_offset": _variable("frame", "adu", "level of a frame above its background image"),
    "series_share": _variable("frame", "1", "share of the next image in the background of a frame"),
    "series_scale": _variable(
        "frame", "1", "light of a frame's background, relative to that of its images"
    ),
    "series_overlap": _variable(
        "frame",
        "1",
        "share of its window that the image of a frame has in common with the next one",
    ),
    "contamination": _variable(
        "window y x", "1", "share of a window's frames in which emitters raise a pixel"
    ),
    "series_used": _variable("window", "1", "whether a background image passed cleansing"),
    "window_start": _variable(
        "window", "1", "position of a window's first frame on the frame axis"
    ),
    "window_stop": _variable(
        "window", "1", "position of a window's frame after the last on the frame axis"
    ),
    "window_time": _variable(
        "window", "", "nominal time of a background image, in the unit of time"
    ),
    # psf
    "sigma": _variable("", "nm", "geometric mean of sigma_x and sigma_y"),
    "sigma_x": _variable("|emitter", "nm", "PSF width along the axis at theta"),
    "sigma_y": _variable("|emitter", "nm", "PSF width across the axis at theta"),
    "sigma_error": _variable("", "nm", "standard error of sigma; twice it covers 95 %"),
    "sigma_x_error": _variable("", "nm", "standard error of sigma_x"),
    "sigma_y_error": _variable("", "nm", "standard error of sigma_y"),
    "theta_error": _variable(
        "", "degree", "standard error of theta; 45 where the PSF is round within its error"
    ),
    "theta": _variable(
        "|emitter", "degree", "angle of the sigma_x axis, counter-clockwise on screen"
    ),
    "amplitude": _variable("", "1", "height of the fitted Gaussian, of the variance at lag 0"),
    "pedestal": _variable("", "1", "level under the fitted Gaussian"),
    "autocorrelation": _variable(
        "lag_y lag_x", "1", "spatial autocorrelation, lag 0 at 1 (smlmlp: the nearest at 1)"
    ),
    "psf_image": _variable(
        "lag_y lag_x", "1", "PSF from the autocorrelation, peak of the fit at 1"
    ),
    "psf_fit": _variable("lag_y lag_x", "1", "fitted Gaussian, peak at 1"),
    "psf_spline": _variable("lag_y lag_x", "1", "cubic spline through the PSF image"),
    "knots_x": _variable("knot_x", "nm", "knots of the spline along x"),
    "knots_y": _variable("knot_y", "nm", "knots of the spline along y"),
    "knots_z": _variable("knot_z", "nm", "knots of the spline along z"),
    "coefficients": _variable(
        "coefficient_y coefficient_x|coefficient_z coefficient_y coefficient_x",
        "1",
        "coefficients of the cubic spline",
    ),
    # photons
    "photons": _variable("emitter", "photon", "photons of an emitter in its crop's frame"),
    "photons_error": _variable("emitter", "photon", "standard error of the photons"),
    "background_error": _variable(
        "emitter", "photon / pix", "standard error of the background under an emitter"
    ),
    "chi2_z": _variable(
        "emitter", "1", "chi-square of the crop's pixels, in standard deviations above noise alone"
    ),
    "border_level": _variable("emitter", "adu", "median of the crop's border"),
    "psf_sum": _variable("emitter", "1", "sum of the peak-1 PSF model over the crop"),
    "psf_square": _variable("emitter", "1", "sum of squares of the crop-normalised PSF"),
    # all blocks
    "status": _variable("|emitter", "", "0 where there is an answer, else why there is none"),
}


def to_dataset(
    block: str,
    values: Mapping[str, tuple[Dims | str, Any]],
    *,
    coords: Mapping[Any, Any] | None = None,
    passes: int = 1,
    parameters: Mapping[str, object] | None = None,
) -> xr.Dataset:
    """A Dataset with units, meanings and history; raises ``VariableError`` on any other dims.

    Parameters
    ----------
    block : str
        Name of the function that made the values.
    values : mapping of name to (dims, array)
        Lazy or in memory.
    coords : mapping, optional
        Coordinates of the result.
    passes : int
        How often the movie is read when the result is computed.
    parameters : mapping, optional
        Recorded in ``attrs["history"]``.
    """
    data = {name: _declared(name, dims, value) for name, (dims, value) in values.items()}
    said = ", ".join(f"{k}={v!r}" for k, v in (parameters or {}).items())
    attrs = {"history": f"smlm_dask {version('smlm-dask')} {block}({said})", "passes": passes}
    return check_dataset(_place(coords, data).assign(data).assign_attrs(attrs))


def _place(coords: Mapping[Any, Any] | None, data: Mapping[str, xr.Variable]) -> xr.Dataset:
    """The coordinates that a result takes along.

    Not those with a name of this package: a coordinate ``gain`` of the movie, which rides on its y
    and x, would stand in the place of the gain that was estimated. Nor one that has the name of a
    dimension without being its index.
    """
    place = xr.Dataset(coords=coords)
    dims = {dim for variable in data.values() for dim in variable.dims}
    taken = [n for n, c in place.coords.items() if n in VARIABLES or (n in dims and c.dims != (n,))]
    return place.drop_vars(taken)


def _declared(name: str, dims: Dims | str, value: Any) -> xr.Variable:
    dims = (dims,) if isinstance(dims, str) else tuple(dims)
    variable = VARIABLES.get(name)
    if variable is None or dims not in variable.forms:
        raise _undeclared(name, dims)
    unit = variable.forms[dims]
    attrs: dict[str, object] = {"long_name": variable.meaning}
    if unit:
        attrs["units"] = unit
    return xr.Variable(dims, value, attrs | _flags(name))


def _flags(name: str) -> dict[str, object]:
    # CF conventions 3.5: readable by every netCDF/zarr tool, and still one byte for each emitter.
    if name not in ("status", "quality"):
        return {}
    words, key = (Reason, "flag_values") if name == "status" else (Quality, "flag_masks")
    values = np.array([int(r) for r in words], "u1")
    return {key: values, "flag_meanings": " ".join(str(r.name).lower() for r in words)}


def _undeclared(name: str, dims: Dims) -> VariableError:
    known = VARIABLES.get(name)
    wanted = (
        "a name of smlm_dask.variables" if known is None else " or ".join(map(str, known.forms))
    )
    return VariableError(
        f"variable {name!r}", got=f"dims {dims}", wanted=wanted, fix="declare it in variables.py"
    )


def check_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """``dataset`` unchanged if every variable has the dims and unit declared for it."""
    for name, array in dataset.data_vars.items():
        variable = VARIABLES.get(str(name))
        if variable is None or array.dims not in variable.forms:
            raise _undeclared(str(name), tuple(map(str, array.dims)))
        unit, wanted = array.attrs.get("units", ""), variable.forms[tuple(map(str, array.dims))]
        if unit != wanted:
            raise VariableError(
                f"variable {name!r}",
                got=f"unit {unit!r}",
                wanted=repr(wanted),
                fix="set attrs['units']",
            )
    return dataset
