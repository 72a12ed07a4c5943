"""Noise that movie minus spatial mean keeps: ``python benchmarks/accuracy_noise.py --seeds 12``.

What the closed form says, and the seed's product of two one-dimensional factors, beside what is measured in
white noise away from the edges: errors in per cent of the measured ratio.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from peers import show

import smlm_dask as smlm
from smlm_dask.kernels.smooth import gaussian_taps, seed_noise_factor

FIRST_SEED = 4000
SHAPE = (20, 224, 208)
RADII = [(r, r) for r in (0.8, 1, 1.5, 2, 3, 4, 5, 7, 10, 14, 20)]
OBLONG = [(1, 4), (2, 7), (7, 1), (6, 10), (0, 3), (20, 2.5)]


def rows(seeds: int = 12, *, first: int = FIRST_SEED) -> list[dict[str, Any]]:
    """One line for each pair of radii, half of the movies Poisson, half normal."""
    found = [[measure(r, seed) for seed in range(first, first + seeds)] for r in RADII + OBLONG]
    return [line(r, *np.array(f).T) for r, f in zip(RADII + OBLONG, found, strict=True)]


def line(radii: tuple[float, float], measured: np.ndarray, stated: np.ndarray) -> dict[str, Any]:
    seed = float(seed_noise_factor(*(gaussian_taps(r / 2) for r in radii)))
    return {
        "case": "radius {:g}, {:g}".format(*radii),
        "measured": f"{measured.mean():.4f}",
        "seed bias %": 100 * (seed / measured.mean() - 1),
        "bias %": f"{100 * (stated / measured - 1).mean():.3f}",
        "sd %": f"{100 * (measured / stated).std(ddof=1):.3f}",
        "worst %": f"{100 * abs(stated / measured - 1).max():.3f}",
    }


def measure(radii: tuple[float, float], seed: int) -> tuple[float, float]:
    """Share of the noise that is left away from the edges, and what ``noise_factor`` says."""
    rng = np.random.default_rng(seed)
    noise = rng.poisson(20, SHAPE) if seed % 2 else rng.normal(1000, 10, SHAPE)
    frames = noise.astype(np.float32)
    found = smlm.background_spatial_mean(smlm.as_movie(frames, pixel_size=100), radius=radii)
    y, x = (slice(int(1.3 * r) + 1, -int(1.3 * r) - 1) for r in radii)
    left = (frames - found.background.to_numpy())[:, y, x].astype(float)
    ratio = left.std() / frames[:, y, x].astype(float).std()
    return float(ratio), float(found.noise_factor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    options = parser.parse_args()
    show(rows(options.seeds, first=options.first))


if __name__ == "__main__":
    main()
