"""The folder that results or a movie are written to: begun under another name, finished at the end."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import zarr

from smlm_dask.check import shown
from smlm_dask.errors import StoreError

__all__ = [
    "BEGUN",
    "FOREIGN",
    "MARK",
    "as_path",
    "begin",
    "check_apart",
    "check_space",
    "check_target",
    "finish",
    "marked",
    "unfinished",
]

BEGUN = "begun"  # attribute of the root: another one each time
MARK = "smlm_dask"  # attribute of the root: what this package wrote there
# What zarr raises for a folder of anything at all.
FOREIGN = (AttributeError, KeyError, OSError, TypeError, ValueError)


def as_path(path: object, example: str) -> Path:
    """``path`` as a folder on this machine, from its root on, or a ``StoreError``."""
    if isinstance(path, str | os.PathLike) and str(path) and "://" not in str(path):
        with suppress(RuntimeError, TypeError, ValueError):  # bytes; "~name" without such a user
            found = Path(path).expanduser().absolute()
            if found.name not in ("", ".."):
                return found
    raise StoreError("path", got=shown(path), wanted="a folder on this machine", fix=f'"{example}"')


def unfinished(path: Path) -> Path:
    """Where everything is written before it gets its name."""
    return path.with_name(path.name + ".part")


def marked(path: Path, kind: str) -> zarr.Group | None:
    """The root of what this package wrote there, of one kind, or None for anything else."""
    try:
        root = zarr.open_group(path, mode="r")
    except FOREIGN:
        return None
    return root if root.attrs.get(MARK) == kind else None


def check_target(path: Path, kind: str, overwrite: bool) -> None:
    """Nothing is there, or what this package wrote: no other folder is ever removed."""
    if not os.path.lexists(path):
        return
    ours = marked(path, kind) is not None
    if not (ours and overwrite):
        raise StoreError(
            str(path),
            got="something there already",
            wanted="a new path",
            fix="overwrite=True, or another name" if ours else "another name",
        )


def check_apart(source: str, path: Path) -> None:
    """What is written is not what it is made of, nor in it: it would replace or fill its own source."""
    old, new = Path(source).resolve(), path.resolve()
    if old == new or old in new.parents or new in old.parents:
        raise StoreError(
            str(path),
            got=f"a place in the source or around it, {source}",
            wanted="a folder apart from it",
            fix="another path",
        )


def check_space(part: Path, wanted: int) -> None:
    """Before hours of computing, not after them."""
    free = shutil.disk_usage(part).free
    if wanted > free:
        raise StoreError(
            str(part.parent),
            got=f"{free} bytes of space",
            wanted=f"about {wanted} bytes for what is still to be written",
            fix="another disk, or make space and call again: it goes on with what is missing",
        )


def begin(path: Path, kind: str) -> zarr.Group:
    """Make the folder that everything is written to before it is ``path``; what was begun there goes."""
    part = unfinished(path)
    if os.path.lexists(part) and marked(part, kind) is None:
        raise StoreError(
            str(part),
            got="something there already, where everything is written before it gets its name",
            wanted=f"nothing, or a {kind} store whose writing did not end",
            fix="move it away, or another path",
        )
    try:
        return zarr.open_group(
            part, mode="w", attributes={MARK: kind, "complete": False, BEGUN: uuid4().hex}
        )
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise StoreError(
            str(part),
            got=f"{type(error).__name__}: {error}",
            wanted="a folder that can be written to",
            fix="another path",
        ) from error


def finish(path: Path, kind: str, overwrite: bool) -> Path:
    """Give what was written its name; what had it goes only now, as the new may be computed from it."""
    check_target(path, kind, overwrite)  # hours after the first time
    old = path.with_name(path.name + ".old")
    if path.exists():
        _remove(old)
        path.rename(old)
    done = unfinished(path).rename(path)
    _remove(old)
    return done


def _remove(old: Path) -> None:
    """What was replaced; of a link the link alone."""
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old, ignore_errors=True)
