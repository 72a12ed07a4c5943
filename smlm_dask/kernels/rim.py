"""Whether noise is white: its spectrum on the rim of Fourier space, where no light is.

Each sample of a camera has noise of its own, and the spectrum of such noise is flat. What smooths,
shifts or resamples frames takes away high frequencies. Emitters blinking on and off are in the
spectrum of a difference of frames as well, but where a PSF of 0.8 pixel or more leaves nothing of
them, the spectrum shows the noise alone. To first order that of smoothed noise rises from the
corner as ``u = cos ky + cos kx + 2``, which is 0 there and 4 where the light is: a line through
the spectrum of the rim, prolonged to 4, is what smoothing makes of the gain.

Patches of ``SIDE`` pixels are tapered and transformed. Three shapes are fitted to the mean of their
spectra, each patch divided by its own level: 1, ``u``, and emitters of the narrowest PSF.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["COLUMNS", "SIDE", "rim_sums", "smoothing"]

Doubles: TypeAlias = NDArray[np.float64]

COLUMNS = ("flat", "rise", "light")
SIDE = 16
BATCH = 2**18  # samples
RIM = 1.05  # of the Nyquist frequency: the rim is what lies beyond, a sixth of the plane
NARROWEST = 0.8  # pixels, the standard deviation of a PSF that is not taken for smoothing
PIXEL = 1 / 12  # variance of a pixel's own width

# A Hann taper costs a third of the precision, and the light that leaks through this one does no harm.
_taper = np.sin(np.pi * (np.arange(SIDE) + 0.5) / SIDE)
_LAGS = np.arange(1, SIDE)
# What is left of a covariance at a distance under the taper; at 0 it is 1.
_OVERLAP = np.array([_taper[:-n] @ _taper[n:] for n in _LAGS]) / (_taper @ _taper)
_TAPER = np.outer(_taper, _taper).astype("f4")
# Half the plane: columns between the first and the last stand for two.
_ky, _kx = np.meshgrid(
    *(2 * np.pi * f(SIDE) for f in (np.fft.fftfreq, np.fft.rfftfreq)), indexing="ij"
)
_INSIDE = np.hypot(_ky, _kx) >= RIM * np.pi
_KY, _KX = _ky[_INSIDE], _kx[_INSIDE]
_TIMES = np.where(abs(np.sin(_KX)) > 1e-9, 2.0, 1.0)


def _emitters(k: Doubles) -> Doubles:
    """Spectrum along an axis of emitters of the narrowest PSF, under the taper."""
    covariance = _OVERLAP * np.exp(-(_LAGS**2) / (4 * (NARROWEST**2 + PIXEL)))
    return np.asarray(1 + 2 * (np.cos(np.multiply.outer(k, _LAGS)) @ covariance))


def _shapes() -> Doubles:
    """The three shapes on the rim: (frequency, 3)."""
    rise = 2 + _OVERLAP[0] * (np.cos(_KY) + np.cos(_KX))
    light = _emitters(_KY) * _emitters(_KX)
    return np.stack([np.ones_like(rise), rise, light / light.max()], axis=1)


_SHAPES = _shapes()
_WEIGHTED = (_SHAPES * _TIMES[:, None]).astype("f4")
_NORMAL = _SHAPES.T @ (_SHAPES * _TIMES[:, None])


def rim_sums(frames: NDArray[Any], first: NDArray[np.int64], ceiling: float = np.inf) -> Doubles:
    """Rims of the pairs ``i``, ``i + 1`` in patches, as sums with each shape: (pair, row, column, 3).

    A patch that holds a sample from ``ceiling`` is zero.
    """
    found = np.zeros((len(first), *(n // SIDE for n in frames.shape[1:]), len(COLUMNS)))
    # A few pairs at a time: calls cost as much as the arithmetic of small frames.
    count = max(1, BATCH // max(frames[0].size, 1))
    for j in range(0, len(first), count):
        some = first[j : j + count]
        a, b = (_patches(frames[i]) for i in (some, some + 1))
        wave = fft.rfft2((a.astype("f4") - b) * _TAPER)[..., _INSIDE]
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
    """How much larger than the truth smoothing makes a gain, for sums (..., 3); NaN where there are none."""
    flat, rise = np.moveaxis(sums @ np.linalg.inv(_NORMAL).T, -1, 0)[:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(4 * rise / flat)
