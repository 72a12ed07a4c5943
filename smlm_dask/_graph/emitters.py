"""Kernels on the emitters of each frame block, with the background images those frames need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task
from numpy.typing import DTypeLike, NDArray

from smlm_dask._graph.arrays import (
    Array,
    Kernel,
    Tasks,
    argument,
    block,
    build,
    edges,
    named,
    spans,
)
from smlm_dask._graph.places import LADDER, placed
from smlm_dask._graph.reduce import finish, put_back, whole
from smlm_dask._graph.series import Series, levels_of, supply_of

NONE = np.empty((0, 0, 0), "f4")


def emitter_map(
    kernel: Kernel,
    data: Array,
    frames: NDArray[np.int64],
    rows: NDArray[np.float64],
    *arguments: Any,
    background: Series | Array | None = None,
    columns: int,
) -> Array:
    """``kernel(block, frame, rows, images, index, offset, error, *arguments)`` for every chunk.

    Each task gets the ``rows`` (emitter, column) of its own frames, with ``frame`` counted from the
    block's first. ``background`` is a series of images, or an image for each frame of ``data``, cut like
    it; ``offset`` is a number for each frame, or for a series with shares (frame, 5) as `mixture` gives
    them; ``error`` are images as ``images``, or none. The result is (emitter, columns) in the order of
    ``rows``; rows not sorted by frame cost one task that puts them back.
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
    supply, inputs = _under(background, data)
    name = named(kernel, data, frames, rows, inputs, *arguments)
    cuts, count = np.searchsorted(frames, edges(data.chunks[0])), data.numblocks[0]
    tasks: Tasks = {}
    sizes: list[int] = []
    for i, (lo, hi) in enumerate(spans(data.chunks[0])):
        a, b = int(cuts[i]), int(cuts[i + 1])
        if a == b:
            continue
        key = (name, len(sizes), 0)
        rest = (argument(x) for x in arguments)
        part = block(data, i, 0, 0)
        own = frames[a:b] - lo, rows[a:b]
        tasks[key] = placed(key, count - i, kernel, part, *own, *supply(i, lo, hi), *rest)
        sizes.append(b - a)
    if not sizes:
        return da.zeros((0, columns), dtype="f8", chunks=((0,), (columns,)), name=name)
    inputs = [data, *inputs, *arguments, LADDER]
    return build(name, tasks, inputs, (tuple(sizes), (columns,)), "f8")


def _under(
    series: Series | Array | None, data: Array
) -> tuple[Callable[[int, int, int], tuple[Any, ...]], list[Any]]:
    """What gives each block of frames its images, index and offset; the arrays it refers to."""
    if isinstance(series, da.Array):
        images = series
        return lambda i, lo, hi: (block(images, i, 0, 0), *_each_its_own(hi - lo), NONE), [images]
    if series is None:
        return lambda i, lo, hi: (NONE, np.empty(0, "i8"), np.empty(0, "f8"), NONE), []
    levels, arrays = levels_of(series, data)
    supply, inputs = supply_of(series, data)
    errors, others = _errors(series, data)
    arrays = [*arrays, *others]
    dark = whole(series.dark)
    if np.ndim(dark) == 0:
        return (
            lambda i, lo, hi: (*supply(i, lo, hi), levels(i), errors(i, lo, hi)),
            [*inputs, *arrays],
        )

    def under(i: int, lo: int, hi: int) -> tuple[Any, ...]:
        images, local = supply(i, lo, hi)
        lifted = Task(None, _with_dark, images, argument(dark))
        return lifted, local, levels(i), errors(i, lo, hi)

    return under, [*inputs, *arrays]


def _errors(series: Series, data: Array) -> tuple[Callable[[int, int, int], Any], list[Any]]:
    """What gives each block of frames the errors of its images."""
    if series.error is None:
        return lambda i, lo, hi: NONE, []
    supply, inputs = supply_of(replace(series, images=series.error), data)
    return lambda i, lo, hi: supply(i, lo, hi)[0], inputs


def _with_dark(images: NDArray[Any], dark: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([images, np.asarray(dark, images.dtype)[np.newaxis]])


def _each_its_own(frames: int) -> tuple[Task, Task]:
    return Task(None, np.arange, frames), Task(None, np.zeros, frames)


def column(table: Array, place: int, dtype: DTypeLike = "f8") -> Array:
    """One column of a result of ``emitter_map``: its own memory, so that the others can be let go."""
    name = named(column, table, place, np.dtype(dtype).str)
    return da.map_blocks(
        _column, table, place, dtype, drop_axis=1, dtype=dtype, meta=np.empty(0, dtype), name=name
    )


def _column(rows: NDArray[Any], place: int, dtype: DTypeLike) -> NDArray[Any]:
    return rows[:, place].astype(dtype)
