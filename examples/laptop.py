"""Gain, background, PSF and photons of one movie, on one machine.

The movie is simulated here; with one on disk the first two lines of ``main`` are
``movie = smlm.open_movie("cell.ome.tif", pixel_size=108)``, and the positions come from
``smlm.read_table("spots.csv")``.
"""

from pathlib import Path
from tempfile import mkdtemp

import smlm_dask as smlm
from smlm_dask.report import save_report, summarise
from smlm_dask.simulate import Light


def main() -> None:
    """Estimate all, compute once, show what was found."""
    light = Light(background=60, gradient=0.8)
    movie, truth = smlm.simulate_movie(400, (64, 64), light=light, seed=1)
    spots = smlm.truth_table(truth)[["frame", "x", "y"]]

    camera = smlm.estimate_gain(movie, offset=100, quantum_efficiency=0.82)  # nothing computed yet
    psf = smlm.estimate_psf(movie)
    background = smlm.estimate_background(movie, camera=camera)
    signal = smlm.integrate_photons(movie, spots, camera=camera, psf=psf, background=background)

    results = {"camera": camera, "psf": psf, "background": background, "signal": signal}
    store = smlm.store(results, Path(mkdtemp()) / "results.zarr")  # the line that computes

    stored = {name: child.to_dataset() for name, child in smlm.open_results(store).children.items()}
    print(summarise(stored))
    print(save_report(stored, store.with_suffix(".png"), title="simulated movie"))


if __name__ == "__main__":
    main()
