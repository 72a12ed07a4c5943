"""A second reading of the movie, where a whole-movie result meets each of its chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dask.array as da
from dask._task_spec import convert_legacy_graph
from dask.base import tokenize
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from smlm_dask._graph.arrays import Array, Tasks


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
    nodes = {name: dict(layer) for name, layer in graph.layers.items()}
    everything = convert_legacy_graph({k: t for layer in nodes.values() for k, t in layer.items()})
    needed = cone(everything, flatten([a.__dask_keys__() for a in local]))
    names = {key: _again(key, token) for key in needed}
    layers = {
        _again(name, token): MaterializedLayer(
            {names[k]: needed[k].substitute(names, key=names[k]) for k in layer if k in needed},
            collection_annotations=graph.layers[name].collection_annotations,
        )
        for name, layer in nodes.items()
    }
    above = {
        _again(name, token): {_again(other, token) for other in others}
        for name, others in graph.dependencies.items()
    }
    again = HighLevelGraph(layers, above)
    return [
        da.Array(again, _again(a.name, token), a.chunks, dtype=a.dtype, meta=a._meta) for a in local
    ]


def _again(key: Any, token: str) -> Any:
    return (f"{key[0]}~{token}", *key[1:]) if isinstance(key, tuple) else f"{key}~{token}"


def cone(nodes: Tasks, keys: Iterable[Any]) -> Tasks:
    """What ``keys`` are computed from, and they themselves."""
    found: Tasks = {}
    open_ = list(keys)
    while open_:
        at = open_.pop()
        if at not in found:
            found[at] = nodes[at]
            open_ += nodes[at].dependencies
    return found
