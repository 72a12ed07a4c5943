"""The gain beside smlmlp's arithmetic on movies with known truth.

    python benchmarks/accuracy_gain.py [--seeds 12] [--first 4000] [--cases ramp slow ...]

Errors in % of the true gain: mean and spread over seeds. ``error`` is the median of the standard errors
that were claimed, ``in 2 SE`` the share of answers that are so near, ``refused`` the movies without
an answer, ``> 5 %`` the answers that are so far off.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np
from peers import show
from scenes_gain import CASES, Case

import smlm_dask as smlm
from smlm_dask.kernels.reason import Reason

FIRST_SEED, SEEDS = 4000, 12


def rows(
    seeds: int = SEEDS, cases: list[str] | None = None, first: int = FIRST_SEED
) -> list[dict[str, Any]]:
    """A line for each case whose name contains one of the words."""
    chosen = {n: c for n, c in CASES.items() if not cases or any(w in n for w in cases)}
    return [row(name, case, range(first, first + seeds)) for name, case in chosen.items()]


def row(name: str, case: Case, seeds: range) -> dict[str, Any]:
    ours, theirs, claimed, reasons = [], [], [], Counter[str]()
    for seed in seeds:
        movie = smlm.as_movie(case.frames(seed), pixel_size=100)
        found = smlm.estimate_gain(movie, method=case.method, **case.keywords).compute()
        seed_gain = smlm.estimate_gain(movie, method="smlmlp", window=None).gain
        ours.append(100 * (float(found.gain) / case.gain - 1))
        claimed.append(100 * float(found.gain_error) / case.gain)
        theirs.append(100 * (float(seed_gain) / case.gain - 1))
        reasons[Reason(int(found.status)).name.lower()] += 1
    del reasons["ok"]
    error, own = np.array(ours), np.array(claimed)
    known = np.isfinite(error)
    return {
        "case": name,
        "truth": case.gain,
        **summary("smlmlp", np.array(theirs)),
        **summary("ours", error),
        "error": nan_median(own),
        "in 2 SE": f"{np.sum(abs(error[known]) <= 2 * own[known])} of {known.sum()}",
        "> 5 %": int(np.sum(abs(error[known]) > 5)),
        "refused": int(np.sum(~known)),
        "met": bool(not known.any())
        if case.refuse
        else bool(known.any() and abs(error[known].mean()) <= case.limit),
        "why": ", ".join(reasons),
    }


def summary(name: str, error: np.ndarray) -> dict[str, float]:
    known = error[np.isfinite(error)]
    mean, spread = (known.mean(), known.std()) if len(known) else (np.nan, np.nan)
    return {f"{name} bias %": float(mean), f"{name} spread": float(spread)}


def nan_median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--cases", nargs="*")
    arguments = parser.parse_args()
    show(rows(**vars(arguments)))


if __name__ == "__main__":
    main()
