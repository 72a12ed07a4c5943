"""Files with something wrong in them: ``python -m tests.fuzz tiff 5000`` tries as many of a format (or all).

Each case is made from a good file by a random number of its own, opened and read. It may be read or end in
an error of the package: no other exception, not more than 5 s, not more than 1 GB, no file that is opened
outside the folder. Prints what was wrong, and exits with 1.
"""

from __future__ import annotations

import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

import smlm_dask as smlm
from smlm_dask.errors import SmlmError
from smlm_dask.movie import open_movie
from tests.matrix import FRAMES, picasso, raw, tiff, zarr_stores
from tests.test_tiff import lsm, mmstack, ndtiff, scanimage, stk
from tests.tiffs import ome, ome_text, plain, told

SECONDS, BYTES = 5, 2**30
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of small files
FEW = FRAMES[:7]
REAL = Path(__file__).parents[2] / "shared" / "real" / "pims_cluster.nd2"
EXTREMES = (0, 1, 2**7, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = (
    b"0",
    b"-1",
    b"1",
    b"3",
    b"65536",
    b"1e9",
    b"1000000000",
    b"9" * 25,
    b"null",
    b'"a"',
    b"[]",
    b"{}",
)

Write = Callable[[Path], Any]  # writes a good file in a folder and gives its path, or None for "a"


def _named(name: str, write: Write) -> Write:
    """A writer of one file of this name."""

    def into(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return into


def _nd2(folder: Path) -> Path:
    return Path(shutil.copy(REAL, folder / "a.nd2"))


def _group(path: Path) -> None:
    """A group of two arrays with the coordinates of a cropped movie."""
    zarr_stores.group(path, "movie", "dark")
    for name, size in zip(("frame", "y", "x"), FRAMES.shape, strict=True):
        zarr.open_group(path).create_array(name, shape=(size,), dtype="i8")[:] = np.arange(size)


def _ingested(path: Path) -> None:
    smlm.ingest(smlm.as_movie(FRAMES, pixel_size=108), path)


def _hdf5(path: Path, **keywords: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("stack", data=FEW, **keywords)


def _folder(path: Path, count: int, **keywords: Any) -> None:
    path.mkdir()
    for number, frames in enumerate(np.array_split(FEW, count)):
        tiff.whole(path / f"part{number}.tif", frames, photometric="minisblack", **keywords)


OME = ome_text([(told((7, 1, 1, 12, 17)), "<TiffData/>")])
FORMATS: dict[str, list[Write]] = {
    "tiff": [
        _named("a.tif", lambda p: plain(p, FEW)),
        _named("a.tif", lambda p: plain(p, FEW, order=">", big=True)),
        _named("a.tif", lambda p: tiff.whole(p, FEW, compression="zlib", predictor=True)),
        _named("a.tif", lambda p: tiff.whole(p, FEW, tile=(16, 16), compression="lzw")),
        _named("a.tif", lambda p: tiff.whole(p, FEW, rowsperstrip=5)),
    ],
    "dialects": [
        _named("a.tif", lambda p: tiff.whole(p, FEW, imagej=True)),
        _named("a.tif", lambda p: tiff.imagej_over(p, 7, 7)),
        _named("a.ome.tif", lambda p: ome(p, list(FEW), OME)),
        _named("a.ome.tif", lambda p: tiff.whole(p, FEW, ome=True, compression="zlib")),
        _named("a_MMStack.ome.tif", lambda p: mmstack(p, FEW)),
        lambda folder: ndtiff(folder, FEW),
        _named("a.lsm", lambda p: lsm(p, FEW)),
        _named("a.stk", lambda p: stk(p, FEW)),
        _named("a.tif", lambda p: scanimage(p, FEW, 1)),
        _named("a.tif", tiff.pyramid),
    ],
    "raw": [
        _named("a.dax", raw.dax),
        _named("a.spe", raw.spe),
        _named("a.npy", raw.save),
        _named("a.raw", picasso.raw),
    ],
    "hdf5": [
        _named("a.h5", lambda p: _hdf5(p)),
        _named("a.h5", lambda p: _hdf5(p, chunks=(3, 6, 17), compression="gzip")),
        _named("a.h5", lambda p: _hdf5(p, chunks=(2, 12, 17), fletcher32=True)),
    ],
    "folder": [
        _named("a", lambda p: _folder(p, 7)),
        _named("a", lambda p: _folder(p, 2, compression="zlib")),
    ],
    "zarr": [
        *(_named("a.zarr", lambda p, kind=kind: zarr_stores.store(p, kind)) for kind in zarr_stores.KEYS),
        _named("a.zarr", zarr_stores.images),
        _named("a.zarr", _group),
        _named("a.zarr", _ingested),
    ],
} | ({"nd2": [_nd2]} if REAL.exists() else {})  # fmt: skip


# ------------------------------------------------------------------ what goes wrong with bytes


def flip(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, len(data), rng.integers(1, 9)):
        data[at] ^= 1 << int(rng.integers(8))


def cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(0, len(data)) :]


def splice(data: bytearray, rng: np.random.Generator) -> None:
    """A piece of the file stands somewhere else too, or instead."""
    begin, at = rng.integers(0, len(data), 2)
    piece = data[begin : begin + rng.integers(1, 200)]
    data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def grow(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(0, len(data) + 1))
    data[at:at] = rng.bytes(int(rng.integers(1, 300)))


def number(data: bytearray, rng: np.random.Generator) -> None:
    """An extreme number, in the head or anywhere."""
    size, order = int(rng.choice([1, 2, 4, 8])), rng.choice(["little", "big"])
    value = int(rng.choice(np.array(EXTREMES, object))) % 256**size
    at = int(rng.integers(0, len(data) if rng.random() < 0.4 else min(len(data), 600)))
    data[at : at + size] = value.to_bytes(size, str(order))


def word(data: bytearray, rng: np.random.Generator) -> None:
    """Another number, or none, where the text has one."""
    digits = np.flatnonzero(np.isin(np.frombuffer(data, "u1"), list(b"0123456789")))
    if digits.size:
        at = end = int(rng.choice(digits))
        while end < len(data) and chr(data[end]).isdigit():
            end += 1
        data[at:end] = WORDS[rng.integers(len(WORDS))]


MUTATIONS = (flip, cut, splice, grow, number, number, word, word)


def spoil(folder: Path, rng: np.random.Generator) -> None:
    """Change one file of a folder, metadata more often than samples; sometimes take it away."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    heads = [
        p
        for p in files
        if p.suffix in (".json", ".inf", ".index", ".yaml") or p.name.startswith(".z")
    ]
    file = files[rng.integers(len(files))]
    file = heads[rng.integers(len(heads))] if heads and rng.random() < 0.6 else file
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if data:
            MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
    file.write_bytes(data)
    if len(files) > 1 and rng.random() < 0.05:
        file.unlink()


# ------------------------------------------------------------------ what must not happen


class _Overdue(BaseException):
    """Nothing in the package may catch it."""


@contextmanager
def limited(wrong: list[str], case: str) -> Iterator[None]:
    """Write down what is raised, and that it took too long."""

    def ring(*_: Any) -> None:
        raise _Overdue(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    except (_Overdue, Exception):  # noqa: BLE001 - whatever it is
        wrong.append(f"{case}: {traceback.format_exc()[-1500:]}")
    finally:
        signal.alarm(0)


class Opened:
    """The files that are opened outside of a folder; those of Python and its packages do not count."""

    def __init__(self, folder: Path) -> None:
        prefixes = {sys.prefix, sys.base_prefix, str(Path(__file__).parents[1])}
        self.allowed = tuple(map(str, (folder, "/proc/", "/sys/", "/dev/", *prefixes)))
        self.others: list[str] = []
        self.watching = False
        sys.addaudithook(self.see)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event == "open" and isinstance(arguments[0], str | bytes):
            name = arguments[0]
            name = name.decode(errors="replace") if isinstance(name, bytes) else name
            if not str(Path(name).resolve()).startswith(self.allowed):
                self.others.append(name)


def _way(path: Path) -> dict[str, Any]:
    """What a good file must be opened with."""
    return {".nd2": {"select": {"z": 0, "c": 0}}, ".lsm": {"array": 0}}.get(path.suffix, {})


def attempt(path: Path, rng: np.random.Generator) -> bool:
    """Open and read; True if it could be read."""
    ways: list[dict[str, Any]] = [{"axes": "tyx"}, {"array": "0"}, {"select": {"c": 0}}]
    way = ways[rng.integers(len(ways))] if rng.random() < 0.2 else _way(path)
    try:
        movie = open_movie(path, pixel_size=108, **way)
        some = movie[:: max(1, len(movie) // 9)] if movie.nbytes < 2**24 else movie[[0, -1], :64]
        some.compute(scheduler="sync")
    except SmlmError:
        return False
    return True


def run(name: str, count: int, seed: int = 0) -> list[str]:
    """Try ``count`` cases of a format; what went wrong."""
    wrong, good = [], 0
    with tempfile.TemporaryDirectory(dir=MEMORY) as home:
        folder, originals = Path(home).resolve() / "given", Path(home).resolve() / "good"
        paths = []
        for number_of, write in enumerate(FORMATS[name]):
            place = originals / str(number_of)
            place.mkdir(parents=True)
            paths.append(write(place))
            open_movie(paths[-1], pixel_size=108, **_way(paths[-1])).compute(scheduler="sync")
        opened = Opened(folder)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
        for case in range(count):
            rng = np.random.default_rng([seed, case])
            path = paths[case % len(paths)]
            shutil.copytree(originals / str(case % len(paths)), folder)
            spoil(folder, rng)
            opened.watching = True
            with limited(wrong, f"{name} case {case}"):
                good += attempt(folder / path.name, rng)
            opened.watching = False
            shutil.rmtree(folder)
        wrong += [f"{name}: {other} was opened" for other in opened.others]
    print(f"{name}: {count} cases, {good} read, {len(wrong)} wrong")
    return wrong


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    names = list(FORMATS) if sys.argv[1] == "all" else [sys.argv[1]]
    faults = [fault for name in names for fault in run(name, *map(int, sys.argv[2:]))]
    print("\n".join(faults))
    sys.exit(bool(faults))
