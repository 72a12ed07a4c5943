"""Gaussian smoothing of every frame: the pixel-integrated taps and the separable correlation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, erfinv

__all__ = ["gaussian_taps", "noise_factor", "seed_noise_factor", "smooth"]

# The part of the Gaussian the taps cover on either side: 0.99 of its mass, 2.5758 sigma.
_COVERAGE = math.sqrt(2) * float(erfinv(0.99))
# Outputs of one inner call: eight vectors of eight doubles, all accumulators stay in registers.
_VECTORS, _LANES = 8, 8
_STRIP = _VECTORS * _LANES
# Other samples than uint16 and float32 are converted, so many pixels at a time: 256 kB, in cache.
_BATCH_PIXELS = 1 << 16


def gaussian_taps(sigma: float) -> NDArray[np.float32]:
    """Weights of a Gaussian integrated over each pixel, cut at 2.5758 sigma, with sum 1.

    Parameters
    ----------
    sigma
        Standard deviation in pixels; 0 gives the single tap 1.

    Returns
    -------
    ndarray
        float32 of odd length, ``ceil(6 sigma)`` or one more; taps beyond the cut are 0.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"got sigma = {sigma}, wanted a finite number of pixels >= 0")
    if sigma == 0:
        return np.ones(1, np.float32)
    x = np.arange(math.ceil(6 * sigma) // 2 * 2 + 1)
    x = x - len(x) // 2
    scale = math.sqrt(2) * sigma
    with np.errstate(over="ignore"):
        taps = (erf((x + 0.5) / scale) - erf((x - 0.5) / scale)) / 2
    taps[np.abs(x) > _COVERAGE * sigma] = 0
    taps = taps.astype(np.float32)
    return np.asarray(taps / taps.sum(), np.float32)


def smooth(frames: NDArray[Any], taps_y: ArrayLike, taps_x: ArrayLike) -> NDArray[np.float32]:
    """Correlate each frame with ``taps_y`` along y, then with ``taps_x`` along x.

    Beyond the edge the nearest pixel is repeated. Sums are float64 from the outermost pair of
    taps to the innermost, rounded to float32 after each pass: bit for bit what
    ``scipy.ndimage.correlate1d`` gives on float32 frames.

    Parameters
    ----------
    frames
        ``(frame, y, x)`` of any real dtype.
    taps_y, taps_x
        Symmetric weights of odd length; they may be longer than the frame.

    Returns
    -------
    ndarray
        ``(frame, y, x)`` float32, in the unit of the frames.
    """
    # A zero weight matters only where it meets a NaN or an infinity, which no integer is.
    trim = frames.dtype.kind in "bui"
    half_y, half_x = _half(taps_y, trim=trim), _half(taps_x, trim=trim)
    smoothed = np.empty(frames.shape, np.float32)
    if smoothed.size == 0:
        return smoothed
    direct = frames.dtype in (np.uint16, np.float32) and frames.flags.c_contiguous
    step = len(frames) if direct else max(1, _BATCH_PIXELS // smoothed[0].size)
    for start in range(0, len(frames), step):
        some = slice(start, start + step)
        with np.errstate(over="ignore", invalid="ignore"):
            batch = frames if direct else np.ascontiguousarray(frames[some], np.float32)
        _smooth_frames(batch, half_y, half_x, smoothed[some])
    return smoothed


def noise_factor(taps_y: ArrayLike, taps_x: ArrayLike) -> float:
    """Return the standard deviation of unit white noise after ``movie - smooth(movie)``.

    Away from the edges, where repeated pixels weigh more, it is the root of the summed squares
    of ``delta - k_y k_x``, that is of ``1 - 2 k_y[0] k_x[0] + sum(k_y^2) sum(k_x^2)``.
    """
    y, x = np.asarray(taps_y, np.float64), np.asarray(taps_x, np.float64)
    centre = y[len(y) // 2] * x[len(x) // 2]
    return math.sqrt(max(0.0, 1 - 2 * centre + float(y @ y) * float(x @ x)))


def seed_noise_factor(taps_y: ArrayLike, taps_x: ArrayLike) -> np.float32:
    """Return the noise factor smlmlp divides by: the product of two one-dimensional factors.

    It belongs to a filter ``(delta - k_y)(delta - k_x)``, not to a subtracted background, and is
    smaller than :func:`noise_factor` (0.853 against 0.990 at sigma 3.5).
    """
    return np.float32(_difference_norm(taps_y) * _difference_norm(taps_x))


def _difference_norm(taps: ArrayLike) -> np.float32:
    difference = -np.asarray(taps, np.float32)
    difference[len(difference) // 2] += np.float32(1)
    return np.float32(np.sqrt(np.sum(difference**2)))


def _half(taps: ArrayLike, *, trim: bool) -> NDArray[np.float64]:
    """Weights from the centre outwards, the trailing zeros dropped on request."""
    weights = np.asarray(taps, np.float64)
    if weights.ndim != 1 or len(weights) % 2 == 0 or not np.array_equal(weights, weights[::-1]):
        raise ValueError(f"got taps {weights}, wanted a symmetric 1-D array of odd length")
    half = weights[len(weights) // 2 :]
    last = np.flatnonzero(half)[-1:] if trim else np.array([len(half) - 1])
    return half[: int(last.sum()) + 1].copy()


def _correlate(
    _: Any, source: Any, centre: Any, stride: Any, half: Any, target: Any, start: Any
) -> Any:
    """Write ``_STRIP`` symmetric sums around ``source[centre:]`` to ``target[start:]``, as float32.

    Vector code by hand: LLVM keeps no accumulator in a register across the loop over taps when it
    is written as numpy loops (3.5 ns per pixel and pass; 1.5 with blocks of four taps; 0.7 here,
    with nothing compiled per radius). Multiplications and additions stay apart, so the sums
    round as scipy's do. Bounds are the caller's duty.
    """
    signature = types.void(source, types.intp, types.intp, half, target, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, half, target = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 3, 4)
        )
        farthest = builder.sub(half.nitems, _index(1))
        pointers = source.data, half.data
        sums = _emit_sums(builder, *pointers, arguments[1], arguments[2], farthest)
        for i, total in enumerate(sums):
            value = builder.fptrunc(total, ir.VectorType(ir.FloatType(), _LANES))
            if signature.args[4].dtype == types.float64:
                value = builder.fpext(value, ir.VectorType(ir.DoubleType(), _LANES))
            _emit_store(builder, value, target.data, builder.add(arguments[5], _index(i * _LANES)))
        return context.get_dummy_value()

    return signature, codegen


def _widen(_: Any, source: Any, first: Any, target: Any, start: Any) -> Any:
    """Copy ``_STRIP`` float32 or uint16 of ``source[first:]`` to the float64 ``target[start:]``.

    The loop in numba unrolls to scalar code: 0.5 ns per pixel.
    """
    signature = types.void(source, types.intp, target, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2)
        )
        whole = signature.args[0].dtype == types.uint16
        scalar = ir.IntType(16) if whole else ir.FloatType()
        convert = builder.uitofp if whole else builder.fpext
        for i in range(0, _STRIP, _LANES):
            offset = builder.add(arguments[1], _index(i))
            narrow = _emit_load(builder, source.data, offset, scalar)
            wide = convert(narrow, ir.VectorType(ir.DoubleType(), _LANES))
            _emit_store(builder, wide, target.data, builder.add(arguments[3], _index(i)))
        return context.get_dummy_value()

    return signature, codegen


def _emit_sums(
    builder: Any, source: Any, half: Any, centre: Any, stride: Any, farthest: Any
) -> list[Any]:
    """Emit the loop over pairs of taps, farthest first; return the accumulators."""
    centres = [builder.add(centre, _index(i * _LANES)) for i in range(_VECTORS)]

    def pixels(offset: Any) -> Any:
        return _emit_load(builder, source, offset, ir.DoubleType())

    tap = _emit_splat(builder, half, _index(0))
    begun = [builder.fmul(pixels(c), tap) for c in centres]
    entry = builder.block
    loop, end = builder.append_basic_block("pairs"), builder.append_basic_block("end")
    builder.cbranch(builder.icmp_signed(">", farthest, _index(0)), loop, end)

    builder.position_at_end(loop)
    k, *sums = (builder.phi(value.type) for value in [farthest, *begun])
    offset, tap = builder.mul(k, stride), _emit_splat(builder, half, k)
    added = []
    for total, c in zip(sums, centres, strict=True):
        pair = builder.fadd(pixels(builder.sub(c, offset)), pixels(builder.add(c, offset)))
        added.append(builder.fadd(total, builder.fmul(pair, tap)))
    nearer = builder.sub(k, _index(1))
    _join([k, *sums], entry, [farthest, *begun], loop, [nearer, *added])
    builder.cbranch(builder.icmp_signed(">", nearer, _index(0)), loop, end)

    builder.position_at_end(end)
    done = [builder.phi(value.type) for value in begun]
    _join(done, entry, begun, loop, added)
    return done


def _join(phis: list[Any], entry: Any, before: list[Any], loop: Any, after: list[Any]) -> None:
    for phi, first, again in zip(phis, before, after, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(again, loop)


def _emit_load(builder: Any, pointer: Any, offset: Any, scalar: Any) -> Any:
    place = builder.bitcast(
        builder.gep(pointer, [offset]), ir.VectorType(scalar, _LANES).as_pointer()
    )
    return builder.load(place, align=2)


def _emit_store(builder: Any, vector: Any, pointer: Any, offset: Any) -> None:
    place = builder.bitcast(builder.gep(pointer, [offset]), vector.type.as_pointer())
    builder.store(vector, place, align=4)


def _emit_splat(builder: Any, pointer: Any, offset: Any) -> Any:
    """Load one double into every lane."""
    scalar = builder.load(builder.gep(pointer, [offset]))
    empty = ir.Constant(ir.VectorType(scalar.type, _LANES), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(first, empty, lanes)


def _index(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


_correlate_strip: Any = intrinsic(_correlate)
_widen_strip: Any = intrinsic(_widen)


@njit(nogil=True, cache=True)
def _smooth_frames(frames: Any, half_y: Any, half_x: Any, smoothed: Any) -> None:
    """Smooth frames, each along y into lines of float64 with room for their edges, then along x."""
    count, height, width = smoothed.shape
    radius_y, radius_x = len(half_y) - 1, len(half_x) - 1
    span = -(-width // _STRIP) * _STRIP + 2 * radius_x
    column = _on_cache_lines((height + 2 * radius_y) * _STRIP)
    lines = np.zeros(height * span)
    # Flat, with the place of each row: a view of a row costs as much as four pairs of taps on it.
    source, target = frames.reshape(-1), smoothed.reshape(-1)
    for f in range(count):
        _along_y(source, f * height * width, width, half_y, column, lines, span, radius_x)
        for y in range(height):
            _repeat_edges(lines, y * span, width, radius_x)
            row = (f * height + y) * width
            _along_x(lines, y * span + radius_x, half_x, target, row, width)


@njit(nogil=True, cache=True)
def _on_cache_lines(size: int) -> Any:
    """Zeros that begin where a cache line does: a vector over two lines costs two loads."""
    buffer = np.zeros(size + _LANES)
    begin = -(buffer.ctypes.data // 8) % _LANES
    return buffer[begin : begin + size]


@njit(nogil=True, cache=True)
def _along_y(
    source: Any,
    begin: int,
    width: int,
    half: Any,
    column: Any,
    lines: Any,
    span: int,
    radius_x: int,
) -> None:
    """Sum along y, by strips of columns converted once with their repeated edge rows."""
    height, radius = len(lines) // span, len(half) - 1
    for x in range(0, width, _STRIP):
        if x + _STRIP <= width:
            for y in range(height):
                _widen_strip(source, begin + y * width + x, column, (radius + y) * _STRIP)
        else:
            for y in range(height):
                for i in range(width - x):
                    column[(radius + y) * _STRIP + i] = source[begin + y * width + x + i]
        _repeat_rows(column, radius, height)
        for y in range(height):
            centre = (y + radius) * _STRIP
            _correlate_strip(column, centre, _STRIP, half, lines, y * span + radius_x + x)


@njit(nogil=True, cache=True)
def _repeat_rows(column: Any, radius: int, height: int) -> None:
    """Fill the room above and below a strip with its first and last row."""
    first, last = radius * _STRIP, (radius + height - 1) * _STRIP
    for y in range(radius):
        for i in range(_STRIP):
            column[y * _STRIP + i] = column[first + i]
            column[last + (y + 1) * _STRIP + i] = column[last + i]


@njit(nogil=True, cache=True)
def _repeat_edges(lines: Any, start: int, width: int, radius: int) -> None:
    """Fill the room before and after a line with its first and last pixel."""
    begin, end = start + radius, start + radius + width
    for x in range(radius):
        lines[start + x] = lines[begin]
        lines[end + x] = lines[end - 1]


@njit(nogil=True, cache=True)
def _along_x(lines: Any, begin: int, half: Any, target: Any, row: int, width: int) -> None:
    whole = width // _STRIP * _STRIP
    for x in range(0, whole, _STRIP):
        _correlate_strip(lines, begin + x, 1, half, target, row + x)
    if whole < width:
        rest = np.empty(_STRIP, np.float32)
        _correlate_strip(lines, begin + whole, 1, half, rest, 0)
        for i in range(width - whole):
            target[row + whole + i] = rest[i]
