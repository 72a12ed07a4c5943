"""The only room that calls dask.array: it places kernels on chunks and knows no physics.

Every array made here has a numpy meta, a name that starts with its kernel's name (what the dashboard
shows) and ends with a token of everything that decides its values, and one task per block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask._task_spec import Alias, GraphNode, List, Task, TaskRef, convert_legacy_graph
from dask.base import tokenize
from dask.blockwise import blockwise
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.layers import ArraySliceDep
from dask.local import get_sync
from numpy.typing import ArrayLike, DTypeLike, NDArray

from smlm_dask.kernels import streaming
from smlm_dask.kernels.selection import median_and_mad

__all__ = [
    "Array",
    "blocks",
    "emitter_map",
    "finish",
    "frame_difference",
    "frame_map",
    "from_array",
    "is_lazy",
    "movie_data",
    "one_image_each",
    "second_pass",
    "series_map",
    "shares_source",
    "tile",
    "where",
    "whole",
    "window_map",
    "write",
    "whole_frames",
]

Array = da.Array
Kernel = Callable[..., Any]
Chunks = tuple[tuple[int, ...], ...]
Tasks = dict[Any, GraphNode]


def chunk_bytes() -> int:
    """Bytes of input one task may hold: the dask.config key ``smlm_dask.chunk-bytes``."""
    return int(dask.utils.parse_bytes(dask.config.get("smlm_dask.chunk-bytes", "128 MiB")))


def is_lazy(value: object) -> bool:
    """Whether ``value`` is a dask array."""
    return isinstance(value, da.Array)


def from_array(values: ArrayLike, chunks: Any = -1) -> Array:
    """A dask array over values in memory; a dask array as it is."""
    return values if isinstance(values, da.Array) else da.from_array(np.asarray(values), chunks)


def movie_data(movie: Any) -> Array:
    """The samples of a movie as a dask array; values in memory are cut along frames by the budget."""
    data = movie.data
    if isinstance(data, da.Array):
        return data
    frame = max(1, data.nbytes // max(1, len(data)))
    return da.from_array(data, (max(1, chunk_bytes() // frame), -1, -1))


def apply(kernel: Kernel, data: Array) -> Array:
    """``kernel`` on every block, whose shape and dtype it keeps."""
    return da.map_blocks(kernel, data, dtype=data.dtype, meta=data._meta, name=_name(kernel, data))


def where(good: Array, value: Array) -> Array:
    """``value`` where ``good``, else NaN."""
    return da.where(good, value, np.nan)


# ------------------------------------------------------------------ tasks, names, references


def _array(
    name: str, tasks: Tasks, inputs: Sequence[Any], chunks: Chunks, dtype: DTypeLike
) -> Array:
    arrays = {a.name: a for a in inputs if isinstance(a, da.Array)}
    inputs = list(arrays.values())
    graph = HighLevelGraph.from_collections(name, MaterializedLayer(tasks), inputs)
    return da.Array(graph, name, chunks, dtype=np.dtype(dtype))


def _name(kernel: Kernel, *parts: object) -> str:
    # The kernel's import path, not the function: the token of a jitted function differs per process.
    identity = [a.name if isinstance(a, da.Array) else a for a in parts]
    return f"{kernel.__name__}-{tokenize(kernel.__module__, kernel.__qualname__, identity)}"


def _block(array: Array, *index: int) -> TaskRef:
    return TaskRef((array.name, *index))


def whole(value: Any) -> Any:
    """``value`` in one block if it is lazy."""
    return value.rechunk(-1) if isinstance(value, da.Array) and value.npartitions > 1 else value


def _argument(value: Any) -> Any:
    """What a task receives: the only block of a lazy value, any other value as it is."""
    return _block(value, *(0,) * value.ndim) if isinstance(value, da.Array) else value


def _edges(sizes: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    edges = _edges(sizes).tolist()
    return list(zip(edges[:-1], edges[1:], strict=True))


def blocks(function: Kernel, chunks: Chunks, dtype: DTypeLike, *arguments: Any, name: str) -> Array:
    """An array whose block is ``function(location, *arguments)``.

    ``location`` is one ``(start, stop)`` pair for each axis, in samples from the array's origin. One
    symbolic layer, not a task for each block: a million frames build in no time and pickle small.
    """
    full = f"{name}-{tokenize(function, chunks, np.dtype(dtype).str, *arguments)}"
    axes = "abcdefg"[: len(chunks)]
    pairs = [x for a in arguments for x in (a, None)]
    where = ArraySliceDep(chunks), axes
    layer = blockwise(_at, full, axes, *where, function, None, *pairs, numblocks={})
    graph = HighLevelGraph.from_collections(full, layer)
    return da.Array(graph, full, chunks, dtype=np.dtype(dtype))


def _at(slices: tuple[slice, ...], function: Kernel, *arguments: Any) -> NDArray[Any]:
    return np.asarray(function(tuple((s.start, s.stop) for s in slices), *arguments))


# ------------------------------------------------------------------ a movie's chunks


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
    name = _name(kernel, data, *arguments)
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
    name = _name(kernel, data, starts, length, *arguments, per_window, shape, lead)
    rest = [_argument(a) for a in arguments]
    tasks: Tasks = {}
    tiles = list(product(*map(range, data.numblocks[1:])))
    for j, start in enumerate(starts):
        own = None if per_window is None else _block(per_window, j, *(0,) * (per_window.ndim - 1))
        for spot in tiles:
            key = (name, j, *(0,) * len(lead), *(spot if shape is None else (0,) * len(shape)))
            parts, first = _parts(data, start, start + length, spot)
            tasks[key] = Task(key, _on_window, kernel, first, length, List(*parts), own, *rest)
    tail = data.chunks[1:] if shape is None else tuple((n,) for n in shape)
    chunks = ((1,) * len(starts), *((n,) for n in lead), *tail)
    return _array(name, tasks, [data, per_window, *arguments], chunks, dtype)


def _parts(data: Array, start: int, stop: int, spot: tuple[int, ...]) -> tuple[list[TaskRef], int]:
    """References to the chunks that hold frames [start, stop), and where in the first they begin."""
    edges = _edges(data.chunks[0])
    first = int(np.searchsorted(edges, start, side="right")) - 1
    last = int(np.searchsorted(edges, min(stop, edges[-1]), side="left"))
    return [_block(data, i, *spot) for i in range(first, last)], start - int(edges[first])


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


def finish(
    kernel: Kernel, *arguments: Any, shape: tuple[int, ...] = (), dtype: DTypeLike = "f8"
) -> Array:
    """``kernel(*arguments)`` in one task; lazy arguments arrive whole."""
    arguments = tuple(whole(a) for a in arguments)
    name = _name(kernel, *arguments, shape, np.dtype(dtype).str)
    key = (name, *(0,) * len(shape))
    task = Task(key, kernel, *(_argument(a) for a in arguments))
    return _array(name, {key: task}, arguments, tuple((n,) for n in shape), dtype)


# ------------------------------------------------------------------ a series and its frames


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
    series, index = one_image_each(series), _like_frames(index, per_frame)
    name = _name(kernel, per_frame, series, index)
    tasks: Tasks = {}
    for i, (lo, hi) in enumerate(_spans(per_frame.chunks[0])):
        key = (name, i)
        images, local = _series_part(series, index, i, lo, hi)
        block = _block(per_frame, i, *(0,) * (per_frame.ndim - 1))
        tasks[key] = Task(key, kernel, block, images, local)
    return _array(name, tasks, [per_frame, series, index], (per_frame.chunks[0],), dtype)


def one_image_each(series: Array) -> Array:
    """A series with each of its entries in a block of its own."""
    return series.rechunk({0: 1, **dict.fromkeys(range(1, series.ndim), -1)})


def _like_frames(value: Any, data: Array) -> Any:
    return value.rechunk((data.chunks[0],)) if isinstance(value, da.Array) else value


def _series_part(
    series: Array, index: NDArray[np.int64] | Array, i: int, lo: int, hi: int
) -> tuple[Task | NDArray[Any], Any]:
    if isinstance(index, da.Array):
        needed: NDArray[Any] = np.arange(series.shape[0])
        local: Any = _block(index, i)
    else:
        needed, local = np.unique(index[lo:hi], return_inverse=True)
    refs = [_block(series, int(j), *(0,) * (series.ndim - 1)) for j in needed]
    empty = np.empty((0, *series.shape[1:]), series.dtype)
    return (Task(None, _stack, List(*refs)) if refs else empty), local


def _stack(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts)


# ------------------------------------------------------------------ emitters cut from frames


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
        return finish(_put_back, again, order, shape=again.shape)
    arguments = tuple(whole(a) for a in arguments)
    series = None if background is None else _align(background, data)
    name = _name(kernel, data, frames, rows, series, *arguments)
    cuts = np.searchsorted(frames, _edges(data.chunks[0]))
    tasks: Tasks = {}
    sizes: list[int] = []
    for i, (lo, hi) in enumerate(_spans(data.chunks[0])):
        a, b = int(cuts[i]), int(cuts[i + 1])
        if a == b:
            continue
        key = (name, len(sizes), 0)
        images = _no_series() if series is None else _images(series, i, lo, hi)
        block = _block(data, i, 0, 0)
        rest = (_argument(x) for x in arguments)
        tasks[key] = Task(key, kernel, block, frames[a:b] - lo, rows[a:b], *images, *rest)
        sizes.append(b - a)
    if not sizes:
        return da.zeros((0, columns), dtype="f8", chunks=((0,), (columns,)), name=name)
    return _array(
        name, tasks, [data, *(series or ()), *arguments], (tuple(sizes), (columns,)), "f8"
    )


def _put_back(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    out = np.empty_like(values)
    out[order] = values
    return out


def _align(background: Any, data: Array) -> tuple[Array, Any, Array]:
    series, index, offset = background
    images = one_image_each(from_array(series, (1, -1, -1)))
    return images, _like_frames(index, data), _like_frames(from_array(offset), data)


def _images(series: tuple[Array, Any, Array], i: int, lo: int, hi: int) -> tuple[Any, Any, Any]:
    images, local = _series_part(series[0], series[1], i, lo, hi)
    return images, local, _block(series[2], i)


def _no_series() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    return np.empty((0, 0, 0), "f4"), np.empty(0, "i8"), np.empty(0, "f8")


# ------------------------------------------------------------------ a second reading of the movie


def shares_source(local: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether any lazy array of ``other`` is computed from a layer that ``local`` is read from."""
    layers = [set(a.dask.layers) for a in (*local, *other) if isinstance(a, da.Array)]
    count = sum(isinstance(a, da.Array) for a in local)
    mine, theirs = set().union(*layers[:count]), set().union(*layers[count:])
    return bool(mine & theirs)


def second_pass(local: Sequence[Array], outer: Sequence[Any]) -> list[Array]:
    """``local`` under new keys, so that a task may need a whole-movie result and a chunk at once.

    A whole-movie result (``outer``) that feeds a per-chunk task makes dask keep every chunk until the
    result is there. Renaming every key of the joint, culled graph of all local inputs makes the chunks
    of the second use other tasks: each is read again when it is needed and let go. One token for all
    of them (two reads, not three); the token comes from the outer results, so that two second passes
    in one compute do not hold each other's chunks.
    """
    token = tokenize([a.name for a in outer if isinstance(a, da.Array)])
    graph = HighLevelGraph.merge(*(a.dask for a in local))
    wanted = set(flatten([a.__dask_keys__() for a in local]))
    nodes = convert_legacy_graph(dict(graph.cull(wanted)))
    names = {key: _again(key, token) for key in nodes}
    renamed: Tasks = {names[k]: node.substitute(names, key=names[k]) for k, node in nodes.items()}
    source = f"second-pass-{tokenize(token, [a.name for a in local])}"
    return [_alias(a, token, source, renamed) for a in local]


def _again(key: Any, token: str) -> Any:
    return (f"{key[0]}~{token}", *key[1:]) if isinstance(key, tuple) else f"{key}~{token}"


def _alias(array: Array, token: str, source: str, renamed: Tasks) -> Array:
    name = f"{array.name}~~{token}"
    keys = list(flatten(array.__dask_keys__()))
    alias = {(name, *k[1:]): Alias((name, *k[1:]), _again(k, token)) for k in keys}
    layers = {source: MaterializedLayer(renamed), name: MaterializedLayer(alias)}
    graph = HighLevelGraph(layers, {source: set(), name: {source}})
    return da.Array(graph, name, array.chunks, dtype=array.dtype, meta=array._meta)


# ------------------------------------------------------------------ writing


def write(sources: Sequence[Array], targets: Sequence[Any]) -> None:
    """Compute all ``sources`` together, each into its target array.

    One ``da.store`` for all: separate ones would be optimised apart, and read the movie once each.
    The chunks fit the targets', so tasks never share a stored chunk and need no lock.
    """
    if sources:
        da.store(list(sources), list(targets), lock=False)


# ------------------------------------------------------------------ small arrays


def ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, inf or NaN where the denominator is zero, without a warning."""
    return da.map_blocks(_ratio, numerator, denominator, dtype=numerator.dtype)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator / denominator)


def scatter(parts: Sequence[Array], places: Sequence[NDArray[np.int64]], dtype: DTypeLike) -> Array:
    """One array with ``parts[i]`` at ``places[i]``."""
    joined = da.concatenate([p.astype(dtype) for p in parts]) if parts else da.zeros(0, dtype=dtype)
    order = np.concatenate(places) if len(places) else np.zeros(0, np.int64)
    if (order == np.arange(len(order))).all():
        return joined
    return finish(_put_back, joined, order, shape=joined.shape, dtype=dtype)


# ------------------------------------------------------------------ exact selection over all frames

MOST_PASSES = {"u1": 6, "i1": 6, "b1": 6, "u2": 10, "i2": 10, "f4": 18}  # bounds of streaming.py
FIRST_FRAMES = 200


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
    3. A later pass reads a block only if a search is still open: the read happens inside its task,
       from the block's own piece of the graph, so passes that are not needed cost nothing, and no
       block is kept from one pass to the next.
    """
    kind = np.dtype("f4") if data.dtype == np.float32 else np.dtype("f8")
    if stream_passes(data) == 1:
        tiled = tile(data, len(data))
        return window_map(median_and_mad, tiled, [0], len(data), lead=(2,), dtype=kind)[0]
    data = whole_frames(data)
    name = _name(streaming.finish, data)
    tasks = _stream_tasks(data, name, MOST_PASSES[data.dtype.str[1:]])
    chunks = ((2,), (data.shape[1],), (data.shape[2],))
    return _array(name, tasks, [data], chunks, kind)


def _stream_tasks(data: Array, name: str, passes: int) -> Tasks:
    parts, _ = _parts(data, 0, min(FIRST_FRAMES, len(data)), (0, 0))
    begin = Task((f"start-{name}",), _start, List(*parts))
    tasks: Tasks = {begin.key: begin}
    state, blocks_again = begin.key, _deferred(data)
    for p in range(passes):
        counts = []
        for i in range(data.numblocks[0]):
            block = blocks_again[i] if p else _block(data, i, 0, 0)
            counts.append(Task((f"count-{name}", p, i), _count, block, TaskRef(state)))
        tree = _tree(counts, f"add-{name}-{p}")
        tasks |= {t.key: t for t in (*counts, *tree)}
        last = (tree or counts)[-1].key
        step = Task((f"narrow-{name}", p), _narrow, TaskRef(state), TaskRef(last), len(data))
        tasks[step.key] = step
        state = step.key
    tasks[(name, 0, 0, 0)] = Task((name, 0, 0, 0), streaming.finish, TaskRef(state))
    return tasks


def _tree(leaves: Sequence[Task], name: str, width: int = 4) -> list[Task]:
    """Tasks that add the results of ``leaves`` by fours; the last one holds the sum."""
    tasks: list[Task] = []
    level = [leaf.key for leaf in leaves]
    while len(level) > 1:
        groups = [level[i : i + width] for i in range(0, len(level), width)]
        sums = [
            Task((name, len(tasks) + j), _add, List(*(TaskRef(k) for k in group)))
            for j, group in enumerate(groups)
        ]
        tasks += sums
        level = [t.key for t in sums]
    return tasks


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
    return [Deferred(_cone(nodes, key), key) for key in keys]


def _cone(nodes: Tasks, key: Any) -> Tasks:
    """What ``key`` is computed from."""
    found: Tasks = {}
    open_ = [key]
    while open_:
        at = open_.pop()
        if at not in found:
            found[at] = nodes[at]
            open_ += nodes[at].dependencies
    return found


def _start(parts: Sequence[NDArray[Any]]) -> streaming.State:
    return streaming.start(np.concatenate(parts)[:FIRST_FRAMES])


def _count(block: NDArray[Any] | Deferred, state: streaming.State) -> NDArray[np.uint32]:
    if not isinstance(block, Deferred):
        return streaming.count(block, state)
    return np.zeros((0, 0), np.uint32) if state.resolved else streaming.count(block(), state)


def _add(parts: Sequence[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _narrow(state: streaming.State, counts: NDArray[np.uint32], n: int) -> streaming.State:
    return state if state.resolved else streaming.narrow(state, counts, n)
