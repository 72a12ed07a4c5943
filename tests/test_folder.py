"""Folders and patterns of TIFF files: the order, what is left out, and what is no movie."""

import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from smlm_dask.errors import (
    AxisError,
    FormatError,
    FrameCountError,
    FrameShapeError,
    MovieError,
    SourceCorruptError,
)
from smlm_dask.movie import open_movie
from smlm_dask.readers import open_reader
from smlm_dask.readers.names import natural_order, pack_names, take_apart
from tests.test_readers import two_files
from tests.test_tiff import mmstack, ndtiff

FRAMES = np.random.default_rng(4).integers(0, 60000, (23, 12, 17)).astype(np.uint16)


def single(folder, names=None, frames=FRAMES, **keywords):
    """One file for each frame, written in another order than that of the numbers."""
    folder.mkdir(exist_ok=True)
    names = names or [f"img_{number:04d}.tif" for number in range(len(frames))]
    for name, frame in list(zip(names, frames, strict=True))[::-1]:
        tifffile.imwrite(folder / name, frame, **({"metadata": None} | keywords))
    return folder


def equal(path, expected=FRAMES, **keywords):
    movie = open_movie(path, pixel_size=108, chunks={"frame": 5}, **keywords)
    np.testing.assert_array_equal(movie.values, expected)
    part = open_reader(path, **keywords).read(slice(1, 20, 3), slice(2, 9, 1), slice(3, 5, 1))
    np.testing.assert_array_equal(part, expected[1:20:3, 2:9, 3:5])


def refused(path, kind, match, **keywords):
    with pytest.raises(kind, match=match) as caught:
        open_movie(path, pixel_size=108, **keywords).compute(scheduler="sync")
    assert str(path).split("*")[0] in str(caught.value)


WAYS = {
    "plain": {},
    "described": {"metadata": {}},
    "zlib": {"compression": "zlib"},
    "bigendian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "strips": {"rowsperstrip": 5},
    "ome": {"ome": True, "metadata": {}},
    "imagej": {"imagej": True, "metadata": {}},
}


@pytest.mark.parametrize("way", WAYS)
def test_one_file_for_each_frame(tmp_path, way):
    equal(single(tmp_path / "a", **WAYS[way]))


@pytest.mark.parametrize("way", ["plain", "zlib"])
def test_numbers_are_sorted_as_numbers(tmp_path, way):
    folder = single(tmp_path, [f"cell2 img{n + 1}.TIF" for n in range(23)], **WAYS[way])
    equal(folder)
    equal(folder / "cell2*.TIF")
    equal(folder / "cell? img[0-9]*")


@pytest.mark.parametrize("way", ["plain", "described", "zlib", "imagej"])
def test_files_of_several_pages(tmp_path, way):
    keywords = {"metadata": {"axes": "TYX"}} if way == "imagej" else {}
    for number, frames in enumerate(np.array_split(FRAMES, 4)):
        path = tmp_path / f"part{number + 8}.tif"
        tifffile.imwrite(path, frames, **({"metadata": None} | WAYS[way] | keywords))
    equal(tmp_path)


def test_channel_of_every_file(tmp_path):
    both = np.stack([FRAMES, FRAMES[::-1]], axis=1)
    for number, frames in enumerate(np.array_split(both, 4)):
        path = tmp_path / f"part{number}.tif"
        tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TCYX"})
    refused(tmp_path, AxisError, "part0.tif.*select")
    equal(tmp_path, FRAMES[::-1], select={"c": 1})


def test_dates_beside_the_number(tmp_path):
    names = [f"img_{n:03d}_2024-01-0{1 + n // 9}T{n * n:06d}.tif" for n in range(23)]
    equal(single(tmp_path, names))


def test_what_is_no_frame_is_left_out(tmp_path):
    single(tmp_path)
    for name in ("metadata.txt", "display.yaml", "._img_0000.tif", "Thumbs.db", "a.png"):
        (tmp_path / name).write_text("no TIFF")
    tifffile.imwrite(tmp_path / "img_thumb.tif", FRAMES[0, :3, :3])
    (tmp_path / "inner.tif").mkdir()
    equal(tmp_path)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    single(tmp_path, ["a[1].tif", *(f"b{n}.tif" for n in range(22))])
    equal(tmp_path / "b*.tif", FRAMES[1:])
    movie = open_movie(tmp_path / "a[1].tif", pixel_size=108)
    np.testing.assert_array_equal(movie.values, FRAMES[:1])


# ------------------------------------------------------------------ what is no movie


def test_gap_is_named(tmp_path):
    single(tmp_path)
    (tmp_path / "img_0003.tif").unlink()
    refused(tmp_path, FrameCountError, r"gap from img_0002.tif to img_0004.tif.*axes=\"tyx\"")
    equal(tmp_path, np.delete(FRAMES, 3, axis=0), axes="tyx")


def test_two_movies_in_a_folder(tmp_path):
    single(tmp_path, [f"{'ab'[n % 2]}_{n // 2}.tif" for n in range(22)], FRAMES[:22])
    refused(tmp_path, AxisError, r"2 kinds of names.*pattern")
    equal(tmp_path / "b*.tif", FRAMES[1:22:2])


def test_channels_in_names(tmp_path):
    single(tmp_path, [f"t{n // 2:02d}_c{n % 2}.tif" for n in range(22)], FRAMES[:22])
    refused(tmp_path, AxisError, "differ in 2 numbers")
    equal(tmp_path / "*c1.tif", FRAMES[1:22:2])
    equal(tmp_path, FRAMES[:22], axes="tyx")


@pytest.mark.parametrize("word", ["a_MMStack_Pos", "ch", "x_z", "1_c", "site-", "series "])
def test_other_than_frames_are_numbered(tmp_path, word):
    single(tmp_path, [f"{word}{n}.tif" for n in range(23)])
    refused(tmp_path, AxisError, "numbered behind")
    equal(tmp_path, axes="tyx")


@pytest.mark.parametrize("word", ["bar_", "sync", "stack", "music-", "frame"])
def test_words_that_end_alike_are_no_channels(tmp_path, word):
    equal(single(tmp_path, [f"{word}{n}.tif" for n in range(23)]))


BAD_FRAMES = {
    "smaller": (FRAMES[5, :6], {}),
    "wider": (np.zeros((12, 18), "u2"), {}),
    "shorter numbers": (FRAMES[5].astype("u1"), {}),
    "signed": (FRAMES[5].astype("i2"), {}),
    "compressed": (FRAMES[5], {"compression": "zlib"}),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
@pytest.mark.parametrize("way", ["plain", "zlib"])
def test_a_file_that_differs_is_named(tmp_path, name, way):
    frame, keywords = BAD_FRAMES[name]
    single(tmp_path, **WAYS[way])
    keywords = {"compression": "lzw"} if keywords and way == "zlib" else WAYS[way] | keywords
    tifffile.imwrite(tmp_path / "img_0005.tif", frame, metadata=None, **keywords)
    refused(tmp_path, FrameShapeError, "img_0005.tif")


def test_a_file_of_the_same_size_that_differs(tmp_path):
    single(tmp_path)
    turned = FRAMES[5].reshape(17, 12)
    tifffile.imwrite(tmp_path / "img_0005.tif", turned, metadata=None)
    assert len({path.stat().st_size for path in tmp_path.iterdir()}) == 1
    refused(tmp_path, FrameShapeError, "img_0005.tif")


def test_longer_headers_are_read_again(tmp_path):
    single(tmp_path)
    tifffile.imwrite(tmp_path / "img_0005.tif", FRAMES[5], metadata=None, description="x" * 100)
    tifffile.imwrite(tmp_path / "img_0006.tif", FRAMES[6], metadata=None, byteorder=">")
    tifffile.imwrite(tmp_path / "img_0007.tif", FRAMES[7], metadata=None, bigtiff=True)
    equal(tmp_path)


@pytest.mark.parametrize("way", ["plain", "zlib"])
def test_a_file_with_a_page_more(tmp_path, way):
    single(tmp_path, **WAYS[way])
    with tifffile.TiffWriter(tmp_path / "img_0005.tif") as tif:
        for frame in FRAMES[5:7]:
            tif.write(frame, contiguous=False, **({"metadata": None} | WAYS[way]))
    if way == "plain":  # its size tells of it
        equal(tmp_path, np.insert(FRAMES, 6, FRAMES[6], axis=0))
    else:
        refused(tmp_path, FrameCountError, "img_0005.tif.*2 pages")


def test_a_file_that_is_cut(tmp_path):
    single(tmp_path)
    path = tmp_path / "img_0005.tif"
    path.write_bytes(path.read_bytes()[:-100])
    refused(tmp_path, MovieError, "img_0005.tif")


def test_a_file_that_is_gone(tmp_path):
    movie = open_movie(single(tmp_path), pixel_size=108)
    (tmp_path / "img_0005.tif").unlink()
    with pytest.raises(SourceCorruptError, match=re.escape("img_0005.tif")):
        movie.compute(scheduler="sync")


def test_links_out_of_the_folder_are_refused(tmp_path):
    single(tmp_path / "other")
    single(tmp_path / "a", [f"img{n}.tif" for n in range(22)], FRAMES[:22])
    (tmp_path / "a" / "img22.tif").symlink_to(tmp_path / "a" / "img0.tif")
    equal(tmp_path / "a", np.append(FRAMES[:22], FRAMES[:1], axis=0))
    (tmp_path / "a" / "img23.tif").symlink_to(tmp_path / "other" / "img_0000.tif")
    refused(tmp_path / "a", FormatError, "leads out of the folder")


def test_nothing_there(tmp_path):
    refused(tmp_path, FormatError, "folder of no known format")
    refused(tmp_path / "*.tif", FormatError, "no TIFF file")
    refused(tmp_path / "none" / "*.tif", FormatError, "no such file")


# ------------------------------------------------------------------ sets that know each other


def test_folder_of_ndtiff(tmp_path):
    equal(ndtiff(tmp_path / "data", FRAMES, files=3).parent)


def test_folder_of_mmstack(tmp_path):
    mmstack(tmp_path / "a_MMStack.ome.tif", FRAMES, count=10)
    mmstack(tmp_path / "a_MMStack_1.ome.tif", FRAMES, first=10)
    equal(tmp_path)


def test_folder_of_ome(tmp_path):
    two_files(tmp_path / "first.ome.tif")
    expected = open_movie(tmp_path / "first.ome.tif", pixel_size=108).values
    equal(tmp_path, expected)
    tifffile.imwrite(tmp_path / "more.tif", FRAMES)
    refused(tmp_path, AxisError, "more.tif, beside the set")


# ------------------------------------------------------------------ names, size, change


def test_names_are_packed():
    for names in (
        [f"img_{n:06d}.tif" for n in range(500, 3000)],
        [f"img{n}.tif" for n in range(3000)],
        [f"a{n:03d}.tif" for n in range(990, 1010)],
        [f"a{n}_b{n * n}.tif" for n in range(50)],
        ["one.tif"],
        ["a1.tif", "a02.tif"],
        ["é1.tif", "ü2.tif"],
        ["a\udcff1.tif", "a\udcff2.tif"],
        ["1" * 40 + ".tif", "2" * 40 + ".tif"],
    ):
        parts = take_apart(names)
        packed = pickle.loads(pickle.dumps(pack_names(names, parts)))
        assert [packed.name(at) for at in range(len(names))] == names
        assert len(pickle.dumps(packed)) < 1000
        shuffled = np.random.default_rng(0).permutation(names).tolist()
        order = natural_order(shuffled, take_apart(shuffled))
        assert [shuffled[at] for at in order.tolist()] == names


def test_many_files_open_by_their_sizes(tmp_path):
    single(tmp_path, frames=FRAMES[:1])
    for number in range(1, 3000):
        shutil.copy(tmp_path / "img_0000.tif", tmp_path / f"img_{number:04d}.tif")
    before = files_opened_by_reading()
    reader = open_reader(tmp_path)
    assert files_opened_by_reading() - before < 300
    assert reader.shape == (3000, 12, 17)
    assert len(pickle.dumps(reader)) < 3000


def files_opened_by_reading():
    with Path("/proc/self/io").open() as file:
        return int(dict(line.split(": ") for line in file)["syscr"])


def test_name_follows_every_file(tmp_path):
    single(tmp_path)
    name = open_movie(tmp_path, pixel_size=108).data.name
    assert open_movie(tmp_path, pixel_size=108).data.name == name
    os.utime(tmp_path / "img_0005.tif", ns=(1, 1))
    assert open_movie(tmp_path, pixel_size=108).data.name != name


def test_stays_open_for_zarr(tmp_path):
    movie = open_movie(single(tmp_path / "a"), pixel_size=108)
    movie.to_dataset(name="movie").to_zarr(tmp_path / "a.zarr", consolidated=False)
    equal(tmp_path / "a.zarr")
