"""Blocks on movies of any size: seconds and peak memory, each in a process of its own.

    python benchmarks/scale.py [--size 512] [--frames 2000 190000] [--threads 2] [--cases gain psf]
    python benchmarks/scale.py --write movie.zarr --frames 190000       # the movie as a file
    python benchmarks/scale.py --file movie.zarr [--workers 1 2 4]      # read from there, by worker processes
    python benchmarks/scale.py --graph          # a movie of a terabyte: the graph alone

The movie is 400 simulated frames over and over; without a file it needs no disk and no decoding. What is
computed is thrown away. ``peak`` is of the whole process, imports and compiled kernels included; of workers
the largest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from peers import show

import smlm_dask as smlm
from smlm_dask import _graph

BASE, PIXEL, WINDOW = 400, 100.0, 200
EVERY = 2  # frames from emitter to emitter
TERA = 10**5  # chunks of 200 frames of 160 x 160: 1.02 TB


class Repeated:
    """A stored movie that is the same frames over and over."""

    ndim = 3

    def __init__(self, frames: Any, count: int) -> None:
        self.frames, self.shape, self.dtype = frames, (count, *frames.shape[1:]), frames.dtype

    def __dask_tokenize__(self) -> Any:
        return "repeated", self.shape

    def __getitem__(self, box: tuple[slice, ...]) -> Any:
        places = np.arange(self.shape[0])[box[0]] % BASE
        return self.frames[places, box[1], box[2]]


def frames_of(size: int) -> Any:
    emitters = smlm.Emitters(number=size * size // 200)
    light = smlm.Light(background=30, gradient=0.5)
    movie, _ = smlm.simulate_movie(BASE, (size, size), emitters=emitters, light=light, seed=0)
    return movie.to_numpy()


def movie_of(frames: Any, count: int) -> xr.DataArray:
    return smlm.as_movie(Repeated(frames, count), pixel_size=PIXEL, chunks=WINDOW)


def spots_of(movie: xr.DataArray) -> pd.DataFrame:
    frame = np.arange(0, len(movie), EVERY)
    places = np.random.default_rng(1).uniform(10, movie.shape[1] - 10, (len(frame), 2)) * PIXEL
    columns = {"frame": frame, "x": places[:, 0], "y": places[:, 1], "background": 30.0}
    return pd.DataFrame(columns)


CAMERA = {"offset": 100.0, "read_noise": 1.4}


def chain(movie: xr.DataArray) -> dict[str, xr.Dataset]:
    camera = smlm.estimate_gain(movie, offset=100)
    psf = smlm.estimate_psf(movie)
    background = smlm.estimate_background(movie, camera=camera)
    signal = smlm.integrate_photons(
        movie, spots_of(movie), psf=psf, camera=camera, background=background
    )
    return {"camera": camera, "psf": psf, "background": background, "signal": signal}


CASES: dict[str, Callable[[xr.DataArray], Any]] = {
    "gain": smlm.estimate_gain,
    "sparse median": smlm.background_sparse_median,
    "spatial mean": smlm.background_spatial_mean,
    "background": lambda m: smlm.estimate_background(m, camera=smlm.as_camera(0.46, **CAMERA)),
    "psf": smlm.estimate_psf,
    "photons": lambda m: smlm.integrate_photons(
        m, spots_of(m), camera=smlm.as_camera(0.46, **CAMERA), psf=120.0
    ),
    "gain, PSF, background, photons": chain,
}


def arrays(result: Any) -> list[Any]:
    datasets = result.values() if isinstance(result, dict) else [result]
    return [v.data for d in datasets for v in d.variables.values() if _graph.is_lazy(v.data)]


def nowhere(index: tuple[int, ...], block: Any) -> None:
    """Forget what is written."""


def compute(name: str, movie: xr.DataArray) -> None:
    wanted = arrays(CASES[name](movie))
    _graph.write(
        *(_graph.Job("nowhere", nowhere, a, list(np.ndindex(*a.numblocks))) for a in wanted)
    )


def one(name: str, count: int, size: int, threads: int, file: str, workers: int) -> dict[str, Any]:
    """In this process, or in workers of it: once to compile, and once to measure."""
    client = smlm.cluster(workers=workers, threads=threads) if workers else None
    with dask.config.set({} if client else {"scheduler": "threads", "num_workers": threads}):
        frames = None if file else frames_of(size)
        movie = smlm.open_movie(file) if file else movie_of(frames, max(count, 2 * BASE))
        compute(name, movie[: 2 * BASE])
        movie = movie[:count]
        begin, worked = time.perf_counter(), cpu(client)
        compute(name, movie)
        seconds, spent = time.perf_counter() - begin, cpu(client) - worked
        peak = max(client.run(peak_bytes).values()) if client else peak_bytes()
    if client:
        client.close()
    return {
        "block": name,
        "frames": len(movie),
        "GB": movie.nbytes / 1e9,
        "workers": workers,
        "threads": threads,
        "s": seconds,
        "cpu us / frame": spent / len(movie) * 1e6,
        "GB / s": movie.nbytes / 1e9 / seconds,
        "peak GiB": peak / 2**30,
    }


def cpu(client: Any) -> float:
    """Seconds of CPU of this process, and of its workers."""
    return time.process_time() + sum(client.run(time.process_time).values() if client else ())


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def write(path: str, count: int, size: int) -> None:
    begin = time.perf_counter()
    movie = movie_of(frames_of(size), count)
    smlm.ingest(movie, path)
    seconds = time.perf_counter() - begin
    stored = sum(p.stat().st_size for p in Path(path).rglob("*") if p.is_file())
    print(f"{movie.nbytes / 1e9:.1f} GB in {seconds:.0f} s, {stored / 1e9:.1f} GB stored", end=", ")
    print(f"peak {peak_bytes() / 2**30:.2f} GiB")


def graphs() -> list[dict[str, Any]]:
    """What the graph of a terabyte costs before anything is computed: seconds of CPU."""
    table = []
    movie = movie_of(np.zeros((BASE, 160, 160), "u2"), TERA * WINDOW)
    for name, block in CASES.items():
        if "photons" in name:  # a table of ten million rows is another question
            continue
        begin = time.process_time()
        result = block(movie)
        built = time.process_time()
        told = smlm.plan(result, threads=2, memory_limit="100 GB")
        seconds = built - begin, time.process_time() - built
        table.append(
            {
                "block": name,
                "build s": seconds[0],
                "plan s": seconds[1],
                "us / chunk": sum(seconds) / TERA * 1e6,
                "tasks": sum(len(layer) for layer in _layers(arrays(result)).values()),
                "told GiB": told.memory / 2**30,
            }
        )
        print(table[-1], file=sys.stderr, flush=True)
    return table


def _layers(wanted: list[Any]) -> dict[str, Any]:
    return {name: layer for a in wanted for name, layer in a.dask.layers.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, nargs="*", default=[2000, 190_000])
    parser.add_argument("--threads", type=int, nargs="*", default=[2])
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--write")
    parser.add_argument("--file", default="")
    parser.add_argument("--workers", type=int, nargs="*", default=[0])
    parser.add_argument("--one", nargs=6)
    known = parser.parse_args()
    if known.one:
        name, count, size, threads, file, workers = known.one
        print(json.dumps(one(name, int(count), int(size), int(threads), file, int(workers))))
        return
    if known.write:
        write(known.write, max(known.frames), known.size)
        return
    if known.graph:
        show(graphs())
        return
    table = []
    for case in product(known.cases, known.workers, known.threads, known.frames):
        name, workers, threads, count = case
        words = name, count, known.size, threads, known.file, workers
        command = [sys.executable, "-W", "ignore", __file__, "--one", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        table.append(json.loads(done.stdout.splitlines()[-1]))
        print(table[-1], file=sys.stderr, flush=True)
    show(table)


if __name__ == "__main__":
    main()
