"""Photons of emitters from small crops of the movie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from smlm_dask import _graph
from smlm_dask.check import choice, number, whole_number
from smlm_dask.errors import DimsError, ParameterError, TableError
from smlm_dask.kernels.integrate import (
    COLUMNS,
    RESULTS,
    integrate_border,
    integrate_gaussian,
    integrate_spline,
)
from smlm_dask.movie import as_movie, check_movie, check_samples, select_map
from smlm_dask.table import check_table
from smlm_dask.variables import to_dataset

__all__ = ["integrate_photons"]

Calibration = xr.Dataset | xr.DataArray | float

SERIES: dict[str, tuple[str, ...]] = {
    "series": ("window", "y", "x"),
    "series_index": ("frame",),
    "series_offset": ("frame",),
}
SHARES = ("series_share", "series_scale")
WINDOWS = ("window_start", "window_stop", "series_used")
SPLINE = ("knots_y", "knots_x", "knots_z", "coefficients")
OPTIONAL = ("x", "y", "z", "sigma", "sigma_y", "sigma_x", "theta")


def integrate_photons(
    movie: xr.DataArray,
    table: pd.DataFrame,
    /,
    *,
    camera: Calibration,
    psf: Calibration | None = None,
    background: xr.Dataset | xr.DataArray | None = None,
    size_pixels: int | tuple[int, int] = 11,
    method: Literal["weighted", "border", "border-padded"] = "weighted",
) -> xr.Dataset:
    """Photons of each emitter of a table, from a crop of the movie around it.

    ``weighted`` projects the crop, less its background, on the shape ``p`` of the PSF in the crop
    (sum of p is 1): ``photons = sum(p (crop - background)) / sum(p^2) * gain / quantum_efficiency``,
    the least-squares amplitude. ``border`` sums the crop above the median of its border pixels.

    The crops are cut inside the tasks that read the frames; no stack of crops and no model image
    exists. Positions are in nm, with pixel i centred at i times the pixel size.

    The weighted sum sees only the light that the crop holds of the model: a crop narrower than about
    4 sigma, a wrong sigma or a wrong position makes it too small (a width 10 % too large gives 9 %
    more photons). The border sum loses the PSF's tail and is 2 to 11 times noisier.

    Parameters
    ----------
    movie : (frame, y, x) or (emitter, y, x)
        Camera frames in adu; or crops already cut, one for each row of the table.
    table : pandas.DataFrame
        ``frame``, ``x``, ``y`` (nm); for ``weighted`` without ``background=`` also ``background``
        (photon / pix); optional ``z``, ``sigma``, ``sigma_x``, ``sigma_y`` (nm), ``theta``
        (degree), which come before ``psf``. For crops ``x0`` and ``y0``, the sensor pixel of each
        crop's first sample, instead of ``frame``.
    camera : xarray.Dataset or float
        From ``estimate_gain`` or ``as_camera``; a number is the gain. May be lazy.
    psf : xarray.Dataset or float, optional
        From ``estimate_psf``, ``as_psf`` or ``as_spline_psf``; a number is sigma in nm.
    background : xarray.Dataset or (frame, y, x), optional
        From ``background_sparse_median``, or the ``background`` of ``background_spatial_mean``: adu,
        with the camera's offset in it.
    size_pixels : int or (int, int)
        Height and width of a crop in pixels.
    method : "weighted", "border" or "border-padded"
        ``border-padded`` takes exact zeros connected to the border for padding.

    Returns
    -------
    xarray.Dataset
        ``photons`` (emitter) photon, ``status`` (emitter); weighted: ``psf_sum`` and ``psf_square``
        (emitter) 1; border: ``border_level`` (emitter) adu. Rows are those of the table, in its
        order. Where a crop leaves the frame or a number is not finite, ``photons`` is NaN and
        ``status`` says why. ``attrs["passes"]`` is 2 where camera or PSF come from this very movie.

    Raises
    ------
    SmlmError
        ``TableError`` for missing columns, frames or positions outside the movie; ``ParameterError``
        for a crop larger than the frame, a missing PSF, background or offset.

    References
    ----------
    The same sums as ``integrate_crop`` of smlmlp. Least-squares photometry with a known PSF:
    T. Naylor, doi:10.1046/j.1365-8711.1998.01314.x.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, truth = smlm.simulate_movie(50, (64, 64), seed=1)
    >>> spots = smlm.truth_table(truth, slice(0, 50))
    >>> camera = smlm.as_camera(float(truth.gain.mean()), offset=100.0)
    >>> signal = smlm.integrate_photons(movie, spots, camera=camera, psf=120.0)
    >>> signal.photons.dims
    ('emitter',)
    """
    crops = isinstance(movie, xr.DataArray) and movie.dims == ("emitter", "y", "x")
    movie = _as_frames(check_samples(movie)) if crops else check_movie(movie)
    size = (movie.shape[1], movie.shape[2]) if crops else _size(movie, size_pixels)
    choice("method", method, ("weighted", "border", "border-padded"))
    _check_camera(camera, method, size, crops)
    light = _light(movie, background)
    columns = _columns(method, light.flat, crops)
    table = check_table(table, columns)
    check_table(table, _optional(table, columns))
    frames, rows = _rows(movie, table, size, columns)
    kernel, arguments = _model(movie, table, size, method, camera, psf, light)
    outer = (*arguments, *light.outer)
    again = _graph.shares_source(light.local, outer)
    light = light.again(outer) if again else light
    passes = 1 + (_most_passes(camera, psf, background) if again else 0)
    result = _graph.emitter_map(
        kernel, light.data, frames, rows, *arguments, background=light.series, columns=len(RESULTS)
    )
    parameters = {"size_pixels": size, "method": method}
    return to_dataset(
        "integrate_photons", _variables(result, method), passes=passes, parameters=parameters
    )


# ------------------------------------------------------------------ frames and what lies under them


@dataclass(frozen=True)
class _Light:
    """Frames to integrate; ``flat`` where the background under the emitters is known from the movie."""

    data: Any
    series: _graph.Series | None
    flat: bool

    @property
    def local(self) -> list[Any]:
        """What a task needs of its own frames only."""
        return [self.data, *(() if self.outer else self._of_series)]

    @property
    def outer(self) -> tuple[Any, ...]:
        """A series that waits for frames far after a frame's own.

        With a lazy index, which images a frame needs is known when all of them are; with shares, a frame
        has some of the next image, which other windows have repaired.
        """
        late = self.series is not None and (not self.series.known or self.series.share is not None)
        return self._of_series if late else ()

    @property
    def _of_series(self) -> tuple[Any, ...]:
        return self.series.arrays if self.series else ()

    def again(self, outer: tuple[Any, ...]) -> _Light:
        """The same light from a second reading of the movie, so that ``outer`` may come from the first."""
        if self.series is None or self.outer:
            return replace(self, data=_graph.second_pass([self.data], outer)[0])
        images, offset = map(_graph.from_array, (self.series.images, self.series.offset))
        data, images, offset = _graph.second_pass([self.data, images, offset], outer)
        return replace(self, data=data, series=replace(self.series, images=images, offset=offset))


def _as_frames(crops: xr.DataArray) -> xr.DataArray:
    """Crops as frames of a movie of their own; the table says where they stand on the sensor."""
    pixel = tuple(float(crops.coords.get(f"pixel_size_{axis}", np.nan)) for axis in "yx")
    return as_movie(crops.variable.data, pixel_size=(pixel[0], pixel[1]))


def _check_camera(camera: Calibration, method: str, size: tuple[int, int], crops: bool) -> None:
    if method != "weighted" and min(size) < 3:
        raise ParameterError(
            "size_pixels",
            got=str(size),
            wanted="3 or more, so that a border has an inside",
            fix="size_pixels=11",
        )
    if crops and isinstance(camera, xr.Dataset) and "offset" in camera and camera.offset.ndim:
        raise ParameterError(
            "camera",
            got="an offset map, and crops that stand in different places of it",
            wanted="one offset for given crops",
            fix="subtract the map from the crops, or pass the movie",
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
            fix="pass size_pixels=11",
        )
    return int(height), int(width)


def _light(movie: xr.DataArray, background: xr.Dataset | xr.DataArray | None) -> _Light:
    data = _graph.whole_frames(_graph.movie_data(movie))
    if background is None:
        return _Light(data, None, flat=False)
    if isinstance(background, xr.DataArray) and background.dims == movie.dims:
        _check_same(movie, background, movie.dims)
        _check_level("background", background)
        return _Light(_graph.frame_difference(data, background.data), None, flat=True)
    if isinstance(background, xr.Dataset) and "series" in background:
        _check_series(movie, background)
        return _Light(data, _series(background), flat=True)
    raise DimsError(
        "background",
        got=f"{type(background).__name__} with dims {tuple(getattr(background, 'dims', ()))}",
        wanted="the Dataset of background_sparse_median or a (frame, y, x) DataArray",
        fix="pass background=smlm.background_sparse_median(movie)",
    )


def _series(background: xr.Dataset) -> _graph.Series:
    images, index, offset = (background[n].data for n in SERIES)
    if "series_share" in background:
        share, scale = (background[n].data for n in SHARES)
        dark = background["offset"].data if "offset" in background else np.zeros(())
        dark = float(dark) if not _graph.is_lazy(dark) and dark.ndim == 0 else dark
        return _graph.Series(images, index, offset, share=share, scale=scale, dark=dark)
    around = [background[n].data for n in WINDOWS if n in background]
    if len(around) < len(WINDOWS) or any(map(_graph.is_lazy, around[:2])):
        return _graph.Series(images, index, offset)
    return _graph.Series(images, index, offset, *around)


def _check_series(movie: xr.DataArray, background: xr.Dataset) -> None:
    """An image for each frame, among images of the movie's pixels."""
    mixed = "series_share" in background
    for name, dims in (SERIES | (dict.fromkeys(SHARES, ("frame",)) if mixed else {})).items():
        if name not in background or background[name].dims != dims:
            raise DimsError(
                f"background.{name}",
                got=f"dims {background[name].dims}"
                if name in background
                else f"a Dataset of {list(background)}",
                wanted=f"{name} with dims {dims}, as background_sparse_median returns it",
                fix="pass background=smlm.background_sparse_median(movie)",
            )
        _check_same(movie, background[name], tuple(d for d in dims if d != "window"))
    _check_level("background.series", background["series"])
    _check_level("background.series_offset", background["series_offset"])
    index, images = background["series_index"], background.sizes["window"]
    known = not _graph.is_lazy(index.data)
    if index.dtype.kind not in "iu" or (known and not (0 <= index.min() <= index.max() < images)):
        raise ParameterError(
            "background.series_index",
            got=f"{index.dtype} from {index.min().item()} to {index.max().item()}"
            if known
            else f"dtype {index.dtype}",
            wanted=f"integers from 0 to {images - 1}, one of {images} images for each frame",
            fix="pass background=smlm.background_sparse_median(movie)",
        )


def _check_level(name: str, level: xr.DataArray) -> None:
    unit = level.attrs.get("units", "adu")
    if level.dtype.kind not in "iuf" or unit != "adu":
        raise ParameterError(
            name,
            got=f"dtype {level.dtype}, unit {unit!r}",
            wanted="real numbers in adu, as the movie's",
            fix="pass background=smlm.background_sparse_median(movie)",
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


# ------------------------------------------------------------------ rows of the table


def _columns(method: str, flat: bool, crops: bool) -> list[str]:
    """Columns the table must have."""
    place = ["x0", "y0"] if crops else ["frame"]
    position = ["x", "y"] if method == "weighted" or not crops else []
    return [*place, *position, *(["background"] if method == "weighted" and not flat else [])]


def _optional(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Columns the table may have; if it has them, they hold numbers."""
    return [name for name in OPTIONAL if name in table and name not in columns]


def _rows(
    movie: xr.DataArray, table: pd.DataFrame, size: tuple[int, int], columns: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Position on the frame axis and the columns of ``COLUMNS`` for each row of the table."""
    rows = np.full((len(table), len(COLUMNS)), np.nan)
    place = _corner if "frame" in columns else _corner_of_crop
    for i, axis in enumerate("yx"):
        rows[:, i], rows[:, 2 + i] = place(movie, table, axis, size[i])
    rows[:, 4] = table.get("z", 0.0)
    rows[:, 5] = table["background"] if "background" in columns else 0.0
    for i, name in enumerate(_own(table), start=6):
        if name is not None:
            rows[:, i] = table[name]
    # An infinite number is as little known as NaN; the sums would show it as an infinite photon count.
    rows[np.isinf(rows)] = np.nan
    frames = _frames(movie, table) if "frame" in columns else np.arange(len(table))
    return frames, rows


def _own(table: pd.DataFrame) -> tuple[str | None, str | None, str | None]:
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
            wanted=f"frames from {int(movie.frame[0])} to {int(movie.frame[-1])}",
            fix="count frames from 0, or select the rows of this movie",
        )
    return np.asarray(place, np.int64)


# ------------------------------------------------------------------ camera and PSF


def _model(
    movie: xr.DataArray,
    table: pd.DataFrame,
    size: tuple[int, int],
    method: str,
    camera: Calibration,
    psf: Calibration | None,
    light: _Light,
) -> tuple[Any, tuple[Any, ...]]:
    """The kernel and what it needs after the rows: numbers, or lazy numbers."""
    numbers = _scalar(camera, "gain"), _scalar(camera, "quantum_efficiency", 1.0)
    if method in ("border", "border-padded"):
        return integrate_border, (size, method == "border-padded", *numbers)
    pixel = float(movie["pixel_size_y"]), float(movie["pixel_size_x"])
    common = (size, pixel, *numbers, 0.0 if light.flat else _offset(movie, camera))
    if isinstance(psf, xr.Dataset) and "knots_z" in psf:
        _check_spline(psf)
        return integrate_spline, (*common, *(psf[n].data for n in SPLINE))
    own = tuple(name is not None for name in _own(table))
    return integrate_gaussian, (*common, own, *_widths(psf, own))


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
        fix=f"pass a Dataset with a scalar {name}, e.g. from as_camera or as_psf",
    )


def _number(name: str, value: Any, may_lack: bool) -> float:
    value = _plain(value)
    if may_lack and isinstance(value, float) and np.isnan(value):
        return value
    return number(name, value, above=-np.inf if name in ("theta", "offset") else 0)


def _most_passes(*sources: object) -> int:
    """Readings that the results take which this one waits for."""
    return max(int(s.attrs.get("passes", 1)) for s in sources if isinstance(s, xr.Dataset))


def _offset(movie: xr.DataArray, camera: Calibration) -> Any:
    if not isinstance(camera, xr.Dataset) or "offset" not in camera:
        raise ParameterError(
            "camera",
            got="no offset",
            wanted="the camera's offset in adu, since the table's background is in photons",
            fix="pass as_camera(gain, offset=100), or background=background_sparse_median(movie)",
        )
    offset = select_map("offset", camera["offset"], movie)
    if offset.dtype.kind not in "iuf":
        raise ParameterError(
            "offset", got=f"dtype {offset.dtype}", wanted="real numbers, adu", fix="check offset"
        )
    if offset.ndim or _graph.is_lazy(offset.data):
        return offset.data
    return _number("offset", offset.data, True)


def _variables(result: Any, method: str) -> dict[str, tuple[tuple[str, ...], Any]]:
    wanted = ("psf_sum", "psf_square") if method == "weighted" else ("border_level",)
    places = {name: i for i, name in enumerate(RESULTS)}
    values: dict[str, tuple[tuple[str, ...], Any]] = {
        name: (("emitter",), _graph.column(result, places[name])) for name in ("photons", *wanted)
    }
    values["status"] = ("emitter",), _graph.column(result, places["status"], "u1")
    return values
