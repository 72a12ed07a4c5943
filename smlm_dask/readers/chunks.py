"""How a stored movie is cut: whole stored chunks and whole windows within a budget of bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from smlm_dask._graph import chunk_bytes

__all__ = ["MOST_CHUNKS", "can_be_cut", "default_chunks"]

WINDOW = 200  # frames in the default window of the blocks
MOST_CHUNKS = 1_000_000
MOST_BYTES = 2**34  # of a chunk: a false size must not fill the memory
PIECES = 16  # a short movie is cut into at least as many chunks, if a window fits into each

Shape = tuple[int, int, int]


def can_be_cut(shape: Shape, dtype: np.dtype[Any], stored: Shape) -> bool:
    """Tell whether ``default_chunks`` makes chunks that memory can hold, and not too many."""
    chunk = default_chunks(shape, dtype, stored)
    count = math.prod(-(-size // piece) for size, piece in zip(shape, chunk, strict=True))
    return count <= MOST_CHUNKS and math.prod(chunk) * dtype.itemsize <= MOST_BYTES


def default_chunks(shape: Shape, dtype: np.dtype[Any], stored: Shape) -> Shape:
    """Frames, rows and columns of a chunk within the byte budget ``smlm_dask.chunk-bytes``.

    Whole windows of whole stored chunks, so that a block reads once and cuts nothing. Where one
    window is too large: tiles in y if the file can be read so, otherwise a part of a window.
    """
    frames, height, width = shape
    row = max(1, width * dtype.itemsize)
    fit = chunk_bytes() // (max(1, height) * row)
    length = max(1, min(stored[0], frames))
    unit = max(1, min(math.lcm(length, WINDOW), frames))
    if unit <= fit:
        return min(frames, unit * max(1, min(fit, frames // PIECES) // unit)), height, width
    for count in (unit, length) if length > fit else (unit,):
        rows = chunk_bytes() // (count * row) // stored[1] * stored[1]
        if 0 < rows < height:
            even = math.ceil(height / math.ceil(height / rows))
            return count, math.ceil(even / stored[1]) * stored[1], width
    parts = [n for n in range(1, WINDOW + 1) if WINDOW % n == 0 == n % length and n <= fit]
    return max(parts, default=max(1, fit // length) * length), height, width
