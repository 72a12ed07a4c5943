"""ZhuangLab ``.dax`` files, each with an ``.inf`` beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smlm_dask.errors import FormatError, FrameCountError
from smlm_dask.readers.axes import plan_axes
from smlm_dask.readers.beside import beside
from smlm_dask.readers.format import Format
from smlm_dask.readers.raw import RawFrames, file_size, raw_stack
from smlm_dask.readers.reader import Metadata
from smlm_dask.readers.units import careful, duration, word

__all__ = ["DaxFormat"]


class DaxFormat(Format):
    """16-bit frames whose size is written in the ``.inf`` file."""

    description = "Open DAX movies with smlm_dask"
    suffixes = (".dax",)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> RawFrames:
        """Open a ``.dax`` file: 16-bit frames whose size is written in the ``.inf`` file beside it."""
        sidecar = Path(path).with_suffix(".inf")
        if not sidecar.exists():
            raise FormatError(
                path,
                got="no .inf file",
                wanted=f"{sidecar}",
                fix="copy the .inf file beside the .dax file",
            )
        text = Path(beside(path, sidecar.name)).read_text(errors="replace")
        size = re.search(r"frame dimensions\s*=\s*(\d+)\s*x\s*(\d+)", text)
        count = re.search(r"number of frames\s*=\s*(\d+)", text)
        shape = (int(count[1]), int(size[2]), int(size[1])) if size and count else (0, 0, 0)
        stored = np.dtype("<u2" if "little endian" in text else ">u2")
        if math.prod(shape) * stored.itemsize != file_size(path) or 0 in shape:
            raise FrameCountError(
                path,
                got=f"{file_size(path)} bytes, while {sidecar.name} tells of {shape} {stored}",
                wanted="'frame dimensions' and 'number of frames' that fill the file",
                fix="copy both files again, or correct the .inf file",
            )
        plan = plan_axes(path, "tyx", shape, axes, select)
        return raw_stack(path, plan, shape, stored, 0, _told(text))


@careful
def _told(text: str) -> Metadata:
    """Both times are in s; the name of the camera is that of its head."""
    exposure = re.search(r"(?im)^exposure time\s*=\s*(\S+)", text)
    rate = re.search(r"(?im)^frames per second\s*=\s*(\S+)", text)
    camera = re.search(r"(?im)^camera head\s*=\s*(\S.*)$", text)
    return Metadata(
        frame_time=duration(1 / float(rate[1])) if rate and float(rate[1]) else None,
        exposure=duration(exposure[1]) if exposure else None,
        camera=word(camera[1].strip()) if camera else None,
    )
