"""Picasso's ``.raw`` files, each with a ``.yaml`` beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from smlm_dask.errors import FormatError, FrameCountError, SourceCorruptError
from smlm_dask.readers.axes import plan_axes
from smlm_dask.readers.beside import beside
from smlm_dask.readers.format import Format
from smlm_dask.readers.raw import RawFrames, file_size, raw_stack
from smlm_dask.readers.reader import Metadata
from smlm_dask.readers.units import careful, duration, one_size, word

__all__ = ["PicassoFormat"]

LARGEST = 2**18  # bytes of a sidecar: with all settings of Micro-Manager it has some 10 kB
ORDERS: dict[Any, Literal["<", ">"]] = {"<": "<", ">": ">"}


class PicassoFormat(Format):
    """Frames without a header, whose number, size and type are written in the ``.yaml`` file."""

    description = "Open Picasso's raw movies with smlm_dask"
    suffixes = (".raw",)

    def reader(
        self, path: str, axes: str | None, select: Mapping[str, int] | None, array: str | None
    ) -> RawFrames:
        """Open a ``.raw`` file as the first document of the ``.yaml`` file beside it tells."""
        sidecar = Path(beside(path, Path(path).with_suffix(".yaml").name))
        told = _read(path, sidecar)
        shape, stored = _claim(told)
        if 0 in shape or math.prod(shape) * stored.itemsize != file_size(path):
            raise FrameCountError(
                path,
                got=f"{file_size(path)} bytes, while {sidecar.name} tells of {shape} {stored}",
                wanted="'Frames', 'Height', 'Width' and 'Data Type' that fill the file",
                fix="copy both files again, or correct the .yaml file",
            )
        plan = plan_axes(path, "tyx", shape, axes, select)
        return raw_stack(path, plan, shape, stored, 0, _told(told))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Builds plain values only: what is tagged as an object of Python is left out, never made.

    The loader in C is faster, but a text of many open brackets makes it end the process.
    """


_Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def _read(path: str, sidecar: Path) -> Mapping[Any, Any]:
    if not sidecar.is_file():
        raise FormatError(
            path,
            got="no .yaml file",
            wanted=f"{sidecar}",
            fix="copy the .yaml file beside the .raw file",
        )
    if file_size(str(sidecar)) > LARGEST:
        raise _false(path, sidecar, f"{sidecar.name} of more than {LARGEST} bytes")
    try:
        found = next(yaml.load_all(sidecar.read_bytes(), _Loader), None)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _false(path, sidecar, f"{type(error).__name__} in {sidecar.name}") from error
    wanted = {"Byte Order", "Data Type", "Frames", "Height", "Width"}
    known: dict[Any, Any] = found if isinstance(found, dict) else {}
    if lacking := wanted - set(known):
        raise _false(path, sidecar, f"no {', '.join(sorted(lacking))} in {sidecar.name}")
    return known


def _claim(told: Mapping[Any, Any]) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Shape and type of the samples; no frames of no known type where they make no sense."""
    sizes = [told[name] for name in ("Frames", "Height", "Width")]
    whole = all(isinstance(size, int) and 0 < size < 2**31 for size in sizes)
    try:
        plain = np.dtype(word(told["Data Type"]) or "V1")
    except (TypeError, ValueError, SyntaxError):
        plain = np.dtype("V1")
    order = ORDERS.get(word(told["Byte Order"]))
    if not whole or plain.kind not in "iuf" or order is None:
        return (0, 0, 0), np.dtype("V1")
    return (sizes[0], sizes[1], sizes[2]), plain.newbyteorder(order)


def _false(path: str, sidecar: Path, got: str) -> SourceCorruptError:
    return SourceCorruptError(
        path,
        got=got,
        wanted="the keys 'Byte Order', 'Data Type', 'Frames', 'Height' and 'Width'",
        fix=f"write {sidecar.name} again as Picasso does",
    )


@careful
def _told(told: Mapping[Any, Any]) -> Metadata:
    settings = told.get("Micro-Manager Metadata")
    exposure = settings.get("Exposure-ms") if isinstance(settings, Mapping) else None
    camera = word(told.get("Camera"))
    return Metadata(
        pixel_size=one_size(told.get("Pixelsize"), "nm"),
        exposure=duration(exposure, "ms"),
        camera=None if camera == "None" else camera,
    )
