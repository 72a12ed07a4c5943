"""open_channels: every channel of a file under its name, as map_channels takes it."""

import re

import numpy as np
import pytest
import tifffile

import smlm_dask as smlm
from smlm_dask.errors import AxisError, ParameterError
from tests.test_metadata import scaled_zarr
from tests.test_readers import FRAMES, REAL, needs_real, ome_zarr
from tests.test_tiff import mmstack, ndtiff

TWO = np.stack([FRAMES, FRAMES[::-1] + 7], axis=1)  # t, c


def ome(path, names=("red", "green"), frames=TWO, axes="TCYX"):
    told = {"axes": axes, "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
    told |= {"Channel": {"Name": list(names)}} if names else {}
    tifffile.imwrite(path, frames, ome=True, metadata=told)
    return path


def imagej(path):
    tifffile.imwrite(path, TWO, imagej=True, metadata={"axes": "TCYX"})
    return path


def micro_manager(path):
    mmstack(path, TWO, channels=2)
    return path


def zarr_of_ome(path):
    ome_zarr(path, frames=TWO[:, :, None])
    return path


def npy(path):
    np.save(path, TWO)
    return path


KINDS = {
    "a.ome.tif": (ome, {}, ["red", "green"]),
    "a.tif": (imagej, {}, ["0", "1"]),
    "a_MMStack.ome.tif": (micro_manager, {}, ["0", "1"]),
    "a": (lambda p: ndtiff(p, TWO, categories=["red", "green"]), {}, ["0", "1"]),
    "a.zarr": (zarr_of_ome, {}, ["0", "1"]),
    "a.npy": (npy, {"axes": "tcyx"}, ["0", "1"]),
    "b.ome.tif": (lambda p: ome(p, ("Cy/5", "Cy/5")), {}, ["Cy_5 0", "Cy_5 1"]),
    "c.ome.tif": (lambda p: ome(p, None), {}, ["0", "1"]),
    "d.ome.tif": (lambda p: ome(p, ("..", " ")), {}, ["0", "1"]),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_channel(tmp_path, name):
    write, keywords, names = KINDS[name]
    tree = smlm.open_channels(write(tmp_path / name), pixel_size=108, **keywords)
    assert list(tree) == names
    for number, child in enumerate(tree.children.values()):
        assert child.movie.chunks is not None
        np.testing.assert_array_equal(child.movie.values, TWO[:, number])


def test_blocks_take_the_channels(tmp_path):
    tree = smlm.open_channels(ome(tmp_path / "a.ome.tif"))
    assert tree["red"].movie.attrs["channel"] == "red"
    assert float(tree["green"].movie.pixel_size_x) == 100
    found = smlm.map_channels(smlm.background_spatial_mean, tree, radius=4.0)
    assert list(found) == ["red", "green"]


def test_other_axes_are_selected(tmp_path):
    path = ome(tmp_path / "a.ome.tif", None, np.stack([TWO, TWO + 1], axis=1), "TZCYX")
    with pytest.raises(AxisError, match=re.escape('select={"z": 0}')):
        smlm.open_channels(path)
    tree = smlm.open_channels(path, select={"z": 1}, chunks=5, frame_time=0.1)
    np.testing.assert_array_equal(tree["1"].movie.values, TWO[:, 1] + 1)
    assert tree["1"].movie.chunks[0][0] == 5
    assert "time" in tree["1"].coords


def test_channel_is_not_selected(tmp_path):
    for select in ({"c": 0}, {"C": 1}):
        with pytest.raises(ParameterError, match="all channels are opened"):
            smlm.open_channels(ome(tmp_path / "a.ome.tif"), select=select)
    with pytest.raises(ParameterError, match="index into one of the axes"):
        smlm.open_channels(tmp_path / "a.ome.tif", select={"z": 4})
    with pytest.raises(ParameterError, match="select"):
        smlm.open_channels(tmp_path / "a.ome.tif", select=3)


def test_one_channel_is_a_tree_of_one(tmp_path):
    tree = smlm.open_channels(ome(tmp_path / "a.ome.tif", ["A647"], FRAMES, "TYX"))
    assert list(tree) == ["A647"]
    np.testing.assert_array_equal(tree["A647"].movie.values, FRAMES)
    np.save(tmp_path / "a.npy", FRAMES)
    assert list(smlm.open_channels(tmp_path / "a.npy", pixel_size=108)) == ["0"]
    scaled_zarr(tmp_path / "a.zarr", "micrometer", omero={"channels": [{"label": "red"}]})
    assert list(smlm.open_channels(tmp_path / "a.zarr")) == ["red"]


@needs_real
def test_real_nd2():
    nd2 = pytest.importorskip("nd2")
    tree = smlm.open_channels(REAL / "pims_cluster.nd2", select={"z": 3})
    assert list(tree) == ["5-FAM_pH 9.0", "FM 4-64_2% CHAPS"]
    values = nd2.imread(REAL / "pims_cluster.nd2")[:, 3, 1]
    np.testing.assert_array_equal(tree["FM 4-64_2% CHAPS"].movie.values, values)
