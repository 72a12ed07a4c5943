"""The memory of tasks that threads run in dask's order, followed without running them."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Costs", "Highest", "Run", "at_step", "highest"]


@dataclass
class Costs:
    """Tasks in dask's order, in bytes; each needs earlier ones.

    ``own`` is memory that a task makes for its result, ``keeps`` are the tasks whose memory its result is in,
    and ``work`` is what it takes while it runs. ``base`` is in memory from the start.
    """

    base: int = 0
    layers: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    needs: list[list[int]] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    keeps: list[list[int]] = field(default_factory=list)
    work: list[int] = field(default_factory=list)
    reads: list[bool] = field(default_factory=list)

    def lasts(self, pace: int) -> list[int]:
        """How long tasks last: as long as they move bytes, reading so many times as quickly."""
        given = (sum(self.own[other] for other in needs) for needs in self.needs)
        sums = (sum(parts) for parts in zip(self.own, self.work, given, strict=True))
        return [n // pace if reads else n for n, reads in zip(sums, self.reads, strict=True)]

    def users(self) -> list[list[int]]:
        """For each task those that need it, the last first."""
        users: list[list[int]] = [[] for _ in self.needs]
        for i in range(len(users) - 1, -1, -1):
            for other in self.needs[i]:
                users[other].append(i)
        return users


class Run:
    """What is held at each moment of a run.

    As dask's schedulers do: of tasks that are ready the ones that became so last begin first, and of these
    the first in order. A result is let go when all that need it are done, its memory when no result
    is in it any more.
    """

    def __init__(self, costs: Costs, threads: int, pace: int) -> None:
        self.costs, self.threads = costs, threads
        self.lasts = costs.lasts(pace)
        self.users = costs.users()
        self.waits = [len(needs) for needs in costs.needs]
        self.wanted = [len(users) for users in self.users]
        self.holders = [1] * len(costs.own)
        self.ready = [i for i in range(len(costs.own) - 1, -1, -1) if not self.waits[i]]
        self.running: list[tuple[int, int]] = []
        self.done = [False] * len(costs.own)
        self.clock = self.steps = self.busy = 0
        self.held = costs.base

    def begin(self) -> None:
        """Give every free thread a task."""
        own, work = self.costs.own, self.costs.work
        while self.ready and len(self.running) < self.threads:
            i = self.ready.pop()
            self.busy += own[i] + work[i]
            heapq.heappush(self.running, (self.clock + self.lasts[i], i))

    def end(self) -> int:
        """The first of the running tasks to end."""
        self.clock, i = heapq.heappop(self.running)
        self.steps += 1
        self.done[i] = True
        self.busy -= self.costs.own[i] + self.costs.work[i]
        self.held += self.costs.own[i]
        for kept in self.costs.keeps[i]:
            self.holders[kept] += 1
        for user in self.users[i]:
            self.waits[user] -= 1
            if not self.waits[user]:
                self.ready.append(user)
        return i

    def let_go(self, i: int) -> list[int]:
        """Tasks whose memory is free, now that task ``i`` is done."""
        open_: list[int] = []
        for other in self.costs.needs[i]:
            self.wanted[other] -= 1
            if not self.wanted[other]:
                open_.append(other)
        free = []
        while open_:
            at = open_.pop()
            self.holders[at] -= 1
            if not self.holders[at]:
                self.held -= self.costs.own[at]
                open_ += self.costs.keeps[at]
                free.append(at)
        return free

    def parts(self) -> Counter[str]:
        """Bytes by kernel, of what is held and of what runs."""
        found: Counter[str] = Counter()
        running = {i for _, i in self.running}
        for i, (kernel, own) in enumerate(zip(self.costs.kernels, self.costs.own, strict=True)):
            if i in running:
                found[kernel] += own + self.costs.work[i]
            elif own and self.done[i] and self.holders[i]:
                found[kernel] += own
        return found

    def waiting(self, layer: str) -> Counter[str]:
        """Kernels that are still to come to what is held of a layer, and how many of their tasks."""
        names, left = self.costs.layers, Counter[str]()
        for i, users in enumerate(self.users):
            if names[i] == layer and self.done[i] and self.holders[i]:
                left.update(self.costs.kernels[user] for user in users if not self.done[user])
        return left


@dataclass(frozen=True)
class Highest:
    """The most bytes held between tasks, and at any time; of each layer the most that is held of it, when."""

    pace: int
    held: int
    peak: int
    peak_step: int
    layers: dict[str, tuple[int, int]]


def highest(costs: Costs, threads: int, pace: int) -> Highest:
    """Follow a run to its end."""
    run, own, layers = Run(costs, threads, pace), costs.own, costs.layers
    held = peak = costs.base
    at, now = 0, Counter[str]()
    most: dict[str, tuple[int, int]] = {}
    while run.ready or run.running:
        run.begin()
        if run.held + run.busy > peak:
            peak, at = run.held + run.busy, run.steps
        i = run.end()
        if own[i]:
            layer = layers[i]
            now[layer] += own[i]
            if now[layer] > most.get(layer, (0, 0))[0]:
                most[layer] = now[layer], run.steps
        for other in run.let_go(i):
            now[layers[other]] -= own[other]
        held = max(held, run.held)
    return Highest(pace, held, peak, at, most)


def at_step(costs: Costs, threads: int, pace: int, step: int) -> Run:
    """A run after so many tasks, with the next ones begun."""
    run = Run(costs, threads, pace)
    while run.steps < step:
        run.begin()
        run.let_go(run.end())
    run.begin()
    return run
