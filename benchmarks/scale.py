"""Blocks on movies of any size: seconds and peak memory, each in a process of its own.

    python benchmarks/scale.py [--size 512] [--frames 2000 190000] [--threads 2] [--cases gain psf]
    python benchmarks/scale.py --graph          # a movie of a terabyte: the graph alone

The movie is 400 simulated frames over and over, so that it needs no disk and no decoding; what is computed is
thrown away. ``peak`` is of the whole process, imports and compiled kernels included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
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
        places = np.arange(*box[0].indices(self.shape[0])) % BASE
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


def one(name: str, count: int, size: int, threads: int) -> dict[str, Any]:
    """In this process: once to compile, and once to measure."""
    with dask.config.set(scheduler="threads", num_workers=threads):
        frames = frames_of(size)
        compute(name, movie_of(frames, 2 * BASE))
        begin, worked = time.perf_counter(), time.process_time()
        compute(name, movie_of(frames, count))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - worked
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return {
        "block": name,
        "frames": count,
        "GB": count * size * size * 2 / 1e9,
        "threads": threads,
        "s": seconds,
        "cpu us / frame": cpu / count * 1e6,
        "GB / s": count * size * size * 2 / 1e9 / seconds,
        "peak GiB": peak / 2**20,
    }


def graphs() -> list[dict[str, Any]]:
    """What the graph of a terabyte costs before anything is computed."""
    table = []
    movie = movie_of(np.zeros((BASE, 160, 160), "u2"), TERA * WINDOW)
    for name, block in CASES.items():
        if "photons" in name:  # a table of ten million rows is another question
            continue
        begin = time.perf_counter()
        wanted = arrays(block(movie))
        built = time.perf_counter() - begin
        tasks = sum(len(layer) for layer in _layers(wanted).values())
        table.append(
            {"block": name, "build s": built, "us / chunk": built / TERA * 1e6, "tasks": tasks}
        )
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
    parser.add_argument("--one", nargs=4)
    known = parser.parse_args()
    if known.one:
        name, *numbers = known.one
        print(json.dumps(one(name, *map(int, numbers))))
        return
    if known.graph:
        show(graphs())
        return
    table = []
    for name in known.cases:
        for threads in known.threads:
            for count in known.frames:
                numbers = map(str, (count, known.size, threads))
                command = [sys.executable, "-W", "ignore", __file__, "--one", name, *numbers]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                table.append(json.loads(done.stdout.splitlines()[-1]))
                print(table[-1], file=sys.stderr, flush=True)
    show(table)


if __name__ == "__main__":
    main()
