"""`ingest` beside the slower of disk and codec: ``python benchmarks/ingesting.py``.

Seconds on the wall clock, medians of calls that take turns. The disk writes as many bytes as the copy has and
flushes each shard; the codec encodes and decodes every chunk, two at a time. A copy that is read back needs
both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
from numcodecs import Blosc
from peers import Row, show
from reading import PIXEL_SIZE, frames

import smlm_dask as smlm
from smlm_dask.shards import INNER_FRAMES, INNER_PIXELS, LEVEL

TURNS, TIMES = 5, 2  # turns; how often the movie of the reading benchmark is repeated
GATE = 0.8


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        movie = np.tile(frames(), (TIMES, 1, 1))
        np.save(folder / "movie.npy", movie)
        chunks = [
            np.ascontiguousarray(
                movie[f : f + INNER_FRAMES, y : y + INNER_PIXELS, x : x + INNER_PIXELS]
            )
            for f in range(0, movie.shape[0], INNER_FRAMES)
            for y in range(0, movie.shape[1], INNER_PIXELS)
            for x in range(0, movie.shape[2], INNER_PIXELS)
        ]
        encoded = [_codec().encode(chunk) for chunk in chunks[:16]]
        ratio = sum(map(len, encoded)) / sum(chunk.nbytes for chunk in chunks[:16])
        calls = {
            "ours": lambda: _ingest(folder),
            "codec": lambda: _through_codec(chunks),
            "disk": lambda: _write(folder, movie, ratio),
        }
        seconds = _medians(calls)
    slower = max(seconds["codec"], seconds["disk"])
    return [
        {
            "movie": f"{movie.nbytes / 1e6:.0f} MB, {ratio:.2f} of it stored",
            "ours s": seconds["ours"],
            "codec s": seconds["codec"],
            "disk s": seconds["disk"],
            "slower / ours": slower / seconds["ours"],
            "gate": GATE,
            "met": slower / seconds["ours"] >= GATE,
        }
    ]


def _codec() -> Blosc:
    return Blosc("lz4", LEVEL, Blosc.BITSHUFFLE)


def _ingest(folder: Path) -> None:
    with dask.config.set(num_workers=2):
        smlm.ingest(folder / "movie.npy", folder / "movie.zarr", pixel_size=PIXEL_SIZE)
    shutil.rmtree(folder / "movie.zarr")


def _through_codec(chunks: list[np.ndarray]) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda chunk: len(_codec().decode(_codec().encode(chunk))), chunks))


def _write(folder: Path, movie: np.ndarray, ratio: float) -> None:
    """As many bytes as the copy has, shard by shard, each flushed."""
    step = 200
    for begin in range(0, len(movie), step):
        part = movie[begin : begin + step]
        path = folder / f"{begin}.part"
        with path.open("wb") as file:
            file.write(memoryview(part).cast("B")[: int(part.nbytes * ratio)])
            os.fsync(file.fileno())
    for begin in range(0, len(movie), step):
        (folder / f"{begin}.part").unlink()


def _medians(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


if __name__ == "__main__":
    show(rows())
