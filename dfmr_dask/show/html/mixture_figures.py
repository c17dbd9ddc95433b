"""The figures of a report that show the mixture, and how well it fits."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from io import BytesIO

from matplotlib.axes import Axes
from PIL import Image

from dfmr_dask.aggregate.goodness import GoodnessOfFit, goodness_of_fit
from dfmr_dask.aggregate.jackknife import LEVEL
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.numbers import counted, number
from dfmr_dask.show.html.svg import Picture, drawn
from dfmr_dask.show.pictures import mixture
from dfmr_dask.show.pictures.goodness import plot_goodness
from dfmr_dask.show.pictures.style import shortened
from dfmr_dask.show.pictures.telling import telling_pairs

WIDEST_PICTURE = 1000  # pixels of the labels on their grid
BARS = 40  # components beyond which weights are no bars


def components(found: Found) -> list[Picture]:
    """Draw the mixture: its weights, and its components along the features that tell most."""
    model, errors = found.mixture, found.errors
    gaussian = "means" in model.params
    pairs = telling_pairs(model) if gaussian else []
    shown = [_density(found)] if gaussian and not pairs else []
    for k, pair in enumerate(pairs):
        names = " and ".join(shortened(found.features[j], 60) for j in pair)
        shown.append(
            drawn(
                f"pair{k}",
                partial(_pair, found, pair),
                f"{counted(model.n_components, 'component')} along {names}",
                f"Along {names}.",
                size=(3.9, 3.5),
            )
        )
    heavy = number(float(model.weights.max()))
    height = 0.75 + 0.21 * min(model.n_components, BARS)
    shown.append(
        drawn(
            "weights",
            lambda axis: mixture.plot_weights(model, errors=errors, ax=axis),
            f"weights of {counted(model.n_components, 'component')}, the heaviest {heavy}",
            "Weights" + ("." if errors is None else ", with 95 % intervals."),
            size=(3.9, max(2.2, min(3.5, height))),
        )
    )
    return shown


def _pair(found: Found, pair: tuple[int, int], axis: Axes) -> None:
    mixture.plot_components(
        found.mixture, pair, found.features, errors=found.errors, rows=found.rows, ax=axis
    )


def how_to_read(found: Found) -> str:
    """Say what the pictures of components show."""
    if found.mixture.n_features == 1 or "means" not in found.mixture.params:
        return ""
    told = [
        "Each outline holds half of its component; the shades hold 50, 80 and 95\u202f% of the "
        "mixture."
    ]
    if found.rows is not None:
        told.append("Dots are rows of a sample.")
    if found.errors is not None:
        told.append(
            f"Filled, where they are not too small to be seen: the {100 * LEVEL:.0f}\u202f% "
            f"regions of the true means, from leaving out each of {len(found.errors)} parts."
        )
    if found.mixture.n_features > 3:
        told.append("The pairs of features are those that tell the components apart best.")
    return " ".join(told)


def _density(found: Found) -> Picture:
    rows = found.rows
    return drawn(
        "density",
        lambda axis: mixture.plot_density(
            found.mixture, found.features[0], errors=found.errors, rows=rows, ax=axis
        ),
        f"density along {shortened(found.features[0], 60)} and the components under it",
        "The density of the mixture and, dashed, of its components"
        + ("." if rows is None else ", over a histogram of a sample of rows."),
        size=(3.9, 3.5),
    )


def fit(found: Found) -> tuple[list[Picture], GoodnessOfFit | None]:
    """Draw how well a sample of rows fits the mixture, and return what the drawing says."""
    rows = found.rows
    if rows is None:
        return [], None
    seed = int(dict(found.description["settings"].get("run", {})).get("seed", 0))
    told = goodness_of_fit(found.mixture, rows, generator(seed, Stage.FIT_PICTURE))
    one = drawn(
        "fit",
        lambda axis: plot_goodness(told, ax=axis),
        f"quantiles of the log densities of a sample over those of the model: {told}",
        "Log densities of the sample over those of rows drawn from the model, quantile by "
        "quantile: on the line where the model fits, below it where rows are stranger than the "
        "model's own. The band holds 95 of 100 samples of this size from the model.",
    )
    return [one], told


def labels(found: Found) -> str | None:
    """Return the picture of labels on their grid as data of the page, made smaller."""
    if found.picture is None:
        return None
    with Image.open(found.picture) as image:
        small = image.convert("RGB")
        small.thumbnail((2 * WIDEST_PICTURE, WIDEST_PICTURE))
        out = BytesIO()
        small.save(out, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"
