"""What was found, for people: a text with units and one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from smlm_dask import plot
from smlm_dask.kernels.reason import Reason
from smlm_dask.plot import reason_words

__all__ = ["draw_report", "save_report", "summarise"]

Results = Mapping[str, xr.Dataset]

INDENT = 12


def summarise(results: Results) -> str:
    """Write what was found, with units; where there is no answer, why.

    Parameters
    ----------
    results : mapping of name to Dataset
        Those there are of ``camera``, ``background``, ``psf`` and ``signal``. Computed or lazy: a
        background series is read image by image.
    """
    lines = [line for name, say in _LINES.items() if name in results for line in say(results[name])]
    return "\n".join(f"{title:<{INDENT}}{text}" for title, text in lines)


Lines = list[tuple[str, str]]


def _camera(camera: xr.Dataset) -> Lines:
    values = camera["signal_mean"].to_numpy()
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (5, 95)) if values.size else (np.nan, np.nan)
    level = f"{low:.4g} to {high:.4g} adu (5 % to 95 % of the pixels)"
    if int(camera["status"]) != Reason.OK:
        return [("gain", f"no answer: {reason_words(camera['status'])}"), ("level", level)]
    gain = f"{float(camera['gain']):.4g} ± {plot.error_words(camera)} electron / adu"
    return [("gain", gain), ("level", level)]


def _background(background: xr.Dataset) -> Lines:
    image = background["series"].mean(("y", "x"), dtype="f8").to_numpy()
    offset = background["series_offset"].to_numpy()
    number = f"{len(image)} image" + ("s" if len(image) > 1 else "")
    first = f"{number}; mean {image.mean():.4g} adu, {image[0]:.4g} first, {image[-1]:.4g} last"
    return [("background", first), ("", f"frame offsets {offset.std():.2g} adu (rms)")]


def _psf(psf: xr.Dataset) -> Lines:
    if int(psf["status"]) != Reason.OK:
        return [("PSF", f"no answer: {reason_words(psf['status'])}")]
    sigma, x, y, theta = (float(psf[n]) for n in ("sigma", "sigma_x", "sigma_y", "theta"))
    return [("PSF", f"sigma {sigma:.4g} nm (x {x:.4g} nm, y {y:.4g} nm, theta {theta:.3g} degree)")]


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
        ``camera``, ``background``, ``psf`` and, if there were positions, ``signal``.
    title : str
        Stands above all panels.
    """
    layout = ConstrainedLayoutEngine(compress=True, w_pad=0.15, h_pad=0.12)
    figure = Figure(figsize=(15, 8.5), layout=layout)
    figure.suptitle(title)
    axes = figure.subplots(2, 3).ravel()
    plot.plot_gain_curve(axes[0], results["camera"])
    plot.plot_level(axes[1], results["camera"])
    plot.plot_background(axes[2], results["background"])
    plot.plot_psf(axes[3], results["psf"])
    plot.plot_psf_profile(axes[4], results["psf"])
    if "signal" in results:
        plot.plot_photons(axes[5], results["signal"])
    else:
        plot.plot_background_trace(axes[5], results["background"])
    return figure


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
    draw_report(results, title=title).savefig(path, dpi=110)
    return Path(path)
