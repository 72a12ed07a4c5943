"""Results on disk: the line that computes. One reading of the movie for all of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from smlm_dask import _graph, folder
from smlm_dask.check import flag, shown
from smlm_dask.errors import StoreError
from smlm_dask.provenance import describe
from smlm_dask.results import KIND, RUN, arrays_of, complete, frame, is_framed, lost_parts
from smlm_dask.stored import compressors, flush, unwritten

__all__ = ["Results", "check_same", "even_datasets", "lazy_arrays", "mend_frame", "store"]

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
LEVEL = 3  # of zstd
# Attributes by which xarray and others make other numbers of those that are stored.
RESERVED = {
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "_Unsigned",
    "coordinates",
    "dtype",
}
TIME = re.compile(r"\bsince\b|^(days|hours|minutes|(milli|micro|nano)?seconds)$")
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
    path, results = folder.as_path(path, "results.zarr"), even_datasets(results)
    resume, overwrite = flag("resume", resume), flag("overwrite", overwrite)
    folder.check_target(path, KIND, overwrite)
    run = describe(results, path)
    for source in run["sources"]:
        folder.check_apart(source, path)
    part, begun = _begun(path, results, run, resume)
    arrays = arrays_of(part)
    jobs = [arrays[name].job(data) for name, data in lazy_arrays(results)]
    folder.check_space(part, int(LEAST_STORED * sum(map(_bytes, jobs))))
    _graph.write(*jobs)
    complete(part, begun)
    return folder.finish(path, KIND, overwrite)


def _bytes(job: _graph.Job) -> float:
    return job.data.nbytes * len(job.wanted) / max(1, job.data.npartitions)


def _begun(
    path: Path, results: Mapping[str, xr.Dataset], run: Any, resume: bool
) -> tuple[Path, str]:
    """The unfinished store with all but its chunks, the one that is there or a new one, and its mark."""
    part = folder.unfinished(path)
    root = folder.marked(part, KIND) if resume else None
    if root is not None and is_framed(root):
        check_same(
            part, root.attrs.get(RUN), run, "resume=False (--fresh) to begin again, or another path"
        )
        mend_frame(results, part)
    else:
        root = folder.begin(path, KIND)
        for name, dataset in results.items():
            _write_frame(dataset, part, name)
        frame(part, run)
    return part, str(root.attrs[folder.BEGUN])


def mend_frame(results: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write again what is damaged of all that is no chunk of a lazy array."""
    lazy = dict(lazy_arrays(results))
    eager = {name: array for name, array in arrays_of(path).items() if name not in lazy}
    lost = lost_parts(path)
    lost += [name for name, array in eager.items() if any(map(array.fault, array.places))]
    for group in {name.split("/")[0] for name in lost}:
        _write_again(results[group], path, group)


def _write_again(dataset: xr.Dataset, path: Path, name: str) -> None:
    """The frame of a group beside the chunks that are there."""
    spare = path.with_name(path.name + ".frame")
    shutil.rmtree(spare, ignore_errors=True)
    zarr.open_group(spare, mode="w")
    _write_frame(dataset, spare, name)
    for file in [file for file in (spare / name).rglob("*") if file.is_file()]:
        target = path / file.relative_to(spare)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    shutil.rmtree(spare)


def check_same(where: Path, found: Any, run: Mapping[str, Any], fix: str) -> None:
    """Half of the chunks would be of another movie, or of another version of a kernel."""
    there = found if isinstance(found, dict) else {}
    other = [word for part in run for word in _differing(there.get(part), run[part])]
    if other:
        raise StoreError(
            str(where),
            got=f"other results, which differ in {shown(other)}",
            wanted="those of the same movie, parameters and version",
            fix=fix,
        )


def _differing(then: Any, now: Any) -> list[str]:
    """Names that are not the same."""
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return [] if then == now else [f"the version, {then!r}"]
    return [name for name in {**then, **now} if then.get(name) != now.get(name)]


# ------------------------------------------------------------------ what is to be stored


def even_datasets(results: Results) -> dict[str, xr.Dataset]:
    """A Dataset for each name, every lazy variable in chunks of one size, as zarr stores them."""
    datasets = _datasets(results)
    _check_names(datasets)
    for name, dataset in datasets.items():
        for key, variable in dataset.variables.items():
            _check_variable(f"{name}/{key}", variable)
    return {name: _even(dataset) for name, dataset in datasets.items()}


def _datasets(results: Results) -> dict[str, xr.Dataset]:
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


def _check_variable(name: str, variable: xr.Variable) -> None:
    """Refuse what would come back as other numbers, or not at all."""
    told = RESERVED & {str(attribute) for attribute in variable.attrs}
    units, kind = str(variable.attrs.get("units", "")), variable.dtype.kind
    if told or (kind in "iufb" and TIME.search(units)):
        got = f"the attribute {min(told)!r}" if told else f"units {units!r}"
        wanted = "numbers that stand for themselves: programs that read zarr would decode them"
        fix = "decode them (xr.decode_cf), or leave the attribute out"
    elif kind in "mM" and _graph.is_lazy(variable.data):
        # They are stored as numbers since a time that is chosen when all are known.
        got, wanted, fix = f"{variable.dtype} still to compute", "times", "compute it before"
    elif kind == "M" and np.datetime_data(variable.dtype)[0] != "ns":
        got, wanted, fix = str(variable.dtype), "nanoseconds", 'astype("M8[ns]")'
    elif _graph.is_lazy(variable.data) and not _graph.is_sized(variable.data.chunks):
        got, wanted, fix = "chunks of unknown sizes", "a shape", "compute it before"
    else:
        return
    raise StoreError(f"variable {name!r}", got=got, wanted=wanted, fix=fix)


def _even(dataset: xr.Dataset) -> xr.Dataset:
    changed = {
        n: xr.Variable(v.dims, _graph.even(v.data), v.attrs, v.encoding)
        for n, v in dataset.variables.items()
        if v.chunks is not None
    }
    data = {n: v for n, v in changed.items() if n in dataset.data_vars}
    return dataset.assign(data).assign_coords({n: v for n, v in changed.items() if n not in data})


def lazy_arrays(results: Mapping[str, xr.Dataset]) -> Iterator[tuple[str, _graph.Array]]:
    """What is to compute, with the names of group and variable."""
    for group, dataset in results.items():
        for name, variable in dataset.variables.items():
            if _graph.is_lazy(variable.data):
                yield f"{group}/{name}", variable.data


def _write_frame(dataset: xr.Dataset, path: Path, name: str) -> None:
    """Write what is in memory and the frame of what is not."""
    codecs = {"compressors": compressors("zstd", LEVEL)}
    clean = dataset.drop_encoding()
    encoding = {str(n): codecs for n in clean.variables}
    options: Any = {"mode": "a", "compute": False, "consolidated": False}
    try:
        with zarr.config.set({"array.write_empty_chunks": True}):
            clean.to_zarr(path, group=name, encoding=encoding, **options)
        for file in (path / name).rglob("*"):
            if file.is_file():
                flush(file)
    except OSError as error:
        raise unwritten(path / name, clean.nbytes, error) from error
    except (TypeError, ValueError, NotImplementedError) as error:
        raise StoreError(
            f"result {name!r}",
            got=f"{type(error).__name__}: {error}",
            wanted="arrays of numbers or words, and plain attributes",
            fix="leave out or convert what is neither",
        ) from error
