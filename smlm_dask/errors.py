"""One family of errors; every message says what was got, what is wanted and how to mend it."""

from __future__ import annotations

__all__ = [
    "DimsError",
    "DtypeError",
    "EmptyMovieError",
    "ParameterError",
    "PixelSizeError",
    "ReaderError",
    "SmlmError",
    "StoreError",
    "TableError",
    "TooFewFramesError",
    "VariableError",
]


class SmlmError(ValueError):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    what : str
        The thing that is wrong, e.g. ``"movie"`` or a file's path.
    got, wanted, fix : str
        What was found, what is needed, and the line that mends it.
    """

    def __init__(self, what: str, *, got: str, wanted: str, fix: str) -> None:
        super().__init__(f"{what}: got {got}; wanted {wanted}. Fix: {fix}")
        self.what, self.got, self.wanted, self.fix = what, got, wanted, fix

    def __reduce__(self) -> tuple[object, ...]:
        # An exception with keyword-only arguments does not unpickle by itself, and workers pickle.
        return _rebuild, (type(self), self.what, self.got, self.wanted, self.fix)


def _rebuild(kind: type[SmlmError], what: str, got: str, wanted: str, fix: str) -> SmlmError:
    return kind(what, got=got, wanted=wanted, fix=fix)


class DimsError(SmlmError):
    """Dimensions are missing, unknown or in another order."""


class DtypeError(SmlmError):
    """The samples are not real numbers of a supported type."""


class EmptyMovieError(SmlmError):
    """An axis has length zero."""


class TooFewFramesError(SmlmError):
    """The movie is too short for what is asked."""


class PixelSizeError(SmlmError):
    """The pixel size is missing, not finite or not positive."""


class ParameterError(SmlmError):
    """A keyword has a value that cannot work."""


class ReaderError(SmlmError):
    """A file cannot be read as a movie."""


class TableError(SmlmError):
    """A localization table lacks a column or holds impossible values."""


class VariableError(SmlmError):
    """A result does not match the dims and unit declared for it."""


class StoreError(SmlmError):
    """A result cannot be written, or a store is incomplete."""
