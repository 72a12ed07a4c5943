"""Spoilt files by what they reach in the code: ``python -m tests.fuzz_atheris tiff -max_total_time=3600``.

Needs ``pip install atheris`` and is run by hand; `tests.fuzz` needs no such package.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

NAMES = {"tiff": "a.tif", "ome": "a.ome.tif", "spe": "a.spe", "npy": "a.npy", "nd2": "a.nd2"}


def fuzz(path: Path, arguments: list[str]) -> None:
    """Open and read a file of whatever bytes, until something but an error of the package is raised."""
    import atheris

    with atheris.instrument_imports(include=["smlm_dask.readers", "tifffile", "nd2"]):
        from smlm_dask.errors import SmlmError
        from smlm_dask.movie import open_movie
        from tests.fuzz import FORMATS

    corpus = path.parent / "corpus"
    for number, write in enumerate(write for writers in FORMATS.values() for write in writers):
        place = corpus / str(number)
        place.mkdir(parents=True)
        good = write(place)
        if good.name == path.name:
            good.rename(corpus / f"{number}-{good.name}")

    def once(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(SmlmError):
            open_movie(path, pixel_size=108)[:2, :64].compute(scheduler="sync")

    atheris.Setup([*arguments, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        fuzz(Path(folder, NAMES[sys.argv[1]]), [sys.argv[0], *sys.argv[2:]])
