"""Frames that lie uncompressed in a file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import FrameCountError, SourceCorruptError
from smlm_dask.readers.axes import page_numbers
from smlm_dask.readers.reader import Metadata, Reader

__all__ = ["RawFrames", "file_size", "pack", "raw_frames", "raw_stack", "unpack"]

MOST_AT_ONCE = 2**28  # bytes: a system reads no more than 2 GiB in one call


def file_size(path: str) -> int:
    """Count the bytes of a file."""
    return Path(path).stat().st_size


def pack(offsets: NDArray[np.int64]) -> bytes:
    """Pack byte offsets into a few bytes: a regular file of 100,000 frames takes less than 1 kB."""
    return zlib.compress(np.diff(offsets, prepend=0).astype("<i8").tobytes())


@lru_cache(maxsize=16)
def unpack(table: bytes) -> NDArray[np.int64]:
    """Unpack what `pack` packed, read-only."""
    offsets = np.cumsum(np.frombuffer(zlib.decompress(table), "<i8"))
    offsets.setflags(write=False)
    return offsets


@dataclass(frozen=True)
class RawFrames(Reader):
    """Uncompressed frames, each in one piece at its own offset.

    Rows are read straight into the answer. A memory map was as fast but holds the pages it touched,
    and a file that has become shorter kills the process instead of raising.
    """

    stored: np.dtype[Any]
    table: bytes

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read whole rows from ``y`` and keep the columns ``x``."""
        starts = unpack(self.table)[frames]
        row = self.shape[2] * self.stored.itemsize
        block = np.empty((starts.size, max(0, y.stop - y.start), self.shape[2]), self.stored)
        size = block[0].nbytes if len(block) else 0
        with Path(self.path).open("rb", buffering=0) as file:
            for run in _runs(starts, size):
                rows: Any = block[run]
                file.seek(int(starts[run.start]) + y.start * row)
                got = file.readinto(rows)
                if got != rows.nbytes:
                    raise self._short(int(starts[run.start + got // size]))
        return np.ascontiguousarray(block[:, :: y.step, x], self.dtype)

    def _short(self, start: int) -> SourceCorruptError:
        frame = int(np.flatnonzero(unpack(self.table) == start)[0])
        return SourceCorruptError(
            self.path,
            got=f"the end of the file inside frame {frame}",
            wanted=f"{self.shape[0]} frames",
            fix="the file has changed since it was opened: copy it again and open it again",
        )


def _runs(starts: NDArray[np.int64], size: int) -> Iterator[slice]:
    """Frames of ``size`` bytes that follow each other in the file: one call reads them all."""
    most = max(1, MOST_AT_ONCE // max(size, 1))
    apart = np.diff(starts) != size
    apart[most - 1 :: most] = True
    ends = np.append(np.flatnonzero(apart) + 1, len(starts))
    return (slice(a, b) for a, b in pairwise([0, *ends.tolist()]) if a < b)


def raw_frames(
    path: str,
    size: tuple[int, int],
    stored: np.dtype[Any],
    starts: NDArray[np.int64],
    told: Metadata | None = None,
) -> RawFrames:
    """Make a reader of frames of ``size`` rows and columns at the offsets ``starts``."""
    nbytes, end = math.prod(size) * stored.itemsize, file_size(path)
    cut = np.flatnonzero((starts < 0) | (starts > end - nbytes))
    if cut.size:
        raise _truncated(path, int(cut[0]), starts.size, size, stored)
    dtype = stored.newbyteorder("=")
    shape, chunk = (starts.size, *size), (1, 1, size[1])
    return RawFrames(path, shape, dtype, chunk, stored, pack(starts), metadata=told or Metadata())


def raw_stack(
    path: str,
    plan: Sequence[str | int],
    shape: Sequence[int],
    stored: np.dtype[Any],
    offset: int,
    told: Metadata | None = None,
    end: int | None = None,
) -> RawFrames:
    """Make a reader of one C-ordered array of ``shape`` from the byte ``offset``; ``end`` if it is known."""
    height, width = shape[-2:]
    nbytes, count = height * width * stored.itemsize, math.prod(shape[:-2])
    if min(shape) < 0:
        raise SourceCorruptError(
            path, got=f"shape {tuple(shape)}", wanted="no size below 0", fix="copy the file again"
        )
    # Before any list of frames is made: a false number of them must not fill the memory.
    if offset + count * nbytes > file_size(path):
        raise _truncated(path, (file_size(path) - offset) // nbytes, count, shape[-2:], stored)
    if end is not None and offset + count * nbytes != end:
        raise FrameCountError(
            path,
            got=f"{end - offset - count * nbytes} bytes behind the {count} frames that it tells of",
            wanted=f"nothing behind frames of {tuple(shape[-2:])} {stored}",
            fix="copy or write the file again; its header is not true",
        )
    starts = offset + page_numbers(path, tuple(plan), shape) * nbytes
    return raw_frames(path, (height, width), stored, starts, told)


def _truncated(
    path: str, frame: int, count: int, size: Sequence[int], stored: np.dtype[Any]
) -> FrameCountError:
    return FrameCountError(
        path,
        got=f"{file_size(path)} bytes, which end before frame {frame} is complete",
        wanted=f"{count} frames of {tuple(size)} {stored}",
        fix="the file is truncated: copy it again from the source",
    )
