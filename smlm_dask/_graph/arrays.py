"""Arrays out of tasks: names, references, and the small things every other module here needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
from dask._task_spec import DataNode, GraphNode, Task, TaskRef
from dask.base import tokenize
from dask.blockwise import blockwise
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.layers import ArraySliceDep
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = da.Array
Kernel = Callable[..., Any]
Chunks = tuple[tuple[int, ...], ...]
Tasks = dict[Any, GraphNode]
HELD = "held"  # what a layer tells of its tasks' bytes, beside its chunks


def chunk_bytes() -> int:
    """Bytes of input one task may hold: the dask.config key ``smlm_dask.chunk-bytes``."""
    return int(dask.utils.parse_bytes(dask.config.get("smlm_dask.chunk-bytes", "128 MiB")))


def is_lazy(value: object) -> bool:
    """Whether ``value`` is a dask array."""
    return isinstance(value, da.Array)


def from_array(values: ArrayLike, chunks: Any = -1) -> Array:
    """A dask array over values in memory or in an open file; a dask array as it is."""
    if isinstance(values, da.Array):
        return values
    stored = hasattr(values, "dtype") and hasattr(values, "ndim")
    return da.from_array(values if stored else np.asarray(values), chunks)


def is_sized(chunks: Chunks) -> bool:
    """Whether the size of every block is known."""
    return not any(math.isnan(n) for sizes in chunks for n in sizes)


def even(array: Array) -> Array:
    """``array`` in blocks of one size, but for the last along each axis: as zarr stores them."""
    return array.rechunk(tuple(max(sizes) for sizes in array.chunks))


def movie_data(movie: Any) -> Array:
    """The samples of a movie as a dask array; others are cut along frames by the budget, unread."""
    if movie.chunks is not None:
        return movie.data
    frame = max(1, movie.nbytes // max(1, len(movie)))
    sizes = {movie.dims[0]: max(1, chunk_bytes() // frame), movie.dims[1]: -1, movie.dims[2]: -1}
    return movie.variable.chunk(sizes).data


def build(
    name: str,
    tasks: Tasks,
    inputs: Sequence[Any],
    chunks: Chunks,
    dtype: DTypeLike,
    held: Mapping[str, int] | None = None,
) -> Array:
    """Make an array of tasks whose keys are ``(name, *block)``.

    ``held`` tells the bytes of what the tasks of a name give where ``chunks`` do not: of those on the way
    to a block, and of blocks that are objects.
    """
    arrays = {a.name: a for a in inputs if isinstance(a, da.Array)}
    inputs = list(arrays.values())
    layer = MaterializedLayer(tasks, collection_annotations={HELD: dict(held or {})})
    graph = HighLevelGraph.from_collections(name, layer, inputs)
    return da.Array(graph, name, chunks, dtype=np.dtype(dtype))


def held_by(array: Array) -> int:
    """Bytes of an object that is a block of ``array``, as they were told to `build`."""
    return int(array.dask.layers[array.name].collection_annotations[HELD][array.name])


def image_bytes(array: Array, itemsize: int = 8) -> int:
    """Bytes of all but the first axis, in float64."""
    return math.prod(array.shape[1:]) * itemsize


def named(kernel: Kernel, *parts: object) -> str:
    """Name a layer after its kernel and everything that decides its values."""
    # The kernel's import path, not the function: the token of a jitted function differs per process.
    identity = [a.name if isinstance(a, da.Array) else a for a in parts]
    return f"{kernel.__name__}-{tokenize(kernel.__module__, kernel.__qualname__, identity)}"


def block(array: Array, *index: int) -> TaskRef:
    """Refer to one block of an array."""
    return TaskRef((array.name, *index))


def argument(value: Any) -> Any:
    """What a task receives: the only block of a lazy value, any other value as it is."""
    return block(value, *(0,) * value.ndim) if isinstance(value, da.Array) else value


def edges(sizes: Sequence[int]) -> NDArray[np.int64]:
    """Say where chunks begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """List the (start, stop) of each chunk."""
    return list(pairwise(edges(sizes).tolist()))


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


def apply(kernel: Kernel, data: Array) -> Array:
    """``kernel`` on every block, whose shape and dtype it keeps."""
    return da.map_blocks(kernel, data, dtype=data.dtype, meta=data._meta, name=named(kernel, data))


def joined(data: Array, parts: Sequence[tuple[int, int]]) -> Array:
    """Parts of the first axis, one after the other."""
    return da.concatenate([data[begin:end] for begin, end in parts])


def ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, inf or NaN where the denominator is zero, without a warning."""
    return da.map_blocks(_ratio, numerator, denominator, dtype=numerator.dtype)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator / denominator)


def each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """``function`` of every item, each in a task of its own, computed now."""
    name = f"each-{uuid4().hex}"  # never the same: what is on disk is not told by its name
    tasks: Tasks = {
        (name, i): Task((name, i), _one, function, item) for i, item in enumerate(items)
    }
    return build(name, tasks, [], ((1,) * len(items),), object).compute().tolist() if tasks else []


def _one(function: Callable[[Any], Any], item: Any) -> NDArray[Any]:
    value = np.empty(1, object)
    value[0] = function(item)
    return value


def gaps(data: Array, missing: Sequence[tuple[int, ...]]) -> Array:
    """``data`` with NaN in the blocks that are missing, whatever they read as."""
    there = np.ones(data.numblocks, "?")
    there[tuple(np.transpose(missing))] = False
    dtype = data.dtype if data.dtype.kind in "fcmM" else np.dtype("f8")
    whole = da.from_array(there, chunks=1)
    return da.map_blocks(_or_nan, data, whole, dtype, dtype=dtype, chunks=data.chunks)


def _or_nan(block: NDArray[Any], there: NDArray[np.bool_], dtype: Any) -> NDArray[Any]:
    values = block.astype(dtype)
    gap = "NaT" if values.dtype.kind in "mM" else np.nan
    return values if there.all() else np.full_like(values, gap)


def copy_into(sources: Sequence[Array], targets: Sequence[Any]) -> None:
    """Compute all ``sources`` together, each into an array in memory of its shape."""
    da.store(list(sources), list(targets), lock=False)


def identity(value: Any) -> str:
    """What tells a value from another one: the name of a lazy array, a token of any other."""
    return value.name if isinstance(value, da.Array) else tokenize(value)


def origins(arrays: Sequence[Array]) -> list[Any]:
    """The files, stores and arrays in memory that the arrays are computed from, as dask was given them."""
    layers = {n: layer for a in arrays for n, layer in a.dask.layers.items()}
    found = [
        value.value if isinstance(value, DataNode) else value
        for layer in layers.values()
        if isinstance(layer, MaterializedLayer)
        for value in layer.mapping.values()
        if isinstance(value, DataNode) or not isinstance(value, GraphNode)
    ]
    return [_innermost(value) for value in found]


def _innermost(value: Any) -> Any:
    """What xarray has wrapped."""
    while (inside := getattr(value, "array", None)) is not None and inside is not value:
        value = inside
    return value
