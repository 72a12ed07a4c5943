"""TIFF movies: OME, ImageJ, Micro-Manager, shaped and plain, in one file or several, of any size.

The pages are listed in `ifd` and OME-XML is read in `ome`, both many times faster than by tifffile
and without filling in what is missing; every page of a movie is compared with its first. tifffile
reads other metadata and decodes compressed pages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

from smlm_dask.errors import (
    AxisError,
    FormatError,
    FrameCountError,
    FrameShapeError,
    SourceCorruptError,
)
from smlm_dask.readers.axes import page_numbers, plan_axes
from smlm_dask.readers.beside import beside
from smlm_dask.readers.format import Format
from smlm_dask.readers.ifd import (
    BITS,
    COMPRESSION,
    FILL_ORDER,
    LENGTH,
    PREDICTOR,
    WIDTH,
    Chains,
    Pages,
    list_pages,
    next_directory,
)
from smlm_dask.readers.ome import EVERY_PAGE, Planes, choose, ome_planes, squeeze, unequal_count
from smlm_dask.readers.raw import file_size, pack, raw_frames, raw_stack, unpack
from smlm_dask.readers.reader import Reader, join
from smlm_dask.readers.settings import tiff_settings

__all__ = ["TiffFormat", "TiffFrames", "check_equal", "every_page"]

METADATA = (
    "imagej", "ome", "mmstack", "ndtiff", "lsm", "stk", "fluoview", "scanimage", "shaped"
)  # fmt: skip
CLASSIC_END = 2**32  # offsets in a classic TIFF have 32 bits


@dataclass(frozen=True)
class TiffFrames(Reader):
    """Pages that need decoding. Each read opens the file: threads sharing a TiffFile race."""

    table: bytes

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Decode the pages and keep ``y`` and ``x`` of each."""
        numbers = range(self.shape[0])[frames]
        offsets = unpack(self.table)[frames].tolist()
        shape = (len(range(self.shape[1])[y]), len(range(self.shape[2])[x]))
        block = np.empty((len(offsets), *shape), self.dtype)
        with TiffFile(self.path) as tif:
            for out, number, offset in zip(block, numbers, offsets, strict=True):
                out[...] = self._page(tif, number, offset)[y, x]
        return block

    def _page(self, tif: TiffFile, number: int, offset: int) -> NDArray[Any]:
        try:
            tif.filehandle.seek(offset)
            page = TiffPage(tif, number)
            # tifffile fills with zeros what a page does not hold.
            pieces = math.prod(page.chunked)
            held = list(zip(page.dataoffsets, page.databytecounts, strict=False))[:pieces]
            if len(held) < pieces or not all(offset and size for offset, size in held):
                raise ValueError(f"not all of its {pieces} strips or tiles are there")
            samples = page.asarray(maxworkers=1)
        except Exception as error:
            raise _undecodable(self.path, number, error) from error
        if (samples.shape, samples.dtype) != (self.shape[1:], self.dtype):
            raise _unequal(self.path, number, f"{samples.shape} {samples.dtype}")
        return samples


class TiffFormat(Format):
    """TIFF in its dialects; ``array`` is the number of the image where there are several."""

    description = "Open TIFF movies of any size and dialect with smlm_dask"
    suffixes = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm")
    several = True

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Reader:
        """Find the pages of the movie and how they lie."""
        return _open(path, axes, select, array)


def _open(
    path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
) -> Reader:
    chains = Chains()
    with TiffFile(path) as tif:
        size = _frame(path, tif.pages.first)
        planes = _planes(path, tif, size, axes, array, chains)
        plan = plan_axes(path, planes.axes, planes.shape, axes, select)
        told = tiff_settings(tif, int(array or 0))
        told = told.of_channel((axes or planes.axes).lower(), plan, planes.shape)
        if isinstance(planes, TiffPageSeries):
            _frame(path, planes.keyframe)
            stored = np.dtype(planes.keyframe.dtype).newbyteorder(tif.byteorder)
            _check_rest(path, tif, planes)
            return raw_stack(path, plan, planes.shape, stored, int(planes.dataoffset or 0), told)
    numbers = page_numbers(path, plan, planes.shape)
    reader = _scattered(planes, planes.file[numbers], planes.page[numbers], chains)
    return replace(reader, metadata=told)


def _scattered(
    planes: Planes, file: NDArray[np.int64], page: NDArray[np.int64], chains: Chains
) -> Reader:
    """Make a reader of pages, one part for each run of pages of one file."""
    with TiffFile(planes.files[file[0]]) as tif:
        tif.filehandle.seek(int(chains[planes.files[file[0]]].offset[page[0]]))
        first = TiffPage(tif, int(page[0]))
    parts: list[Reader] = []
    cuts = [0, *(np.flatnonzero(np.diff(file)) + 1).tolist(), file.size]
    known = chains[planes.files[file[0]]].tags(int(page[0]))
    for start, stop in pairwise(cuts):
        name = planes.files[file[start]]
        pages = chains[name].take(page[start:stop])
        check_equal(name, pages, known, planes.shape[-2:])
        parts.append(_reader(name, pages, first))
    return join(tuple(parts))


def _planes(
    path: str,
    tif: TiffFile,
    size: tuple[int, int],
    axes: str | None,
    array: str | None,
    chains: Chains,
) -> Planes | TiffPageSeries:
    """Find the planes of the image; a series of tifffile where they lie in one piece."""
    if _every_page(tif, axes):
        if axes is None:
            _check_index(path, tif)
            _check_end(path, tif, chains[path])
        choose(path, array, 1)
        return _in_order(path, "tyx", (len(chains[path]), *size))
    text = tif.ome_metadata if tif.is_ome and not tif.is_mmstack else None
    # Modulo splits an axis in two, e.g. time into time and lifetime; tifffile knows how.
    if text is not None and "dimension/modulo" not in text:
        return ome_planes(path, text, array, chains)
    told = _told(tif)
    if told is not None and math.prod(told[1]) == len(chains[path]) * math.prod(size):
        choose(path, array, 1)
        return _in_order(path, *told)
    series = _series(path, tif, array, chains)
    if axes is None and series.kind in ("uniform", "generic"):
        _check_index(path, tif)
        if tif.is_imagej or tif.is_shaped:  # tifffile does not believe what they say
            raise unequal_count(path, len(chains[path]), [told[1]] if told else [])
    return _from_series(path, series, chains)


def _check_index(path: str, tif: TiffFile) -> None:
    """Refuse pages of Micro-Manager whose index is lost, if channels or planes may be among them."""
    known = tif.micromanager_metadata or {}
    summary = known.get("Summary", {})
    lengths = [int(summary.get(name, 1)) for name in ("Channels", "Slices", "Positions")]
    if known.get("MajorVersion", 0) >= 2 or math.prod(lengths) > 1:
        raise AxisError(
            path,
            got="frames of Micro-Manager without their index",
            wanted="the file NDTiff.index beside it, or the index map at the end of a stack",
            fix=f"copy the whole folder again; {EVERY_PAGE}",
        )


def _check_end(path: str, tif: TiffFile, pages: Pages) -> None:
    """Refuse a chain of pages that ends before the file does: nothing else tells their number."""
    lost = None if 330 in tif.pages.first.tags else next_directory(path, pages)
    if lost is not None:
        raise FrameCountError(
            path,
            got=f"{len(pages)} pages, and behind them at byte {lost} another that none points to",
            wanted="an unbroken chain of pages",
            fix=f"copy or write the file again; {EVERY_PAGE} in the chain",
        )


def _in_order(path: str, axes: str, shape: tuple[int, ...]) -> Planes:
    pages = np.arange(math.prod(shape[:-2]))
    return Planes(axes, shape, (path,), np.zeros_like(pages), pages)


def _every_page(tif: TiffFile, axes: str | None) -> bool:
    """Whether each page of the file is a frame, whatever metadata say."""
    if tif.pages.is_multipage and axes is not None and len(axes) == 3:
        return True
    if not any(getattr(tif, f"is_{kind}") for kind in METADATA):
        return True
    page = tif.pages.first
    if not tif.is_shaped or tif.is_ome or not tif.pages.is_multipage:
        return False
    # A page written by itself describes itself; tifffile calls each such page a series.
    return bool(math.prod(_shaped(page).get("shape", (0,))) == math.prod(page.shape))


def _shaped(page: TiffPage) -> dict[str, Any]:
    text = str(page.shaped_description)
    return json.loads(text) if text.startswith("{") else {}


def _told(tif: TiffFile) -> tuple[str, tuple[int, ...]] | None:
    """Axes and shape from the first page alone, where nothing but their order places the pages."""
    size = tif.pages.first.shape
    if tif.is_shaped:
        claim = _shaped(tif.pages.first)
        axes, shape = claim.get("axes", ""), tuple(claim.get("shape", ()))
        plain = len(axes) == len(shape) and shape[-2:] == size
        return (axes, shape) if plain and not claim.get("truncated") else None
    known = tif.imagej_metadata if tif.is_imagej and not tif.is_mmstack else None
    if known is None or known.get("order", "czt") not in ("czt", "default"):
        return None
    shape = tuple(int(known.get(name, 1)) for name in ("frames", "slices", "channels"))
    if math.prod(shape) == 1:
        return "iyx", (int(known.get("images", 1)), *size)
    return squeeze("tzcyx", (*shape, *size))


def _series(path: str, tif: TiffFile, array: str | None, chains: Chains) -> TiffPageSeries:
    for name in _ndtiff_names(path) if tif.is_ndtiff else ():
        beside(path, name)  # before tifffile opens them
    count, series = len(chains[path]), tif.series
    # A series in one piece has all its pages, and looking at each would take seconds.
    scattered = [page for one in series if one.dataoffset is None for page in one.pages]
    missing = any(page is None for page in scattered)
    told = sum(len(one) for one in series if one.dataoffset is not None)
    told += sum(page is not None and page.parent is tif for page in scattered)
    number = choose(path, array, len(series))
    held = [
        one.dataoffset is not None or one.size == len(one) * one.keyframe.size for one in series
    ]
    if missing or 1 < count != told or not all(held):
        raise unequal_count(path, count, [one.shape for one in series])
    return series[number]


def _ndtiff_names(path: str) -> set[str]:
    """Names of the files in NDTiff.index: length and axes, length and name, 8 numbers each."""
    index, at, names = Path(path).with_name("NDTiff.index"), 0, set()
    data = index.read_bytes() if index.exists() else b""
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
        size = int.from_bytes(data[at : at + 4], "little")
        names.add(data[at + 4 : at + 4 + size].decode(errors="replace"))
        at += 4 + size + 32
    return names


def _from_series(path: str, series: TiffPageSeries, chains: Chains) -> Planes | TiffPageSeries:
    if series.dataoffset is not None:
        if series.kind == "ome":
            check_equal(path, chains[path], chains[path].tags(0))
        return series
    if series.kind == "scanimage":  # tifffile makes up the places of pages above 2 GB
        return _in_order(path, series.axes, series.shape)
    pages = [page for page in series.pages if page is not None]
    names = {page.parent: str(page.parent.filehandle.path) for page in pages}
    files = tuple(dict.fromkeys(names.values()))
    number_of = {parent: files.index(name) for parent, name in names.items()}
    file = np.array([number_of[page.parent] for page in pages])
    page = np.empty_like(file)
    for number, name in enumerate(files):
        here = np.flatnonzero(file == number)
        page[here] = _find(name, [pages[at] for at in here.tolist()], chains[name])
    return Planes(series.axes, series.shape, files, file, page)


def _check_rest(path: str, tif: TiffFile, series: TiffPageSeries) -> None:
    """Refuse frames behind those that ImageJ tells of: above 4 GB its text alone has their number."""
    rest = file_size(path) - int(series.dataoffset or 0) - series.nbytes
    if tif.is_imagej and len(tif.pages) == 1 and rest >= series.keyframe.nbytes:
        count = (series.nbytes + rest) // series.keyframe.nbytes
        raise FrameCountError(
            path,
            got=f"room for {count} frames, while its metadata tell of {series.shape}",
            wanted="the same number",
            fix=f"write the file again; {EVERY_PAGE}",
        )


def _find(path: str, wanted: list[TiffPage | TiffFrame], pages: Pages) -> NDArray[np.int64]:
    """Give the numbers of pages that tifffile knows by their directory, or by their data alone."""
    by_data = any(not page.offset for page in wanted)  # virtual frames
    known = pages.data if by_data else pages.offset
    sought = np.array([page.dataoffsets[0] if by_data else page.offset for page in wanted])
    order = np.argsort(known, kind="stable")
    numbers = order[np.clip(np.searchsorted(known[order], sought), 0, len(pages) - 1)]
    lost = np.flatnonzero(known[numbers] != sought)
    if lost.size:
        raise FrameCountError(
            path,
            got=f"an index of frames that points to byte {sought[lost[0]]}, where no page is",
            wanted="a page for every frame of the index",
            fix='the file is truncated: copy it again, or open its pages with axes="tyx"',
        )
    return numbers


def _check_classic(path: str, pages: Pages) -> None:
    """Refuse offsets of 32 bits that have run over: they point to some other page."""
    with Path(path).open("rb") as file:
        classic = b"+" not in file.read(4)
    if classic and file_size(path) > CLASSIC_END and (np.diff(pages.data) < 0).any():
        raise SourceCorruptError(
            path,
            got=f"{file_size(path)} bytes with offsets of 32 bits, which start again from 0",
            wanted="BigTIFF above 4 GB",
            fix="write the movie as BigTIFF, zarr or .npy with the program that reads it",
        )


def _check_shared(path: str, pages: Pages) -> None:
    """Refuse pages with the samples of another page."""
    order = np.argsort(pages.data, kind="stable")
    again = np.flatnonzero(np.diff(pages.data[order]) == 0)
    if again.size:
        number, other = order[again[0] + 1], order[again[0]]
        raise SourceCorruptError(
            path,
            got=f"page {number} with the samples of page {other}, at byte {pages.data[number]}",
            wanted="samples of its own in every page",
            fix="the file is damaged: copy or write it again from the source",
        )


def _reader(path: str, pages: Pages, first: TiffPage) -> Reader:
    size = _frame(path, first)
    stored = np.dtype(first.dtype).newbyteorder(pages.byteorder)
    whole = bool(((pages.data > 0) & (pages.nbytes == math.prod(size) * stored.itemsize)).all())
    tags = pages.tags(0)
    if whole and all(tags.get(code, 1) == 1 for code in (COMPRESSION, PREDICTOR, FILL_ORDER)):
        _check_classic(path, pages)
        _check_shared(path, pages)
        return raw_frames(path, size, stored, pages.data)
    _check_data(path, pages)
    _check_codec(path, first)
    return TiffFrames(
        path, (len(pages), *size), stored.newbyteorder("="), (1, *size), pack(pages.offset)
    )


def _undecodable(path: str, number: int, error: Exception) -> SourceCorruptError:
    return SourceCorruptError(
        path,
        got=f"frame {number} that cannot be decoded: {type(error).__name__}: {str(error)[:300]}",
        wanted="complete, undamaged pages",
        fix=f"copy the file again from its source, or leave the frame out: movie[:{number}]",
    )


def _frame(path: str, page: TiffPage) -> tuple[int, int]:
    """Give rows and columns of a page, which must be one grey image of a believable size."""
    if len(page.shape) != 2 or page.dtype is None:
        raise FrameShapeError(
            path,
            got=f"pages of shape {page.shape} with axes {page.axes!r}",
            wanted="one grey image per page (no colour, no volume)",
            fix="convert colour to one channel; a camera movie has one sample per pixel",
        )
    nbytes, size = page.nbytes, file_size(path)
    if not 0 < nbytes <= max(2**28, 1000 * size):
        raise SourceCorruptError(
            path,
            got=f"{size} bytes that claim a frame of {page.shape} {page.dtype}",
            wanted="a frame that the file can hold",
            fix="the file is damaged: copy it again from the source",
        )
    return page.shape


def _check_codec(path: str, page: TiffPage) -> None:
    try:
        page.decode(None, 0)  # no data: only whether there is a decoder
    except ValueError as error:
        raise FormatError(
            path,
            got=str(error),
            wanted="pages that can be decoded here",
            fix="pip install imagecodecs, or write the movie uncompressed",
        ) from error


def every_page(path: str, known: dict[int, int], model: Reader) -> Reader:
    """Make a reader of all pages of a file, which must have the tags ``known`` of ``model``'s."""
    pages = list_pages(path)
    check_equal(path, pages, known)
    if isinstance(model, TiffFrames):
        _check_data(path, pages)
        shape = (len(pages), *model.shape[1:])
        return replace(model, path=path, shape=shape, table=pack(pages.offset))
    with TiffFile(path) as tif:
        return _reader(path, pages, tif.pages.first)


def check_equal(
    path: str, pages: Pages, known: dict[int, int], told: tuple[int, ...] | None = None
) -> None:
    """Compare pages with the first page of the movie, and that with what the metadata tell."""
    other = np.flatnonzero(pages.kind != pages.kind[0])
    number = 0 if pages.tags(0) != known else int(other[0]) if other.size else None
    if number is not None:
        width, length, bits = (pages.tags(number).get(code, 0) for code in (WIDTH, LENGTH, BITS))
        raise _unequal(path, number, f"({length}, {width}) with {bits} bits")
    if told not in (None, (known.get(LENGTH), known.get(WIDTH))):
        raise FrameShapeError(
            path,
            got=f"pages of {known.get(LENGTH)} rows and {known.get(WIDTH)} columns, while the "
            f"metadata tell of {told}",
            wanted="the same rows and columns",
            fix=EVERY_PAGE,
        )


def _unequal(path: str, number: int, got: str) -> FrameShapeError:
    return FrameShapeError(
        path,
        got=f"page {number} of {got}",
        wanted="every page with the size, type and compression of the movie's first",
        fix="write pages that differ to another file",
    )


def _check_data(path: str, pages: Pages) -> None:
    size = file_size(path)
    outside = np.flatnonzero((pages.data == 0) | (pages.data + pages.nbytes > size))
    if outside.size:
        raise SourceCorruptError(
            path,
            got=f"page {outside[0]} with data at byte {pages.data[outside[0]]} of {size}",
            wanted="data of every page inside the file",
            fix="the file is truncated or was never finished: copy or write it again",
        )
