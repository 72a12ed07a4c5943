"""What every file format offers: shape, dtype, how it is stored, and a piece of it on request."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import FrameShapeError

__all__ = ["Joined", "Metadata", "Reader", "join"]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says of how its movie was taken; None where it says nothing, or without a unit.

    Attributes
    ----------
    pixel_size : (float, float), optional
        Size of a pixel in the sample along y and x, nm.
    frame_time : float, optional
        Seconds from one frame to the next.
    exposure : float, optional
        Seconds of light in a frame.
    camera, channel : str, optional
        Names.
    channels : tuple of str
        Names of all channels in the file, numbers where it names none; empty if there is one.
    """

    pixel_size: tuple[float, float] | None = None
    frame_time: float | None = None
    exposure: float | None = None
    camera: str | None = None
    channel: str | None = None
    channels: tuple[str, ...] = ()

    def filled(self, other: Metadata) -> Metadata:
        """Take from ``other`` what is not known here."""
        names = [known.name for known in fields(self) if not getattr(self, known.name)]
        return replace(self, **{name: getattr(other, name) for name in names})

    def of_channel(self, letters: str, plan: Sequence[str | int], shape: Sequence[int]) -> Metadata:
        """Name the channel that ``plan`` takes from the axis ``c``."""
        at = letters.find("c")
        taken = plan[at] if at >= 0 else 0
        count = shape[at] if at >= 0 else 1
        named = len(self.channels) == count and isinstance(taken, int)
        channel = self.channels[taken] if named and isinstance(taken, int) else self.channel
        every = self.channels if named else tuple(map(str, range(count)))
        return replace(self, channel=channel, channels=every if count > 1 else ())


@dataclass(frozen=True)
class Reader:
    """A movie in a file: a few plain values, so that it pickles in bytes and reads on any thread.

    Attributes
    ----------
    path : str
        Absolute path, so that a worker in another folder finds the file.
    shape : tuple of int
        Frames, rows, columns.
    dtype : numpy.dtype
        What `read` returns, in the machine's byte order.
    chunk : tuple of int
        The smallest (frame, y, x) piece that is worth reading by itself.
    metadata : Metadata
        What the file says of the microscope.
    stamp : int
        Another number when one of further files has changed; 0 if `path` is all there is.
    """

    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    chunk: tuple[int, int, int]
    metadata: Metadata = field(default=Metadata(), kw_only=True)
    stamp: int = field(default=0, kw_only=True)

    @abstractmethod
    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read the samples of a box: bounds inside the movie, steps positive; memory of its own."""

    def index(self) -> Mapping[str, NDArray[np.int64]]:
        """Give the frame numbers and sensor pixels the file itself states, by dimension."""
        return {}


@dataclass(frozen=True)
class Joined(Reader):
    """Readers one after another on the frame axis: one movie in several files."""

    parts: tuple[Reader, ...]

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read from each part what lies in it."""
        edges = np.cumsum([0, *(part.shape[0] for part in self.parts)])
        wanted = np.arange(self.shape[0])[frames]
        pieces = [np.empty((0, self.shape[1], self.shape[2]), self.dtype)[:, y, x]]
        for part, first, stop in zip(self.parts, edges[:-1], edges[1:], strict=True):
            inside = wanted[(wanted >= first) & (wanted < stop)] - first
            if inside.size:
                span = slice(int(inside[0]), int(inside[-1]) + 1, frames.step)
                pieces.append(part.read(span, y, x))
        return np.concatenate(pieces)


def join(parts: tuple[Reader, ...]) -> Reader:
    """Make one reader over all the parts, which must agree in frame size and dtype."""
    first = parts[0]
    for part in parts[1:]:
        if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
            raise FrameShapeError(
                part.path,
                got=f"frames of {part.shape[1:]} {part.dtype}",
                wanted=f"{first.shape[1:]} {first.dtype} as in {first.path}",
                fix="keep files of one movie together and move others elsewhere",
            )
    if len(parts) == 1:
        return first
    shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
    paths = dict.fromkeys(part.path for part in parts)
    states = [(path, (state := Path(path).stat()).st_size, state.st_mtime_ns) for path in paths]
    return Joined(
        first.path,
        shape,
        first.dtype,
        first.chunk,
        parts,
        metadata=first.metadata,
        stamp=zlib.crc32(repr(states).encode("utf-8", "surrogateescape")),
    )
