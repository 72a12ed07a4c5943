"""Sums for the PSF beside smlmlp's primitives: ``python benchmarks/psf.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from peers import cpu_times, row, show
from scipy import fft

from smlm_dask.kernels.fluctuation import lag_sums
from smlm_dask.kernels.psf import autocorrelation, power_spectrum
from smlm_dask.kernels.selection import median

LAGS = 41
# Kernel, shape of the movie, and the speed-up wanted against smlmlp's primitives.
STAGES = {
    "fluctuation": ((200, 128, 128), 4.0),
    "median + autocorrelation": ((200, 128, 128), 4.0),
    "autocorrelation alone": ((64, 256, 256), None),
}


def movie(shape: tuple[int, int, int]) -> np.ndarray:
    generator = np.random.default_rng(0)
    frames = 2 * generator.poisson(30, shape).astype(np.float32) + 100
    for frame in frames:
        for y, x in generator.integers(2, np.array(shape[1:]) - 2, (33, 2)):
            frame[y - 1 : y + 2, x - 1 : x + 2] += 200
    return frames.astype(np.uint16)


def fluctuation(frames: np.ndarray, _: bool) -> np.ndarray:
    """The default, beside what it stands for: smlmlp's takes the median off each frame."""
    return sum(lag_sums(frames[i : i + 50], LAGS // 2) for i in range(0, len(frames), 50))


def ours(frames: np.ndarray, with_median: bool) -> np.ndarray:
    power = power_spectrum(frames, median(frames) if with_median else None)
    return autocorrelation(power, len(frames), frames.shape[1:], LAGS)


def numpy_float64(frames: np.ndarray, with_median: bool) -> np.ndarray:
    movie = frames.astype(np.float64)
    if with_median:
        movie = np.maximum(movie - np.median(movie, axis=0), 0)
    movie -= movie.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.rfft2(movie)) ** 2
    return np.fft.irfft2(power).mean(axis=0)


def inverse_per_frame(frames: np.ndarray, with_median: bool) -> np.ndarray:
    movie = frames.astype(np.float32)
    if with_median:
        movie = np.maximum(movie - np.median(movie, axis=0), 0)
    movie -= movie.mean(axis=(1, 2), keepdims=True)
    return fft.irfft2(np.abs(fft.rfft2(movie)) ** 2).mean(axis=0)


def smlmlp_primitives() -> Callable[[np.ndarray, bool], np.ndarray] | None:
    try:
        import bottleneck
        from arrlp import img_autocorr
    except ImportError:
        return None

    def call(frames: np.ndarray, with_median: bool) -> np.ndarray:
        movie = frames.astype(np.float32)
        if with_median:
            movie = movie - np.minimum(bottleneck.median(movie, axis=0), movie)
        movie -= movie.mean(axis=(1, 2), keepdims=True)
        return img_autocorr(movie, stacks=True).mean(axis=0)

    return call


def rows() -> list[dict[str, Any]]:
    peers = {
        "smlmlp primitives": smlmlp_primitives(),
        "scipy, inverse per frame": inverse_per_frame,
        "numpy float64": numpy_float64,
    }
    table = []
    for kernel, (shape, gate) in STAGES.items():
        frames, with_median = movie(shape), kernel != "autocorrelation alone"
        mine = fluctuation if kernel == "fluctuation" else ours
        functions = {"ours": mine} | {name: call for name, call in peers.items() if call}
        calls = {n: lambda f=f: f(frames, with_median) for n, f in functions.items()}  # noqa: B023
        seconds = cpu_times(calls)
        for peer in peers:
            wanted = gate if peer == "smlmlp primitives" else None
            table.append(row(kernel, peer, seconds, frames.size, wanted))
    return table


if __name__ == "__main__":
    show(rows())
