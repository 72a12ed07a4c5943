"""The files in which a zarr array keeps its chunks: which are there, which are damaged.

zarr gives the fill value for a chunk that is not there, so that an array whose writing was interrupted
reads as black frames. The files are looked for before anything is read, and a false shape ends at
the first that is missing. In a shard only chunks whose first sample is the fill value are looked for: those
of a camera with an offset never are.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISLNK
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ShardingCodec

from smlm_dask.errors import SourceCorruptError
from smlm_dask.readers.beside import within

__all__ = ["CheckedArray", "check_links"]

Key = tuple[slice | int, ...]
Place = tuple[int, ...]  # of a chunk in the grid of chunks
NOWHERE = 2**64 - 1  # offset, in the index of a shard, of a chunk that is not there


def check_links(path: str, *names: str) -> None:
    """Refuse files or folders of a store that are links out of it; what is not there is no link."""
    home = Path(path).resolve()
    for name in names:
        parts = Path(name).parts
        places = [Path(path, *parts[: n + 1]) for n in range(len(parts))]
        if any(place.is_symlink() and not within(place, home) for place in places):
            raise SourceCorruptError(
                path,
                got=f"{name}, a link out of the store",
                wanted="all files of a store inside its folder",
                fix="copy the store with what its links lead to: cp -rL",
            )


def _chunks_of(key: slice | int, size: int, chunk: int) -> tuple[NDArray[np.int64], Any]:
    """Numbers of the chunks along an axis, and where in the box each begins."""
    if not isinstance(key, slice):
        return np.array([key // chunk]), np.zeros(1, int)
    return np.unique(np.arange(size)[key] // chunk, return_index=True)


def _equal(samples: NDArray[Any], fill: Any) -> NDArray[np.bool_]:
    empty = np.asarray(0 if fill is None else fill)
    real = samples.dtype.kind == "f" and np.isnan(empty)
    return np.isnan(samples) if real else np.asarray(samples == empty)


class CheckedArray:
    """An array of which every chunk that is read must be there, whole, and inside the store.

    Parameters
    ----------
    path, name : str
        Folder of the store, and of the array in it.
    array : zarr.Array
        The array.
    """

    def __init__(self, path: str, name: str, array: zarr.Array[Any]) -> None:
        self.path, self.name, self.array = path, name, array
        self.in_shard = [
            s // c for s, c in zip(array.shards or array.chunks, array.chunks, strict=True)
        ]
        self.indices: dict[str, NDArray[np.uint64]] = {}

    def __getitem__(self, key: Key) -> NDArray[Any]:
        """Read a box; bounds are inside the array, steps positive."""
        array = self.array
        chunks = [
            _chunks_of(k, n, c) for k, n, c in zip(key, array.shape, array.chunks, strict=True)
        ]
        self.check_files(itertools.product(*(n.tolist() for n, _ in chunks)))
        try:
            block = np.asarray(array[key])
        except Exception:
            self.find_damage(itertools.product(*(n.tolist() for n, _ in chunks)))
            raise
        firsts = [at for k, (_, at) in zip(key, chunks, strict=True) if isinstance(k, slice)]
        first = np.asarray(block[np.ix_(*firsts)]).reshape([len(n) for n, _ in chunks])
        for at in np.argwhere(_equal(first, array.fill_value)).tolist():
            self.check_stored(tuple(int(n[i]) for (n, _), i in zip(chunks, at, strict=True)))
        return block

    def file_of(self, place: Place) -> str:
        """Name of the file of a chunk, in the store."""
        shard = tuple(n // c for n, c in zip(place, self.in_shard, strict=True))
        key = self.array.metadata.encode_chunk_key(shard)
        return f"{self.name}/{key}".lstrip("/")

    def check_files(self, places: Iterator[Place]) -> None:
        """Refuse chunks whose files are missing, of no bytes, or links out of the store."""
        seen: set[str] = set()
        for place in places:
            name = self.file_of(place)
            if name in seen:
                continue
            parts = {name[:at] for at in _ends(name)} - seen  # folders are shared by files
            seen |= parts
            try:
                # Through pathlib it would take five times as long.
                kinds = {part: os.lstat(f"{self.path}/{part}") for part in parts}
            except OSError:
                raise self._missing(place, name) from None
            links = [part for part, kind in kinds.items() if S_ISLNK(kind.st_mode)]
            if links:
                check_links(self.path, *links)
            if not kinds[name].st_size:
                raise self._missing(place, name)

    def check_stored(self, place: Place) -> None:
        """Refuse a chunk that is not in its shard."""
        name = self.file_of(place)
        if name not in self.indices:
            self.indices[name] = self._index(Path(self.path, name))
        at = tuple(n % c for n, c in zip(place, self.in_shard, strict=True))
        if self.indices[name][at] == NOWHERE:
            raise self._missing(place, name)

    def _missing(self, place: Place, name: str) -> SourceCorruptError:
        return SourceCorruptError(
            self.path,
            got=f"no chunk {place} in {name}: it is missing, and would read as "
            f"{self.array.fill_value}",
            wanted="every chunk of the movie in the store",
            fix="write or copy the store again (zarr leaves out chunks that are all fill value, "
            "unless config={'write_empty_chunks': True}); if these are meant, "
            "as_movie(xarray.open_zarr(...)...) or as_movie(zarr.open_array(...)) takes them",
        )

    def _index(self, file: Path) -> NDArray[np.uint64]:
        """Give where in a file its chunks begin."""
        codec = getattr(self.array.metadata, "codecs", (None,))[0]
        plain = [type(c).__name__ for c in getattr(codec, "index_codecs", ())]
        if not isinstance(codec, ShardingCodec) or plain != ["BytesCodec", "Crc32cCodec"]:
            return np.zeros(self.in_shard, np.uint64)  # no index, or one that zarr alone can read
        size = 16 * math.prod(self.in_shard)
        with file.open("rb") as shard:
            at_end = codec.index_location.value == "end"
            shard.seek(-(size + 4) if at_end else 0, 2 if at_end else 0)
            table = np.frombuffer(shard.read(size), "<u8")
        return table.reshape(*self.in_shard, 2)[..., 0]

    def find_damage(self, places: Iterator[Place]) -> None:
        """Name the first chunk that cannot be read by itself."""
        for place in places:
            try:
                self.array[self._box(place)]
            except Exception as error:
                told = f"{type(error).__name__}: {str(error)[:300]}"
                raise SourceCorruptError(
                    self.path,
                    got=f"chunk {place} in {self.file_of(place)} that cannot be decoded: {told}",
                    wanted="complete, undamaged chunks",
                    fix="copy the store again from its source, or leave these frames out",
                ) from error

    def _box(self, place: Sequence[int]) -> tuple[slice, ...]:
        return tuple(
            slice(n * c, (n + 1) * c) for n, c in zip(place, self.array.chunks, strict=True)
        )


def _ends(name: str) -> list[int]:
    """Where the names of a file and of the folders above it end."""
    return [at for at, letter in enumerate(name) if letter == "/"] + [len(name)]
