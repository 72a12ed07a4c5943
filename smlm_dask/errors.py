"""One family of errors; every message says what was got, what is wanted and how to mend it."""

from __future__ import annotations

__all__ = [
    "AxisError",
    "ClusterError",
    "DimsError",
    "DtypeError",
    "EmptyMovieError",
    "FormatError",
    "FrameCountError",
    "FrameShapeError",
    "MemoryLimitError",
    "MovieError",
    "ParameterError",
    "PixelSizeError",
    "SmlmError",
    "SourceCorruptError",
    "StoreError",
    "TableError",
    "TooFewFramesError",
    "VariableError",
    "WorkerMemoryError",
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


class MovieError(SmlmError):
    """Base of all that can be wrong with a movie or its file."""


class FormatError(MovieError):
    """No file, one of a kind that is not read here, or one that holds no camera movie."""


class AxisError(MovieError):
    """A file whose axes or arrays have several meanings: which one is meant must be told."""


class FrameShapeError(MovieError):
    """A frame of another size, type or packing than the first."""


class FrameCountError(MovieError):
    """More or fewer frames than the file says it has."""


class SourceCorruptError(MovieError):
    """A damaged file."""


class DimsError(MovieError):
    """Dimensions are missing, unknown or in another order."""


class DtypeError(MovieError):
    """The samples are not real numbers of a supported type."""


class EmptyMovieError(MovieError):
    """An axis has length zero."""


class TooFewFramesError(MovieError):
    """The movie is too short for what is asked."""


class PixelSizeError(MovieError):
    """The pixel size is missing, not finite or not positive."""


class ParameterError(SmlmError):
    """A keyword has a value that cannot work."""


class TableError(SmlmError):
    """A localization table lacks a column or holds impossible values."""


class VariableError(SmlmError):
    """A result does not match the dims and unit declared for it."""


class StoreError(SmlmError):
    """A result cannot be written, or a store is incomplete."""


class ClusterError(SmlmError):
    """Workers were lost or never came, so that something cannot be computed."""


class WorkerMemoryError(ClusterError):
    """A task was given up because the workers that tried it were stopped for their memory."""


class MemoryLimitError(SmlmError):
    """A computation takes more memory than there is."""
