"""estimate_psf against its statement, the truth, and its own promises."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, TooFewFramesError
from smlm_dask.kernels.psf import fit_gaussian, psf_image
from smlm_dask.kernels.reason import Reason
from smlm_dask.simulate import Emitters
from tests.statements import fluctuation as statement


@pytest.fixture(scope="module")
def movie():
    emitters = Emitters(number=60, photons=2000.0, sigma=120.0)
    return smlm.simulate_movie(450, (64, 65), emitters=emitters, seed=3)[0].compute()


def autocorrelation_of(frames, medians, size):
    """Mean circular autocorrelation of frames above their window's median, one frame at a time."""
    total = np.zeros(frames.shape[1:])
    for frame, median in zip(frames, medians, strict=True):
        above = np.maximum(frame.astype("f8") - median, 0)
        above -= above.mean()
        total += np.fft.fftshift(np.fft.ifft2(np.abs(np.fft.fft2(above)) ** 2).real)
    reach, middle = size // 2, [n // 2 for n in total.shape]
    return (total / len(frames))[
        middle[0] - reach : middle[0] + reach + 1, middle[1] - reach : middle[1] + reach + 1
    ]


@pytest.mark.parametrize(
    ("window", "max_frames", "chosen"),
    [(150, None, slice(None)), (150, 90, slice(0, 450, 5)), (None, None, slice(None))],
)
def test_the_seed_equals_its_statement(movie, window, max_frames, chosen):
    frames = movie[:, :, :64].to_numpy()  # even: the seed loses a column of odd widths
    length = window or len(frames)
    medians = np.concatenate(
        [
            np.broadcast_to(np.median(frames[i : i + length], axis=0), frames[i : i + length].shape)
            for i in range(0, len(frames), length)
        ]
    )
    lags, psf = psf_image(autocorrelation_of(frames[chosen], medians[chosen], 21))
    fit = fit_gaussian(psf, (100.0, 100.0), seed_pixels=True)
    cut = smlm.as_movie(frames, pixel_size=100).chunk(frame=70)
    found = smlm.estimate_psf(
        cut, window=window, max_frames=max_frames, size_pixels=21, method="smlmlp"
    ).compute()
    np.testing.assert_allclose(found.autocorrelation, lags, atol=2e-6)
    np.testing.assert_allclose(found.sigma_x, fit.sigma_x, rtol=1e-5)
    np.testing.assert_allclose(found.sigma_y, fit.sigma_y, rtol=1e-5)
    np.testing.assert_allclose(found.psf_image, (psf - fit.offset) / fit.amplitude, atol=1e-4)
    assert found.status == Reason.OK
    assert float(found.sigma) / 120 > 1.05  # what the docstring says of it
    assert "sigma_error" not in found


def test_the_sums_are_those_of_the_windows(movie):
    """Every third window of 50 of the first 450 frames, whatever the chunks."""
    chosen = movie.to_numpy().reshape(9, 50, 64, 65)[::3]
    sums = np.stack([statement.lag_sums(frames, 10) for frames in chosen])
    half = sums[:, 0].sum((0, 1)) / sums[:, 1].sum((0, 1))
    found = smlm.estimate_psf(movie.chunk(frame=70), max_frames=150, size_pixels=21).compute()
    np.testing.assert_allclose(found.autocorrelation[10:], half / half[0, 10], atol=1e-6)
    np.testing.assert_allclose(
        found.autocorrelation[:11], half[::-1, ::-1] / half[0, 10], atol=1e-6
    )


def test_is_true_within_its_error(movie):
    found = smlm.estimate_psf(movie.chunk(frame=150), size_pixels=21).compute()
    assert abs(float(found.sigma) - 120) < 3 * float(found.sigma_error) < 6
    assert found.status == Reason.OK
    assert abs(found.psf_image - found.psf_fit).max() < 0.05
    np.testing.assert_allclose(found.sigma, np.sqrt(found.sigma_x * found.sigma_y))


@pytest.mark.parametrize(("sigma", "theta"), [((180.0, 100.0), 30.0), ((100.0, 150.0), -20.0)])
def test_axes_and_angle_have_the_right_names(sigma, theta):
    emitters = Emitters(number=200, photons=2000.0, sigma=sigma, theta=theta)
    movie, _ = smlm.simulate_movie(200, (96, 80), emitters=emitters, seed=5)
    found = smlm.estimate_psf(movie, size_pixels=25).compute()
    for name, truth in (("sigma_x", sigma[0]), ("sigma_y", sigma[1]), ("theta", theta)):
        error = float(found[f"{name}_error"])
        assert abs(float(found[name]) - truth) < 3.5 * error
        assert 0 < error < 0.05 * abs(truth)


def test_a_round_psf_has_no_angle(movie):
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
    assert float(found.theta) == 0
    assert float(found.theta_error) == 45


def test_flicker_bleaching_and_hot_pixels_do_not_matter(movie):
    """On a bright, structured background the flicker alone would have a width."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:64, :65]
    under = 400 + 300 * np.sin(x / 5) * np.cos(y / 4)
    lamp = (1 + 0.05 * rng.normal(size=450)) * np.exp(-np.arange(450) / 500)
    disturbed = movie.to_numpy() + rng.poisson(under * lamp[:, None, None])
    disturbed[:, 20:50:7, 10:60:9] += 2000 * rng.integers(0, 2, (450, 5, 6))
    found = smlm.estimate_psf(
        smlm.as_movie(disturbed.astype("u2"), pixel_size=100), size_pixels=21
    ).compute()
    assert abs(float(found.sigma) - 120) < 3 * float(found.sigma_error) < 12


def test_noise_along_rows_or_columns_is_left_out():
    emitters = Emitters(number=200)
    movie = smlm.simulate_movie(200, (64, 64), emitters=emitters, seed=2)[0].to_numpy().astype("f4")
    noise = np.random.default_rng(1).normal(0, 30, (200, 64, 64)).astype("f4")
    noise += 0.5 * np.roll(noise, 1, axis=2)
    by_row, by_column = movie + noise, movie + noise.transpose(0, 2, 1)
    widths = {}
    for left_out in ("row", "column", "cross"):
        for name, frames in (("row", by_row), ("column", by_column)):
            noisy = smlm.as_movie(frames, pixel_size=100)
            found = smlm.estimate_psf(noisy, size_pixels=21, noisy_lags=left_out).compute()
            widths[left_out, name] = float(found.sigma) / 120
    for pair in (("row", "row"), ("column", "column"), ("cross", "row"), ("cross", "column")):
        assert abs(widths[pair] - 1) < 0.1, widths
    for pair in (("row", "column"), ("column", "row")):
        assert not abs(widths[pair] - 1) < 0.2, widths


def test_spline_passes_through_the_image_beside_the_middle_cross(movie):
    found = smlm.estimate_psf(movie, window=150, size_pixels=21).compute()
    beside = np.delete(np.arange(21), 10)
    image, curve = (
        found[n].to_numpy()[np.ix_(beside, beside)] for n in ("psf_image", "psf_spline")
    )
    np.testing.assert_allclose(curve, image, atol=1e-5)
    assert found.lag_y.to_numpy().tolist() == list(range(-10, 11))


def test_without_background_removal_no_median_is_computed(movie):
    movie = movie[:, :, :64]
    keywords = {
        "size_pixels": 21,
        "remove_background": False,
        "method": "smlmlp",
        "max_frames": None,
    }
    found = smlm.estimate_psf(movie, window=150, **keywords)
    assert not [k for k in dict(found.sigma.data.dask) if str(k).startswith("('robust_moments")]
    flat = np.zeros((len(movie), *movie.shape[1:]))
    frames = movie.to_numpy()
    lags, _ = psf_image(autocorrelation_of(frames, flat, 21))
    np.testing.assert_allclose(found.autocorrelation, lags, atol=2e-6)


@pytest.mark.parametrize("method", ["fluctuation", "smlmlp"])
@pytest.mark.parametrize("level", [0.0, 7.0, np.nan])
def test_no_structure_has_no_width_and_says_why(level, method):
    movie = smlm.as_movie(np.full((200, 32, 32), level, "f4"), pixel_size=100)
    found = smlm.estimate_psf(movie, size_pixels=21, method=method).compute()
    assert np.isnan(found.sigma)
    assert np.isnan(found.psf_image).all()
    assert found.status == (Reason.NOT_FINITE if np.isnan(level) else Reason.CONSTANT_SIGNAL)


def test_oblong_pixels_are_nm(movie):
    round_ = smlm.estimate_psf(movie, window=150, size_pixels=21).compute()
    oblong = smlm.as_movie(movie.to_numpy(), pixel_size=(200.0, 100.0))
    found = smlm.estimate_psf(oblong, window=150, size_pixels=21).compute()
    widths = sorted([float(found.sigma_x), float(found.sigma_y)])
    np.testing.assert_allclose(widths, [float(round_.sigma), 2 * float(round_.sigma)], rtol=0.03)


@pytest.mark.parametrize("size", [40, 3, 67, 0, -5])
def test_bad_size(movie, size):
    with pytest.raises(ParameterError, match="size_pixels"):
        smlm.estimate_psf(movie, size_pixels=size)


def test_a_window_longer_than_the_movie(movie):
    with pytest.raises(TooFewFramesError, match="450 frames"):
        smlm.estimate_psf(movie, window=451, size_pixels=21)


@pytest.mark.parametrize(
    "keywords",
    [
        {"max_frames": 0},
        {"method": "fast"},
        {"window": 1},
        {"remove_background": False},
        {"noisy_lags": "both"},
    ],
)
def test_bad_parameters(movie, keywords):
    with pytest.raises(ParameterError, match=next(iter(keywords))):
        smlm.estimate_psf(movie, size_pixels=21, **keywords)


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_psf(seed):
    """Static particles or an empty field: the fit would be a spike or a hill without meaning."""
    frames = np.random.default_rng(seed).poisson(100, (200, 48, 48)).astype("u2")
    movie = smlm.as_movie(frames, pixel_size=100)
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
    assert found.status == Reason.NOT_SIGNIFICANT
    assert np.isnan([found.sigma, found.sigma_x, found.theta, found.sigma_error]).all()
    assert np.isnan(found.psf_image).all()


def drawn(light, places, sigma=1.2, size=64):
    """Frames of spots with the light (frame, emitter) at (frame, emitter, 2), in shot noise."""
    edges = np.arange(size + 1) - 0.5
    shares = np.diff(ndtr((edges[:, None, None, None] - places) / sigma), axis=0)
    frames = np.einsum("yte,te,xte->tyx", shares[..., 0], light, shares[..., 1])
    return np.random.default_rng(0).poisson(frames + 20).astype("u2")


def width_of(frames):
    return smlm.estimate_psf(smlm.as_movie(frames, pixel_size=100), size_pixels=21).compute()


@pytest.mark.parametrize(
    ("step", "reason"), [(0.0, Reason.NOT_SIGNIFICANT), (0.1, Reason.EMITTERS_MOVE)]
)
def test_beads_have_no_psf_whether_they_shake_or_not(step, reason):
    """The correlation of light that moves is that of the slope of a Gaussian, 30 % narrower."""
    rng = np.random.default_rng(2)
    places = rng.uniform(0, 63, (30, 2)) + step * rng.normal(size=(100, 1, 2))
    found = width_of(drawn(np.full((100, 30), 5000.0), places))
    assert found.status == reason
    assert np.isnan(found.sigma)


@pytest.mark.parametrize(("sigma", "bleaching"), [(0.5, 1.0), (1.2, 0.05)])
def test_narrow_and_bleaching_emitters_have_a_psf(sigma, bleaching):
    """The flank of a narrow emitter is no hot pixel, and windows may differ in how much they blink."""
    rng = np.random.default_rng(3)
    places = np.broadcast_to(rng.uniform(0, 63, (150, 2)), (400, 150, 2))
    light = rng.exponential(2000, (400, 150)) * (rng.random((400, 150)) < 0.05)
    light *= bleaching ** np.linspace(0, 1, 400)[:, None]
    found = width_of(drawn(light, places, sigma))
    assert found.status == Reason.OK
    assert abs(float(found.sigma_x) / 100 - sigma) < 0.05 * sigma
    assert abs(float(found.sigma_y) / 100 - sigma) < 0.05 * sigma


def test_chosen_frames_read_their_chunks_only(movie):
    """Windows that are picked beforehand are those that ``max_frames`` picks."""
    reads = []

    def read(block, block_info=None):
        reads.append(block_info[0]["array-location"][0])
        return block

    counted = movie.copy(data=movie.chunk(frame=50).data.map_blocks(read, meta=np.zeros((0, 0, 0))))
    frames = np.add.outer(np.arange(0, 450, 150), np.arange(50)).ravel()
    names = ["sigma", "sigma_error", "autocorrelation"]
    picked = smlm.estimate_psf(counted[frames], size_pixels=21)[names].compute()
    assert sorted(reads) == [(0, 50), (150, 200), (300, 350)]
    whole = smlm.estimate_psf(movie, max_frames=150, size_pixels=21)[names].compute()
    xr.testing.assert_equal(picked, whole)


def test_dim_emitters_still_have_a_psf():
    emitters = Emitters(number=20, photons=300.0)
    movie, _ = smlm.simulate_movie(300, (64, 64), emitters=emitters, seed=1)
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
    assert found.status == Reason.OK
    assert 0.9 < float(found.sigma) / 120 < 1.1
