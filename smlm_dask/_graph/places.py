"""The place of a task in the movie, told to dask in the one language its order understands."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

from dask._task_spec import Task, TaskRef

from smlm_dask._graph.arrays import Kernel, Tasks, build

# A step along the movie outweighs what the graphs of its chunks differ by: 2 ** 10 tasks.
STRIDE = 10
# Places have four digits of six bits: up to 2 ** 24 chunks, few nodes for a task.
DIGITS, BITS = 4, 6
LEVELS = STRIDE + DIGITS * BITS
# Levels over those of the digits: what is gathered may stand on a whole-movie result, too.
ABOVE = 60


def placed(key: Any, left: int, kernel: Kernel, *arguments: Any) -> Task:
    """The task ``kernel(*arguments)``, run before those with fewer chunks ``left`` after their own.

    Its graph needs ``LADDER``. Of the tasks that a result is made of, dask runs first the one with most
    tasks above it, and of equals the one whose key comes last as text, 9 before 10. Windows that
    cross chunks so ran far from their neighbours in time, the chunks they share were kept, and memory
    grew with the movie. Here a task stands on nodes of a ladder, one for each digit of ``left``, so
    that the tasks above it get fewer along the movie. They compute nothing, and no task waits for
    another's samples: in a chain it would.
    """
    digits = ((n, left >> n * BITS & 2**BITS - 1) for n in range(DIGITS))
    nodes = [TaskRef((_NAME, n, digit)) for n, digit in digits if digit]
    return Task(key, _run, kernel, len(nodes), *nodes, *arguments)


def gathered(key: Any, kernel: Kernel, *arguments: Any) -> Task:
    """The task ``kernel(*arguments)``, whose arguments' own parts run in the order of their places.

    Its graph needs ``LADDER``. dask follows the heaviest argument down to the movie and takes the parts
    of what it meets on that way in any order; it sorts the parts of what it comes back to. Here the
    heaviest is the top of the ladder.
    """
    return Task(key, _run, kernel, 1, TaskRef(_TOP), *arguments)


def _run(kernel: Kernel, nodes: int, *arguments: Any) -> Any:
    return kernel(*arguments[nodes:])


_NAME = "place"
_TOP = (f"{_NAME}-level", LEVELS + ABOVE - 1, 0)


def _ladder() -> Tasks:
    """Two nodes a level, each on both of the level below: 2 ** (k + 1) - 1 tasks up to level k.

    A digit's node stands on the levels of its bits.
    """
    levels = [[(f"{_NAME}-level", k, side) for side in range(2)] for k in range(LEVELS + ABOVE)]
    tasks: Tasks = {key: Task(key, _nothing) for key in levels[0]}
    for below, level in pairwise(levels):
        tasks |= {key: Task(key, _nothing, *map(TaskRef, below)) for key in level}
    for n, digit in product(range(DIGITS), range(2**BITS)):
        own = [levels[STRIDE + n * BITS + k][0] for k in range(BITS) if digit >> k & 1]
        tasks[_NAME, n, digit] = Task((_NAME, n, digit), _nothing, *map(TaskRef, own))
    return tasks


def _nothing(*_: Any) -> None:
    pass


LADDER = build(_NAME, _ladder(), [], ((1,) * DIGITS, (1,) * 2**BITS), "u1")
