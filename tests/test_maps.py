"""read_map: camera maps of every kind of file are the same numbers."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import xarray as xr

import smlm_dask as smlm
from smlm_dask.errors import AxisError, FormatError, ParameterError, SourceCorruptError

MAP = np.random.default_rng(1).uniform(0.5, 4, (5, 7))


def _hdf5(path, value=MAP):
    with h5py.File(path, "w") as file:
        file["camera/gain"] = value


def _mat73(path):
    """As MATLAB writes it: a block of its own before the HDF5, and its axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["gain"] = MAP.T
    head = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(head)


WRITERS = {
    "m.npy": lambda path: np.save(path, MAP),
    "m.npz": lambda path: np.savez(path, gain=MAP),
    "m.tif": lambda path: tifffile.imwrite(path, MAP),
    "m.mat": lambda path: scipy.io.savemat(path, {"gain": MAP}),
    "m7.mat": _mat73,
    "m.h5": _hdf5,
    "m.HDF5": _hdf5,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file(name, tmp_path):
    WRITERS[name](tmp_path / name)
    found = smlm.read_map(tmp_path / name, unit="adu")
    np.testing.assert_array_equal(found, MAP)
    assert found.dims == ("y", "x")
    assert found.attrs == {"units": "adu", "unusable_pixels": 0}


@pytest.fixture
def saved(tmp_path):
    np.save(tmp_path / "m.npy", MAP)
    return tmp_path / "m.npy"


@pytest.mark.parametrize(
    ("unit", "ours", "wanted"),
    [
        ("electron / adu", "electron / adu", MAP),
        ("adu / electron", "electron / adu", 1 / MAP),
        ("adu2", "adu2", MAP),
        ("electron", "electron", MAP),
        ("electron2", "electron", np.sqrt(MAP)),
    ],
)
def test_units_are_brought_to_ours(unit, ours, wanted, saved):
    found = smlm.read_map(saved, unit=unit)
    assert found.attrs["units"] == ours
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


def test_pixels_that_cannot_be_are_counted(tmp_path):
    values = MAP.copy()
    values[0, :4] = np.nan, np.inf, 0, -1
    np.save(tmp_path / "m.npy", values)
    gain = smlm.read_map(tmp_path / "m.npy", unit="adu / electron")
    assert gain.attrs["unusable_pixels"] == 4
    assert np.isnan(gain).to_numpy()[0].tolist() == [True] * 4 + [False] * 3
    offset = smlm.read_map(tmp_path / "m.npy", unit="adu")
    assert offset.attrs["unusable_pixels"] == 2
    smlm.as_camera(gain, offset=offset)


def test_the_place_on_the_sensor(saved):
    found = smlm.read_map(saved, unit="adu", origin=(10, 20))
    assert found.y.values[[0, -1]].tolist() == [10, 14]
    assert found.x.values[[0, -1]].tolist() == [20, 26]


def test_columns_first(saved):
    np.testing.assert_array_equal(smlm.read_map(saved, unit="adu", axes="xy"), MAP.T)


def test_one_of_several(tmp_path):
    np.savez(tmp_path / "m.npz", gain=MAP, offset=2 * MAP, name="camera", when=3.0)
    with pytest.raises(AxisError, match=r"gain.*offset.*array="):
        smlm.read_map(tmp_path / "m.npz", unit="adu")
    found = smlm.read_map(tmp_path / "m.npz", unit="adu", array="offset")
    np.testing.assert_array_equal(found, 2 * MAP)
    with pytest.raises(ParameterError, match=r"'noise'.*'gain', 'offset'"):
        smlm.read_map(tmp_path / "m.npz", unit="adu", array="noise")


def test_an_array_in_a_group(tmp_path):
    _hdf5(tmp_path / "m.h5")
    found = smlm.read_map(tmp_path / "m.h5", unit="adu", array="camera/gain")
    np.testing.assert_array_equal(found, MAP)


def test_a_map_serves_a_part_of_the_sensor(tmp_path):
    movie, _ = smlm.simulate_movie(60, (20, 24), seed=1)
    np.save(tmp_path / "m.npy", np.arange(480.0).reshape(20, 24))
    offset = smlm.read_map(tmp_path / "m.npy", unit="adu")
    found = smlm.estimate_gain(movie[:, 4:, 6:], offset=offset, window=30)
    xr.testing.assert_equal(
        found.offset.drop_vars(["pixel_size_y", "pixel_size_x"]), offset[4:, 6:]
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.npy", b"\x93NUMPY\x01\x00"), ("m.npz", b"PK\x03\x04"), ("m.tif", b"II*\x00"), ("m.mat", b"MAT"),
     ("m.h5", b"\x89HDF\r\n\x1a\n")],
)  # fmt: skip
def test_damaged_files(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((SourceCorruptError, AxisError)):
        smlm.read_map(tmp_path / name, unit="adu")


def test_numbers_of_other_files_are_not_read(tmp_path):
    _hdf5(tmp_path / "other.h5")
    source = h5py.VirtualSource(tmp_path / "other.h5", "camera/gain", MAP.shape)
    layout = h5py.VirtualLayout(MAP.shape, MAP.dtype)
    layout[:] = source
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("gain", layout)
    with pytest.raises(FormatError, match="virtual"):
        smlm.read_map(tmp_path / "m.h5", unit="adu")


def test_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "m.npy", np.array([[{}]], object))
    with pytest.raises(SourceCorruptError):
        smlm.read_map(tmp_path / "m.npy", unit="adu")


@pytest.mark.parametrize("values", [np.zeros(5), np.ones((2, 3, 4)), np.ones((3, 4), bool)])
def test_what_is_no_map(values, tmp_path):
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(AxisError, match="two axes"):
        smlm.read_map(tmp_path / "m.npy", unit="adu")


def test_a_map_without_a_usable_pixel(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((3, 4)))
    with pytest.raises(FormatError, match="no pixel"):
        smlm.read_map(tmp_path / "m.npy", unit="adu2")


def test_a_path_is_a_path():
    with pytest.raises(FormatError, match="path: got 3"):
        smlm.read_map(3, unit="adu")


@pytest.mark.parametrize("name", ["none.npy", "m.txt"])
def test_no_file_or_an_unknown_one(name, tmp_path):
    (tmp_path / "m.txt").write_text("1")
    with pytest.raises(FormatError, match=r"\.npy"):
        smlm.read_map(tmp_path / name, unit="adu")


@pytest.mark.parametrize(
    "keywords",
    [{"unit": "e/ADU"}, {"axes": "yz"}, {"origin": 3}, {"origin": (0.5, 1)}, {"array": "gain"}],
)
def test_keywords_that_do_not_fit(keywords, saved):
    with pytest.raises(ParameterError):
        smlm.read_map(saved, **({"unit": "adu"} | keywords))


def test_a_map_in_another_unit_is_refused(saved):
    gain = smlm.read_map(saved, unit="electron / adu")
    with pytest.raises(ParameterError, match=r"gain.*adu / electron; wanted electron / adu"):
        smlm.as_camera((1 / gain).assign_attrs(units="adu / electron"))
    with pytest.raises(ParameterError, match=r"offset.*electron / adu; wanted adu"):
        smlm.as_camera(1.0, offset=gain)
    with pytest.raises(ParameterError, match=r"variance.*electron; wanted adu2"):
        smlm.as_camera(1.0, variance=smlm.read_map(saved, unit="electron"))
    smlm.as_camera(gain, read_noise=smlm.read_map(saved, unit="electron2"))


def test_a_unit_that_came_along_from_a_movie_says_nothing():
    movie, _ = smlm.simulate_movie(20, (12, 12), seed=1)
    variance = movie.var("frame").compute()
    assert variance.attrs["units"] == "adu"
    smlm.as_camera(1.0, variance=variance)
