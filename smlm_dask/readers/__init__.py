"""Readers: one file per format, and the xarray backend in front of them."""

from smlm_dask.readers.backend import SmlmBackend, open_reader
from smlm_dask.readers.reader import Reader

__all__ = ["Reader", "SmlmBackend", "open_reader"]
