"""Arrays that a file holds by name, with any number of axes in any order: zarr and HDF5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import AxisError, FormatError
from smlm_dask.readers.axes import Plan

__all__ = ["MOVIE", "by_role", "check_unpacked", "choose_array", "read_box"]

MOVIE = "movie"  # the array that is meant where several could be


def by_role(plan: Plan, lengths: Sequence[int]) -> tuple[int, int, int]:
    """Give the lengths of the axes that are frame, y and x."""
    frames, height, width = (lengths[plan.index(p)] if p in plan else 1 for p in "tyx")
    return frames, height, width


def read_box(
    array: Any, plan: Plan, frames: slice, y: slice, x: slice, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Read a box of an array whose axes have the parts in ``plan``, and turn it to (frame, y, x)."""
    boxes = {"t": frames, "y": y, "x": x}
    key = tuple(boxes[part] if isinstance(part, str) else part for part in plan)
    block = np.asarray(array[key])
    left = [part for part in plan if isinstance(part, str)]
    if "t" not in left:
        left, block = ["t", *left], block[np.newaxis][frames]
    order = [left.index(part) for part in "tyx"]
    return np.ascontiguousarray(block.transpose(order), dtype)


def check_unpacked(path: str, attrs: Mapping[str, Any]) -> None:
    """Refuse samples that stand for others by a factor and an offset."""
    packed = {"scale_factor", "add_offset"} & set(attrs)
    if packed:
        raise FormatError(
            path,
            got=f"packed values ({', '.join(sorted(packed))})",
            wanted="samples in ADU",
            fix="open with xarray, which unpacks, and pass the array to as_movie",
        )


def choose_array(path: str, names: Sequence[str]) -> str:
    """Give the name of the one array that can be the movie."""
    if MOVIE in names:
        return MOVIE
    if len(names) != 1:
        listed = f" ({', '.join(names[:20])})" if names else ""
        raise AxisError(
            path,
            got=f"{len(names)} arrays of 3 or more axes{listed}",
            wanted="one movie in the file",
            fix=f'name it with array="{names[0] if names else MOVIE}"',
        )
    return names[0]
