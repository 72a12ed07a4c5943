"""HDF5 movies: PYME's, dcnum's and DCOR's ``.rtdc``, and any file with one stack of frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import AxisError, FormatError, FrameCountError, ParameterError
from smlm_dask.readers.axes import Plan, plan_axes
from smlm_dask.readers.format import Format
from smlm_dask.readers.hdf5_file import check_inside, opened, resolve
from smlm_dask.readers.named import by_role, check_unpacked, choose_array, read_box
from smlm_dask.readers.reader import Metadata, Reader
from smlm_dask.readers.units import careful, duration, one_size, pixel, word

__all__ = ["Hdf5Format", "Hdf5Frames"]

# PYME keeps x before y: a camera of 1024 columns and 256 rows gives (frames, 1024, 256).
PYME, PYME_AXES = "ImageData", "txy"
EVENTS = "events/image"
MOST_LISTED = 10_000


@dataclass(frozen=True)
class Hdf5Frames(Reader):
    """A dataset in an HDF5 file."""

    name: str
    plan: Plan

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read a box and turn its axes to (frame, y, x)."""
        with opened(self.path) as file:
            _check_filters(self.path, file[self.name])
            return read_box(file[self.name], self.plan, frames, y, x, self.dtype)


class Hdf5Format(Format):
    """HDF5; ``array`` names the dataset where the file holds several."""

    description = "Open HDF5 movies (PYME, rtdc and others) with smlm_dask and h5py"
    suffixes = (".h5", ".hdf5", ".rtdc")
    several = True

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Leave HDF5 files to xarray's own engines unless this one is named."""
        return False

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Hdf5Frames:
        """Find the dataset of the movie and its axes."""
        with opened(path) as file:
            name, letters = _find(path, file, array)
            stored = file[name]
            _check_stored(path, name, stored)
            plan = plan_axes(path, letters or _letters(stored), stored.shape, axes, select)
            size, dtype = by_role(plan, stored.shape), np.dtype(stored.dtype).newbyteorder("=")
            chunk = by_role(plan, stored.chunks) if stored.chunks else (1, 1, size[2])
            told = _told(file, name).of_channel((axes or "").lower(), plan, stored.shape)
        return Hdf5Frames(path, size, dtype, chunk, name, plan, metadata=told)


# ------------------------------------------------------------------ which dataset


def _find(path: str, file: Any, array: str | None) -> tuple[str, str | None]:
    """Name of the dataset without links, and its axis letters where the maker is known."""
    if array is not None:
        found = resolve(path, file, array)
        if found is None or not _is_dataset(file[found]):
            raise _no_array(path, file, array)
        return found, PYME_AXES if found == PYME and "MetaData" in file else None
    for name, beside in ((PYME, "MetaData"), (EVENTS, "events")):
        found = resolve(path, file, name) if beside in file else None
        if found is not None and _is_stack(file[found]):
            return found, PYME_AXES if name == PYME else None
    return choose_array(path, _stacks(file)), None


def _is_dataset(node: Any) -> bool:
    return hasattr(node, "shape")


def _is_stack(node: Any) -> bool:
    return bool(_is_dataset(node) and node.dtype.kind in "iuf" and len(node.shape or ()) >= 3)


def _stacks(file: Any) -> list[str]:
    """Names of all datasets that can be a movie; visiting follows no link."""
    seen, found = 0, []

    def look(name: str, node: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if _is_stack(node):
            found.append(name)
        return True if seen >= MOST_LISTED else None

    file.visititems(look)
    return found


def _no_array(path: str, file: Any, array: str) -> ParameterError:
    names = _stacks(file)
    return ParameterError(
        f"array of {path}",
        got=repr(array),
        wanted=f"a dataset in the file, of which these can be a movie: {', '.join(names[:20])}",
        fix=f"array={names[0]!r}" if names else "leave it out",
    )


# ------------------------------------------------------------------ what it is made of


def _check_stored(path: str, name: str, stored: Any) -> None:
    if stored.dtype.kind not in "iuf":
        raise FormatError(
            path,
            got=f"a dataset {name!r} of {stored.dtype}",
            wanted="real numbers",
            fix='name another dataset with array="..."',
        )
    check_inside(path, name, stored)
    check_unpacked(path, stored.attrs)
    _check_axes(path, stored)
    _check_filters(path, stored)
    _check_written(path, name, stored)


def _check_axes(path: str, stored: Any) -> None:
    """Refuse planes of several channels or depths behind one another on PYME's first axis."""
    many = [f"{a} {n}" for a in ("SizeC", "SizeZ") if (n := _number(stored.attrs.get(a, 1))) > 1]
    if many:
        raise AxisError(
            path,
            got=f"planes of {' and '.join(many)} behind one another",
            wanted="one channel in one plane",
            fix="h5py.File(path)['ImageData'][0::2] or alike, passed to as_movie",
        )


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | np.integer) else 1


def _check_filters(path: str, stored: Any) -> None:
    """Ask for every decoder before any work; hdf5plugin brings most that h5py lacks."""
    import h5py

    pipeline = stored.id.get_create_plist()
    codes = [pipeline.get_filter(at)[0] for at in range(pipeline.get_nfilters())]
    lacking = [code for code in codes if not h5py.h5z.filter_avail(code)]
    if lacking:
        with suppress(ImportError):
            import hdf5plugin  # noqa: F401, its import makes the decoders known
        lacking = [code for code in lacking if not h5py.h5z.filter_avail(code)]
    if lacking:
        raise FormatError(
            path,
            got=f"frames compressed with HDF5 filter {lacking[0]}",
            wanted="a filter that can be decoded here",
            fix="pip install 'smlm-dask[hdf5]', or write the movie again with gzip or lzf",
        )


def _check_written(path: str, name: str, stored: Any) -> None:
    """Refuse what reads as zeros because nobody ever wrote it."""
    if not math.prod(stored.shape):
        return
    if stored.chunks:
        pairs = zip(stored.shape, stored.chunks, strict=True)
        wanted, got = (
            math.prod(-(-size // chunk) for size, chunk in pairs),
            stored.id.get_num_chunks(),
        )
    else:
        wanted, got = stored.nbytes, stored.id.get_storage_size()
    if got < wanted:
        raise FrameCountError(
            path,
            got=f"{got} of {wanted} {'chunks' if stored.chunks else 'bytes'} of {name!r}",
            wanted="all of them: what was never written reads as zeros",
            fix="writing was interrupted: open the file with h5py and pass what is there to as_movie",
        )


def _letters(stored: Any) -> str:
    return {2: "yx", 3: "tyx"}.get(stored.ndim, "?" * stored.ndim)


# ------------------------------------------------------------------ what it says


@careful
def _told(file: Any, name: str) -> Metadata:
    if name == PYME:
        return _pyme(file)
    if name == EVENTS:
        # Events are no equidistant frames: the frame rate tells nothing of them.
        size = one_size(file.attrs.get("imaging:pixel size"), "um")
        light = duration(file.attrs.get("imaging:flash duration"), "us")
        return Metadata(pixel_size=size, exposure=light)
    sizes = file[name].attrs.get("element_size_um")  # as ImageJ's plugins and ImSwitch write it
    return Metadata(pixel_size=None if sizes is None else pixel(sizes[-2], sizes[-1], "um"))


def _pyme(file: Any) -> Metadata:
    """Lengths in µm whatever the file's own word for the unit, which PYME ignores; times in s."""
    size, camera = (_attributes(file, group) for group in ("voxelsize", "Camera"))
    return Metadata(
        pixel_size=pixel(size.get("y"), size.get("x"), "um"),
        frame_time=duration(camera.get("CycleTime")),
        exposure=duration(camera.get("IntegrationTime")),
        camera=word(camera.get("Name")) or word(camera.get("Model")),
    )


def _attributes(file: Any, group: str) -> Mapping[str, Any]:
    found = resolve(file.filename, file, f"MetaData/{group}")
    return {} if found is None else file[found].attrs
