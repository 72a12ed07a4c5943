"""The numbers in the names of files: their order, which of them counts the frames, and gaps."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import AxisError, FrameCountError
from smlm_dask.readers.raw import pack, unpack

__all__ = ["Names", "Parts", "frame_order", "natural_order", "pack_names", "take_apart"]

EVERY_FILE = 'axes="tyx" takes every page of every file as a frame, in the order of the names'
NUMBER = re.compile(r"(\d{1,18})")  # more digits would not fit 64 bits
# A number behind such a word counts something else than frames.
OTHER = re.compile(
    r"(?:^|[\W_\d])(?:pos|position|xy|fov|field|well|site|series|ch|channel|cam|camera|wave|w|c|z|"
    r"slice|plane|tile)[ _-]*$",
    re.IGNORECASE,
)
MOST_SHOWN = 6

Columns = NDArray[np.int64]


class Parts(NamedTuple):
    """Names that are made alike: ``numbers`` (file, place) with as many digits as ``lengths`` tells."""

    texts: tuple[str, ...]
    numbers: Columns
    lengths: Columns


def take_apart(names: Sequence[str]) -> Parts | None:
    """Part names into text and numbers; None where their texts differ.

    By the bytes of all names of one length at a time: a regular expression for each of 100,000 names
    takes several times as long as to list the folder.
    """
    size = np.fromiter(map(len, names), np.int64, len(names))
    parts = [_alike(names, np.flatnonzero(size == length)) for length in np.unique(size).tolist()]
    parts = parts if all(parts) else [_one_by_one(names)]
    texts = {part[1].texts for part in parts if part is not None}
    if None in parts or len(texts) > 1:
        return None
    at, numbers, lengths = (
        np.concatenate(column)
        for column in zip(
            *((at, p.numbers, p.lengths) for at, p in filter(None, parts)), strict=True
        )
    )
    order = np.argsort(at)
    return Parts(texts.pop(), numbers[order], lengths[order])


def _alike(names: Sequence[str], at: Columns) -> tuple[Columns, Parts] | None:
    """Take names of one length apart at the places of the numbers in the first of them."""
    first = names[int(at[0])]
    raw = np.array([names[number] for number in at.tolist()], np.str_)
    letters = raw.view(np.uint32).reshape(at.size, len(first))
    runs = [run.span() for run in NUMBER.finditer(first)]
    text = np.ones(len(first), bool)
    for start, stop in runs:
        text[start:stop] = False
    digits = letters[:, ~text].astype(np.int64) - ord("0")
    if (letters[:, text] != letters[0, text]).any() or (digits < 0).any() or (digits > 9).any():
        return None
    numbers = np.zeros((at.size, len(runs)), np.int64)
    for place, (start, stop) in enumerate(runs):
        powers = 10 ** np.arange(stop - start - 1, -1, -1, dtype=np.int64)
        numbers[:, place] = (letters[:, start:stop].astype(np.int64) - ord("0")) @ powers
    lengths = np.tile([stop - start for start, stop in runs], (at.size, 1)).astype(np.int64)
    return at, Parts(tuple(NUMBER.split(first)[::2]), numbers, lengths)


def _one_by_one(names: Sequence[str]) -> tuple[Columns, Parts] | None:
    parts = [NUMBER.split(name) for name in names]
    texts = {tuple(part[::2]) for part in parts}
    if len(texts) > 1:
        return None
    numbers = np.array([list(map(int, part[1::2])) for part in parts], np.int64)
    lengths = np.array([list(map(len, part[1::2])) for part in parts], np.int64)
    return np.arange(len(names)), Parts(texts.pop(), numbers, lengths)


def natural_order(names: Sequence[str], parts: Parts | None) -> Columns:
    """Order by numbers as numbers: ``img2`` before ``img10``."""
    if parts is None:
        return np.array(sorted(range(len(names)), key=lambda at: _natural(names[at])), np.int64)
    return np.lexsort([*parts.lengths.T[::-1], *parts.numbers.T[::-1], np.zeros(len(names))])


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = NUMBER.split(name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], name


def frame_order(path: str, names: Sequence[str], parts: Parts | None) -> Columns:
    """Order by the number that counts the frames, or say why there is none.

    Parameters
    ----------
    path : str
        Folder or pattern, for messages.
    names : sequence of str
        File names.
    parts : Parts, optional
        The same, taken apart.
    """
    if len(names) == 1:
        return np.zeros(1, np.int64)
    if parts is None:
        raise _several(path, names)
    column = _counter(path, names, parts.numbers)
    if OTHER.search(parts.texts[column]):
        raise _no_frames(path, f"files numbered behind {parts.texts[column]!r}", names)
    order = np.argsort(parts.numbers[:, column], kind="stable")
    _check_gaps(path, [names[at] for at in order.tolist()], parts.numbers[order, column])
    return order


def _counter(path: str, names: Sequence[str], numbers: Columns) -> int:
    """Find the number that is another one in each file; of several the one without gaps."""
    alone = [
        at for at in range(numbers.shape[1]) if np.unique(numbers[:, at]).size == numbers.shape[0]
    ]
    if not alone:
        changing = sum(np.unique(column).size > 1 for column in numbers.T)
        raise _no_frames(path, f"files that differ in {changing} numbers", names)
    return next((at for at in alone if not _gaps(np.sort(numbers[:, at])).size), alone[0])


def _gaps(rising: Columns) -> Columns:
    steps = np.diff(rising)
    return np.flatnonzero(steps != steps.min())


def _check_gaps(path: str, names: Sequence[str], numbers: Columns) -> None:
    gaps = _gaps(numbers)
    if gaps.size:
        at = int(gaps[0])
        more = f" and {gaps.size - 1} more gaps" if gaps.size > 1 else ""
        raise FrameCountError(
            path,
            got=f"{len(names)} files with a gap from {names[at]} to {names[at + 1]}{more}",
            wanted=f"all numbers from {numbers[0]} to {numbers[-1]}",
            fix=f"copy the missing files; {EVERY_FILE}, without the missing ones",
        )


def _several(path: str, names: Sequence[str]) -> AxisError:
    kinds = list({tuple(NUMBER.split(name)[::2]): name for name in names}.values())
    return AxisError(
        path,
        got=f"{len(names)} files with {len(kinds)} kinds of names, such as "
        f"{', '.join(kinds[:MOST_SHOWN])}",
        wanted="one movie: names that differ in a number only",
        fix=f'name those that belong together with a pattern such as ".../{NUMBER.sub("*", kinds[0])}"; '
        f"{EVERY_FILE}",
    )


def _no_frames(path: str, got: str, names: Sequence[str]) -> AxisError:
    return AxisError(
        path,
        got=f"{got}, from {names[0]} to {names[-1]}",
        wanted="one movie: names that differ in the number of the frame only",
        fix=f"name one channel, plane and place with a pattern with * for the frame; {EVERY_FILE}",
    )


class Names(NamedTuple):
    """File names, packed: 100,000 that differ in a number take some 200 bytes.

    ``columns`` are the numbers between ``texts``, each filled up with zeros to its entry in ``widths``.
    """

    texts: tuple[str, ...]
    widths: tuple[int, ...]
    columns: tuple[bytes, ...]

    def name(self, at: int) -> str:
        """Give the name of file ``at``."""
        if not self.texts:
            return _lines(self.columns[0])[at]
        values = [str(unpack(column)[at]) for column in self.columns]
        digits = [value.zfill(width) for value, width in zip(values, self.widths, strict=True)]
        return "".join(text + digit for text, digit in zip(self.texts, [*digits, ""], strict=True))


def pack_names(names: Sequence[str], parts: Parts | None) -> Names:
    """Pack file names; as a text where their numbers are written in different ways."""
    if parts is not None:
        widths = parts.lengths.min(axis=0)
        digits = np.searchsorted(10 ** np.arange(1, 19, dtype=np.int64), parts.numbers, "right") + 1
        if (parts.lengths == np.maximum(digits, widths)).all():
            columns = tuple(pack(np.ascontiguousarray(column)) for column in parts.numbers.T)
            return Names(parts.texts, tuple(widths.tolist()), columns)
    return Names((), (), (zlib.compress("\n".join(names).encode("utf-8", "surrogateescape")),))


@lru_cache(maxsize=4)
def _lines(packed: bytes) -> list[str]:
    return zlib.decompress(packed).decode("utf-8", "surrogateescape").split("\n")
