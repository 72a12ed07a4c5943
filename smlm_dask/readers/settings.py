"""What TIFF files say of the microscope, each dialect in its own words.

Nothing is taken from resolution tags in inches or in no unit, nor 1 µm from makers who write it where
nobody has set a size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from itertools import islice

from tifffile import TiffFile

from smlm_dask.readers.reader import Metadata
from smlm_dask.readers.units import careful, duration, one_size, pixel, word

__all__ = ["tiff_settings"]

Size = tuple[float, float] | None

UNSET = (1000.0, 1000.0)
RESOLUTION_UNITS = {3: "cm", 4: "mm", 5: "um"}
LARGEST_PRINTED = 2e4  # nm: a picture made for paper has 300 points an inch, in cm as well
# Bounded, and begun at a word's start: an element of one endless word would take minutes.
ELEMENT = r"<(?:\w+:)?{}\s([^>]{{0,4000}})>"
ATTRIBUTE = r"""(?<![\w:])([\w:]+)\s*=\s*(["'])(.*?)\2"""
SETTINGS_TAG = 51123  # in which Micro-Manager describes a frame


def tiff_settings(tif: TiffFile, number: int) -> Metadata:
    """Gather what a file says of its image ``number``; Micro-Manager knows more than its OME-XML."""
    told = Metadata()
    for maker in (_micro_manager(tif), _ome(tif, number), _imagej(tif), _stk(tif), _lsm(tif)):
        told = told.filled(maker)
    return told.filled(_resolution(tif))


def _set(size: Size) -> Size:
    return None if size == UNSET else size


# ------------------------------------------------------------------ OME


@careful
def _ome(tif: TiffFile, number: int) -> Metadata:
    """Read the first elements of the image; a tree of 100,000 planes would take seconds."""
    text = tif.ome_metadata if tif.is_ome else None
    if not text:
        return Metadata()
    instrument, *images = re.split(r"<(?:\w+:)?Image\b", text)
    image = images[number]
    head = re.split(r"<(?:\w+:)?(?:TiffData|Plane)\b", image, maxsplit=1)[0]
    (pixels, *_), channels = _elements(head, "Pixels"), _elements(head, "Channel")
    plane = next(iter(_elements(image, "Plane", at_most=1)), {})
    models = {word(detector.get("Model")) for detector in _elements(instrument, "Detector")} - {
        None
    }
    names = [word(channel.get("Name")) for channel in channels]
    return Metadata(
        pixel_size=_set(_ome_size(pixels)),
        frame_time=duration(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")),
        exposure=duration(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s")),
        camera=models.pop() if len(models) == 1 else None,
        channels=tuple(name for name in names if name) if all(names) else (),
    )


def _ome_size(pixels: Mapping[str, str]) -> Size:
    y, x = (pixels.get(f"PhysicalSize{axis}") for axis in "YX")
    units = (pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX")
    return pixel(y, x, *units)


def _elements(text: str, name: str, at_most: int = 1000) -> list[dict[str, str]]:
    """Attributes of the elements of a name."""
    found = re.finditer(ELEMENT.format(name), text)
    attributes = [re.findall(ATTRIBUTE, one[1]) for one in islice(found, at_most)]
    return [{key: unescape(value) for key, _, value in one} for one in attributes]


# ------------------------------------------------------------------ Micro-Manager


@careful
def _micro_manager(tif: TiffFile) -> Metadata:
    tag = tif.pages.first.tags.get(SETTINGS_TAG)
    frame = tag.value if tag is not None and isinstance(tag.value, dict) else {}
    known = tif.micromanager_metadata or {}
    summary = known.get("Summary", {})
    size = frame.get("PixelSizeUm") or summary.get("PixelSizeUm") or summary.get("PixelSize_um")
    exposure = duration(frame.get("Exposure-ms"), "ms")
    interval = duration(summary.get("Interval_ms"), "ms")
    names = [word(name) for name in summary.get("ChNames") or [frame.get("Channel")]]
    camera = word(frame.get("Camera")) or word(frame.get("Core-Camera"))
    return Metadata(
        pixel_size=_set(one_size(size, "um")),
        # The interval that was asked for; where it is shorter than the exposure, it was not kept.
        frame_time=interval if interval and interval >= (exposure or 0) else None,
        exposure=exposure,
        camera=camera,
        channels=tuple(name for name in names if name) if all(names) else (),
    )


# ------------------------------------------------------------------ others


@careful
def _imagej(tif: TiffFile) -> Metadata:
    known = tif.imagej_metadata if tif.is_imagej else None
    if known is None:
        return Metadata()
    unit = known.get("unit")
    size = pixel(
        _per_unit(tif, "YResolution"),
        _per_unit(tif, "XResolution"),
        known.get("yunit") or unit,
        unit,
    )
    # ImageJ writes the interval in s unless it names another unit.
    return Metadata(
        pixel_size=_set(size),
        frame_time=duration(known.get("finterval"), known.get("tunit", "s")),
    )


@careful
def _stk(tif: TiffFile) -> Metadata:
    known = tif.stk_metadata if tif.is_stk else None
    if not known or not known.get("XCalibration"):
        return Metadata()
    unit = known.get("CalibrationUnits")
    return Metadata(pixel_size=_set(pixel(known.get("YCalibration"), known["XCalibration"], unit)))


@careful
def _lsm(tif: TiffFile) -> Metadata:
    known = tif.lsm_metadata if tif.is_lsm else None
    if not known:
        return Metadata()
    size = pixel(known.get("VoxelSizeY"), known.get("VoxelSizeX"), "m")
    return Metadata(pixel_size=size, frame_time=duration(known.get("TimeIntervall")))


@careful
def _resolution(tif: TiffFile) -> Metadata:
    tag = tif.pages.first.tags.get("ResolutionUnit")
    unit = RESOLUTION_UNITS.get(int(tag.value)) if tag is not None else None
    if unit is None or tif.is_imagej:
        return Metadata()
    size = _set(pixel(_per_unit(tif, "YResolution"), _per_unit(tif, "XResolution"), unit))
    return Metadata(pixel_size=size if size and max(size) <= LARGEST_PRINTED else None)


def _per_unit(tif: TiffFile, name: str) -> float | None:
    """Give the length of a pixel from the number of pixels in a unit, a fraction."""
    tag = tif.pages.first.tags.get(name)
    if tag is None:
        return None
    above, below = tag.value
    return float(below / above) if above else None
