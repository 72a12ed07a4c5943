"""Movies over a known background: blinking emitters, flicker, drift, structure; all in electrons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

Array = np.ndarray
BINS = (0.0, 0.02, 0.05, 0.10, 0.15, 0.25, 0.35, 0.45, 0.6)


@dataclass(frozen=True)
class Scene:
    """64 x 64 pixels with emitters that get denser along x; on and off times in frames."""

    background: float = 10.0
    photons: float = 1000.0
    emitters: int = 800
    on: float = 3.0
    off: float = 60.0
    frames: int = 200
    gain: float = 0.46
    read: float = 1.4
    offset: float = 100.0
    structure: float = (
        0.0  # height of a blob of 6 pixels and a gradient, relative to the background
    )
    flicker: float = 0.0
    slope: float = 0.0  # brightness of the last frame against the first, less one
    per_window: int = 200
    shape: tuple[int, int] = (64, 64)
    sigma: float = 1.2
    multiplied: bool = False  # in a register, with the noise that this adds; all else as it goes in

    @property
    def excess(self) -> float:
        return 2.0 if self.multiplied else 1.0


@dataclass(frozen=True)
class Movie:
    frames: Array  # (frame, y, x) uint16
    light: Array  # (y, x), background at brightness 1, electrons
    brightness: Array  # (frame,)
    signal: Array  # (frame, y, x) electrons of emitters

    def noise(self, scene: Scene) -> Array:
        return np.sqrt(scene.excess * self.light + scene.read**2 + scene.gain**2 / 12)


def simulate(scene: Scene, seed: int) -> Movie:
    rng = np.random.default_rng(seed)
    light, brightness = _light(scene), _brightness(scene, rng)
    shapes = _shapes(scene, rng).reshape(scene.emitters, -1).astype(np.float32)
    trace = _trace(scene, rng).astype(np.float32)
    signal = (trace @ shapes).reshape(scene.frames, *scene.shape)
    mean = brightness[:, None, None] * light + signal
    electrons: Array = rng.poisson(mean)
    if scene.multiplied:
        electrons = rng.gamma(electrons)
    electrons = electrons + rng.normal(0, scene.read, mean.shape)
    adu = np.rint(electrons / scene.gain + scene.offset)
    return Movie(np.clip(adu, 0, 65535).astype(np.uint16), light, brightness, signal)


def _light(scene: Scene) -> Array:
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
    blob = np.exp(-((y - 20) ** 2 + (x - 30) ** 2) / (2 * 6.0**2))
    rise = x / scene.shape[1] - 0.5
    return scene.background * (1 + scene.structure * (blob + rise)) + np.zeros(scene.shape)


def _brightness(scene: Scene, rng: np.random.Generator) -> Array:
    drift = 1 + scene.slope * np.arange(scene.frames) / (scene.frames - 1)
    factor = drift * (1 + scene.flicker * rng.normal(size=scene.frames))
    return np.maximum(factor, 0.05)


def _shapes(scene: Scene, rng: np.random.Generator) -> Array:
    height, width = scene.shape
    at_y = rng.uniform(-0.5, height - 0.5, scene.emitters)
    at_x = width * np.sqrt(rng.random(scene.emitters)) - 0.5
    return _share(height, at_y, scene.sigma)[:, :, None] * _share(width, at_x, scene.sigma)[:, None]


def _share(length: int, at: Array, sigma: float) -> Array:
    edges = (np.arange(length + 1) - 0.5 - at[:, None]) / (np.sqrt(2) * sigma)
    return np.diff(erf(edges), axis=1) / 2


def _trace(scene: Scene, rng: np.random.Generator) -> Array:
    """Electrons of each emitter in each frame, geometric on and off times from the steady state."""
    state = rng.random(scene.emitters) < scene.on / (scene.on + scene.off)
    trace = np.empty((scene.frames, scene.emitters))
    for t in range(scene.frames):
        trace[t] = state * rng.exponential(scene.photons, scene.emitters)
        u = rng.random(scene.emitters)
        state = np.where(state, u >= 1 / scene.on, u < 1 / scene.off)
    return trace


def on_fraction(signal: Array, noise: Array) -> Array:
    """Share of the frames whose emitters give a pixel more than half its noise."""
    return np.mean(signal > 0.5 * noise, axis=0)
