"""The kernels of the gain against plain statements, and what they leave out."""

import numpy as np
import pytest

from smlm_dask.kernels import corner, corner_line, pixels, ramp, rim
from smlm_dask.kernels.reason import Quality, Reason
from tests.statements import corner as statement

GAIN, OFFSET, NOISE = 0.46, 100.0, 1.4


def noisy(light, n, seed=0, gain=GAIN):
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(light, (n, *light.shape)) + rng.normal(0, NOISE, (n, *light.shape))
    return np.clip(np.rint(electrons / gain + OFFSET), 0, 65535).astype("u2")


def gradient(height=48, width=52, low=5.0, high=60.0):
    return np.linspace(low, high, width) * np.linspace(0.8, 1.2, height)[:, None]


def groups(n, step):
    return np.arange(0, n - 1, step) * corner.TIME // n


def gain_of(sums, **known):
    given = {"offset": np.nan, "read_noise": np.nan, "excess_noise": 1.0} | known
    packed = corner_line.corner_gain(sums, **given)
    return dict(zip(corner_line.NUMBERS, packed, strict=False)), packed


@pytest.mark.parametrize(("step", "stride"), [(1, 1), (1, 2), (2, 3), (2, 4)])
@pytest.mark.parametrize("dtype", ["uint16", "uint8", "float32", "int32"])
def test_the_table_is_that_of_its_statement(step, stride, dtype):
    light = gradient() if dtype == "uint16" else gradient(high=30)
    frames = (noisy(light, 24) - (0 if dtype == "uint16" else 60)).astype(dtype)
    found = corner.corner_sums(frames, step, stride, groups(24, step))
    first = np.arange(0, 23, step)
    centre = pixels.frame_medians(frames)
    bad = pixels.spread(pixels.bad_pixels(*found.maps, int(found.counts[1])), corner.REACH)
    assert bad.mean() < 0.2
    wanted = statement.table(frames, first, groups(24, step), stride, centre, bad)
    assert (found.table[..., 1] == 0).all()
    np.testing.assert_array_equal(found.table[..., (0, 2)], wanted[..., (0, 2)])
    np.testing.assert_allclose(found.table, wanted, rtol=2e-4, atol=1e-2)
    np.testing.assert_allclose(found.table.sum((0, 1)), wanted.sum((0, 1)), rtol=1e-6)


def test_filters_see_no_light_that_is_flat_or_a_slope():
    for taps in corner.TAPS.values():
        assert sum(taps) == 0
        assert taps == taps[::-1]


def test_sums_of_windows_add_up():
    frames = noisy(gradient(), 60)
    parts = [corner.corner_sums(frames[i : i + 30], 1, 2, groups(30, 1)) for i in (0, 30)]
    together = corner.add(*parts)
    for found, one, other in zip(together, *parts, strict=True):
        np.testing.assert_array_equal(found, one + other)
    assert together.counts[0] == 2


def test_no_frames_and_no_pixels_are_no_error():
    for shape in ((0, 20, 20), (1, 20, 20), (5, 0, 0), (5, 8, 8)):
        sums = corner.corner_sums(np.zeros(shape, "u2"), 1, 2, groups(max(shape[0], 1), 1))
        assert not sums.table.any()
        assert np.isnan(gain_of(sums)[0]["gain"])


def test_frames_are_not_written_to():
    frames = noisy(gradient(), 20)
    kept = frames.copy()
    frames.flags.writeable = (
        False  # numpy's own code would raise, compiled code may write all the same
    )
    corner.corner_sums(frames, 1, 2, groups(20, 1))
    ramp.ramp_moments(frames)
    np.testing.assert_array_equal(frames, kept)


def test_a_cosmic_takes_its_windows_and_no_others():
    frames = noisy(gradient(), 40)
    clean = corner.corner_sums(frames, 1, 1, groups(40, 1))
    frames[20, 24, 26] += 3000
    struck = corner.corner_sums(frames, 1, 1, groups(40, 1))
    lost = clean.table[: corner.TIME, :, 0].sum() - struck.table[: corner.TIME, :, 0].sum()
    assert 2 * 49 <= lost <= 2 * 11**2
    wanted, found = gain_of(clean)[0]["slope"], gain_of(struck)[0]["slope"]
    np.testing.assert_allclose(found, wanted, rtol=5e-3)


def test_few_emitters_on_nothing_bend_no_guess():
    """Single bright spots: rows beside a window do not tell where they are."""
    rng = np.random.default_rng(17)
    y, x = np.mgrid[:96, :96]
    light = np.zeros((40, 96, 96))
    for frame in light:
        for a, b in rng.uniform(0, 96, (8, 2)):
            frame += 80 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * 1.2**2))
    frames = np.rint((rng.poisson(light) + rng.normal(0, NOISE, light.shape)) / GAIN + OFFSET)
    first, low = np.arange(39), np.ones(40)
    skip = corner._Skip(np.zeros((96, 96), bool), low, low, np.inf)
    slopes = [
        corner._noise_line(frames.astype("u2"), first[i:], np.full(39, 100, "f4"), skip).slope
        for i in range(10)
    ]
    assert 0.35 / GAIN < min(slopes) < max(slopes) < 1.4 / GAIN


def test_a_hot_and_a_dead_pixel_take_their_windows():
    frames = noisy(gradient(), 60)
    rng = np.random.default_rng(1)
    frames[:, 20, 20] = np.clip(1000 + rng.normal(0, 150, 60), 0, None)
    frames[:, 30, 40] = 0
    found = corner.corner_sums(frames, 1, 1, groups(60, 1))
    inner = (48 - 8) * (52 - 8)
    used = found.table[: corner.TIME, :, 0].sum()
    assert 59 * (inner - 4 * 49) <= used <= 59 * (inner - 2 * 49)
    assert found.counts[3] == 0  # its zeros are no clipping


def test_constant_frames_and_frames_with_nan_are_left_out():
    frames = noisy(gradient(), 40).astype("f4")
    frames[10] = 0
    frames[30, 5, 5] = np.nan
    found = corner.corner_sums(frames, 1, 1, groups(40, 1))
    pairs = found.table[: corner.TIME, :, 0].sum(axis=1)
    lost = groups(40, 1)[[9, 10, 29, 30]]
    assert (pairs[np.setdiff1d(np.arange(20), lost)] > 0).all()
    assert pairs[groups(40, 1)[[9, 29]]].max() <= pairs.max() / 2  # one of their two pairs


def test_saturated_windows_are_counted_apart_and_bright_bins_dropped():
    whole = noisy(gradient(96, 96, low=20, high=400), 150)
    clipped = np.minimum(whole, 700)
    sums = corner.corner_sums(clipped, 1, 2, groups(150, 1))
    assert sums.table[..., 1].sum() > 1000
    found = gain_of(sums)[0]
    assert int(found["quality"]) & Quality.SATURATED_LIGHT_LEFT_OUT
    assert abs(found["gain"] / GAIN - 1) < 3 * found["gain_error"] / GAIN


def test_a_bright_tail_is_no_ceiling():
    frames = noisy(gradient(), 40)
    assert pixels.ceiling_of(frames, pixels.extremes(frames)[1]) == np.inf
    assert pixels.ceiling_of(np.minimum(frames, 200), np.full(40, 200.0)) == 200
    assert pixels.ceiling_of(np.full((3, 9, 9), 255, "u1"), np.full(3, 255.0)) == 255


# ------------------------------------------------------------------ from sums to a gain


@pytest.fixture(scope="module")
def sums():
    frames = noisy(gradient(96, 96, 3, 60), 200, seed=3)
    return corner.corner_sums(frames, 1, 2, groups(200, 1))


def test_the_line_is_the_truth_within_its_error(sums):
    found, _ = gain_of(sums)
    assert found["status"] == Reason.OK
    assert found["gain_error"] < 0.02 * GAIN
    assert abs(found["gain"] - GAIN) < 2.5 * found["gain_error"]
    zero = OFFSET - NOISE**2 / GAIN - GAIN / 12
    assert abs(found["zero_level"] - zero) < 2.5 * found["zero_level_error"] < 2


def test_read_noise_yields_the_offset_and_the_offset_the_read_noise(sums):
    found, _ = gain_of(sums, read_noise=NOISE)
    assert abs(found["offset"] - OFFSET) < 2.5 * found["offset_error"] < 2
    back, _ = gain_of(sums, offset=found["offset"])
    np.testing.assert_allclose(back["read_noise"], NOISE, rtol=1e-9)
    moved, _ = gain_of(sums, offset=np.full((4, 4), found["offset"]))
    np.testing.assert_allclose(moved["read_noise"], NOISE, rtol=1e-9)


def test_excess_noise_scales_the_gain(sums):
    one, two = (gain_of(sums, excess_noise=f)[0] for f in (1.0, 2.0))
    np.testing.assert_allclose(two["gain"], 2 * one["gain"], rtol=1e-12)
    np.testing.assert_allclose(two["gain_error"], 2 * one["gain_error"], rtol=1e-9)


def test_the_curve_holds_all_windows(sums):
    _, packed = gain_of(sums)
    level, variance, count = packed[len(corner_line.NUMBERS) :].reshape(3, -1)
    assert count.sum() == sums.table[: corner.TIME, :, 0].sum()
    good = count > 2000
    wanted = (level - OFFSET) / GAIN + NOISE**2 / GAIN**2
    np.testing.assert_allclose(variance[good], wanted[good], rtol=0.15)


def test_a_hot_pixel_is_found_and_has_its_variance():
    light = gradient(96, 96, 3, 20)
    rng = np.random.default_rng(5)
    frames = noisy(light, 200, seed=4).astype("f8")
    places = rng.permutation(96 * 96)[:20]
    y, x = np.unravel_index(places, light.shape)
    frames[:, y, x] += rng.normal(0, 40, (200, 20))
    frames = np.clip(np.rint(frames), 0, None).astype("u2")
    sums = corner.corner_sums(frames, 1, 2, groups(200, 1))
    _, packed = gain_of(sums)
    excess, hot = corner_line.pixel_noise(sums, packed)[2:]
    assert hot[y, x].sum() >= 18
    assert hot.sum() - hot[y, x].sum() <= 1
    np.testing.assert_allclose(np.mean(excess[y, x]), 1600, rtol=0.3)


def test_noise_of_light_is_no_hot_pixel():
    """A molecule that blinks all the time raises the variance as wide as its image is."""
    y, x = np.mgrid[:64, :64]
    rng = np.random.default_rng(13)
    spots = sum(
        np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * 1.2**2))
        for a, b in rng.uniform(4, 60, (40, 2))
    )
    light = gradient(64, 64, 5, 20) + 60 * spots * (rng.random((300, 1, 1)) < 0.45)
    frames = np.rint((rng.poisson(light) + rng.normal(0, NOISE, light.shape)) / GAIN + OFFSET)
    frames[:, 20, 20] += rng.normal(0, 60, 300)
    sums = corner.corner_sums(np.clip(np.rint(frames), 0, None).astype("u2"), 1, 2, groups(300, 1))
    _, packed = gain_of(sums)
    hot = corner_line.pixel_noise(sums, packed)[3]
    assert hot[20, 20]
    assert hot.sum() == 1
    excess = corner_line.pixel_noise(sums, packed)[2]
    assert (excess > 50).sum() > 20


def blurred(frames):
    wide = frames.astype("f8")
    for axis in (1, 2):
        wide = 0.92 * wide + 0.04 * (np.roll(wide, 1, axis) + np.roll(wide, -1, axis))
    return np.rint(wide).astype("u2")


REFUSED = {
    "blurred": (lambda: blurred(noisy(gradient(128, 128), 200)), {Reason.NOISE_NOT_WHITE}),
    "clipped": (lambda: np.maximum(noisy(gradient(low=0.5), 100), 103) - 103, {Reason.CLIPPED}),
    "flat": (
        lambda: noisy(np.full((48, 48), 20.0), 60),
        {Reason.GAIN_UNCERTAIN, Reason.SLOPE_NOT_POSITIVE},
    ),
    "coarse": (lambda: noisy(gradient(96, 96), 200, gain=20.0), {Reason.NOISE_BELOW_ROUNDING}),
    "constant": (lambda: np.full((20, 30, 30), 7, "u2"), {Reason.CONSTANT_SIGNAL}),
    "nan": (lambda: np.full((20, 30, 30), np.nan, "f4"), {Reason.NOT_FINITE}),
    "small": (lambda: noisy(gradient(8, 8), 60), {Reason.TOO_FEW_BINS}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused(name):
    make, reason = REFUSED[name]
    frames = make()
    found, packed = gain_of(corner.corner_sums(frames, 1, 2, groups(len(frames), 1)))
    assert np.isnan(found["gain"])
    assert Reason(int(found["status"])) in reason
    assert found["quality"] == 0
    assert np.isfinite(packed[-corner_line.BINS :]).all()


def test_the_rim_is_that_of_its_statement():
    frames = noisy(gradient(50, 70), 6)
    first = np.array([0, 2, 4])
    found = rim.rim_sums(frames, first)
    power = np.stack([statement.spectra(*frames[i : i + 2], rim.SIDE) for i in first])
    radius, least = statement.frequencies(rim.SIDE)
    shapes = np.zeros((16, 16, 3))
    shapes[:, :9] = rim._SHAPES
    shapes[:, 9:] = shapes[:, 7:0:-1]
    wanted = [(power * shape).sum(axis=(3, 4)) for shape in np.moveaxis(shapes, -1, 0)]
    outside = radius >= rim.RIM
    assert (shapes.any(axis=-1) == outside).all()
    for low, high in rim.RINGS:
        ring = (radius >= low) & (radius < high) & (least > rim.OFF_AXIS)
        wanted.append(power[..., ring].mean(axis=-1) * outside.sum())
    wanted /= wanted[0].mean(axis=0)
    np.testing.assert_allclose(np.moveaxis(found, -1, 0), wanted, rtol=1e-4)


def test_the_rim_tells_smoothed_noise_from_white():
    """A blur of 0.04 makes the gain twice too large; a line through its spectrum says 0.8."""
    white = np.random.default_rng(11).normal(500, 10, (200, 128, 128)).astype("f4")
    first = np.arange(0, 199, 2)
    found = [rim.smoothing(rim.rim_sums(f, first).sum((0, 1, 2))) for f in (white, blurred(white))]
    assert abs(found[0]) < 0.2
    assert abs(found[1] - 0.8) < 0.25


def test_emitters_have_the_shape_that_is_fitted():
    """Of the narrowest PSF, without noise."""
    frames = spots(rim.NARROWEST)
    sums = rim.rim_sums(frames, np.arange(0, len(frames), 2)).mean(axis=(0, 1, 2))
    fitted = np.linalg.solve(rim._NORMAL, sums[:3])
    assert abs(fitted[0] / fitted[2]) < 0.03
    assert abs(fitted[1] / fitted[2]) < 0.05


def spots(sigma, n=300, side=16):
    """Emitters anywhere in every second frame, wider by a pixel's own width."""
    y, x = np.mgrid[:side, :side]
    rng = np.random.default_rng(12)
    width = 2 * (sigma**2 + rim.PIXEL)
    frames = np.zeros((2 * n, side, side), "f4")
    places = rng.uniform(-4, side + 4, (n, 20, 2, 1, 1))
    for frame, place in zip(frames[::2], places, strict=True):
        frame[...] = np.exp(-((y - place[:, 0]) ** 2 + (x - place[:, 1]) ** 2) / width).sum(axis=0)
    return frames


@pytest.mark.parametrize("sigma", [0.8, 0.94])
def test_two_rings_tell_the_width_of_a_psf(sigma):
    frames = spots(sigma)
    sums = rim.rim_sums(frames, np.arange(0, len(frames), 2)).mean(axis=(0, 1, 2))
    inner, outer = rim.emitter_light(sums)
    found = np.interp(inner / outer, corner_line._RING_RATIOS, corner_line.WIDTHS)
    assert abs(found - sigma) < 0.02
    assert abs(inner / outer / rim.ring_ratio(sigma) - 1) < 0.05


@pytest.mark.parametrize("sigma", [0.8, 0.94])
def test_a_filter_lets_pass_what_is_said_of_it(sigma):
    light = spots(sigma, side=48)[::2].astype("f8")
    passed = [
        np.mean([np.square(statement.filtered(f, taps))[8:-8, 8:-8].mean() for f in light])
        / np.square(light).mean()
        / np.square(np.sum(np.square(taps)))
        for taps in corner.TAPS.values()
    ]
    said = [rim.emitter_leak(sigma, np.array(taps)) for taps in corner.TAPS.values()]
    assert abs(passed[0] / passed[1] / (said[0] / said[1]) - 1) < 0.05


def ring_sums(inner, outer):
    """Sums of white noise, and light on the rings as shares of it, of all groups."""
    return np.tile([45.0, 26.1, 14.04, 45 * (1 + inner), 45 * (1 + outer)], (corner.GROUPS, 1))


def test_light_that_bends_the_line_is_taken_from_each_bin():
    """Emitters leave the square of their light in the bins, with one filter four times as much."""
    light, count, leaks = np.linspace(50, 300, 40), np.linspace(1000, 100, 40), (2e-3, 5e-4)
    lines = [count * (light / GAIN + 9 + leak * light**2) for leak in leaks]
    parts = np.stack([[[count, count * light, line]] for line in lines])
    known = corner_line.Known(np.nan, np.nan, 1.0)
    found = corner_line._answers(parts, known, leaks[0] / (leaks[0] - leaks[1]))
    np.testing.assert_allclose(found["gain"], GAIN, rtol=1e-9)
    np.testing.assert_allclose(found["intercept"], 9, rtol=1e-9)
    assert found["leak"] > 0.1
    assert corner_line._answers(parts, known, 0.0)["gain"] < 0.9 * GAIN


def test_light_on_the_rings_decides_whether_a_leak_is_taken_away():
    share = corner_line._share
    assert share(ring_sums(0.2, 0.02)) == 0
    narrow, wide = share(ring_sums(0.6, 0.1)), share(ring_sums(1.2, 0.1))
    assert narrow > wide > 1
    uncertain = ring_sums(0.6, 0.1)
    uncertain[: corner.TIME : 2, 4] *= 1.2
    uncertain[1 : corner.TIME : 2, 4] *= 0.8
    assert share(uncertain) == 0
    assert share(np.zeros((corner.GROUPS, 5))) == 0


def test_no_patches_have_no_rim():
    sums = rim.rim_sums(np.zeros((4, 15, 40), "u2"), np.array([0, 2]))
    assert sums.shape == (2, 0, 2, 5)
    assert np.isnan(rim.smoothing(np.zeros(5)))
    assert np.isnan(rim.emitter_light(np.zeros(5))).all()


def test_saturated_patches_are_no_rim():
    frames = noisy(gradient(32, 32), 4)
    frames[1, 3, 20] = 60000
    sums = rim.rim_sums(frames, np.array([0, 2]), 60000)
    assert not sums[0, 0, 1].any()
    assert sums[1, 0, 1].all()
    assert sums[0, 1].all()


def test_light_that_was_clipped_at_zero_is_left_out():
    """Camera offset 0: the dim end has noise that was cut off, and no answer of its own."""
    light = gradient(96, 96, 0.5, 150)
    frames = np.maximum(noisy(light, 150).astype("i4") - int(OFFSET), 0).astype("u2")
    sums = corner.corner_sums(frames, 1, 2, groups(150, 1))
    zeros = sums.counts[3] / sums.counts[2]
    assert 1e-4 < zeros < corner_line.MOST_ZEROS
    total = sums.table[: corner.TIME].sum(axis=0)
    starts, dark, _ = corner_line._bins(total)
    assert 0 < dark < len(starts) - 3
    found, _ = gain_of(sums)
    assert abs(found["gain"] - GAIN) < 2.5 * found["gain_error"] < 0.06 * GAIN
    clean = noisy(light, 150)
    clean[50, 60, 90] = 0  # a single one in bright light
    sums = corner.corner_sums(clean, 1, 2, groups(150, 1))
    assert corner_line._bins(sums.table[: corner.TIME].sum(axis=0))[1] == 0
    dim = corner.corner_sums(frames[:, :, :40], 1, 2, groups(150, 1))
    assert gain_of(dim)[0]["status"] == Reason.CLIPPED


# ------------------------------------------------------------------ pixels


@pytest.mark.parametrize("spread", [0.7, 2.0, 9.0])
@pytest.mark.parametrize("n", [45, 60, 99])
def test_the_interval_median_is_the_mean_of_many_dithers(spread, n):
    rng = np.random.default_rng(2)
    signed = np.rint(rng.normal(0, spread, (n, 6, 7)))
    found = pixels.pair_variance(abs(signed).astype("u2")) * (1 + 1.8 / n)
    dither = rng.uniform(-0.5, 0.5, (400, n, 6, 7))
    wanted = statement.pair_variance(signed, dither)
    np.testing.assert_allclose(found.mean(), wanted.mean(), rtol=0.05)


@pytest.mark.parametrize(("dtype", "overlap"), [("u2", True), ("f4", False), ("i4", False)])
def test_the_variance_of_pairs_is_unbiased(dtype, overlap):
    rng = np.random.default_rng(6)
    frames = np.rint(rng.normal(500, 4, (80, 90, 90))).astype(dtype)
    a, b = (frames[1:], frames[:-1]) if overlap else (frames[::2], frames[1::2])
    found = pixels.pair_variance(pixels.distances(a, b), overlap=overlap)
    np.testing.assert_allclose(found.mean(), 16 + 1 / 12, rtol=0.02)


def test_the_local_median_is_of_rows_then_columns():
    image = np.random.default_rng(7).normal(size=(9, 11)).astype("f4")
    wide = np.pad(image, 2, mode="edge")
    rows = np.median([wide[i : i + 9] for i in range(5)], axis=0)
    wanted = np.median([rows[:, i : i + 11] for i in range(5)], axis=0)
    np.testing.assert_array_equal(pixels.local_median(image.astype("f8")), wanted)


def test_a_molecule_is_no_bad_pixel():
    y, x = np.mgrid[:31, :31]
    spot = 400 * np.exp(-((y - 15) ** 2 + (x - 15) ** 2) / (2 * 1.2**2))
    assert not pixels.bad_pixels(100 + spot, 20 + spot * 5, 16).any()
    spot[:] = 0
    spot[15, 15] = 400
    assert pixels.bad_pixels(100 + spot, 20 + 0 * spot, 16).sum() == 1
    assert pixels.bad_pixels(100 - spot, 20 + 0 * spot, 16).sum() == 1
    assert pixels.bad_pixels(100 + 0 * spot, 20 + spot * 5, 16).sum() == 1


def test_the_second_of_eight_neighbours():
    image = np.arange(20.0).reshape(4, 5)
    found = pixels.beside(image)
    assert found[1, 1] == 11
    assert found[0, 0] == 6  # what is outside is mirrored
    assert np.isnan(pixels.beside(np.ones((1, 4)))).all()


@pytest.mark.parametrize("reach", [0, 1, 4])
def test_a_mask_spreads_by_its_reach(reach):
    mask = np.zeros((20, 22), bool)
    mask[10, 3] = True
    found = pixels.spread(mask, reach)
    wanted = np.zeros_like(mask)
    wanted[10 - reach : 11 + reach, max(0, 3 - reach) : 4 + reach] = True
    np.testing.assert_array_equal(found, wanted)


# ------------------------------------------------------------------ ramps


@pytest.mark.parametrize(("low", "high"), [(20, 500), (1, 10)])
def test_a_ramp_has_its_gain(low, high):
    frames = noisy(gradient(64, 64, low, high), 200, seed=8)
    packed = ramp.ramp_gain(ramp.ramp_moments(frames), np.nan, NOISE, 1.0, 199)
    found = dict(zip(corner_line.NUMBERS, packed, strict=False))
    assert found["status"] == Reason.OK
    assert abs(found["gain"] / GAIN - 1) < 0.02
    assert abs(found["gain"] - GAIN) < 3 * found["gain_error"]
    assert abs(found["offset"] - OFFSET) < 3 * found["offset_error"]


@pytest.mark.parametrize("dtype", ["u2", "f4", "i4"])
def test_the_variance_of_a_ramp_is_that_of_its_statement(dtype):
    frames = noisy(gradient(), 30).astype(dtype)
    frames[12, 20, 20] += 3000  # a cosmic
    frames = np.stack([frames[i] + 2 * i for i in range(30)]).astype(dtype)
    distance = pixels.distances(frames[1:], frames[:-1])
    median = pixels.pair_variance(distance, overlap=True)
    wanted = statement.ramp_variance(frames, 2 * ramp.CLIP**2 * (median + pixels.ROUNDING))
    found = ramp.ramp_moments(frames)[1]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert abs(found[20, 20] / found[18:23, 18:23].mean() - 1) < 2


@pytest.mark.parametrize("electrons", [1.0, 4.0, 40.0])
def test_shot_noise_has_its_variance(electrons):
    """The median of its differences says 1 % less: it is not normal."""
    frames = noisy(np.full((200, 200), electrons), 100, seed=4)
    found = ramp.ramp_moments(frames)[1].mean()
    assert abs(found / ((electrons + NOISE**2) / GAIN**2 + pixels.ROUNDING) - 1) < 0.003


def test_a_pixel_with_a_nan_has_no_variance():
    frames = noisy(gradient(), 30).astype("f4")
    frames[4, 7, 9] = np.nan
    found = ramp.ramp_moments(frames)[1]
    assert np.isnan(found[7, 9])
    assert np.isfinite(found).sum() == found.size - 1


def test_a_drifting_lamp_does_not_bend_a_ramp():
    rng = np.random.default_rng(9)
    lamp = np.exp(-np.arange(200) / 60)[:, None, None]
    light = gradient(64, 64, 20, 500) * lamp
    frames = np.rint((rng.poisson(light) + rng.normal(0, NOISE, light.shape)) / GAIN + OFFSET)
    packed = ramp.ramp_gain(ramp.ramp_moments(frames.astype("u2")), np.nan, np.nan, 1.0, 199)
    assert abs(packed[0] / GAIN - 1) < 0.02
