"""A site's part: propose, answer ballots, fit. It reads its own rows, and none leaves it.

A site remembers nothing either: its samples are drawn again for each ballot, the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfmr_dask.aggregate.questions import Improve
from dfmr_dask.errors import DegenerateRows, InvalidExchange
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.parties.exchange import Exchange
from dfmr_dask.parties.letters import Answer, Ballot, LocalFit, Place, Proposal, Start
from dfmr_dask.parties.naming import check_site
from dfmr_dask.parties.opening import read_letter
from dfmr_dask.parties.rows import (
    check_alike,
    drawn_samples,
    given,
    known_units,
    opened_whole,
    private_seed,
)
from dfmr_dask.run import partition, rounds
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess


def propose(
    data: Any,
    *,
    n_components: int,
    site: str,
    covariance_type: str = "full",
    family: Family | None = None,
    features: Any = None,
    units: Mapping[str, str] | None = None,
    seed: int | None = None,
    tol: float = 1e-6,
    reg_covar: float = 1e-6,
    max_iter: int = 500,
    outliers: float | None = None,
    n_init: int = 2,
    init_params: str = "overfit",
    **opening: Any,
) -> Proposal:
    """Return where a site would start, from a sample of its rows.

    Parameters
    ----------
    data : Source, or what :func:`dfmr_dask.open_source` takes
        All rows of the site; a Source must be opened with ``n_partitions=1``.
    n_components : int
    site : str
        Its name: letters, digits, ``-``, ``_`` and ``.``.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Of Gaussian components.
    family : Family, optional
        Of other ones: ``Binomial(2)`` for genotypes. All sites must have the same.
    features : optional
        As for :func:`dfmr_dask.open_source`. All sites must have the same, in the same order.
    units : mapping of features to str, optional
        Of features whose units the data do not tell. All sites must have the same.
    seed : int, optional
        Which rows are drawn; keep it to yourself, since who knows it knows your sample. By
        default it comes from the rows themselves, so that the same rows are drawn again.
    tol, reg_covar, max_iter, outliers
        As for :class:`dfmr_dask.GaussianMixture`; all sites must have the same.
    n_init, init_params
        How this site finds its start; others may do otherwise.
    **opening
        For :func:`dfmr_dask.open_source`: ``kind``, ``group``, ``storage_options``,
        ``sample_weight``, ``missing_chunks``, and ``memory_per_worker``, beyond which rows are
        read block by block.

    Returns
    -------
    Proposal
        ``save`` writes the file that goes to the hub.

    Raises
    ------
    InvalidSource, InvalidExchange
        When data cannot be opened, or the name cannot be that of files.
    DegenerateRows
        When the rows cannot carry such a fit.

    References
    ----------
    METHOD 11, steps 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.parties import propose
    >>> rows = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 3.0]
    >>> propose(rows, n_components=1, site="A", units={"x0": "K"}).exchange.units
    {'x0': 'K'}
    """
    wanted = _family(covariance_type, family)
    source = opened_whole(data, features, opening)
    settings = Settings(
        family=wanted,
        n_components=n_components,
        tol=tol,
        reg_covar=reg_covar,
        max_iter=max_iter,
        outliers=outliers,
        n_init=n_init,
        init_params=init_params,
    )
    told = known_units(source, units)
    exchange = Exchange(settings, source.features, told, source.weighted)
    local = exchange.local(
        private_seed(source, check_site(site), seed), n_init=n_init, init_params=init_params
    )
    drawn = drawn_samples(source, local)
    return Proposal(exchange, site, given(partition.propose(0, drawn, local)), drawn.rows)


def _family(covariance_type: str, family: Family | None) -> Family:
    """Return the family that is named, by itself or by its covariances."""
    if covariance_type not in COVARIANCE_TYPES:
        known = ", ".join(COVARIANCE_TYPES)
        raise InvalidExchange(f"covariance_type={covariance_type!r}; wanted one of {known}")
    if family is not None and covariance_type != "full":
        raise InvalidExchange(f"covariance_type={covariance_type!r} came with family={family}")
    return COVARIANCE_TYPES[covariance_type] if family is None else family


def answer(
    ballot: Place,
    data: Any,
    *,
    site: str,
    features: Any = None,
    units: Mapping[str, str] | None = None,
    seed: int | None = None,
    **opening: Any,
) -> Answer:
    """Answer a ballot: score its candidates, or improve them, on a sample of the site's rows.

    Parameters
    ----------
    ballot : path
        A file of the hub's.
    data, site, features, units, seed, **opening
        As in :func:`propose`; by default ``features`` are those of the ballot.

    Returns
    -------
    Answer
        ``save`` writes the file that goes to the hub.

    Raises
    ------
    InvalidExchange
        When the file is no ballot, or this site is not asked.
    InvalidSource
        When data have other features or units than the exchange.
    DegenerateRows
        When the rows are too few.

    References
    ----------
    METHOD 11, steps 3 and 6.
    """
    asked, digest = read_letter(Path(ballot), Ballot)
    if check_site(site) not in asked.asked:
        raise InvalidExchange(
            f"{ballot} does not ask site {site}; it asks {', '.join(asked.asked)}. "
            "Nothing is to be done; wait for the next file of the hub"
        )
    exchange = asked.exchange
    source = opened_whole(data, features, opening, exchange)
    check_alike(source, units, exchange)
    local = exchange.local(private_seed(source, site, seed))
    drawn, question = drawn_samples(source, local), asked.question
    if isinstance(question, Improve):
        value: Any = rounds.improve(
            0, drawn, question.candidates, question.together, question.iterations, local
        )
    else:
        value = partition.score(0, drawn, question.candidates, local)
    return Answer(exchange, site, asked.label, digest, given(value))


def fit_local(
    data: Any,
    *,
    start: Place,
    site: str,
    features: Any = None,
    units: Mapping[str, str] | None = None,
    seed: int | None = None,
    n_init: int = 2,
    init_params: str = "overfit",
    **opening: Any,
) -> LocalFit:
    """Fit all rows of a site from the start that was agreed.

    Parameters
    ----------
    data, site, features, units, seed, n_init, init_params, **opening
        As in :func:`propose`; by default ``features`` are those of the start.
    start : path
        The hub's ``start.npz``.

    Returns
    -------
    LocalFit
        ``save`` writes the file that goes to the hub.

    Raises
    ------
    InvalidExchange
        When the file is no start.
    InvalidSource
        When data have other features or units than the exchange.
    DegenerateRows
        When the rows cannot carry the fit.

    References
    ----------
    METHOD 2, and 11 step 7.
    """
    agreed, digest = read_letter(Path(start), Start)
    exchange = agreed.exchange
    source = opened_whole(data, features, opening, exchange)
    check_alike(source, units, exchange)
    private = private_seed(source, check_site(site), seed)
    local = exchange.local(private, n_init=n_init, init_params=init_params)
    drawn = drawn_samples(source, local)
    own = partition.propose(0, drawn, local)
    message = InProcess().submit(
        "fit", (0,), partition.fit, 0, source.rows(0), agreed.mixture, own, drawn,
        agreed.total_rows, local,
    )  # fmt: skip
    said: Message = given(message)
    if said.mixture is None:
        raise DegenerateRows(said.reason or f"site {site} has no valid row")
    return LocalFit(exchange, site, digest, said)
