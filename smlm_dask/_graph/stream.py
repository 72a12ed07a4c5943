"""Exact median and MAD over all frames of a movie that does not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask._task_spec import Task, TaskRef, convert_legacy_graph
from dask.local import get_sync
from numpy.typing import NDArray

from smlm_dask._graph.arrays import Array, Tasks, build, chunk_bytes, edges, named
from smlm_dask._graph.frames import whole_frames
from smlm_dask._graph.passes import cone
from smlm_dask._graph.windows import joined, parts_of, window_map
from smlm_dask.kernels import streaming
from smlm_dask.kernels.selection import median_and_mad

# At most so many readings: the bounds kernels/streaming.py states.
MOST_PASSES = {"u1": 6, "i1": 6, "b1": 6, "u2": 10, "i2": 10, "f4": 18}
FIRST_FRAMES = 200
# Tasks of a pass: their counts, each as large as many frames, wait for each other to be added up.
MOST_COUNTS = 32


def stream_passes(data: Array) -> int:
    """At most so many readings of ``data`` make ``stream_selection``."""
    streams = data.nbytes > chunk_bytes() and data.dtype.str[1:] in MOST_PASSES
    return MOST_PASSES[data.dtype.str[1:]] if streams else 1


def stream_selection(data: Array) -> Array:
    """Median and MAD over all frames, exactly: ``(frame, y, x) -> (2, y, x)``.

    1. A movie within the byte budget, or of a dtype that cannot be counted, is one window (the
       latter is held in memory: there is no way to select among its values in bounded space).
    2. Otherwise every pass counts each block against the open searches and adds the counts up;
       between passes one task narrows the searches.
    3. A block is read inside the task that counts it, from its own piece of the graph: passes that
       are not needed cost nothing, and no block is kept for a later pass or waits for the first
       frames to start the searches. Only the blocks of these frames come from the graph.
    """
    kind = np.dtype("f4") if data.dtype == np.float32 else np.dtype("f8")
    if stream_passes(data) == 1:
        return window_map(median_and_mad, data, [0], len(data), lead=(2,), dtype=kind)[0]
    data = whole_frames(data)
    name = named(streaming.finish, data)
    tasks = _stream_tasks(data, name, MOST_PASSES[data.dtype.str[1:]])
    chunks = ((2,), (data.shape[1],), (data.shape[2],))
    return build(name, tasks, [data], chunks, kind, _held(data, name))


def _held(data: Array, name: str) -> dict[str, int]:
    """Bytes of the searches and of their counts."""
    pixels = data.shape[1] * data.shape[2]
    state = dict.fromkeys((f"start-{name}", f"narrow-{name}"), streaming.state_bytes(pixels))
    passes = range(MOST_PASSES[data.dtype.str[1:]])
    counts = [f"count-{name}", *(f"add-{name}-{p}" for p in passes)]
    return state | dict.fromkeys(counts, streaming.count_bytes(pixels))


def _stream_tasks(data: Array, name: str, passes: int) -> Tasks:
    parts, frames = parts_of(data, edges(data.chunks[0]).tolist(), 0, FIRST_FRAMES, (0, 0))
    begin = Task((f"start-{name}",), _start, frames, *parts)
    tasks: Tasks = {begin.key: begin}
    state, again = begin.key, _deferred(data)
    width = -(-len(again) // MOST_COUNTS)
    for p in range(passes):
        groups = _by(again, width) if p else [*parts, *_by(again[len(parts) :], width)]
        counts = [
            Task((f"count-{name}", p, i), _count, group, TaskRef(state))
            for i, group in enumerate(groups)
        ]
        sums = _chain(counts, f"add-{name}-{p}")
        tasks |= {t.key: t for t in (*counts, *sums)}
        last = TaskRef((sums or counts)[-1].key)
        step = Task((f"narrow-{name}", p), _narrow, TaskRef(state), last, len(data))
        tasks[step.key] = step
        state = step.key
    tasks[(name, 0, 0, 0)] = Task((name, 0, 0, 0), streaming.finish, TaskRef(state))
    return tasks


def _chain(counts: Sequence[Task], name: str) -> list[Task]:
    """Tasks that add ``counts`` one after another: a tree held a sum for each of its levels."""
    sums: list[Task] = []
    for i, count in enumerate(counts[1:]):
        before = (sums or counts)[-1 if sums else 0].key
        sums.append(Task((name, i), np.add, TaskRef(before), TaskRef(count.key)))
    return sums


@dataclass(frozen=True)
class Deferred:
    """A block that is computed where and when it is asked for: its own piece of the graph."""

    graph: Tasks
    key: Any

    def __call__(self) -> NDArray[Any]:
        return np.asarray(get_sync(self.graph, self.key))


def _deferred(data: Array) -> list[Deferred]:
    keys = [(data.name, i, 0, 0) for i in range(data.numblocks[0])]
    nodes = convert_legacy_graph(dict(data.dask.cull(set(keys))))
    return [Deferred(cone(nodes, [key]), key) for key in keys]


def _start(frames: slice, *parts: NDArray[Any]) -> streaming.State:
    return streaming.start(joined(parts, frames))


def _by(items: Sequence[Any], width: int) -> list[Any]:
    return [items[i : i + width] for i in range(0, len(items), width)]


def _count(part: NDArray[Any] | Sequence[Deferred], state: streaming.State) -> NDArray[np.uint32]:
    """Counts of one block in memory, or of several that are read here if a search is open."""
    if isinstance(part, np.ndarray):
        return streaming.count(part, state)
    if state.resolved:
        return np.zeros((0, 0), np.uint32)
    total = streaming.count(part[0](), state)
    for deferred in part[1:]:
        total += streaming.count(deferred(), state)
    return total


def _narrow(state: streaming.State, counts: NDArray[np.uint32], n: int) -> streaming.State:
    return state if state.resolved else streaming.narrow(state, counts, n)
