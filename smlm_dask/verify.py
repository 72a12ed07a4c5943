"""Damaged chunks of stored results: found, and computed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from smlm_dask import _graph, folder
from smlm_dask.provenance import describe
from smlm_dask.results import RUN, arrays_of, check_ended, complete, frame, lost_parts, root_of
from smlm_dask.store import Results, check_same, even_datasets, lazy_arrays, write_frame

__all__ = ["repair", "verify"]


def verify(path: str | Path) -> pd.DataFrame:
    """Read every chunk of a store of results, and list those that are damaged.

    Parameters
    ----------
    path : path
        Where the results were stored.

    Returns
    -------
    pandas.DataFrame
        ``array`` (group and name), ``chunk`` (its numbers; None where the description of the array or
        group is damaged) and ``fault``. No rows where all is as it was written.

    Raises
    ------
    StoreError
        No results are there, or their writing did not end.
    """
    path = folder.as_path(path, "results.zarr")
    root = root_of(path)
    check_ended(root, path)
    lost = lost_parts(root, path)
    faults: list[tuple[str, Any, str]] = [(name, None, "not as it was written") for name in lost]
    for name, array in arrays_of(path).items():
        found = zip(array.places, _graph.each(array.fault, array.places), strict=True)
        faults += [(name, index, fault) for index, fault in found if fault]
    return pd.DataFrame(faults, columns=["array", "chunk", "fault"])


def repair(results: Results, path: str | Path) -> pd.DataFrame:
    """Compute the damaged chunks of a store again, and no others.

    Parameters
    ----------
    results : mapping of name to Dataset, or DataTree
        What was stored there, built again by the same lines from the same movie.
    path : path
        Where it was stored.

    Returns
    -------
    pandas.DataFrame
        What was damaged, as `verify` lists it.

    Raises
    ------
    StoreError
        No results are there, their writing did not end, or they are others than ``results``.
    """
    path, results = folder.as_path(path, "results.zarr").absolute(), even_datasets(results)
    faults = verify(path)
    run = describe(results, path)
    check_same(path, root_of(path).attrs.get(RUN), run)
    lazy = dict(lazy_arrays(results))
    # What is no chunk of a lazy array was written with the frame of its group.
    framed = faults.chunk.isna() | ~faults.array.isin(lazy)
    for group in {name.split("/")[0] for name in faults.array[framed]}:
        shutil.rmtree(path / group)
        write_frame(results[group], path, group)
    frame(path, run)
    arrays = arrays_of(path)
    for name, index in zip(faults.array[~framed], faults.chunk[~framed], strict=True):
        arrays[name].file(index).unlink(missing_ok=True)
    _graph.write(*(arrays[name].job(data) for name, data in lazy.items()))
    complete(path)
    return faults
