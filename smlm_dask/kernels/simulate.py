"""Frames of a simulated movie, any of them at any time.

Every random number is a pure function of (seed, purpose, place, frame): the counter-based generator
Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405) has no state to carry, so a block of
frames or a tile of a sensor is made alone and still equals the same pixels cut out of the whole
movie, bit for bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

Span: TypeAlias = tuple[int, int]
Tile: TypeAlias = tuple[Span, Span]
Pair: TypeAlias = tuple[float, float]
Triple: TypeAlias = tuple[float, float, float]
Location: TypeAlias = tuple[Span, Span, Span]
Floats: TypeAlias = npt.NDArray[np.float64]
Singles: TypeAlias = npt.NDArray[np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Adu: TypeAlias = npt.NDArray[np.uint16]

# Purposes: the last word of every counter, so that no two uses share a number.
_PLACE, _BLINK, _NOISE, _REGISTER, _LIGHT, _SENSOR = range(1, 7)

# Columns of an emission.
FRAME, EMITTER, Y, X, Z, PHOTONS = range(6)

# An image of an emitter ends here: 6e-7 of its light is lost per axis.
_REACH = 5.0
# Below this mean the Poisson distribution is searched upwards: faster, and rejection needs >= 10.
_SEARCH = 10.0
# Chain correlations below one rounding error are no correlations.
_FORGOTTEN = 2.0**-53
_ROOT2 = math.sqrt(2.0)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)

_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_MULTIPLY_0 = np.uint64(0xD2511F53)
_MULTIPLY_1 = np.uint64(0xCD9E8D57)
_BUMP_0 = np.uint64(0x9E3779B9)
_BUMP_1 = np.uint64(0xBB67AE85)


class Field(NamedTuple):
    """The random key, the sensor in pixels and its pixels in nm."""

    key_0: int
    key_1: int
    height: int
    width: int
    pixel_y: float
    pixel_x: float


class Molecules(NamedTuple):
    """Emitters: how many, how bright, how they blink, their widths (nm) and drift (nm / frame)."""

    number: int
    photons: float
    exponential: bool
    on_frames: float
    off_frames: float
    bleaching_frames: float
    sigma_x: float
    sigma_y: float
    theta: float
    depth: float
    astigmatism: float
    focal_depth: float
    drift_y: float
    drift_x: float


class Glow(NamedTuple):
    """Light that is not an emitter."""

    background: float
    gradient: float
    blob: float
    flicker: float
    bleaching_frames: float


class Sensor(NamedTuple):
    """The camera; ``em_gain`` 0 means no multiplication register."""

    gain: float
    offset: float
    read_noise: float
    quantum_efficiency: float
    em_gain: float
    offset_spread: float
    gain_spread: float
    hot_fraction: float
    hot_noise: float
    noise: bool


class Scene(NamedTuple):
    """All that a block of frames is made from."""

    field: Field
    molecules: Molecules
    glow: Glow
    sensor: Sensor


# ------------------------------------------------------------------ Random numbers


@numba.njit(nogil=True, cache=True)
def philox(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Four 32-bit random words of a 128-bit counter and a 64-bit key (all as uint64)."""
    for _ in range(10):
        product_0 = _MULTIPLY_0 * c0
        product_1 = _MULTIPLY_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _32) ^ c1 ^ k0,
            product_1 & _LOW,
            (product_0 >> _32) ^ c3 ^ k1,
            product_0 & _LOW,
        )
        k0 = (k0 + _BUMP_0) & _LOW
        k1 = (k1 + _BUMP_1) & _LOW
    return c0, c1, c2, c3


@numba.njit(nogil=True, cache=True)
def _draw(a: int, b: int, c: int, purpose: int, field: Field) -> tuple[float, float, float, float]:
    """Four uniforms in (0, 1), never 0 nor 1."""
    w0, w1, w2, w3 = philox(
        np.uint64(a) & _LOW,
        np.uint64(b) & _LOW,
        np.uint64(c) & _LOW,
        np.uint64(purpose),
        np.uint64(field.key_0),
        np.uint64(field.key_1),
    )
    return _unit(w0), _unit(w1), _unit(w2), _unit(w3)


@numba.njit(nogil=True, cache=True)
def _unit(word: np.uint64) -> float:
    """Map a 32-bit word into (0, 1); processors convert signed integers faster than unsigned."""
    return (np.int64(word) + 0.5) * 2.0**-32


@numba.njit(nogil=True, cache=True)
def _normal(u: float, v: float) -> float:
    """Box-Muller."""
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


@numba.njit(nogil=True, cache=True)
def _poisson_search(mean: float, u: float) -> int:
    """Inverse of the distribution function, from zero upwards."""
    term = math.exp(-mean)
    total = term
    k = 0
    while u > total and k < 200:
        k += 1
        term *= mean / k
        total += term
    return k


@numba.njit(nogil=True, cache=True)
def _poisson_reject(
    mean: float, u: float, v: float, y: int, x: int, frame: int, field: Field
) -> int:
    """Poisson by transformed rejection (Hoermann 1993, doi:10.1016/0167-6687(93)90997-4)."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    trial = 0
    while True:
        shifted = u - 0.5
        side = 0.5 - abs(shifted)
        k = math.floor((2.0 * a / side + b) * shifted + mean + 0.43)
        if side >= 0.07 and v <= squeeze:
            return int(k)
        if k >= 0.0 and (side >= 0.013 or v <= side):
            left = math.log(v * inverse_alpha / (a / (side * side) + b))
            if left <= k * math.log(mean) - mean - math.lgamma(k + 1.0):
                return int(k)
        trial += 1
        u, v, _, _ = _draw((y << 16) | x, frame, trial, _NOISE, field)


@numba.njit(nogil=True, cache=True)
def _poisson(mean: float, u: float, v: float, y: int, x: int, frame: int, field: Field) -> int:
    """Poisson of any mean; ``u`` and ``v`` are the first pair of the pixel's uniforms."""
    if mean < _SEARCH:
        return _poisson_search(mean, u)
    return _poisson_reject(mean, u, v, y, x, frame, field)


@numba.njit(nogil=True, cache=True)
def _multiply(electrons: int, em_gain: float, y: int, x: int, frame: int, field: Field) -> float:
    """Electrons that leave a multiplication register: Gamma(electrons, em_gain).

    Marsaglia and Tsang 2000, doi:10.1145/358407.358414.
    """
    if electrons == 0:
        return 0.0
    d = electrons - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    trial = 0
    while True:
        u0, u1, u2, _ = _draw((y << 16) | x, frame, trial, _REGISTER, field)
        z = _normal(u0, u1)
        v = (1.0 + c * z) ** 3
        if v > 0.0 and math.log(u2) < 0.5 * z * z + d - d * v + d * math.log(v):
            return d * v * em_gain
        trial += 1


# ------------------------------------------------------------------ Light


@numba.njit(nogil=True, cache=True)
def _flicker(frame: int, glow: Glow, field: Field) -> float:
    """Relative illumination of one frame."""
    if glow.flicker == 0.0:
        return 1.0
    u, v, _, _ = _draw(frame, frame >> 32, 0, _LIGHT, field)
    return max(0.0, 1.0 + glow.flicker * _normal(u, v))


@numba.njit(nogil=True, cache=True)
def _flickers(start: int, stop: int, glow: Glow, field: Field) -> Floats:
    """Relative illumination of frames ``start`` to ``stop``: shape (frame,)."""
    out = np.empty(stop - start)
    for frame in range(start, stop):
        out[frame - start] = _flicker(frame, glow, field)
    return out


def flicker(location: tuple[Span], scene: Scene) -> Floats:
    """Illumination of these frames relative to their mean: shape (frame,)."""
    light: Floats = _flickers(*location[0], scene.glow, scene.field)
    return light


def bleaching(location: tuple[Span], scene: Scene) -> Floats:
    """Background left in these frames, of 1 in frame 0: shape (frame,)."""
    frames = np.arange(*location[0], dtype=np.float64)
    left: Floats = np.exp(-frames / scene.glow.bleaching_frames)
    return left


def fading(location: tuple[Span], scene: Scene) -> Floats:
    """Background of these frames relative to a fresh, steadily lit sample: shape (frame,)."""
    return flicker(location, scene) * bleaching(location, scene)


def drift(location: tuple[Span], speed: float) -> Floats:
    """Way of the sample since frame 0: shape (frame,), nm."""
    way: Floats = speed * np.arange(*location[0], dtype=np.float64)
    return way


def background_image(tile: Tile, scene: Scene) -> Floats:
    """Background of a fresh, steadily lit sample: shape (y, x), photon / pix."""
    field, glow = scene.field, scene.glow
    y, x = _unit_axis(field.height), _unit_axis(field.width)
    # Of whole axes, cut afterwards: vector units may round the ends of an array otherwise.
    bell_y, bell_x = np.exp(-(y * y) / 0.18), np.exp(-(x * x) / 0.18)
    rows, columns = slice(*tile[0]), slice(*tile[1])
    blob = glow.blob * bell_y[rows, None] * bell_x[None, columns]
    rise = glow.gradient * x[None, columns]
    image: Floats = glow.background * np.maximum(1.0 + rise + blob, 0.0)
    return image


def _unit_axis(size: int) -> Floats:
    """Spread -1 at the first pixel of the sensor to +1 at its last; 0 if it is the only one."""
    axis: Floats = (2.0 * np.arange(size) - (size - 1)) / max(size - 1, 1)
    return axis


# ------------------------------------------------------------------ Emitters


@numba.njit(nogil=True, cache=True)
def _place(emitter: int, molecules: Molecules, field: Field) -> tuple[float, float, float]:
    """Where an emitter sits in frame 0, nm: pixel ``i`` is centred at ``i * pixel``."""
    u, v, w, _ = _draw(emitter, 0, 0, _PLACE, field)
    y = (u * field.height - 0.5) * field.pixel_y
    x = (v * field.width - 0.5) * field.pixel_x
    return y, x, (w - 0.5) * molecules.depth


@numba.njit(nogil=True, cache=True)
def _widths(z: float, molecules: Molecules) -> tuple[float, float]:
    """Astigmatic widths at height ``z``: (sigma_x, sigma_y), nm."""
    if molecules.depth == 0.0:
        return molecules.sigma_x, molecules.sigma_y
    above = (z - molecules.astigmatism) / molecules.focal_depth
    below = (z + molecules.astigmatism) / molecules.focal_depth
    return (
        molecules.sigma_x * math.sqrt(1.0 + above * above),
        molecules.sigma_y * math.sqrt(1.0 + below * below),
    )


@numba.njit(nogil=True, cache=True)
def _places(start: int, stop: int, molecules: Molecules, field: Field) -> Floats:
    """Emitters ``start`` to ``stop``: (5, emitter) of y, x, z, sigma_x, sigma_y in nm."""
    out = np.empty((5, stop - start))
    for emitter in range(start, stop):
        y, x, z = _place(emitter, molecules, field)
        sigma_x, sigma_y = _widths(z, molecules)
        column = emitter - start
        out[0, column], out[1, column], out[2, column] = y, x, z
        out[3, column], out[4, column] = sigma_x, sigma_y
    return out


def emitter_places(location: tuple[Span], scene: Scene, row: int) -> Floats:
    """One of y, x, z (in frame 0), sigma_x, sigma_y of these emitters: shape (emitter,), nm."""
    places: Floats = _places(*location[0], scene.molecules, scene.field)
    return np.ascontiguousarray(places[row])


@numba.njit(nogil=True, cache=True)
def bridges(on_frames: float, off_frames: float) -> Floats:
    """Probability of being on half-way between two known frames: (level, before, after).

    Level ``l`` is the middle of ``2 ** (l + 1)`` frames. A chain with geometric dwell times forgets
    its state by a factor ``rho`` per frame; the levels end where that factor is lost in rounding,
    and states so far apart are drawn independently.
    """
    share = on_frames / (on_frames + off_frames)
    rho = 1.0 - 1.0 / on_frames - 1.0 / off_frames
    levels = 0
    while abs(rho) ** (2.0**levels) > _FORGOTTEN:
        levels += 1
    out = np.zeros((levels, 2, 2))
    for level in range(levels):
        half = rho ** (2.0**level)
        for before in range(2):
            for after in range(2):
                to_on = _pass(before, 1, share, half) * _pass(1, after, share, half)
                to_off = _pass(before, 0, share, half) * _pass(0, after, share, half)
                if to_on + to_off > 0.0:
                    out[level, before, after] = to_on / (to_on + to_off)
    return out


@numba.njit(nogil=True, cache=True)
def _pass(before: int, after: int, share: float, decay: float) -> float:
    """Probability of state ``after`` when memory of state ``before`` has decayed to ``decay``."""
    on = share + (before - share) * decay
    return max(on, 0.0) if after == 1 else max(1.0 - on, 0.0)


@numba.njit(nogil=True, cache=True)
def _blink(
    emitter: int,
    start: int,
    stop: int,
    share: float,
    table: Floats,
    field: Field,
    state: Bytes,
    spare: Bytes,
) -> Bytes:
    """States of an emitter, 1 on and 0 off, in one of the two scratch arrays.

    The chain is not run from frame 0: its states at multiples of ``2 ** levels`` are drawn first,
    then the middles between known states, conditional on both, down to single frames. A frame is
    one node of this tree and has one random number, so any window of frames needs only its own
    and one path to each end.
    """
    levels = table.shape[0]
    last = stop - 1
    first = start >> levels
    for j in range(first, -((-last) >> levels) + 1):
        state[j - first] = _uniform(emitter, j << levels, field) < share
    for level in range(levels - 1, -1, -1):
        finer = start >> level
        for j in range(finer, -((-last) >> level) + 1):
            half = j >> 1
            if j & 1:
                on = table[level, state[half - first], state[half + 1 - first]]
                spare[j - finer] = _uniform(emitter, j << level, field) < on
            else:
                spare[j - finer] = state[half - first]
        first = finer
        state, spare = spare, state
    return state


@numba.njit(nogil=True, cache=True)
def _uniform(emitter: int, frame: int, field: Field) -> float:
    """Draw the number that decides the state of an emitter in a frame."""
    return _draw(emitter, frame, frame >> 32, _BLINK, field)[0]


@numba.njit(nogil=True, cache=True)
def _lifetime(emitter: int, molecules: Molecules, field: Field) -> float:
    """Frames until an emitter has bleached for good."""
    if molecules.bleaching_frames == math.inf:
        return math.inf
    return -molecules.bleaching_frames * math.log(_draw(emitter, 0, 0, _PLACE, field)[3])


@numba.njit(nogil=True, cache=True)
def _photons(emitter: int, frame: int, molecules: Molecules, field: Field) -> float:
    """Photons of an emitter that is on, before flicker."""
    if not molecules.exponential:
        return molecules.photons
    return -molecules.photons * math.log(_draw(emitter, frame, frame >> 32, _BLINK, field)[1])


@numba.njit(nogil=True, cache=True)
def _reach(sigma_x: float, sigma_y: float, field: Field) -> tuple[int, int]:
    """Half height and half width of an emitter's image."""
    reach = _REACH * max(sigma_x, sigma_y)
    return math.ceil(reach / field.pixel_y) + 1, math.ceil(reach / field.pixel_x) + 1


@numba.njit(nogil=True, cache=True)
def _visible(at: float, drift: float, frames: Span, pixel: float, pixels: Span, reach: int) -> bool:
    """Whether an emitter may touch these pixels of an axis in some frame."""
    a = (at + drift * frames[0]) / pixel
    b = (at + drift * (frames[1] - 1)) / pixel
    return max(a, b) > pixels[0] - reach - 1 and min(a, b) < pixels[1] + reach


@numba.njit(nogil=True, cache=True)
def _near(emitter: int, location: Location, molecules: Molecules, field: Field) -> bool:
    """Whether the image of an emitter may touch a location."""
    frames, rows, columns = location
    y, x, z = _place(emitter, molecules, field)
    sigma_x, sigma_y = _widths(z, molecules)
    ry, rx = _reach(sigma_x, sigma_y, field)
    return _visible(y, molecules.drift_y, frames, field.pixel_y, rows, ry) and _visible(
        x, molecules.drift_x, frames, field.pixel_x, columns, rx
    )


@numba.njit(nogil=True, cache=True)
def _emit(
    emitter: int, frame: int, molecules: Molecules, glow: Glow, field: Field, row: Floats
) -> None:
    """Write one emission."""
    y, x, z = _place(emitter, molecules, field)
    row[FRAME] = frame
    row[EMITTER] = emitter
    row[Y] = y + molecules.drift_y * frame
    row[X] = x + molecules.drift_x * frame
    row[Z] = z
    row[PHOTONS] = _photons(emitter, frame, molecules, field) * _flicker(frame, glow, field)


@numba.njit(nogil=True, cache=True)
def _longer(rows: Floats, filled: int, more: int) -> Floats:
    """Copy the filled rows into an array of ``more`` rows more."""
    out = np.empty((len(rows) + more, rows.shape[1]))
    for i in range(filled):
        for column in range(rows.shape[1]):
            out[i, column] = rows[i, column]
    return out


@numba.njit(nogil=True, cache=True)
def _emissions(location: Location, molecules: Molecules, glow: Glow, field: Field) -> Floats:
    """Rows of ``emissions``, by emitter."""
    start, stop = location[0]
    always = molecules.off_frames == 0.0
    share = molecules.on_frames / (molecules.on_frames + molecules.off_frames)
    table = np.zeros((0, 2, 2)) if always else bridges(molecules.on_frames, molecules.off_frames)
    state = np.ones(stop - start + 2, np.uint8)
    spare = np.ones(stop - start + 2, np.uint8)
    rows = np.empty((1024, 6))
    filled = 0
    for emitter in range(molecules.number):
        if not _near(emitter, location, molecules, field):
            continue
        on = state
        if not always:
            on = _blink(emitter, start, stop, share, table, field, state, spare)
        end = min(float(stop), _lifetime(emitter, molecules, field))
        if filled + stop - start > len(rows):
            rows = _longer(rows, filled, len(rows) + stop - start)
        for frame in range(start, stop):
            if on[frame - start] and frame < end:
                _emit(emitter, frame, molecules, glow, field, rows[filled])
                filled += 1
    return rows[:filled]


@numba.njit(nogil=True, cache=True)
def _by_frame(rows: Floats, start: int, stop: int) -> tuple[Floats, Indices]:
    """Rows in the order of their frames, emitters still ascending, and where each frame begins."""
    begin = np.zeros(stop - start + 1, np.int64)
    for i in range(len(rows)):
        begin[int(rows[i, FRAME]) - start + 1] += 1
    for f in range(stop - start):
        begin[f + 1] += begin[f]
    place = begin.copy()
    out = np.empty(rows.shape)
    for i in range(len(rows)):
        frame = int(rows[i, FRAME]) - start
        for column in range(rows.shape[1]):
            out[place[frame], column] = rows[i, column]
        place[frame] += 1
    return out, begin


def emissions(location: Location, scene: Scene) -> tuple[Floats, Indices]:
    """Who shines in these frames and may reach these pixels.

    Returns rows (emission, 6) with columns FRAME, EMITTER, Y, X, Z (nm, drift included) and
    PHOTONS, ordered by frame and then by emitter, and the first row of each frame, closed by the
    number of rows: shape (frame + 1,).
    """
    start, stop = location[0]
    if start == stop:
        return np.empty((0, 6)), np.zeros(1, np.int64)
    rows = _emissions(location, scene.molecules, scene.glow, scene.field)
    ordered: tuple[Floats, Indices] = _by_frame(rows, start, stop)
    return ordered


# ------------------------------------------------------------------ Images of emitters


@numba.njit(nogil=True, cache=True)
def _bell(edge: float) -> float:
    """Half the error function: differences of it are integrals of a unit Gaussian."""
    return 0.5 * math.erf(edge / _ROOT2)


@numba.njit(nogil=True, cache=True)
def _add_upright(
    image: Floats, corner: Span, at: Pair, box: Tile, sigma: Pair, photons: float
) -> None:
    """Add an integrated Gaussian whose axes are those of the pixels; lengths in pixels."""
    (j0, j1), (i0, i1) = box
    row = np.empty(i1 - i0)
    for i in range(i0, i1):
        row[i - i0] = _bell((i + 0.5 - at[1]) / sigma[1]) - _bell((i - 0.5 - at[1]) / sigma[1])
    for j in range(j0, j1):
        part = _bell((j + 0.5 - at[0]) / sigma[0]) - _bell((j - 0.5 - at[0]) / sigma[0])
        for i in range(i0, i1):
            image[j - corner[0], i - corner[1]] += photons * part * row[i - i0]


@numba.njit(nogil=True, cache=True)
def _add_tilted(
    image: Floats, corner: Span, at: Pair, box: Tile, spread: Triple, photons: float
) -> None:
    """Add an integrated Gaussian of covariance ``spread`` (yy, xx, yx): lengths in pixels.

    Along x the integral is exact at any height (error functions); across the height of a pixel it
    is a sum over five Gauss-Legendre nodes, exact to 1e-9 of the light for widths of half a pixel.
    """
    (j0, j1), (i0, i1) = box
    tilt = spread[2] / spread[0]
    narrow = math.sqrt(spread[1] - spread[2] * tilt)
    scale = photons / math.sqrt(2.0 * math.pi * spread[0])
    for j in range(j0, j1):
        for n in range(_NODES.size):
            dy = j + 0.5 * _NODES[n] - at[0]
            part = 0.5 * _WEIGHTS[n] * scale * math.exp(-0.5 * dy * dy / spread[0])
            middle = at[1] + tilt * dy
            near = _bell((i0 - 0.5 - middle) / narrow)
            for i in range(i0, i1):
                far = _bell((i + 0.5 - middle) / narrow)
                image[j - corner[0], i - corner[1]] += part * (far - near)
                near = far


@numba.njit(nogil=True, cache=True)
def _box(at: Pair, reach: tuple[int, int], tile: Tile) -> Tile:
    """Pixels of a tile that an emitter reaches, possibly none."""
    (y0, y1), (x0, x1) = tile
    y, x = math.floor(at[0] + 0.5), math.floor(at[1] + 0.5)
    j0, j1 = max(y0, y - reach[0]), min(y1, y + reach[0] + 1)
    i0, i1 = max(x0, x - reach[1]), min(x1, x + reach[1] + 1)
    return (j0, max(j0, j1)), (i0, max(i0, i1))


@numba.njit(nogil=True, cache=True)
def add_emitters(
    image: Floats, rows: Floats, tile: Tile, molecules: Molecules, field: Field
) -> None:
    """Add the emissions of one frame to a tile of expected photons, (y, x).

    In the order of the rows: the sum of a pixel then does not depend on the tile.
    """
    corner = (tile[0][0], tile[1][0])
    tilted = molecules.theta != 0.0 and molecules.sigma_x != molecules.sigma_y
    tilted = tilted or (molecules.theta != 0.0 and molecules.depth != 0.0)
    for n in range(len(rows)):
        sigma_x, sigma_y = _widths(rows[n, Z], molecules)
        at = (rows[n, Y] / field.pixel_y, rows[n, X] / field.pixel_x)
        box = _box(at, _reach(sigma_x, sigma_y, field), tile)
        if tilted:
            spread = _spread(sigma_x, sigma_y, molecules.theta, field)
            _add_tilted(image, corner, at, box, spread, rows[n, PHOTONS])
        else:
            sigma = (sigma_y / field.pixel_y, sigma_x / field.pixel_x)
            _add_upright(image, corner, at, box, sigma, rows[n, PHOTONS])


@numba.njit(nogil=True, cache=True)
def _spread(sigma_x: float, sigma_y: float, theta: float, field: Field) -> Triple:
    """Covariance (yy, xx, yx) in pixels; theta is counter-clockwise on screen, where y is down."""
    c, s = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    vx, vy = sigma_x * sigma_x, sigma_y * sigma_y
    yy = (vx * s * s + vy * c * c) / field.pixel_y**2
    xx = (vx * c * c + vy * s * s) / field.pixel_x**2
    return yy, xx, (vy - vx) * c * s / (field.pixel_y * field.pixel_x)


def expected_frames(location: Location, scene: Scene) -> Floats:
    """Photons that fall on each pixel on average: shape (frame, y, x)."""
    frames, tile = location[0], location[1:]
    background, fade = background_image(tile, scene), fading((frames,), scene)
    rows, begin = emissions(location, scene)
    out = np.empty([b - a for a, b in location])
    _expect_all(tile, rows, begin, background, fade, scene, out)
    return out


@numba.njit(nogil=True, cache=True)
def _expect(
    image: Floats,
    background: Floats,
    fade: float,
    rows: Floats,
    tile: Tile,
    molecules: Molecules,
    field: Field,
) -> None:
    """Write the expected photons of one frame: shape (y, x)."""
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            image[j, i] = background[j, i] * fade
    add_emitters(image, rows, tile, molecules, field)


@numba.njit(nogil=True, cache=True)
def _expect_all(
    tile: Tile,
    rows: Floats,
    begin: Indices,
    background: Floats,
    fade: Floats,
    scene: Scene,
    out: Floats,
) -> None:
    for f in range(len(fade)):
        part = rows[begin[f] : begin[f + 1]]
        _expect(out[f], background, fade[f], part, tile, scene.molecules, scene.field)


# ------------------------------------------------------------------ Camera


@numba.njit(nogil=True, cache=True)
def _camera(tile: Tile, sensor: Sensor, field: Field) -> Singles:
    """Offset (adu), gain behind the register (electron / adu), noise (adu rms): shape (3, y, x)."""
    (y0, y1), (x0, x1) = tile
    out = np.empty((3, y1 - y0, x1 - x0), np.float32)
    for y in range(y0, y1):
        for x in range(x0, x1):
            u, v, hot, _ = _draw((y << 16) | x, 0, 0, _SENSOR, field)
            p, q, _, _ = _draw((y << 16) | x, 0, 1, _SENSOR, field)
            noise = sensor.hot_noise if hot < sensor.hot_fraction else sensor.read_noise
            # A gain below a tenth of its mean is no pixel that anyone sells, and zero divides.
            gain = sensor.gain * max(0.1, 1.0 + sensor.gain_spread * _normal(p, q))
            out[0, y - y0, x - x0] = sensor.offset + sensor.offset_spread * _normal(u, v)
            out[1, y - y0, x - x0] = gain
            out[2, y - y0, x - x0] = noise / gain
    return out


def offset_map(tile: Tile, scene: Scene) -> Singles:
    """Level without light: shape (y, x), adu."""
    return np.ascontiguousarray(_camera(tile, scene.sensor, scene.field)[0])


def gain_map(tile: Tile, scene: Scene) -> Singles:
    """Electrons of the sensor (before a register) for each adu: shape (y, x)."""
    register = scene.sensor.em_gain or 1.0
    gain: Singles = _camera(tile, scene.sensor, scene.field)[1] / np.float32(register)
    return gain


def variance_map(tile: Tile, scene: Scene) -> Singles:
    """Variance without light, rounding to whole adu not included: shape (y, x), adu2."""
    noise: Singles = _camera(tile, scene.sensor, scene.field)[2]
    return noise * noise


@numba.njit(nogil=True, cache=True)
def _electrons(
    photons: float, u: float, v: float, y: int, x: int, frame: int, sensor: Sensor, field: Field
) -> float:
    """Electrons that reach the read-out of a pixel."""
    mean = photons * sensor.quantum_efficiency
    if not sensor.noise:
        return mean * max(sensor.em_gain, 1.0)
    electrons = _poisson(mean, u, v, y, x, frame, field)
    if sensor.em_gain == 0.0:
        return float(electrons)
    return _multiply(electrons, sensor.em_gain, y, x, frame, field)


@numba.njit(nogil=True, cache=True)
def _read(
    photons: Floats, frame: int, tile: Tile, maps: Singles, sensor: Sensor, field: Field, out: Adu
) -> None:
    """Digital counts of one frame of expected photons."""
    (y0, y1), (x0, x1) = tile
    for j in range(y1 - y0):
        for i in range(x1 - x0):
            y, x = y0 + j, x0 + i
            u, v, p, q = _draw((y << 16) | x, frame, 0, _NOISE, field)
            electrons = _electrons(photons[j, i], u, v, y, x, frame, sensor, field)
            level = electrons / maps[1, j, i] + maps[0, j, i]
            if sensor.noise:
                level += maps[2, j, i] * _normal(p, q)
            out[j, i] = np.uint16(min(max(np.rint(level), 0.0), 65535.0))


@numba.njit(nogil=True, cache=True)
def _expose(
    location: Location,
    rows: Floats,
    begin: Indices,
    background: Floats,
    fade: Floats,
    scene: Scene,
) -> Adu:
    """Frame by frame, so that only one frame of expected photons is held."""
    (start, stop), (y0, y1), (x0, x1) = location
    tile = (location[1], location[2])
    maps = _camera(tile, scene.sensor, scene.field)
    photons = np.empty((y1 - y0, x1 - x0))
    out = np.empty((stop - start, y1 - y0, x1 - x0), np.uint16)
    for f in range(stop - start):
        part = rows[begin[f] : begin[f + 1]]
        _expect(photons, background, fade[f], part, tile, scene.molecules, scene.field)
        _read(photons, start + f, tile, maps, scene.sensor, scene.field, out[f])
    return out


def movie_frames(location: Location, scene: Scene) -> Adu:
    """Raw frames: shape (frame, y, x), adu.

    ``location`` gives the first and the last-but-one frame, row and column, counted from frame 0
    and from the sensor's corner. Needs the memory of the result and of one frame in float64.
    """
    background, fade = background_image(location[1:], scene), fading((location[0],), scene)
    rows, begin = emissions(location, scene)
    frames: Adu = _expose(location, rows, begin, background, fade, scene)
    return frames
