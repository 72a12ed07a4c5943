"""Order statistics over frames beside smlmlp and numpy: ``python benchmarks/selection.py``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

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
            "ours, full-range": lambda x=noise: median_and_mad(x),
        }
        gates = {"smlmlp.detect_gain": 20.0, "np.median pair": 20.0, "ours, full-range": 0.5}
        found.append((f"median and MAD uint16 T={length}", frames.size, calls, gates))
        calls = {
            "ours": lambda x=as_float: median_and_mad(x),
            "smlmlp.detect_gain": smlmlp_gain(as_float),
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


def cpu_times(calls: Calls, repeats: int = 3) -> dict[str, float]:
    """Least process-CPU seconds of each installed call, the calls taking turns."""
    least: dict[str, float] = {}
    for turn in range(repeats + 1):  # the first turn compiles
        for name, call in calls.items():
            if call is None:
                continue
            begin = time.process_time()
            call()
            seconds = time.process_time() - begin
            least[name] = min(seconds, least.get(name, np.inf)) if turn > 1 else seconds
    return least


def rows() -> list[dict[str, Any]]:
    """One row per kernel and peer; the gate is the least ratio of peer time to ours."""
    table = []
    for kernel, size, calls, gates in cases():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # smlmlp warns of movies it cannot fit
            least = cpu_times(calls)
        for peer in list(calls)[1:]:
            ratio = least[peer] / least["ours"] if peer in least else None
            gate = gates.get(peer)
            table.append(
                {
                    "kernel": kernel,
                    "ns_per_sample": 1e9 * least["ours"] / size,
                    "peer": peer,
                    "peer_ns_per_sample": 1e9 * least[peer] / size if peer in least else None,
                    "ratio": ratio,
                    "gate": gate,
                    "met": None if ratio is None or gate is None else meets(peer, ratio, gate),
                }
            )
    return table


def meets(peer: str, ratio: float, gate: float) -> bool:
    """A peer must be slower by the gate; our own kernel on noise at most by its inverse."""
    return ratio <= 1 / gate if peer.startswith("ours") else ratio >= gate


def text(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return f"{row['kernel']:32}{row['ns_per_sample']:8.2f}  {row['peer']:22}not installed"
    gate = "" if row["gate"] is None else f"{row['gate']:g}"
    if row["peer"].startswith("ours"):
        gate = f"<= {1 / row['gate']:g}"
    met = {None: "-", True: "yes", False: "NO"}[row["met"]]
    return (
        f"{row['kernel']:32}{row['ns_per_sample']:8.2f}  {row['peer']:22}"
        f"{row['peer_ns_per_sample']:8.2f}{row['ratio']:8.1f}{gate:>8}  {met}"
    )


if __name__ == "__main__":
    print(f"{'kernel':32}{'ns':>8}  {'peer':22}{'ns':>8}{'ratio':>8}{'gate':>8}  met")
    for row in rows():
        print(text(row))
