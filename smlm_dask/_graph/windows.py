"""Kernels on windows of frames, which stand on absolute frames whatever the chunks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
from dask._task_spec import Alias, List, Task, TaskRef
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
    image_bytes,
    named,
    spans,
)
from smlm_dask._graph.frames import one_image_each, split, whole_frames
from smlm_dask._graph.places import LADDER, gathered, placed
from smlm_dask._graph.reduce import whole


def window_map(
    kernel: Kernel,
    data: Array,
    starts: Sequence[int],
    length: int,
    *,
    lead: tuple[int, ...] = (),
    dtype: DTypeLike,
    each: Sequence[Array] = (),
    maps: Sequence[Any] = (),
) -> Array:
    """``kernel(frames[start:start + length])`` for every start: (window, *lead, y, x).

    The kernel also gets what belongs to the window of arrays with an entry for ``each`` window, (window,
    y, x) or (window, length), and ``maps``, (y, x) or numbers; of images the part under its tile.

    The windows stand on absolute frames, so the answer does not depend on the chunks. A task takes
    some rows of the chunks that hold its window, so many that they fit the byte budget: cutting inside
    the task, not with rechunk, keeps a movie of 4,000 chunks at as many tasks. A window inside one
    chunk is a view of it: nothing is copied. Neighbours with the same start are computed once.
    """
    each, maps = [one_image_each(a) for a in each], [whole(m) for m in maps]
    name = named(kernel, data, list(starts), length, lead, chunk_bytes(), *each, *maps)
    rows, begins = _rows(data, length), edges(data.chunks[0]).tolist()
    tops, lefts = edges(data.chunks[1]).tolist(), spans(data.chunks[2])
    tasks: Tasks = {}
    for j, start in enumerate(starts):
        left = len(begins) - bisect_right(begins, start)
        for iy, ix in product(*map(range, data.numblocks[1:])):
            parts, frames = parts_of(data, begins, start, length, (iy, ix))
            for tile, span in rows[iy]:
                spot = (*(0,) * len(lead), tile, ix)
                key: Any = (name, j, *spot)
                if j and starts[j - 1] == start:
                    tasks[key] = Alias(key, (name, j - 1, *spot))
                else:
                    box = slice(tops[iy] + span.start, tops[iy] + span.stop), slice(*lefts[ix])
                    own = _own(box, j, each, maps)
                    tasks[key] = placed(key, left, _on_window, kernel, frames, span, own, *parts)
    heights = tuple(span.stop - span.start for column in rows for _, span in column)
    chunks = ((1,) * len(starts), *((n,) for n in lead), heights, data.chunks[2])
    return build(name, tasks, [data, *each, *maps, LADDER], chunks, dtype)


def _own(box: tuple[slice, slice], j: int, each: Sequence[Array], maps: Sequence[Any]) -> Any:
    """What a task of window ``j`` gets beside its frames."""
    refs = [block(a, j, *(0,) * (a.ndim - 1)) for a in each]
    return Task(None, _beside, box, len(refs), *refs, *map(argument, maps)) if refs or maps else ()


def _beside(box: tuple[slice, slice], count: int, *values: Any) -> tuple[Any, ...]:
    own = [v[0] if i < count else v for i, v in enumerate(values)]
    images = [i >= count or v.ndim == 3 for i, v in enumerate(values)]
    return tuple(
        v[box] if image and np.ndim(v) == 2 else v for v, image in zip(own, images, strict=True)
    )


def window_numbers(
    kernel: Kernel,
    data: Array,
    starts: Sequence[int],
    length: int,
    step: int,
    images: Array | None = None,
    *maps: Any,
) -> Array:
    """``kernel(frames[start:start + length], image, *maps)`` of every ``step``-th row: (window, length).

    ``images`` (window, y, x), if there are any, and ``maps``, (y, x) or numbers, are thinned alike. Frames
    are whole, so the numbers do not depend on how they are cut; the rows are picked before windows are
    put together.
    """
    rows = slice(None, None, step)
    if data.numblocks[1:] != (1, 1):
        data, rows = data[:, rows].rechunk({1: -1, 2: -1}), slice(None)
    beside = [] if images is None else [one_image_each(images)]
    maps = tuple(whole(m) for m in maps)
    name = named(kernel, data, list(starts), length, step, *beside, *maps)
    begins = edges(data.chunks[0]).tolist()
    tasks: Tasks = {}
    for j, start in enumerate(starts):
        parts, frames = parts_of(data, begins, start, length, (0, 0))
        left, key = len(begins) - bisect_right(begins, start), (name, j, 0)
        own = [*(block(images, j, 0, 0) for images in beside), *map(argument, maps)]
        count = len(own)
        tasks[key] = placed(key, left, _thinned, kernel, frames, rows, step, count, *own, *parts)
    chunks = ((1,) * len(starts), (length,))
    return build(name, tasks, [data, *beside, *maps, LADDER], chunks, "f8")


def _thinned(
    kernel: Kernel, frames: slice, rows: slice, step: int, count: int, *values: Any
) -> NDArray[np.float64]:
    own = [v[0] if np.ndim(v) == 3 else v for v in values[:count]]
    thin = [v[::step] if np.ndim(v) == 2 else v for v in own]
    return np.asarray(kernel(joined(values[count:], frames, rows), *thin))[np.newaxis]


def neighbour_map(
    kernel: Kernel,
    images: Array,
    radius: int,
    *arguments: Any,
    lead: tuple[int, ...] = (),
    dtype: DTypeLike,
) -> Array:
    """``kernel(entries, place, *arguments)`` for every entry and those around it: (window, *lead, y, x).

    ``entries`` are the ``radius`` before and after the one at ``place``; at the ends as many, of which
    more are on one side.
    """
    images = one_image_each(images)
    arguments = tuple(whole(a) for a in arguments)
    name, n = named(kernel, images, radius, lead, *arguments), len(images)
    corner = (0,) * (images.ndim - 1)
    tasks: Tasks = {}
    for j in range(n):
        last = min(n, max(j + radius, 2 * radius) + 1)
        first = max(0, min(j - radius, n - 2 * radius - 1))
        entries = [block(images, i, *corner) for i in range(first, last)]
        near, key = (f"near-{name}", j), (name, j, *(0,) * (len(lead) + 2))
        own = [argument(a) for a in arguments]
        if radius:
            tasks[near] = Task(near, _entries, *entries)
            tasks[key] = gathered(key, _among, kernel, j - first, TaskRef(near), *own)
        else:  # no order to keep: what stands on the top weighs too much for others to
            tasks[key] = Task(key, _alone, kernel, *entries, *own)
    chunks = ((1,) * n, *((m,) for m in (*lead, *images.shape[-2:])))
    return build(name, tasks, [images, *arguments, LADDER], chunks, dtype)


def _entries(*blocks: NDArray[Any]) -> list[NDArray[Any]]:
    return [entry[0] for entry in blocks]


def _alone(kernel: Kernel, entry: NDArray[Any], *arguments: Any) -> NDArray[Any]:
    return np.asarray(kernel(entry, 0, *arguments))[np.newaxis]


def _among(kernel: Kernel, place: int, entries: Any, *arguments: Any) -> NDArray[Any]:
    return np.asarray(kernel(entries, place, *arguments))[np.newaxis]


def between_windows(
    kernel: Kernel,
    numbers: Array,
    levels: Array,
    starts: Sequence[int],
    index: NDArray[np.int64],
    share: NDArray[np.float64],
) -> Array:
    """``kernel(numbers_j, numbers_j+1, levels, starts, begin, share)`` of the frames with ``index`` j.

    ``numbers`` (window, length) and ``levels`` (window,) of an entry and of the next; the frames' ``share``
    is that of the next. (frame,) in blocks of the frames of an entry.
    """
    numbers, levels = one_image_each(numbers), one_image_each(levels)
    name = named(kernel, numbers, levels, list(starts), index, share)
    tasks: Tasks = {}
    sizes: list[int] = []
    cuts = np.searchsorted(index, np.arange(len(starts) + 1)).tolist()
    for j, (low, high) in enumerate(pairwise(cuts)):
        if low == high:
            continue
        two = j, min(j + 1, len(starts) - 1)
        refs = [block(a, i, *(0,) * (a.ndim - 1)) for a in (numbers, levels) for i in two]
        begins = starts[two[0]], starts[two[1]]
        key = (name, len(sizes))
        tasks[key] = Task(key, _between, kernel, begins, low, share[low:high], *refs)
        sizes.append(high - low)
    return build(name, tasks, [numbers, levels], (tuple(sizes),), "f8")


def _between(
    kernel: Kernel, starts: tuple[int, int], begin: int, share: Any, *entries: Any
) -> NDArray[np.float64]:
    first, second, *levels = entries
    return np.asarray(kernel(first[0], second[0], np.concatenate(levels), starts, begin, share))


def _rows(data: Array, length: int) -> list[list[tuple[int, slice]]]:
    """For each chunk along y the tiles it is cut into: their numbers, and their rows in the chunk."""
    row = max(1, length * max(data.chunks[2], default=1) * data.dtype.itemsize)
    limit = max(1, chunk_bytes() // row)
    tiles: list[list[tuple[int, slice]]] = []
    count = 0
    for size in data.chunks[1]:
        cuts = [slice(lo, hi) for lo, hi in spans(split(size, limit))]
        tiles.append(list(enumerate(cuts, start=count)))
        count += len(cuts)
    return tiles


def spectrum_map(
    kernel: Kernel,
    data: Array,
    starts: Sequence[int],
    length: int,
    background: Array | None,
    *,
    shape: tuple[int, int],
    dtype: DTypeLike,
) -> Array:
    """``kernel(frames[start:start + length], background)`` of whole frames: (window, *shape).

    ``background`` is one image for each window (window, y, x), or one for all (y, x), or None.
    """
    name = named(kernel, data, list(starts), length, background, shape)
    begins = edges(data.chunks[0]).tolist()
    tasks: Tasks = {}
    for j, start in enumerate(starts):
        parts, frames = parts_of(data, begins, start, length, (0, 0))
        one = background is None or background.ndim == 2
        own = argument(background) if one else block(background, j, 0, 0)  # type: ignore[arg-type]
        key = (name, j, 0, 0)
        left = len(begins) - bisect_right(begins, start)
        tasks[key] = placed(key, left, _above, kernel, frames, own, *parts)
    chunks = ((1,) * len(starts), *((n,) for n in shape))
    return build(name, tasks, [data, background, LADDER], chunks, dtype)


def picked_map(
    kernel: Kernel,
    data: Array,
    picks: Sequence[NDArray[np.int64]],
    arguments: Sequence[tuple[Any, ...]],
    gives: int,
) -> Array:
    """``kernel(frames[picks[j]], *arguments[j])`` of whole frames: one object for each entry of picks.

    An object has so many bytes as the kernel ``gives``.

    The frames of an entry lie in order. They are taken out of each chunk in a task of its own, so that
    few frames of a long window are held, not all of its chunks.
    """
    name = named(kernel, data, [p.tolist() for p in picks], list(arguments))
    begins = edges(data.chunks[0])
    tasks: Tasks = {}
    for j, (pick, own) in enumerate(zip(picks, arguments, strict=True)):
        chunk = np.searchsorted(begins, pick, "right") - 1
        left = data.numblocks[0] - int(chunk[0])
        parts = []
        for i in np.unique(chunk).tolist():
            frames = _positions(pick[chunk == i] - begins[i])
            rows = []
            for iy in range(data.numblocks[1]):
                row: list[TaskRef] = []
                for ix in range(data.numblocks[2]):
                    key = (f"pick-{name}", j, i, iy, ix)
                    tasks[key] = placed(
                        key, data.numblocks[0] - i, _picked, block(data, i, iy, ix), frames
                    )
                    row.append(TaskRef(key))
                rows.append(List(*row))
            parts.append(List(*rows))
        tasks[name, j] = placed((name, j), left, _on_picked, kernel, List(*parts), *own)
    longest = max((len(pick) for pick in picks), default=0)
    held = {name: gives, f"pick-{name}": longest * image_bytes(data, data.dtype.itemsize)}
    return build(name, tasks, [data, LADDER], ((1,) * len(picks),), object, held)


def _positions(frames: NDArray[np.int64]) -> slice | list[int]:
    """A slice if there is one: it copies nothing."""
    first, last = int(frames[0]), int(frames[-1])
    return slice(first, last + 1) if last - first + 1 == len(frames) else frames.tolist()


def _picked(part: NDArray[Any], frames: slice | list[int]) -> NDArray[Any]:
    return part[frames]


def _on_picked(kernel: Kernel, parts: list[Any], *arguments: Any) -> Any:
    pieces = [p[0][0] if len(p) == len(p[0]) == 1 else np.block(p) for p in parts]
    return kernel(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), *arguments)


def whole_window_map(
    kernel: Kernel,
    data: Array,
    count: int,
    length: int,
    *arguments: Any,
    shape: tuple[int, ...],
    every: int = 1,
) -> Array:
    """``kernel(frames, *arguments)`` of whole frames for ``count`` windows: (window, *shape), float64.

    Of ``every`` so many windows one is worked on, and the others are zeros. Their tasks take the chunks
    as well: a result that needs few chunks of the movie, computed with one that needs all, is what dask
    turns to first, and those few are kept until the other comes to them.
    """
    data = whole_frames(data)
    name = named(kernel, data, count, length, arguments, shape, every)
    begins = edges(data.chunks[0]).tolist()
    tasks: Tasks = {}
    for j in range(count):
        start = j * length
        parts, frames = parts_of(data, begins, start, length, (0, 0))
        key = (name, j, *(0,) * len(shape))
        left = len(begins) - bisect_right(begins, start)
        work = (_zeros, shape) if j % every else (_of_frames, kernel, frames, arguments)
        tasks[key] = placed(key, left, *work, *parts)
    chunks = ((1,) * count, *((n,) for n in shape))
    return build(name, tasks, [data, LADDER], chunks, "f8")


def parts_of(
    data: Array, begins: Sequence[int], start: int, length: int, spot: tuple[int, int]
) -> tuple[list[TaskRef], slice]:
    """The chunks that hold a window, and where in them, joined, its frames are."""
    stop = min(start + length, begins[-1])
    first, last = bisect_right(begins, start) - 1, bisect_left(begins, stop)
    parts = [block(data, i, *spot) for i in range(first, last)]
    return parts, slice(start - begins[first], stop - begins[first])


def joined(parts: Sequence[NDArray[Any]], frames: slice, rows: slice = slice(None)) -> NDArray[Any]:
    """Those frames and rows of consecutive chunks; a view if one chunk holds them."""
    pieces, begin = [], 0
    for part in parts:
        low, high = max(frames.start - begin, 0), min(frames.stop - begin, len(part))
        if low < high:
            pieces.append(part[low:high, rows])
        begin += len(part)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _on_window(
    kernel: Kernel, frames: slice, rows: slice, own: tuple[Any, ...], *parts: NDArray[Any]
) -> NDArray[Any]:
    return kernel(joined(parts, frames, rows), *own)[np.newaxis]


def _of_frames(
    kernel: Kernel, frames: slice, arguments: tuple[Any, ...], *parts: NDArray[Any]
) -> NDArray[Any]:
    return kernel(joined(parts, frames), *arguments)[np.newaxis]


def _zeros(shape: tuple[int, ...], *_: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((1, *shape))


def _above(kernel: Kernel, frames: slice, under: Any, *parts: NDArray[Any]) -> NDArray[Any]:
    """A window over the background under it: one image, one of a series, or None."""
    image = under[0] if under is not None and under.ndim == 3 else under
    return kernel(joined(parts, frames), image)[np.newaxis]
