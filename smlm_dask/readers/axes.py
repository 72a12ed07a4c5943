"""Which stored axis is the frame, y and x, and what becomes of the others."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.check import is_whole, shown
from smlm_dask.errors import AxisError, ParameterError

__all__ = ["Plan", "page_numbers", "plan_axes", "taken"]

Plan = tuple[str | int, ...]

# Time, and the letters that stand for a sequence nobody has given a meaning.
FRAME_LETTERS = "tiq"


def plan_axes(
    path: str, stored: str, shape: Sequence[int], axes: str | None, select: Mapping[str, int] | None
) -> Plan:
    """Give each stored axis its part: ``"t"``, ``"y"``, ``"x"``, or the index at which it is taken.

    Parameters
    ----------
    path : str
        The file, for messages.
    stored : str
        One letter for each axis, as the file names them.
    shape : sequence of int
        Length of each axis.
    axes : str, optional
        The letters the user gives instead.
    select : mapping, optional
        Index to take from an axis that is neither frame, y nor x.
    """
    letters = (axes or stored).lower()
    choice = {str(letter).lower(): index for letter, index in (select or {}).items()}
    if len(letters) != len(shape):
        raise _error(path, stored, shape, f"axes={axes!r}", f"axes= with {len(shape)} letters")
    _check_choice(path, letters, shape, choice)
    plan = tuple(_role(letter, size, choice) for letter, size in zip(letters, shape, strict=True))
    extra = [part for part in plan if isinstance(part, str) and part not in "tyx"]
    if extra:
        got = f"{', '.join(map(repr, extra))} besides frame, y and x"
        raise _error(path, letters, shape, got, _fix_for(letters, extra))
    if any(plan.count(name) != 1 for name in "yx") or plan.count("t") > 1:
        raise _error(path, letters, shape, "no single frame, y and x axis", 'axes="tyx" or alike')
    return plan


def _role(letter: str, size: int, choice: Mapping[str, int]) -> str | int:
    if letter in choice:
        return operator.index(choice[letter])
    if letter in "yx":
        return letter
    if size == 1:
        return 0
    return "t" if letter in FRAME_LETTERS else letter


def _check_choice(path: str, letters: str, shape: Sequence[int], choice: Mapping[str, Any]) -> None:
    sizes = dict(zip(letters, shape, strict=True))
    for letter, index in choice.items():
        size = 0 if letter in "yx" or letters.count(letter) > 1 else sizes.get(letter, 0)
        if not is_whole(index) or not 0 <= index < size:
            raise ParameterError(
                f"select of {path}",
                got=f"{{{letter!r}: {shown(index)}}}",
                wanted=f"an index into one of the axes {letters!r} of shape {tuple(shape)}",
                fix='name an axis besides y and x, e.g. select={"c": 0}',
            )


def _fix_for(letters: str, extra: Sequence[str]) -> str:
    if "s" in extra:
        return "convert colour to one channel; a camera movie has one sample per pixel"
    if "?" in extra:
        return f'name them, one letter for each: axes="{"abcztyx"[-len(letters) :]}" or alike'
    choice = ", ".join(f'"{letter}": 0' for letter in extra)
    frames = "" if set(letters) & set(FRAME_LETTERS) else letters.replace(extra[0], "t")
    rename = f', or axes="{frames}" if {extra[0]!r} counts the frames' if frames else ""
    return f"take one with select={{{choice}}}{rename}"


def _error(path: str, letters: str, shape: Sequence[int], got: str, fix: str) -> AxisError:
    return AxisError(
        path,
        got=f"{got} (axes {letters!r}, shape {tuple(shape)})",
        wanted="one channel in one plane: frame, y, x",
        fix=fix,
    )


def page_numbers(path: str, plan: Plan, shape: Sequence[int]) -> NDArray[np.int64]:
    """Give the position of every frame in a file that holds whole (y, x) pages in C order."""
    if plan[-2:] != ("y", "x"):
        raise _error(
            path, "".join(map(str, plan)), shape, "pages cut across y, x", "store y, x last"
        )
    lead = shape[:-2]
    pages = np.arange(math.prod(lead), dtype=np.int64).reshape(lead)
    numbers: NDArray[np.int64] = pages[taken(plan[:-2])].reshape(-1)
    return numbers


def taken(plan: Plan) -> tuple[Any, ...]:
    """Index an array with the axes of ``plan``: all frames, one of everything else."""
    return tuple(slice(None) if part == "t" else part for part in plan)
