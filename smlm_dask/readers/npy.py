"""Numpy ``.npy`` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smlm_dask.errors import FormatError
from smlm_dask.readers.axes import plan_axes
from smlm_dask.readers.format import Format
from smlm_dask.readers.raw import RawFrames, file_size, raw_stack
from smlm_dask.readers.reader import Metadata

__all__ = ["NpyFormat"]

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0} | dict.fromkeys(
    [(2, 0), (3, 0)], np.lib.format.read_array_header_2_0
)


class NpyFormat(Format):
    """One array of numbers in C order; axes frame, y, x unless told otherwise."""

    description = "Open movies in .npy files with smlm_dask"
    suffixes = (".npy",)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> RawFrames:
        """Open a numpy ``.npy`` file, C order, axes frame, y, x unless told otherwise."""
        with Path(path).open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version not in HEADERS:
                raise ValueError(f"a header of the unknown version {version}")
            shape, fortran, stored = HEADERS[version](file)
            offset = file.tell()
        if fortran or stored.hasobject:
            raise FormatError(
                path,
                got="Fortran order" if fortran else f"Python objects ({stored})",
                wanted="numbers in C order",
                fix="numpy.save(path, numpy.ascontiguousarray(movie))",
            )
        stored_axes = {2: "yx", 3: "tyx"}.get(len(shape), "?" * len(shape))
        plan = plan_axes(path, stored_axes, shape, axes, select)
        told = Metadata().of_channel((axes or stored_axes).lower(), plan, shape)
        return raw_stack(path, plan, shape, stored, offset, told, file_size(path))
