"""Movies with a known gain: blinking emitters, ramps, and what sensors and software do to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

import smlm_dask as smlm

Frames = np.ndarray
Change = Callable[[Frames, np.random.Generator], Frames]
FRAMES, SIDE, RAMP = 300, 96, 64
QE, GAIN = 0.82, 0.46


class Case(NamedTuple):
    """How to make a movie, and how to ask for its gain.

    ``refuse`` says that an answer would be wrong. ``limit`` is the bias in % that is aimed at.
    """

    frames: Callable[[int], Frames]
    gain: float = GAIN
    method: str = "corner"
    keywords: Mapping[str, Any] = MappingProxyType({})
    refuse: bool = False
    limit: float = 1.0


def movie(
    change: Change | None = None,
    *,
    n: int = FRAMES,
    side: int = SIDE,
    number: int = 1000,
    background: float = 10.0,
    gradient: float = 0.5,
    blob: float = 0.0,
    light: dict[str, float] | None = None,
    camera: dict[str, float] | None = None,
    **emitters: Any,
) -> Callable[[int], Frames]:
    """Blinking emitters over a gradient; ``change`` is applied to the finished frames."""

    def make(seed: int) -> Frames:
        frames = smlm.simulate_movie(
            n,
            (side, side),
            emitters=smlm.Emitters(number=number, **emitters),
            camera=smlm.Camera(quantum_efficiency=QE, **(camera or {})),
            light=smlm.Light(background=background, gradient=gradient, blob=blob, **(light or {})),
            seed=seed,
        )[0].to_numpy()
        return frames if change is None else change(frames, np.random.default_rng(seed))

    return make


def ramp(low: float = 20, high: float = 600, change: Change | None = None, **words: Any) -> Any:
    """Steady light that rises across the field."""
    middle = (low + high) / 2
    shape = {"background": middle, "gradient": (high - low) / (high + low), "number": 0}
    return movie(change, **({"side": RAMP} | shape | words))


def counts(frames: Frames) -> Frames:
    return np.clip(np.rint(frames), 0, 65535).astype("u2")


def added(shape: tuple[int, ...], sd: float) -> Change:
    """Noise in electrons, the same along the axes where ``shape`` is 1 (0: as long as the movie)."""

    def change(frames: Frames, rng: np.random.Generator) -> Frames:
        size = [n if s == 0 else s for n, s in zip(frames.shape, shape, strict=True)]
        return counts(frames + rng.normal(0, sd / GAIN, size))

    return change


def saturated(level: int) -> Change:
    return lambda frames, rng: np.minimum(frames, np.uint16(level))


def cosmics(frames: Frames, rng: np.random.Generator) -> Frames:
    """Tracks of a few pixels, one in every second frame."""
    frames = frames.astype("f8")
    for t in np.flatnonzero(rng.random(len(frames)) < 0.5):
        y, x = rng.integers(6, frames.shape[1] - 6, 2)
        dy, dx = rng.integers(-1, 2, 2)
        for k in range(int(rng.integers(1, 6))):
            frames[t, y + k * dy, x + k * dx] += rng.exponential(3000)
    return counts(frames)


def dead(frames: Frames, rng: np.random.Generator) -> Frames:
    frames = frames.copy()
    place = rng.random(frames.shape[1:])
    frames[:, place < 0.005] = 0
    frames[:, place > 0.998] = 4000
    return frames


def dropped(frames: Frames, rng: np.random.Generator) -> Frames:
    frames = frames.copy()
    frames[rng.random(len(frames)) < 0.05] = 0
    return frames


def shifted(frames: Frames, rng: np.random.Generator) -> Frames:
    return counts(ndimage.shift(frames.astype("f4"), (0, 0.5, 0.5), order=1, mode="nearest"))


def drift_corrected(frames: Frames, rng: np.random.Generator) -> Frames:
    ways = rng.uniform(-0.5, 0.5, (len(frames), 2))
    return counts(
        np.stack(
            [ndimage.shift(f.astype("f4"), w, order=1) for f, w in zip(frames, ways, strict=True)]
        )
    )


def blurred(sigma: float) -> Change:
    return lambda frames, rng: counts(
        ndimage.gaussian_filter(frames.astype("f4"), (0, sigma, sigma))
    )


def subtracted(frames: Frames, rng: np.random.Generator) -> Frames:
    return counts(frames - np.median(frames, axis=0))


def jitter(sd: float) -> Change:
    return added((0, 1, 1), sd)


BLOB = {"blob": 1.0}
SLOW = {"number": 300, "on_frames": 30, "off_frames": 60}
PRNU, SCMOS = {"gain_spread": 0.02}, {"offset_spread": 3, "gain_spread": 0.01, "hot_fraction": 0.01}
WORSE = {"offset_spread": 10, "gain_spread": 0.02, "hot_fraction": 0.01}


def _fields() -> dict[str, Case]:
    """Rows of emitters over flat light, gradients and blobs."""
    cases = {}
    for name, background, words in (
        ("flat bg10", 10, {"gradient": 0.0}),
        ("bg10 gradient", 10, {}),
        ("bg50 blob", 50, BLOB),
        ("bg200 blob", 200, BLOB),
    ):
        for number in (0, 100, 1000, 5000):
            empty = name == "flat bg10" and number < 1000
            made = movie(number=number, background=background, **words)
            cases[f"{name}, {number} emitters"] = Case(made, refuse=empty)
    return cases


def _camera(**words: float) -> dict[str, Any]:
    return {"camera": words}


CASES: dict[str, Case] = {
    "ramp 20-600, 50 frames": Case(ramp(n=50), keywords={"window": 50}),
    "ramp 20-600": Case(ramp()),
    "ramp 20-600, 2000 frames": Case(ramp(n=2000)),
    "ramp, read noise 0": Case(ramp(camera={"read_noise": 0})),
    "ramp, read noise 5": Case(ramp(camera={"read_noise": 5})),
    "ramp 1-10": Case(ramp(1, 10)),
    **_fields(),
    "slow 30/60": Case(movie(**SLOW)),
    "slow 30/60, flat": Case(movie(**SLOW, gradient=0.0)),
    "fixed pattern 3 adu": Case(movie(number=500, camera={"offset_spread": 3}), limit=3),
    "ramp, bleaching": Case(ramp(light={"bleaching_frames": 150})),
    "gain 0.25": Case(movie(camera={"gain": 0.25}), 0.25),
    "gain 2": Case(movie(camera={"gain": 2.0}), 2.0),
    "sigma 80": Case(movie(sigma=80)),
    "sigma 80, flat": Case(movie(sigma=80, number=300, gradient=0.0), refuse=True),
    "sigma 94": Case(movie(sigma=94)),
    "sigma 150": Case(movie(sigma=150)),
    "sigma 60": Case(movie(sigma=60), refuse=True),
    # sensors
    "gain varies 2 %, ramp": Case(ramp(camera=PRNU), limit=3),
    "gain varies 2 %, bg200": Case(movie(number=100, background=200, camera=PRNU), limit=3),
    "gain varies 2 %": Case(movie(camera=PRNU), limit=3),
    "sCMOS": Case(movie(camera=SCMOS), limit=3),
    "sCMOS, offsets 10 adu, gain 2 %": Case(movie(camera=WORSE), limit=3),
    "sCMOS, ramp": Case(ramp(camera=SCMOS), limit=3),
    "row noise 1 e": Case(movie(added((0, 0, 1), 1)), limit=3),
    "row noise 2 e, flat": Case(movie(added((0, 0, 1), 2), gradient=0.0), limit=3),
    "column noise 1 e": Case(movie(added((0, 1, 0), 1)), limit=3),
    "row offsets 5 adu": Case(movie(added((1, 0, 1), 5 * GAIN)), limit=3),
    "frame jitter 2 e": Case(movie(jitter(2)), limit=3),
    "frame jitter 2 e, flat": Case(movie(jitter(2), gradient=0.0), limit=3),
    "EM, F^2 given": Case(
        movie(camera={"em_gain": 10.0, "gain": 4.6}), keywords={"excess_noise": 2.0}, limit=3
    ),
    "EM ramp, F^2 given": Case(
        ramp(camera={"em_gain": 10.0, "gain": 4.6}), keywords={"excess_noise": 2.0}, limit=3
    ),
    "ramp, saturated at 900": Case(ramp(change=saturated(900)), limit=3),
    "3000 photons, saturated at 255": Case(movie(saturated(255), photons=3000), limit=3),
    "cosmics": Case(movie(cosmics), limit=3),
    "cosmics, ramp": Case(ramp(change=cosmics), limit=3),
    "dead and stuck pixels": Case(movie(dead), limit=3),
    "5 % of frames 0": Case(movie(dropped), limit=3),
    "flicker 5 %": Case(movie(light={"flicker": 0.05})),
    "background 1": Case(movie(background=1.0)),
    "10000 photons": Case(movie(photons=10000)),
    "no background": Case(movie(background=0.0), limit=3),
    # no answer is right
    "gain 8": Case(movie(camera={"gain": 8.0}), 8.0, refuse=True),
    "offset 0": Case(movie(camera={"offset": 0}), refuse=True),
    "offset 0, background 20": Case(movie(background=20.0, camera={"offset": 0})),
    "median subtracted, clipped": Case(movie(subtracted), refuse=True),
    "resampled by half a pixel": Case(movie(shifted), refuse=True),
    "drift corrected": Case(movie(drift_corrected), refuse=True),
    "blurred 0.4": Case(movie(blurred(0.4)), refuse=True),
    "blurred 0.4, 5000 emitters": Case(movie(blurred(0.4), number=5000), refuse=True),
    "blurred 0.4, slow": Case(movie(blurred(0.4), **SLOW), refuse=True),
    "blurred 0.5": Case(movie(blurred(0.5)), refuse=True),
    # calibrations
    "ramp method, 20-600, 50 frames": Case(ramp(n=50), method="ramp", keywords={"window": 50}),
    "ramp method, 20-600": Case(ramp(), method="ramp"),
    "ramp method, read noise 5": Case(ramp(camera={"read_noise": 5}), method="ramp"),
    "ramp method, 1-10": Case(ramp(1, 10), method="ramp"),
    "ramp method, bleaching": Case(ramp(light={"bleaching_frames": 150}), method="ramp"),
}
