"""Camera gain, background, PSF and photons from single-molecule movies larger than memory."""

from smlm_dask.background import (
    Cleansing,
    background_sparse_median,
    background_spatial_mean,
    estimate_background,
)
from smlm_dask.calibration import as_camera, as_psf, as_spline_psf
from smlm_dask.channels import map_channels, open_channels, split_views
from smlm_dask.cluster import cluster
from smlm_dask.crop_fit import CropFit
from smlm_dask.dark import calibrate_dark
from smlm_dask.errors import SmlmError
from smlm_dask.gain import estimate_gain
from smlm_dask.ingest import ingest
from smlm_dask.maps import read_map
from smlm_dask.movie import as_movie, open_movie
from smlm_dask.photons import integrate_photons
from smlm_dask.plan import Plan, plan
from smlm_dask.preview import preview
from smlm_dask.psf import estimate_psf
from smlm_dask.results import open_results
from smlm_dask.simulate import (
    Camera,
    Emitters,
    Light,
    expected_photons,
    simulate_movie,
    truth_table,
)
from smlm_dask.store import store
from smlm_dask.table import read_table, write_table
from smlm_dask.verify import repair, verify

__all__ = [
    "Camera",
    "Cleansing",
    "CropFit",
    "Emitters",
    "Light",
    "Plan",
    "SmlmError",
    "as_camera",
    "as_movie",
    "as_psf",
    "as_spline_psf",
    "background_sparse_median",
    "background_spatial_mean",
    "calibrate_dark",
    "cluster",
    "estimate_background",
    "estimate_gain",
    "estimate_psf",
    "expected_photons",
    "ingest",
    "integrate_photons",
    "map_channels",
    "open_channels",
    "open_movie",
    "open_results",
    "plan",
    "preview",
    "read_map",
    "read_table",
    "repair",
    "simulate_movie",
    "split_views",
    "store",
    "truth_table",
    "verify",
    "write_table",
]
