"""Photon kernels against smlmlp's recorded intensities and a float64 numpy statement."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erfc

from smlm_dask.kernels import photons
from smlm_dask.kernels.border import border_sums, remove_border_background
from smlm_dask.kernels.crops import inside, place
from smlm_dask.kernels.erf import REACH, interval_share, signed_tail
from smlm_dask.kernels.projection import Background
from smlm_dask.kernels.spots import Spline, Straight, Turned
from tests.statements import photons as statement

REFERENCE = Path(__file__).parent / "reference" / "smlmlp"
CASES = [
    case
    for case in json.loads((REFERENCE / "manifest.json").read_text())["cases"]
    if case["function"] == "integrate_crop"
]
CHANNELS = [(case, i) for case in CASES for i in range(len(case["args"]["channels"]))]
NO_IMAGES = (np.zeros((0, 0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0))
SPLINE = ("ty", "tx", "tz", "coeffs")


def load(name):
    with np.load(REFERENCE / name) as stored:
        return dict(stored)


def placed(frames, index, y0, x0, size, *under):
    """Crops and what lies under them: level, images, the image and the offset of each frame."""
    crops = place(frames, index, y0, x0, size)
    return crops, Background(crops, *under)


def gaussian_sums(*columns, pixel):
    crops, under = placed(*columns[:9])
    spots = Straight(len(crops.valid), crops.size, pixel, *columns[9:])
    return photons.weighted_sums(crops, under, spots)


def rotated_sums(*columns, pixel):
    crops, under = placed(*columns[:9])
    spots = Turned(len(crops.valid), crops.size, pixel, *columns[9:])
    return photons.weighted_sums(crops, under, spots)


def spline_sums(*columns, pixel):
    crops, under = placed(*columns[:9])
    spots = Spline(len(crops.valid), crops.size, pixel, columns[9:12], columns[12:])
    return photons.weighted_sums(crops, under, spots)


def given_crops(crops):
    """Given crops are frames with their origin at (0, 0)."""
    zeros = np.zeros(len(crops), np.int64)
    return crops, np.arange(len(crops)), zeros, zeros, crops.shape[1:]


def per_channel(args, name, default, channel):
    value = args.get(name, default)
    return value[channel] if isinstance(value, list) else value


# ---------------------------------------------------------------------------- the reference


def seed_sums(case, channel, crops, rows):
    """The sums behind one channel of a recorded case, and how it turns them into photons."""
    args = case["args"]

    def argument(name, default):
        return per_channel(args, name, default, channel)

    gain, efficiency = argument("channels_gains", 1.0), argument("channels_QE", 1.0)
    scale = gain / efficiency
    if not argument("channels_weighted_integrations", True):
        return border_sums(*given_crops(crops), padding=True), scale
    pixel = np.broadcast_to(argument("channels_pixels_nm", 1.0), 2)
    columns = {name: rows[name] for name in args["detection_columns"]}
    mu_y = np.float32(columns["y_fit"]) - np.float32(rows["Y0"]) * np.float32(pixel[0])
    mu_x = np.float32(columns["x_fit"]) - np.float32(rows["X0"]) * np.float32(pixel[1])
    level = np.float32(columns["os_fit"] * np.float64(efficiency) / gain)
    cut = (*given_crops(crops), level, *NO_IMAGES)
    return weighted(cut, argument, columns, mu_y, mu_x, pixel, args["channels"][channel]), scale


def weighted(cut, argument, columns, mu_y, mu_x, pixel, channel):
    # smlmlp keeps a channel's default width as float32.
    model = argument("channels_fit_models", "isogauss")
    if model == "spline":
        stored = load("input_splines.npz")
        spline = [stored[f"{name}__{'AB'.index(channel)}"] for name in SPLINE]
        z = columns.get("z_fit", np.float32(0))
        return spline_sums(*cut, mu_y, mu_x, z, *spline, pixel=pixel)
    one = columns.get("sigma_fit")
    if model == "isogauss":
        sigma = np.float32(argument("channels_psf_sigmas_nm", 93.8)) if one is None else one
        return gaussian_sums(*cut, mu_y, mu_x, sigma, sigma, pixel=pixel)
    sigma_x, sigma_y = (
        columns.get(f"sigma_{axis}_fit", one if one is not None else default)
        for axis, default in (
            ("x", np.float32(argument("channels_psf_xsigmas_nm", 93.8))),
            ("y", np.float32(argument("channels_psf_ysigmas_nm", 93.8))),
        )
    )
    theta = columns.get("sigma_angle", argument("channels_psf_thetas_deg", 0.0))
    return rotated_sums(*cut, mu_y, mu_x, sigma_y, sigma_x, theta, pixel=pixel)


@pytest.mark.parametrize(("case", "channel"), CHANNELS, ids=lambda v: str(v)[:60])
def test_intensities_are_those_of_the_reference(case, channel):
    detections = load("input_detections.npz")
    name = case["args"]["channels"][channel]
    chosen = detections["ch"] == "AB".index(name) + 1
    rows = {key: column[chosen] for key, column in detections.items()}
    crops = load(f"input_crops{name}.npz")["crops"]
    sums, scale = seed_sums(case, channel, crops, rows)
    known = load(case["file"])
    intensity = known["intensity"][chosen] if len(known["intensity"]) == 210 else known["intensity"]
    np.testing.assert_allclose(np.float32(sums[:, 0] * scale), intensity, rtol=1e-5)
    if sums.shape[1] == 2:
        np.testing.assert_array_equal(sums[:, 1], known[f"info_border_medians__{channel}"])
    else:
        np.testing.assert_allclose(sums[:, 1], known[f"info_psf_sums__{channel}"], rtol=1e-8)
        denominators = known[f"info_weighted_denominators__{channel}"]
        np.testing.assert_allclose(sums[:, 2], denominators, rtol=1e-8)


@pytest.mark.parametrize("channel", [0, 1])
def test_crops_without_border_background_are_bit_equal_to_the_reference(channel):
    crops = load(f"input_crops{'AB'[channel]}.npz")["crops"]
    known = load("case_crop_remove_bkgd_039.npz")
    corrected, medians = remove_border_background(crops, padding=True)
    assert corrected.dtype == medians.dtype == np.float32
    np.testing.assert_array_equal(corrected, known[f"crops__{channel}"])
    np.testing.assert_array_equal(medians, known[f"border_medians__{channel}"])


# ---------------------------------------------------------------------------- the statement


@st.composite
def emitters(draw):
    """Frames, crops in them, and Gaussians from a spike to a plain, on and far off the crop."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 40))
    size = draw(st.tuples(st.integers(1, 13), st.integers(1, 13)))
    pixel = draw(st.sampled_from([(100.0, 100.0), (110.0, 95.0), (1.0, 1.3)]))
    dtype = draw(st.sampled_from(["uint16", "float32"]))
    frames = random.poisson(50, (3, 16, 20)).astype(dtype)
    spread = draw(st.sampled_from([0.3, 2.0, 12.0]))
    unit = np.array(pixel)[:, None]
    mu = (random.uniform(-spread, spread, (2, n)) + np.array(size)[:, None] / 2) * unit
    sigma = 10 ** random.uniform(*draw(st.sampled_from([(-0.3, 0.3), (-3, 2)])), (2, n)) * unit
    places = random.integers(0, 3, n), random.integers(0, 17 - size[0], n)
    places = (*places, random.integers(0, 21 - size[1], n))
    return (frames, *places, size), random.uniform(0, 60, n), mu, sigma, pixel, random


def check(sums, cut, level, shapes):
    frames, *places, size = cut
    for row, *where, b, psf in zip(sums, *places, level, shapes, strict=True):
        crop = statement.cut(frames, *where, size).astype(float) - b
        raw, total, square = statement.projection(crop, psf)
        # Where counts cancel, raw is small beside what was summed: the error is not.
        summed = np.abs(psf / total * crop).sum() / square if total else 0.0
        np.testing.assert_allclose(row[0], raw, rtol=1e-8, atol=1e-8 * summed)
        np.testing.assert_allclose(row[1:], (total, square), rtol=1e-8)


@settings(deadline=None, max_examples=40)
@given(emitters())
def test_gaussian_sums_equal_the_statement(case):
    cut, level, mu, sigma, pixel, _ = case
    sums = gaussian_sums(*cut, level, *NO_IMAGES, *mu, *sigma, pixel=pixel)
    shapes = [
        statement.gaussian(cut[-1], *m, *s, 0.0, pixel) for m, s in zip(mu.T, sigma.T, strict=True)
    ]
    check(sums, cut, level, shapes)


@settings(deadline=None, max_examples=30)
@given(emitters())
def test_rotated_sums_equal_the_statement(case):
    cut, level, mu, sigma, pixel, random = case
    theta = random.uniform(-180, 180, len(level))
    sums = rotated_sums(*cut, level, *NO_IMAGES, *mu, *sigma, theta, pixel=pixel)
    shapes = [
        statement.gaussian(cut[-1], *m, *s, t, pixel)
        for m, s, t in zip(mu.T, sigma.T, theta, strict=True)
    ]
    check(sums, cut, level, shapes)


@settings(deadline=None, max_examples=30)
@given(emitters(), st.integers(0, 5))
def test_spline_sums_equal_the_statement(case, extra):
    cut, level, mu, _, pixel, random = case
    knots = [np.sort(random.uniform(-8, 8, 8 + extra)) * unit for unit in (*pixel, 50.0)]
    for t in knots[:2]:  # ends repeated four times, as an interpolating spline has them
        t[:4], t[-4:] = t[0], t[-1]
    coefficients = random.normal(1, 0.5, [len(knots[a]) - 4 for a in (2, 0, 1)])
    z = -random.uniform(knots[2][0], knots[2][-1], len(level))
    mu[:, 0] = [-t[-1] for t in knots[:2]]  # a pixel on the very end of the knots
    sums = spline_sums(*cut, level, *NO_IMAGES, *mu, z, *knots, coefficients, pixel=pixel)
    shapes = [
        statement.spline(cut[-1], *m, z_, *knots, coefficients, pixel)
        for m, z_ in zip(mu.T, z, strict=True)
    ]
    check(sums, cut, level, shapes)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_border_sums_equal_the_statement(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    dtype = data.draw(st.sampled_from(["uint16", "float32", "float64"]))
    padding = data.draw(st.booleans())
    light = data.draw(st.sampled_from([0.0, 0.5, 2.0, 1000.0]))
    crops = random.poisson(light, (data.draw(st.integers(1, 70)), *size)).astype(dtype)
    if dtype != "uint16" and data.draw(st.booleans()):
        crops += random.normal(0, 1e-3, crops.shape).astype(dtype) * (crops > 0)
        crops[random.random(crops.shape) < 0.1] = np.nan
    sums = border_sums(*given_crops(crops), padding=padding)
    corrected, medians = remove_border_background(crops, padding=padding)
    known = [statement.remove_border(crop, padding) for crop in crops]
    np.testing.assert_array_equal(medians, [median for _, median in known])
    np.testing.assert_array_equal(corrected, [crop for crop, _ in known])
    np.testing.assert_array_equal(sums[:, 1], medians)
    total = np.array([crop.astype(float).sum() for crop, _ in known])
    summed = np.abs(corrected).astype(float).sum((1, 2))
    np.testing.assert_allclose(sums[:, 0], total, atol=1e-6 * np.nanmax(summed, initial=0))


def test_a_count_of_zero_is_data_unless_padding_is_asked_for():
    crop = np.full((1, 5, 5), 2, np.uint16)
    crop[0, 0, :], crop[0, 2, 2], crop[0, 1, 1] = 0, 50, 0
    crop[0, 3, 3] = 0  # does not touch the others: data in both
    kept, _ = border_sums(*given_crops(crop))[0]
    assert kept == crop.sum() - 25 * 2
    skipped, _ = border_sums(*given_crops(crop), padding=True)[0]
    assert skipped == crop.sum() - (25 - 6) * 2


def test_tails_are_right_to_the_last_one_that_counts():
    u = np.linspace(0, REACH * 0.999999, 20001)
    tails = np.array([signed_tail(a) for a in u])
    np.testing.assert_allclose(tails, erfc(u), rtol=3e-11)
    np.testing.assert_array_equal([signed_tail(-a) for a in u[1:]], -tails[1:])
    assert interval_share(signed_tail(REACH + 1), signed_tail(REACH + 2)) == 0
    assert interval_share(signed_tail(-1e6), signed_tail(1e6)) == 2


def test_a_rotation_by_nothing_changes_nothing():
    crops, mu, sigma = plain(50)
    cut = (*given_crops(crops), 3.0, *NO_IMAGES)
    straight = gaussian_sums(*cut, *mu, *sigma, pixel=(100.0, 90.0))
    turned = rotated_sums(*cut, *mu, *sigma, 0.0, pixel=(100.0, 90.0))
    np.testing.assert_allclose(turned, straight, rtol=1e-9)


# ---------------------------------------------------------------------------- the laws


def plain(n, size=(7, 9)):
    random = np.random.default_rng(n)
    crops = random.poisson(30, (n, *size)).astype(np.float32)
    mu = random.uniform(300, 400, (2, n))
    return crops, mu, random.uniform(90, 150, (2, n))


def every_kernel(cut, mu, sigma):
    """Each kernel on the same crops, as calls that take the frames."""
    _, *places = cut
    n = len(places[0])
    weights = (np.full(n, 2.5), *NO_IMAGES)
    knots = np.r_[[-900.0] * 3, np.linspace(-900, 900, 8), [900.0] * 3]
    spline = (knots, knots, knots, np.ones((10, 10, 10)))
    pixel = (100.0, 90.0)
    return {
        "gaussian": lambda f: gaussian_sums(f, *places, *weights, *mu, *sigma, pixel=pixel),
        "rotated": lambda f: rotated_sums(f, *places, *weights, *mu, *sigma, 30.0, pixel=pixel),
        "spline": lambda f: spline_sums(
            f, *places, *weights, *mu, np.zeros(n), *spline, pixel=pixel
        ),
        "border": lambda f: border_sums(f, *places),
        "border, padding": lambda f: border_sums(f, *places, padding=True),
    }


KERNELS = ["gaussian", "rotated", "spline", "border", "border, padding"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_positions_in_frames_give_what_the_cut_crops_give(kernel):
    random = np.random.default_rng(3)
    n, size = 1500, (7, 9)  # more than one batch, and not a whole number of them
    movie = random.poisson(30, (8, 40, 64)).astype(np.float32)
    frames = movie[::2, 3:-1, ::-2]  # strided, backwards
    frames.flags.writeable = False
    before = movie.copy()
    index, y0, x0 = (random.integers(0, m, n) for m in (4, 30, 24))
    _, mu, sigma = plain(n)
    inputs = [index, y0, x0, mu, sigma]
    for array in inputs:
        array.flags.writeable = False
    places = zip(index, y0, x0, strict=True)
    crops = np.stack([frames[f, y : y + 7, x : x + 9] for f, y, x in places])
    found = every_kernel((frames, index, y0, x0, size), mu, sigma)[kernel](frames)
    known = every_kernel(given_crops(crops), mu, sigma)[kernel](crops)
    np.testing.assert_allclose(found, known, rtol=1e-11, atol=1e-11 * 1000)
    np.testing.assert_array_equal(movie, before)
    assert found.base is None
    assert np.isfinite(found).all()
    single = [
        every_kernel((frames, index[[k]], y0[[k]], x0[[k]], size), mu[:, [k]], sigma[:, [k]])[
            kernel
        ](frames)[0]
        for k in (0, 700, 1499)
    ]
    np.testing.assert_array_equal(single, found[[0, 700, 1499]])


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [*(("gaussian", t) for t in ("u1", "i2", ">u2", "i4", "f2", "f8", "g", "?")), ("border", "i2")],
)
def test_any_real_type_gives_the_same_sums(kernel, dtype):
    crops, mu, sigma = plain(20)
    crops = np.minimum(crops, 1 if dtype == "?" else 127)
    call = every_kernel(given_crops(crops), mu, sigma)[kernel]
    np.testing.assert_allclose(call(crops.astype(dtype)), call(crops), rtol=1e-12)


def test_border_medians_are_single_only_where_that_holds_the_counts():
    crops = np.zeros((1, 2, 2))
    crops[0] = [[1, 1], [16777217, 16777217]]  # 2^24 + 1: not a float32
    assert border_sums(*given_crops(crops))[0, 1] == 8388609
    assert border_sums(*given_crops(crops.astype(np.int32)))[0, 1] == 8388609
    assert border_sums(*given_crops(crops.astype(np.float32)))[0, 1] == 8388608
    assert remove_border_background(crops)[0].dtype == np.float64
    assert remove_border_background(crops.astype(np.uint8))[0].dtype == np.float32


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("frames", [0, 2])
def test_no_emitters_and_no_frames(kernel, frames):
    none = np.zeros(0, np.int64)
    cut = (np.zeros((frames, 16, 20), np.uint16), none, none, none, (7, 9))
    empty = every_kernel(cut, np.zeros((2, 0)), np.ones((2, 0)))[kernel](cut[0])
    assert empty.shape == (0, 2 if "border" in kernel else 3)
    one = (cut[0][:0], np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), (7, 9))
    lost = every_kernel(one, np.full((2, 1), 300.0), np.full((2, 1), 100.0))[kernel](one[0])
    assert np.isnan(lost).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_crops_that_leave_the_frame_are_nan_and_spoil_no_other(kernel):
    huge = np.iinfo(np.int64)
    y0 = np.array([0, -1, 9, 10, 3, 3, 3, huge.max, huge.min, 0, 0, 9])
    x0 = np.array([0, 0, 11, 0, 12, -3, 11, 0, 0, huge.max, 0, 11])
    index = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, -1])
    fits = np.array([1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0], bool)
    frames = np.random.default_rng(0).poisson(30, (2, 16, 20)).astype(np.float32)
    _, mu, sigma = plain(len(y0))
    sums = every_kernel((frames, index, y0, x0, (7, 9)), mu, sigma)[kernel](frames)
    assert (np.isnan(sums).all(1) == ~fits).all()
    assert np.isfinite(sums[fits]).all()
    in_frame = inside(y0, x0, (7, 9), (16, 20))
    np.testing.assert_array_equal(in_frame & (index >= 0) & (index < 2), fits)


@given(st.integers(-5, 25), st.integers(-5, 25), st.tuples(*[st.integers(1, 12)] * 2))
def test_inside_says_whether_every_pixel_exists(y0, x0, size):
    known = statement.cut(np.zeros((1, 10, 14)), 0, y0, x0, size) is not None
    assert inside([y0], [x0], size, (10, 14)).tolist() == [known]


def weighted_sums(mu_y=350.0, mu_x=350.0, sigma_y=100.0, sigma_x=100.0, theta=10.0, level=2.0):
    """Both Gaussians on one crop, with one argument of interest."""
    crops = np.random.default_rng(1).poisson(30, (1, 7, 9)).astype(np.float32)
    cut = (*given_crops(crops), level, *NO_IMAGES)
    pixel = (100.0, 90.0)
    return (
        gaussian_sums(*cut, mu_y, mu_x, sigma_y, sigma_x, pixel=pixel)[0],
        rotated_sums(*cut, mu_y, mu_x, sigma_y, sigma_x, theta, pixel=pixel)[0],
    )


@pytest.mark.parametrize("name", ["mu_y", "mu_x", "sigma_y", "sigma_x"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_has_no_answer(name, value):
    for sums in weighted_sums(**{name: value}):
        assert np.isnan(sums).all()


@pytest.mark.parametrize("name", ["sigma_y", "sigma_x"])
@pytest.mark.parametrize("value", [0.0, -0.0, -100.0])
def test_a_width_that_is_not_positive_has_no_answer(name, value):
    for sums in weighted_sums(**{name: value}):
        assert np.isnan(sums).all()


def test_a_level_that_is_no_number_has_no_answer():
    for sums in weighted_sums(level=np.nan):
        assert np.isnan(sums[0])
        assert np.isfinite(sums[1:]).all()
    assert np.isnan(weighted_sums(theta=np.nan)[1]).all()


def test_light_off_the_crop_is_none_beyond_reach_and_exact_before():
    sigma = 100.0
    edge = -50.0  # of the first pixel
    near = edge - 8.36 * sigma
    far = edge - 8.38 * sigma
    for sums in weighted_sums(mu_y=near, theta=0.0):
        share = erfc(8.36 / np.sqrt(2)) / 2 * np.sqrt(2 * np.pi) * sigma / 100
        along_x = statement.gaussian((1, 9), 0.0, 350.0, 100.0, 100.0, 0.0, (100.0, 90.0)).sum()
        along_x /= statement.peak_one(0.0, 100.0, 100.0)
        np.testing.assert_allclose(sums[1], share * along_x, rtol=1e-3)
        assert np.isfinite(sums).all()
    for sums in weighted_sums(mu_y=far, theta=0.0):
        assert sums[1] == 0
        assert np.isnan(sums[[0, 2]]).all()


def test_a_spike_within_one_pixel_returns_that_pixel():
    crops = np.random.default_rng(1).poisson(30, (1, 7, 9)).astype(np.float32)
    cut = (*given_crops(crops), 2.0, *NO_IMAGES)
    sums = gaussian_sums(*cut, 210.0, 300.0, 1e-9, 1e-9, pixel=(100.0, 100.0))[0]
    np.testing.assert_allclose(sums[0], crops[0, 2, 3] - 2, rtol=1e-12)
    np.testing.assert_allclose(sums[1], 2 * np.pi * 1e-22, rtol=1e-9)
    assert sums[2] == 1


def test_a_pixel_that_is_no_number_has_no_answer():
    crops, mu, sigma = plain(4)
    crops[1, 3, 4], crops[2, 3, 4] = np.nan, np.inf
    for name, call in every_kernel(given_crops(crops), mu, sigma).items():
        photons = call(crops)[:, 0]
        assert np.isnan(photons[1]), name
        assert photons[2] == np.inf, name
        assert np.isfinite(photons[[0, 3]]).all(), name


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_border_without_a_number_has_no_answer(value):
    crops = np.full((2, 5, 5), value, np.float32)
    crops[:, 1:-1, 1:-1] = 7
    sums = border_sums(*given_crops(crops))
    corrected, medians = remove_border_background(crops)
    np.testing.assert_array_equal(medians, value)
    np.testing.assert_array_equal(sums, [[np.nan, value]] * 2)
    np.testing.assert_array_equal(corrected[:, 1:-1, 1:-1], np.float32(7) - np.float32(value))
    assert np.isnan(corrected[:, 0]).all()


@pytest.mark.parametrize("axis", ["mu_y", "mu_x", "z"])
def test_a_spline_has_no_answer_where_its_place_is_no_number(axis):
    crops, (mu_y, mu_x), _ = plain(3)
    place = {"mu_y": mu_y, "mu_x": mu_x, "z": np.zeros(3)}
    place[axis][1] = np.nan
    place["z"][2] = 901.0
    knots = np.r_[[-900.0] * 3, np.linspace(-900, 900, 8), [900.0] * 3]
    cut = (*given_crops(crops), 2.0, *NO_IMAGES)
    spline = (knots, knots, knots, np.ones((10, 10, 10)))
    sums = spline_sums(*cut, *place.values(), *spline, pixel=(100.0, 100.0))
    assert np.isfinite(sums[0]).all()
    assert np.isnan(sums[1]).all()
    assert sums[2, 1] == 0
    assert np.isnan(sums[2, [0, 2]]).all()


def test_a_spline_whose_coefficients_do_not_fit_its_knots_is_an_error():
    crops, mu, _ = plain(3)
    cut = (*given_crops(crops), 2.0, *NO_IMAGES)
    knots = np.arange(9.0)
    with pytest.raises(ValueError, match=r"coefficients: got .*\(5, 5, 4\).*\(5, 5, 5\)"):
        spline_sums(*cut, *mu, 0.0, knots, knots, knots, np.ones((5, 5, 4)), pixel=(1.0, 1.0))


# ---------------------------------------------------------------------------- background images


def test_background_images_are_subtracted_frame_by_frame():
    random = np.random.default_rng(5)
    n, size = 60, (7, 9)
    frames = random.poisson(40, (6, 16, 20)).astype(np.uint16)
    series = random.uniform(0, 20, (3, 16, 20)).astype(np.float32)
    which, offset = np.array([0, 0, 2, 2, 1, 1]), random.normal(0, 3, 6)
    index, y0, x0 = (random.integers(0, m, n) for m in (6, 10, 12))
    level = random.uniform(0, 5, n)
    _, mu, sigma = plain(n)
    rest = {"pixel": (100.0, 90.0)}
    places = (index, y0, x0, size)
    knots = np.r_[[-900.0] * 3, np.linspace(-900, 900, 8), [900.0] * 3]
    spline = (np.zeros(n), knots, knots, knots, np.ones((10, 10, 10)))
    lifted = frames - (series[which].astype(float) + offset[:, None, None])
    for kernel, shape in {
        gaussian_sums: (*mu, *sigma),
        rotated_sums: (*mu, *sigma, 40.0),
        spline_sums: (*mu, *spline),
    }.items():
        found = kernel(frames, *places, level, series, which, offset, *shape, **rest)
        known = kernel(lifted, *places, level, *NO_IMAGES, *shape, **rest)
        np.testing.assert_allclose(found[:, 0], known[:, 0], atol=1e-9 * 60000)
        np.testing.assert_array_equal(found[:, 1:], known[:, 1:])
        lost = kernel(frames, *places, level, series, which + 1, offset, *shape, **rest)
        assert (np.isnan(lost).all(1) == (which[index] == 2)).all()


# ---------------------------------------------------------------------------- memory


@pytest.mark.parametrize("kernel", KERNELS)
def test_extra_memory_stays_below_a_tenth_of_the_crops(kernel):
    n = 40_000
    crops, mu, sigma = plain(n, (11, 11))
    cut = given_crops(crops)
    call = every_kernel(cut, mu, sigma)[kernel]
    call(crops)
    tracemalloc.start()
    try:
        call(crops)
        assert tracemalloc.get_traced_memory()[1] < crops.nbytes / 10
    finally:
        tracemalloc.stop()
