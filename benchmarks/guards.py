"""Our kernels against what the machine can do: reading, copying, two threads, a warm start.

``python benchmarks/guards.py``. Ratios of ours to the machine's, so smaller is better; ``cores`` is the
process-CPU time of two calls on two threads over their wall time, ``inflation`` over that of two calls
one after the other. Two threads need an idle machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from peers import cpu_times, show
from selection import full_range, movie

from smlm_dask.kernels.selection import median_and_mad
from smlm_dask.kernels.smooth import gaussian_taps, smooth

REPEATS = 7
# A fresh process from its first import to the first number, the compiled kernels on disk.
STARTS = {
    "kernel": """
import numpy as np
from smlm_dask.kernels.selection import median_and_mad
median_and_mad(np.arange(15 * 64, dtype="u2").reshape(15, 8, 8))
""",
    "block": """
import numpy as np, smlm_dask as smlm
movie = smlm.as_movie(np.arange(15 * 64, dtype="u2").reshape(15, 8, 8), pixel_size=100)
smlm.background_sparse_median(movie, window=15).series.compute()
""",
}


def line(what: str, value: float, most: float | None = None, least: float | None = None) -> dict:
    met = None if most is None and least is None else value <= most if most else value >= least
    gate = f"<= {most:g}" if most else f">= {least:g}" if least else None
    return {"what": what, "value": value, "gate": gate, "met": met}


def rows() -> list[dict[str, Any]]:
    frames = movie(200)
    words, target = frames.reshape(-1).view("u8"), np.empty_like(frames)
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: np.bitwise_or.reduce(words),
        "copy": lambda: np.copyto(target, frames),
        "median and MAD": lambda: median_and_mad(frames),
    }
    random = full_range(200)
    calls["median and MAD, random samples"] = lambda: median_and_mad(random)
    for sigma in (3.5, 10):
        taps = gaussian_taps(sigma)
        calls[f"smooth sigma {sigma}"] = lambda taps=taps: smooth(frames, taps, taps)
    seconds = cpu_times(calls, REPEATS)
    median = seconds["median and MAD"]
    copy = 1.5 * seconds["copy"]  # of uint16, 4 bytes a pixel; the mean reads 2 and writes 4
    table = [
        line("median and MAD / stream read", median / seconds["read"], most=30),
        line(
            "median and MAD of random samples / of a movie",
            seconds["median and MAD, random samples"] / median,
            most=2,
        ),
        line("smooth sigma 3.5 / copy of as much", seconds["smooth sigma 3.5"] / copy, most=15),
        line("smooth sigma 10 / copy of as much", seconds["smooth sigma 10"] / copy),
    ]
    for name in ("median and MAD", "smooth sigma 3.5"):
        cores, inflation = threads(calls[name])
        table.append(line(f"{name}, two threads: cores", cores, least=1.7))
        table.append(line(f"{name}, two threads: inflation", inflation, most=1.25))
    table += [
        line(f"warm start of a {name}, s", start(code), most=1) for name, code in STARTS.items()
    ]
    return table


def threads(call: Callable[[], object]) -> tuple[float, float]:
    """Cores that two threads use, and their CPU time over that of the same calls in turn."""
    cores, inflation = [], []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(REPEATS):
            begin = time.process_time()
            call(), call()
            alone = time.process_time() - begin
            wall, begin = time.perf_counter(), time.process_time()
            for future in [pool.submit(call) for _ in range(2)]:
                future.result()
            together = time.process_time() - begin
            cores.append(together / (time.perf_counter() - wall))
            inflation.append(together / alone)
    return float(np.median(cores)), float(np.median(inflation))


def start(code: str) -> float:
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


if __name__ == "__main__":
    show(rows())
