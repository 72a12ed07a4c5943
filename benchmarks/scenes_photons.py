"""Frames full of lone emitters, a crop beside the other, with known truth and the bound they allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.interpolate import make_interp_spline
from scipy.special import erf

import smlm_dask as smlm

GAIN, OFFSET, READ, PIXEL = 0.46, 100.0, 1.4, 100.0
ALONG = 12  # crops along each side of a frame
UNCERTAIN = 0.1  # of a pixel's noise: an error of the background
DEPTH, FOCAL = 200.0, 400.0  # nm: of the foci of an astigmatic PSF, and over which it widens
STEP, REACH = 25.0, 1000.0  # nm: of the knots of its spline
REGISTER = 2.0  # excess noise of electron multiplication


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
    ratio, theta : float
        Width along the axis at ``theta`` (degree) over ``sigma``, the one across.
    spline : bool
        Whether the PSF is astigmatic, emitters are 250 nm or less from the focus, and it is told as a spline.
    efficiency : float
        Electrons for each photon.
    sensor : "same", "noise" or "maps"
        Whether read noise and offset differ from pixel to pixel (log-normal noise, 2 % hot pixels), or also
        the gain: 5 %, offsets 5 adu, variances from 2 adu2, 2 % of them up to 1000.
    register : bool
        Whether electrons are multiplied.
    uncertain, high : float
        Error of the background that is told, in units of a pixel's noise: random, and the same for all.
    say : bool
        Whether it is told how uncertain the background is.
    shift : float
        Error of the positions that are told, nm along each axis.
    width : float
        Told width over the true one.
    neighbour, distance : float
        Photons of another emitter, and how many pixels away it is.
    listed : bool
        Whether the other one is in the table too; rows of such ones stand last.
    """

    photons: float = 1000.0
    light: float = 10.0
    size: int = 11
    sigma: float = 120.0
    ratio: float = 1.0
    theta: float = 0.0
    spline: bool = False
    efficiency: float = 1.0
    sensor: str = "same"
    register: bool = False
    uncertain: float = 0.0
    high: float = 0.0
    say: bool = False
    shift: float = 0.0
    width: float = 1.0
    neighbour: float = 0.0
    distance: float = 4.0
    listed: bool = False


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
    gain, offset, variance = sensor(scene, side, random)
    own = random.uniform(-0.5, 0.5, (2, n))
    depth = random.uniform(-250, 250, n) if scene.spline else np.zeros(n)
    turn = random.uniform(0, 2 * np.pi, n)
    beside = own + scene.distance * np.stack([np.sin(turn), np.cos(turn)])
    p = shapes(scene, own, depth)
    mean = efficiency * (scene.light + scene.photons * p)
    mean += efficiency * scene.neighbour * shapes(scene, beside, depth)
    electrons = random.poisson(tiled(mean, frames)).astype(float)
    if scene.register:
        electrons = random.standard_gamma(electrons)
    counts = electrons / gain + random.normal(0, 1, electrons.shape) * np.sqrt(variance) + offset
    movie = smlm.as_movie(np.rint(counts).astype("i4"), pixel_size=PIXEL)
    camera = as_camera(scene, (gain, offset, variance), movie)
    excess, level = float(camera.excess_noise), efficiency * scene.light
    dark = cropped(np.broadcast_to((variance + 1 / 12) * gain**2, movie.shape), scene.size)
    noise = np.sqrt(1 / np.mean(1 / (excess * level + dark), axis=(1, 2))) / efficiency
    wrong = noise * (scene.high + scene.uncertain * random.normal(size=n))
    table = told(scene, own, random, frames).assign(background=scene.light + wrong, z=depth)
    if scene.listed:
        move = PIXEL * (beside - own)
        others = table.assign(y=table.y + move[0], x=table.x + move[1])
        table = pd.concat([table, others], ignore_index=True)
    if scene.say:
        table = table.assign(background_error=scene.uncertain * noise)
    lone = excess * efficiency * (scene.light + scene.photons * p) + dark
    crops = cropped(movie.to_numpy() - offset, scene.size)
    return Truth(movie, crops, table, camera, noise, bounds(p, lone, noise, efficiency))


def sensor(scene: Scene, side: int, random: Any) -> list[np.ndarray]:
    """Gain, offset (adu) and noise variance (adu2) of each pixel."""
    read = 0.1 if scene.register else READ  # electrons that are many behind the register
    gain, offset, variance = (np.full((side, side), a) for a in (GAIN, OFFSET, (read / GAIN) ** 2))
    hot = random.random(gain.shape) < 0.02
    if scene.sensor == "noise":
        noise = READ * random.lognormal(0, 0.3, gain.shape)
        read_noise = np.where(hot, random.uniform(5, 20, gain.shape), noise)
        offset, variance = offset + random.normal(0, 3, gain.shape), (read_noise / GAIN) ** 2
    if scene.sensor == "maps":
        gain = GAIN * random.normal(1, 0.05, gain.shape)
        offset = offset + random.normal(0, 5, gain.shape)
        calm = 2 + random.lognormal(1.5, 0.7, gain.shape)
        variance = np.where(hot, 10 ** random.uniform(1, 3, gain.shape), calm)
    return [gain, offset, variance]


def as_camera(scene: Scene, maps: tuple[np.ndarray, ...], movie: xr.DataArray) -> xr.Dataset:
    like = movie.isel(frame=0, drop=True)
    gain, offset, variance = (
        float(a[0, 0]) if scene.sensor == "same" else like.copy(data=a) for a in maps
    )
    if scene.sensor == "noise":
        gain = GAIN
    known = smlm.as_camera(
        gain, offset=offset, variance=variance, quantum_efficiency=scene.efficiency
    )
    return known.assign(excess_noise=REGISTER if scene.register else 1.0)


def shapes(scene: Scene, at: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Parts of the light on each pixel, for emitters ``at`` pixels from the crop's middle."""
    if scene.ratio != 1:
        return turned(scene, at)
    edges = (np.arange(scene.size + 1) - 0.5 - scene.size // 2) * PIXEL
    y, x = (
        np.diff(erf((edges - PIXEL * a[:, None]) / (np.sqrt(2) * width[:, None]))) / 2
        for a, width in zip(at, widths(scene, depth), strict=True)
    )
    return y[:, :, None] * x[:, None, :]


def widths(scene: Scene, depth: np.ndarray) -> list[np.ndarray]:
    """Along y and x, nm, for emitters so far from the focus."""
    foci = (-DEPTH, DEPTH) if scene.spline else (np.inf, np.inf)
    far = [np.zeros(len(depth)) if np.isinf(f) else (depth - f) / FOCAL for f in foci]
    return [scene.sigma * np.sqrt(1 + a**2) for a in far]


def turned(scene: Scene, at: np.ndarray) -> np.ndarray:
    """A Gaussian along turned axes, summed over 7 x 7 points of each pixel."""
    fine = (np.arange(7 * scene.size) + 0.5) / 7 - 0.5 - scene.size // 2
    cos, sin = np.cos(np.radians(scene.theta)), np.sin(np.radians(scene.theta))
    out = np.empty((at.shape[1], scene.size, scene.size))
    across, along = scene.sigma / PIXEL, scene.ratio * scene.sigma / PIXEL
    for k, (own_y, own_x) in enumerate(at.T):
        y, x = (fine - own_y)[:, None], fine - own_x
        u, v = (x * cos - y * sin) / along, (x * sin + y * cos) / across
        light = np.exp(-(u**2 + v**2) / 2) / (2 * np.pi * along * across * 49)
        out[k] = light.reshape(scene.size, 7, scene.size, 7).sum((1, 3))
    return out


def psf_of(scene: Scene) -> Any:
    """What is told of the PSF."""
    sigma = scene.width * scene.sigma
    if scene.ratio != 1:
        return smlm.as_psf(sigma_x=scene.ratio * sigma, sigma_y=sigma, theta=scene.theta)
    return spline_of(scene) if scene.spline else sigma


def spline_of(scene: Scene) -> xr.Dataset:
    """A spline through the astigmatic PSF, averaged over pixels; it is taken at minus the depth."""
    place, depth = np.arange(-REACH, REACH + 1, STEP), np.arange(-400.0, 401.0, 50.0)
    sides = (np.array([-0.5, 0.5]) * PIXEL)[:, None, None] + place
    y, x = (
        np.diff(erf(sides / (np.sqrt(2) * scene.width * w[:, None])), axis=0)[0] / 2
        for w in widths(scene, -depth)
    )
    values = y[:, :, None] * x[:, None, :]
    knots = []
    for axis, at in enumerate((depth, place, place)):
        line = make_interp_spline(at, values, axis=axis)
        knots.append(line.t)
        values = np.moveaxis(line.c, 0, axis)
    return smlm.as_spline_psf(knots[1], knots[2], knots[0], values)


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
