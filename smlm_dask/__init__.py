"""smlm_dask."""
