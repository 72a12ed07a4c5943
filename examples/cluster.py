"""The same lines on a cluster: only the client is new.

Here the cluster is two processes on this machine, reachable from nowhere else. On a real one write
``Client("tcp://scheduler:8786")``; its workers must see movie and store under the same paths.
"""

from pathlib import Path
from tempfile import mkdtemp

from distributed import Client, LocalCluster

import smlm_dask as smlm
from smlm_dask.simulate import Light


def main() -> None:
    """Estimate gain and background on two workers."""
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with cluster, Client(cluster) as client:
        print(f"progress of every block: {client.dashboard_link}")
        light = Light(background=60, gradient=0.8)
        movie, _ = smlm.simulate_movie(400, (64, 64), light=light, seed=1)
        camera = smlm.estimate_gain(movie, offset=100)
        background = smlm.estimate_background(movie, camera=camera)
        store = smlm.store(
            {"camera": camera, "background": background}, Path(mkdtemp()) / "results.zarr"
        )
    gain = smlm.open_results(store)["camera"]["gain"]
    print(f"gain {float(gain):.3f} {gain.units}")


if __name__ == "__main__":
    main()
