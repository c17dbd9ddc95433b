"""Finite mixtures fitted to Zarr stores in one pass, right while almost half of the pieces are bad.

``GaussianMixture`` is the estimator, ``open_source`` opens a store and plans how it is read.
``propose``, ``agree``, ``answer``, ``fit_local`` and ``parties.aggregate`` are for parties that do
not trust each other; see ``docs/parties.md``.

Examples
--------
>>> import tempfile, numpy as np
>>> import dfmr_dask as dfmr
>>> rows = {site: np.random.default_rng(i).normal(size=(400, 2)) for i, site in enumerate("ABC")}
>>> with tempfile.TemporaryDirectory() as inbox:
...     for site, x in rows.items():
...         path = dfmr.propose(x, n_components=1, site=site).save(inbox)
...     while (said := dfmr.agree(inbox)).name != "start.npz":
...         ballot = said.save(inbox)
...         for site in said.asked:
...             path = dfmr.answer(ballot, rows[site], site=site).save(inbox)
...     start = said.save(inbox)
...     for site, x in rows.items():
...         path = dfmr.fit_local(x, start=start, site=site).save(inbox)
...     merged = dfmr.parties.aggregate(inbox)
>>> len(merged.verdict.kept), merged.ballot.name
(3, 'ballot-check-1.npz')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfmr_dask import parties
    from dfmr_dask.aggregate.reduction import reduce_mixture
    from dfmr_dask.data.files import read_mixture
    from dfmr_dask.data.source import open_source
    from dfmr_dask.estimator import GaussianMixture
    from dfmr_dask.parties import agree, answer, fit_local, propose
    from dfmr_dask.run.standard_errors import read_standard_errors
    from dfmr_dask.show.displays import (
        EstimatesDisplay,
        GoodnessOfFitDisplay,
        MixtureDisplay,
        SelectionDisplay,
        VerdictDisplay,
    )
    from dfmr_dask.show.html.page import write_report

__version__ = "0.1.0"
__all__ = [
    "EstimatesDisplay",
    "GaussianMixture",
    "GoodnessOfFitDisplay",
    "MixtureDisplay",
    "SelectionDisplay",
    "VerdictDisplay",
    "__version__",
    "agree",
    "answer",
    "fit_local",
    "open_source",
    "parties",
    "propose",
    "read_mixture",
    "read_standard_errors",
    "reduce_mixture",
    "write_report",
]

_HOMES = {
    "GaussianMixture": "dfmr_dask.estimator",
    "agree": "dfmr_dask.parties",
    "answer": "dfmr_dask.parties",
    "fit_local": "dfmr_dask.parties",
    "open_source": "dfmr_dask.data.source",
    "propose": "dfmr_dask.parties",
    "read_mixture": "dfmr_dask.data.files",
    "read_standard_errors": "dfmr_dask.run.standard_errors",
    "reduce_mixture": "dfmr_dask.aggregate.reduction",
    "write_report": "dfmr_dask.show.html.page",
}
_HOMES |= dict.fromkeys(
    [name for name in __all__ if name.endswith("Display")], "dfmr_dask.show.displays"
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that workers load what they need."""
    if name == "parties":  # a package, whose ``aggregate`` cannot be a name here: a package has it
        return import_module("dfmr_dask.parties")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
