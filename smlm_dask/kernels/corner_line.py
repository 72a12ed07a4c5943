"""From the sums of ``kernels.corner`` to a gain, its error, and the reasons to give none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smlm_dask.kernels import pixels, rim
from smlm_dask.kernels.corner import TAPS, TIME, Sums
from smlm_dask.kernels.reason import Quality, Reason

__all__ = [
    "BINS",
    "NUMBERS",
    "Known",
    "camera",
    "corner_gain",
    "error_word",
    "numbers",
    "pixel_noise",
]

Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Values: TypeAlias = Mapping[str, Doubles]

BINS = 50  # of the curve that is shown
FEWEST = 100  # windows in a bin of the fit
MOST_SATURATED = 0.3  # of the windows of a bin
# Of light on the outer ring of the rim 5 taps let 3 to 5 % pass, whatever the PSF, and as light is where
# windows are bright, up to three times that is in the slope: below 3 % of light 0.3 % of it.
LIGHT, LIGHT_ERRORS = 0.03, 3
# PSFs, pixels, whose leaks are told from each other by their light on the rings.
WIDTHS = np.linspace(0.7, 1.0, 13)
# A movie whose error is 4 % is more than 5 % off in one of five.
MOST_LEAK, MOST_LEAK_ERROR, MOST_ERROR = 0.10, 0.05, 0.04
# Errors from 16 groups scatter by a fifth: 2.18 of them cover what 2 of a known error do.
STUDENT = 1.09
# What smoothing makes of the gain, and its standard errors, that are taken for none.
MOST_SMOOTHING, SMOOTHING_ERRORS = 0.10, 3.0
LEAST_NOISE = 0.5  # adu
# Zeros among the samples of a movie, and of the bins of the fit: noise that was cut off at a sample of
# a thousand is 0.2 % too small.
MOST_ZEROS, MOST_DARK, FEW_ZEROS = 0.01, 0.0002, 4
# A hot pixel's excess of variance over the line: at least this share of the line, this many standard
# errors, and this many times that of the pixels around it. Under emitters the median of few pairs goes
# from none to much within a pixel: factors of 5 were seen there.
HOT, HOT_ERRORS, ALONE = 0.25, 7, 8
ROUNDS, STILL = 30, 1e-12  # of the reweighted line, six as a rule; change of a slope that ends them
_LEAKS = np.array([[rim.emitter_leak(s, np.array(taps)) for s in WIDTHS] for taps in TAPS.values()])
_LEAK_RATIOS, _RING_RATIOS = _LEAKS[0] / _LEAKS[1], np.array([rim.ring_ratio(s) for s in WIDTHS])
COLUMNS_OF = ((0, 3, 4), (0, 5, 6))  # count, light and variance of each filter

NUMBERS = (
    "gain",
    "gain_error",
    "slope",
    "intercept",
    "zero_level",
    "zero_level_error",
    "leak",
    "leak_error",
    "smoothing",
    "smoothing_error",
    "offset",
    "offset_error",
    "read_noise",
    "read_noise_error",
    "variance",
    "quality",
    "status",
)
# What a refused movie still says: where the line lies and why it is not believed.
KEPT = ("slope", "intercept", "leak", "leak_error", "smoothing", "smoothing_error", "status")


class Known(NamedTuple):
    """What the user knows of his camera; NaN where he does not.

    Attributes
    ----------
    offset : float
        Level without light, adu; of a map its mean.
    read_noise : float
        Electrons, rms.
    excess_noise : float
        Variance of the signal over that of its photoelectrons.
    """

    offset: float
    read_noise: float
    excess_noise: float


def corner_gain(
    sums: Sums, offset: float | Doubles, read_noise: float, excess_noise: float
) -> Doubles:
    """The ``NUMBERS``, then level, variance and count of ``BINS`` bins: (len(NUMBERS) + 3 BINS,)."""
    known = Known(float(np.mean(offset)), read_noise, excess_noise)
    total = sums.table[:TIME].sum(axis=0)
    found = dict.fromkeys(NUMBERS, math.nan) | {"quality": 0.0}
    found |= _white(sums.rim)
    starts, dark, bright = _bins(total)
    if bright - dark < 3:
        found["status"] = Reason.CLIPPED if dark > 0 else _nothing(sums, total)
        return _packed(found, _curve(total))
    parts = _binned(sums.table, starts)[..., dark:bright]
    whole = parts[:, :TIME].sum(axis=1, keepdims=True)
    share = _share(sums.rim)
    value = {name: float(v[0]) for name, v in _answers(whole, known, share).items()}
    error = _errors(whole, parts, known, share)
    found |= numbers(value, error) | {"leak": value["leak"], "leak_error": error["leak"]}
    lowest = float(whole[0, 0, 1, 0] / whole[0, 0, 0, 0])
    found["status"] = _status(found, sums, lowest)
    found["quality"] = _quality(found, share > 0, bright < len(starts))
    if found["status"] != Reason.OK:
        found |= {n: math.nan for n in NUMBERS if n not in KEPT} | {"quality": 0.0}
    return _packed(found, _curve(total))


def _packed(found: Mapping[str, float], curve: Doubles) -> Doubles:
    return np.concatenate([[float(found[n]) for n in NUMBERS], curve.ravel()])


def _nothing(sums: Sums, total: Doubles) -> Reason:
    if total[:, 0].any():
        return Reason.TOO_FEW_BINS
    variance = sums.maps[1]
    if not np.isfinite(variance).any():
        return Reason.NOT_FINITE
    # Bad pixels all around, or frames smaller than a window.
    return Reason.TOO_FEW_BINS if (variance > pixels.ROUNDING).any() else Reason.CONSTANT_SIGNAL


# ------------------------------------------------------------------ bins


def _bins(total: Doubles) -> tuple[Indices, int, int]:
    """First keys of bins of enough windows; the first bin without zeros, and the first saturated one."""
    starts = _merged(total[:, 0])
    if not len(starts):
        return starts, 0, 0
    n, saturated, zeros = np.add.reduceat(total[:, :3], starts, axis=0).T
    over = np.flatnonzero(saturated > MOST_SATURATED * (n + saturated))
    # Of a bin and all that are brighter: noise is cut off at the dim end, single zeros are anywhere.
    zeros, of = (np.cumsum(a[::-1])[::-1] for a in (zeros, n))
    lit = np.flatnonzero(zeros <= MOST_DARK * of + FEW_ZEROS)
    bright = int(over[0]) if len(over) else len(starts)
    return starts, int(lit[0]) if len(lit) else len(starts), bright


def _merged(count: Doubles) -> Indices:
    """First keys of bins of at least ``FEWEST`` windows."""
    starts, held = [0], 0.0
    for key in np.flatnonzero(count):
        if held >= FEWEST:
            starts.append(int(key))
            held = 0.0
        held += count[key]
    if held < FEWEST:
        starts.pop()
    return np.array(starts, np.int64)


def _binned(table: Doubles, starts: Indices) -> Doubles:
    """Count, light and variance of the bins of each filter: (2, group, 3, bin)."""
    sums = np.add.reduceat(table, starts, axis=1)
    return np.stack([sums[..., columns].transpose(0, 2, 1) for columns in COLUMNS_OF])


def _curve(total: Doubles) -> Doubles:
    """Level, variance and count of bins of equal steps in the root of the light: (3, BINS)."""
    n, z, v = total[:, COLUMNS_OF[0]].T
    curve = np.full((3, BINS), np.nan)
    curve[2] = 0
    filled = n > 0
    if not filled.any():
        return curve
    root = np.sqrt(np.maximum(z[filled] / n[filled] - (z[filled] / n[filled]).min(), 0))
    place = np.minimum(root * BINS / max(root.max(), 1e-30), BINS - 1).astype(int)
    count, light, variance = (np.bincount(place, a[filled], BINS) for a in (n, z, v))
    with np.errstate(invalid="ignore"):
        return np.stack([light / count, variance / count, count])


# ------------------------------------------------------------------ lines


def _lines(parts: Doubles) -> tuple[Doubles, Doubles]:
    """Slope and intercept of each filter and group: weights from the line, not from what scatters."""
    n, z, v = np.moveaxis(parts, -2, 0)
    filled = np.maximum(n, 1)
    z, v = z / filled, v / filled
    least = 0.05 * np.average(v, axis=-1, weights=n, keepdims=True) + 1e-30
    model = v.mean(axis=-1, keepdims=True)
    slope = np.zeros_like(model)
    for _ in range(ROUNDS):
        before, weight = slope, n / np.maximum(model, least) ** 2
        weight = weight / weight.sum(axis=-1, keepdims=True)
        at, level = ((weight * a).sum(axis=-1, keepdims=True) for a in (z, v))
        spread = (weight * (z - at) ** 2).sum(axis=-1, keepdims=True)
        slope = (weight * (z - at) * v).sum(axis=-1, keepdims=True) / np.maximum(spread, 1e-30)
        model = level + slope * (z - at)
        if (abs(slope - before) <= STILL * abs(slope)).all():
            break
    return slope[..., 0], (level - slope * at)[..., 0]


def _answers(parts: Doubles, known: Known, share: float) -> dict[str, Doubles]:
    """All that follows from the bins, for each group.

    From each bin ``share`` times the difference of the filters is taken: 0 is the smallest filter. What
    emitters leave in a bin goes by the square of their photons, and bends the line; taken from the slopes,
    which weigh the bins each by its own line, one movie more in fifty was refused.
    """
    slope, intercept = _lines(parts)
    b, a = slope[0], intercept[0]
    if share:
        b, a = _lines(parts[0] - share * (parts[0] - parts[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return camera(b, a, known) | {"leak": slope[0] / slope[1] - 1}


def camera(b: Doubles, a: Doubles, known: Known) -> dict[str, Doubles]:
    """A line's gain, where it crosses zero, and the offset or the read noise by the other."""
    gain = known.excess_noise / b
    found = {"gain": gain, "slope": b, "intercept": a, "zero_level": -a / b}
    found["offset"] = (known.read_noise**2 / gain**2 + pixels.ROUNDING - a) / b
    square = a - pixels.ROUNDING + known.offset * b
    told = np.isfinite(known.read_noise)
    found["variance"] = (known.read_noise / gain) ** 2 if told else np.maximum(square, 0)
    found["square"] = gain**2 * square
    return found


def _share(sums: Doubles) -> float:
    """By how much of their difference the filters are extrapolated to no leak; 0 if no light leaks.

    The light on the rings decides. The leak itself is as uncertain as the gain: where it had to be twice
    its error, half the movies kept a leak of 1 to 2 %, and one of thirty without any lost some gain.
    """
    whole = sums[:TIME].sum(axis=0)
    inner, outer = rim.emitter_light(whole)
    left = rim.emitter_light(whole - sums[:TIME][sums[:TIME].any(axis=-1)])[:, 1]
    error = math.sqrt(max(len(left) - 1, 0) * float(np.var(left))) if len(left) else math.nan
    if not outer > max(LIGHT, LIGHT_ERRORS * error):
        return 0.0
    ratio = float(np.interp(inner / outer, _RING_RATIOS, _LEAK_RATIOS))
    return ratio / (ratio - 1)


def _errors(whole: Doubles, parts: Doubles, known: Known, share: float) -> dict[str, float]:
    """Standard errors from leaving out frames, and from leaving out tiles: the larger.

    Time misses what stands still, space misses what flickers.
    """
    largest: dict[str, float] = {}
    for groups in (parts[:, :TIME], parts[:, TIME:]):
        groups = groups[:, groups[0, :, 0].any(axis=-1)]
        count = groups.shape[1]
        for name, v in _answers(whole - groups, known, share).items():
            error = STUDENT * math.sqrt((count - 1) * float(np.var(v))) if count > 1 else math.inf
            largest[name] = max(largest.get(name, 0.0), error)
    return largest


def numbers(value: Mapping[str, float], error: Mapping[str, float]) -> dict[str, float]:
    """Values and errors of a line by their names, with the root of the read noise's square."""
    names = ("gain", "slope", "intercept", "zero_level", "offset", "variance")
    found = {n: value[n] for n in names}
    found |= {f"{n}_error": error[n] for n in ("gain", "zero_level", "offset")}
    square, of_square = value["square"], error["square"]
    # Below zero only by chance: then it is no noise that can be seen.
    noise = math.sqrt(max(square, 0.0)) if math.isfinite(square) else math.nan
    of_noise = of_square / (2 * noise) if noise > 0 else math.inf
    return found | {"read_noise": noise, "read_noise_error": min(of_noise, math.sqrt(of_square))}


# ------------------------------------------------------------------ can it be told?


def _status(found: Mapping[str, float], sums: Sums, lowest: float) -> Reason:
    samples, zeros = sums.counts[2:]
    slope, leak, error = found["slope"], found["leak"], found["leak_error"]
    tests = {
        Reason.CLIPPED: zeros > MOST_ZEROS * samples,
        Reason.SLOPE_NOT_POSITIVE: not slope > 0,
        Reason.NOISE_BELOW_ROUNDING: found["intercept"] + slope * lowest < LEAST_NOISE**2,
        Reason.NOISE_NOT_WHITE: found["smoothing"]
        > max(MOST_SMOOTHING, SMOOTHING_ERRORS * found["smoothing_error"]),
        Reason.GAIN_UNCERTAIN: not found["gain_error"] <= MOST_ERROR * found["gain"]
        or not error <= MOST_LEAK_ERROR,
        Reason.PSF_TOO_NARROW: abs(leak) > MOST_LEAK,
    }
    return next((reason for reason, holds in tests.items() if holds), Reason.OK)


def _white(sums: Doubles) -> dict[str, float]:
    """What smoothing makes of the gain, and its error, of frames or of tiles."""
    whole = sums[:TIME].sum(axis=0)
    errors = [0.0]
    for groups in (sums[:TIME], sums[TIME:]):
        left = rim.smoothing(whole - groups[groups.any(axis=-1)])
        errors.append(math.sqrt(max(len(left) - 1, 0) * float(np.var(left))) if len(left) else 0.0)
    return {"smoothing": float(rim.smoothing(whole)), "smoothing_error": max(errors)}


def _quality(found: Mapping[str, float], leaks: bool, saturated: bool) -> Quality:
    words = error_word(found) | (Quality.PSF_LEAK_REMOVED if leaks else Quality(0))
    return words | (Quality.SATURATED_LIGHT_LEFT_OUT if saturated else Quality(0))


def error_word(found: Mapping[str, float]) -> Quality:
    """How large the error of the gain is."""
    error = found["gain_error"] / found["gain"]
    if error < 0.01:
        return Quality.ERROR_BELOW_1_PERCENT
    return Quality.ERROR_BELOW_2_5_PERCENT if error < 0.025 else Quality.ERROR_BELOW_5_PERCENT


# ------------------------------------------------------------------ pixels


def pixel_noise(sums: Sums, packed: Doubles) -> Doubles:
    """Level, variance, variance above the line and 1 where it is a hot pixel's: (4, y, x)."""
    level, variance = sums.maps / sums.counts[0]
    number = dict(zip(NUMBERS, packed, strict=False))
    slope = number["slope"] if number["status"] == Reason.OK else math.nan
    excess = variance - (number["intercept"] + slope * level)
    # The level of a hot pixel is noisy as well, and may be where the line says no noise.
    around = np.maximum(level, pixels.local_median(level))
    share = variance / (number["intercept"] + slope * around) - 1
    return np.stack([level, variance, excess, _alone(share, pixels.variance_error(sums.counts[1]))])


def _alone(share: Doubles, error: float) -> NDArray[np.bool_]:
    """Where the excess of variance, as a share of the line's, is that of a single pixel.

    A molecule is as wide as its PSF, and noisy light has as wide an excess.
    """
    beside = np.maximum(pixels.beside(share) - error, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(share > HOT + HOT_ERRORS * error * (1 + beside) + ALONE * beside)
