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

from smlm_dask.kernels import pixels, rim
from smlm_dask.kernels.selection import median

__all__ = ["COLUMNS", "GROUPS", "KEYS", "TAPS", "TIME", "Sums", "add", "corner_sums", "sums_bytes"]

Frames: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]

# Rounded smallest eigenvectors of the autocorrelation matrix of a Gaussian PSF of 1 pixel; sums are zero.
TAPS = {5: (5, -13, 16, -13, 5), 7: (7, -20, 32, -38, 32, -20, 7)}
COLUMNS = ("n", "saturated", "dark", "z5", "v5", "z7", "v7")
# A key is ZERO + FINE sqrt(light beyond the window above the frame's median, adu), its sign kept.
KEYS, ZERO, FINE = 512, 128, 4
REACH, EDGE = 3, 4  # of the widest filter; rows and columns at the border without a centre
TIME, TILES = 20, 4  # groups of frames; tiles along each axis
SPACE = TILES * TILES
GROUPS = TIME + SPACE
NOISE = 36  # a window with this many times the variance of its light is no noise: 6 sigma
LINE_PAIRS, LINE_ROWS = (
    4,
    16,
)  # pairs, and rows of each, that the first guess of the line is made from
CHI2_MEDIAN = 0.4549  # median of the square of a standard normal number
BAD, SATURATED, DARK = 1, 2, 4
# Emitters may light a hundredth of the windows: the brightest have parts of their own.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)

_TAPS = np.zeros((2, 4), np.float32)  # from the middle outwards
for _f, _taps in enumerate(TAPS.values()):
    _TAPS[_f, : len(_taps) // 2 + 1] = _taps[len(_taps) // 2 :]
_SQUARES = _TAPS**2
_NORM = (0.5 / (2 * _SQUARES.sum(axis=1) - _SQUARES[:, 0]).astype("f8") ** 2).astype(np.float32)


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
    table : (GROUPS, KEYS, 7)
        For each group of frames, then for each tile, and for each key the sums named in ``COLUMNS``.
    rim : (GROUPS, 5)
        For each group of frames, then for each tile, the sums of ``kernels.rim``.
    maps : (2, y, x)
        Level and variance of each pixel, adu and adu2.
    counts : (4,)
        Windows of frames, pairs in the maps, samples of pixels that work, those of them that are zero.
    """

    table: Doubles
    rim: Doubles
    maps: Doubles
    counts: Doubles


def sums_bytes(shape: tuple[int, ...]) -> int:
    """Bytes of the sums of frames of this shape."""
    table = GROUPS * (KEYS * len(COLUMNS) + len(rim.COLUMNS))
    return 8 * (table + 2 * math.prod(shape))


def add(before: Sums, after: Sums) -> Sums:
    """Sums of two parts of a movie."""
    return Sums(*(a + b for a, b in zip(before, after, strict=True)))


def corner_sums(
    frames: Frames,
    step: int,
    stride: int,
    group: Indices,
    map_pairs: int = 16,
    rim_pairs: int = 100,
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
    map_pairs, rim_pairs : int
        Pairs that the maps, and the sums of the rim, are made from, at most.
    """
    first = np.arange(0, len(frames) - 1, step)
    low, high = pixels.extremes(frames)
    live = low < high  # no constant frames, and none with a NaN or an infinity
    live &= np.isfinite(high - low)
    some = first[:: max(1, len(first) // map_pairs)][:map_pairs]
    maps = _maps(frames, some)
    bad = pixels.bad_pixels(maps[0], maps[1], len(some))
    table, sums = np.zeros((GROUPS, KEYS, len(COLUMNS))), np.zeros((GROUPS, len(rim.COLUMNS)))
    if len(first) and min(frames.shape[1:]) > 2 * EDGE:
        skip = _Skip(bad, low, high, pixels.ceiling_of(frames, high))
        used = np.flatnonzero(live[first] & live[first + 1] & ~pixels.repeats(frames)[first + 1])
        _fill(table, frames, first[used], group[used], skip, stride)
        few = used[:: max(1, -(-len(used) // rim_pairs))]
        _fill_rim(sums, frames, first[few], group[few], skip.ceiling)
    dark = frames[live & (low == 0)]
    zeros = np.count_nonzero(dark == 0, axis=0)[~bad].sum() if len(dark) else 0
    samples = np.count_nonzero(~bad) * np.count_nonzero(live)
    return Sums(table, sums, maps, np.array([1, len(some), samples, zeros], "f8"))


def _maps(frames: Frames, first: Indices) -> Doubles:
    """Level and variance of each pixel: (2, y, x)."""
    variance = pixels.pair_variance(pixels.distances(frames[first], frames[first + 1]))
    return np.stack([median(frames[first]).astype("f8"), variance])


class _Skip:
    """Windows of a pair that hold a bad or saturated pixel, or stand on a zero, as bits: (y, x)."""

    def __init__(self, bad: NDArray[np.bool_], low: Doubles, high: Doubles, ceiling: float) -> None:
        self.bad = pixels.spread(bad, REACH).view(np.uint8)  # True is BAD
        self.low, self.high, self.ceiling = low, high, ceiling

    def special(self, first: Indices) -> NDArray[np.bool_]:
        """Pairs with more to skip than bad pixels."""
        low, high = (np.stack([a[first], a[first + 1]]) for a in (self.low, self.high))
        return np.asarray((low == 0).any(axis=0) | (high >= self.ceiling).any(axis=0))

    def of(self, frames: Frames, i: int) -> Bytes:
        if not self.special(np.array([i]))[0]:
            return self.bad
        full = (frames[i] >= self.ceiling) | (frames[i + 1] >= self.ceiling)
        bits = self.bad | np.uint8(SATURATED) * pixels.spread(full, REACH)
        return bits | np.uint8(DARK) * ((frames[i] == 0) | (frames[i + 1] == 0))


def _fill(
    table: Doubles, frames: Frames, first: Indices, group: Indices, skip: _Skip, stride: int
) -> None:
    """Add pairs to the table, a group of frames at a time."""
    middle = pixels.frame_medians(frames)
    centre = (middle[:-1] + middle[1:]) / np.float32(2)
    limits = _noise_line(frames, first, centre, skip)
    special = skip.special(first)
    room, now = _room(*frames.shape[1:]), np.zeros((SPACE, KEYS, len(COLUMNS)))
    for g in np.unique(group):
        plain = first[(group == g) & ~special]
        _add_pairs(frames, plain, centre, skip.bad, limits, stride, room, now)
        for i in first[(group == g) & special]:
            pair = np.array([i])
            _add_pairs(frames, pair, centre, skip.of(frames, i), limits, stride, room, now)
        filled = np.flatnonzero((now[..., 0] + now[..., 1]).any(axis=0))
        keys = slice(filled[0], filled[-1] + 1) if len(filled) else slice(0)
        table[g, keys] += now[:, keys].sum(axis=0)
        table[TIME:, keys] += now[:, keys]
        now[:, keys] = 0


def _fill_rim(
    sums: Doubles, frames: Frames, first: Indices, group: Indices, ceiling: float
) -> None:
    """Add patches of pairs to the sums of the rim, by groups of frames and by tiles."""
    parts = rim.rim_sums(frames, first, ceiling)
    if not parts.size:
        return
    np.add.at(sums, group, parts.sum(axis=(1, 2)))
    rows, columns = (np.arange(n) * TILES // n for n in parts.shape[1:3])
    np.add.at(sums, TIME + rows[:, None] * TILES + columns, parts.sum(axis=0))


# ------------------------------------------------------------------ first guess of the line


def _noise_line(frames: Frames, first: Indices, centre: Floats, skip: _Skip) -> Limits:
    """Line through medians of a few thousand windows: it tells what is no noise.

    Of windows of like light under the filter itself. What noise the two share bends a guess by little;
    by the light beyond, which knows where single emitters lie by their feet alone, the slope was 0 in one
    movie of thirty without background, and bright windows were left out.
    """
    some = first[:: max(1, len(first) // LINE_PAIRS)][:LINE_PAIRS]
    stride = max(1, frames.shape[1] // LINE_ROWS)
    parts = [
        _few_windows(frames[i], frames[i + 1], centre[i], skip.of(frames, i), stride) for i in some
    ]
    light, variance = np.concatenate([np.zeros((2, 0), np.float32), *parts], axis=1)
    if len(light) < len(SHARES):
        return NO_LIMITS
    places = np.split(np.argsort(light, kind="stable"), (len(light) * np.array(SHARES)).astype(int))
    places = [p for p in places if len(p)]
    z, v = (np.array([_median(a[p]) for p in places], "f8") for a in (light, variance))
    floor = _median(variance) / CHI2_MEDIAN / 2
    weight = np.array([len(p) for p in places]) / np.maximum(v, floor * CHI2_MEDIAN + 1e-30) ** 2
    slope, at, level = _weighted_line(z, v / CHI2_MEDIAN, weight)
    return Limits(np.float32(level - slope * at), np.float32(slope), np.float32(floor))


def _median(values: Floats) -> float:
    """The upper median: the mean of two middles takes ten times as long."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _weighted_line(z: Doubles, v: Doubles, weight: Doubles) -> tuple[float, float, float]:
    """Slope of a line that does not fall, and a point on it."""
    at, level = float(np.average(z, weights=weight)), float(np.average(v, weights=weight))
    spread = float(np.average((z - at) ** 2, weights=weight))
    rise = float(np.average((z - at) * v, weights=weight))
    return (max(rise / spread, 0.0) if spread > 0 else 0.0), at, level


# ------------------------------------------------------------------ filters


@njit(nogil=True, cache=True)
def _down(image, y, taps, lines):  # type: ignore[no-untyped-def]
    """Both column filters at a row. Slices of one array: by offsets into it there are no vectors."""
    p0, p1, p2 = taps[0, 0], taps[0, 1], taps[0, 2]
    q0, q1, q2, q3 = taps[1, 0], taps[1, 1], taps[1, 2], taps[1, 3]
    a, b, c, d = image[y - 3], image[y - 2], image[y - 1], image[y]
    e, f, g = image[y + 1], image[y + 2], image[y + 3]
    five, seven = lines[0], lines[1]
    for x in range(d.size):
        near, next_, far = c[x] + e[x], b[x] + f[x], a[x] + g[x]
        five[x] = p0 * d[x] + p1 * near + p2 * next_
        seven[x] = q0 * d[x] + q1 * near + q2 * next_ + q3 * far


@njit(nogil=True, cache=True)
def _along(lines, taps, values):  # type: ignore[no-untyped-def]
    """Both row filters for the columns from EDGE."""
    p0, p1, p2 = taps[0, 0], taps[0, 1], taps[0, 2]
    q0, q1, q2, q3 = taps[1, 0], taps[1, 1], taps[1, 2], taps[1, 3]
    row, five = lines[0], values[0]
    for x in range(five.size):
        five[x] = p0 * row[x + 4] + p1 * (row[x + 3] + row[x + 5]) + p2 * (row[x + 2] + row[x + 6])
    row, seven = lines[1], values[1]
    for x in range(seven.size):
        inner = q0 * row[x + 4] + q1 * (row[x + 3] + row[x + 5]) + q2 * (row[x + 2] + row[x + 6])
        seven[x] = inner + q3 * (row[x + 1] + row[x + 7])


@njit(nogil=True, cache=True)
def _differ(a, b, images):  # type: ignore[no-untyped-def]
    difference, total = images[0], images[1]
    for y in range(a.shape[0]):
        for x in range(a.shape[1]):
            one, other = np.float32(a[y, x]), np.float32(b[y, x])
            difference[y, x] = one - other
            total[y, x] = one + other


@njit(nogil=True, cache=True)
def _room(height, width):  # type: ignore[no-untyped-def]
    """Images and lines that are used again for every pair.

    Lines are whole numbers of 32 samples, which is what a loop over vectors takes at a time; what is
    beyond the frame is never used.
    """
    length = -(-width // 32) * 32
    images = np.zeros((2, height, length), np.float32)
    return images, np.zeros((2, length + 2 * EDGE), np.float32)


@njit(nogil=True, cache=True)
def _windows(room, y, centre, values, keys):  # type: ignore[no-untyped-def]
    """Light and variance under each filter, (4, x), and the keys (x,) of the windows around a row."""
    images, lines = room
    difference, total = images[0], images[1]
    _down(total, y, _SQUARES, lines)
    _along(lines, _SQUARES, values[:2])
    _down(difference, y, _TAPS, lines)
    _along(lines, _TAPS, values[2:])
    for f in range(2):
        light, noise, norm = values[f], values[f + 2], _NORM[f]
        for x in range(light.size):
            light[x] *= norm
            noise[x] *= noise[x] * norm
    _keys(total[y - EDGE], total[y + EDGE], centre, lines[0], keys)


@njit(nogil=True, cache=True)
def _keys(above, below, centre, line, keys):  # type: ignore[no-untyped-def]
    """Keys by the mean light of the seven columns of the rows just above and below windows."""
    for x in range(above.size):
        line[x] = above[x] + below[x]
    scale, fine, last = np.float32(1 / 28), np.float32(FINE), np.float32(KEYS - 1)
    for x in range(keys.size):
        left, right = line[x + 1] + line[x + 2], line[x + 6] + line[x + 7]
        light = (left + right + (line[x + 3] + line[x + 4] + line[x + 5])) * scale - centre
        root = fine * np.sqrt(abs(light))
        place = np.float32(ZERO) + (root if light > 0 else -root)
        keys[x] = np.int32(min(max(place, np.float32(0)), last))


@njit(nogil=True, cache=True)
def _few_windows(a, b, centre, skip, stride):  # type: ignore[no-untyped-def]
    """Light and variance under the smallest filter on every ``stride``-th row: (2, window)."""
    height, width = a.shape
    room, inner = _room(height, width), width - 2 * EDGE
    _differ(a, b, room[0])
    length = room[0].shape[2]
    values, keys = np.empty((4, length), np.float32), np.empty(length, np.int32)
    out = np.empty((2, (height // stride + 1) * width), np.float32)
    n = 0
    for y in range(EDGE, height - EDGE, stride):
        _windows(room, y, centre, values, keys)
        for x in range(inner):
            if skip[y, x + EDGE] & (BAD | SATURATED) == 0:
                out[0, n], out[1, n] = values[0, x], values[2, x]
                n += 1
    return out[:, :n]


@njit(nogil=True, cache=True)
def _add_pairs(frames, first, centre, skip, limits, stride, room, table):  # type: ignore[no-untyped-def]
    """Add the windows of pairs of frames to ``table`` (tile, key, column)."""
    for i in first:
        _add_pair(frames[i], frames[i + 1], centre[i], skip, limits, stride, room, table)


@njit(nogil=True, cache=True)
def _add_pair(a, b, centre, skip, limits, stride, room, table):  # type: ignore[no-untyped-def]
    """A window that is no noise blocks those within REACH: rows wait until the next ones are known."""
    height, width = a.shape
    _differ(a, b, room[0])
    reach, length = REACH // stride, room[0].shape[2]
    slots, rows = 2 * reach + 1, (height - 2 * EDGE + stride - 1) // stride
    values, keys = np.empty((slots, 4, length), np.float32), np.empty((slots, length), np.int32)
    blocked, left = np.zeros((slots, length), np.uint8), np.empty(width, np.uint8)
    ends = _ends(width, stride)
    for j in range(rows + reach):
        slot = j % slots
        blocked[slot] = 0
        if j < rows:
            _windows(room, EDGE + stride * j, centre, values[slot], keys[slot])
            _block(values[slot], width - 2 * EDGE, limits, blocked[slot])
        if j >= reach:
            y, slot = EDGE + stride * (j - reach), (j - reach) % slots
            _leave(skip[y], blocked, left)
            for t in range(TILES):
                part = slice(ends[t], ends[t + 1])
                tile = table[y * TILES // height * TILES + t]
                _add_row(values[slot][:, part], keys[slot][part], left[part], stride, tile)


@njit(nogil=True, cache=True)
def _ends(width, stride):  # type: ignore[no-untyped-def]
    """First window of each tile along a row, and where the last ends."""
    ends = np.zeros(TILES + 1, np.int64)
    for x in range(0, width - 2 * EDGE, stride):
        for t in range((x + EDGE) * TILES // width, TILES):
            ends[t + 1] = x + stride
    ends[TILES] = width - 2 * EDGE
    return ends


@njit(nogil=True, cache=True)
def _block(values, inner, limits, blocked):  # type: ignore[no-untyped-def]
    """Mark windows around those that are no noise."""
    light, variance = values[0, :inner], values[2, :inner]
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
def _leave(skip, blocked, left):  # type: ignore[no-untyped-def]
    """Bits of the windows of a row; those near one that is no noise are as bad."""
    for x in range(left.size - EDGE):
        left[x] = skip[x + EDGE]
    for k in range(len(blocked)):
        row = blocked[k]
        for x in range(left.size):
            left[x] |= row[x]


@njit(nogil=True, cache=True)
def _add_row(values, keys, left, stride, table):  # type: ignore[no-untyped-def]
    z5, z7, v5, v7 = values[0], values[1], values[2], values[3]
    for x in range(0, keys.size, stride):
        bits = left[x]
        if bits & BAD:
            continue
        sums = table[keys[x]]
        if bits & SATURATED:
            sums[1] += 1
            continue
        sums[0] += 1
        if bits:
            sums[2] += 1
        sums[3] += z5[x]
        sums[4] += v5[x]
        sums[5] += z7[x]
        sums[6] += v7[x]
