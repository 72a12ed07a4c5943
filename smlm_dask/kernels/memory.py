"""Memory that kernels take while they run, beside what they are given and what they give."""

from __future__ import annotations

__all__ = ["COPIES"]

# In multiples of the frames a kernel is given. One that is not listed works on few rows or pixels at a time.
COPIES = {
    "lag_sums": 1.6,
    "power_spectrum": 4.0,
    "median_and_mad": 1.0,
    "truncated_means": 0.2,
}
