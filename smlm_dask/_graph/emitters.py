"""Kernels on the emitters of each frame block, with the background images those frames need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task
from numpy.typing import DTypeLike, NDArray

from smlm_dask._graph.arrays import (
    Array,
    Kernel,
    Tasks,
    argument,
    block,
    build,
    edges,
    from_array,
    named,
    spans,
)
from smlm_dask._graph.places import LADDER, placed
from smlm_dask._graph.reduce import finish, put_back, whole


def series_map(
    kernel: Kernel,
    per_frame: Array,
    series: Array,
    index: NDArray[np.int64] | Array,
    *,
    dtype: DTypeLike,
) -> Array:
    """``kernel(block, images, local_index)`` for every frame block of ``per_frame`` (frame, ...).

    ``images`` are the entries of ``series`` that ``index`` names for these frames. An index in memory
    brings only those entries, so a long movie is not held; a lazy index brings the whole series.
    """
    series, index = one_image_each(series), like_frames(index, per_frame)
    name = named(kernel, per_frame, series, index)
    tasks: Tasks = {}
    for i, (lo, hi) in enumerate(spans(per_frame.chunks[0])):
        key = (name, i)
        images, local = series_part(series, index, i, lo, hi)
        part = block(per_frame, i, *(0,) * (per_frame.ndim - 1))
        tasks[key] = placed(key, per_frame.numblocks[0] - i, kernel, part, images, local)
    return build(name, tasks, [per_frame, series, index, LADDER], (per_frame.chunks[0],), dtype)


def one_image_each(series: Array) -> Array:
    """A series with each of its entries in a block of its own."""
    return series.rechunk({0: 1, **dict.fromkeys(range(1, series.ndim), -1)})


def like_frames(value: Any, data: Array) -> Any:
    """Cut a lazy number for each frame like the movie."""
    return value.rechunk((data.chunks[0],)) if isinstance(value, da.Array) else value


def series_part(
    series: Array, index: NDArray[np.int64] | Array, i: int, lo: int, hi: int
) -> tuple[Any, Any]:
    """The images that the frames [lo, hi) need, in one array, and which of them each frame needs."""
    corner = (0,) * (series.ndim - 1)
    if isinstance(index, da.Array):
        refs = [block(series, j, *corner) for j in range(series.shape[0])]
        here = block(index, i)
        return Task(None, _needed, List(*refs), here), Task(None, _local, here)
    needed, local = np.unique(index[lo:hi], return_inverse=True)
    refs = [block(series, int(j), *corner) for j in needed]
    empty = np.empty((0, *series.shape[1:]), series.dtype)
    return (Task(None, _stack, List(*refs)) if refs else empty), local


def _stack(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts)


def _needed(parts: Sequence[NDArray[Any]], index: NDArray[np.int64]) -> NDArray[Any]:
    # Only these are copied: a stack of the whole series in every task grew with the movie.
    return np.concatenate([parts[j] for j in np.unique(index)] or [parts[0][:0]])


def _local(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(index, return_inverse=True)[1]


def emitter_map(
    kernel: Kernel,
    data: Array,
    frames: NDArray[np.int64],
    rows: NDArray[np.float64],
    *arguments: Any,
    background: tuple[Array, NDArray[np.int64] | Array, Array] | None = None,
    columns: int,
) -> Array:
    """``kernel(block, frame, rows, images, image_index, image_offset, *arguments)`` for every chunk.

    Each task gets the ``rows`` (emitter, column) of its own frames, with ``frame`` counted from the
    block's first. The result is (emitter, columns) in the order of ``rows``; rows that are not sorted
    by frame cost one task that puts them back. ``background`` is a series of images, the image of
    each frame and an offset for each frame.
    """
    order = np.argsort(frames, kind="stable")
    if (np.diff(order) != 1).any():
        again = emitter_map(
            kernel,
            data,
            frames[order],
            rows[order],
            *arguments,
            background=background,
            columns=columns,
        )
        return finish(put_back, again, order, shape=again.shape)
    arguments = tuple(whole(a) for a in arguments)
    series = None if background is None else _align(background, data)
    name = named(kernel, data, frames, rows, series, *arguments)
    cuts = np.searchsorted(frames, edges(data.chunks[0]))
    tasks: Tasks = {}
    sizes: list[int] = []
    for i, (lo, hi) in enumerate(spans(data.chunks[0])):
        a, b = int(cuts[i]), int(cuts[i + 1])
        if a == b:
            continue
        key = (name, len(sizes), 0)
        images = _no_series() if series is None else _images(series, i, lo, hi)
        rest = (argument(x) for x in arguments)
        part = block(data, i, 0, 0)
        own = frames[a:b] - lo, rows[a:b]
        tasks[key] = placed(key, data.numblocks[0] - i, kernel, part, *own, *images, *rest)
        sizes.append(b - a)
    if not sizes:
        return da.zeros((0, columns), dtype="f8", chunks=((0,), (columns,)), name=name)
    inputs = [data, *(series or ()), *arguments, LADDER]
    return build(name, tasks, inputs, (tuple(sizes), (columns,)), "f8")


def _align(background: Any, data: Array) -> tuple[Array, Any, Array]:
    series, index, offset = background
    images = one_image_each(from_array(series, (1, -1, -1)))
    return images, like_frames(index, data), like_frames(from_array(offset), data)


def _images(series: tuple[Array, Any, Array], i: int, lo: int, hi: int) -> tuple[Any, Any, Any]:
    images, local = series_part(series[0], series[1], i, lo, hi)
    return images, local, block(series[2], i)


def _no_series() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    return np.empty((0, 0, 0), "f4"), np.empty(0, "i8"), np.empty(0, "f8")
