"""Keywords checked early: what was got, what is wanted, how to mend it."""

from __future__ import annotations

import math
import numbers
from typing import Any

from smlm_dask.errors import ParameterError

__all__ = ["choice", "number", "whole_number"]


def number(name: str, value: Any, *, above: float = -math.inf, at_most: float = math.inf) -> float:
    """``value`` as a finite float above and at most the bounds, or a ``ParameterError``."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and above < value <= at_most):
        low = "" if above == -math.inf else f" above {above:g}"
        high = "" if at_most == math.inf else f" up to {at_most:g}"
        raise ParameterError(
            name, got=repr(value), wanted=f"a finite number{low}{high}", fix=f"check {name}"
        )
    return float(value)


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """``value`` as an int of at least the bound, or a ``ParameterError``."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (whole and value >= at_least):
        raise ParameterError(
            name,
            got=repr(value),
            wanted=f"a whole number of at least {at_least}",
            fix=f"check {name}",
        )
    return int(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of the words, or a ``ParameterError``."""
    if not (isinstance(value, str) and value in allowed):
        raise ParameterError(
            name, got=repr(value), wanted=" or ".join(allowed), fix=f"{name}={allowed[0]!r}"
        )
    return value
