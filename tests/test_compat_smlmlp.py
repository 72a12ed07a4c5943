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


# ------------------------------------------------------------------ input that cannot be

FLAT = np.ones((4, 32, 32), "f4")


@pytest.mark.parametrize("channels", [None, 3, "ab", FLAT, {"a": FLAT}, [None], ["a"], [FLAT[0]]])
@pytest.mark.parametrize(
    "function",
    [
        smlmlp.detect_gain,
        smlmlp.bkgd_spatial_mean,
        smlmlp.blink_spatial_psf,
        smlmlp.crop_remove_bkgd,
        smlmlp.integrate_crop,
    ],
)
def test_channels_that_are_none(function, channels):
    with pytest.raises(SmlmError, match=r"channels|movie|crops"):
        function(channels)


@pytest.mark.parametrize("nbins", [None, "50", np.nan, 0, -1, 50.0, [50], 10**9])
def test_bins_that_cannot_be(nbins):
    with pytest.raises(SmlmError, match="nbins"):
        smlmlp.detect_gain([FLAT], nbins)


@pytest.mark.parametrize(
    "radii",
    [
        None,
        "a",
        np.nan,
        -1,
        np.inf,
        1e12,
        1j,
        True,
        {},
        (1, 2, 3),
        [[1, 2, 3]],
        [(1, "a")],
        [None],
        [[]],
    ],
)
def test_radii_that_cannot_be(radii):
    with pytest.raises(SmlmError, match="channels_mean_radii_pix"):
        smlmlp.bkgd_spatial_mean([FLAT], radii)


def test_pairs_and_numbers_may_be_mixed():
    found = smlmlp.bkgd_spatial_mean([FLAT] * 2, [3, (1, 2)])[2]["channels_mean_radii_pix"]
    assert found == [(3, 3), (1, 2)]
    found = smlmlp.bkgd_spatial_mean([FLAT] * 3, [(1, 2), [3], np.array(4.0)[()]])[2]
    assert found["channels_mean_radii_pix"] == [(1, 2), (3, 3), (4, 4)]
    found = smlmlp.bkgd_spatial_mean([FLAT], np.array(4.0))[2]
    assert found["channels_mean_radii_pix"] == [(4, 4)]


@pytest.mark.parametrize(
    "corrections",
    [[], [1.0], (1.0, 1.0), "ab", 3, [None, 1.0], ["a", 1.0], {0: 1.0, 1: 1.0}, np.ones(2, "i4")],
)
def test_noise_corrections_that_cannot_be(corrections):
    with pytest.raises(SmlmError, match="noise_corrections"):
        smlmlp.bkgd_spatial_mean([FLAT] * 2, 3.0, None, corrections)


def buffer(*shape, dtype="f4"):
    return np.zeros(shape, dtype)


BUFFERS = {
    "none": [],
    "one": [buffer(4, 32, 32)],
    "three": [buffer(4, 32, 32)] * 3,
    "short": [buffer(3, 32, 32), buffer(4, 32, 32)],
    "narrow": [buffer(4, 31, 32), buffer(4, 32, 32)],
    "flat": [buffer(4, 32), buffer(4, 32, 32)],
    "double": [buffer(4, 32, 32, dtype="f8"), buffer(4, 32, 32)],
    "read-only": [np.broadcast_to(np.float32(0), (4, 32, 32)), buffer(4, 32, 32)],
    "lists": [[1], [2]],
    "nothing": [None, None],
    "number": 3,
    "same": [buffer(4, 32, 32)] * 2,
}


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_that_cannot_be(name):
    corrections = [1.0, 1.0]
    with pytest.raises(SmlmError, match="bkgds"):
        smlmlp.bkgd_spatial_mean([FLAT] * 2, 3.0, BUFFERS[name], corrections)
    assert corrections == [1.0, 1.0]


@pytest.mark.parametrize("crop_pix", [None, "9", 0, -1, np.nan, 9.0, [9], 1, 33])
def test_crops_of_the_autocorrelation_that_cannot_be(crop_pix):
    with pytest.raises(SmlmError, match=r"crop_pix|size_pixels"):
        smlmlp.blink_spatial_psf([FLAT], crop_pix)


@pytest.mark.parametrize("bad", ["no", None, 1.5])
def test_removal_is_wanted_or_not(bad):
    with pytest.raises(SmlmError, match="remove_bkgd"):
        smlmlp.blink_spatial_psf([FLAT], 9, remove_bkgd=bad)


CROPS = np.random.default_rng(0).poisson(50, (4, 9, 9)).astype("f4")
NOTHING = np.zeros(0)


@pytest.mark.parametrize("dtype", ["f4", "u2", "f8"])
def test_no_crops_give_no_numbers(dtype):
    none = CROPS[:0].astype(dtype)
    (corrected,), info = smlmlp.crop_remove_bkgd([none])
    assert corrected.shape == (0, 9, 9)
    assert corrected.dtype == info["border_medians"][0].dtype == ("f8" if dtype == "f8" else "f4")
    assert np.asarray(info["border_medians"][0]).size == 0


@pytest.mark.parametrize("model", ["isogauss", "gauss"])
@pytest.mark.parametrize("weighted", [True, False])
def test_no_detections_have_no_photons(weighted, model):
    columns = dict.fromkeys(("x_fit", "y_fit", "os_fit"), NOTHING)
    keywords = {"channels_weighted_integrations": weighted, "channels_fit_models": model}
    intensity, info = smlmlp.integrate_crop([CROPS[:0]], NOTHING, NOTHING, **columns, **keywords)
    assert np.asarray(intensity).shape == (0,)
    assert intensity.dtype == np.float32
    assert ("border_medians" in info) != weighted
    assert info["psf_sums"][0].dtype == ("f8" if weighted else "f4")


def test_a_channel_without_detections_leaves_the_other_as_it_is():
    n4 = np.zeros(4)
    columns = {"x_fit": n4 + 4, "y_fit": n4 + 4, "os_fit": n4 + 50, "channels_psf_sigmas_nm": 1.2}
    alone = smlmlp.integrate_crop([CROPS], n4, n4, **columns)[0]
    for ch in (None, np.ones(4), [1, 1, 1, 1]):
        beside = smlmlp.integrate_crop([CROPS, CROPS[:0]], n4, n4, ch, **columns)[0]
        np.testing.assert_array_equal(np.asarray(beside), np.asarray(alone))


NO_COLUMN = [
    "a",
    3.0,
    [1.0],
    np.ones(5),
    ["a"] * 4,
    [None] * 4,
    np.ones((4, 1)),
    {},
    np.ones(4) * 1j,
]
NO_COLUMN += [[np.ones(3)], [np.ones(4)] * 2, [[1.0], [1.0, 2.0]]]


@pytest.mark.parametrize("bad", NO_COLUMN, ids=range(len(NO_COLUMN)))
@pytest.mark.parametrize("name", ["X0", "x_fit", "os_fit", "sigma_x_fit", "sigma_angle"])
def test_columns_that_cannot_be(name, bad):
    columns = {n: np.full(4, 4.0) for n in ("x_fit", "y_fit", "os_fit")} | {name: bad}
    origin = columns.pop("X0", np.zeros(4))
    with pytest.raises(SmlmError, match=name):
        smlmlp.integrate_crop([CROPS], origin, np.zeros(4), **columns, channels_fit_models="gauss")


@pytest.mark.parametrize("ch", ["a", 3, [0] * 4, [1] * 3, [1.5] * 4, np.ones((4, 1)), [True] * 4])
def test_numbers_of_channels_that_cannot_be(ch):
    with pytest.raises(SmlmError, match="ch"):
        smlmlp.integrate_crop([CROPS], ch=ch, channels_weighted_integrations=False)


@pytest.mark.parametrize("bad", ["no", None, np.nan, 2, {}, [None], [True, False]])
def test_weighting_is_wanted_or_not(bad):
    with pytest.raises(SmlmError, match="channels_weighted_integrations"):
        smlmlp.integrate_crop([CROPS], channels_weighted_integrations=bad)


@pytest.mark.parametrize("bad", [[], 3, [np.ones(8)] * 2])
@pytest.mark.parametrize("name", sorted(SPLINE))
def test_splines_are_given_for_each_channel(name, bad):
    n4 = np.zeros(4)
    given = {f"channels_psf_3d_{n}": [np.r_[[-5.0] * 4, [5.0] * 4]] for n in SPLINE}
    given["channels_psf_3d_spline_coeffs"] = [np.ones((4, 4, 4))]
    columns = {"x_fit": n4 + 4, "y_fit": n4 + 4, "os_fit": n4, "channels_fit_models": "spline"}
    good, _ = smlmlp.integrate_crop([CROPS], n4, n4, **columns, **given)
    assert np.isfinite(np.asarray(good)).all()
    with pytest.raises(SmlmError, match=name):
        smlmlp.integrate_crop(
            [CROPS], n4, n4, **columns, **given | {f"channels_psf_3d_{name}": bad}
        )
