"""Workers on this machine, reachable from nowhere else."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security
from distributed.system import MEMORY_LIMIT

from smlm_dask._graph.faults import explained
from smlm_dask.check import flag, shown, size, whole_number
from smlm_dask.errors import ClusterError, ParameterError

__all__ = ["cluster"]

LOOPBACK = "127.0.0.1"
PATIENCE = {"distributed.scheduler.no-workers-timeout": "60 s"}  # dask's own: for ever
SHARE = 0.9  # of the memory is the workers'; the rest is for the graph, the scheduler and you


def cluster(
    *,
    workers: int | None = None,
    threads: int = 2,
    memory: int | str | None = None,
    host: str = LOOPBACK,
    security: Security | bool = False,
    insecure: bool = False,
) -> Client:
    """Start worker processes on this machine; all that is computed from then on runs there.

    A script calls it under ``if __name__ == "__main__":``, as each worker imports the script. A worker
    that dies is started anew and its tasks run again, to the same bit. A task on which more workers die
    than ``distributed.scheduler.allowed-failures`` (3), and tasks that no worker takes for as long as
    ``distributed.scheduler.no-workers-timeout`` (60 s, unless you configured it), end in a
    ``ClusterError`` that says which block it was.

    Parameters
    ----------
    workers : int, optional
        Processes; by default so many that each CPU core has a thread.
    threads : int
        Threads of each: they share its memory.
    memory : int or str, optional
        Of each worker, bytes or e.g. ``"4 GB"``; by default an equal share of nine tenths of the
        machine's. A worker that takes more is stopped.
    host : str
        The address to listen at. Whoever reaches it can run code as you, so that any but this machine's
        own takes ``security``. The dashboard, which has no password, never listens elsewhere than on
        this machine: use ``ssh -L``.
    security : distributed.Security or bool
        Encrypt, and let in only who has the certificate. True makes one that exists in this process
        alone (needs ``pip install "smlm-dask[tls]"``): right where others have logins on this machine.
    insecure : bool
        Listen beyond this machine without encryption, in a network where you trust everybody.

    Returns
    -------
    distributed.Client
        Closing it, or leaving its ``with``, stops the workers. ``dashboard_link`` shows their progress.

    Raises
    ------
    ParameterError
        If a number or address cannot be used, or the address is open to others and nothing protects it.
    ClusterError
        If the workers do not start, and of all that is computed by them: if they are lost
        (``WorkerMemoryError`` if for their memory).

    Examples
    --------
    >>> import smlm_dask as smlm
    >>> with smlm.cluster(workers=2, threads=1) as client:  # doctest: +SKIP
    ...     print(client.dashboard_link)
    ...     smlm.store({"camera": camera}, "cell.zarr")
    """
    threads = whole_number("threads", threads, at_least=1)
    workers = max(1, CPU_COUNT // threads) if workers is None else workers
    workers = whole_number("workers", workers, at_least=1)
    credentials = _credentials(security)
    if not (_is_loopback(host) or credentials.require_encryption or flag("insecure", insecure)):
        raise _unprotected(host)
    patience = {key: dask.config.get(key, None) or value for key, value in PATIENCE.items()}
    share = int(MEMORY_LIMIT * SHARE / workers)
    with dask.config.set(patience):
        return _start(
            n_workers=workers,
            threads_per_worker=threads,
            memory_limit=share if memory is None else size("memory", memory),
            host=host,
            dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0",
            security=credentials,
        )


class Workers(LocalCluster):
    """Workers that are always started anew."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # Some time after each loss dask looks once whether the worker is back, and if it is just being
        # started again gives it up for ever: many kills left no workers. Here none moves out of reach.
        with dask.config.set({"distributed.deploy.lost-worker-timeout": "365 days"}):
            super()._update_worker_status(op, msg)  # type: ignore[no-untyped-call]


class ClusterClient(Client):
    """A client that stops its workers when it is closed, and says why they were lost."""

    def gather(self, *arguments: Any, **keywords: Any) -> Any:
        # All ways of computing with a client end here, but for a future's own ``result``.
        with explained(self):
            return super().gather(*arguments, **keywords)  # type: ignore[no-untyped-call]

    def close(self, *arguments: Any, **keywords: Any) -> None:
        super().close(*arguments, **keywords)  # type: ignore[no-untyped-call]
        if self.cluster is not None:
            self.cluster.close()


def _start(**settings: Any) -> Client:
    try:
        return ClusterClient(Workers(**settings))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            "cluster",
            got=f"workers that do not start ({type(error).__name__}: {error})",
            wanted="processes of their own that import your script",
            fix='in a script, call it under: if __name__ == "__main__":',
        ) from error


def _credentials(security: Security | bool) -> Security:
    if isinstance(security, Security):
        return security
    if not flag("security", security, fix="security=True, or a distributed.Security"):
        return Security()  # what dask's configuration says
    try:
        return Security.temporary()
    except ImportError as error:
        raise ParameterError(
            "security",
            got="True, and no cryptography",
            wanted="the library that makes certificates",
            fix='pip install "smlm-dask[tls]"',
        ) from error


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``; of a name other than localhost nobody knows."""
    try:
        return host == "localhost" or (isinstance(host, str) and ip_address(host).is_loopback)
    except ValueError:
        return False


def _unprotected(host: str) -> ParameterError:
    return ParameterError(
        "host",
        got=f"{shown(host)}, where all who reach it can run code as you",
        wanted="encryption and certificates wherever others may listen",
        fix="security=True or a distributed.Security; insecure=True if you trust all who reach it",
    )
