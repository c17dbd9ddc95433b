"""Progress in a notebook, in a real kernel and without one."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import zarr
from nbclient import NotebookClient

from dfmr_dask.run.events import Arrival, Event
from dfmr_dask.show.notebook import Table, notebook_progress

CELL = """
from distributed import Client
import dfmr_dask
with Client(processes=False, n_workers=1, dashboard_address=None):
    dfmr_dask.GaussianMixture(2, random_state=0, plan="chunks").fit({store!r})
"""


def drawn(*events: Event) -> str:
    pages: list[str] = []
    table = Table(pages.append)
    for event in events:
        table(event)
    table.flush()
    return pages[-1]


def test_stages_are_rows_and_names_are_escaped() -> None:
    page = drawn(
        Event("run", 0, 9, facts={"partitions": 9, "dashboard": "http://127.0.0.1:8787/status"}),
        Event("fit", 3, 9, failed=1, text="<script>", arrivals=(Arrival(0, "fitted", 5),)),
    )
    assert '<progress value="3" max="9">' in page and "3/9" in page and "1 failed" in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert 'href="http://127.0.0.1:8787/status"' in page


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", None, 7])
def test_nothing_but_a_page_is_linked(link: object) -> None:
    assert "href" not in drawn(Event("run", 0, 9, facts={"partitions": 9, "dashboard": link}))


def test_the_end_is_told() -> None:
    told = {"finished": True, "failed_with": "TooFewMessages: <b>"}
    assert "ended with TooFewMessages: &lt;b&gt;" in drawn(Event("run", 0, 0, facts=told))


def test_outside_of_a_notebook_there_is_none() -> None:
    assert notebook_progress() is None


def test_a_fit_in_a_notebook_draws_its_stages_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-5, 1, (1000, 2)), rng.normal(5, 1, (1000, 2))])
    zarr.create_array(tmp_path / "a.zarr", data=rng.permutation(x), chunks=(200, 2))
    cell = nbformat.v4.new_code_cell(CELL.format(store=str(tmp_path / "a.zarr")))
    book = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(book, timeout=200, kernel_name="python3").execute()
    pages = [one["data"]["text/html"] for one in book.cells[0].outputs if "data" in one]
    tables = [page for page in pages if "<progress" in page]
    assert len(tables) == 1  # it was redrawn in its place
    rows = re.findall(r'<th scope="row">([a-z]+)</th>', tables[0])
    assert rows == ["start", "fit", "aggregate", "check"]
    assert "10/10" in tables[0] and "finished after" in tables[0]
