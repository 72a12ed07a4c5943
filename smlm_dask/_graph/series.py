"""A background series, and the few of its images that a block of frames needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from numpy.typing import DTypeLike, NDArray

from smlm_dask._graph.arrays import (
    Array,
    Kernel,
    Tasks,
    argument,
    block,
    build,
    from_array,
    image_bytes,
    named,
    spans,
)
from smlm_dask._graph.frames import one_image_each
from smlm_dask._graph.places import LADDER, placed
from smlm_dask._graph.reduce import whole

# (i, lo, hi), a block of frames -> its images (entry, y, x), and the one of them that each frame has.
Supply = Callable[[int, int, int], tuple[Any, Any]]


@dataclass(frozen=True)
class Series:
    """Images (entry, y, x), the entry of each frame, and an offset for each frame.

    With a ``share``, of the next entry in each frame, and a ``scale``, the light of each frame, a frame has
    ``dark + scale ((1 - share) image + share next - dark) + offset``; ``dark`` is a number or (y, x).
    A lazy ``index`` points to ``used`` entries, and which these are is known when all images are. The
    frames where each entry's window begins and ends, in memory, still tell the few that a frame may
    have. ``error`` are images of standard deviations, and ``overlap``, for each frame, how far those of its
    two entries are of the same errors.
    """

    images: Any
    index: Any
    offset: Any
    starts: NDArray[np.int64] | None = None
    stops: NDArray[np.int64] | None = None
    used: Any = None
    share: Any = None
    scale: Any = None
    dark: Any = 0.0
    error: Any = None
    overlap: Any = None

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All that may be lazy, without ``used``."""
        numbers = self.index, self.offset, self.share, self.scale, self.overlap
        return self.images, *numbers, self.dark, self.error

    @property
    def known(self) -> bool:
        """Whether the image of each frame is known before anything is computed."""
        return not isinstance(self.index, da.Array)


def series_map(
    kernel: Kernel,
    per_frame: Array,
    series: Array,
    index: NDArray[np.int64] | Array,
    *,
    dtype: DTypeLike,
) -> Array:
    """``kernel(block, numbers, local_index)`` for every block of ``per_frame`` (frame,).

    ``numbers`` are the entries of ``series`` (entry,) that ``index`` names for these frames. An index in
    memory brings only those, so that a part of the movie can be had alone; a lazy one brings all.
    """
    index = like_frames(index, per_frame)
    if isinstance(index, da.Array):
        series = whole(series)
        supply = _all(series, index)
    else:
        series = one_image_each(series)
        supply = _by_index(series, index, None)
    name, count = named(kernel, per_frame, series, index), per_frame.numblocks[0]
    tasks: Tasks = {}
    for i, (lo, hi) in enumerate(spans(per_frame.chunks[0])):
        part = block(per_frame, i)
        tasks[name, i] = placed((name, i), count - i, kernel, part, *supply(i, lo, hi))
    return build(name, tasks, [per_frame, series, index, LADDER], (per_frame.chunks[0],), dtype)


def supply_of(series: Series, data: Array) -> tuple[Supply, list[Any]]:
    """What gives each block of ``data`` its images, and the arrays that it refers to."""
    index = like_frames(series.index, data)
    images = one_image_each(from_array(series.images, (1, -1, -1)))
    if series.known:
        return _by_index(images, index, series.share), [images, index]
    if series.starts is None or series.stops is None:
        images = whole(images)
        return _all(images, index), [images, index]
    around = _used_around(images, whole(from_array(series.used)))
    return _around(around, index, series.starts, series.stops), [around, index]


def levels_of(series: Series, data: Array) -> tuple[Callable[[int], Any], list[Any]]:
    """What gives each block of ``data`` the numbers of its frames, and the arrays that it refers to."""
    offset = like_frames(from_array(series.offset), data)
    if series.share is None:
        return lambda i: block(offset, i), [offset]
    numbers = series.scale, series.share, series.overlap
    own = [offset, *(like_frames(from_array(a), data) for a in numbers)]
    dark = whole(series.dark)

    def levels(i: int) -> Any:
        return Task(None, mixture, *(block(a, i) for a in own), argument(dark))

    return levels, [*own, dark]


def mixture(offset: Any, scale: Any, share: Any, overlap: Any, dark: Any) -> NDArray[np.float64]:
    """What each frame has of an adu, its image, the next one, and a last one, ``dark``: (frame, 5).

    The last column is the ``overlap``. A ``dark`` that is a number needs no image.
    """
    rest = 1 - scale
    plain = np.ndim(dark) == 0
    columns = (
        offset + rest * dark if plain else offset,
        scale * (1 - share),
        scale * share,
        np.zeros_like(rest) if plain else rest,
        overlap,
    )
    return np.stack(columns, axis=1)


def like_frames(value: Any, data: Array) -> Any:
    """Cut a lazy number for each frame like the movie."""
    return value.rechunk((data.chunks[0],)) if isinstance(value, da.Array) else value


def _by_index(images: Array, index: NDArray[np.int64], share: Any) -> Supply:
    """The entries that the frames of a block have a share of, and the place of each frame's own."""
    if share is None or isinstance(share, da.Array):
        mixed = np.full(len(index), share is not None)
    else:
        mixed = np.asarray(share) > 0

    last = len(images) - 1

    def supply(i: int, lo: int, hi: int) -> tuple[Any, Any]:
        own = index[lo:hi]
        following = np.minimum(own[mixed[lo:hi]] + 1, last)
        needed = np.unique(np.concatenate([own, following]))
        local = np.searchsorted(needed, own)
        refs = [block(images, int(j), *(0,) * (images.ndim - 1)) for j in needed]
        if len(refs) == 1:
            return refs[0], local
        empty = np.empty((0, *images.shape[1:]), images.dtype)
        return Task(None, _stack, *refs) if refs else empty, local

    return supply


def _stack(*parts: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(parts)


def _all(images: Array, index: Array) -> Supply:
    return lambda i, lo, hi: (block(images, *(0,) * images.ndim), block(index, i))


def _used_around(images: Array, used: Array) -> Array:
    """For each entry the last used one up to it and the first from it on, with its number.

    Each looks at its neighbour, so that a block of frames refers to a few of them. Referring to every
    image instead made a graph that grew with the square of the movie.
    """
    name, n = named(_used_around, images, used), len(images)
    tasks: Tasks = {}
    for j in range(n):
        own = block(used, 0), j, block(images, j, 0, 0)
        before = TaskRef((name, 0, j - 1)) if j else None
        after = TaskRef((name, 1, j + 1)) if j + 1 < n else None
        tasks[name, 0, j] = Task((name, 0, j), _nearest, *own, before)
        tasks[name, 1, j] = Task((name, 1, j), _nearest, *own, after)
    held = {name: image_bytes(images, images.dtype.itemsize)}
    return build(name, tasks, [images, used], ((1, 1), (1,) * n), object, held)


def _nearest(used: NDArray[np.bool_], j: int, image: NDArray[Any], other: Any) -> Any:
    return (j, image) if used[j] or other is None else other


def _around(
    around: Array, index: Array, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> Supply:
    """Whatever the rule, a frame's image is that of a used window next to it in time."""

    def supply(i: int, lo: int, hi: int) -> tuple[Any, Any]:
        first = max(int(np.searchsorted(stops, lo, "right")) - 1, 0)
        last = min(int(np.searchsorted(starts, hi)), len(starts) - 1)
        refs = [block(around, side, j) for side in range(2) for j in range(first, last + 1)]
        here = block(index, i)
        return Task(None, _needed, here, *refs), Task(None, _local, here)

    return supply


def _needed(index: NDArray[np.int64], *candidates: tuple[int, NDArray[Any]]) -> NDArray[Any]:
    images = dict(candidates)
    return np.concatenate([images[j] for j in np.unique(index).tolist()])


def _local(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(index, return_inverse=True)[1]
