"""Princeton Instruments ``.spe`` files, version 2 header."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from smlm_dask.errors import FormatError
from smlm_dask.readers.axes import plan_axes
from smlm_dask.readers.format import Format
from smlm_dask.readers.raw import RawFrames, file_size, raw_stack
from smlm_dask.readers.reader import Metadata
from smlm_dask.readers.units import duration

__all__ = ["SpeFormat"]

SPE_TYPES = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2", 5: "<f8", 6: "u1", 8: "<u4"}
SPE_HEADER, EXPOSURE_AT = 4100, 10


class SpeFormat(Format):
    """A header of 4,100 bytes, then frame after frame."""

    description = "Open Princeton Instruments SPE movies with smlm_dask"
    suffixes = (".spe",)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> RawFrames:
        """Open a Princeton Instruments ``.spe`` file, version 2 header."""
        header = np.fromfile(path, np.uint8, SPE_HEADER).tobytes()
        if len(header) < SPE_HEADER:
            raise _not_spe(path, f"{len(header)} bytes")
        width, height = (int(np.frombuffer(header, "<u2", 1, at)[0]) for at in (42, 656))
        frames = int(np.frombuffer(header, "<i4", 1, 1446)[0])
        code = int(np.frombuffer(header, "<i2", 1, 108)[0])
        if code not in SPE_TYPES or min(frames, height, width) < 1:
            raise _not_spe(path, f"type code {code} and shape {(frames, height, width)}")
        shape = (frames, height, width)
        plan = plan_axes(path, "tyx", shape, axes, select)
        light = duration(float(np.frombuffer(header, "<f4", 1, EXPOSURE_AT)[0]))
        told, end = Metadata(exposure=light), _end(path, header)
        return raw_stack(path, plan, shape, np.dtype(SPE_TYPES[code]), SPE_HEADER, told, end)


def _end(path: str, header: bytes) -> int:
    """Where the frames end: at the text of version 3, which alone may stand behind them."""
    text = int(np.frombuffer(header, "<u8", 1, 678)[0])
    version = float(np.frombuffer(header, "<f4", 1, 1992)[0])
    return text if version >= 3 and 0 < text <= file_size(path) else file_size(path)


def _not_spe(path: str, got: str) -> FormatError:
    return FormatError(
        path,
        got=got,
        wanted=f"an SPE 2 header of {SPE_HEADER} bytes",
        fix="export the movie again as SPE 2.x or TIFF",
    )
