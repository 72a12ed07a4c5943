"""The same lines on worker processes of this machine: only one line is new.

They are reachable from nowhere else. On machines that others share, ``smlm.cluster(security=True)`` also
keeps their users out; for more machines than one see ``ssh.py`` and ``slurm.py``.
"""

from pathlib import Path
from tempfile import mkdtemp

import smlm_dask as smlm
from smlm_dask.simulate import Light


def main() -> None:
    """Estimate gain and background on two workers."""
    with smlm.cluster(workers=2, threads=1) as client:
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
