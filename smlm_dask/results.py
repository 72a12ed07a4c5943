"""The folder of results: what it says of itself, what is there of it, and opening it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import xarray as xr
import zarr

from smlm_dask import _graph, folder
from smlm_dask.check import flag, shown
from smlm_dask.errors import StoreError
from smlm_dask.provenance import changed
from smlm_dask.stored import Index, StoredArray

__all__ = [
    "CHANGED",
    "KIND",
    "RUN",
    "arrays_of",
    "check_ended",
    "complete",
    "frame",
    "is_framed",
    "lost_parts",
    "open_results",
    "root_of",
]

KIND = "results"
# Attributes of the root: what was computed, and the checksums of what describes groups and arrays.
RUN, PARTS = "run", "parts"
CHANGED = "not as it was written"  # of a description
MENDED = "smlm_dask.verify names what is damaged, smlm_dask.repair computes it again"


def open_results(path: str | Path, *, partial: bool = False) -> xr.DataTree:
    """Open results written by ``store``.

    Parameters
    ----------
    path : path
        Where they were stored.
    partial : bool
        Open also what there is of results whose writing did not end or that lost chunks, with NaN where
        nothing is, and results of a movie that has changed since.

    Returns
    -------
    xarray.DataTree
        One child for each result; lazy. A chunk that was damaged raises when it is read; `verify` names it.

    Raises
    ------
    StoreError
        If there are no results at ``path``; unless ``partial``, if writing them did not end, a chunk is
        missing, or the movie that they are of has changed.
    """
    path = folder.as_path(path, "results.zarr")
    if flag("partial", partial) and folder.marked(path, KIND) is None:
        path = folder.unfinished(path)
    root = root_of(path)
    if not (partial and is_framed(root)):
        check_ended(root, path)
    try:
        arrays = arrays_of(path)
        gaps = {name: lost for name, array in arrays.items() if (lost := array.missing())}
        if not partial:
            _check_whole(root, path, [*lost_parts(path), *gaps])
        tree = xr.open_datatree(path, engine="zarr", consolidated=False, chunks={})
    except StoreError:
        raise
    except Exception as error:  # a damaged file makes its codec raise anything at all
        raise _damaged(path, error) from error
    return _with_gaps(tree, gaps) if gaps else tree


def root_of(path: Path) -> zarr.Group:
    """The root, which says that it is one of results."""
    root = folder.marked(path, KIND)
    if root is None and folder.marked(folder.unfinished(path), KIND) is not None:
        raise _unended(path)
    if root is None:
        raise StoreError(
            str(path),
            got="no store of results",
            wanted="a folder written by store()",
            fix="check the path",
        )
    return root


def arrays_of(path: Path) -> dict[str, StoredArray]:
    """Arrays by group and name, but those whose description was damaged."""
    # Every chunk is written, zeros too: a missing chunk would read as fill and look like data. An array
    # takes this from the configuration when it is opened, and carries it to the workers.
    with zarr.config.set({"array.write_empty_chunks": True}):
        root = zarr.open_group(path, mode="r+")
        sums: Any = root.attrs[PARTS]
        found = {name: root[name] for name in set(sums) - set(lost_parts(path))}
    return {n: StoredArray(path, n, a) for n, a in found.items() if isinstance(a, zarr.Array)}


def frame(path: Path, run: Mapping[str, Any]) -> None:
    """Write down what is to be computed, and what the groups and arrays are."""
    root = zarr.open_group(path, mode="r+")
    names = sorted(name for name, _ in root.members(max_depth=None))
    root.attrs.update({RUN: run, PARTS: {n: _sum(path / n / "zarr.json") for n in names}})


def is_framed(root: zarr.Group) -> bool:
    """Whether all but the chunks was written."""
    return PARTS in root.attrs


def complete(path: Path, begun: str) -> None:
    """Write down that all is there, if it is, and if it is still what was begun."""
    root = folder.marked(path, KIND)
    if root is None or root.attrs.get(folder.BEGUN) != begun:
        raise StoreError(
            str(path),
            got="the work of another run, which began in the same place",
            wanted="one at a time",
            fix="wait for it, or another path",
        )
    chunks = [f"{n} {i}" for n, array in arrays_of(path).items() for i in array.missing()]
    if lost := lost_parts(path) + chunks:
        raise _damaged(path, lost, "store again, which goes on with what is missing")
    zarr.open_group(path, mode="r+").attrs["complete"] = True


def _sum(file: Path) -> int | None:
    return crc32(file.read_bytes()) if file.is_file() else None


def check_ended(root: zarr.Group, path: Path) -> None:
    """Refuse what was never complete."""
    if root.attrs.get("complete") is not True or not is_framed(root):
        raise _unended(path)


def _unended(path: Path) -> StoreError:
    return StoreError(
        str(path),
        got="a store whose writing did not end",
        wanted="a complete one",
        fix="store again, which goes on where it ended, or partial=True for what is there",
    )


def lost_parts(path: Path) -> list[str]:
    """Groups and arrays whose description is gone, or another one than was written."""
    sums: Any = zarr.open_group(path, mode="r").attrs[PARTS]
    return [n for n, was in sums.items() if _sum(path / n / "zarr.json") != was]


def _check_whole(root: zarr.Group, path: Path, lost: list[str]) -> None:
    if lost:
        raise _damaged(path, lost)
    run: Any = root.attrs[RUN]
    for source in changed(run["sources"]):
        raise StoreError(
            str(path),
            got=f"results of {source} as it was before it changed",
            wanted="results of the movie that is there",
            fix="store again with overwrite=True, or partial=True for these",
        )


def _damaged(path: Path, what: object, fix: str = MENDED) -> StoreError:
    lost = f"a store that lost parts of {shown(what)}"
    return StoreError(
        str(path),
        got=f"{type(what).__name__}: {what}" if isinstance(what, Exception) else lost,
        wanted="all that was written, undamaged",
        fix=fix,
    )


def _with_gaps(tree: xr.DataTree, gaps: Mapping[str, list[Index]]) -> xr.DataTree:
    """NaN where a chunk is missing, which zarr would read as its fill value.

    An index, and words, have no NaN: they are left out.
    """
    groups = {name: child.to_dataset() for name, child in tree.children.items()}
    for name, missing in gaps.items():
        group, key = name.split("/")
        if key not in groups.get(group, {}):
            continue
        variable = groups[group].variables[key]
        if key in groups[group].indexes or variable.dtype.kind not in "biufcmM":
            groups[group] = groups[group].drop_vars(key)
            continue
        data = _graph.gaps(_graph.from_array(variable.data), missing)
        groups[group][key] = xr.Variable(variable.dims, data, variable.attrs)
    opened = xr.DataTree.from_dict(groups)
    opened.attrs = tree.attrs
    return opened
