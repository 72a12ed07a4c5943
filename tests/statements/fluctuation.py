"""Sums of products of fluctuations by strip and lag in plain numpy, float64 throughout."""

from __future__ import annotations

import numpy as np


def inside(height: int, width: int) -> np.ndarray:
    """The sensor less its outermost pixels."""
    margin = min(4, min(height, width) // 16)
    out = np.zeros((height, width), bool)
    out[margin : height - margin, margin : width - margin] = True
    return out


def strips(height: int, width: int) -> list[int]:
    """Rows where strips begin; at most 16 of at least 4 rows."""
    margin = min(4, min(height, width) // 16)
    size = height - 2 * margin
    count = min(16, max(1, size // 4))
    return [margin + i * size // count for i in range(count + 1)]


def steady(frames: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Frames less their mean and what they have of its pattern."""
    mean = frames.mean(axis=0)
    pattern = np.where(keep, mean - mean[keep].mean(), 0)
    return np.array([off_pattern(frame - mean, pattern) for frame in frames.astype(float)])


def off_pattern(difference: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    square = (pattern * pattern).sum()
    return difference - pattern * ((difference * pattern).sum() / square if square else 0)


def hot(frames: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Pixels that vary 6 times more than all but 3 of their neighbours and than the median of 9 x 9.

    And share less than 5 % of it, and correlate with no neighbour that is as hot by 0.8.
    """
    variance, changes = frames.var(axis=0), steady(frames, keep)
    quiet = 6 * np.quantile(variance[::4, ::4], 0.1)
    out = np.zeros(variance.shape, bool)
    for y, x in np.ndindex(*variance.shape):
        if variance[y, x] > quiet:
            near, around = (
                variance[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] for r in (1, 4)
            )
            level = variance[y, x] / 6
            sticks_out = (near >= level).sum() <= 4 and np.median(around) < level
            out[y, x] = sticks_out and is_alone(changes, variance, y, x)
    return out


def is_alone(changes: np.ndarray, variance: np.ndarray, y: int, x: int) -> bool:
    """Whether neither the mean of the calm neighbours nor one of the hot ones follows a pixel."""
    around = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    around = [p for p in around if 0 <= p[0] < variance.shape[0] and 0 <= p[1] < variance.shape[1]]
    own = changes[:, y, x]
    calm = [changes[:, *p] for p in around if variance[p] < variance[y, x] / 6]
    hot = [changes[:, *p] for p in around if not variance[p] < variance[y, x] / 6]
    shared = np.mean([own @ other for other in calm]) if calm else 0
    together = [own @ other > 0.8 * np.sqrt((own @ own) * (other @ other)) for other in hot]
    return bool(shared < 0.05 * (own @ own) and not any(together))


def lag_sums(frames: np.ndarray, reach: int) -> np.ndarray:
    height, width = frames.shape[1:]
    within = inside(height, width)
    keep = within & ~hot(frames, within)
    values = steady(frames, keep) * keep
    pairs = np.repeat(keep[None].astype(float), len(frames), axis=0)
    edges = strips(height, width)
    out = np.zeros((2, len(edges) - 1, reach + 1, 2 * reach + 1))
    for which, images in enumerate((values, pairs)):
        for i, j in np.ndindex(reach + 1, 2 * reach + 1):
            rows = products(images, i, j - reach)
            for y, total in enumerate(rows):
                # A product belongs where the middle of its rows is; on a border, half to each side.
                for middle in (y + i // 2, y + (i + 1) // 2):
                    strip = np.clip(np.searchsorted(edges, middle, "right") - 1, 0, len(edges) - 2)
                    out[which, strip, i, j] += total / 2
    return out


def products(images: np.ndarray, i: int, j: int) -> np.ndarray:
    """Sums over frames and columns of each row times the row i below, j to the right."""
    height, width = images.shape[1:]
    left, right = max(0, -j), min(width, width - j)
    upper, lower = images[:, : height - i, left:right], images[:, i:, left + j : right + j]
    return (upper * lower).sum(axis=(0, 2))


def correlation(
    spread: tuple[float, float, float], lag_y: float, lag_x: float, points: int = 41
) -> float:
    """Gaussians integrated over two pixels a lag apart, multiplied, averaged over their places."""
    yy, xx, yx = (2 * s for s in spread)
    shift = (np.arange(points) - (points - 1) / 2) / points
    y = lag_y + np.subtract.outer(shift, shift).ravel()
    x = lag_x + np.subtract.outer(shift, shift).ravel()
    det = yy * xx - yx * yx
    square = (xx * y[:, None] ** 2 - 2 * yx * y[:, None] * x + yy * x**2) / det
    return float(np.exp(-square / 2).mean() / (2 * np.pi * np.sqrt(det)))
