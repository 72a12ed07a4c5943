"""Folders of TIFF files, and paths with ``*``, ``?`` or ``[`` in their last part: one movie.

Files are put in the order of the number in their names. Opening reads the first file, and of the
others the size alone where that tells what is in them: 100,000 headers would be minutes on a network.
Every file is compared with the first when it is read.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import AxisError, FormatError, FrameCountError
from smlm_dask.readers.format import Format
from smlm_dask.readers.ifd import Pages, list_pages
from smlm_dask.readers.names import Names, Parts, frame_order, natural_order, pack_names, take_apart
from smlm_dask.readers.raw import RawFrames, pack, unpack
from smlm_dask.readers.reader import Joined, Reader, join
from smlm_dask.readers.tiff import TiffFormat, check_equal, every_page
from smlm_dask.readers.zarr import ZarrFormat

__all__ = ["FolderFormat", "FolderFrames"]

SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
INDEX, STACK = "NDTiff.index", "NDTiffStack"
TIFF = rf"(?![.])(?=.*(?i:{'|'.join(map(re.escape, SUFFIXES))})\Z)"
LEFT_OUT = "(?!.*(?i:thumb|preview))"  # small copies that some programs put beside a movie
LISTERS = 16  # files whose pages are listed at a time: nearly all of it is waiting

Known = tuple[tuple[int, int], ...]  # code and value of the tags that all pages share


class Listing(NamedTuple):
    """Files of a folder: names, the same taken apart, bytes and times of change."""

    folder: str
    names: list[str]
    parts: Parts | None
    nbytes: NDArray[np.int64]
    times: NDArray[np.int64]

    def take(self, order: NDArray[np.int64]) -> Listing:
        """Put the files in another order."""
        names = [self.names[at] for at in order.tolist()]
        parts = self.parts and Parts(
            self.parts.texts, self.parts.numbers[order], self.parts.lengths[order]
        )
        return Listing(self.folder, names, parts, self.nbytes[order], self.times[order])

    def path(self, number: int) -> str:
        """Give the path of a file."""
        return str(Path(self.folder, self.names[number]))

    def stamp(self) -> int:
        """Make one number of all names, sizes and times."""
        text = "\n".join(self.names).encode("utf-8", "surrogateescape")
        return zlib.crc32(self.times.tobytes(), zlib.crc32(self.nbytes.tobytes(), zlib.crc32(text)))


@dataclass(frozen=True)
class FolderFrames(Reader):
    """All pages of many files, whose names and numbers of pages are packed.

    Attributes
    ----------
    names : Names
        File names.
    pages : bytes
        Number of frames up to the end of each file.
    known : tuple
        Tags of the first page, which all pages must have.
    model : Reader
        Reader of the first file.
    layout : tuple of (int, bytes)
        If that is one uncompressed page: where it stands how the page lies. A file with the same bytes
        there lies alike.
    """

    names: Names
    pages: bytes
    known: Known
    model: Reader
    layout: tuple[tuple[int, bytes], ...]

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read from each file what lies in it."""
        ends = unpack(self.pages)
        wanted = np.arange(self.shape[0])[frames]
        files = np.searchsorted(ends, wanted, side="right")
        pieces = [np.empty((0, self.shape[1], self.shape[2]), self.dtype)[:, y, x]]
        for number in np.unique(files).tolist():
            first = int(ends[number - 1]) if number else 0
            inside = wanted[files == number] - first
            part = self._part(number, int(ends[number]) - first)
            span = slice(int(inside[0]), int(inside[-1]) + 1, frames.step)
            pieces.append(part.read(span, y, x))
        return np.concatenate(pieces)

    def _part(self, number: int, count: int) -> Reader:
        path = os.path.join(_split(self.path)[0], self.names.name(number))  # noqa: PTH118, 5 us less
        if self.layout and count == 1 and _lies_alike(path, self.layout):
            return replace(self.model, path=path)
        part = every_page(path, dict(self.known), self.model)
        if part.shape[0] != count:
            raise FrameCountError(
                path,
                got=f"{part.shape[0]} pages",
                wanted=f"{count}, as in the other files of its size",
                fix=f"open {self.path} again, or move files of another movie elsewhere",
            )
        return part


class FolderFormat(Format):
    """A folder of TIFF files, or a pattern of file names, as one movie."""

    description = "Open folders and patterns of TIFF files as one movie with smlm_dask"
    several = True

    def holds(self, path: str) -> bool:
        """Tell whether there are TIFF files in the folder; a pattern is one if no file is named so."""
        if Path(path).is_dir():
            named = re.compile(TIFF).match
            there = any(named(entry.name) for entry in Path(path).iterdir())
            return there and not ZarrFormat().holds(path)
        folder, pattern = _split(path)
        named_so = any(sign in pattern for sign in "*?[")
        return named_so and Path(folder).is_dir() and not Path(path).is_file()

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Reader:
        """Put the files in order, or find the set that one of them belongs to."""

        def read(name: str) -> Reader:
            return TiffFormat().reader(name, axes, select, array)

        found = _listing(path)
        found = found.take(natural_order(found.names, found.parts))
        stacks = [number for number, name in enumerate(found.names) if STACK in name]
        if stacks and Path(found.folder, INDEX).is_file():
            return read(found.path(stacks[0]))
        first = read(found.path(0))
        if isinstance(first, Joined):
            return _whole_set(path, first, found)
        if axes is None or len(axes) != 3:
            order = frame_order(path, found.names, found.parts)
            found, first = found.take(order), first if order[0] == 0 else read(found.path(order[0]))
        return first if len(found.names) == 1 else _sequence(path, first, found, read)


def _split(path: str) -> tuple[str, str]:
    """Folder and pattern of file names."""
    return (path, "*") if Path(path).is_dir() else (str(Path(path).parent), Path(path).name)


def _listing(path: str) -> Listing:
    """List the TIFF files; one look at each, which the folder mostly has at hand."""
    folder, pattern = _split(path)
    wanted = re.compile((LEFT_OUT if pattern == "*" else "") + TIFF + translate(pattern)).match
    names, states = [], []
    with os.scandir(folder) as entries:
        for entry in filter(lambda entry: wanted(entry.name), entries):
            if entry.is_symlink():
                _check_inside(folder, entry)
            if entry.is_file():
                status = entry.stat()
                names.append(entry.name)
                states.append((status.st_size, status.st_mtime_ns))
    if not names:
        raise FormatError(
            path,
            got=f"no TIFF file among those in {folder}",
            wanted=f"files with names that end in {', '.join(SUFFIXES)}",
            fix="check the path and the pattern",
        )
    nbytes, times = np.array(states, np.int64).T.copy()
    return Listing(folder, names, take_apart(names), nbytes, times)


def _check_inside(folder: str, entry: os.DirEntry[str]) -> None:
    if Path(folder).resolve() not in Path(entry.path).resolve().parents:
        raise FormatError(
            entry.path,
            got="a link that leads out of the folder",
            wanted="files in the folder itself",
            fix="open the folder the link leads to, or name the files with a pattern that leaves it out",
        )


def _whole_set(path: str, first: Joined, found: Listing) -> Reader:
    """Take a set of files that know each other if nothing else lies beside them."""
    others = set(found.names) - {Path(part.path).name for part in first.parts}
    if others:
        raise AxisError(
            path,
            got=f"{len(others)} files, such as {min(others)}, beside the set of {first.path}",
            wanted="one movie in the folder",
            fix="open the set by its first file",
        )
    return first


# ------------------------------------------------------------------ one file after another


def _sequence(path: str, first: Reader, found: Listing, read: Callable[[str], Reader]) -> Reader:
    pages = list_pages(first.path)
    if len(pages) != first.shape[0]:  # frames of one channel, or all behind a single page
        with ThreadPoolExecutor(LISTERS) as pool:
            return join((first, *pool.map(read, map(found.path, range(1, len(found.names))))))
    known = tuple(pages.tags(0).items())
    counts = _counts(first, pages, known, found)
    alone = isinstance(first, RawFrames) and pages.data.tolist() == _starts(first)
    return FolderFrames(
        path,
        (int(counts.sum()), *first.shape[1:]),
        first.dtype,
        first.chunk,
        pack_names(found.names, found.parts),
        pack(np.cumsum(counts)),
        known,
        first,
        _layout(first.path, pages) if alone else (),
        metadata=first.metadata,
        stamp=found.stamp(),
    )


def _starts(model: RawFrames) -> list[int]:
    return unpack(model.table)[:2].tolist()  # two are no single page


def _counts(first: Reader, pages: Pages, known: Known, found: Listing) -> NDArray[np.int64]:
    """Count the pages of each file: those of the first where the size speaks for it.

    One page is believed of files of any size if it is compressed, and below two pages if it is not.
    """
    sizes = found.nbytes
    frame = int(np.prod(first.shape[1:])) * first.dtype.itemsize
    raw, one = isinstance(first, RawFrames), len(pages) == 1
    alike = sizes == sizes[0]
    if one:
        alike |= (sizes > frame) & (sizes < 2 * frame) if raw else sizes > 0
    counts = np.full(sizes.size, len(pages), np.int64)
    if not (one or raw):
        alike[1:] = False
    other = np.flatnonzero(~alike).tolist()

    def count(number: int) -> int:
        listed = list_pages(found.path(number))
        check_equal(found.path(number), listed, dict(known))
        return len(listed)

    with ThreadPoolExecutor(LISTERS) as pool:
        counts[other] = list(pool.map(count, other))
    return counts


def _layout(path: str, pages: Pages) -> tuple[tuple[int, bytes], ...]:
    """Bytes that say how the only page of a file lies: where the directory is, and its entries."""
    start = int(pages.offset[0])
    order: Literal["little", "big"] = "little" if pages.byteorder == "<" else "big"
    with Path(path).open("rb", buffering=0) as file:
        head = file.read(16)
        word, entry, link = (8, 20, 8) if int.from_bytes(head[2:4], order) == 43 else (2, 12, 4)
        file.seek(start)
        entries = int.from_bytes(file.read(word), order)
        file.seek(start)
        return (0, head[: 2 * link]), (start, file.read(word + entries * entry + link))


def _lies_alike(path: str, layout: tuple[tuple[int, bytes], ...]) -> bool:
    with Path(path).open("rb", buffering=0) as file:
        for start, expected in layout:
            file.seek(start)
            if file.read(len(expected)) != expected:
                return False
    return True
