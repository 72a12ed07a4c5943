"""What a plan tells is what happens, and telling it computes nothing."""

from __future__ import annotations

import re
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback
from distributed import Client, LocalCluster

import smlm_dask as smlm
from smlm_dask._graph import forecast
from smlm_dask.errors import MemoryLimitError, ParameterError
from tests import laws, memory
from tests.test_laws import refuse

every_case = pytest.mark.parametrize("name", laws.CASES)
# The exact median of a whole movie is told with all the passes and searches it may need; few do.
STREAMED = {name for name, case in laws.CASES.items() if case.passes >= laws.STREAMED}
OTHERS = [name for name in laws.CASES if name not in STREAMED]


def unread(
    shape: laws.Shape = (2000, 64, 64), frames: int = 200, name: str = "source"
) -> xr.DataArray:
    return laws.movie_of(laws.Unreadable(shape), (frames, -1, -1), name)


# ------------------------------------------------------------------ nothing is computed


@every_case
def test_planning_reads_and_computes_nothing(name: str) -> None:
    with dask.config.set(scheduler=refuse):
        result = laws.plain(laws.CASES[name].build(unread((600, 64, 64), 70)))
        arrays = list(laws.lazy(result).values())
        assert forecast(arrays, 2).tasks
        if laws.datasets(result):
            assert smlm.plan(result, threads=2, memory_limit="8 GB").tasks


# ------------------------------------------------------------------ tasks and bytes


class Tasks(Callback):
    """How many tasks ran."""

    count = 0

    def _posttask(self, key: Any, *_: Any) -> None:
        self.count += 1


@pytest.mark.parametrize("name", ["gain", "spatial-mean", "photons-own-gain", "channels"])
@pytest.mark.parametrize("upstream", ["aligned", "rechunked"])
def test_as_many_tasks_run_as_are_told(name: str, upstream: str) -> None:
    frames = memory.small(upstream)
    with dask.config.set(memory.SETTINGS), Tasks() as ran:
        told = forecast(memory.arrays(name, upstream, frames, 600, memory.SMALL), 1)
        memory.run(name, upstream, frames, 600, memory.SMALL)
    assert told.tasks == ran.count


@pytest.mark.parametrize("upstream", ["aligned", "mapped"])
@every_case
def test_what_is_read_is_told(name: str, upstream: str) -> None:
    stored, prepare = laws.UPSTREAMS[upstream]
    values = laws.samples()
    source = laws.Source(values, stored(values.shape))
    build = laws.CASES[name].build
    arrays = laws.lazy(build(prepare(laws.movie_of(source, source.stored, f"{name}-{upstream}"))))
    told = forecast(list(arrays.values()), 1)
    assert not source.reads.any()
    with dask.config.set(scheduler="sync"):
        dask.compute(list(arrays.values()))
    assert max(told.reads.values()) == source.reads.max()
    crops = name.endswith(("crops", "remove-bkgd", "integrate-crop"))
    whole = source.frames_read()[1].sum() * values[0].nbytes
    if name in STREAMED or name.startswith(("psf-few", "psf-seed-")) or crops:
        assert told.read <= whole
    else:
        assert told.read == whole


def test_what_is_read_twice_counts_twice() -> None:
    build = laws.OFFENDERS["reads-twice"]
    assert forecast(build(unread()), 1).read == 2 * unread().nbytes


def test_what_is_written_is_told() -> None:
    signal = laws.CASES["readme"].build(unread())
    lazy = laws.lazy(signal).values()
    assert smlm.plan(signal, threads=1).written == sum(a.nbytes for a in lazy)


# ------------------------------------------------------------------ memory


def check_held(name: str, upstream: str) -> None:
    with dask.config.set(memory.SETTINGS):
        arrays = memory.arrays(name, upstream, memory.small(upstream), 2000, memory.SMALL)
        told = forecast(arrays, 1).held / (2 * memory.SMALL**2)
    alive = memory.alive(name, upstream, 2000)
    print(f"{name} {upstream}: {told:.0f} frames told, {alive:.0f} alive")
    assert told >= 0.999 * alive
    assert told <= 1.1 * alive or name in STREAMED


@every_case
def test_what_is_held_is_told(name: str) -> None:
    check_held(name, "aligned")


@pytest.mark.parametrize("upstream", [u for u in laws.UPSTREAMS if u != "aligned"])
@pytest.mark.parametrize("name", ["gain", "photons-own-gain", "readme"])
def test_what_chains_hold_is_told(name: str, upstream: str) -> None:
    check_held(name, upstream)


@pytest.mark.nightly
@pytest.mark.parametrize("upstream", [u for u in laws.UPSTREAMS if u != "aligned"])
@every_case
def test_whatever_is_held_is_told(name: str, upstream: str) -> None:
    check_held(name, upstream)


def check_process(name: str, upstream: str, threads: int, n: int) -> None:
    """What a process grows by is told: never too little, and not much too much."""
    line = (
        f"from tests import memory; memory.told_and_grown({name!r}, {upstream!r}, {threads}, {n})"
    )
    told, grown = memory.of_process("-c", line)
    print(f"{name} {upstream} {threads}: {told / 2**20:.0f} told, {grown / 2**20:.0f} MiB grown")
    assert 1 <= told / grown <= 2.5


@pytest.mark.parametrize("name", ["gain-whole", "spatial-mean", "psf", "readme"])
def test_the_memory_of_a_process_is_told(name: str) -> None:
    check_process(name, "aligned", 1, 2000)


@pytest.mark.nightly
@pytest.mark.parametrize("threads", [1, 2])
@every_case
def test_the_memory_of_every_case_is_told(name: str, threads: int) -> None:
    check_process(name, "aligned", threads, 2000)


@pytest.mark.nightly
@pytest.mark.parametrize("upstream", [u for u in laws.UPSTREAMS if u != "aligned"])
@pytest.mark.parametrize("name", ["gain", "spatial-mean", "psf", "photons-own-gain", "readme"])
def test_the_memory_of_chains_is_told(name: str, upstream: str) -> None:
    check_process(name, upstream, 1, 2000)


# ------------------------------------------------------------------ what holds the movie


def own_gain(movie: xr.DataArray) -> xr.DataArray:
    return (movie - 100) * smlm.estimate_gain(movie).gain


def rechunked(movie: xr.DataArray) -> xr.DataArray:
    return movie.chunk(frame=-1, y=16, x=16).median("frame")


def after_mean(movie: xr.DataArray) -> xr.DataArray:
    return movie - movie.mean("frame")


HOLDERS = {
    "mean": (after_mean, "sub"),
    "gain": (own_gain, "mul"),
    "rechunked": (rechunked, "median"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_the_movie_is_named_and_refused(name: str, threads: int) -> None:
    build, kernel = HOLDERS[name]
    result, half = build(unread((20_000, 256, 256))), 20_000 * 2**17 / 2
    with pytest.raises(MemoryLimitError, match=f"kernel '{kernel}'.*kept in memory.*first"):
        smlm.plan(result, threads=threads, memory_limit=half)
    told = smlm.plan(result, threads=threads, memory_limit="90 GB")
    assert told.holds == kernel
    assert told.memory > 2 * half


# With two threads one searches the whole movie, pass after pass, and the other reads ahead for the pass
# that uses what is found: their memory does grow, and a plan says so.
AHEAD = {"photons-own-whole-gain", "smlmlp-blink-spatial-psf", "psf-seed-whole"}


@pytest.mark.parametrize("threads", [1, 2])
@every_case
def test_no_case_holds_the_movie(name: str, threads: int) -> None:
    with dask.config.set(memory.SETTINGS):
        movie = unread((8000, memory.SMALL, memory.SMALL))
        arrays = list(laws.lazy(laws.CASES[name].build(movie)).values())
    holds = forecast(arrays, threads).holds
    assert holds is None or (threads == 2 and name in AHEAD)


# ------------------------------------------------------------------ what cannot fit

LARGE = (2000, 2048, 2048)  # a chunk of 200 frames has 1.7 GB


def advised(name: str, frames: int) -> int:
    """Frames in a chunk that a plan says would fit; 0 if these do."""
    result = laws.CASES[name].build(unread(LARGE, frames))
    told = smlm.plan(result, threads=2, memory_limit="90 GB")
    try:
        told.check("4 GB")
    except MemoryLimitError as refused:
        return int(re.findall(r"kernel '[\w-]+': .*at most (\d+) frames", str(refused))[0])
    return 0


@pytest.mark.parametrize("name", ["spatial-mean", "photons-border", "photons-map"])
def test_what_cannot_fit_is_refused_and_chunks_that_fit_are_named(name: str) -> None:
    frames = advised(name, 200)
    assert 1 <= frames < 200
    assert advised(name, frames) == 0


def test_a_plan_is_checked_again() -> None:
    told = smlm.plan(smlm.estimate_gain(unread()), threads=1, memory_limit="1 GB")
    assert told.check("1 GB") is told
    with pytest.raises(MemoryLimitError, match=told.kernel):
        told.check("351 MiB")


def test_more_threads_take_more() -> None:
    result = smlm.background_spatial_mean(unread((4000, 256, 256)))
    one, four = (smlm.plan(result, threads=n).memory for n in (1, 4))
    assert 3 * one < four < 5 * one


def test_threads_and_limit_are_those_of_the_workers() -> None:
    result = smlm.background_spatial_mean(unread((2000, 512, 512)))
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=3,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit="500 MB",
        ) as workers,
        Client(workers),
        pytest.raises(MemoryLimitError, match=r"3 thread\(s\)"),
    ):
        smlm.plan(result)


# ------------------------------------------------------------------ what is taken and shown


def test_all_kinds_of_results_are_taken() -> None:
    camera = smlm.estimate_gain(unread())
    whole = smlm.plan(camera, threads=1)
    assert smlm.plan({"camera": camera}, threads=1) == whole
    assert smlm.plan(xr.DataTree.from_dict({"camera": camera}), threads=1) == whole
    assert smlm.plan(camera.gain, threads=1).written == 8


def test_numbers_in_memory_take_nothing() -> None:
    told = smlm.plan(smlm.as_camera(2.0), threads=1)
    assert (told.chunks, told.passes, told.tasks, told.read) == (0, 0, 0, 0)


@pytest.mark.parametrize("wrong", [None, 3, {}, {"a": 1}, [], np.zeros(3), da.zeros(3)])
def test_what_is_no_result_is_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="results"):
        smlm.plan(wrong)


@pytest.mark.parametrize("wrong", ["much", -1, 0, "", True, float("nan"), [1]])
def test_a_limit_is_a_size(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="memory_limit"):
        smlm.plan(smlm.as_camera(2.0), threads=1, memory_limit=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_threads_are_a_number(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="threads"):
        smlm.plan(smlm.as_camera(2.0), threads=wrong)


def test_a_plan_is_a_short_table() -> None:
    told = smlm.plan(smlm.estimate_gain(unread()), threads=2)
    lines = repr(told).splitlines()
    assert lines[0] == "<smlm_dask.Plan>"
    assert any(re.fullmatch(r"    Chunks  10 of up to 200 frames", line) for line in lines)
    assert "<td>10 of up to 200 frames</td>" in told._repr_html_()
