"""Sums of the corner of Fourier space, pair by pair, for frames whose windows all count."""

import numpy as np
from scipy.ndimage import correlate1d

from smlm_dask.kernels.corner import (
    COLUMNS,
    EDGE,
    FINE,
    GROUPS,
    KEYS,
    TAPS,
    TILES,
    TIME,
    ZERO,
)


def filtered(image, taps):
    for axis in range(2):
        image = correlate1d(image, np.asarray(taps, "f8"), axis=axis)
    return image


def light_and_noise(a, b, taps):
    """Mean under the squared filter, and squared filter of the difference, of the same variance."""
    squares = np.square(taps) / np.sum(np.square(taps))
    norm = np.sum(np.square(taps))
    difference = (a - b) / np.sqrt(2)
    return filtered((a + b) / 2, squares), np.square(filtered(difference, taps) / norm)


def beyond(a, b, reach, distance):
    """Mean light of the rows above and below a window."""
    total = a + b
    wide = correlate1d(total, np.ones(2 * reach + 1), axis=1)
    both = np.zeros_like(wide)
    inner = slice(distance, -distance)
    both[inner] = wide[: -2 * distance] + wide[2 * distance :]
    return both.astype("f4") * np.float32(1 / (4 * (2 * reach + 1)))


def key(light, centre):
    above = light - np.float32(centre)
    place = ZERO + np.copysign(np.float32(FINE) * np.sqrt(abs(above)), above)
    return np.clip(place, 0, KEYS - 1).astype(int)


def table(frames, first, group, stride, centre, skip):
    """The table of ``corner_sums`` (GROUPS, KEYS, 7), without the windows of ``skip`` (y, x)."""
    out = np.zeros((GROUPS, KEYS, len(COLUMNS)))
    height, width = frames.shape[1:]
    rows = np.arange(EDGE, height - EDGE, stride)
    columns = np.arange(EDGE, width - EDGE, stride)
    tile = (rows * TILES // height * TILES)[:, None] + columns * TILES // width
    at = np.nonzero(~skip[np.ix_(rows, columns)])
    tile, at = tile[at], (rows[at[0]], columns[at[1]])
    for i, g in zip(first, group, strict=True):
        a, b = frames[i : i + 2].astype("f8")
        middle = np.float32(centre[i] + centre[i + 1]) / np.float32(2)
        place = key(beyond(a, b, 3, 4), middle)[at]
        zero = ((a == 0) | (b == 0)).astype("f8")[at]
        images = [image[at] for n in (5, 7) for image in light_and_noise(a, b, TAPS[n])]
        for group_of in (np.full(tile.shape, g), TIME + tile):
            np.add.at(out, (group_of, place, 0), 1)
            for k, values in enumerate([zero, *images], start=2):
                np.add.at(out, (group_of, place, k), values)
    return out


def spectra(a, b, side):
    """Spectrum of the tapered difference of two frames, in patches: (row, column, ky, kx)."""
    taper = np.sin(np.pi * (np.arange(side) + 0.5) / side)
    out = np.zeros((a.shape[0] // side, a.shape[1] // side, side, side))
    for row, column in np.ndindex(out.shape[:2]):
        part = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        difference = (a[part].astype("f8") - b[part]) * np.outer(taper, taper)
        out[row, column] = abs(np.fft.fft2(difference)) ** 2
    return out


def frequencies(side):
    """Radius, and the smaller of both frequencies, of each place of a spectrum, in Nyquist frequencies."""
    k = abs(2 * np.fft.fftfreq(side))
    return np.hypot(k[:, None], k), np.minimum(k[:, None], k)


def pair_variance(distance, dither):
    """``(1.4826 median)^2 / 2`` of dithered differences, averaged over many dithers."""
    spread = [np.median(abs(distance + u), axis=0) for u in dither]
    return (np.square(1.4826 * np.mean(spread, axis=0)) - 1 / 12) / 2


def ramp_variance(frames, limit):
    """Half the mean square of clipped differences, less what drift leaves in them."""
    frames = frames.astype("f8")
    square = np.minimum(np.square(np.diff(frames, axis=0)), limit)
    half = len(frames) // 2
    drift = (frames[-half:].mean(axis=0) - frames[:half].mean(axis=0)) / (len(frames) - half)
    return square.mean(axis=0) / 2 - drift**2 / 2
