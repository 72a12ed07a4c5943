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
from smlm_dask.errors import ParameterError, SourceCorruptError
from smlm_dask.folder import MARK
from smlm_dask.readers.axes import Plan, plan_axes
from smlm_dask.readers.chunk_files import CheckedArray, check_links
from smlm_dask.readers.format import Format
from smlm_dask.readers.named import MOVIE, by_role, check_unpacked, choose_array, read_box
from smlm_dask.readers.reader import Metadata, Reader
from smlm_dask.readers.units import careful, duration, pixel, word

__all__ = ["ZarrFormat", "ZarrFrames"]

METADATA = ("zarr.json", ".zarray", ".zgroup")
LETTERS = {"frame": "t", "time": "t", "channel": "c"}


@dataclass(frozen=True)
class ZarrFrames(Reader):
    """An array in a zarr store."""

    name: str
    plan: Plan

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read a box and turn its axes to (frame, y, x)."""
        array = CheckedArray(self.path, self.name, _array(self.path, self.name))
        return read_box(array, self.plan, frames, y, x, self.dtype)

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
    if isinstance(node, zarr.Group):
        _check_finished(path, node)
    if array is not None:
        _check_name(path, node, array)
    name, letters = _find(path, node, array) if isinstance(node, zarr.Group) else ("", None)
    check_links(path, *(f"{name}/{file}" for file in METADATA))
    stored = _array(path, name)
    check_unpacked(path, stored.attrs)
    letters = letters or _letters(stored)
    plan = plan_axes(path, letters, stored.shape, axes, select)
    chunk = _chunk(stored)
    dtype = np.dtype(stored.dtype).newbyteorder("=")
    shape = by_role(plan, stored.shape)
    told = _told(node, name).of_channel((axes or letters).lower(), plan, stored.shape)
    return ZarrFrames(path, shape, dtype, by_role(plan, chunk), name, plan, metadata=told)


def _check_finished(path: str, group: zarr.Group) -> None:
    """What `ingest` wrote is whole: a shard that is not there would read as zeros."""
    if group.attrs.get(MARK) != MOVIE:
        return
    stored = group.get(MOVIE)
    ended = group.attrs.get("complete") is True
    if not (ended and isinstance(stored, zarr.Array) and _is_whole(stored)):
        raise SourceCorruptError(
            path,
            got="a movie that lost shards" if ended else "a movie whose writing did not end",
            wanted="all of its shards",
            fix="ingest it again from its source: an interrupted copy goes on where it stopped",
        )


def _is_whole(array: zarr.Array[Any]) -> bool:
    """Whether every shard has its file; zarr counts the chunks that one may hold."""
    shard = array.shards or array.chunks
    each = math.prod(s // c for s, c in zip(shard, array.chunks, strict=True))
    wanted = math.prod(-(-n // s) for n, s in zip(array.shape, shard, strict=True))
    return array.nchunks_initialized == wanted * each


@careful
def _told(node: zarr.Group | zarr.Array[Any], name: str) -> Metadata:
    if isinstance(node, zarr.Array):
        return Metadata()
    attrs: dict[str, Any] = dict(node.attrs)
    ome = attrs.get("ome", attrs)
    image = (ome.get("multiscales") or [{}])[0]
    paths = [level.get("path") for level in image.get("datasets", ())]
    if name in paths:
        return _ome_told(image, image["datasets"][paths.index(name)], ome.get("omero", {}))
    return _own_told(node, name)


def _ome_told(
    image: Mapping[str, Any], level: Mapping[str, Any], omero: Mapping[str, Any]
) -> Metadata:
    """Scales of the image and of its level are one after the other."""
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
    scale = dict.fromkeys((axis["name"] for axis in axes), 1.0)
    told = 0
    for one in (
        *level.get("coordinateTransformations", ()),
        *image.get("coordinateTransformations", ()),
    ):
        if one.get("type") == "scale":
            told += 1
            scale = {
                name: scale[name] * float(f) for name, f in zip(scale, one["scale"], strict=True)
            }
    unit = {axis["name"]: axis.get("unit") for axis in axes}
    names = [word(channel.get("label")) for channel in omero.get("channels", ())]
    return Metadata(
        pixel_size=pixel(scale["y"], scale["x"], unit["y"], unit["x"]) if told else None,
        frame_time=duration(scale.get("t"), unit.get("t")) if told else None,
        channels=tuple(name for name in names if name) if all(names) else (),
    )


def _own_told(group: zarr.Group, name: str) -> Metadata:
    """What `open_movie` gives and `store` or xarray writes: coordinates and attributes."""
    (y, unit_y), (x, unit_x) = (_coordinate(group, f"pixel_size_{axis}") for axis in "yx")
    (seconds, unit), (frame, _) = (_coordinate(group, axis) for axis in ("time", "frame"))
    known: dict[str, Any] = dict(group[name].attrs)
    rate = None
    if seconds is not None and frame is not None and len(frame) > 1:
        steps = np.diff(seconds) / np.diff(frame)
        rate = float(steps[0]) if np.allclose(steps, steps[0], rtol=1e-6) else None
    return Metadata(
        pixel_size=pixel(y, x, unit_y, unit_x),
        frame_time=duration(rate, unit),
        exposure=duration(known.get("exposure")),
        camera=word(known.get("camera")),
        channel=word(known.get("channel")),
    )


def _coordinate(group: zarr.Group, name: str) -> tuple[Any, Any]:
    """Values and unit of a coordinate."""
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        return None, None
    return np.asarray(found[...]), found.attrs.get("units")


def _array(path: str, name: str) -> zarr.Array[Any]:
    return zarr.open_array(path, path=name, mode="r")


def _chunk(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Give the shard if it fits the byte budget, otherwise the chunk: both read without waste."""
    shard = array.shards
    if shard is None:
        return tuple(array.chunks)
    # Of a shard that is larger than the movie only what lies in it is read.
    shard = tuple(map(min, shard, array.shape))
    if math.prod(shard) * array.dtype.itemsize <= chunk_bytes():
        return shard
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
    names = [name for name, item in group.arrays() if item.ndim >= 3]
    return choose_array(path, sorted(names)), None


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
