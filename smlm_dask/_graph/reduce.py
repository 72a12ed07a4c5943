"""From the parts of a movie to one result."""

from __future__ import annotations

from collections.abc import Sequence
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
    held_by,
    image_bytes,
    named,
)
from smlm_dask._graph.places import LADDER, gathered


def whole(value: Any) -> Any:
    """``value`` in one block if it is lazy."""
    if not isinstance(value, da.Array) or value.npartitions == 1:
        return value
    name, corner = named(np.block, value), (0,) * value.ndim
    tasks: Tasks = {
        ("join", name): Task(("join", name), np.block, _nested(value)),
        (name, *corner): gathered((name, *corner), _same, TaskRef(("join", name))),
    }
    return build(name, tasks, [value, LADDER], tuple((n,) for n in value.shape), value.dtype)


def _same(value: Any) -> Any:
    return value


def _nested(array: Array, *index: int) -> Any:
    """The blocks of an array as lists in lists, a level for each axis."""
    if len(index) == array.ndim:
        return block(array, *index)
    return List(*(_nested(array, *index, i) for i in range(array.numblocks[len(index)])))


def finish(
    kernel: Kernel, *arguments: Any, shape: tuple[int, ...] = (), dtype: DTypeLike = "f8"
) -> Array:
    """``kernel(*arguments)`` in one task; lazy arguments arrive whole."""
    arguments = tuple(whole(a) for a in arguments)
    name = named(kernel, *arguments, shape, np.dtype(dtype).str)
    key = (name, *(0,) * len(shape))
    task = Task(key, kernel, *(argument(a) for a in arguments))
    return build(name, {key: task}, arguments, tuple((n,) for n in shape), dtype)


def total(parts: Array) -> Array:
    """Sum over the first axis in float64, one block after another.

    A chain, so that no more than the sum and a few parts are held.
    """
    images = parts.rechunk(dict.fromkeys(range(1, parts.ndim), -1))
    name, corner = named(total, images), (0,) * (parts.ndim - 1)
    tasks: Tasks = {}
    before: Any = 0.0
    for j in range(images.numblocks[0]):
        key = (name, *corner) if j == images.numblocks[0] - 1 else (f"part-{name}", j)
        tasks[key] = Task(key, _add, before, block(images, j, *corner))
        before = TaskRef(key)
    held = {f"part-{name}": image_bytes(parts)}
    return build(name, tasks, [images], tuple((n,) for n in parts.shape[1:]), "f8", held)


def group_totals(parts: Array, groups: int) -> Array:
    """``total`` of at most so many runs of the first axis, equally long: (group, *shape).

    One chain for all, as in ``total``: where the sums are gathered from a chain for each, dask turns to
    them before all else.
    """
    images = parts.rechunk({0: 1, **dict.fromkeys(range(1, parts.ndim), -1)})
    n, corner = images.numblocks[0], (0,) * (parts.ndim - 1)
    groups = min(groups, n)
    name = named(group_totals, images, groups)
    firsts = {g * n // groups for g in range(groups)}
    tasks: Tasks = {}
    before: Any = ()
    for j in range(n):
        key = (f"part-{name}", j)
        tasks[key] = Task(key, _add_to_groups, j in firsts, before, block(images, j, *corner))
        before = TaskRef(key)
    tasks[(name, 0, *corner)] = Task((name, 0, *corner), np.stack, before)
    chunks = tuple((size,) for size in (groups, *parts.shape[1:]))
    held = {f"part-{name}": groups * image_bytes(parts)}
    return build(name, tasks, [images], chunks, "f8", held)


def _add_to_groups(new: bool, before: tuple[Any, ...], images: NDArray[Any]) -> tuple[Any, ...]:
    if new:
        return (*before, _add(0.0, images))
    return (*before[:-1], _add(before[-1], images))


def _add(before: Any, images: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(before + images.sum(axis=0, dtype="f8"))


def folded(kernel: Kernel, parts: Array) -> Array:
    """``kernel(kernel(parts[0], parts[1]), parts[2])`` and so on: one object.

    A chain as in ``total``: no more than one result and a few parts are held.
    """
    name, last = named(kernel, parts), len(parts) - 1
    before: Any = block(parts, 0)
    tasks: Tasks = {} if last else {(name,): Task((name,), _same, before)}
    for j in range(1, last + 1):
        key = (name,) if j == last else (f"part-{name}", j)
        tasks[key] = Task(key, kernel, before, block(parts, j))
        before = TaskRef(key)
    held = dict.fromkeys((name, f"part-{name}"), held_by(parts))
    return build(name, tasks, [parts], (), object, held)


def put_back(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Undo the sorting of rows that ``order`` did."""
    out = np.empty_like(values)
    out[order] = values
    return out


def scatter(parts: Sequence[Array], places: Sequence[NDArray[np.int64]], dtype: DTypeLike) -> Array:
    """One array with ``parts[i]`` at ``places[i]``."""
    joined = da.concatenate([p.astype(dtype) for p in parts]) if parts else da.zeros(0, dtype=dtype)
    order = np.concatenate(places) if len(places) else np.zeros(0, np.int64)
    if (order == np.arange(len(order))).all():
        return joined
    return finish(put_back, joined, order, shape=joined.shape, dtype=dtype)
