"""Formats of raw frames: DAX, SPE, numpy; and ND2."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from smlm_dask.errors import AxisError, FormatError, FrameCountError, SourceCorruptError
from tests.matrix import FRAMES, Refused, Right, Row, Unseen

TITLE = "DAX, SPE, numpy, ND2"


def dax(path: Path, text: str | None = None, *, order: str = "big", **told: int) -> None:
    """A ``.dax`` file with an ``.inf`` file that may lie."""
    FRAMES.astype(">u2" if order == "big" else "<u2").tofile(path)
    said = {"width": 17, "height": 12, "frames": 23} | told
    path.with_suffix(".inf").write_text(
        text
        or "data type = 16 bit integers (binary, big endian)\n"
        f"frame dimensions = {said['width']} x {said['height']}\n"
        f"number of frames = {said['frames']}\n"
    )


def linked_inf(path: Path) -> None:
    """An ``.inf`` file that is a link to another folder."""
    outside = path.parent.parent / f"{path.parent.name}-outside"
    outside.mkdir()
    dax(outside / "b.dax")
    dax(path)
    path.with_suffix(".inf").unlink()
    path.with_suffix(".inf").symlink_to(outside / "b.inf")


def spe(path: Path, *, behind: bytes = b"", **said: int) -> None:
    """An SPE file with a header that may lie."""
    told = {"width": 17, "height": 12, "frames": 23, "code": 3} | said
    header = bytearray(4100)
    struct.pack_into("<H", header, 42, told["width"])
    struct.pack_into("<H", header, 656, told["height"])
    struct.pack_into("<i", header, 1446, told["frames"])
    struct.pack_into("<h", header, 108, told["code"])
    if behind:  # version 3: where the text behind the frames begins
        struct.pack_into("<f", header, 1992, 3.0)
        struct.pack_into("<Q", header, 678, 4100 + FRAMES.nbytes)
    path.write_bytes(bytes(header) + FRAMES.tobytes() + behind)


def npy(path: Path, text: str, version: bytes = b"\x01\x00") -> None:
    """A numpy file with any header."""
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text) + 1)
    head = b"\x93NUMPY" + version + size + text.encode() + b"\n"
    path.write_bytes(head + FRAMES.tobytes())


def header(shape: Any = FRAMES.shape, descr: Any = "<u2", order: bool = False) -> str:
    return repr({"descr": descr, "fortran_order": order, "shape": shape})


def cut(path: Path, write: Any, share: float) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flipped(path: Path, write: Any) -> None:
    write(path)
    data = bytearray(path.read_bytes())
    data[-FRAMES.nbytes // 2] ^= 1
    path.write_bytes(data)


def save(path: Path, values: Any = FRAMES) -> None:
    np.save(path, values, allow_pickle=True)


def twice(path: Path) -> None:
    """Two arrays, one behind the other."""
    with path.open("wb") as file:
        np.save(file, FRAMES)
        np.save(file, FRAMES)


RAW = Unseen("raw samples carry no checksum")
LITTLE = "little endian\nframe dimensions = 17 x 12\nnumber of frames = 23\n"

ROWS = [
    Row("DAX", "a.dax", dax, Right()),
    Row("DAX, little-endian", "a.dax", lambda p: dax(p, LITTLE, order="little"), Right()),
    Row(
        "DAX: little-endian, not told",
        "a.dax",
        lambda p: dax(p, order="little"),
        Unseen("the .inf file alone tells the byte order"),
    ),
    Row(
        "DAX: width and height exchanged",
        "a.dax",
        lambda p: dax(p, width=12, height=17),
        Unseen("the .inf file alone tells the size, and the bytes are as many"),
    ),
    Row(
        "DAX: more frames told",
        "a.dax",
        lambda p: dax(p, frames=30),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: fewer frames told",
        "a.dax",
        lambda p: dax(p, frames=20),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: wider frames told",
        "a.dax",
        lambda p: dax(p, width=18),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: no frames told",
        "a.dax",
        lambda p: dax(p, frames=0),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: vast numbers told",
        "a.dax",
        lambda p: dax(p, frames=10**30),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: no .inf file",
        "a.dax",
        lambda p: (dax(p), p.with_suffix(".inf").unlink()),
        Refused(FormatError, "no .inf file"),
    ),
    Row(
        "DAX: .inf file without numbers",
        "a.dax",
        lambda p: dax(p, "nothing"),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: .inf file of rubbish",
        "a.dax",
        lambda p: (dax(p), p.with_suffix(".inf").write_bytes(bytes(range(256)))),
        Refused(FrameCountError, "a.inf"),
    ),
    Row(
        "DAX: .inf file is a link out of the folder",
        "a.dax",
        linked_inf,
        Refused(SourceCorruptError, "outside its folder"),
    ),
    *(
        Row(
            f"DAX cut at {share} %",
            "a.dax",
            lambda p, s=share: cut(p, dax, s / 100),
            Refused(FrameCountError, "a.inf"),
        )
        for share in (10, 50, 99)
    ),
    Row("DAX of no bytes", "a.dax", lambda p: cut(p, dax, 0), Refused(FrameCountError, "0 bytes")),
    Row("DAX: flipped bit", "a.dax", lambda p: flipped(p, dax), RAW),
    Row("SPE", "a.spe", spe, Right()),
    Row(
        "SPE 3, with text behind the frames",
        "a.spe",
        lambda p: spe(p, behind=b"<SpeFormat/>"),
        Right(),
    ),
    Row(
        "SPE: more frames told",
        "a.spe",
        lambda p: spe(p, frames=30),
        Refused(FrameCountError, "frame 23"),
    ),
    Row(
        "SPE: fewer frames told",
        "a.spe",
        lambda p: spe(p, frames=20),
        Refused(FrameCountError, "20 frames"),
    ),
    Row(
        "SPE: no frames told",
        "a.spe",
        lambda p: spe(p, frames=0),
        Refused(FormatError, "(0, 12, 17)"),
    ),
    Row(
        "SPE: -1 frames told",
        "a.spe",
        lambda p: spe(p, frames=-1),
        Refused(FormatError, "(-1, 12, 17)"),
    ),
    Row(
        "SPE: width and height exchanged",
        "a.spe",
        lambda p: spe(p, width=12, height=17),
        Unseen("the header alone tells the size, and the bytes are as many"),
    ),
    Row(
        "SPE: a wider type told",
        "a.spe",
        lambda p: spe(p, code=0),
        Refused(FrameCountError, "frame 11"),
    ),
    Row(
        "SPE: another type as wide told",
        "a.spe",
        lambda p: spe(p, code=2),
        Unseen("the same bytes mean other numbers"),
    ),
    Row("SPE: unknown type told", "a.spe", lambda p: spe(p, code=99), Refused(FormatError, "99")),
    *(
        Row(
            f"SPE cut at {share} %",
            "a.spe",
            lambda p, s=share: cut(p, spe, s / 100),
            Refused(FrameCountError, "before frame"),
        )
        for share in (50, 90, 99)
    ),
    Row(
        "SPE cut at 10 %", "a.spe", lambda p: cut(p, spe, 0.1), Refused(FormatError, "SPE 2 header")
    ),
    Row("SPE of no bytes", "a.spe", lambda p: cut(p, spe, 0), Refused(FormatError, "SPE 2 header")),
    Row("SPE: flipped bit", "a.spe", lambda p: flipped(p, spe), RAW),
    Row("numpy", "a.npy", save, Right()),
    Row("numpy, big-endian", "a.npy", lambda p: save(p, FRAMES.astype(">u2")), Right()),
    Row("numpy: header of version 2", "a.npy", lambda p: npy(p, header(), b"\x02\x00"), Right()),
    Row("numpy: header of version 3", "a.npy", lambda p: npy(p, header(), b"\x03\x00"), Right()),
    Row(
        "numpy: header of version 9",
        "a.npy",
        lambda p: npy(p, header(), b"\x09\x00"),
        Refused(SourceCorruptError, "version"),
    ),
    Row(
        "numpy: Fortran order",
        "a.npy",
        lambda p: save(p, np.asfortranarray(FRAMES)),
        Refused(FormatError, "Fortran"),
    ),
    Row(
        "numpy: Python objects",
        "a.npy",
        lambda p: save(p, np.array([None])),
        Refused(FormatError, "objects"),
    ),
    Row(
        "numpy: records",
        "a.npy",
        lambda p: save(p, np.zeros((3, 4, 5), "u2,u2")),
        Refused(FormatError, "real numbers"),
    ),
    Row(
        "numpy: text",
        "a.npy",
        lambda p: save(p, np.full((3, 4, 5), "a")),
        Refused(FormatError, "real numbers"),
    ),
    Row(
        "numpy: times",
        "a.npy",
        lambda p: save(p, np.zeros((3, 4, 5), "M8[s]")),
        Refused(FormatError, "real numbers"),
    ),
    Row(
        "numpy: truth values", "a.npy", lambda p: save(p, FRAMES > 9), Refused(FormatError, "bool")
    ),
    Row(
        "numpy: float16",
        "a.npy",
        lambda p: save(p, FRAMES.astype("f2")),
        Refused(FormatError, "float16"),
    ),
    Row(
        "numpy: complex numbers",
        "a.npy",
        lambda p: save(p, FRAMES.astype("c8")),
        Refused(FormatError, "complex64"),
    ),
    Row(
        "numpy: four axes",
        "a.npy",
        lambda p: save(p, FRAMES[None]),
        Refused(AxisError, 'axes="ztyx"'),
    ),
    Row("numpy: one axis", "a.npy", lambda p: save(p, FRAMES.ravel()), Refused(AxisError)),
    Row("numpy: no axis", "a.npy", lambda p: save(p, np.array(3)), Refused(AxisError)),
    Row("numpy: one frame", "a.npy", lambda p: save(p, FRAMES[0]), Right(FRAMES[:1])),
    Row(
        "numpy: no frame",
        "a.npy",
        lambda p: save(p, FRAMES[:0]),
        Refused(FormatError, "no empty axis"),
    ),
    Row(
        "numpy: axes y, x, time",
        "a.npy",
        lambda p: save(p, FRAMES.transpose(1, 2, 0).copy()),
        Unseen('the file does not name its axes: axes="yxt" tells'),
    ),
    Row(
        "numpy: more frames told",
        "a.npy",
        lambda p: npy(p, header((30, 12, 17))),
        Refused(FrameCountError, "frame 23"),
    ),
    Row(
        "numpy: fewer frames told",
        "a.npy",
        lambda p: npy(p, header((20, 12, 17))),
        Refused(FrameCountError, "20 frames"),
    ),
    Row("numpy: two arrays in a file", "a.npy", twice, Refused(FrameCountError, "23 frames")),
    Row(
        "numpy: another type as wide told",
        "a.npy",
        lambda p: npy(p, header(descr="<i2")),
        Unseen("the same bytes mean other numbers"),
    ),
    Row(
        "numpy: shape below zero",
        "a.npy",
        lambda p: npy(p, header((-23, 12, 17))),
        Refused(SourceCorruptError, "below 0"),
    ),
    Row(
        "numpy: two axes below zero",
        "a.npy",
        lambda p: npy(p, header((23, -12, -17))),
        Refused(SourceCorruptError, "below 0"),
    ),
    Row(
        "numpy: vast shape",
        "a.npy",
        lambda p: npy(p, header((10**15, 12, 17))),
        Refused(FrameCountError),
    ),
    Row(
        "numpy: header that is no Python",
        "a.npy",
        lambda p: npy(p, "{'shape': ("),
        Refused(SourceCorruptError),
    ),
    Row(
        "numpy: 10^9 frames of no rows",
        "a.npy",
        lambda p: npy(p, header((10**9, 0, 17))),
        Refused(FrameCountError, "bytes behind"),
    ),
    Row(
        "numpy: header that is a program",
        "a.npy",
        lambda p: npy(p, "__import__('os').abort()"),
        Refused(SourceCorruptError),
    ),
    *(
        Row(
            f"numpy cut at {share} %",
            "a.npy",
            lambda p, s=share: cut(p, save, s / 100),
            Refused(FrameCountError, "before frame"),
        )
        for share in (10, 50, 90, 99)
    ),
    Row("numpy cut at 1 %", "a.npy", lambda p: cut(p, save, 0.01), Refused(SourceCorruptError)),
    Row("numpy of no bytes", "a.npy", lambda p: cut(p, save, 0), Refused(SourceCorruptError)),
    Row("numpy: flipped bit", "a.npy", lambda p: flipped(p, save), RAW),
    Row(
        "text named .npy", "a.npy", lambda p: p.write_text("no array"), Refused(SourceCorruptError)
    ),
    Row(
        "text named .nd2",
        "a.nd2",
        lambda p: p.write_text("no movie" * 999),
        Refused(SourceCorruptError),
    ),
    Row("ND2 of no bytes", "a.nd2", lambda p: p.write_bytes(b""), Refused(SourceCorruptError)),
    Row(
        "a name of no format",
        "a.xyz",
        lambda p: p.write_bytes(b"1"),
        Refused(FormatError, "cannot read", ".npy"),
    ),
]
