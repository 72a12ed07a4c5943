"""What files say of the microscope: in nm and s, with a unit, believable, or not at all."""

import json

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from dcnum.write import HDF5Writer

from smlm_dask.errors import PixelSizeError
from smlm_dask.movie import open_movie
from smlm_dask.readers import open_reader
from smlm_dask.readers.reader import Metadata
from smlm_dask.readers.units import duration, pixel, word
from tests.test_readers import FRAMES, REAL, dax, hdf5, needs_real, ome_zarr, picasso, pyme, spe
from tests.test_tiff import TWO, lsm, mmstack, stk, tags_of, write_raw


def ome(path, frames=FRAMES, axes="TYX", **told):
    tifffile.imwrite(path, frames, ome=True, metadata={"axes": axes} | told)


def imagej(path, resolution=(1 / 0.108, 1 / 0.11), **told):
    keywords = {"resolution": resolution} if resolution else {}
    tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "TYX"} | told, **keywords)


def plain(path, resolution, unit):
    tifffile.imwrite(path, FRAMES, metadata=None, resolution=resolution, resolutionunit=unit)


def settings(path, summary=None, **frame):
    """A stack of Micro-Manager whose frames have settings."""
    mmstack(path, xml_too=False)
    head = {"MicroManagerVersion": "2.0", "Frames": 23} | (summary or {})
    text = json.dumps(frame).encode() + b"\0"
    pages = [(tags_of(one, t51123=(2, text)), one.tobytes()) for one in FRAMES]
    blank = np.array([54773648, 0, 0, 0, 0, 0, 2355492], "<u4").tobytes()
    told = json.dumps(head).encode()
    write_raw(path, pages, head=blank + np.array([len(told)], "<u4").tobytes() + told)


def sized_spe(path, exposure):
    spe(path)
    data = bytearray(path.read_bytes())
    data[10:14] = np.float32(exposure).tobytes()
    path.write_bytes(data)


def told_dax(path, *lines):
    dax(path)
    sidecar = path.with_suffix(".inf")
    sidecar.write_text(sidecar.read_text() + "".join(f"{line}\n" for line in lines))


def scaled_zarr(path, unit, *, scale=(0.5, 1, 1, 0.108, 0.11), version=3, omero=None, **whole):
    ome_zarr(path, version=version)
    group = zarr.open_group(path)
    attrs = dict(group.attrs)
    inner = attrs if version == 2 else attrs["ome"]
    image = inner["multiscales"][0]
    units = dict(zip("tczyx", ("second", None, unit, unit, unit), strict=True))
    image["axes"] = [{"name": n} | ({"unit": u} if u else {}) for n, u in units.items()]
    image["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": list(scale)}]
    image |= whole
    inner |= {"omero": omero} if omero else {}
    group.attrs.update(attrs)


def own_zarr(path):
    np.save(path.with_suffix(".npy"), FRAMES)
    movie = open_movie(path.with_suffix(".npy"), pixel_size=(1000, 90), frame_time=0.02)
    movie.attrs |= {"camera": "C", "exposure": 0.01, "channel": "red"}
    movie[3:, 2:].to_dataset(name="movie").to_zarr(path, consolidated=False)


def rtdc(path, **attributes):
    with HDF5Writer(path) as writer:
        writer.store_feature_chunk("image", FRAMES.astype("u1"))
        writer.h5.attrs.update({name.replace("_", " "): v for name, v in attributes.items()})


def imswitch(path):
    hdf5(path)
    with h5py.File(path, "a") as file:
        file["stack"].attrs["element_size_um"] = [1, 0.11, 0.108]


SIZE = (110.0, 108.0)
FULL = {"PhysicalSizeX": 0.108, "PhysicalSizeY": 0.11}
MICRO = {"PixelSizeUm": 0.108, "Exposure-ms": 20.0, "Camera": "Andor", "Channel": "red"}

TOLD = {
    "a.ome.tif": (lambda p: ome(p, **FULL, TimeIncrement=0.02), {"pixel_size": SIZE, "frame_time": 0.02}),
    "nm.ome.tif": (
        lambda p: ome(p, PhysicalSizeX=108, PhysicalSizeXUnit="nm", PhysicalSizeY=0.11,
                      TimeIncrement=20, TimeIncrementUnit="ms"),
        {"pixel_size": SIZE, "frame_time": 0.02},
    ),
    "plane.ome.tif": (
        lambda p: ome(p, Plane={"ExposureTime": [15.0] * 23, "ExposureTimeUnit": ["ms"] * 23},
                      Channel={"Name": ["A647"]}),
        {"exposure": 0.015, "channel": "A647"},
    ),
    "pixels.ome.tif": (
        lambda p: ome(p, PhysicalSizeX=1, PhysicalSizeXUnit="pixel", PhysicalSizeY=1,
                      PhysicalSizeYUnit="pixel"), {},
    ),
    "unset.ome.tif": (lambda p: ome(p, PhysicalSizeX=1, PhysicalSizeY=1), {}),
    "half.ome.tif": (lambda p: ome(p, PhysicalSizeX=0.108), {}),
    "huge.ome.tif": (lambda p: ome(p, PhysicalSizeX=108, PhysicalSizeY=108), {}),
    "zero.ome.tif": (lambda p: ome(p, PhysicalSizeX=0, PhysicalSizeY=-1, TimeIncrement=0), {}),
    "silent.ome.tif": (ome, {}),
    "imagej.tif": (
        lambda p: imagej(p, unit="um", finterval=0.02), {"pixel_size": SIZE, "frame_time": 0.02}
    ),
    "micron.tif": (lambda p: imagej(p, unit="micron"), {"pixel_size": SIZE}),
    "escaped.tif": (lambda p: imagej(p, unit="\\u00B5m"), {"pixel_size": SIZE}),
    "nm.tif": (lambda p: imagej(p, (1 / 108, 1 / 110), unit="nm"), {"pixel_size": SIZE}),
    "ms.tif": (lambda p: imagej(p, unit="um", finterval=20.0, tunit="ms"),
               {"pixel_size": SIZE, "frame_time": 0.02}),
    "pixel.tif": (lambda p: imagej(p, unit="pixel"), {}),
    "inch.tif": (lambda p: imagej(p, (1, 1), unit="um"), {}),
    "nounit.tif": (lambda p: imagej(p, finterval=0.0), {}),
    "cm.tif": (lambda p: plain(p, (1e7 / 108, 1e7 / 110), "CENTIMETER"), {"pixel_size": SIZE}),
    "dpi.tif": (lambda p: plain(p, (300, 300), "INCH"), {}),
    "dpcm.tif": (lambda p: plain(p, (118.11, 118.11), "CENTIMETER"), {}),
    "none.tif": (lambda p: plain(p, (1, 1), "NONE"), {}),
    "manager.tif": (
        lambda p: settings(p, {"Interval_ms": 25.0, "ChNames": ["red"]}, **MICRO),
        {"pixel_size": (108.0, 108.0), "exposure": 0.02, "frame_time": 0.025, "camera": "Andor",
         "channel": "red"},
    ),
    "burst.tif": (
        lambda p: settings(p, {"Interval_ms": 0.0}, **(MICRO | {"PixelSizeUm": 0.0, "Camera": ""})),
        {"exposure": 0.02, "channel": "red"},
    ),
    "fast.tif": (
        lambda p: settings(p, {"Interval_ms": 5.0}, **MICRO),
        {"pixel_size": (108.0, 108.0), "exposure": 0.02, "camera": "Andor", "channel": "red"},
    ),
    "a.stk": (stk, {}),
    "a.dax": (
        lambda p: told_dax(p, "Exposure Time = 0.02", "Frames Per Second = 40", "camera head = DU897"),
        {"exposure": 0.02, "frame_time": 0.025, "camera": "DU897"},
    ),
    "bad.dax": (lambda p: told_dax(p, "Exposure Time = -1", "Frames Per Second = 0"), {}),
    "word.dax": (lambda p: told_dax(p, "Exposure Time = long", "Frames Per Second = x"), {}),
    "a.spe": (lambda p: sized_spe(p, 0.5), {"exposure": 0.5}),
    "nan.spe": (lambda p: sized_spe(p, np.nan), {}),
    "a.raw": (
        lambda p: picasso(p, Pixelsize=108, Camera="Andor",
                          **{"Micro-Manager Metadata": {"Exposure-ms": 20}}),
        {"pixel_size": (108.0, 108.0), "exposure": 0.02, "camera": "Andor"},
    ),
    "none.raw": (lambda p: picasso(p, Pixelsize="wide"), {}),
    "pyme.h5": (
        pyme,
        {"pixel_size": (80.0, 70.0), "frame_time": 0.05, "exposure": 0.04, "camera": "DV97"},
    ),
    "false.h5": (lambda p: pyme(p, voxelsize={"x": np.nan}, Camera={"CycleTime": [1, 2]}), {}),
    "imswitch.h5": (imswitch, {"pixel_size": SIZE}),
    "a.rtdc": (
        lambda p: rtdc(p, **{"imaging:pixel_size": 0.34, "imaging:flash_duration": 2.0,
                             "imaging:frame_rate": 3000.0}),
        {"pixel_size": (340.0, 340.0), "exposure": 2e-6},
    ),
    "ome.zarr": (
        lambda p: scaled_zarr(p, "micrometer", omero={"channels": [{"label": "A647"}]}),
        {"pixel_size": (108.0, 110.0), "frame_time": 0.5, "channel": "A647"},
    ),
    "ome4.zarr": (
        lambda p: scaled_zarr(p, "nanometer", scale=(1, 1, 1, 54, 55), version=2,
                              coordinateTransformations=[{"type": "scale", "scale": [0.5, 1, 1, 2, 2]}]),
        {"pixel_size": (108.0, 110.0), "frame_time": 0.5},
    ),
    "nounit.zarr": (lambda p: scaled_zarr(p, None), {"frame_time": 0.5}),
    "noscale.zarr": (ome_zarr, {}),
    "own.zarr": (
        own_zarr,
        {"pixel_size": (1000.0, 90.0), "frame_time": 0.02, "camera": "C", "exposure": 0.01,
         "channel": "red"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_what_the_file_says(tmp_path, name):
    write, expected = TOLD[name]
    write(tmp_path / name)
    told = open_reader(tmp_path / name).metadata
    assert told == Metadata(**expected)


def test_movie_carries_what_the_file_says(tmp_path):
    pyme(tmp_path / "a.h5")
    movie = open_movie(tmp_path / "a.h5")
    assert (float(movie.pixel_size_y), float(movie.pixel_size_x)) == (80, 70)
    assert float(movie.time[2]) == pytest.approx(0.1)
    assert movie.attrs == {"units": "adu", "camera": "DV97", "exposure": 0.04}
    movie = open_movie(tmp_path / "a.h5", pixel_size=108, frame_time=1)
    assert (float(movie.pixel_size_y), float(movie.time[2])) == (108, 2)


def test_without_pixel_size_the_user_is_asked(tmp_path):
    imagej(tmp_path / "a.tif", unit="pixel")
    with pytest.raises(PixelSizeError, match="pixel_size=108"):
        open_movie(tmp_path / "a.tif")


def test_lsm(tmp_path):
    lsm(tmp_path / "a.lsm")
    told = open_reader(tmp_path / "a.lsm", array="0").metadata
    assert told == Metadata(pixel_size=(100.0, 100.0))


def test_parts_have_the_metadata_of_the_first(tmp_path):
    for number in range(3):
        imagej(tmp_path / f"a{number}.tif", unit="um", finterval=0.02)
    assert open_reader(tmp_path).metadata.pixel_size == SIZE


def test_each_channel_has_its_name(tmp_path):
    ome(tmp_path / "a.ome.tif", TWO, "TCYX", Channel={"Name": ["red", "green & blue"]})
    told = [open_reader(tmp_path / "a.ome.tif", select={"c": c}).metadata for c in (0, 1)]
    assert [one.channel for one in told] == ["red", "green & blue"]
    assert told[0].channels == ("red", "green & blue")
    ome(tmp_path / "b.ome.tif", TWO, "TCYX")
    told = open_reader(tmp_path / "b.ome.tif", select={"c": 1}).metadata
    assert (told.channel, told.channels) == (None, ("0", "1"))


@needs_real
def test_real_files_say():
    pytest.importorskip("nd2")
    told = open_reader(REAL / "pims_cluster.nd2", select={"z": 0, "c": 1}).metadata
    assert told.pixel_size == pytest.approx((167.80898, 167.80898))
    assert (told.frame_time, told.exposure) == (None, None)
    assert told.camera == "Nikon A1plus"
    assert told.channel == "FM 4-64/2% CHAPS"
    for name in ("sdt_pMHC_AF647.SPE", "pims_stuck.tif", "storm-analysis/test.dax"):
        assert open_reader(REAL / name).metadata == Metadata()


@pytest.mark.parametrize(
    "value",
    [None, True, "x", "", b"\xff", [], {}, np.nan, np.inf, -1, 0, 1e30, 10**400, 1j, object()],
)
def test_nothing_is_made_of_nonsense(value):
    assert pixel(value, 0.1, "um") is None
    assert pixel(0.1, value, "um") is None
    assert pixel(0.1, 0.1, value) is None
    assert duration(value, "s") is None
    assert duration(1, value) is None
    assert word(value) == ("x" if value == "x" else "�" if value == b"\xff" else None)


@pytest.mark.parametrize(
    "text",
    [
        "<Image " * 50_000,
        "<Image><Pixels " + 'a="' * 100_000,
        "<Image><Pixels " + "a" * 300_000 + ">",
        "<Image><Pixels " + " a" * 100_000 + ">",
        "<Image><Pixels>" * 2 + "<Plane " * 50_000,
    ],
    ids=len,
)
def test_endless_metadata_are_left(tmp_path, text):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", FRAMES, description=f"<OME {text}</OME>", metadata=None
    )
    assert open_reader(tmp_path / "a.ome.tif", axes="tyx").metadata == Metadata()
