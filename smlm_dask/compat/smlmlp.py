"""smlmlp's functions under their own names, for movies that need not fit in memory.

Signatures, argument forms and numbers are those of smlmlp 0.1.20, its defects included; the arrays that
come back are dask arrays and nothing is computed until they are. ``cuda=`` and ``parallel=`` are accepted
and change nothing: dask decides where and how many tasks run. What differs on purpose: a movie without
frames, a frame smaller than a crop and widths that are not positive raise or give NaN where smlmlp
gives a finite number without meaning.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from smlm_dask import _graph
from smlm_dask.background import spatial_mean
from smlm_dask.calibration import as_camera, as_psf, as_spline_psf
from smlm_dask.check import flag, number, shown, whole_number
from smlm_dask.errors import DimsError, ParameterError, TableError
from smlm_dask.gain import photon_transfer
from smlm_dask.kernels.integrate import without_border
from smlm_dask.kernels.smooth import gaussian_taps, seed_noise_factor
from smlm_dask.movie import as_movie
from smlm_dask.photons import integrate_photons
from smlm_dask.psf import estimate_psf

__all__ = [
    "bkgd_spatial_mean",
    "blink_spatial_psf",
    "crop_remove_bkgd",
    "detect_gain",
    "integrate_crop",
]

Channels = Sequence[Any]
Info = dict[str, Any]
Pairs = list[tuple[float, float]]

MOST_BINS = 1_000_000
LARGEST_RADIUS = 1e5  # pixels: wider than any sensor


def detect_gain(
    channels: Channels, /, nbins: int = 50, *, cuda: bool = False, parallel: bool = False
) -> tuple[list[Any], Info]:
    """Gain of each channel from its mean-variance line, as ``estimate_gain(movie, window=None)``.

    Parameters
    ----------
    channels : sequence of (frame, y, x)
        One movie for each channel.
    nbins : int
        Bins of the mean-variance curve.
    cuda, parallel : bool
        Accepted; without effect.

    Returns
    -------
    gains : list
        electron / adu, lazy numbers.
    info : dict
        ``gain`` (mean / var, with the offset in it), ``mean``, ``var`` maps, ``mean_bins``,
        ``var_bins``, ``fit`` (six numbers of linregress): one lazy array for each channel.

    Raises
    ------
    SmlmError
        If a channel is no movie, or there cannot be so many bins.
    """
    nbins = whole_number("nbins", nbins, at_least=1, at_most=MOST_BINS)
    results = [
        photon_transfer(as_movie(c, pixel_size=1.0), None, nbins, fewest=2)
        for c in _listed(channels)
    ]
    names = {"mean": "signal_mean", "var": "signal_variance", "fit": "regression"}
    info = {seed: [r[ours][1] for r in results] for seed, ours in names.items()}
    info["gain"] = [_graph.ratio(m, v) for m, v in zip(info["mean"], info["var"], strict=True)]
    for seed, ours in (("mean_bins", "bin_mean"), ("var_bins", "bin_variance")):
        kept = [r[ours][1][~np.isnan(r["bin_mean"][1])] for r in results]
        info[seed] = [k.astype(m.dtype) for k, m in zip(kept, info["mean"], strict=True)]
    # One NaN sample makes the seed's gain NaN; our block leaves the pixel out.
    one = [1.0 + 0.0 * mean.sum() for mean in info["mean"]]
    return [_graph.ratio(o, fit[0]) for o, fit in zip(one, info["fit"], strict=True)], info


def bkgd_spatial_mean(
    channels: Channels,
    /,
    channels_mean_radii_pix: Any = 7.0,
    bkgds: Sequence[Any] | None = None,
    noise_corrections: MutableSequence[Any] | None = None,
    *,
    cuda: bool = False,
    parallel: bool = False,
) -> tuple[list[Any], MutableSequence[Any], Info]:
    """Gaussian mean of each frame, as ``background_spatial_mean`` computes it.

    Parameters
    ----------
    channels : sequence of (frame, y, x)
        One movie for each channel.
    channels_mean_radii_pix : float, (float, float) or one of them for each channel
        Radii along (y, x) in pixels; sigma is half of it.
    bkgds : sequence of float32 arrays, optional
        Filled and returned: this computes at once.
    noise_corrections : list, optional
        Multiplied in place and returned.
    cuda, parallel : bool
        Accepted; without effect.

    Returns
    -------
    bkgds : list of (frame, y, x) float32
        Lazy, unless ``bkgds`` was given.
    noise_corrections : list
        Times the product of the norms of delta minus kernel along y and x. That is not the noise of
        movie minus background: see ``noise_factor`` of ``background_spatial_mean``.
    info : dict
        ``channels_mean_radii_pix``, ``spatial_mean_sigmas``, and ``spatial_mean_kernels_y``, ``_x``:
        delta minus kernel.

    Raises
    ------
    SmlmError
        If a channel is no movie, radii do not fit the channels, a buffer is not a float32 array of
        the channel's size, or there are too few noise corrections.
    """
    radii = _radii(channels_mean_radii_pix, len(_listed(channels)))
    corrections = _corrections(noise_corrections, len(channels))
    taps = [tuple(gaussian_taps(r / 2) for r in pair) for pair in radii]
    lazy = [
        spatial_mean(as_movie(c, pixel_size=1.0), *t) for c, t in zip(channels, taps, strict=True)
    ]
    if bkgds is not None:
        _check_buffers(lazy, bkgds)
    for i, factor in enumerate(seed_noise_factor(*t) for t in taps):
        corrections[i] = corrections[i] * factor
    info = {
        "channels_mean_radii_pix": radii,
        "spatial_mean_sigmas": [(ry / 2, rx / 2) for ry, rx in radii],
        "spatial_mean_kernels_y": [_difference(ty) for ty, _ in taps],
        "spatial_mean_kernels_x": [_difference(tx) for _, tx in taps],
    }
    return (lazy if bkgds is None else _filled(lazy, bkgds)), corrections, info


def _difference(taps: Any) -> Any:
    kernel = -taps
    kernel[len(taps) // 2] += 1
    return kernel


def _listed(channels: Channels) -> Channels:
    """The channels, if they are a list of them and not one."""
    if not isinstance(channels, list | tuple) and np.ndim(channels) != 4:
        raise ParameterError(
            "channels",
            got=f"{type(channels).__name__} {shown(getattr(channels, 'shape', channels))}",
            wanted="a list of arrays, one for each channel",
            fix="[movie]",
        )
    return channels


def _radii(value: Any, n: int) -> Pairs:
    radii = _pairs("channels_mean_radii_pix", value, n)
    for radius in (r for pair in radii for r in pair):
        number("channels_mean_radii_pix", radius, at_least=0, at_most=LARGEST_RADIUS)
    return radii


def _corrections(given: MutableSequence[Any] | None, n: int) -> MutableSequence[Any]:
    """A list that takes a real number for each channel."""
    if given is None:
        return [np.float32(1)] * n
    array = isinstance(given, np.ndarray) and given.ndim == 1
    listed = isinstance(given, MutableSequence) or (array and given.dtype.kind == "f")
    if not listed or len(given) < n or not all(isinstance(c, Real) for c in given):
        raise ParameterError(
            "noise_corrections",
            got=shown(given),
            wanted=f"a list of {n} numbers, one for each channel",
            fix=f"noise_corrections={[1.0] * n}",
        )
    return given


def _check_buffers(lazy: list[Any], bkgds: Sequence[Any]) -> None:
    """Arrays in memory: what is written to a slice of another kind may be lost."""
    listed = _several(bkgds)
    if not listed or len(bkgds) != len(lazy) or not all(map(_holds, bkgds, lazy)):
        got = (
            [f"{getattr(b, 'dtype', type(b).__name__)} {np.shape(b)}" for b in bkgds]
            if listed
            else bkgds
        )
        raise ParameterError(
            "bkgds",
            got=shown(got),
            wanted=f"writable float32 arrays (others would round between the passes) that hold "
            f"{[a.shape for a in lazy]}",
            fix="pass bkgds=None, or such arrays",
        )
    if any(np.may_share_memory(a, b) for a, b in combinations(bkgds, 2)):
        raise ParameterError(
            "bkgds", got="arrays that overlap", wanted="one for each channel", fix="pass bkgds=None"
        )


def _holds(buffer: Any, lazy: Any) -> bool:
    return (
        isinstance(buffer, np.ndarray)
        and buffer.dtype == np.float32
        and buffer.flags.writeable
        and buffer.ndim == lazy.ndim
        and len(buffer) >= len(lazy)
        and buffer.shape[1:] == lazy.shape[1:]
    )


def _filled(lazy: list[Any], bkgds: Sequence[Any]) -> list[Any]:
    views = [buffer[: len(a)] for a, buffer in zip(lazy, bkgds, strict=True)]
    _graph.copy_into(lazy, views)
    return views


def blink_spatial_psf(
    channels: Channels,
    /,
    crop_pix: int = 41,
    *,
    channels_pixels_nm: Any = 100.0,
    remove_bkgd: bool = True,
    cuda: bool = False,
    parallel: bool = False,
) -> tuple[list[Any], Info]:
    """PSF of each channel: ``estimate_psf(movie, window=None, max_frames=None, method="smlmlp")``.

    Parameters
    ----------
    channels : sequence of (frame, y, x)
        One movie for each channel.
    crop_pix : int
        Lags of the autocorrelation; an even number gives one more.
    channels_pixels_nm : float, (float, float) or one of them for each channel
        Pixel size along (y, x).
    remove_bkgd : bool
        Subtract the temporal median and keep what is above it.
    cuda, parallel : bool
        Accepted; without effect.

    Returns
    -------
    psf_sigma : list
        sqrt(sigx sigy) in nm, lazy numbers.
    info : dict
        ``ac``, ``psf``, ``fit``, ``spline``, ``sigx``, ``sigy``, ``theta``, ``tx``, ``ty``,
        ``coeffs``: one lazy array for each channel.

    Raises
    ------
    SmlmError
        If a channel is no movie, or pixel sizes or the crop do not fit.
    """
    pixels = _pairs("channels_pixels_nm", channels_pixels_nm, len(_listed(channels)))
    crop_pix = whole_number("crop_pix", crop_pix, at_least=1)
    results = [
        estimate_psf(
            as_movie(channel, pixel_size=pixel),
            window=None,
            max_frames=None,
            size_pixels=crop_pix // 2 * 2 + 1,
            remove_background=flag("remove_bkgd", remove_bkgd),
            method="smlmlp",
        )
        for channel, pixel in zip(channels, pixels, strict=True)
    ]
    names = {"ac": "autocorrelation", "psf": "psf_image", "fit": "psf_fit", "spline": "psf_spline"}
    names |= {"sigx": "sigma_x", "sigy": "sigma_y", "theta": "theta"}
    names |= {"tx": "knots_x", "ty": "knots_y", "coeffs": "coefficients"}
    single = ("ac", "tx", "ty", "coeffs")
    info = {
        ours: [r[name].data.astype("f4" if ours in single else "f8") for r in results]
        for ours, name in names.items()
    }
    return [r.sigma.data for r in results], info


def crop_remove_bkgd(
    crops: Channels, /, *, cuda: bool = False, parallel: bool = False
) -> tuple[list[Any], Info]:
    """Crops less the median of their border; exact zeros connected to the border are padding.

    Parameters
    ----------
    crops : sequence of (emitter, y, x)
        Crops of each channel.
    cuda, parallel : bool
        Accepted; without effect.

    Returns
    -------
    crops : list of (emitter, y, x)
        Lazy; float32 for uint16 and float32 crops, float64 for int32 and float64.
    info : dict
        ``border_medians``: (emitter,) for each channel.

    Raises
    ------
    SmlmError
        If a channel is no stack of crops.
    """
    parts = [_without_border(_as_crops(channel)) for channel in _listed(crops)]
    return [crops for crops, _ in parts], {"border_medians": [medians for _, medians in parts]}


def _without_border(channel: Any) -> tuple[Any, Any]:
    """Crops less their border medians, and these."""
    kind = _border_dtype(channel)
    if not len(channel):
        return _nothing(kind, channel.shape), _nothing(kind)
    data = as_movie(channel, pixel_size=1.0).data
    medians = _border(channel, as_camera(1.0)).border_level.data
    return _graph.frame_map(without_border, data, dtype=kind), medians.astype(kind)


def _nothing(kind: str, shape: tuple[int, ...] = (0,)) -> Any:
    """No crops give no numbers: no error, as a channel may have no detections."""
    return _graph.from_array(np.empty(shape, kind))


def _as_crops(channel: Any) -> Any:
    """A stack of crops, of which there may be none, though not of height or width 0."""
    array = (
        channel if hasattr(channel, "dtype") and hasattr(channel, "ndim") else np.asarray(channel)
    )
    if array.ndim != 3 or array.dtype.kind not in "iuf" or 0 in array.shape[1:]:
        raise DimsError(
            "crops",
            got=f"{array.dtype} of shape {array.shape}",
            wanted="real numbers with axes (emitter, y, x) for each channel",
            fix="[crops], with crops of one size",
        )
    return array


def _border_dtype(channel: Any) -> str:
    dtype = channel.dtype
    return "f4" if dtype == np.float32 or dtype.itemsize < 4 else "f8"


def _border(channel: Any, camera: xr.Dataset) -> xr.Dataset:
    origin = pd.DataFrame({"x0": np.zeros(len(channel)), "y0": np.zeros(len(channel))})
    return integrate_photons(
        _crops(channel, (1.0, 1.0)), origin, camera=camera, method="border-padded"
    )


def _crops(channel: Any, pixel: tuple[float, float]) -> xr.DataArray:
    movie = as_movie(channel, pixel_size=pixel)
    return movie.drop_vars("frame").rename(frame="emitter")


def _pairs(name: str, value: Any, n: int) -> Pairs:
    """One (y, x) pair for each channel from a number, a pair, or one of them for each channel."""
    if not _several(value):
        return [_pair(name, value)] * n
    value = list(value)
    shared = n == 2 and all(isinstance(v, Real) for v in value)
    if len(value) == n and not shared:
        return [_pair(name, v) for v in value]
    if len(value) == 2 and n != 2:
        return [_pair(name, value)] * n
    raise ParameterError(
        name,
        got=f"{shown(value)} for {n} channels",
        wanted="a number, one (y, x) pair, or a number or pair for each channel",
        fix="with two channels write a shared pair as [(y, x), (y, x)]",
    )


def _several(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _pair(name: str, value: Any) -> tuple[float, float]:
    both = (
        list(value) if _several(value) else [value[()] if isinstance(value, np.ndarray) else value]
    )
    if len(both) not in (1, 2) or not all(
        isinstance(v, Real) and not isinstance(v, bool) for v in both
    ):
        raise ParameterError(name, got=shown(value), wanted="a number or (y, x)", fix="pass (y, x)")
    return float(both[0]), float(both[-1])


def integrate_crop(
    crops: Channels,
    X0: Any = None,
    Y0: Any = None,
    /,
    ch: ArrayLike | None = None,
    *,
    x_fit: ArrayLike | None = None,
    y_fit: ArrayLike | None = None,
    z_fit: ArrayLike | None = None,
    os_fit: ArrayLike | None = None,
    sigma_fit: ArrayLike | None = None,
    sigma_x_fit: ArrayLike | None = None,
    sigma_y_fit: ArrayLike | None = None,
    sigma_angle: ArrayLike | None = None,
    channels_weighted_integrations: Any = True,
    channels_fit_models: Any = "isogauss",
    channels_pixels_nm: Any = 1.0,
    channels_gains: Any = 1.0,
    channels_QE: Any = 1.0,
    channels_psf_sigmas_nm: Any = 93.8,
    channels_psf_xsigmas_nm: Any = 93.8,
    channels_psf_ysigmas_nm: Any = 93.8,
    channels_psf_thetas_deg: Any = 0.0,
    channels_psf_3d_xtangents: Sequence[Any] | None = None,
    channels_psf_3d_ytangents: Sequence[Any] | None = None,
    channels_psf_3d_ztangents: Sequence[Any] | None = None,
    channels_psf_3d_spline_coeffs: Sequence[Any] | None = None,
    cuda: bool = False,
    parallel: bool = False,
) -> tuple[Any, Info]:
    """Photons of given crops, as ``integrate_photons`` computes them.

    Parameters
    ----------
    crops : sequence of (emitter, y, x)
        Crops of each channel, in the order of the detections of that channel.
    X0, Y0 : (emitter,) or one for each channel, optional
        First pixel of each crop; needed for weighted channels.
    ch : (emitter,), optional
        One-based channel of each detection. Without it the channels follow one another.
    x_fit, y_fit, z_fit : (emitter,), optional
        Positions in nm.
    os_fit : (emitter,), optional
        Background in photons a pixel.
    sigma_fit, sigma_x_fit, sigma_y_fit, sigma_angle : (emitter,), optional
        Widths in nm and angle in degrees; else those of the channel.
    channels_weighted_integrations, channels_fit_models, channels_pixels_nm, channels_gains, channels_QE
        One value, or one for each channel; models are isogauss, gauss and spline.
    channels_psf_sigmas_nm, channels_psf_xsigmas_nm, channels_psf_ysigmas_nm, channels_psf_thetas_deg
        PSF of the channel.
    channels_psf_3d_xtangents, channels_psf_3d_ytangents, channels_psf_3d_ztangents
        Knots of the spline of each channel.
    channels_psf_3d_spline_coeffs
        Coefficients (z, y, x) of each channel.
    cuda, parallel : bool
        Accepted; without effect.

    Returns
    -------
    intensity : (emitter,) float32
        Photons in the order of the detections; lazy.
    info : dict
        ``channels_weighted_integrations``, ``channels_fit_models``, ``channels_pixels_nm``,
        ``psf_sums``, ``weighted_denominators``, ``background_vector`` and, with unweighted channels,
        ``border_medians``.

    Raises
    ------
    SmlmError
        If lengths differ, a channel number is wrong, or a weighted channel lacks a column.
    SyntaxError
        If a spline channel has no spline.
    """
    given = dict(locals())
    given["crops"] = [_as_crops(channel) for channel in _listed(crops)]
    each = {name: _each(name, given[name], len(crops)) for name in _EACH}
    each["channels_pixels_nm"] = _pairs("channels_pixels_nm", channels_pixels_nm, len(crops))
    _check_weighted(each["channels_weighted_integrations"])
    places = _places(given["crops"], ch)
    parts = [_integrate_channel(given, each, i, place) for i, place in enumerate(places)]
    return _gathered(parts, each, places)


_EACH = (
    "channels_weighted_integrations",
    "channels_fit_models",
    "channels_gains",
    "channels_QE",
    "channels_psf_sigmas_nm",
    "channels_psf_xsigmas_nm",
    "channels_psf_ysigmas_nm",
    "channels_psf_thetas_deg",
)
_SPLINE = (
    "channels_psf_3d_ytangents",
    "channels_psf_3d_xtangents",
    "channels_psf_3d_ztangents",
    "channels_psf_3d_spline_coeffs",
)


def _check_weighted(values: list[Any]) -> None:
    """True or False: any word would count as true."""
    wrong = [v for v in values if not (isinstance(v, bool | np.bool_ | Real) and v in (0, 1))]
    if wrong:
        raise ParameterError(
            "channels_weighted_integrations",
            got=shown(wrong[0]),
            wanted="True or False, or one for each channel",
            fix="channels_weighted_integrations=True",
        )


def _each(name: str, value: Any, n: int) -> list[Any]:
    if not _several(value):
        return [value[()] if isinstance(value, np.ndarray) else value] * n
    if len(value) != n:
        raise ParameterError(
            name,
            got=f"{len(value)} values",
            wanted=f"one, or one for each of {n} channels",
            fix="check it",
        )
    return list(value)


def _places(crops: Channels, ch: ArrayLike | None) -> list[Any]:
    """Where the crops of each channel stand among all detections."""
    sizes = [len(c) for c in crops]
    if ch is None:
        ends = np.cumsum(sizes)
        return [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    channel = _numbers("ch", ch)
    places = [np.flatnonzero(channel == i + 1) for i in range(len(crops))]
    if [len(p) for p in places] != sizes or sum(sizes) != len(channel):
        raise TableError(
            "ch",
            got=f"{[len(p) for p in places]} detections a channel, {len(channel)} in all",
            wanted=f"{sizes} crops a channel",
            fix="count channels from 1, and cut one crop for each detection",
        )
    return places


def _integrate_channel(given: Info, each: Info, i: int, place: Any) -> Info:
    camera = as_camera(
        each["channels_gains"][i], offset=0.0, quantum_efficiency=each["channels_QE"][i]
    )
    if not len(place):
        empty = _nothing("f4")
        no_sums = {"sum": _nothing("f8"), "square": _nothing("f8")}
        weighted = each["channels_weighted_integrations"][i]
        return {"photons": empty, "level": empty, "border": empty} | (no_sums if weighted else {})
    border = _border(given["crops"][i], camera)
    level = border.border_level.data.astype("f4")
    if not each["channels_weighted_integrations"][i]:
        return {"photons": border.photons.data, "level": level, "border": level}
    crops = _crops(given["crops"][i], each["channels_pixels_nm"][i])
    table = _table(given, each, i, place)
    psf = _psf(given, each, i)
    sums = integrate_photons(crops, table, camera=camera, psf=psf, method="weighted")
    data = {"photons": sums.photons.data, "sum": sums.psf_sum.data, "square": sums.psf_square.data}
    scale = each["channels_QE"][i] / each["channels_gains"][i]
    light = _graph.from_array((table["background"].to_numpy() * scale).astype("f4"))
    return data | {"level": light, "border": level}


def _table(given: Info, each: Info, i: int, place: Any) -> pd.DataFrame:
    """The columns of one weighted channel under our names."""
    names = {"x": "x_fit", "y": "y_fit", "background": "os_fit", "x0": "X0", "y0": "Y0"}
    missing = [seed for seed in names.values() if given[seed] is None]
    if missing:
        raise TableError(
            "integrate_crop",
            got=f"no {missing}",
            wanted="them, for weighted channels",
            fix="pass them",
        )
    columns = {ours: _column(given, seed, i, place) for ours, seed in names.items()}
    pixel_y, pixel_x = each["channels_pixels_nm"][i]
    for axis, pixel in (("x", pixel_x), ("y", pixel_y)):
        # The seed subtracts the origin in float32; its rounding is part of its numbers.
        near = columns[axis].astype("f4") - columns[f"{axis}0"].astype("f4") * np.float32(pixel)
        columns[axis], columns[f"{axis}0"] = near.astype("f8"), np.zeros(len(place))
    if each["channels_fit_models"][i] == "spline":
        columns |= {} if given["z_fit"] is None else {"z": _column(given, "z_fit", i, place)}
    else:
        columns |= _own_widths(given, i, place, each["channels_fit_models"][i])
    return pd.DataFrame(columns)


def _own_widths(given: Info, i: int, place: Any, model: str) -> dict[str, Any]:
    if model == "isogauss":
        own = given["sigma_fit"]
        return {} if own is None else {"sigma": _column(given, "sigma_fit", i, place)}
    wanted = {"sigma_x": "sigma_x_fit", "sigma_y": "sigma_y_fit"}
    found = {
        ours: seed if given[seed] is not None else "sigma_fit" for ours, seed in wanted.items()
    }
    found["theta"] = "sigma_angle"
    known = {ours: seed for ours, seed in found.items() if given[seed] is not None}
    return {ours: _column(given, seed, i, place) for ours, seed in known.items()}


def _column(given: Info, name: str, i: int, place: Any) -> Any:
    """A column's part for one channel: by detection, or already one array for each channel."""
    value, sizes = given[name], [len(c) for c in given["crops"]]
    if isinstance(value, list | tuple) and len(value) and np.ndim(value[0]):
        column = _numbers(name, value[i] if len(value) == len(sizes) else None)
        length, place = sizes[i], slice(None)
    else:
        column, length = _numbers(name, value), sum(sizes)
    if len(column) != length:
        raise TableError(
            name,
            got=f"{len(column)} values",
            wanted=f"one for each of {length} detections",
            fix="check its length",
        )
    return column[place].astype("f8")


def _numbers(name: str, values: Any) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty((), object)
    if array.ndim != 1 or (array.dtype.kind not in "iuf" and len(array)):
        raise TableError(
            name,
            got=shown(values),
            wanted="a number for each detection, or an array of them for each channel",
            fix=f"check {name}",
        )
    return array


def _psf(given: Info, each: Info, i: int) -> xr.Dataset:
    model = each["channels_fit_models"][i]
    if model == "spline":
        if any(given[name] is None for name in _SPLINE):
            raise SyntaxError(f"channel {i + 1} is a spline and one of {_SPLINE} is missing")
        for name in _SPLINE:
            _check_listed(name, given[name], len(given["crops"]))
        return as_spline_psf(*(given[name][i] for name in _SPLINE))
    if model == "isogauss":
        return as_psf(each["channels_psf_sigmas_nm"][i])
    if model == "gauss":
        return as_psf(
            sigma_x=each["channels_psf_xsigmas_nm"][i],
            sigma_y=each["channels_psf_ysigmas_nm"][i],
            theta=each["channels_psf_thetas_deg"][i],
        )
    raise ParameterError(
        "channels_fit_models",
        got=repr(model),
        wanted="isogauss, gauss or spline",
        fix="check the name",
    )


def _check_listed(name: str, values: Any, n: int) -> None:
    if not _several(values) or len(values) != n:
        raise ParameterError(
            name, got=shown(values), wanted=f"one for each of {n} channels", fix=f"check {name}"
        )


def _gathered(parts: list[Info], each: Info, places: list[Any]) -> tuple[Any, Info]:
    weighted = each["channels_weighted_integrations"]
    nothing = [_graph.from_array(np.full(len(p), np.nan, "f4")) for p in places]
    info: Info = {
        n: each[n]
        for n in ("channels_weighted_integrations", "channels_fit_models", "channels_pixels_nm")
    }
    info["psf_sums"] = [p.get("sum", n) for p, n in zip(parts, nothing, strict=True)]
    info["weighted_denominators"] = [
        p.get("square", n) for p, n in zip(parts, nothing, strict=True)
    ]
    info["background_vector"] = _graph.scatter([p["level"] for p in parts], places, "f4")
    if not all(weighted):
        info["border_medians"] = [p["border"] for p in parts]
    return _graph.scatter([p["photons"] for p in parts], places, "f4"), info
