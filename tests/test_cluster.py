"""Real worker processes: who reaches them, what happens when they are killed, and that it always ends."""

from __future__ import annotations

import os
import random
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from socket import create_connection, create_server
from typing import Any
from urllib.parse import urlsplit

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, KilledWorker, Security
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoWorkerError, WorkerState
from numpy.typing import NDArray

import smlm_dask as smlm
from smlm_dask._graph.faults import explained
from smlm_dask.errors import ClusterError, ParameterError, WorkerMemoryError
from tests import laws

FOR_EVER = 120  # seconds; what takes longer hangs
SMALL = {"smlm_dask.chunk-bytes": "48 KiB"}
CHUNK = 20  # frames
TIMEOUT, FAILURES = (
    f"distributed.scheduler.{k}" for k in ("no-workers-timeout", "allowed-failures")
)


def ends(function: Callable[[], Any], seconds: float = FOR_EVER) -> Any:
    """What ``function`` returns or raises; a failure if it hangs."""
    running = ThreadPoolExecutor(1).submit(function)
    assert wait([running], seconds).done, f"no end after {seconds} s"
    return running.result()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with smlm.cluster(workers=2, threads=1) as client:
        yield client


# ------------------------------------------------------------------ who reaches it


def listening() -> set[tuple[str, int]]:
    """Where this process and its children listen, and where they take datagrams."""
    here = psutil.Process()
    return {
        (c.laddr.ip, c.laddr.port)
        for process in [here, *here.children(recursive=True)]
        for c in process.net_connections("inet")
        if c.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }


def ports(client: Client) -> set[int]:
    """Where scheduler, dashboard, workers and nannies say that they listen."""
    workers = client.scheduler_info()["workers"]
    told = [client.cluster.scheduler_address, client.dashboard_link]
    told += [*workers, *(worker["nanny"] for worker in workers.values())]
    return {urlsplit(address).port or 0 for address in told}


def test_everything_listens_on_this_machine_alone(client: Client) -> None:
    found = listening()
    assert len(ports(client)) == 6
    assert ports(client) <= {port for _, port in found}
    assert {host for host, _ in found if not ip_address(host).is_loopback} == set()


def test_an_open_door_is_found() -> None:
    with create_server(("0.0.0.0", 0)) as server:
        assert server.getsockname() in listening()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cluster.example.org", ""])
def test_others_are_not_let_in_unencrypted(host: str) -> None:
    with pytest.raises(ParameterError, match=r"run code as you.*Fix: security=True"):
        smlm.cluster(host=host)
    with pytest.raises(ParameterError, match="run code as you"):
        smlm.cluster(host=host, security=Security())


def test_insecure_has_to_be_said() -> None:
    with smlm.cluster(workers=1, threads=1, host="0.0.0.0", insecure=True) as client:
        found = listening()
        told = ports(client)
        dashboards = {port for _, port in found} - told | {urlsplit(client.dashboard_link).port}
        assert "0.0.0.0" in {host for host, _ in found}
        assert {host for host, port in found if port in dashboards} == {"127.0.0.1"}


def greeting(address: str, security: Security | None) -> bytes:
    """What the scheduler says first to somebody who trusts any certificate and shows his own, or none."""
    if security is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = security.get_connection_args("client")["ssl_context"]
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    to = urlsplit(address)
    with create_connection((to.hostname, to.port), FOR_EVER) as plain:
        try:
            with context.wrap_socket(plain) as door:
                return door.recv(1)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_without_the_certificate_nobody_comes_in() -> None:
    pytest.importorskip("cryptography")
    with smlm.cluster(workers=1, threads=1, security=True) as client:
        scheduler, (worker,) = client.cluster.scheduler_address, client.scheduler_info()["workers"]
        for address in (scheduler, worker):
            assert address.startswith("tls://127.0.0.1:")
            assert greeting(address, client.security)
            assert not greeting(address, None)
            assert not greeting(address, Security.temporary())
        assert client.submit(sum, (1, 2)).result(FOR_EVER) == 3


@pytest.mark.parametrize(
    "keywords",
    [
        {"workers": 0},
        {"threads": 0},
        {"threads": 1.5},
        {"memory": "lots"},
        {"memory": -1},
        {"security": "yes"},
        {"host": "192.0.2.1", "insecure": "no"},
    ],
)
def test_keywords_are_checked(keywords: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        smlm.cluster(**keywords)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(ClusterError, match="do not start"):
        smlm.cluster(workers=1, host="192.0.2.1", insecure=True)


# ------------------------------------------------------------------ how it is set


def test_it_is_patient_but_not_for_ever(client: Client) -> None:
    scheduler = client.cluster.scheduler
    assert (scheduler.no_workers_timeout, scheduler.allowed_failures) == (60, 3)


def test_workers_share_the_memory(client: Client) -> None:
    from distributed.system import MEMORY_LIMIT

    workers = client.scheduler_info()["workers"].values()
    assert [worker["nthreads"] for worker in workers] == [1, 1]
    assert len({worker["memory_limit"] for worker in workers}) == 1
    assert 0.8 * MEMORY_LIMIT < sum(worker["memory_limit"] for worker in workers) < MEMORY_LIMIT


def test_your_own_patience_counts() -> None:
    with (
        dask.config.set({TIMEOUT: "5 s", FAILURES: 0}),
        smlm.cluster(workers=1, threads=1) as client,
    ):
        scheduler = client.cluster.scheduler
        assert (scheduler.no_workers_timeout, scheduler.allowed_failures) == (5, 0)


# ------------------------------------------------------------------ workers that die


class Deadly:
    """A stored movie of which some chunks kill the process that first reads them."""

    ndim = 3

    def __init__(self, frames: NDArray[Any], doomed: list[int], folder: Path) -> None:
        self.frames, self.shape, self.dtype = frames, frames.shape, frames.dtype
        self.doomed, self.folder = doomed, folder

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        for frame in self.doomed:
            if box[0].start <= frame < box[0].stop and self.first(frame):
                os.kill(os.getpid(), signal.SIGKILL)
        return self.frames[box]

    def first(self, frame: int) -> bool:
        try:
            (self.folder / str(frame)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def check_killed(name: str, kills: int, folder: Path, seed: int = 0) -> None:
    """Killed so many times, the workers give what one thread in this process gives, to the bit."""
    frames = laws.samples()
    chunks = (CHUNK, *laws.SHAPE[1:])
    starts = range(0, laws.SHAPE[0], CHUNK)
    doomed = random.Random(seed).sample(starts, kills)
    with dask.config.set(SMALL):
        alive = laws.CASES[name].build(laws.movie_of(frames, chunks, f"alive-{seed}"))
        source = Deadly(frames, doomed, folder)
        killed = laws.CASES[name].build(laws.movie_of(source, chunks, f"deadly-{seed}"))
    with dask.config.set(scheduler="synchronous"):
        wanted = laws.compute(alive)
    got = ends(lambda: laws.compute(killed), 10 * FOR_EVER)
    assert sorted(int(file.name) for file in folder.iterdir()) == sorted(doomed)
    assert got.keys() == wanted.keys()
    for part, value in wanted.items():
        np.testing.assert_array_equal(got[part], value, err_msg=part, strict=True)


def test_a_killed_worker_does_not_show(client: Client, tmp_path: Path) -> None:
    before = set(client.scheduler_info()["workers"])
    check_killed("readme", 1, tmp_path)
    assert before - set(client.scheduler_info()["workers"])


def test_a_worker_always_comes_back() -> None:
    hasty = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 ms"})
    with hasty, smlm.cluster(workers=1, threads=1) as client:
        first = client.submit(os.getpid, pure=False).result(FOR_EVER)
        os.kill(first, signal.SIGKILL)
        assert client.submit(kept, first, pure=False).result(FOR_EVER) != first


def kept(first: int) -> int:
    """This worker, which is another than the first: that one is dying when it gets this."""
    while os.getpid() == first:
        time.sleep(1)
    return os.getpid()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_ten_killed_workers_do_not_show(seed: int, tmp_path: Path) -> None:
    # Each kill counts against all tasks of that worker: with 3 allowed, ten kills are too many for some.
    with dask.config.set({FAILURES: 10}), smlm.cluster(workers=2, threads=1):
        check_killed("readme", 10, tmp_path, seed)


def kill_some(times: int, seed: int, over: threading.Event) -> None:
    """Kill workers of this process at random moments, also those that have hardly started."""
    rng = random.Random(seed)
    while times and not over.wait(rng.expovariate(1 / 1.5)):
        workers = [p for p in psutil.Process().children() if is_worker(p)]
        if workers:
            rng.choice(workers).kill()
            times -= 1


def is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has just died
        return False


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_a_storm_of_kills_ends(seed: int) -> None:
    """Right to the bit or a named error, and never a hang."""
    slow = da.from_array(np.arange(400.0), chunks=5, name=f"slow-{seed}").map_blocks(dawdle)
    over = threading.Event()
    with dask.config.set({TIMEOUT: "10 s"}), smlm.cluster(workers=2, threads=1):
        killer = threading.Thread(target=kill_some, args=(12, seed, over))
        killer.start()
        try:
            with suppress(ClusterError):
                np.testing.assert_array_equal(
                    ends(slow.compute, 3 * FOR_EVER), 2 * np.arange(400.0)
                )
        finally:
            over.set()
            killer.join()


def dawdle(block: NDArray[Any]) -> NDArray[Any]:
    time.sleep(0.25)
    return 2 * block


# ------------------------------------------------------------------ named errors, never a hang


class Greedy:
    """A stored movie whose reading takes more memory than a worker has, until it is stopped for it."""

    ndim, shape, dtype = 3, laws.SHAPE, np.dtype("u2")

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        time.sleep(5)  # a worker tells the scheduler every half second what it works on
        held = [np.ones(20_000_000) for _ in range(5)]
        time.sleep(FOR_EVER)
        return np.full(self.shape, len(held), self.dtype)[box]


def test_too_little_memory_is_told_and_where() -> None:
    movie = laws.movie_of(Greedy(), -1, "greedy")
    background = smlm.background_spatial_mean(movie)
    few = dask.config.set({FAILURES: 0})
    with few, smlm.cluster(workers=1, threads=1, memory="600 MB"):  # noqa: SIM117
        with pytest.raises(WorkerMemoryError) as caught:
            ends(background.compute)
    text = str(caught.value)
    assert text.startswith("block 'original-greedy-greedy' (0, 0, 0): got workers that died on it")
    assert "memory limit 572.20 MiB" in text
    assert "stopped workers for their memory" in text
    assert "Fix: a smaller smlm_dask.chunk-bytes" in text
    assert isinstance(caught.value.__cause__, KilledWorker)


def test_no_workers_are_told() -> None:
    with dask.config.set({TIMEOUT: "2 s"}), smlm.cluster(workers=1, threads=1) as client:
        client.cluster.scale(0)
        movie = laws.movie_of(laws.samples(), -1, "unread")
        with pytest.raises(ClusterError, match=r"got no worker for 2.00 s.*Fix: look at the logs"):
            ends(lambda: smlm.estimate_gain(movie).compute())


def test_a_lost_scheduler_is_told() -> None:
    soon = dask.config.set({"distributed.comm.timeouts.connect": "3 s"})
    with soon, smlm.cluster(workers=1, threads=1) as client:
        began = threading.Event()
        client.subscribe_topic("began", lambda _: began.set())

        def stop() -> None:
            assert began.wait(FOR_EVER)
            client.cluster.sync(client.cluster.scheduler.close)

        threading.Thread(target=stop, daemon=True).start()
        waits = da.zeros(1).map_blocks(wait_long, dtype="f8", meta=np.empty(0))
        with pytest.raises(ClusterError, match=r"cluster: got .*wanted a scheduler that answers"):
            ends(waits.compute)


def wait_long(block: NDArray[Any]) -> NDArray[Any]:
    from distributed import get_worker

    get_worker().log_event("began", {})
    time.sleep(FOR_EVER)
    return block


LAST = WorkerState(
    address="tcp://127.0.0.1:1",
    status="closed",  # type: ignore[arg-type]
    pid=1,
    name=0,
    nthreads=2,
    memory_limit=2**30,
    local_directory="",
    services=None,
    versions=None,
    nanny="",
    extra=None,
    server_id="",
)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            KilledWorker(("gain_curve-0a1b2c3d", 3, 0, 0), LAST, 3),
            r"block 'gain_curve' \(3, 0, 0\) or what ran beside it: got workers that died on it, 4 in a row",
        ),
        (
            KilledWorker("finalize-0a1b2c3d", LAST, 0),
            "task 'finalize' or.*1 in a row, memory limit 1.00 GiB, threads 2",
        ),
        (NoWorkerError(("gain-0a1b2c3d", 0), 60), r"block 'gain' \(0\): got no worker for 60.00 s"),
        (CommClosedError("stream closed"), "cluster: got CommClosedError: stream closed"),
        (FutureCancelledError("x", "scheduler-connection-lost"), "scheduler-connection-lost"),
    ],
)
def test_what_dask_says_is_translated(error: Exception, wanted: str) -> None:
    with pytest.raises(ClusterError, match=wanted) as caught, explained():
        raise error
    assert caught.value.__cause__ is error
    assert not isinstance(caught.value, WorkerMemoryError)


@pytest.mark.parametrize("error", [OSError(28, "no space"), ValueError("x"), KeyboardInterrupt()])
def test_what_others_say_is_passed_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explained():
        raise error
    assert caught.value is error
