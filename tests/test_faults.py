"""What goes wrong while results are stored or afterwards: nothing wrong is read, little is done twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import smlm_dask as smlm
from smlm_dask import folder, stored
from smlm_dask.errors import StoreError
from smlm_dask.results import arrays_of
from tests import interrupted

ROOT = Path(__file__).parents[1]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the movie, its log, and the results as they should be."""
    place = tmp_path_factory.mktemp("whole")
    smlm.store(interrupted.build(place), place / "r.zarr")
    return place


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A folder with the movie alone."""
    shutil.copy2(whole / "movie.npy", tmp_path)
    return tmp_path


def opened(path: Path) -> xr.Dataset:
    return smlm.open_results(path)["background"].to_dataset().compute()


def until(done: Callable[[], bool]) -> None:
    for _ in range(3000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


# ------------------------------------------------------------------ killed


@pytest.mark.parametrize("written", [3, 30, 70])
def test_a_killed_store_goes_on_with_what_is_missing(
    written: int, place: Path, whole: Path
) -> None:
    check_killed(written, place, whole)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100))
def test_wherever_it_is_killed(seed: int, place: Path, whole: Path) -> None:
    check_killed(int(np.random.default_rng(seed).integers(0, 76)), place, whole)


def check_killed(written: int, place: Path, whole: Path) -> None:
    part, command = place / "r.zarr.part", [sys.executable, "-c", STORE, str(place)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    until(lambda: len(chunks(part)) >= written)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(chunks(part)) < interrupted.WINDOWS
    smlm.store(interrupted.build(place), place / "r.zarr")
    # Of each thread what it was at, and a window of which one array of the two was written.
    assert interrupted.count(place) <= interrupted.WINDOWS + 2 * interrupted.THREADS
    xr.testing.assert_identical(opened(place / "r.zarr"), opened(whole / "r.zarr"))


# Not ``python -m``: what ``__main__`` holds has other names in other processes.
STORE = "import pathlib, sys, tests.interrupted as i; i.main(pathlib.Path(sys.argv[1]))"


def chunks(root: Path) -> list[Path]:
    return list((root / "background" / "series" / "c").rglob("0/0"))


def test_a_killed_worker_takes_little_along(place: Path, whole: Path) -> None:
    settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **settings) as cluster, Client(cluster):
        worker = next(iter(cluster.workers.values())).process.process.pid
        killer = Thread(target=kill, args=(worker, place))
        killer.start()
        # Slowly: what the client has not yet heard of when the worker dies is done again.
        smlm.store(interrupted.build(place, seconds=0.1), place / "r.zarr")
        killer.join()
    # What its one thread was at, and what had been sent to it.
    assert interrupted.count(place) <= interrupted.WINDOWS + 2
    xr.testing.assert_identical(opened(place / "r.zarr"), opened(whole / "r.zarr"))


def kill(pid: int, place: Path) -> None:
    until(lambda: interrupted.count(place) >= interrupted.WINDOWS // 2)
    os.kill(pid, signal.SIGKILL)


def test_other_results_are_not_mixed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(place, monkeypatch)
    movie = np.load(place / "movie.npy")
    np.save(place / "movie.npy", movie + 1)
    with pytest.raises(StoreError, match=r"other results.*movie\.npy"):
        smlm.store(interrupted.build(place), place / "r.zarr")
    smlm.store(interrupted.build(place), place / "r.zarr", resume=False)
    wanted = interrupted.build(place)["background"].compute()
    xr.testing.assert_identical(opened(place / "r.zarr"), wanted)


def begin(place: Path, monkeypatch: pytest.MonkeyPatch, after: int = 20) -> None:
    """Store until so many chunks were written."""
    calls, flush = [], stored.flush

    def stop(path: Path) -> None:
        flush(path)
        calls.append(path)
        if len(calls) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stored, "flush", stop)
        with pytest.raises(KeyboardInterrupt):
            smlm.store(interrupted.build(place), place / "r.zarr")


# ------------------------------------------------------------------ opened all the same


def test_what_is_there_opens_partial_with_nan(
    place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(place, monkeypatch)
    with pytest.raises(StoreError, match="did not end"):
        smlm.open_results(place / "r.zarr")
    found = smlm.open_results(place / "r.zarr", partial=True)["background"].to_dataset().compute()
    wanted = opened(whole / "r.zarr")
    there = np.isfinite(found.series).all(("y", "x"))
    assert 5 <= int(there.sum()) < interrupted.WINDOWS
    np.testing.assert_array_equal(found.series[there.values], wanted.series[there.values])
    assert np.isnan(found.series[~there.values]).all()


def test_results_of_a_movie_that_changed_are_stale(place: Path) -> None:
    path = smlm.store(interrupted.build(place), place / "r.zarr")
    was = opened(path)
    os.utime(place / "movie.npy", (1, 1))
    with pytest.raises(StoreError, match=r"movie\.npy as it was before it changed"):
        smlm.open_results(path)
    found = smlm.open_results(path, partial=True)["background"].to_dataset()
    xr.testing.assert_identical(found.compute(), was)
    (place / "movie.npy").unlink()  # results outlive their movie
    xr.testing.assert_identical(opened(path), was)


# ------------------------------------------------------------------ damaged


def flip(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


def cut(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(1, len(content))])


DAMAGE: dict[str, Callable[[Path, np.random.Generator], object]] = {
    "a bit": flip,
    "cut": cut,
    "empty": lambda file, _: file.write_bytes(b""),
    "gone": lambda file, _: file.unlink(),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_every_damaged_chunk_is_named_and_computed_again(what: str, whole: Path) -> None:
    rng = np.random.default_rng(3)
    path = Path(shutil.copytree(whole / "r.zarr", whole / f"{what}.zarr"))
    assert smlm.verify(path).empty
    hurt = sorted(rng.choice(interrupted.WINDOWS, 75, replace=False).tolist())
    for number in hurt:
        DAMAGE[what](path / "background" / "series" / "c" / str(number) / "0" / "0", rng)
    found = smlm.verify(path)
    assert found.array.eq("background/series").all()
    assert found.chunk.tolist() == [(number, 0, 0) for number in hurt]
    before = interrupted.count(whole)
    assert smlm.repair(interrupted.build(whole), path).equals(found)
    assert interrupted.count(whole) - before == len(hurt)
    assert smlm.verify(path).empty
    xr.testing.assert_identical(opened(path), opened(whole / "r.zarr"))


@pytest.mark.nightly
def test_no_flipped_bit_passes(whole: Path) -> None:
    """A hundred thousand, one at a time, in chunks of every array."""
    rng = np.random.default_rng(4)
    path = Path(shutil.copytree(whole / "r.zarr", whole / "flipped.zarr"))
    arrays = [a for a in arrays_of(path).values() if len(a.places)]
    for _ in range(100_000):
        array = arrays[rng.integers(len(arrays))]
        index = array.places[rng.integers(len(array.places))]
        content = array.file(index).read_bytes()
        flip(array.file(index), rng)
        assert array.fault(index) is not None, (array.name, index)
        array.file(index).write_bytes(content)


@pytest.mark.parametrize(
    "file", ["series/zarr.json", "zarr.json", "pixel_size_x/c", "frame/c/0", "y/zarr.json"]
)
def test_a_damaged_description_is_written_again_and_no_chunk_computed(
    file: str, whole: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(whole / "r.zarr", whole / tmp_path.name))
    flip(path / "background" / file, np.random.default_rng(len(file)))
    assert len(smlm.verify(path)) == 1
    before = interrupted.count(whole)
    smlm.repair(interrupted.build(whole), path)
    assert interrupted.count(whole) == before
    assert smlm.verify(path).empty
    xr.testing.assert_identical(opened(path), opened(whole / "r.zarr"))


def test_other_results_repair_nothing(whole: Path, place: Path) -> None:
    with pytest.raises(StoreError, match=r"other results, which differ in .*background/series"):
        smlm.repair(interrupted.build(place), whole / "r.zarr")


# ------------------------------------------------------------------ no room


def full(path: Path) -> None:
    raise OSError(28, "No space left on device")


def test_too_little_space_is_told_before(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = Usage(total=10**6, used=10**6 - 20_000, free=20_000)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match="20000 bytes of space; wanted about"):
        smlm.store(interrupted.build(place), place / "r.zarr")
    assert interrupted.count(place) == 0


def test_a_full_disk_is_named_and_what_is_written_stays(
    place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(place, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(stored, "flush", full)
        with pytest.raises(
            StoreError, match=r"No space left on device.*goes on with what is missing"
        ):
            smlm.store(interrupted.build(place), place / "r.zarr")
    smlm.store(interrupted.build(place), place / "r.zarr")
    xr.testing.assert_identical(opened(place / "r.zarr"), opened(whole / "r.zarr"))


def test_a_disk_that_is_full_at_once_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("smlm_dask.store"), "flush", full)  # not the function
    with pytest.raises(StoreError, match="No space left on device"):
        smlm.store(interrupted.build(place), place / "r.zarr")


@pytest.mark.parametrize("name", ["m.zarr/r.zarr", "m.zarr/movie/r.zarr", "m.zarr"])
def test_results_do_not_lie_in_their_movie(name: str, place: Path) -> None:
    smlm.ingest(place / "movie.npy", place / "m.zarr", pixel_size=100)
    movie = smlm.open_movie(place / "m.zarr")
    results = {"background": smlm.background_sparse_median(movie, window=10)}
    with pytest.raises(StoreError, match=r"got (a place in the source|something there already)"):
        smlm.store(results, place / name, overwrite=True)
    smlm.open_movie(place / "m.zarr")
