"""What movies are made of: frames that were dropped or repeated, light that saturates, NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import smlm_dask as smlm
from smlm_dask.errors import SmlmError
from smlm_dask.kernels.reason import Reason

FRAMES, SIZE, PIXEL = 400, 96, 100.0
GAIN, OFFSET, VARIANCE, EFFICIENCY, SIGMA = 0.46, 100.0, (1.4 / 0.46) ** 2, 0.82, 120.0
SCATTER = np.random.default_rng(5)
SOME = np.sort(
    SCATTER.choice(np.arange(1, FRAMES), FRAMES // 20, replace=False)
)  # 5 % of the frames
HOT = SCATTER.choice(SIZE * SIZE, int(0.03 * SIZE * SIZE), replace=False)
Samples = NDArray[Any]


@cache
def scene() -> tuple[Samples, Samples, pd.DataFrame]:
    """Blinking emitters on light that varies over the field; its level (y, x); what is on."""
    movie, truth = smlm.simulate_movie(
        FRAMES,
        (SIZE, SIZE),
        emitters=smlm.Emitters(photons=4000.0, sigma=SIGMA),
        light=smlm.Light(background=60.0, gradient=0.5, blob=1.0),
        seed=1,
    )
    level = OFFSET + truth.background.to_numpy() * EFFICIENCY / GAIN
    table = smlm.truth_table(truth, slice(0, FRAMES))
    return movie.to_numpy(), level, table[_alone(table)]


def _alone(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether no other emitter of the frame is within 12 pixels."""
    place = table[["y", "x"]].to_numpy()
    near = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1)) < 12 * PIXEL
    frame = table.frame.to_numpy()
    return np.asarray((near & (frame[:, None] == frame)).sum(axis=1) == 1)


@cache
def steady() -> Samples:
    """Steady light that varies over the field, without emitters: a calibration."""
    movie, _ = smlm.simulate_movie(
        FRAMES,
        (SIZE, SIZE),
        emitters=smlm.Emitters(number=0),
        light=smlm.Light(background=100.0, gradient=0.9),
        seed=2,
    )
    return np.asarray(movie.to_numpy())


def camera() -> xr.Dataset:
    return smlm.as_camera(GAIN, offset=OFFSET, variance=VARIANCE, quantum_efficiency=EFFICIENCY)


# ------------------------------------------------------------------ what a block says, in a word


def _word(status: Any, good: bool) -> str:
    reason = Reason(int(status))
    if reason != Reason.OK:
        return f"NaN, `{reason.name.lower()}`"
    return "right" if good else "WRONG"


def gain(movie: xr.DataArray, **keywords: Any) -> str:
    found = smlm.estimate_gain(movie, offset=OFFSET, **keywords).compute()
    apart = abs(float(found.gain) - GAIN)
    return _word(found.status, apart < max(4 * float(found.gain_error), 0.01 * GAIN))


def psf(movie: xr.DataArray) -> str:
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
    apart = abs(float(found.sigma) - SIGMA)
    return _word(found.status, apart < max(4 * float(found.sigma_error), 0.02 * SIGMA))


def _series(series: xr.DataArray) -> str:
    """Right within a tenth of the noise of a frame on average, and a half in each pixel but few."""
    level = scene()[1]
    noise = np.sqrt((level - OFFSET) / GAIN + VARIANCE)
    apart = (series.to_numpy().astype("f8") - level) / noise
    lost = np.isnan(apart).mean()
    if lost == 1:
        return "NaN"
    bad = np.nanmean(abs(apart) > 1)
    good = abs(np.nanmedian(apart)) < 0.15 and bad < 0.01
    return ("right" if good else "WRONG") + (", NaN there" if lost else "")


def background(movie: xr.DataArray) -> str:
    return _series(smlm.estimate_background(movie, camera=camera()).compute().series)


def median(movie: xr.DataArray) -> str:
    return _series(smlm.background_sparse_median(movie).compute().series)


def photons(movie: xr.DataArray) -> str:
    """Right: as good as in the intact movie, wherever there is a number."""
    frames, _, table = scene()
    table = table[table.frame < len(movie)]
    under = smlm.estimate_background(movie, camera=camera())
    known = {"camera": camera(), "psf": SIGMA, "background": under}
    found = smlm.integrate_photons(movie, table, **known).compute()
    apart = (found.photons.to_numpy() - table.photons.to_numpy()) / found.photons_error.to_numpy()
    there = np.isfinite(apart)
    reasons = sorted(
        {Reason(int(s)).name.lower() for s in found.status.to_numpy()[~there]}
        - {"crop_leaves_frame"}
    )
    told = "".join(f", `{reason}`" for reason in reasons)
    if not there.any():
        return f"NaN{told}"
    good = abs(np.median(apart[there])) < 0.5 and (abs(apart[there]) > 8).mean() < 0.02
    return ("right" if good else "WRONG") + (f", NaN there{told}" if told else "")


BLOCKS: dict[str, Callable[..., str]] = {
    "gain": gain,
    "background": background,
    "median": median,
    "psf": psf,
    "photons": photons,
}


def say(block: str, samples: Any) -> str:
    """What a block says of samples, in a word."""
    try:
        movie = smlm.as_movie(samples, pixel_size=PIXEL)
        with dask.config.set(scheduler="sync"):
            return BLOCKS[block](movie)
    except SmlmError as error:
        return f"`{type(error).__name__}`"


# ------------------------------------------------------------------ what is wrong with a movie


@dataclass(frozen=True)
class Content:
    """How a movie is spoilt, and what each block must say of it."""

    what: str
    spoil: Callable[[Samples], Any]
    said: dict[str, str]

    def words(self) -> dict[str, str]:
        samples = scene()[0].copy()
        spoilt = self.spoil(samples)
        return {name: say(name, samples if spoilt is None else spoilt) for name in BLOCKS}


def put(where: Any, value: Any, dtype: str = "u2") -> Callable[[Samples], Samples]:
    """Samples of a type, some of them replaced."""

    def spoil(frames: Samples) -> Samples:
        out = frames.astype(dtype)
        out[where] = value
        return out

    return spoil


def repeated(frames: Samples) -> None:
    for number in SOME:
        frames[number] = frames[number - 1]


def hot(frames: Samples) -> None:
    flat = frames.reshape(FRAMES, -1)
    flat[:, HOT] += SCATTER.integers(0, 3000, (FRAMES, len(HOT))).astype("u2")


def every(said: str) -> dict[str, str]:
    return dict.fromkeys(BLOCKS, said)


N = None
ROWS = [
    Content("as it should be", lambda m: None, {}),
    Content("5 % of the frames are zero", put(SOME, 0), {}),
    Content("a run of 20 frames is zero", put(slice(100, 120), 0), {}),
    Content("a third of 5 % of the frames is zero", put((SOME, slice(64, 96)), 0), {}),
    Content("every second frame is zero", put(slice(None, None, 2), 0), {}),
    Content("5 % of the frames without light", put(SOME, 100), {}),
    Content("5 % of the frames are saturated", put(SOME, 65535), {}),
    Content("5 % of the frames repeat the one before", repeated, {}),
    Content("every frame twice", lambda m: m[: FRAMES // 2].repeat(2, axis=0), {}),
    Content("a frame 400 times", lambda m: m[:1].repeat(FRAMES, axis=0), {}),
    Content("constant", put(..., 100), {}),
    Content("all zero", put(..., 0), {}),
    Content("all saturated", put(..., 65535), {}),
    Content("emitters saturate at 1000 adu", lambda m: np.minimum(m, 1000), {}),
    Content(
        "emitters saturate at 65535 adu", lambda m: (np.minimum(m, 1000) + 64535).astype("u2"), {}
    ),
    Content("samples of 8 bits that run over", lambda m: m.astype("u1"), {}),
    Content("3 % hot pixels", hot, {}),
    Content("a dead column of 0", put((slice(None), slice(None), 40), 0), {}),
    Content("a dead column of 100", put((slice(None), slice(None), 40), 100), {}),
    Content("a NaN", put((50, 40, 40), np.nan, "f4"), {}),
    Content("a pixel always NaN", put((slice(None), 40, 40), np.nan, "f4"), {}),
    Content("a frame of NaN", put(50, np.nan, "f4"), {}),
    Content("all NaN", put(..., np.nan, "f4"), {}),
    Content("an infinity", put((50, 40, 40), np.inf, "f4"), {}),
    Content("an infinity below", put((50, 40, 40), -np.inf, "f4"), {}),
    Content("offset taken off in uint16", lambda m: m - np.uint16(110), {}),
    Content("offset taken off, below zero", lambda m: m.astype("i2") - 110, {}),
    Content("one frame", lambda m: m[:1], {}),
    Content("two frames", lambda m: m[:2], {}),
    Content("no frame", lambda m: m[:0], {}),
    Content(
        "axes y, x, frame by name",
        lambda m: xr.DataArray(m, dims=("frame", "y", "x")).transpose("y", "x", "frame"),
        {},
    ),
    Content("axes y, x, frame without names", lambda m: m.transpose(1, 2, 0), {}),
    Content("other names of axes", lambda m: xr.DataArray(m, dims=("time", "row", "column")), {}),
    Content("two axes", lambda m: m[0], {}),
    Content("truth values", lambda m: m > 300, {}),
    Content("complex numbers", lambda m: m.astype("c8"), {}),
    Content("Python objects", lambda m: m[:20].astype(object), {}),
    Content("text", lambda m: m[:2].astype(str), {}),
    Content("float16", lambda m: m.astype("f2"), {}),
    Content("times", lambda m: m.astype("m8[s]"), {}),
]
