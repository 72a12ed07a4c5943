"""``smlm-dask`` on the command line: a movie in; a store, a summary and a picture out."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import click
import numpy as np
import pandas as pd
import xarray as xr
from dask.diagnostics.progress import ProgressBar
from distributed import Client
from distributed.comm.addressing import get_address_host_port
from zarr.codecs import BloscCodec

from smlm_dask.background import estimate_background
from smlm_dask.calibration import as_camera
from smlm_dask.errors import ParameterError, SmlmError, StoreError
from smlm_dask.gain import estimate_gain
from smlm_dask.ingest import ingest
from smlm_dask.movie import check_movie, open_movie
from smlm_dask.photons import integrate_photons
from smlm_dask.plan import plan
from smlm_dask.preview import preview
from smlm_dask.psf import WINDOW as PSF_WINDOW
from smlm_dask.psf import estimate_psf
from smlm_dask.report import is_report, save_report, summarise
from smlm_dask.results import open_results
from smlm_dask.simulate import Camera, Emitters, Light, simulate_movie, truth_table
from smlm_dask.store import store
from smlm_dask.table import read_table, write_table
from smlm_dask.verify import verify

__all__ = ["main"]

Results = dict[str, xr.Dataset]

WINDOW = 200  # frames
PSF_SIZE = 41  # pixels
REFRESH_S = 0.2
CONNECT_S = 5


class _Commands(click.Group):
    """Commands that end with one line, not a traceback, where the input is to blame."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (SmlmError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smlm-dask", prog_name="smlm-dask")
def main() -> None:
    """Camera gain, background, PSF and photons from single-molecule movies larger than memory.

    Try `smlm-dask demo` first: it makes its own movie and shows estimates beside the truth.
    """


# What tells how a movie is opened, in the order of the help.
OPENING = (
    click.argument("movie", type=click.Path(path_type=Path)),
    click.option(
        "--pixel-size",
        type=float,
        help="Width of a pixel in the sample, nm.  [default: what the movie says]",
    ),
    click.option("--frame-time", type=float, help="Seconds from one frame to the next."),
    click.option(
        "--axes", help="Letter of each stored axis, e.g. tyx, where the file names them wrongly."
    ),
    click.option(
        "--array",
        help="Array of a zarr group or HDF5 file, or number of an image in a TIFF of several.",
    ),
    click.option(
        "--select",
        multiple=True,
        metavar="AXIS=INDEX",
        help="One plane or channel of a movie with more axes, e.g. --select z=0 --select c=1.",
    ),
)


def _opening(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(OPENING):
        command = option(command)
    return command


# ------------------------------------------------------------------ run


@dataclass(frozen=True, kw_only=True)
class Job:
    """The options of ``run``, under their names on the command line."""

    movie: Path
    out: Path
    pixel_size: float | None = None
    positions: Path | None = None
    scheduler: str | None = None
    window: int | None = None
    gain: float | None = None
    offset: float | None = None
    read_noise: float | None = None
    excess_noise: float = 1.0
    quantum_efficiency: float = 1.0
    frame_time: float | None = None
    size_pixels: int | None = None
    crop: int = 11
    axes: str | None = None
    array: str | None = None
    select: tuple[str, ...] = ()
    report: Path | None = None
    every: int = 1
    overwrite: bool = False
    fresh: bool = False

    @property
    def picture(self) -> Path:
        """Where the picture goes: next to the store, unless the user chose."""
        return self.report or self.out.with_suffix(".png")


@main.command(short_help="Gain, background, PSF and photons of a movie.")
@_opening
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New zarr store.")
@click.option(
    "--positions",
    type=click.Path(path_type=Path),
    help="Localizations (ThunderSTORM, Picasso, or columns frame, x and y in nm), whose photons to "
    "integrate.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Compute on this dask scheduler; its workers must see the movie and the store under the "
    "same paths.",
)
@click.option("--every", type=int, default=1, help="Of so many windows the first: a first look.")
@click.option("--window", type=int, help=f"Frames in a window.  [default: {WINDOW}, or all]")
@click.option(
    "--gain",
    type=float,
    help="Camera gain if it is known, electrons per adu (with EM gain, divided by it); taken instead "
    "of the estimate.",
)
@click.option(
    "--offset",
    type=float,
    help="Camera level without light, adu; with it the column `background` (photon / pix) of the "
    "positions is used.",
)
@click.option(
    "--read-noise",
    type=float,
    help="Camera noise without light, electrons rms. With it or the offset, with both if the gain is "
    "given, the background is the truncated mean, which emitters do not raise; else the median.",
)
@click.option(
    "--excess-noise", type=float, default=1.0, show_default=True, help="2 behind an EM register."
)
@click.option(
    "--quantum-efficiency", type=float, default=1.0, show_default=True, help="Electrons per photon."
)
@click.option(
    "--size-pixels",
    type=int,
    help=f"Odd height and width of the PSF image.  [default: {PSF_SIZE}, or what fits]",
)
@click.option(
    "--crop", type=int, default=11, show_default=True, help="Height and width of a crop, pixels."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Picture (.png, .pdf or .svg).  [default: OUT with the suffix .png, x.png for x.zarr]",
)
@click.option("--overwrite", is_flag=True, help="Replace results and picture that are there.")
@click.option("--fresh", is_flag=True, help="Begin again instead of going on with what is missing.")
@click.option(
    "--plan", "only_plan", is_flag=True, help="Tell chunks, bytes and memory, and compute nothing."
)
def run(only_plan: bool, **options: Any) -> None:
    """Estimate gain, background and PSF of MOVIE, and photons at given positions.

    MOVIE is a zarr folder, a TIFF or a folder of them, an ND2, HDF5, DAX, SPE, Picasso raw or .npy
    file. It is never loaded whole: all results are computed together, in one reading. What needs the
    gain of the whole movie takes another: the background, if --offset or --read-noise is known but not
    --gain, and photons at --positions. Results are stored in --out, for smlm_dask.open_results.
    """
    job = Job(**options)
    if only_plan:
        movie = _part(job, _open(job))
        click.echo(plan(_build(job, movie, _table(job, movie))))
    else:
        _run(job)


def _run(job: Job) -> Results:
    """Everything ``run`` does; the stored results."""
    _check_picture(job)
    _check_scheduler(job.scheduler)
    movie = _part(job, _open(job))
    results = _build(job, movie, _table(job, movie))
    with _progress(job.scheduler):
        store(results, job.out, overwrite=job.overwrite, resume=not job.fresh)
    stored = {name: child.to_dataset() for name, child in open_results(job.out).children.items()}
    click.echo(summarise(stored))
    save_report(stored, job.picture, title=job.movie.name)
    click.echo(f"{'results':<12}{job.out}\n{'picture':<12}{job.picture}")
    return stored


def _check_picture(job: Job) -> None:
    """Before the long computation, not after it."""
    # The picture of results that were deleted since goes with them; no other one does.
    left = job.report is None and not job.out.exists() and is_report(job.picture)
    if job.picture == job.out:
        raise StoreError(
            str(job.out),
            got="one name for the store and the picture",
            wanted="two",
            fix="--out results.zarr, or --report",
        )
    if job.picture.exists() and not job.overwrite and not left:
        raise StoreError(
            str(job.picture),
            got="something there already",
            wanted="a new picture",
            fix="--overwrite, or --report",
        )
    known = sorted(f".{kind}" for kind in ("png", "pdf", "svg"))
    folder = job.picture.parent
    if job.picture.suffix not in known or job.picture.is_dir() or not folder.is_dir():
        raise StoreError(
            str(job.picture),
            got=f"no folder {str(folder)!r}"
            if not folder.is_dir()
            else "a folder"
            if job.picture.is_dir()
            else f"suffix {job.picture.suffix!r}",
            wanted=f"{', '.join(known)} in a folder that exists",
            fix="--report results.png",
        )


def _open(job: Job) -> xr.DataArray:
    movie = open_movie(
        job.movie,
        pixel_size=job.pixel_size,
        frame_time=job.frame_time,
        axes=job.axes,
        array=job.array,
        select=_selection(job.select) or None,
    )
    _describe(movie)
    return check_movie(movie, minimum_frames=2)


def _table(job: Job, movie: xr.DataArray) -> pd.DataFrame | None:
    if job.positions is None:
        return None
    size = float(movie["pixel_size_y"]), float(movie["pixel_size_x"])
    return read_table(job.positions, pixel_size=size)


def _part(job: Job, movie: xr.DataArray) -> xr.DataArray:
    if job.every == 1:
        return movie
    part = preview(movie, every=job.every, window=job.window or WINDOW)
    _note(f"{len(part)} of {len(movie)} frames are taken")
    return part


def _describe(movie: xr.DataArray) -> None:
    frames, height, width = movie.shape
    size = f"{movie.nbytes / 1e6:.4g} MB"
    click.echo(f"{'movie':<12}{frames} frames of {height} x {width} pixels, {movie.dtype}, {size}")


def _selection(pairs: tuple[str, ...]) -> dict[str, int]:
    """``{"z": 0}`` from ``("z=0",)``."""
    selection = {}
    for pair in pairs:
        axis, _, index = pair.partition("=")
        if not (axis and index.isdecimal()):
            raise ParameterError(
                "--select",
                got=repr(pair),
                wanted="AXIS=INDEX",
                fix="e.g. --select z=0 --select c=1",
            )
        selection[axis] = int(index)
    return selection


def _build(job: Job, movie: xr.DataArray, table: pd.DataFrame | None) -> Results:
    """All results, lazily."""
    window, size = _window(job, movie), _size(job, movie)
    camera = _camera(job, movie, window)
    background = estimate_background(movie, camera=camera, window=window)
    psf = estimate_psf(movie, window=min(window, PSF_WINDOW), size_pixels=size)
    results = {"camera": camera, "background": background, "psf": psf}
    if table is not None:
        under = None if _knows_background(job, table) else background
        signal = integrate_photons(
            movie, table, camera=camera, psf=psf, background=under, size_pixels=job.crop
        )
        results["signal"] = signal
    return results


def _camera(job: Job, movie: xr.DataArray, window: int) -> xr.Dataset:
    """What the user knows about the camera, or else what the movie tells."""
    names = ("offset", "read_noise", "quantum_efficiency", "excess_noise")
    known: dict[str, Any] = {name: getattr(job, name) for name in names}
    if job.gain is None:
        return estimate_gain(movie, window=window, **known)
    if job.positions is None and None in (job.offset, job.read_noise):
        _note("the gain that is given counts for photons, and those need --positions")
    return as_camera(job.gain, **known)


def _window(job: Job, movie: xr.DataArray) -> int:
    if job.window is not None or len(movie) >= WINDOW:
        return WINDOW if job.window is None else job.window
    _note(f"windows hold all {len(movie)} frames instead of {WINDOW}: the movie is short")
    return len(movie)


def _size(job: Job, movie: xr.DataArray) -> int:
    least = min(movie.shape[1:])
    if job.size_pixels is not None or least >= PSF_SIZE:
        return PSF_SIZE if job.size_pixels is None else job.size_pixels
    size = least - 1 + least % 2
    _note(f"the PSF image is {size} pixels wide instead of {PSF_SIZE}: frames are small")
    return size


def _knows_background(job: Job, table: pd.DataFrame) -> bool:
    """Say whether the table tells the light under the emitters: in photons, so with an offset."""
    if "background" not in table:
        return False
    if job.offset is None:
        _note("background from the movie, not from the positions: those need --offset to be used")
    return job.offset is not None


def _note(text: str) -> None:
    click.echo(f"{'note':<12}{text}")


# ------------------------------------------------------------------ ingest


@main.command("ingest", short_help="A movie of any format to checked zarr.")
@_opening
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--scheduler", metavar="ADDRESS", help="Copy on this dask scheduler.")
@click.option("--overwrite", is_flag=True, help="Replace a movie that was ingested there before.")
@click.option("--fresh", is_flag=True, help="Begin again instead of going on with what is missing.")
def ingest_movie(
    movie: Path,
    out: Path,
    scheduler: str | None,
    select: tuple[str, ...],
    overwrite: bool,
    fresh: bool,
    **options: Any,
) -> None:
    """Copy MOVIE to the zarr store OUT: compressed, with checksums, every shard read back.

    OUT then opens at once, without a pixel size, and is read in the chunks that all else works in. A
    copy that was interrupted goes on with what is missing when the same line is run again.
    """
    _check_scheduler(scheduler)
    options["select"] = _selection(select) or None
    _describe(open_movie(movie, **options))
    with _progress(scheduler):
        path = ingest(movie, out, **options, overwrite=overwrite, resume=not fresh)
    stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    click.echo(f"{'stored':<12}{path}, {stored / 1e6:.4g} MB")


# ------------------------------------------------------------------ verify


@main.command("verify", short_help="Read every chunk of stored results.")
@click.argument("results", type=click.Path(path_type=Path))
def verify_results(results: Path) -> None:
    """Read every chunk of RESULTS against its checksum, and name those that are damaged."""
    faults = verify(results)
    for name, chunk, fault in faults.itertuples(index=False):
        place = "description" if chunk is None else f"chunk {chunk}"
        click.echo(f"{'damaged':<12}{name}, {place}: {fault}")
    if len(faults):
        raise click.ClickException(
            f"{len(faults)} damaged; smlm_dask.repair computes them again, from the same movie"
        )
    click.echo(f"{'undamaged':<12}{results}")


# ------------------------------------------------------------------ progress


@contextmanager
def _progress(scheduler: str | None) -> Iterator[None]:
    """Show a progress bar while something is computed, here or on a cluster."""
    if scheduler is None:
        with ProgressBar(out=sys.stderr):
            yield
        return
    with _connect(scheduler) as client, _counting(client):
        yield


def _check_scheduler(address: str | None) -> None:
    """Knock at the door: a client that meets nobody takes half a minute and ends in a traceback."""
    if address is None:
        return
    try:
        socket.create_connection(get_address_host_port(address), timeout=CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_scheduler(address, error) from error


def _connect(address: str) -> Client:
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, TypeError, ValueError) as error:  # TypeError: encrypted, and no certificate
        raise _no_scheduler(address, error) from error
    if not client.scheduler_info()["workers"]:
        _note("the scheduler has no workers: nothing is computed before it has")
    return client


def _no_scheduler(address: str, error: Exception) -> ParameterError:
    return ParameterError(
        "--scheduler",
        got=f"{address!r}, where no scheduler answers ({error})",
        wanted="the address of a running dask scheduler",
        fix="start one with: dask scheduler; it prints its address, e.g. tcp://10.0.0.1:8786",
    )


@contextmanager
def _counting(client: Client) -> Iterator[None]:
    """Count the pieces of the results that are done.

    ``distributed.progress`` wants futures, and a blocking computation hands out none; the client
    knows them all the same.
    """
    end = Event()
    watcher = Thread(target=_watch, args=(client, end), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.set()
        watcher.join()
    click.echo("all pieces done", err=True)


def _watch(client: Client, end: Event) -> None:
    """Pieces that are done are let go, so that those which are left tell how many there were."""
    most = 0
    while not end.wait(REFRESH_S):
        states = [future.status for future in list(client.futures.values())]
        left = len(states) - states.count("finished")
        most = max(most, left)
        click.echo(f"\r{most - left} of {most} pieces", nl=False, err=True)
    click.echo("", err=True)


# ------------------------------------------------------------------ demo

PIXEL_SIZE = 100.0  # nm
# Emitters that are sparse, a background that varies over the field: a line for the gain to lie on.
EMITTERS = Emitters(number=100, photons=5000, on_frames=2, off_frames=100, sigma=150)
LIGHT = Light(background=60, gradient=0.8)
CAMERA = Camera(gain=0.46, offset=100, read_noise=1.4, quantum_efficiency=0.82)


@main.command(short_help="Estimates beside the truth, on a simulated movie.")
@click.option("--frames", type=int, default=1000, show_default=True, help="Frames of the movie.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same movie.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: a temporary one]")
def demo(frames: int, seed: int, out: Path | None) -> None:
    """Simulate a movie with known truth, `run` on it, and print estimates beside the truth."""
    folder = Path(tempfile.mkdtemp(prefix="smlm-dask-demo-")) if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    truth, spots = _simulate(folder, frames, seed)
    stored = _run(
        Job(
            movie=folder / "movie.zarr",
            pixel_size=PIXEL_SIZE,
            out=folder / "results.zarr",
            positions=folder / "spots.csv",
            offset=CAMERA.offset,
            quantum_efficiency=CAMERA.quantum_efficiency,
        )
    )
    click.echo(f"\n{_comparison(stored, truth, spots)}")


def _simulate(folder: Path, frames: int, seed: int) -> tuple[xr.Dataset, pd.DataFrame]:
    """Write ``movie.zarr`` and the positions ``spots.csv``; the truth, and its table."""
    path = folder / "movie.zarr"
    if path.exists():
        raise StoreError(
            str(path), got="something there already", wanted="a new folder", fix="another --out"
        )
    movie, truth = simulate_movie(
        frames, emitters=EMITTERS, camera=CAMERA, light=LIGHT, pixel_size=PIXEL_SIZE, seed=seed
    )
    codec = {"compressors": [BloscCodec(cname="lz4")]}
    click.echo(f"{'simulating':<12}{EMITTERS.number} emitters, {path}")
    with _progress(None):
        movie.to_dataset(name="movie").to_zarr(path, encoding={"movie": codec}, consolidated=False)
    spots = truth_table(truth)
    write_table(spots[["frame", "x", "y"]], folder / "spots.csv")
    return truth, spots


def _comparison(stored: Results, truth: xr.Dataset, spots: pd.DataFrame) -> str:
    """Write a line for each quantity: estimate, truth, unit and relative difference."""
    photons = stored["signal"]["photons"].to_numpy()
    known = np.isfinite(photons)
    light = truth["background"] * truth["quantum_efficiency"] / truth["gain"] + truth["offset"]
    mean = float(photons[known].mean()) if known.any() else np.nan
    lines: list[tuple[str, Any, Any, str]] = [
        ("gain", stored["camera"]["gain"], truth["mean_gain"], "electron / adu"),
        ("background", stored["background"]["series"].mean(dtype="f8"), light.mean(), "adu"),
        ("PSF sigma", stored["psf"]["sigma"], truth["sigma_x"], "nm"),
        ("mean photons", mean, spots["photons"][known].mean(), "photon"),
    ]
    head = f"{'quantity':<14}{'estimate':>12}{'truth':>12}  {'unit':<16}{'difference':>10}"
    return "\n".join([head, *(_line(q, float(e), float(t), u) for q, e, t, u in lines)])


def _line(quantity: str, estimate: float, truth: float, unit: str) -> str:
    if not np.isfinite(estimate):
        return f"{quantity:<14}{'no answer':>12}{truth:>12.4g}  {unit:<16}{'':>10}"
    difference = f"{100 * (estimate / truth - 1):+.1f} %"
    return f"{quantity:<14}{estimate:>12.4g}{truth:>12.4g}  {unit:<16}{difference:>10}"
