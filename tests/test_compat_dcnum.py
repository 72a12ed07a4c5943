"""All recorded cases of dcnum, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest

from smlm_dask.compat.dcnum import sparse_median
from smlm_dask.errors import ParameterError, SmlmError

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


GOOD = {"frame_rate": 1000.0, "kernel_size": 20, "split_time": 0.01}
NEVER = [0, -1, np.nan, np.inf, "20", True, 1j, [20]]


@pytest.mark.parametrize("bad", NEVER)
@pytest.mark.parametrize("name", ["frame_rate", "split_time", "kernel_size"])
def test_numbers_that_cannot_be_are_named(name, bad):
    with pytest.raises(ParameterError, match=name):
        sparse_median(np.zeros((60, 4, 4), "u1"), **GOOD | {name: bad})


@pytest.mark.parametrize(("name", "bad"), [("split_time", None), ("kernel_size", None)])
def test_numbers_that_must_be_there(name, bad):
    with pytest.raises(ParameterError, match=name):
        sparse_median(np.zeros((60, 4, 4), "u1"), **GOOD | {name: bad})


@pytest.mark.parametrize(
    "bad", [["a"] * 60, np.arange(50), 3, np.arange(60) * 1j, np.zeros((60, 1)), [None] * 60]
)
@pytest.mark.parametrize("name", ["time", "frame"])
def test_times_that_are_no_numbers_are_named(name, bad):
    with pytest.raises(ParameterError, match=name):
        sparse_median(np.zeros((60, 4, 4), "u1"), **GOOD | {name: bad})


def test_times_on_a_calendar_are_refused():
    time = np.arange(60).astype("M8[s]")
    with pytest.raises(ParameterError, match="time: got datetime64"):
        sparse_median(np.zeros((60, 4, 4), "u1"), **GOOD | {"time": time})


@pytest.mark.parametrize("bad", ["no", None, 1.5])
def test_a_correction_is_wanted_or_not(bad):
    with pytest.raises(ParameterError, match="offset_correction"):
        sparse_median(np.zeros((60, 4, 4), "u1"), **GOOD, offset_correction=bad)


def test_a_frame_rate_as_hdf5_keeps_it():
    images = np.random.default_rng(0).integers(0, 255, (60, 4, 4)).astype("u1")
    plain = sparse_median(images, **GOOD)
    for rate in (np.array(1000.0), np.float32(1000.0), 1000):
        same = sparse_median(images, **GOOD | {"frame_rate": rate})
        np.testing.assert_array_equal(same.step_times, plain.step_times)


@pytest.mark.parametrize("images", [3, None, "a", np.zeros((4, 4)), np.zeros((0, 4, 4), "u1")])
def test_images_that_are_no_movie(images):
    with pytest.raises(SmlmError, match="movie"):
        sparse_median(images, **GOOD)
