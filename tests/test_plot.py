"""Panels, picture and summary: the right numbers in the right units, and words where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smlm_dask import plot
from smlm_dask.kernels.reason import Reason
from smlm_dask.report import draw_report, save_report, summarise
from smlm_dask.variables import to_dataset

Y, X = np.arange(10, 34), np.arange(100, 132)  # a cropped sensor
FAILED = np.uint8(Reason.TOO_FEW_BINS)


def camera(status: int = Reason.OK, error: float = 0.02) -> xr.Dataset:
    level = np.linspace(110.0, 200.0, Y.size * X.size).reshape(Y.size, X.size)
    bins = np.linspace(110.0, 200.0, 10)
    nan = status != Reason.OK
    values: dict[str, Any] = {
        "gain": ((), np.nan if nan else 0.5),
        "gain_error": ((), np.nan if nan else error),
        "signal_mean": (("y", "x"), level),
        "bin_mean": ("bin", bins),
        "bin_variance": ("bin", 2 * bins - 190),
        "bin_count": ("bin", np.full(10, 19)),
        "regression": ("parameter", np.full(6, np.nan) if nan else [2.0, -190.0, 1, 0, 0.08, 8]),
        "status": ((), np.uint8(status)),
    }
    return to_dataset("estimate_gain", values, coords={"y": Y, "x": X})


def background() -> xr.Dataset:
    series = np.stack([np.full((Y.size, X.size), level, "u2") for level in (100, 120, 140)])
    series[1, 3, 4] = 60_000  # one hot pixel
    values: dict[str, Any] = {
        "series": (("window", "y", "x"), series),
        "series_index": ("frame", np.repeat([0, 1, 2], 4)),
        "series_offset": ("frame", np.tile([1.0, -1.0], 6)),
    }
    coords = {"frame": np.arange(50, 62), "y": Y, "x": X}
    return to_dataset("background_sparse_median", values, coords=coords)


def psf(status: int = Reason.OK) -> xr.Dataset:
    lags = np.arange(-10, 11)
    image = np.exp(-(lags[:, None] ** 2 / 8 + lags**2 / 4.5))
    numbers = {"sigma": 130.0, "sigma_x": 120.0, "sigma_y": 140.8, "theta": 12.0}
    nan = status != Reason.OK
    values: dict[str, Any] = {n: ((), np.nan if nan else v) for n, v in numbers.items()}
    for name in ("psf_image", "psf_fit"):
        values[name] = ("lag_y", "lag_x"), np.full_like(image, np.nan) if nan else image.copy()
    values["status"] = (), np.uint8(status)
    return to_dataset("estimate_psf", values, coords={"lag_y": lags, "lag_x": lags})


def signal(answers: int = 90, missing: int = 10) -> xr.Dataset:
    photons = np.concatenate([np.linspace(100.0, 2000.0, answers), np.full(missing, np.nan)])
    status = np.repeat([Reason.OK, Reason.CROP_LEAVES_FRAME], [answers, missing]).astype("u1")
    values: dict[str, Any] = {"photons": ("emitter", photons), "status": ("emitter", status)}
    return to_dataset("integrate_photons", values)


def panel(draw: Callable[[Axes, xr.Dataset], None], result: xr.Dataset) -> Axes:
    axes = Figure().subplots()
    draw(axes, result)
    return axes


def words(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


PANELS = [
    (plot.plot_gain_curve, camera, ("adu", "adu²")),
    (plot.plot_level, camera, ("pixel", "pixel")),
    (plot.plot_background, background, ("pixel", "pixel")),
    (plot.plot_background_trace, background, ("frame", "adu")),
    (plot.plot_psf, psf, ("pixel", "pixel")),
    (plot.plot_psf_profile, psf, ("pixel", "relative to the peak of the fit")),
    (plot.plot_photons, signal, ("photon", "emitters")),
]
named = pytest.mark.parametrize(
    ("draw", "result", "units"), PANELS, ids=[p[0].__name__ for p in PANELS]
)


@named
def test_a_panel_has_a_title_and_units_on_its_axes(draw: Any, result: Any, units: Any) -> None:
    axes = panel(draw, result())
    assert axes.get_title(loc="left")
    assert units[0] in axes.get_xlabel()
    assert units[1] in axes.get_ylabel()


@named
def test_a_panel_leaves_its_input_alone(draw: Any, result: Any, units: Any) -> None:
    given = result()
    panel(draw, given)
    xr.testing.assert_identical(given, result())


@pytest.mark.parametrize(
    ("draw", "result", "label"),
    [
        (plot.plot_level, camera, "level (adu)"),
        (plot.plot_background, background, "background (adu)"),
        (plot.plot_psf, psf, "relative to the peak of the fit"),
    ],
)
def test_a_map_has_a_colour_bar_with_its_unit(draw: Any, result: Any, label: str) -> None:
    figure = panel(draw, result()).get_figure()
    assert figure is not None
    assert [a.get_ylabel() for a in figure.axes[1:]] == [label]


def test_a_map_stands_on_the_pixels_of_the_sensor() -> None:
    axes = panel(plot.plot_level, camera())
    assert axes.images[0].get_extent() == [99.5, 131.5, 33.5, 9.5]


def test_one_hot_pixel_does_not_decide_the_colours() -> None:
    image = panel(plot.plot_background, background()).images[0]
    assert image.get_clim()[1] < 1000


def test_the_line_of_the_gain_is_the_regression() -> None:
    (line,) = panel(plot.plot_gain_curve, camera()).lines
    np.testing.assert_allclose(line.get_ydata(), 2 * np.asarray(line.get_xdata()) - 190)
    assert line.get_label() == "gain 0.5 ± 0.02 electron / adu"


def test_only_the_central_third_of_the_levels_is_marked_as_fitted() -> None:
    bins, fitted = panel(plot.plot_gain_curve, camera()).collections
    levels = np.asarray(fitted.get_offsets())[:, 0]
    assert len(np.asarray(bins.get_offsets())) + len(levels) == 10
    assert 110 + 0.33 * 90 < levels.min() <= levels.max() < 110 + 0.66 * 90


def test_the_trace_is_the_image_of_each_frame_and_its_offset() -> None:
    given = background()
    given["series"][1] = 120
    trace, level = panel(plot.plot_background_trace, given).lines
    np.testing.assert_array_equal(level.get_xdata(), np.arange(50, 62))
    np.testing.assert_array_equal(level.get_ydata(), np.repeat([100.0, 120.0, 140.0], 4))
    np.testing.assert_array_equal(trace.get_ydata(), level.get_ydata() + np.tile([1.0, -1.0], 6))


def test_the_profiles_leave_out_lag_zero_where_the_camera_noise_is() -> None:
    given = psf()
    given["psf_image"].loc[{"lag_x": 0}] = 50.0
    given["psf_image"].loc[{"lag_y": 0}] = 50.0
    for line in panel(plot.plot_psf_profile, given).lines:
        assert np.nanmax(np.asarray(line.get_ydata())) <= 1


def test_the_histogram_counts_the_emitters_that_have_an_answer() -> None:
    axes = panel(plot.plot_photons, signal())
    counts = [bar.get_height() for bar in axes.containers[0]]
    assert 0.98 * 90 <= sum(counts) <= 90
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "90 of 100 emitters"


@pytest.mark.parametrize(
    ("draw", "result", "why"),
    [
        (plot.plot_gain_curve, camera(Reason.SLOPE_NOT_POSITIVE), "slope not positive"),
        (plot.plot_psf, psf(Reason.FIT_FAILED), "fit failed"),
        (plot.plot_psf_profile, psf(Reason.CONSTANT_SIGNAL), "constant signal"),
        (plot.plot_photons, signal(answers=0), "crop leaves frame"),
        (plot.plot_photons, signal(answers=0, missing=0), "no emitters"),
    ],
)
def test_a_panel_without_an_answer_says_why(draw: Any, result: xr.Dataset, why: str) -> None:
    assert words(panel(draw, result)) == f"no answer:\n{why}"


def test_every_reason_has_words() -> None:
    assert {plot.reason_words(r) for r in Reason} >= {"ok", "too few bins", "crop leaves frame"}
    assert all(plot.reason_words(np.uint8(r)).islower() for r in Reason)


def test_a_psf_too_faint_for_its_contours_is_still_drawn() -> None:
    given = psf()
    given["psf_fit"] *= 0.1
    assert len(panel(plot.plot_psf, given).images) == 1


def test_the_report_has_six_panels_and_photons_only_with_positions() -> None:
    results = {"camera": camera(), "background": background(), "psf": psf()}
    without = [a.get_title(loc="left") for a in draw_report(results).axes]
    with_them = [a.get_title(loc="left") for a in draw_report(results | {"signal": signal()}).axes]
    assert len([t for t in without if t]) == len([t for t in with_them if t]) == 6
    assert "Background over time" in without
    assert "Photons" in with_them


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_picture_is_written_even_without_any_answer(tmp_path: Path, suffix: str) -> None:
    results = {"camera": camera(FAILED), "background": background()}
    results |= {"psf": psf(Reason.FIT_FAILED), "signal": signal(0)}
    path = save_report(results, tmp_path / f"report{suffix}", title="nothing found")
    assert path.stat().st_size > 1000


def test_the_summary_has_numbers_and_units() -> None:
    results = {"camera": camera(), "background": background(), "psf": psf(), "signal": signal()}
    text = summarise(results)
    for line in (
        "gain        0.5 ± 0.02 electron / adu\n",
        "level       114.5 to 195.5 adu (5 % to 95 % of the pixels)\n",
        "; mean 146 adu, 100 first, 140 last\n",
        "frame offsets 1 adu (rms)\n",
        "PSF         sigma 130 nm (x 120 nm, y 140.8 nm, theta 12 degree)\n",
        "photons     90 of 100 emitters; median 1050 photon (195 to 1905, 5 % to 95 %)\n",
        "            10 no answer: crop leaves frame",
    ):
        assert line in text


def test_the_summary_says_why_there_is_no_answer() -> None:
    text = summarise({"camera": camera(FAILED), "psf": psf(Reason.FIT_FAILED), "signal": signal(0)})
    assert "gain        no answer: too few bins\n" in text
    assert "PSF         no answer: fit failed\n" in text
    assert "photons     0 of 10 emitters\n            10 no answer: crop leaves frame" in text


def test_a_line_through_two_bins_has_no_error() -> None:
    assert "0.5 ± unknown (2 bins) electron / adu" in summarise({"camera": camera(error=0.0)})


def test_a_movie_of_nan_has_no_level() -> None:
    given = camera(Reason.NOT_FINITE)
    given["signal_mean"][:] = np.nan
    assert "nan to nan adu" in summarise({"camera": given})
    panel(plot.plot_level, given)
    panel(plot.plot_gain_curve, given)
