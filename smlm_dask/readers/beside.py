"""Files that a movie's metadata name: only those in the movie's own folder are opened."""

from __future__ import annotations

from pathlib import Path

from smlm_dask.errors import SourceCorruptError

__all__ = ["beside", "within"]


def beside(path: str, name: str) -> str:
    """Give the file ``name`` in the folder of ``path``; refuse one that lies elsewhere, by name or link.

    A folder of links is no escape: what lies beside the target of ``path`` itself is inside too.
    """
    file = Path(path).parent / name
    homes = Path(path).parent.resolve(), Path(path).resolve().parent
    if not any(within(file, home) for home in homes):
        raise SourceCorruptError(
            path,
            got=f"a movie that goes on in {name}, outside its folder",
            wanted="all files of a movie in one folder",
            fix="copy that file beside this one if you trust it, under the name that is told",
        )
    return str(file)


def within(file: Path, home: Path) -> bool:
    """Tell whether a file, with its links followed, lies in a folder whose links are followed."""
    return file.resolve().is_relative_to(home)
