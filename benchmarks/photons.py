"""Photons of 11 x 11 crops beside smlmlp and numpy: ``python benchmarks/photons.py``."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from peers import cpu_times, row, show
from scipy.special import erf

from smlm_dask.crop_fit import KNOWN
from smlm_dask.kernels.border import border_sums
from smlm_dask.kernels.crops import place
from smlm_dask.kernels.photons import likelihood_fits, weighted_sums
from smlm_dask.kernels.projection import Background
from smlm_dask.kernels.sensor import Sensor
from smlm_dask.kernels.spots import Spline, Spots, Straight, Turned

EMITTERS, SIZE, PIXEL = 20_000, (11, 11), (100.0, 100.0)
FRAMES = (50, 256, 256)
# Kernel -> least speed-up over smlmlp.integrate_crop.
GATES = {"gaussian": 35.0, "rotated": 6.0, "spline": 20.0, "border": 8.0}
MEMORY_GATE = 0.1  # of the bytes of the crops, beside the result
MOST = {"map gaussian": 3000.0}  # ns of a crop
NO_IMAGES = (np.zeros((0, 0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0))

Calls = dict[str, Callable[[], object] | None]


def emitters() -> dict[str, np.ndarray]:
    """Positions in the movie, and within the crop, of every emitter."""
    generator = np.random.default_rng(0)
    return {
        "index": np.sort(generator.integers(0, FRAMES[0], EMITTERS)),
        "y0": generator.integers(0, FRAMES[1] - SIZE[0], EMITTERS),
        "x0": generator.integers(0, FRAMES[2] - SIZE[1], EMITTERS),
        "mu": generator.uniform(450, 550, (2, EMITTERS)).astype(np.float32),
        "sigma": generator.uniform(90, 150, (2, EMITTERS)).astype(np.float32),
        "theta": generator.uniform(0, 90, EMITTERS).astype(np.float32),
        "z": generator.uniform(-200, 200, EMITTERS).astype(np.float32),
        "level": generator.uniform(25, 35, EMITTERS).astype(np.float32),
    }


def spline() -> dict[str, np.ndarray]:
    """Cubic spline over 3 x 3 x 1 um with knots about a pixel apart, (z, y, x)."""

    def knots(reach: float, intervals: int) -> np.ndarray:
        inner = np.linspace(-reach, reach, intervals + 1)
        return np.r_[[-reach] * 3, inner, [reach] * 3].astype(np.float32)

    t = {"z": knots(500, 10), "y": knots(1500, 26), "x": knots(1500, 24)}
    z, y, x = (np.linspace(-1, 1, len(t[axis]) - 4) for axis in "zyx")
    wide = (0.1 + 0.1 * z**2)[:, None, None]
    values = np.exp(-(y[:, None] ** 2 + x**2) / wide)
    return {**t, "coefficients": values.astype(np.float32)}


def ours(frames: np.ndarray, where: tuple[Any, ...], e: dict[str, np.ndarray]) -> Calls:
    """Each kernel on these frames."""
    s, (height, width) = spline(), e["sigma"]
    knots = (s["y"], s["x"], s["z"], s["coefficients"])
    same = EMITTERS, SIZE, PIXEL

    def shapes() -> dict[str, Spots]:
        return {
            "gaussian": Straight(*same, *e["mu"], height, height),
            "rotated": Turned(*same, *e["mu"], height, width, e["theta"]),
            "spline": Spline(*same, (*e["mu"], e["z"]), knots),
        }

    def weighted(shape: str) -> object:
        crops = place(frames, *where, SIZE)
        return weighted_sums(crops, Background(crops, e["level"], *NO_IMAGES), shapes()[shape])

    def likelihood(shape: str, known: str = "prior", robust: bool = False) -> object:
        crops = place(frames, *where, SIZE)
        under = Background(crops, e["level"], *NO_IMAGES)
        options = {"relative": True, "known": KNOWN[known], "robust": robust}
        return likelihood_fits(crops, under, Sensor(0.5, 0.0, 8.0), shapes()[shape], 0.1, **options)

    fits = {f"map {shape}": partial(likelihood, shape) for shape in shapes()}
    return {
        **{shape: partial(weighted, shape) for shape in shapes()},
        "border": lambda: border_sums(frames, *where, SIZE),
        **fits,
        "fixed gaussian": partial(likelihood, "gaussian", "fixed"),
        "robust gaussian": partial(likelihood, "gaussian", robust=True),
    }


def smlmlp(crops: np.ndarray, e: dict[str, np.ndarray]) -> Calls:
    try:
        from smlmlp import integrate_crop
    except ImportError:
        return dict.fromkeys(GATES)
    s, zeros = spline(), np.zeros(EMITTERS, np.int32)
    fit = {"y_fit": e["mu"][0], "x_fit": e["mu"][1], "os_fit": e["level"]}
    call = partial(integrate_crop, [crops], [zeros], [zeros], channels_pixels_nm=PIXEL[0])
    turned = {"sigma_y_fit": e["sigma"][0], "sigma_x_fit": e["sigma"][1], "sigma_angle": e["theta"]}
    names = {"x": "xtangents", "y": "ytangents", "z": "ztangents", "coefficients": "spline_coeffs"}
    shape = {f"channels_psf_3d_{name}": [s[key]] for key, name in names.items()}
    return {
        "gaussian": partial(call, **fit, sigma_fit=e["sigma"][0]),
        "rotated": partial(call, **fit, **turned, channels_fit_models="gauss"),
        "spline": partial(call, **fit, **shape, z_fit=e["z"], channels_fit_models="spline"),
        "border": partial(call, channels_weighted_integrations=False),
    }


def in_numpy(crops: np.ndarray, e: dict[str, np.ndarray]) -> Calls:
    """The two that numpy says in a few lines, in float64."""
    flat = crops.reshape(EMITTERS, -1)
    edge = np.ones(SIZE, bool)
    edge[1:-1, 1:-1] = False

    def axis(size: int, mu: np.ndarray, sigma: np.ndarray, pixel: float) -> np.ndarray:
        ends = (np.arange(size + 1) - 0.5) * pixel - mu[:, None].astype(float)
        return np.diff(erf(ends / (np.sqrt(2) * sigma[:, None].astype(float))))

    def gaussian() -> np.ndarray:
        y, x = (axis(n, m, e["sigma"][0], p) for n, m, p in zip(SIZE, e["mu"], PIXEL, strict=True))
        y, x = y / y.sum(1, keepdims=True), x / x.sum(1, keepdims=True)
        dot = np.einsum("ny,nx,nyx->n", y, x, crops - e["level"][:, None, None])
        return dot / ((y**2).sum(1) * (x**2).sum(1))

    def border() -> np.ndarray:
        return flat.sum(1) - np.median(flat[:, edge.ravel()], axis=1) * flat.shape[1]

    return {"gaussian": gaussian, "border": border, "rotated": None, "spline": None}


def extra_memory(call: Callable[[], object], crops: np.ndarray) -> float:
    """Peak of what numpy allocates during a call, as a share of the crops."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / crops.nbytes


def rows() -> list[dict[str, Any]]:
    e = emitters()
    movie = np.random.default_rng(1).poisson(30, FRAMES).astype(np.uint16)
    y, x = np.indices(SIZE)
    y, x = e["y0"][:, None, None] + y, e["x0"][:, None, None] + x
    crops = movie[e["index"][:, None, None], y, x].astype(np.float32)
    zeros = np.zeros(EMITTERS, np.int64)
    inputs = {
        "f32 crops": ours(crops, (np.arange(EMITTERS), zeros, zeros), e),
        "u16 frames": ours(movie, (e["index"], e["y0"], e["x0"]), e),
    }
    peers = {"smlmlp.integrate_crop": smlmlp(crops, e), "numpy float64": in_numpy(crops, e)}
    table = []
    for kernel, least in GATES.items():
        calls = {name: of[kernel] for name, of in (inputs | peers).items()}
        seconds = cpu_times(calls)
        for source, of in inputs.items():
            memory = extra_memory(of[kernel], crops)
            for peer in (p for p in peers if p in seconds or p.startswith("smlmlp")):
                gate = least if peer.startswith("smlmlp") else None
                line = row(f"{kernel} {source}", peer, seconds, EMITTERS, gate, ours=source)
                line["memory"] = f"{memory:.1%} of crops"
                line["met"] = line["met"] and memory < MEMORY_GATE
                table.append(line)
    return table + fits(inputs)


def fits(inputs: dict[str, Calls]) -> list[dict[str, Any]]:
    """Likelihood beside the matched filter of the same shape."""
    table = []
    for source, of in inputs.items():
        for name in (n for n in of if " " in n):
            sums = name.split()[1]
            seconds = cpu_times({"ours": of[name], f"weighted {sums}": of[sums]})
            line = row(f"{name} {source}", f"weighted {sums}", seconds, EMITTERS)
            most = MOST.get(name)
            line["gate"] = None if most is None else f"<= {most:g} ns"
            line["met"] = None if most is None else line["ns"] <= most
            table.append(line | {"memory": "-"})
    return table


if __name__ == "__main__":
    show(rows())
