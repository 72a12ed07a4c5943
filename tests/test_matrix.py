"""Every row of the table of bad input ends as the table says, and the docs have the table."""

from pathlib import Path

import pytest

import smlm_dask
from tests import matrix
from tests.matrix import movies
from tests.matrix.__main__ import page

ROWS = [(module.TITLE, row) for module in matrix.modules() for row in module.ROWS]


@pytest.mark.filterwarnings("ignore")  # libraries warn of what is then refused
@pytest.mark.parametrize(("title", "row"), ROWS, ids=[f"{t}: {r.what}" for t, r in ROWS])
def test_row(tmp_path, title, row):
    folder = tmp_path / "given"
    folder.mkdir()
    row.verdict.check(matrix.outcome(row, folder), folder / row.name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", movies.ROWS, ids=[row.what for row in movies.ROWS])
def test_movie(row):
    assert row.outcome() == row.said


def test_rows_have_names_of_their_own():
    names = [(title, row.what) for title, row in ROWS]
    assert len(names) == len(set(names))


def test_docs_have_the_table():
    docs = Path(smlm_dask.__file__).parents[1] / "docs" / "bad-input.md"
    assert docs.read_text(encoding="utf-8") == page(), "python -m tests.matrix > docs/bad-input.md"
