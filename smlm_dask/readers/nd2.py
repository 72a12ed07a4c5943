"""Nikon .nd2 movies, through the optional package nd2."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlm_dask.errors import FormatError
from smlm_dask.readers.axes import plan_axes, taken
from smlm_dask.readers.format import Format
from smlm_dask.readers.raw import pack, unpack
from smlm_dask.readers.reader import Metadata, Reader
from smlm_dask.readers.units import careful, duration, pixel, word

__all__ = ["Nd2Format", "Nd2Frames"]

EXPOSURE = r"Exposure: *([0-9.]+) *(ms|us|µs|s)\b"


@dataclass(frozen=True)
class Nd2Frames(Reader):
    """Frames of an nd2 file: ``table`` holds sequence numbers, ``channel`` an index or None."""

    table: bytes
    channel: int | None

    def read(self, frames: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read frame by frame, as the file stores them."""
        import nd2  # optional, and only a file of this format needs it

        block = np.empty((0, *self.shape[1:]), self.dtype)
        with nd2.ND2File(self.path) as file:
            images = [file.read_frame(int(number)) for number in unpack(self.table)[frames]]
            channel = () if self.channel is None else (self.channel,)
            block = np.stack([image[(*channel, y, x)] for image in images]) if images else block
        return np.ascontiguousarray(block, self.dtype)


class Nd2Format(Format):
    """Nikon's format; a channel or a plane is taken with ``select``."""

    description = "Open Nikon ND2 movies with smlm_dask and nd2"
    suffixes = (".nd2",)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> Nd2Frames:
        """Find the frames of the chosen channel and plane."""
        return _open(path, axes, select)


def _open(path: str, axes: str | None, select: Mapping[str, int] | None) -> Nd2Frames:
    try:
        import nd2
    except ImportError as error:
        raise FormatError(
            path, got="no package to read it", wanted="the package nd2", fix="pip install nd2"
        ) from error
    with nd2.ND2File(path) as file:
        sizes, dtype = dict(file.sizes), np.dtype(file.dtype)
        told = _told(file)
    letters, shape = "".join(sizes), tuple(sizes.values())
    plan = plan_axes(path, letters, shape, axes, select)
    in_frame = [letter for letter in letters if letter in "CYXS"]
    loops = len(shape) - len(in_frame)
    numbers = np.arange(math.prod(shape[:loops]), dtype=np.int64).reshape(shape[:loops])
    chosen = numbers[taken(plan[:loops])].reshape(-1)
    channel = plan[letters.index("C")] if "C" in letters else None
    size = (sizes["Y"], sizes["X"])
    table, index = pack(chosen), channel if isinstance(channel, int) else None
    told = told.of_channel((axes or letters).lower(), plan, shape)
    return Nd2Frames(path, (chosen.size, *size), dtype, (1, *size), table, index, metadata=told)


@careful
def _told(file: Any) -> Metadata:
    channels = file.metadata.channels
    calibrated = all(channels[0].volume.axesCalibrated[:2])
    size, text = file.voxel_size(), "\n".join(map(str, file.text_info.values()))
    camera, exposure = re.search(r"Camera Name: *(.+)", text), re.search(EXPOSURE, text)
    return Metadata(
        pixel_size=pixel(size.y, size.x, "um") if calibrated else None,
        frame_time=_period(file.experiment),
        exposure=duration(exposure[1], exposure[2]) if exposure else None,
        camera=word(camera[1].strip()) if camera else None,
        channels=tuple(word(one.channel.name) or str(n) for n, one in enumerate(channels)),
    )


def _period(loops: Sequence[Any]) -> float | None:
    """Time between frames, as measured rather than as asked for."""
    found = [loop.parameters for loop in loops if loop.type == "TimeLoop"]
    if len(found) != 1:
        return None
    return duration(found[0].periodDiff.avg, "ms") or duration(found[0].periodMs, "ms")
