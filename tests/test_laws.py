"""The laws that every block and every documented chain keeps."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import smlm_dask as smlm
from smlm_dask.kernels.reason import Reason
from smlm_dask.variables import VARIABLES, check_dataset
from tests import laws, memory

Numbers = dict[str, NDArray[Any]]

ROOT = Path(__file__).parent.parent
SMALL = {"smlm_dask.chunk-bytes": "48 KiB"}  # tiles, splits and streams a movie of a few hundred kB
every_case = pytest.mark.parametrize("name", laws.CASES)
every_block = pytest.mark.parametrize("name", [n for n, c in laws.CASES.items() if not c.seed])


@pytest.fixture(scope="module")
def movie() -> NDArray[np.uint16]:
    return laws.samples()


@pytest.fixture(scope="module")
def wanted(movie: NDArray[np.uint16]) -> dict[str, Numbers]:
    """Every case on a movie in one chunk, without threads."""
    whole = laws.movie_of(movie, -1)
    with dask.config.set(scheduler="synchronous"):
        return {name: laws.compute(case.build(whole)) for name, case in laws.CASES.items()}


# ------------------------------------------------------------------ 1. lazy


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("something was computed while the graph was built")


def check_lazy(build: laws.Build) -> Any:
    """Build on a movie that cannot be read, under a scheduler that cannot compute."""
    shape = (600, 64, 64)
    with dask.config.set(scheduler=refuse):
        return build(laws.movie_of(laws.Unreadable(shape), (70, 64, 64)))


@every_case
def test_building_reads_and_computes_nothing(name: str) -> None:
    assert laws.lazy(check_lazy(laws.CASES[name].build))


@every_case
def test_building_on_samples_in_memory_computes_nothing(name: str) -> None:
    with dask.config.set(scheduler=refuse):
        laws.CASES[name].build(smlm.as_movie(laws.samples(), pixel_size=laws.PIXEL))


def test_an_eager_block_is_not_lazy() -> None:
    with pytest.raises(AssertionError, match=r"was (read|computed)"):
        check_lazy(laws.OFFENDERS["eager"])


# 200 GB as open_movie cuts them: 4,000 chunks of about 50 MB. One case of each kind of graph.
LARGE = {"wide": ((24_000, 2048, 2048), 6), "long": ((100_000, 1024, 1024), 25)}
# Tasks for each chunk at most (wide, long), as the graph is built: y tiles and windows make most.
TASKS = {
    "gain": (3, 3),
    "gain-smlmlp": (3, 3),
    "gain-whole": (7, 7),
    "spatial-mean": (3, 3),
    "background": (3, 5),
    "sparse-median": (6, 6),
    "sparse-median-cleansed": (18, 22),
    "psf": (4, 4),
    "psf-seed": (4, 4),
    "photons-border": (7, 7),
    "photons-weighted": (8, 8),
    "photons-unsorted": (4, 4),
    "photons-own-gain": (11, 11),
    "photons-background": (18, 18),
    "photons-spatial-mean": (10, 10),
    "photons-signal": (19, 22),
    "readme": (19, 22),
}


def large(kind: str) -> xr.DataArray:
    shape, length = LARGE[kind]
    return laws.movie_of(laws.Unreadable(shape), (length, *shape[1:]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gain", "wide"),
        ("psf", "long"),
        ("spatial-mean", "wide"),
        ("background", "long"),
        ("sparse-median", "long"),
        ("photons-border", "wide"),
    ],
)
def test_a_graph_of_200_gb_has_few_tasks_and_is_small(name: str, kind: str) -> None:
    check_graph(name, kind)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("name", TASKS)
def test_every_graph_of_200_gb_has_few_tasks_and_is_small(name: str, kind: str) -> None:
    check_graph(name, kind)


def check_graph(name: str, kind: str) -> None:
    source = large(kind)
    begin = time.process_time()
    result = laws.CASES[name].build(source)
    seconds = time.process_time() - begin
    layers: dict[str, Any] = {}
    for array in laws.lazy(result).values():
        layers |= array.dask.layers
    chunks = source.data.npartitions
    tasks = sum(len(layer) for layer in layers.values())
    size = len(cloudpickle.dumps(laws.plain(result), protocol=pickle.HIGHEST_PROTOCOL))
    print(
        f"{name} {kind}: {seconds:.2f} s, {tasks / chunks:.1f} tasks, {size / chunks:.0f} B a chunk"
    )
    assert tasks <= TASKS[name][kind == "long"] * chunks
    assert size <= 200 * tasks + 200 * len(source)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("name", TASKS)
def test_a_graph_of_200_gb_builds_in_a_second(name: str, kind: str) -> None:
    source = large(kind)
    laws.CASES[name].build(laws.movie_of(laws.Unreadable((600, 64, 64)), 200, "warm"))
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        laws.CASES[name].build(source)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 1 * (1 if name in SINGLE else 4), seconds


SINGLE = {
    "gain",
    "gain-smlmlp",
    "gain-whole",
    "spatial-mean",
    "sparse-median",
    "psf",
    "photons-border",
    "photons-weighted",
}


# ------------------------------------------------------------------ 2. chunks do not show


def check_same(got: Numbers, wanted: Numbers, *, exact: bool = True) -> None:
    """The same numbers: bit-equal, or, floats from floats, to a millionth."""
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        if exact or value.dtype.kind not in "fc":
            np.testing.assert_array_equal(got[name], value, err_msg=name)
        else:
            np.testing.assert_allclose(got[name], value, rtol=1e-6, err_msg=name)


def cuts(length: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Chunks of an axis: anything between one chunk and a few odd ones."""
    edges = st.sets(st.integers(1, length - 1), max_size=6).map(sorted)
    return edges.map(lambda e: tuple(np.diff([0, *e, length]).tolist()))


chunkings = st.tuples(*(cuts(n) for n in laws.SHAPE))
budgets = st.sampled_from([{}, SMALL])
schedulers = st.sampled_from(
    [
        {"scheduler": "synchronous"},
        {"scheduler": "threads", "num_workers": 1},
        {"scheduler": "threads", "num_workers": 4},
    ]
)
# Not shrunk: an example takes a second, and any chunking that fails says enough.
slow = settings(deadline=None, max_examples=4, phases=[Phase.reuse, Phase.generate])


@every_case
@slow
@given(chunks=chunkings, budget=budgets, scheduler=schedulers)
def test_chunks_and_threads_do_not_show(
    name: str,
    movie: NDArray[np.uint16],
    wanted: dict[str, Numbers],
    chunks: Any,
    budget: dict[str, str],
    scheduler: dict[str, Any],
) -> None:
    with dask.config.set(budget | scheduler):
        got = laws.compute(laws.CASES[name].build(laws.movie_of(movie, chunks)))
    check_same(got, wanted[name])


@pytest.mark.parametrize(
    "name",
    [
        "gain",
        "gain-smlmlp",
        "sparse-median",
        "background",
        "psf",
        "spatial-mean",
        "gain-whole",
        "signal",
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_chunks_do_not_show_in_other_samples(name: str, dtype: str) -> None:
    movie = laws.samples(dtype="float32")
    movie = (movie / 4).astype(dtype) if dtype == "uint8" else movie + np.float32(0.3)
    build = {"signal": laws.signal}.get(name) or laws.CASES[name].build
    chunks = ((130, 200, 140), (7, 19), (16, 15))
    with dask.config.set(SMALL):
        got = laws.compute(build(laws.movie_of(movie, chunks)))
    check_same(got, laws.compute(build(laws.movie_of(movie, -1))), exact=dtype == "uint8")


def test_a_block_that_sees_its_chunks_is_found(movie: NDArray[np.uint16]) -> None:
    build = laws.OFFENDERS["chunk-dependent"]
    one, two = (laws.compute([build(laws.movie_of(movie, c))]) for c in (-1, (100, -1, -1)))
    with pytest.raises(AssertionError):
        check_same(one, two, exact=False)


DISTRIBUTED = ("readme", "psf-seed-whole", "photons-own-whole-gain", "channel-tree")


def test_worker_processes_do_not_show(
    movie: NDArray[np.uint16], wanted: dict[str, Numbers]
) -> None:
    source = laws.movie_of(movie, ((130, 200, 140), (26,), (31,)))
    with dask.config.set(SMALL):
        results = {name: laws.plain(laws.CASES[name].build(source)) for name in DISTRIBUTED}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
        ) as workers,
        Client(workers) as client,
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        computed = client.compute(results, sync=True)
    for name in DISTRIBUTED:
        check_same(laws.compute(computed[name]), wanted[name])


# ------------------------------------------------------------------ 3. reads


def read_by(build: laws.Build, upstream: str) -> tuple[Any, NDArray[np.int64]]:
    """What was built on this upstream, and how often each frame of the movie was read for it."""
    stored, prepare = laws.UPSTREAMS[upstream]
    shape = laws.larger(upstream, laws.SHAPE)
    source = laws.Source(laws.samples(shape), stored(shape))
    result = build(prepare(laws.movie_of(source, stored(shape), f"counted-{id(source)}")))
    assert not source.reads.any()
    with dask.config.set(scheduler="threads", num_workers=2):
        laws.compute(result)
    return result, source.frames_read()[:, -laws.SHAPE[0] :]


def check_reads(case: laws.Case, upstream: str) -> None:
    _, (fewest, most) = read_by(case.build, upstream)
    assert most.max() <= case.passes
    assert (fewest >= case.fewest(len(fewest))).all()


@pytest.mark.parametrize("upstream", laws.UPSTREAMS)
@every_case
def test_every_stored_chunk_is_read_once_a_pass(name: str, upstream: str) -> None:
    tiled = upstream in ("odd-chunks", "tiled", "sliced")
    with dask.config.set(SMALL if tiled else {}):
        check_reads(laws.CASES[name], upstream)


PARTS: dict[str, laws.Build] = {
    "spatial mean": lambda m: smlm.background_spatial_mean(m).background[-1:],
    "series": lambda m: smlm.background_sparse_median(m).series[-1:],
    "offset": lambda m: smlm.background_sparse_median(m).series_offset[-1:],
    "photons": lambda m: laws.weighted(m).photons[-1:],
    "photons on a series": lambda m: laws.on_sparse_median(m).photons[-1:],
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_result_reads_its_part_of_the_movie(name: str) -> None:
    source = laws.Source(laws.samples(), (50, *laws.SHAPE[1:]))
    PARTS[name](laws.movie_of(source, source.stored, f"part-{name}")).compute()
    last = laws.SHAPE[0] - laws.WINDOW  # the last window, and no frame before it
    assert source.reads[last // 50 :].any()
    assert not source.reads[: last // 50].any()


@pytest.mark.nightly
@pytest.mark.parametrize("budget", [SMALL, {}], ids=["small", "large"])
@pytest.mark.parametrize("upstream", laws.UPSTREAMS)
@every_case
def test_it_is_so_within_any_budget(name: str, upstream: str, budget: dict[str, str]) -> None:
    with dask.config.set(budget):
        check_reads(laws.CASES[name], upstream)


@every_block
def test_blocks_declare_their_passes(name: str, movie: NDArray[np.uint16]) -> None:
    case = laws.CASES[name]
    with dask.config.set(SMALL):
        results = laws.datasets(case.build(laws.movie_of(movie, (70, -1, -1))))
    assert max(d.attrs["passes"] for d in results.values()) == case.passes


def test_a_second_reading_is_counted() -> None:
    with pytest.raises(AssertionError):
        check_reads(laws.Case(laws.OFFENDERS["reads-twice"]), "aligned")


@pytest.mark.parametrize("upstream", laws.UPSTREAMS)
@pytest.mark.parametrize(("name", "passes"), [("one-pass", 1), ("readme", 3)])
def test_results_stored_together_read_together(
    name: str, passes: int, upstream: str, tmp_path: Path
) -> None:
    def kept(movie: xr.DataArray) -> xr.DataTree:
        return smlm.open_results(smlm.store(laws.CASES[name].build(movie), tmp_path / "r.zarr"))

    stored, prepare = laws.UPSTREAMS[upstream]
    shape = laws.larger(upstream, laws.SHAPE)
    source = laws.Source(laws.samples(shape), stored(shape))
    tree = kept(prepare(laws.movie_of(source, stored(shape), f"counted-{id(source)}")))
    assert "camera" in tree.children
    # The medians of the background need every frame, so the tail is read as well.
    reads = source.frames_read()[:, -laws.SHAPE[0] :]
    assert reads.max() == passes
    assert reads.min() >= 1
    assert (reads[:, : 2 * laws.WINDOW] == passes).all()


def test_stored_numbers_are_the_computed_ones(
    movie: NDArray[np.uint16], wanted: dict[str, Numbers], tmp_path: Path
) -> None:
    results = laws.readme(laws.movie_of(movie, (70, 13, -1)))
    kept = smlm.open_results(smlm.store(results, tmp_path / "results.zarr"))
    got = laws.compute(kept)
    check_same({n: got[n] for n in wanted["readme"]}, wanted["readme"])


def test_gain_and_the_seeds_psf_share_the_medians_of_their_windows(
    movie: NDArray[np.uint16],
) -> None:
    source = laws.movie_of(movie, (100, -1, -1))
    gain = smlm.estimate_gain(source, method="smlmlp")
    results = {"gain": gain, "seed": laws.seed_psf(source)}
    tasks: dict[Any, Any] = {}
    for array in laws.lazy(results).values():
        tasks |= array.dask.to_dict()
    kernels = Counter(key[0].rsplit("-", 1)[0] for key in tasks if isinstance(key, tuple))
    windows = len(movie) // laws.WINDOW
    assert kernels["robust_moments"] == windows
    assert kernels["source"] == 5  # one for each chunk: no second reading


# ------------------------------------------------------------------ 4. memory is bounded

FRAMES = (1000, 2000, 4000, 8000)
# The repair of a background looks at 21 windows: until a movie has so many, more of them are held.
BEYOND = (4200, 8400, 16800)
LIMIT = 4096  # bytes a frame of 256 x 256 uint16, which is 131,072 bytes
CHAINS = ("photons-own-gain", "photons-cleansed-own-gain", "photons-signal", "readme")


def peaks(name: str, upstream: str, frames: tuple[int, ...], threads: int) -> list[int]:
    """Peak memory for movies of so many frames, in a process of its own."""
    arguments = "-m", "tests.memory", name, upstream, threads, *frames
    found: list[int] = memory.of_process(*arguments)
    print(f"{name} {upstream}: peaks {[round(p / 2**20) for p in found]} MiB")
    return found


def growth(name: str, upstream: str, frames: tuple[int, ...], threads: int) -> float:
    """Bytes of peak memory for each frame more."""
    return float(np.polyfit(frames, peaks(name, upstream, frames, threads), 1)[0])


def check_two_threads(name: str, upstream: str) -> None:
    """No growth but a chunk for each thread: the longer two run, the further one is once ahead."""
    found = peaks(name, upstream, FRAMES, 2)
    chunk = laws.WINDOW * 2 * memory.SIDE**2
    assert found[-1] - found[0] < 2 * chunk + LIMIT * (FRAMES[-1] - FRAMES[0])


@pytest.mark.parametrize("upstream", laws.UPSTREAMS)
@pytest.mark.parametrize("name", laws.CASES)
def test_no_more_is_alive_in_a_longer_movie(name: str, upstream: str) -> None:
    short, long = (memory.alive(name, upstream, n) for n in (2000, 8000))
    print(f"{name} {upstream}: {short:.0f} and {long:.0f} frames alive")
    # A chunk more is no growth: which of two is read first may depend on the hashes of a run.
    assert long - short < laws.WINDOW + 6000 * LIMIT / 2**17


def test_what_holds_the_movie_stays_alive() -> None:
    assert memory.alive("holds-the-movie", "aligned", 2000) > 1900


# One thread: the order of tasks, and so the peak, is the same in every run but for a few MiB.
@pytest.mark.parametrize(
    ("name", "upstream", "frames"),
    [
        ("gain", "sliced", FRAMES),
        ("gain-whole", "aligned", FRAMES),
        ("sparse-median", "odd-chunks", FRAMES),
        ("background", "sliced", FRAMES),
        ("spatial-mean", "aligned", FRAMES),
        ("psf", "tiled", FRAMES),
        ("photons-own-gain", "mapped", FRAMES),
        ("readme", "rechunked", BEYOND),
    ],
)
def test_memory_does_not_grow_with_the_movie(
    name: str, upstream: str, frames: tuple[int, ...]
) -> None:
    assert growth(name, upstream, frames, 1) < LIMIT


@pytest.mark.parametrize("threads", [1, 2])
def test_a_graph_that_holds_the_movie_grows(threads: int) -> None:
    assert growth("holds-the-movie", "aligned", FRAMES[:3], threads) > 10 * LIMIT


@pytest.mark.nightly
@pytest.mark.parametrize("name", laws.CASES)
def test_no_block_grows_with_the_movie(name: str) -> None:
    check_two_threads(name, "aligned")


@pytest.mark.nightly
@pytest.mark.parametrize("upstream", [u for u in laws.UPSTREAMS if u != "aligned"])
@pytest.mark.parametrize("name", CHAINS)
def test_no_chain_grows_with_the_movie(name: str, upstream: str) -> None:
    check_two_threads(name, upstream)


# ------------------------------------------------------------------ 5. honest

# Strings that astropy.units.Unit parses; "" where the caller's own unit holds, or none.
UNITS = {
    "adu",
    "adu2",
    "electron",
    "electron / adu",
    "photon",
    "photon / pix",
    "nm",
    "degree",
    "1",
    "s",
    "",
}


def test_declared_units_are_known() -> None:
    assert {unit for v in VARIABLES.values() for unit in v.forms.values()} <= UNITS
    assert all(v.meaning for v in VARIABLES.values())


@every_block
def test_results_are_as_declared(name: str, movie: NDArray[np.uint16]) -> None:
    source = laws.movie_of(movie, (100, -1, -1)).isel(frame=slice(20, None), y=slice(3, None))
    for dataset in laws.datasets(laws.CASES[name].build(source)).values():
        check_dataset(dataset)
        assert {v.attrs.get("units", "") for v in dataset.variables.values()} <= UNITS
        assert dataset.attrs["history"].startswith("smlm_dask ")
        for axis in {"frame", "y", "x"} & set(dataset.dims):
            if axis == "frame" or not name.startswith("channel"):
                assert dataset.indexes[axis].equals(source.indexes[axis])
        if {"y", "x"} <= set(dataset.dims):
            assert float(dataset.pixel_size_y) == laws.PIXEL[0]
            assert float(dataset.pixel_size_x) == laws.PIXEL[1]


@every_case
def test_inputs_are_not_written_to(name: str) -> None:
    """Blocks arrive as read-only views of the stored samples, so that writing to one raises."""
    movie = laws.samples()
    source = laws.Source(movie, (100, *laws.SHAPE[1:]))
    block = source[tuple(map(slice, source.stored))]
    assert np.shares_memory(block, movie)
    assert not block.flags.writeable
    before = movie.copy()
    laws.compute(laws.CASES[name].build(laws.movie_of(source, (laws.WINDOW, -1, -1))))
    np.testing.assert_array_equal(movie, before)


def test_tables_and_calibrations_are_not_written_to(movie: NDArray[np.uint16]) -> None:
    source = laws.movie_of(movie, (100, -1, -1))
    table = laws.spots(source)
    given = [table, laws.camera(), smlm.as_psf(120.0), smlm.background_sparse_median(source).load()]
    before = [value.copy(deep=True) for value in given]
    smlm.integrate_photons(
        source, given[0], camera=given[1], psf=given[2], background=given[3]
    ).compute()
    assert given[0].equals(before[0])
    assert all(a.identical(b) for a, b in zip(given[1:], before[1:], strict=True))


def falling(movie: NDArray[Any]) -> NDArray[Any]:
    """Less noise where there is more light: a line with a slope below zero."""
    level = np.linspace(100, 400, movie[0].size).reshape(movie.shape[1:])
    noise = np.random.default_rng(5).normal(size=movie.shape)
    return (level + 9 * (1 - level / 500) * noise).astype("u2")


def with_one(movie: NDArray[Any], value: float) -> NDArray[Any]:
    poor = movie.astype("f4")
    poor[5, 9, 9] = value
    return poor


POOR = {
    "constant": lambda m: np.full_like(m, 100),
    "saturated": lambda m: np.full_like(m, 65535),
    "black": np.zeros_like,
    "flat": lambda m: np.random.default_rng(3).poisson(100, m.shape).astype("u2"),
    "noisier-in-the-dark": falling,
    "all-nan": lambda m: np.full(m.shape, np.nan, "f4"),
    "one-nan": lambda m: with_one(m, np.nan),
    "one-inf": lambda m: with_one(m, np.inf),
}


@pytest.mark.parametrize("poor", POOR)
@pytest.mark.parametrize("name", laws.ANSWERS)
def test_what_is_not_a_number_has_a_reason(name: str, poor: str, movie: NDArray[np.uint16]) -> None:
    result = laws.CASES[name].build(laws.movie_of(POOR[poor](movie), (100, -1, -1))).compute()
    status = result.status.to_numpy()
    answer = next(n for n in ("gain", "sigma", "photons") if n in result)
    assert set(np.unique(status).tolist()) <= {int(reason) for reason in Reason}
    np.testing.assert_array_equal(np.isfinite(result[answer]), status == 0)


def test_emitters_without_an_answer_say_why(movie: NDArray[np.uint16]) -> None:
    source = laws.movie_of(movie, (100, -1, -1))
    table = laws.spots(source)
    table.loc[3, "x"] = np.nan
    table.loc[4, "background"] = np.inf
    result = smlm.integrate_photons(source, table, camera=laws.camera(), psf=120.0).compute()
    status = result.status.to_numpy()
    assert status[3]
    assert status[4]
    assert (status == Reason.CROP_LEAVES_FRAME).any()
    assert (status == 0).any()
    np.testing.assert_array_equal(np.isnan(result.photons), status > 0)
