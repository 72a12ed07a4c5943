"""A movie whose frames are logged when they are read, and a store of it in a process that can be killed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

import smlm_dask as smlm

WINDOWS, WINDOW, SIDE, THREADS = 80, 10, 16, 2
SECONDS = 0.02  # for each chunk: time to be killed in


def build(folder: Path, seconds: float = SECONDS) -> dict[str, xr.Dataset]:
    """The background of a movie of 80 windows, each read in a task that writes a byte to the log."""
    path = folder / "movie.npy"
    if not path.exists():
        rng = np.random.default_rng(0)
        np.save(path, rng.poisson(50, (WINDOWS * WINDOW, SIDE, SIDE)).astype("u2"))
    movie = smlm.open_movie(path, pixel_size=100, chunks=WINDOW)
    log = str(folder / "log")
    logged = movie.copy(
        data=da.map_blocks(_logged, movie.data, log, seconds, meta=movie.data._meta)
    )
    return {"background": smlm.background_sparse_median(logged, window=WINDOW)}


def _logged(block: NDArray[Any], log: str, seconds: float) -> NDArray[Any]:
    time.sleep(seconds)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b".")
    os.close(file)
    return block


def count(folder: Path) -> int:
    """How often a chunk was read."""
    log = folder / "log"
    return log.stat().st_size if log.exists() else 0


def main(folder: Path) -> None:
    """Store the background of the movie."""
    with dask.config.set(num_workers=THREADS):
        smlm.store(build(folder), folder / "r.zarr")
