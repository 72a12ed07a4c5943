"""Frames full of lone emitters, a crop beside the other, with known truth and the bound they allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import erf

import smlm_dask as smlm

GAIN, OFFSET, READ, PIXEL = 0.46, 100.0, 1.4, 100.0
ALONG = 12  # crops along each side of a frame
UNCERTAIN = 0.1  # of a pixel's noise: the default error of a background


@dataclass(frozen=True)
class Scene:
    """What emitters, camera and light are, and what is told wrongly about them.

    Attributes
    ----------
    photons, light : float
        Of an emitter, and of the background in a pixel.
    size : int
        Pixels of a crop.
    sigma : float
        nm.
    efficiency : float
        Electrons for each photon.
    sensor : bool
        Whether read noise and offset differ from pixel to pixel: log-normal noise, 2 % hot pixels.
    uncertain, high : float
        Error of the background that is told, in units of a pixel's noise: random, and the same for all.
    shift : float
        Error of the positions that are told, nm along each axis.
    width : float
        Told width over the true one.
    neighbour, distance : float
        Photons of another emitter, and how many pixels away it is.
    """

    photons: float = 1000.0
    light: float = 10.0
    size: int = 11
    sigma: float = 120.0
    efficiency: float = 1.0
    sensor: bool = False
    uncertain: float = 0.0
    high: float = 0.0
    shift: float = 0.0
    width: float = 1.0
    neighbour: float = 0.0
    distance: float = 4.0


@dataclass(frozen=True)
class Truth:
    """A movie, the table told to the estimators, and what they are measured against.

    ``noise`` is that of a pixel without an emitter, ``bound`` the Cramer-Rao bound of the photons for a
    background that is known, known within ``UNCERTAIN`` of the noise, and free.
    """

    movie: xr.DataArray
    crops: np.ndarray
    table: pd.DataFrame
    camera: xr.Dataset
    noise: np.ndarray
    bound: dict[str, float]


def draw(scene: Scene, n: int, seed: int) -> Truth:
    """About ``n`` emitters, as many as fill frames."""
    random = np.random.default_rng(seed)
    side, frames = scene.size * ALONG, -(-n // ALONG**2)
    n, efficiency = frames * ALONG**2, scene.efficiency
    read, offset = sensor(scene, side, random)
    own = random.uniform(-0.5, 0.5, (2, n))
    turn = random.uniform(0, 2 * np.pi, n)
    beside = own + scene.distance * np.stack([np.sin(turn), np.cos(turn)])
    p = shapes(scene, own)
    mean = efficiency * (scene.light + scene.photons * p + scene.neighbour * shapes(scene, beside))
    counts = random.poisson(tiled(mean, frames)) + random.normal(0, 1, (frames, side, side)) * read
    movie = smlm.as_movie(np.rint(counts / GAIN + offset).astype("i4"), pixel_size=PIXEL)
    variance = cropped(np.broadcast_to(read**2 + GAIN**2 / 12, movie.shape), scene.size)
    level = efficiency * scene.light
    noise = np.sqrt(1 / np.mean(1 / (level + variance), axis=(1, 2))) / efficiency
    wrong = noise * (scene.high + scene.uncertain * random.normal(size=n))
    table = told(scene, own, random, frames).assign(background=scene.light + wrong)
    lone = efficiency * (scene.light + scene.photons * p) + variance
    crops = cropped(movie.to_numpy() - offset, scene.size)
    camera = as_camera(scene, read, offset, movie)
    return Truth(movie, crops, table, camera, noise, bounds(p, lone, noise, efficiency))


def sensor(scene: Scene, side: int, random: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read noise (electrons) and offset (adu) of each pixel."""
    read, offset = np.full((side, side), READ), np.full((side, side), OFFSET)
    if scene.sensor:
        hot = random.random(read.shape) < 0.02
        read = np.where(
            hot, random.uniform(5, 20, read.shape), READ * random.lognormal(0, 0.3, read.shape)
        )
        offset = offset + random.normal(0, 3, read.shape)
    return read, offset


def as_camera(
    scene: Scene, read: np.ndarray, offset: np.ndarray, movie: xr.DataArray
) -> xr.Dataset:
    if not scene.sensor:
        known: dict[str, Any] = {"offset": OFFSET, "variance": (READ / GAIN) ** 2}
    else:
        like = movie.isel(frame=0, drop=True)
        known = {"offset": like.copy(data=offset), "variance": like.copy(data=(read / GAIN) ** 2)}
    return smlm.as_camera(GAIN, quantum_efficiency=scene.efficiency, **known)


def shapes(scene: Scene, at: np.ndarray) -> np.ndarray:
    """Parts of the light on each pixel, for emitters ``at`` pixels from the crop's middle."""
    edges = np.arange(scene.size + 1) - 0.5 - scene.size // 2
    unit = np.sqrt(2) * scene.sigma / PIXEL
    y, x = (np.diff(erf((edges - a[:, None]) / unit)) / 2 for a in at)
    return y[:, :, None] * x[:, None, :]


def tiled(crops: np.ndarray, frames: int) -> np.ndarray:
    size = crops.shape[1]
    grid = crops.reshape(frames, ALONG, ALONG, size, size).transpose(0, 1, 3, 2, 4)
    return grid.reshape(frames, ALONG * size, ALONG * size)


def cropped(frames: np.ndarray, size: int) -> np.ndarray:
    grid = frames.reshape(len(frames), ALONG, size, ALONG, size).transpose(0, 1, 3, 2, 4)
    return grid.reshape(-1, size, size)


def told(scene: Scene, own: np.ndarray, random: Any, frames: int) -> pd.DataFrame:
    """Frame, first pixel of the crop, and position, which may be wrong."""
    frame, row, column = (a.ravel() for a in np.indices((frames, ALONG, ALONG)))
    y0, x0 = row * scene.size, column * scene.size
    at = own + random.normal(0, scene.shift, own.shape) / PIXEL + scene.size // 2
    y, x = (np.stack([y0, x0]) + at) * PIXEL
    return pd.DataFrame({"frame": frame, "y0": y0, "x0": x0, "y": y, "x": x})


def bounds(
    p: np.ndarray, variance: np.ndarray, noise: np.ndarray, efficiency: float
) -> dict[str, float]:
    w = 1 / variance
    a, b, c = ((w * p**power).sum((1, 2)) for power in (2, 1, 0))
    error = {"known": 0.0, "uncertain": UNCERTAIN, "free": np.inf}
    found = {}
    for name, size in error.items():
        with np.errstate(divide="ignore"):
            prior = 1 / (size * noise * efficiency) ** 2
        lost = 0.0 if size == 0 else b**2 / (c + prior)
        found[name] = float(np.sqrt(np.mean(1 / (a - lost))) / efficiency)
    return found
