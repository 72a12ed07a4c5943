"""Damaged chunks of stored results: found, and computed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from smlm_dask import _graph, folder
from smlm_dask.provenance import describe
from smlm_dask.results import CHANGED, RUN, arrays_of, check_ended, complete, lost_parts, root_of
from smlm_dask.store import Results, check_same, even_datasets, lazy_arrays, mend_frame
from smlm_dask.stored import unwritten

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
    faults: list[tuple[str, Any, str]] = [(name, None, CHANGED) for name in lost_parts(path)]
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
    path, results = folder.as_path(path, "results.zarr"), even_datasets(results)
    faults, root = verify(path), root_of(path)
    run, fix = describe(results, path), "store again with overwrite=True"
    check_same(path, root.attrs.get(RUN), run, fix)
    if faults.empty:
        return faults
    try:
        mend_frame(results, path)
        arrays, lazy = arrays_of(path), dict(lazy_arrays(results))
        for name, index, _ in faults.itertuples(index=False):
            if name in lazy and index is not None:
                arrays[name].file(index).unlink(missing_ok=True)
    except OSError as error:
        raise unwritten(path, sum(d.nbytes for d in results.values()), error) from error
    _graph.write(*(arrays[name].job(data) for name, data in lazy.items()))
    complete(path, str(root.attrs[folder.BEGUN]))
    return faults
