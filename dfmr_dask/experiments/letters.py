"""Images of letters, as small as scikit-learn's handwritten digits: aliens among them.

Letters of the fonts that come with matplotlib are turned, slanted, shifted and scaled at random,
and averaged over the same 8 x 8 squares, in the same 17 levels of ink.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dfmr_dask.randomness import Stage, generator

SIDE = 8  # squares along a side
FINE = 8  # pixels along the side of a square
MOST_INK = 16
LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"  # I, O and S look like digits
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")


def letters(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Draw images of letters.

    Parameters
    ----------
    n : int
    seed : int

    Returns
    -------
    ndarray of shape (n, 64)
        Ink from 0 to 16 in the squares of each image, row by row, as ``load_digits`` has them.

    Examples
    --------
    >>> from dfmr_dask.experiments.letters import letters
    >>> images = letters(3)
    >>> images.shape, float(images.max())
    ((3, 64), 16.0)
    """
    rng = generator(seed, Stage.ALIEN_ROWS)
    return np.array([_image(rng) for _ in range(n)]).reshape(n, SIDE * SIDE)


def _image(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one letter, as dark as its darkest square allows."""
    side = SIDE * FINE
    letter, font = rng.choice(list(LETTERS)), _font(str(rng.choice(FONTS)), rng)
    page = Image.new("L", (side, side))
    ImageDraw.Draw(page).text(
        (side / 2, side / 2), str(letter), 255, font, anchor="mm", stroke_width=2
    )
    turned = page.transform(
        (side, side), Image.Transform.AFFINE, _bent(side, rng), Image.Resampling.BILINEAR
    )
    ink = np.asarray(turned, dtype=np.float64).reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    return np.asarray(np.round(MOST_INK * ink / max(ink.max(), 1.0)))


def _font(name: str, rng: np.random.Generator) -> ImageFont.FreeTypeFont:
    place = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(place), int(rng.integers(62, 76)))


def _bent(side: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Return an affine map about the middle of a page: a turn, a slant and a shift."""
    turn, slant = rng.normal(scale=0.08), rng.normal(scale=0.12)
    map_ = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    map_ = map_ @ np.array([[1.0, slant], [0.0, 1.0]])
    middle = np.full(2, side / 2)
    offset = middle - map_ @ middle + rng.normal(scale=1.5, size=2)
    return (*map_[0], offset[0], *map_[1], offset[1])
