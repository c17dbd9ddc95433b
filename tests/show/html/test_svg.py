"""Figures become parts of a page without a change to what they say."""

from __future__ import annotations

import re
from html import unescape

from matplotlib.axes import Axes

from dfmr_dask.show.html.svg import drawn

NAMES = ["0.12345", "#0072b2", 'id="x" url(#y)', "<b>&amp;</b>", "font: 9px serif"]


def everything(axis: Axes) -> None:
    axis.plot([0.0, 1.0], [0.123456, 0.2], "o-", label="<label>")
    axis.set_xticks(range(len(NAMES)), labels=NAMES)
    axis.legend()


def test_texts_stay_as_they_are() -> None:
    made = str(drawn("k", everything, "a <title>", "a 'caption'").svg)
    texts = {unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", made)}
    assert {*NAMES, "<label>"} <= texts
    assert '<title id="k-title">a &lt;title&gt;</title>' in made


def test_two_pictures_share_no_name_and_have_no_colors_of_their_own() -> None:
    one, other = (str(drawn(key, everything, "t", "c").svg) for key in ("a", "b"))
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, other)]
    assert ids[0]
    assert ids[0] & ids[1] == {"x"}  # which is but a text
    assert set(re.findall(r"url\(#([^)]+)\)", one)) - {"y"} <= ids[0]
    styles = re.findall(r'style="([^"]*)"', one)
    left = {color for text in styles for color in re.findall(r"#[0-9a-f]{6}", text)}
    assert left <= {"#1f77b4"}  # what the test itself has drawn
    assert "var(--ink)" in one


def test_the_same_picture_has_the_same_bytes() -> None:
    made = [drawn("k", everything, "t", "c").svg for _ in range(2)]
    assert made[0] == made[1]
