"""The gain's kernels beside median and MAD of the same movie: ``python benchmarks/gain.py``.

Windows of 200 frames, uint16. Reading is in neither. A small movie needs every pair of frames for its
precision; from 20 million samples on pairs are fewer.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from peers import Row, cpu_times, row, show

import smlm_dask as smlm
from smlm_dask.gain import _pairs
from smlm_dask.kernels import corner, corner_line
from smlm_dask.kernels.selection import median_and_mad

WINDOW = 200
MOVIES = ((300, 96), (500, 128), (1000, 256), (2000, 512))  # frames, rows and columns
GATE = 1.0


def simulate(side: int) -> np.ndarray:
    """Two windows, which stand for all."""
    emitters = smlm.Emitters(number=side * side // 10)
    light = smlm.Light(background=10, gradient=0.5)
    movie, _ = smlm.simulate_movie(2 * WINDOW, (side, side), emitters=emitters, light=light, seed=1)
    return movie.to_numpy()


def rows() -> list[Row]:
    table = []
    for count, side in MOVIES:
        frames = simulate(side)
        picks, arguments = _pairs(count, side * side, WINDOW)
        windows = [frames[: min(WINDOW, count - i)] for i in range(0, count, WINDOW)]
        used = [frames[pick - pick[0]] for pick in picks]

        def ours(used: list[np.ndarray] = used, arguments: list = arguments) -> object:
            sums = (corner.corner_sums(f, *a) for f, a in zip(used, arguments, strict=True))
            return corner_line.corner_gain(reduce(corner.add, sums), np.nan, np.nan, 1.0)

        def median(windows: list[np.ndarray] = windows) -> None:
            for window in windows:
                median_and_mad(window)

        seconds = cpu_times({"ours": ours, "median and MAD": median}, repeats=9)
        size = count * side * side
        table.append(row(f"{count} x {side} x {side}", "median and MAD", seconds, size, GATE))
    return table


if __name__ == "__main__":
    show(rows())
