"""Peak memory of one case for movies of several lengths: arrays alive at once, and the process's.

``alive`` counts the arrays that dask holds between tasks, exactly and on small frames, so that every
case can be tried on every kind of store.

``python -m tests.memory CASE UPSTREAM THREADS N ...``, e.g. ``readme aligned 2 1000 4000``, prints the
peaks of the process in bytes as JSON: in a process of its own, because what other tests have used is
never all given back.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
import numpy as np
from dask.callbacks import Callback
from numpy.typing import NDArray

from smlm_dask import _graph
from smlm_dask._graph import forecast
from tests import laws

SIDE = 256
SMALL = 48
BASE = 200
# Big arrays go back to the system when they are freed.
STEADY = {"MALLOC_MMAP_THRESHOLD_": "262144"}
BUDGET = "32 MiB"  # one stored chunk: with the default the shortest movie would be a single window
# The same for small frames, one task after another.
SETTINGS = {
    "scheduler": "sync",
    "smlm_dask.chunk-bytes": dask.utils.parse_bytes(BUDGET) * SMALL**2 // SIDE**2,
}


class Generated:
    """A stored movie of any length that repeats a few hundred frames, so that it needs no disk."""

    ndim = 3

    def __init__(self, frames: NDArray[Any], shape: laws.Shape) -> None:
        self.frames, self.shape, self.dtype = frames, shape, frames.dtype

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        places = np.arange(self.shape[0])[box[0]] % BASE
        return self.frames[places, box[1], box[2]]


class Alive(Callback):
    """The most bytes of arrays that were held at once between tasks, each memory counted once."""

    def __init__(self) -> None:
        self.peak = 0

    def _posttask(
        self, key: Any, result: Any, dsk: Any, state: Mapping[str, Any], worker: Any
    ) -> None:
        held = {id(a): a.nbytes for value in state["cache"].values() for a in owners(value)}
        self.peak = max(self.peak, sum(held.values()))


def owners(value: Any) -> Iterator[NDArray[Any]]:
    """The arrays whose memory a value keeps: a view keeps all of what it is a view of."""
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from owners(part)
    elif isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        yield value


def alive(name: str, upstream: str, n: int) -> float:
    """Most bytes alive at once for a movie of ``n`` frames, in frames."""
    with dask.config.set(SETTINGS), Alive() as held:
        run(name, upstream, small(upstream), n, SMALL)
    return held.peak / (2 * SMALL**2)


def small(upstream: str) -> NDArray[Any]:
    """Frames small enough to try every case on."""
    return laws.samples((BASE, *laws.larger(upstream, (0, SMALL, SMALL))[1:]))


def nowhere(index: tuple[int, ...], block: NDArray[Any]) -> None:
    """Forget what is written."""


def peak(what: str = "VmHWM") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def reset_peak() -> None:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def of_process(*arguments: object) -> Any:
    """What a Python of its own prints, as JSON: what other tests have used is never all given back."""
    run = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        env=os.environ | STEADY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def build(name: str) -> laws.Build:
    return laws.CASES[name].build if name in laws.CASES else laws.OFFENDERS[name]


class Decoded(Generated):
    """One whose chunks are decoded before they are copied, as those in a file."""

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        return super().__getitem__(box).copy()


def arrays(
    name: str, upstream: str, frames: NDArray[Any], n: int, side: int = SIDE, kind: type = Generated
) -> list[_graph.Array]:
    """All that a case is to compute for a movie of ``n`` frames."""
    stored, prepare = laws.UPSTREAMS[upstream]
    shape = laws.larger(upstream, (n, side, side))
    source = kind(frames, shape)
    movie = prepare(laws.movie_of(source, stored(shape), f"generated-{n}"))
    return list(laws.lazy(build(name)(movie)).values())


def run(
    name: str, upstream: str, frames: NDArray[Any], n: int, side: int = SIDE, kind: type = Generated
) -> None:
    wanted = arrays(name, upstream, frames, n, side, kind)
    jobs = [_graph.Job("nowhere", nowhere, a, list(np.ndindex(*a.numblocks))) for a in wanted]
    _graph.write(*jobs)


def measured(name: str, upstream: str, frames: NDArray[Any], n: int, repeats: int) -> int:
    """The smallest peak: threads that happen to run apart hold a chunk more, and that is no law."""
    peaks = []
    for _ in range(repeats):
        reset_peak()
        run(name, upstream, frames, n)
        peaks.append(peak())
    return min(peaks)


def prepared(name: str, upstream: str, threads: int) -> NDArray[Any]:
    """Frames, when all is compiled that the case needs."""
    dask.config.set(scheduler="threads", num_workers=threads)
    dask.config.set({"smlm_dask.chunk-bytes": BUDGET})
    frames = laws.samples((BASE, *laws.larger(upstream, (0, SIDE, SIDE))[1:]))
    run(name, upstream, frames, 3 * BASE)
    return frames


def told_and_grown(name: str, upstream: str, threads: int, n: int) -> None:
    """Print what a plan says that a process takes, and by how much it grows, in bytes as JSON."""
    frames = prepared(name, upstream, threads)
    told = forecast(arrays(name, upstream, frames, n), threads).peak
    grown = []
    for _ in range(1 if threads == 1 else 2):
        reset_peak()
        before = peak("VmRSS")
        run(name, upstream, frames, n, kind=Decoded)
        grown.append(peak() - before)
    print(json.dumps([told, min(grown)]))


def main(name: str, upstream: str, threads: str, *lengths: str) -> None:
    frames = prepared(name, upstream, int(threads))
    repeats = 1 if int(threads) == 1 else 2
    print(json.dumps([measured(name, upstream, frames, int(n), repeats) for n in lengths]))


if __name__ == "__main__":
    main(*sys.argv[1:])
