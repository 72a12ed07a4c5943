"""Photons of crops with known truth, smlmlp beside ours: ``python benchmarks/accuracy_photons.py``.

Bias and spread are in percent of the true photons, the spread of the errors also over the Cramer-Rao
bound of what the estimator could know of the background: all (as told, or by default with an error of its
own), that within a tenth of a pixel's noise, or nothing. The pull is the spread of the errors in units of
the claimed ones; ``covered`` is the share within two of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from peers import show
from scenes_photons import GAIN, OFFSET, PIXEL, UNCERTAIN, Scene, Truth, draw, psf_of

import smlm_dask as smlm
from smlm_dask import CropFit
from smlm_dask.compat import smlmlp

try:
    from smlmlp import integrate_crop
except ImportError:
    integrate_crop = smlmlp.integrate_crop

CROPS, FIRST_SEED = 20_000, 4000
KNOWN = CropFit(background_error=0.0)
# What is told of the background -> the fit, how wrong the background is, and the bound.
TOLD = {
    "known": (KNOWN, 0.0, "known"),
    "default": ("map", 0.0, "known"),
    "uncertain": ("map", UNCERTAIN, "uncertain"),
    "free": ("free", 0.0, "free"),
}
ROBUST = {
    "fixed": CropFit(background="fixed"),
    "robust, fixed": CropFit(background="fixed", robust=True),
    "map": "map",
    "robust, map": CropFit(robust=True),
}

JOINT = CropFit(neighbours="joint")
ROOM = 25  # pixels of a crop that holds a neighbour's light wherever it is

Case = tuple[Scene, Any, str]  # the scene, the method, the bound it is measured against


def precision() -> Iterator[tuple[str, Case]]:
    """Photons, light, crop, width and sensor, with all that is told true."""
    base, dim = Scene(), {"photons": 20.0, "light": 1.0}
    scenes = {
        "1000 photons, light 10, 11 x 11, 120 nm": base,
        **{f"{n} photons": Scene(photons=n) for n in (20, 100, 300, 3000, 10000)},
        **{f"light {b}": Scene(light=b) for b in (1, 50, 200)},
        "20 photons, light 1": Scene(**dim),
        "10000 photons, light 1": Scene(photons=10000.0, light=1.0),
        **{f"{n} x {n}": Scene(size=n) for n in (7, 9, 13)},
        "7 x 7, 160 nm": Scene(size=7, sigma=160.0),
        "80 nm": Scene(sigma=80.0),
        "160 nm": Scene(sigma=160.0),
        "ratio 1.5, 30 degrees": Scene(ratio=1.5, theta=30.0),
        "ratio 1.5, 30 degrees, 13 x 13": Scene(ratio=1.5, theta=30.0, size=13),
        "spline, 13 x 13": Scene(spline=True, size=13),
        "spline, 300 photons": Scene(spline=True, photons=300.0),
        **{
            f"{sensor}, {n} photons, light {b}": Scene(sensor=kind, photons=n, light=b)
            for sensor, kind in (("noise maps", "noise"), ("gain maps", "maps"))
            for n, b in ((1000, 10), (300, 1), (20, 1), (5000, 50), (10000, 200))
        },
        "gain maps, 7 x 7": Scene(sensor="maps", size=7),
        "gain maps, 13 x 13": Scene(sensor="maps", size=13),
        "register": Scene(register=True),
        "register, 100 photons, light 1": Scene(register=True, photons=100.0, light=1.0),
        "register, 5000 photons, light 50": Scene(register=True, photons=5000.0, light=50.0),
    }
    for name, scene in scenes.items():
        for told, (method, uncertain, bound) in TOLD.items():
            if told != "free" or scene.size >= 9:
                wrong = replace(scene, uncertain=uncertain, say=uncertain > 0)
                yield f"{name}: {told}", (wrong, method, bound)


def mistakes() -> Iterator[tuple[str, Case]]:
    """Positions, widths and backgrounds that are wrong."""
    for nm in (10.0, 20.0, 30.0, 50.0):
        scene = Scene(shift=nm)
        yield f"positions {nm:g} nm off", (scene, KNOWN, "known")
        aware = CropFit(background_error=0.0, position_error=nm)
        yield f"positions {nm:g} nm off, told", (scene, aware, "known")
        bright = Scene(shift=nm, photons=10000.0)
        yield f"positions {nm:g} nm off, told, 10000 photons", (bright, aware, "known")
    for share in (1.05, 0.95):
        yield f"width x {share}", (Scene(width=share), KNOWN, "known")
        yield f"width x {share}, map", (Scene(width=share), "map", "uncertain")
    for light in (10.0, 50.0, 200.0):
        for method, bound in (("fixed", "known"), ("map", "known"), ("free", "free")):
            scene = Scene(light=light, high=UNCERTAIN)
            yield f"background 0.1 noise high, light {light:g}, {method}", (scene, method, bound)
    for light in (10.0, 200.0):
        for name in ("fixed", "prior"):
            fit = CropFit(background=name, background_error=0.2)
            scene = Scene(light=light, uncertain=0.2)
            yield f"background 0.2 noise uncertain, light {light:g}, {name}", (scene, fit, "known")


def neighbours() -> Iterator[tuple[str, Case]]:
    """Another emitter as bright, and none."""
    for name, method in ROBUST.items():
        yield f"no neighbour, {name}", (Scene(), method, "known")
    bright = Scene(photons=10000.0)
    for name, method in ROBUST.items():
        yield f"no neighbour, 10000 photons, {name}", (bright, method, "known")
    for distance in (3.0, 4.0, 5.0, 6.0):
        for name, method in ROBUST.items():
            scene = Scene(neighbour=1000.0, distance=distance)
            yield f"neighbour {distance:g} pixels away, {name}", (scene, method, "known")
    for distance in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        scene = Scene(neighbour=1000.0, distance=distance, listed=True, size=ROOM)
        yield f"neighbour {distance:g} pixels away, joint", (scene, JOINT, "known")


def seeds_table() -> Iterator[tuple[str, Case]]:
    """What the matched filter was measured on."""
    base = Scene(photons=1500.0, efficiency=0.82)
    scenes = {
        "1500 photons, 0.82": base,
        "300 photons, 0.82": replace(base, photons=300.0),
        "light 50, 0.82": replace(base, light=50.0),
        "7 x 7, 150 nm, 0.82": replace(base, size=7, sigma=150.0),
        "width x 1.1, 0.82": replace(base, width=1.1),
        "width x 0.9, 0.82": replace(base, width=0.9),
        "positions 20 nm off, 0.82": replace(base, shift=20.0),
        "positions 50 nm off, 0.82": replace(base, shift=50.0),
    }
    for name, scene in scenes.items():
        yield name, (scene, CropFit(background_error=0.0, position_error=scene.shift), "known")


CASES: dict[str, Case] = dict([*precision(), *mistakes(), *neighbours(), *seeds_table()])


def by_smlmlp(scene: Scene, truth: Truth) -> np.ndarray:
    table = truth.table[: len(truth.crops)]
    zeros = np.zeros(len(table), np.int32)
    y, x = (table[a].to_numpy() - table[f"{a}0"].to_numpy() * PIXEL for a in "yx")
    found, _ = integrate_crop(
        [truth.crops.astype("f4")],
        [zeros],
        [zeros],
        x_fit=x.astype("f4"),
        y_fit=y.astype("f4"),
        os_fit=table.background.to_numpy("f4"),
        channels_pixels_nm=PIXEL,
        channels_gains=GAIN,
        channels_QE=scene.efficiency,
        **shape_for_smlmlp(scene, truth),
    )
    return np.asarray(found, np.float64)


def shape_for_smlmlp(scene: Scene, truth: Truth) -> dict[str, Any]:
    n, sigma = len(truth.crops), scene.width * scene.sigma
    if scene.spline:
        names = {"x": "xtangents", "y": "ytangents", "z": "ztangents"}
        told = psf_of(scene).astype("f4")
        spline: dict[str, Any] = {
            f"channels_psf_3d_{name}": [told[f"knots_{axis}"].to_numpy()]
            for axis, name in names.items()
        }
        spline["channels_psf_3d_spline_coeffs"] = [told.coefficients.to_numpy()]
        z = truth.table.z.to_numpy("f4")
        return spline | {"z_fit": z, "channels_fit_models": "spline"}
    widths = {"sigma_x_fit": scene.ratio * sigma, "sigma_y_fit": sigma, "sigma_angle": scene.theta}
    if scene.ratio == 1:
        widths = {"sigma_fit": sigma}
    model = {} if scene.ratio == 1 else {"channels_fit_models": "gauss"}
    return model | {name: np.full(n, value, np.float32) for name, value in widths.items()}


def ours(scene: Scene, truth: Truth, method: Any) -> np.ndarray:
    """Photons, their error and z of each emitter."""
    movie = truth.movie
    if (
        scene.sensor == "same" and not scene.listed
    ):  # a position that is off must not move the crop into the next
        movie = xr.DataArray(truth.crops + OFFSET, dims=("emitter", "y", "x"))
        movie = movie.assign_coords(pixel_size_y=PIXEL, pixel_size_x=PIXEL)
    found = smlm.integrate_photons(
        movie,
        truth.table,
        camera=truth.camera,
        psf=psf_of(scene),
        size_pixels=11 if scene.listed else scene.size,
        method=method,
    ).compute()
    names = "photons", "photons_error", "chi2_z"
    return np.stack([found[n].to_numpy()[: len(truth.crops)] for n in names])


def line(name: str, seeds: range) -> dict[str, Any]:
    """One case over all seeds."""
    scene, method, told = CASES[name]
    parts = []
    for seed in seeds:
        truth = draw(scene, CROPS // 4 if scene.listed else CROPS, seed)
        bound = np.full(len(truth.crops), truth.bound[told])
        parts.append([*ours(scene, truth, method), by_smlmlp(scene, truth), bound])
    photons, claimed, z, seed_photons, bound = np.concatenate(parts, axis=1)
    least = np.sqrt((bound**2).mean())
    error, other = photons - scene.photons, seed_photons - scene.photons
    known = np.isfinite(error)
    error, claimed = error[known], claimed[known]
    percent = 100 / scene.photons
    return {
        "case": name,
        "photons": scene.photons,
        "bound %": percent * least,
        "smlmlp bias %": percent * np.nanmean(other),
        "smlmlp spread %": percent * np.nanstd(other),
        "smlmlp / bound": np.nanstd(other) / least,
        "bias %": percent * error.mean(),
        "+-": percent * error.std() / np.sqrt(len(error)),
        "spread %": percent * error.std(),
        "/ bound": error.std() / least,
        "claimed %": percent * claimed.mean(),
        "pull": (error / claimed).std(),
        "covered %": 100 * np.mean(np.abs(error) < 2 * claimed),
        "refused %": 100 * np.mean(~known),
        "z > 4 %": 100 * np.mean(z > 4),
    }


def rows(
    seeds: int = 12, cases: list[str] | None = None, first: int = FIRST_SEED
) -> list[dict[str, Any]]:
    """The table; ``cases`` are parts of the names of those wanted."""
    wanted = [n for n in CASES if not cases or any(part in n for part in cases)]
    every = range(first, first + seeds)
    return [{k: digits(v) for k, v in line(name, every).items()} for name in wanted]


def digits(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12, help=f"times {CROPS} crops")
    parser.add_argument("--cases", nargs="*", help="parts of the names of cases")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first")
    given = parser.parse_args()
    show(rows(given.seeds, given.cases, given.first))


if __name__ == "__main__":
    main()
