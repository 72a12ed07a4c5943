"""estimate_psf against its statement, the truth, and its own promises."""

import numpy as np
import pytest

import smlm_dask as smlm
from smlm_dask.errors import ParameterError, TooFewFramesError
from smlm_dask.kernels.psf import fit_gaussian, psf_image
from smlm_dask.kernels.reason import Reason
from smlm_dask.simulate import Emitters


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
def test_equals_its_statement(movie, window, max_frames, chosen):
    frames = movie.to_numpy()
    length = window or len(frames)
    medians = np.concatenate(
        [
            np.broadcast_to(np.median(frames[i : i + length], axis=0), frames[i : i + length].shape)
            for i in range(0, len(frames), length)
        ]
    )
    lags, psf = psf_image(autocorrelation_of(frames[chosen], medians[chosen], 21))
    fit = fit_gaussian(psf, (100.0, 100.0), max_amplitude=10.0)
    found = smlm.estimate_psf(
        movie.chunk(frame=70), window=window, max_frames=max_frames, size_pixels=21
    ).compute()
    np.testing.assert_allclose(found.autocorrelation, lags, atol=2e-6)
    np.testing.assert_allclose(found.sigma_x, fit.sigma_x, rtol=1e-5)
    np.testing.assert_allclose(found.sigma_y, fit.sigma_y, rtol=1e-5)
    np.testing.assert_allclose(found.psf_image, (psf - fit.offset) / fit.amplitude, atol=1e-4)
    assert found.status == Reason.OK


def test_is_true_as_far_as_the_method_goes(movie):
    """The docstring promises some 3 % too wide for bright emitters."""
    found = smlm.estimate_psf(movie.chunk(frame=150), window=150, size_pixels=21).compute()
    assert 1.0 < float(found.sigma) / 120 < 1.06
    np.testing.assert_allclose(found.sigma, np.sqrt(found.sigma_x * found.sigma_y))


def test_spline_passes_through_the_image_beside_the_middle_cross(movie):
    found = smlm.estimate_psf(movie, window=150, size_pixels=21).compute()
    beside = np.delete(np.arange(21), 10)
    image, curve = (
        found[n].to_numpy()[np.ix_(beside, beside)] for n in ("psf_image", "psf_spline")
    )
    np.testing.assert_allclose(curve, image, atol=1e-5)
    assert found.lag_y.to_numpy().tolist() == list(range(-10, 11))


def test_without_background_removal_no_median_is_computed(movie):
    found = smlm.estimate_psf(movie, window=150, size_pixels=21, remove_background=False)
    assert not [k for k in dict(found.sigma.data.dask) if str(k).startswith("('robust_moments")]
    flat = np.zeros((len(movie), *movie.shape[1:]))
    frames = movie.to_numpy()
    lags, _ = psf_image(autocorrelation_of(frames, flat, 21))
    np.testing.assert_allclose(found.autocorrelation, lags, atol=2e-6)


@pytest.mark.parametrize("level", [0.0, 7.0, np.nan])
def test_no_structure_has_no_width_and_says_why(level):
    movie = smlm.as_movie(np.full((200, 32, 32), level, "f4"), pixel_size=100)
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
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


@pytest.mark.parametrize("keywords", [{"max_frames": 0}, {"method": "fast"}, {"window": 1}])
def test_bad_parameters(movie, keywords):
    with pytest.raises(ParameterError, match=next(iter(keywords))):
        smlm.estimate_psf(movie, size_pixels=21, **keywords)


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_psf(seed):
    """Static particles or an empty field: the fit would be a spike or a hill without meaning."""
    frames = np.random.default_rng(seed).poisson(100, (200, 48, 48)).astype("u2")
    movie = smlm.as_movie(frames, pixel_size=100)
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
    assert found.status == Reason.FIT_FAILED
    assert np.isnan([found.sigma, found.sigma_x, found.theta]).all()
    assert np.isnan(found.psf_image).all()


def test_dim_emitters_still_have_a_psf():
    emitters = Emitters(number=20, photons=300.0)
    movie, _ = smlm.simulate_movie(300, (64, 64), emitters=emitters, seed=1)
    found = smlm.estimate_psf(movie, window=150, size_pixels=21).compute()
    assert found.status == Reason.OK
    assert 1.0 < float(found.sigma) / 120 < 1.3
