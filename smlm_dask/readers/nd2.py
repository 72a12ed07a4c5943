"""Nikon .nd2 movies, through the optional package nd2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import FormatError
from smlm_dask.readers.axes import plan_axes, taken
from smlm_dask.readers.format import Format
from smlm_dask.readers.raw import pack, unpack
from smlm_dask.readers.reader import Reader

__all__ = ["Nd2Format", "Nd2Frames"]


@dataclass(frozen=True)
class Nd2Frames(Reader):
    """Frames of an nd2 file: ``table`` holds sequence numbers, ``channel`` an index or None."""

    table: bytes
    channel: int | None

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read frame by frame, as the file stores them."""
        import nd2  # optional, and only a file of this format needs it

        block = np.empty((0, *self.shape[1:]), self.dtype)
        with nd2.ND2File(self.path) as file:
            images = [file.read_frame(int(number)) for number in unpack(self.table)[frames]]
            channel = () if self.channel is None else (self.channel,)
            block = np.stack([image[(*channel, y, x)] for image in images]) if images else block
        return np.ascontiguousarray(block, self.dtype)


class Nd2Format(Format):
    """Nikon's format; a channel or a plane is taken with ``select``."""

    description = "Open Nikon ND2 movies with smlm_dask and nd2"
    words = "ND2"
    suffixes = (".nd2",)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Nd2Frames:
        """Find the frames of the chosen channel and plane."""
        return _open(path, axes, select)


def _open(path: str, axes: str | None, select: Mapping[str, int] | None) -> Nd2Frames:
    try:
        import nd2
    except ImportError as error:
        raise FormatError(
            path, got="no package to read it", wanted="the package nd2", fix="pip install nd2"
        ) from error
    with nd2.ND2File(path) as file:
        sizes, dtype = dict(file.sizes), np.dtype(file.dtype)
    letters, shape = "".join(sizes), tuple(sizes.values())
    plan = plan_axes(path, letters, shape, axes, select)
    in_frame = [letter for letter in letters if letter in "CYXS"]
    loops = len(shape) - len(in_frame)
    numbers = np.arange(math.prod(shape[:loops]), dtype=np.int64).reshape(shape[:loops])
    chosen = numbers[taken(plan[:loops])].reshape(-1)
    channel = plan[letters.index("C")] if "C" in letters else None
    size = (sizes["Y"], sizes["X"])
    table, index = pack(chosen), channel if isinstance(channel, int) else None
    return Nd2Frames(path, (chosen.size, *size), dtype, (1, *size), table, index)
