"""The report says what the run found, whatever it was, in one file that asks for nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import xarray as xr
import yaml

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.command.cli import main
from dfmr_dask.command.config import configuration
from dfmr_dask.data.source import open_source
from dfmr_dask.errors import InvalidMessage, RunUnfinished
from dfmr_dask.run.lock import locked
from dfmr_dask.run.results import verdict_table
from dfmr_dask.selection.curve import selected
from dfmr_dask.show.html.found import found_in
from dfmr_dask.show.html.page import report_html, with_report, write_report
from dfmr_dask.show.html.words import python, settings_yaml
from tests.show.html.making import finished, made, said, truth

MOST_BYTES = 5_000_000
STRANGE = [
    "<script>alert(1)</script>", 'a"b\' onload=x &amp;', "$\\frac{1}{0$ _x^", "温度 °C",
    "name " * 80, "</title></svg>", "   ",
]  # fmt: skip


class Page(HTMLParser):
    """Elements, attributes and texts of a page, and whether elements are closed in order."""

    VOID = ("meta", "link", "br", "img", "hr", "path", "use", "image")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usual") / "run"
    curve = selected(
        [1, 2, 3, 4], np.tile([-3.0, -2.0, -1.9, -1.899], (3, 1)), np.ones(3), [2, 5, 8, 11], 900
    )
    made(folder, failed={2: "chunk c/2 cannot be decoded"}, empty=(7,), selection=curve)
    return folder


def test_the_verdict_comes_first_and_says_how_many_were_kept_and_why(usual: Path) -> None:
    page = report(usual)
    words = page.text
    assert "Certified 10 of 13 partitions were kept; 2 dropped for lying too far" in words
    assert "means 2" in words
    first = words.index("Certified")
    for title in page.named("section"):
        assert title["aria-labelledby"]
    for later in ("Where the partitions lie", "What was left out", "How it was made"):
        assert words.index(later) > first
    ids = [attrs["id"] for attrs in page.named("section")]
    assert ids == ["places", "left-out", "agreement", "order", "mixture", "fit", "made"]


def test_every_partition_that_was_left_out_is_told_with_its_reason(usual: Path) -> None:
    words = report(usual).text
    assert re.search(r"4 dropped .*? means [\d,.]+ > ", words)
    assert "chunk c/2 cannot be decoded" in words
    assert re.search(r"\+[\d,.]+ mean of component \d along x\d", words)


def test_it_asks_for_nothing_and_runs_nothing(usual: Path) -> None:
    html = (usual / "report.html").read_text()
    page = Page(html)
    assert not page.named("script")
    assert not page.named("iframe")
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    for tag, attrs in page.tags:
        for name in ("src", "href"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in html
    assert "url(" not in html.replace("url(#", "")


def test_ids_are_unique_and_references_lead_somewhere(usual: Path) -> None:
    page = report(usual)
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attrs.get(name) or "").split()) <= set(ids)
        if (link := attrs.get("href") or "").startswith("#"):
            assert link[1:] in ids
    html = (usual / "report.html").read_text()
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_pictures_are_told_in_words_and_headings_do_not_skip(usual: Path) -> None:
    page = report(usual)
    pictures = page.named("svg")
    assert len(pictures) >= 9
    assert all(one.get("role") == "img" and one.get("aria-labelledby") for one in pictures)
    assert len(page.named("figcaption")) == len(page.named("figure"))
    assert all(attrs.get("scope") for attrs in page.named("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}


def test_the_folder_alone_gives_the_same_page(usual: Path, tmp_path: Path) -> None:
    again = write_report(usual, tmp_path / "again.html")
    assert again.read_bytes() == (usual / "report.html").read_bytes()


SIZES = [{"order": 1, "d": 1}, {"m": 3, "order": 1, "d": 3, "liars": ()}]
MORE_SIZES = [
    {"order": 4, "d": 1},
    {"order": 30, "d": 5},
    {"order": 2, "kind": "full"},
    {"liars": (), "sample": False},
]


@pytest.mark.parametrize(
    "size", [*SIZES, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE_SIZES)], ids=str
)
def test_runs_of_any_size_have_a_report(size: dict, tmp_path: Path) -> None:
    summary = made(tmp_path / "run", **size)
    assert "report" in summary["files"], summary["notes"]
    page = report(tmp_path / "run")
    assert len(page.named("svg")) >= 4
    assert ("How well it fits" in page.text) == size.get("sample", True)


def test_five_hundred_features_stay_readable(tmp_path: Path) -> None:
    summary = made(tmp_path / "run", d=500, order=3)
    assert "report" in summary["files"], summary["notes"]
    page = report(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").stat().st_size < MOST_BYTES
    assert "6 of 500 features" in page.text
    keys = [attrs.get("aria-labelledby", "") or "" for attrs in page.named("svg")]
    assert sum(key.startswith("pair") for key in keys) == 3


def test_ten_thousand_partitions_fit_into_five_megabytes(tmp_path: Path) -> None:
    m = 10_000
    failed = {i: f"chunk {i}.0 cannot be decoded" for i in range(0, m, 20)}
    liars = [i for i in range(m) if i % 7 == 3]
    summary = made(tmp_path / "run", m=m, liars=liars, failed=failed, d=2, order=2)
    assert "report" in summary["files"], summary["notes"]
    assert len(summary["dropped"]) > 1000
    assert (tmp_path / "run" / "report.html").stat().st_size < MOST_BYTES
    page = report(tmp_path / "run")
    assert len(page.named("tr")) < 150
    assert "partitions.csv has all of them" in page.text
    assert "of the partitions are not shown" in page.text


def test_names_from_the_data_are_names_and_nothing_else(tmp_path: Path) -> None:
    summary = made(
        tmp_path / "run", d=len(STRANGE), features=STRANGE, liars=(3,),
        failed={5: "<img src=x onerror=alert(1)> & <b>"},
    )  # fmt: skip
    assert "report" in summary["files"], summary["notes"]
    page = report(tmp_path / "run")
    assert not page.named("script")
    assert not [one for one in page.named("img") if not (one["src"] or "").startswith("data:")]
    assert not page.named("b")
    assert "<img src=x onerror=alert(1)> & <b>" in page.text
    assert "温度 °C" in page.text
    assert "<script>alert(1)</script>" in page.text


def test_places_are_those_of_the_grid(tmp_path: Path) -> None:
    times = np.arange("2001-01", "2001-05", dtype="datetime64[M]").astype("datetime64[ns]")
    grid = xr.Dataset(
        {name: (("time", "lat", "lon"), np.zeros((4, 9, 9))) for name in ("x0", "x1")},
        coords={"time": times, "lat": np.linspace(-40, 40, 9), "lon": np.arange(9)},
    )
    grid.chunk({"time": 1, "lat": 3, "lon": 3}).to_zarr(tmp_path / "grid.zarr")
    source = open_source(tmp_path / "grid.zarr", plan="chunks")
    mixture = truth(2, 2)
    messages = said(len(source.plan), mixture, liars=(10, 19))
    summary = finished(tmp_path / "run", messages, source, mixture)
    assert [one["id"] for one in summary["dropped"]] == [10, 19]
    table = found_in(tmp_path / "run").partitions
    assert table["time"].values[10].astype("datetime64[M]") == np.datetime64("2001-02")
    assert table["lat"].values[[9, 12]].tolist() == [-30.0, 0.0]
    words = report(tmp_path / "run").text
    assert "distance from the majority along time; beyond the cut-off: 2001-02-01 and 2001-03-01" \
        in words  # fmt: skip
    assert "map of the partitions over lat and lon" in words


def test_nobody_kept_is_a_report_too(usual: Path) -> None:
    found = found_in(usual)
    ids = [message.partition for message in found.messages]
    verdict = Verdict((), dict.fromkeys(ids, "left out"), doubts=("only 0 of 14 pass",))
    summary = {**found.summary, "kept": [], "failed": [], "empty": [], "certified": False}
    summary |= {"dropped": [{"id": i, "reason": "left out"} for i in ids]}
    summary |= {"doubts": list(verdict.doubts)}
    table = verdict_table([""] * len(ids), found.messages, verdict)
    page = Page(report_html(replace(found, summary=summary, partitions=table)))
    assert "Not certified 0 of 14 partitions were kept; 14 dropped." in page.text
    assert "Only 0 of 14 pass." in page.text


def test_the_command_writes_it_again_and_elsewhere(
    usual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["report", str(usual), "--out", str(tmp_path / "out.html")])
    assert left.value.code == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out.html")
    assert (tmp_path / "out.html").read_bytes() == (usual / "report.html").read_bytes()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunUnfinished, match="holds no run"):
        write_report(tmp_path)
    (tmp_path / "aggregates" / "a").mkdir(parents=True)
    with pytest.raises(RunUnfinished, match="holds no run"):
        write_report(tmp_path / "aggregates" / "a")


def test_a_run_that_is_going_or_was_cut_short_is_told_apart(usual: Path, tmp_path: Path) -> None:
    copytree(usual, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(RunUnfinished, match="did not finish"):
        write_report(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(RunUnfinished, match=r"still going \(process "):
        write_report(tmp_path / "run")


def test_a_run_of_a_newer_version_is_refused(usual: Path, tmp_path: Path) -> None:
    copytree(usual, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    told = json.loads(path.read_text())
    for version in ("99.0", "from the future"):
        told["identity"]["package"] = version
        path.write_text(json.dumps(told))
        with pytest.raises(InvalidMessage, match=f"written by dfmr_dask {version}"):
            write_report(tmp_path / "run")


def test_files_that_are_missing_or_spoiled_are_named(usual: Path, tmp_path: Path) -> None:
    copytree(usual, tmp_path / "run")
    (tmp_path / "run" / "sample.npz").write_bytes(b"no archive")
    with pytest.raises(InvalidMessage, match=r"sample\.npz is no sample of rows"):
        write_report(tmp_path / "run")
    (tmp_path / "run" / "sample.npz").unlink()
    assert "How well it fits" not in Page(write_report(tmp_path / "run").read_text()).text
    (tmp_path / "run" / "partitions.zarr" / "zarr.json").unlink()
    with pytest.raises(InvalidMessage, match="lacks something that a report is made of"):
        write_report(tmp_path / "run")


def test_settings_of_the_page_are_a_configuration_that_runs(usual: Path) -> None:
    found = found_in(usual)
    told = yaml.safe_load(settings_yaml(found.description))
    again = configuration({**told, "source": {**told["source"], "path": "a.zarr"}})
    assert again.mixture.n_components == found.mixture.n_components
    compile(python(found.description), "page", "exec")


def test_a_page_that_cannot_be_drawn_loses_no_run(tmp_path: Path) -> None:
    def broken(summary: dict) -> None:
        raise RuntimeError("no pictures today")

    told = with_report(tmp_path, {"files": {"model": "m"}, "notes": ["one"]}, broken)
    assert told["files"] == {"model": "m"}
    assert "no pictures today" in told["notes"][1]
    assert not list(tmp_path.iterdir())
