"""All recorded cases of smlmlp, to the deviations an independent statement of them has."""

import json
from pathlib import Path

import dask
import numpy as np
import pytest

from smlm_dask.compat import smlmlp
from smlm_dask.errors import SmlmError
from smlm_dask.kernels.smooth import gaussian_taps

HERE = Path(__file__).parent / "reference" / "smlmlp"
MANIFEST = json.loads((HERE / "manifest.json").read_text())
INPUTS = {name: dict(np.load(HERE / f"input_{name}.npz")) for name in MANIFEST["inputs"]}
SPLINE = {"xtangents": "tx", "ytangents": "ty", "ztangents": "tz", "spline_coeffs": "coeffs"}


def cases(function):
    found = [case for case in MANIFEST["cases"] if case["function"] == function]
    return pytest.mark.parametrize("case", found, ids=[case["file"][5:-4] for case in found])


def wanted_of(case):
    return dict(np.load(HERE / case["file"]))


def listed(info, name, wanted):
    """The arrays of a list entry, computed, with the recorded ones."""
    keys = sorted(k for k in wanted if k.startswith(f"info_{name}__"))
    assert len(keys) == len(info[name])
    return [(np.asarray(info[name][i]), wanted[key]) for i, key in enumerate(keys)]


def movies(case):
    args = case["args"]
    stacks = [INPUTS[name]["stack"] for name in case["inputs"]]
    return [s[: args.get("first_frames")].astype(args.get("dtype", s.dtype)) for s in stacks]


@cases("detect_gain")
def test_detect_gain(case):
    wanted = wanted_of(case)
    gains, info = smlmlp.detect_gain(movies(case), case["args"]["nbins"])
    assert all(dask.is_dask_collection(a) for name in info for a in info[name])
    for name in ("mean", "var", "gain"):
        for found, recorded in listed(info, name, wanted):
            assert found.dtype == recorded.dtype
            np.testing.assert_array_equal(found, recorded)
    for name in ("mean_bins", "var_bins"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_allclose(found, recorded, rtol=2e-7)
    np.testing.assert_allclose([float(g) for g in gains], wanted["gains"], rtol=2e-6)
    for found, recorded in listed(info, "fit", wanted):
        np.testing.assert_allclose(found[0], recorded[0], rtol=2e-6)
        np.testing.assert_allclose(found[1], recorded[1], rtol=5e-6)


@cases("bkgd_spatial_mean")
def test_bkgd_spatial_mean(case):
    args, wanted = case["args"], wanted_of(case)
    corrections = args["noise_corrections"]
    given = None if corrections is None else list(corrections)
    backgrounds, returned, info = smlmlp.bkgd_spatial_mean(
        movies(case), args["channels_mean_radii_pix"], None, given
    )
    for i, background in enumerate(backgrounds):
        assert dask.is_dask_collection(background)
        np.testing.assert_array_equal(np.asarray(background), wanted[f"bkgd__{i}"])
    np.testing.assert_array_equal(returned, wanted["noise_corrections"])
    assert given is None or returned is given
    for axis in "yx":
        for found, recorded in listed(info, f"spatial_mean_kernels_{axis}", wanted):
            np.testing.assert_array_equal(found, recorded)
    for name in ("channels_mean_radii_pix", "spatial_mean_sigmas"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_array_equal(found, recorded)


@cases("blink_spatial_psf")
def test_blink_spatial_psf(case):
    args, wanted = dict(case["args"]), wanted_of(case)
    sigma, info = smlmlp.blink_spatial_psf(movies(case), args.pop("crop_pix"), **args)
    np.testing.assert_allclose([float(s) for s in sigma], wanted["psf_sigma"], rtol=1e-5)
    for name in ("sigx", "sigy"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_allclose(found, recorded, rtol=1e-5)
    for found, recorded in listed(info, "ac", wanted):
        assert found.dtype == recorded.dtype
        np.testing.assert_allclose(found, recorded, rtol=0, atol=2e-6)
    for name in ("psf", "fit", "spline"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_allclose(found, recorded, rtol=0, atol=1e-5)
    for name in ("tx", "ty"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_array_equal(found, recorded)
    for found, recorded in listed(info, "coeffs", wanted):
        np.testing.assert_allclose(found, recorded, rtol=0, atol=1e-5)
    angles = listed(info, "theta", wanted)
    widths = zip(listed(info, "sigx", wanted), listed(info, "sigy", wanted), strict=True)
    for (found, recorded), (x, y) in zip(angles, widths, strict=True):
        if abs(x[1] / y[1] - 1) > 0.1:  # a round PSF has no angle
            np.testing.assert_allclose(found, recorded, rtol=0, atol=1e-3)


def detections(case):
    """Crops, origins, channels and keywords of an integrate_crop case."""
    args = dict(case["args"])
    channels, columns = args.pop("channels"), args.pop("detection_columns")
    args.pop("detections_selected")
    table = INPUTS["detections"]
    crops = [INPUTS[f"crops{c}"]["crops"] for c in channels]
    rows = slice(None) if len(channels) > 1 else table["ch"] == "AB".index(channels[0]) + 1
    keywords = {name: table[name][rows] for name in columns} | args
    if "splines" in case["inputs"]:
        for keyword, name in SPLINE.items():
            keywords[f"channels_psf_3d_{keyword}"] = [
                INPUTS["splines"][f"{name}__{'AB'.index(c)}"] for c in channels
            ]
    ch = table["ch"] if len(channels) > 1 else None
    return (crops, table["X0"][rows], table["Y0"][rows], ch), keywords


@cases("integrate_crop")
def test_integrate_crop(case):
    wanted = wanted_of(case)
    positional, keywords = detections(case)
    intensity, info = smlmlp.integrate_crop(*positional, **keywords)
    assert dask.is_dask_collection(intensity)
    assert intensity.dtype == np.float32
    np.testing.assert_allclose(np.asarray(intensity), wanted["intensity"], rtol=1e-6)
    np.testing.assert_allclose(
        np.asarray(info["background_vector"]), wanted["info_background_vector"], rtol=2e-7
    )
    for name in ("psf_sums", "weighted_denominators"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_allclose(found, recorded, rtol=1e-6)
    assert ("border_medians" in info) == any("border_medians" in key for key in wanted)
    if "border_medians" in info:
        for found, recorded in listed(info, "border_medians", wanted):
            np.testing.assert_array_equal(found, recorded)
    for name in ("channels_weighted_integrations", "channels_fit_models", "channels_pixels_nm"):
        for found, recorded in listed(info, name, wanted):
            np.testing.assert_array_equal(found, recorded)


@cases("crop_remove_bkgd")
def test_crop_remove_bkgd(case):
    wanted = wanted_of(case)
    corrected, info = smlmlp.crop_remove_bkgd([INPUTS[name]["crops"] for name in case["inputs"]])
    for i, crops in enumerate(corrected):
        assert np.asarray(crops).dtype == wanted[f"crops__{i}"].dtype
        np.testing.assert_array_equal(np.asarray(crops), wanted[f"crops__{i}"])
        np.testing.assert_array_equal(
            np.asarray(info["border_medians"][i]), wanted[f"border_medians__{i}"]
        )


@cases("kernel")
def test_kernel(case):
    for name, taps in wanted_of(case).items():
        np.testing.assert_array_equal(gaussian_taps(float(name.removeprefix("sigma_"))), taps)


def test_every_case_is_tested():
    functions = {case["function"] for case in MANIFEST["cases"]}
    tested = {"detect_gain", "bkgd_spatial_mean", "blink_spatial_psf", "integrate_crop"}
    assert functions == tested | {"crop_remove_bkgd", "kernel"}
    assert len(MANIFEST["cases"]) == 40


def test_buffers_are_filled_at_once():
    movie = INPUTS["movieA"]["stack"][:5]
    buffer = np.empty((7, *movie.shape[1:]), "f4")
    filled, _, _ = smlmlp.bkgd_spatial_mean([movie], 7.0, [buffer])
    lazy, _, _ = smlmlp.bkgd_spatial_mean([movie], 7.0)
    assert np.shares_memory(filled[0], buffer)
    np.testing.assert_array_equal(filled[0], np.asarray(lazy[0]))
    with pytest.raises(SmlmError, match="float32"):
        smlmlp.bkgd_spatial_mean([movie], 7.0, [np.empty(movie.shape, "u2")])


def test_a_pair_for_two_channels_is_refused_not_guessed():
    with pytest.raises(SmlmError, match=r"\[\(y, x\), \(y, x\)\]"):
        smlmlp.bkgd_spatial_mean([np.zeros((2, 9, 9))] * 2, (3.0, 5.0))


def test_one_nan_sample_makes_the_gain_nan():
    movie = INPUTS["ramp"]["stack"].astype("f4")
    movie[3, 4, 5] = np.nan
    gains, _ = smlmlp.detect_gain([movie])
    assert np.isnan(float(gains[0]))


def test_widths_that_are_not_positive_have_no_photons():
    crops = [np.ones((3, 7, 7), "f4")]
    at = np.full(3, 3.0)
    widths = {"sigma_fit": np.array([np.nan, 0.0, -1.0])}
    intensity, _ = smlmlp.integrate_crop(
        crops, np.zeros(3), np.zeros(3), x_fit=at, y_fit=at, os_fit=np.zeros(3), **widths
    )
    assert np.isnan(np.asarray(intensity)).all()


@pytest.mark.parametrize("missing", ["x_fit", "y_fit", "os_fit"])
def test_a_missing_column_is_named(missing):
    columns = {name: np.zeros(2) for name in ("x_fit", "y_fit", "os_fit") if name != missing}
    with pytest.raises(SmlmError, match=missing):
        smlmlp.integrate_crop([np.ones((2, 7, 7))], np.zeros(2), np.zeros(2), **columns)


def test_a_missing_spline_is_a_syntax_error():
    zero = np.zeros(2)
    with pytest.raises(SyntaxError, match="spline"):
        smlmlp.integrate_crop(
            [np.ones((2, 7, 7))],
            zero,
            zero,
            x_fit=zero,
            y_fit=zero,
            os_fit=zero,
            channels_fit_models="spline",
        )


def test_no_channels():
    assert smlmlp.detect_gain([])[0] == []
    assert smlmlp.bkgd_spatial_mean([])[0] == []
