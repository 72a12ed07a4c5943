"""Exact median and MAD of a movie larger than memory, by counting passes over its blocks.

Each pixel searches the integer keys of `selection` for its middle values. One pass counts, per
search, the samples below a bracket and in each of its bins; counts of blocks add up to the counts
of the movie, in any order. Between passes every search moves on to the bin that holds its rank,
until the bin is one key wide::

    state = start(first_frames)
    while not state.resolved:
        counts = sum(count(block, state) for block in movie)
        state = narrow(state, counts, n_frames)
    result = finish(state)

The first pass is a histogram around the median of the first frames. Where it has bins of one unit
and holds the middle of the deviations as well, it settles median and MAD at once: nearly every
pixel of a camera movie. The others go on, with as many bins as a byte budget allows for them.

Passes are bounded, whatever the data: with N bins (never fewer than 16) at most
2 + 2 ceil(bits / log2 N), that is 10 for 16-bit integers and 18 for float32 where every pixel of a
large frame goes on, 4 and 6 where the budget allows 65536 bins.

Memory: `count` makes 4 bytes per bin and search, plus 12: 268 bytes per pixel in a first pass of
64 bins, 524 with 128; later at most the budget, or 76 bytes per search where that is more. A state
holds 50 bytes per pixel (float32: 42) and 26 per search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlm_dask.kernels.selection import (
    BAND_BYTES,
    WITH_KEYS,
    check_frames,
    from_keys,
    load_band,
    median_and_mad,
    result_dtype,
    to_keys,
)

__all__ = ["State", "count", "count_bytes", "finish", "narrow", "start", "state_bytes"]

Array = NDArray[Any]

BUDGET = 32 * 2**20  # bytes of counts in every pass but the first
MOST_BINS = 65536
FIRST_BINS = (64, 128)  # narrow if that holds nearly all pixels, else wide

MEDIAN, MAD = 0, 1  # stages
LOW, HIGH, BOTH = 1, 2, 3  # the middle ranks a search is after; both, while they share a bin
_UNKNOWN = np.iinfo(np.int64).min
_LOST, _UNDER, _BINS = 0, 1, 2  # columns of counts: NaN, below the bins, first bin


@dataclass(frozen=True)
class State:
    """Searches that go on, and what is found: plain arrays, as small as their number.

    Parameters
    ----------
    shape, dtype
        Frame shape (y, x) and dtype of the movie.
    bins
        Bins per search, a power of two.
    pixel, stage, side, low, shift
        One entry per search, sorted by `pixel`, the flat index: what it looks for (`MEDIAN` or
        `MAD`; `LOW`, `HIGH` or `BOTH` middle ranks), the first key of its bracket, and the
        binary logarithm of the width of its bins.
    guess
        Median and MAD of the first frames, (2, pixel).
    found
        Keys of low and high median, low and high MAD, (4, pixel).
    lost
        Where median and MAD are NaN, (2, pixel).
    n_frames
        Length of the movie, 0 before the first `narrow`.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    bins: int
    pixel: NDArray[np.int64]
    stage: NDArray[np.uint8]
    side: NDArray[np.uint8]
    low: NDArray[np.int64]
    shift: NDArray[np.int64]
    guess: Array
    found: NDArray[np.int64]
    lost: NDArray[np.bool_]
    n_frames: int = 0

    @property
    def resolved(self) -> bool:
        """Whether nothing is left to count."""
        return self.pixel.size == 0


@dataclass(frozen=True)
class _Searches:
    """Searches by bracket [low, high), before they are given bins."""

    pixel: NDArray[np.int64]
    stage: NDArray[np.uint8]
    side: NDArray[np.uint8]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def __getitem__(self, chosen: Array) -> _Searches:
        return _Searches(*(part[chosen] for part in vars(self).values()))

    def __add__(self, other: _Searches) -> _Searches:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Searches(*(np.concatenate(pair) for pair in pairs))


# ------------------------------------------------------------------------------------ the passes


def state_bytes(pixels: int) -> int:
    """Bytes of a state at most, with two searches in every pixel."""
    return (50 + 2 * 26) * pixels


def count_bytes(pixels: int) -> int:
    """Bytes of the counts of a block at most, in the first pass or in one of many searches."""
    return max((FIRST_BINS[1] + 3) * 4 * pixels, BUDGET)


def start(first_frames: Array) -> State:
    """Begin the search of every pixel around what its first frames suggest.

    Parameters
    ----------
    first_frames
        The first frames of the movie, (frame, y, x), about 200: they are only a guess. Dtype
        bool, int8, uint8, int16, uint16 or float32.

    Returns
    -------
    State
        For `count`.

    Raises
    ------
    TypeError
        Another dtype.
    """
    check_frames(first_frames)
    dtype = first_frames.dtype.newbyteorder("=")
    if dtype.char not in WITH_KEYS:
        raise TypeError(
            f"got dtype {dtype}, wanted bool, an integer of 8 or 16 bits, or float32; "
            "convert the movie, or take the median of windows of frames"
        )
    guess = median_and_mad(first_frames).reshape(2, -1)
    pixels = guess.shape[1]
    low, high = _median_guess(guess, dtype)
    searches = _searches(np.arange(pixels), MEDIAN, low, high)
    state = State(
        shape=first_frames.shape[1:],
        dtype=dtype,
        bins=FIRST_BINS[0],
        pixel=searches.pixel,
        stage=searches.stage,
        side=searches.side,
        low=low,
        shift=np.zeros(pixels, np.int64),
        guess=guess,
        found=np.full((4, pixels), _UNKNOWN),
        lost=np.zeros((2, pixels), np.bool_),
    )
    return _with_bins(state, searches, _first_bins(high - low))


def count(frames: Array, state: State) -> NDArray[np.uint32]:
    """Count the samples of a block for every search: ``(frame, y, x) -> (search, 3 + bins)``.

    Columns: NaN, below the bins, the bins, above them; a NaN counts twice, also as its bits. The
    counts of a movie are the sum of those of its blocks, exact up to 4e9 frames.

    Parameters
    ----------
    frames
        A block of the movie: some frames, all pixels of `state`; never written.
    state
        The searches.

    Returns
    -------
    NDArray[np.uint32]
        Shape (search, 3 + bins); no rows where `state` is resolved.

    Raises
    ------
    ValueError
        The block is not of the movie that `state` was started on.
    """
    check_frames(frames)
    if frames.shape[1:] != state.shape or frames.dtype.newbyteorder("=") != state.dtype:
        raise ValueError(
            f"got frames {frames.shape[1:]} of {frames.dtype}, wanted {state.shape} of "
            f"{state.dtype}, as the first frames were"
        )
    counts = np.zeros((state.pixel.size, _BINS + state.bins + 1), np.uint32)
    _, height, width = frames.shape
    rows = max(BAND_BYTES // max(len(frames) * width * frames.itemsize, 1), 1)
    band = np.empty((0, 0))
    for y in range(0, height, rows):
        begin, end = np.searchsorted(state.pixel, (y * width, min(y + rows, height) * width))
        if begin < end and len(frames):
            band = load_band(frames[:, y : y + rows], band)
            _count_band(band, y * width, state, slice(begin, end), counts)
    return counts


def narrow(state: State, counts: NDArray[np.uint32], n_frames: int) -> State:
    """Move every search to the bin that holds its rank; what is found leaves the state.

    Parameters
    ----------
    state
        The state that was counted.
    counts
        Sum of `count` over all blocks of the movie.
    n_frames
        Number of frames of the movie.

    Returns
    -------
    State
        For the next pass, or for `finish` if it is resolved.
    """
    state = replace(state, found=state.found.copy(), lost=state.lost.copy(), n_frames=n_frames)
    if n_frames == 0:
        state.lost[:] = True
    _mark_lost(state, counts)
    alive = ~state.lost[state.stage, state.pixel]
    bins = [_locate(counts, rank) for rank in ((n_frames - 1) // 2, n_frames // 2)]
    searches = _split(state, bins[0], bins[1], alive)
    _record(state, searches)
    if state.dtype.kind != "f":
        _settle_mads(state, counts, alive)
    going = searches[searches.high - searches.low > 1] + _new_mads(state, searches)
    return _with_bins(state, going[np.argsort(going.pixel, kind="stable")], None)


def finish(state: State) -> Array:
    """Median and MAD of the movie: ``-> (2, y, x)``, the bits of `median_and_mad` of all frames.

    Parameters
    ----------
    state
        A resolved state.

    Returns
    -------
    Array
        As `median_and_mad`, in the unit of the movie.

    Raises
    ------
    ValueError
        Searches are still going on.
    """
    if not state.resolved:
        raise ValueError(f"got {state.pixel.size} open searches, wanted none; count and narrow on")
    known = np.where(state.lost.repeat(2, axis=0), 0, state.found)
    center = _center(state, known[:2])
    if state.dtype.kind == "f":
        mad = _center(state, known[2:])
    else:
        mad = (known[2] + known[3] + ((known[0] ^ known[1]) & 1)) / 2
    result = np.stack((center, mad))
    result[state.lost] = np.nan
    return result.reshape(2, *state.shape)


# ------------------------------------------------------------------------------------ brackets


def _median_guess(guess: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Bracket of keys that should hold the median, and for integers the MAD on both sides."""
    center, mad = guess
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            return _float_bracket(center - mad / 2, center + mad / 2, MEDIAN)
    least, most = _key_range(dtype, MEDIAN)
    with np.errstate(all="ignore"):
        key = center + (1 << (8 * dtype.itemsize - 1)) * (dtype.kind == "i")
        low, high = np.floor(key - 1.25 * mad) - 6, np.ceil(key + 1.25 * mad) + 6
    good = np.isfinite(low)
    return np.where(good, low, least).astype(np.int64), np.where(good, high, most).astype(np.int64)


def _mad_guess(mad: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            return _float_bracket(mad * 0.75, mad * 1.25, MAD)
    least, most = _key_range(dtype, MAD)
    good = np.isfinite(mad)
    low = np.where(good, np.maximum(np.floor(mad / 2) - 4, 0), least)
    return low.astype(np.int64), np.where(good, np.ceil(2 * mad) + 4, most).astype(np.int64)


def _float_bracket(low: Array, high: Array, stage: int) -> tuple[Array, Array]:
    least, most = _key_range(low.dtype, stage)
    good = np.isfinite(low) & np.isfinite(high)
    keys = [to_keys(np.atleast_2d(edge.astype(np.float32)))[0][0] for edge in (low, high)]
    first, last = (key.astype(np.int64) for key in keys)
    return np.where(good, first, least), np.where(good, last + 1, most)


def _key_range(dtype: np.dtype[Any], stage: int) -> tuple[int, int]:
    """All keys there are, [least, most)."""
    if dtype.kind == "f":
        infinity = 0x7F800000
        return (0 if stage == MAD else -infinity), infinity + 1
    return 0, 1 << 8 * dtype.itemsize


def _searches(pixel: Array, stage: int, low: Array, high: Array) -> _Searches:
    """Make searches for both middle ranks."""
    tag = np.full((2, pixel.size), ((stage,), (BOTH,)), np.uint8)
    return _Searches(pixel.astype(np.int64), tag[0], tag[1], low, high)


def _first_bins(lengths: Array) -> int:
    """Take the fewer bins, if bins of one unit then cover the bracket of nearly every pixel."""
    few, many = FIRST_BINS
    return few if np.count_nonzero(lengths > few) <= 0.001 * lengths.size else many


def _with_bins(state: State, searches: _Searches, bins: int | None) -> State:
    """Spread bins over the brackets: as many as the budget allows, and no more than they need."""
    lengths = searches.high - searches.low
    needed = _log2(np.atleast_1d(lengths.max(initial=1)))[0]
    if bins is None:
        allowed = int(BUDGET // (4 * max(lengths.size, 1))).bit_length() - 1
        bins = 1 << int(min(max(allowed, 4), 16, max(needed, 4)))
    spare = np.maximum((bins - lengths) // 2, 0) * (searches.stage == MEDIAN)
    return replace(
        state,
        bins=bins,
        pixel=searches.pixel,
        stage=searches.stage,
        side=searches.side,
        low=searches.low - spare,  # all bins are used, half of the spare ones on either side
        shift=np.maximum(_log2(lengths) - (bins.bit_length() - 1), 0),
    )


def _log2(lengths: Array) -> NDArray[np.int64]:
    """Smallest n with ``2 ** n >= lengths``."""
    # frexp is exact: lengths are below 2 ** 33
    mantissa, exponent = np.frexp(np.maximum(lengths, 1).astype(np.float64))
    return np.asarray(exponent - (mantissa == 0.5), np.int64)


# ------------------------------------------------------------------------------------- counting


def _count_band(
    samples: Array, origin: int, state: State, part: slice, counts: NDArray[np.uint32]
) -> None:
    """Count the searches `part`, whose pixels lie in a band that begins at pixel `origin`."""
    keys, _ = to_keys(samples)
    for stage in (MEDIAN, MAD):
        rows = np.flatnonzero(state.stage[part] == stage) + part.start
        if rows.size == 0:
            continue
        columns = state.pixel[rows] - origin
        whole = np.array_equal(columns, np.arange(keys.shape[1]))
        values = samples if whole else samples[:, columns]
        found = keys if whole else keys[:, columns]
        if stage == MAD:
            values, found = _deviations(values, found, state, state.pixel[rows])
        if state.dtype.kind == "f":
            counts[rows, _LOST] += _nan_count(values)
        _tally(found, rows, state.low, state.shift, counts)


def _deviations(values: Array, keys: Array, state: State, pixel: Array) -> tuple[Array, Array]:
    """Distances from the median that is found, and their keys: (frame, search)."""
    middles = state.found[:2, pixel]
    if state.dtype.kind == "f":
        with np.errstate(all="ignore"):  # inf - inf is the NaN that numpy makes of it
            away = np.abs(values - _center(state, middles))
        return away, away.view(np.int32)  # bits of what is not negative are keys
    low, high = middles.astype(np.int32)
    x = keys.astype(np.int32)
    # from half an integer every distance is a half more than this: `finish` adds it
    whole = np.maximum(((low + high) >> 1) - x, x - ((low + high + 1) >> 1))
    return whole, whole


def _nan_count(values: Array) -> NDArray[np.uint32]:
    """Count NaN per column: only in columns whose sum, quick to take, is one."""
    with np.errstate(all="ignore"):
        suspects = np.isnan(values.sum(axis=0))
    number = np.zeros(values.shape[1], np.uint32)
    number[suspects] = np.isnan(values[:, suspects]).sum(axis=0)
    return number


def _center(state: State, keys: Array) -> Array:
    """Median (or MAD of floats) from the keys of the two middle values, (2, ...) -> (...)."""
    native = to_keys(np.zeros((1, 1), state.dtype))[0].dtype
    low, high = from_keys(keys.astype(native), state.dtype).astype(result_dtype(state.dtype))
    with np.errstate(all="ignore"):
        middle: Array = low if state.n_frames % 2 else (low + high) / 2
    return middle


@njit(nogil=True, cache=True)
def _tally(keys: Array, rows: Array, low: Array, shift: Array, counts: Array) -> None:
    """Add keys, (frame, search), to the rows of `counts`."""
    bins = counts.shape[1] - _BINS - 1
    for begin in range(0, rows.size, 64):  # the counts of 64 searches stay in the cache
        some = rows[begin : begin + 64]
        lows, shifts = low[some], shift[some]
        for t in range(keys.shape[0]):
            for i in range(some.size):
                # no branch: it would be mispredicted at every other sample
                bin_ = (np.int64(keys[t, begin + i]) - lows[i]) >> shifts[i]
                counts[some[i], _BINS + min(max(bin_, -1), bins)] += np.uint32(1)


# ------------------------------------------------------------------------------------ narrowing


def _mark_lost(state: State, counts: NDArray[np.uint32]) -> None:
    """Give up both results at a NaN sample, the MAD at a NaN deviation: of an infinite median."""
    nan = counts[:, _LOST] > 0
    state.lost[0, state.pixel[nan & (state.stage == MEDIAN)]] = True
    state.lost[1, state.pixel[nan]] = True


@njit(nogil=True, cache=True)
def _locate(counts: Array, rank: int) -> NDArray[np.int64]:
    """Bin that holds rank `rank` of each search: -1 below the bracket, the bin count above it."""
    found = np.empty(counts.shape[0], np.int64)
    for row in range(counts.shape[0]):
        bin_ = -1
        total = np.int64(counts[row, _UNDER])
        while total <= rank and _BINS + bin_ + 1 < counts.shape[1]:
            bin_ += 1
            total += counts[row, _BINS + bin_]
        found[row] = bin_
    return found


def _split(state: State, low_bin: Array, high_bin: Array, alive: Array) -> _Searches:
    """Every search in its bin: one for both ranks while they share it, else one for each."""
    shared = (state.side == BOTH) & (low_bin == high_bin)
    return (
        _in_bin(state, low_bin, BOTH, alive & shared)
        + _in_bin(state, low_bin, LOW, alive & ~shared & (state.side & LOW > 0))
        + _in_bin(state, high_bin, HIGH, alive & ~shared & (state.side & HIGH > 0))
    )


def _in_bin(state: State, bin_: Array, side: int, chosen: Array) -> _Searches:
    """Bracket of a bin; below or above all bins, what is left of the keys there are."""
    ranges = np.array([_key_range(state.dtype, stage) for stage in (MEDIAN, MAD)])
    least, most = ranges[state.stage].T
    low = np.where(bin_ < 0, least, np.maximum(state.low + (bin_ << state.shift), least))
    high = np.where(bin_ < state.bins, state.low + ((bin_ + 1) << state.shift), most)
    sides = np.full(bin_.shape, side, np.uint8)
    return _Searches(state.pixel, state.stage, sides, low, np.minimum(high, most))[chosen]


def _record(state: State, searches: _Searches) -> None:
    """Write down the keys that are found."""
    done = searches[searches.high - searches.low == 1]
    for row, side in ((0, LOW), (1, HIGH)):
        this = done[done.side & side > 0]
        state.found[2 * this.stage + row, this.pixel] = this.low


def _settle_mads(state: State, counts: NDArray[np.uint32], alive: Array) -> None:
    """Read the MAD of integers from the histogram of the median, where its bins prove it."""
    open_ = alive & (state.stage == MEDIAN) & (state.side == BOTH) & (state.shift == 0)
    rows = np.flatnonzero(open_ & (state.found[:2, state.pixel] != _UNKNOWN).all(axis=0))
    pixel = state.pixel[rows]
    keys = _deviations_of(counts, rows, state.found[:2, pixel] - state.low[rows], state.n_frames)
    proven = keys[0] >= 0
    state.found[2:, pixel[proven]] = keys[:, proven]


@njit(nogil=True, cache=True)
def _deviations_of(counts: Array, rows: Array, center: Array, n_frames: int) -> NDArray[np.int64]:
    """Middle deviations of unit histograms around the bins `center`; -1 where a bin is missing."""
    bins = counts.shape[1] - _BINS - 1
    found = np.full((2, rows.size), -1, np.int64)
    for i in range(rows.size):
        floor = (center[0, i] + center[1, i]) >> 1
        ceiling = (center[0, i] + center[1, i] + 1) >> 1
        total = np.int64(0)
        distance = 0
        low = -1
        while floor - distance >= 0 and ceiling + distance < bins:
            total += counts[rows[i], _BINS + floor - distance]
            if ceiling + distance > floor - distance:
                total += counts[rows[i], _BINS + ceiling + distance]
            if low < 0 and total > (n_frames - 1) // 2:
                low = distance
            if total > n_frames // 2:
                found[0, i], found[1, i] = low, distance
                break
            distance += 1
    return found


def _new_mads(state: State, searches: _Searches) -> _Searches:
    """Begin the search for the MAD where the median is found in this pass and the MAD is not."""
    pixel = np.unique(searches.pixel[searches.stage == MEDIAN])
    keys = state.found[:3, pixel]
    ready = (keys[:2] != _UNKNOWN).all(axis=0) & (keys[2] == _UNKNOWN)
    low, high = _mad_guess(state.guess[1, pixel[ready]], state.dtype)
    return _searches(pixel[ready], MAD, low, high)
