"""Results on disk: the line that computes. One reading of the movie for all of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from smlm_dask import _graph
from smlm_dask.errors import StoreError

__all__ = ["open_results", "store"]

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def store(
    results: Mapping[str, xr.Dataset] | xr.DataTree, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Compute all results together and write each as a group of one zarr store.

    What the results share - the movie's chunks, the medians of its windows - is read and computed
    once. The store says ``complete`` only when every value is on disk, and ``open_results`` refuses
    it before that.

    Parameters
    ----------
    results : mapping of name to Dataset, or DataTree
        A group for each.
    path : path
        A folder that does not exist yet.
    overwrite : bool
        Replace a store of results that is there, at the end. Any other folder is never removed.

    Returns
    -------
    pathlib.Path
        Where the results are.

    Raises
    ------
    StoreError
        If there is nothing to store, or something is at ``path`` already.
    """
    path, results = Path(path), _datasets(results)
    _check_target(results, path, overwrite)
    part = path.with_name(path.name + ".part")
    root = zarr.open_group(part, mode="w", attributes={"smlm_dask": "results", "complete": False})
    # Every chunk is written, zeros too: a missing chunk would read as fill and look like data. An array
    # takes this from the configuration when it is opened, and carries it to the workers.
    with zarr.config.set({"array.write_empty_chunks": True}):
        pairs = [
            pair for name, dataset in results.items() for pair in _prepare(dataset, part, name)
        ]
    _graph.write([array for array, _ in pairs], [target for _, target in pairs])
    root.attrs["complete"] = True
    # The old store goes only now: the new results may be computed from it.
    if path.exists():
        shutil.rmtree(path)
    return part.rename(path)


def _datasets(results: Mapping[str, xr.Dataset] | xr.DataTree) -> dict[str, xr.Dataset]:
    if isinstance(results, xr.DataTree):
        return {str(name): child.to_dataset() for name, child in results.children.items()}
    good = isinstance(results, Mapping) and not isinstance(results, xr.Dataset)
    if not good or not all(isinstance(d, xr.Dataset) for d in results.values()):
        raise StoreError(
            "results",
            got=type(results).__name__ if not good else "values that are no Datasets",
            wanted="a Dataset for each name, or a DataTree",
            fix='{"camera": camera}',
        )
    return dict(results)


def open_results(path: str | Path) -> xr.DataTree:
    """Open results written by ``store``.

    Parameters
    ----------
    path : path
        Where they were stored.

    Returns
    -------
    xarray.DataTree
        One child for each result; lazy.

    Raises
    ------
    StoreError
        If there are no results at ``path``, or writing them did not end.
    """
    if not _is_results(Path(path)):
        raise StoreError(
            str(path),
            got="no store of results",
            wanted="a folder written by store()",
            fix="check the path",
        )
    if not zarr.open_group(path, mode="r").attrs["complete"]:
        raise StoreError(
            str(path),
            got="a store whose writing did not end",
            wanted="a complete one",
            fix="store again",
        )
    return xr.open_datatree(path, engine="zarr", consolidated=False, chunks={})


def _is_results(path: Path) -> bool:
    try:
        return zarr.open_group(path, mode="r").attrs.get("smlm_dask") == "results"
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _check_target(results: Mapping[str, xr.Dataset], path: Path, overwrite: bool) -> None:
    if not results:
        raise StoreError(
            "results", got="nothing", wanted="a Dataset for each name", fix='{"camera": camera}'
        )
    wrong = [name for name in results if not NAME.fullmatch(str(name)) or name == "zarr.json"]
    if wrong:
        # A name becomes a folder; one with ".." would be written outside the store.
        raise StoreError(
            f"name {wrong[0]!r}",
            got="characters a folder in the store cannot have",
            wanted="letters, digits, '_', '-' and '.', not first",
            fix='e.g. "camera"',
        )
    if path.exists() and not (overwrite and _is_results(path)):
        raise StoreError(
            str(path),
            got="something there already",
            wanted="a new path",
            fix="overwrite=True, or another name",
        )


def _prepare(dataset: xr.Dataset, path: Path, name: str) -> list[tuple[Any, Any]]:
    """Write what is in memory and the frame of what is not; return what is still to compute."""
    even = _even(dataset)
    even.to_zarr(path, group=name, mode="a", compute=False, consolidated=False)
    group = zarr.open_group(path, path=name, mode="a")
    lazy = {n: v.data for n, v in even.variables.items() if _graph.is_lazy(v.data)}
    return [(array, group[str(n)]) for n, array in lazy.items()]


def _even(dataset: xr.Dataset) -> xr.Dataset:
    """Every lazy variable in chunks of one size, as zarr stores them."""
    changed = {
        n: v.chunk({d: max(sizes) for d, sizes in zip(v.dims, v.chunks, strict=True)})
        for n, v in dataset.variables.items()
        if v.chunks is not None
    }
    return dataset.assign({n: v for n, v in changed.items() if n in dataset.data_vars})
