"""Frames that lie uncompressed in a file: .dax with .inf, .npy, Princeton .spe, and most TIFFs."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import ReaderError
from smlm_dask.readers.axes import page_numbers, plan_axes
from smlm_dask.readers.reader import Reader

__all__ = [
    "RawFrames",
    "open_dax",
    "open_npy",
    "open_spe",
    "pack",
    "raw_frames",
    "raw_stack",
    "unpack",
]

SPE_TYPES = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2", 5: "<f8", 6: "u1", 8: "<u4"}
SPE_HEADER = 4100


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
        with Path(self.path).open("rb", buffering=0) as file:
            for rows, start in zip(block, starts.tolist(), strict=True):
                file.seek(start + y.start * row)
                if file.readinto(rows) != rows.nbytes:
                    raise self._short(start)
        return np.ascontiguousarray(block[:, :: y.step, x], self.dtype)

    def _short(self, start: int) -> ReaderError:
        frame = int(np.flatnonzero(unpack(self.table) == start)[0])
        return ReaderError(
            self.path,
            got=f"the end of the file inside frame {frame}",
            wanted=f"{self.shape[0]} frames",
            fix="the file has changed since it was opened: copy it again and open it again",
        )


def raw_frames(
    path: str, size: tuple[int, int], stored: np.dtype[Any], starts: NDArray[np.int64]
) -> RawFrames:
    """Make a reader of frames of ``size`` rows and columns at the offsets ``starts``."""
    nbytes, end = math.prod(size) * stored.itemsize, file_size(path)
    cut = np.flatnonzero((starts < 0) | (starts > end - nbytes))
    if cut.size:
        raise ReaderError(
            path,
            got=f"{end} bytes, which end before frame {cut[0]} is complete",
            wanted=f"{starts.size} frames of {size} {stored}",
            fix="the file is truncated: copy it again from the source",
        )
    dtype = stored.newbyteorder("=")
    return RawFrames(path, (starts.size, *size), dtype, (1, 1, size[1]), stored, pack(starts))


def raw_stack(
    path: str, plan: Sequence[str | int], shape: Sequence[int], stored: np.dtype[Any], offset: int
) -> RawFrames:
    """Make a reader of one C-ordered array of ``shape`` that starts at ``offset``."""
    height, width = shape[-2:]
    numbers = page_numbers(path, tuple(plan), shape)
    starts = offset + numbers * (height * width * stored.itemsize)
    return raw_frames(path, (height, width), stored, starts)


def open_npy(path: str, axes: str | None, select: Mapping[str, int] | None) -> RawFrames:
    """Open a numpy ``.npy`` file, C order, axes frame, y, x unless told otherwise."""
    with Path(path).open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, fortran, stored = header(file)
        offset = file.tell()
    if fortran or stored.hasobject:
        raise ReaderError(
            path,
            got="Fortran order" if fortran else f"Python objects ({stored})",
            wanted="numbers in C order",
            fix="numpy.save(path, numpy.ascontiguousarray(movie))",
        )
    stored_axes = {2: "yx", 3: "tyx"}.get(len(shape), "?" * len(shape))
    return raw_stack(path, plan_axes(path, stored_axes, shape, axes, select), shape, stored, offset)


def open_spe(path: str, axes: str | None, select: Mapping[str, int] | None) -> RawFrames:
    """Open a Princeton Instruments ``.spe`` file, version 2 header."""
    header = np.fromfile(path, np.uint8, SPE_HEADER).tobytes()
    if len(header) < SPE_HEADER:
        raise _not_spe(path, f"{len(header)} bytes")
    width, height = (int(np.frombuffer(header, "<u2", 1, at)[0]) for at in (42, 656))
    frames = int(np.frombuffer(header, "<i4", 1, 1446)[0])
    code = int(np.frombuffer(header, "<i2", 1, 108)[0])
    if code not in SPE_TYPES or min(frames, height, width) < 1:
        raise _not_spe(path, f"type code {code} and shape {(frames, height, width)}")
    shape = (frames, height, width)
    plan = plan_axes(path, "tyx", shape, axes, select)
    return raw_stack(path, plan, shape, np.dtype(SPE_TYPES[code]), SPE_HEADER)


def _not_spe(path: str, got: str) -> ReaderError:
    return ReaderError(
        path,
        got=got,
        wanted=f"an SPE 2 header of {SPE_HEADER} bytes",
        fix="export the movie again as SPE 2.x or TIFF",
    )


def open_dax(path: str, axes: str | None, select: Mapping[str, int] | None) -> RawFrames:
    """Open a ``.dax`` file: 16-bit frames whose size is written in the ``.inf`` file beside it."""
    sidecar = Path(path).with_suffix(".inf")
    if not sidecar.exists():
        raise ReaderError(
            path,
            got="no .inf file",
            wanted=f"{sidecar}",
            fix="copy the .inf file beside the .dax file",
        )
    text = sidecar.read_text(errors="replace")
    size = re.search(r"frame dimensions\s*=\s*(\d+)\s*x\s*(\d+)", text)
    count = re.search(r"number of frames\s*=\s*(\d+)", text)
    shape = (int(count[1]), int(size[2]), int(size[1])) if size and count else (0, 0, 0)
    stored = np.dtype("<u2" if "little endian" in text else ">u2")
    if math.prod(shape) * stored.itemsize != file_size(path) or 0 in shape:
        raise ReaderError(
            path,
            got=f"{file_size(path)} bytes, while {sidecar.name} tells of {shape} {stored}",
            wanted="'frame dimensions' and 'number of frames' that fill the file",
            fix="copy both files again, or correct the .inf file",
        )
    return raw_stack(path, plan_axes(path, "tyx", shape, axes, select), shape, stored, 0)
