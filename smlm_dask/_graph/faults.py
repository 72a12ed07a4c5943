"""What befalls workers, in this package's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dask.utils import format_bytes, format_time, key_split
from distributed import Client, KilledWorker, get_client
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from smlm_dask.errors import ClusterError, WorkerMemoryError

LOST = (CommClosedError, FutureCancelledError, FuturesCancelledError)


@contextmanager
def explained(client: Client | None = None) -> Iterator[None]:
    """Say why workers were lost, where dask says only that they were.

    Around whatever computes. Without a cluster, and of all other errors, it knows nothing and passes
    them on. ``client`` is the one that computes, else the current one.
    """
    try:
        yield
    except KilledWorker as error:
        raise _killed(error, client) from error
    except (NoWorkerError, NoValidWorkerError) as error:
        raise _alone(error) from error
    except LOST as error:
        raise _cut_off(error) from error


def _killed(error: KilledWorker, client: Client | None) -> ClusterError:
    last, stops = error.last_worker, _stops(client)
    most = max((stop["rss"] for stop in stops), default=0)
    if stops:
        why = f"their nannies stopped workers for their memory, the largest at {_bytes(most)}"
    else:
        why = "no nanny stopped them: the system did, often for memory, or they crashed"
    return (WorkerMemoryError if stops else ClusterError)(
        _blamed(error),
        got=f"workers that died on it, {error.allowed_failures + 1} in a row, memory limit "
        f"{_bytes(last.memory_limit)}, threads {last.nthreads}; {why}",
        wanted="chunks of which several fit that memory for each thread",
        fix="a smaller smlm_dask.chunk-bytes in dask's configuration before the movie is opened, fewer "
        "threads, or more memory for each worker; if that is not it, see the logs of the workers",
    )


def _blamed(error: KilledWorker) -> str:
    """The task that ran on the worker, if it told the scheduler before it died.

    dask blames all that were sent there, and raises what it comes upon first.
    """
    ran = list(error.last_worker.executing)
    if not ran:
        return f"{_place(error.task)} or what ran beside it"
    return _place(error.task if error.task in ran else ran[0])


def _stops(client: Client | None) -> list[dict[str, Any]]:
    """What nannies told the scheduler of workers that they stopped: addresses, and bytes as ``rss``."""
    try:
        events = (client or get_client()).get_events("worker-restart-memory")
    except (ValueError, OSError):  # no client any more, or no scheduler
        return []
    return [message for _, message in events]


def _alone(error: NoWorkerError | NoValidWorkerError) -> ClusterError:
    return ClusterError(
        _place(error.task),
        got=f"no worker for {format_time(error.timeout)} that could take it",
        wanted="one that runs, and is not out of memory, within "
        "distributed.scheduler.no-workers-timeout",
        fix="look at the logs of workers and scheduler; if workers wait in a queue, a longer timeout "
        "in dask's configuration before the cluster is started",
    )


def _cut_off(error: Exception) -> ClusterError:
    return ClusterError(
        "cluster",
        got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        wanted="a scheduler that answers until all is computed",
        fix="look at its log: it was stopped, ran out of memory, or cannot be reached any more",
    )


def _place(key: Any) -> str:
    """A task's key as the dashboard shows it, and which block of the array it makes."""
    index = ", ".join(map(str, key[1:])) if isinstance(key, tuple) else ""
    return f"block {key_split(key)!r} ({index})" if index else f"task {key_split(key)!r}"


def _bytes(size: float | None) -> str:
    return format_bytes(int(size)) if size else "none"
