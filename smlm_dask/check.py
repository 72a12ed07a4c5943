"""Keywords checked early: what was got, what is wanted, how to mend it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.utils import parse_bytes

from smlm_dask.errors import ParameterError

__all__ = ["choice", "chunk_sizes", "flag", "number", "pair", "shown", "size", "whole_number"]

LONGEST = 200  # characters of a wrong value in a message


def shown(value: Any) -> str:
    """``repr`` in one line of bearable length, whatever was passed by mistake."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an int of more than 4300 digits
        text = f"{type(value).__name__} that is too long to show"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    fix: str = "",
) -> float:
    """``value`` as a finite float within the bounds, or a ``ParameterError``."""
    found = _real(value)
    if not (math.isfinite(found) and above < found and at_least <= found <= at_most):
        wanted = f"a finite number{_bounds(above, at_least, at_most)}"
        raise ParameterError(name, got=shown(value), wanted=wanted, fix=fix or f"check {name}")
    return found


def pair(
    name: str,
    value: Any,
    *,
    alone: bool = True,
    above: float = -math.inf,
    at_least: float = -math.inf,
    fix: str = "",
) -> tuple[float, float]:
    """``value`` as two finite floats within the bounds; with ``alone`` one number stands for both."""
    two = (value, value) if alone and isinstance(value, numbers.Real) else value
    size = (
        two.shape if isinstance(two, np.ndarray) else isinstance(two, tuple | list) and (len(two),)
    )
    if size != (2,):
        one = f"a number{_bounds(above, at_least)} or " if alone else ""
        wanted = f"{one}a pair of numbers{_bounds(above, at_least)}"
        raise ParameterError(name, got=shown(value), wanted=wanted, fix=fix or f"check {name}")
    first, second = (number(name, v, above=above, at_least=at_least, fix=fix) for v in two)
    return first, second


def whole_number(
    name: str, value: Any, *, at_least: int, at_most: float = math.inf, fix: str = ""
) -> int:
    """``value`` as an int within the bounds, or a ``ParameterError``."""
    if not (is_whole(value) and at_least <= value <= at_most):
        high = "" if at_most == math.inf else f" and at most {at_most}"
        raise ParameterError(
            name,
            got=shown(value),
            wanted=f"a whole number of at least {at_least}{high}",
            fix=fix or f"check {name}",
        )
    return int(value)


def size(name: str, value: Any) -> int:
    """``value``, a number or words like "2 GB", as bytes, or a ``ParameterError``."""
    try:
        # For dask no words are one byte.
        told = not isinstance(value, bool) and str(value).strip()
        found = int(parse_bytes(value)) if told else 0
    except (AttributeError, OverflowError, TypeError, ValueError):
        found = 0
    if found <= 0:
        raise ParameterError(name, got=shown(value), wanted="a size", fix=f'{name}="4 GB"')
    return found


def is_whole(value: Any) -> bool:
    """Whether ``value`` is an integer, of Python or numpy, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def flag(name: str, value: Any, *, fix: str = "") -> bool:
    """``value`` if it is True or False, or a ``ParameterError``."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(
            name, got=shown(value), wanted="True or False", fix=fix or f"{name}=True"
        )
    return bool(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of the words, or a ``ParameterError``."""
    if not (isinstance(value, str) and value in allowed):
        raise ParameterError(
            name, got=shown(value), wanted=" or ".join(allowed), fix=f"{name}={allowed[0]!r}"
        )
    return value


def chunk_sizes(
    chunks: Any, lengths: Mapping[str, int], default: Mapping[str, int]
) -> dict[str, Any]:
    """Chunk sizes by dimension, or a ``ParameterError``; dimensions left alone are left out.

    A number is the length of the first dimension with the others whole, three values are one for
    each, ``"auto"`` is the default.
    """
    if isinstance(chunks, str) and chunks == "auto":
        return dict(default)
    if not isinstance(chunks, Mapping):
        given = chunks if isinstance(chunks, tuple | list) else (chunks, -1, -1)
        chunks = dict(zip(lengths, given, strict=True)) if len(given) == len(lengths) else given
    sizes = chunks if isinstance(chunks, Mapping) else {"": chunks}
    sizes = {name: size for name, size in sizes.items() if size is not None}
    autos = [name for name, size in sizes.items() if isinstance(size, str) and size == "auto"]
    sizes |= {name: default[name] for name in autos if name in default}
    if not all(name in lengths and _cuts(size, lengths[name]) for name, size in sizes.items()):
        raise ParameterError(
            "chunks",
            got=shown(chunks),
            wanted=f"frames in a chunk, or for each of {', '.join(lengths)} a size from 1, -1 for all"
            f' of it, "auto", or sizes that add up to {tuple(lengths.values())}',
            fix='chunks=100 or chunks={"frame": 100}, or leave it out',
        )
    return sizes


def _cuts(size: Any, length: int) -> bool:
    """Whether ``size`` says how to cut an axis."""
    if isinstance(size, tuple | list):
        return all(is_whole(n) and n > 0 for n in size) and sum(size) == length
    return is_whole(size) and (size > 0 or size == -1)


def _real(value: Any) -> float:
    """NaN for all that is no real number."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an int of more than 308 digits
        return math.inf


def _bounds(above: float, at_least: float, at_most: float = math.inf) -> str:
    low = f" above {above:g}" if above > -math.inf else ""
    low = f" from {at_least:g}" if at_least > -math.inf else low
    return low + ("" if at_most == math.inf else f" up to {at_most:g}")
