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
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.coarse import FINENESS, expected_means
from smlm_dask.kernels.selection import bands, load_band, rank

__all__ = ["LIMITS", "first_image", "truncated_means", "usable"]

Array = NDArray[Any]

LIMITS = (0.5, 1.0, 1.5)  # of the truncated means, in standard deviations above the background
FIRST_FRAMES = 25  # enough to begin with: the start hardly shows in the result
ROUNDS = (2, 2, 2)  # for each limit, from the highest down: 0.02 of the noise is left
WIDTH = 512  # pixels per tile: long enough runs of a row; 200 frames of them in float32 fit the L2 cache
UNROLL = 8
MOST_LEFT = 0.5  # share of a step that the next may seem to be
QUARTILE = 0.6745  # of a standard normal variable, from its median
NEVER = 1e30  # a sample above every limit
DIMMEST = 0.1  # of the usual brightness: a frame that is dimmer, or so much brighter, is not used
# A sample further below the camera's offset is none: of a frame that was dropped, or of a dead pixel.
BELOW, BELOW_ADU = 10.0, 10.0  # standard deviations without light, and adu
LEAST_NOISE, FEWEST_STUCK = 0.5, 10  # adu: a pixel with more must change in so many frames
LEAST_USED = 0.1  # share of the samples of a pixel
FINE = 20.0  # steps to an electron that stand for no steps
ROUNDING = 1 / 12  # variance of what rounding to whole adu adds, adu2

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


def first_image(frames: Array, gain: Any, offset: Any, variance: Any) -> NDArray[np.float32]:
    """Lower quartile of a few frames, and what the median of noise is above it: ``(y, x)``, adu.

    The median itself is light of an emitter where one is on in half of the frames, and a truncated mean
    that begins there may stay there.
    """
    few, shape = frames[:: max(1, len(frames) // FIRST_FRAMES)], frames.shape[1:]
    gain, offset, variance = (_map(m, shape) for m in (gain, offset, variance))
    quartile = rank(_raised(few, offset, variance), len(few) // 4).astype(np.float32)
    level = quartile
    for _ in range(3):
        with np.errstate(invalid="ignore"):  # a camera of which nothing is known
            light = np.maximum(level - offset, 0)
            level = quartile + np.float32(QUARTILE) * np.sqrt(light / gain + variance + ROUNDING)
    return np.asarray(level, np.float32)


def usable(brightness: Array) -> NDArray[np.bool_]:
    """Whether the light of each frame is near enough to what is usual."""
    middle = np.median(brightness) if len(brightness) else 1.0
    used = (brightness > DIMMEST * middle) & (brightness * DIMMEST < middle)
    return np.asarray(used if used.any() else np.ones_like(used))


def _raised(frames: Array, offset: Array, variance: Array) -> Array:
    """Frames in which samples that are none stand above all others."""
    with np.errstate(invalid="ignore"):
        none = frames < offset - _depth(variance)
    if not none.any():
        return frames
    return np.where(none, np.float32(NEVER) if frames.dtype.kind == "f" else _top(frames), frames)


def _depth(variance: Array) -> Array:
    return BELOW * np.sqrt(variance) + BELOW_ADU


def _top(frames: Array) -> Any:
    """The largest sample that there can be: the light was brighter, nobody knows how much."""
    whole = frames.dtype.kind in "iu"
    return frames.dtype.type(np.iinfo(frames.dtype).max if whole else np.inf)


def truncated_means(
    frames: Array, brightness: Array, start: Array, gain: Any, offset: Any, variance: Any
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

    Returns
    -------
    ndarray of float32
        Row 0: light at a limit of one standard deviation, adu. Row 1: what the light rises from the
        lowest limit to the highest, adu. Row 2: share of the frames that are brighter than
        background. NaN where a sample or a number is not finite, a pixel never changes, or few samples
        are any: frames much dimmer or brighter than is usual, samples far below the offset or at the top
        of their type are left out.
    """
    shape = frames.shape[1:]
    out = np.full((3, *shape), np.nan, np.float32)
    maps = [_map(m, shape) for m in (gain, offset, variance, start)]
    used = usable(brightness)
    mean = float(np.mean(brightness[used])) if len(frames) else 1.0
    with np.errstate(divide="ignore"):
        inverse = np.where(used, 1 / (brightness / mean), 0).astype(np.float32)
    known = np.isfinite(maps[0]) & np.isfinite(maps[2]) & (maps[0] > 0)
    maps[3] = np.where(known, maps[1] + (maps[3] - maps[1]) * np.float32(mean), np.nan)
    band, table = np.empty((0, 0)), _table(frames, gain, offset, variance)
    for rows, columns in _parts(frames):
        part = frames[:, rows, columns]
        # Frames in one piece of memory are read where they lie.
        whole = part.flags.c_contiguous and part.dtype.isnative
        band = part.reshape(len(part), -1) if whole else load_band(part, band)
        here = out[:, rows, columns]
        found = np.empty((3, band.shape[1]), np.float32)
        own = [_flat(m[rows, columns], band.shape[1]) for m in maps]
        least = _flat(maps[1][rows, columns] - _depth(maps[2][rows, columns]), band.shape[1])
        _of_band(band, inverse, [*own, least.astype(np.float32)], table, found)
        here[...] = found[:, : part[0].size].reshape(here.shape)
    return out


def _parts(frames: Array) -> Iterable[tuple[slice, slice]]:
    if frames.size == 0:
        return ()
    return [(slice(None), slice(None))] if frames.flags.c_contiguous else bands(frames)


def _map(values: Any, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(np.asarray(values, np.float32), shape)


def _flat(values: Array, pixels: int) -> Array:
    flat = np.ones(pixels, np.float32)
    flat[: values.size] = values.reshape(-1)
    return flat


def _table(frames: Array, gain: Any, offset: Any, variance: Any) -> NDArray[np.float32]:
    """What is to be expected of one camera for all pixels, in whole adu; else nothing is tabulated."""
    if frames.dtype.kind == "f" or any(np.ndim(m) for m in (gain, offset, variance)):
        return np.empty((3, 2, 0), np.float32)
    phase = float(offset) - np.rint(float(offset))
    return expected_means(float(gain), float(variance), float(phase), LIMITS)


def _of_band(band: Array, inverse: Array, own: list[Array], table: Array, found: Array) -> None:
    """Real numbers have no step of one adu: they are put into small steps of an electron."""
    gain, offset, variance, start, least = own
    start[_stuck(band, offset, variance, start, gain)] = np.nan
    if band.dtype.char in "bBhH":
        most, camera = np.float32(_top(band)), (gain, offset, variance)
        return _band_means(band, inverse, *camera, start, least, most, table, found)
    scale = FINE * gain if table.shape[-1] == 0 else np.ones_like(gain)
    band = band.astype(np.float32) * scale
    start = np.where(np.isfinite(band).all(axis=0), start, np.nan).astype(np.float32)
    camera = gain / scale, offset * scale, variance * scale**2
    start, least, most = start * scale, least * scale, np.float32(np.inf)
    _band_means(band, inverse, *camera, start, least, most, table, found)
    found[:2] /= scale
    return None


def _stuck(
    band: Array, offset: Array, variance: Array, start: Array, gain: Array
) -> NDArray[np.int64]:
    """Pixels that never change, though their noise is above half an adu."""
    if len(band) < FEWEST_STUCK:
        return np.empty(0, np.int64)
    first, middle, last = (band[len(band) * i // 2 - (i > 1)] for i in range(3))
    with np.errstate(invalid="ignore"):
        noisy = np.maximum(start - offset, 0) / gain + variance > LEAST_NOISE**2
        few = np.flatnonzero((first == middle) & (first == last) & noisy)
    return few[(band[:, few] == first[few]).all(axis=0)]


@njit(nogil=True, cache=True, error_model="numpy")
def _band_means(
    band: Array,
    inverse: Array,
    gain: Array,
    offset: Array,
    variance: Array,
    start: Array,
    least: Array,
    most: Any,
    table: Array,
    out: Array,
) -> None:
    frames, pixels = band.shape
    used = np.empty(WIDTH, np.float32)
    tile = np.empty((-(-frames // UNROLL), UNROLL, WIDTH), np.float32)
    levels, counts = np.empty((3, WIDTH), np.float32), np.empty((3, WIDTH), np.float32)
    base = np.empty(WIDTH, np.float32)
    for first in range(0, pixels, WIDTH):
        part = slice(first, min(first + WIDTH, pixels))
        _cut(band, part, inverse, offset, start, least, most, base, tile, used)
        levels[:] = 0
        own = gain[part], variance[part]
        before = 2
        for c in (2, 1, 0):
            levels[c] = levels[before]
            _approach(tile, c, base, own[0], own[1], table[c], levels[c], counts[c])
            before = c
        _write(levels, base, own[0], own[1], table[1], counts, frames, used, out[:, part])


@njit(nogil=True, cache=True, error_model="numpy")
def _approach(
    tile: Array,
    c: int,
    base: Array,
    gain: Array,
    variance: Array,
    table: Array,
    level: Array,
    count: Array,
) -> None:
    """Improve the background of each pixel of a tile, from limit `c`."""
    total, limit = np.empty(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    noise, before = np.empty(gain.size, np.float32), np.zeros(gain.size, np.float32)
    share, mean = np.empty(gain.size, np.float32), np.empty(gain.size, np.float32)
    for _ in range(ROUNDS[c]):
        light = base[: gain.size] + level[: gain.size]
        _noise(light, gain, variance, noise)
        _limit(c, level, noise, limit)
        _count(tile, limit, count, total)
        _expect(c, light, gain, noise, table, share, mean)
        _step(c, noise, mean, count, total, before, level)


@njit(nogil=True, cache=True, error_model="numpy")
def _cut(
    band: Array,
    part: slice,
    inverse: Array,
    offset: Array,
    start: Array,
    least: Array,
    most: Any,
    base: Array,
    tile: Array,
    used: Array,
) -> None:
    """Lower ends of the steps of a tile's samples, less where its light starts from; how many are used."""
    low, half, none = offset[part].copy(), np.float32(0.5), np.float32(NEVER)
    floor, one, zero = least[part].copy(), np.float32(1), np.float32(0)
    begin = start[part] - low
    used[:] = 0
    tile[-1] = NEVER  # fills the last step
    for t in range(band.shape[0]):
        source, scale = band[t, part], inverse[t]
        target = tile[t // UNROLL, t % UNROLL]
        for j in range(source.size if scale > zero else 0):
            x = np.float32(source[j])
            good = (x >= floor[j]) & (x < most)
            target[j] = (x - low[j]) * scale - (begin[j] + half) if good else none
            used[j] += one if good else zero
        if not scale > zero:
            target[:] = none
    base[: begin.size] = begin


@njit(nogil=True, cache=True, error_model="numpy")
def _noise(light: Array, gain: Array, variance: Array, noise: Array) -> None:
    """Write to `noise` the standard deviation of one sample of each pixel."""
    zero, rounding = np.float32(0), np.float32(ROUNDING)
    for j in range(gain.size):
        b = max(zero, light[j])
        noise[j] = np.sqrt(b / gain[j] + variance[j] + rounding)


@njit(nogil=True, cache=True, error_model="numpy")
def _limit(c: int, level: Array, noise: Array, limit: Array) -> None:
    """Write to `limit` the background and ``c`` times its noise."""
    times = np.float32(LIMITS[c])
    for j in range(noise.size):
        limit[j] = level[j] + times * noise[j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _count(tile: Array, limit: Array, count: Array, total: Array) -> None:
    """Number and sum of what lies below the limit; of the sample that straddles it, a part.

    A sample is uniform on its step, whose lower end is given. The mean of its part ``q`` below the limit
    is ``q / 2`` above that.
    """
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    own, numbers, amounts = limit.copy(), np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    for b in range(tile.shape[0]):
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
    c: int, light: Array, gain: Array, noise: Array, table: Array, share: Array, mean: Array
) -> None:
    """Share of background below its limit and mean there: from the table, else by the skewness."""
    z, density, normal = np.float32(LIMITS[c]), np.float32(_DENSITY[c]), np.float32(_SHARE[c])
    zero, one, six = np.float32(0), np.float32(1), np.float32(6)
    bend, tilt = (z * z - one) * density / six, z * z * z / six
    for j in range(gain.size):
        s, b = noise[j], max(zero, light[j])
        skewness = b / (gain[j] * gain[j] * s * s * s)
        share[j] = normal - skewness * bend
        mean[j] = -density * (one + skewness * tilt) / share[j]
    last = table.shape[1] - 1
    for j in range(gain.size if last > 0 else 0):
        place = np.sqrt(max(zero, light[j]) * gain[j]) * np.float32(FINENESS)
        if place < last:
            k = int(place)
            part = place - np.float32(k)
            share[j] = table[0, k] + part * (table[0, k + 1] - table[0, k])
            mean[j] = table[1, k] + part * (table[1, k + 1] - table[1, k])


@njit(nogil=True, cache=True, error_model="numpy")
def _step(
    c: int, noise: Array, mean: Array, count: Array, total: Array, before: Array, level: Array
) -> None:
    """One step of each background towards the one that has the truncated mean that was found.

    What is left of a step in the next is known from the one `before`: steps add up like powers of that
    share, and their sum is taken at once. Without it twice as many rounds were needed.
    """
    zero, half, one, two = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
    most, speed = np.float32(MOST_LEFT), np.float32(1 / (1 - DAMPING[c]))
    for j in range(noise.size):
        s = noise[j]
        known = count[j] >= half
        number = count[j] if known else half
        step = (total[j] / number - level[j] - s * mean[j]) * speed
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
    base: Array,
    gain: Array,
    variance: Array,
    table: Array,
    counts: Array,
    frames: int,
    used: Array,
    out: Array,
) -> None:
    noise, share = np.empty(gain.size, np.float32), np.empty(gain.size, np.float32)
    light, mean = base[: gain.size] + levels[1, : gain.size], np.empty(gain.size, np.float32)
    _noise(light, gain, variance, noise)
    _expect(1, light, gain, noise, table, share, mean)
    for j in range(gain.size):
        out[0, j] = light[j]
        out[1, j] = levels[2, j] - levels[0, j]
        out[2, j] = 1 - counts[1, j] / (used[j] * share[j]) + 0 * light[j]
        if used[j] < np.float32(LEAST_USED) * frames:
            out[:, j] = np.nan
