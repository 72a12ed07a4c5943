"""Every block and every documented chain by name, and the movies that the laws are tried on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.graph_manipulation import clone
from numpy.typing import NDArray

import smlm_dask as smlm
from smlm_dask.compat import dcnum, smlmlp

Build = Callable[[xr.DataArray], Any]
Shape = tuple[int, int, int]

WINDOW = 200  # the default of every block
SHAPE: Shape = (2 * WINDOW + 70, 26, 31)  # the window does not divide it, and a width is odd
PIXEL = (110.0, 100.0)
CROP = (5, 8)  # first row and column of the given crops


@dataclass(frozen=True)
class Case:
    """What to build from a movie, and how often it may be read.

    ``passes`` is the promise written down here a second time: the attribute of the result must say the
    same. ``least`` differs only where a streaming search may be over early. ``tail`` is how often the
    frames that fill no window are read at least. ``seed`` marks results under other programs' names.
    """

    build: Build
    passes: int = 1
    least: int | None = None
    tail: int = 1
    seed: bool = False

    def fewest(self, n: int) -> NDArray[np.int64]:
        """Readings of each of ``n`` frames that it cannot do without."""
        readings = np.full(n, self.passes if self.least is None else self.least)
        readings[n // WINDOW * WINDOW :] = self.tail
        return readings


# ------------------------------------------------------------------ blocks and chains


def spots(movie: xr.DataArray) -> pd.DataFrame:
    """One emitter in every frame, somewhere on the sensor; some crops leave the frame."""
    rng = np.random.default_rng(1)
    table = {"frame": movie.frame.to_numpy()}
    for axis in "yx":
        index = movie[axis].to_numpy()
        place = index[0] + rng.uniform(0, len(index) - 1, len(movie))
        table[axis] = place * float(movie[f"pixel_size_{axis}"])
    return pd.DataFrame(table | {"background": np.full(len(movie), 40.0)})


def camera() -> xr.Dataset:
    return smlm.as_camera(2.0, offset=100.0)


def times(movie: xr.DataArray) -> NDArray[np.float64]:
    """A clock in seconds with a gap."""
    clock = np.arange(len(movie)) * 0.01
    return np.where(clock > clock[-1] / 2, clock + 0.7, clock)


def psf(movie: xr.DataArray, **keywords: Any) -> xr.Dataset:
    return smlm.estimate_psf(movie, **{"size_pixels": 17} | keywords)


def seed_psf(movie: xr.DataArray, **keywords: Any) -> xr.Dataset:
    return psf(movie, **{"method": "smlmlp", "window": WINDOW, "max_frames": 50} | keywords)


def cleansed(movie: xr.DataArray) -> xr.Dataset:
    return smlm.background_sparse_median(movie, step=50, cleansing=smlm.Cleansing())


def border(movie: xr.DataArray) -> xr.Dataset:
    return smlm.integrate_photons(movie, spots(movie), camera=2.0, method="border")


def weighted(movie: xr.DataArray) -> xr.Dataset:
    keywords = {"camera": camera(), "psf": 120.0, "method": "weighted"}
    return smlm.integrate_photons(movie, spots(movie), **keywords)


def sensor(movie: xr.DataArray) -> xr.Dataset:
    """A camera whose pixels differ, one in 50 of them not known."""
    like = xr.zeros_like(movie.isel(frame=0, drop=True), dtype="f8").chunk()
    row = xr.DataArray(np.arange(movie.sizes["y"]), dims="y")
    column = xr.DataArray(np.arange(movie.sizes["x"]), dims="x")
    tilt = (like + 0.01 * row + 0.02 * column).where((7 * row + 3 * column) % 50 != 0)
    return smlm.as_camera(2.0 + tilt, offset=100.0 + like, variance=9.0 + tilt)


def likelihood(movie: xr.DataArray) -> xr.Dataset:
    """With lazy maps of the camera."""
    return smlm.integrate_photons(movie, spots(movie), camera=sensor(movie), psf=120.0)


def free(movie: xr.DataArray) -> xr.Dataset:
    fit = smlm.CropFit(background="free", robust=True, position_error=20.0)
    keywords = {"camera": camera(), "psf": 120.0, "method": fit}
    return smlm.integrate_photons(movie, spots(movie), **keywords)


def unsorted(movie: xr.DataArray) -> xr.Dataset:
    table = spots(movie).sample(frac=1, random_state=2)
    return smlm.integrate_photons(movie, table, camera=camera(), psf=120.0)


def own_gain(movie: xr.DataArray) -> xr.Dataset:
    gain = smlm.estimate_gain(movie, offset=100.0)
    return smlm.integrate_photons(movie, spots(movie), camera=gain, psf=120.0)


def own_whole_gain(movie: xr.DataArray) -> xr.Dataset:
    gain = smlm.estimate_gain(movie, method="smlmlp", window=None)
    return smlm.integrate_photons(movie, spots(movie), camera=gain, method="border")


def on_spatial_mean(movie: xr.DataArray) -> xr.Dataset:
    under = smlm.background_spatial_mean(movie).background
    return smlm.integrate_photons(movie, spots(movie), camera=2.0, psf=120.0, background=under)


def own_gain_on_spatial_mean(movie: xr.DataArray) -> xr.Dataset:
    under = smlm.background_spatial_mean(movie).background
    gain = smlm.estimate_gain(movie)
    return smlm.integrate_photons(movie, spots(movie), camera=gain, psf=120.0, background=under)


def on_sparse_median(movie: xr.DataArray) -> xr.Dataset:
    under = smlm.background_sparse_median(movie)
    return smlm.integrate_photons(movie, spots(movie), camera=2.0, psf=120.0, background=under)


def noisy_camera() -> xr.Dataset:
    return smlm.as_camera(2.0, offset=100.0, variance=4.0)


def on_truncated(movie: xr.DataArray) -> xr.Dataset:
    under = smlm.estimate_background(movie, camera=noisy_camera())
    under = under.assign(series_error=0.01 * under.series)
    return smlm.integrate_photons(movie, spots(movie), camera=2.0, psf=120.0, background=under)


def truncated_with_maps(movie: xr.DataArray) -> xr.Dataset:
    """Known pixel by pixel, and with the gain of the movie itself."""
    y, x = movie.sizes["y"], movie.sizes["x"]
    slope = np.linspace(0, 1, y * x).reshape(y, x)
    at = {n: movie.coords[n] for n in ("y", "x")}
    offset, variance = (xr.DataArray(m, at, ("y", "x")) for m in (100 + slope, 4 + slope))
    known = smlm.as_camera(smlm.estimate_gain(movie).gain, offset=offset, variance=variance)
    return smlm.estimate_background(movie, camera=known, step=130, joint=True)


def readme(movie: xr.DataArray) -> dict[str, xr.Dataset]:
    """The lines of the README: all that one movie gives."""
    gain = smlm.estimate_gain(movie, offset=100.0)
    shape = psf(movie)
    under = smlm.estimate_background(movie, camera=gain)
    signal = smlm.integrate_photons(movie, spots(movie), psf=shape, camera=gain, background=under)
    return {"camera": gain, "psf": shape, "background": under, "signal": signal}


def signal(movie: xr.DataArray) -> xr.Dataset:
    return readme(movie)["signal"]


def cleansed_signal(movie: xr.DataArray) -> xr.Dataset:
    gain, under = smlm.estimate_gain(movie), cleansed(movie)
    return smlm.integrate_photons(movie, spots(movie), camera=gain, psf=120.0, background=under)


def one_pass(movie: xr.DataArray) -> dict[str, xr.Dataset]:
    """The results that need the movie once, together."""
    return {
        "camera": smlm.estimate_gain(movie),
        "psf": psf(movie),
        "background": smlm.background_sparse_median(movie),
    }


def crops(movie: xr.DataArray) -> xr.DataArray:
    """A crop from the same place of every frame."""
    y, x = CROP
    return movie[:, y : y + 11, x : x + 11].drop_vars("frame").rename(frame="emitter")


def given_crops(movie: xr.DataArray) -> xr.Dataset:
    table = pd.DataFrame(crop_columns(len(movie)))
    return smlm.integrate_photons(crops(movie), table, camera=camera(), psf=120.0)


def crop_columns(n: int) -> dict[str, NDArray[np.float64]]:
    y, x = CROP
    row = {"y0": y, "x0": x, "y": (y + 5) * PIXEL[0], "x": (x + 5) * PIXEL[1], "background": 40.0}
    return {name: np.full(n, value) for name, value in row.items()}


def channels(movie: xr.DataArray) -> dict[str, xr.Dataset]:
    return smlm.map_channels(smlm.estimate_gain, {"red": movie, "green": movie[:, 2:, 3:]})


def channel_tree(movie: xr.DataArray) -> xr.DataTree:
    green = movie[:, 2:, 3:]
    movies = {"red": movie.to_dataset(name="movie"), "green": green.to_dataset(name="movie")}
    return smlm.map_channels(psf, xr.DataTree.from_dict(movies))


def views(movie: xr.DataArray) -> xr.DataTree:
    halves = {"up": (slice(None), slice(None)), "down": (slice(None), slice(int(movie.x[9]), None))}
    return smlm.map_channels(smlm.estimate_gain, smlm.split_views(movie, halves))


def crop_sums(movie: xr.DataArray) -> Any:
    row = crop_columns(len(movie))
    fitted = {"x_fit": row["x"], "y_fit": row["y"], "os_fit": row["background"]}
    return smlmlp.integrate_crop(
        [crops(movie).data], row["x0"], row["y0"], **fitted, channels_pixels_nm=[PIXEL]
    )


STREAMED = 10  # readings at most, to find the median and MAD of uint16

CASES: dict[str, Case] = {
    "gain": Case(smlm.estimate_gain),
    "gain-ramp": Case(lambda m: smlm.estimate_gain(m, method="ramp", offset=100.0), tail=0),
    "gain-smlmlp": Case(lambda m: smlm.estimate_gain(m, method="smlmlp"), tail=0),
    "gain-whole": Case(
        lambda m: smlm.estimate_gain(m, method="smlmlp", window=None), STREAMED, least=1
    ),
    "dark": Case(smlm.calibrate_dark),
    "spatial-mean": Case(smlm.background_spatial_mean),
    "sparse-median": Case(smlm.background_sparse_median),
    "sparse-median-cleansed": Case(cleansed),
    "background": Case(lambda m: smlm.estimate_background(m, camera=noisy_camera())),
    "background-maps-own-gain": Case(truncated_with_maps, 2),
    "sparse-median-time": Case(
        lambda m: smlm.background_sparse_median(m, step=1.0, time=times(m), assign="start")
    ),
    "psf": Case(psf, tail=0),
    "psf-few-frames": Case(lambda m: psf(m, max_frames=100), tail=0),
    "psf-seed": Case(seed_psf, tail=0),
    "psf-seed-whole": Case(lambda m: seed_psf(m, window=None), STREAMED + 1, least=2),
    "psf-seed-raw": Case(lambda m: seed_psf(m, remove_background=False), tail=0),
    "photons-border": Case(border),
    "photons-weighted": Case(weighted),
    "photons-map": Case(likelihood),
    "photons-free": Case(free),
    "photons-unsorted": Case(unsorted),
    "photons-own-gain": Case(own_gain, 2),
    "photons-own-whole-gain": Case(own_whole_gain, STREAMED + 1, least=2),
    "photons-spatial-mean": Case(on_spatial_mean),
    "photons-spatial-mean-own-gain": Case(own_gain_on_spatial_mean, 2),
    "photons-sparse-median": Case(on_sparse_median),
    "photons-background": Case(on_truncated, 2),
    "photons-cleansed-own-gain": Case(cleansed_signal, 2),
    "photons-signal": Case(signal, 3),
    "photons-given-crops": Case(given_crops),
    "channels": Case(channels),
    "channel-tree": Case(channel_tree, tail=0),
    "channel-views": Case(views),
    "one-pass": Case(one_pass),
    "readme": Case(readme, 3),
    "smlmlp-detect-gain": Case(lambda m: smlmlp.detect_gain([m]), STREAMED, 1, seed=True),
    "smlmlp-bkgd-spatial-mean": Case(lambda m: smlmlp.bkgd_spatial_mean([m]), seed=True),
    "smlmlp-blink-spatial-psf": Case(
        lambda m: smlmlp.blink_spatial_psf([m], 11), STREAMED + 1, 2, seed=True
    ),
    "smlmlp-crop-remove-bkgd": Case(lambda m: smlmlp.crop_remove_bkgd([crops(m).data]), seed=True),
    "smlmlp-integrate-crop": Case(crop_sums, seed=True),
    "dcnum-sparse-median": Case(lambda m: dcnum.sparse_median(m, time=times(m)), seed=True),
}
# Cases that give a number or say why there is none.
ANSWERS = [n for n in CASES if n.startswith(("gain", "psf", "photons"))]

# What the laws exist to refuse; each breaks one of them.
OFFENDERS: dict[str, Build] = {
    "eager": lambda m: smlm.as_camera(float(m.mean())),
    "holds-the-movie": lambda m: (m - m.mean("frame")).data,
    "reads-twice": lambda m: [m.data.sum(), clone(m.data).max()],
    "chunk-dependent": lambda m: m.data.map_blocks(lambda block: block - block.mean(dtype="f4")),
}


# ------------------------------------------------------------------ results as numbers


def plain(result: Any) -> Any:
    """A result without trees, which ``dask.compute`` would hand back as they are."""
    if isinstance(result, xr.DataTree):
        return {name: child.to_dataset() for name, child in result.children.items()}
    return {n: plain(r) for n, r in result.items()} if type(result) is dict else result


def leaves(result: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Name and array of everything in a Dataset, dict, list or tuple."""
    if isinstance(result, xr.Dataset):
        yield from ((f"{name}/{n}", v.data) for n, v in result.variables.items())
    elif isinstance(result, Mapping):
        for key, part in result.items():
            yield from leaves(part, f"{name}/{key}")
    elif isinstance(result, (list, tuple)):
        for i, part in enumerate(result):
            yield from leaves(part, f"{name}/{i}")
    elif isinstance(result, (np.ndarray, np.generic, da.Array, float, int)):
        yield name, result


def lazy(result: Any) -> dict[str, da.Array]:
    """The arrays of a result that are still to compute."""
    return {name: a for name, a in leaves(plain(result)) if isinstance(a, da.Array)}


def compute(result: Any) -> dict[str, NDArray[Any]]:
    """Everything in a result, in one computation."""
    return {n: np.asarray(v) for n, v in leaves(dask.compute(plain(result))[0])}


def datasets(result: Any) -> dict[str, xr.Dataset]:
    """The Datasets of a result; compat functions have none."""
    result = plain(result)
    result = result if isinstance(result, dict) else {"": result}
    return {n: d for n, d in result.items() if isinstance(d, xr.Dataset)}


# ------------------------------------------------------------------ movies


def samples(shape: Shape = SHAPE, dtype: str = "uint16") -> NDArray[Any]:
    """Light that varies over the field, shot noise, and blinking emitters; read-only."""
    n, height, width = shape
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    movie = rng.poisson(30.0 + 6.0 * x + 3.0 * y, shape) / 2 + 100
    for at_y, at_x in rng.uniform(3, [height - 3, width - 3], (12, 2)):
        spot = 150 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 1.3**2))
        movie += (rng.random(n) < 0.05)[:, None, None] * spot
    movie = movie.astype(dtype)
    movie.flags.writeable = False
    return movie


class Source:
    """A stored movie: gives samples and counts how often each stored chunk was read."""

    ndim = 3

    def __init__(self, values: NDArray[Any], stored: Shape) -> None:
        self.values, self.stored = values, stored
        self.shape, self.dtype = values.shape, values.dtype
        grid = [-(-n // size) for n, size in zip(self.shape, stored, strict=True)]
        self.reads = np.zeros(grid, np.int64)
        self.lock = threading.Lock()

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        spans = [s.indices(n) for s, n in zip(box, self.shape, strict=True)]
        touched = tuple(
            slice(lo // size, (hi - 1) // size + 1)
            for (lo, hi, _), size in zip(spans, self.stored, strict=True)
        )
        with self.lock:
            self.reads[touched] += 1
        return self.values[box]

    def frames_read(self) -> NDArray[np.int64]:
        """Most and fewest reads of the chunks that hold each frame: (2, frame)."""
        flat = self.reads.reshape(len(self.reads), -1)
        both = np.stack([flat.min(axis=1), flat.max(axis=1)])
        return both.repeat(self.stored[0], axis=1)[:, : self.shape[0]]


class Unreadable:
    """A movie of any size that must not be read."""

    ndim = 3

    def __init__(self, shape: Shape, dtype: str = "uint16") -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, box: Any) -> NDArray[Any]:
        raise AssertionError(f"the movie was read at {box}")


def movie_of(source: Any, chunks: Any, name: str = "source") -> xr.DataArray:
    """A movie over a source in these chunks."""
    meta = np.empty((0, 0, 0), source.dtype)
    data = da.from_array(source, chunks, name=name, meta=meta, asarray=False)
    return smlm.as_movie(data, pixel_size=PIXEL)


def mapped(movie: xr.DataArray) -> xr.DataArray:
    """A movie with the user's own correction of each sample in it."""
    return movie.copy(data=movie.data.map_blocks(np.add, np.uint16(1), dtype=movie.dtype))


# Name -> (stored chunks, what the user does before the blocks). Those that slice need a larger source.
MARGIN = (30, 2, 3)
UPSTREAMS: dict[str, tuple[Callable[[Shape], Shape], Callable[[xr.DataArray], xr.DataArray]]] = {
    "aligned": (lambda s: (WINDOW, *s[1:]), lambda m: m),
    "odd-chunks": (lambda s: (70, *s[1:]), lambda m: m),
    "tiled": (lambda s: (100, s[1] // 2, -(-s[2] // 2)), lambda m: m),
    "rechunked": (lambda s: (70, *s[1:]), lambda m: m.chunk(frame=WINDOW)),
    "sliced": (lambda s: (WINDOW, *s[1:]), lambda m: m[MARGIN[0] :, MARGIN[1] :, MARGIN[2] :]),
    "mapped": (lambda s: (WINDOW, *s[1:]), mapped),
}


def larger(upstream: str, shape: Shape) -> Shape:
    """Shape of the source from which ``upstream`` makes a movie of ``shape``."""
    if upstream != "sliced":
        return shape
    n, height, width = (a + b for a, b in zip(shape, MARGIN, strict=True))
    return n, height, width
