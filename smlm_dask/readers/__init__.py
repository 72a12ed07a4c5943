"""Readers: one file per format, each an xarray backend."""

from smlm_dask.readers.backend import SmlmBackend, open_reader
from smlm_dask.readers.format import Format
from smlm_dask.readers.reader import Reader

__all__ = ["Format", "Reader", "SmlmBackend", "open_reader"]
