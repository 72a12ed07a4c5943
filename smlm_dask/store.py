"""Results on disk: the line that computes. One reading of the movie for all of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from smlm_dask import _graph, folder
from smlm_dask.check import shown
from smlm_dask.errors import StoreError

__all__ = ["open_results", "store"]

KIND, PARTS = "results", "parts"  # attributes of the root
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
        If there is nothing to store, something is at ``path`` already or in the way at
        ``path.part``, nothing can be written there, or a result is not made of numbers and plain
        attributes.
    """
    path, results = folder.as_path(path, "results.zarr"), _datasets(results)
    _check_names(results)
    folder.check_target(path, KIND, overwrite)
    root, part = folder.begin(path, KIND), folder.unfinished(path)
    # Every chunk is written, zeros too: a missing chunk would read as fill and look like data. An array
    # takes this from the configuration when it is opened, and carries it to the workers.
    with zarr.config.set({"array.write_empty_chunks": True}):
        pairs = [
            pair for name, dataset in results.items() for pair in _prepare(dataset, part, name)
        ]
    _graph.write([array for array, _ in pairs], [target for _, target in pairs])
    root.attrs.update({"complete": True, PARTS: _parts(root)})
    return folder.finish(path)


def _datasets(results: Mapping[str, xr.Dataset] | xr.DataTree) -> dict[str, xr.Dataset]:
    if isinstance(results, xr.DataTree):
        lost = [node.path for node in results.subtree if node.level != 1 and node.has_data]
        if lost:
            raise StoreError(
                "results",
                got=f"a tree with data in {lost}",
                wanted="data in the children of the root only",
                fix="a Dataset for each name, in one dict",
            )
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
    path = folder.as_path(path, "results.zarr")
    root = folder.marked(path, KIND)
    if root is None:
        raise StoreError(
            str(path),
            got="no store of results",
            wanted="a folder written by store()",
            fix="check the path",
        )
    if root.attrs.get("complete") is not True:
        raise StoreError(
            str(path),
            got="a store whose writing did not end",
            wanted="a complete one",
            fix="store again",
        )
    _check_whole(root, path)
    try:
        return xr.open_datatree(path, engine="zarr", consolidated=False, chunks={})
    except Exception as error:  # a damaged chunk makes its codec raise anything at all
        raise _damaged(path, error) from error


def _parts(root: zarr.Group) -> list[str]:
    return sorted(name for name, _ in root.members(max_depth=None))


def _check_whole(root: zarr.Group, path: Path) -> None:
    """All groups, arrays and chunks that were written are still there: one that is not reads as zeros."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr's, of folders that are no arrays any more
            found = dict(root.members(max_depth=None))
        parts: Any = root.attrs[PARTS]
        lost = sorted(set(parts) - set(found))
        arrays = {name: a for name, a in found.items() if isinstance(a, zarr.Array)}
        lost += [name for name, a in arrays.items() if a.nchunks_initialized != a.nchunks]
    except folder.FOREIGN as error:
        raise _damaged(path, error) from error
    if lost:
        raise _damaged(path, lost)


def _damaged(path: Path, what: object) -> StoreError:
    error = isinstance(what, Exception)
    return StoreError(
        str(path),
        got=f"{type(what).__name__}: {what}"
        if error
        else f"a store that lost parts of {shown(what)}",
        wanted="all that was written, undamaged",
        fix="store again, or copy it again from its source",
    )


def _check_names(results: Mapping[str, xr.Dataset]) -> None:
    """A name becomes a folder; one with ".." would be written outside the store, one with "/" be lost."""
    if not results:
        raise StoreError(
            "results", got="nothing", wanted="a Dataset for each name", fix='{"camera": camera}'
        )
    names = [*results, *(name for dataset in results.values() for name in dataset.variables)]
    wrong = [n for n in names if not (isinstance(n, str) and NAME.fullmatch(n)) or n == "zarr.json"]
    if wrong:
        raise StoreError(
            f"name {wrong[0]!r}",
            got="what a folder in the store cannot be called",
            wanted="letters, digits, '_', '-' and '.', not first",
            fix='e.g. "camera"',
        )


def _prepare(dataset: xr.Dataset, path: Path, name: str) -> list[tuple[Any, Any]]:
    """Write what is in memory and the frame of what is not; return what is still to compute."""
    even = _even(dataset)
    try:
        even.to_zarr(path, group=name, mode="a", compute=False, consolidated=False)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise StoreError(
            f"result {name!r}",
            got=f"{type(error).__name__}: {error}",
            wanted="arrays of numbers or words, and plain attributes",
            fix="leave out or convert what is neither",
        ) from error
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
    data = {n: v for n, v in changed.items() if n in dataset.data_vars}
    return dataset.assign(data).assign_coords({n: v for n, v in changed.items() if n not in data})
