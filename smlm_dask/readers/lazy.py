"""A reader as xarray asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from smlm_dask.errors import SmlmError, SourceCorruptError
from smlm_dask.readers.reader import Reader

__all__ = ["MovieArray", "unreadable"]


class MovieArray(BackendArray):
    """A reader as xarray asks for it: integers, slices and lists become boxes."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.shape = reader.shape
        self.dtype = reader.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._take
            )
        # The adapter would fail on an empty slice that runs backwards.
        return self._take(key.tuple)

    def _take(self, key: tuple[Any, ...]) -> NDArray[Any]:
        (frames, at), (y, rows), (x, columns) = (
            _cover(part, size) for part, size in zip(key, self.shape, strict=True)
        )
        block = (
            self._scattered(key[0], y, x)
            if isinstance(at, np.ndarray)
            else self._read(frames, y, x)[at]
        )
        axes = (slice(None),) * (block.ndim - 2)
        block = block[(*axes, rows)]
        return block[(..., columns)]

    def _scattered(self, frames: NDArray[np.int64], y: slice, x: slice) -> NDArray[Any]:
        """Frames of a list: far ones are read apart, never all that lie between."""
        wanted, back = np.unique(frames % self.shape[0], return_inverse=True)
        gaps = np.flatnonzero(np.diff(wanted) > self.reader.chunk[0]) + 1
        runs = [run for run in np.split(wanted, gaps) if run.size]
        boxes = [self._read(slice(int(r[0]), int(r[-1]) + 1, 1), y, x)[r - r[0]] for r in runs]
        return np.concatenate(boxes or [self._read(slice(0, 0, 1), y, x)])[back]

    def _read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        box = tuple(len(range(n)[k]) for n, k in zip(self.shape, (frames, y, x), strict=True))
        try:
            block = self.reader.read(frames, y, x)
            if block.shape != box:  # frames that are not what the head of the file says
                raise ValueError(
                    f"{block.shape} samples instead of {box} from frame {frames.start}"
                )
        except SmlmError:
            raise
        except Exception as error:  # as in open_reader
            raise unreadable(self.reader.path, error) from error
        return block


def _cover(key: Any, size: int) -> tuple[slice, Any]:
    """Give a forward slice that holds all of ``key``, and what to take from it."""
    if isinstance(key, slice):
        span = range(*key.indices(size))
        forward = span if span.step > 0 else span[::-1]
        turn = slice(None) if span.step > 0 else slice(None, None, -1)
        stop = forward[-1] + 1 if forward else forward.start
        return slice(forward.start, stop, forward.step), turn
    index = np.asarray(key) % max(1, size)
    if index.size == 0:
        return slice(0, 0, 1), index
    low = int(index.min())
    return slice(low, int(index.max()) + 1, 1), index - low if index.ndim else int(index) - low


def unreadable(path: str, error: Exception) -> SourceCorruptError:
    """A damaged file makes its library raise anything at all: one error for all of it."""
    return SourceCorruptError(
        path,
        got=f"{type(error).__name__}: {str(error)[:300]}",
        wanted="a complete, undamaged file",
        fix="copy the file again from its source, or open it with the program that wrote it",
    )
