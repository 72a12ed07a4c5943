from __future__ import annotations

import pickle
import re
from dataclasses import fields

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import dblquad

from smlm_dask.errors import ParameterError, SmlmError, TableError
from smlm_dask.kernels import simulate as kernel
from smlm_dask.simulate import (
    Camera,
    Emitters,
    Light,
    _simulation_of,
    expected_photons,
    simulate_movie,
    truth_table,
)
from tests.statements import simulate as statement

NOBODY = Emitters(number=0)
BUSY = Emitters(
    number=40, on_frames=3, off_frames=5, drift=(3.0, -5.0), bleaching_frames=200, photons=400
)
ROUGH = Camera(offset_spread=3, gain_spread=0.05, hot_fraction=0.02, frame_time=0.01)
UNEVEN = Light(background=14, gradient=0.5, blob=0.4, flicker=0.1, bleaching_frames=100)
# Counts electrons: every adu is one, nothing is added.
COUNTER = Camera(gain=1.0, offset=0.0, read_noise=0.0, quantum_efficiency=1.0)


def raw(n_frames, shape=(64, 64), **parts):
    return simulate_movie(n_frames, shape, **parts)[0].to_numpy()


def scene_of(shape=(13, 11), **parts):
    """What the kernels get for a movie of any length."""
    return _simulation_of(simulate_movie(1, shape, **parts)[1]).scene()


# ------------------------------------------------------------------ random numbers


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, wanted):
    words = kernel.philox(*(np.uint64(w) for w in [*counter, *key]))
    assert [int(w) for w in words] == [int(w, 16) for w in wanted.split()]
    assert statement.philox(counter, key) == [int(w) for w in words]


@pytest.mark.parametrize("mean", [0.3, 4.0, 9.9, 10.1, 60.0, 3000.0])
def test_photons_are_poisson(mean):
    counts = raw(16, emitters=NOBODY, camera=COUNTER, light=Light(background=mean), seed=3).ravel()
    edges = np.unique(stats.poisson.ppf(np.linspace(0.005, 0.995, 40), mean))
    cells = np.digitize(counts, edges, right=True)
    share = np.diff(np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]]))
    seen = np.bincount(cells, minlength=share.size)
    assert stats.chisquare(seen, share * counts.size).pvalue > 1e-3


def test_read_noise_is_normal():
    camera = Camera(gain=0.01, offset=30000, read_noise=20)
    dark = raw(8, emitters=NOBODY, camera=camera, light=Light(background=0)).ravel()
    assert stats.kstest((dark - 30000.0) / 2000, "norm").pvalue > 1e-3


def test_neighbours_in_space_and_time_are_independent():
    noise = raw(64, emitters=NOBODY, light=Light(background=50)).astype(float)
    noise = (noise - noise.mean()) / noise.std()
    lags = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0), (2, 0, 0)]
    score = [np.mean(noise * np.roll(noise, lag, (0, 1, 2))) * np.sqrt(noise.size) for lag in lags]
    assert np.abs(score).max() < 4


# ------------------------------------------------------------------ the statement


@pytest.mark.parametrize("em_gain", [None, 50.0])
@pytest.mark.parametrize("background", [2.0, 14.0])
def test_kernel_equals_its_statement(background, em_gain):
    light = Light(background=background, gradient=0.4, blob=0.5, flicker=0.1, bleaching_frames=90)
    camera = Camera(em_gain=em_gain, offset_spread=3, gain_spread=0.05, hot_fraction=0.05)
    scene = scene_of(emitters=BUSY, camera=camera, light=light, pixel_size=(110, 95))
    got = kernel.movie_frames(((52, 58), (0, 13), (0, 11)), scene)
    np.testing.assert_array_equal(got, statement.movie(range(52, 58), scene))


@pytest.mark.parametrize("theta", [0.0, 25.0, -70.0, 90.0])
def test_psf_is_integrated_over_pixels(theta):
    emitters = Emitters(number=1, off_frames=0, exponential=False, sigma=(90, 140), theta=theta)
    _movie, truth = simulate_movie(
        1, (17, 17), emitters=emitters, light=Light(background=0), pixel_size=(100, 80)
    )
    spot = expected_photons(truth)[0].to_numpy()
    at = truth_table(truth).iloc[0]
    c, s = np.cos(np.deg2rad(theta)), np.sin(np.deg2rad(theta))

    def density(y, x):
        # theta is counter-clockwise on screen, where y points down.
        along, across = (x - at.x) * c - (y - at.y) * s, (x - at.x) * s + (y - at.y) * c
        value = np.exp(-(along**2) / (2 * 90**2) - across**2 / (2 * 140**2))
        return 1000 * value / (2 * np.pi * 90 * 140)

    j, i = round(at.y / 100), round(at.x / 80)
    for y, x in [(j, i), (j - 1, i + 2), (j + 2, i + 1)]:
        if 0 <= y < 17 and 0 <= x < 17:
            box = (x - 0.5) * 80, (x + 0.5) * 80, (y - 0.5) * 100, (y + 0.5) * 100
            assert spot[y, x] == pytest.approx(dblquad(density, *box)[0], rel=1e-6)


# ------------------------------------------------------------------ any block, any time

SIZES = (40, 23, 31)
ALL = {"emitters": BUSY, "camera": ROUGH, "light": UNEVEN, "seed": 5}


@pytest.fixture(scope="module", params=[None, 30.0], ids=["scmos", "emccd"])
def whole(request):
    camera = Camera(em_gain=request.param, offset_spread=3, hot_fraction=0.02)
    parts = ALL | {"camera": camera}
    return parts, raw(SIZES[0], SIZES[1:], **parts, chunks=SIZES)


def cuts(size):
    """Any way of cutting an axis."""
    inner = st.lists(st.integers(1, size - 1), unique=True, max_size=5)
    return inner.map(lambda at: tuple(np.diff([0, *sorted(at), size]).tolist()))


@settings(max_examples=25, deadline=None)
@given(chunks=st.tuples(*map(cuts, SIZES)))
def test_chunks_change_nothing(whole, chunks):
    parts, wanted = whole
    got = raw(SIZES[0], SIZES[1:], **parts, chunks=chunks)
    np.testing.assert_array_equal(got, wanted)


def test_chunks_change_no_tilted_emitter():
    emitters = Emitters(number=30, off_frames=2, depth=600, astigmatism=200, theta=30)
    parts = {"emitters": emitters, "light": Light(background=20)}
    wanted = raw(20, (30, 30), **parts)
    np.testing.assert_array_equal(raw(20, (30, 30), **parts, chunks=(3, 7, 11)), wanted)


def test_a_longer_movie_begins_alike():
    short = raw(30, (20, 20), **ALL)
    long, _ = simulate_movie(1_000_000, (20, 20), **ALL)
    np.testing.assert_array_equal(long[:30].to_numpy(), short)
    assert long[999_999].to_numpy().shape == (20, 20)


def test_seeds_differ_and_repeat():
    one, two, again = (raw(5, seed=seed) for seed in (1, 2, 1))
    assert np.array_equal(one, again)
    assert np.mean(one == two) < 0.2


def test_building_a_long_movie_computes_and_holds_nothing():
    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        movie, truth = simulate_movie(1_000_000, (2048, 2048))
    assert movie.shape == (1_000_000, 2048, 2048)
    assert all(v.chunks for v in truth.data_vars.values() if v.size > 1)
    chunks = movie.data.npartitions
    assert len(movie.data.dask) == chunks
    assert len(pickle.dumps(movie.data)) < 500 * chunks
    assert max(movie.data.chunks[0]) * 2048**2 * 2 <= 64 * 2**20


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, ((200, 50), (6,), (8,))),
        (100, ((100, 100, 50), (6,), (8,))),
        ((100, 4, -1), ((100, 100, 50), (4, 2), (8,))),
        ({"y": 4}, ((200, 50), (4, 2), (8,))),
        ("auto", ((200, 50), (6,), (8,))),
        (((50, 200), 6, (3, 5)), ((50, 200), (6,), (3, 5))),
    ],
)
def test_chunks_are_as_asked(given, wanted):
    assert simulate_movie(250, (6, 8), chunks=given)[0].chunks == wanted


@pytest.mark.parametrize("location", [((3, 3), (0, 5), (0, 5)), ((0, 2), (4, 4), (0, 5))])
def test_empty_blocks(location):
    shape = tuple(b - a for a, b in location)
    for function in (kernel.movie_frames, kernel.expected_frames):
        assert function(location, scene_of(**ALL)).shape == shape


def test_movie_is_labelled():
    movie, truth = simulate_movie(7, (4, 5), camera=ROUGH, pixel_size=(110, 95))
    assert (movie.name, movie.dims, movie.dtype) == ("movie", ("frame", "y", "x"), "u2")
    assert movie.attrs["units"] == "adu"
    assert [movie[n].dtype.kind for n in movie.dims] == ["i"] * 3
    assert (movie.pixel_size_y, movie.pixel_size_x) == (110, 95)
    assert movie.pixel_size_x.attrs["units"] == "nm"
    np.testing.assert_allclose(movie.time, np.arange(7) * 0.01)
    assert movie.time.attrs["units"] == "s"
    assert "time" not in simulate_movie(7)[0].coords
    assert all("units" in truth[n].attrs for n in truth.data_vars)
    xr.align(movie, truth, join="exact")


# ------------------------------------------------------------------ blinking


def states(on_frames, off_frames, start, stop, number=2000):
    emitters = Emitters(number=number, on_frames=on_frames, off_frames=off_frames)
    scene = scene_of((40, 40), emitters=emitters, seed=7)
    rows, _ = kernel.emissions(((start, stop), (0, 40), (0, 40)), scene)
    out = np.zeros((number, stop - start), bool)
    out[rows[:, kernel.EMITTER].astype(int), rows[:, kernel.FRAME].astype(int) - start] = True
    return out


CHAINS = [(2, 60), (30, 60), (1, 4), (1.2, 1.3), (100, 1), (3000, 9000)]


@pytest.mark.parametrize(("on", "off"), CHAINS)
def test_share_of_emitters_that_are_on(on, off):
    share = on / (on + off)
    error = np.sqrt(share * (1 - share) / 20_000)
    for frame in (0, 1, 1023, 777_777, 2**31 - 1):
        seen = states(on, off, frame, frame + 1, number=20_000).mean()
        assert abs(seen - share) < 4 * error


@pytest.mark.parametrize("length", [1, 2, 3, 8, 64])
@pytest.mark.parametrize(("on", "off"), CHAINS)
def test_state_after_some_frames(on, off, length):
    # Transition probabilities of a chain with geometric dwell times, over every kind of boundary.
    trace = states(on, off, 500, 2_600, number=1000)
    share, rho = on / (on + off), 1 - 1 / on - 1 / off
    for state in (True, False):
        wanted = share + (state - share) * rho**length
        begin = trace[:, :-length:length] == state
        seen = trace[:, length::length][begin]
        # Samples of one emitter are correlated: its own memory is the sample size.
        memory = (1 + abs(rho) ** length) / (1 - abs(rho) ** length)
        error = np.sqrt(max(wanted * (1 - wanted), 1e-9) * memory / max(seen.size, 1))
        assert abs(seen.mean() - wanted) < 4 * error + 1e-9


@pytest.mark.parametrize(("on", "off"), [(2, 60), (5, 5), (1, 4)])
def test_on_times_are_geometric(on, off):
    trace = states(on, off, 0, 4000, number=300)
    for state, mean in ((True, on), (False, off)):
        # The first and the last stay of an emitter are cut by the window, and left out.
        stays = [np.diff(np.flatnonzero(np.diff(row))) for row in trace]
        starts = [row[np.flatnonzero(np.diff(row))[:-1] + 1] == state for row in trace]
        lengths = np.concatenate([n[s] for n, s in zip(stays, starts, strict=True)])
        assert abs(lengths.mean() - mean) < 4 * lengths.std() / np.sqrt(lengths.size) + 0.02 * mean
        seen, wanted = np.mean(lengths == 1), 1 / mean
        assert abs(seen - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / lengths.size) + 1e-9


def test_any_window_of_a_trace_is_the_trace():
    trace = states(4, 9, 0, 300, number=50)
    for start, stop in [(0, 1), (17, 18), (63, 65), (100, 257), (299, 300)]:
        np.testing.assert_array_equal(states(4, 9, start, stop, number=50), trace[:, start:stop])


def test_emitters_that_never_rest_and_those_that_bleach():
    assert states(2, 0, 10, 20).all()
    emitters = Emitters(number=4000, off_frames=0, bleaching_frames=50)
    _, truth = simulate_movie(200, emitters=emitters)
    alive = truth_table(truth).groupby("frame").emitter.count().reindex(range(200), fill_value=0)
    wanted = np.exp(-np.arange(200) / 50)
    assert np.all(np.abs(alive / 4000 - wanted) < 5 * np.sqrt(wanted / 4000))
    assert np.all(np.diff(alive) <= 0)


@pytest.mark.parametrize("exponential", [True, False])
def test_photons_of_an_emitter(exponential):
    emitters = Emitters(number=200, off_frames=6, photons=300, exponential=exponential)
    photons = truth_table(simulate_movie(300, emitters=emitters)[1]).photons
    if not exponential:
        assert set(photons) == {300.0}
    else:
        assert stats.kstest(photons / 300, "expon").pvalue > 1e-3


# ------------------------------------------------------------------ light


def test_expected_photons_are_those_of_the_table():
    emitters = Emitters(number=3, off_frames=0, drift=(4, 0), sigma=110)
    light = Light(background=3, gradient=0.5, flicker=0.2, bleaching_frames=20)
    for seed in range(50):
        _, truth = simulate_movie(12, (64, 64), emitters=emitters, light=light, seed=seed)
        inside = [((truth[n] > 900) & (truth[n] < 5400)).all() for n in ("emitter_y", "emitter_x")]
        if all(inside):
            break
    light_only = truth.background * truth.flicker * truth.bleaching
    spots = (expected_photons(truth) - light_only.transpose("frame", "y", "x")).compute()
    table = truth_table(truth)
    sums = table.groupby("frame").photons.sum()
    np.testing.assert_allclose(spots.sum(["y", "x"]), sums, rtol=3e-6)
    weighted = (table.photons * table.y).groupby(table.frame).sum() / sums
    centre = (spots * spots.y).sum(["y", "x"]) / spots.sum(["y", "x"]) * 100
    np.testing.assert_allclose(centre, weighted, atol=0.05)
    assert np.ptp(truth.flicker.to_numpy()) > 0.1


def test_table_rows_name_the_place_the_frame_and_the_light():
    _movie, truth = simulate_movie(60, (40, 50), **ALL, pixel_size=(110, 95))
    table = truth_table(truth, slice(5, 40))
    assert list(table.columns) == ["frame", "x", "y", "photons", "background", "emitter"]
    assert table.frame.is_monotonic_increasing
    assert table.frame.min() >= 5
    assert table.frame.max() < 40
    emitter = table.emitter.to_numpy()
    way = 3.0 * table.frame
    np.testing.assert_allclose(table.y, truth.emitter_y.to_numpy()[emitter] + way)
    np.testing.assert_allclose(truth.drift_y.to_numpy()[table.frame], way)
    row, column = np.rint(table.y / 110).astype(int), np.rint(table.x / 95).astype(int)
    image = truth.background.to_numpy()[row, column]
    factor = (truth.flicker * truth.bleaching).to_numpy()[table.frame]
    np.testing.assert_allclose(table.background, image * factor)


def test_table_of_every_third_frame():
    _, truth = simulate_movie(30, **ALL)
    every = truth_table(truth)
    third = truth_table(truth, slice(None, None, 3))
    assert third.equals(every[every.frame % 3 == 0].reset_index(drop=True))
    assert truth_table(truth, slice(20, 10)).empty
    assert truth_table(truth, slice(-3, None)).frame.min() >= 27


def test_emitters_that_drifted_off_the_sensor_are_not_listed():
    emitters = Emitters(number=300, off_frames=0, drift=(0.0, 40.0))
    _, truth = simulate_movie(40, (30, 30), emitters=emitters)
    table = truth_table(truth)
    assert table.x.max() < 2950
    assert table.frame.value_counts()[39] < 0.6 * 300


def test_depth_widens_emitters():
    emitters = Emitters(number=50, depth=800, sigma=(100, 120), astigmatism=250, focal_depth=300)
    _, truth = simulate_movie(20, emitters=emitters)
    z = truth.emitter_z
    assert np.abs(z).max() <= 400
    assert z.std() > 150
    xr.testing.assert_allclose(truth.sigma_x, 100 * np.sqrt(1 + ((z - 250) / 300) ** 2))
    xr.testing.assert_allclose(truth.sigma_y, 120 * np.sqrt(1 + ((z + 250) / 300) ** 2))
    table = truth_table(truth)
    np.testing.assert_allclose(table.z, z.to_numpy()[table.emitter])


def test_density_counts_emitters_for_each_um2():
    _, truth = simulate_movie(5, (100, 200), emitters=Emitters(density=2.5), pixel_size=(100, 50))
    assert truth.sizes["emitter"] == 250
    assert truth.emitter_x.max() < (200 - 0.5) * 50
    assert truth.emitter_x.min() > -25
    assert stats.kstest((truth.emitter_y + 50) / 10_000, "uniform").pvalue > 1e-3


# ------------------------------------------------------------------ camera


@pytest.mark.parametrize("em_gain", [None, 40.0])
@pytest.mark.parametrize("background", [3.0, 30.0])
def test_photon_transfer(background, em_gain):
    camera = Camera(em_gain=em_gain, gain=0.46 if em_gain is None else 12.0, read_noise=3)
    movie, truth = simulate_movie(
        400, (64, 64), emitters=NOBODY, camera=camera, light=Light(background=background)
    )
    values = movie.to_numpy().astype(float)
    level, variance = values.mean() - truth.offset.mean(), values.var()
    np.testing.assert_allclose(level * truth.mean_gain, background * 0.82, rtol=0.003)
    wanted = truth.variance.mean() + 1 / 12 + truth.excess_noise * level / truth.mean_gain
    np.testing.assert_allclose(variance, wanted, rtol=0.006)


def test_noise_free_camera_reads_the_expected_level():
    parts = ALL | {"camera": Camera(noise=False, offset_spread=3, gain_spread=0.1)}
    movie, truth = simulate_movie(10, (30, 30), **parts)
    level = truth.quantum_efficiency * expected_photons(truth) / truth.gain + truth.offset
    assert np.abs(movie - level).max() <= 0.5 + 1e-3


def test_maps_are_those_of_the_movie():
    camera = Camera(offset_spread=8, gain_spread=0.1, hot_fraction=0.05, read_noise=2)
    dark, truth = simulate_movie(
        500, (60, 60), emitters=NOBODY, camera=camera, light=Light(background=0)
    )
    truth = truth.compute()
    residual = (dark.mean("frame") - truth.offset) / np.sqrt((truth.variance + 1 / 12) / 500)
    assert stats.kstest(residual.to_numpy().ravel(), "norm").pvalue > 1e-3
    ratio = (dark.astype(float).var("frame") / (truth.variance + 1 / 12)).to_numpy()
    assert abs(ratio.mean() - 1) < 4 * np.sqrt(2 / 500 / 3600)
    hot = (truth.variance > 10 * truth.variance.median()).mean().item()
    assert abs(hot - 0.05) < 4 * np.sqrt(0.05 / 3600)
    assert truth.offset.std().item() == pytest.approx(8, rel=0.05)
    assert (truth.gain / truth.mean_gain).std().item() == pytest.approx(0.1, rel=0.05)
    lit = raw(500, (60, 60), emitters=NOBODY, camera=camera, light=Light(background=200))
    wanted = truth.offset + 164 / truth.gain
    error = np.sqrt((truth.variance + 1 / 12 + 164 / truth.gain**2) / 500)
    assert stats.kstest(((lit.mean(0) - wanted) / error).to_numpy().ravel(), "norm").pvalue > 1e-3


def test_counts_end_at_the_converter():
    camera = Camera(offset=0, read_noise=50)
    dark = raw(4, emitters=NOBODY, camera=camera, light=Light(background=0))
    assert (dark == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert set(np.unique(raw(1, emitters=NOBODY, light=Light(background=1e6)))) == {65535}


# ------------------------------------------------------------------ truth and errors


def test_truth_survives_a_store(tmp_path):
    _, truth = simulate_movie(20, (16, 16), **ALL)
    truth.to_zarr(tmp_path / "truth.zarr", zarr_format=2)
    back = xr.open_zarr(tmp_path / "truth.zarr")
    assert truth_table(back).equals(truth_table(truth))


NO_TRUTHS = [None, "a", 3, [1], {}, xr.Dataset()] + [
    xr.Dataset(attrs={"simulation": text}) for text in ("x", "{}", "[]", '{"n_frames": 1}', 3)
]


@pytest.mark.parametrize("truth", NO_TRUTHS, ids=str)
def test_truth_of_something_else(truth):
    for function in (truth_table, expected_photons):
        with pytest.raises(TableError, match="simulate_movie"):
            function(truth)


@pytest.mark.parametrize("frames", ["a", None, 3, [1], (1, 2), 2.5, slice("a"), slice(0, 9, 0), 99])
def test_frames_of_a_table_are_a_slice(frames):
    _, truth = simulate_movie(20, (8, 8))
    with pytest.raises(ParameterError, match="frames: got"):
        truth_table(truth, frames)


ANYTHING = ["a", "", b"x", None, -1, -0.5, True, np.nan, np.inf, 1 + 2j, 10**400, 2.5, 7]
ANYTHING += [(), (1, 2, 3), [1], [3, "a"], {}, np.array([1.0, 2.0]), np.float32(3), np.int64(3)]


@pytest.mark.parametrize("kind", [Emitters, Camera, Light])
@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_any_value_makes_a_plain_part_or_is_named(kind, value):
    for field in fields(kind):
        try:
            part = kind(**{field.name: value})
        except SmlmError as error:
            named = f"{error}"
        else:
            keyword = {kind.__name__.lower(): part}
            _, truth = simulate_movie(2, (8, 8), **keyword)
            assert getattr(_simulation_of(truth), kind.__name__.lower()) == part
            continue
        assert re.match(rf"{kind.__name__}\.{field.name}: got .* Fix: {field.name}=", named)


@pytest.mark.parametrize(
    "name", ["n_frames", "shape", "emitters", "camera", "light", "pixel_size", "seed", "chunks"]
)
def test_a_movie_of_anything_is_one_or_names_it(name):
    allowed = {
        "n_frames": [7, np.int64(3)],
        "seed": [7, np.int64(3), 10**400],
        "pixel_size": [2.5, 7, np.float32(3), np.array([1.0, 2.0]), np.int64(3)],
        "chunks": [None, {}, -1, 7, 10**400, (1, 2, 3), np.int64(3)],
    }
    for value in ANYTHING:
        keywords = {"n_frames": 6, "shape": (8, 8), name: value}
        if any(value is good for good in allowed.get(name, [])) or _same(value, allowed.get(name)):
            assert simulate_movie(**keywords)[0].ndim == 3
        else:
            with pytest.raises(SmlmError, match=name):
                simulate_movie(**keywords)


def _same(value, allowed):
    return any(type(value) is type(good) and repr(value) == repr(good) for good in allowed or [])


def test_light_that_no_integer_counts_is_refused():
    """1e30 photons once came out as no light at all."""
    with pytest.raises(ParameterError, match=r"Light.background"):
        Light(background=1e30)
    assert raw(2, (8, 8), light=Light(background=1e9, gradient=1e3)).max() == 65535


def test_density_has_an_end():
    with pytest.raises(ParameterError, match=r"Emitters.density"):
        simulate_movie(2, (8, 8), emitters=Emitters(density=1e300))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Emitters, {"density": -1}),
        (Emitters, {"number": -3}),
        (Emitters, {"number": 2.5}),
        (Emitters, {"on_frames": 0.5}),
        (Emitters, {"off_frames": 0.2}),
        (Emitters, {"on_frames": 1, "off_frames": 1}),
        (Emitters, {"sigma": 0}),
        (Emitters, {"sigma": (100, -1)}),
        (Emitters, {"photons": float("nan")}),
        (Emitters, {"drift": (0, float("inf"))}),
        (Camera, {"gain": 0}),
        (Camera, {"quantum_efficiency": 1.2}),
        (Camera, {"em_gain": 0.5}),
        (Camera, {"frame_time": 0}),
        (Light, {"background": -1}),
        (Light, {"bleaching_frames": 0}),
    ],
)
def test_impossible_parameters_are_named(kind, wrong):
    with pytest.raises(ParameterError, match=f"{kind.__name__}.{next(iter(wrong))}"):
        kind(**wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n_frames": 0}, "n_frames"),
        ({"n_frames": 2.5}, "n_frames"),
        ({"n_frames": 2**32 + 1}, "n_frames"),
        ({"shape": (4.0, 4)}, "shape"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"emitters": Camera()}, "emitters"),
        ({"chunks": (1, "a", 2)}, "chunks"),
        ({"chunks": {"z": 1}}, "chunks"),
        ({"shape": (0, 4)}, "shape"),
        ({"shape": (4, 70_000)}, "shape"),
        ({"shape": (4,)}, "shape"),
        ({"pixel_size": 0}, "pixel_size"),
        ({"chunks": 0}, "chunks"),
        ({"chunks": (1, 2)}, "chunks"),
        ({"chunks": ((3, 4), -1, -1)}, "chunks"),
    ],
)
def test_impossible_movies_are_named(wrong, named):
    with pytest.raises(SmlmError, match=f"^{named}"):
        simulate_movie(**({"n_frames": 10} | wrong))
