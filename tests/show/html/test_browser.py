"""The report in a real browser: at a desk and on a telephone, in light, in dark, and printed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dfmr_dask.show.html.page import style
from dfmr_dask.show.pictures.style import THEME
from tests.browser import NARROW, WIDE, Browser
from tests.show.html.making import made

PAPER = (718, 1000)  # what A4 has between its margins, in pixels of CSS
BOXES = """return [...document.querySelectorAll("figure svg")].map(one => {
  const box = one.getBoundingClientRect();
  return [box.width, box.height, one.querySelectorAll("path").length];
});"""
COLORS = """const one = document.querySelector("svg text");
return [getComputedStyle(document.body).backgroundColor, getComputedStyle(one).fill];"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "run"
    names = [
        "<b>temp</b> & 'salt'",
        "a name that is much longer than any axis of a picture is wide",
    ]
    made(folder, m=40, features=names, failed={3: "chunk <i>3</i> cannot be decoded"})
    return folder / "report.html"


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_there_and_nothing_goes_wrong(
    browser: Browser, page: Path, size: tuple[int, int], scheme: str
) -> None:
    browser.resize(size)
    browser.prefer(scheme)
    browser.open(page)
    boxes = browser.ask(BOXES)
    assert len(boxes) >= 9
    assert all(width > 200 and height > 20 and paths > 3 for width, height, paths in boxes)
    assert browser.overflow() <= 0
    assert browser.found("script") == []
    assert browser.ask("return performance.getEntriesByType('resource').length") == 0
    assert "chunk <i>3</i> cannot be decoded" in browser.text()
    browser.screenshot(f"{scheme}-{size[0]}", whole=True)
    assert browser.console() == []


def test_dark_pages_are_dark_and_their_pictures_light(browser: Browser, page: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.open(page)
        seen[scheme] = [brightness(color) for color in browser.ask(COLORS)]
    (light_page, light_ink), (dark_page, dark_ink) = seen["light"], seen["dark"]
    assert light_page > 0.8
    assert light_ink < 0.3
    assert dark_page < 0.2
    assert dark_ink > 0.7


def test_it_can_be_walked_through_with_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    body = browser.found("body")[0]
    body.send_keys("\ue004")  # Tab
    assert browser.ask("return document.activeElement.className") == "skip"
    browser.ask("document.activeElement.click()")
    assert browser.ask("return location.hash") == "#main"
    outline = """const one = document.querySelector("nav a"); one.focus({focusVisible: true});
    return getComputedStyle(one).outlineStyle;"""
    assert browser.ask(outline) == "solid"


def test_it_prints_in_light_colors_and_nothing_is_cut_off(browser: Browser, page: Path) -> None:
    browser.prefer("dark")
    browser.open(page)
    pdf = browser.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")
    browser.prefer("dark", media="print")
    assert brightness(browser.ask("return getComputedStyle(document.body).color")) < 0.3
    browser.resize(PAPER)
    assert browser.overflow() <= 0
    tables = (
        "return [...document.querySelectorAll('.table')].map(e => e.scrollWidth - e.clientWidth)"
    )
    assert max(browser.ask(tables)) <= 0
    tall = "return getComputedStyle(document.querySelector('.tall')).maxHeight"
    assert browser.ask(tall) == "none"


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(scheme: int) -> None:
    role = {name: colors[scheme] for name, colors in THEME.items()}
    for text in ("ink", "muted", "alert"):
        assert contrast(role[text], role["paper"]) >= 4.5, text
    for mark in ("c0", "c1", "c2", "failed", "c6", "c7"):
        assert contrast(role[mark], role["paper"]) >= 3.0, mark


def test_the_style_sheet_has_a_color_for_every_role() -> None:
    sheet = style("report.css")
    assert "@LIGHT@" not in sheet
    for name, (light, dark) in THEME.items():
        assert f"--{name}: {light};" in sheet
        assert f"--{name}: {dark};" in sheet


def brightness(color: str) -> float:
    """Of rgb(...), as CSS writes it."""
    numbers = color[color.index("(") + 1 : color.index(")")].split(",")[:3]
    return sum(float(one) for one in numbers) / 765.0


def contrast(one: str, other: str) -> float:
    """WCAG 2.1's ratio of two colors."""
    a, b = sorted((luminance(one), luminance(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255.0 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
