"""Where OME-XML says that the planes of an image lie: which page of which file.

Read here and not by tifffile: it makes an object for each page of each file, 4 s for 100,000, and
fills planes of missing files with zeros.
"""

from __future__ import annotations

import math
from array import array as numbers_array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import AxisError, FrameCountError, ParameterError, SourceCorruptError
from smlm_dask.readers.beside import beside
from smlm_dask.readers.ifd import Chains

__all__ = ["EVERY_PAGE", "Planes", "choose", "ome_planes", "squeeze", "unequal_count"]

MOST_PLANES = 10_000_000  # a damaged number must not fill the memory
EVERY_PAGE = 'axes="tyx" takes every page of this file as a frame'


class Planes(NamedTuple):
    """The planes of one image in C order of its leading axes: number of the file, of the page."""

    axes: str
    shape: tuple[int, ...]
    files: tuple[str, ...]
    file: NDArray[np.int64]
    page: NDArray[np.int64]


def squeeze(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Leave out leading axes of length 1: nobody should have to choose from them."""
    kept = [at for at, size in enumerate(shape) if size != 1 or at >= len(shape) - 2]
    return "".join(axes[at] for at in kept), tuple(shape[at] for at in kept)


class _Reading:
    """What an XML parser calls at each element: no tree is built, since it takes twice the time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.uuid: str | None = None
        self.metadata_file: str | None = None
        self.images: list[_Image] = []
        self.name: str | None = None
        self.text: list[str] = []

    def start(self, tag: str, told: dict[str, str]) -> None:
        """Take what is needed of an element's attributes."""
        kind = tag.rpartition("}")[2]
        if kind == "TiffData":
            self.images[-1].add(told)
        elif kind == "UUID":
            self.name = told.get("FileName")
            self.text = []
        elif kind == "Pixels":
            self.images.append(_Image(self.path, told))
        elif kind == "OME":
            self.uuid = told.get("UUID")
        elif kind == "BinaryOnly":
            self.metadata_file = told.get("MetadataFile")

    def data(self, text: str) -> None:
        """Keep the text: that of a UUID is not in its attributes."""
        self.text.append(text)

    def end(self, tag: str) -> None:
        """Tell the last planes which file they lie in, unless it is this one, perhaps renamed."""
        if tag.endswith("UUID") and self.name is not None:
            text = "".join(self.text).strip()
            if text != self.uuid:
                self.images[-1].lies_in(self.name)

    def close(self) -> None:
        """Nothing to close."""


class _Image:
    """One image as its metadata tell of it.

    ``blocks`` holds four numbers for each run of planes in consecutive pages: first plane, number
    of the file, first page, how many (0 for every page of the file).
    """

    def __init__(self, path: str, told: dict[str, str]) -> None:
        self.axes = told["DimensionOrder"][::-1]
        self.shape = tuple(int(told[f"Size{letter}"]) for letter in self.axes)
        self.first = [f"First{letter}" for letter in self.axes[:3]]
        self.path = path
        self.names = {Path(path).name: 0}
        self.blocks = numbers_array("q")

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(beside(self.path, name) for name in self.names)

    def add(self, told: dict[str, str]) -> None:
        get = told.get
        slow, middle, fast = self.first
        plane = (int(get(slow, 0)) * self.shape[1] + int(get(middle, 0))) * self.shape[2]
        count = get("PlaneCount") or get("NumPlanes") or ("1" if "IFD" in told else "0")
        self.blocks.extend((plane + int(get(fast, 0)), 0, int(get("IFD", 0)), int(count)))

    def lies_in(self, name: str) -> None:
        self.blocks[-3] = self.names.setdefault(name, len(self.names))


def choose(path: str, array: str | None, count: int) -> int:
    """Give the number of the image that is wanted, of ``count`` in a file."""
    if array is None and count != 1:
        raise AxisError(
            path,
            got=f"{count} images",
            wanted=f"one image; {EVERY_PAGE}",
            fix='choose one with array="0"',
        )
    number = array or "0"
    if not number.isdecimal() or int(number) >= count:
        raise ParameterError(
            f"array of {path}",
            got=repr(array),
            wanted=f"the number of one of the file's images, 0 to {count - 1}",
            fix='e.g. array="0"' if count > 1 else "leave it out: the file holds one image",
        )
    return int(number)


def ome_planes(path: str, text: str, array: str | None, chains: Chains) -> Planes:
    """Find the planes of an OME-TIFF.

    Parameters
    ----------
    path : str
        The file that holds the metadata.
    text : str
        OME-XML.
    array : str, optional
        Number of the image.
    chains : Chains
        Pages of files.
    """
    told = _read(path, text)
    number = choose(path, array, len(told.images))
    planes = [_place(path, image, chains) for image in told.images]
    used = np.zeros(len(chains[path]), bool)
    for image in planes:
        own = image.page[image.file == 0]
        used[own[(own >= 0) & (own < used.size)]] = True
    if not used.all():
        raise unequal_count(path, used.size, [image.shape for image in planes])
    return _check(path, planes[number], chains)


def _read(path: str, text: str) -> _Reading:
    told = _Reading(path)
    parser = ET.XMLParser(target=told)
    try:
        parser.feed(text)
        parser.close()
    except ET.ParseError as error:
        raise SourceCorruptError(
            path,
            got=f"OME metadata that are no XML: {error}",
            wanted="OME-XML that tells where the planes lie",
            fix=f"write the file again; {EVERY_PAGE}",
        ) from error
    if told.metadata_file is not None:
        raise FrameCountError(
            path,
            got=f"a part of a movie; its metadata lie in {told.metadata_file}",
            wanted="the file with the metadata",
            fix=f"open that file; {EVERY_PAGE}",
        )
    return told


def _place(path: str, image: _Image, chains: Chains) -> Planes:
    """Write each block's pages at its planes; -1 where there is none."""
    total = math.prod(image.shape[:-2])
    if not 0 < total <= MOST_PLANES:
        raise unequal_count(path, len(chains[path]), [image.shape])
    file, page = np.zeros(total, np.int64), np.full(total, -1, np.int64)
    plane, number, first, count = np.array(image.blocks, np.int64).reshape(-1, 4).T
    files = image.files
    for block in np.flatnonzero(count == 0).tolist():
        name = files[number[block]]
        count[block] = len(chains[name]) - first[block] if Path(name).exists() else 0
    count = np.clip(count, 0, total)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    at = np.repeat(plane, count) + within
    inside = (at >= 0) & (at < total)
    file[at[inside]] = np.repeat(number, count)[inside]
    page[at[inside]] = (np.repeat(first, count) + within)[inside]
    return Planes(*squeeze(image.axes, image.shape), files, file, page)


def _check(path: str, image: Planes, chains: Chains) -> Planes:
    for number, name in enumerate(image.files):
        pages = image.page[image.file == number]
        if pages.size and not Path(name).exists():
            raise _missing_file(path, name)
        if pages.size and not 0 <= pages.min() <= pages.max() < len(chains[name]):
            raise unequal_count(path, len(chains[name]), [image.shape])
    return image


def _missing_file(path: str, name: str) -> FrameCountError:
    return FrameCountError(
        path,
        got=f"metadata of a movie that goes on in {name}, which is missing",
        wanted="all files of the set in one folder",
        fix=f"copy the missing file, or open each by itself: {EVERY_PAGE}",
    )


def unequal_count(path: str, count: int, shapes: Sequence[tuple[int, ...]]) -> FrameCountError:
    """Say that pages are missing or too many."""
    return FrameCountError(
        path,
        got=f"{count} pages in the file, while its metadata tell of {list(shapes)}",
        wanted="the same number (a file of the set is missing, or writing was interrupted)",
        fix=f"restore the missing part, or open each file by itself: {EVERY_PAGE}",
    )
