"""Results on disk: the line that computes. One reading of the movie for all of them."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd
import xarray as xr
import zarr

from smlm_dask import _graph, folder
from smlm_dask.check import flag, shown
from smlm_dask.errors import StoreError
from smlm_dask.provenance import changed, describe
from smlm_dask.stored import StoredArray, compressors

__all__ = ["open_results", "repair", "store", "verify"]

KIND = "results"
RUN, PARTS = (
    "run",
    "parts",
)  # attributes of the root: what was computed, and the sums of what names it
FRAMED = "framed"  # all but the chunks is written
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
LEVEL = 3  # of zstd
# What surely does not fit: numbers with noise shrink to three quarters. A disk that is full in the end is
# an error too, and what was written is kept.
LEAST_STORED = 0.5

Results = Mapping[str, xr.Dataset] | xr.DataTree


def store(
    results: Results, path: str | Path, *, overwrite: bool = False, resume: bool = True
) -> Path:
    """Compute all results together and write each as a group of one zarr store.

    What the results share - the movie's chunks, the medians of its windows - is read and computed
    once. Everything is written to ``path.part``, each chunk by the task that computes it, with a checksum,
    and gets its name when it is complete. If it is interrupted, even killed, the same line goes on with the
    chunks that are missing.

    Parameters
    ----------
    results : mapping of name to Dataset, or DataTree
        A group for each.
    path : path
        A folder that does not exist yet.
    overwrite : bool
        Replace a store of results that is there, at the end. Any other folder is never removed.
    resume : bool
        Go on with what was interrupted, if it is of these results: of the same movie, parameters and
        version. False begins again.

    Returns
    -------
    pathlib.Path
        Where the results are.

    Raises
    ------
    StoreError
        If there is nothing to store, something is at ``path`` already or in the way at
        ``path.part``, other results were begun there, ``path`` lies in the movie, the disk has too little
        space, nothing can be written there, or a result is not made of numbers and plain attributes.
    """
    path, results = folder.as_path(path, "results.zarr").absolute(), _datasets(results)
    _check_names(results)
    resume, overwrite = flag("resume", resume), flag("overwrite", overwrite)
    folder.check_target(path, KIND, overwrite)
    results = {name: _even(dataset) for name, dataset in results.items()}
    run = describe(results, path)
    for source in run["sources"]:
        folder.check_apart(source, path)
    part = _begun(path, results, run, resume)
    arrays = _arrays(part)
    jobs = [_graph.Job(arrays[name], data, arrays[name].missing()) for name, data in _lazy(results)]
    folder.check_space(part, int(LEAST_STORED * sum(map(_bytes, jobs))))
    _graph.write(*jobs)
    _finish(part)
    return folder.finish(path)


def _bytes(job: _graph.Job) -> float:
    return job.data.nbytes * len(job.wanted) / max(1, job.data.npartitions)


def _lazy(results: Mapping[str, xr.Dataset]) -> Iterator[tuple[str, _graph.Array]]:
    for group, dataset in results.items():
        for name, variable in dataset.variables.items():
            if _graph.is_lazy(variable.data):
                yield f"{group}/{name}", variable.data


def _arrays(root: Path) -> dict[str, StoredArray]:
    """All arrays of a store, by group and name."""
    # Every chunk is written, zeros too: a missing chunk would read as fill and look like data. An array
    # takes this from the configuration when it is opened, and carries it to the workers.
    with zarr.config.set({"array.write_empty_chunks": True}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's, of folders that are no arrays any more
        members = zarr.open_group(root, mode="r+").members(max_depth=None)
    return {n: StoredArray(root, n, a) for n, a in members if isinstance(a, zarr.Array)}


# ------------------------------------------------------------------ begin, or go on, and end


def _begun(path: Path, results: Mapping[str, xr.Dataset], run: Any, resume: bool) -> Path:
    """The unfinished store with all but its chunks: the one that is there, or a new one."""
    part = folder.unfinished(path)
    root = folder.marked(part, KIND) if resume else None
    if root is not None and root.attrs.get(FRAMED) is True:
        _check_same(part, root.attrs.get(RUN), run)
        return part
    folder.begin(path, KIND)
    with zarr.config.set({"array.write_empty_chunks": True}):
        for name, dataset in results.items():
            _write_frame(dataset, part, name)
    zarr.open_group(part, mode="r+").attrs.update({RUN: run, FRAMED: True})
    return part


def _check_same(where: Path, found: Any, run: Mapping[str, Any]) -> None:
    """Half of the chunks would be of another movie, or of another version of a kernel."""
    there = found if isinstance(found, dict) else {}
    other = [word for part in run for word in _differing(there.get(part), run[part])]
    if other:
        raise StoreError(
            str(where),
            got=f"other results, which differ in {shown(other)}",
            wanted="those of the same movie, parameters and version",
            fix="resume=False to begin again, or another path",
        )


def _differing(then: Any, now: Any) -> list[str]:
    """Names that are not the same."""
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return [] if then == now else [f"the version, {then!r}"]
    return [name for name in {**then, **now} if then.get(name) != now.get(name)]


def _finish(part: Path) -> None:
    root = zarr.open_group(part, mode="r+")
    lost = [f"{n} {i}" for n, array in _arrays(part).items() for i in array.missing()]
    if lost:
        raise _damaged(part, lost)
    root.attrs.update({"complete": True, PARTS: _sums(part, root)})


def _sums(path: Path, root: zarr.Group) -> dict[str, int]:
    """Checksums of the files that say what groups and arrays are."""
    names = sorted(name for name, _ in root.members(max_depth=None))
    return {name: crc32((path / name / "zarr.json").read_bytes()) for name in names}


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


def _damaged(path: Path, what: object) -> StoreError:
    error = isinstance(what, Exception)
    return StoreError(
        str(path),
        got=f"{type(what).__name__}: {what}"
        if error
        else f"a store that lost parts of {shown(what)}",
        wanted="all that was written, undamaged",
        fix="smlm_dask.verify names what is damaged, smlm_dask.repair computes it again",
    )


# ------------------------------------------------------------------ verify, and repair


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
    root = _root(path)
    _check_whole(root, path, [], [])
    faults: list[tuple[str, Any, str]] = []
    lost = _lost_parts(path, root)
    faults += [(name, None, "not as it was written") for name in lost]
    for name, array in _arrays(path).items():
        if not any(name == n or name.startswith(f"{n}/") for n in lost):
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
    path, results = folder.as_path(path, "results.zarr").absolute(), _datasets(results)
    results = {name: _even(dataset) for name, dataset in results.items()}
    faults = verify(path)
    root = zarr.open_group(path, mode="r+")
    _check_same(path, root.attrs.get(RUN), describe(results, path))
    lazy = dict(_lazy(results))
    # What is no chunk of a lazy array was written with the frame of its group.
    framed = faults.chunk.isna() | ~faults.array.isin(lazy)
    for group in {name.split("/")[0] for name in faults.array[framed]}:
        shutil.rmtree(path / group)
        _write_frame(results[group], path, group)
    arrays = _arrays(path)
    for name, index in zip(faults.array[~framed], faults.chunk[~framed], strict=True):
        arrays[name].file(index).unlink(missing_ok=True)
    _graph.write(*(_graph.Job(arrays[n], data, arrays[n].missing()) for n, data in lazy.items()))
    root.attrs[PARTS] = _sums(path, root)
    return faults


# ------------------------------------------------------------------ open


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
    root = _root(path)
    try:
        arrays = _arrays(path)
        lost = _lost_parts(path, root) + [n for n, a in arrays.items() if a.missing()]
        run: Any = root.attrs.get(RUN)
        stale = changed(run["sources"]) if run else []
        if not partial:
            _check_whole(root, path, lost, stale)
        tree = xr.open_datatree(path, engine="zarr", consolidated=False, chunks={})
    except StoreError:
        raise
    except Exception as error:  # a damaged file makes its codec raise anything at all
        raise _damaged(path, error) from error
    return _with_gaps(tree, arrays) if lost else tree


def _root(path: Path) -> zarr.Group:
    root = folder.marked(path, KIND)
    if root is None:
        raise StoreError(
            str(path),
            got="no store of results",
            wanted="a folder written by store()",
            fix="check the path",
        )
    return root


def _lost_parts(path: Path, root: zarr.Group) -> list[str]:
    """Groups and arrays whose description is gone, or another one than was written."""
    if PARTS not in root.attrs:
        return []
    sums: Any = root.attrs[PARTS]
    return [n for n, was in sums.items() if _sum(path / n / "zarr.json") != was]


def _sum(file: Path) -> int | None:
    return crc32(file.read_bytes()) if file.is_file() else None


def _check_whole(root: zarr.Group, path: Path, lost: list[str], stale: list[str]) -> None:
    if root.attrs.get("complete") is not True:
        raise StoreError(
            str(path),
            got="a store whose writing did not end",
            wanted="a complete one",
            fix="store again, which goes on where it ended, or partial=True for what is there",
        )
    if lost or PARTS not in root.attrs:
        raise _damaged(path, lost)
    if stale:
        raise StoreError(
            str(path),
            got=f"results of {stale[0]} as it was before it changed",
            wanted="results of the movie that is there",
            fix="store again with overwrite=True, or partial=True for these",
        )


def _with_gaps(tree: xr.DataTree, arrays: Mapping[str, StoredArray]) -> xr.DataTree:
    """NaN where a chunk is missing, which zarr would read as its fill value."""
    groups = {}
    for name, child in tree.children.items():
        dataset = child.to_dataset()
        for key, variable in dataset.data_vars.items():
            array = arrays.get(f"{name}/{key}")
            if array is not None and (missing := array.missing()):
                data = _graph.gaps(variable.data, missing)
                dataset[key] = variable.copy(data=data)
        groups[name] = dataset
    return xr.DataTree.from_dict(groups)


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


def _write_frame(dataset: xr.Dataset, path: Path, name: str) -> None:
    """Write what is in memory and the frame of what is not."""
    codecs = {"compressors": compressors("zstd", LEVEL)}
    clean = dataset.drop_encoding()
    encoding = {str(n): codecs for n in clean.variables}
    try:
        clean.to_zarr(
            path, group=name, mode="a", compute=False, encoding=encoding, consolidated=False
        )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise StoreError(
            f"result {name!r}",
            got=f"{type(error).__name__}: {error}",
            wanted="arrays of numbers or words, and plain attributes",
            fix="leave out or convert what is neither",
        ) from error


def _even(dataset: xr.Dataset) -> xr.Dataset:
    """Every lazy variable in chunks of one size, as zarr stores them."""
    changed = {
        n: v.chunk({d: max(sizes) for d, sizes in zip(v.dims, v.chunks, strict=True)})
        for n, v in dataset.variables.items()
        if v.chunks is not None
    }
    data = {n: v for n, v in changed.items() if n in dataset.data_vars}
    return dataset.assign(data).assign_coords({n: v for n, v in changed.items() if n not in data})
