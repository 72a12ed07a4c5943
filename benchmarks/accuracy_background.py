"""Background series against known truth: ``python benchmarks/accuracy_background.py --seeds 12``.

Errors of ``series`` are in standard deviations of one sample of the background, in bins of the share of
frames in which emitters give a pixel more than half of one. Those of flicker are in electrons a frame.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from peers import show
from scenes_background import BINS, Movie, Scene, on_fraction, simulate

import smlm_dask as smlm
from smlm_dask.compat import dcnum

Row = dict[str, Any]
FIRST_SEED = 4000
WINDOW = 200
BASE = Scene()
CROWDED = replace(BASE, background=200, emitters=1200)
MULTIPLIED = replace(BASE, gain=0.02, read=0.2, multiplied=True)

# Case -> scene and window; one window, or three where it is 50 frames.
IMAGES: dict[str, tuple[Scene, int]] = {
    "base": (BASE, 200),
    "photons 50": (replace(BASE, photons=50), 200),
    "photons 200": (replace(BASE, photons=200), 200),
    "photons 5000": (replace(BASE, photons=5000), 200),
    "background 1": (replace(BASE, background=1), 200),
    "background 200": (CROWDED, 200),
    "window 50": (replace(BASE, frames=150), 50),
    "window 400": (replace(BASE, frames=400), 400),
    "structure, background 50": (replace(BASE, background=50, structure=0.5), 200),
    "structure, background 200": (replace(CROWDED, structure=0.5), 200),
    "on 40, off 800": (replace(BASE, on=40, off=800), 200),
    "background 1, gain 1, read noise 1": (replace(BASE, background=1, gain=1, read=1), 200),
    "background 2, gain 2, read noise 0.3": (replace(BASE, background=2, gain=2, read=0.3), 200),
    "background 1, gain 0.25, read noise 0.1": (
        replace(BASE, background=1, gain=0.25, read=0.1),
        200,
    ),
    "multiplied, background 2": (replace(MULTIPLIED, background=2), 200),
    "multiplied, background 20": (replace(MULTIPLIED, background=20), 200),
    "flicker 10 %, slope -20 %, background 200": (
        replace(CROWDED, flicker=0.1, slope=-0.2, structure=0.5),
        200,
    ),
}
FLICKER: dict[str, Scene] = {
    "background 50, 150 emitters": replace(BASE, background=50, emitters=150, flicker=0.1),
    "background 50, 800 emitters": replace(BASE, background=50, flicker=0.1),
    "background 10, 800 emitters": replace(BASE, flicker=0.1),
}
# Long on-times over 21 windows; with a step of half a window as the estimator was made with, and its own.
LONG: dict[str, tuple[Scene, int]] = {
    "on 150, off 3000": (replace(BASE, emitters=250, on=150, off=3000, frames=2200), 100),
    "on 150, off 3000, step 200": (replace(BASE, emitters=250, on=150, off=3000, frames=4200), 200),
    "on 400, off 6000": (replace(BASE, emitters=250, on=400, off=6000, frames=2200), 100),
    "on 150, background 50, bleaching 40 %": (
        replace(BASE, emitters=250, on=150, off=3000, frames=2200, background=50, slope=-0.4),
        100,
    ),
    "on 3, off 60": (replace(BASE, frames=2200), 100),
}


def movie_of(movie: Movie) -> xr.DataArray:
    return smlm.as_movie(movie.frames, pixel_size=100.0, chunks={"frame": 500})


def camera_of(scene: Scene) -> xr.Dataset:
    variance = (scene.read / scene.gain) ** 2
    camera = smlm.as_camera(scene.gain, offset=scene.offset, variance=variance)
    return camera.assign(excess_noise=scene.excess)


def images(background: xr.Dataset, scene: Scene) -> np.ndarray:
    return (background.series.to_numpy().astype("f8") - scene.offset) * scene.gain


def truths(background: xr.Dataset, movie: Movie) -> np.ndarray:
    spans = zip(background.window_start.to_numpy(), background.window_stop.to_numpy(), strict=True)
    return np.stack([movie.light * movie.brightness[a:b].mean() for a, b in spans])


def oracle(movie: Movie, scene: Scene, window: int) -> np.ndarray:
    """Mean over the frames that no emitter touches, brightness known."""
    dark = movie.signal <= 0.1 * movie.noise(scene)
    light = (movie.frames - scene.offset) * scene.gain / movie.brightness[:, None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pixels that are never dark have no mean
        mean = np.nanmean(np.where(dark, light, np.nan)[:window], axis=0)
    return (mean - movie.light) / movie.noise(scene)


def errors(scene: Scene, window: int, seed: int) -> dict[str, np.ndarray]:
    """On-fractions and errors of one movie by estimator, (pixel,)."""
    movie = simulate(scene, seed)
    frames, camera = movie_of(movie), camera_of(scene)
    found = {
        "seed": smlm.estimate_background(frames, method="median", window=window),
        "ours": smlm.estimate_background(frames, camera=camera, window=window),
        "joint": smlm.estimate_background(frames, camera=camera, window=window, joint=True),
    }
    noise = movie.noise(scene)
    result = {
        name: (images(b, scene)[0] - truths(b, movie)[0]) / noise for name, b in found.items()
    }
    claimed = found["ours"].series_error.to_numpy()[0] * scene.gain / noise
    result |= {"pull": result["ours"] / claimed, "oracle": oracle(movie, scene, window)}
    result["on"] = on_fraction(movie.signal[:window], noise)
    return {name: value.ravel() for name, value in result.items()}


def image_rows(case: str, seeds: range) -> list[Row]:
    scene, window = IMAGES[case]
    runs = [errors(scene, window, seed) for seed in seeds]
    every = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    rows = []
    for low, high in pairwise(BINS):
        here = (every["on"] >= low) & (every["on"] < high)
        if here.sum() >= 20 * len(seeds):
            rows.append(image_row(case, f"{low:g} to {high:g}", every, here))
    return rows


def image_row(case: str, place: str, every: dict[str, np.ndarray], here: np.ndarray) -> Row:
    row: Row = {"case": case, "on": place}
    for name in ("seed", "ours", "joint", "oracle"):
        error = every[name][here]
        row |= {f"{name} bias": np.nanmean(error), f"{name} rms": np.sqrt(np.nanmean(error**2))}
    pull = every["pull"][here]
    return row | {
        "rms over oracle": row["ours rms"] / row["oracle rms"],
        "pull mean": np.nanmean(pull),
        "pull sd": np.nanstd(pull),
        "in 2 SE": np.nanmean(np.abs(pull) < 2),
    }


def flicker_row(case: str, seeds: range) -> Row:
    """What is left of 10 % flicker: in all, and in the brightness of frames alone."""
    runs = [flicker_errors(FLICKER[case], seed) for seed in seeds]
    row: Row = {"case": case}
    for name in runs[0]:
        values = [run[name] for run in runs]
        row |= {name: float(np.mean(values)), f"{name} spread": float(np.std(values))}
    return row


def flicker_errors(scene: Scene, seed: int) -> dict[str, float]:
    movie = simulate(scene, seed)
    frames, camera = movie_of(movie), camera_of(scene)
    known = smlm.estimate_background(frames, camera=camera, window=WINDOW).compute()
    quiet = on_fraction(movie.signal, movie.noise(scene)) < 0.25
    truth = movie.brightness[:, None] * movie.light[quiet]
    light = images(known, scene)[0][quiet]
    ours = known.series_scale.to_numpy()[:, None] * light
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = dcnum.sparse_median(frames, time=np.arange(len(frames)) * 0.001, split_time=0.2)
    image = series.image_bg.to_numpy()[0][quiet]
    seed_light = (image + series.bg_off.to_numpy()[:, None] - scene.offset) * scene.gain
    factor = known.series_scale.to_numpy() * movie.brightness.mean() / movie.brightness
    return {
        "seed rms": float(np.sqrt(np.mean((seed_light - truth) ** 2))),
        "ours rms": float(np.sqrt(np.mean((ours - truth) ** 2))),
        "brightness part": float(np.std(factor) * scene.background),
        "seed offset part": float(
            np.std((seed_light - truth - (seed_light - truth).mean(axis=0)).mean(axis=1))
        ),
    }


def long_row(case: str, seeds: range) -> Row:
    runs = [long_errors(*LONG[case], seed) for seed in seeds]
    row: Row = {"case": case}
    for name in runs[0]:
        row[name] = float(np.mean([run[name] for run in runs]))
    return row


def long_errors(scene: Scene, step: int, seed: int) -> dict[str, float]:
    movie = simulate(scene, seed)
    frames, camera = movie_of(movie), camera_of(scene)
    found = {
        "seed": smlm.estimate_background(frames, method="median", step=step),
        "ours": smlm.estimate_background(frames, camera=camera, step=step),
    }
    result: dict[str, float] = {}
    for name, background in found.items():
        computed = background[["series", "window_start", "window_stop"]].compute()
        error = (images(computed, scene) - truths(computed, movie)) / movie.noise(scene)
        off = error > 1
        result |= {
            f"{name} rms": float(np.sqrt(np.mean(error**2))),
            f"{name} % > 0.5 s": float(100 * np.mean(error > 0.5)),
            f"{name} % > 1 s": float(100 * np.mean(np.abs(error) > 1)),
            f"{name} windows with one": float(np.sum(off.any(axis=(1, 2)))),
        }
    return result


def tables(
    seeds: int = 12, cases: tuple[str, ...] = (), first: int = FIRST_SEED
) -> dict[str, list[Row]]:
    """Tables of the images, of flicker and of long on-times; all cases unless some are named."""
    every = range(first, first + seeds)
    few = every[: max(1, seeds // 3)]

    def wanted(name: str) -> bool:
        return not cases or name in cases

    return {
        "images": [r for c in IMAGES if wanted(c) for r in image_rows(c, every)],
        "flicker": [flicker_row(c, every) for c in FLICKER if wanted(c)],
        "long on-times": [long_row(c, few) for c in LONG if wanted(c)],
    }


def rows(seeds: int = 12, cases: tuple[str, ...] = (), first: int = FIRST_SEED) -> list[Row]:
    """Seed and ours side by side where emitters are on in 0.35 to 0.45 of the frames, or nearest to it.

    In standard deviations of a sample of the background; the spread is the rms error of a pixel.
    """
    found = []
    for case, (scene, _) in IMAGES.items():
        if cases and case not in cases:
            continue
        table = image_rows(case, range(first, first + seeds))
        row = [r for r in table if float(r["on"].split()[0]) <= 0.35][-1]
        found.append(
            {
                "case": f"background, {case}, on {row['on']}",
                "truth": f"{scene.background:g} e",
                "seed bias": row["seed bias"],
                "seed spread": row["seed rms"],
                "bias": row["ours bias"],
                "spread": row["ours rms"],
                "coverage of 2 SE": row["in 2 SE"],
                "share refused": 0.0,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--cases", nargs="*", default=())
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first of the seeds")
    arguments = parser.parse_args()
    printing: Callable[[list[Row]], None] = show
    found = tables(arguments.seeds, tuple(arguments.cases), arguments.first)
    for name, table in found.items():
        if table:
            print(f"\n{name}, {arguments.seeds} seeds from {arguments.first}")
            printing(table)


if __name__ == "__main__":
    main()
