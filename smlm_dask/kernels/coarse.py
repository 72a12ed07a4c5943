"""What a truncated mean is to be expected to be, exactly: where electrons or the samples' steps are seen."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["FINENESS", "STEPS", "expected_means", "means_of_electrons", "node_of"]

Array = NDArray[Any]

FINENESS = 50  # entries for one root of an electron
MOST_ELECTRONS = 100.0  # beyond, shot noise is normal enough and no camera's steps are seen
# Variance, adu2, of rounding to whole adu and of the step of one adu on which a sample is then uniform.
STEPS = 1 / 6
NODES = 20  # of camera noise r electrons, at r / (1 + r) times this
# Nodes and electrons up to which skewness alone is wrong: by 0.01 standard deviations beyond them.
POISSON, MULTIPLIED = (15, 25.0), (18, 49.0)
CALM_NODE, CALM_ELECTRONS = (
    9,
    5.0,
)  # and where it is right, to 0.003, unless electrons are multiplied
GRID = 0.05  # electrons: of multiplied ones, which are few where the table is needed


@lru_cache(maxsize=8)
def expected_means(
    gain: float, variance: float, phase: float, limits: tuple[float, ...]
) -> NDArray[np.float32]:
    """Share below each limit and mean there, of samples that a camera rounds: (limit, 2, 1, entry).

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
        return np.empty((len(limits), 2, 1, 0), np.float32)
    light = _entries(MOST_ELECTRONS, FINENESS)
    electrons, chance = _poisson(light, MOST_ELECTRONS)
    level = light / gain
    noise = np.sqrt(level / gain + variance + STEPS)
    spread = max(math.sqrt(variance), 1e-6)
    top = level[-1] + max(limits) * noise[-1] + 1
    steps = np.arange(math.floor(-8 * spread) - 1, math.ceil(top) + 1) - phase
    edges = np.append(steps - 0.5, steps[-1] + 0.5)
    chance = chance @ np.diff(ndtr((edges - electrons[:, None] / gain) / spread), axis=1)
    found = np.empty((len(limits), 2, 1, len(light)))
    for k, c in enumerate(limits):
        limit = level + c * noise
        part = np.clip(limit[:, None] - steps + 0.5, 0, 1)
        share = np.maximum((chance * part).sum(axis=1), 1e-6)
        mean = (chance * part * (steps - 0.5 + part / 2)).sum(axis=1) / share
        found[k, :, 0] = share, (mean - level) / noise
    return found.astype(np.float32)


@lru_cache(maxsize=8)
def means_of_electrons(excess: float, limits: tuple[float, ...]) -> NDArray[np.float32]:
    """Share below each limit and mean there, whatever the camera's steps: (limit, 2, node, entry).

    Electrons (Poisson), each multiplied by a gamma variable of mean 1 and variance ``excess - 1``
    (exponential in a long register), and normal camera noise, which stands for rounding too. As long as
    that noise is above half a step, where the steps stand does not matter.

    Parameters
    ----------
    excess : float
        Excess noise: variance of the light over that of shot noise alone.
    limits : tuple of float
        In standard deviations above the background.

    Returns
    -------
    ndarray of float32
        For a camera noise of ``k / (20 - k)`` electrons at ``node`` ``k - 1`` and backgrounds of
        ``(entry / 50)^2`` electrons.
    """
    if not 1 <= excess < math.inf:
        return np.empty((len(limits), 2, 1, 0), np.float32)
    nodes, most = POISSON if excess == 1 else MULTIPLIED
    # Electrons that are multiplied stand on no lattice, and few entries tell all.
    light = _entries(most, FINENESS if excess == 1 else FINENESS // 5)
    out, chance = _multiplied(*_poisson(light, most), excess)
    found = np.empty((len(limits), 2, nodes, len(light)))
    for node in range(nodes):
        read = (node + 1) / (NODES - node - 1)
        noise = np.sqrt(excess * light + read**2)
        for k, c in enumerate(limits):
            apart = ((light + c * noise)[:, None] - out) / read
            below = ndtr(apart)
            share = np.maximum((chance * below).sum(axis=1), 1e-6)
            tail = read * np.exp(-(apart**2) / 2) / math.sqrt(2 * math.pi)
            mean = (chance * (out * below - tail)).sum(axis=1) / share
            found[k, :, node] = share, (mean - light) / noise
    return _refined(found, np.sqrt(light)).astype(np.float32)


def node_of(electrons: Array) -> NDArray[np.float32]:
    """Place of a camera noise, in electrons, among the nodes."""
    return np.asarray(np.maximum(NODES * electrons / (1 + electrons) - 1, 0), np.float32)


def _entries(most: float, fineness: int) -> Array:
    return (np.arange(int(math.sqrt(most) * fineness) + 1) / fineness) ** 2


def _poisson(light: Array, most: float) -> tuple[Array, Array]:
    from scipy.stats import poisson  # 0.4 s of import

    electrons = np.arange(int(most + 10 * math.sqrt(most)))
    return electrons, np.asarray(poisson.pmf(electrons, light[:, None]))


def _multiplied(electrons: Array, chance: Array, excess: float) -> tuple[Array, Array]:
    """What comes out of the register, in electrons that went in, and its chances: (entry, out)."""
    if excess == 1:
        return electrons, chance
    from scipy.special import gammainc

    edges = np.arange(0, 1.5 * electrons[-1], GRID)
    below = gammainc(electrons[1:, None] / (excess - 1), edges / (excess - 1))
    out = np.append(0, (edges[1:] + edges[:-1]) / 2)
    return out, np.hstack([chance[:, :1], chance[:, 1:] @ np.diff(below, axis=1)])


def _refined(found: Array, roots: Array) -> Array:
    fine = np.arange(round(roots[-1] * FINENESS) + 1) / FINENESS
    if len(fine) == len(roots):
        return found
    flat = [np.interp(fine, roots, row) for row in found.reshape(-1, len(roots))]
    return np.reshape(flat, (*found.shape[:-1], len(fine)))
