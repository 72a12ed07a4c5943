"""Width of the emitters from sums of products by lag: fit, standard errors, verdict and images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import least_squares
from scipy.special import fdtrc, stdtrit

from smlm_dask.kernels.psf import evaluate_spline, spline
from smlm_dask.kernels.reason import Reason

__all__ = ["width_parts", "width_shape"]

Image = NDArray[np.float64]

NUMBERS = ("sigma", "sigma_x", "sigma_y", "theta", "amplitude", "pedestal", "status")
ERRORS = ("sigma_error", "sigma_x_error", "sigma_y_error", "theta_error")
IMAGES = ("autocorrelation", "psf_image", "psf_fit", "psf_spline")

# Lags enter up to so many widths of the correlation, but no fewer than up to 4 pixels. Three scatter
# less, but the skirts of a real PSF and defocus then widen it by 5 to 15 %.
WIDTHS, LEAST_RADIUS = 2.0, 4.0
ROUNDS = 3  # the radius follows the width
FEWEST_LAGS = 8  # for five parameters
# A width is believed if it is above 0.35 pixels, three widths of the correlation are within the lags,
# its error is below a tenth of it, the amplitude is 2 errors above 0 (which 10 emitters are) and the
# fit explains 96 % of how the correlation varies by lag. Emitters whose width is known so well explain
# more than 97.5 %; movies of noise, row noise, banding, hot pixels, flicker or bleaching alone less than
# a half; a structured background that drifts 80 to 94 %, with an amplitude of up to 7 errors.
NARROWEST, WIDEST, LOOSEST = 0.35, 1 / (3 * math.sqrt(2)), 0.1
SURE, EXPLAINED = 2.0, 0.96
# Light that moves correlates with itself like the bend of a Gaussian: around the core the correlation falls
# below what it is far away, by 0.12 of the core; blinking emitters stay within 0.03. Half of it is refused.
DIP = 0.06
ROUND = 0.01  # chance of a round PSF to be called elliptic
ANY_ANGLE = 45.0  # degrees: the error of the angle of a round PSF
TAPER = 0.6  # of the longest lag, from where on the PSF image's correlation fades out

# Gauss-Legendre nodes of the triangle that two pixels make of a distance, exact to 1e-6 at 0.35 pixels
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_HALF = (_NODES + 1) / 2
TRIANGLE = np.concatenate([-_HALF[::-1], _HALF])
SHARES = np.concatenate([(_WEIGHTS * (1 - _HALF) / 2)[::-1], _WEIGHTS * (1 - _HALF) / 2])


class Fit(NamedTuple):
    """``amplitude * Gaussian(spread) + pedestal`` at the lags it was fitted to.

    ``spread`` is the covariance (yy, xx, yx) of the PSF in pixels squared; the correlation's is twice
    that. ``amplitude`` is the integral of the correlation over all lags.
    """

    spread: Image
    amplitude: float
    pedestal: float
    used: NDArray[np.bool_]


# ------------------------------------------------------------------ model


def correlation(spread: Image, lag_y: Image, lag_x: Image) -> Image:
    """Correlation of pixel-integrated Gaussians of unit sum by lag, over all sub-pixel places.

    Their density at twice the spread, averaged over the triangle of distances between the points of
    two pixels along each axis.
    """
    yy, xx, yx = (2 * float(s) for s in spread)
    det = yy * xx - yx * yx
    y = np.add.outer(lag_y, TRIANGLE)[:, :, None]
    x = np.add.outer(lag_x, TRIANGLE)[:, None, :]
    square = (xx * y * y - 2 * yx * y * x + yy * x * x) / det
    density = np.exp(-0.5 * square) / (2 * math.pi * math.sqrt(det))
    return np.asarray(np.einsum("lyx,y,x->l", density, SHARES, SHARES), np.float64)


def _spread(angles: Image) -> Image:
    """Covariance (yy, xx, yx) of a Cholesky factor whose diagonal is given by logarithms."""
    a, b, c = math.exp(angles[0]), float(angles[1]), math.exp(angles[2])
    return np.array([a * a, b * b + c * c, a * b])


# ------------------------------------------------------------------ fit


def fit_correlation(image: Image, excluded: str) -> Fit | None:
    """Fit a Gaussian to a half plane of correlations ``(lag_y, lag_x)``; None without an answer."""
    reach = len(image) - 1
    y, x, free = _lags(reach, excluded)
    radius, angles = LEAST_RADIUS, np.zeros(0)
    for _ in range(ROUNDS):
        used = free & (y * y + x * x <= radius * radius)
        if used.sum() < FEWEST_LAGS:
            return None
        seen = image[used], y[used], x[used]
        angles = _fitted(angles if angles.size else _nearest(*seen, reach), reach, seen)
        radius = min(max(LEAST_RADIUS, WIDTHS * math.sqrt(2 * _major(_spread(angles)))), reach)
    _, amplitude, pedestal = _residual(_spread(angles), *seen)
    return Fit(_spread(angles), amplitude, pedestal, used)


def _fitted(start: Image, reach: int, seen: tuple[Image, Image, Image]) -> Image:
    def residual(angles: Image) -> Image:
        return _residual(_spread(angles), *seen)[0]

    top = math.log(2 * reach)
    bounds = [-3, -reach, -3], [top, reach, top]
    return np.asarray(least_squares(residual, start, bounds=bounds, x_scale=0.1).x, np.float64)


def _lags(reach: int, excluded: str) -> tuple[Image, Image, NDArray[np.bool_]]:
    """Lags of the half plane, and which of them carry no noise of the camera."""
    y, x = np.mgrid[: reach + 1, -reach : reach + 1].astype(float)
    free = (y > 0) | (x > 0)
    if excluded in ("row", "cross"):
        free &= y != 0
    if excluded in ("column", "cross"):
        free &= x != 0
    return y, x, free


def _nearest(seen: Image, y: Image, x: Image, reach: int) -> Image:
    """The round width that fits best of a few."""
    widths = np.geomspace(0.5, max(1.0, reach / 3), 7)
    costs = [
        np.square(_residual(s * s * np.array([1, 1, 0.0]), seen, y, x)[0]).sum() for s in widths
    ]
    log = math.log(widths[int(np.argmin(costs))])
    return np.array([log, 0.0, log])


def _residual(spread: Image, seen: Image, y: Image, x: Image) -> tuple[Image, float, float]:
    """What the best amplitude and pedestal leave, relative to the scatter of what was seen."""
    shape = correlation(spread, y, x)
    centred = shape - shape.mean()
    square = float(centred @ centred)
    amplitude = float(centred @ seen) / square if square > 0 else 0.0
    pedestal = float(seen.mean() - amplitude * shape.mean())
    scale = float(np.abs(seen - seen.mean()).max()) or 1.0
    return (amplitude * shape + pedestal - seen) / scale, amplitude, pedestal


def _major(spread: Image) -> float:
    """Greater eigenvalue."""
    yy, xx, yx = map(float, spread)
    return (yy + xx) / 2 + math.hypot((yy - xx) / 2, yx)


# ------------------------------------------------------------------ numbers


def ellipse(spread: Image) -> Image:
    """Geometric mean, greater and smaller width, and the angle of the greater, in radians downwards."""
    yy, xx, yx = map(float, spread)
    middle, half = (yy + xx) / 2, math.hypot((yy - xx) / 2, yx)
    mean = max(yy * xx - yx * yx, 0.0) ** 0.25
    angle = 0.5 * math.atan2(2 * yx, xx - yy)
    return np.array([mean, math.sqrt(middle + half), math.sqrt(max(middle - half, 0.0)), angle])


def upright(spread: Image) -> Image:
    """Geometric mean of, and the widths along x and y, and no angle."""
    yy, xx, _ = map(float, spread)
    return np.array([(yy * xx) ** 0.25, math.sqrt(xx), math.sqrt(yy), 0.0])


def _labelled(numbers: Image) -> Image:
    """``ellipse`` as sigma, sigma_x, sigma_y, theta: x is the axis within 45 degrees of the rows.

    Theta counts counter-clockwise on screen.
    """
    mean, major, minor, angle = map(float, numbers)
    if abs(angle) <= math.pi / 4:
        return np.array([mean, major, minor, -math.degrees(angle)])
    across = angle - math.copysign(math.pi / 2, angle)
    return np.array([mean, minor, major, -math.degrees(across)])


# ------------------------------------------------------------------ errors


def _influences(sums: Image, pairs: Image, image: Image, fit: Fit) -> Image:
    """What each cell of time and space adds to the parameters: (time, strip, 5).

    To first order, for (yy, xx, yx, amplitude, pedestal).
    """
    y, x = (axis[fit.used] for axis in _lags(len(image) - 1, "")[:2])

    def shape(spread: Image) -> Image:
        return correlation(spread, y, x)

    slopes = [fit.amplitude * _slope(shape, fit.spread, i) for i in range(3)]
    jacobian = np.stack([*slopes, shape(fit.spread), np.ones(len(y))], axis=1)
    left = sums[..., fit.used] - image[fit.used] * pairs[..., fit.used]
    total = pairs.sum(axis=(0, 1))[fit.used]
    return np.asarray((left / total) @ np.linalg.pinv(jacobian).T, np.float64)


def _slope(function: Any, spread: Image, i: int) -> Image:
    step = 1e-5 * float(spread[0] + spread[1])
    shift = np.zeros(3)
    shift[i] = step
    return np.asarray((function(spread + shift) - function(spread - shift)) / (2 * step))


def two_way(influences: Image) -> float:
    """Variance of a sum over cells (time, strip) that have both time and place in common.

    The same emitters are in every window, so that windows alone scatter too little; the light of a
    frame is in every strip. ``time + place - cells`` counts what neither shares once. Never below
    either of the two.
    """
    return float(_variance(influences[..., None])[0, 0])


def _variance(influences: Image) -> Image:
    """``two_way`` of vectors (time, strip, n): the (n, n) matrix of greatest trace."""
    times, strips = influences.shape[:2]
    by_time, by_strip = influences.sum(axis=1), influences.sum(axis=0)
    cells = influences.reshape(times * strips, -1)
    of_time = by_time.T @ by_time * (times / max(times - 1, 1)) * (times > 1)
    of_strip = by_strip.T @ by_strip * (strips / max(strips - 1, 1)) * (strips > 1)
    both = of_time + of_strip - cells.T @ cells
    return np.asarray(max(of_time, of_strip, both, key=np.trace), np.float64)


def _stretch(cells: Image) -> float:
    """Factor for few groups, so that twice the error covers 95 % as Student's t does."""
    groups = [n for n in cells.shape[:2] if n > 1]
    return float(stdtrit(max(groups) - 1, 0.975)) / 1.96 if groups else math.nan


def _is_round(cells: Image, spread: Image, pixel_size: tuple[float, float]) -> bool:
    """Whether an ellipse is no more than the scatter of a round PSF, in nm."""
    py, px = pixel_size
    yy, xx, yx = map(float, spread * [py * py, px * px, py * px])
    apart = np.array([xx - yy, 2 * yx])
    turn = np.array([[-py * py, px * px, 0], [0, 0, 2 * py * px]])
    variance = _variance(cells[..., :3] @ turn.T)
    groups = max(cells.shape[:2])
    if groups < 3 or np.linalg.matrix_rank(variance) < 2:
        return True
    square = float(apart @ np.linalg.solve(variance, apart))
    return bool(fdtrc(2, groups - 1, square / 2) > ROUND)


def _measured(fit: Fit, cells: Image, pixel_size: tuple[float, float]) -> tuple[Image, Image]:
    """Sigma, sigma_x, sigma_y in nm and theta in degree, and their errors."""
    scale = np.array([pixel_size[0] ** 2, pixel_size[1] ** 2, pixel_size[0] * pixel_size[1]])
    spread = fit.spread * scale
    of = upright if _is_round(cells, fit.spread, pixel_size) else ellipse
    slopes = np.array([_slope(of, spread, i) for i in range(3)])
    stretch = _stretch(cells)
    errors = [stretch * math.sqrt(two_way(cells[..., :3] * scale @ s)) for s in slopes.T]
    numbers = of(spread)
    if of is upright:
        return numbers, np.array([*errors[:3], ANY_ANGLE])
    labelled = _labelled(numbers)
    swapped = [0, 2, 1] if labelled[1] < labelled[2] else [0, 1, 2]
    return labelled, np.array([*(errors[i] for i in swapped), math.degrees(errors[3])])


# ------------------------------------------------------------------ images


def _full(half: Image) -> Image:
    """Both halves of a correlation: it is the same at opposite lags."""
    return np.concatenate([half[:0:-1, ::-1], half])


def psf_image(image: Image, fit: Fit, excluded: str) -> Image:
    """PSF whose correlation was seen, peak of the fitted Gaussian at 1, without a model.

    Lags with the noise of the camera are filled with the model and what their neighbours are above
    it; the root of the transform has no phase, so the PSF is taken to be symmetric.
    """
    reach = len(image) - 1
    y, x, free = _lags(reach, excluded)
    drawn = correlation(fit.spread, y.ravel(), x.ravel()).reshape(y.shape)
    drawn = fit.amplitude * drawn + fit.pedestal
    left = np.where(free, image - drawn, np.nan)
    seen = _full(drawn + _filled(left))
    radius = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    ring = np.median(seen[(radius > reach - 1) & (radius <= reach)])
    fade = np.clip((radius / reach - TAPER) / (1 - TAPER), 0, 1)
    waves = fft.fft2(fft.ifftshift((seen - ring) * (1 + np.cos(math.pi * fade)) / 2))
    root = fft.fftshift(fft.ifft2(np.sqrt(np.maximum(waves.real, 0))).real)
    yy, xx, yx = map(float, fit.spread)
    peak = 2 * math.pi * math.sqrt(yy * xx - yx * yx)
    return np.asarray(root * peak / math.sqrt(fit.amplitude), np.float64)


def _filled(left: Image) -> Image:
    """Residuals with those that are missing from their neighbours across the missing line."""
    reach = len(left) - 1
    row = np.isnan(left[0]).sum() > 1
    both = np.stack([left[1], left[1, ::-1]]).mean(axis=0)
    out = left.copy()
    if row:
        out[0] = both
    column = np.isnan(out[:, reach])
    out[column, reach] = np.stack([out[:, reach - 1], out[:, reach + 1]]).mean(axis=0)[column]
    return np.nan_to_num(out)


def drawn_psf(numbers: Image, size: int, pixel_size: tuple[float, float]) -> Image:
    """Gaussian of sigma, sigma_x, sigma_y and theta, peak at 1, averaged over each pixel."""
    _, sigma_x, sigma_y, theta = map(float, numbers)
    steps = np.add.outer(np.arange(-(size // 2), size // 2 + 1), _NODES / 2)
    y = (steps * pixel_size[0])[:, :, None, None]
    x = steps * pixel_size[1]
    cos, sin = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    along, across = (x * cos - y * sin) / sigma_x, (x * sin + y * cos) / sigma_y
    density = np.exp(-0.5 * (along * along + across * across))
    return np.asarray(np.einsum("abcd,b,d->ac", density, _WEIGHTS, _WEIGHTS) / 4, np.float64)


# ------------------------------------------------------------------ all together


def width_parts(size: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Where each part of ``width_shape`` begins, and its shape, for ``size`` lags."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys((*NUMBERS, *ERRORS), ())
    shapes |= dict.fromkeys(IMAGES, (size, size))
    shapes |= {"knots_x": (size + 3,), "knots_y": (size + 3,), "coefficients": (size - 1, size - 1)}
    begins = np.cumsum([0, *(int(np.prod(s)) for s in shapes.values())]).tolist()
    return {
        name: (begin, shape) for begin, (name, shape) in zip(begins, shapes.items(), strict=False)
    }


def width_shape(cells: Image, pixel_size: tuple[float, float], excluded: str) -> Image:
    """Numbers, errors, images and spline of the PSF, flat, in the order of ``width_parts``.

    Parameters
    ----------
    cells
        ``(time, 2, strip, reach + 1, 2 * reach + 1)``: sums of ``fluctuation.lag_sums``.
    pixel_size
        ``(y, x)`` in nm.
    excluded
        Lags with noise of the camera: ``row``, ``column`` or ``cross``.
    """
    cells = cells[(cells[:, 1] != 0).any(axis=(1, 2, 3))]  # groups without a window say nothing
    sums, pairs = cells[:, 0], cells[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        image = sums.sum(axis=(0, 1)) / pairs.sum(axis=(0, 1))
    middle = float(image[0, len(image) - 1])
    reason = Reason.OK if np.isfinite(image).all() else Reason.NOT_FINITE
    reason = Reason.CLIPPED if np.isposinf(image).any() else reason
    reason = reason or (Reason.OK if middle > 0 else Reason.CONSTANT_SIGNAL)
    fit = fit_correlation(image, excluded) if reason == Reason.OK else None
    reason = reason or (Reason.FIT_FAILED if fit is None else Reason.OK)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = _full(image / middle)
    if fit is None:
        return _nothing(share, reason)
    return _answer(sums, pairs, image, fit, pixel_size, excluded, share)


def _answer(
    sums: Image,
    pairs: Image,
    image: Image,
    fit: Fit,
    pixel_size: tuple[float, float],
    excluded: str,
    share: Image,
) -> Image:
    if not _inside(fit.spread, len(image) - 1):
        return _nothing(share, Reason.NOT_SIGNIFICANT)
    cells = _influences(sums, pairs, image, fit)
    numbers, errors = _measured(fit, cells, pixel_size)
    if not (errors[0] < LOOSEST * numbers[0] and _is_sure(image, fit, cells)):
        return _nothing(share, Reason.NOT_SIGNIFICANT)
    if _moves(image, fit, cells, excluded):
        return _nothing(share, Reason.EMITTERS_MOVE)
    at_zero = correlation(fit.spread, np.zeros(1), np.zeros(1))[0]
    middle = float(image[0, len(image) - 1])
    relative = fit.amplitude * at_zero / middle, fit.pedestal / middle
    level = psf_image(image, fit, excluded)
    drawn = drawn_psf(numbers, len(level), pixel_size)
    return _packed((*numbers, *relative, Reason.OK, *errors), share, level, drawn, pixel_size)


def _inside(spread: Image, reach: int) -> bool:
    """Whether both widths, in pixels, can be those of a PSF that the lags show."""
    major = math.sqrt(_major(spread))
    minor = math.sqrt(max(float(spread[0] * spread[1] - spread[2] ** 2), 0.0)) / major
    return minor > NARROWEST and major < WIDEST * reach


def _is_sure(image: Image, fit: Fit, cells: Image) -> bool:
    """Whether what was fitted can be told from nothing."""
    y, x = (axis[fit.used] for axis in _lags(len(image) - 1, "")[:2])
    seen = image[fit.used]
    left = seen - fit.amplitude * correlation(fit.spread, y, x) - fit.pedestal
    explained = 1 - float(left @ left) / float(np.square(seen - seen.mean()).sum())
    # Summed over time: emitters bleach, and no window has the amplitude of another.
    amplitudes = cells[..., 3].sum(axis=0, keepdims=True) if cells.shape[1] > 1 else cells[..., 3]
    error = math.sqrt(two_way(amplitudes))
    return bool(fit.amplitude > SURE * error and explained > EXPLAINED)


def _moves(image: Image, fit: Fit, cells: Image, excluded: str) -> bool:
    """Whether the correlation is lower around the core than far from it, beyond doubt."""
    y, x, free = _lags(len(image) - 1, excluded)
    radius = np.hypot(y, x)
    ring = free & (radius > len(image) - 2) & (radius <= len(image) - 1)
    far = np.median(image[ring] - fit.amplitude * correlation(fit.spread, y[ring], x[ring]))
    core = fit.amplitude * correlation(fit.spread, np.zeros(1), np.zeros(1))[0]
    error = math.sqrt(two_way(cells[..., 4]))
    return bool(fit.pedestal + SURE * error < far - DIP * core)


def _nothing(share: Image, reason: Reason) -> Image:
    nan = np.full(share.shape, np.nan)
    numbers = (*[math.nan] * 6, reason, *[math.nan] * 4)
    return _packed(numbers, share, nan, nan, (1.0, 1.0))


def _packed(
    numbers: tuple[Any, ...],
    share: Image,
    level: Image,
    drawn: Image,
    pixel_size: tuple[float, float],
) -> Image:
    tx, ty, coefficients = spline(level, pixel_size)
    size = len(level)
    y, x = (np.arange(-(size // 2), size // 2 + 1) * np.float64(p) for p in pixel_size)
    curve = evaluate_spline(tx, ty, coefficients, y, x)
    parts = numbers, share, level, drawn, curve, tx, ty, coefficients
    return np.concatenate([np.ravel(part).astype("f8") for part in parts])
