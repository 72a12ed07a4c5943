"""Kernels of the truncated background beside a median of the window: ``python benchmarks/background.py``.

A window of 200 frames, uint16; the repair looks at 21. Reading is in neither. The gate is twice a median that
is found bit by bit; ours knows the extremes of the samples first, and takes half the time of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from peers import Row, cpu_times, row, show
from scenes_background import Scene, simulate

from smlm_dask.kernels.first import first_image
from smlm_dask.kernels.flicker import brightness, row_step
from smlm_dask.kernels.repair import NEIGHBOURS, repair, settle
from smlm_dask.kernels.selection import rank
from smlm_dask.kernels.truncated import truncated_means

WINDOW, SIZES = 200, (128, 256, 512)
SCENE = Scene(emitters=60, frames=5 * WINDOW, shape=(128, 128))
CAMERA = SCENE.gain, SCENE.offset, (SCENE.read / SCENE.gain) ** 2


def settled(frames: np.ndarray, camera: tuple[Any, ...] = CAMERA) -> np.ndarray:
    """All that is done to a window alone."""
    step = row_step(frames.shape[1:])
    thin = [m[::step] if np.ndim(m) else m for m in camera]
    first = first_image(frames, *camera)
    light = brightness(frames[:, ::step], first[::step], *thin)
    means = truncated_means(frames, light, first, *camera)
    return settle(means, len(frames), camera[0], camera[2])


@njit
def bisect(frames: np.ndarray, k: int) -> np.ndarray:
    """The samples of rank ``k``, (frame, pixel) -> (pixel,), from the highest bit down."""
    out, width = np.zeros(frames.shape[1], np.uint16), 512
    for start in range(0, len(out), width):
        tile, found = frames[:, start : start + width].copy(), out[start : start + width]
        for bit in range(15, -1, -1):
            limit, below = found | np.uint16(1 << bit), np.zeros(len(found), np.uint16)
            for t in range(len(tile)):
                samples = tile[t]
                for x in range(len(found)):
                    below[x] += np.uint16(samples[x] < limit[x])
            for x in range(len(found)):
                found[x] = limit[x] if below[x] <= k else found[x]
    return out


def rows() -> list[Row]:
    small = simulate(SCENE, 1).frames.reshape(-1, WINDOW, *SCENE.shape)
    table = []
    for size in SIZES:
        windows = [np.tile(w, (1, size // 128, size // 128)) for w in small]
        maps = tuple(np.full((size, size), number, np.float32) for number in CAMERA)
        around = [settled(w) for w in windows] * 5
        frames = windows[0]
        for name, camera in {"one camera": CAMERA, "maps": maps}.items():

            def ours(frames: Any = frames, camera: Any = camera, around: Any = around) -> Any:
                entries = [settled(frames, camera), *around[:20]]
                return repair(entries, NEIGHBOURS, WINDOW, camera[0], camera[2])

            flat, middle = frames.reshape(WINDOW, -1), WINDOW // 2
            assert (bisect(flat, middle) == rank(frames, middle).ravel()).all()
            calls = {
                "ours": ours,
                "median by bits": lambda flat=flat: bisect(flat, WINDOW // 2),
                "our median": lambda frames=frames: rank(frames, WINDOW // 2),
            }
            seconds = cpu_times(calls, repeats=9)
            kernel = f"{size} x {size}, {name}"
            table.append(row(kernel, "median by bits", seconds, frames.size, 0.5))
            table.append(row(kernel, "our median", seconds, frames.size))
    return table


if __name__ == "__main__":
    show(rows())
