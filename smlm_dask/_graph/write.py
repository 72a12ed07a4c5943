"""Blocks to disk: only those that are wanted, all arrays together, each block let go when it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from dask._task_spec import Task
from dask.base import compute, get_scheduler
from distributed import Client, as_completed, futures_of
from numpy.typing import NDArray

from smlm_dask._graph.arrays import Array, Tasks, block, build
from smlm_dask._graph.faults import explained

Index = tuple[int, ...]
Put = Callable[[Index, NDArray[Any]], None]


class Job(NamedTuple):
    """Blocks of an array, and ``put(index, block)``, which a task calls with each of them."""

    name: str
    put: Put
    data: Array
    wanted: Sequence[Index]


def write(*jobs: Job) -> None:
    """Compute the wanted blocks of all jobs and put each where it belongs; no other block is computed.

    One computation for all: separate ones would read the movie once each.
    """
    arrays = [tasks_of(job) for job in jobs if len(job.wanted)]
    client = getattr(get_scheduler(), "__self__", None)
    if not isinstance(client, Client):
        compute(*arrays)
        return
    with explained(client):
        _release(futures_of(client.persist(arrays)))


def tasks_of(job: Job) -> Array:
    """A task for each block, which puts it where it belongs."""
    # A name of its own each time: what a task leaves on disk is not told by its arguments.
    name = f"{job.name}-{uuid4().hex}"
    tasks: Tasks = {
        (name, i): Task((name, i), _written, job.put, index, block(job.data, *index))
        for i, index in enumerate(job.wanted)
    }
    return build(name, tasks, [job.data], ((1,) * len(tasks),), "?")


def _written(put: Put, index: Index, block: NDArray[Any]) -> NDArray[np.bool_]:
    put(index, block)
    return np.ones(1, "?")


def _release(futures: Sequence[Any]) -> None:
    """Let each future go when it is done: a worker that dies later takes nothing of it along.

    While a client holds it, the scheduler would compute it again: 33 of 64 blocks, where 1 was lost.
    """
    for future in as_completed(futures):
        if future.status != "finished":
            future.result()  # raises what its task raised
        future.release()
