"""All recorded cases of dcnum, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest

from smlm_dask.compat.dcnum import sparse_median
from smlm_dask.errors import ParameterError

HERE = Path(__file__).parent / "reference" / "dcnum"
MANIFEST = json.loads((HERE / "manifest.json").read_text())


def stack_of(name):
    entry = MANIFEST["stacks"][name]
    stored = dict(np.load(HERE / entry["file"]))
    if "image" not in stored:
        stored["image"] = np.load(HERE / MANIFEST["stacks"][entry["image_from"]]["file"])["image"]
    return stored


def clock_of(stored):
    names = {"time": "time", "frame": "frame", "frame_rate": "frame_rate"}
    given = {ours: stored[key] for ours, key in names.items() if key in stored}
    if "frame_rate" in given:
        given["frame_rate"] = float(given["frame_rate"])
    return given


@pytest.mark.parametrize("name", sorted(MANIFEST["cases"]))
@pytest.mark.filterwarnings("ignore:kernel_size .* is cut to")
def test_case(name):
    case = MANIFEST["cases"][name]
    stored = stack_of(case["stack"])
    wanted = dict(np.load(HERE / "cases" / f"{name}.npz"))
    found = sparse_median(stored["image"], **clock_of(stored), **case["params"]).compute()
    assert found.image_bg.dtype == np.uint8
    np.testing.assert_array_equal(found.image_bg, wanted["bg_series"])
    np.testing.assert_array_equal(found.step_times, wanted["step_times"])
    np.testing.assert_array_equal(found.used, wanted["used"])
    np.testing.assert_array_equal(found.bg_idx, wanted["bg_idx"])
    if "bg_off" in wanted and case["params"].get("offset_correction", True):
        np.testing.assert_array_equal(found.bg_off, wanted["bg_off"])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_dtypes_are_kept_and_do_not_wrap(dtype):
    stored = stack_of("plain_regular")
    parameters = {"time": stored["time"], "kernel_size": 50, "split_time": 0.25}
    eight = sparse_median(stored["image"], **parameters).compute()
    raised = stored["image"].astype(dtype) + np.asarray(300, dtype)
    wide = sparse_median(raised, **parameters).compute()
    assert wide.image_bg.dtype == dtype
    np.testing.assert_array_equal(wide.image_bg, eight.image_bg.astype(dtype) + 300)
    np.testing.assert_array_equal(wide.used, eight.used)


def test_short_movies_warn_and_use_all_frames():
    images = np.arange(5 * 4 * 4, dtype="u1").reshape(5, 4, 4)
    with pytest.warns(UserWarning, match="kernel_size 200 is cut to the 5 frames"):
        found = sparse_median(images, time=np.arange(5.0), split_time=1.0, frac_cleansing=1)
    np.testing.assert_array_equal(found.image_bg[0], np.sort(images, axis=0)[2])


@pytest.mark.parametrize("time", [[0, 1, np.nan, 3, 4], [0, 1, 0, 1, 2], [0, 0, 0, 0, 0]])
def test_a_clock_that_cannot_be_is_refused(time):
    with pytest.raises(ParameterError, match="never go back"):
        sparse_median(np.zeros((5, 4, 4), "u1"), time=np.array(time, "f8"), kernel_size=2)
