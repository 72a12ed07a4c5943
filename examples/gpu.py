"""A worker for each GPU of this machine; needs dask-cuda and an NVIDIA driver.

The blocks of this package run on the processor: on such workers they are as fast as on others. What the
GPU is for are steps of your own in the same graph, e.g. ``movie.copy(data=movie.data.map_blocks(...))``
with CuPy inside the function, numpy in and numpy out.
"""

from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp

from distributed import Client

import smlm_dask as smlm
from smlm_dask.simulate import Light

SETTINGS = {
    "threads_per_worker": 1,  # one task at a time has a GPU's memory
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "protocol": "tcp",
}
PATIENCE = {"distributed.scheduler.no-workers-timeout": "60 s"}


def machines() -> type:
    """``LocalCUDACluster``, or what is missing for it."""
    try:
        return import_module("dask_cuda").LocalCUDACluster
    except ImportError as error:
        raise smlm.SmlmError(
            "gpu",
            got=f"no dask-cuda ({error})",
            wanted="dask-cuda, CuPy and an NVIDIA driver",
            fix='pip install "dask-cuda[cu12]" cupy-cuda12x; without a GPU see cluster.py',
        ) from error


def main() -> None:
    """Estimate the gain, and say which GPU each worker has."""
    import dask

    with dask.config.set(PATIENCE), machines()(**SETTINGS) as cluster, Client(cluster) as client:
        print(f"GPU of each worker: {client.run(gpu)}")
        light = Light(background=60, gradient=0.8)
        movie, _ = smlm.simulate_movie(400, (64, 64), light=light, seed=1)
        camera = smlm.estimate_gain(movie, offset=100)
        store = smlm.store({"camera": camera}, Path(mkdtemp()) / "results.zarr")
    gain = smlm.open_results(store)["camera"]["gain"]
    print(f"gain {float(gain):.3f} {gain.units}")


def gpu() -> str | None:
    """What the worker was given."""
    import os

    return os.environ.get("CUDA_VISIBLE_DEVICES")


if __name__ == "__main__":
    main()
