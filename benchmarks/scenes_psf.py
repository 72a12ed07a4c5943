"""Movies of blinking emitters with known widths, and with all that disturbs a camera and a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import ndtr

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What a movie is made of; widths in nm as (y, x), theta in degrees counter-clockwise on screen.

    ``outside`` is how far beyond the field emitters lie, in pixels. ``drift`` and ``structure``: pixels
    that a background of random blobs moves in the whole movie, and its relative scatter. ``bleaching``:
    share of the background and the emitters that is gone at the end. ``row_correlation``: of the read
    noise of neighbours in a row. ``telegraph``: number and height (electrons) of pixels that jump.
    """

    n_frames: int = 300
    shape: tuple[int, int] = (128, 128)
    pixel: tuple[float, float] = (100.0, 100.0)
    sigma: tuple[float, float] = (120.0, 120.0)
    theta: float = 0.0
    number: int = 500
    photons: float = 1000.0
    constant: bool = False
    on: float = 2.0
    off: float = 60.0
    outside: float = 0.0
    background: float = 10.0
    gradient: float = 0.0
    blob: float = 0.0
    structure: float = 0.0
    drift: float = 0.0
    bleaching: float = 0.0
    flicker: float = 0.0
    gain: float = 0.46
    efficiency: float = 0.82
    read_noise: float = 1.4
    offset: float = 100.0
    row_correlation: float = 0.0
    banding: float = 0.0
    pattern: float = 0.0
    gain_spread: float = 0.0
    telegraph: tuple[int, float] = (0, 0.0)


SLOW = {"n_frames": 600, "number": 100, "on": 30.0, "off": 60.0}
LONG = {"n_frames": 600}
STRUCTURED = LONG | {"background": 50.0, "structure": 0.5}

CASES: dict[str, Scene] = {
    **{f"sigma {s:g}": Scene(sigma=(s, s)) for s in (80.0, 93.8, 120.0, 150.0, 200.0)},
    **{f"{n} emitters": Scene(number=n) for n in (20, 100, 2500, 10000)},
    **{f"{p} photons": Scene(photons=float(p)) for p in (100, 300, 3000)},
    **{f"background {b}": Scene(background=float(b)) for b in (1, 50, 200)},
    "background 50, gradient and blob": Scene(background=50.0, gradient=0.5, blob=1.0),
    "constant photons": Scene(constant=True),
    "on 20, off 20": Scene(on=20.0, off=20.0),
    "ellipse 150, 100": Scene(sigma=(150.0, 100.0)),
    "ellipse 100, 150": Scene(sigma=(100.0, 150.0)),
    **{f"ellipse 100, 180 at {t}": Scene(sigma=(100.0, 180.0), theta=t) for t in (30, 45, 60, -30)},
    "64 x 64": Scene(shape=(64, 64), number=125),
    "64 x 64, emitters outside": Scene(shape=(64, 64), number=176, outside=6.0),
    "600 frames": Scene(**LONG),
    "slow 30 / 60": Scene(**SLOW),
    "slow 100 / 200": Scene(**SLOW | {"on": 100.0, "off": 200.0}),
    "rare 5 / 600": Scene(**LONG, on=5.0, off=600.0),
    "structure": Scene(**STRUCTURED),
    "structure drifts 1 pixel": Scene(**STRUCTURED, drift=1.0),
    "structure drifts 4 pixels": Scene(**STRUCTURED, drift=4.0),
    "structure drifts 4, slow": Scene(**STRUCTURED | SLOW, drift=4.0),
    "bleaching 63 %": Scene(**STRUCTURED, bleaching=0.63),
    "bleaching 95 %": Scene(**STRUCTURED, bleaching=0.95),
    "flicker 1 %": Scene(**STRUCTURED, flicker=0.01),
    "flicker 5 %": Scene(**STRUCTURED, flicker=0.05),
    "flicker 5 %, background 200": Scene(**STRUCTURED | {"background": 200.0}, flicker=0.05),
    **{
        f"rows {r:+.2f}, read noise {n:g}": Scene(**LONG, row_correlation=r, read_noise=n)
        for r in (-0.15, 0.15)
        for n in (1.4, 5.0)
    },
    **{
        f"rows {r:+.2f}, read noise 5, 100 photons": Scene(
            **LONG, row_correlation=r, read_noise=5.0, photons=100.0
        )
        for r in (-0.15, 0.15)
    },
    **{f"banding {b:g} e": Scene(**LONG, banding=b) for b in (1.0, 3.0)},
    "fixed pattern 10 adu": Scene(**LONG, pattern=10.0),
    "gain map 5 %": Scene(**LONG, gain_spread=0.05),
    "50 hot pixels of 300 e": Scene(**LONG, telegraph=(50, 300.0)),
    "200 hot pixels of 3000 e": Scene(**LONG, telegraph=(200, 3000.0)),
    "101 x 97": Scene(**LONG, shape=(101, 97), number=300),
    "131 x 251": Scene(**LONG, shape=(131, 251), number=1000),
    "61 x 509": Scene(**LONG, shape=(61, 509), number=950),
    **{f"sigma {s:g} pixels": Scene(**LONG, sigma=(s * 100, s * 100)) for s in (0.5, 0.65, 0.8)},
    **{f"sigma {s:g} pixels": Scene(**LONG, sigma=(s * 100, s * 100)) for s in (3.0, 5.0)},
    "pixels 100 x 160": Scene(**LONG, pixel=(100.0, 160.0)),
    "40000 emitters": Scene(**LONG, number=40000),
    "5 emitters, 600 frames": Scene(**LONG, number=5),
    "20 emitters, 600 frames": Scene(**LONG, number=20),
}

# Without emitters: what must have no width.
EMPTY: dict[str, Scene] = {
    name: replace(scene, number=0)
    for name, scene in {
        "white": Scene(),
        "rows +0.15": Scene(row_correlation=0.15, read_noise=5.0),
        "banding": Scene(banding=3.0),
        "hot": Scene(telegraph=(200, 3000.0)),
        "structure, flicker": Scene(background=50.0, structure=0.5, flicker=0.05),
        "background 200, flicker": Scene(background=200.0, gradient=0.5, flicker=0.05),
        "structure drifts": Scene(background=50.0, structure=0.5, drift=4.0),
        "bleaching": Scene(background=50.0, structure=0.5, bleaching=0.95),
    }.items()
}


def movie(scene: Scene, seed: int) -> NDArray[np.uint16]:
    """Camera frames of a scene: (frame, y, x)."""
    rng = np.random.default_rng(seed)
    places, light = emitters(scene, rng)
    under = ground(scene, rng)
    camera = sensor(scene, rng)
    draw = drawing(scene, places)
    out = np.empty((scene.n_frames, *scene.shape), np.uint16)
    way = np.linspace(0, scene.drift, scene.n_frames)
    left = (1 - scene.bleaching) ** np.linspace(0, 1, scene.n_frames)
    lamp = 1 + scene.flicker * rng.normal(size=scene.n_frames)
    for t in range(scene.n_frames):
        on = np.flatnonzero(light[t])
        photons = moved(scene, under, way[t]) * left[t]
        photons += draw(on, light[t, on] * left[t])
        out[t] = camera(photons * lamp[t])
    return out


def emitters(scene: Scene, rng: np.random.Generator) -> tuple[Array, Array]:
    """Places in pixels (emitter, 2) and photons (frame, emitter) of stationary on-off chains."""
    n, low = scene.number, -0.5 - scene.outside
    high = np.array(scene.shape) - 0.5 + scene.outside
    places = rng.uniform(low, high, (n, 2))
    on = rng.random(n) < scene.on / (scene.on + scene.off)
    light = np.empty((scene.n_frames, n))
    for t in range(scene.n_frames):
        light[t] = on
        on = np.where(on, rng.random(n) >= 1 / scene.on, rng.random(n) < 1 / scene.off)
    bright = scene.photons if scene.constant else rng.exponential(scene.photons, light.shape)
    return places, light * bright


def drawing(scene: Scene, places: Array) -> Callable[[NDArray[np.int64], Array], Array]:
    """Function from the emitters that are on and their photons to the image integrated over pixels."""
    (height, width), (sy, sx) = scene.shape, np.array(scene.sigma) / scene.pixel
    along_y, along_x = shares(height, places[:, 0], sy), shares(width, places[:, 1], sx)

    def upright(on: NDArray[np.int64], photons: Array) -> Array:
        return (along_y[:, on] * photons) @ along_x[:, on].T

    def turned(on: NDArray[np.int64], photons: Array) -> Array:
        image = np.zeros(scene.shape)
        for place, light in zip(places[on], photons, strict=True):
            add_turned(image, place, light, (sy, sx), scene.theta)
        return image

    return turned if scene.theta else upright


def shares(size: int, centre: Array, sigma: float) -> Array:
    """Share of each emitter's light between the edges of each row: (size, emitter)."""
    edges = np.arange(size + 1)[:, None] - 0.5
    return np.diff(ndtr((edges - centre) / sigma), axis=0)


def add_turned(
    image: Array, place: Array, light: float, sigma: tuple[float, float], theta: float
) -> None:
    """Add one turned Gaussian, averaged over each pixel by 4 x 4 nodes: equal points make it narrower."""
    reach = int(5 * max(sigma)) + 1
    middle = np.rint(place).astype(int)
    low = np.maximum(middle - reach, 0)
    high = np.minimum(middle + reach + 1, image.shape)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    y, x = (
        np.add.outer(np.arange(a, b), nodes / 2) - p
        for a, b, p in zip(low, high, place, strict=True)
    )
    y, x = y[:, :, None, None], x[None, None]
    cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    square = ((x * cos - y * sin) / sigma[1]) ** 2 + ((x * sin + y * cos) / sigma[0]) ** 2
    density = np.einsum("aibj,i,j->ab", np.exp(-square / 2), weights, weights) / 4
    density /= 2 * np.pi * sigma[0] * sigma[1]
    image[low[0] : high[0], low[1] : high[1]] += light * density


def ground(scene: Scene, rng: np.random.Generator) -> Array:
    """Background in photons, with a margin that the drift brings in."""
    margin = int(np.ceil(scene.drift)) + 2
    height, width = scene.shape[0], scene.shape[1] + 2 * margin
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    rise = 1 + scene.gradient * x + scene.blob * np.exp(-(x * x + y * y) / 0.18)
    if scene.structure:
        blobs = gaussian_filter(rng.normal(size=(height, width)), 4)
        rise = rise * np.exp(scene.structure * blobs / blobs.std())
    return scene.background * rise


def moved(scene: Scene, under: Array, way: float) -> Array:
    """The field's part of the background after it moved along x."""
    margin = int(np.ceil(scene.drift)) + 2
    if way == 0:
        return under[:, margin : margin + scene.shape[1]].copy()
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]].astype(float)
    return map_coordinates(under, [y, x + margin - way], order=3, mode="nearest")


def sensor(scene: Scene, rng: np.random.Generator) -> Callable[[Array], NDArray[np.uint16]]:
    """Function from photons to the camera's frame."""
    level = scene.offset + scene.pattern * rng.normal(size=scene.shape)
    gain = scene.gain * (1 + scene.gain_spread * rng.normal(size=scene.shape))
    count, height = scene.telegraph
    places = np.unravel_index(rng.permutation(int(np.prod(scene.shape)))[:count], scene.shape)
    up = rng.random(count) < 0.5

    def expose(photons: Array) -> NDArray[np.uint16]:
        nonlocal up
        electrons = rng.poisson(np.maximum(photons, 0) * scene.efficiency).astype(float)
        electrons += read_noise(scene, rng) + scene.banding * rng.normal(size=(scene.shape[0], 1))
        up = up ^ (rng.random(count) < 0.2)
        electrons[places] += height * up
        return np.clip(np.rint(electrons / gain + level), 0, 65535).astype(np.uint16)

    return expose


def read_noise(scene: Scene, rng: np.random.Generator) -> Array:
    """Read noise whose neighbours in a row correlate: a moving average of two."""
    white = rng.normal(size=(scene.shape[0], scene.shape[1] + 1))
    if not scene.row_correlation:
        return scene.read_noise * white[:, 1:]
    r = scene.row_correlation
    share = (1 - np.sqrt(1 - 4 * r * r)) / (2 * r)
    return scene.read_noise * (white[:, 1:] + share * white[:, :-1]) / np.sqrt(1 + share * share)
