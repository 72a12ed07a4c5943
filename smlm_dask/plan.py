"""What a computation will read, write and hold, told before it begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import dask
import xarray as xr
from dask.system import CPU_COUNT
from dask.utils import format_bytes

from smlm_dask import _graph
from smlm_dask.check import shown, size, whole_number
from smlm_dask.errors import MemoryLimitError, ParameterError

__all__ = ["Plan", "plan"]

# Python, its libraries and compiled kernels in a process that has computed once.
LIBRARIES = 350 * 2**20

Results = xr.Dataset | xr.DataArray | xr.DataTree | Mapping[str, xr.Dataset]


@dataclass(frozen=True, repr=False)
class Plan:
    """What a computation will take.

    Attributes
    ----------
    chunks, frames : int
        Chunks of the movies that are read, and frames in one at most.
    passes : int
        How often a chunk is read at most.
    tasks : int
        Tasks that run, as the scheduler gets them.
    read, written : int
        Bytes of samples that are read, in all passes, and of results; not compressed.
    threads : int
        Threads of a worker process.
    memory : int
        Bytes that a worker process takes at most for the computation, beside its libraries.
    chunk_memory : int
        Those of it that are chunks as they were read.
    kernel : str
        The kernel with most of that memory.
    holds : str or None
        The kernel for which a movie is kept in memory until it can run: memory grows with the movie.
    """

    chunks: int
    frames: int
    passes: int
    tasks: int
    read: int
    written: int
    threads: int
    memory: int
    chunk_memory: int
    kernel: str
    holds: str | None

    def check(self, memory_limit: str | float | None = None) -> Plan:
        """Refuse what cannot fit.

        Parameters
        ----------
        memory_limit : str or number, optional
            As for `plan`.

        Returns
        -------
        Plan
            Itself.

        Raises
        ------
        MemoryLimitError
            If a worker process would need more.
        ParameterError
            If ``memory_limit`` is not a size.
        """
        room = _room(memory_limit)
        if self.memory > room:
            raise MemoryLimitError(
                f"kernel {self.holds or self.kernel!r}",
                got=f"{format_bytes(self.memory)} in a worker process of {self.threads} thread(s)"
                + (", where the movie is kept in memory for it" if self.holds else ""),
                wanted=f"at most {format_bytes(max(0, room))} beside the libraries",
                fix=self._fix(room),
            )
        return self

    def _fix(self, room: int) -> str:
        if self.holds:
            return f"compute what {self.holds!r} waits for first, and go on with its numbers"
        frames = self._fitting(room)
        if frames:
            return f"chunks of at most {frames} frames (now {self.frames}), or fewer threads"
        return "more memory, fewer threads or tiles of frames: no chunk of whole frames fits"

    def _fitting(self, room: int) -> int:
        """Frames in a chunk with which it fits; what is no chunk as it was read stays as it is."""
        rest = self.memory - self.chunk_memory
        if not self.chunk_memory or not self.memory:
            return 0
        share = (room - rest) / self.chunk_memory if rest < room else room / self.memory
        return int(0.9 * self.frames * max(0.0, share))

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "Chunks", f"{self.chunks} of up to {self.frames} frames"
        yield "Read", f"{format_bytes(self.read)}, a chunk {_times(self.passes)}"
        yield "Write", format_bytes(self.written)
        yield "Tasks", str(self.tasks)
        yield (
            "Memory",
            f"{format_bytes(self.memory)} for {self.threads} thread(s), most: {self.kernel}",
        )
        yield "Holds", f"the movie, for {self.holds}" if self.holds else "no movie"

    def __repr__(self) -> str:
        lines = (f"    {name:<8}{text}" for name, text in self._lines())
        return "\n".join(["<smlm_dask.Plan>", *lines])

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in self._lines())
        return f"<table><caption>smlm_dask.Plan</caption>{''.join(rows)}</table>"


def plan(
    results: Results, *, memory_limit: str | float | None = None, threads: int | None = None
) -> Plan:
    """Tell what computing and storing ``results`` together will take; nothing is computed.

    The tasks are those that the scheduler gets, in the order in which it runs them, and every task's bytes
    are known from its chunks: what is alive at each moment is counted, not guessed. Kernels have declared
    what they take while they run.

    Parameters
    ----------
    results : Dataset, DataArray, mapping of name to Dataset, or DataTree
        What `store` takes, or one of it.
    memory_limit : str or number, optional
        What a worker process may take, libraries included: ``"2 GB"`` or bytes. By default that of the
        workers, if a distributed client is active, else the memory that is free now.
    threads : int, optional
        Threads of a worker process. By default those of the workers, or of this machine.

    Returns
    -------
    Plan
        Shown as a short table.

    Raises
    ------
    MemoryLimitError
        If it cannot fit; it names the kernel, and the frames in a chunk that would.
    ParameterError
        If there is nothing to plan, or a keyword has a value that cannot work.

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> movie, _ = smlm.simulate_movie(2000, (64, 64), chunks=200)
    >>> told = smlm.plan({"camera": smlm.estimate_gain(movie)}, threads=2)
    >>> told.chunks, told.passes, told.holds
    (10, 1, None)
    >>> smlm.plan((movie - movie.mean("frame")), threads=1).holds
    'sub'
    >>> smlm.plan(movie.mean("frame"), threads=2, memory_limit="1 MB")
    Traceback (most recent call last):
    ...
    smlm_dask.errors.MemoryLimitError: kernel ...
    """
    arrays = [_graph.even(v.data) for v in _variables(results) if v.chunks is not None]
    threads = _threads() if threads is None else whole_number("threads", threads, at_least=1)
    told = _graph.forecast(arrays, threads)
    return Plan(
        chunks=len(told.reads),
        frames=told.frames,
        passes=max(told.reads.values(), default=0),
        tasks=told.tasks,
        read=told.read,
        written=told.written,
        threads=threads,
        memory=told.peak,
        chunk_memory=told.chunked,
        kernel=next(iter(told.parts), ""),
        holds=told.holds,
    ).check(memory_limit)


def _times(passes: int) -> str:
    return {1: "once", 2: "twice"}.get(passes, f"up to {passes} times")


def _variables(results: Any) -> list[xr.Variable]:
    """All variables, coordinates too, each by its array."""
    if isinstance(results, xr.DataArray):
        return [results.variable, *(c.variable for c in results.coords.values())]
    if isinstance(results, xr.DataTree):
        results = {node.path: node.to_dataset() for node in results.subtree}
    results = {"": results} if isinstance(results, xr.Dataset) else results
    if not isinstance(results, Mapping) or not results:
        raise _nothing_to_plan(results)
    if not all(isinstance(d, xr.Dataset | xr.DataArray | xr.DataTree) for d in results.values()):
        raise _nothing_to_plan(results)
    parts = ([d] if isinstance(d, xr.Dataset) else _variables(d) for d in results.values())
    return [v for part in parts for d in part for v in _of(d)]


def _of(part: xr.Dataset | xr.Variable) -> list[xr.Variable]:
    return list(part.variables.values()) if isinstance(part, xr.Dataset) else [part]


def _nothing_to_plan(results: Any) -> ParameterError:
    return ParameterError(
        "results",
        got=shown(results),
        wanted="a Dataset, a DataArray, a Dataset for each name, or a DataTree",
        fix='{"camera": camera}',
    )


def _workers() -> list[Mapping[str, Any]]:
    """Those of the active client, if there is one; then distributed has been imported."""
    distributed = sys.modules.get("distributed")
    try:
        client = distributed.default_client() if distributed else None
    except ValueError:
        return []
    return list(client.scheduler_info()["workers"].values()) if client else []


def _threads() -> int:
    own = dask.config.get("num_workers", None) or CPU_COUNT
    return max((int(w["nthreads"]) for w in _workers()), default=int(own))


def _room(memory_limit: str | float | None) -> int:
    """Bytes for a computation in a worker process, beside its libraries."""
    if memory_limit is not None:
        return size("memory_limit", memory_limit) - LIBRARIES
    limits = [int(w["memory_limit"]) for w in _workers() if w["memory_limit"]]
    return min(limits) - LIBRARIES if limits else _free()


def _free() -> int:
    """Bytes of this machine that are free: of all there are, where the system does not tell."""
    table = Path("/proc/meminfo")
    if table.exists():
        lines = (line.split() for line in table.read_text().splitlines())
        return next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
