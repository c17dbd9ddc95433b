"""Figures as parts of a page: text stays text, and colors are variables of the page's style."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any
from warnings import catch_warnings, filterwarnings

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfmr_dask.show.pictures.style import DPI, SIZE, THEME, look, panels

NO_FACTS = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # neither times nor addresses
COLORS = {light: f"var(--{name})" for name, (light, _) in THEME.items()}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of a page.

    Attributes
    ----------
    key : str
        Letters and digits that no other picture of the page has.
    title : str
        What it shows, for who cannot see it.
    caption : str
        How it is to be read.
    svg : Markup
    wide : bool
        Whether it takes the whole width.
    """

    key: str
    title: str
    caption: str
    svg: Markup
    wide: bool = False


def drawn(
    key: str,
    draw: Callable[[Axes], Any],
    title: str,
    caption: str,
    *,
    size: tuple[float, float] = SIZE,
    wide: bool = False,
) -> Picture:
    """Draw onto axes of the package's look, and return the figure as a part of a page.

    Parameters
    ----------
    key, title, caption, wide
        As in :class:`Picture`.
    draw : callable
        Is given the axes.
    size : pair of float
        Inches.
    """
    with look():
        figure, (axis,) = panels(1, size)
        draw(axis)
        return Picture(key, title, caption, as_svg(figure, key, title, caption), wide)


def as_svg(figure: Figure, key: str, title: str, description: str) -> Markup:
    """Return a figure as an element of HTML.

    Parameters
    ----------
    figure : Figure
        Drawn in the package's look.
    key : str
        Letters and digits; ids within the element begin with it.
    title, description : str
        What it shows, for who cannot see it.

    Examples
    --------
    >>> from dfmr_dask.show.html.svg import as_svg
    >>> from dfmr_dask.show.pictures.style import look, panels
    >>> with look():
    ...     figure, _ = panels()
    ...     made = as_svg(figure, "a", "nothing <yet>", "empty axes")
    >>> "http" in made, "nothing &lt;yet&gt;" in made, "var(--ink)" in made
    (False, True, True)
    """
    out = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}), catch_warnings():
        filterwarnings("ignore", r"Glyph \d+")  # the page's own fonts have what ours lack
        figure.savefig(out, format="svg", transparent=True, dpi=DPI, metadata=NO_FACTS)
    text = out.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r"<[^>]*>", lambda found: _tag(found[0], key), body)  # texts stay as they are
    width, height = (72.0 * side for side in figure.get_size_inches())
    head = Markup(
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{title}</title>'
        '<desc id="{key}-desc">{description}</desc>'
    ).format(w=f"{width:g}", h=f"{height:g}", key=key, title=title, description=description)
    return head + Markup(body.strip())  # matplotlib escapes the texts that it draws


def _tag(tag: str, key: str) -> str:
    """Return a tag without its name in matplotlib, with the colors and the font of the page."""
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', tag)
    tag = tag.replace('xlink:href="#', f'href="#{key}-').replace("xlink:href", "href")
    tag = tag.replace("url(#", f"url(#{key}-")
    tag = re.sub(r"(font: [^;\"]*?px) [^;\"]+", r"\1 var(--sans)", tag)
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda found: COLORS.get(found[0], found[0]), tag)
    return re.sub(r"(\d\.\d{2})\d+", r"\1", tag)  # hundredths of a point are enough
