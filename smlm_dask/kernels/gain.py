"""Photon-transfer curve: moments of a window of frames, bins of equal level, and the line through them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels.reason import Reason
from smlm_dask.kernels.selection import median_and_mad

__all__ = ["FIT_NAMES", "robust_moments", "robust_variance", "transfer_curve"]

FIT_NAMES = ("slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr")
FEWEST_PIXELS = 10  # a bin needs more than this many pixels
CENTRAL_PERCENT = (33, 66)  # the fitted bins lie strictly between these percentiles of the levels


def robust_variance(mad: NDArray[Any]) -> NDArray[Any]:
    """Variance of a normal distribution from its median absolute deviation: ``(1.4826 MAD)^2``."""
    scaled: NDArray[Any] = np.square(1.4826 * mad)
    return scaled


def robust_moments(frames: NDArray[Any]) -> NDArray[Any]:
    """Median and scaled-MAD variance over frames: ``(frame, y, x) -> (2, y, x)``."""
    moments = median_and_mad(frames)
    moments[1] = robust_variance(moments[1])
    return moments


def transfer_curve(
    level: NDArray[Any], variance: NDArray[Any], bins: int, fewest: int = 3
) -> NDArray[np.float64]:
    """Bins of the mean-variance curve and the line through its central third.

    Parameters
    ----------
    level, variance : (y, x)
        Level and variance of each pixel; pixels that are not finite are left out.
    bins : int
        Number of equal steps between the lowest and the highest level.
    fewest : int
        Bins a line needs: 3 have an error, 2 do not.

    Returns
    -------
    (3 * (bins + 1) + 9,)
        Level, variance (NaN where a bin has 10 pixels or fewer) and pixel count of each bin - the
        brightest pixels are a bin of their own - then the six numbers of
        ``scipy.stats.linregress``, gain and its standard error, and the ``Reason`` code.
    """
    good = np.isfinite(level) & np.isfinite(variance)
    if not good.any():
        return _no_curve(bins, Reason.NOT_FINITE)
    x, v = level[good], variance[good]
    bin_level, bin_variance, count = _bins(x, v, bins)
    fit, reason = _line(x, bin_level, bin_variance, fewest)
    gain = (1 / fit[0], fit[4] / fit[0] ** 2) if reason == Reason.OK else (np.nan, np.nan)
    return np.concatenate([bin_level, bin_variance, count, fit, gain, [reason]])


def _no_curve(bins: int, reason: Reason) -> NDArray[np.float64]:
    curve = np.full(3 * (bins + 1) + 9, np.nan)
    curve[2 * (bins + 1) : 3 * (bins + 1)] = 0
    curve[-1] = reason
    return curve


def _bins(x: NDArray[Any], v: NDArray[Any], bins: int) -> tuple[NDArray[np.float64], ...]:
    """Mean level, mean variance and count of each bin."""
    where = np.digitize(x, np.linspace(x.min(), x.max(), bins + 1)) - 1
    count = np.bincount(where, minlength=bins + 1)
    few = count <= FEWEST_PIXELS
    sums = (np.bincount(where, weights, minlength=bins + 1) for weights in (x, v))
    means = (np.where(few, np.nan, total / np.maximum(count, 1)) for total in sums)
    return *means, count.astype(np.float64)


def _line(
    x: NDArray[Any], level: NDArray[np.float64], variance: NDArray[np.float64], fewest: int
) -> tuple[NDArray[np.float64], Reason]:
    low, high = np.percentile(x, CENTRAL_PERCENT)
    central = (level > low) & (level < high)
    if central.sum() < fewest:
        few = Reason.CONSTANT_SIGNAL if x.min() == x.max() else Reason.TOO_FEW_BINS
        return np.full(6, np.nan), few
    from scipy.stats import linregress  # 0.4 s of import

    fit = linregress(level[central], variance[central])
    numbers = np.array([getattr(fit, name) for name in FIT_NAMES])
    return numbers, Reason.OK if fit.slope > 0 else Reason.SLOPE_NOT_POSITIVE
