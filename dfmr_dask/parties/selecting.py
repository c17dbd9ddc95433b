"""How many components: the same exchange for each number, and then a look at all of its scores.

Nothing more is asked of the sites. The last vote of each exchange tells what every kept site scores
the model of that order on its sample, which is the same rows for each order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfmr_dask.errors import ExchangeWaits, InvalidExchange
from dfmr_dask.parties.letters import Place
from dfmr_dask.parties.merging import Merged, aggregate
from dfmr_dask.selection.curve import Selection, as_plain
from dfmr_dask.selection.scores import from_scores

FEWEST_ORDERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The order that the sites' scores speak for.

    Attributes
    ----------
    selection : Selection
        By numbers of sites, which are their places in ``sites``.
    sites : tuple of str
    inbox : Path
        The folder where the exchange of the chosen order lies.
    """

    selection: Selection
    sites: tuple[str, ...]
    inbox: Path

    @property
    def plain(self) -> dict[str, Any]:
        """The curve by names of sites, as JSON knows it."""
        found = self.selection
        left_out = [{"id": self.sites[i], "reason": why} for i, why in found.left_out.items()]
        partitions = [self.sites[i] for i in found.partitions]
        return {
            **as_plain(found),
            "left_out": left_out,
            "partitions": partitions,
            "inbox": str(self.inbox),
        }


def select(inboxes: Sequence[Place], *, min_gain: float | None = None) -> Chosen:
    """Choose the number of components from finished exchanges, one folder for each number.

    Parameters
    ----------
    inboxes : sequence of paths
        Each holds an exchange that ran to the end of its check, of one order more than another.
    min_gain : float, optional
        Nats a row that a further component must bring.

    Returns
    -------
    Chosen

    Raises
    ------
    ExchangeWaits
        When a check has not come to its end.
    InvalidExchange
        When the exchanges differ in more than their order, or an order is missing between them.
    TooFewMessages
        When half of the sites, or more, are not heard on some order.

    References
    ----------
    EVIDENCE 9: scores of the kept, median gains, and the BIC of their sum.
    """
    found = sorted(
        ((Path(inbox), aggregate(inbox)) for inbox in inboxes),
        key=lambda pair: pair[1].mixture.n_components,
    )
    _check(found)
    merged = [one for _, one in found]
    sites = tuple(sorted({site for one in merged for site in one.sites}))
    numbers = {site: i for i, site in enumerate(sites)}
    orders = [one.mixture.n_components for one in merged]
    kept = {
        k: {numbers[one.sites[i]] for i in one.verdict.kept}
        for k, one in zip(orders, merged, strict=True)
    }
    told = {
        k: {numbers[one.sites[i]]: pair for i, pair in one.scores.items()}
        for k, one in zip(orders, merged, strict=True)
    }
    rows = {i: pair[1] for some in told.values() for i, pair in some.items()}
    selection = from_scores(
        orders, kept, {k: {i: pair[0] for i, pair in some.items()} for k, some in told.items()},
        rows, [one.mixture.n_parameters for one in merged], min_gain=min_gain,
    )  # fmt: skip
    place = orders.index(selection.n_components)
    return Chosen(selection, sites, found[place][0])


def _check(found: Sequence[tuple[Path, Merged]]) -> None:
    """Raise unless the exchanges are finished, and differ in nothing but their order."""
    orders = [one.mixture.n_components for _, one in found]
    if len(orders) < FEWEST_ORDERS or orders != list(range(orders[0], orders[-1] + 1)):
        raise InvalidExchange(
            f"exchanges of {orders} components came; wanted {FEWEST_ORDERS} or more folders, one "
            "for each number, without a gap"
        )
    for inbox, one in found:
        if not one.checked or not one.scores:
            raise ExchangeWaits(
                f"the check in {inbox} has not come to its end: run dfmr aggregate {inbox} and "
                "answer its ballots, until it says that the model stands"
            )
    usual = {**found[0][1].exchange.plain, "n_components": 0}
    for inbox, one in found:
        mine = {**one.exchange.plain, "n_components": 0}
        if differing := [name for name in usual if mine[name] != usual[name]]:
            raise InvalidExchange(
                f"{inbox} has other {', '.join(differing)} than {found[0][0]}; exchanges for a "
                "choice of n_components may differ in nothing else"
            )
