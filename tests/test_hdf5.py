"""HDF5 movies: which dataset is taken, and what is refused because it lies elsewhere or nowhere."""

import pickle
import sys

import h5py
import numpy as np
import pytest
from dcnum.write import HDF5Writer

from smlm_dask.errors import (
    AxisError,
    FormatError,
    FrameCountError,
    MovieError,
    ParameterError,
)
from smlm_dask.movie import open_movie
from smlm_dask.readers import open_reader
from smlm_dask.readers.hdf5 import Hdf5Format
from tests.test_readers import bytes_read

FRAMES = np.random.default_rng(3).integers(0, 60000, (23, 12, 17)).astype(np.uint16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def refused(path, kind, match, **keywords):
    with pytest.raises(kind, match=match) as caught:
        open_movie(path, pixel_size=108, **keywords)
    assert path.name in str(caught.value)


def equal(path, expected=FRAMES, **keywords):
    np.testing.assert_array_equal(open_movie(path, pixel_size=108, **keywords).values, expected)


def test_dcnum_writes_what_is_read(tmp_path):
    path, images = tmp_path / "a.rtdc", FRAMES.astype("u1")
    with HDF5Writer(path) as writer:
        writer.store_feature_chunk("image", images)
        writer.store_feature_chunk("image_bg", images[::-1])
    equal(path, images)
    equal(path, images[::-1], array="events/image_bg")


def test_one_of_several_is_named(path):
    write(path, left=FRAMES, cell__right=FRAMES[::-1], map=FRAMES[0], other=FRAMES > 3)
    refused(path, AxisError, r"2 arrays .*\(cell/right, left\).*array=")
    equal(path, array="left")
    equal(path, FRAMES[::-1], array="/cell/right")
    for name in ("cell", "none", "left/none", "../left", "/", ".."):
        refused(path, ParameterError, "array", array=name)


def test_movie_goes_before_others(path):
    equal(write(path, movie=FRAMES, background=FRAMES[::-1]))


def test_axes_are_told(path):
    write(path, stack=FRAMES.transpose(2, 1, 0))
    equal(path, axes="xyt")
    write(path, stack=np.stack([FRAMES, FRAMES[::-1]], axis=1))
    refused(path, AxisError, 'axes="ztyx"')
    equal(path, FRAMES[::-1], axes="tcyx", select={"c": 1})
    equal(write(path, stack=FRAMES[0]), FRAMES[:1], array="stack")


def test_image_data_without_metadata_is_no_file_of_pyme(path):
    equal(write(path, ImageData=FRAMES))


def test_channels_behind_one_another_are_refused(path):
    with h5py.File(path, "w") as file:
        file["ImageData"] = FRAMES
        file["ImageData"].attrs["SizeC"] = 2
        file.create_group("MetaData")
    refused(path, AxisError, "SizeC 2")


def test_chunks_are_those_of_the_dataset(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=FRAMES.transpose(0, 2, 1), chunks=(7, 17, 4))
    assert open_reader(path, axes="txy").chunk == (7, 4, 17)


def test_soft_links_inside_the_file_are_followed(path):
    write(path, cell__stack=FRAMES)
    with h5py.File(path, "a") as file:
        file["short"] = h5py.SoftLink("/cell/stack")
        file["group"] = h5py.SoftLink("cell")
        file["round"] = h5py.SoftLink("round")
    equal(path)
    equal(path, array="short")
    equal(path, array="group/stack")
    refused(path, ParameterError, "array", array="round")


def outside(folder):
    return write(folder / "secret.h5", stack=FRAMES)


def external_link(path):
    with h5py.File(path, "w") as file:
        file["stack"] = h5py.ExternalLink(str(outside(path.parent)), "stack")


def link_to_link(path):
    external_link(path)
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/stack")


def linked_group(path):
    with h5py.File(path, "w") as file:
        file["group"] = h5py.ExternalLink(str(outside(path.parent)), "/")


def external_data(path):
    FRAMES.tofile(path.parent / "secret.raw")
    with h5py.File(path, "w") as file:
        raw = [(str(path.parent / "secret.raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("stack", FRAMES.shape, "u2", external=raw)


def virtual(path):
    layout = h5py.VirtualLayout(FRAMES.shape, "u2")
    layout[:] = h5py.VirtualSource(outside(path.parent), "stack", FRAMES.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("stack", layout)


@pytest.mark.parametrize(
    ("lead", "name"),
    [
        (external_link, "stack"),
        (link_to_link, "soft"),
        (linked_group, "group/stack"),
        (external_data, None),
        (virtual, None),
    ],
)
def test_nothing_outside_the_file_is_read(path, lead, name):
    lead(path)
    refused(path, FormatError, "secret.h5|other files|virtual", array=name)
    if name:
        refused(path, AxisError, "0 arrays")


@pytest.mark.parametrize("keywords", [{"chunks": (5, 12, 17)}, {"chunks": (1, 12, 17)}, {}])
def test_what_was_never_written_is_refused(path, keywords):
    with h5py.File(path, "w") as file:
        stack = file.create_dataset("stack", FRAMES.shape, "u2", **keywords)
        if keywords:
            stack[:15] = 7
    refused(path, FrameCountError, "reads as zeros")


def test_packed_values_are_refused(path):
    with h5py.File(write(path, stack=FRAMES), "a") as file:
        file["stack"].attrs["scale_factor"] = 0.5
    refused(path, FormatError, "scale_factor")


@pytest.mark.parametrize("dtype", ["c8", "S4", "?", h5py.string_dtype(), h5py.ref_dtype])
def test_only_numbers_are_read(path, dtype):
    with h5py.File(path, "w") as file:
        file.create_dataset("stack", (3, 4, 5), dtype)
    refused(path, FormatError, "real numbers", array="stack")
    refused(path, AxisError, "0 arrays")


def test_unknown_compression_is_named(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("stack", data=FRAMES, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    refused(path, FormatError, r"filter 1.*smlm-dask\[hdf5\]")


def test_without_the_package(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    path.write_bytes(b"")
    refused(path, FormatError, r"pip install 'smlm-dask\[hdf5\]'")


def test_foreign_engines_keep_their_files():
    assert not any(Hdf5Format().guess_can_open(name) for name in ("a.h5", "a.hdf5", "a.rtdc"))


def test_many_chunks_open_by_their_index(path):
    with h5py.File(path, "w") as file:
        stack = file.create_dataset("stack", (20_000, 8, 8), "u2", chunks=(1, 8, 8))
        for first in range(0, 20_000, 1000):
            stack[first : first + 1000] = 3
    before = bytes_read()
    movie = open_movie(path, pixel_size=108)
    assert bytes_read() - before < 2**22
    assert len(pickle.dumps(movie)) < 5000
    assert movie.shape == (20_000, 8, 8)


def test_mutations_end_in_the_family(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("stack", data=FRAMES, chunks=(5, 12, 17), compression="gzip")
    good, rng, refusals = path.read_bytes(), np.random.default_rng(8), 0
    for round_ in range(150):
        data = bytearray(good)
        for at in rng.integers(0, 4000 if round_ % 3 else len(data), 6):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(8, len(data))] if round_ % 5 == 4 else data)
        refusals += refused_by_name(path)
    assert 30 < refusals < 150


def refused_by_name(path):
    message = path.name
    try:
        open_movie(path, pixel_size=108).compute(scheduler="sync")
    except MovieError as error:
        message = str(error)
    else:
        return False
    assert path.name in message
    return True
