"""Widths of simulated PSFs against the truth, smlmlp's beside ours: ``python benchmarks/accuracy_psf.py``.

``--seeds 12``, ``--first 4000``, ``--cases "sigma 80" white``, ``--no-peer``.

Bias and spread in per cent of the true width, theta in degrees; ``covered`` is the share within two claimed
errors. The seed's width is that of ``compat.smlmlp.blink_spatial_psf``, which equals smlmlp's to 1e-5.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import dask
import numpy as np
from peers import show
from scenes_psf import CASES, EMPTY, Scene, movie

import smlm_dask as smlm
from smlm_dask.compat import smlmlp

FIRST_SEED = 4000  # those from 1000 on were used for tuning
SIZE, LARGE_SIZE = 41, 61  # lags; more for widths of 5 pixels


def rows(
    seeds: int = 12,
    cases: list[str] | None = None,
    *,
    first: int = FIRST_SEED,
    peer: bool = True,
) -> list[dict[str, Any]]:
    """One line for each case: bias and spread of both, claimed error and coverage of ours."""
    scenes = CASES | EMPTY
    chosen = list(scenes) if cases is None else cases
    begins = {name: first + 100 * i for i, name in enumerate(scenes)}  # no two cases share places
    return [line(n, scenes[n], range(begins[n], begins[n] + seeds), peer=peer) for n in chosen]


def line(name: str, scene: Scene, seeds: range, *, peer: bool) -> dict[str, Any]:
    found = [measure(scene, seed, peer) for seed in seeds]
    truth = reference(scene)
    theirs, ours, error = (np.array([f[i] for f in found]) for i in range(3))
    wide, high, angle = (np.array([f[i] for f in found]) for i in range(3, 6))
    if abs(scene.theta) == 45:  # either axis may be called x
        wide, high, angle = as_named(wide, high, angle, scene)
    there = np.isfinite(ours)
    inside = np.abs(ours - truth["sigma"]) <= 2 * error
    return {
        "case": name,
        "truth nm": truth["sigma"] if scene.number else None,
        "seed bias %": percent(theirs, truth["sigma"]) if scene.number else None,
        "seed sd %": spread(theirs, truth["sigma"]) if scene.number else None,
        "bias %": percent(ours, truth["sigma"]) if scene.number else None,
        "sd %": spread(ours, truth["sigma"]),
        "SE %": mean(100 * error / truth["sigma"]),
        "covered": f"{inside[there].sum()}/{there.sum()}",
        "no answer": f"{(~there).sum()}/{len(seeds)}",
        "sigma_x %": percent(wide, truth["sigma_x"]) if scene.number else None,
        "sigma_y %": percent(high, truth["sigma_y"]) if scene.number else None,
        "theta": mean(angle) if scene.sigma[0] != scene.sigma[1] else None,
    }


def measure(scene: Scene, seed: int, peer: bool) -> tuple[float, ...]:
    frames = movie(scene, seed)
    size = LARGE_SIZE if max(scene.sigma) / min(scene.pixel) > 4 else SIZE
    source = smlm.as_movie(frames, pixel_size=scene.pixel)
    names = ("sigma", "sigma_error", "sigma_x", "sigma_y", "theta")
    ours = smlm.estimate_psf(source, size_pixels=size)[list(names)].compute(scheduler="sync")
    theirs = math.nan
    if peer:
        sigma, _ = smlmlp.blink_spatial_psf([frames], size, channels_pixels_nm=[scene.pixel])
        theirs = float(dask.compute(sigma[0], scheduler="sync")[0])
    return theirs, *(float(ours[name]) for name in names)


def reference(scene: Scene) -> dict[str, float]:
    """True widths, with the labels of a result: sigma_x is the axis within 45 degrees of the rows."""
    sigma_y, sigma_x = scene.sigma
    if abs(scene.theta) > 45:
        sigma_x, sigma_y = sigma_y, sigma_x
    return {"sigma": math.sqrt(sigma_x * sigma_y), "sigma_x": sigma_x, "sigma_y": sigma_y}


def as_named(
    wide: np.ndarray, high: np.ndarray, angle: np.ndarray, scene: Scene
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same ellipses with the scene's longer axis under its name there."""
    other = (wide > high) != (scene.sigma[1] > scene.sigma[0])
    turned = angle - np.copysign(90, angle)
    return np.where(other, high, wide), np.where(other, wide, high), np.where(other, turned, angle)


def mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None


def percent(values: np.ndarray, truth: float) -> float | None:
    value = mean(values)
    return None if value is None else 100 * (value / truth - 1)


def spread(values: np.ndarray, truth: float) -> float | None:
    values = values[np.isfinite(values)]
    return float(100 * values.std(ddof=1) / truth) if values.size > 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    keywords = {"first": options.first, "peer": not options.no_peer}
    table = rows(options.seeds, options.cases, **keywords)
    show(table)
    inside, there = zip(*(map(int, r["covered"].split("/")) for r in table), strict=True)
    print(f"covered in all: {sum(inside)} of {sum(there)}")


if __name__ == "__main__":
    main()
