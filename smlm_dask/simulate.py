"""Lazy movies with known truth: for tests, documentation, benchmarks and planning an experiment."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from smlm_dask._graph import blocks
from smlm_dask.check import chunk_sizes, flag, number, pair, shown, whole_number
from smlm_dask.errors import ParameterError, TableError
from smlm_dask.kernels import simulate as kernel
from smlm_dask.readers.labels import DIMS, pixel_sizes

__all__ = ["Camera", "Emitters", "Light", "expected_photons", "simulate_movie", "truth_table"]

Sizes: TypeAlias = tuple[int, ...]
ChunksLike: TypeAlias = int | str | Sequence[Any] | Mapping[str, Any] | None
Rule: TypeAlias = Callable[..., Any]

_CHUNK_BYTES = 64 * 2**20
_CHUNK_FRAMES = 200
_TRACE = 1_000_000
_MOST = 2**32  # frames, and emitters: their numbers are 32-bit counters of the random numbers
_MOST_LIGHT = 1e9  # photons in a pixel: what counts them is an integer


def _lifetime(what: str, value: Any, **words: Any) -> float:
    never = isinstance(value, float) and value == math.inf
    return math.inf if never else number(what, value, **words)


_FINITE: Rule = number
_POSITIVE: Rule = partial(number, above=0)
_NOT_NEGATIVE: Rule = partial(number, at_least=0)
_LIGHT: Rule = partial(number, at_least=0, at_most=_MOST_LIGHT)
_FRACTION: Rule = partial(number, at_least=0, at_most=1)
_FACTOR: Rule = partial(number, at_least=0, at_most=1000)
_CHANGE: Rule = partial(number, at_least=-1000, at_most=1000)
_DWELL: Rule = partial(number, at_least=1)
_LIFETIME: Rule = partial(_lifetime, above=0)
_WIDTHS: Rule = partial(pair, above=0)
_WAY: Rule = partial(pair, alone=False)
_GAIN: Rule = partial(number, at_least=1e-6)  # below, a photon is more adu than any file holds
_COUNT: Rule = partial(whole_number, at_least=0, at_most=_MOST)


def _off_frames(what: str, value: Any, fix: str) -> float:
    never = number(what, value, at_least=0, fix=fix) == 0
    return 0.0 if never else _DWELL(what, value, fix=fix)


def _check(part: Any, rules: Mapping[str, Rule]) -> None:
    """Replace every value by a plain one of its type, which json knows, or raise."""
    for field in fields(part):
        what, value = f"{type(part).__name__}.{field.name}", getattr(part, field.name)
        fix = f"{field.name}={field.default}, as it is by default"
        if isinstance(field.default, bool):
            value = flag(what, value, fix=fix)
        elif value is not None or field.default is not None:
            value = rules[field.name](what, value, fix=fix)
        object.__setattr__(part, field.name, value)


@dataclass(frozen=True, kw_only=True)
class Emitters:
    """Blinking molecules.

    Each is on or off for whole frames. The dwell times are geometric (the discrete exponential)
    with the given means, and the process is stationary: the share of emitters that are on is
    ``on_frames / (on_frames + off_frames)`` in every frame, the first included.

    Attributes
    ----------
    density : float
        Emitters on or off, for each um2.
    number : int, optional
        Emitters in the field; overrides the density.
    photons : float
        Mean photons that reach the camera from an emitter in a frame in which it is on.
    exponential : bool
        Draw the photons of each frame from an exponential distribution; else they are constant.
    on_frames, off_frames : float
        Mean dwell times in frames, at least 1; ``off_frames=0`` is never off.
    bleaching_frames : float
        Mean number of frames until an emitter goes dark for good; ``inf``: it never does.
    sigma : float or (sigma_x, sigma_y)
        Width of the Gaussian PSF in focus, nm.
    theta : float
        Angle of the ``sigma_x`` axis in degrees, counter-clockwise on screen.
    depth : float
        Emitters lie uniformly between ``-depth / 2`` and ``depth / 2`` nm.
    astigmatism, focal_depth : float
        ``sigma_x(z) = sigma_x sqrt(1 + ((z - astigmatism) / focal_depth)**2)``, ``sigma_y``
        likewise with ``z + astigmatism``; nm; used where ``depth`` is not 0.
    drift : (y, x)
        Way of the sample, nm for each frame.
    """

    density: float = 1.0
    number: int | None = None
    photons: float = 1000.0
    exponential: bool = True
    on_frames: float = 2.0
    off_frames: float = 60.0
    bleaching_frames: float = math.inf
    sigma: float | tuple[float, float] = 120.0
    theta: float = 0.0
    depth: float = 0.0
    astigmatism: float = 0.0
    focal_depth: float = 400.0
    drift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        rules = dict.fromkeys(("theta", "astigmatism"), _FINITE)
        rules |= {"density": _NOT_NEGATIVE, "depth": _NOT_NEGATIVE, "focal_depth": _POSITIVE}
        rules |= {"number": _COUNT, "photons": _LIGHT, "sigma": _WIDTHS, "drift": _WAY}
        rules |= {"on_frames": _DWELL, "bleaching_frames": _LIFETIME, "off_frames": _off_frames}
        _check(self, rules)
        if self.on_frames == self.off_frames == 1:
            raise ParameterError(
                "Emitters.on_frames and off_frames",
                got="1 and 1",
                wanted="one of them > 1: such emitters would flip in every frame",
                fix="for independent frames pass on_frames=2, off_frames=2",
            )


@dataclass(frozen=True, kw_only=True)
class Camera:
    """An sCMOS, CCD or EMCCD camera: ``adu = round((electrons + read noise) / gain + offset)``.

    The electrons are Poisson with mean ``quantum_efficiency * photons``; with ``em_gain`` each of
    them leaves the register as an exponential number of electrons (excess noise factor 2).

    Attributes
    ----------
    gain : float
        Electrons at the read-out for each adu (behind the register, if there is one).
    offset : float
        Level without light, adu.
    read_noise : float
        rms, electrons at the read-out.
    quantum_efficiency : float
        Electrons for each photon.
    em_gain : float, optional
        Mean multiplication of an EMCCD.
    offset_spread : float
        Standard deviation of the offset between pixels, adu.
    gain_spread : float
        Standard deviation of the gain between pixels, relative to the gain.
    hot_fraction, hot_noise : float
        Share of the pixels whose read noise is ``hot_noise`` electrons.
    frame_time : float, optional
        Seconds from frame to frame.
    noise : bool
        False: every pixel reads its expected level.
    """

    gain: float = 0.46
    offset: float = 100.0
    read_noise: float = 1.4
    quantum_efficiency: float = 0.82
    em_gain: float | None = None
    offset_spread: float = 0.0
    gain_spread: float = 0.0
    hot_fraction: float = 0.0
    hot_noise: float = 20.0
    frame_time: float | None = None
    noise: bool = True

    def __post_init__(self) -> None:
        names = ("read_noise", "hot_noise", "offset_spread", "gain_spread")
        rules = dict.fromkeys(names, _NOT_NEGATIVE)
        rules |= dict.fromkeys(("quantum_efficiency", "hot_fraction"), _FRACTION)
        rules |= {"gain": _GAIN, "offset": _FINITE, "em_gain": _DWELL, "frame_time": _POSITIVE}
        _check(self, rules)


@dataclass(frozen=True, kw_only=True)
class Light:
    """Light that is no emitter, and the lamp.

    ``background * (1 + gradient * u + blob * exp(-(u**2 + v**2) / 0.18))`` with ``u`` and ``v``
    from -1 to 1 across the width and the height of the field.

    Attributes
    ----------
    background : float
        Photons for each pixel and frame.
    gradient : float
        Relative rise from the middle of the field to its right edge.
    blob : float
        Relative height of a bright region in the middle of the field.
    flicker : float
        Relative standard deviation of the lamp between frames; it dims emitters and background.
    bleaching_frames : float
        Frames after which the background has fallen to 1 / e; ``inf``: it stays.
    """

    background: float = 10.0
    gradient: float = 0.0
    blob: float = 0.0
    flicker: float = 0.0
    bleaching_frames: float = math.inf

    def __post_init__(self) -> None:
        rules = {"background": _LIGHT, "flicker": _FACTOR, "bleaching_frames": _LIFETIME}
        _check(self, rules | dict.fromkeys(("gradient", "blob"), _CHANGE))


@dataclass(frozen=True, kw_only=True)
class _Simulation:
    """All that a movie is made from; kept in the truth as text."""

    n_frames: int
    shape: tuple[int, int]
    emitters: Emitters
    camera: Camera
    light: Light
    pixel_size: tuple[float, float]
    seed: int

    def scene(self) -> kernel.Scene:
        """Say the same to kernels."""
        return kernel.Scene(_field(self), _molecules(self), _glow(self.light), _sensor(self.camera))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def _from_json(text: str) -> _Simulation:
    parts: dict[str, Any] = _tuples(json.loads(text))
    for name, kind in (("emitters", Emitters), ("camera", Camera), ("light", Light)):
        parts[name] = kind(**_tuples(parts[name]))
    return _Simulation(**parts)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Pairs back from the lists that json makes of them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _field(simulation: _Simulation) -> kernel.Field:
    key = np.random.SeedSequence(simulation.seed).generate_state(2, np.uint32)
    return kernel.Field(int(key[0]), int(key[1]), *simulation.shape, *simulation.pixel_size)


def _molecules(simulation: _Simulation) -> kernel.Molecules:
    emitters = simulation.emitters
    count = emitters.number
    sigma_x, sigma_y = pair("sigma", emitters.sigma)
    return kernel.Molecules(
        number=round(emitters.density * _area(simulation)) if count is None else count,
        photons=float(emitters.photons),
        exponential=bool(emitters.exponential),
        on_frames=float(emitters.on_frames),
        off_frames=float(emitters.off_frames),
        bleaching_frames=float(emitters.bleaching_frames),
        sigma_x=sigma_x,
        sigma_y=sigma_y,
        theta=float(emitters.theta),
        depth=float(emitters.depth),
        astigmatism=float(emitters.astigmatism),
        focal_depth=float(emitters.focal_depth),
        drift_y=float(emitters.drift[0]),
        drift_x=float(emitters.drift[1]),
    )


def _glow(light: Light) -> kernel.Glow:
    return kernel.Glow(*(float(getattr(light, f.name)) for f in fields(light)))


def _sensor(camera: Camera) -> kernel.Sensor:
    names = [n for n in kernel.Sensor._fields if n not in ("em_gain", "noise")]
    numbers = {n: float(getattr(camera, n)) for n in names}
    return kernel.Sensor(**numbers, em_gain=float(camera.em_gain or 0.0), noise=bool(camera.noise))


def simulate_movie(
    n_frames: int,
    shape: tuple[int, int] = (128, 128),
    *,
    emitters: Emitters = Emitters(),
    camera: Camera = Camera(),
    light: Light = Light(),
    pixel_size: float | tuple[float, float] = 100.0,
    seed: int = 0,
    chunks: ChunksLike = None,
) -> tuple[xr.DataArray, xr.Dataset]:
    """Simulate a single-molecule movie of any length, lazily, with its truth.

    Expected photons are ``background + sum(photons * PSF)`` with the PSF a Gaussian integrated over
    each pixel; the camera turns them into adu (see `Camera`). Every random number belongs to one
    pixel or one emitter in one frame, so frames do not depend on the chunks, nor on the length of
    the movie, and none has to be made before another.

    Parameters
    ----------
    n_frames : int
        Number of frames, at most 2**32.
    shape : (int, int)
        Rows and columns, at most 65536 each.
    emitters : Emitters
        Density, brightness, blinking, width, drift.
    camera : Camera
        Gain, offset, noise, maps, EMCCD register.
    light : Light
        Background, gradient, flicker, bleaching.
    pixel_size : float or (y, x)
        Width of a pixel in the sample, nm.
    seed : int
        Same seed, same movie.
    chunks : int, (frame, y, x), mapping or "auto", optional
        As in `open_movie`. By default whole frames, as many as fit 64 MiB but no more than 200.

    Returns
    -------
    movie : xr.DataArray
        Shape (n_frames, *shape), dims (frame, y, x), uint16, adu, lazy.
    truth : xr.Dataset
        Maps and traces are lazy.
        ``gain`` (y, x) electron / adu, before the register of an EMCCD; ``mean_gain`` () without
        the spread; ``offset`` (y, x) adu; ``variance`` (y, x) adu2, without the 1/12 of rounding;
        ``quantum_efficiency`` (); ``excess_noise`` (), so that the variance of a pixel is
        ``variance + excess_noise * (level - offset) / gain``; ``background`` (y, x) photon / pix
        of a fresh sample under a steady lamp; its factors ``flicker`` and ``bleaching`` (frame);
        ``drift_y`` and ``drift_x`` (frame) nm; ``emitter_y``, ``emitter_x`` and ``emitter_z``
        (emitter) nm in frame 0 (pixel ``i`` is centred at ``i * pixel_size``); ``sigma_x`` and
        ``sigma_y`` nm, () or (emitter) if the emitters have depth; ``theta`` () degree;
        ``on_fraction`` ().

    Raises
    ------
    ParameterError, PixelSizeError
        A size or a parameter that cannot be.

    See Also
    --------
    truth_table : The localizations that are on in some frames.
    expected_photons : The movie without its camera.

    Examples
    --------
    >>> movie, truth = simulate_movie(1_000_000, (512, 512), seed=1)
    >>> movie.sizes
    Frozen({'frame': 1000000, 'y': 512, 'x': 512})
    >>> int(movie[123_456, 100, 200].compute()) > 100
    True
    """
    simulation = _simulation(n_frames, shape, emitters, camera, light, pixel_size, seed)
    sizes = _chunks(chunks, (simulation.n_frames, *simulation.shape))
    data = blocks(kernel.movie_frames, sizes, "u2", simulation.scene(), name="simulate")
    movie = _on_sensor(data, simulation, "movie", "adu")
    return movie, _truth(simulation, sizes)


def expected_photons(truth: xr.Dataset, *, chunks: ChunksLike = None) -> xr.DataArray:
    """Photons that fall on each pixel on average: the movie without its camera.

    Parameters
    ----------
    truth : xr.Dataset
        From `simulate_movie`.
    chunks : int, (frame, y, x), mapping or "auto", optional
        As in `simulate_movie`.

    Returns
    -------
    xr.DataArray
        Dims (frame, y, x), float64, photon / pix, lazy.

    Raises
    ------
    TableError
        If `truth` does not come from `simulate_movie`.
    ParameterError
        If the chunks do not fit.
    """
    simulation = _simulation_of(truth)
    sizes = _chunks(chunks, (simulation.n_frames, *simulation.shape), itemsize=8)
    data = blocks(kernel.expected_frames, sizes, "f8", simulation.scene(), name="expected-photons")
    return _on_sensor(data, simulation, "expected_photons", "photon / pix")


def truth_table(truth: xr.Dataset, frames: slice = slice(None)) -> pd.DataFrame:
    """List the emitters that are on in some frames and lie on the sensor, as a perfect fit would.

    Parameters
    ----------
    truth : xr.Dataset
        From `simulate_movie`.
    frames : slice
        Frames counted from 0, as in ``range(n_frames)[frames]``. Memory grows with their number.

    Returns
    -------
    pd.DataFrame
        One row for each emitter and frame, ordered by both: ``frame``, ``x`` and ``y`` (nm, drift
        included), ``z`` (nm, if the emitters have depth), ``photons`` expected in this frame,
        ``background`` (photon / pix) of the pixel it is in, ``emitter``.

    Raises
    ------
    TableError
        If `truth` does not come from `simulate_movie`.
    ParameterError
        If `frames` is no slice.
    """
    simulation = _simulation_of(truth)
    scene = simulation.scene()
    wanted = _frames_of(frames, simulation.n_frames)
    span = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
    height, width = simulation.shape
    rows, _ = kernel.emissions((span, (0, height), (0, width)), scene)
    table = _table(rows, span, simulation)
    table = table[table["frame"].isin(wanted)] if abs(wanted.step) > 1 else table
    return table.reset_index(drop=True)


def _table(rows: kernel.Floats, span: tuple[int, int], simulation: _Simulation) -> pd.DataFrame:
    scene = simulation.scene()
    row = np.floor(rows[:, kernel.Y] / simulation.pixel_size[0] + 0.5).astype(np.int64)
    column = np.floor(rows[:, kernel.X] / simulation.pixel_size[1] + 0.5).astype(np.int64)
    height, width = simulation.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    rows, row, column = rows[inside], row[inside], column[inside]
    frame = rows[:, kernel.FRAME].astype(np.int64)
    image = kernel.background_image(((0, height), (0, width)), scene)
    fade = kernel.fading((span,), scene)
    columns = {"frame": frame, "x": rows[:, kernel.X], "y": rows[:, kernel.Y]}
    if simulation.emitters.depth:
        columns["z"] = rows[:, kernel.Z]
    columns["photons"] = rows[:, kernel.PHOTONS]
    columns["background"] = image[row, column] * fade[frame - span[0]]
    columns["emitter"] = rows[:, kernel.EMITTER].astype(np.int64)
    return pd.DataFrame(columns)


def _frames_of(frames: Any, count: int) -> range:
    try:
        chosen = range(count)[frames]
    except (TypeError, ValueError, IndexError):
        chosen = None
    if not isinstance(chosen, range):
        raise ParameterError(
            "frames",
            got=shown(frames),
            wanted="a slice of whole numbers",
            fix="frames=slice(0, 100)",
        )
    return chosen


def _simulation_of(truth: xr.Dataset) -> _Simulation:
    try:
        return _from_json(truth.attrs["simulation"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TableError(
            "truth",
            got=f"{type(truth).__name__} without the parameters of a simulation in its attrs",
            wanted="the second result of simulate_movie",
            fix="movie, truth = simulate_movie(...)",
        ) from error


def _simulation(
    n_frames: int,
    shape: tuple[int, int],
    emitters: Emitters,
    camera: Camera,
    light: Light,
    pixel_size: float | tuple[float, float],
    seed: int,
) -> _Simulation:
    parts = (("emitters", emitters, Emitters), ("camera", camera, Camera), ("light", light, Light))
    for name, part, kind in parts:
        if not isinstance(part, kind):
            fix = f"{name}={kind.__name__}(), imported from smlm_dask"
            raise ParameterError(name, got=shown(part), wanted=f"{kind.__name__}(...)", fix=fix)
    simulation = _Simulation(
        n_frames=whole_number("n_frames", n_frames, at_least=1, at_most=_MOST, fix="n_frames=1000"),
        shape=_shape(shape),
        emitters=emitters,
        camera=camera,
        light=light,
        pixel_size=pixel_sizes(pixel_size),
        seed=whole_number("seed", seed, at_least=0, fix="seed=0"),
    )
    _check_density(simulation)
    return simulation


def _check_density(simulation: _Simulation) -> None:
    most = _MOST / _area(simulation)
    if simulation.emitters.number is None:
        number("Emitters.density", simulation.emitters.density, at_most=most, fix="density=1.0")


def _area(simulation: _Simulation) -> float:
    """Of the field, um2."""
    return math.prod(simulation.shape) * math.prod(simulation.pixel_size) * 1e-6


def _shape(shape: Any) -> tuple[int, int]:
    height, width = pair("shape", shape, alone=False, fix="shape=(128, 128)")
    for size in shape:
        whole_number("shape", size, at_least=1, at_most=2**16, fix="shape=(128, 128)")
    return int(height), int(width)


def _chunks(
    chunks: ChunksLike, sizes: tuple[int, int, int], itemsize: int = 2
) -> tuple[Sizes, Sizes, Sizes]:
    fit = min(_CHUNK_FRAMES, max(1, _CHUNK_BYTES // (sizes[1] * sizes[2] * itemsize)))
    default = {"frame": fit, "y": -1, "x": -1}
    lengths = dict(zip(DIMS, sizes, strict=True))
    wanted = default | chunk_sizes("auto" if chunks is None else chunks, lengths, default)
    frame, y, x = (_axis(wanted[name], lengths[name]) for name in DIMS)
    return frame, y, x


def _axis(wanted: int | Sequence[int], size: int) -> Sizes:
    """Sizes of the chunks of an axis."""
    if isinstance(wanted, Sequence):
        return tuple(int(n) for n in wanted)
    if wanted == -1:
        return (size,)
    full, rest = divmod(size, int(wanted))
    return (int(wanted),) * full + ((rest,) if rest else ())


def _sensor_coords(simulation: _Simulation) -> dict[str, Any]:
    coords: dict[str, Any] = {
        "frame": np.arange(simulation.n_frames),
        "y": np.arange(simulation.shape[0]),
        "x": np.arange(simulation.shape[1]),
        "pixel_size_y": ((), simulation.pixel_size[0], {"units": "nm"}),
        "pixel_size_x": ((), simulation.pixel_size[1], {"units": "nm"}),
    }
    step = simulation.camera.frame_time
    if step is not None:
        coords["time"] = ("frame", step * coords["frame"], {"units": "s"})
    return coords


def _on_sensor(data: Any, simulation: _Simulation, name: str, units: str) -> xr.DataArray:
    coords = _sensor_coords(simulation)
    return xr.DataArray(data, coords, ("frame", "y", "x"), name, {"units": units})


def _truth(simulation: _Simulation, sizes: tuple[Sizes, Sizes, Sizes]) -> xr.Dataset:
    scene = simulation.scene()
    variables = _maps(scene, sizes[1:]) | _traces(scene, simulation) | _emitters(scene)
    variables |= _constants(simulation)
    coords = _sensor_coords(simulation)
    attrs = {"simulation": simulation.to_json()}
    return xr.Dataset(variables, coords, attrs)


def _maps(scene: kernel.Scene, sizes: tuple[Sizes, ...]) -> dict[str, Any]:
    def lazy(function: Callable[..., Any], dtype: str, units: str) -> tuple[Any, ...]:
        data = blocks(function, sizes, dtype, scene, name=function.__name__)
        return ("y", "x"), data, {"units": units}

    return {
        "gain": lazy(kernel.gain_map, "f4", "electron / adu"),
        "offset": lazy(kernel.offset_map, "f4", "adu"),
        "variance": lazy(kernel.variance_map, "f4", "adu2"),
        "background": lazy(kernel.background_image, "f8", "photon / pix"),
    }


def _traces(scene: kernel.Scene, simulation: _Simulation) -> dict[str, Any]:
    sizes = (_axis(_TRACE, simulation.n_frames),)

    def lazy(function: Callable[..., Any], argument: Any, units: str) -> tuple[Any, ...]:
        return (
            "frame",
            blocks(function, sizes, "f8", argument, name=function.__name__),
            {"units": units},
        )

    return {
        "flicker": lazy(kernel.flicker, scene, "1"),
        "bleaching": lazy(kernel.bleaching, scene, "1"),
        "drift_y": lazy(kernel.drift, scene.molecules.drift_y, "nm"),
        "drift_x": lazy(kernel.drift, scene.molecules.drift_x, "nm"),
    }


def _emitters(scene: kernel.Scene) -> dict[str, Any]:
    molecules = scene.molecules
    sizes = (_axis(_TRACE, molecules.number) or (0,),)
    out: dict[str, Any] = {}
    for row, name in enumerate(("emitter_y", "emitter_x", "emitter_z", "sigma_x", "sigma_y")):
        data = blocks(kernel.emitter_places, sizes, "f8", scene, row, name=name)
        out[name] = ("emitter", data, {"units": "nm"})
    if molecules.depth == 0.0:
        out["sigma_x"] = ((), molecules.sigma_x, {"units": "nm"})
        out["sigma_y"] = ((), molecules.sigma_y, {"units": "nm"})
    return out | {"theta": ((), molecules.theta, {"units": "degree"})}


def _constants(simulation: _Simulation) -> dict[str, Any]:
    camera, emitters = simulation.camera, simulation.emitters
    share = emitters.on_frames / (emitters.on_frames + emitters.off_frames)
    gain = camera.gain / (camera.em_gain or 1.0)
    return {
        "mean_gain": ((), gain, {"units": "electron / adu"}),
        "quantum_efficiency": ((), camera.quantum_efficiency, {"units": "1"}),
        "excess_noise": ((), 1.0 if camera.em_gain is None else 2.0, {"units": "1"}),
        "on_fraction": ((), share, {"units": "1"}),
    }
