"""Dialects of TIFF: each opens with the values that were written, or is refused by name."""

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from smlm_dask.errors import MovieError, ParameterError
from smlm_dask.movie import open_movie
from smlm_dask.readers import open_reader
from smlm_dask.readers.ifd import list_pages
from smlm_dask.readers.raw import RawFrames
from tests.tiffs import FRAMES, ome, ome_text, plain, tags_of, told, write_raw

TWO = np.stack([FRAMES, FRAMES[::-1] + 7], axis=1)  # t, c


def equal(path, expected=FRAMES, **keywords):
    movie = open_movie(path, pixel_size=108, **keywords)
    values = movie.values
    assert values.dtype == expected.dtype
    assert values.dtype.isnative
    np.testing.assert_array_equal(values, expected)
    reader = open_reader(path, **keywords)
    part = reader.read(slice(3, 20, 4), slice(2, 9, 1), slice(1, 5, 1))
    np.testing.assert_array_equal(part, expected[3:20:4, 2:9, 1:5])
    return reader


def refused(path, match, kind=MovieError, **keywords):
    with pytest.raises(kind, match=match) as caught:
        open_movie(path, pixel_size=108, **keywords)
    assert path.name in str(caught.value)
    assert caught.value.fix


# ------------------------------------------------------------------ Micro-Manager


def mmstack(
    path,
    frames=FRAMES,
    *,
    planned=None,
    xml_too=True,
    order=None,
    channels=1,
    first=0,
    count=None,
    cut=0,
):
    """A Micro-Manager stack: index map, settings, and 13 tags of 162 bytes before each frame.

    ``order`` gives in which order the planes (t, c) were written, ``first`` and ``count`` which of
    the frames lie in this file.
    """
    flat = frames.reshape(-1, *frames.shape[-2:])
    summary = {"MicroManagerVersion": "1.4.22", "Frames": planned or len(frames), "Slices": 1}
    summary |= {"Channels": channels, "Positions": 1, "Prefix": path.name.split("_MMStack")[0]}
    text = json.dumps(summary).encode()
    numbers = list(order if order is not None else range(len(flat)))[first:][:count]
    pages = []
    for number in numbers:
        meta = json.dumps({"Frame": number, "text": "x" * (number % 5)}).encode() + b"\0"
        more = {"t282": (5, [1, 1]), "t283": (5, [1, 1]), "t51123": (2, meta)}
        tags = tags_of(flat[number], **more)
        assert len(tags) + 2 == 13
        pages.append((tags, flat[number].astype("<u2").tobytes()))
    # Such files also hold OME-XML, which tells of the frames that were planned.
    xml = ome_text([(told((planned or len(frames), 1, channels, 12, 17)), "<TiffData/>")])
    if xml_too:
        pages[0][0][270] = (2, xml.encode() + b"\0")
    blank = struct.pack("<8I", 54773648, 0, 0, 0, 0, 0, 2355492, len(text)) + text
    offsets = write_raw(path, pages, head=blank)
    data = bytearray(path.read_bytes())
    data[8:16] = struct.pack("<2I", 54773648, len(data))
    rows = [(n % channels, 0, n // channels, 0, at) for n, at in zip(numbers, offsets, strict=True)]
    table = b"".join(struct.pack("<5I", *row) for row in rows)
    data += struct.pack("<2I", 3453623, len(rows)) + table
    path.write_bytes(data[: len(data) - cut])


def test_mmstack(tmp_path):
    mmstack(tmp_path / "a_MMStack.ome.tif")
    assert isinstance(equal(tmp_path / "a_MMStack.ome.tif"), RawFrames)


def test_mmstack_follows_its_index_map(tmp_path):
    path = tmp_path / "a_MMStack.ome.tif"
    order = np.random.default_rng(0).permutation(23).tolist()
    mmstack(path, order=order)
    equal(path)
    equal(path, FRAMES[order], axes="tyx")


def test_mmstack_of_two_channels(tmp_path):
    path = tmp_path / "a_MMStack.ome.tif"
    mmstack(path, TWO, channels=2)
    refused(path, "'c' besides frame")
    equal(path, TWO[:, 1], select={"c": 1})


def test_mmstack_that_lost_its_index_map(tmp_path):
    path = tmp_path / "a_MMStack.ome.tif"
    mmstack(path, TWO, channels=2, xml_too=False, cut=8 + 20 * 46)
    refused(path, "index")
    equal(path, TWO.reshape(46, 12, 17), axes="tyx")
    mmstack(path, xml_too=False, cut=8 + 20 * 23)
    equal(path)


def test_mmstack_whose_index_points_nowhere(tmp_path):
    path = tmp_path / "a_MMStack.ome.tif"
    mmstack(path)
    data = bytearray(path.read_bytes())
    data[-4:] = struct.pack("<I", len(data) - 900)
    path.write_bytes(data)
    refused(path, "where no page is")


def test_mmstack_in_several_files(tmp_path):
    first, second = tmp_path / "a_MMStack.ome.tif", tmp_path / "a_MMStack_1.ome.tif"
    mmstack(first, count=10)
    mmstack(second, first=10)
    equal(first)
    equal(second)
    equal(second, FRAMES[10:], axes="tyx")


def test_mmstack_that_was_stopped(tmp_path):
    path = tmp_path / "a_MMStack.ome.tif"
    mmstack(path, planned=1000)
    equal(path)


def test_mmstack_whose_part_is_missing(tmp_path):
    first, third = tmp_path / "a_MMStack.ome.tif", tmp_path / "a_MMStack_2.ome.tif"
    mmstack(first, count=10)
    mmstack(third, first=20)
    refused(first, "missing")
    equal(first, FRAMES[:10], axes="tyx")


def ndtiff(folder, frames=FRAMES, files=1, categories=None):
    """An NDTiff 3 data set: frames in several files, and an index beside them."""
    index = []
    folder.mkdir(exist_ok=True)
    text = b"{}"
    head = struct.pack("<5I", 483729, 3, 0, 2355492, len(text)) + text
    flat = frames.reshape(-1, *frames.shape[-2:])
    for number, part in enumerate(np.array_split(np.arange(len(flat)), files)):
        name = f"a_NDTiffStack{f'_{number}' * bool(number)}.tif"
        more = {"t51123": (2, b'{"Camera": 1}\0')}
        pages = [(tags_of(flat[n], **more), flat[n].astype("<u2").tobytes()) for n in part]
        write_raw(folder / name, pages, head=head)
        for n, at in zip(part.tolist(), list_pages(str(folder / name)).data.tolist(), strict=True):
            at_axes = {"time": n}
            if categories:
                time, channel = divmod(n, len(categories))
                at_axes = {"time": time, "channel": categories[channel]}
            axes = json.dumps(at_axes).encode()
            index.append(struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)))
            index.append(name.encode() + struct.pack("<IiiiiIii", at, 17, 12, 1, 0, 0, 0, 0))
    (folder / "NDTiff.index").write_bytes(b"".join(index))
    return folder / "a_NDTiffStack.tif"


@pytest.mark.parametrize("files", [1, 3])
def test_ndtiff(tmp_path, files):
    path = ndtiff(tmp_path / "data", files=files)
    equal(path)


def test_ndtiff_without_its_index(tmp_path):
    path = ndtiff(tmp_path / "data")
    (tmp_path / "data" / "NDTiff.index").unlink()
    refused(path, "NDTiff.index")
    equal(path, axes="tyx")


def test_ndtiff_whose_file_is_cut(tmp_path):
    path = ndtiff(tmp_path / "data", files=2)
    second = path.with_name("a_NDTiffStack_1.tif")
    second.write_bytes(second.read_bytes()[:-3000])
    with pytest.raises(MovieError, match="truncated"):
        open_movie(path, pixel_size=108)
    second.unlink()
    with pytest.raises(MovieError, match="NDTiffStack_1"):
        open_movie(path, pixel_size=108)


def test_ndtiff_of_two_channels(tmp_path):
    path = ndtiff(tmp_path / "data", TWO, categories=["red", "green"])
    refused(path, "'c' besides frame")
    equal(path, TWO[:, 1], select={"c": 1})


# ------------------------------------------------------------------ makers of microscopes


def lsm(path, frames=FRAMES, thumbnails=True):
    info = struct.pack("<IiiiiiiiiI", 50350412, 128, 17, 12, 1, 1, len(frames), 2, 4, 3)
    info += struct.pack("<6dHH", *[1e-7] * 6, 3, 0)
    info = info.ljust(128, b"\0")
    pages = []
    for number, frame in enumerate(frames):
        more = {"t34412": (1, info)} if number == 0 else {}
        pages.append((tags_of(frame, t254=(4, [0]), **more), frame.tobytes()))
        if thumbnails:
            small = frame[:3, :4].astype("u1")
            pages.append((tags_of(small, t254=(4, [1])), small.tobytes()))
    write_raw(path, pages)


def test_lsm_leaves_thumbnails_out(tmp_path):
    lsm(tmp_path / "a.lsm")
    refused(tmp_path / "a.lsm", "2 images")
    equal(tmp_path / "a.lsm", array="0")


def stk(path, frames=FRAMES, *, distances=0):
    planes = len(frames)
    values = b"".join(
        struct.pack("<6I", distances, 1, 2451545, 1000 * n, 0, 0) for n in range(planes)
    )
    tags = tags_of(frames[0], t33628=(4, [0, 1]), t33629=(5, [0, 1]))
    # The count of tag 33629 is that of the planes, and six numbers stand for each; that of 33628
    # is the number of pairs.
    write_raw(path, [(tags, frames.tobytes() + values)])
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        data = bytearray(path.read_bytes())
        where = page.dataoffsets[0]
    at = 8
    for entry in range(len(tags) + 2):
        place = at + 2 + 12 * entry
        code = struct.unpack_from("<H", data, place)[0]
        if code == 33628:
            struct.pack_into("<I", data, place + 4, 1)
        if code == 33629:
            struct.pack_into("<II", data, place + 4, planes, where + frames.nbytes)
        if code == 279:
            struct.pack_into("<I", data, place + 8, frames[0].nbytes)
    path.write_bytes(data)


def test_stk(tmp_path):
    stk(tmp_path / "a.stk")
    equal(tmp_path / "a.stk")


def test_stk_in_depth_must_be_named(tmp_path):
    stk(tmp_path / "a.stk", distances=3)
    refused(tmp_path / "a.stk", 'axes="tyx"')
    equal(tmp_path / "a.stk", axes="tyx")


def scanimage(path, frames, channels):
    text = f"SI.hChannels.channelSave = [{';'.join(map(str, range(1, channels + 1)))}]\n"
    text += f"SI.hStackManager.framesPerSlice = {len(frames)}\n"
    head = struct.pack("<4I", 117637889, 3, len(text), 0) + text.encode()
    software = {"t305": (2, b"SI.VERSION\0")}
    flat = frames.reshape(-1, *frames.shape[-2:])
    pages = [(tags_of(frame, **software), frame.tobytes()) for frame in flat]
    write_raw(path, pages, head=head, big=True)


def test_scanimage_does_not_mix_channels(tmp_path):
    path = tmp_path / "a.tif"
    scanimage(path, TWO, 2)
    refused(path, "'c' besides frame")
    equal(path, TWO[:, 1], select={"c": 1})
    scanimage(path, FRAMES, 1)
    equal(path)


# ------------------------------------------------------------------ ImageJ


def test_imagej_in_one_page(tmp_path):
    """What ImageJ writes above 4 GB: one directory, all frames behind each other, big-endian."""
    path = tmp_path / "a.tif"
    text = b"ImageJ=1.54f\nimages=23\nframes=23\nfinterval=0.02\n\0"
    frames = FRAMES.astype(">u2")
    tags = tags_of(frames[0], t270=(2, text), t279=(4, [frames[0].nbytes]))
    write_raw(path, [(tags, frames.tobytes())], order=">")
    equal(path)


def test_imagej_that_is_cut(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[:6000])
    refused(path, "bytes")


def test_imagej_above_four_gigabytes(tmp_path):
    path, count = tmp_path / "a.tif", 9000
    text = b"ImageJ=1.54f\nimages=9000\nslices=9000\n\0"
    tags = tags_of(np.zeros((512, 512), "u2"), t270=(2, text), t279=(4, [512 * 512 * 2]))
    write_raw(path, [(tags, b"")], order=">")
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.first.dataoffsets[0]
    with path.open("r+b") as file:  # the text lies behind the data, which are put behind it
        tail = file.seek(0, os.SEEK_END)
        write_raw(path, [(tags | {273: (4, [tail])}, b"")], order=">")
        assert start < tail
        file.seek(tail + count * 512 * 512 * 2 - 4)
        file.write(struct.pack(">HH", 7, 9))
    refused(path, 'axes="tyx"')
    movie = open_movie(path, pixel_size=108, axes="tyx")
    assert movie.shape == (count, 512, 512)
    assert movie[-1, -1, -3:].values.tolist() == [0, 7, 9]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_imagej_hyperstack(tmp_path, compression):
    path = tmp_path / "a.tif"
    stack = np.stack([TWO, TWO + 3], axis=1)  # t, z, c
    metadata = {"axes": "TZCYX"}
    tifffile.imwrite(path, stack, imagej=True, metadata=metadata, compression=compression)
    refused(path, "'z', 'c' besides frame")
    equal(path, stack[:, 1, 0], select={"z": 1, "c": 0})


# ------------------------------------------------------------------ OME


ORDERS = ["XYCZT", "XYCTZ", "XYZCT", "XYZTC", "XYTCZ", "XYTZC"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["all", "count", "each", "shuffled"])
def test_ome_order_of_planes(tmp_path, order, how):
    shape = (5, 2, 3)  # t, z, c
    stack = np.arange(30 * 12 * 17, dtype="u2").reshape(*shape, 12, 17)
    axes = order[:1:-1]
    planes = stack.transpose(*("TZC".index(letter) for letter in axes), 3, 4)
    pages = planes.reshape(-1, 12, 17)
    places = list(np.ndindex(planes.shape[:3]))
    turn = np.random.default_rng(1).permutation(30) if how == "shuffled" else np.arange(30)
    data = {"all": "<TiffData/>", "count": '<TiffData IFD="0" PlaneCount="30"/>'}.get(how)
    data = data or "".join(
        f'<TiffData IFD="{page}" '
        + " ".join(f'First{axis}="{at}"' for axis, at in zip(axes, places[plane], strict=True))
        + "/>"
        for page, plane in enumerate(turn.tolist())
    )
    path = tmp_path / "a.ome.tif"
    ome(path, pages[turn], ome_text([(told((5, 2, 3, 12, 17), order), data)]))
    movie = open_movie(path, pixel_size=108, select={"z": 1, "c": 2})
    np.testing.assert_array_equal(movie.values, stack[:, 1, 2])


def test_ome_agrees_with_tifffile(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, TWO, ome=True, metadata={"axes": "TCYX"}, compression="zlib")
    series = tifffile.imread(path)
    for channel in (0, 1):
        equal(path, series[:, channel], select={"c": channel})


def test_ome_image_is_chosen(tmp_path):
    path = tmp_path / "a.ome.tif"
    other = FRAMES[:, :7, :5].astype("u1")
    data = '<TiffData IFD="{}" PlaneCount="23"/>'
    small = told((23, 1, 1, 7, 5), kind="uint8")
    text = ome_text([(told(), data.format(0)), (small, data.format(23))])
    ome(path, [*FRAMES, *other], text)
    refused(path, 'array="0"')
    equal(path, array="0")
    np.testing.assert_array_equal(open_movie(path, pixel_size=1, array="1").values, other)
    for array in ("2", "-1", "x", ""):
        with pytest.raises(ParameterError, match="array"):
            open_movie(path, pixel_size=108, array=array)


def set_of_two(folder, **keywords):
    """Two files; the metadata of all planes lie in the first."""
    entry = '<TiffData FirstT="{}" IFD="{}"><UUID FileName="{}">urn:uuid:{}</UUID></TiffData>'
    data = "".join(
        entry.format(t, t % 12, f"{'ab'[t // 12]}.ome.tif", 1 + t // 12) for t in range(23)
    )
    only = '<BinaryOnly MetadataFile="a.ome.tif" UUID="urn:uuid:1"/>'
    first, second = folder / "a.ome.tif", folder / "b.ome.tif"
    ome(first, FRAMES[:12], ome_text([(told(), data)]))
    other = keywords.pop("other", FRAMES[12:])
    ome(second, other, ome_text([], uuid="urn:uuid:2", extra=only), **keywords)
    return first, second


def test_ome_set(tmp_path):
    first, second = set_of_two(tmp_path)
    equal(first)
    refused(second, "its metadata lie in a.ome.tif")
    equal(second, FRAMES[12:], axes="tyx")
    second.rename(tmp_path / "elsewhere.ome.tif")
    refused(first, r"b\.ome\.tif, which is missing")
    np.testing.assert_array_equal(open_movie(first, pixel_size=108, axes="tyx").values, FRAMES[:12])


@pytest.mark.parametrize(
    "other", [FRAMES[12:].astype("i2"), FRAMES[12:].astype("u1"), FRAMES[12:, :5]]
)
def test_ome_set_of_unequal_files(tmp_path, other):
    first, second = set_of_two(tmp_path, other=other)
    with pytest.raises(MovieError, match="page 0 of"):
        open_movie(first, pixel_size=108)
    assert second.exists()


def test_ome_set_of_both_byte_orders(tmp_path):
    first, _ = set_of_two(tmp_path, other=FRAMES[12:].astype(">u2"), order=">")
    equal(first)


def test_ome_file_renamed(tmp_path):
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="{t}"><UUID FileName="old.ome.tif">urn:uuid:1</UUID></TiffData>'
        for t in range(23)
    )
    ome(tmp_path / "new.ome.tif", FRAMES, ome_text([(told(), data)]))
    equal(tmp_path / "new.ome.tif")


def test_every_page_of_false_ome_may_be_taken(tmp_path):
    path = tmp_path / "a.ome.tif"
    ome(path, FRAMES, ome_text([(told((9, 1, 1, 17, 12)), "<TiffData/>")]))
    refused(path, "23 pages")
    equal(path, axes="tyx")


# ------------------------------------------------------------------ tifffile's own


def test_shaped_image_is_chosen(tmp_path):
    path = tmp_path / "a.tif"
    other = FRAMES[:, :7, :5].astype("f4")
    for compression in (None, "zlib"):
        with tifffile.TiffWriter(path) as tif:
            tif.write(FRAMES, metadata={"axes": "TYX"}, compression=compression)
            tif.write(other, metadata={"axes": "TYX"}, compression=compression)
        refused(path, 'array="0"')
        equal(path, array="0")
        movie = open_movie(path, pixel_size=1, array="1")
        assert movie.dtype == np.float32
        np.testing.assert_array_equal(movie.values, other)


def test_number_of_an_image_that_is_not_there(tmp_path):
    plain(tmp_path / "a.tif")
    equal(tmp_path / "a.tif", array="0")
    refused(tmp_path / "a.tif", "leave it out", ParameterError, array="1")


@pytest.mark.parametrize("keywords", [{}, {"ome": True}])
def test_pyramid_is_read_at_full_size(tmp_path, keywords):
    path = tmp_path / ("a.ome.tif" if keywords else "a.tif")
    frames = np.repeat(np.repeat(FRAMES, 4, axis=1), 4, axis=2)
    options = {"tile": (16, 16), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, **keywords) as tif:
        tif.write(frames, subifds=1, metadata={"axes": "TYX"}, **options)
        tif.write(frames[:, ::2, ::2], subfiletype=1, **options)
    movie = open_movie(path, pixel_size=108)
    np.testing.assert_array_equal(movie.values, frames)


# ------------------------------------------------------------------ pages of any kind


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_samples(tmp_path, dtype, order, big):
    frames = FRAMES.astype(dtype)
    plain(tmp_path / "a.tif", frames, order=order, big=big, spacing=1)
    assert isinstance(equal(tmp_path / "a.tif", frames), RawFrames)


def test_bits_in_reverse(tmp_path):
    turned = FRAMES.astype("u1")
    flipped = np.packbits(np.unpackbits(turned, axis=-1, bitorder="little"), axis=-1)
    pages = [(tags_of(t, t266=(3, [2])), f.tobytes()) for t, f in zip(turned, flipped, strict=True)]
    write_raw(tmp_path / "a.tif", pages)
    equal(tmp_path / "a.tif", turned)


def test_missing_decoder_is_named_before_any_work(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, compression="zlib", metadata={"axes": "TYX"})

    def decode(*_args, **_keywords):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "decode", decode)
    refused(tmp_path / "a.tif", "pip install imagecodecs")


# ------------------------------------------------------------------ the chain of pages


PAGE = st.tuples(
    st.sampled_from([2, 4, 6]),  # rows
    st.sampled_from(["u1", "u2", "f4"]),
    st.booleans(),  # description
    st.booleans(),  # strips
)


@settings(max_examples=60, deadline=None)
@given(
    pages=st.lists(PAGE, min_size=1, max_size=12),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    batch=st.integers(1, 5),
)
def test_pages_are_those_tifffile_finds(tmp_path_factory, pages, order, big, batch):
    path = tmp_path_factory.mktemp("chain") / "a.tif"
    raw = []
    for rows, dtype, described, strips in pages:
        frame = np.zeros((rows, 4), dtype)
        more = {"t270": (2, b"something\0")} if described else {}
        half = rows * 4 // 2 * frame.itemsize
        cut = {"t273": (4, [8, 8 + half]), "t278": (4, [rows // 2]), "t279": (4, [half, half])}
        cut = cut if strips else {}
        raw.append((tags_of(frame, **more, **cut), frame.tobytes()))
    write_raw(path, raw, order=order, big=big)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smlm_dask.readers.ifd.BATCH", batch)
        found = list_pages(str(path))
    with tifffile.TiffFile(path) as tif:
        others = [page.aspage() for page in tif.pages]
    assert found.offset.tolist() == [page.offset for page in others]
    for number, page in enumerate(others):
        single = len(page.dataoffsets) == 1
        assert found.data[number] == (page.dataoffsets[0] if single else -1)
        assert found.nbytes[number] == (page.databytecounts[0] if single else 0)
        tags = found.tags(number)
        assert (tags[257], tags[256], tags[258]) == (*page.shape, page.bitspersample)
    kinds = [(page.shape, page.dtype) for page in others]
    assert [found.kind[number] == found.kind[0] for number in range(len(kinds))] == [
        kind == kinds[0] for kind in kinds
    ]


@pytest.mark.parametrize("where", [0, 1, 11, 22])
@pytest.mark.parametrize(
    "change", [{256: (4, [16])}, {259: (3, [5])}, {339: (3, [2])}, {266: (3, [2])}]
)
def test_one_page_that_differs_is_found(tmp_path, where, change):
    pages = [(tags_of(frame, t266=(3, [1])), frame.tobytes()) for frame in FRAMES]
    pages[where][0].update(change)
    write_raw(tmp_path / "a.tif", pages)
    refused(tmp_path / "a.tif", f"page {where or 1} of")


def reads(path):
    def count():
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["syscr"])

    before = count()
    movie = open_movie(path, pixel_size=108)
    return count() - before, movie


@pytest.mark.parametrize("kind", ["plain", "shaped", "imagej", "ome", "planes"])
def test_a_page_costs_one_read(tmp_path, kind):
    """Six reads and some objects for each page made 100,000 pages take 4 s."""
    path, count = tmp_path / "a.tif", 3000
    frames = np.zeros((count, 4, 5), "u2")
    if kind == "plain":
        plain(path, frames)
    elif kind == "planes":
        entry = '<TiffData FirstT="{0}" IFD="{0}"><UUID FileName="a.tif">urn:1</UUID></TiffData>'
        text = ome_text([(told((count, 1, 1, 4, 5)), "".join(map(entry.format, range(count))))])
        ome(path, frames, text)
    else:
        keywords = {} if kind == "shaped" else {kind: True}
        metadata = {"axes": "TYX"}
        tifffile.imwrite(path, frames, compression="zlib", metadata=metadata, **keywords)
    cost, movie = reads(path)
    assert movie.shape == frames.shape
    assert count <= cost < 1.1 * count + 300
    assert len(pickle.dumps(movie)) < 30_000
