"""Kernels on blocks of whole frames."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task
from numpy.typing import DTypeLike, NDArray

from smlm_dask._graph.arrays import (
    Array,
    Kernel,
    Tasks,
    block,
    build,
    chunk_bytes,
    from_array,
    named,
)
from smlm_dask._graph.places import LADDER, placed


def whole_frames(data: Array) -> Array:
    """``data`` with each frame in one block, and no more frames in a block than fit the budget."""
    frame = max(1, math.prod(data.shape[1:]) * data.dtype.itemsize)
    limit = max(1, chunk_bytes() // frame)
    if data.numblocks[1:] == (1, 1) and max(data.chunks[0]) <= limit:
        return data
    pieces = tuple(n for size in data.chunks[0] for n in split(size, limit))
    return data.rechunk({0: pieces, 1: -1, 2: -1})


def split(size: int, limit: int) -> list[int]:
    """Cut a length into parts of at most ``limit``, as equal as they can be."""
    count = max(1, -(-size // limit))
    return [size // count + (i < size % count) for i in range(count)]


def frame_map(kernel: Kernel, data: Array, *arguments: Any, dtype: DTypeLike) -> Array:
    """``kernel(block, *arguments)`` on every block of whole frames; the movie's shape again."""
    data = whole_frames(data)
    name, count = named(kernel, data, *arguments), data.numblocks[0]
    keys = [(name, i, *(0,) * (data.ndim - 1)) for i in range(count)]
    tasks: Tasks = {
        key: placed(key, count - i, kernel, block(data, *key[1:]), *arguments)
        for i, key in enumerate(keys)
    }
    return build(name, tasks, [data, LADDER], data.chunks, dtype)


def every_frame(data: Array, stop: int, step: int) -> Array:
    """``data[:stop:step]``, copied: a view of a few frames would keep all frames of its chunk."""
    if step == 1:
        return data[:stop]
    sampled = data[:stop:step]
    return da.map_blocks(
        np.array, sampled, dtype=data.dtype, meta=data._meta, name=f"sample-{sampled.name}"
    )


def frame_reduce(kernel: Kernel, data: Array, rows: int, *, dtype: DTypeLike) -> Array:
    """``kernel(block[:, :rows])`` on every block of whole frames: one number for each frame."""
    if data.numblocks[1:] != (1, 1):
        data = data[:, :rows].rechunk({1: -1, 2: -1})
    name = named(kernel, data, rows)
    tasks: Tasks = {
        (name, i): Task((name, i), _on_rows, kernel, rows, block(data, i, 0, 0))
        for i in range(data.numblocks[0])
    }
    return build(name, tasks, [data], (data.chunks[0],), dtype)


def _on_rows(kernel: Kernel, rows: int, frames: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(kernel(frames[:, :rows]))


def cut_like(values: Any, data: Array) -> Array:
    """Values for each pixel of ``data``, cut into the same blocks."""
    return from_array(values).rechunk(data.chunks)


def one_image_each(series: Array) -> Array:
    """A series with each of its entries in a block of its own."""
    return series.rechunk({0: 1, **dict.fromkeys(range(1, series.ndim), -1)})
