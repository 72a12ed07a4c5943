"""The command line: the same numbers as the blocks, words with units, one line where input is wrong."""

from __future__ import annotations

import re
import runpy
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import tifffile
import xarray as xr
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from zarr.codecs import BloscCodec

import smlm_dask as smlm
from smlm_dask.cli import main
from smlm_dask.errors import ParameterError
from smlm_dask.readers.raw import RawFrames
from smlm_dask.report import draw_report, is_report, save_report, summarise
from smlm_dask.simulate import Emitters, Light

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "real"
PIXEL = 108.0
SIZE = "15"  # pixels of the PSF image: the fit of 41 x 41 takes most of the time


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def run(movie: Path, out: Path, *options: object) -> Result:
    return call("run", movie, "--pixel-size", PIXEL, "--out", out, *options)


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def refused(result: Result, *words: str) -> None:
    """One line that says what is wrong, no traceback, exit code 1."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    error = next(line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert "Traceback" not in result.output
    for word in words:
        assert word in error


def stored(path: Path) -> dict[str, xr.Dataset]:
    return {name: node.to_dataset().load() for name, node in smlm.open_results(path).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zarr movie of 450 frames, which two windows do not fill, and where its emitters are."""
    folder = tmp_path_factory.mktemp("movie")
    movie, truth = smlm.simulate_movie(
        450,
        (48, 56),
        emitters=Emitters(number=20, photons=4000, sigma=160),
        light=Light(background=60, gradient=0.8),
        pixel_size=PIXEL,
        seed=3,
    )
    codec = {"movie": {"compressors": [BloscCodec(cname="lz4")]}}
    dataset = movie.to_dataset(name="movie")
    dataset.to_zarr(folder / "movie.zarr", encoding=codec, consolidated=False)
    spots = smlm.truth_table(truth)
    smlm.write_table(spots[["frame", "x", "y"]], folder / "spots.csv")
    smlm.write_table(spots[["frame", "x", "y", "background"]], folder / "lit.csv")
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    options = "--positions", folder / "spots.csv", "--size-pixels", SIZE
    return run(folder / "movie.zarr", folder / "results.zarr", *options)


@pytest.fixture(scope="module")
def movie(folder: Path) -> xr.DataArray:
    return smlm.open_movie(folder / "movie.zarr", pixel_size=PIXEL)


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A TIFF of 6 frames of 24 x 30 pixels."""
    frames = np.random.default_rng(1).poisson(200, (6, 24, 30)).astype("u2")
    tifffile.imwrite(tmp_path / "short.tif", frames, photometric="minisblack")
    return tmp_path / "short.tif"


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the picture empty: drawing takes longer than all else on a small movie."""

    def save(results: Any, path: Path, *, title: str) -> None:
        path.touch()

    monkeypatch.setattr("smlm_dask.cli.save_report", save)


no_pictures = pytest.mark.usefixtures("no_picture")


def blocks(movie: xr.DataArray, folder: Path) -> dict[str, xr.Dataset]:
    camera = smlm.estimate_gain(movie)
    psf = smlm.estimate_psf(movie, size_pixels=int(SIZE))
    background = smlm.background_sparse_median(movie)
    spots = smlm.read_table(folder / "spots.csv")
    signal = smlm.integrate_photons(movie, spots, camera=camera, psf=psf, background=background)
    return {"camera": camera, "background": background, "psf": psf, "signal": signal}


# ------------------------------------------------------------------ run


def test_the_store_holds_what_the_blocks_compute(
    result: Result, folder: Path, movie: xr.DataArray
) -> None:
    good(result)
    found, wanted = stored(folder / "results.zarr"), blocks(movie, folder)
    assert set(found) == set(wanted)
    for name, dataset in wanted.items():
        xr.testing.assert_equal(found[name], dataset.compute())
        assert found[name].attrs["history"] == dataset.attrs["history"]
    assert np.isfinite(found["signal"]["photons"]).sum() > 100


def test_the_summary_has_numbers_with_units(result: Result, folder: Path) -> None:
    text, results = good(result), stored(folder / "results.zarr")
    camera, psf = results["camera"], results["psf"]
    gain = f"gain        {float(camera.gain):.4g} ± {float(camera.gain_error):.2g} electron / adu"
    assert gain in text
    assert "movie       450 frames of 48 x 56 pixels, uint16, 2.419 MB" in text
    width = f"{float(psf.sigma):.4g} ± {float(psf.sigma_error):.2g} nm"
    assert f"PSF         sigma {width}" in text
    assert re.search(r"photons     \d+ of \d+ emitters; median [\d.e+]+ photon ", text)
    assert re.search(r"\d+ no answer: crop leaves frame", text)
    assert re.search(r"background  3 images; mean [\d.]+ adu", text)
    assert "note" not in text


def test_the_picture_lies_beside_the_store(result: Result, folder: Path) -> None:
    assert str(folder / "results.png") in good(result)
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")


@no_pictures
@pytest.mark.parametrize(("positions", "passes"), [(False, 1), (True, 2)])
def test_the_movie_is_read_once_and_again_only_for_photons(
    folder: Path,
    movie: xr.DataArray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    positions: bool,
    passes: int,
) -> None:
    np.save(tmp_path / "movie.npy", movie.to_numpy())
    read = np.zeros(len(movie), int)

    def count(self: RawFrames, frames: slice, y: slice, x: slice) -> Any:
        read[frames] += 1
        return plainly(self, frames, y, x)

    plainly = RawFrames.read
    monkeypatch.setattr(RawFrames, "read", count)
    options = ["--positions", folder / "spots.csv"] if positions else []
    good(run(tmp_path / "movie.npy", tmp_path / "r.zarr", "--size-pixels", SIZE, *options))
    # Two windows of 200 hold 400 frames: the PSF and the gain leave out the rest, the background not.
    assert (read == passes).all()


@no_pictures
def test_a_short_movie_of_small_frames_is_told_what_is_used_instead(
    short: Path, tmp_path: Path
) -> None:
    text = good(run(short, tmp_path / "results.zarr"))
    assert "note        windows hold all 6 frames instead of 200" in text
    assert "note        the PSF image is 23 pixels wide instead of 41" in text
    assert stored(tmp_path / "results.zarr")["psf"].sizes["lag_x"] == 23


@no_pictures
def test_what_the_user_asks_for_is_not_replaced(short: Path, tmp_path: Path) -> None:
    text = good(run(short, tmp_path / "r.zarr", "--window", 3, "--size-pixels", 9))
    assert "note" not in text
    results = stored(tmp_path / "r.zarr")
    assert results["background"].sizes["window"] == 2
    assert results["psf"].sizes["lag_x"] == 9


@no_pictures
def test_camera_options_reach_the_camera(short: Path, tmp_path: Path) -> None:
    options = "--offset", 101.5, "--quantum-efficiency", 0.8, "--frame-time", 0.02
    good(run(short, tmp_path / "r.zarr", "--size-pixels", 9, *options))
    results = stored(tmp_path / "r.zarr")
    assert float(results["camera"]["offset"]) == 101.5
    assert float(results["camera"]["quantum_efficiency"]) == 0.8
    np.testing.assert_allclose(results["background"]["time"], 0.02 * np.arange(6))


@no_pictures
@pytest.mark.parametrize(
    ("options", "known"),
    [
        ((), None),
        (("--gain", 0.5, "--offset", 100), None),
        (("--gain", 0.5, "--offset", 100, "--read-noise", 2), True),
        (("--offset", 100), False),
    ],
)
def test_noise_that_is_known_makes_the_background_a_truncated_mean(
    folder: Path, movie: xr.DataArray, tmp_path: Path, options: tuple[Any, ...], known: bool | None
) -> None:
    good(run(folder / "movie.zarr", tmp_path / "r.zarr", "--size-pixels", SIZE, *options))
    camera = None
    if known is not None:
        given = smlm.as_camera(0.5, offset=100.0, read_noise=2.0)
        camera = given if known else smlm.estimate_gain(movie, offset=100.0)
    wanted = smlm.estimate_background(movie, camera=camera)
    xr.testing.assert_equal(stored(tmp_path / "r.zarr")["background"], wanted.compute())


@no_pictures
def test_a_background_without_an_answer_says_why(short: Path, tmp_path: Path) -> None:
    text = good(run(short, tmp_path / "r.zarr", "--size-pixels", 9, "--offset", 100))
    assert "background  no answer: no gain" in text


@no_pictures
@pytest.mark.parametrize("offset", [None, 100.0])
def test_the_background_of_the_positions_counts_only_with_an_offset(
    folder: Path, movie: xr.DataArray, tmp_path: Path, offset: float | None
) -> None:
    options = [] if offset is None else ["--offset", offset]
    options += ["--positions", folder / "lit.csv", "--size-pixels", SIZE]
    text = good(run(folder / "movie.zarr", tmp_path / "r.zarr", *options))
    assert ("note        background from the movie" in text) == (offset is None)
    spots = smlm.read_table(folder / "lit.csv")
    camera = smlm.estimate_gain(movie, offset=offset)
    psf = smlm.estimate_psf(movie, size_pixels=int(SIZE))
    under = smlm.background_sparse_median(movie) if offset is None else None
    wanted = smlm.integrate_photons(movie, spots, camera=camera, psf=psf, background=under)
    xr.testing.assert_equal(stored(tmp_path / "r.zarr")["signal"], wanted.compute())


def test_a_gain_without_an_answer_is_said_not_raised(tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.full((5, 16, 16), 100, "u2"))
    text = good(run(tmp_path / "dark.npy", tmp_path / "results.zarr"))
    assert "gain        no answer: too few frames" in text
    assert "PSF         no answer: constant signal" in text


@no_pictures
def test_one_channel_of_one_plane(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).poisson(50, (2, 4, 12, 14)).astype("u2")
    np.save(tmp_path / "two.npy", frames)
    options = "--axes", "ctyx", "--select", "c=1"
    assert "4 frames of 12 x 14" in good(run(tmp_path / "two.npy", tmp_path / "r.zarr", *options))
    level = stored(tmp_path / "r.zarr")["camera"]["signal_mean"]
    np.testing.assert_array_equal(level, np.median(frames[1][:3], axis=0))  # firsts of pairs


@no_pictures
def test_results_are_replaced_only_when_asked(short: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.zarr"
    good(run(short, out, "--size-pixels", 9))
    refused(run(short, out, "--size-pixels", 7), "results.png", "something there already")
    elsewhere = "--report", tmp_path / "other.png"
    refused(run(short, out, "--size-pixels", 7, *elsewhere), "results.zarr")
    assert stored(out)["psf"].sizes["lag_x"] == 9
    good(run(short, out, "--size-pixels", 7, "--overwrite"))
    assert stored(out)["psf"].sizes["lag_x"] == 7


def test_the_picture_of_deleted_results_is_replaced_and_no_other(
    short: Path, tmp_path: Path
) -> None:
    out, picture = tmp_path / "results.zarr", tmp_path / "results.png"
    good(run(short, out, "--size-pixels", 9))
    refused(run(short, out, "--size-pixels", 9), "results.png", "something there already")
    shutil.rmtree(out)
    elsewhere = "--report", picture
    refused(
        run(short, out, "--size-pixels", 9, *elsewhere), "results.png", "something there already"
    )
    good(run(short, out, "--size-pixels", 9))
    shutil.rmtree(out)
    picture.write_bytes(b"\x89PNG of my own")
    refused(run(short, out, "--size-pixels", 9), "results.png", "something there already")
    assert picture.read_bytes() == b"\x89PNG of my own"


def test_the_store_has_another_name_than_the_picture(short: Path, tmp_path: Path) -> None:
    refused(run(short, tmp_path / "r.png"), "one name for the store and the picture")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_our_pictures_are_known(suffix: str, tmp_path: Path) -> None:
    path = save_report({}, tmp_path / f"r.{suffix}")
    assert is_report(path)
    assert not is_report(tmp_path)
    assert not is_report(tmp_path / "none.png")
    Figure().savefig(tmp_path / f"mine.{suffix}")
    assert not is_report(tmp_path / f"mine.{suffix}")


@pytest.mark.parametrize("name", ["r.jpg", "r.xyz", "none/r.png", "r"])
def test_pictures_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="suffix"):
        save_report({}, tmp_path / name)


@pytest.mark.parametrize(
    "results",
    [
        None,
        smlm.as_camera(1.0),
        {"camera": "a"},
        {"camera": smlm.as_psf(1.0)},
        {"psf": smlm.as_camera(1.0)},
        {"signal": smlm.as_camera(1.0)},
        {"background": smlm.as_camera(1.0)},
    ],
)
def test_results_that_are_none_are_named(results: Any) -> None:
    for say in (summarise, draw_report):
        with pytest.raises(ParameterError, match="results"):
            say(results)


def test_a_gain_that_is_known_is_used(folder: Path, movie: xr.DataArray, tmp_path: Path) -> None:
    options = "--gain", 0.5, "--quantum-efficiency", 0.8, "--offset", 100
    options += "--positions", folder / "lit.csv", "--size-pixels", SIZE
    text = good(run(folder / "movie.zarr", tmp_path / "r.zarr", *options))
    assert "gain        0.5 electron / adu, given" in text
    assert "level" not in text
    camera = smlm.as_camera(0.5, offset=100.0, quantum_efficiency=0.8)
    found = stored(tmp_path / "r.zarr")
    xr.testing.assert_equal(found["camera"], camera)
    assert "as_camera" in found["camera"].attrs["history"]
    spots, psf = (
        smlm.read_table(folder / "lit.csv"),
        smlm.estimate_psf(movie, size_pixels=int(SIZE)),
    )
    wanted = smlm.integrate_photons(movie, spots, camera=camera, psf=psf)
    xr.testing.assert_equal(found["signal"], wanted.compute())
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@no_pictures
def test_a_gain_without_positions_is_said_to_have_no_use(short: Path, tmp_path: Path) -> None:
    text = good(run(short, tmp_path / "r.zarr", "--size-pixels", 9, "--gain", 0.5))
    assert "note        the gain that is given counts for photons" in text


def test_positions_without_rows(short: Path, tmp_path: Path) -> None:
    movie, *options = no_rows(tmp_path)
    text = good(run(Path(str(movie)), tmp_path / "r.zarr", "--size-pixels", 9, *options))
    assert "photons     0 of 0 emitters" in text
    assert stored(tmp_path / "r.zarr")["signal"].sizes["emitter"] == 0


def test_a_psf_that_is_given_is_said_so() -> None:
    assert summarise({"psf": smlm.as_psf(120.0)}) == (
        "PSF         sigma_x 120 nm, sigma_y 120 nm, given"
    )
    knots = np.array([-300.0] * 4 + [300.0] * 4)
    spline = smlm.as_spline_psf(knots, knots, knots, np.ones((4, 4, 4)))
    assert summarise({"psf": spline}) == "PSF         a cubic spline, given"


@no_pictures
def test_a_cluster_gives_the_same_numbers(result: Result, folder: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    good(result)
    local = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "protocol": "tcp"}
    with distributed.LocalCluster(**local, host="127.0.0.1", dashboard_address=None) as cluster:
        options = ["--positions", folder / "spots.csv", "--size-pixels", SIZE]
        options += ["--scheduler", cluster.scheduler_address]
        there = run(folder / "movie.zarr", tmp_path / "there.zarr", *options)
    good(there)
    assert "all pieces done" in there.stderr
    here, there_too = stored(folder / "results.zarr"), stored(tmp_path / "there.zarr")
    for name, dataset in here.items():
        xr.testing.assert_equal(there_too[name], dataset)


# ------------------------------------------------------------------ ingest


def test_a_movie_goes_in_and_opens_without_a_word(short: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    result = call("ingest", short, out, "--pixel-size", PIXEL, "--axes", "tyx")
    assert "movie       6 frames of 24 x 30 pixels, uint16" in good(result)
    assert f"stored      {out}" in result.stdout
    assert "[####" in result.stderr
    opened = smlm.open_movie(out)
    np.testing.assert_array_equal(opened, tifffile.imread(short))
    assert float(opened.pixel_size_y) == PIXEL


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("something there already", "overwrite")),
        (("--overwrite", "--pixel-size", "0"), ("pixel_size",)),
        (("--overwrite", "--select", "c"), ("--select", "AXIS=INDEX")),
        (("--overwrite", "--scheduler", "nowhere"), ("--scheduler",)),
    ],
)
def test_wrong_input_of_ingest_ends_with_one_line(
    short: Path, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    good(call("ingest", short, tmp_path / "m.zarr", "--pixel-size", PIXEL))
    refused(call("ingest", short, tmp_path / "m.zarr", "--pixel-size", PIXEL, *options), *words)


def test_ingest_goes_on_or_begins_again(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []

    def note(movie: Path, out: Path, **options: Any) -> Path:
        said.append(options)
        return out

    monkeypatch.setattr("smlm_dask.cli.ingest", note)
    for options in ([], ["--fresh", "--overwrite"]):
        good(call("ingest", short, tmp_path / "m.zarr", "--pixel-size", PIXEL, *options))
    assert [(o["resume"], o["overwrite"]) for o in said] == [(True, False), (False, True)]


# ------------------------------------------------------------------ wrong input


def one_frame(folder: Path) -> list[object]:
    np.save(folder / "one.npy", np.ones((1, 16, 16), "u2"))
    return [folder / "one.npy"]


def no_columns(folder: Path) -> list[object]:
    (folder / "spots.csv").write_text("frame,a\n0,1\n")
    return [folder / "short.tif", "--positions", folder / "spots.csv"]


def outside(folder: Path) -> list[object]:
    (folder / "spots.csv").write_text("frame,x,y\n0,1e6,100\n")
    return [folder / "short.tif", "--positions", folder / "spots.csv"]


def no_rows(folder: Path) -> list[object]:
    (folder / "spots.csv").write_text("frame,x,y\n")
    return [folder / "short.tif", "--positions", folder / "spots.csv"]


WRONG: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "no such movie": (lambda d: [d / "none.tif"], ["none.tif", "no such file"]),
    "one frame": (one_frame, ["movie: got 1 frame", "at least 2"]),
    "no format": (lambda d: [d / "short.xyz"], ["wanted a zarr store or one of"]),
    "no positions": (
        lambda d: [d / "short.tif", "--positions", d / "none.csv"],
        ["none.csv", "no such file"],
    ),
    "no columns": (no_columns, ["also ['x', 'y']"]),
    "outside": (outside, ["column 'x'", "outside the movie"]),
    "window": (lambda d: [d / "short.tif", "--window", 7], ["6 frames", "at least 7"]),
    "size": (lambda d: [d / "short.tif", "--size-pixels", 8], ["size_pixels", "odd number"]),
    "pixel": (lambda d: [d / "short.tif", "--pixel-size", -1], ["pixel_size", "-1.0"]),
    "axes": (lambda d: [d / "short.tif", "--axes", "tyxx"], ["tyxx"]),
    "select": (lambda d: [d / "short.tif", "--select", "z"], ["--select", "AXIS=INDEX"]),
    "picture": (lambda d: [d / "short.tif", "--report", d / "a.txt"], [".pdf, .png, .svg"]),
    "folder": (
        lambda d: [d / "short.tif", "--report", d / "no" / "a.png"],
        ["no folder", "a folder that exists"],
    ),
    "picture is a folder": (
        lambda d: [d / "short.tif", "--overwrite", "--report", d / "folder.png"],
        ["folder.png: got a folder"],
    ),
    "damaged positions": (
        lambda d: [d / "short.tif", "--positions", d / "short.parquet"],
        ["short.parquet", "undamaged table"],
    ),
    "gain": (lambda d: [d / "short.tif", "--gain", 0], ["gain", "above 0"]),
    "no gain": (lambda d: [d / "short.tif", "--gain", "nan"], ["gain", "finite"]),
    "crop": (
        lambda d: [*no_rows(d), "--crop", 99],
        ["size_pixels", "99"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_with_one_line(short: Path, case: str) -> None:
    make, words = WRONG[case]
    folder = short.parent
    (folder / "folder.png").mkdir()
    (folder / "short.parquet").write_text("no table")
    refused(run(*[(a := make(folder))[0], folder / "results.zarr", *a[1:]]), *words)  # type: ignore[arg-type]
    assert not (folder / "results.zarr").exists()
    assert not (folder / "results.png").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "nowhere", "a://b:1", ""])
def test_a_scheduler_that_is_not_there(short: Path, tmp_path: Path, address: str) -> None:
    result = run(short, tmp_path / "r.zarr", "--scheduler", address)
    refused(result, "--scheduler", f"{address!r}", "no scheduler answers", "dask scheduler")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "r.zarr").exists()


def test_a_scheduler_that_does_not_let_us_in(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(address: str, timeout: float) -> None:
        raise TypeError("TLS expects a `ssl_context` argument")

    monkeypatch.setattr("smlm_dask.cli.Client", closed)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tls://127.0.0.1:{server.getsockname()[1]}"
        refused(run(short, tmp_path / "r.zarr", "--scheduler", address), "--scheduler", "TLS")


@no_pictures
def test_a_scheduler_without_workers_is_said(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Alone:
        futures: ClassVar[dict[str, object]] = {}

        def __init__(self, address: str, timeout: float) -> None:
            pass

        def scheduler_info(self) -> dict[str, dict[str, object]]:
            return {"workers": {}}

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("smlm_dask.cli.Client", Alone)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        text = good(run(short, tmp_path / "r.zarr", "--size-pixels", 9, "--scheduler", address))
    assert "note        the scheduler has no workers" in text


def test_a_folder_that_is_no_store_is_never_removed(short: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("all of it")
    refused(run(short, mine, "--overwrite"), "mine")
    assert (mine / "thesis.tex").read_text() == "all of it"


# ------------------------------------------------------------------ demo, help, examples


def test_demo_prints_estimates_beside_the_truth(tmp_path: Path) -> None:
    text = good(call("demo", "--frames", 60, "--seed", 1, "--out", tmp_path / "demo"))
    table = text[text.index("quantity") :].splitlines()
    assert table[0].split() == ["quantity", "estimate", "truth", "unit", "difference"]
    assert [line[:14].strip() for line in table[1:]] == [
        "gain",
        "background",
        "PSF sigma",
        "mean photons",
    ]
    truths = [float(line[26:38]) for line in table[1:]]
    np.testing.assert_allclose(truths[:3], [0.46, 207.0, 150.0])
    assert [line[40:56].strip() for line in table[1:]] == ["electron / adu", "adu", "nm", "photon"]
    camera = stored(tmp_path / "demo" / "results.zarr")["camera"]
    assert float(camera["quantum_efficiency"]) == 0.82
    background = table[2]
    assert abs(float(background.split()[-2])) < 1  # %
    for name in ("movie.zarr", "spots.csv", "results.zarr", "results.png"):
        assert (tmp_path / "demo" / name).exists()
    assert str(tmp_path / "demo" / "results.png") in text


def test_demo_writes_into_no_folder_that_has_a_movie(tmp_path: Path) -> None:
    (tmp_path / "movie.zarr").mkdir()
    refused(call("demo", "--frames", 20, "--out", tmp_path), "movie.zarr")
    assert not list((tmp_path / "movie.zarr").iterdir())


@no_pictures
def test_demo_of_one_frame_is_refused(tmp_path: Path) -> None:
    refused(call("demo", "--frames", 1, "--out", tmp_path / "demo"), "movie: got 1 frame")


def test_version_and_help() -> None:
    assert good(call("--version")).startswith("smlm-dask, version ")
    assert "demo" in good(call("--help"))
    text = good(call("run", "--help"))
    for option in ("--pixel-size", "--positions", "--scheduler", "--quantum-efficiency", "nm"):
        assert option in text
    words = " ".join(text.split())
    assert "OUT with the suffix .png, x.png for x.zarr" in words
    assert "electrons per adu" in words
    assert call("run", "movie.tif").exit_code == 2


def test_the_example_for_a_laptop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "laptop.py"), run_name="__main__")
    assert "electron / adu" in capsys.readouterr().out


# ------------------------------------------------------------------ real movies

MOVIES = {
    "pims_stuck.tif": [],
    "deepstorm3d_tetrapod_50f.tif": [],
    "sdt_pMHC_AF647.SPE": [],
    "sdt_pMHC_AF647.npy": [],
    "storm-analysis/test.dax": [],
    "storm-analysis/test_bg_sub.dax": [],
    "storm-analysis/test_300x200.dax": [],
    "pims_cluster.nd2": ["--select", "z=0", "--select", "c=0"],
}
needs_real = pytest.mark.skipif(not REAL.exists(), reason="no ../shared/real beside the repository")


@needs_real
@pytest.mark.parametrize("name", MOVIES)
def test_real_movies_run(name: str, tmp_path: Path) -> None:
    text = good(run(REAL / name, tmp_path / "r.zarr", "--size-pixels", SIZE, *MOVIES[name]))
    camera = stored(tmp_path / "r.zarr")["camera"]
    words = "no answer: " if np.isnan(camera["gain"]) else "electron / adu"
    assert words in next(line for line in text.splitlines() if line.startswith("gain"))


@needs_real
def test_a_picture_of_one_frame_is_no_movie(tmp_path: Path) -> None:
    with np.load(REAL / "sdt_bead_img.npz") as file:
        np.save(tmp_path / "bead.npy", file[file.files[0]][None])
    refused(run(REAL / "sdt_bead_img.npz", tmp_path / "r.zarr"), "sdt_bead_img.npz")
    refused(run(tmp_path / "bead.npy", tmp_path / "r.zarr"), "movie: got 1 frame", "at least 2")


def test_verify_names_what_is_damaged(result: Result, folder: Path, tmp_path: Path) -> None:
    good(result)
    path = Path(shutil.copytree(folder / "results.zarr", tmp_path / "r.zarr"))
    assert "undamaged" in good(call("verify", path))
    chunk = path / "camera" / "gain" / "c"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    found = call("verify", path)
    assert "camera/gain, chunk ()" in found.stdout
    refused(found, "1 damaged")


@no_pictures
def test_a_first_look_at_every_second_window(
    folder: Path, movie: xr.DataArray, tmp_path: Path
) -> None:
    options = "--every", 2, "--size-pixels", SIZE
    told = good(run(folder / "movie.zarr", tmp_path / "r.zarr", *options))
    assert "250 of 450 frames are taken" in told
    wanted = smlm.estimate_gain(smlm.preview(movie, every=2))["gain"]
    assert float(stored(tmp_path / "r.zarr")["camera"]["gain"]) == float(wanted)


def test_a_plan_computes_nothing(folder: Path, tmp_path: Path) -> None:
    positions = "--positions", folder / "spots.csv", "--size-pixels", SIZE
    told = good(run(folder / "movie.zarr", tmp_path / "r.zarr", *positions, "--plan"))
    assert re.search(r"Read .*a chunk twice", told), told
    assert list(tmp_path.iterdir()) == []
