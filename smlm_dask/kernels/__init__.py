"""Chunk kernels: arrays in, arrays out; they know neither dask nor xarray."""
