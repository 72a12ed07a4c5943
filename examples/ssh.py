"""The same lines on machines that you reach by SSH: ``python ssh.py server node1 node2``.

It needs ``pip install "smlm-dask[ssh]"`` here, and the same Python with this package under the same path
there. The hosts share a folder (the first argument) that holds the certificates, movie and store.
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

import dask
from distributed import Client, Security, SSHCluster

import smlm_dask as smlm
from smlm_dask.simulate import Light


def encrypted(folder: Path) -> dict[str, object]:
    """Certificates that only you can read, for everybody who takes part in the cluster."""
    made, tls = Security.temporary(), "distributed.comm.tls"
    files = {"cert": folder / "cert.pem", "key": folder / "key.pem"}
    for name, file in files.items():
        file.touch(mode=0o600)
        file.write_text(getattr(made, f"tls_client_{name}"))
    roles = [f"{tls}.{role}.{name}" for role in ("scheduler", "worker", "client") for name in files]
    return {
        "distributed.comm.require-encryption": True,
        f"{tls}.ca-file": str(files["cert"]),
        **{role: str(files[role.rpartition(".")[2]]) for role in roles},
    }


def main(shared: str, first: str, *hosts: str) -> None:
    """Estimate the gain: the scheduler on the first host, two workers on each of the others."""
    folder = Path(mkdtemp(dir=shared))
    settings = {"distributed.scheduler.no-workers-timeout": "60 s", **encrypted(folder)}
    # Dashboards have no password, and encryption does not cover them.
    here = {"dashboard_address": "127.0.0.1:0"}
    scheduler = {"protocol": "tls://", "host": first, **here}
    worker = {"nthreads": 2, "n_workers": 2, "memory_limit": "4 GB", **here}
    with (
        dask.config.set(settings),  # travels to the hosts with the command that starts them
        SSHCluster([first, *hosts], scheduler_options=scheduler, worker_options=worker) as machines,
        Client(machines),
    ):
        light = Light(background=60, gradient=0.8)
        movie, _ = smlm.simulate_movie(400, (64, 64), light=light, seed=1)
        camera = smlm.estimate_gain(movie, offset=100)
        store = smlm.store({"camera": camera}, folder / "results.zarr")
    gain = smlm.open_results(store)["camera"]["gain"]
    print(f"gain {float(gain):.3f} {gain.units}")


if __name__ == "__main__":
    main(*sys.argv[1:])
