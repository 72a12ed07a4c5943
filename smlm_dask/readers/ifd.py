"""The chain of directories of a TIFF file, one directory for each page.

Every directory is read and compared, none is assumed: 2 us a page. One read for each, found by a
loop that looks at nothing but the pointer to the next; the tags are decoded together, as columns.
tifffile takes 10 to 25 us a page. A memory map saves nothing here, and a file that becomes shorter
meanwhile would kill the process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import SourceCorruptError

__all__ = ["Chains", "Pages", "list_pages", "next_directory"]

WIDTH, LENGTH, BITS, COMPRESSION, FILL_ORDER, PREDICTOR = 256, 257, 258, 259, 266, 317
OFFSETS, COUNTS = 273, 279
# What must be equal in all pages of a movie: size, bits, compression, colour model, order of bits,
# samples, planes, predictor, tiles, sample format, depth.
SAME = (
    WIDTH,
    LENGTH,
    BITS,
    COMPRESSION,
    262,
    FILL_ORDER,
    277,
    284,
    PREDICTOR,
    322,
    323,
    339,
    32997,
)
TYPE_BITS = {1: 8, 3: 16, 4: 32, 16: 64}
MOST_TAGS = 4096
BATCH = 16_384  # pages decoded together
FURTHEST = 2**26  # bytes behind the last page in which another is looked for

FIXED_VALUE = np.zeros(2**16, bool)
FIXED_VALUE[list(SAME)] = True
FIXED_COUNT = FIXED_VALUE.copy()
FIXED_COUNT[[OFFSETS, COUNTS]] = True

Tags = tuple[tuple[int, int] | None, ...]  # count and value of each of SAME
Columns = NDArray[np.int64]


@dataclass(frozen=True)
class Pages:
    """Columns over pages: where directory and data are; data -1 if they are in several pieces."""

    offset: Columns
    data: Columns
    nbytes: Columns
    kind: Columns
    kinds: tuple[Tags, ...]
    byteorder: Literal["<", ">"]

    def __len__(self) -> int:
        return self.offset.size

    def take(self, numbers: Columns) -> Pages:
        """Take pages by their numbers."""
        return Pages(
            self.offset[numbers],
            self.data[numbers],
            self.nbytes[numbers],
            self.kind[numbers],
            self.kinds,
            self.byteorder,
        )

    def tags(self, number: int) -> dict[int, int]:
        """Give the values of the tags of SAME that a page has."""
        same = self.kinds[self.kind[number]]
        return {code: tag[1] for code, tag in zip(SAME, same, strict=True) if tag}


class Chains(dict[str, Pages]):
    """The pages of each file, listed when first asked for."""

    def __missing__(self, path: str) -> Pages:
        self[path] = list_pages(path)
        return self[path]


class _Form(NamedTuple):
    """How numbers are stored: classic TIFF or BigTIFF, little-endian or big-endian."""

    big_endian: bool
    number: struct.Struct
    entry: np.dtype[Any]
    link: struct.Struct
    first: int

    @property
    def bits(self) -> int:
        return self.link.size * 8


def list_pages(path: str) -> Pages:
    """List every page of the main chain of a TIFF file, in order."""
    kinds: dict[Tags, int] = {}
    parts = []
    with Path(path).open("rb", buffering=0) as file:
        form = _form(file.read(16))
        walk = _walk(path, file, form)
        while batch := list(islice(walk, BATCH)):
            parts.append(_columns(batch, form, kinds))
    if not parts:
        raise _broken(path, 0, form.first)
    offset, data, nbytes, kind = np.concatenate(parts, axis=1)
    return Pages(offset, data, nbytes, kind, tuple(kinds), ">" if form.big_endian else "<")


def next_directory(path: str, pages: Pages) -> int | None:
    """Give the byte behind the last page at which one more directory begins, which no page points to.

    It begins with as many tags as the last one, and with the same first tag.
    """
    last = int(pages.offset.max())
    with Path(path).open("rb") as file:
        form = _form(file.read(16))
        file.seek(last)
        begin = file.read(form.number.size + form.entry.itemsize)
        table = form.number.unpack(begin[: form.number.size])[0] * form.entry.itemsize
        behind = last + form.number.size + table + form.link.size
        file.seek(max(behind, int((pages.data + pages.nbytes).max())))
        at = file.tell()
        found = file.read(FURTHEST).find(begin)
    return None if found < 0 else at + found


def _form(head: bytes) -> _Form:
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    count, number, word = ("Q", "Q", "u8") if big else ("H", "I", "u4")
    fields = [("code", "u2"), ("type", "u2"), ("count", word), ("value", word)]
    entry = np.dtype([(name, order + kind) for name, kind in fields])
    link = struct.Struct(order + number)
    return _Form(
        order == ">",
        struct.Struct(order + count),
        entry,
        link,
        link.unpack_from(head, 8 if big else 4)[0],
    )


def _walk(path: str, file: Any, form: _Form) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of every directory; most are as long as the one before."""
    unpack_count, unpack_link, outside = (
        form.number.unpack_from,
        form.link.unpack_from,
        form.number.size,
    )
    entry, tail = form.entry.itemsize, form.link.size
    offset, length = form.first, outside
    seen: set[int] = set()
    while offset:
        file.seek(offset)
        raw = file.read(length)
        tags = unpack_count(raw)[0] if len(raw) >= outside and offset not in seen else 0
        if not 0 < tags <= MOST_TAGS:
            raise _broken(path, len(seen), offset)
        wanted = outside + tags * entry + tail
        if len(raw) != wanted:
            length = wanted
            file.seek(offset)
            raw = file.read(length)
            if len(raw) != wanted:
                raise _broken(path, len(seen), offset)
        seen.add(offset)
        yield offset, raw
        offset = unpack_link(raw, wanted - tail)[0]


def _columns(batch: list[tuple[int, bytes]], form: _Form, kinds: dict[Tags, int]) -> Columns:
    columns = np.empty((4, len(batch)), np.int64)
    columns[0] = [offset for offset, _ in batch]
    lengths = np.array([len(raw) for _, raw in batch])
    for length in np.unique(lengths).tolist():
        numbers = np.flatnonzero(lengths == length)
        tags = (length - form.number.size - form.link.size) // form.entry.itemsize
        layout = np.dtype(
            [
                ("n", f"V{form.number.size}"),
                ("tags", form.entry, (tags,)),
                ("next", f"V{form.link.size}"),
            ]
        )
        joined = b"".join([batch[number][1] for number in numbers.tolist()])
        table = np.frombuffer(joined, layout)["tags"]
        for start, stop in pairwise(_runs(table)):
            columns[1:, numbers[start:stop]] = _decode(table[start:stop], form, kinds)
    return columns


def _runs(table: NDArray[Any]) -> list[int]:
    """Cut directories into runs that differ in nothing that is compared, nor in the tags' order."""
    code, kind, count, value = (table[name] for name in ("code", "type", "count", "value"))
    changed = (code[1:] != code[:-1]) | (kind[1:] != kind[:-1])
    changed |= (count[1:] != count[:-1]) & FIXED_COUNT[code[1:]]
    changed |= (value[1:] != value[:-1]) & FIXED_VALUE[code[1:]]
    return [0, *(np.flatnonzero(changed.any(axis=1)) + 1).tolist(), len(table)]


def _decode(table: NDArray[Any], form: _Form, kinds: dict[Tags, int]) -> NDArray[np.int64]:
    """Give data, nbytes and kind of directories of one run."""
    columns = np.empty((3, len(table)), np.int64)
    columns[:] = [[-1], [0], [0]]
    at = {code: place for place, code in enumerate(table[0]["code"].tolist())}
    tags: list[tuple[int, int] | None] = [None] * len(SAME)
    for place, code in enumerate(SAME):
        if code in at:
            count = int(table[0, at[code]]["count"])
            tags[place] = count, int(_values(table[:1], at[code], form)[0])
    columns[2] = kinds.setdefault(tuple(tags), len(kinds))
    if all(code in at and table[0, at[code]]["count"] == 1 for code in (OFFSETS, COUNTS)):
        columns[0] = _values(table, at[OFFSETS], form)
        columns[1] = _values(table, at[COUNTS], form)
    return columns


def _values(table: NDArray[Any], place: int, form: _Form) -> NDArray[np.uint64]:
    # A short value stands at the start of its field: at the top in a big-endian file.
    kind, count = table[0, place]["type"], table[0, place]["count"]
    used = TYPE_BITS.get(int(kind), form.bits) if count == 1 else form.bits
    values = table[:, place]["value"].astype(np.uint64)
    if form.big_endian:
        return values >> np.uint64(form.bits - used)
    return values & np.uint64((1 << used) - 1)


def _broken(path: str, number: int, offset: int) -> SourceCorruptError:
    return SourceCorruptError(
        path,
        got=f"{Path(path).stat().st_size} bytes and a page {number} said to start at byte {offset}",
        wanted="an unbroken chain of pages inside the file",
        fix="the file is truncated or damaged: copy it again from the source",
    )
