"""How a movie is stored: sharded zarr with checksums, each shard read back before it gets its name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray

from smlm_dask import _graph, folder
from smlm_dask.errors import StoreError
from smlm_dask.readers.chunks import default_chunks
from smlm_dask.readers.labels import DIMS
from smlm_dask.readers.named import MOVIE
from smlm_dask.stored import box_of, compressors, flush, unwritten

__all__ = ["Layout", "copy", "lay_out"]

UNVERIFIED = "unverified"  # array of the shards that were not read back
# A chunk inside a shard: columns of pixels and slabs of frames are both read without much waste.
INNER_FRAMES, INNER_PIXELS = 100, 128
LEVEL = 5  # of lz4, on shuffled bits: of the codecs as fast it leaves the least
SAMPLED, MARGIN = 3, 1.1  # frames that tell how large the movie will be, and the room beyond that


@dataclass(frozen=True)
class Layout:
    """Lengths along frame, y and x of a shard, which is one file, and of the chunks in it."""

    shard: tuple[int, ...]
    inner: tuple[int, ...]

    @property
    def chunks(self) -> dict[str, int]:
        """A shard by dimension."""
        return dict(zip(DIMS, self.shard, strict=True))

    @property
    def encoding(self) -> dict[str, Any]:
        """What xarray is to make of it."""
        codecs = compressors("lz4", LEVEL)
        return {"chunks": self.inner, "shards": self.shard, "compressors": codecs}


def lay_out(movie: xr.DataArray) -> Layout:
    """Shards are the chunks that a movie opens in: what is read at once lies in one file."""
    frames, height, width = movie.shape
    length, rows, _ = (max(sizes) for sizes in _graph.movie_data(movie).chunks)
    fits = length * rows * width * movie.dtype.itemsize <= _graph.chunk_bytes()
    stored = length if fits else 1, rows, width
    cut = default_chunks((frames, height, width), movie.dtype, stored)
    pairs = (
        _divided(cut[0], INNER_FRAMES, grow=True),
        # A tile must not grow beyond the budget; an axis that is whole has nothing to grow into.
        _divided(cut[1], INNER_PIXELS, grow=cut[1] >= height),
        _divided(cut[2], INNER_PIXELS, grow=True),
    )
    return Layout(*zip(*pairs, strict=True))


def _divided(length: int, most: int, *, grow: bool) -> tuple[int, int]:
    """About ``length`` in even pieces, and one of them."""
    pieces = -(-length // most)
    piece = -(-length // pieces) if grow else length // pieces
    return pieces * piece, piece


def copy(movie: xr.DataArray, layout: Layout, part: Path) -> None:
    """Write the shards of ``part`` that have no name yet, each in a task of its own."""
    unverified = part / UNVERIFIED
    shutil.rmtree(unverified, ignore_errors=True)
    unverified.mkdir()
    shutil.copy(part / MOVIE / "zarr.json", unverified)
    data = movie.variable.chunk(layout.chunks).data
    with zarr.config.set({"array.write_empty_chunks": True}):
        target = Target(part, zarr.open_array(unverified, mode="r+"))
    missing = [i for i in np.ndindex(*data.numblocks) if not target.file(MOVIE, i).exists()]
    _check_space(movie, part, len(missing) / data.npartitions)
    _graph.write(_graph.Job("ingest", target, data, missing))
    shutil.rmtree(unverified)


def _check_space(movie: xr.DataArray, part: Path, share: float) -> None:
    """The first, the middle and the last frame tell how many bytes there will be."""
    codec = Blosc("lz4", LEVEL, Blosc.BITSHUFFLE)
    places = np.linspace(0, len(movie) - 1, SAMPLED if share else 0).astype(int).tolist()
    sizes = [len(codec.encode(np.ascontiguousarray(movie[i]))) for i in places]
    wanted = int(MARGIN * share * len(movie) * max(sizes, default=0))
    folder.check_space(part, wanted)


@dataclass(frozen=True)
class Target:
    """Where shards are written, by whatever worker sees the folder.

    Every chunk is written, zeros too: a missing chunk would read as fill and look like data. The array
    takes this from the configuration when it is opened, and carries it to the workers.
    """

    part: Path
    array: zarr.Array[Any]

    def file(self, name: str, index: tuple[int, ...]) -> Path:
        """The file of a shard."""
        return self.part / name / self.array.metadata.encode_chunk_key(index)

    def __call__(self, index: tuple[int, ...], block: NDArray[Any]) -> None:
        """Write a shard, read it back, and give it its name if it is the same."""
        unnamed, named = self.file(UNVERIFIED, index), self.file(MOVIE, index)
        try:
            box = box_of(self.array, index)
            self.array[box] = block
            flush(unnamed)
            self._check(box, block, named)
            named.parent.mkdir(parents=True, exist_ok=True)
            unnamed.replace(named)
        except OSError as error:
            raise unwritten(named, block.nbytes, error) from error

    def _check(self, box: tuple[slice, ...], block: NDArray[Any], named: Path) -> None:
        """Read a few frames after the others: a second copy of the shard would double the memory."""
        step = self.array.chunks[0]
        for first in range(0, len(block), step):
            frames, at = block[first : first + step], box[0].start + first
            try:
                back = self.array[(slice(at, at + len(frames)), *box[1:])]
                same = np.array_equal(_bits(np.asarray(back)), _bits(frames))
            except (RuntimeError, TypeError, ValueError):  # a checksum or a codec refuses it
                same = False
            if not same:
                raise StoreError(
                    f"{named}, frames from {at}",
                    got="other samples than were written",
                    wanted="the same, bit for bit",
                    fix="check the disk, its connection and the memory; then call again",
                )


def _bits(samples: NDArray[Any]) -> NDArray[Any]:
    """The samples as whole numbers: NaN equals NaN, and -0 not 0."""
    return samples.view(f"u{samples.dtype.itemsize}")
