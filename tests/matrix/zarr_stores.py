"""Zarr of version 2 and 3, sharded, in groups, OME-Zarr."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from smlm_dask.errors import AxisError, FormatError, SourceCorruptError
from tests.matrix import FRAMES, Refused, Right, Row, Unseen

TITLE = "Zarr"
CHUNKS, SHARDS = (5, 12, 17), (10, 12, 17)
# Name of the third chunk and of the second shard, by the layout.
KEYS = {"v3": "c/2/0/0", "v2": "2.0.0", "sharded": "c/1/0/0"}


def store(path: Path, kind: str = "v3", frames: Any = FRAMES, **keywords: Any) -> None:
    """One array, of a layout."""
    keywords |= {"v2": {"zarr_format": 2}, "sharded": {"shards": SHARDS}}.get(kind, {})
    chunks = keywords.pop("chunks", CHUNKS)
    array = zarr.create_array(
        path, shape=frames.shape, chunks=chunks, dtype=frames.dtype, **keywords
    )
    array[:] = frames


def damaged(path: Path, kind: str, how: Callable[[Path], object], **keywords: Any) -> None:
    """Do something to the file of one chunk or shard."""
    store(path, kind, **keywords)
    how(path / KEYS[kind])


def flip(file: Path) -> None:
    """One bit near the end of a file."""
    data = bytearray(file.read_bytes())
    data[-len(data) // 4] ^= 4
    file.write_bytes(data)


def flip_index(file: Path) -> None:
    """One bit in the index of a shard: two places of 8 bytes for each of 2 chunks, then a checksum."""
    data = bytearray(file.read_bytes())
    data[-30] ^= 1
    file.write_bytes(data)


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(path: Path, **changes: Any) -> None:
    """Metadata of version 3 that are not true."""
    store(path)
    told = json.loads((path / "zarr.json").read_text()) | changes
    (path / "zarr.json").write_text(json.dumps(told))


def grid(path: Path, *shape: int) -> None:
    text(path, chunk_grid={"name": "regular", "configuration": {"chunk_shape": list(shape)}})


def text2(path: Path, **changes: Any) -> None:
    """Metadata of version 2 that are not true."""
    store(path, "v2")
    told = json.loads((path / ".zarray").read_text()) | changes
    (path / ".zarray").write_text(json.dumps(told))


def unfinished(path: Path, kind: str = "v3", *, done: int = 12, **keywords: Any) -> None:
    """An array whose writing ended after some frames."""
    keywords |= {"v2": {"zarr_format": 2}, "sharded": {"shards": SHARDS}}.get(kind, {})
    dtype = keywords.pop("dtype", "u2")
    shape = FRAMES.shape
    array = zarr.create_array(path, shape=shape, chunks=CHUNKS, dtype=dtype, **keywords)
    array[:done] = FRAMES[:done]


def black(path: Path, **keywords: Any) -> None:
    """Frames that are zero, and written as such."""
    frames = FRAMES.copy()
    frames[5:10] = 0
    store(path, frames=frames, config={"write_empty_chunks": True}, **keywords)


BLACK = np.where(np.isin(np.arange(23), np.arange(5, 10))[:, None, None], 0, FRAMES)


def link(path: Path, target: str) -> None:
    """A chunk that is a link to a file outside."""
    store(path)
    outside = path.parent.parent / f"{path.parent.name}-outside"
    store(outside)
    (path / target).unlink() if (path / target).is_file() else shutil.rmtree(path / target)
    (path / target).symlink_to(outside / target)


def group(path: Path, *names: str, **attributes: Any) -> None:
    root = zarr.open_group(path, mode="w")
    for name in names:
        root.create_array(name, shape=FRAMES.shape, chunks=CHUNKS, dtype="u2")[:] = FRAMES
    root.attrs.update(attributes)


def images(path: Path, *, axes: Any = "tyx", name: str = "0", **more: Any) -> None:
    """OME-Zarr whose metadata may lie."""
    named = [{"name": letter} for letter in axes] if isinstance(axes, str) else axes
    told = {"axes": named, "datasets": [{"path": name}], "version": "0.5"} | more
    group(path, "0", ome={"multiscales": [told]})


def secret(path: Path, name: str) -> None:
    """OME-Zarr that names an array outside of its folder."""
    outside = path.parent.parent / f"{path.parent.name}-outside"
    group(outside, "0")
    images(path, name=name.format(outside))


PACKERS: dict[str, Any] = {
    "none": None,
    "gzip": GzipCodec(),
    "zstd without checksum": ZstdCodec(),
    "zstd with checksum": ZstdCodec(checksum=True),
    "blosc": BloscCodec(cname="lz4"),
}
FLIPS: dict[str, Any] = {
    "none": Unseen("raw chunks carry no checksum"),
    "gzip": Refused(SourceCorruptError, "chunk (2, 0, 0)"),
    "zstd without checksum": Unseen("zstd has no checksum unless asked for"),
    "zstd with checksum": Refused(SourceCorruptError, "chunk (2, 0, 0)"),
    "blosc": Unseen("blosc carries no checksum"),
}
MISSING = Refused(SourceCorruptError, "chunk (3, 0, 0)", "missing")

ROWS = [
    *(Row(f"{kind}", "a.zarr", lambda p, kind=kind: store(p, kind), Right()) for kind in KEYS),
    Row("big-endian", "a.zarr", lambda p: store(p, frames=FRAMES.astype(">u2")), Right()),
    Row("any name", "movie", store, Right()),
    *(
        Row(
            f"{kind}: a chunk is missing",
            "a.zarr",
            lambda p, kind=kind: damaged(p, kind, Path.unlink),
            Refused(SourceCorruptError, "chunk (2, 0, 0)", "missing"),
        )
        for kind in KEYS
    ),
    *(
        Row(
            f"{kind}: a file of no bytes",
            "a.zarr",
            lambda p, kind=kind: damaged(p, kind, empty),
            Refused(SourceCorruptError, "chunk (2, 0, 0)"),
        )
        for kind in KEYS
    ),
    *(
        Row(
            f"{kind}: a file is cut in half",
            "a.zarr",
            lambda p, kind=kind: damaged(p, kind, halve),
            Refused(SourceCorruptError, "chunk (2, 0, 0)"),
        )
        for kind in KEYS
    ),
    *(
        Row(
            f"{kind}: writing was interrupted",
            "a.zarr",
            lambda p, kind=kind: unfinished(p, kind, done=15),
            Refused(SourceCorruptError, place, "missing"),
        )
        for kind, place in zip(
            KEYS, ("chunk (3, 0, 0)", "chunk (3, 0, 0)", "chunk (4, 0, 0)"), strict=True
        )
    ),
    Row(
        "writing was interrupted, fill value NaN",
        "a.zarr",
        lambda p: unfinished(p, done=15, dtype="f4", fill_value=np.nan),
        MISSING,
    ),
    Row(
        "writing was interrupted, fill value 7",
        "a.zarr",
        lambda p: unfinished(p, done=15, fill_value=7),
        MISSING,
    ),
    Row(
        "nothing was written",
        "a.zarr",
        lambda p: unfinished(p, done=0),
        Refused(SourceCorruptError, "chunk (0, 0, 0)", "missing"),
    ),
    Row("black frames that were written", "a.zarr", black, Right(BLACK)),
    Row(
        "black frames that were written to a shard",
        "a.zarr",
        lambda p: black(p, shards=SHARDS),
        Right(BLACK),
    ),
    *(
        Row(
            f"flipped bit, {name}",
            "a.zarr",
            lambda p, name=name: damaged(p, "v3", flip, compressors=PACKERS[name]),
            FLIPS[name],
        )
        for name in PACKERS
    ),
    Row(
        "flipped bit, crc32c",
        "a.zarr",
        lambda p: damaged(p, "v3", flip, compressors=[BloscCodec(), Crc32cCodec()]),
        Refused(SourceCorruptError, "chunk (2, 0, 0)"),
    ),
    Row(
        "flipped bit, crc32c in a shard",
        "a.zarr",
        lambda p: damaged(p, "sharded", flip, compressors=[ZstdCodec(), Crc32cCodec()]),
        Refused(SourceCorruptError, "chunk ("),
    ),
    Row(
        "flipped bit in the index of a shard",
        "a.zarr",
        lambda p: damaged(p, "sharded", flip_index),
        Refused(SourceCorruptError, "chunk (2, 0, 0)"),
    ),
    Row(
        "shape grown",
        "a.zarr",
        lambda p: text(p, shape=[40, 12, 17]),
        Refused(SourceCorruptError, "chunk (5, 0, 0)", "missing"),
    ),
    Row(
        "shape shrunk",
        "a.zarr",
        lambda p: text(p, shape=[9, 12, 17]),
        Unseen("nothing else tells how many frames there were"),
    ),
    Row(
        "version 2: shape grown",
        "a.zarr",
        lambda p: text2(p, shape=[40, 12, 17]),
        Refused(SourceCorruptError, "chunk (5, 0, 0)", "missing"),
    ),
    Row(
        "shape below zero",
        "a.zarr",
        lambda p: text(p, shape=[-1, 12, 17]),
        Refused(SourceCorruptError),
    ),
    Row(
        "shape of 10^15 frames",
        "a.zarr",
        lambda p: text(p, shape=[10**15, 12, 17]),
        Refused(FormatError, "chunks"),
    ),
    Row(
        "frames of 10^9 x 10^9",
        "a.zarr",
        lambda p: text(p, shape=[23, 10**9, 10**9]),
        Refused(FormatError, "chunks"),
    ),
    Row("shape of one axis", "a.zarr", lambda p: text(p, shape=[23]), Refused(SourceCorruptError)),
    Row(
        "an axis of length 0",
        "a.zarr",
        lambda p: text(p, shape=[0, 12, 17]),
        Refused(FormatError, "no empty axis"),
    ),
    Row(
        "type lied: as wide",
        "a.zarr",
        lambda p: text(p, data_type="int16"),
        Unseen("the same bytes mean other numbers"),
    ),
    Row(
        "type lied: wider",
        "a.zarr",
        lambda p: text(p, data_type="uint32"),
        Refused(SourceCorruptError, "chunk (0, 0, 0)"),
    ),
    Row(
        "type lied: complex",
        "a.zarr",
        lambda p: text(p, data_type="complex64", fill_value=[0, 0]),
        Refused(FormatError, "complex64"),
    ),
    Row(
        "type unknown", "a.zarr", lambda p: text(p, data_type="camera"), Refused(SourceCorruptError)
    ),
    Row(
        "chunks lied: longer",
        "a.zarr",
        lambda p: grid(p, 6, 12, 17),
        Refused(SourceCorruptError, "chunk (0, 0, 0)"),
    ),
    Row(
        "chunks lied: turned",
        "a.zarr",
        lambda p: grid(p, 5, 17, 12),
        Refused(SourceCorruptError, "chunk (0, 0, 1)", "missing"),
    ),
    Row(
        "chunks lied: vast",
        "a.zarr",
        lambda p: grid(p, 10**6, 10**6, 10**6),
        Refused(SourceCorruptError),
    ),
    Row("chunks of 0 frames", "a.zarr", lambda p: grid(p, 0, 12, 17), Refused(SourceCorruptError)),
    Row(
        "byte order lied",
        "a.zarr",
        lambda p: text2(p, dtype=">u2"),
        Unseen("the same bytes mean other numbers"),
    ),
    Row("no codecs", "a.zarr", lambda p: text(p, codecs=[]), Refused(SourceCorruptError)),
    Row(
        "metadata that are no JSON",
        "a.zarr",
        lambda p: (p.mkdir(), (p / "zarr.json").write_text("{")),
        Refused(SourceCorruptError),
    ),
    Row(
        "metadata of no bytes",
        "a.zarr",
        lambda p: (p.mkdir(), (p / "zarr.json").write_bytes(b"")),
        Refused(SourceCorruptError),
    ),
    Row("an empty folder", "a.zarr", Path.mkdir, Refused(FormatError, "folder")),
    Row(
        "text",
        "a.zarr",
        lambda p: zarr.create_array(p, shape=(3, 4, 5), dtype="U4", zarr_format=2),
        Refused(FormatError, "real numbers"),
    ),
    Row(
        "Python objects",
        "a.zarr",
        lambda p: text2(p, dtype="|O", filters=[{"id": "pickle"}]),
        Refused(SourceCorruptError),
    ),
    Row(
        "truth values",
        "a.zarr",
        lambda p: store(p, frames=FRAMES > 9),
        Refused(FormatError, "bool"),
    ),
    Row(
        "float16",
        "a.zarr",
        lambda p: store(p, frames=FRAMES.astype("f2")),
        Refused(FormatError, "float16"),
    ),
    Row(
        "packed values",
        "a.zarr",
        lambda p: (store(p), zarr.open_array(p).attrs.update(scale_factor=0.5)),
        Refused(FormatError, "scale_factor"),
    ),
    Row(
        "a chunk is a link out of the store",
        "a.zarr",
        lambda p: link(p, "c/2/0/0"),
        Refused(SourceCorruptError, "c/2/0/0", "link"),
    ),
    Row(
        "all chunks are behind a link out of the store",
        "a.zarr",
        lambda p: link(p, "c"),
        Refused(SourceCorruptError, "link"),
    ),
    Row(
        "metadata are a link out of the store",
        "a.zarr",
        lambda p: link(p, "zarr.json"),
        Refused(SourceCorruptError, "link"),
    ),
    Row("group without arrays", "a.zarr", group, Refused(AxisError, "0 arrays")),
    Row("group of one array", "a.zarr", lambda p: group(p, "stack"), Right()),
    Row(
        "group of two arrays",
        "a.zarr",
        lambda p: group(p, "left", "right"),
        Refused(AxisError, "left, right", "array="),
    ),
    Row(
        "array in an inner group",
        "a.zarr",
        lambda p: group(p, "cell/stack"),
        Refused(AxisError, "array="),
    ),
    Row(
        "array in an inner group, told",
        "a.zarr",
        lambda p: group(p, "cell/stack"),
        Right(),
        {"array": "cell/stack"},
    ),
    Row(
        "inner group that is a link out of the store",
        "a.zarr",
        lambda p: (
            group(p, "stack"),
            group(p.parent / "b", "stack"),
            shutil.rmtree(p / "stack"),
            (p / "stack").symlink_to(p.parent / "b" / "stack"),
        ),
        Refused(SourceCorruptError, "link"),
    ),
    Row("OME-Zarr", "a.zarr", images, Right()),
    Row("OME-Zarr: no axes told", "a.zarr", lambda p: images(p, axes=[]), Right()),
    Row(
        "OME-Zarr: an axis too many", "a.zarr", lambda p: images(p, axes="tcyx"), Refused(AxisError)
    ),
    Row("OME-Zarr: y twice", "a.zarr", lambda p: images(p, axes="tyy"), Refused(AxisError)),
    Row(
        "OME-Zarr: time as z",
        "a.zarr",
        lambda p: images(p, axes="zyx"),
        Refused(AxisError, 'axes="tyx"'),
    ),
    Row(
        "OME-Zarr: array is not there",
        "a.zarr",
        lambda p: images(p, name="7"),
        Refused(SourceCorruptError),
    ),
    Row(
        "OME-Zarr: no datasets",
        "a.zarr",
        lambda p: images(p, datasets=[]),
        Refused(SourceCorruptError),
    ),
    Row(
        "OME-Zarr: multiscales are text",
        "a.zarr",
        lambda p: group(p, "0", ome={"multiscales": "0"}),
        Refused(SourceCorruptError),
    ),
    Row(
        "OME-Zarr: array in ../",
        "a.zarr",
        lambda p: secret(p, "../../{0.name}/0"),
        Refused(SourceCorruptError),
    ),
    Row(
        "OME-Zarr: array at /", "a.zarr", lambda p: secret(p, "{0}/0"), Refused(SourceCorruptError)
    ),
]
