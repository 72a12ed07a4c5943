"""Picasso's raw movies, whose .yaml file may lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from picasso import io

from smlm_dask.errors import FormatError, FrameCountError, SourceCorruptError
from tests.matrix import FRAMES, Refused, Right, Row, Unseen
from tests.matrix.raw import RAW, cut, flipped

TITLE = "Picasso raw"


def raw(path: Path, order: str = "<", **told: Any) -> None:
    """A ``.raw`` file with a ``.yaml`` file that may lie."""
    said = {"Byte Order": order, "Data Type": "uint16"}
    said |= dict(zip(("Frames", "Height", "Width"), FRAMES.shape, strict=True))
    io.save_raw(str(path), FRAMES.astype(f"{order}u2"), [said | told])


def text(path: Path, words: str) -> None:
    """Frames beside a ``.yaml`` file of these words."""
    raw(path)
    path.with_suffix(".yaml").write_text(words)


def linked(path: Path) -> None:
    """A ``.yaml`` file that is a link to another folder."""
    outside = path.parent.parent / f"{path.parent.name}-outside"
    outside.mkdir()
    raw(outside / path.name)
    raw(path)
    path.with_suffix(".yaml").unlink()
    path.with_suffix(".yaml").symlink_to(outside / "a.yaml")


PROGRAM = "!!python/object/apply:os.system ['touch a.proof']"
FALSE = Refused(FrameCountError, "bytes, while a.yaml")
CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("fewer frames told", {"Frames": 22}),
    ("more frames told", {"Frames": 24}),
    ("frames told as 23.0", {"Frames": 23.0}),
    ("vast height told", {"Height": 10**30}),
    ("height and width below zero", {"Height": -12, "Width": -17}),
    ("Python objects told", {"Data Type": "O"}),
    ("pairs told", {"Data Type": "u1,u1"}),
    ("a byte order of no sense", {"Byte Order": "big"}),
]

ROWS = [
    Row("Picasso raw", "a.raw", raw, Right()),
    Row("Picasso raw, big-endian", "a.raw", lambda p: raw(p, ">"), Right()),
    *(
        Row(f"Picasso raw: {what}", "a.raw", lambda p, told=told: raw(p, **told), FALSE)
        for what, told in CLAIMS
    ),
    Row(
        "Picasso raw: width and height exchanged",
        "a.raw",
        lambda p: raw(p, Height=17, Width=12),
        Unseen("the .yaml file alone tells the size, and the bytes are as many"),
    ),
    Row(
        "Picasso raw: no .yaml file",
        "a.raw",
        lambda p: p.write_bytes(b"12"),
        Refused(FormatError, "no .yaml file"),
    ),
    Row(
        "Picasso raw: .yaml file is a link out of the folder",
        "a.raw",
        linked,
        Refused(SourceCorruptError, "outside its folder"),
    ),
    Row(
        "Picasso raw: .yaml file of a list",
        "a.raw",
        lambda p: text(p, "- 1\n"),
        Refused(SourceCorruptError, "no Byte Order, Data Type, Frames"),
    ),
    Row(
        "Picasso raw: .yaml file that is none",
        "a.raw",
        lambda p: text(p, "a: [1\n"),
        Refused(SourceCorruptError, "ParserError"),
    ),
    Row(
        "Picasso raw: .yaml file of 100,000 brackets",
        "a.raw",
        lambda p: text(p, "[" * 100_000),
        Refused(SourceCorruptError, "Error in a.yaml"),
    ),
    Row(
        "Picasso raw: .yaml file that is a program",
        "a.raw",
        lambda p: text(p, PROGRAM),
        Refused(SourceCorruptError, "no Byte Order"),
    ),
    Row(
        "Picasso raw cut at 60 %",
        "a.raw",
        lambda p: cut(p, raw, 0.6),
        FALSE,
    ),
    Row("Picasso raw: flipped bit", "a.raw", lambda p: flipped(p, raw), RAW),
]
