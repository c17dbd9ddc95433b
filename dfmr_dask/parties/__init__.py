"""Parties that do not trust each other fit one mixture: each reads its own rows, files do the rest.

A site proposes, answers ballots and fits, and never shows a row. A hub merges what lies in a
folder. Each file is plain arrays, and nothing in it is ever executed. See ``docs/parties.md``.
"""

from dfmr_dask.parties.hub import agree
from dfmr_dask.parties.letters import Answer, Ballot, LocalFit, Proposal, Start
from dfmr_dask.parties.merging import Merged, aggregate
from dfmr_dask.parties.selecting import Chosen, select
from dfmr_dask.parties.site import answer, fit_local, propose

__all__ = [
    "Answer",
    "Ballot",
    "Chosen",
    "LocalFit",
    "Merged",
    "Proposal",
    "Start",
    "aggregate",
    "agree",
    "answer",
    "fit_local",
    "propose",
    "select",
]
