"""Photons of emitters from small crops of the movie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from smlm_dask import _graph
from smlm_dask.check import choice, number, whole_number
from smlm_dask.crop_fit import KNOWN, METHODS, CropFit
from smlm_dask.emitters import own_widths, rows_of
from smlm_dask.errors import DimsError, ParameterError
from smlm_dask.kernels.integrate import (
    BORDER,
    LIKELIHOOD,
    WEIGHTED,
    Knowledge,
    integrate_border,
    integrate_likelihood,
    integrate_weighted,
)
from smlm_dask.movie import as_movie, check_movie, check_samples, select_map
from smlm_dask.variables import to_dataset

__all__ = ["integrate_photons"]

Calibration = xr.Dataset | xr.DataArray | float
Method = Literal["map", "fixed", "free", "weighted", "border", "border-padded"] | CropFit

SERIES: dict[str, tuple[str, ...]] = {
    "series": ("window", "y", "x"),
    "series_index": ("frame",),
    "series_offset": ("frame",),
}
SHARES = ("series_share", "series_scale")
WINDOWS = ("window_start", "window_stop", "series_used")
SPLINE = ("knots_y", "knots_x", "knots_z", "coefficients")
SUMS = ("weighted", "border", "border-padded")
SMALLEST_FREE = 9  # pixels: a 7 x 7 crop without known background is 16 to 56 % noisier
CALIBRATION = "pass a number, or a Dataset as from as_camera or as_psf"


def integrate_photons(
    movie: xr.DataArray,
    table: pd.DataFrame,
    /,
    *,
    camera: Calibration,
    psf: Calibration | None = None,
    background: xr.Dataset | xr.DataArray | None = None,
    size_pixels: int | tuple[int, int] = 11,
    method: Method = "map",
) -> xr.Dataset:
    """Photons of each emitter of a table, with their errors, from a crop of the movie around it.

    ``map`` fits ``background + photons p`` to the crop, ``p`` the part of the PSF on each pixel (1 over
    the whole plane, however little of it the crop holds), by the largest posterior: Poisson light on
    a camera with Gaussian noise, and a background known within its error. Each pixel counts by the
    variance that the fit gives it. ``fixed`` and ``free`` are the same with a background that stays or
    that the crop alone decides; ``CropFit`` has all options, for neighbours and uncertain positions too.

    ``weighted`` projects the crop, less its background, on the shape ``p`` of the PSF in the crop
    (sum of p over the crop is 1): ``photons = sum(p (crop - background)) / sum(p^2) * gain /
    quantum_efficiency``, the least-squares amplitude. ``border`` sums the crop above the median of
    its border pixels.

    The crops are cut inside the tasks that read the frames; no stack of crops exists. Positions are in
    nm, with pixel i centred at i times the pixel size.

    Parameters
    ----------
    movie : (frame, y, x) or (emitter, y, x)
        Camera frames in adu; or crops already cut, one for each row of the table.
    table : pandas.DataFrame
        ``frame``, ``x``, ``y`` (nm); without ``background=`` also ``background`` (photon / pix), unless
        the method is free or a border; optional ``z``, ``sigma``, ``sigma_x``, ``sigma_y`` (nm),
        ``theta`` (degree), which come before ``psf``, and ``background_error`` (photon / pix) and
        ``position_error`` (nm), which come before those of ``CropFit``. For crops ``x0`` and ``y0``, the
        sensor pixel of each crop's first sample, instead of ``frame``.
    camera : xarray.Dataset or float
        From ``estimate_gain`` or ``as_camera``; a number is the gain. ``gain``, ``offset`` and
        ``variance`` may be maps of the sensor. With ``excess_noise``, 2 behind a register that
        multiplies electrons, fits take shot noise for so many times its electrons. May be lazy.
    psf : xarray.Dataset or float, optional
        From ``estimate_psf``, ``as_psf`` or ``as_spline_psf``; a number is sigma in nm.
    background : xarray.Dataset or (frame, y, x), optional
        From ``estimate_background`` or ``background_sparse_median``, or the ``background`` of
        ``background_spatial_mean``: adu, with the camera's offset in it. Where it has ``series_error``,
        fits count the errors of its pixels.
    size_pixels : int or (int, int)
        Height and width of a crop in pixels.
    method : "map", "fixed", "free", CropFit, "weighted", "border" or "border-padded"
        ``border-padded`` takes exact zeros connected to the border for padding.

    Returns
    -------
    xarray.Dataset
        ``photons`` (emitter) photon, ``status`` (emitter); fits: ``photons_error`` photon,
        ``background`` and ``background_error`` photon / pix, ``chi2_z`` 1; weighted: ``psf_sum`` and
        ``psf_square`` (emitter) 1; border: ``border_level`` (emitter) adu. Rows are those of the table,
        in its order. Where a crop leaves the frame or a number is not finite, ``photons`` is NaN and
        ``status`` says why; fits leave pixels out whose gain, offset or variance is NaN, up to half of a
        crop or of the light on it. So it is, but for borders, where all samples of a crop are equal (a
        frame that was dropped: ``constant_signal``), or one is at the top of its type or, in fits, far
        below the offset (``clipped``). Photons may be negative, where there is no emitter half of them
        are.
        ``attrs["passes"]`` is 2 where camera or PSF come from this very movie.

    Raises
    ------
    SmlmError
        ``TableError`` for missing columns, frames or positions outside the movie; ``ParameterError``
        for a crop larger than the frame, a missing PSF, background or offset, a free background in a
        crop smaller than 9 x 9.

    Notes
    -----
    Assumed: one emitter in a crop, its place, width and the camera known, counts that are whole adu.
    What is wrong in these is wrong in the photons (base: 1000 photons over 10, sigma 1.2 pixels): a
    width 5 % off +-2.5 %; positions 20 nm off -0.6 %, unless told by ``position_error``; a background
    too high by a tenth of the noise -0.8 %; an equal emitter 3, 4, 5 or 6 pixels away +40, +13, +1 and
    -2 %, with ``robust`` +11, +5, +2 and 0 %, with ``neighbours="joint"`` 0 % if it is in the table.
    ``chi2_z`` above 4 says that the model does not fit: it is so for all these neighbours and for 0.01 to
    0.07 % of lone emitters.
    The errors hold for the background's error that is told: by the table, by a background's images, or
    else a twentieth of the noise of a pixel in a frame. Without the camera's ``variance`` the read noise
    is 1.4 electrons. With ``background=`` and a camera without offset, the offset counts as light:
    photons stay right, at worst as noisy as those of ``weighted``, and their errors are too large.
    A spline's plane ends with its knots.

    The weighted sum sees only the light that the crop holds of the model: 7 x 7 pixels at sigma 1.6
    lose 6 %; a width 10 % too large gives 9 % more photons. The border sum loses the PSF's tail and is
    2 to 11 times noisier.

    References
    ----------
    Likelihood of a camera with noise of its own in each pixel: F. Huang et al.,
    doi:10.1038/nmeth.2488. Fisher scoring as weighted least squares: P. J. Green,
    doi:10.1111/j.2517-6161.1984.tb01288.x. Bounds: R. J. Ober et al., doi:10.1016/S0006-3495(04)74193-4.
    ``weighted`` and ``border`` are the sums of ``integrate_crop`` of smlmlp. Least-squares photometry
    with a known PSF: T. Naylor, doi:10.1046/j.1365-8711.1998.01314.x.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(50, (64, 64), seed=1)
    >>> spots = smlm.truth_table(truth, slice(0, 50))
    >>> camera = smlm.as_camera(float(truth.gain.mean()), offset=100.0)
    >>> signal = smlm.integrate_photons(movie, spots, camera=camera, psf=120.0)
    >>> signal.photons_error.dims
    ('emitter',)
    """
    how = _how(method)
    crops = isinstance(movie, xr.DataArray) and movie.dims == ("emitter", "y", "x")
    movie = _as_frames(check_samples(movie)) if crops else check_movie(movie)
    size = (movie.shape[1], movie.shape[2]) if crops else _size(movie, size_pixels)
    _check_size(how, size)
    if crops:
        _check_one_place(camera, how)
    errors = isinstance(how, CropFit) and "background_error" not in table
    light = _light(movie, background, errors)
    needed, defaults = _columns(how, light.flat, crops), _defaults(how)
    frames, rows = rows_of(movie, table, size, needed, defaults)
    sensor, shape = _sensor(movie, camera, how, light.flat), _shape(how, psf, table)
    geometry = size, (float(movie["pixel_size_y"]), float(movie["pixel_size_x"]))
    kernel, names, arguments = _plan(how, geometry, sensor, shape, table)
    outer = (*arguments, *light.outer)
    again = _graph.shares_source(light.local, outer)
    light = light.again(outer) if again else light
    passes = 1 + (_most_passes(camera, psf, background) if again else 0)
    result = _graph.emitter_map(
        kernel, light.data, frames, rows, *arguments, background=light.series, columns=len(names)
    )
    parameters = {"size_pixels": size, "method": method}
    values = _variables(result, names)
    return to_dataset("integrate_photons", values, passes=passes, parameters=parameters)


# ------------------------------------------------------------------ frames and what lies under them


@dataclass(frozen=True)
class _Light:
    """Frames to integrate; ``flat`` where the background under the emitters is known from the movie."""

    data: Any
    series: _graph.Series | _graph.Array | None
    flat: bool

    @property
    def local(self) -> list[Any]:
        """What a task needs of its own frames only."""
        alone = self.series is not None and not isinstance(self.series, _graph.Series)
        return [self.data, *([self.series] if alone else () if self.outer else self._of_series)]

    @property
    def outer(self) -> tuple[Any, ...]:
        """A series that waits for frames far after a frame's own.

        With a lazy index, which images a frame needs is known when all of them are; with shares, a frame
        has some of the next image, which other windows have repaired.
        """
        of = self.series
        late = isinstance(of, _graph.Series) and (not of.known or of.share is not None)
        return self._of_series if late else ()

    @property
    def _of_series(self) -> tuple[Any, ...]:
        return self.series.arrays if isinstance(self.series, _graph.Series) else ()

    def again(self, outer: tuple[Any, ...]) -> _Light:
        """The same light from a second reading of the movie, so that ``outer`` may come from the first."""
        if not isinstance(self.series, _graph.Series) or self.outer:
            local = [a for a in (self.data, self.series) if isinstance(a, _graph.Array)]
            data, *frames = _graph.second_pass(local, outer)
            return replace(self, data=data, series=frames[0] if frames else self.series)
        images, offset = map(_graph.from_array, (self.series.images, self.series.offset))
        told = [] if self.series.error is None else [_graph.from_array(self.series.error)]
        data, images, offset, *told = _graph.second_pass([self.data, images, offset, *told], outer)
        error = told[0] if told else None
        series = replace(self.series, images=images, offset=offset, error=error)
        return replace(self, data=data, series=series)


def _as_frames(crops: xr.DataArray) -> xr.DataArray:
    """Crops as frames of a movie of their own; the table says where they stand on the sensor."""
    pixel = tuple(float(crops.coords.get(f"pixel_size_{axis}", np.nan)) for axis in "yx")
    return as_movie(crops.variable.data, pixel_size=(pixel[0], pixel[1]))


def _how(method: Method) -> str | CropFit:
    if isinstance(method, CropFit):
        return method
    return METHODS.get(choice("method", method, (*METHODS, *SUMS)), method)


def _check_size(how: str | CropFit, size: tuple[int, int]) -> None:
    free = isinstance(how, CropFit) and how.background == "free"
    border = isinstance(how, str) and how != "weighted"
    least = SMALLEST_FREE if free else 3 if border else 1
    if min(size) < least:
        because = "from the crop alone" if free else "that has an inside"
        raise ParameterError(
            "size_pixels",
            got=str(size),
            wanted=f"{least} or more, for a background {because}",
            fix="size_pixels=11",
        )


def _check_one_place(camera: Calibration, how: str | CropFit) -> None:
    if isinstance(how, CropFit) and how.neighbours == "joint":
        raise ParameterError(
            "method",
            got="neighbours fitted jointly, and crops whose frames are not known",
            wanted="a movie, in whose frames emitters are neighbours",
            fix="pass the movie",
        )
    for name in ("gain", "offset", "variance"):
        if isinstance(camera, xr.Dataset) and name in camera and camera[name].ndim:
            raise ParameterError(
                "camera",
                got=f"a map of {name}, and crops that stand in different places of it",
                wanted=f"one {name} for given crops",
                fix=f"one number for {name}, or pass the movie",
            )


def _size(movie: xr.DataArray, size_pixels: int | tuple[int, int]) -> tuple[int, int]:
    pair = size_pixels if isinstance(size_pixels, tuple | list) else (size_pixels,) * 2
    if len(pair) != 2:
        pair = (0, 0)
    height, width = (whole_number("size_pixels", n, at_least=1) for n in pair)
    if not (0 < height <= movie.shape[1] and 0 < width <= movie.shape[2]):
        raise ParameterError(
            "size_pixels",
            got=repr(size_pixels),
            wanted=f"a height and width from 1 to the frame's {movie.shape[1:]}",
            fix=f"pass size_pixels={min(11, *movie.shape[1:])}",
        )
    return int(height), int(width)


def _light(
    movie: xr.DataArray, background: xr.Dataset | xr.DataArray | None, errors: bool
) -> _Light:
    data = _graph.whole_frames(_graph.movie_data(movie))
    if background is None:
        return _Light(data, None, flat=False)
    if isinstance(background, xr.DataArray) and background.dims == movie.dims:
        _check_same(movie, background, movie.dims)
        _check_level("background", background)
        return _Light(data, _graph.cut_like(background.data, data), flat=True)
    if isinstance(background, xr.Dataset) and "series" in background:
        _check_series(movie, background)
        series = _series(background)
        if errors and "series_error" in background:
            series = replace(series, error=background["series_error"].data)
        return _Light(data, series, flat=True)
    raise DimsError(
        "background",
        got=f"{type(background).__name__} with dims {tuple(getattr(background, 'dims', ()))}",
        wanted="the Dataset of estimate_background or a (frame, y, x) DataArray",
        fix="pass background=smlm.estimate_background(movie, camera=camera)",
    )


def _series(background: xr.Dataset) -> _graph.Series:
    images, index, offset = (background[n].data for n in SERIES)
    if "series_share" in background:
        share, scale = (background[n].data for n in SHARES)
        alone = np.zeros(background.sizes["frame"])
        overlap = background["series_overlap"].data if "series_overlap" in background else alone
        dark = background["offset"].data if "offset" in background else np.zeros(())
        dark = float(dark) if not _graph.is_lazy(dark) and dark.ndim == 0 else dark
        mixed = {"share": share, "scale": scale, "dark": dark, "overlap": overlap}
        return _graph.Series(images, index, offset, **mixed)
    around = [background[n].data for n in WINDOWS if n in background]
    if len(around) < len(WINDOWS) or any(map(_graph.is_lazy, around[:2])):
        return _graph.Series(images, index, offset)
    return _graph.Series(images, index, offset, *around)


def _check_series(movie: xr.DataArray, background: xr.Dataset) -> None:
    """An image for each frame, among images of the movie's pixels."""
    mixed, told = "series_share" in background, "series_error" in background
    wanted = SERIES | (dict.fromkeys(SHARES, ("frame",)) if mixed else {})
    for name, dims in (wanted | ({"series_error": SERIES["series"]} if told else {})).items():
        if name not in background or background[name].dims != dims:
            raise DimsError(
                f"background.{name}",
                got=f"dims {background[name].dims}"
                if name in background
                else f"a Dataset of {list(background)}",
                wanted=f"{name} with dims {dims}, as estimate_background returns it",
                fix="pass background=smlm.estimate_background(movie, camera=camera)",
            )
        _check_same(movie, background[name], tuple(d for d in dims if d != "window"))
    _check_level("background.series", background["series"])
    _check_level("background.series_offset", background["series_offset"])
    if told:
        _check_level("background.series_error", background["series_error"])
    index, images = background["series_index"], background.sizes["window"]
    known = not _graph.is_lazy(index.data)
    if index.dtype.kind not in "iu" or (known and not (0 <= index.min() <= index.max() < images)):
        raise ParameterError(
            "background.series_index",
            got=f"{index.dtype} from {index.min().item()} to {index.max().item()}"
            if known
            else f"dtype {index.dtype}",
            wanted=f"integers from 0 to {images - 1}, one of {images} images for each frame",
            fix="pass background=smlm.estimate_background(movie, camera=camera)",
        )


def _check_level(name: str, level: xr.DataArray) -> None:
    unit = level.attrs.get("units", "adu")
    if level.dtype.kind not in "iuf" or unit != "adu":
        raise ParameterError(
            name,
            got=f"dtype {level.dtype}, unit {unit!r}",
            wanted="real numbers in adu, as the movie's",
            fix="pass background=smlm.estimate_background(movie, camera=camera)",
        )


def _check_same(movie: xr.DataArray, other: xr.DataArray, dims: tuple[Any, ...]) -> None:
    for dim in dims:
        if not movie.get_index(dim).equals(other.get_index(dim)):
            raise DimsError(
                "background",
                got=f"another {dim} axis than the movie's",
                wanted=f"the same {movie.sizes[dim]} values of {dim}",
                fix="estimate the background from this movie, or select both alike",
            )


# ------------------------------------------------------------------ columns of the table


def _columns(how: str | CropFit, flat: bool, crops: bool) -> list[str]:
    """Columns the table must have."""
    border = isinstance(how, str) and how != "weighted"
    free = isinstance(how, CropFit) and how.background == "free"
    place = ["x0", "y0"] if crops else ["frame"]
    position = [] if border and crops else ["x", "y"]
    return [*place, *position, *([] if flat or border or free else ["background"])]


def _defaults(how: str | CropFit) -> dict[str, float]:
    """What counts where the table has no such column."""
    if isinstance(how, str):
        return {}
    known = {} if how.background == "free" else {"background_error": how.background_error}
    return known | {"position_error": how.position_error}


# ------------------------------------------------------------------ camera and PSF


def _plan(
    how: str | CropFit,
    geometry: tuple[Any, ...],
    sensor: tuple[Any, ...],
    shape: tuple[Any, ...],
    table: pd.DataFrame,
) -> tuple[Any, tuple[str, ...], tuple[Any, ...]]:
    """The kernel, the columns of its result, and what it needs after the rows: some of it lazy."""
    if isinstance(how, CropFit):
        relative, joint = "background_error" not in table, how.neighbours == "joint"
        known = Knowledge(relative, KNOWN[how.background], how.robust, joint)
        return integrate_likelihood, LIKELIHOOD, (known, how.read_noise, *geometry, *sensor, *shape)
    if how == "weighted":
        return integrate_weighted, WEIGHTED, (*geometry, *sensor, *shape)
    return integrate_border, BORDER, (geometry[0], how == "border-padded", *sensor)


def _sensor(
    movie: xr.DataArray, camera: Calibration, how: str | CropFit, flat: bool
) -> tuple[Any, ...]:
    """Gain and quantum efficiency; offset, variance and excess noise, where the method needs them."""
    gain = _gain(movie, camera)
    numbers = gain, _scalar(camera, "quantum_efficiency", 1.0)
    if how == "weighted":
        return *numbers, 0.0 if flat else _offset(movie, camera)
    if isinstance(how, str):
        _check_no_padding(how, gain)
        return *numbers, _offset(movie, camera) if np.ndim(gain) else 0.0
    known = isinstance(camera, xr.Dataset) and "offset" in camera
    # A background of the movie has the offset in it; NaN says that nobody knows how much.
    offset = np.nan if flat and not known else _offset(movie, camera)
    excess = _scalar(camera, "excess_noise", 1.0)
    return *numbers, offset, _variance(movie, camera), excess


def _check_no_padding(how: str, gain: Any) -> None:
    if how == "border-padded" and np.ndim(gain):
        raise ParameterError(
            "method",
            got="border-padded, and a map of gains",
            wanted="a gain for all pixels, since padding is zeros before anything is calibrated",
            fix='method="border"',
        )


def _shape(how: str | CropFit, psf: Calibration | None, table: pd.DataFrame) -> tuple[Any, ...]:
    """Which widths the table has, and the PSF's; or a spline."""
    if isinstance(how, str) and how != "weighted":
        return ()
    if isinstance(psf, xr.Dataset) and "knots_z" in psf:
        _check_spline(psf)
        _check_sharp(how, table)
        return ((False,) * 3, *(psf[n].data for n in SPLINE))
    own = tuple(name is not None for name in own_widths(table))
    return own, *_widths(psf, own)


def _check_sharp(how: str | CropFit, table: pd.DataFrame) -> None:
    if isinstance(how, CropFit) and (how.position_error or "position_error" in table):
        raise ParameterError(
            "position_error",
            got="one, and a PSF that is a spline",
            wanted="a Gaussian PSF, which it widens",
            fix="make the spline from images as blurred as the positions are uncertain",
        )


def _check_spline(psf: xr.Dataset) -> None:
    missing = [name for name in SPLINE if name not in psf]
    if missing:
        raise ParameterError(
            "psf",
            got=f"a spline without {missing}",
            wanted=f"all of {list(SPLINE)}",
            fix="pass psf=smlm.as_spline_psf(knots_y, knots_x, knots_z, coefficients)",
        )


def _widths(psf: Calibration | None, own: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    if psf is None:
        if not (own[0] and own[1]):
            raise ParameterError(
                "psf",
                got="no PSF, and no widths in the table",
                wanted="a PSF, or the columns sigma or sigma_x and sigma_y",
                fix="pass psf=smlm.estimate_psf(movie), or psf=120.0 (nm)",
            )
        return np.nan, np.nan, 0.0
    if not isinstance(psf, xr.Dataset):
        sigma = _scalar(psf, "psf")
        return sigma, sigma, 0.0
    return _scalar(psf, "sigma_y"), _scalar(psf, "sigma_x"), _scalar(psf, "theta", 0.0)


def _gain(movie: xr.DataArray, camera: Calibration) -> Any:
    """A number, or a map of what lies under the movie."""
    gain = camera["gain"] if isinstance(camera, xr.Dataset) and "gain" in camera else camera
    if isinstance(gain, xr.DataArray) and gain.ndim:
        return select_map("gain", gain, movie).data
    return _scalar(camera, "gain")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _scalar(source: Calibration, name: str, default: float | None = None) -> Any:
    """One number of a calibration; lazy, finite, or NaN where the block that made it has no answer."""
    if not isinstance(source, xr.Dataset):
        if default is not None:
            return default
        lazy = source.data if isinstance(source, xr.DataArray) and source.ndim == 0 else source
        return (
            lazy if _graph.is_lazy(lazy) else _number(name, lazy, isinstance(source, xr.DataArray))
        )
    if name in source and source[name].ndim == 0:
        value = source[name].data
        return value if _graph.is_lazy(value) else _number(name, value, True)
    if name not in source and default is not None:
        return default
    raise ParameterError(
        name,
        got=f"dims {source[name].dims}" if name in source else f"a Dataset of {list(source)}",
        wanted=f"one number {name}",
        fix=CALIBRATION,
    )


def _number(name: str, value: Any, may_lack: bool) -> float:
    value = _plain(value)
    if may_lack and isinstance(value, float) and np.isnan(value):
        return value
    above = -np.inf if name in ("theta", "offset") else 0
    return number(name, value, above=above, fix=CALIBRATION)


def _most_passes(*sources: object) -> int:
    """Readings that the results take which this one waits for."""
    return max(int(s.attrs.get("passes", 1)) for s in sources if isinstance(s, xr.Dataset))


def _offset(movie: xr.DataArray, camera: Calibration) -> Any:
    if not isinstance(camera, xr.Dataset) or "offset" not in camera:
        raise ParameterError(
            "camera",
            got="no offset",
            wanted="the camera's offset in adu, since the table's background is in photons",
            fix="pass as_camera(gain, offset=100), or background=estimate_background(movie)",
        )
    offset = select_map("offset", camera["offset"], movie)
    if offset.dtype.kind not in "iuf":
        raise ParameterError(
            "offset", got=f"dtype {offset.dtype}", wanted="real numbers, adu", fix="check offset"
        )
    if offset.ndim or _graph.is_lazy(offset.data):
        return offset.data
    return _number("offset", offset.data, True)


def _variance(movie: xr.DataArray, camera: Calibration) -> Any:
    """Noise variance of the camera in adu2, a number or a map; None where it is not known."""
    if not isinstance(camera, xr.Dataset) or "variance" not in camera:
        return None
    variance = select_map("variance", camera["variance"], movie)
    if variance.ndim or _graph.is_lazy(variance.data):
        return variance.data
    value = _plain(variance.data)
    return value if np.isnan(value) else number("variance", value, at_least=0)


def _variables(result: Any, names: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], Any]]:
    types = {"status": "u1"}
    return {
        name: (("emitter",), _graph.column(result, i, types.get(name, "f8")))
        for i, name in enumerate(names)
    }
