"""What a truncated mean is to be expected to be, exactly, where the steps of the samples are seen."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["FINENESS", "expected_means"]

Array = NDArray[Any]

FINENESS = 50  # entries for one root of an electron
MOST_ELECTRONS = 100.0  # beyond, shot noise is normal enough and no camera's steps are seen


@lru_cache(maxsize=8)
def expected_means(
    gain: float, variance: float, phase: float, limits: tuple[float, ...]
) -> NDArray[np.float32]:
    """Share below each limit and mean there, of samples that a camera rounds: (limit, 2, entry).

    The sum over electrons (Poisson), camera noise (normal) and rounding, for backgrounds of
    ``(entry / 50)^2`` electrons, with samples uniform on their steps as the estimate takes them.

    Parameters
    ----------
    gain : float
        Electrons for each adu.
    variance : float
        Camera noise without light, adu2, without rounding.
    phase : float
        What the camera's offset is above a whole number of adu.
    limits : tuple of float
        In standard deviations above the background.

    Returns
    -------
    ndarray of float32
        The mean is from the background, in standard deviations. No entries where that makes no sense.
    """
    if not (0 < gain < math.inf and 0 <= variance < math.inf and math.isfinite(phase)):
        return np.empty((len(limits), 2, 0), np.float32)
    from scipy.stats import poisson  # 0.4 s of import

    light = (np.arange(int(math.sqrt(MOST_ELECTRONS) * FINENESS) + 1) / FINENESS) ** 2
    electrons = np.arange(int(MOST_ELECTRONS + 10 * math.sqrt(MOST_ELECTRONS)))
    level = light / gain
    noise = np.sqrt(level / gain + variance + 1 / 12)
    spread = max(math.sqrt(variance), 1e-6)
    top = level[-1] + max(limits) * noise[-1] + 1
    steps = np.arange(math.floor(-8 * spread) - 1, math.ceil(top) + 1) - phase
    edges = np.append(steps - 0.5, steps[-1] + 0.5)
    rounded = np.diff(ndtr((edges - electrons[:, None] / gain) / spread), axis=1)
    chance = poisson.pmf(electrons, light[:, None]) @ rounded
    found = np.empty((len(limits), 2, len(light)))
    for k, c in enumerate(limits):
        limit = level + c * noise
        part = np.clip(limit[:, None] - steps + 0.5, 0, 1)
        share = np.maximum((chance * part).sum(axis=1), 1e-6)
        mean = (chance * part * (steps - 0.5 + part / 2)).sum(axis=1) / share
        found[k] = share, (mean - level) / noise
    return found.astype(np.float32)
