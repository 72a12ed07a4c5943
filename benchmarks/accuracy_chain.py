"""Photons on the background that their own movie tells: ``python benchmarks/accuracy_chain.py``.

Emitters are alone: every cell of 20 x 20 pixels has one in its middle 8 x 8 in a share of the frames, a
new one each time. Errors of the background are in standard deviations of a sample of it, of the pixels
that no emitter reaches and of those it does; photons are told as in `accuracy_photons`, for a background
known exactly and for that of ``estimate_background``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from peers import show
from scipy.special import erf

import smlm_dask as smlm

Array = np.ndarray
Row = dict[str, Any]
FIRST_SEED = 9000
GAIN, OFFSET, READ, SIGMA, PIXEL = 0.46, 100.0, 1.4, 1.2, 100.0
CELL, MIDDLE, CELLS, SIZE = 20, 8, 5, 11
SEEN = 0.02  # sd: light of emitters, mean over the frames, above which they reach a pixel


@dataclass(frozen=True)
class Scene:
    light: float = 10.0
    photons: float = 1000.0
    busy: float = 0.1  # share of the frames in which a cell has an emitter
    flicker: float = 0.0
    frames: int = 1000
    window: int = 200
    step: int | None = None

    @property
    def noise(self) -> float:
        return float(np.sqrt(self.light + READ**2 + GAIN**2 / 12))


CASES = {
    f"{n} photons over {light}, busy {busy}": Scene(light=light, photons=n, busy=busy)
    for busy in (0.05, 0.3, 0.8)
    for light in (1, 10, 50, 200)
    for n in (300, 1000, 10000)
}
CASES |= {
    "50 % overlap": Scene(light=200, step=100),
    "flicker 10 %, over 10": Scene(flicker=0.1),
    "flicker 10 %, over 50": Scene(light=50, flicker=0.1),
    "flicker 10 %, over 200": Scene(light=200, flicker=0.1),
    "20 photons over 1": Scene(light=1, photons=20),
    "100 photons over 10": Scene(photons=100),
}


def draw(scene: Scene, seed: int) -> tuple[xr.DataArray, pd.DataFrame, Array, Array]:
    """A movie, its emitters, the light of each frame without them, and the pixels they reach."""
    random = np.random.default_rng(seed)
    on = random.random((scene.frames, CELLS, CELLS)) < scene.busy
    frame, row, column = np.nonzero(on)
    corner = np.stack([row, column]) * CELL + (CELL - MIDDLE) // 2 - 0.5
    at = corner + random.uniform(0, MIDDLE, corner.shape)
    edges = np.arange(CELL + 1) - 0.5
    y, x = (
        np.diff(erf((edges - a[:, None] + c[:, None] * CELL) / (np.sqrt(2) * SIGMA)), axis=1) / 2
        for a, c in zip(at, (row, column), strict=True)
    )
    cells = np.zeros((scene.frames, CELLS, CELLS, CELL, CELL))
    cells[frame, row, column] = scene.photons * y[:, :, None] * x[:, None, :]
    side = CELLS * CELL
    signal = cells.transpose(0, 1, 3, 2, 4).reshape(scene.frames, side, side)
    brightness = 1 + scene.flicker * random.normal(size=scene.frames)
    light = scene.light * np.maximum(brightness, 0.2)[:, None, None]
    electrons = random.poisson(light + signal) + random.normal(0, READ, signal.shape)
    movie = smlm.as_movie(np.rint(electrons / GAIN + OFFSET).astype("u2"), pixel_size=PIXEL)
    told = pd.DataFrame({"frame": frame, "y": at[0] * PIXEL, "x": at[1] * PIXEL})
    reached = signal.mean(axis=0) > SEEN * scene.noise
    return movie.chunk(frame=500), told, light[:, 0, 0], reached


def errors(scene: Scene, seed: int) -> dict[str, Array]:
    movie, table, light, reached = draw(scene, seed)
    camera = smlm.as_camera(GAIN, offset=OFFSET, variance=(READ / GAIN) ** 2)
    series = smlm.estimate_background(
        movie, camera=camera, window=scene.window, step=scene.step
    ).compute()
    options: dict[str, Any] = {"camera": camera, "psf": SIGMA * PIXEL, "size_pixels": SIZE}
    exact = smlm.CropFit(background_error=0.0)
    under = table.assign(background=light[table.frame])
    runs = {
        "known": smlm.integrate_photons(movie, under, method=exact, **options),
        "map": smlm.integrate_photons(movie, table, background=series, **options),
        "fixed": smlm.integrate_photons(movie, table, background=series, method="fixed", **options),
    }
    found = {f"{n} error": r.photons.to_numpy() - scene.photons for n, r in runs.items()}
    found |= {f"{n} claimed": r.photons_error.to_numpy() for n, r in runs.items()}
    level, claimed = (series[n].to_numpy() for n in ("series", "series_error"))
    spans = zip(series.window_start.to_numpy(), series.window_stop.to_numpy(), strict=True)
    truth = np.array([light[a:b].mean() for a, b in spans])[:, None, None]
    wrong = ((level - OFFSET) * GAIN - truth) / scene.noise
    claimed = claimed * GAIN / scene.noise
    for name, where in (("clean", ~reached), ("under", reached)):
        found |= {
            f"{name} error": wrong[:, where].ravel(),
            f"{name} claimed": claimed[:, where].ravel(),
        }
    return found


def line(name: str, seeds: range) -> Row:
    runs = [errors(CASES[name], seed) for seed in seeds]
    every = {k: np.concatenate([run[k] for run in runs]) for k in runs[0]}
    row: Row = {"case": name}
    for place in ("clean", "under"):
        error, claimed = every[f"{place} error"], every[f"{place} claimed"]
        row |= {
            f"{place} bias": np.mean(error),
            f"{place} rms": np.sqrt(np.mean(error**2)),
            f"{place} claimed": np.sqrt(np.mean(claimed**2)),
            f"{place} pull": np.std(error / claimed),
        }
    percent = 100 / CASES[name].photons
    least = np.std(every["known error"])
    for method in ("known", "map", "fixed"):
        error = every[f"{method} error"]
        row |= {
            f"{method} bias %": percent * np.mean(error),
            f"{method} pull": np.std(error / every[f"{method} claimed"]),
            f"{method} / known": np.std(error) / least,
        }
    row["+-"] = percent * least / np.sqrt(len(every["known error"]))
    return {k: f"{v:.3f}" if isinstance(v, float | np.floating) else v for k, v in row.items()}


def rows(seeds: int = 4, cases: tuple[str, ...] = (), first: int = FIRST_SEED) -> list[Row]:
    """The table; ``cases`` are parts of the names of those wanted."""
    wanted = [n for n in CASES if not cases or any(part in n for part in cases)]
    return [line(name, range(first, first + seeds)) for name in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--cases", nargs="*", default=())
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first of the seeds")
    given = parser.parse_args()
    show(rows(given.seeds, tuple(given.cases), given.first))


if __name__ == "__main__":
    main()
