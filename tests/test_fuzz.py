"""Files with something wrong in them end in the errors of the package; good ones read as written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from smlm_dask.movie import open_movie
from tests import fuzz


def tried(*arguments):
    command = [sys.executable, "-m", "tests.fuzz", *map(str, arguments)]
    root = Path(fuzz.__file__).parents[1]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)


def test_nothing_but_named_errors():
    done = tried("all", 150)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert done.stdout.count("150 cases") == len(fuzz.FORMATS)


@pytest.mark.nightly
@pytest.mark.parametrize("name", fuzz.FORMATS)
def test_nothing_but_named_errors_in_many_files(name):
    done = tried(name, 5000, 1)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def broken(kind):
    """A case that does what no reader may."""
    return {
        "foreign": lambda: {}["key"],
        "slow": lambda: [sum(range(10**6)) for _ in range(10**6)],
    }[kind]


@pytest.mark.parametrize("kind", ["foreign", "slow"])
def test_the_harness_sees(kind, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    wrong = []
    with fuzz.limited(wrong, kind):
        broken(kind)()
    assert wrong
    assert wrong[0].startswith(kind)


def test_the_harness_sees_files_outside(tmp_path):
    opened = fuzz.Opened(tmp_path / "given")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a").write_text("inside")
    (tmp_path / "b").write_text("outside")
    opened.watching = True
    for name in ("given/a", "given/../b"):
        (tmp_path / name).read_text()
    opened.watching = False
    assert opened.others == [str(tmp_path / "given/../b")]


# ------------------------------------------------------------------ what is written is read

# tifffile takes an axis of one column for the samples of a pixel, and writes other rows than it was told.
SHAPES = st.tuples(st.integers(1, 9), st.integers(2, 20), st.integers(2, 20))
KINDS = st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
ORDERS = st.sampled_from("<>")


@st.composite
def movies(draw):
    """Samples of any type, and a box in them."""
    shape, kind = draw(SHAPES), draw(KINDS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(1, 120, shape).astype(kind)
    return values, tuple(draw(st.slices(size)) for size in shape)


def check(path, values, box, **keywords):
    movie = open_movie(path, pixel_size=108, **keywords)
    assert movie.dtype == values.dtype.newbyteorder("=")
    found = movie[box].compute(scheduler="sync").values
    np.testing.assert_array_equal(found, values[box])
    assert found.dtype.isnative


@settings(max_examples=80, deadline=None)
@given(
    movie=movies(),
    order=ORDERS,
    big=st.booleans(),
    compression=st.sampled_from([None, "zlib", "lzw", "zstd", "packbits"]),
    cut=st.sampled_from([{}, {"rowsperstrip": 3}, {"tile": (16, 16)}]),
    dialect=st.sampled_from(["pages", "shaped", "ome", "imagej"]),
)
def test_tiff_is_read_as_written(tmp_path_factory, movie, order, big, compression, cut, dialect):
    values, box = movie
    path = tmp_path_factory.mktemp("tiff") / ("a.ome.tif" if dialect == "ome" else "a.tif")
    whole = {"compression": compression, "photometric": "minisblack", **cut}
    if dialect == "pages":
        with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as tif:
            for frame in values:
                tif.write(frame, contiguous=False, metadata=None, **whole)
    elif dialect == "imagej":
        if values.dtype not in ("u1", "u2", "f4"):
            return
        tifffile.imwrite(path, values, imagej=True, metadata={"axes": "TYX"}, **whole)
    else:
        ome = dialect == "ome"
        keywords = {"bigtiff": big, "byteorder": order, "ome": ome, "metadata": {"axes": "TYX"}}
        tifffile.imwrite(path, values, **keywords, **whole)
    check(path, values, box)


CODECS = {
    "none": None,
    "zstd": ZstdCodec(),
    "gzip": GzipCodec(),
    "blosc": BloscCodec(cname="lz4"),
    "crc32c": [BloscCodec(), Crc32cCodec()],
}


@settings(max_examples=60, deadline=None)
@given(
    movie=movies(),
    order=ORDERS,
    chunk=st.tuples(*[st.integers(1, 9)] * 3),
    shard=st.one_of(st.none(), st.tuples(*[st.integers(1, 3)] * 3)),
    codec=st.sampled_from(sorted(CODECS)),
    version=st.sampled_from([2, 3]),
    turn=st.permutations("tyx"),
)
def test_zarr_is_read_as_written(
    tmp_path_factory, movie, order, chunk, shard, codec, version, turn
):
    values, box = movie
    path = tmp_path_factory.mktemp("zarr") / "a.zarr"
    stored = values.transpose(["tyx".index(letter) for letter in turn])
    keywords = {"zarr_format": version, "fill_value": 0}
    if version == 3:
        keywords["compressors"] = CODECS[codec]
        if shard is not None:
            keywords["shards"] = tuple(c * s for c, s in zip(chunk, shard, strict=True))
    dtype = stored.dtype.newbyteorder(order)
    array = zarr.create_array(path, shape=stored.shape, chunks=chunk, dtype=dtype, **keywords)
    array[:] = stored
    check(path, values, box, axes="".join(turn))


@settings(max_examples=60, deadline=None)
@given(movie=movies(), order=ORDERS, kind=st.sampled_from(["npy", "dax", "spe"]))
def test_raw_frames_are_read_as_written(tmp_path_factory, movie, order, kind):
    values, box = movie
    path = tmp_path_factory.mktemp("raw") / f"a.{kind}"
    frames, height, width = values.shape
    if kind == "npy":
        np.save(path, values.astype(values.dtype.newbyteorder(order)))
    elif kind == "dax":
        values = values.astype("u2")
        values.astype(f"{order}u2").tofile(path)
        word = "little" if order == "<" else "big"
        text = (
            f"({word} endian)\nframe dimensions = {width} x {height}\nnumber of frames = {frames}\n"
        )
        path.with_suffix(".inf").write_text(text)
    else:
        values = values.astype("u2")
        head = np.zeros(4100, "u1")
        for at, kind_of, number in ((42, "u2", width), (656, "u2", height), (1446, "i4", frames)):
            head[at : at + int(kind_of[1])] = np.frombuffer(
                np.array(number, f"<{kind_of}").tobytes(), "u1"
            )
        head[108] = 3
        path.write_bytes(head.tobytes() + values.astype("<u2").tobytes())
    check(path, values, box)
