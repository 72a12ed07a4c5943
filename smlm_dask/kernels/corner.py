"""Noise against light from pairs of frames, in the corner of Fourier space.

Where the image of a point is band-limited the highest spatial frequencies hold noise alone. A filter of
them on the difference of two frames, squared, is the variance of the noise there, and the mean of the
two frames under the squares of the same filter is the light that made it:
``E[variance] = E[mean] / gain + constant`` for any image, with emitters or without. The two share
their noise, so windows are sorted by a third number that shares it with neither: the light on the rows
just beyond them.

Neighbouring windows say nearly the same: every second row and column lose 0.2 % of the precision, every
third 7 % and cost a ninth. All arithmetic on a window is float32 in a fixed order, sums are float64
in the order of the frames: no chunking can show.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels import pixels
from smlm_dask.kernels.selection import median

__all__ = ["COLUMNS", "GROUPS", "KEYS", "TAPS", "TIME", "Sums", "add", "corner_sums"]

Frames: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]

# Rounded smallest eigenvectors of the autocorrelation matrix of a Gaussian PSF of 1 pixel; sums are zero.
TAPS = {
    5: (5, -13, 16, -13, 5),
    7: (7, -20, 32, -38, 32, -20, 7),
    9: (10, -30, 54, -72, 76, -72, 54, -30, 10),
}
COLUMNS = ("n", "saturated", "z5", "v5", "z7", "v7", "n9", "z9", "v9")
# A key is ZERO + FINE sqrt(light beyond the window above the frame's median, adu), its sign kept.
KEYS, ZERO, FINE = 512, 128, 4
REACH, EDGE = 4, 5  # of the widest filter; rows and columns at the border without a centre
TIME, TILES = 20, 4  # groups of frames; tiles along each axis
SPACE = TILES * TILES
GROUPS = TIME + SPACE
NOISE = 64  # a window with this many times the variance of its light is no noise: 8 sigma
LINE_PAIRS, LINE_ROWS = (
    4,
    16,
)  # pairs, and rows of each, that the first guess of the line is made from
CHI2_MEDIAN = 0.4549  # median of the square of a standard normal number
BAD, SATURATED = 1, 2
# Emitters may light a hundredth of the windows: the brightest have parts of their own.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)

_MIDDLE = np.zeros((3, 5), np.float32)  # taps from the middle outwards
for _f, _taps in enumerate(TAPS.values()):
    _MIDDLE[_f, : len(_taps) // 2 + 1] = _taps[len(_taps) // 2 :]
_SQUARES = _MIDDLE**2
_NORM = (0.5 / (2 * _SQUARES.sum(axis=1) - _SQUARES[:, 0]).astype("f8") ** 2).astype(np.float32)
_BOX = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], np.float32)


class Limits(NamedTuple):
    """What noise does not exceed: ``max(intercept + slope light, floor)``, adu2."""

    intercept: np.float32
    slope: np.float32
    floor: np.float32


NO_LIMITS = Limits(np.float32(0), np.float32(0), np.float32(np.inf))


class Sums(NamedTuple):
    """What windows of frames add up to.

    Attributes
    ----------
    table : (GROUPS, KEYS, 9)
        For each group of frames, then for each tile, and for each key the sums named in ``COLUMNS``;
        the last three by the key of the widest filter.
    maps : (2, y, x)
        Level and variance of each pixel, adu and adu2.
    counts : (4,)
        Windows of frames, pairs in the maps, samples of pixels that work, those of them that are zero.
    """

    table: Doubles
    maps: Doubles
    counts: Doubles


def add(before: Sums, after: Sums) -> Sums:
    """Sums of two parts of a movie."""
    return Sums(*(a + b for a, b in zip(before, after, strict=True)))


def corner_sums(
    frames: Frames, step: int, stride: int, group: Indices, map_pairs: int = 16
) -> Sums:
    """All that a window of frames tells of its noise.

    Parameters
    ----------
    frames : (frame, y, x)
        Whole frames of raw samples, adu.
    step : int
        Pairs are frames ``i`` and ``i + 1`` for every ``i`` of ``range(0, len(frames) - 1, step)``.
    stride : int
        Distance of the centres of windows, pixels.
    group : (pair,)
        Group of frames of each pair, from 0 to ``TIME - 1`` and never falling.
    map_pairs : int
        Pairs that the maps are made from, at most.
    """
    first = np.arange(0, len(frames) - 1, step)
    low, high = pixels.extremes(frames)
    live = low < high  # no constant frames, and none with a NaN or an infinity
    live &= np.isfinite(high - low)
    some = first[:: max(1, len(first) // map_pairs)][:map_pairs]
    maps = _maps(frames, some)
    bad = pixels.bad_pixels(maps[0], maps[1], len(some))
    table = np.zeros((GROUPS, KEYS, len(COLUMNS)))
    if len(first) and min(frames.shape[1:]) > 2 * EDGE:
        skip = _Skip(bad, high, pixels.ceiling_of(frames, high))
        used = np.flatnonzero(live[first] & live[first + 1] & ~pixels.repeats(frames)[first + 1])
        _fill(table, frames, first[used], group[used], skip, stride)
    dark = frames[live & (low == 0)]
    zeros = np.count_nonzero(dark == 0, axis=0)[~bad].sum() if len(dark) else 0
    samples = np.count_nonzero(~bad) * np.count_nonzero(live)
    return Sums(table, maps, np.array([1, len(some), samples, zeros], "f8"))


def _maps(frames: Frames, first: Indices) -> Doubles:
    """Level and variance of each pixel: (2, y, x)."""
    variance = pixels.pair_variance(pixels.distances(frames[first], frames[first + 1]))
    return np.stack([median(frames[first]).astype("f8"), variance])


class _Skip:
    """The windows of a pair that hold a pixel that is bad or saturated, as bits: (y, x)."""

    def __init__(self, bad: NDArray[np.bool_], high: Doubles, ceiling: float) -> None:
        self.bad = pixels.spread(bad, REACH).view(np.uint8)  # True is BAD
        self.high, self.ceiling = high, ceiling

    def of(self, frames: Frames, i: int) -> Bytes:
        if not max(self.high[i], self.high[i + 1]) >= self.ceiling:
            return self.bad
        full = (frames[i] >= self.ceiling) | (frames[i + 1] >= self.ceiling)
        return self.bad | np.uint8(SATURATED) * pixels.spread(full, REACH)


def _fill(
    table: Doubles, frames: Frames, first: Indices, group: Indices, skip: _Skip, stride: int
) -> None:
    """Add pairs to the table, a group of frames at a time."""
    middle = pixels.frame_medians(frames)
    centre = (middle[:-1] + middle[1:]) / np.float32(2)
    limits = _noise_line(frames, first, centre, skip)
    room = np.empty(frames.shape[1:], np.float32), np.empty(frames.shape[1:], np.float32)
    for g in np.unique(group):
        now = np.zeros((SPACE, KEYS, len(COLUMNS)))
        for i in first[group == g]:
            pair = frames[i], frames[i + 1], centre[i], skip.of(frames, i)
            _add_pair(*pair, limits, stride, room, now)
        filled = now[..., (0, 1, 6)].any(axis=(0, 2))
        table[g, filled] += now[:, filled].sum(axis=0)
        table[TIME:, filled] += now[:, filled]


# ------------------------------------------------------------------ first guess of the line


def _noise_line(frames: Frames, first: Indices, centre: Floats, skip: _Skip) -> Limits:
    """Line through medians of a few thousand windows: it tells what is no noise."""
    some = first[:: max(1, len(first) // LINE_PAIRS)][:LINE_PAIRS]
    stride = max(1, frames.shape[1] // LINE_ROWS)
    parts = [
        _few_windows(frames[i], frames[i + 1], centre[i], skip.of(frames, i), stride) for i in some
    ]
    key, light, variance = np.concatenate([np.zeros((3, 0), np.float32), *parts], axis=1)
    if len(key) < len(SHARES):
        return NO_LIMITS
    places = np.split(np.argsort(key, kind="stable"), (len(key) * np.array(SHARES)).astype(int))
    places = [p for p in places if len(p)]
    z, v = (np.array([np.median(a[p]) for p in places], "f8") for a in (light, variance))
    floor = float(np.median(variance)) / CHI2_MEDIAN / 2
    weight = np.array([len(p) for p in places]) / np.maximum(v, floor * CHI2_MEDIAN + 1e-30) ** 2
    slope, at, level = _weighted_line(z, v / CHI2_MEDIAN, weight)
    return Limits(np.float32(level - slope * at), np.float32(slope), np.float32(floor))


def _weighted_line(z: Doubles, v: Doubles, weight: Doubles) -> tuple[float, float, float]:
    """Slope of a line that does not fall, and a point on it."""
    at, level = float(np.average(z, weights=weight)), float(np.average(v, weights=weight))
    spread = float(np.average((z - at) ** 2, weights=weight))
    rise = float(np.average((z - at) * v, weights=weight))
    return (max(rise / spread, 0.0) if spread > 0 else 0.0), at, level


# ------------------------------------------------------------------ filters


@njit(nogil=True, cache=True)
def _down(image, y, taps, out):  # type: ignore[no-untyped-def]
    """Column filter at a row. Slices of one array: with more the compiler gives up on vectors."""
    t0, t1, t2, t3, t4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    a, b, c, d, e = image[y - 4], image[y - 3], image[y - 2], image[y - 1], image[y]
    f, g, h, i = image[y + 1], image[y + 2], image[y + 3], image[y + 4]
    for x in range(out.size):
        inner = t0 * e[x] + t1 * (d[x] + f[x]) + t2 * (c[x] + g[x])
        out[x] = inner + t3 * (b[x] + h[x]) + t4 * (a[x] + i[x])


@njit(nogil=True, cache=True)
def _along(row, taps, out):  # type: ignore[no-untyped-def]
    """Row filter for the columns from EDGE to the last but EDGE."""
    t0, t1, t2, t3, t4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    a, b, c, d, e = row[1:], row[2:], row[3:], row[4:], row[5:]
    f, g, h, i = row[6:], row[7:], row[8:], row[9:]
    for x in range(out.size):
        inner = t0 * e[x] + t1 * (d[x] + f[x]) + t2 * (c[x] + g[x])
        out[x] = inner + t3 * (b[x] + h[x]) + t4 * (a[x] + i[x])


@njit(nogil=True, cache=True)
def _differ(a, b, difference, total):  # type: ignore[no-untyped-def]
    for y in range(a.shape[0]):
        for x in range(a.shape[1]):
            one, other = np.float32(a[y, x]), np.float32(b[y, x])
            difference[y, x] = one - other
            total[y, x] = one + other


@njit(nogil=True, cache=True)
def _windows(difference, total, y, centre, line, values, keys):  # type: ignore[no-untyped-def]
    """Light and variance under each filter (6, x), and the keys (2, x), of the windows around a row."""
    for f in range(3):
        light, variance, norm = values[2 * f], values[2 * f + 1], _NORM[f]
        _down(total, y, _SQUARES[f], line)
        _along(line, _SQUARES[f], light)
        _down(difference, y, _MIDDLE[f], line)
        _along(line, _MIDDLE[f], variance)
        for x in range(light.size):
            light[x] *= norm
            variance[x] *= variance[x] * norm
    for k in range(2):
        above, below = total[y - 4 - k], total[y + 4 + k]
        for x in range(line.size):
            line[x] = above[x] + below[x]
        _along(line, _BOX[k], values[6])
        _key(values[6], np.float32(1 / (28 + 8 * k)), centre, keys[k])


@njit(nogil=True, cache=True)
def _key(light, scale, centre, key):  # type: ignore[no-untyped-def]
    for x in range(light.size):
        above = light[x] * scale - centre
        root = np.float32(FINE) * math.sqrt(abs(above))
        place = np.float32(ZERO) + (root if above > 0 else -root)
        key[x] = np.int32(min(max(place, np.float32(0)), np.float32(KEYS - 1)))


@njit(nogil=True, cache=True)
def _few_windows(a, b, centre, skip, stride):  # type: ignore[no-untyped-def]
    """Key, light and variance of the smallest filter on every ``stride``-th row: (3, window)."""
    height, width = a.shape
    difference, total = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    _differ(a, b, difference, total)
    line, values = np.empty(width, np.float32), np.empty((7, width - 2 * EDGE), np.float32)
    keys = np.empty((2, width - 2 * EDGE), np.int32)
    out = np.empty((3, (height // stride + 1) * width), np.float32)
    n = 0
    for y in range(EDGE, height - EDGE, stride):
        _windows(difference, total, y, centre, line, values, keys)
        for x in range(values.shape[1]):
            if skip[y, x + EDGE] == 0:
                out[0, n], out[1, n], out[2, n] = keys[0, x], values[0, x], values[1, x]
                n += 1
    return out[:, :n]


@njit(nogil=True, cache=True)
def _add_pair(a, b, centre, skip, limits, stride, room, table):  # type: ignore[no-untyped-def]
    """Add the windows of a pair of frames to ``table`` (tile, key, column).

    ``room`` is two images that are used again for every pair. The centre of a
    window that is no noise blocks those within REACH, so that rows wait until the rows
    around them are known.
    """
    height, width = a.shape
    inner, reach = width - 2 * EDGE, REACH // stride
    difference, total = room
    _differ(a, b, difference, total)
    slots = 2 * reach + 1
    line, values = np.empty(width, np.float32), np.empty((slots, 7, inner), np.float32)
    keys, blocked = np.empty((slots, 2, inner), np.int32), np.zeros((slots, inner), np.uint8)
    rows = (height - 2 * EDGE + stride - 1) // stride
    for j in range(rows + reach):
        slot = j % slots
        blocked[slot] = 0
        if j < rows:
            y = EDGE + stride * j
            _windows(difference, total, y, centre, line, values[slot], keys[slot])
            _block(values[slot], limits, blocked[slot])
        if j >= reach:
            y, slot = EDGE + stride * (j - reach), (j - reach) % slots
            tile = y * TILES // height * TILES
            _add_row(values[slot], keys[slot], skip[y], blocked, stride, table[tile : tile + TILES])


@njit(nogil=True, cache=True)
def _block(values, limits, blocked):  # type: ignore[no-untyped-def]
    """Mark windows around those that are no noise."""
    light, variance = values[0], values[1]
    hits = 0
    for x in range(light.size):
        most = max(limits.intercept + limits.slope * light[x], limits.floor)
        hits += variance[x] > np.float32(NOISE) * most
    if hits == 0:
        return
    for x in range(light.size):
        most = max(limits.intercept + limits.slope * light[x], limits.floor)
        if variance[x] > np.float32(NOISE) * most:
            blocked[max(x - REACH, 0) : x + REACH + 1] = 1


@njit(nogil=True, cache=True)
def _add_row(values, keys, skip, blocked, stride, table):  # type: ignore[no-untyped-def]
    inner, width = keys.shape[1], skip.size
    clear = not blocked.any()
    for x in range(0, inner, stride):
        bits = skip[x + EDGE]
        if bits & BAD or not (clear or not blocked[:, x].any()):
            continue
        sums = table[(x + EDGE) * TILES // width]
        near = sums[keys[0, x]]
        if bits & SATURATED:
            near[1] += 1
            continue
        near[0] += 1
        near[2] += values[0, x]
        near[3] += values[1, x]
        near[4] += values[2, x]
        near[5] += values[3, x]
        far = sums[keys[1, x]]
        far[6] += 1
        far[7] += values[4, x]
        far[8] += values[5, x]
