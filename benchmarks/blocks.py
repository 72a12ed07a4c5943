"""Whole blocks on a zarr store, two threads: process-CPU time beside decoding and the bare kernels.

    python benchmarks/blocks.py [--frames 2000] [--size 512] [--repeats 3]

``decode`` reads every chunk of the store once through zarr alone. ``bare`` adds the block's kernels,
called on chunks in memory. A block may take 1.3 times decode + bare; gain and sparse median 1.8 times
decode; gain, sparse median and PSF together twice decode.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import zarr
from peers import show

import smlm_dask as smlm
from smlm_dask.gain import _pairs
from smlm_dask.kernels.background import upper_median
from smlm_dask.kernels.corner import corner_sums
from smlm_dask.kernels.fluctuation import lag_sums
from smlm_dask.kernels.gain import robust_moments
from smlm_dask.kernels.integrate import Knowledge, integrate_likelihood
from smlm_dask.kernels.likelihood import PRIOR
from smlm_dask.kernels.smooth import gaussian_taps, smooth

WINDOW, THREADS = 200, 2


def make_store(path: Path, frames: int, size: int, chunk: int) -> Path:
    """A camera-like movie with zarr's default codec: Poisson background with a gradient and blinks."""
    rng = np.random.default_rng(1)
    store = zarr.create_array(
        path, shape=(frames, size, size), chunks=(chunk, size, size), dtype="u2"
    )
    level = np.linspace(30, 90, size)[None, None, :]
    for start in range(0, frames, chunk):
        part = 100 + rng.poisson(level, (min(chunk, frames - start), size, size)) / 0.5
        part += rng.normal(0, 3, part.shape)
        for f in range(len(part)):
            y, x = rng.integers(4, size - 4, (2, 20))
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    part[f, y + dy, x + dx] += 200 * 0.6 ** (dy * dy + dx * dx)
        store[start : start + chunk] = np.clip(np.rint(part), 0, 65535).astype("u2")
    return path


def cpu(function: Callable[[], Any], repeats: int) -> float:
    """Least process-CPU seconds, after one run that compiles: the system's share is noise."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def spread(function: Callable[[int], Any], count: int) -> Callable[[], None]:
    """``function(i)`` for every i on as many threads as dask gets."""

    def run() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(function, range(count)))

    return run


def rows(
    frames: int = 2000, size: int = 512, repeats: int = 3, chunk: int = WINDOW
) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(scheduler="threads", num_workers=THREADS),
    ):
        path = make_store(Path(folder) / "movie.zarr", frames, size, chunk)
        return list(measure(path, repeats))


def measure(path: Path, repeats: int) -> Any:
    movie = smlm.open_movie(path, pixel_size=100)
    store = zarr.open_array(path)
    count, step = -(-len(movie) // WINDOW), store.chunks[0]
    sample = np.asarray(store[:WINDOW])
    spots, block_rows = table(movie)
    taps = [gaussian_taps(3.5)] * 2
    images = np.empty((0, 0, 0), "f4")
    none = images, np.empty(0, "i8"), np.empty(0), images
    fit = Knowledge(relative=True, known=PRIOR, robust=False, joint=False), 1.4
    sensor = 0.5, 1.0, 100.0, None, 1.0
    model = (*fit, (11, 11), (100.0, 100.0), *sensor, (False,) * 3, 120.0, 120.0, 0.0)
    # The default keeps at most 400 frames, in windows of 50.
    part = sample[:50]

    decode = cpu(
        spread(lambda i: store[i * step : (i + 1) * step], -(-len(movie) // step)), repeats
    )
    bare = {
        "gain": lambda i: corner_sums(
            *picked(sample, _pairs(len(movie), sample[0].size, WINDOW), i)
        ),
        "gain, smlmlp": lambda i: robust_moments(sample),
        "median": lambda i: upper_median(sample),
        "mean": lambda i: smooth(sample, *taps).sum(),
        "psf": lambda i: lag_sums(part, 20) if i < 400 // 50 else None,
        "photons": lambda i: integrate_likelihood(sample, *block_rows, *none, *model),
    }
    cost = {name: cpu(spread(kernel, count), repeats) for name, kernel in bare.items()}
    camera = smlm.as_camera(0.5, offset=100.0)

    def photons(gain: Any) -> Any:
        return smlm.integrate_photons(movie, spots, camera=gain, psf=120.0)

    blocks: dict[str, tuple[Callable[[], Any], float, float]] = {
        "gain": (lambda: smlm.estimate_gain(movie), decode + cost["gain"], 1.8),
        "gain, smlmlp": (
            lambda: smlm.estimate_gain(movie, method="smlmlp"),
            decode + cost["gain, smlmlp"],
            1.8,
        ),
        "median": (lambda: smlm.background_sparse_median(movie), decode + cost["median"], 1.8),
        "mean": (
            lambda: smlm.background_spatial_mean(movie).background.data.sum(),
            decode + cost["mean"],
            0,
        ),
        "psf": (lambda: smlm.estimate_psf(movie), decode + cost["psf"], 0),
        "photons": (lambda: photons(camera), decode + cost["photons"], 0),
    }
    for name, (build, wanted, of_decode) in blocks.items():
        seconds = cpu(lambda build=build: build().compute(), repeats)
        yield line(name, seconds, wanted, decode, of_decode)
    seconds = cpu(lambda: dask.compute(*together(movie)), repeats)
    yield line("gain + median + psf", seconds, float("nan"), decode, 2.0)
    lazy = smlm.estimate_gain(movie, offset=100.0)
    seconds = cpu(lambda: photons(lazy).compute(), repeats)
    yield line(
        "photons, lazy gain", seconds, 2 * decode + cost["gain"] + cost["photons"], decode, 0
    )


def picked(sample: Any, pairs: Any, i: int) -> tuple[Any, ...]:
    """The frames of the pairs of window ``i``, and how they are paired."""
    frames, arguments = pairs[0][i] - i * WINDOW, pairs[1][i]
    return sample[frames[frames < WINDOW]], *arguments


def together(movie: Any) -> tuple[Any, ...]:
    return smlm.estimate_gain(movie), smlm.background_sparse_median(movie), smlm.estimate_psf(movie)


def table(movie: Any) -> tuple[pd.DataFrame, tuple[Any, Any]]:
    rng = np.random.default_rng(2)
    n, size = 20 * len(movie), movie.shape[1]
    xy = rng.uniform(800, (size - 9) * 100, (n, 2))
    frame = np.sort(rng.integers(0, len(movie), n))
    spots = pd.DataFrame({"frame": frame, "x": xy[:, 0], "y": xy[:, 1], "background": 60.0})
    first = frame < WINDOW
    corner = np.rint(xy[first] / 100) - 5
    nan = np.full(first.sum(), np.nan)
    local = xy[first] - corner * 100
    known = [
        np.full(first.sum(), value) for value in (0.0, 60.0, 0.1, 0.0)
    ]  # z, background, errors
    columns = [corner[:, 1], corner[:, 0], local[:, 1], local[:, 0], *known, nan, nan, nan]
    return spots, (frame[first], np.column_stack(columns))


def line(name: str, seconds: float, wanted: float, decode: float, limit: float) -> dict[str, Any]:
    first, second = seconds / wanted, seconds / decode
    return {
        "block": name,
        "cpu s": seconds,
        "/ (decode + kernels)": first,
        "/ decode": second,
        "gates": f"1.3, {limit}" if limit else "1.3",
        "met": not first > 1.3 and (not limit or second <= limit),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=WINDOW)
    arguments = parser.parse_args()
    show(rows(**vars(arguments)))


if __name__ == "__main__":
    main()
