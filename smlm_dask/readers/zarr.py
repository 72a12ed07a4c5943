"""Zarr movies: versions 2 and 3, sharded or not, an array, a group, an xarray Dataset, OME-Zarr."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from smlm_dask._graph import chunk_bytes
from smlm_dask.errors import AxisError, FormatError, ParameterError
from smlm_dask.readers.axes import Plan, plan_axes
from smlm_dask.readers.chunk_files import check_links, read_box
from smlm_dask.readers.format import Format
from smlm_dask.readers.reader import Reader

__all__ = ["ZarrFormat", "ZarrFrames"]

METADATA = ("zarr.json", ".zarray", ".zgroup")
LETTERS = {"frame": "t", "time": "t", "channel": "c"}
MOVIE = "movie"


@dataclass(frozen=True)
class ZarrFrames(Reader):
    """An array in a zarr store."""

    name: str
    plan: Plan

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read a box and turn its axes to (frame, y, x)."""
        boxes = {"t": frames, "y": y, "x": x}
        key = tuple(boxes[part] if isinstance(part, str) else part for part in self.plan)
        block = read_box(self.path, self.name, _array(self.path, self.name), key)
        left = [part for part in self.plan if isinstance(part, str)]
        if "t" not in left:
            left, block = ["t", *left], block[np.newaxis][frames]
        order = [left.index(part) for part in "tyx"]
        return np.ascontiguousarray(block.transpose(order), self.dtype)

    def index(self) -> Mapping[str, NDArray[np.int64]]:
        """Integer coordinates of an xarray Dataset: a cropped movie keeps its place."""
        node = zarr.open(self.path, mode="r")
        if not isinstance(node, zarr.Group):
            return {}
        found = {}
        for name, size in zip(("frame", "y", "x"), self.shape, strict=True):
            check_links(self.path, *(f"{name}/{file}" for file in METADATA))
            values = node.get(name)
            if not isinstance(values, zarr.Array) or values.shape != (size,):
                continue
            if values.dtype.kind in "iu":
                found[name] = np.asarray(values[:]).astype(np.int64)
        return found


class ZarrFormat(Format):
    """A folder with zarr metadata; ``array`` names the array inside a group that holds several."""

    description = "Open movies in zarr stores with smlm_dask"
    words = "zarr"
    several = True

    def holds(self, path: str) -> bool:
        """Tell by the metadata: a store may have any name."""
        return any(Path(path, name).is_file() for name in METADATA)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> ZarrFrames:
        """Find the array of the movie and its axes."""
        return _open(path, axes, select, array)


def _open(
    path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
) -> ZarrFrames:
    check_links(path, *METADATA)
    node = zarr.open(path, mode="r")
    if array is not None:
        _check_name(path, node, array)
    name, letters = _find(path, node, array) if isinstance(node, zarr.Group) else ("", None)
    check_links(path, *(f"{name}/{file}" for file in METADATA))
    stored = _array(path, name)
    _check_unpacked(path, stored)
    letters = letters or _letters(stored)
    plan = plan_axes(path, letters, stored.shape, axes, select)
    chunk = _chunk(stored)
    dtype = np.dtype(stored.dtype).newbyteorder("=")
    return ZarrFrames(path, _by_role(plan, stored.shape), dtype, _by_role(plan, chunk), name, plan)


def _by_role(plan: Plan, lengths: tuple[int, ...]) -> tuple[int, int, int]:
    frames, height, width = (lengths[plan.index(p)] if p in plan else 1 for p in "tyx")
    return frames, height, width


def _array(path: str, name: str) -> zarr.Array[Any]:
    return zarr.open_array(path, path=name, mode="r")


def _chunk(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Give the shard if it fits the byte budget, otherwise the chunk: both read without waste."""
    shard = array.shards
    if shard is not None and math.prod(shard) * array.dtype.itemsize <= chunk_bytes():
        return tuple(shard)
    return tuple(array.chunks)


def _find(path: str, group: zarr.Group, array: str | None) -> tuple[str, str | None]:
    """Name and axis letters of the movie in a group."""
    attrs: dict[str, Any] = dict(group.attrs)
    images = attrs.get("ome", attrs).get("multiscales")
    if images and array is None:
        letters = "".join(str(a["name"] if isinstance(a, dict) else a) for a in images[0]["axes"])
        return str(images[0]["datasets"][0]["path"]), letters
    if array is not None:
        return array, None
    names = {name: item.ndim for name, item in group.arrays() if item.ndim >= 3}
    if MOVIE in names:
        return MOVIE, None
    if len(names) != 1:
        raise _choose(path, f"{len(names)} arrays of 3 or more axes", sorted(names))
    return next(iter(names)), None


def _check_name(path: str, node: zarr.Group | zarr.Array[Any], array: str) -> None:
    try:
        found = node.get(array) if isinstance(node, zarr.Group) else None
    except ValueError:  # what zarr says to a name with dots
        found = None
    if not isinstance(found, zarr.Array):
        names = sorted(node.array_keys()) if isinstance(node, zarr.Group) else []
        raise ParameterError(
            f"array of {path}",
            got=repr(array),
            wanted="nothing: the store is one array"
            if isinstance(node, zarr.Array)
            else f"an array in the group, whose arrays are {names} and those of inner groups",
            fix=f"array={names[0]!r}" if names else "leave it out",
        )


def _letters(array: zarr.Array[Any]) -> str:
    attrs: dict[str, Any] = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or attrs.get("_ARRAY_DIMENSIONS")
    plain = {2: "yx", 3: "tyx"}.get(array.ndim, "?" * array.ndim)
    if not names or all(name is None or str(name).startswith("dim_") for name in names):
        return plain
    letters = [LETTERS.get(str(name).lower(), str(name).lower()) for name in names]
    return "".join(letter if len(letter) == 1 else "?" for letter in letters)


def _check_unpacked(path: str, array: zarr.Array[Any]) -> None:
    packed = {"scale_factor", "add_offset"} & set(array.attrs)
    if packed:
        raise FormatError(
            path,
            got=f"packed values ({', '.join(sorted(packed))})",
            wanted="samples in ADU",
            fix="open with xarray.open_zarr, which unpacks, and pass the array to as_movie",
        )


def _choose(path: str, got: str, names: list[str]) -> AxisError:
    listed = f" ({', '.join(names)})" if names else ""
    return AxisError(
        path,
        got=f"{got}{listed}",
        wanted="one movie in the store",
        fix='name it with array="movie"',
    )
