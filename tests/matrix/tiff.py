"""TIFF in its dialects."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from smlm_dask.errors import (
    AxisError,
    FormatError,
    FrameCountError,
    FrameShapeError,
    SourceCorruptError,
)
from smlm_dask.readers.ifd import list_pages
from tests.matrix import FRAMES, Refused, Right, Row, Unseen
from tests.tiffs import ome, ome_text, packed, plain, tags_of, told, write_raw

TITLE = "TIFF"
SMALL, OTHER = FRAMES[2, :6], FRAMES[2].astype("u1")


def pages(path: Path, **keywords: Any) -> None:
    """One page after another, without any metadata."""
    with tifffile.TiffWriter(path) as tif:
        for frame in FRAMES:
            tif.write(frame, contiguous=False, metadata=None, **keywords)


def whole(path: Path, frames: Any = FRAMES, axes: str = "TYX", **keywords: Any) -> None:
    tifffile.imwrite(path, frames, metadata={"axes": axes}, **keywords)


def with_page(path: Path, number: int, page: Any, **keywords: Any) -> None:
    """A page that is not like the others."""
    with tifffile.TiffWriter(path) as tif:
        for n, frame in enumerate(FRAMES):
            own = keywords if n == number else {}
            tif.write(page if n == number else frame, contiguous=False, metadata=None, **own)


def with_tag(path: Path, number: int, **more: Any) -> None:
    """A page with a tag that is not like that of the others."""
    own = [(tags_of(f, t266=(3, [1])), f.tobytes()) for f in FRAMES]
    own[number][0].update({int(name[1:]): value for name, value in more.items()})
    write_raw(path, own)


def cut(path: Path, share: float, **keywords: Any) -> None:
    """Only the first part of a file."""
    pages(path, **keywords)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def cut_whole(path: Path, share: float, **keywords: Any) -> None:
    whole(path, **keywords)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flipped(path: Path, **keywords: Any) -> None:
    """One bit in the samples of page 11."""
    pages(path, **keywords)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[11]
        at = page.dataoffsets[0] + page.databytecounts[0] // 2
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def link(path: Path, number: int, target: int) -> None:
    """Page ``number`` says that the next one starts at byte ``target``."""
    offsets = plain(path, FRAMES)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, offsets[number] + 2 + 12 * 10, target)
    path.write_bytes(data)


def first_link(path: Path, target: int) -> None:
    plain(path, FRAMES)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, target)
    path.write_bytes(data)


def shared_data(path: Path) -> None:
    """Two pages that point to the same samples."""
    plain(path, FRAMES)
    data = list_pages(str(path)).data
    own = [(tags_of(f), f.tobytes()) for f in FRAMES]
    own[7][0][273] = (4, [int(data[3])])
    own[7][0][279] = (4, [FRAMES[0].nbytes])
    write_raw(path, own)


def claims(path: Path, **tags: int) -> None:
    """A tiny file that tells of a vast frame."""
    tifffile.imwrite(path, FRAMES[:1], metadata=None, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name, value in tags.items():
            tif.pages.first.tags[name].overwrite(value, dtype="I")


def imagej_claims(path: Path, text: str) -> None:
    """ImageJ's text in the first of 23 pages."""
    own = [(tags_of(f), f.tobytes()) for f in FRAMES]
    own[0][0][270] = (2, text.encode() + b"\0")
    write_raw(path, own)


def imagej_over(path: Path, frames: int, kept: int) -> None:
    """What ImageJ writes above 4 GB: one directory, then all frames; ``kept`` of them are there."""
    text = f"ImageJ=1.54f\nimages={frames}\nframes={frames}\n\0".encode()
    big = FRAMES.astype(">u2")
    tags = tags_of(big[0], t270=(2, text), t279=(4, [big[0].nbytes]))
    write_raw(path, [(tags, big[:kept].tobytes())], order=">")


def shaped(path: Path, text: str) -> None:
    own = [(tags_of(f), f.tobytes()) for f in FRAMES]
    own[0][0][270] = (2, text.encode() + b"\0")
    write_raw(path, own)


def lying(path: Path, pixels: str, data: str = "<TiffData/>", frames: Any = FRAMES) -> None:
    """OME-XML that is not true."""
    ome(path, list(frames), ome_text([(pixels, data)]))


def outside(path: Path) -> Path:
    """A folder beside that of the movie, with TIFF files that nobody may read."""
    folder = path.parent.parent / f"{path.parent.name}-outside"
    folder.mkdir()
    plain(folder / "b.tif", FRAMES)
    return folder


def elsewhere(path: Path, name: str) -> None:
    """OME-XML that says that planes lie in a file ``name``; {0} is a folder outside."""
    target = name.format(outside(path))
    entry = '<TiffData FirstT="{0}" IFD="{0}"><UUID FileName="{1}">urn:uuid:{2}</UUID></TiffData>'
    data = "".join(entry.format(t, target, 2) for t in range(23)) + entry.format(0, path.name, 1)
    ome(path, list(FRAMES[:1]), ome_text([(told(), data)]))


def linked(path: Path) -> None:
    """A set of OME-TIFF whose second file is a link to another folder."""
    elsewhere(path, "b.ome.tif")
    (path.parent / "b.ome.tif").symlink_to(
        path.parent.parent / f"{path.parent.name}-outside" / "b.tif"
    )


def ndtiff_elsewhere(path: Path) -> None:
    """An NDTiff index that names a file of another folder."""
    folder = outside(path)
    name = f"../{folder.name}/b.tif".encode()
    text = b"{}"
    head = struct.pack("<5I", 483729, 3, 0, 2355492, len(text)) + text
    own = [(tags_of(f, t51123=(2, b'{"Camera": 1}\0')), f.tobytes()) for f in FRAMES]
    write_raw(path, own, head=head)
    index = b""
    for n, at in enumerate(list_pages(str(folder / "b.tif")).data.tolist()):
        axes = b'{"time": %d}' % n
        index += struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name
        index += struct.pack("<IiiiiIii", at, 17, 12, 1, 0, 0, 0, 0)
    (path.parent / "NDTiff.index").write_bytes(index)


def pyramid(path: Path) -> None:
    big = np.repeat(np.repeat(FRAMES, 4, axis=1), 4, axis=2)
    options: dict[str, Any] = {"tile": (16, 16), "photometric": "minisblack"}
    with tifffile.TiffWriter(path) as tif:
        tif.write(big, subifds=1, metadata={"axes": "TYX"}, **options)
        tif.write(big[:, ::2, ::2], subfiletype=1, **options)


def flat_pyramid(path: Path) -> None:
    """Levels as pages of their own, as some programs write them."""
    big = np.repeat(np.repeat(FRAMES[0], 4, axis=0), 4, axis=1)
    with tifffile.TiffWriter(path) as tif:
        for step in (1, 2, 4):
            tif.write(big[::step, ::step], metadata=None, subfiletype=int(step > 1))


FLOATS = FRAMES.astype("f4") / 7
TWO = np.stack([FRAMES, FRAMES[::-1]], axis=1)
XML_SIZE = told((23, 1, 1, 12, 17))

ROWS = [
    Row("pages without metadata", "a.tif", pages, Right()),
    Row("big-endian", "a.tif", lambda p: plain(p, FRAMES, order=">"), Right()),
    Row("BigTIFF, big-endian", "a.tif", lambda p: plain(p, FRAMES, order=">", big=True), Right()),
    Row(
        "12 bits packed",
        "a.tif",
        lambda p: write_raw(p, [(tags_of(f, bits=12), packed(f)) for f in FRAMES % 4096]),
        Right(FRAMES % 4096),
    ),
    Row(
        "signed samples below zero",
        "a.tif",
        lambda p: plain(p, FRAMES.astype("i2")),
        Right(FRAMES.astype("i2")),
    ),
    Row("32-bit floats", "a.tif", lambda p: plain(p, FLOATS), Right(FLOATS)),
    Row(
        "float16", "a.tif", lambda p: plain(p, FRAMES.astype("f2")), Refused(FormatError, "float16")
    ),
    Row(
        "bits, one a sample",
        "a.tif",
        lambda p: tifffile.imwrite(p, FRAMES > 30000, photometric="minisblack"),
        Refused(FormatError, "bool"),
    ),
    Row(
        "complex numbers",
        "a.tif",
        lambda p: tifffile.imwrite(p, FRAMES.astype("c8"), photometric="minisblack"),
        Refused(FormatError, "complex64"),
    ),
    Row(
        "RGB",
        "a.tif",
        lambda p: tifffile.imwrite(p, np.zeros((4, 9, 9, 3), "u1"), photometric="rgb"),
        Refused(FrameShapeError, "grey"),
    ),
    Row(
        "colours in planes",
        "a.tif",
        lambda p: tifffile.imwrite(
            p, np.zeros((4, 3, 9, 9), "u1"), photometric="rgb", planarconfig="separate"
        ),
        Refused(FrameShapeError, "grey"),
    ),
    Row(
        "a page described by itself",
        "a.tif",
        lambda p: with_page(p, 3, FRAMES[3], description="here"),
        Right(),
    ),
    *(
        Row(
            f"{place} page has other rows",
            "a.tif",
            lambda p, n=n: with_page(p, n, SMALL),
            Refused(FrameShapeError, f"page {n or 1} of"),
        )
        for place, n in {"first": 0, "middle": 11, "last": 22}.items()
    ),
    *(
        Row(
            f"{place} page has another type",
            "a.tif",
            lambda p, n=n: with_page(p, n, OTHER),
            Refused(FrameShapeError, f"page {n or 1} of", "bits"),
        )
        for place, n in {"first": 0, "middle": 11, "last": 22}.items()
    ),
    *(
        Row(
            f"{place} page has another compression",
            "a.tif",
            lambda p, n=n: with_page(p, n, FRAMES[n], compression="zlib"),
            Refused(FrameShapeError, f"page {n or 1} of"),
        )
        for place, n in {"first": 0, "middle": 11, "last": 22}.items()
    ),
    Row(
        "a page is signed",
        "a.tif",
        lambda p: with_tag(p, 11, t339=(3, [2])),
        Refused(FrameShapeError, "page 11 of"),
    ),
    Row(
        "a page has its bits in reverse",
        "a.tif",
        lambda p: with_tag(p, 11, t266=(3, [2])),
        Refused(FrameShapeError, "page 11 of"),
    ),
    Row(
        "two pages with the same samples",
        "a.tif",
        shared_data,
        Refused(SourceCorruptError, "page 7", "page 3"),
    ),
    Row(
        "every frame twice",
        "a.tif",
        lambda p: plain(p, FRAMES.repeat(2, axis=0)),
        Right(FRAMES.repeat(2, axis=0)),
    ),
    Row(
        "a page tells of 10 bytes too few",
        "a.tif",
        lambda p: with_tag(p, 11, t279=(4, [FRAMES[0].nbytes - 10])),
        Right(),
    ),
    Row(
        "a page's samples lie outside the file",
        "a.tif",
        lambda p: with_tag(p, 11, t273=(4, [10**8]), t279=(4, [FRAMES[0].nbytes])),
        Refused(FrameCountError, "frame 11"),
    ),
    Row(
        "a page's samples lie at byte 0",
        "a.tif",
        lambda p: with_tag(p, 11, t273=(4, [0]), t279=(4, [FRAMES[0].nbytes])),
        Refused(SourceCorruptError, "page 11"),
    ),
    Row(
        "chain of pages ends at page 9",
        "a.tif",
        lambda p: link(p, 9, 0),
        Refused(FrameCountError, "10 pages"),
    ),
    Row(
        "chain of pages runs in a ring",
        "a.tif",
        lambda p: link(p, 9, 8),
        Refused(SourceCorruptError, "page 10", "unbroken chain"),
    ),
    Row(
        "chain of pages points outside",
        "a.tif",
        lambda p: link(p, 9, 10**6),
        Refused(SourceCorruptError, "page 10", "unbroken chain"),
    ),
    Row(
        "chain of pages points into samples",
        "a.tif",
        lambda p: link(p, 9, 203),
        Refused(SourceCorruptError, "unbroken chain"),
    ),
    Row("no page", "a.tif", lambda p: first_link(p, 0), Refused(SourceCorruptError)),
    Row("first page outside", "a.tif", lambda p: first_link(p, 10**7), Refused(SourceCorruptError)),
    Row(
        "offsets of 32 bits that ran over",
        "a.tif",
        lambda p: ran_over(p),
        Refused(SourceCorruptError, "start again from 0"),
    ),
    *(
        Row(
            f"pages cut at {share} %",
            "a.tif",
            lambda p, s=share: cut(p, s / 100),
            Refused(kind, word),
        )
        for share, kind, word in (
            (10, SourceCorruptError, "chain"),
            (50, SourceCorruptError, "chain"),
            (90, SourceCorruptError, "chain"),
            (99, FrameCountError, "frame 22"),
        )
    ),
    *(
        Row(
            f"deflated pages cut at {share} %",
            "a.tif",
            lambda p, s=share: cut(p, s / 100, compression="zlib"),
            Refused(SourceCorruptError, word),
        )
        for share, word in ((10, "chain"), (50, "chain"), (90, "chain"), (99, "page 22"))
    ),
    *(
        Row(
            f"one block of frames cut at {share} %",
            "a.tif",
            lambda p, s=share: cut_whole(p, s / 100),
            Refused(SourceCorruptError),
        )
        for share in (10, 50, 90, 99)
    ),
    *(
        Row(
            f"flipped bit, {name}",
            "a.tif",
            lambda p, name=name: flipped(p, compression=name),
            verdict,
        )
        for name, verdict in {
            "none": Unseen("raw samples carry no checksum"),
            "lzw": Unseen("LZW carries no checksum"),
            "zstd": Unseen("tifffile writes zstd without a checksum"),
            "zlib": Refused(SourceCorruptError, "frame 11"),
        }.items()
    ),
    Row(
        "claims 2^20 x 2^20 pixels in 6 kB",
        "a.tif",
        lambda p: claims(p, ImageWidth=2**20, ImageLength=2**20),
        Refused(SourceCorruptError, "that the file can hold"),
    ),
    Row("claims no rows", "a.tif", lambda p: claims(p, ImageLength=0), Refused(SourceCorruptError)),
    Row(
        "claims 4 times the rows it holds",
        "a.tif",
        lambda p: claims(p, ImageLength=48),
        Refused(SourceCorruptError),
    ),
    Row("empty file", "a.tif", lambda p: p.write_bytes(b""), Refused(SourceCorruptError)),
    Row(
        "text named .tif",
        "a.tif",
        lambda p: p.write_text("no picture\n" * 99),
        Refused(SourceCorruptError),
    ),
    Row("folder named .tif", "a.tif", lambda p: p.mkdir(), Refused(FormatError, "folder")),
    Row("no such file", "a.tif", lambda p: None, Refused(FormatError, "no such file")),
    Row(
        "first 8 bytes only",
        "a.tif",
        lambda p: p.write_bytes(b"II*\0\x08\0\0\0"),
        Refused(SourceCorruptError),
    ),
    Row("pyramid", "a.tif", pyramid, Right(np.repeat(np.repeat(FRAMES, 4, axis=1), 4, axis=2))),
    Row(
        "levels of a pyramid as pages", "a.tif", flat_pyramid, Refused(FrameShapeError, "page 1 of")
    ),
    Row(
        "two channels",
        "a.tif",
        lambda p: whole(p, TWO, "TCYX"),
        Refused(AxisError, 'select={"c": 0}'),
    ),
    Row(
        "two channels, one told",
        "a.tif",
        lambda p: whole(p, TWO, "TCYX"),
        Right(FRAMES[::-1]),
        {"select": {"c": 1}},
    ),
    Row(
        "time saved as z",
        "a.tif",
        lambda p: whole(p, axes="ZYX", imagej=True),
        Refused(AxisError, 'axes="tyx"'),
    ),
    Row(
        "time saved as z, told",
        "a.tif",
        lambda p: whole(p, axes="ZYX", imagej=True),
        Right(),
        {"axes": "tyx"},
    ),
    Row(
        "axes in the order y, x, time",
        "a.tif",
        lambda p: whole(p, FRAMES.transpose(1, 2, 0), "YXT"),
        Refused(AxisError),
    ),
    Row(
        "shaped: more frames than pages",
        "a.tif",
        lambda p: shaped(p, '{"shape": [30, 12, 17], "axes": "TYX"}'),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "shaped: fewer frames than pages",
        "a.tif",
        lambda p: shaped(p, '{"shape": [20, 12, 17], "axes": "TYX"}'),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "shaped: other rows (the pages' own count)",
        "a.tif",
        lambda p: shaped(p, '{"shape": [23, 17, 12], "axes": "TYX"}'),
        Right(),
    ),
    Row(
        "ImageJ: more frames than pages",
        "a.tif",
        lambda p: imagej_claims(p, "ImageJ=1.54f\nimages=30\nframes=30\n"),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "ImageJ: fewer frames than pages",
        "a.tif",
        lambda p: imagej_claims(p, "ImageJ=1.54f\nimages=20\nframes=20\n"),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "ImageJ above 4 GB: all frames in one page",
        "a.tif",
        lambda p: imagej_over(p, 23, 23),
        Right(),
    ),
    Row(
        "ImageJ above 4 GB, cut",
        "a.tif",
        lambda p: imagej_over(p, 23, 20),
        Refused(FrameCountError),
    ),
    Row(
        "ImageJ above 4 GB, fewer frames told",
        "a.tif",
        lambda p: imagej_over(p, 20, 23),
        Refused(FrameCountError),
    ),
    Row(
        "OME: SizeT 30 of 23 pages",
        "a.ome.tif",
        lambda p: lying(p, told((30, 1, 1, 12, 17))),
        Refused(FrameCountError, "23 pages", "30"),
    ),
    Row(
        "OME: SizeT 9 of 23 pages",
        "a.ome.tif",
        lambda p: lying(p, told((9, 1, 1, 12, 17))),
        Refused(FrameCountError, "23 pages", "9"),
    ),
    Row(
        "OME: SizeC 2",
        "a.ome.tif",
        lambda p: lying(p, told((23, 1, 2, 12, 17))),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: SizeZ 2",
        "a.ome.tif",
        lambda p: lying(p, told((23, 2, 1, 12, 17))),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: time as SizeZ",
        "a.ome.tif",
        lambda p: lying(p, told((1, 23, 1, 12, 17))),
        Refused(AxisError, 'axes="tyx"'),
    ),
    Row(
        "OME: rows and columns exchanged",
        "a.ome.tif",
        lambda p: lying(p, told((23, 1, 1, 17, 12))),
        Refused(FrameShapeError, "rows"),
    ),
    Row(
        "OME: another type (the pages' own counts)",
        "a.ome.tif",
        lambda p: lying(p, told(kind="uint8")),
        Right(),
    ),
    Row(
        "OME: a plane is missing",
        "a.ome.tif",
        lambda p: lying(p, told(), '<TiffData IFD="0" PlaneCount="22"/>', FRAMES[:22]),
        Refused(FrameCountError, "22 pages"),
    ),
    Row(
        "OME: a page twice",
        "a.ome.tif",
        lambda p: lying(
            p, told(), '<TiffData IFD="0" PlaneCount="22"/><TiffData FirstT="22" IFD="3"/>'
        ),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: SizeT 10^9",
        "a.ome.tif",
        lambda p: lying(p, told((10**9, 1, 1, 12, 17)), '<TiffData PlaneCount="1000000000"/>'),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: planes begin at page 1",
        "a.ome.tif",
        lambda p: lying(p, told(), '<TiffData IFD="1" PlaneCount="23"/>'),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: planes begin at page -1",
        "a.ome.tif",
        lambda p: lying(p, told(), '<TiffData IFD="-1" PlaneCount="23"/>'),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: no planes are told",
        "a.ome.tif",
        lambda p: lying(p, told(), ""),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: SizeT -1",
        "a.ome.tif",
        lambda p: lying(p, told((-1, 1, 1, 12, 17))),
        Refused(FrameCountError, "23 pages"),
    ),
    Row(
        "OME: SizeT is no number",
        "a.ome.tif",
        lambda p: lying(p, told(("many", 1, 1, 12, 17))),
        Refused(SourceCorruptError, "many"),
    ),
    Row(
        "OME: broken XML",
        "a.ome.tif",
        lambda p: ome(p, list(FRAMES), "<OME> <Image </OME>"),
        Refused(SourceCorruptError, "no XML"),
    ),
    Row(
        "OME: plane in another folder",
        "a.ome.tif",
        lambda p: elsewhere(p, "x/../../{0.name}/b.tif"),
        Refused(SourceCorruptError, "outside its folder"),
    ),
    Row(
        "OME: plane in ../",
        "a.ome.tif",
        lambda p: elsewhere(p, "../{0.name}/b.tif"),
        Refused(SourceCorruptError, "outside its folder"),
    ),
    Row(
        "OME: plane at /",
        "a.ome.tif",
        lambda p: elsewhere(p, "{0}/b.tif"),
        Refused(SourceCorruptError, "outside its folder"),
    ),
    Row(
        "OME: file of the set is a link out of the folder",
        "a.ome.tif",
        linked,
        Refused(SourceCorruptError, "outside its folder"),
    ),
    Row(
        "NDTiff: index names a file in ../",
        "a_NDTiffStack.tif",
        ndtiff_elsewhere,
        Refused(SourceCorruptError, "folder"),
    ),
]


def ran_over(path: Path) -> None:
    """A program that does not know of BigTIFF counts on from 0 above 4 GB."""
    frame = np.zeros((512, 512), "u2")
    places = [2**20, 2**31, 2**32 - 2**20, 2**19]
    own = [(tags_of(frame, t273=(4, [at]), t279=(4, [frame.nbytes])), b"") for at in places]
    write_raw(path, own)
    with path.open("r+b") as file:
        file.truncate(2**32 + 2**21)
