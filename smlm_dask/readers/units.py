"""What files say of the microscope, in nm and s: with a unit and believable, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

from smlm_dask.readers.labels import PIXEL_LIMITS_NM
from smlm_dask.readers.reader import Metadata

__all__ = ["careful", "duration", "one_size", "pixel", "word"]

MICRO = ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre")
LENGTHS = {
    "pm": 1e-3, "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "a": 0.1, "å": 0.1, "mm": 1e6,
    "millimeter": 1e6, "cm": 1e7, "centimeter": 1e7, "m": 1e9, "meter": 1e9, "metre": 1e9,
    "inch": 2.54e7, "in": 2.54e7,
} | dict.fromkeys(MICRO, 1e3)  # fmt: skip
TIMES = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "\\u00b5s": 1e-6, "microsecond": 1e-6,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "s": 1.0, "sec": 1.0,
    "second": 1.0, "seconds": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0,
}  # fmt: skip
TIME_LIMITS_S = (1e-6, 86_400.0)
LONGEST = 200  # characters of a name

Told = ParamSpec("Told")


def careful(tell: Callable[Told, Metadata]) -> Callable[Told, Metadata]:
    """Make ``tell`` say nothing instead of failing: a movie is not refused for what is said of it."""

    @wraps(tell)
    def told(*arguments: Told.args, **keywords: Told.kwargs) -> Metadata:
        try:
            return tell(*arguments, **keywords)
        except Exception:  # noqa: BLE001, what stands in metadata may be anything
            return Metadata()

    return told


def pixel(y: Any, x: Any, unit: Any, unit_x: Any = None) -> tuple[float, float] | None:
    """Give the pixel size ``(y, x)`` in nm, None unless both are believable."""
    pair = (
        _scaled(y, unit, LENGTHS, PIXEL_LIMITS_NM),
        _scaled(x, unit if unit_x is None else unit_x, LENGTHS, PIXEL_LIMITS_NM),
    )
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def one_size(size: Any, unit: Any) -> tuple[float, float] | None:
    """Give the pixel size of square pixels."""
    return pixel(size, size, unit)


def duration(value: Any, unit: Any = "s") -> float | None:
    """Give a time in s, None unless it is believable."""
    return _scaled(value, unit, TIMES, TIME_LIMITS_S)


def word(value: Any) -> str | None:
    """Give a name as text, None for what is none."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    plain = isinstance(text, str) and text.strip() and text.isprintable()
    return str(text).strip()[:LONGEST] if plain else None


def _scaled(
    value: Any, unit: Any, scales: Mapping[str, float], limits: tuple[float, float]
) -> float | None:
    scale = scales.get((word(unit) or "").lower())
    if scale is None or value is None or isinstance(value, bool):
        return None
    try:
        number = float(value) * scale
    except (TypeError, ValueError, OverflowError):
        return None
    # A factor of 1e3 leaves 107.99999999999999 of what was meant as 108.
    number = float(f"{number:.12g}")
    return number if limits[0] <= number <= limits[1] else None
