"""ingest: the same samples bit for bit, whatever comes in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from distributed import Client, LocalCluster
from numpy.typing import NDArray

import smlm_dask as smlm
from smlm_dask import shards
from smlm_dask.errors import ParameterError, PixelSizeError, SourceCorruptError, StoreError
from tests import laws, memory

ROOT = Path(__file__).parents[1]
SHAPE = (470, 26, 131)
SMALL = {"smlm_dask.chunk-bytes": 200 * 26 * 131 * 2}  # one window in a shard
Usage = namedtuple("Usage", "total used free")


def frames(dtype: str = "u2", shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    return np.random.default_rng(5).poisson(100, shape).astype(dtype)


@pytest.fixture(autouse=True)
def small_chunks() -> Any:
    with dask.config.set(SMALL):
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "movie.npy", frames())
    return tmp_path / "movie.npy"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "copy" / "movie.zarr"


@pytest.fixture
def copied(source: Path, out: Path) -> Path:
    out.parent.mkdir()
    return smlm.ingest(source, out, pixel_size=(110, 100), frame_time=0.02)


def files(path: Path) -> dict[str, tuple[int, int]]:
    """Every shard with what tells that it was written again."""
    found = [p for p in (path / "movie" / "c").rglob("*") if p.is_file()]
    return {str(p.relative_to(path)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def test_the_copy_opens_as_the_movie_without_a_word(source: Path, copied: Path) -> None:
    movie = smlm.open_movie(source, pixel_size=(110, 100), frame_time=0.02)
    opened = smlm.open_movie(copied)
    assert opened.dtype == movie.dtype
    xr.testing.assert_allclose(opened.compute(), movie.compute(), rtol=0)
    np.testing.assert_array_equal(opened, frames())
    assert not list(copied.parent.glob("*.part"))
    assert sorted(p.name for p in copied.iterdir() if p.name.startswith(("movie", "un"))) == [
        "movie"
    ]


def test_xarray_alone_opens_the_copy(copied: Path) -> None:
    opened = xr.open_zarr(copied, consolidated=False).movie
    assert {"pixel_size_y", "pixel_size_x", "time", "frame", "y", "x"} == set(opened.coords)
    assert opened.pixel_size_y.attrs["units"] == "nm"
    np.testing.assert_array_equal(opened, frames())


def test_shards_are_windows_and_every_chunk_has_a_checksum(copied: Path) -> None:
    array = zarr.open_array(copied, path="movie")
    assert array.shards == (200, 26, 132)
    assert array.chunks == (100, 26, 66)
    names = [type(codec).__name__ for codec in array.compressors]
    assert names == ["BloscCodec", "Crc32cCodec"]
    assert smlm.open_movie(copied).chunks[0] == (200, 200, 70)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "u4", "f4", "f8"])
def test_every_dtype_comes_back_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    samples = frames(dtype, (30, 9, 130))
    if samples.dtype.kind == "f":
        samples[3, 4, 5:7] = np.nan, -0.0
    movie = smlm.as_movie(samples, pixel_size=100)
    opened = smlm.open_movie(smlm.ingest(movie, tmp_path / "m.zarr")).to_numpy()
    assert opened.dtype == samples.dtype.newbyteorder("=")
    assert opened.tobytes() == samples.astype(opened.dtype).tobytes()


def test_zeros_are_stored_not_left_to_the_fill_value(tmp_path: Path) -> None:
    movie = smlm.as_movie(np.zeros((40, 16, 16), "u2"), pixel_size=100)
    array = zarr.open_array(smlm.ingest(movie, tmp_path / "m.zarr"), path="movie")
    assert array.nchunks_initialized == array.nchunks


@pytest.mark.parametrize("chunks", [(7, 26, 131), (470, 5, 40), (1, 26, 131), (470, 26, 131)])
def test_a_movie_in_any_chunks(chunks: Any, tmp_path: Path) -> None:
    movie = smlm.as_movie(frames(), pixel_size=100, chunks=chunks)
    opened = smlm.open_movie(smlm.ingest(movie, tmp_path / "m.zarr"))
    np.testing.assert_array_equal(opened, frames())


@pytest.mark.parametrize("size", [2_000, 20_000, 300_000, 2**40])
def test_shards_keep_the_budget(size: int, tmp_path: Path) -> None:
    with dask.config.set({"smlm_dask.chunk-bytes": size}):
        movie = smlm.as_movie(frames(), pixel_size=100)
        layout = shards.lay_out(movie)
        within = np.minimum(layout.shard, movie.shape)
        assert np.prod(within) * 2 <= max(size, 131 * 2)
        assert all(s % i == 0 for s, i in zip(layout.shard, layout.inner, strict=True))
        assert np.prod(np.divide(layout.shard, movie.shape).clip(1)) < 1.1


def test_a_cropped_and_corrected_movie_keeps_its_place(source: Path, tmp_path: Path) -> None:
    movie = smlm.open_movie(source, pixel_size=100)[30:, 3:20, 10:40] + np.uint16(7)
    opened = smlm.open_movie(smlm.ingest(movie, tmp_path / "m.zarr"))
    xr.testing.assert_equal(opened.compute(), movie.compute())
    assert int(opened.y[0]) == 3
    assert int(opened.frame[0]) == 30


def test_a_tiff_goes_in(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", frames(), photometric="minisblack", imagej=True)
    path = smlm.ingest(tmp_path / "m.tif", tmp_path / "m.zarr", pixel_size=100, axes="tyx")
    np.testing.assert_array_equal(smlm.open_movie(path), frames())


@pytest.mark.parametrize("stored", [(200, 48, 48), (70, 48, 48), (100, 24, 24)])
def test_memory_does_not_grow_with_the_movie(stored: laws.Shape, tmp_path: Path) -> None:
    few, many = (most_alive(n, stored, tmp_path / f"{n}.zarr") for n in (1000, 4000))
    assert many < few + 100  # a few bytes for each shard that is written


def most_alive(n: int, stored: laws.Shape, path: Path) -> int:
    """Most bytes of arrays at once while a movie of ``n`` frames is copied."""
    source = memory.Generated(frames(shape=(memory.BASE, 48, 48)), (n, 48, 48))
    movie = laws.movie_of(source, stored, f"generated-{n}")
    settings = {"scheduler": "sync", "smlm_dask.chunk-bytes": 200 * 48 * 48 * 2}
    with dask.config.set(settings), memory.Alive() as held:
        smlm.ingest(movie, path)
    return held.peak


def test_on_a_cluster(source: Path, tmp_path: Path) -> None:
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with cluster, Client(cluster):
        path = smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100)
    np.testing.assert_array_equal(smlm.open_movie(path), frames())


# ------------------------------------------------------------------ interrupted


SLOW = """
import time, sys, dask
import smlm_dask as smlm
from smlm_dask import shards
call = shards.Target.__call__
def slow(*arguments):
    time.sleep(0.3)
    call(*arguments)
shards.Target.__call__ = slow
with dask.config.set({"smlm_dask.chunk-bytes": 10 * 26 * 131 * 2}, scheduler="synchronous"):
    smlm.ingest(sys.argv[1], sys.argv[2], pixel_size=100)
"""


def test_a_killed_copy_goes_on_with_what_is_missing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    part = out.with_name("m.zarr.part")
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(source), str(out)], cwd=ROOT)
    try:
        while len(files(part)) < 3:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    before = files(part)
    assert len(before) >= 3
    with pytest.raises(SourceCorruptError, match="did not end"):
        smlm.open_movie(part, pixel_size=100)
    with dask.config.set({"smlm_dask.chunk-bytes": 10 * 26 * 131 * 2}):
        smlm.ingest(source, out, pixel_size=100)
    after = files(out)
    assert before.items() < after.items()
    np.testing.assert_array_equal(smlm.open_movie(out), frames())


@pytest.fixture
def stopped(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that stopped after two of three shards."""
    out.parent.mkdir()
    call = shards.Target.__call__

    def stop(self: Any, *arguments: Any) -> None:
        if len(files(self.part)) == 2:
            raise KeyboardInterrupt
        call(self, *arguments)

    monkeypatch.setattr(shards.Target, "__call__", stop)
    with pytest.raises(KeyboardInterrupt), dask.config.set(scheduler="synchronous"):
        smlm.ingest(source, out, pixel_size=100)
    monkeypatch.undo()
    part = out.with_name("movie.zarr.part")
    assert len(files(part)) == 2
    return part


def test_what_is_there_is_not_written_again(stopped: Path, source: Path, out: Path) -> None:
    before = files(stopped)
    smlm.ingest(source, out, pixel_size=100)
    assert before.items() <= files(out).items()


def test_a_fresh_start_writes_everything_again(stopped: Path, source: Path, out: Path) -> None:
    before = files(stopped)
    smlm.ingest(source, out, pixel_size=100, resume=False)
    assert not before.items() & files(out).items()


def test_a_shard_that_was_not_read_back_does_not_count(stopped: Path, source: Path, out: Path):
    other = stopped / "unverified" / "c" / "0" / "0" / "0"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(b"half of a shard")
    smlm.ingest(source, out, pixel_size=100)
    np.testing.assert_array_equal(smlm.open_movie(out), frames())


def _later(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


CHANGES = {
    "time": _later,
    "samples": lambda path: np.save(path, frames()[::-1]),
    "shape": lambda path: np.save(path, frames()[:-1]),
    "dtype": lambda path: np.save(path, frames().astype("i2")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_source_that_changed_is_not_mixed(
    what: str, stopped: Path, source: Path, out: Path
) -> None:
    CHANGES[what](source)
    before = files(stopped)
    with pytest.raises(StoreError, match=r"a copy of a movie with.*resume=False"):
        smlm.ingest(source, out, pixel_size=100)
    assert files(stopped) == before
    smlm.ingest(source, out, pixel_size=100, resume=False)
    np.testing.assert_array_equal(smlm.open_movie(out), np.load(source))


def test_a_file_of_a_pattern_that_changed_is_not_mixed(tmp_path: Path, monkeypatch) -> None:
    for number in range(4):
        tifffile.imwrite(tmp_path / f"img{number}.tif", np.full((8, 8), number + 1, "u2"))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shards.Target, "__call__", stop)
    pattern, out = tmp_path / "img*.tif", tmp_path / "movie.zarr"
    with pytest.raises(KeyboardInterrupt), dask.config.set(scheduler="synchronous"):
        smlm.ingest(pattern, out, pixel_size=100)
    monkeypatch.undo()
    _later(tmp_path / "img2.tif")
    with pytest.raises(StoreError, match=r"stamp.*resume=False"):
        smlm.ingest(pattern, out, pixel_size=100)


@pytest.mark.parametrize("keywords", [{"pixel_size": 101}, {"pixel_size": 100, "frame_time": 1}])
def test_other_keywords_are_another_movie(
    keywords: Any, stopped: Path, source: Path, out: Path
) -> None:
    with pytest.raises(StoreError, match="a copy of a movie with"):
        smlm.ingest(source, out, **keywords)


def test_another_correction_is_another_movie(stopped: Path, source: Path, out: Path) -> None:
    movie = smlm.open_movie(source, pixel_size=100)
    with pytest.raises(StoreError, match="a copy of a movie with"):
        smlm.ingest(movie + np.uint16(1), out)


def test_a_source_may_move(stopped: Path, source: Path, out: Path) -> None:
    before = files(stopped)
    moved = source.rename(source.with_name("moved.npy"))
    smlm.ingest(moved, out, pixel_size=100)
    assert before.items() <= files(out).items()


# ------------------------------------------------------------------ damage


def test_what_reads_back_otherwise_never_gets_a_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flip(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(1000)
            byte = file.read(1)[0]
            file.seek(1000)
            file.write(bytes([byte ^ 4]))

    monkeypatch.setattr(shards, "flush", flip)
    with pytest.raises(StoreError, match=r"frames from \d+: got other samples"):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100)
    assert files(tmp_path / "m.zarr.part") == {}


def test_samples_are_compared_not_only_checksums(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setitem = zarr.Array.__setitem__

    def wrong(self: Any, box: Any, block: Any) -> None:
        setitem(self, box, block ^ 1 if block.ndim == 3 else block)

    monkeypatch.setattr(zarr.Array, "__setitem__", wrong)
    with pytest.raises(StoreError, match="got other samples"):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100)


def test_a_lost_shard_is_noticed(copied: Path) -> None:
    (copied / "movie" / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(SourceCorruptError, match="lost shards"):
        smlm.open_movie(copied)


def test_a_flipped_bit_is_noticed(copied: Path) -> None:
    path = copied / "movie" / "c" / "1" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[500] ^= 16
    path.write_bytes(content)
    with pytest.raises(SourceCorruptError):
        smlm.open_movie(copied).compute()


def test_a_damaged_source_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames(), compression="zlib", photometric="minisblack")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(SourceCorruptError):
        smlm.ingest(path, tmp_path / "m.zarr", pixel_size=100, axes="tyx")


# ------------------------------------------------------------------ refused


def test_too_little_space(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10_000))
    with pytest.raises(StoreError, match=r"got 10000 bytes of space; wanted about \d{7} bytes"):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100)


@pytest.mark.parametrize(
    ("ndim", "words"),
    [
        (0, r"m\.zarr\.part: got .*No space left"),
        (3, r"movie/c/\d/0/0: got .*No space left.*call again"),
    ],
)
def test_a_full_disk_is_named(
    ndim: int, words: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setitem = zarr.Array.__setitem__

    def full(self: Any, box: Any, block: Any) -> None:
        if block.ndim >= ndim:
            raise OSError(28, "No space left on device")
        setitem(self, box, block)

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(StoreError, match=words):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100)


@pytest.mark.parametrize("place", [".", "inside.zarr", "../movie.npy"])
def test_the_copy_is_apart_from_its_source(place: str, copied: Path) -> None:
    target = copied if place == "." else copied / place
    if place == "../movie.npy":
        target = copied.parent
    with pytest.raises(StoreError, match="in the source or around it"):
        smlm.ingest(copied, target, overwrite=True)
    with pytest.raises(StoreError, match="in the source or around it"):
        smlm.ingest(smlm.open_movie(copied)[3:], target, overwrite=True)
    np.testing.assert_array_equal(smlm.open_movie(copied), frames())


def test_nothing_is_overwritten_unless_asked(source: Path, copied: Path) -> None:
    with pytest.raises(StoreError, match="overwrite=True"):
        smlm.ingest(source, copied, pixel_size=100)
    smlm.ingest(source, copied, pixel_size=105, overwrite=True)
    assert float(smlm.open_movie(copied).pixel_size_x) == 105


@pytest.mark.parametrize("name", ["m.zarr", "m.zarr.part"])
def test_a_folder_that_is_no_copy_is_never_removed(name: str, source: Path, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / name, shape=(3, 4, 5), dtype="u2")
    with pytest.raises(StoreError, match="something there already"):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100, overwrite=True)
    assert zarr.open_array(tmp_path / name).shape == (3, 4, 5)


def test_a_store_of_results_is_no_copy(source: Path, tmp_path: Path) -> None:
    smlm.store({"camera": smlm.as_camera(1.0)}, tmp_path / "m.zarr")
    with pytest.raises(StoreError, match="something there already"):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100, overwrite=True)


@pytest.mark.parametrize("path", [3, None, "s3://bucket/m.zarr"])
def test_paths_that_are_no_folder_here(source: Path, path: Any) -> None:
    with pytest.raises(StoreError, match="a folder on this machine"):
        smlm.ingest(source, path, pixel_size=100)


def test_a_movie_without_a_pixel_size(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PixelSizeError):
        smlm.ingest(source, tmp_path / "m.zarr")
    assert not list(tmp_path.glob("m.zarr*"))


@pytest.mark.parametrize("keywords", [{"pixel_size": 100}, {"axes": "tyx"}])
def test_an_open_movie_takes_no_keywords_of_a_path(keywords: Any, tmp_path: Path) -> None:
    movie = smlm.as_movie(frames(), pixel_size=100)
    with pytest.raises(ParameterError, match="open already"):
        smlm.ingest(movie, tmp_path / "m.zarr", **keywords)


@pytest.mark.parametrize("keywords", [{"resume": 1}, {"overwrite": "no"}])
def test_flags_are_true_or_false(keywords: Any, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="True or False"):
        smlm.ingest(source, tmp_path / "m.zarr", pixel_size=100, **keywords)


def test_attributes_that_zarr_cannot_hold(tmp_path: Path) -> None:
    movie = smlm.as_movie(frames(), pixel_size=100).assign_attrs(x=object())
    with pytest.raises(StoreError, match="plain attributes"):
        smlm.ingest(movie, tmp_path / "m.zarr")
