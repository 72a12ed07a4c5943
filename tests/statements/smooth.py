"""Gaussian smoothing in plain numpy, as readable as it gets."""

from __future__ import annotations

import math

import numpy as np


def gaussian_taps(sigma: float) -> np.ndarray:
    radius = math.ceil(6 * sigma) // 2
    edges = np.arange(-radius, radius + 2) - 0.5
    mass = np.diff([math.erf(edge / (math.sqrt(2) * sigma)) / 2 for edge in edges])
    mass[np.abs(np.arange(-radius, radius + 1)) > 2.575829303548901 * sigma] = 0
    return (mass / mass.sum()).astype(np.float32)


def correlate(frames: np.ndarray, taps: np.ndarray, axis: int) -> np.ndarray:
    """Symmetric sums in float64 from the outermost pair inwards, rounded to float32."""
    radius, length = len(taps) // 2, frames.shape[axis]
    pad = [(radius, radius) if i == axis else (0, 0) for i in range(frames.ndim)]
    padded = np.pad(frames.astype(np.float32), pad, mode="edge").astype(np.float64)

    def shifted(k: int) -> np.ndarray:
        return np.take(padded, np.arange(radius + k, radius + k + length), axis)

    total = shifted(0) * float(taps[radius])
    for k in range(radius, 0, -1):
        total = total + (shifted(-k) + shifted(k)) * float(taps[radius + k])
    return total.astype(np.float32)


def smooth(frames: np.ndarray, taps_y: np.ndarray, taps_x: np.ndarray) -> np.ndarray:
    return correlate(correlate(frames, taps_y, 1), taps_x, 2)


def noise_factor(taps_y: np.ndarray, taps_x: np.ndarray) -> float:
    operator = -np.outer(taps_y.astype(np.float64), taps_x.astype(np.float64))
    operator[len(taps_y) // 2, len(taps_x) // 2] += 1
    return float(np.sqrt((operator**2).sum()))
