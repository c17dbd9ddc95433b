"""The page in Dask's dashboard, in a real browser: figures, words, and a console without errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zarr
from distributed import Client, LocalCluster
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder

from dfmr_dask import GaussianMixture, open_source
from dfmr_dask.experiments.populations import population, write_gaussians
from dfmr_dask.run.cluster import local_cluster
from dfmr_dask.show.dashboard import install
from dfmr_dask.show.partition_columns import MOST_SHOWN
from tests.browser import NARROW, Browser
from tests.repeating import repeating
from tests.run.faults import After, Until, breaks, faulty
from tests.show.told_runs import HOSTILE, judged, lies, tell, told_run

GRID = """
const page = (window.Bokeh && Bokeh.documents[0]) || null;
const grid = page && page.roots().find(one => one.name === "dfmr_grid");
"""
# A column of the source that all figures share, once there is one.
COLUMN = f"""{GRID}
return grid ? Array.from(grid.renderers[0].data_source.data[arguments[0]]) : null;
"""
DRAWN = f"const found = (() => {{{COLUMN}}})(); return found && found.length === arguments[1];"
# Where the middle of a partition's cell is, in pixels of the window.
CELL = f"""{GRID}
const data = grid.renderers[0].data_source.data;
const view = Bokeh.index.find_one_by_id(grid.id);
const box = view.canvas.el.getBoundingClientRect();
const [across, down] = [view.frame.x_scale, view.frame.y_scale];
return [box.left + across.compute(data.column[arguments[0]]),
        box.top + down.compute(data.row[arguments[0]])];
"""
# How many pixels of each figure are dark or colored.
INK = """
const out = {};
for (const figure of Bokeh.documents[0].roots()) {
  if (!arguments[0].includes(figure.name)) continue;
  const canvas = Bokeh.index.find_one_by_id(figure.id).canvas.primary;
  const {data} = canvas.ctx.getImageData(0, 0, canvas.canvas.width, canvas.canvas.height);
  let ink = 0;
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3] > 128 && Math.min(data[i], data[i + 1], data[i + 2]) < 150) ink++;
  out[figure.name] = ink;
}
return out;
"""
OUTCOME = "24 of 40 partitions kept, 8 dropped, 4 failed, 4 empty."
MIXED = "return ['waiting', 'fitting', 'kept', 'dropped'].every(one => seen.includes(one))"
LIARS = range(0, 40, 4)
FIGURES = ("dfmr_grid", "dfmr_map", "dfmr_distances", "dfmr_likelihoods")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A scheduler with the page, and nobody who works."""
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as one,
    ):
        yield one


def opened(browser: Browser, client: Client) -> None:
    browser.open(str(install(client)))


def column(browser: Browser, name: str) -> list[Any]:
    return list(browser.ask(COLUMN, name))


def ink(browser: Browser) -> dict[str, int]:
    return dict(browser.ask(INK, FIGURES))


def test_a_run_is_drawn_as_far_as_it_is_and_the_verdict_follows(
    browser: Browser, client: Client
) -> None:
    events = told_run(40, name="followed")
    tell(client, "followed", events[:2])
    opened(browser, client)
    browser.wait(DRAWN, "state", 40)
    pointed(browser, 7)
    assert set(column(browser, "state")) == {"waiting"}
    assert [one.text for one in browser.found("a[href='dfmr']")] == ["Dfmr"]
    before = ink(browser)
    tell(client, "followed", events[2:])
    browser.wait(f"return (() => {{{COLUMN}}})()?.[2] === 'dropped'", "state")
    assert column(browser, "state").count("dropped") == sum(
        lies(i) for i in range(40) if i % 10 < 8
    )
    assert "provisional If the run ended now: of the 32 estimates" in browser.text()
    assert "dropped so far 8" in browser.text()
    browser.screenshot("during")
    tell(client, "followed", [judged(events, certified=False, doubts=("a narrow majority",))])
    words = (
        "not certified 24 of 40 partitions kept, 8 dropped, 4 failed, 4 empty. a narrow majority"
    )
    browser.wait_for(words)
    after = ink(browser)
    assert set(after) == set(FIGURES)
    assert all(after[name] > before[name] + 100 for name in FIGURES)
    browser.screenshot("after")
    assert browser.errors() == []


def test_names_and_reasons_are_text_wherever_they_stand(browser: Browser, client: Client) -> None:
    events = told_run(40, name="hostile", words=HOSTILE)
    tell(client, "hostile", [*events, judged(events, certified=False, doubts=(HOSTILE,))])
    opened(browser, client)
    browser.wait(DRAWN, "state", 40)
    browser.wait_for(f"hostile.zarr{HOSTILE} · 2 features: temperature{HOSTILE}, salinity{HOSTILE}")
    browser.wait_for(f"not certified {OUTCOME} {HOSTILE}")
    liar, failed = "log-likelihood -5.", "1,000 rows planned time 8:9"
    for partition, reason in ((2, liar), (2, "blocks "), (8, failed), (8, "chunk 8 cannot be")):
        told = pointed(browser, partition)
        assert f"time {partition}:{partition + 1}{HOSTILE}" in told
        assert reason in told
        assert told.endswith(HOSTILE)
    assert browser.found("img[src=x]") == browser.found("b[onerror]") == []
    assert browser.ask("return document.title") != "gotcha"
    assert browser.errors() == []


def pointed(browser: Browser, partition: int) -> str:
    """Point at the cell of a partition until the page tells of it, and return what it tells."""
    title = f"partition {partition} ,"
    for _ in range(60):  # cells move when a figure learns how wide it is
        x, y = browser.ask(CELL, partition)
        actions = ActionBuilder(browser.driver)
        actions.pointer_action.move_to_location(int(x), int(y))
        actions.perform()
        time.sleep(0.2)
        if title in (told := browser.text()):
            return told.split(title)[1]
    raise AssertionError(f"nothing is told of partition {partition}: {browser.text()}")


def test_who_is_chosen_in_one_figure_stands_out_in_all(browser: Browser, client: Client) -> None:
    tell(client, "chosen", told_run(40, name="chosen"))
    opened(browser, client)
    browser.wait(DRAWN, "state", 40)
    pointed(browser, 7)  # all has been drawn by then
    before = ink(browser)
    ActionChains(browser.driver).click().perform()
    chosen = "return Bokeh.documents[0].roots().find(one => one.name === 'dfmr_map')"
    browser.wait(f"{chosen}.renderers[0].data_source.selected.indices.join() === '7'")
    time.sleep(0.5)
    after = ink(browser)
    assert after["dfmr_grid"] < before["dfmr_grid"] / 4
    assert all(after[name] < before[name] for name in FIGURES), (before, after)
    assert browser.errors() == []


def test_an_earlier_run_is_shown_again_when_it_is_chosen(browser: Browser, client: Client) -> None:
    for name, n in (("earlier", 40), ("later", 20)):
        tell(client, name, told_run(n, name=name))
    opened(browser, client)
    browser.wait(DRAWN, "state", 20)
    (choice,) = (one for one in browser.found("select") if "the latest" in one.text)
    (option,) = (one for one in choice.find_elements("tag name", "option") if "earlier" in one.text)
    option.click()
    browser.wait(DRAWN, "state", 40)
    browser.wait_for("earlier.zarr")
    tell(client, "later", [judged(told_run(20, name="later"))])
    assert len(column(browser, "state")) == 40
    assert browser.errors() == []


def test_distances_are_those_of_the_gate_that_is_chosen(browser: Browser, client: Client) -> None:
    tell(client, "gates", told_run(40, name="gates"))
    opened(browser, client)
    browser.wait(DRAWN, "state", 40)
    before = column(browser, "distance")
    (option,) = (one for one in browser.found("option") if one.text == "fisher")
    option.click()
    browser.wait(f"return (() => {{{COLUMN}}})()?.[2] < 1", "distance")
    after = column(browser, "distance")
    there = [i for i in range(40) if before[i] is not None]
    assert [round(after[i] * 1000 - before[i], 3) for i in there] == [0.0] * len(there)
    assert browser.errors() == []


@pytest.mark.parametrize(
    "n", [1, MOST_SHOWN, pytest.param(MOST_SHOWN + 2000, marks=pytest.mark.slow)]
)
def test_any_number_of_partitions_fits_any_window(browser: Browser, client: Client, n: int) -> None:
    events = told_run(n, name=f"of-{n}")
    tell(client, f"of-{n}", [*events, judged(events)])
    opened(browser, client)
    browser.wait(DRAWN, "state", min(n, (n + 1) // 2 if n > MOST_SHOWN else n))
    browser.wait_for(f"of {n:,} partition")
    assert all(ink(browser).values())
    assert browser.overflow() == 0
    browser.screenshot(f"wide-{n}")
    browser.resize(NARROW)
    browser.wait("return innerWidth === arguments[0]", NARROW[0])
    browser.wait(f"{GRID}; return grid.inner_width < arguments[0]", NARROW[0])
    assert browser.overflow() == 0
    browser.screenshot(f"narrow-{n}", whole=True)
    assert browser.errors() == []


def test_before_any_run_the_page_says_what_it_is_for(browser: Browser) -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        opened(browser, client)
        browser.wait_for("no run yet This page fills in when a run begins on this scheduler")
        tell(client, "first", told_run(12, name="first"))
        browser.wait(DRAWN, "state", 12)
        assert browser.errors() == []


def test_a_page_that_is_opened_while_much_happens_fills_in(browser: Browser) -> None:
    """Bokeh gives up a page that changes while it is first rendered."""
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        happening(client) as told,
    ):
        for _ in range(4):
            opened(browser, client)
            browser.wait(
                f"const found = (() => {{{COLUMN}}})(); return found?.length >= 12", "state"
            )
        assert len(told) > 4
        assert browser.errors() == []


@contextmanager
def happening(client: Client) -> Iterator[list[str]]:
    """Runs of more and more partitions begin one after the other, as fast as they can be told."""
    told: list[str] = []

    def begin() -> None:
        name = f"run {len(told)}"
        tell(client, name, told_run(12 + len(told), name=name))
        told.append(name)

    with repeating(begin, every=0.1):
        yield told


@contextmanager
def releasing(word: Path) -> Iterator[None]:
    """Let everybody go on at the end, whatever happens: a run that waits is waited for."""
    try:
        yield
    finally:
        word.touch()


def test_the_page_fills_in_while_a_run_goes_on(browser: Browser, tmp_path: Path) -> None:
    truth = population(3, 2, separation=5.0, seed=7)
    store = write_gaussians(tmp_path / "rows.zarr", truth, 12_000, chunk_rows=300, seed=7)
    rows = zarr.open_array(store)
    for i in LIARS:  # a sensor that mixed up its columns
        rows[300 * i : 300 * (i + 1)] = rows[300 * i : 300 * (i + 1)][:, ::-1]
    word = tmp_path / "go on"  # whoever comes after the first 25 waits for it
    waits = After(Until(word), 25, tmp_path / "calls")
    source = faulty(open_source(store), {**dict.fromkeys(range(40), waits), 5: breaks})
    model = GaussianMixture(3, random_state=1)
    with (
        local_cluster(n_workers=2) as cluster,
        Client(cluster) as client,
        ThreadPoolExecutor(1) as aside,
        releasing(word),
    ):
        opened(browser, client)
        fitting = aside.submit(model.fit, source)
        browser.wait(DRAWN, "state", 40)
        browser.wait(f"const seen = (() => {{{COLUMN}}})(); {MIXED}", "state", patience=240)
        so_far = column(browser, "state")
        assert "provisional If the run ended now" in browser.text()
        browser.screenshot("live")
        word.touch()
        verdict = fitting.result().verdict_
        browser.wait_for(f"{len(verdict.kept)} of 40 partitions kept, 10 dropped, 1 failed.")
        states, reasons = column(browser, "state"), column(browser, "reason")
        valid, text = column(browser, "rows"), browser.text()
        browser.screenshot("done")
        assert browser.errors() == []
    assert so_far.count("waiting") + so_far.count("fitting") >= 14
    assert so_far.count("dropped") <= 10
    assert [i for i in range(40) if states[i] == "kept"] == list(verdict.kept)
    assert {i: reasons[i] for i in range(40) if states[i] == "dropped"} == dict(verdict.dropped)
    assert set(LIARS) == set(verdict.dropped)
    assert "this partition is broken" in reasons[5]
    assert sum(valid) - valid[5] == 300 * 39
    assert all(f"{stage} " in text for stage in ("start", "fit", "aggregate"))
