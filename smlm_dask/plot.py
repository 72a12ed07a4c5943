"""Figures, one function for each panel: it draws on the axes it is given and keeps no state."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smlm_dask.kernels.gain import CENTRAL_PERCENT
from smlm_dask.kernels.reason import Reason

__all__ = [
    "error_words",
    "plot_background",
    "plot_background_trace",
    "plot_gain_curve",
    "plot_level",
    "plot_photons",
    "plot_psf",
    "plot_psf_profile",
    "reason_words",
]

# Okabe and Ito's colours: told apart with every kind of colour vision.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#6e6e6e"
LEVELS, SHAPE = "viridis", "magma"  # perceptually uniform; one for light, one for the PSF
MOST_POINTS = 5000


def reason_words(status: Any) -> str:
    """Spell out a status code, e.g. ``too few bins``."""
    return Reason(int(status)).name.lower().replace("_", " ")


def error_words(camera: xr.Dataset) -> str:
    """Write the error of the gain; a line through two bins has none."""
    error = float(camera["gain_error"])
    return f"{error:.2g}" if error > 0 else "unknown (2 bins)"


# ------------------------------------------------------------------ camera


def plot_gain_curve(axes: Axes, camera: xr.Dataset) -> None:
    """Draw variance against level of each bin, and the line whose slope is 1 / gain.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    camera : xarray.Dataset
        From ``estimate_gain``.
    """
    _label(axes, "Noise against light", "level (adu)", "variance (adu²)")
    axes.set_box_aspect(1)
    level, variance, count = (
        camera[f"bin_{name}"].to_numpy() for name in ("mean", "variance", "count")
    )
    known = np.isfinite(level) & np.isfinite(variance)
    fitted = known & (_central(camera, level) if "regression" in camera else True)
    for chosen, colour, label in ((known & ~fitted, GREY, "bins"), (fitted, BLUE, "fitted bins")):
        if chosen.any():
            size = _sizes(count)[chosen]
            axes.scatter(level[chosen], variance[chosen], size, colour, label=label, lw=0)
    if int(camera["status"]) != Reason.OK:
        return _no_answer(axes, camera)
    _gain_line(axes, camera, level[known])
    axes.margins(y=0.2)
    _legend(axes, loc="upper left")
    return None


def _central(camera: xr.Dataset, level: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a bin lies where the line is fitted."""
    values = camera["signal_mean"].to_numpy()
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, CENTRAL_PERCENT) if values.size else (np.nan, np.nan)
    inside: NDArray[np.bool_] = (level > low) & (level < high)
    return inside


def _sizes(count: NDArray[Any]) -> NDArray[np.float64]:
    """Area of a bin's point in points^2: more pixels, larger, but never invisible."""
    area: NDArray[np.float64] = 10.0 + 50.0 * np.sqrt(count / max(1, count.max(initial=1)))
    return area


def _gain_line(axes: Axes, camera: xr.Dataset, level: NDArray[Any]) -> None:
    given = camera["regression"][:2] if "regression" in camera else camera[["slope", "intercept"]]
    slope, intercept = np.asarray(given.to_array() if isinstance(given, xr.Dataset) else given)
    ends = np.array([level.min(), level.max()])
    label = f"gain {float(camera['gain']):.4g} ± {error_words(camera)} electron / adu"
    axes.plot(ends, slope * ends + intercept, color=ORANGE, label=label)


def plot_level(axes: Axes, camera: xr.Dataset) -> None:
    """Show the level of each pixel, the mean of its levels over the windows.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    camera : xarray.Dataset
        From ``estimate_gain``.
    """
    _map(axes, camera["signal_mean"], "Level", "level (adu)")


# ------------------------------------------------------------------ background


def plot_background(axes: Axes, background: xr.Dataset) -> None:
    """Show the middle image of a background series.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    background : xarray.Dataset
        From ``estimate_background``; one image of it is read.
    """
    middle = background.sizes["window"] // 2
    title = f"Background, image {middle + 1} of {background.sizes['window']}"
    _map(axes, background["series"][middle], title, "background (adu)")


def plot_background_trace(axes: Axes, background: xr.Dataset) -> None:
    """Draw the mean background of the field in each frame.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    background : xarray.Dataset
        From ``estimate_background``; the series is read image by image.
    """
    _label(axes, "Background over time", "frame", "mean background (adu)")
    axes.set_box_aspect(1)
    image = background["series"].mean(("y", "x"), dtype="f8").to_numpy()
    index = background["series_index"].to_numpy()
    level, light = image[index], image[index]
    if "series_share" in background:
        share, scale = (background[f"series_{n}"].to_numpy() for n in ("share", "scale"))
        dark = float(background["offset"].mean()) if "offset" in background else 0.0
        level = (1 - share) * level + share * image[np.minimum(index + 1, len(image) - 1)]
        light = dark + scale * (level - dark)
    frame, step = background["frame"].to_numpy(), max(1, background.sizes["frame"] // MOST_POINTS)
    trace = light + background["series_offset"].to_numpy()
    axes.plot(frame[::step], trace[::step], color=BLUE, lw=0.6, alpha=0.6, label="with flicker")
    axes.plot(frame[::step], level[::step], color=ORANGE, lw=1.5, label="series")
    _legend(axes)


# ------------------------------------------------------------------ psf


def plot_psf(axes: Axes, psf: xr.Dataset) -> None:
    """Show the image of the PSF, and its fit at 1/4, 1/2 and 3/4 of the peak.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    psf : xarray.Dataset
        From ``estimate_psf``.
    """
    _label(axes, "PSF and fit", "lag x (pixel)", "lag y (pixel)")
    if int(psf["status"]) != Reason.OK:
        return _no_answer(axes, psf)
    image, fit = _near(psf, psf["psf_image"]), _near(psf, psf["psf_fit"])
    drawn = axes.imshow(image, extent=_extent(image), origin="upper", cmap=SHAPE, vmin=0, vmax=1)
    _bar(axes, drawn, "relative to the peak of the fit", extend="both")
    _contours(axes, _fine(_fine(fit, "lag_x", "cubic"), "lag_y", "cubic"))
    return None


def _contours(axes: Axes, fit: xr.DataArray) -> None:
    # matplotlib warns of contours that are nowhere.
    levels = [level for level in (0.25, 0.5, 0.75) if float(fit.min()) < level < float(fit.max())]
    if levels:
        axes.contour(fit["lag_x"], fit["lag_y"], fit, levels=levels, colors="w", linewidths=1.2)


def plot_psf_profile(axes: Axes, psf: xr.Dataset) -> None:
    """Draw the PSF along x and y beside the row and column of lag 0, which hold camera noise.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    psf : xarray.Dataset
        From ``estimate_psf``.
    """
    _label(
        axes, "PSF profiles, mean of lag 1 and -1", "lag (pixel)", "relative to the peak of the fit"
    )
    axes.set_box_aspect(1)
    if int(psf["status"]) != Reason.OK:
        return _no_answer(axes, psf)
    for axis, other, colour, marker in (("x", "y", BLUE, "o"), ("y", "x", ORANGE, "s")):
        points, curve = (
            _near(psf, psf[name]).sel({f"lag_{other}": [-1, 1]}).mean(f"lag_{other}")
            for name in ("psf_image", "psf_fit")
        )
        points = points.where(points[f"lag_{axis}"] != 0)
        # The profiles often lie on each other: small full points inside large open ones.
        face, size = (colour, 5) if axis == "x" else ("none", 9)
        axes.plot(points[f"lag_{axis}"], points, marker, color=colour, mfc=face, ms=size)
        curve = _fine(curve, f"lag_{axis}")
        axes.plot(curve[f"lag_{axis}"], curve, color=colour, label=f"along {axis}")
    axes.margins(y=0.15)
    _legend(axes, f"sigma {float(psf['sigma']):.4g} nm", loc="upper right")
    return None


def _fine(
    image: xr.DataArray, dim: str, method: Literal["cubic", "pchip"] = "pchip"
) -> xr.DataArray:
    """Interpolate; pchip never overshoots a narrow peak, cubic gives rounder contours."""
    lags = image[dim].to_numpy()
    return image.interp({dim: np.linspace(lags[0], lags[-1], 8 * len(lags) + 1)}, method=method)


def _near(psf: xr.Dataset, image: xr.DataArray) -> xr.DataArray:
    """Cut out the part of ``image`` in which the fitted PSF shines, with some margin."""
    bright = psf["psf_fit"].to_numpy() > 0.01
    lags = psf["lag_x"].to_numpy()
    reach = max(abs(lags[bright.any(axis)]).max(initial=0) for axis in (0, 1))
    half = min(int(lags.max()), max(4, int(1.5 * reach)))
    return image.sel(lag_y=slice(-half, half), lag_x=slice(-half, half))


# ------------------------------------------------------------------ photons


def plot_photons(axes: Axes, signal: xr.Dataset) -> None:
    """Draw the histogram of the photons of all emitters that have an answer.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    signal : xarray.Dataset
        From ``integrate_photons``.
    """
    _label(axes, "Photons", "photons of an emitter (photon)", "emitters")
    axes.set_box_aspect(1)
    photons = signal["photons"].to_numpy()
    known = photons[np.isfinite(photons)]
    if not len(known):
        return _no_answer(axes, signal)
    low, high = np.percentile(known, (0.1, 99))
    bins = np.linspace(min(0.0, low), high if high > low else low + 1, 60)
    axes.hist(known, bins.tolist(), color=BLUE, alpha=0.8)
    middle = float(np.median(known))
    axes.axvline(middle, color=ORANGE, label=f"median {middle:.4g} photon")
    _legend(axes, f"{len(known)} of {len(photons)} emitters", loc="upper right")
    return None


# ------------------------------------------------------------------ what all panels share


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _map(axes: Axes, image: xr.DataArray, title: str, quantity: str) -> None:
    """Show an image on the sensor; a few hot pixels may not decide the colours."""
    _label(axes, title, "x (pixel)", "y (pixel)")
    values = image.to_numpy()
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    drawn = axes.imshow(values, extent=_extent(image), cmap=LEVELS, vmin=low, vmax=high)
    _bar(axes, drawn, quantity, extend="both")


def _legend(
    axes: Axes, title: str = "", loc: Literal["best", "upper left", "upper right"] = "best"
) -> None:
    axes.legend(title=title, loc=loc, frameon=False, fontsize="small", title_fontsize="small")


def _extent(image: xr.DataArray) -> tuple[float, float, float, float]:
    """Edges of the first and last pixel: left, right, bottom, top, with y downwards."""
    y, x = (image[dim].to_numpy() for dim in image.dims)
    return float(x[0]) - 0.5, float(x[-1]) + 0.5, float(y[-1]) + 0.5, float(y[0]) - 0.5


def _bar(axes: Axes, drawn: Any, label: str, extend: str) -> None:
    figure = axes.get_figure()
    if figure is not None:
        bar = figure.colorbar(drawn, ax=axes, label=label, extend=extend, shrink=0.85)
        bar.outline.set_visible(False)


def _no_answer(axes: Axes, result: xr.Dataset) -> None:
    """Say on the panel why there is nothing to see."""
    status = np.atleast_1d(result["status"].to_numpy())
    wrong = np.unique(status[status != Reason.OK])
    why = "\n".join(reason_words(code) for code in wrong) or "no emitters"
    box = {"facecolor": "white", "edgecolor": GREY, "boxstyle": "round,pad=0.6"}
    place: dict[str, Any] = {
        "transform": axes.transAxes,
        "ha": "center",
        "va": "center",
        "bbox": box,
    }
    if not axes.has_data():
        axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, f"no answer:\n{why}", **place)
