"""What movies are made of: frames that were dropped or repeated, light that saturates, NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Truth:
    """What a spoilt movie holds: level of each pixel, camera's offset, frames of the scene."""

    level: Samples
    offset: float = OFFSET
    frames: Samples = field(default_factory=lambda: np.arange(FRAMES))

    def camera(self) -> xr.Dataset:
        known = {"variance": VARIANCE, "quantum_efficiency": EFFICIENCY}
        return smlm.as_camera(GAIN, offset=self.offset, **known)

    def table(self) -> pd.DataFrame:
        """What is on in the frames of the spoilt movie."""
        parts = dict(tuple(scene()[2].groupby("frame")))
        shown = [parts[k].assign(frame=n) for n, k in enumerate(self.frames) if k in parts]
        return pd.concat(shown, ignore_index=True)


RIGHT, BUT, UNSEEN = "right", "right, NaN there", "**not seen**"


def none(reason: str) -> str:
    """No number, and why."""
    return f"NaN, `{reason}`"


def but(reason: str) -> str:
    """Right, but where it is NaN, and why."""
    return f"{BUT}, `{reason}`"


def _word(status: Any, good: bool) -> str:
    reason = Reason(int(status))
    if reason != Reason.OK:
        return none(reason.name.lower())
    return RIGHT if good else UNSEEN


def gain(movie: xr.DataArray, truth: Truth, **keywords: Any) -> str:
    found = smlm.estimate_gain(movie, offset=truth.offset, **keywords).compute()
    apart = abs(float(found.gain) - GAIN)
    return _word(found.status, apart < max(4 * float(found.gain_error), 0.01 * GAIN))


def ramp(movie: xr.DataArray, truth: Truth) -> str:
    return gain(movie, truth, method="ramp")


def psf(movie: xr.DataArray, truth: Truth) -> str:
    found = smlm.estimate_psf(movie, size_pixels=21).compute()
    apart = abs(float(found.sigma) - SIGMA)
    return _word(found.status, apart < max(4 * float(found.sigma_error), 0.02 * SIGMA))


def _series(series: xr.DataArray, truth: Truth) -> str:
    """Right: a seventh of a frame's noise on average, and once the noise in each pixel but few."""
    noise = np.sqrt(np.maximum(truth.level - truth.offset, 0) / GAIN + VARIANCE)
    apart = (series.to_numpy().astype("f8") - truth.level) / noise
    known = np.isfinite(truth.level)
    apart = apart[:, known]
    if np.isnan(apart).all():
        return "NaN"
    good = abs(np.nanmedian(apart)) < 0.15 and np.nanmean(abs(apart) > 1) < 0.005
    return (RIGHT if good else UNSEEN) + (", NaN there" if np.isnan(apart).any() else "")


def background(movie: xr.DataArray, truth: Truth) -> str:
    found = smlm.estimate_background(movie, camera=truth.camera()).compute()
    told = "" if found.status == Reason.OK else f", `{Reason(int(found.status)).name.lower()}`"
    return _series(found.series, truth) + told


def median(movie: xr.DataArray, truth: Truth) -> str:
    return _series(smlm.background_sparse_median(movie).compute().series, truth)


def photons(movie: xr.DataArray, truth: Truth) -> str:
    """Right: within what the error tells, wherever there is a number that fits its crop."""
    table, camera = truth.table(), truth.camera()
    under = smlm.estimate_background(movie, camera=camera)
    known = {"camera": camera, "psf": SIGMA, "background": under}
    found = smlm.integrate_photons(movie, table, **known).compute()
    apart = (found.photons.to_numpy() - table.photons.to_numpy()) / found.photons_error.to_numpy()
    there, fits = np.isfinite(apart), found.chi2_z.to_numpy() < 6
    reasons = {Reason(int(s)).name.lower() for s in found.status.to_numpy()[~there]}
    told = "".join(f", `{reason}`" for reason in sorted(reasons - {"crop_leaves_frame"}))
    if not there.any():
        return f"NaN{told}"
    right = abs(apart[there & fits])
    good = right.size == 0 or (np.median(right) < 1.5 and (right > 8).mean() < 0.02)
    worse = ", `chi2_z` tells" if fits[there].mean() < 0.9 else ""
    return (RIGHT if good else UNSEEN) + (", NaN there" if told else "") + told + worse


Block = Callable[[xr.DataArray, Truth], str]
BLOCKS: dict[str, Block] = {
    "gain": gain,
    "ramp": ramp,
    "background": background,
    "median": median,
    "psf": psf,
    "photons": photons,
}


def say(block: str, samples: Any, truth: Truth) -> str:
    """What a block says of samples, in a word."""
    try:
        movie = smlm.as_movie(samples, pixel_size=PIXEL)
        with dask.config.set(scheduler="sync"):
            return BLOCKS[block](movie, truth)
    except SmlmError as error:
        return f"`{type(error).__name__}`"


# ------------------------------------------------------------------ what is wrong with a movie


@dataclass(frozen=True)
class Content:
    """How a movie is spoilt, what it then holds, and what each block must say of it."""

    what: str
    spoil: Callable[[Samples], Any]
    said: str | tuple[str, ...]  # a word of each block, or one for all
    holds: Callable[[Samples], Truth] = Truth

    def outcome(self) -> str | tuple[str, ...]:
        words = []
        for name in BLOCKS:
            samples = (steady() if name == "ramp" else scene()[0]).copy()
            words.append(say(name, self.spoil(samples), self.holds(scene()[1])))
        return words[0] if len(set(words)) == 1 else tuple(words)


def put(where: Any, value: Any, dtype: str = "u2") -> Callable[[Samples], Samples]:
    """Samples of a type, some of them replaced."""

    def spoil(frames: Samples) -> Samples:
        out = frames.astype(dtype)
        out[where] = value
        return out

    return spoil


def level(value: float, where: Any = ...) -> Callable[[Samples], Truth]:
    """The level of some pixels is another one."""

    def holds(image: Samples) -> Truth:
        image = image.copy()
        image[where] = value
        return Truth(image)

    return holds


def lower(by: float) -> Callable[[Samples], Truth]:
    return lambda image: Truth(image - by, OFFSET - by)


def shows(frames: Samples) -> Callable[[Samples], Truth]:
    return lambda image: Truth(image, frames=frames)


def repeated() -> Samples:
    """Numbers of frames in which 5 % are the one before."""
    numbers = np.arange(FRAMES)
    for number in SOME:
        numbers[number] = numbers[number - 1]
    return numbers


def hot(frames: Samples) -> Samples:
    noise = np.random.default_rng(6).integers(0, 3000, (FRAMES, len(HOT)))
    frames.reshape(FRAMES, -1)[:, HOT] += noise.astype("u2")
    return frames


def hot_level(image: Samples) -> Truth:
    image = image.copy()
    image.reshape(-1)[HOT] = np.nan
    return Truth(image)


ROWS = [
    Content("as it should be", lambda m: m, "right"),
    Content(
        "5 % of the frames are zero",
        put(SOME, 0),
        (RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, but("constant_signal")),
    ),
    Content(
        "a run of 20 frames is zero",
        put(slice(100, 120), 0),
        (RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, but("constant_signal")),
    ),
    Content(
        "a third of 5 % of the frames is zero",
        put((SOME, slice(64, 96)), 0),
        (none("clipped"), none("gain_uncertain"), RIGHT, RIGHT, RIGHT, but("constant_signal")),
    ),
    Content(
        "every second frame is zero",
        put(slice(None, None, 2), 0),
        (none("too_few_bins"), RIGHT, RIGHT, UNSEEN, RIGHT, but("constant_signal")),
    ),
    Content(
        "5 % of the frames without light",
        put(SOME, 100),
        (RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, but("constant_signal")),
    ),
    Content(
        "5 % of the frames are saturated",
        put(SOME, 65535),
        (RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, but("constant_signal")),
    ),
    Content(
        "5 % of the frames repeat the one before",
        lambda m: m[repeated()],
        "right",
        shows(repeated()),
    ),
    Content(
        "every frame twice",
        lambda m: m[: FRAMES // 2].repeat(2, axis=0),
        (none("constant_signal"), RIGHT, RIGHT, RIGHT, RIGHT, RIGHT),
        shows(np.arange(FRAMES // 2).repeat(2)),
    ),
    Content(
        "a frame 400 times",
        lambda m: m[:1].repeat(FRAMES, axis=0),
        (
            none("constant_signal"),
            none("slope_not_positive"),
            none("not_finite"),
            UNSEEN,
            none("constant_signal"),
            none("not_finite"),
        ),
        shows(np.zeros(FRAMES, int)),
    ),
    Content(
        "constant",
        put(..., 100),
        (
            none("constant_signal"),
            none("constant_signal"),
            none("not_finite"),
            RIGHT,
            none("constant_signal"),
            none("constant_signal"),
        ),
        level(100),
    ),
    Content(
        "all zero",
        put(..., 0),
        (
            none("constant_signal"),
            none("constant_signal"),
            none("not_finite"),
            RIGHT,
            none("constant_signal"),
            none("constant_signal"),
        ),
        level(0),
    ),
    Content(
        "all saturated",
        put(..., 65535),
        (
            none("constant_signal"),
            none("constant_signal"),
            none("not_finite"),
            RIGHT,
            none("constant_signal"),
            none("constant_signal"),
        ),
        level(65535),
    ),
    Content(
        "emitters saturate at 1000 adu",
        lambda m: np.minimum(m, 1000),
        (RIGHT, RIGHT, RIGHT, RIGHT, none("clipped"), "right, `chi2_z` tells"),
    ),
    Content(
        "emitters saturate at 65535 adu",
        lambda m: (np.minimum(m, 1000) + 64535).astype("u2"),
        (RIGHT, RIGHT, RIGHT, RIGHT, none("clipped"), but("clipped")),
        lower(-64535),
    ),
    Content(
        "3 % hot pixels",
        hot,
        (RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, "right, `chi2_z` tells"),
        hot_level,
    ),
    Content(
        "a dead column of 0",
        put((slice(None), slice(None), 40), 0),
        (none("clipped"), none("noise_below_rounding"), BUT, RIGHT, RIGHT, but("clipped")),
        level(0, (slice(None), 40)),
    ),
    Content(
        "a dead column of 100",
        put((slice(None), slice(None), 40), 100),
        (RIGHT, RIGHT, BUT, RIGHT, RIGHT, but("not_finite")),
        level(100, (slice(None), 40)),
    ),
    Content(
        "a NaN",
        put((50, 40, 40), np.nan, "f4"),
        (RIGHT, RIGHT, BUT, BUT, none("not_finite"), RIGHT),
    ),
    Content(
        "a pixel always NaN",
        put((slice(None), 40, 40), np.nan, "f4"),
        (none("too_few_bins"), RIGHT, BUT, BUT, none("not_finite"), RIGHT),
    ),
    Content(
        "a frame of NaN",
        put(50, np.nan, "f4"),
        (RIGHT, none("not_finite"), BUT, BUT, none("not_finite"), but("not_finite")),
    ),
    Content(
        "all NaN",
        put(..., np.nan, "f4"),
        (
            none("not_finite"),
            none("not_finite"),
            none("not_finite"),
            "NaN",
            none("not_finite"),
            none("not_finite"),
        ),
    ),
    Content(
        "an infinity",
        put((50, 40, 40), np.inf, "f4"),
        (RIGHT, RIGHT, BUT, RIGHT, none("not_finite"), RIGHT),
    ),
    Content(
        "an infinity below",
        put((50, 40, 40), -np.inf, "f4"),
        (RIGHT, RIGHT, BUT, RIGHT, none("not_finite"), RIGHT),
    ),
    Content("110 adu taken off in uint16", lambda m: m - np.uint16(110), "right", lower(110)),
    Content(
        "200 adu taken off in uint16: a third wraps",
        lambda m: m - np.uint16(200),
        (
            none("slope_not_positive"),
            none("gain_uncertain"),
            UNSEEN,
            UNSEEN,
            UNSEEN,
            f"{but('clipped')}, `chi2_z` tells",
        ),
        lower(200),
    ),
    Content("offset taken off, below zero", lambda m: m.astype("f4") - 110, "right", lower(110)),
    Content("one frame", lambda m: m[:1], "`TooFewFramesError`"),
    Content("two frames", lambda m: m[:2], "`TooFewFramesError`"),
    Content("no frame", lambda m: m[:0], "`EmptyMovieError`"),
    Content(
        "axes y, x, frame by name",
        lambda m: xr.DataArray(m, dims=("frame", "y", "x")).transpose("y", "x", "frame"),
        "right",
    ),
    Content(
        "axes y, x, frame without names",
        lambda m: m.transpose(1, 2, 0),
        (
            "`TooFewFramesError`",
            "`TooFewFramesError`",
            "`TooFewFramesError`",
            "`TooFewFramesError`",
            none("not_significant"),
            "`TooFewFramesError`",
        ),
    ),
    Content(
        "other names of axes",
        lambda m: xr.DataArray(m, dims=("time", "row", "column")),
        "`DimsError`",
    ),
    Content("two axes", lambda m: m[0], "`DimsError`"),
    Content("truth values", lambda m: m > 300, "`DtypeError`"),
    Content("complex numbers", lambda m: m.astype("c8"), "`DtypeError`"),
    Content("Python objects", lambda m: m[:20].astype(object), "`DtypeError`"),
    Content("text", lambda m: m[:2].astype(str), "`DtypeError`"),
    Content("float16", lambda m: m.astype("f2"), "`DtypeError`"),
    Content("times", lambda m: m.astype("m8[s]"), "`DtypeError`"),
]
