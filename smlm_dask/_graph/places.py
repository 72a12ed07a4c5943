"""The place of a task in the movie, told to dask in the one language its order understands."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from dask._task_spec import List, Task, TaskRef

from smlm_dask._graph.arrays import Kernel, Tasks, block, build

LEVELS = 32
STRIDE = (
    10  # a step along the movie outweighs what the graphs of its chunks differ by: 2 ** 10 tasks
)


def placed(key: Any, left: int, kernel: Kernel, *arguments: Any) -> Task:
    """The task ``kernel(*arguments)``, run before those with fewer chunks ``left`` after their own.

    Its graph needs ``LADDER``. Of the tasks that a result is made of, dask runs first the one with most
    tasks above it, and of equals the one whose key comes last as text, 9 before 10. Windows that
    cross chunks so ran far from their neighbours in time, the chunks they share were kept, and memory
    grew with the movie. Here a task stands on nodes of a ladder, one for each bit of ``left``, so that
    the tasks above it get fewer along the movie. They compute nothing, and no task waits for another's
    samples: in a chain it would.
    """
    bits = [k for k in range(LEVELS - STRIDE) if left >> k & 1]
    return Task(key, _run, List(*(block(LADDER, 0, k + STRIDE) for k in bits)), kernel, *arguments)


def gathered(key: Any, kernel: Kernel, *arguments: Any) -> Task:
    """The task ``kernel(*arguments)``, whose arguments' own parts run in the order of their places.

    Its graph needs ``LADDER``. dask follows the heaviest argument down to the movie and takes the parts
    of what it meets on that way in any order; it sorts the parts of what it comes back to. Here the
    heaviest is the top of the ladder.
    """
    return Task(key, _run, block(LADDER, 0, LEVELS - 1), kernel, *arguments)


def _run(_: Any, kernel: Kernel, *arguments: Any) -> Any:
    return kernel(*arguments)


def _ladder() -> Tasks:
    """Two nodes a level, each on both of the level below: 2 ** (k + 1) - 1 tasks up to level k."""
    levels = [[("place", side, k) for side in range(2)] for k in range(LEVELS)]
    tasks: Tasks = {key: Task(key, _nothing) for key in levels[0]}
    for below, level in pairwise(levels):
        tasks |= {key: Task(key, _nothing, *map(TaskRef, below)) for key in level}
    return tasks


def _nothing(*_: Any) -> None:
    pass


LADDER = build("place", _ladder(), [], ((1, 1), (1,) * LEVELS), "u1")
