from __future__ import annotations

import builtins
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlm_dask.errors import FormatError, ParameterError, PixelSizeError, SmlmError, TableError
from smlm_dask.simulate import Emitters, simulate_movie, truth_table
from smlm_dask.table import check_table, read_table, write_table

# As ThunderSTORM's help shows its export; the emitter sits in the middle of pixel (3, 7).
THUNDERSTORM = (
    '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
    '"bkgstd [photon]","chi2","uncertainty_xy [nm]"\n'
    "1,1,750,350,120.5,900.25,11,3.5,40,8.25\n"
    "2,5,760,345,130,1800,12,3.6,41,6\n"
)


@pytest.fixture
def spots():
    movie = simulate_movie(30, (60, 60), emitters=Emitters(density=3, depth=500))
    return truth_table(movie[1])


def write(folder, text, name="spots.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_thunderstorm(tmp_path):
    table = read_table(write(tmp_path, THUNDERSTORM), pixel_size=100)
    wanted = pd.DataFrame(
        {
            "id": [1, 2],
            "frame": [0, 4],
            "x": [700.0, 710.0],
            "y": [300.0, 295.0],
            "sigma": [120.5, 130.0],
            "photons": [900.25, 1800.0],
            "background": [11.0, 12.0],
            "bkgstd": [3.5, 3.6],
            "chi2": [40, 41],
            "uncertainty": [8.25, 6.0],
        }
    )
    pd.testing.assert_frame_equal(table, wanted, check_dtype=False)
    assert table.frame.dtype == np.int64


def test_thunderstorm_in_three_dimensions(tmp_path):
    text = "frame,x [px],y [px],z [um],sigma1 [px],sigma2 [nm]\n2,3.5,4.5,0.25,1.5,140\n"
    row = read_table(write(tmp_path, text), pixel_size=(110, 90)).iloc[0]
    assert dict(row) == {"frame": 1, "x": 270, "y": 440, "z": 250, "sigma_x": 135, "sigma_y": 140}


def test_thunderstorm_finds_the_pixel_size_in_its_protocol(tmp_path):
    path = write(tmp_path, THUNDERSTORM)
    with pytest.raises(TableError, match=r"no pixel size.*pixel_size="):
        read_table(path)
    write(tmp_path, '{\n "cameraSettings": {"pixelSize": 80.0, "gain": 1}', "spots-protocol.txt")
    assert read_table(path).x[0] == 710
    assert read_table(path, pixel_size=100).x[0] == 700


@pytest.mark.parametrize("header", ["x [inch]", "intensity [A/D]", "offset [ADU]", "z [px]"])
def test_unknown_units_are_named(tmp_path, header):
    with pytest.raises(TableError, match=r"unit .*(inch|A/D|ADU|px).*wanted"):
        read_table(write(tmp_path, f"frame,{header}\n1,2\n"), pixel_size=100)


NAMES = ["x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy"]
PICASSO = np.array(
    [
        (0, 7.0, 3.0, 900, 1.2, 1.3, 11, 0.05, 0.06),
        (4, 7.1, 2.95, 1800, 1.25, 1.35, 12, 0.02, 0.03),
    ],
    [("frame", "u4")] + [(n, "f4") for n in NAMES],
)


def picasso(folder, rows=PICASSO, name="locs"):
    with h5py.File(folder / "spots.hdf5", "w") as file:
        file[name] = rows
    return folder / "spots.hdf5"


def test_picasso(tmp_path):
    table = read_table(picasso(tmp_path), pixel_size=(90, 100))
    wanted = {
        "frame": [0, 4],
        "x": [700, 710],
        "y": [270, 265.5],
        "photons": [900, 1800],
        "sigma_x": [120, 125],
        "sigma_y": [117, 121.5],
        "background": [11, 12],
        "uncertainty_x": [5, 2],
        "uncertainty_y": [5.4, 2.7],
    }
    pd.testing.assert_frame_equal(table, pd.DataFrame(wanted), check_dtype=False, rtol=1e-6)
    assert (table.dtypes.drop("frame") == "f8").all()


def test_picasso_finds_the_pixel_size_of_the_last_step(tmp_path):
    path = picasso(tmp_path)
    with pytest.raises(TableError, match="no pixel size"):
        read_table(path)
    write(tmp_path, "Frames: 40\n---\nPixelsize: 130\n---\nPixelsize: 100.0\nQe: 1\n", "spots.yaml")
    assert read_table(path).x[0] == pytest.approx(700)


def test_picasso_as_text(tmp_path):
    path = write(tmp_path, pd.DataFrame(PICASSO).to_csv(index=False))
    assert read_table(path, pixel_size=100).sigma_x[0] == pytest.approx(120)


def test_words_where_numbers_should_be(tmp_path):
    for text in ("frame,x [nm]\n1,far\n", "frame,x,sx,lpx\n1,far,1,1\n", "frame,x\n1,far\n"):
        with pytest.raises(TableError, match=r"column 'x.*real numbers"):
            read_table(write(tmp_path, text), pixel_size=100)


def test_unknown_columns_come_as_they_are(tmp_path):
    table = read_table(write(tmp_path, "frame,note,x [nm]\n1,good,50\n"), pixel_size=100)
    assert table.to_dict("list") == {"frame": [0], "note": ["good"], "x": [0.0]}


def test_hdf5_without_localizations(tmp_path):
    with pytest.raises(TableError, match=r"\['movie'\].*'locs'"):
        read_table(picasso(tmp_path, name="movie"), pixel_size=100)


def test_hdf5_that_leads_to_another_file(tmp_path):
    picasso(tmp_path).rename(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "link.hdf5", "w") as file:
        file["locs"] = h5py.ExternalLink("other.hdf5", "/locs")
    with pytest.raises(FormatError, match=r"link to other.hdf5"):
        read_table(tmp_path / "link.hdf5", pixel_size=100)


def test_hdf5_whose_words_lie_in_another_file(tmp_path):
    path = picasso(tmp_path)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["metadata"] = '[{"Pixelsize": 77}]'
    with h5py.File(path, "a") as file:
        file.pop("metadata", None)
        file["metadata"] = h5py.ExternalLink("other.hdf5", "/metadata")
    with pytest.raises(FormatError, match=r"link to other.hdf5"):
        read_table(path)


def test_hdf5_without_h5py(tmp_path, monkeypatch):
    path, real = picasso(tmp_path), builtins.__import__

    def without(name, *rest):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FormatError, match=r"pip install 'smlm-dask\[hdf5\]'"):
        read_table(path, pixel_size=100)


@pytest.mark.parametrize("suffix", ["csv", "txt", "tsv", "parquet", "pq"])
def test_own_tables_come_back_exactly(tmp_path, spots, suffix):
    path = tmp_path / f"spots.{suffix}"
    write_table(spots, path)
    pd.testing.assert_frame_equal(read_table(path), spots, check_exact=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_of_parquet_files(tmp_path, spots):
    for i, part in enumerate((spots[:100], spots[100:])):
        write_table(part, tmp_path / f"part-{i}.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path), spots)


@settings(max_examples=50, deadline=None)
@given(
    place=st.floats(-1e6, 1e6),
    frame=st.integers(0, 10**9),
    pixel=st.tuples(st.floats(1, 1000), st.floats(1, 1000)),
)
def test_thunderstorm_goes_out_and_in(tmp_path_factory, place, frame, pixel):
    path = tmp_path_factory.mktemp("spots") / "spots.csv"
    columns = ["x", "y", "z", "sigma_x", "photons", "background", "uncertainty"]
    table = pd.DataFrame({"frame": [frame], "emitter": [3]} | {c: [place] for c in columns})
    write_table(table, path, program="thunderstorm", pixel_size=pixel)
    pd.testing.assert_frame_equal(read_table(path, pixel_size=pixel), table, rtol=1e-12, atol=1e-9)


def test_thunderstorm_reads_what_we_write(tmp_path, spots):
    path = tmp_path / "spots.csv"
    write_table(spots, path, program="thunderstorm", pixel_size=100)
    header, first = path.read_text().splitlines()[:2]
    assert header.startswith('"frame","x [nm]","y [nm]","z [nm]","intensity [photon]"')
    assert float(first.split(",")[1]) == pytest.approx(spots.x[0] + 50)
    assert first.split(",")[0] == "1"


def test_files_that_cannot_be(tmp_path, spots):
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"'.xls'.*\.csv"):
        read_table(write(tmp_path, "a", "spots.xls"))
    with pytest.raises(TableError, match="text with a header"):
        read_table(write(tmp_path, ""))
    with pytest.raises(TableError, match="text with a header"):
        read_table(write(tmp_path, "a,b\n1,2\n1,2,3\n"))
    with pytest.raises(TableError, match=r"'\.xls'"):
        write_table(spots, tmp_path / "spots.xls")
    with pytest.raises(TableError, match=r"'\.parquet'"):
        write_table(spots, tmp_path / "spots.parquet", program="thunderstorm", pixel_size=100)
    with pytest.raises(TableError, match="no pixel size"):
        write_table(spots, tmp_path / "spots.csv", program="thunderstorm")


def test_a_write_that_fails_leaves_the_old_table(tmp_path, spots, monkeypatch):
    path = tmp_path / "spots.csv"
    write_table(spots, path)
    before = path.read_text()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="No space"):
        write_table(spots[:3], path)
    assert path.read_text() == before


# ------------------------------------------------------------------ to other programs and back


def many(n=50):
    """Rows with all that the programs know."""
    rng = np.random.default_rng(8)
    names = ["photons", "background", "sigma_x", "sigma_y", "uncertainty_x", "uncertainty_y"]
    place = {c: rng.uniform(0, 6000, n) for c in ("x", "y")}
    return pd.DataFrame(
        {"frame": rng.integers(0, 1000, n)} | place | {c: rng.uniform(1, 200, n) for c in names}
    )


@pytest.mark.parametrize(
    ("program", "suffix", "rtol"),
    [("thunderstorm", "csv", 1e-12), ("smlmlp", "csv", 1e-15), ("picasso", "hdf5", 1e-6)],
)
def test_programs_get_everything_and_give_it_back(tmp_path, program, suffix, rtol):
    table = many()
    write_table(table, tmp_path / f"spots.{suffix}", program=program, pixel_size=110)
    found = read_table(tmp_path / f"spots.{suffix}", pixel_size=110)
    pd.testing.assert_frame_equal(found[table.columns.tolist()], table, rtol=rtol)
    assert not found.attrs


@settings(max_examples=50, deadline=None)
@given(
    place=st.floats(-1e6, 1e6),
    frame=st.integers(0, 2**32 - 2),
    pixel=st.floats(1, 1000),
    program=st.sampled_from([("smlmlp", "csv"), ("picasso", "hdf5")]),
)
def test_any_row_goes_out_and_in(tmp_path_factory, place, frame, pixel, program):
    path = tmp_path_factory.mktemp("spots") / f"spots.{program[1]}"
    columns = ["x", "y", "z", "photons", "background", "sigma_x", "uncertainty_x"]
    table = pd.DataFrame({"frame": [frame]} | {c: [place] for c in columns})
    write_table(table, path, program=program[0], pixel_size=pixel)
    found = read_table(path, pixel_size=pixel)[table.columns.tolist()]
    pd.testing.assert_frame_equal(found, table, rtol=1e-6, atol=1e-30)


@pytest.fixture
def picasso_io():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("picasso.io")


def test_the_installed_picasso_opens_what_we_write(tmp_path, picasso_io):
    table = many()
    path = tmp_path / "spots.hdf5"
    write_table(table, path, program="picasso", pixel_size=110, shape=(1000, 64, 72))
    for source in ("yaml", "file alone"):
        locs, info = picasso_io.load_locs(str(path))
        assert len(locs) == len(table), source
        wanted = {"frame": "frame", "photons": "photons", "bg": "background"}
        for theirs, ours in wanted.items():
            np.testing.assert_allclose(locs[theirs], table[ours], rtol=1e-6)
        pixels = {"x": "x", "y": "y", "sx": "sigma_x", "sy": "sigma_y"}
        for theirs, ours in (pixels | {"lpx": "uncertainty_x", "lpy": "uncertainty_y"}).items():
            np.testing.assert_allclose(locs[theirs] * 110, table[ours], rtol=1e-6)
        assert {"Width": 72, "Height": 64, "Frames": 1000, "Pixelsize": 110.0}.items() <= info[
            0
        ].items()
        path.with_suffix(".yaml").unlink(missing_ok=True)
    assert [p.name for p in tmp_path.iterdir()] == ["spots.hdf5"]


def test_the_least_shape_keeps_every_row(tmp_path, picasso_io):
    table = many()
    write_table(table, tmp_path / "spots.hdf5", program="picasso", pixel_size=110)
    locs, info = picasso_io.load_locs(str(tmp_path / "spots.hdf5"))
    assert len(locs) == len(table)
    assert info[0]["Frames"] == table.frame.max() + 1


def test_we_read_what_the_installed_picasso_writes(tmp_path, picasso_io):
    path = str(tmp_path / "spots.hdf5")
    locs = pd.DataFrame(PICASSO)
    info = [{"Width": 64, "Height": 64, "Frames": 10, "Pixelsize": 110}]
    picasso_io.save_locs(path, locs, info)
    for _ in range(2):
        table = read_table(path)
        np.testing.assert_allclose(table.x, PICASSO["x"].astype("f8") * 110)
        np.testing.assert_allclose(table.uncertainty_y, PICASSO["lpy"].astype("f8") * 110)
        assert table.frame.tolist() == [0, 4]
        (tmp_path / "spots.yaml").unlink(missing_ok=True)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_installed_picasso_counts_pixels_from_the_centre_of_the_first(picasso_io):
    from picasso import gausslq, localize

    place = pd.DataFrame({"frame": np.arange(50), "x": 1780.0, "y": 1230.0, "photons": 3000.0})
    y, x = np.mgrid[:32, :32] * 100.0
    spot = np.exp(-((x - 1780) ** 2 + (y - 1230) ** 2) / (2 * 130**2))
    movie = np.random.default_rng(1).poisson(np.stack([300 * spot + 5] * len(place))).astype("u2")
    camera = {"Baseline": 0, "Sensitivity": 1, "Gain": 1, "Qe": 1, "Pixelsize": 100}
    found, _ = localize.identify(movie, 500, 7, threaded=False)
    fits = gausslq.fit_spots(localize.get_spots(movie, found, 7, camera))
    locs = gausslq.locs_from_fits(found, fits, 7, 1)
    assert locs.x.mean() * 100 == pytest.approx(place.x[0], abs=3)
    assert locs.y.mean() * 100 == pytest.approx(place.y[0], abs=3)


def test_positions_alone_are_pixels_of_picasso_all_the_same(tmp_path):
    table = pd.DataFrame({"frame": [0], "x": [500.0], "y": [700.0]})
    write_table(table, tmp_path / "spots.hdf5", program="picasso", pixel_size=100)
    assert read_table(tmp_path / "spots.hdf5").x[0] == pytest.approx(500)


def test_one_width_and_one_error_are_those_of_both_axes(tmp_path):
    table = pd.DataFrame({"frame": [0], "x": [5.0], "y": [7.0], "sigma": 120.0, "uncertainty": 9.0})
    write_table(table, tmp_path / "spots.hdf5", program="picasso", pixel_size=100)
    row = read_table(tmp_path / "spots.hdf5").iloc[0]
    assert row[["sigma_x", "sigma_y"]].tolist() == pytest.approx([120, 120])
    assert row[["uncertainty_x", "uncertainty_y"]].tolist() == pytest.approx([9, 9])


SMLMLP = (
    'detection,"frame","x detection [nm]","y detection [nm]","x fit [nm]","y fit [nm]",'
    '"intensity [photon]","crlb xy [nm]"\n1,1,400.000,300.000,412.500,288.000,950.250,8.500\n'
)


def test_smlmlp(tmp_path):
    row = read_table(write(tmp_path, SMLMLP)).iloc[0]
    assert row.frame == 0
    assert (row.x, row.y, row.photons, row.uncertainty) == (412.5, 288.0, 950.25, 8.5)
    assert row["x detection [nm]"] == 400


def test_smlmlp_without_a_fit_has_the_place_of_the_detection(tmp_path):
    text = 'detection,"frame","x detection [nm]","y detection [nm]"\n1,3,400.000,300.000\n'
    row = read_table(write(tmp_path, text)).iloc[0]
    assert (row.frame, row.x, row.y) == (2, 400, 300)


def test_the_installed_smlmlp_opens_what_we_write(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smlmlp = pytest.importorskip("smlmlp")
        table = many()
        write_table(table, tmp_path / "spots.csv", program="smlmlp")
        opened = smlmlp.Locs(tmp_path / "spots.csv").detections
        np.testing.assert_array_equal(opened.fr, table.frame + 1)
        for theirs, ours in {
            "x_fit": "x",
            "y_fit": "y",
            "intensity": "photons",
            "os_fit": "background",
            "sigma_x_fit": "sigma_x",
            "crlb_y": "uncertainty_y",
        }.items():
            np.testing.assert_allclose(getattr(opened, theirs), table[ours], rtol=1e-6)


def test_we_read_what_the_installed_smlmlp_writes(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smlmlp = pytest.importorskip("smlmlp")
        theirs = {"frame": [1, 3], "x detection [nm]": [10.0, 20], "y detection [nm]": [15.0, 25]}
        smlmlp.Locs(pd.DataFrame(theirs)).save(tmp_path / "mine")
    table = read_table(tmp_path / "mine" / "mine_[detections].csv")
    assert table.frame.tolist() == [0, 2]
    assert table.x.tolist() == [10, 20]
    assert table.y.tolist() == [15, 25]


@pytest.mark.parametrize(
    ("change", "keywords", "words"),
    [
        ({}, {"pixel_size": None}, "no pixel size"),
        ({}, {"pixel_size": (100, 110)}, "square"),
        ({"frame": 2**32}, {}, "beyond 32 bits"),
        ({"x": None}, {}, "no column 'x'"),
        ({"note": "far"}, {}, "column 'note'"),
        ({}, {"shape": (3, 4)}, "frames, height and width"),
        ({}, {"shape": (3, 4, 0)}, "frames, height and width"),
    ],
)
def test_what_picasso_cannot_have(tmp_path, change, keywords, words):
    row = {"frame": 1, "x": 100.0, "y": 200.0} | change
    table = pd.DataFrame({n: [v] for n, v in row.items() if v is not None})
    options = {"pixel_size": 100} | keywords
    with pytest.raises(TableError, match=words):
        write_table(table, tmp_path / "spots.hdf5", program="picasso", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("program", "name"), [("picasso", "a.csv"), (None, "a.hdf5"), ("smlmlp", "a.parquet")]
)
def test_each_program_has_its_files(tmp_path, spots, program, name):
    with pytest.raises(TableError, match="rename the file"):
        write_table(spots, tmp_path / name, program=program, pixel_size=100)


@pytest.mark.parametrize("program", ["Picasso", True, 3])
def test_programs_that_are_unknown(tmp_path, spots, program):
    with pytest.raises(ParameterError, match="thunderstorm or picasso or smlmlp"):
        write_table(spots, tmp_path / "spots.csv", program=program)


# ------------------------------------------------------------------ check_table


def test_a_good_table_passes_as_it_is(spots):
    assert check_table(spots, ["frame", "x", "y", "photons"]) is spots
    assert check_table(spots[:0], ["frame", "x"]).empty


def test_frames_become_integers_and_the_input_stays():
    table = pd.DataFrame({"frame": [0.0, 3.0], "x": [1.0, np.nan]})
    checked = check_table(table, ["frame", "x"])
    assert checked.frame.dtype == np.int64
    assert table.frame.dtype == np.float64
    assert checked.x.isna().sum() == 1


def test_arrow_columns_are_numbers():
    table = pd.DataFrame({"frame": [0, 3]}).convert_dtypes()
    assert check_table(table, ["frame"]).frame.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": [1.0]}, r"columns \['x'\]; wanted also \['frame', 'y'\]"),
        ({"frame": [0], "x": ["1"], "y": [1]}, r"column 'x': got dtype"),
        ({"frame": [0], "x": [True], "y": [1]}, r"column 'x': got dtype bool"),
        ({"frame": [0], "x": [1j], "y": [1]}, r"column 'x': got dtype complex"),
        ({"frame": [0, -1, -2], "x": 1, "y": 1}, r"got -1 in row 1, 2 such rows; wanted integers"),
        ({"frame": [0.5], "x": 1, "y": 1}, r"got 0.5 in row 0"),
        ({"frame": [np.nan], "x": 1, "y": 1}, r"got nan in row 0"),
        ({"frame": [np.inf], "x": 1, "y": 1}, r"got inf in row 0"),
    ],
)
def test_bad_tables_are_named(table, message):
    with pytest.raises(TableError, match=message):
        check_table(pd.DataFrame(table), ["frame", "x", "y"])


def test_nullable_frames_that_are_missing():
    table = pd.DataFrame({"frame": pd.array([0, None], "Int64")})
    with pytest.raises(TableError, match="got nan in row 1"):
        check_table(table, ["frame"])


def test_no_table():
    with pytest.raises(TableError, match=r"got list; wanted a pandas\.DataFrame"):
        check_table([1, 2], ["x"])


def test_a_doubled_column():
    table = pd.DataFrame([[1, 2]], columns=["x", "x"])
    with pytest.raises(TableError, match="each column once"):
        check_table(table, ["x"])


@pytest.mark.parametrize(
    "text", ["frame,x,y\n0,1000,2000,7\n", "frame,x,y\n0,1000,2000,\n1,1,2,\n"]
)
def test_rows_longer_than_the_header_do_not_shift_columns(text, tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text(text)
    try:
        found = read_table(path)
    except TableError:
        return
    assert found.frame.iloc[0] == 0
    assert found.x.iloc[0] == 1000
    assert "7" not in text


# ------------------------------------------------------------------ damaged and foreign files


def damaged(folder, spots, kind):
    """A file that is no table, and what the message says about it."""
    path = folder / f"spots.{kind.split()[0]}"
    if kind.endswith("cut"):
        if path.suffix == ".parquet":
            write_table(spots, path)
        else:
            path = picasso(folder)
        path.write_bytes(path.read_bytes()[:-700])
    elif kind.endswith("folder"):
        path.mkdir()
        (path / "note.txt").write_text("frame,x,y")
    elif kind.endswith("words"):
        path.write_text("frame,x,y\n0,1,2\n")
    return path


@pytest.mark.parametrize(
    "kind",
    ["parquet cut", "parquet words", "hdf5 cut", "hdf5 words", "csv folder", "parquet folder"],
)
def test_damaged_files(tmp_path, spots, kind):
    path = damaged(tmp_path, spots, kind)
    words = "without .parquet" if kind.endswith("folder") else "undamaged table"
    with pytest.raises(TableError, match=words) as caught:
        read_table(path, pixel_size=100)
    assert str(path) in str(caught.value)


def test_folder_of_damaged_parquet(tmp_path):
    write(tmp_path, "no parquet", "part-0.parquet")
    with pytest.raises(TableError, match="folder of parquet files"):
        read_table(tmp_path)


@pytest.mark.parametrize("locs", ["group", np.zeros((3, 4)), 3.0, np.stack([PICASSO, PICASSO])])
def test_hdf5_with_other_localizations(tmp_path, locs):
    with h5py.File(tmp_path / "spots.hdf5", "w") as file:
        if isinstance(locs, str):
            file.create_group("locs")
        else:
            file["locs"] = locs
    with pytest.raises(TableError, match="wanted rows with named fields"):
        read_table(tmp_path / "spots.hdf5", pixel_size=100)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("frame;x;y\n0;100;200\n", "spots.csv"),
        ("frame;x;y\n0;100,5;200,5\n", "spots.csv"),
        ("frame;x [nm];y [nm]\n1;100;200\n", "spots.csv"),
        ("frame\tx\ty\n0\t1\t2\n", "spots.txt"),
        ("frame x y\n0 1 2\n", "spots.txt"),
        ("frame,x,y\n0,1,2\n", "spots.tsv"),
        ("# ours\nframe,x,y\n0,1,2\n", "spots.csv"),
        ("0,100,200\n1,100.5,200\n", "spots.csv"),
    ],
)
def test_another_separator_or_no_header_is_said(tmp_path, text, name):
    with pytest.raises(TableError, match=r"wanted names of columns, separated by .*sep="):
        read_table(write(tmp_path, text, name), pixel_size=100)


def test_headers_with_spaces(tmp_path):
    table = read_table(write(tmp_path, "frame , x,y\n0, 100, 200\n"))
    assert table.to_dict("list") == {"frame": [0], "x": [100], "y": [200]}
    text = '"frame", "x [nm]" , "y [nm]"\n1, 100, 200\n'
    table = read_table(write(tmp_path, text), pixel_size=100)
    assert table.to_dict("list") == {"frame": [0], "x": [50], "y": [150]}


def test_a_column_without_a_name_stays(tmp_path):
    table = read_table(write(tmp_path, ",frame,x\n7,0,100\n"))
    assert table.to_dict("list") == {"Unnamed: 0": [7], "frame": [0], "x": [100]}


@pytest.mark.parametrize(
    "text",
    [
        "frame,x,y,x\n0,100,200,300\n",
        "frame,x [nm],y [nm],x [px]\n1,100,200,3\n",
        "frame,x [nm],y [nm],intensity [photon],photons [photon]\n1,1,2,3,4\n",
        "frame,x,y,sx,bg,background\n1,1,2,1,5,6\n",
    ],
)
def test_names_that_stand_twice(tmp_path, text):
    with pytest.raises(TableError, match="each column once"):
        read_table(write(tmp_path, text), pixel_size=100)


@pytest.mark.parametrize("program", [None, "thunderstorm", "smlmlp"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_tables_without_rows_come_back(tmp_path, spots, suffix, program):
    path = tmp_path / f"spots.{suffix}"
    write_table(spots[:0], path, program=program, pixel_size=100)
    table = read_table(path, pixel_size=100)
    assert table.empty
    assert [c for c in table if c != "detection"] == spots.columns.tolist()
    assert all(dtype.kind in "if" for dtype in table.dtypes)
    assert table.frame.dtype == np.int64


@pytest.mark.parametrize(
    "size", [0, -1, np.nan, np.inf, "100", "a", True, (100,), (1, 2, 3), [], (100, "a"), 1j, 1e-3]
)
def test_pixel_sizes_that_cannot_be(tmp_path, spots, size):
    path = write(tmp_path, THUNDERSTORM)
    with pytest.raises(PixelSizeError, match="pixel_size"):
        read_table(path, pixel_size=size)
    with pytest.raises(PixelSizeError, match="pixel_size"):
        write_table(spots, path, program="thunderstorm", pixel_size=size)
    write_table(spots, tmp_path / "own.csv")
    with pytest.raises(PixelSizeError, match="pixel_size"):
        read_table(tmp_path / "own.csv", pixel_size=size)


def test_a_pixel_size_beside_the_file_is_read_whole(tmp_path):
    path = picasso(tmp_path)
    write(tmp_path, "Pixelsize: 1.3e2\n", "spots.yaml")
    assert read_table(path).x[0] == pytest.approx(7 * 130)
    for text in ("Pixelsize: 1.2.3\n", "Pixelsize: wide\n"):
        write(tmp_path, text, "spots.yaml")
        with pytest.raises(TableError, match="no pixel size"):
            read_table(path)
        assert read_table(path, pixel_size=100).x[0] == pytest.approx(700)


@pytest.mark.parametrize("frame", [2**63, 10**30])
def test_frames_too_large_for_an_integer(tmp_path, frame):
    with pytest.raises(TableError, match="column 'frame'"):
        read_table(write(tmp_path, f"frame,x,y\n{frame},1,2\n"))
    with pytest.raises(TableError, match="column 'frame'"):
        check_table(pd.DataFrame({"frame": [float(frame)]}), ["frame"])


def test_names_of_two_levels():
    table = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("frame", "a")]))
    with pytest.raises(TableError, match="one name for each column"):
        check_table(table, ["frame"])


@pytest.mark.parametrize("path", [3, None, b"spots.csv"])
def test_paths_that_are_none(path, spots):
    for call in (lambda: read_table(path), lambda: write_table(spots, path)):
        with pytest.raises(TableError, match="path"):
            call()


def test_what_cannot_be_written(tmp_path, spots):
    (tmp_path / "folder.csv").mkdir()
    odd = pd.DataFrame({"frame": [0, 1], "x": [1.0, "far"]})
    for table, name, words in (
        ([1, 2], "spots.csv", "pandas.DataFrame"),
        (spots, "none/spots.csv", "no folder"),
        (spots, "none/spots.parquet", "no folder"),
        (spots, "folder.csv", "a folder"),
        (spots[["x", "x"]], "spots.csv", "each column once"),
        (spots[["x", "x"]], "spots.parquet", "each column once"),
        (odd, "spots.parquet", "one type"),
    ):
        with pytest.raises(SmlmError, match=words):
            write_table(table, tmp_path / name)
    with pytest.raises(TableError, match="column 'x'"):
        write_table(odd, tmp_path / "spots.csv", program="thunderstorm", pixel_size=100)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.parametrize("suffix", ["CSV", "Tsv", "PARQUET"])
def test_capital_suffixes(tmp_path, spots, suffix):
    write_table(spots, tmp_path / f"SPOTS.{suffix}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"SPOTS.{suffix}"), spots)
