"""The same lines on SLURM: every job brings workers, and the work outlives the jobs.

Run it on the login node, in a folder that all nodes see (``tmux`` keeps it alive); it needs
``pip install "smlm-dask[jobqueue,tls]"``. A movie of yours lies there too.
"""

from pathlib import Path
from socket import gethostname
from tempfile import mkdtemp
from urllib.parse import urlsplit

import dask
from dask_jobqueue import SLURMCluster
from distributed import Client

import smlm_dask as smlm
from smlm_dask.simulate import Light

HERE = "127.0.0.1:0"  # dashboards have no password, and encryption does not cover them
JOB = {
    "queue": "regular",
    "walltime": "04:00:00",
    "cores": 4,
    "processes": 2,  # of two threads, and 8 GB each
    "memory": "16 GB",
    # Workers leave, one after the other, before SLURM ends the job: what they hold is handed over.
    "worker_extra_args": ["--lifetime 225m --lifetime-stagger 10m", f"--dashboard-address {HERE}"],
    "security": True,  # others have logins here; certificates in files that only you can read
    "scheduler_options": {"dashboard_address": HERE},
}
# How long jobs may wait in the queue, while there is not one worker, before it is called an error.
PATIENCE = {"distributed.scheduler.no-workers-timeout": "12 h"}


def main() -> None:
    """Estimate the gain on two jobs."""
    with dask.config.set(PATIENCE), SLURMCluster(**JOB) as jobs, Client(jobs) as client:
        jobs.scale(jobs=2)
        port = urlsplit(client.dashboard_link).port
        print(f"progress of every block: ssh -L {port}:localhost:{port} {gethostname()}")
        light = Light(background=60, gradient=0.8)
        movie, _ = smlm.simulate_movie(400, (64, 64), light=light, seed=1)
        camera = smlm.estimate_gain(movie, offset=100)
        store = smlm.store({"camera": camera}, Path(mkdtemp(dir=".")) / "results.zarr")
    gain = smlm.open_results(store)["camera"]["gain"]
    print(f"gain {float(gain):.3f} {gain.units}")


if __name__ == "__main__":
    main()
