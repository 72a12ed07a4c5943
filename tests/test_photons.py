"""integrate_photons against a plain statement, the truth, and its own promises."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import erf

import smlm_dask as smlm
from smlm_dask.errors import DimsError, ParameterError, SmlmError, TableError
from smlm_dask.kernels.reason import Reason
from smlm_dask.simulate import Camera, Emitters, Light

GAIN, OFFSET, QE, PIXEL = 0.46, 100.0, 0.82, 100.0


@pytest.fixture(scope="module")
def scene():
    """A movie with few emitters, its truth and the localizations that are on in it."""
    emitters = Emitters(number=30, photons=1500.0, exponential=False, sigma=120.0)
    light = Light(background=20.0, gradient=0.5)
    camera = Camera(gain=GAIN, offset=OFFSET, quantum_efficiency=QE)
    movie, truth = smlm.simulate_movie(
        300, (64, 72), emitters=emitters, light=light, camera=camera, seed=5
    )
    spots = smlm.truth_table(truth, slice(0, 300))
    return movie.compute(), truth, spots.reset_index(drop=True)


@pytest.fixture(scope="module")
def camera():
    return smlm.as_camera(GAIN, offset=OFFSET, quantum_efficiency=QE)


def profile(n, mu, sigma):
    edges = (np.arange(n + 1) - 0.5) * PIXEL - mu
    return np.diff(erf(edges / (np.sqrt(2) * sigma)))


def weighted(frames, spots, size, sigma, background):
    """The matched filter, one crop at a time; ``background(frame, rows, columns)`` in adu."""
    found = np.full(len(spots), np.nan)
    for i, spot in enumerate(spots.itertuples()):
        y0, x0 = (int(np.rint(v / PIXEL)) - size // 2 for v in (spot.y, spot.x))
        if min(y0, x0) < 0 or y0 + size > frames.shape[1] or x0 + size > frames.shape[2]:
            continue
        rows, columns = slice(y0, y0 + size), slice(x0, x0 + size)
        crop = frames[spot.frame, rows, columns] - background(spot, rows, columns)
        shape = np.outer(
            profile(size, spot.y - y0 * PIXEL, sigma), profile(size, spot.x - x0 * PIXEL, sigma)
        )
        shape /= shape.sum()
        found[i] = (shape * crop).sum() / (shape**2).sum() * GAIN / QE
    return found


def table_light(spot, rows, columns):
    return OFFSET + spot.background * QE / GAIN


def test_equals_its_statement(scene, camera):
    movie, _, spots = scene
    keywords = {"camera": camera, "psf": 120.0, "method": "weighted"}
    found = smlm.integrate_photons(movie.chunk(frame=70), spots, **keywords).compute()
    wanted = weighted(movie.to_numpy().astype("f8"), spots, 11, 120.0, table_light)
    assert np.isfinite(wanted).sum() > 100
    np.testing.assert_allclose(found.photons, wanted, rtol=1e-6, atol=1e-3)
    leaves = np.isnan(wanted)
    assert (found.status.to_numpy()[leaves] == Reason.CROP_LEAVES_FRAME).all()
    assert (found.status.to_numpy()[~leaves] == Reason.OK).all()


def test_is_true_for_lone_emitters(scene, camera):
    """Unbiased within 3 standard errors where no other emitter shines into the crop."""
    movie, _, spots = scene
    place = spots[["x", "y"]].to_numpy()
    crowd = [
        ((np.abs(place - place[i]) < 1500).all(axis=1) & (spots.frame == spots.frame[i])).sum() > 1
        for i in range(len(spots))
    ]
    found = smlm.integrate_photons(movie, spots, camera=camera, psf=120.0).photons.to_numpy()
    error = ((found - spots.photons) / spots.photons)[~np.array(crowd) & np.isfinite(found)]
    assert len(error) > 100
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(len(error))
    assert error.std() < 0.08


@pytest.mark.parametrize("shift", [0, 13])
def test_a_cropped_movie_keeps_its_place(scene, camera, shift):
    movie, _, spots = scene
    cut = movie.isel(frame=slice(shift, None), y=slice(shift, None), x=slice(2 * shift, None))
    inside = spots[(spots.y > 100 * shift) & (spots.x > 200 * shift) & (spots.frame >= shift)]
    whole = smlm.integrate_photons(movie, inside, camera=camera, psf=120.0)
    part = smlm.integrate_photons(cut, inside, camera=camera, psf=120.0)
    both = np.isfinite(part.photons.to_numpy())
    assert both.sum() > 50
    np.testing.assert_array_equal(part.photons[both], whole.photons[both])


def test_rows_come_back_in_the_order_of_the_table(scene, camera):
    movie, _, spots = scene
    order = np.random.default_rng(1).permutation(len(spots))
    sorted_ = smlm.integrate_photons(movie.chunk(frame=50), spots, camera=camera, psf=120.0)
    mixed = smlm.integrate_photons(
        movie.chunk(frame=50), spots.iloc[order], camera=camera, psf=120.0
    )
    np.testing.assert_array_equal(mixed.photons, sorted_.photons.to_numpy()[order])
    np.testing.assert_array_equal(mixed.status, sorted_.status.to_numpy()[order])


def test_given_crops_equal_crops_cut_from_the_movie(scene, camera):
    movie, _, spots = scene
    corner = {a: np.rint(spots[a] / PIXEL).astype(int) - 5 for a in "yx"}
    inside = (corner["y"].between(0, 64 - 11)) & (corner["x"].between(0, 72 - 11))
    spots = spots[inside].assign(y0=corner["y"], x0=corner["x"]).reset_index(drop=True)
    frames = movie.to_numpy()
    cut = [frames[s.frame, s.y0 : s.y0 + 11, s.x0 : s.x0 + 11] for s in spots.itertuples()]
    crops = xr.DataArray(np.stack(cut), dims=("emitter", "y", "x"))
    crops = crops.assign_coords(pixel_size_y=PIXEL, pixel_size_x=PIXEL)
    for method in ("map", "free", "weighted", "border"):
        keywords = {"camera": camera, "psf": 120.0, "method": method}
        given = smlm.integrate_photons(crops, spots, **keywords)
        found = smlm.integrate_photons(movie, spots, **keywords)
        np.testing.assert_allclose(given.photons, found.photons, rtol=1e-9)


def test_sparse_median_background_is_subtracted_pixel_by_pixel(scene, camera):
    movie, _, spots = scene
    background = smlm.background_sparse_median(movie, window=100)
    keywords = {"camera": camera, "psf": 120.0, "method": "weighted"}
    found = smlm.integrate_photons(movie.chunk(frame=70), spots, **keywords, background=background)
    known = background.compute()

    def light(spot, rows, columns):
        image = known.series.to_numpy()[int(known.series_index[spot.frame])]
        return image[rows, columns] + float(known.series_offset[spot.frame])

    wanted = weighted(movie.to_numpy().astype("f8"), spots, 11, 120.0, light)
    np.testing.assert_allclose(found.photons, wanted, rtol=1e-5, atol=0.02)


def test_cleansed_background_gives_the_same_numbers_lazily(scene, camera):
    movie, _, spots = scene
    movie = movie.chunk(frame=50)
    background = smlm.background_sparse_median(movie, window=50, cleansing=smlm.Cleansing(0.5))
    keywords = {"camera": camera, "psf": 120.0}
    lazy = smlm.integrate_photons(movie, spots, **keywords, background=background)
    known = smlm.integrate_photons(movie, spots, **keywords, background=background.compute())
    assert (lazy.attrs["passes"], known.attrs["passes"]) == (2, 1)
    np.testing.assert_array_equal(lazy.photons, known.photons)


def test_mean_background_may_be_one_for_each_frame(scene, camera):
    movie, _, spots = scene
    mean = smlm.background_spatial_mean(movie, radius=10.0).background
    keywords = {"camera": camera, "psf": 120.0, "method": "weighted"}
    found = smlm.integrate_photons(movie, spots, **keywords, background=mean)
    images = mean.to_numpy()
    wanted = weighted(
        movie.to_numpy().astype("f8"), spots, 11, 120.0, lambda s, r, c: images[s.frame, r, c]
    )
    np.testing.assert_allclose(found.photons, wanted, rtol=1e-5, atol=0.02)


def test_border_sum(scene, camera):
    movie, _, spots = scene
    found = smlm.integrate_photons(movie, spots, camera=camera, method="border", size_pixels=(9, 7))
    frames = movie.to_numpy().astype("f8")
    for i in np.flatnonzero(found.status.to_numpy() == 0)[:40]:
        y0, x0 = int(np.rint(spots.y[i] / PIXEL)) - 4, int(np.rint(spots.x[i] / PIXEL)) - 3
        crop = frames[spots.frame[i], y0 : y0 + 9, x0 : x0 + 7]
        edge = np.concatenate([crop[0], crop[-1], crop[1:-1, 0], crop[1:-1, -1]])
        np.testing.assert_allclose(found.border_level[i], np.median(edge))
        wanted = (crop - np.median(edge)).sum() * GAIN / QE
        np.testing.assert_allclose(found.photons[i], wanted, rtol=1e-9)


def test_lazy_camera_and_psf_of_the_same_movie_take_two_passes(scene):
    movie, _, spots = scene
    chunked = movie.chunk(frame=60)
    gain = smlm.estimate_gain(chunked, window=100, offset=OFFSET, quantum_efficiency=QE)
    psf = smlm.estimate_psf(chunked, window=100, size_pixels=21)
    lazy = smlm.integrate_photons(chunked, spots, camera=gain, psf=psf)
    assert lazy.attrs["passes"] == 2
    known = smlm.integrate_photons(chunked, spots, camera=gain.compute(), psf=psf.compute())
    assert known.attrs["passes"] == 1
    assert np.isfinite(known.photons).sum() > 100
    np.testing.assert_array_equal(lazy.photons, known.photons)


def test_calibration_of_another_movie_takes_one_pass(scene):
    movie, _, spots = scene
    other, _ = smlm.simulate_movie(200, (64, 72), light=Light(gradient=0.5), seed=9)
    gain = smlm.estimate_gain(other, offset=OFFSET)
    assert smlm.integrate_photons(movie, spots, camera=gain, psf=120.0).attrs["passes"] == 1


def test_offset_map(scene):
    movie, _, spots = scene
    camera = smlm.as_camera(
        GAIN, offset=movie.isel(frame=0, drop=True) * 0 + OFFSET, quantum_efficiency=QE
    )
    number = smlm.as_camera(GAIN, offset=OFFSET, quantum_efficiency=QE)
    with_map, with_number = (
        smlm.integrate_photons(movie, spots, camera=c, psf=120.0) for c in (camera, number)
    )
    np.testing.assert_allclose(with_map.photons, with_number.photons, rtol=1e-6)


def test_widths_of_the_table_come_first(scene, camera):
    movie, _, spots = scene
    own = smlm.integrate_photons(movie, spots.assign(sigma=140.0), camera=camera, psf=120.0)
    given = smlm.integrate_photons(movie, spots, camera=camera, psf=140.0)
    np.testing.assert_array_equal(own.photons, given.photons)
    lost = smlm.integrate_photons(movie, spots.assign(sigma=np.nan), camera=camera, psf=120.0)
    assert np.isnan(lost.photons).all()
    assert lost.status.all()


def test_rotation_by_a_quarter_turn_swaps_the_widths(scene, camera):
    movie, _, spots = scene
    one, two = (
        smlm.integrate_photons(
            movie, spots, camera=camera, psf=smlm.as_psf(sigma_x=x, sigma_y=y, theta=t)
        )
        for x, y, t in ((110.0, 160.0, 90.0), (160.0, 110.0, 0.0))
    )
    np.testing.assert_allclose(one.photons, two.photons, rtol=1e-5, atol=0.01)


def test_unknown_positions_are_nan_with_a_reason(scene, camera):
    movie, _, spots = scene
    table = spots.assign(x=np.where(np.arange(len(spots)) % 2, spots.x, np.nan))
    found = smlm.integrate_photons(movie, table, camera=camera, psf=120.0)
    lost = np.isnan(table.x.to_numpy())
    assert np.isnan(found.photons.to_numpy()[lost]).all()
    assert found.status.to_numpy()[lost].all()


def test_no_emitters(scene, camera):
    movie, _, spots = scene
    found = smlm.integrate_photons(movie, spots.iloc[:0], camera=camera, psf=120.0).compute()
    assert found.sizes["emitter"] == 0


BAD = {
    "psf": (lambda m, t, c: (m, t, {"camera": c}), ParameterError, "no PSF"),
    "offset": (lambda m, t, c: (m, t, {"camera": GAIN, "psf": 120.0}), ParameterError, "offset"),
    "missing": (
        lambda m, t, c: (m, t.drop(columns="x"), {"camera": c, "psf": 1.0}),
        TableError,
        "'x'",
    ),
    "background": (
        lambda m, t, c: (m, t.drop(columns="background"), {"camera": c, "psf": 120.0}),
        TableError,
        "background",
    ),
    "beyond": (
        lambda m, t, c: (m, t.assign(y=t.y + 7000), {"camera": c, "psf": 120.0}),
        TableError,
        "nm",
    ),
    "frame": (
        lambda m, t, c: (m, t.assign(frame=t.frame + 1), {"camera": c, "psf": 120.0}),
        TableError,
        "frames",
    ),
    "size": (
        lambda m, t, c: (m, t, {"camera": c, "psf": 120.0, "size_pixels": 65}),
        ParameterError,
        "size_pixels",
    ),
    "method": (
        lambda m, t, c: (m, t, {"camera": c, "psf": 1.0, "method": "sum"}),
        ParameterError,
        "method",
    ),
    "other movie": (
        lambda m, t, c: (
            m,
            t,
            {
                "camera": c,
                "psf": 1.0,
                "background": smlm.background_sparse_median(m[:200], window=50),
            },
        ),
        DimsError,
        "frame",
    ),
    "no table": (
        lambda m, t, c: (m, t.to_numpy(), {"camera": c, "psf": 1.0}),
        TableError,
        "DataFrame",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(scene, camera, name):
    make, error, words = BAD[name]
    movie, table, keywords = make(scene[0], scene[2], camera)
    with pytest.raises(error, match=words) as caught:
        smlm.integrate_photons(movie, table, **keywords)
    assert isinstance(caught.value, SmlmError)
    assert all(word in str(caught.value) for word in ("got", "wanted", "Fix"))


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, "0.46"])
def test_bad_gain(bad):
    with pytest.raises(ParameterError, match="gain"):
        smlm.as_camera(bad)


def test_table_without_rows_of_known_type():
    table = pd.DataFrame({"frame": ["a"], "x": [1.0], "y": [1.0], "background": [1.0]})
    movie = smlm.as_movie(np.ones((3, 16, 16)), pixel_size=100)
    with pytest.raises(TableError, match="frame"):
        smlm.integrate_photons(movie, table, camera=smlm.as_camera(1.0, offset=0.0), psf=100.0)


def test_no_gain_or_no_psf_is_said(scene, camera):
    movie, _, spots = scene
    flat = smlm.as_movie(np.full((200, 16, 16), 7, "u2"), pixel_size=100)
    no_gain = smlm.estimate_gain(flat, offset=OFFSET)
    found = smlm.integrate_photons(movie, spots, camera=no_gain, psf=120.0).compute()
    assert np.isnan(found.photons).all()
    assert set(found.status.to_numpy()) == {Reason.NO_GAIN, Reason.CROP_LEAVES_FRAME}
    border = smlm.integrate_photons(movie, spots, camera=no_gain, method="border").compute()
    assert set(border.status.to_numpy()) == {Reason.NO_GAIN, Reason.CROP_LEAVES_FRAME}
    no_psf = smlm.estimate_psf(flat, size_pixels=11)
    found = smlm.integrate_photons(movie, spots, camera=camera, psf=no_psf).compute()
    assert np.isnan(found.photons).all()
    assert set(found.status.to_numpy()) == {Reason.NO_PSF, Reason.CROP_LEAVES_FRAME}


def test_lost_samples_are_said(scene, camera):
    movie, _, spots = scene
    frames = movie.to_numpy().astype("f4")
    frames[spots.frame[0]] = np.nan
    lost = smlm.as_movie(frames, pixel_size=PIXEL)
    for method in ("map", "free", "weighted", "border"):
        found = smlm.integrate_photons(
            lost, spots, camera=camera, psf=120.0, method=method
        ).compute()
        here = (spots.frame == spots.frame[0]).to_numpy()
        assert np.isnan(found.photons.to_numpy()[here]).all()
        assert set(found.status.to_numpy()[here]) <= {Reason.NOT_FINITE, Reason.CROP_LEAVES_FRAME}


# ------------------------------------------------------------------ input that cannot be

WORDS = {"words": "a", "numbers in words": "100", "truths": True, "complex": 1j}


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("column", ["background", "z", "sigma", "sigma_x", "sigma_y", "theta"])
def test_columns_that_are_no_numbers(scene, camera, column, kind):
    movie, _, spots = scene
    with pytest.raises(TableError, match=f"column '{column}'"):
        smlm.integrate_photons(movie, spots.assign(**{column: WORDS[kind]}), camera=camera, psf=1.0)


@pytest.mark.parametrize("column", ["background", "z", "sigma", "theta", "x"])
def test_columns_that_stand_twice(scene, camera, column):
    movie, _, spots = scene
    spots = spots.assign(**{column: 100.0})
    with pytest.raises(TableError, match="each column once"):
        smlm.integrate_photons(
            movie, pd.concat([spots, spots[[column]]], axis=1), camera=camera, psf=1.0
        )


@pytest.mark.parametrize("column", ["background", "sigma", "sigma_x", "theta"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_of_the_table_that_are_not_known(scene, camera, column, bad):
    movie, _, spots = scene
    row = np.arange(len(spots)) == 5
    known = spots.assign(**{column: spots.background if column == "background" else 130.0})
    lost = known.assign(**{column: np.where(row, bad, known[column])})
    found = smlm.integrate_photons(movie, lost, camera=camera, psf=120.0).compute()
    wanted = smlm.integrate_photons(movie, known, camera=camera, psf=120.0).compute()
    assert np.isnan(found.photons[5])
    assert found.status[5] in (Reason.NOT_FINITE, Reason.NO_PSF)
    np.testing.assert_array_equal(found.photons[~row], wanted.photons[~row])


@pytest.fixture(scope="module")
def series(scene):
    return smlm.background_sparse_median(scene[0], window=100).compute()


SPOILT = {
    "series_index lost": lambda b: b.drop_vars("series_index"),
    "series_offset lost": lambda b: b.drop_vars("series_offset"),
    "series_index too large": lambda b: b.assign(series_index=b.series_index + 3),
    "series_index negative": lambda b: b.assign(series_index=b.series_index - 1),
    "series_index real": lambda b: b.assign(series_index=b.series_index * 1.0),
    "series_index of windows": lambda b: b.assign(series_index=b.window_start),
    "series_offset for all": lambda b: b.assign(series_offset=b.series_offset.mean()),
    "series turned": lambda b: b.assign(series=b.series.transpose("window", "x", "y")),
    "series of words": lambda b: b.assign(series=b.series.astype(str)),
    "series of photons": lambda b: b.assign(series=b.series.assign_attrs(units="photon")),
    "series_index without images": lambda b: b.isel(window=slice(0, 0)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_background_that_was_spoilt(scene, camera, series, name):
    movie, _, spots = scene
    with pytest.raises(SmlmError, match=rf"background\.{name.split()[0]}"):
        smlm.integrate_photons(
            movie, spots, camera=camera, psf=120.0, background=SPOILT[name](series)
        )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.astype(str),
        lambda m: m > 100,
        lambda m: m * 1j,
        lambda m: (m * 1.0).assign_attrs(units="photon"),
    ],
)
def test_a_background_for_each_frame_that_is_none(scene, camera, spoil):
    movie, _, spots = scene
    with pytest.raises(ParameterError, match=r"background.*adu"):
        smlm.integrate_photons(movie, spots, camera=camera, psf=120.0, background=spoil(movie))


@pytest.mark.parametrize("name", ["gain", "quantum_efficiency", "offset"])
@pytest.mark.parametrize("bad", ["a", 1j, np.inf, -np.inf])
def test_a_camera_that_was_spoilt(scene, camera, name, bad):
    movie, _, spots = scene
    with pytest.raises(ParameterError, match=name):
        smlm.integrate_photons(movie, spots, camera=camera.assign({name: ((), bad)}), psf=120.0)


@pytest.mark.parametrize("name", ["gain", "quantum_efficiency"])
@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_camera_that_cannot_be(scene, camera, name, bad):
    movie, _, spots = scene
    for method in ("map", "free", "weighted", "border"):
        with pytest.raises(ParameterError, match=name):
            smlm.integrate_photons(
                movie, spots, camera=camera.assign({name: ((), bad)}), psf=120.0, method=method
            )


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, "0.5", True, None, [1.0], np.ones(2)])
def test_numbers_for_gain_and_psf_that_cannot_be(scene, camera, bad):
    movie, _, spots = scene
    with pytest.raises(ParameterError, match="gain"):
        smlm.integrate_photons(movie, spots, camera=bad, method="border")
    with pytest.raises(ParameterError, match="psf"):
        smlm.integrate_photons(movie, spots, camera=camera, psf=bad)


def test_calibrations_that_lost_a_variable(scene, camera):
    movie, _, spots = scene
    spline = smlm.as_spline_psf(KNOTS, KNOTS, KNOTS, np.ones((8, 8, 8)))
    keywords = {"camera": camera, "psf": smlm.as_psf(120.0)}
    for name, dataset, lost in (
        ("camera", camera, "gain"),
        ("camera", camera, "offset"),
        ("psf", keywords["psf"], "sigma_x"),
        ("psf", spline, "coefficients"),
        ("psf", spline, "knots_x"),
    ):
        with pytest.raises(ParameterError, match=lost):
            smlm.integrate_photons(movie, spots, **keywords | {name: dataset.drop_vars(lost)})


# ------------------------------------------------------------------ numbers you know

KNOTS = np.array([-300.0] * 4 + [-130, -50, 50, 130] + [300.0] * 4)
NO_SPLINE = {
    "knots that fall": ({"knots_z": KNOTS[::-1]}, "knots_z"),
    "a knot that is not known": ({"knots_y": np.where(KNOTS == 50, np.nan, KNOTS)}, "knots_y"),
    "knots in one place": ({"knots_x": np.zeros(12)}, "knots_x"),
    "too few": ({"knots_z": KNOTS[:7], "coefficients": np.ones((3, 8, 8))}, "knots_z"),
    "none": ({"knots_z": KNOTS[:4], "coefficients": np.ones((0, 8, 8))}, "knots_z"),
    "words": ({"knots_y": ["a"] * 12}, "knots_y"),
    "one knot": ({"knots_y": 3.0}, "spline"),
    "other coefficients": ({"coefficients": np.ones((7, 8, 8))}, "spline"),
    "flat coefficients": ({"coefficients": np.ones((8, 8))}, "spline"),
    "ragged coefficients": ({"coefficients": [[1], [1, 2]]}, "coefficients"),
    "no coefficients": ({"coefficients": None}, "coefficients"),
    "complex coefficients": ({"coefficients": np.full((8, 8, 8), 1j)}, "coefficients"),
    "unknown coefficients": ({"coefficients": np.full((8, 8, 8), np.nan)}, "coefficients"),
}


@pytest.mark.parametrize("case", NO_SPLINE)
def test_splines_that_cannot_be(case):
    wrong, words = NO_SPLINE[case]
    good = dict.fromkeys(("knots_y", "knots_x", "knots_z"), KNOTS)
    with pytest.raises(ParameterError, match=words):
        smlm.as_spline_psf(**good | {"coefficients": np.ones((8, 8, 8))} | wrong)


MAP = xr.DataArray(np.ones((2, 3)), dims=("y", "x"))


@pytest.mark.parametrize(
    "bad", [xr.DataArray("a"), xr.DataArray(np.inf), MAP.rename(y="a"), MAP.T, MAP.astype(str)]
)
@pytest.mark.parametrize("name", ["gain", "offset", "variance"])
def test_cameras_that_cannot_be(name, bad):
    with pytest.raises(ParameterError, match=name):
        smlm.as_camera(**{"gain": 1.0} | {name: bad})


@pytest.mark.parametrize("bad", [xr.DataArray(-1.0), -MAP])
def test_gains_that_are_negative(bad):
    with pytest.raises(ParameterError, match="gain"):
        smlm.as_camera(bad)


@pytest.mark.parametrize("bad", ["a", 1j, None, np.nan, [1.0], True, xr.DataArray("a"), MAP])
def test_angles_that_cannot_be(bad):
    with pytest.raises(ParameterError, match="theta"):
        smlm.as_psf(120.0, theta=bad)


def test_an_unknown_number_stays_unknown():
    assert np.isnan(smlm.as_camera(xr.DataArray(np.nan)).gain)


def test_the_fix_for_a_large_crop_fits_the_frame(scene, camera):
    movie, _, spots = scene
    small, spots = movie[:, :7, :9], spots[:0]
    with pytest.raises(ParameterError, match=r"pass size_pixels=7"):
        smlm.integrate_photons(small, spots, camera=camera, psf=120.0, method="weighted")
    fixed = smlm.integrate_photons(
        small, spots.assign(background=[]), camera=camera, psf=120.0, size_pixels=7
    )
    assert fixed.sizes["emitter"] == 0


def test_the_noise_of_a_camera_in_electrons():
    camera = smlm.as_camera(GAIN, offset=OFFSET, read_noise=1.4, excess_noise=2.0)
    assert abs(float(camera.variance) - (1.4 / GAIN) ** 2) < 1e-12
    assert float(camera.excess_noise) == 2
    gains = MAP * GAIN
    camera = smlm.as_camera(gains, read_noise=1.4 * MAP)
    xr.testing.assert_allclose(camera.variance.drop_attrs(), (1.4 / gains) ** 2)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"variance": 4.0, "read_noise": 1.0}, "one of them"),
        ({"variance": -1.0}, "variance"),
        ({"read_noise": -MAP}, "at least 0"),
        ({"excess_noise": 0.5}, "excess_noise"),
    ],
)
def test_noise_that_cannot_be(keywords, words):
    with pytest.raises(ParameterError, match=words):
        smlm.as_camera(1.0, **keywords)
