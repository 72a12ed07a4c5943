"""Order statistics over frames beside smlmlp and numpy: ``python benchmarks/selection.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import cpu_times, row, show

from smlm_dask.kernels import streaming
from smlm_dask.kernels.selection import median_and_mad, rank

SIZE = (256, 256)
Calls = dict[str, Callable[[], object] | None]


def movie(frames: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    light = np.linspace(15, 45, SIZE[1])
    shape = (frames, *SIZE)
    electrons = generator.poisson(light, shape) + generator.normal(0, 2, shape)
    electrons += 300 * (generator.random(shape) < 0.002)  # blinks
    return (2 * electrons + 100).astype(np.uint16)


def full_range(frames: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (frames, *SIZE), np.uint16)


def median_pair(frames: np.ndarray) -> np.ndarray:
    center = np.median(frames, axis=0)
    return np.stack((center, np.median(np.abs(frames - center), axis=0)))


def smlmlp_gain(frames: np.ndarray) -> Callable[[], object] | None:
    try:
        from smlmlp import detect_gain
    except ImportError:
        return None
    return lambda: detect_gain([frames])


def bottleneck_pair(frames: np.ndarray) -> Callable[[], object] | None:
    try:
        from bottleneck import median
    except ImportError:
        return None

    def call() -> object:
        middle = median(frames, axis=0)
        return middle, median(np.abs(frames - middle), axis=0)

    return call


def one_pass(frames: np.ndarray, first: int = 200, block: int = 200) -> np.ndarray:
    """Median and MAD of a movie as a user would stream it."""
    state = streaming.start(frames[:first])
    while not state.resolved:
        blocks = range(0, len(frames), block)
        counts = sum(streaming.count(frames[t : t + block], state) for t in blocks)
        state = streaming.narrow(state, np.asarray(counts), len(frames))
    return streaming.finish(state)


def cases() -> list[tuple[str, int, Calls, dict[str, float]]]:
    """Kernel, samples, calls with ours first, and the least speed-up over each peer."""
    found: list[tuple[str, int, Calls, dict[str, float]]] = []
    for length in (200, 1000):
        frames, noise = movie(length), full_range(length)
        as_float = frames.astype(np.float32)
        calls: Calls = {
            "ours": lambda x=frames: median_and_mad(x),
            "smlmlp.detect_gain": smlmlp_gain(frames),
            "np.median pair": lambda x=frames: median_pair(x),
            "bottleneck pair": bottleneck_pair(frames),
            "ours, full-range": lambda x=noise: median_and_mad(x),
        }
        gates = {"smlmlp.detect_gain": 20.0, "np.median pair": 20.0}
        found.append((f"median and MAD uint16 T={length}", frames.size, calls, gates))
        calls = {
            "ours": lambda x=as_float: median_and_mad(x),
            "smlmlp.detect_gain": smlmlp_gain(as_float),
            "bottleneck pair": bottleneck_pair(as_float),
        }
        gates = {"smlmlp.detect_gain": 3.0}
        found.append((f"median and MAD float32 T={length}", frames.size, calls, gates))
    bytes_ = np.clip(movie(200), 0, 255).astype(np.uint8)
    calls = {
        "ours": lambda: rank(bytes_, 100),
        "np.partition": lambda: np.partition(bytes_, 100, axis=0)[100],
    }
    found.append(("rank uint8 K=200", bytes_.size, calls, {"np.partition": 35.0}))
    long = movie(1000)
    calls = {"ours": lambda: one_pass(long), "median_and_mad": lambda: median_and_mad(long)}
    found.append(("streaming uint16 T=1000", long.size, calls, {}))
    return found


def rows() -> list[dict[str, Any]]:
    """One row per kernel and peer; our own kernel on noise may take at most twice as long."""
    table = []
    for kernel, size, calls, gates in cases():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # smlmlp warns of movies it cannot fit
            seconds = cpu_times(calls, repeats=3)
        for peer in list(calls)[1:]:
            line = row(kernel, peer, seconds, size, gates.get(peer))
            if peer.startswith("ours"):
                line |= {"gate": "<= 2", "met": line["ratio"] <= 2}
            table.append(line)
    return table


if __name__ == "__main__":
    show(rows())
