"""HDF5 files, opened with h5py and never left.

External links, raw data kept in other files and virtual datasets are refused, since a file may come from
anywhere.
"""

from __future__ import annotations

from typing import Any

from smlm_dask.errors import FormatError

__all__ = ["check_inside", "opened", "resolve"]

MOST_STEPS = 64  # of links that lead to links


def opened(path: str, mode: str = "r") -> Any:
    """An h5py file; a FormatError where there is no h5py."""
    try:
        import h5py  # optional, and only files of this format need it
    except ImportError as error:
        raise FormatError(
            path,
            got="no h5py",
            wanted="h5py, which reads and writes HDF5",
            fix="pip install 'smlm-dask[hdf5]'",
        ) from error
    return h5py.File(path, mode)


def resolve(path: str, file: Any, name: str) -> str | None:
    """Follow ``name`` link by link; None where nothing is, an error where it leads out of the file."""
    import h5py

    wanted, at = [part for part in name.split("/") if part not in ("", ".")], ""
    for _ in range(MOST_STEPS):
        if not wanted:
            return at or None
        inside = file[at] if at else file
        link = inside.get(wanted[0], getlink=True) if isinstance(inside, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise _outside(path, name, f"a link to {link.filename}")
        if isinstance(link, h5py.SoftLink):
            at = "" if link.path.startswith("/") else at
            wanted = [part for part in link.path.split("/") if part] + wanted[1:]
        else:
            at = f"{at}/{wanted.pop(0)}".lstrip("/")
    return None


def check_inside(path: str, name: str, stored: Any) -> None:
    """Refuse a dataset whose numbers may lie in other files."""
    if stored.external or stored.is_virtual:
        raise _outside(path, name, "data kept in other files" if stored.external else "virtual")


def _outside(path: str, name: str, what: str) -> FormatError:
    return FormatError(
        path,
        got=f"a dataset {name!r} that is {what}",
        wanted="numbers that lie in this file",
        fix="copy it into one file (h5repack, or h5py)",
    )
