"""The kernels of the truncated background against their statements, and against known truth."""

import numpy as np
import pytest
from scipy.ndimage import convolve, map_coordinates

from smlm_dask.kernels import coarse, first, flicker, repair, truncated
from tests.statements import truncated as statement

GAIN, OFFSET, READ = 0.46, 100.0, 1.4
VARIANCE = (READ / GAIN) ** 2
CAMERA = GAIN, OFFSET, VARIANCE


def camera_frames(light, frames, seed, gain=GAIN, read=READ, offset=OFFSET):
    """Samples in adu of a camera that sees ``light`` (y, x) or (frame, y, x) electrons."""
    rng = np.random.default_rng(seed)
    mean = np.broadcast_to(light, (frames, *np.shape(light)[-2:]))
    electrons = rng.poisson(mean) + rng.normal(0, read, mean.shape)
    return np.clip(np.rint(electrons / gain + offset), 0, 65535).astype("u2")


@pytest.fixture(scope="module")
def blinking():
    """Frames whose pixels hold more emitters from left to right, and their background in electrons."""
    rng = np.random.default_rng(3)
    light = np.full((32, 40), 10.0)
    on = rng.random((200, 32, 40)) < np.linspace(0, 0.5, 40)
    return camera_frames(light + on * rng.exponential(60, on.shape), 200, 4), light


def means(frames, brightness=None, start=None):
    brightness = np.ones(len(frames)) if brightness is None else brightness
    start = first.first_image(frames, *CAMERA) if start is None else start
    return truncated.truncated_means(frames, brightness, start, *CAMERA)


def noise(light):
    return np.sqrt(light + READ**2 + GAIN**2 / 12)


# ------------------------------------------------------------------ where to begin


@pytest.mark.parametrize("frames", [2, 20, 200])
@pytest.mark.parametrize("dtype", ["u2", ">u2", "f4", "i4"])
def test_the_first_image_is_that_of_the_statement(blinking, frames, dtype):
    samples = blinking[0][:frames].astype(dtype)
    got = first.first_image(samples, *CAMERA)
    wanted = [statement.first(samples[:, y, x], *CAMERA) for y, x in np.ndindex(got.shape)]
    np.testing.assert_allclose(got.ravel(), wanted, rtol=1e-5)
    turned = first.first_image(samples.transpose(0, 2, 1), *CAMERA)
    np.testing.assert_array_equal(turned, got.T)


def test_the_first_image_is_near():
    light = np.full((64, 64), 10.0)
    got = (first.first_image(camera_frames(light, 200, 1), *CAMERA) - OFFSET) * GAIN
    assert abs((got - light).mean()) / noise(10) < 0.05
    assert (got - light).std() / noise(10) < 0.4


# ------------------------------------------------------------------ truncated means


def maps(shape):
    """The camera pixel by pixel: nothing is tabulated then, as in the statement."""
    return [np.full(shape, number) for number in CAMERA]


def test_means_are_those_of_the_statement(blinking):
    frames, _ = blinking
    start = first.first_image(frames, *CAMERA)
    got = truncated.truncated_means(frames, np.ones(len(frames)), start, *maps(start.shape))
    apart = []
    for y, x in [(i % 32, i % 40) for i in range(0, 1280, 31)]:
        light = frames[:, y, x] - OFFSET
        begin = float(start[y, x]) - OFFSET
        b = [statement.truncated_mean(light, c, begin, GAIN, VARIANCE) for c in truncated.LIMITS]
        share = statement.contaminated(light, b[1], GAIN, VARIANCE)
        s = statement.noise(b[1], GAIN, VARIANCE)
        apart.append((got[:, y, x] - [b[1], b[2] - b[0], share]) / [s, s, 1])
    # What two rounds leave, which the next ones would take: hundredths of the noise.
    assert (np.sqrt(np.mean(np.square(apart), axis=0)) < [0.03, 0.08, 0.02]).all()


def test_the_background_of_blinking_pixels_is_found(blinking):
    frames, light = blinking
    packed = means(frames)
    error = (repair.settle(packed, 200, GAIN, VARIANCE)[0] * GAIN - light) / noise(light)
    median = (np.median(frames, axis=0) - OFFSET) * GAIN
    for columns in (slice(0, 8), slice(8, 16), slice(16, 24), slice(24, 32)):
        assert abs(error[:, columns].mean()) < 0.1
    assert ((median - light) / noise(light))[:, 24:32].mean() > 0.5


@pytest.mark.parametrize(
    ("light", "frames"), [(1.0, 200), (10.0, 200), (200.0, 200), (10.0, 50), (200.0, 50)]
)
def test_pixels_without_emitters_have_no_bias_and_the_error_that_is_told(light, frames):
    under = np.full((128, 128), light)
    found = repair.settle(means(camera_frames(under, frames, 12001)), frames, GAIN, VARIANCE)
    error = (found[0] * GAIN - light) / noise(light)
    assert abs(error.mean()) < (0.008 if frames == 200 else 0.015)
    assert 0.95 < (error * noise(light) / (found[2] * GAIN)).std() < 1.05


@pytest.mark.parametrize(("light", "excess"), [(1.0, 1.0), (10.0, 1.0), (4.0, 2.0), (50.0, 2.0)])
def test_skewness_takes_from_the_variance_what_exact_sums_say(light, excess):
    values, read = np.sort(statement.electrons(light, 1.4, excess, 400_000, 12002)), 1.4
    s = np.sqrt(excess * light + read**2)
    skewness = (2 * excess - 1) * excess * light / s**3
    exact = statement.loss(values, light, s) / statement.without_skewness(0.0)
    assert exact == pytest.approx(np.exp(-repair.SKEWED * skewness), rel=0.05)


@pytest.mark.parametrize(
    "cut",
    [
        lambda f: f.transpose(0, 2, 1).copy().transpose(0, 2, 1),
        lambda f: np.repeat(f, 2, axis=0)[::2],
        lambda f: f.astype(">u2"),
    ],
)
def test_layout_of_the_samples_does_not_show(blinking, cut):
    frames, _ = blinking
    np.testing.assert_array_equal(means(cut(frames)), means(frames))


def test_tiles_do_not_show(blinking):
    frames, _ = blinking
    whole = means(frames)
    parts = [means(frames[:, rows]) for rows in (slice(0, 7), slice(7, 32))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_samples_that_are_no_integers_are_near(blinking):
    frames, light = blinking
    got = means(frames.astype("f4") + np.float32(0.2))[0] - np.float32(0.2)
    assert np.abs((got - means(frames)[0])[:, :20] * GAIN / noise(light)[:, :20]).mean() < 0.03


def test_what_is_not_finite_is_nan(blinking):
    frames = blinking[0].astype("f4")
    frames[5, 3, 4], frames[7, 9, 2] = np.nan, np.inf
    lost = np.isnan(means(frames)[0])
    assert lost[3, 4]
    assert lost[9, 2]
    assert lost.sum() == 2
    assert np.isnan(
        truncated.truncated_means(frames[:20], np.ones(20), frames[0], np.nan, 0, 1)
    ).all()


@pytest.mark.parametrize("frame", [0, 5, 102, 199])
def test_samples_that_are_none_are_left_out(blinking, frame):
    frames, light = blinking
    start = (OFFSET + light / GAIN).astype("f4")
    place = 7, 9
    bright, full, dropped = frames.copy(), frames.copy(), frames.copy()
    for samples, value in ((bright, 65534), (full, 65535), (dropped, 0)):
        samples[frame, *place] = value
    bright, full, dropped = (means(f, start=start) for f in (bright, full, dropped))
    np.testing.assert_array_equal(dropped, full)
    np.testing.assert_array_equal(full[:2], bright[:2])
    # An emitter is on in one frame more; of a sample that is none nothing is known.
    n = len(frames)
    calm = n * (1 - bright[2][place])
    np.testing.assert_allclose((n - 1) * (1 - full[2][place]), calm, rtol=1e-5)
    assert bright[2][place] > full[2][place]


def test_nothing_gives_nothing():
    assert truncated.truncated_means(
        np.empty((0, 3, 4), "u2"), np.ones(0), np.zeros((3, 4)), *CAMERA
    ).shape == (3, 3, 4)
    assert means(np.empty((9, 0, 4), "u2")).shape == (3, 0, 4)


def test_frames_are_brought_to_the_same_brightness():
    factor = 1 + 0.3 * np.random.default_rng(1).uniform(-1, 1, 200)
    light = np.full((30, 30), 50.0)
    frames = camera_frames(factor[:, None, None] * light, 200, 2)
    found = means(frames, factor / factor.mean())[0] * GAIN / factor.mean()
    assert np.abs((found - light) / noise(light)).mean() < 0.15
    assert ((means(frames)[0] * GAIN / factor.mean() - light) / noise(light)).mean() < -0.5


# ------------------------------------------------------------------ coarse samples


@pytest.mark.parametrize(
    ("light", "gain", "read"),
    [(1.0, 1.0, 1.0), (2.0, 2.0, 0.3), (1.0, 0.25, 0.1), (9.0, 0.46, 1.4), (90.0, 0.46, 1.4)],
)
def test_expected_means_are_those_of_simulated_samples(light, gain, read):
    table = coarse.expected_means(gain, (read / gain) ** 2, 0.0, truncated.LIMITS)
    place = np.sqrt(light) * coarse.FINENESS
    for k, c in enumerate(truncated.LIMITS):
        got = [np.interp(place, np.arange(table.shape[3]), row) for row in table[k, :, 0]]
        np.testing.assert_allclose(
            got, statement.coarse(c, light, gain, read, 400_000, 5), atol=0.006
        )


@pytest.mark.parametrize("light", [0.3, 4.0, 20.0])
@pytest.mark.parametrize(
    ("read", "excess"), [(0.3, 1.0), (0.8, 1.0), (0.2, 2.0), (1.5, 2.0), (0.3, 1.4)]
)
def test_means_of_electrons_are_those_of_simulated_ones(light, read, excess):
    table = coarse.means_of_electrons(excess, truncated.LIMITS)
    place = np.sqrt(light) * coarse.FINENESS, coarse.node_of(np.array(read))
    values = statement.electrons(light, read, excess, 400_000, 5)
    for k, c in enumerate(truncated.LIMITS):
        got = [map_coordinates(row, [[place[1]], [place[0]]], order=1)[0] for row in table[k]]
        wanted = statement.below(c, light, np.sqrt(excess * light + read**2), values)
        np.testing.assert_allclose(got, wanted, atol=0.012)


COARSE = [(1.0, 1.0, 1.0), (2.0, 2.0, 0.3), (1.0, 0.25, 0.1), (100.0, 10.0, 2.0), (9.0, 0.46, 1.4)]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(("light", "gain", "read"), COARSE)
def test_coarse_samples_have_no_bias(light, gain, read, mapped):
    rng = np.random.default_rng(7)
    shape = 60, 60
    gains = gain * rng.normal(1, 0.05, shape) if mapped else gain
    offsets = OFFSET + rng.uniform(-0.5, 0.5, shape) if mapped else OFFSET
    frames = camera_frames(np.full(shape, light), 200, 6, gains, read, offsets)
    camera = gains, offsets, (read / gains) ** 2
    start = first.first_image(frames, *camera)
    packed = truncated.truncated_means(frames, np.ones(200), start, *camera)
    found = repair.settle(packed, 200, gains, camera[2])[0] * gains
    assert abs(np.mean(found) - light) / np.sqrt(light + read**2 + gain**2 / 12) < 0.06


# ------------------------------------------------------------------ electron multiplication


@pytest.mark.parametrize("light", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_multiplied_electrons_have_no_bias(light, dtype):
    gain, read = 0.02, 0.3  # of electrons that go in
    values = statement.electrons(light, read, 2, 200 * 3600, 6).reshape(200, 60, 60)
    frames = np.rint(values / gain + OFFSET).clip(0).astype(dtype)
    camera = gain / 2, OFFSET, (read / gain) ** 2  # light over its noise, which is doubled
    start = first.first_image(frames, *camera)
    packed = truncated.truncated_means(frames, np.ones(200), start, gain, *camera[1:], 2.0)
    found = repair.settle(packed, 200, camera[0], camera[2])[0] * gain
    assert abs(np.mean(found) - light) / np.sqrt(2 * light + read**2) < 0.06
    plain = truncated.truncated_means(frames, np.ones(200), start, gain, *camera[1:])[0] * gain
    assert abs(np.mean(plain) - light) / np.sqrt(2 * light + read**2) > 0.1


# ------------------------------------------------------------------ maps of the camera


def test_hot_and_unknown_pixels_tell_nothing_to_others():
    light = np.full((120, 120), 10.0)
    rng = np.random.default_rng(3)
    variance = np.full(light.shape, VARIANCE)
    odd = rng.random(light.shape) < 0.02
    variance[odd] = VARIANCE * rng.choice([100, 1000, np.nan], odd.sum())
    read, dark = np.sqrt(np.nan_to_num(variance, nan=VARIANCE)) * GAIN, 1000.0
    frames = camera_frames(light, 200, 2, read=read, offset=dark)
    start = first.first_image(frames, GAIN, dark, variance)
    means = truncated.truncated_means(frames, np.ones(200), start, GAIN, dark, variance)
    found = repair.settle(means, 200, GAIN, variance)
    assert (np.isnan(found[0]) == np.isnan(variance)).all()
    near = (convolve(odd.astype(float), np.ones((3, 3))) > 0) & ~odd
    error = (found[0] * GAIN - light) / noise(light)
    assert near.sum() > 200
    assert abs(error[near].mean()) < 0.05
    assert error[near].std() < 1.15 * error[~near & ~odd].std()
    lost = np.isnan(variance)
    pull = ((found[0] * GAIN - light) / (found[2] * GAIN))[odd & ~lost]
    assert 0.8 < pull.std() < 1.1


# ------------------------------------------------------------------ brightness


def test_brightness_is_that_of_the_statement(blinking):
    frames, light = blinking
    image = np.full((32, 40), 10 / GAIN + OFFSET, "f4")
    got = flicker.brightness(frames, image, *CAMERA)
    under = np.full(image.shape, light[0, 0] / GAIN)
    wanted = [statement.brightness(f, under, *CAMERA) for f in frames]
    # Flicker that is none is drawn to its mean, so only that is the same.
    assert got.mean() == pytest.approx(np.mean(wanted), rel=0.002)
    assert got.std() < 0.5 * np.std(wanted)


def test_flicker_is_found():
    factor = 1 + 0.1 * np.random.default_rng(1).normal(size=200)
    light = 50 + 20 * np.linspace(-1, 1, 64) + np.zeros((64, 64))
    frames = camera_frames(factor[:, None, None] * light, 200, 2)
    image = (light / GAIN + OFFSET).astype("f4")
    got = flicker.brightness(frames, image, *CAMERA)
    assert np.std(got / factor) < 0.004
    for frame in (0, 77):
        one = statement.brightness(frames[frame], light / GAIN, *CAMERA)
        assert got[frame] == pytest.approx(one, rel=0.002)


def test_brightness_is_left_alone_where_it_cannot_be_known():
    small = camera_frames(np.full((20, 20), 50.0), 30, 2)
    assert (flicker.brightness(small, small[0].astype("f4"), *CAMERA) == 1).all()
    dark = camera_frames(np.zeros((64, 64)), 30, 2)
    assert (flicker.brightness(dark, np.full((64, 64), OFFSET, "f4"), *CAMERA) == 1).all()
    lost = np.full((30, 64, 64), np.nan, "f4")
    assert (flicker.brightness(lost, lost[0], *CAMERA) == 1).all()


def test_brightness_between_two_windows():
    first, second = np.linspace(0.9, 1.1, 10), np.linspace(1.1, 0.9, 10)
    share = np.array([0.2, 0.8])
    got = flicker.relative_brightness(first, second, np.array([10.0, 20.0]), (0, 5), 7, share)
    between = 0.8 * 10 + 0.2 * 20, 0.2 * 10 + 0.8 * 20
    np.testing.assert_allclose(got, [first[7] * 10 / between[0], second[3] * 20 / between[1]])


# ------------------------------------------------------------------ what neighbouring pixels know


@pytest.mark.parametrize("mapped", [False, True])
def test_settled_images_are_those_of_the_statement(blinking, mapped):
    packed = means(blinking[0])
    gain, variance = np.full(packed.shape[1:], GAIN), np.full(packed.shape[1:], VARIANCE)
    weight = np.ones(gain.shape)
    if mapped:
        rng = np.random.default_rng(1)
        gain, variance = (
            gain * rng.normal(1, 0.05, gain.shape),
            variance * rng.exponential(1, gain.shape),
        )
        packed[:, 7, 9] = np.nan
        level = np.median(packed[0][np.isfinite(packed[0])])
        weight = np.where(np.isfinite(packed[0]), 1 / (level / gain + variance + 1 / 12), 0)
    got = repair.settle(packed, 200, gain if mapped else GAIN, variance if mapped else VARIANCE)
    wanted = statement.settled(packed, 200, gain, variance, weight)
    np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-4)


# ------------------------------------------------------------------ repair


def test_repair_is_that_of_the_statement():
    rng = np.random.default_rng(2)
    windows = []
    for _ in range(9):
        light = 20 + rng.normal(0, 0.8, (20, 30)) + (rng.random((20, 30)) < 0.1) * 15
        share, error = rng.uniform(-0.05, 0.6, light.shape), rng.uniform(0.5, 1, light.shape)
        windows.append(np.stack([light, share, error]).astype("f4"))
    got = repair.repair(windows, 3, 200, GAIN, VARIANCE)
    scales = repair._scales([w[0] for w in windows], 3)[:, None, None]
    levels, shares, errors = np.stack(windows, axis=1)
    levels, errors = levels * scales, errors * scales
    wanted = [
        statement.repaired(
            levels[:, y, x], shares[:, y, x], errors[:, y, x], 3, 200, GAIN, VARIANCE
        )
        for y, x in np.ndindex(20, 30)
    ]
    np.testing.assert_allclose(got.reshape(2, -1).T, wanted, rtol=1e-5)
    assert (got[0] < windows[3][0] - 5).any()


def test_one_window_is_not_repaired():
    window = np.stack([np.full((5, 5), v) for v in (3.0, 0.9, 0.2)]).astype("f4")
    got = repair.repair([window], 0, 200, GAIN, VARIANCE)
    np.testing.assert_array_equal(got, window[[0, 2]])


def test_neighbours_average_noise_away_and_keep_slopes():
    rng = np.random.default_rng(4)
    light = 20 + np.linspace(0, 10, 64) + np.zeros((64, 64))
    s = np.sqrt(light / GAIN + VARIANCE)
    own = light + rng.normal(0, 0.11, light.shape) * s
    settled = np.stack([own, np.zeros_like(light), 0.11 * s])
    drawn, _, error = repair.weigh_neighbours(settled.astype("f4"), 200, GAIN, VARIANCE)
    before, after = ((image - light) / s for image in (settled[0], drawn))
    assert after.std() < before.std() / 2.5
    # Errors that pixels do not share are told larger than they are, by the root of three.
    assert 0.45 < ((drawn - light) / error).std() < 0.75
    assert abs(after[:, 4:-4].mean()) < 0.01
