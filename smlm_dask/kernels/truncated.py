"""Background from the darker part of a window's samples: one-sided truncated means.

Light of emitters only adds. Of the samples of a pixel, those below ``b + c s`` (``b`` the background, ``s``
its noise) are mostly background; their mean is below ``b`` by what the camera's noise model says, and
the ``b`` that is consistent with its own truncated mean is the estimate. Emitters that are dim or far
away leave samples below the limit too; the less, the lower ``c``. The slope of ``b`` over ``c``, averaged
over neighbouring pixels, tells how many, and is taken off.

All levels here are light, in adu above the camera's offset, of a frame of mean brightness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.coarse import (
    CALM_ELECTRONS,
    CALM_NODE,
    FINENESS,
    STEPS,
    expected_means,
    means_of_electrons,
    node_of,
)
from smlm_dask.kernels.pixels import flat_map, least_sample
from smlm_dask.kernels.selection import bands, load_band

__all__ = ["LEAST_SLOPE", "LIMITS", "truncated_means", "usable"]

Array = NDArray[Any]

LIMITS = (0.5, 1.0, 1.5)  # of the truncated means, in standard deviations above the background
# For each limit, from the highest down, rounds by how many frames they leave out: 0.02 of the noise is left.
ROUNDS = ((2, 1), (1, 1), (2, 1))
WIDTH = 512  # pixels per tile: long enough runs of a row; 200 frames of them in float32 fit the L2 cache
UNROLL = 8
AT_ONCE = 4  # frames, of which the extremes are taken
MOST_LEFT = 0.5  # share of a step that the next may seem to be
LEAST_SLOPE = 0.3  # of an estimate over its light, where its own noise follows it
NEVER = 1e30  # a sample above every limit
DIMMEST = 0.1  # of the usual brightness: a frame that is dimmer, or so much brighter, is not used
LEAST_NOISE, FEWEST_STUCK = 0.5, 10  # adu: a pixel with more must change in so many frames
LEAST_USED = 0.1  # share of the samples of a pixel
FINE = 20.0  # steps to an electron that stand for no steps
SEEN = 0.5  # adu2: with less camera noise it shows where the steps of the samples stand

# Of a standard normal variable: density and share below each limit.
_DENSITY = tuple(math.exp(-c * c / 2) / math.sqrt(2 * math.pi) for c in LIMITS)
_SHARE = tuple((1 + math.erf(c / math.sqrt(2))) / 2 for c in LIMITS)
_RATIO = [d / p for d, p in zip(_DENSITY, _SHARE, strict=True)]
# Share of a small error of the limit that stays in the truncated mean.
DAMPING = np.array([r * (c + r) for c, r in zip(LIMITS, _RATIO, strict=True)])


def _slope(k: int) -> float:
    """How far a flat density of contamination, one a sample and unit of noise, raises each estimate."""
    c, density, share = LIMITS[k], _DENSITY[k], _SHARE[k]
    mass, moment = c * share + density, ((c * c - 1) * share + c * density) / 2
    return (moment + _RATIO[k] * mass) / (share * (1 - float(DAMPING[k])))


SLOPES = np.array([_slope(k) for k in range(3)])
# How far the noise that is taken raises each estimate.
LEVERS = np.array([(d * c + r) / (1 - d) for c, r, d in zip(LIMITS, _RATIO, DAMPING, strict=True)])
# Variance of each over that of a mean of as many samples; of two of them together, that of the higher limit.
VARIANCES = 1 / (np.array(_SHARE) * (1 - DAMPING))
# How far the estimates of few samples are off, over their number: samples enter one by one as the limit
# rises, and each that does raises the mean, and so the limit.
BENDS = -np.array(_RATIO) * VARIANCES / 2


class _Noise(NamedTuple):
    """Of pixels: shot noise (adu2) of one adu of light, other noise, electrons, place in the table."""

    shot: Array
    floor: Array
    gain: Array
    node: Array
    tail: Any  # third moment of the light over ``shot^2``, for all pixels


def usable(brightness: Array) -> NDArray[np.bool_]:
    """Whether the light of each frame is near enough to what is usual."""
    middle = np.median(brightness) if len(brightness) else 1.0
    used = (brightness > DIMMEST * middle) & (brightness * DIMMEST < middle)
    return np.asarray(used if used.any() else np.ones_like(used))


def _top(dtype: np.dtype[Any]) -> float:
    """The largest sample that there can be: the light was brighter, nobody knows how much."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else np.inf


def truncated_means(
    frames: Array,
    brightness: Array,
    start: Array,
    gain: Any,
    offset: Any,
    variance: Any,
    excess: Any = 1.0,
) -> NDArray[np.float32]:
    """Truncated means of every pixel of a window: ``(frame, y, x) -> (3, y, x)``.

    Parameters
    ----------
    frames
        Samples in adu, shape (frame, y, x); whole numbers are taken as uniform on a step of one adu.
    brightness : (frame,)
        Brightness of each frame relative to `start`.
    start : (y, x)
        Where to begin, in adu with the offset.
    gain, offset, variance : float or (y, x)
        Electrons for each adu; level (adu) and noise variance (adu2) without light.
    excess : float
        Excess noise: variance of the light over that of shot noise alone, 2 behind a multiplying
        register.

    Returns
    -------
    ndarray of float32
        Row 0: light at a limit of one standard deviation, adu. Row 1: what the light rises from the
        lowest limit to the highest, adu, at the noise of row 0. Row 2: share of the frames that are
        brighter than background. NaN where a sample or a number is not finite, a pixel never changes, or
        few samples are any: frames much dimmer or brighter than is usual, samples far below the offset
        or at the top of their type are left out.
    """
    out = np.full((3, *frames.shape[1:]), np.nan, np.float32)
    if frames.size == 0:
        return out
    table = _table(frames, gain, offset, variance, float(excess))
    used = usable(brightness)
    mean = float(np.mean(brightness[used]))
    with np.errstate(divide="ignore"):
        inverse = np.where(used, mean / brightness, 0).astype(np.float32)
    maps = [flat_map(m, start.shape).reshape(start.shape) for m in (gain, offset, variance, start)]
    maps.append(least_sample(maps[1], maps[2]))
    known = np.isfinite(maps[0]) & np.isfinite(maps[2]) & (maps[0] > 0)
    maps[3] = np.where(known, maps[1] + (maps[3] - maps[1]) * np.float32(mean), np.nan)
    band = np.empty((0, 0))
    for rows, columns in _parts(frames):
        part, here = frames[:, rows, columns], out[:, rows, columns]
        # Frames in one piece of memory are read where they lie.
        whole = part.flags.c_contiguous and part.dtype.isnative
        band = part.reshape(len(part), -1) if whole else load_band(part, band)
        own = [_padded(m[rows, columns], band.shape[1]) for m in maps]
        found = _of_band(band, inverse, own, float(excess), table)
        here[...] = found[:, : part[0].size].reshape(here.shape)
    return out


def _parts(frames: Array) -> Iterable[tuple[slice, slice]]:
    return [(slice(None), slice(None))] if frames.flags.c_contiguous else bands(frames)


def _padded(values: Array, pixels: int) -> Array:
    flat = values.reshape(-1)
    return flat if flat.size == pixels else np.append(flat, np.ones(pixels - flat.size, flat.dtype))


def _table(
    frames: Array, gain: Any, offset: Any, variance: Any, excess: float
) -> NDArray[np.float32]:
    """What is to be expected of one camera for all pixels in few adu, and of any other in electrons."""
    one = not any(np.ndim(m) for m in (gain, offset, variance))
    if frames.dtype.kind == "f" or excess != 1 or not one or float(variance) > SEEN:
        return means_of_electrons(excess, LIMITS)
    phase = float(offset) - np.rint(float(offset))
    return expected_means(float(gain), float(variance), float(phase), LIMITS)


def _of_band(
    band: Array, inverse: Array, own: list[Array], excess: float, table: Array
) -> NDArray[np.float32]:
    """Real numbers have no step of one adu: they are put into small steps of an electron."""
    gain, offset, variance, start, least = own
    start[_stuck(band, offset, variance, start, gain)] = np.nan
    scale: Any = np.float32(1)
    most = np.float32(_top(band.dtype))
    if band.dtype.kind == "f":
        scale = FINE * gain
        gain, offset, variance, start, least = (
            1 / FINE + 0 * gain,
            offset * scale,
            variance * scale**2,
            start * scale,
            least * scale,
        )
    if band.dtype.char not in "bBhH":
        band = band.astype(np.float32) * scale
        start = np.where(np.isfinite(band).all(axis=0), start, np.nan).astype(np.float32)
    found = np.empty((3, band.shape[1]), np.float32)
    noise = _noise_of(gain, variance, excess, table)
    _band_means(band, inverse, offset, start, least, most, noise, table, found)
    found[:2] /= scale
    return found


def _noise_of(gain: Array, variance: Array, excess: float, table: Array) -> _Noise:
    floor = np.maximum(variance, 0) + np.float32(STEPS)
    one = table.shape[2] == 1
    node = np.zeros_like(gain) if one else node_of(np.sqrt(floor) * gain)
    return _Noise(
        (np.float32(excess) / gain), floor, gain, node, np.float32((2 * excess - 1) / excess)
    )


def _stuck(
    band: Array, offset: Array, variance: Array, start: Array, gain: Array
) -> NDArray[np.int64]:
    """Pixels that never change, though their noise is above half an adu."""
    if len(band) < FEWEST_STUCK:
        return np.empty(0, np.int64)
    first, middle, last = (band[len(band) * i // 2 - (i > 1)] for i in range(3))
    few = np.flatnonzero((first == middle) & (first == last))
    with np.errstate(invalid="ignore"):
        noise2 = np.maximum(start[few] - offset[few], 0) / gain[few] + variance[few]
        few = few[noise2 > LEAST_NOISE**2]
    return few[(band[:, few] == first[few]).all(axis=0)]


@njit(nogil=True, cache=True, error_model="numpy")
def _band_means(
    band: Array,
    inverse: Array,
    offset: Array,
    start: Array,
    least: Array,
    most: Any,
    noise: _Noise,
    table: Array,
    out: Array,
) -> None:
    frames, pixels = band.shape
    used = np.empty(WIDTH, np.float32)
    tile = np.empty((-(-frames // UNROLL), UNROLL, WIDTH), np.float32)
    levels, counts = np.empty((3, WIDTH), np.float32), np.empty((3, WIDTH), np.float32)
    base = np.empty(WIDTH, np.float32)
    # Frames that are left out, and those there are not, stand for one that is used.
    looked_at = np.full(tile.shape[0] * UNROLL, np.argmax(inverse != 0))
    looked_at[:frames] = np.where(inverse != 0, np.arange(frames), looked_at[:frames])
    for first in range(0, pixels, WIDTH):
        part = slice(first, min(first + WIDTH, pixels))
        ends = np.empty((2, part.stop - first), band.dtype)
        _cut(band, part, inverse, looked_at, offset, start, base, tile, ends)
        _leave_out(band, part, inverse, least, most, ends, tile, used)
        levels[:] = 0
        own = _Noise(
            noise.shot[part], noise.floor[part], noise.gain[part], noise.node[part], noise.tail
        )
        before, last = 2, 0 if table.shape[2] == 1 else 1
        for c in (2, 1, 0):
            levels[c] = levels[before]
            told = levels[c if c else last]
            _approach(tile, c, base, own, table[c], told, levels[c], counts[c])
            before = c
        _write(levels, last, base, own, table[1], counts, frames, used, out[:, part])


@njit(nogil=True, cache=True, error_model="numpy")
def _approach(
    tile: Array,
    c: int,
    base: Array,
    own: _Noise,
    table: Array,
    told: Array,
    level: Array,
    count: Array,
) -> None:
    """Improve the background of each pixel of a tile, from limit `c`, by the noise at the level `told`.

    That is its own, or, for the lowest limit, that of the one before: with its own, noise that is too
    small by chance draws it down, and there is no end to that below two electrons.
    """
    pixels = own.shot.size
    total, limit = np.empty(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    noise, before = np.empty(pixels, np.float32), np.zeros(pixels, np.float32)
    share, mean = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    follows = table.shape[1] == 1
    # Where single steps show, means rise in steps, too, and are slower to come to rest.
    for i in range(3 if follows else 2):
        every = ROUNDS[c][min(i, 1)]
        if c or not i or follows:
            light = base[:pixels] + told[:pixels]
            _noise(light, own, noise)
            _expect(c, light, own, noise, table, share, mean)
        _limit(c, level, noise, limit)
        _count(tile, every, limit, count, total)
        _step(c, own.shot, noise, mean, count, total, before, level)
        if every > 1:  # of other samples: what is left of it is not known
            before[:] = 0


@njit(nogil=True, cache=True, error_model="numpy")
def _cut(
    band: Array,
    part: slice,
    inverse: Array,
    looked_at: Array,
    offset: Array,
    start: Array,
    base: Array,
    tile: Array,
    ends: Array,
) -> None:
    """Lower ends of the steps of a tile's samples, less where its light starts from.

    The extremes of its samples go to `ends` while they are near: a second reading of frames of
    256 x 256 pixels cost twice as much.
    """
    low, half = offset[part].copy(), np.float32(0.5)
    begin = start[part] - low
    base[: begin.size] = begin
    ends[:] = band[looked_at[0], part]
    for b in range(tile.shape[0]):
        for i in range(UNROLL):
            t, target = b * UNROLL + i, tile[b, i]
            scale = inverse[t] if t < band.shape[0] else np.float32(0)
            if scale == 0:
                target[:] = NEVER  # a frame without light, or what fills the last step
                continue
            source = band[t, part]
            for j in range(source.size):
                target[j] = (np.float32(source[j]) - low[j]) * scale - (begin[j] + half)
        for i in range(b * UNROLL, (b + 1) * UNROLL, AT_ONCE):
            _extremes(band, looked_at[i : i + AT_ONCE], part, ends)


@njit(nogil=True, cache=True, error_model="numpy")
def _extremes(band: Array, frames: Array, part: slice, ends: Array) -> None:
    a, b, c, d = frames[0], frames[1], frames[2], frames[3]
    first, second, third, fourth = band[a, part], band[b, part], band[c, part], band[d, part]
    for j in range(first.size):
        low, high = ends[0, j], ends[1, j]
        for x in (first[j], second[j], third[j], fourth[j]):
            low, high = min(low, x), max(high, x)
        ends[0, j], ends[1, j] = low, high


@njit(nogil=True, cache=True, error_model="numpy")
def _leave_out(
    band: Array,
    part: slice,
    inverse: Array,
    least: Array,
    most: Any,
    ends: Array,
    tile: Array,
    used: Array,
) -> None:
    """Put samples that are none out of reach, and count the others.

    Few pixels have any: their extremes tell.
    """
    used[:] = np.sum(inverse != 0)
    for j in range(part.stop - part.start):
        floor = least[part.start + j]
        if np.float32(ends[0, j]) >= floor and np.float32(ends[1, j]) < most:
            continue
        for t in range(band.shape[0]):
            x = np.float32(band[t, part.start + j])
            if inverse[t] != 0 and not (x >= floor and x < most):
                tile[t // UNROLL, t % UNROLL, j] = NEVER
                used[j] -= np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _noise(light: Array, own: _Noise, noise: Array) -> None:
    """Write to `noise` the standard deviation of one sample of each pixel."""
    zero = np.float32(0)
    for j in range(light.size):
        b = max(zero, light[j])
        noise[j] = np.sqrt(b * own.shot[j] + own.floor[j])


@njit(nogil=True, cache=True, error_model="numpy")
def _limit(c: int, level: Array, noise: Array, limit: Array) -> None:
    """Write to `limit` the background and ``c`` times its noise."""
    times = np.float32(LIMITS[c])
    for j in range(noise.size):
        limit[j] = level[j] + times * noise[j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _count(tile: Array, every: int, limit: Array, count: Array, total: Array) -> None:
    """Number and sum of what lies below the limit; of the sample that straddles it, a part.

    A sample is uniform on its step, whose lower end is given. The mean of its part ``q`` below the limit
    is ``q / 2`` above that.
    """
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    own, numbers, amounts = limit.copy(), np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    for b in range(0, tile.shape[0], every):
        for j in range(WIDTH):
            number, amount, top = numbers[j], amounts[j], own[j]
            for i in range(UNROLL):
                x = tile[b, i, j]
                q = top - x
                q = max(zero, q)
                q = min(one, q)
                number += q
                amount += q * (x + half * q)
            numbers[j], amounts[j] = number, amount
    count[:] = numbers
    total[:] = amounts


@njit(nogil=True, cache=True, error_model="numpy")
def _expect(
    c: int, light: Array, own: _Noise, noise: Array, table: Array, share: Array, mean: Array
) -> None:
    """Share of background below its limit and mean there: from the table, else by the skewness."""
    z, density, normal = np.float32(LIMITS[c]), np.float32(_DENSITY[c]), np.float32(_SHARE[c])
    zero, one, six = np.float32(0), np.float32(1), np.float32(6)
    bend, tilt = (z * z - one) * density / six, z * z * z / six
    for j in range(light.size):
        s, b = noise[j], max(zero, light[j])
        skewness = own.tail * b * own.shot[j] * own.shot[j] / (s * s * s)
        share[j] = normal - skewness * bend
        mean[j] = -density * (one + skewness * tilt) / share[j]
    most, full = np.float32(table.shape[1] - 1), (max(table.shape[2] - 1, 0) / FINENESS) ** 2
    few = np.float32(CALM_ELECTRONS if own.tail == one else full)
    for j in range(light.size):
        electrons, node = max(zero, light[j]) * own.gain[j], own.node[j]
        bound = np.float32(full) if node < np.float32(CALM_NODE) else few
        if node <= most and electrons < bound:
            place = np.sqrt(electrons) * np.float32(FINENESS)
            share[j], mean[j] = _between(table, node, place)


@njit(nogil=True, cache=True, error_model="numpy")
def _between(table: Array, node: Any, place: Any) -> tuple[Any, Any]:
    """Both entries of the table at a place between its nodes and columns."""
    i, k = int(node), min(int(place), table.shape[2] - 2)
    after = min(i + 1, table.shape[1] - 1)
    down, right = node - np.float32(i), place - np.float32(k)
    up, left = np.float32(1) - down, np.float32(1) - right
    share, mean = table[0], table[1]
    return (
        up * (left * share[i, k] + right * share[i, k + 1])
        + down * (left * share[after, k] + right * share[after, k + 1]),
        up * (left * mean[i, k] + right * mean[i, k + 1])
        + down * (left * mean[after, k] + right * mean[after, k + 1]),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _step(
    c: int,
    shot: Array,
    noise: Array,
    mean: Array,
    count: Array,
    total: Array,
    before: Array,
    level: Array,
) -> None:
    """One step of each background towards the one that has the truncated mean that was found.

    What is left of a step in the next is known from the one `before`: steps add up like powers of that
    share, and their sum is taken at once. Without it twice as many rounds were needed. Noise that grows
    with the background makes steps longer, by a fifth at one electron.
    """
    zero, half, one, two = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
    most, speed = np.float32(MOST_LEFT), np.float32(1 / (1 - DAMPING[c]))
    lever, least = np.float32(LEVERS[c] / 2 if c else 0.0), np.float32(LEAST_SLOPE)
    for j in range(noise.size):
        s = noise[j]
        known = count[j] >= half
        number = count[j] if known else half
        slope = max(least, one - lever * shot[j] / s)
        step = (total[j] / number - level[j] - s * mean[j]) * speed / slope
        step = min(two * s, step)
        step = max(-two * s, step)
        left = step / before[j] if before[j] != zero else zero
        left = min(most, left)
        left = max(-most, left)
        before[j] = step
        level[j] += step / (one - left) if known else s


@njit(nogil=True, cache=True, error_model="numpy")
def _write(
    levels: Array,
    last: int,
    base: Array,
    own: _Noise,
    table: Array,
    counts: Array,
    frames: int,
    used: Array,
    out: Array,
) -> None:
    """Write the results of a tile; `last` is the level whose noise the lowest limit was set by."""
    pixels = own.shot.size
    noise, share = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    light, mean = base[:pixels] + levels[1, :pixels], np.empty(pixels, np.float32)
    low, high = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    _noise(light, own, noise)
    _expect(1, light, own, noise, table, share, mean)
    _noise(base[:pixels] + levels[last, :pixels], own, low)
    _noise(base[:pixels] + levels[2, :pixels], own, high)
    down, up = np.float32(LEVERS[0]), np.float32(LEVERS[2])
    fewest, one, zero = np.float32(LEAST_USED * frames), np.float32(1), np.float32(0)
    bottom, top, count = levels[0], levels[2], counts[1]
    first, rise, rest = out[0], out[1], out[2]
    for j in range(pixels):
        first[j] = light[j] if used[j] >= fewest else np.float32(np.nan)
    for j in range(pixels):
        s = noise[j]
        step = (top[j] + up * (s - high[j])) - (bottom[j] + down * (s - low[j]))
        rise[j] = step + zero * first[j]
    for j in range(pixels):
        rest[j] = one - count[j] / (used[j] * share[j]) + zero * first[j]
