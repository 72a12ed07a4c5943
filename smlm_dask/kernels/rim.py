"""Whether noise is white: its spectrum on the rim of Fourier space, where no light is.

Each sample of a camera has noise of its own, and the spectrum of such noise is flat. What smooths,
shifts or resamples frames takes away high frequencies. Emitters blinking on and off are in the
spectrum of a difference of frames as well, but where a PSF of 0.8 pixel or more leaves nothing of
them, the spectrum shows the noise alone. To first order that of smoothed noise rises from the
corner as ``u = cos ky + cos kx + 2``, which is 0 there and 4 where the light is: a line through
the spectrum of the rim, prolonged to 4, is what smoothing makes of the gain.

Patches of ``SIDE`` pixels are tapered and transformed. Three shapes are fitted to the mean of their
spectra, each patch divided by its own level: 1, ``u``, and emitters of the narrowest PSF.

On two rings just inside the rim emitters of a narrow PSF are as bright as the noise or brighter. How
bright says whether the filters of ``kernels.corner`` let light pass, with a twentieth of the error of
the difference of two filters, and the ratio of the rings is the width of the PSF.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = [
    "COLUMNS",
    "SIDE",
    "emitter_leak",
    "emitter_light",
    "rim_sums",
    "ring_ratio",
    "smoothing",
]

Doubles: TypeAlias = NDArray[np.float64]

COLUMNS = ("flat", "rise", "light", "inner", "outer")
SIDE = 16
BATCH = 2**18  # samples
RIM = 1.05  # of the Nyquist frequency: the rim is what lies beyond, a sixth of the plane
RINGS = (0.7, 0.85), (0.85, 1.0)
OFF_AXIS = 0.2  # of the Nyquist frequency: noise of whole rows or columns lies on the axes
NARROWEST = 0.8  # pixels, the standard deviation of a PSF that is not taken for smoothing
PIXEL = 1 / 12  # variance of a pixel's own width

# A Hann taper costs a third of the precision, and the light that leaks through this one does no harm.
_taper = np.sin(np.pi * (np.arange(SIDE) + 0.5) / SIDE)
_LAGS = np.arange(1, SIDE)
# What is left of a covariance at a distance under the taper; at 0 it is 1.
_OVERLAP = np.array([_taper[:-n] @ _taper[n:] for n in _LAGS]) / (_taper @ _taper)
_TAPER = np.outer(_taper, _taper).astype("f4")
# Half the plane: columns between the first and the last stand for two.
_KY, _KX = np.meshgrid(
    *(2 * np.pi * f(SIDE) for f in (np.fft.fftfreq, np.fft.rfftfreq)), indexing="ij"
)
_INSIDE = np.hypot(_KY, _KX) >= RIM * np.pi
_TIMES = np.where(abs(np.sin(_KX)) > 1e-9, 2.0, 1.0)


def _ring(low: float, high: float) -> Doubles:
    """Weights of a ring, (frequency,), with the sum of those of the rim."""
    at = np.hypot(_KY, _KX) / np.pi
    apart = np.minimum(abs(_KY), abs(_KX)) > OFF_AXIS * np.pi
    weight = _TIMES * (apart & (at >= low) & (at < high))
    return np.asarray(weight * (_TIMES[_INSIDE].sum() / weight.sum()))


def emitter_leak(sigma: float, taps: NDArray[Any]) -> float:
    """Share of an emitter's power, per pixel of white noise, that a filter lets pass along both axes."""
    lags = np.arange(1 - len(taps), len(taps))
    passed = np.correlate(taps, taps, "full") / np.sum(np.square(taps))
    return float(passed @ np.exp(-(lags**2) / (4 * (sigma**2 + PIXEL)))) ** 2


def ring_ratio(sigma: float) -> float:
    """Light of emitters on the inner ring over that on the outer, above what is on the rim."""
    light = _emitters(_KY, sigma) * _emitters(_KX, sigma)
    inner, outer = (float((_ring(*ring) * light).sum()) for ring in RINGS)
    rim = float((_TIMES * light)[_INSIDE].sum())
    return (inner - rim) / (outer - rim)


def _emitters(k: Doubles, sigma: float = NARROWEST) -> Doubles:
    """Spectrum along an axis of emitters of a PSF, under the taper."""
    covariance = _OVERLAP * np.exp(-(_LAGS**2) / (4 * (sigma**2 + PIXEL)))
    return np.asarray(1 + 2 * (np.cos(np.multiply.outer(k, _LAGS)) @ covariance))


def _shapes() -> Doubles:
    """The three shapes on the rim, 0 inside: (frequency, 3)."""
    rise = 2 + _OVERLAP[0] * (np.cos(_KY) + np.cos(_KX))
    light = _emitters(_KY) * _emitters(_KX) * _INSIDE
    return np.stack([_INSIDE, rise * _INSIDE, light / light.max()], axis=-1)


_SHAPES = _shapes()
_RINGS = np.stack([_ring(*ring) for ring in RINGS], axis=-1)
_WEIGHTS = np.concatenate([_SHAPES * _TIMES[..., None], _RINGS], axis=-1)
_USED = _WEIGHTS.any(axis=-1)
_WEIGHTED = _WEIGHTS[_USED].astype("f4")
_NORMAL = np.tensordot(_SHAPES, _SHAPES * _TIMES[..., None], ((0, 1), (0, 1)))


def rim_sums(frames: NDArray[Any], first: NDArray[np.int64], ceiling: float = np.inf) -> Doubles:
    """Rims of the pairs ``i``, ``i + 1`` in patches, as the sums of ``COLUMNS``: (pair, row, column, 5).

    A patch that holds a sample from ``ceiling`` is zero.
    """
    found = np.zeros((len(first), *(n // SIDE for n in frames.shape[1:]), len(COLUMNS)))
    # A few pairs at a time: calls cost as much as the arithmetic of small frames.
    count = max(1, BATCH // max(frames[0].size, 1))
    for j in range(0, len(first), count):
        some = first[j : j + count]
        a, b = (_patches(frames[i]) for i in (some, some + 1))
        wave = fft.rfft2((a.astype("f4") - b) * _TAPER)[..., _USED]
        found[j : j + count] = (wave.real**2 + wave.imag**2) @ _WEIGHTED
        if np.isfinite(ceiling):
            found[j : j + count][np.maximum(a, b).max(axis=(3, 4)) >= ceiling] = 0
    level = found[..., :1].mean(axis=0) if len(first) else found.sum(axis=0)[..., :1]
    return np.divide(found, level, out=np.zeros_like(found), where=level > 0)


def _patches(frames: NDArray[Any]) -> NDArray[Any]:
    """Frames in patches: (frame, row, column, y, x)."""
    rows, columns = (n // SIDE for n in frames.shape[1:])
    cut = frames[:, : rows * SIDE, : columns * SIDE]
    return cut.reshape(len(frames), rows, SIDE, columns, SIDE).swapaxes(2, 3)


def smoothing(sums: Doubles) -> Doubles:
    """How much larger than the truth smoothing makes a gain, for sums (..., 5); NaN where there are none."""
    flat, rise = np.moveaxis(sums[..., :3] @ np.linalg.inv(_NORMAL).T, -1, 0)[:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(4 * rise / flat)


def emitter_light(sums: Doubles) -> Doubles:
    """Light on the inner and the outer ring above the rim, (..., 2), as shares of it; NaN for no patches."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 3:] / sums[..., :1] - 1)
