"""Spatial correlation of what changes from frame to frame: sums of products of pixels, by lag.

The mean of a window of frames is taken off each of them, with as much of its pattern as the lamp
flickered; what is left of static light is nothing, and blinking emitters correlate like their PSF.
The sums add up over windows and over strips of the sensor, so that their scatter tells the error.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

from smlm_dask.kernels.crops import readable
from smlm_dask.kernels.pixels import ceiling_of, extremes, frame_medians

__all__ = ["lag_sums", "strip_edges"]

Image = NDArray[np.float64]

# Strips of the sensor whose sums are kept apart: 16, of at least so many rows.
STRIPS, LEAST_ROWS = 16, 4
# Pixels left out at each edge, at most a 16th of the shorter side: where emitters lie only inside the
# field, these see them on one side, and the width grows (0.3 % at 128 pixels, 0.6 % at 64).
MARGIN, NARROW = 4, 16
# A hot pixel varies so many times more than all but 3 of its neighbours and the median of 9 x 9 ...
HOT, AROUND = 6.0, 4
# (only looked at beyond the same multiple of what the quietest tenth of all pixels vary) ...
QUIET = 0.1
# ... and shares less than this of it with its 8 neighbours, as no emitter would ...
SHARED = 0.05
# ... nor correlates so much with one that is as hot: the flank of an emitter of half a pixel does with its
# top, and went for hot (sigma 11 % too small).
TOGETHER = 0.8
# Frames transformed together: long rows of equal lags are fast, and the three buffers of 16 MiB fit
# the outer cache.
MOST_FRAMES, BUFFER_SAMPLES = 50, 1 << 22
# Light saturates where more of the samples in the upper half are at the top (the width was 0.5 % too large at
# 5 %, 2 % at 12 %, 15 % at 40 %); a pixel that is there in
# more of the frames is stuck.
MOST_FULL, MOST_STUCK = 0.05, 0.5
# Sums in any order: the compiler may use SIMD, and unlike the whole of fastmath forgets no NaN.
ANY_ORDER = {"contract", "reassoc", "nsz"}


def strip_edges(height: int, width: int) -> NDArray[np.int64]:
    """Row inside the margin at which each strip begins, and at which the last ends."""
    size = height - 2 * _margin(height, width)
    count = min(STRIPS, max(1, size // LEAST_ROWS))
    return np.arange(count + 1) * size // count


def lag_sums(frames: NDArray[Any], reach: int) -> Image:
    """Sums of products of pixels and numbers of pairs, by strip of rows and lag.

    Parameters
    ----------
    frames
        ``(frame, y, x)`` of any real dtype: one window, whole frames.
    reach
        Longest lag along y and x.

    Returns
    -------
    ndarray
        ``(2, strip, reach + 1, 2 * reach + 1)`` float64: sums over frames and over the pixels of a
        strip of ``D(y, x) D(y + i, x + j)``, with lag ``(i, j - reach)``, and how many pairs these are.
        Hot pixels are left out. The sums of windows add up. NaN if a sample is not finite; infinite sums
        where light saturates.
    """
    frames = readable(np.ascontiguousarray(frames))  # the last bit of a sum depends on the layout
    n, height, width = frames.shape
    shape = 2, len(strip_edges(height, width)) - 1, reach + 1, 2 * reach + 1
    if frames.size == 0:
        return np.zeros(shape)
    mean, variance = _moments(frames)
    if not np.isfinite(mean).all():
        return np.full(shape, np.nan)
    margin = _margin(height, width)
    inside = np.zeros((height, width), bool)
    inside[margin : height - margin, margin : width - margin] = True
    pattern = _pattern(mean, inside)
    lamp = _lamp(frames, mean, pattern)
    least = HOT * float(np.quantile(variance[::4, ::4], QUIET))
    hot = inside & _hot(frames, mean, variance, least, lamp, pattern)
    keep, pairs = inside & ~hot, _pairs(height, width, reach)
    if hot.any():
        pattern = _pattern(mean, keep)
        lamp = _lamp(frames, mean, pattern)
        pairs = _pairs_beside_hot(keep, hot, reach)
    if _saturates(frames, keep):
        return np.stack([np.full(shape[1:], np.inf), n * pairs])
    return np.stack([_by_lag(frames, mean, pattern, lamp, keep, reach), n * pairs])


def _saturates(frames: NDArray[Any], keep: NDArray[np.bool_]) -> bool:
    """Whether samples pile up at the top: emitters with flat tops look wider than they are."""
    low, high = extremes(frames)
    live = frames[low < high]
    top = ceiling_of(live, high[low < high])
    if not np.isfinite(top):
        return False
    full = live >= top
    full &= keep & (full.mean(axis=0) <= MOST_STUCK)
    middle = float(np.median(frame_medians(live)))
    bright = np.count_nonzero(live > (middle + top) / 2)
    return bool(np.count_nonzero(full) > MOST_FULL * bright)


def _margin(height: int, width: int) -> int:
    return min(MARGIN, min(height, width) // NARROW)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _moments(frames: Any) -> tuple[Any, Any]:
    """Mean and variance over frames: (y, x) each, from differences to the first frame."""
    n, height, width = frames.shape
    mean, variance = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        first, total, square = frames[0, y], mean[y], variance[y]
        for t in range(1, n):
            row = frames[t, y]
            for x in range(width):
                d = np.float64(row[x]) - np.float64(first[x])
                total[x] += d
                square[x] += d * d
        for x in range(width):
            total[x] /= n
            square[x] = square[x] / n - total[x] * total[x]
            total[x] += np.float64(first[x])
    return mean, variance


def _pattern(mean: Image, keep: NDArray[np.bool_]) -> Image:
    """The mean image less its own mean, scaled so that a projection on it is a sum of products."""
    level = (mean * keep).sum() / max(np.count_nonzero(keep), 1)
    pattern: Image = (mean - level) * keep
    norm = np.sqrt((pattern * pattern).sum())
    return pattern / norm if norm > 0 else np.zeros_like(pattern)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _lamp(frames: Any, mean: Any, pattern: Any) -> Any:
    """How much of the pattern is in each frame's difference to the mean: (frame,)."""
    n, height, width = frames.shape
    lamp = np.zeros(n)
    for t in range(n):
        for y in range(height):
            row, level, shape = frames[t, y], mean[y], pattern[y]
            total = 0.0
            for x in range(width):
                total += (np.float64(row[x]) - level[x]) * shape[x]
            lamp[t] += total
    return lamp


@njit(nogil=True, cache=True, error_model="numpy")
def _hot(frames: Any, mean: Any, variance: Any, least: float, lamp: Any, pattern: Any) -> Any:
    """Pixels that vary far more than those around them, and alone."""
    height, width = variance.shape
    hot = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            if not variance[y, x] <= least and _sticks_out(variance, y, x):
                hot[y, x] = _alone(frames, mean, variance, lamp, pattern, y, x)
    return hot


@njit(nogil=True, cache=True, error_model="numpy")
def _sticks_out(variance: Any, y: int, x: int) -> bool:
    """Whether a pixel's variance is beyond that of all but 3 neighbours, and of half those around."""
    level = variance[y, x] / HOT
    height, width = variance.shape
    if 0 < y < height - 1 and 0 < x < width - 1:  # what nearly all that vary are told by
        above, below = variance[y - 1, x] < level, variance[y + 1, x] < level
        if not (above or below or variance[y, x - 1] < level or variance[y, x + 1] < level):
            return False
    if _reaching(variance, y, x, 1, level, 4) > 4:  # itself and 3
        return False
    rows = min(height, y + AROUND + 1) - max(0, y - AROUND)
    columns = min(width, x + AROUND + 1) - max(0, x - AROUND)
    half = rows * columns // 2
    return bool(_reaching(variance, y, x, AROUND, level, half) <= half)


@njit(nogil=True, cache=True, error_model="numpy")
def _reaching(variance: Any, y: int, x: int, radius: int, level: float, most: int) -> int:
    """How many pixels of a square reach a level; the count ends after a row beyond ``most``.

    The median itself need not be found: for nearly all pixels a few neighbours tell.
    """
    height, width = variance.shape
    count = 0
    for i in range(max(0, y - radius), min(height, y + radius + 1)):
        for j in range(max(0, x - radius), min(width, x + radius + 1)):
            count += not variance[i, j] < level
        if count > most:
            break
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def _alone(frames: Any, mean: Any, variance: Any, lamp: Any, pattern: Any, y: int, x: int) -> bool:
    """Whether a pixel's neighbours do not follow it; those as hot as it is only if they do throughout.

    Two hot pixels side by side jump together by chance, in a window with few jumps.
    """
    height, width = mean.shape
    level, own = variance[y, x] / HOT, _product(frames, mean, lamp, pattern, y, x, y, x)
    shared, count = 0.0, 0
    for i in range(max(0, y - 1), min(height, y + 2)):
        for j in range(max(0, x - 1), min(width, x + 2)):
            if i == y and j == x:
                continue
            both = _product(frames, mean, lamp, pattern, y, x, i, j)
            if variance[i, j] < level:
                shared += both
                count += 1
            elif both > TOGETHER * np.sqrt(own * _product(frames, mean, lamp, pattern, i, j, i, j)):
                return False
    return shared < SHARED * own * max(count, 1)


@njit(nogil=True, cache=True, error_model="numpy")
def _product(
    frames: Any, mean: Any, lamp: Any, pattern: Any, y: int, x: int, i: int, j: int
) -> float:
    """Sum over frames of what two pixels do beside their mean and the lamp."""
    total = 0.0
    for t in range(frames.shape[0]):
        here = np.float64(frames[t, y, x]) - mean[y, x] - lamp[t] * pattern[y, x]
        there = np.float64(frames[t, i, j]) - mean[i, j] - lamp[t] * pattern[i, j]
        total += here * there
    return total


def _by_lag(
    frames: NDArray[Any],
    mean: Image,
    pattern: Image,
    lamp: Image,
    keep: NDArray[np.bool_],
    reach: int,
) -> Image:
    """Sums of products of what is inside the margin: (strip, reach + 1, 2 * reach + 1).

    Rows are transformed, multiplied with the rows below them, summed and transformed back.
    """
    n, *full = frames.shape
    margin, strips = _margin(*full), strip_edges(*full)
    height, width = (size - 2 * margin for size in full)
    length = int(fft.next_fast_len(width + reach, real=True))  # lags do not meet round the edge
    spectra = np.zeros((length // 2 + 1, len(strips) - 1, reach + reach % 2 + 2, 2))
    count = -(-n // max(1, min(MOST_FRAMES, BUFFER_SAMPLES // (length * height))))
    rows = planes = np.zeros((0, 0, 0), np.float32)
    for start, stop in pairwise((np.arange(count + 1) * n // count).tolist()):
        if rows.shape[2] != stop - start:  # two lengths at most: buffers are made twice at most
            rows = np.zeros((length, height, stop - start), np.float32)
            planes = np.zeros((2, len(spectra), (height + reach + 2) * (stop - start)), np.float32)
        _differences(frames[start:stop], mean, pattern, lamp[start:stop], keep, margin, rows)
        _split(fft.rfft(rows, axis=0, workers=1), planes)
        _add_products(planes, stop - start, strips, spectra)
    waves = np.moveaxis(spectra[:, :, : reach + 1].view(np.complex128)[..., 0], 0, -1)
    lags = fft.irfft(np.ascontiguousarray(waves), n=length, workers=1)
    return np.asarray(lags[..., np.arange(-reach, reach + 1)], np.float64)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _differences(
    frames: Any, mean: Any, pattern: Any, lamp: Any, keep: Any, margin: int, rows: Any
) -> None:
    """Fill ``rows`` (x, y, frame) with the frames less their steady part; hot pixels stay zero."""
    n, height, width = len(frames), mean.shape[0] - 2 * margin, mean.shape[1] - 2 * margin
    scratch = np.empty((n, width), np.float32)  # a row of all frames, which stays in the cache
    for y in range(height):
        level, shape = mean[y + margin, margin:], pattern[y + margin, margin:]
        good = keep[y + margin, margin:]
        for t in range(n):
            row, light, out = frames[t, y + margin, margin:], lamp[t], scratch[t]
            for x in range(width):
                out[x] = np.float64(row[x]) - level[x] - light * shape[x]
        for x in range(width):
            line = rows[x, y]
            for t in range(n):
                line[t] = scratch[t, x] if good[x] else np.float32(0)


@njit(nogil=True, cache=True)
def _split(spectra: Any, planes: Any) -> None:
    """Real and imaginary parts (2, frequency, rows x frames), above the zeros of ``planes``."""
    length, height, n = spectra.shape
    for k in range(length):
        for y in range(height):
            real, imag = planes[0, k, y * n : (y + 1) * n], planes[1, k, y * n : (y + 1) * n]
            for t in range(n):
                real[t], imag[t] = spectra[k, y, t].real, spectra[k, y, t].imag


@njit(nogil=True, cache=True, error_model="numpy")
def _add_products(planes: Any, n: int, strips: Any, spectra: Any) -> None:
    """Add conj(row y) * (row y + lag), summed over the rows whose middle is in each strip.

    An emitter across the border of two strips so gives both its shape, at every lag; in the strip of
    row y, widths of strips would scatter twice as much as widths of fields do. The rows of all frames
    of a batch lie behind each other, so a lag is a shift of one long row.
    """
    last = len(strips) - 2
    for k in range(spectra.shape[0]):
        real, imag = planes[0, k], planes[1, k]
        for s in range(last + 1):
            for lag in range(0, spectra.shape[2], 2):
                low = 0 if s == 0 else strips[s] - lag // 2
                high = strips[s + 1] - (0 if s == last else lag // 2)
                sums = spectra[k, s, lag : lag + 2]
                _dots(real, imag, max(0, low) * n, max(0, high) * n, lag * n, n, sums)
                if s > 0 and low > 0:
                    between = (low - 1) * n
                    _halve(
                        real, imag, between, n, (lag + 1) * n, spectra[k, s - 1 : s + 1, lag + 1]
                    )


@njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _halve(real: Any, imag: Any, low: int, n: int, lag: int, sums: Any) -> None:
    """Give half of a row, whose middle at an odd lag is the border, from one strip to the next."""
    a, b = real[low : low + n], imag[low : low + n]
    c, d = real[low + lag : low + lag + n], imag[low + lag : low + lag + n]
    p = q = np.float32(0)
    for i in range(len(a)):
        p += a[i] * c[i] + b[i] * d[i]
        q += a[i] * d[i] - b[i] * c[i]
    half_p, half_q = np.float64(p) / 2, np.float64(q) / 2
    sums[0, 0] -= half_p
    sums[0, 1] -= half_q
    sums[1, 0] += half_p
    sums[1, 1] += half_q


@njit(nogil=True, cache=True, error_model="numpy", fastmath=ANY_ORDER)
def _dots(real: Any, imag: Any, low: int, high: int, lag: int, step: int, sums: Any) -> None:
    """Two lags at a time: half of what is loaded serves both."""
    a, b = real[low:high], imag[low:high]
    c, d = real[low + lag : high + lag], imag[low + lag : high + lag]
    lag += step
    e, f = real[low + lag : high + lag], imag[low + lag : high + lag]
    p = q = u = v = np.float32(0)
    for i in range(len(a)):
        p += a[i] * c[i] + b[i] * d[i]
        q += a[i] * d[i] - b[i] * c[i]
        u += a[i] * e[i] + b[i] * f[i]
        v += a[i] * f[i] - b[i] * e[i]
    sums[0, 0] += p
    sums[0, 1] += q
    sums[1, 0] += u
    sums[1, 1] += v


@lru_cache(maxsize=16)  # the same for every window of a movie
def _pairs(height: int, width: int, reach: int) -> Image:
    """Number of pixels of each strip whose partner at a lag is inside as well."""
    strips, inner = strip_edges(height, width), width - 2 * _margin(height, width)
    lag = np.arange(reach + 1)[:, None]
    # The middle of an odd lag may be the border of two strips: they share it.
    edges = strips - np.stack([lag // 2, (lag + 1) // 2])
    edges[..., 0], edges[..., -1] = 0, strips[-1]
    rows = np.diff(np.clip(edges, 0, np.maximum(strips[-1] - lag, 0))).mean(axis=0).T
    columns = np.clip(inner - np.abs(np.arange(-reach, reach + 1)), 0, None)
    return np.asarray(rows[:, :, None] * columns, np.float64)


def _pairs_beside_hot(keep: NDArray[np.bool_], hot: NDArray[np.bool_], reach: int) -> Image:
    """The same less the pairs that hot pixels are in."""
    pairs, margin = _pairs(*keep.shape, reach).copy(), _margin(*keep.shape)
    edges = strip_edges(*keep.shape)[1:-1]
    strip = np.searchsorted(edges, np.arange(len(keep) + reach), "right")
    _take_off(np.argwhere(hot), keep, hot, strip, margin, pairs)
    return pairs


@njit(nogil=True, cache=True, error_model="numpy")
def _take_off(places: Any, keep: Any, hot: Any, strip: Any, margin: int, pairs: Any) -> None:
    """Take the pairs with a hot pixel from the strips of their middles, each once."""
    height, width = keep.shape
    reach = pairs.shape[1] - 1
    for y, x in places:
        for i in range(reach + 1):
            for j in range(-reach, reach + 1):
                for side in range(
                    2
                ):  # its partner below, and the one above, if that is not hot too
                    v, u = (y + i, x + j) if side == 0 else (y - i, x - j)
                    if not (0 <= v < height and 0 <= u < width):
                        continue
                    if keep[v, u] or (side == 0 and hot[v, u]):
                        row = min(y, v) - margin
                        pairs[strip[row + i // 2], i, j + reach] -= 0.5
                        pairs[strip[row + (i + 1) // 2], i, j + reach] -= 0.5
