"""Kernels on whole frames, and on windows of frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from numpy.typing import DTypeLike, NDArray

from smlm_dask._graph.arrays import (
    Array,
    Kernel,
    Tasks,
    argument,
    block,
    build,
    chunk_bytes,
    edges,
    from_array,
    named,
)


def tile(data: Array, length: int) -> Array:
    """``data`` cut along y so that ``length`` frames of one tile fit the byte budget."""
    row = max(1, length * data.shape[2] * data.dtype.itemsize)
    rows = max(1, chunk_bytes() // row)
    data = data if data.numblocks[2] == 1 else data.rechunk({2: -1})
    return data if max(data.chunks[1]) <= rows else data.rechunk({1: rows})


def whole_frames(data: Array) -> Array:
    """``data`` with each frame in one block, and no more frames in a block than fit the budget."""
    frame = max(1, math.prod(data.shape[1:]) * data.dtype.itemsize)
    limit = max(1, chunk_bytes() // frame)
    if data.numblocks[1:] == (1, 1) and max(data.chunks[0]) <= limit:
        return data
    pieces = tuple(n for size in data.chunks[0] for n in _split(size, limit))
    return data.rechunk({0: pieces, 1: -1, 2: -1})


def _split(size: int, limit: int) -> list[int]:
    count = max(1, -(-size // limit))
    return [size // count + (i < size % count) for i in range(count)]


def frame_map(kernel: Kernel, data: Array, *arguments: Any, dtype: DTypeLike) -> Array:
    """``kernel(block, *arguments)`` on every block of whole frames; the movie's shape again."""
    data = whole_frames(data)
    meta = np.empty((0,) * data.ndim, dtype)
    name = named(kernel, data, *arguments)
    return da.map_blocks(kernel, data, *arguments, dtype=dtype, meta=meta, name=name)


def frame_difference(data: Array, background: Any) -> Array:
    """``data - background`` in float32, cut like ``data``: unsigned samples would wrap."""
    return data.astype("f4") - from_array(background).rechunk(data.chunks)


def window_map(
    kernel: Kernel,
    data: Array,
    starts: Sequence[int],
    length: int,
    *arguments: Any,
    per_window: Array | None = None,
    shape: tuple[int, ...] | None = None,
    lead: tuple[int, ...] = (),
    dtype: DTypeLike,
) -> Array:
    """``kernel(frames[start:start + length], *arguments)`` for every start: one result per window.

    The windows stand on absolute frames, so the answer does not depend on the chunks. Each y, x tile
    of ``data`` is its own task, unless ``shape`` gives the shape of a whole-frame result (then
    ``data`` holds whole frames). ``per_window[j]`` (one block per window) goes to the task of window
    ``j`` after its frames. A window inside one chunk is a view of it: nothing is copied.
    """
    starts = [int(s) for s in starts]
    name = named(kernel, data, starts, length, *arguments, per_window, shape, lead)
    rest = [argument(a) for a in arguments]
    tasks: Tasks = {}
    tiles = list(product(*map(range, data.numblocks[1:])))
    for j, start in enumerate(starts):
        own = None if per_window is None else block(per_window, j, *(0,) * (per_window.ndim - 1))
        for spot in tiles:
            key = (name, j, *(0,) * len(lead), *(spot if shape is None else (0,) * len(shape)))
            parts, first = parts_of(data, start, start + length, spot)
            tasks[key] = Task(key, _on_window, kernel, first, length, List(*parts), own, *rest)
    tail = data.chunks[1:] if shape is None else tuple((n,) for n in shape)
    chunks = ((1,) * len(starts), *((n,) for n in lead), *tail)
    return build(name, tasks, [data, per_window, *arguments], chunks, dtype)


def parts_of(
    data: Array, start: int, stop: int, spot: tuple[int, ...]
) -> tuple[list[TaskRef], int]:
    """References to the chunks that hold frames [start, stop), and where in the first they begin."""
    begins = edges(data.chunks[0])
    first = int(np.searchsorted(begins, start, side="right")) - 1
    last = int(np.searchsorted(begins, min(stop, begins[-1]), side="left"))
    return [block(data, i, *spot) for i in range(first, last)], start - int(begins[first])


def _on_window(
    kernel: Kernel,
    first: int,
    length: int,
    parts: Sequence[NDArray[Any]],
    own: NDArray[Any] | None,
    *arguments: Any,
) -> NDArray[Any]:
    frames = parts[0] if len(parts) == 1 else np.concatenate(parts)
    first_arguments = () if own is None else (own[0],)
    return np.asarray(kernel(frames[first : first + length], *first_arguments, *arguments))[None]
