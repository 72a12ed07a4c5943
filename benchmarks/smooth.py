"""Gaussian smoothing beside smlmlp, OpenCV and scipy: ``python benchmarks/smooth.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from peers import cpu_times, row, show
from scipy import ndimage

from smlm_dask.kernels.smooth import gaussian_taps, smooth

SHAPE = (10, 512, 512)
# Peer -> (least speed-up, sigmas it is asked for).
GATES = {
    "smlmlp.bkgd_spatial_mean": (6.0, (3.5, 10)),
    "cv2.sepFilter2D float32": (1 / 1.3, (3.5, 10)),
}


def movie() -> np.ndarray:
    generator = np.random.default_rng(0)
    background = np.linspace(15, 45, SHAPE[2])
    electrons = generator.poisson(background, SHAPE) + generator.normal(0, 2, SHAPE)
    return (2 * electrons + 100).astype(np.uint16)


def peers(frames: np.ndarray, sigma: float) -> dict[str, Callable[[], object] | None]:
    """Every peer as a call; None where it is not installed."""
    taps = gaussian_taps(sigma)
    as_float = frames.astype(np.float32)
    calls: dict[str, Callable[[], object] | None] = {
        "scipy.correlate1d pair": lambda: ndimage.correlate1d(
            ndimage.correlate1d(as_float, taps, axis=1, mode="nearest"),
            taps,
            axis=2,
            mode="nearest",
        )
    }
    try:
        from smlmlp import bkgd_spatial_mean

        calls["smlmlp.bkgd_spatial_mean"] = lambda: bkgd_spatial_mean(
            [frames], 2 * sigma, cuda=False, parallel=False
        )
    except ImportError:
        calls["smlmlp.bkgd_spatial_mean"] = None
    try:
        import cv2

        cv2.setNumThreads(1)
        for name, source in {"float32": as_float, "uint16": frames}.items():
            calls[f"cv2.sepFilter2D {name}"] = partial(filter_each, cv2, source, taps)
    except ImportError:
        calls["cv2.sepFilter2D float32"] = calls["cv2.sepFilter2D uint16"] = None
    return calls


def filter_each(cv2: Any, source: np.ndarray, taps: np.ndarray) -> np.ndarray:
    smoothed = np.empty(source.shape, np.float32)
    for frame, target in zip(source, smoothed, strict=True):
        cv2.sepFilter2D(frame, cv2.CV_32F, taps, taps, target, borderType=cv2.BORDER_REPLICATE)
    return smoothed


def rows() -> list[dict[str, Any]]:
    frames = movie()
    table = []
    for sigma in (1, 3.5, 10):
        taps = gaussian_taps(sigma)
        calls = peers(frames, sigma)
        seconds = cpu_times({"ours": partial(smooth, frames, taps, taps)} | calls)
        for peer in calls:
            gate, sigmas = GATES.get(peer, (None, ()))
            gate = gate if sigma in sigmas else None
            table.append(row(f"smooth sigma {sigma}", peer, seconds, frames.size, gate))
    return table


if __name__ == "__main__":
    show(rows())
