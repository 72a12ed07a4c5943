"""What was found, for people: a text with units and one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from smlm_dask import plot
from smlm_dask.check import shown
from smlm_dask.errors import ParameterError
from smlm_dask.kernels.reason import Quality, Reason
from smlm_dask.plot import reason_words

__all__ = ["draw_report", "is_report", "save_report", "summarise"]

Results = Mapping[str, xr.Dataset]

INDENT = 12
MOST_PANELS = 6
PICTURES = (".png", ".pdf", ".svg")
MADE_BY = "smlm_dask report"  # in the picture's metadata


def summarise(results: Results) -> str:
    """Write what was found, with units; where there is no answer, why.

    Parameters
    ----------
    results : mapping of name to Dataset
        Those there are of ``camera``, ``background``, ``psf`` and ``signal``. Computed or lazy: a
        background series is read image by image.
    """
    _check(results)
    lines = [line for name, say in _LINES.items() if name in results for line in say(results[name])]
    return "\n".join(f"{title:<{INDENT}}{text}" for title, text in lines)


Lines = list[tuple[str, str]]

# What tells that a Dataset is the result its name says.
NEEDED = {
    "camera": ("gain",),
    "background": ("series", "series_offset"),
    "psf": ("sigma_x", "coefficients"),
    "signal": ("photons", "status"),
}


def _check(results: Results) -> None:
    """Refuse what is no result, or one under another's name."""
    named = isinstance(results, Mapping) and not isinstance(results, xr.Dataset)
    for name, needed in NEEDED.items():
        if named and name not in results:
            continue
        result = results[name] if named else results
        enough = any if name == "psf" else all  # a Gaussian or a spline
        if not (named and isinstance(result, xr.Dataset) and enough(n in result for n in needed)):
            raise ParameterError(
                f"results[{name!r}]" if named else "results",
                got=f"{type(result).__name__} of {shown(list(result))}"
                if isinstance(result, xr.Dataset)
                else shown(result),
                wanted="the Dataset of its block" if named else "a Dataset for each name",
                fix='{"camera": smlm.estimate_gain(movie)}',
            )


def _camera(camera: xr.Dataset) -> Lines:
    if "signal_mean" not in camera:
        return [("gain", f"{float(camera['gain']):.4g} electron / adu, given")]
    values = camera["signal_mean"].to_numpy()
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (5, 95)) if values.size else (np.nan, np.nan)
    level = f"{low:.4g} to {high:.4g} adu (5 % to 95 % of the pixels)"
    if int(camera["status"]) != Reason.OK:
        return [("gain", f"no answer: {reason_words(camera['status'])}"), ("level", level)]
    gain = f"{float(camera['gain']):.4g} ± {plot.error_words(camera)} electron / adu"
    return [("gain", gain), *_beside(camera), ("level", level)]


def _beside(camera: xr.Dataset) -> Lines:
    """What the line says besides the gain, and what it is worth in words."""
    found = [
        (name.replace("_", " "), f"{float(camera[name]):.4g} ± {float(camera[error]):.2g} {unit}")
        for name, unit in (("offset", "adu"), ("read_noise", "electron"))
        if (error := f"{name}_error") in camera
    ]
    return [*found, ("", quality_words(camera["quality"]))] if "quality" in camera else found


def quality_words(quality: xr.DataArray) -> str:
    """Spell out the bits, e.g. ``error below 1 percent``."""
    words = [q.name or "" for q in Quality if int(quality) & q]
    return ", ".join(words).lower().replace("_", " ").replace("2 5", "2.5")


def _background(background: xr.Dataset) -> Lines:
    image = background["series"].mean(("y", "x"), dtype="f8").to_numpy()
    if not np.isfinite(image).any() and "status" in background:
        return [("background", f"no answer: {reason_words(background['status'])}")]
    flicker = f"frame offsets {background['series_offset'].to_numpy().std():.2g} adu (rms)"
    if "series_scale" in background:
        flicker = f"flicker {100 * background['series_scale'].to_numpy().std():.2g} % (rms)"
    number = f"{len(image)} image" + ("s" if len(image) > 1 else "")
    first = f"{number}; mean {image.mean():.4g} adu, {image[0]:.4g} first, {image[-1]:.4g} last"
    return [("background", first), ("", flicker)]


def _psf(psf: xr.Dataset) -> Lines:
    if "status" not in psf:
        widths = {n: float(psf[n]) for n in ("sigma_x", "sigma_y") if n in psf}
        words = ", ".join(f"{n} {v:.4g} nm" for n, v in widths.items()) or "a cubic spline"
        return [("PSF", f"{words}, given")]
    if int(psf["status"]) != Reason.OK:
        return [("PSF", f"no answer: {reason_words(psf['status'])}")]
    sigma, x, y, theta = (float(psf[n]) for n in ("sigma", "sigma_x", "sigma_y", "theta"))
    error = f" ± {float(psf['sigma_error']):.2g}" if "sigma_error" in psf else ""
    shape = f"x {x:.4g} nm, y {y:.4g} nm, theta {theta:.3g} degree"
    return [("PSF", f"sigma {sigma:.4g}{error} nm ({shape})")]


def _signal(signal: xr.Dataset) -> Lines:
    photons, status = signal["photons"].to_numpy(), signal["status"].to_numpy()
    known = photons[np.isfinite(photons)]
    text = f"{len(known)} of {len(photons)} emitters"
    if len(known):
        low, middle, high = np.percentile(known, (5, 50, 95))
        text += f"; median {middle:.4g} photon ({low:.4g} to {high:.4g}, 5 % to 95 %)"
    codes, counts = np.unique(status[status != Reason.OK], return_counts=True)
    missing = [f"{n} no answer: {reason_words(c)}" for c, n in zip(codes, counts, strict=True)]
    return [("photons", text), *(("", line) for line in missing)]


_LINES = {"camera": _camera, "background": _background, "psf": _psf, "signal": _signal}


def draw_report(results: Results, *, title: str = "") -> Figure:
    """Draw gain curve, level, background, PSF with its fit, and photons or background trace.

    Parameters
    ----------
    results : mapping of name to Dataset
        Those there are of ``camera``, ``background``, ``psf`` and ``signal``. What was given and not
        estimated has no panel.
    title : str
        Stands above all panels.
    """
    layout = ConstrainedLayoutEngine(compress=True, w_pad=0.15, h_pad=0.12)
    figure = Figure(figsize=(15, 8.5), layout=layout)
    figure.suptitle(title)
    _check(results)
    axes = figure.subplots(2, 3).ravel()
    panels = _panels(results)
    for place, (draw, result) in zip(axes, panels, strict=False):
        draw(place, result)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    return figure


def _panels(results: Results) -> list[tuple[Callable[[Axes, xr.Dataset], None], xr.Dataset]]:
    """What to draw, the trace of the background only where there is room."""
    wanted: list[tuple[Callable[[Axes, xr.Dataset], None], str, str]] = [
        (plot.plot_gain_curve, "camera", "signal_mean"),
        (plot.plot_level, "camera", "signal_mean"),
        (plot.plot_background, "background", "series"),
        (plot.plot_psf, "psf", "psf_image"),
        (plot.plot_psf_profile, "psf", "psf_image"),
        (plot.plot_photons, "signal", "photons"),
        (plot.plot_background_trace, "background", "series"),
    ]
    known = [
        (draw, results[name]) for draw, name, needed in wanted if needed in results.get(name, ())
    ]
    return known[:MOST_PANELS]


def save_report(results: Results, path: str | Path, *, title: str = "") -> Path:
    """Write the picture of ``draw_report``; the suffix chooses the format (.png, .pdf, .svg).

    Parameters
    ----------
    results : mapping of name to Dataset
        As in ``draw_report``.
    path : path
        The file.
    title : str
        Stands above all panels.
    """
    path = Path(path)
    if path.suffix not in PICTURES or path.is_dir() or not path.parent.is_dir():
        raise ParameterError(
            "path",
            got=repr(str(path)),
            wanted=f"a file in a folder that exists, with suffix {' or '.join(PICTURES)}",
            fix='"report.png"',
        )
    key = "Software" if path.suffix == ".png" else "Creator"
    draw_report(results, title=title).savefig(path, dpi=110, metadata={key: MADE_BY})
    return path


def is_report(path: str | Path) -> bool:
    """Whether a file is a picture that ``save_report`` wrote.

    Parameters
    ----------
    path : path
        Any file, or none.
    """
    path = Path(path)
    return path.is_file() and MADE_BY.encode() in path.read_bytes()
