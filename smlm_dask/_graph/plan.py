"""What a computation will take, told from its graph; nothing is computed."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask._expr import FinalizeCompute
from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    TaskRef,
    _execute_subgraph,
    convert_legacy_graph,
)
from dask.array.chunk import getitem
from dask.array.core import getter, getter_inline, getter_nofancy
from dask.base import collections_to_expr
from dask.highlevelgraph import HighLevelGraph
from dask.order import order

from smlm_dask._graph.arrays import HELD, Array, Tasks, _at, is_sized
from smlm_dask._graph.places import _nothing, _run
from smlm_dask._graph.reduce import _same
from smlm_dask._graph.schedule import Costs, Highest, at_step, highest
from smlm_dask._graph.stream import Deferred
from smlm_dask._graph.windows import _entries, _picked
from smlm_dask._graph.write import Job, _written, tasks_of
from smlm_dask.kernels.memory import COPIES

READERS = (getter, getter_inline, getter_nofancy, _at)
SLICES = (getitem, operator.getitem)
PLAIN = (None, _written, *SLICES)  # what a task of several is not named after
# What the memory allocator rounds up and does not give back at once, the scheduler's own objects for each
# task, and what any computation takes.
SLACK, TASK, LEAST = 1.1, 6144, 2**19
# Reading may be this much quicker than kernels; several threads then read ahead of what must be known first,
# and hold a block more when they run apart.
PACES = (1, 10)
# A layer is held if half of its blocks are at once: of a movie of so many chunks for each thread, and of so
# large a part of its bytes, that it is no accident.
ENOUGH, PART = 8, 1 / 8


@dataclass(frozen=True)
class Forecast:
    """What a computation takes, in bytes.

    ``reads`` counts how often each block of a movie is read. ``held`` is the most between tasks, ``peak`` at
    any time; ``parts`` are those of the peak by kernel, and ``chunked`` bytes of it are blocks as they were
    read. ``holds`` is the kernel for which a movie is kept in memory until it can run.
    """

    tasks: int
    reads: Mapping[tuple[Any, ...], int]
    read: int
    written: int
    frames: int
    held: int
    peak: int
    parts: Mapping[str, int]
    chunked: int
    holds: str | None


def forecast(arrays: Sequence[Array], threads: int) -> Forecast:
    """Of computing all ``arrays`` together by so many threads, each block stored when it is there."""
    tasks, sizes = _tasks(arrays)
    ranks = order(tasks)
    tally = _Tally(sizes)
    for key in sorted(tasks, key=ranks.__getitem__):
        tally.add(key, tasks[key])
    paces = PACES if threads > 1 else PACES[:1]
    runs = [highest(tally.costs, threads, pace) for pace in paces]
    most = max(runs, key=lambda run: run.peak)
    parts = at_step(tally.costs, threads, most.pace, most.peak_step).parts()
    apart = tally.block if threads > 1 else 0
    read = sum(parts[kernel] for kernel in {_kernel(key) for key in tally.reads})
    count = len(tally.places)
    return Forecast(
        tasks=count,
        reads=tally.reads,
        read=tally.read,
        written=sum(int(a.nbytes) for a in arrays if is_sized(a.chunks)),
        frames=max((sizes.shape(key)[0] for key in tally.reads), default=0),
        held=max(run.held for run in runs),
        peak=int(SLACK * (most.peak + apart)) + TASK * count + LEAST * bool(count),
        parts=dict(parts.most_common()),
        chunked=int(SLACK * (read + apart)),
        holds=_holder(tally, runs[0], threads),
    )


def _nowhere(index: tuple[int, ...], block: Any) -> None:
    raise AssertionError("a plan computes nothing")


def _tasks(arrays: Sequence[Array]) -> tuple[Tasks, _Sizes]:
    """The graph as `write` hands it to a scheduler, and the sizes that its layers tell."""
    jobs = [Job("plan", _nowhere, a, list(np.ndindex(*a.numblocks))) for a in arrays]
    written = [tasks_of(job) for job in jobs if job.wanted]
    if not written:
        return {}, _Sizes(HighLevelGraph({}, {}))
    sizes = _Sizes(HighLevelGraph.merge(*(a.dask for a in written)))
    graph = FinalizeCompute(collections_to_expr(written)).optimize().__dask_graph__()
    return convert_legacy_graph(graph), sizes


def _base(key: Any) -> str:
    """The layer of a key, without the token of a second pass or what fusing blockwise adds to it."""
    name = key[0] if isinstance(key, tuple) else key
    return str(name).partition("~")[0].partition("_.")[0]


def _kernel(key: Any) -> str:
    """The kernel that a key is named after."""
    name = _base(key)
    return name.rpartition("-")[0] or name


class _Sizes:
    """Bytes of what tasks give, by their keys: from the chunks of an array, or as `build` was told."""

    def __init__(self, graph: HighLevelGraph) -> None:
        self.told: dict[str, int] = {}
        self.chunks: dict[str, tuple[Any, int]] = {}
        for name, layer in graph.layers.items():
            about = layer.collection_annotations or {}
            self.told |= about.get(HELD, {})
            blocks = np.dtype(about.get("dtype", object)) != object
            if blocks and is_sized(about["chunks"]):
                self.chunks[_base(name)] = about["chunks"], np.dtype(about["dtype"]).itemsize

    def of(self, key: Any, outer: Any = None) -> int | None:
        """Bytes; None where nothing is known."""
        name = _base(key)
        if name in self.told or name not in self.chunks:
            return self.told.get(name)
        return self.chunks[name][1] * math.prod(self.shape(key, outer))

    def shape(self, key: Any, outer: Any = None) -> tuple[int, ...]:
        """Of a block; one fused without an index is at that of the ``outer`` task, or like the first."""
        chunks, _ = self.chunks.get(_base(key), ((), 0))
        index = next((k[1:] for k in (key, outer) if isinstance(k, tuple)), ())
        if len(index) != len(chunks) or any(
            i >= len(c) for i, c in zip(index, chunks, strict=True)
        ):
            index = (0,) * len(chunks)
        return tuple(sizes[i] for sizes, i in zip(chunks, index, strict=True))


@dataclass(frozen=True, slots=True)
class _Cost:
    """Bytes of a task's result, those of them that are new, whose others they are, and its work."""

    result: int = 0
    own: int = 0
    keeps: tuple[Any, ...] = ()
    work: int = 0


class _Chain(dict[Any, _Cost]):
    """Costs of tasks that are fused into one; ``refs`` are their names for those outside."""

    def __init__(self, outside: Mapping[Any, _Cost], refs: Mapping[Any, Any]) -> None:
        super().__init__()
        self.outside, self.refs = outside, refs

    def __missing__(self, key: Any) -> _Cost:
        return self.outside[self.refs[key]] if key in self.refs else _Cost()

    def memory(self, key: Any) -> tuple[int, tuple[Any, ...]]:
        """Where the result of ``key`` is: bytes of the chain's own, and tasks outside."""
        if key not in self:
            return 0, (self.refs[key],) if key in self.refs else ()
        below = [self.memory(k) for k in self[key].keeps]
        keeps = tuple(k for _, others in below for k in others)
        return self[key].own + sum(own for own, _ in below), keeps


class _Tally:
    """The costs of tasks, each added after those that it needs."""

    def __init__(self, sizes: _Sizes) -> None:
        self.sizes, self.costs = sizes, Costs()
        self.found: dict[Any, _Cost] = {}
        self.places: dict[Any, int] = {}
        self.reads: Counter[tuple[Any, ...]] = Counter()
        self.blocks: Counter[str] = Counter()
        self.read = self.block = 0

    def add(self, key: Any, node: GraphNode) -> None:
        """A task; values in the graph are there from the start."""
        before = self.read
        self.found[key] = cost = self._cost(key, node, self.found)
        if isinstance(node, DataNode):
            self.costs.base += node.value.nbytes if isinstance(node.value, np.ndarray) else 0
            return
        at, costs = self.places, self.costs
        at[key] = len(at)
        layer = str(key[0] if isinstance(key, tuple) else key)
        self.blocks[layer] += cost.own
        costs.layers.append(layer)
        costs.kernels.append(_kernel(_told(key, node)))
        costs.needs.append([at[k] for k in node.dependencies if k in at])
        costs.own.append(cost.own)
        costs.keeps.append([at[k] for k in cost.keeps if k in at])
        costs.work.append(cost.work)
        costs.reads.append(self.read > before and cost.own == cost.work)

    def _cost(
        self, key: Any, node: Any, known: Mapping[Any, _Cost], outer: Any = None, cut: Any = None
    ) -> _Cost:
        if isinstance(node, Alias):
            return _Cost(known[node.target].result, 0, (node.target,))
        function = getattr(node, "func", None)
        if function in (None, _nothing) or str(key).startswith("finalize-"):
            return _Cost()
        if function is _execute_subgraph:
            return self._fused(key, node, known)
        if function in READERS:
            return self._reading(cut or key, key, outer)
        given = sum(known[k].result for k in node.dependencies)
        size = self._size(key, node, given, outer)
        if _hands_on(node, size, given):
            return _Cost(size, 0, tuple(node.dependencies))
        return _Cost(size, size, (), self._work(key, node, given))

    def _size(self, key: Any, node: Any, given: int, outer: Any) -> int:
        size = self.sizes.of(key, outer)
        axes = _reduced(node)
        if axes is not None:  # sums and counts; dask tells the size of the chunk
            shape = self.sizes.shape(key, outer)
            return 16 * math.prod(n for axis, n in enumerate(shape) if axis not in axes)
        if size is None and node.func in SLICES:
            return int(given * self._share(node))
        return given if size is None else size

    def _share(self, node: Any) -> float:
        """The part of a block that a slice of it is."""
        (key,), box = node.dependencies, getattr(node.args[1], "value", node.args[1])
        shape = self.sizes.shape(key)
        if not isinstance(box, tuple) or len(box) != len(shape) or not math.prod(shape):
            return 1.0
        pairs = zip(box, shape, strict=True)
        lengths = [len(range(*s.indices(n))) if isinstance(s, slice) else 1 for s, n in pairs]
        return math.prod(lengths) / math.prod(shape)

    def _work(self, key: Any, node: Any, given: int) -> int:
        """Copies of the frames that a kernel is given, or reads itself."""
        own = max((self._deferred(block) for block in _deferred(node)), default=0)
        joined = self._window(node)
        return int(joined * given + COPIES.get(_kernel(key), 0.0) * (given + own) + 2 * own)

    def _window(self, node: Any) -> float:
        """One copy where a window is put together from several chunks."""
        keys = [k for k in node.dependencies if len(self.sizes.shape(k)) == 3]
        most = max(Counter(_base(k) for k in keys).values(), default=0)
        return 1.0 if node.func is _run and most > 1 else 0.0

    def _deferred(self, block: Deferred) -> int:
        return self._inner(block.graph, block.key, _Chain({}, {}), block.key).result

    def _reading(self, key: Any, source: Any, outer: Any) -> _Cost:
        """A stored chunk is decoded before it is copied to where it is wanted."""
        size, shape = self.sizes.of(key, outer) or 0, self.sizes.shape(key, outer)
        if len(shape) == 3:
            index = next((k[1:] for k in (source, outer) if isinstance(k, tuple)), ())
            self.reads[_base(source), *index] += 1
            self.read += size
            self.block = max(self.block, size)
        return _Cost(size, size, (), size)

    def _fused(self, key: Any, node: Any, known: Mapping[Any, _Cost]) -> _Cost:
        """Tasks in one: what is between two of them is let go after the second."""
        inner, out, names, *values = node.args
        refs = {
            name: value.key
            for name, value in zip(names, values, strict=True)
            if isinstance(value, TaskRef | Alias)
        }
        chain = _Chain(known, refs)
        result = self._inner(inner, out, chain, key).result
        own, keeps = chain.memory(out)
        most = max(
            cost.own + cost.work + sum(chain[k].own for k in inner[name].dependencies if k in chain)
            for name, cost in chain.items()
        )
        return _Cost(result, own, keeps, max(0, most - own))

    def _inner(self, graph: Mapping[Any, Any], key: Any, chain: _Chain, outer: Any) -> _Cost:
        node = graph[key]
        for other in node.dependencies:
            if other in graph and other not in chain:
                self._inner(graph, other, chain, outer)
        # A slice that dask put into the reading leaves an alias with its size.
        cuts = (k for k, n in graph.items() if isinstance(n, Alias) and n.target == key)
        chain[key] = self._cost(key, node, chain, outer, next(cuts, None))
        return chain[key]


def _told(key: Any, node: Any) -> Any:
    """The key to name a task by: of tasks in one the last but for slices and writing."""
    if getattr(node, "func", None) is not _execute_subgraph:
        return key
    inner, at = node.args[:2]
    while getattr(inner[at], "func", None) in PLAIN:
        below = [k for k in inner[at].dependencies if k in inner]
        if not below:
            return key
        at = below[0]
    return at


def _deferred(node: Any) -> Iterator[Deferred]:
    groups = (a for a in node.args if isinstance(a, list))
    return (block for group in groups for block in group if isinstance(block, Deferred))


def _hands_on(node: Any, size: int, given: int) -> bool:
    """Whether a result is in the memory of what the task is given: a slice, or a list of such."""
    if node.func is _run:
        return node.args[0] is _picked and isinstance(node.args[-1], slice)
    if node.func is getitem:  # dask's copies what is half or less
        return given < 2 * size
    return node.func in (operator.getitem, _same, _entries)


def _reduced(node: Any) -> Iterable[int] | None:
    """The axes that a part of dask's own reductions takes the sum over."""
    words = getattr(node.func, "keywords", {}) | (getattr(node, "kwargs", None) or {})
    axes = words.get("axis") if words.get("keepdims") else None
    return (axes,) if isinstance(axes, int) else axes


def _holder(tally: _Tally, run: Highest, threads: int) -> str | None:
    """The kernel that a layer as large as a movie waits for, most of its blocks in memory."""
    movie = tally.read / max(1, max(tally.reads.values(), default=1))
    if len(tally.reads) < ENOUGH * threads:
        return None
    large = {
        n: at for n, at in run.layers.items() if at[0] > max(PART * movie, tally.blocks[n] / 2)
    }
    if not large:
        return None
    layer, (_, step) = max(large.items(), key=lambda pair: pair[1][0])
    waiting = at_step(tally.costs, threads, run.pace, step).waiting(layer)
    return waiting.most_common(1)[0][0] if waiting else _kernel(layer)
