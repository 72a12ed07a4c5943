"""An array in a zarr store: which of its chunks are there, whole, and how they get there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from smlm_dask import _graph
from smlm_dask.errors import SourceCorruptError, StoreError
from smlm_dask.readers.chunk_files import CheckedArray

__all__ = ["Index", "StoredArray", "box_of", "compressors", "flush", "unwritten"]

Index = tuple[int, ...]


def compressors(cname: Literal["lz4", "zstd"], level: int) -> list[Any]:
    """Codecs of a chunk: bits are shuffled, and a checksum of 4 bytes tells a flipped one."""
    return [BloscCodec(cname=cname, clevel=level, shuffle="bitshuffle"), Crc32cCodec()]


def flush(path: Path) -> None:
    """On the disk, not only on its way there: a name must not outlive the content after a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def box_of(array: zarr.Array[Any], index: Index) -> tuple[slice, ...]:
    """Where the file of this number lies in its array."""
    grid = zip(index, array.shards or array.chunks, array.shape, strict=True)
    return tuple(slice(i * n, min((i + 1) * n, end), 1) for i, n, end in grid)


def unwritten(path: Path, nbytes: int, error: OSError) -> StoreError:
    """A disk that is full, or does not let itself be written to."""
    return StoreError(
        str(path),
        got=f"{type(error).__name__}: {error}",
        wanted=f"space for {nbytes} bytes at most, in a folder that can be written to",
        fix="mend it and call again: it goes on with what is missing",
    )


@dataclass(frozen=True)
class StoredArray:
    """An array and the folder of its store, as every worker sees it.

    What a task writes is whole or not there: zarr writes under another name first.
    """

    root: Path
    name: str
    array: zarr.Array[Any]

    @property
    def places(self) -> list[Index]:
        """Numbers of all files: of shards, where there are any."""
        size = self.array.shards or self.array.chunks
        counts = (-(-n // s) for n, s in zip(self.array.shape, size, strict=True))
        return list(np.ndindex(*counts))

    def file(self, index: Index) -> Path:
        """The file of a shard or chunk."""
        return self.root / self.name / self.array.metadata.encode_chunk_key(index)

    def is_there(self, index: Index) -> bool:
        """Whether the file is there and not empty: either would read as the fill value."""
        try:
            return self.file(index).stat().st_size > 0
        except OSError:
            return False

    def missing(self) -> list[Index]:
        """Chunks whose files are not there."""
        return [index for index in self.places if not self.is_there(index)]

    def fault(self, index: Index) -> str | None:
        """Why a chunk cannot be read, or None."""
        if not self.is_there(index):
            return "missing"
        try:
            CheckedArray(str(self.root), self.name, self.array)[box_of(self.array, index)]
        except SourceCorruptError as error:
            return error.got
        return None

    def box(self, index: Index, block: NDArray[Any]) -> tuple[slice, ...]:
        """Where a block lies; a ``StoreError`` if it is not what the graph said."""
        box = box_of(self.array, index)
        shape = tuple(part.stop - part.start for part in box)
        if block.shape != shape or not np.can_cast(block.dtype, self.array.dtype, "same_kind"):
            raise StoreError(
                f"chunk {index} of {self.name}",
                got=f"{block.dtype} of shape {block.shape}",
                wanted=f"{self.array.dtype} of shape {shape}, as the array said before it was computed",
                fix="tell dask the true shape and dtype, e.g. map_blocks(..., chunks=, dtype=)",
            )
        return box

    def job(self, data: _graph.Array) -> _graph.Job:
        """What is still to be written of ``data``."""
        return _graph.Job(f"store-{self.name.replace('/', '-')}", self, data, self.missing())

    def __call__(self, index: Index, block: NDArray[Any]) -> None:
        """Write a chunk."""
        try:
            self.array[self.box(index, block)] = block
            flush(self.file(index))
        except OSError as error:
            raise unwritten(self.file(index), block.nbytes, error) from error
