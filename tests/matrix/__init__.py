"""Bad input and what becomes of it: one table, with a module of rows for each kind of file.

``python -m tests.matrix > docs/bad-input.md`` writes the table into the docs. A module of this package
that has ``TITLE`` and ``ROWS`` is part of the table.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import MovieError, SmlmError
from smlm_dask.movie import open_movie
from tests.tiffs import FRAMES

__all__ = ["FRAMES", "Refused", "Right", "Row", "Unseen", "modules", "outcome", "read"]


@dataclass(frozen=True)
class Right:
    """The values, bit for bit."""

    values: NDArray[Any] = field(default_factory=lambda: FRAMES, repr=False)

    def check(self, found: Any, path: Path) -> None:
        assert isinstance(found, np.ndarray), found
        assert found.dtype == self.values.dtype
        np.testing.assert_array_equal(found, self.values)

    def __str__(self) -> str:
        return "right"


class Refused:
    """An error of a class, with words in its message, which names the file."""

    def __init__(self, kind: type[SmlmError], *words: str) -> None:
        self.kind, self.words = kind, words

    def check(self, found: Any, path: Path) -> None:
        assert type(found) is self.kind, found
        assert found.fix
        for word in (*self.words, path.name):
            assert word in str(found), found

    def __str__(self) -> str:
        return f"`{self.kind.__name__}` " + ", ".join(f'"{word}"' for word in self.words)


@dataclass(frozen=True)
class Unseen:
    """Other values than those that were written, without a word, and why nobody can tell."""

    why: str

    def check(self, found: Any, path: Path) -> None:
        assert isinstance(found, np.ndarray), found
        assert found.shape != FRAMES.shape or not np.array_equal(found, FRAMES)

    def __str__(self) -> str:
        return f"**not seen**: {self.why}"


Verdict = Right | Refused | Unseen


@dataclass(frozen=True)
class Row:
    """How a file is made, how it is opened, and what must become of it."""

    what: str
    name: str
    make: Callable[[Path], object]
    verdict: Verdict
    keywords: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path, keywords: Mapping[str, Any]) -> NDArray[Any]:
    """All samples of a file."""
    movie = open_movie(path, **{"pixel_size": 108} | dict(keywords))
    return np.asarray(movie.compute(scheduler="sync").values)


def outcome(row: Row, folder: Path) -> Any:
    """The samples that a row's file gives, or the error."""
    path = folder / row.name
    row.make(path)
    try:
        return read(path, row.keywords)
    except MovieError as error:
        return error


def modules() -> list[ModuleType]:
    """The modules with files, in the order of their names."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    found = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [module for module in found if hasattr(module, "TITLE")]
