"""The hub's part: from the sites' proposals to a start, one ballot after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from dfmr_dask.aggregate.agreement import Agreement, agreement
from dfmr_dask.aggregate.questions import Answers, Propose, Question
from dfmr_dask.errors import ExchangeWaits, InvalidExchange, TooFewMessages
from dfmr_dask.parties.exchange import Exchange
from dfmr_dask.parties.inbox import Inbox, Received, read_inbox
from dfmr_dask.parties.letters import Ballot, Place, Proposal, Start, sha256
from dfmr_dask.parties.voting import Poll, replayed, told

FEWEST_SITES = 3  # of two, nobody can tell which one lies


def agree(
    inbox: Place, *, sites: Collection[str] | None = None, close: bool = False
) -> Ballot | Start:
    """Count what sites have sent, and return the next ballot, or the start once it is agreed.

    Nothing is remembered between two calls but what lies in the folder: save the ballot there, so
    that answers which come after it was closed change nothing.

    Parameters
    ----------
    inbox : path of a folder
        Plain files directly in it are looked at, and nothing else.
    sites : collection of str, optional
        Who may take part. The first ballot waits for all of them, and files of others are
        rejected. By default whoever has sent a proposal, before the first ballot is written.
    close : bool
        Go on without those who have not answered the ballot that stands.

    Returns
    -------
    Ballot or Start
        With ``rejected``: files by name, and what is wrong with them. A ballot names those who
        have not answered it yet (``missing``); it is closed when nobody is missing.

    Raises
    ------
    TooFewMessages
        When fewer than three sites proposed, or half of the sites or more gave nothing usable.
    ExchangeWaits
        When sites that were named have not proposed yet.
    InvalidExchange
        When the folder is none, or what was heard before is not there any more.

    References
    ----------
    METHOD 11, steps 2 to 6.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from dfmr_dask.experiments.populations import population
    >>> from dfmr_dask.parties import agree, answer, propose
    >>> truth = population(2, 2, separation=6.0, seed=0)
    >>> rows = {s: truth.sample(500, np.random.default_rng(i))[0] for i, s in enumerate("ABC")}
    >>> with tempfile.TemporaryDirectory() as inbox:
    ...     for site, x in rows.items():
    ...         path = propose(x, n_components=2, site=site).save(inbox)
    ...     ballot = agree(inbox)
    ...     ballot.name, ballot.missing
    ('ballot-1.npz', ('A', 'B', 'C'))
    """
    found = read_inbox(inbox)
    past = found.history("ballot")
    proposals = _proposals(found, sites, past[0] if past else None, close)
    names = tuple(sorted(proposals))
    heard = {site: proposals[site].digest for site in names}
    exchange = proposals[names[0]].letter.exchange
    pilots = {i: proposals[site].letter for i, site in enumerate(names)}
    poll = Poll(
        exchange, found, names, "ballot", past or (), close, [heard], lambda q: _before(q, pilots)
    )
    # Nobody knows the seed before all have proposed, so that colluders cannot reckon with it.
    seed = int(sha256("".join(heard.values()).encode())[:16], 16)
    outcome = replayed(agreement(exchange.terms(len(names), seed), range(len(names))), poll)
    poll.reject_strays()
    if isinstance(outcome, Ballot):
        return replace(outcome, rejected=found.rejected)
    return _start(outcome, poll)


def _start(outcome: Agreement, poll: Poll) -> Start:
    return Start(
        poll.exchange,
        outcome.start,
        outcome.total_rows,
        outcome.sample_rows,
        poll.sites,
        tuple(poll.heard),
        poll.inbox.rejected,
    )


def _before(question: Question, pilots: Mapping[int, object]) -> Answers:
    """Answer from the proposals, which came before anybody was asked."""
    came = {i: one for i, one in pilots.items() if isinstance(one, Proposal)}
    asked = [i for i in question.partitions if i in came]
    wanted = isinstance(question, Propose)
    return Answers({i: came[i].mixture if wanted else came[i].rows for i in asked})


def _proposals(
    inbox: Inbox, sites: Collection[str] | None, past: Mapping[str, str] | None, close: bool
) -> dict[str, Received[Proposal]]:
    """Return the proposals that are heard, by site."""
    for one in inbox.received:
        if sites is not None and one.site not in sites:
            inbox.reject(one, f"site {one.site} is none of those that take part")
    came = {one.site: one for one in inbox.of_kind(Proposal)}
    if past is not None:
        return _as_heard(inbox, came, past)
    waited = sorted(set(sites or ()) - set(came))
    if waited and not close:
        raise ExchangeWaits(
            f"the proposals of {', '.join(waited)} have not come, or were rejected "
            f"({told(inbox.rejected)}); wait for them, or go on without with --close (close=True)"
        )
    usual = Counter(one.letter.exchange.digest for one in came.values()).most_common(1)
    for one in came.values():
        if one.letter.exchange.digest != usual[0][0]:
            inbox.reject(one, one.letter.exchange.difference(_usual(came, usual[0][0])))
    good = {one.site: one for one in inbox.of_kind(Proposal)}
    total = len(sites) if sites is not None else len(good) + len(inbox.sites_rejected(good))
    if len(good) < FEWEST_SITES or 2 * len(good) <= total:
        raise TooFewMessages(
            f"{len(good)} of {total} sites sent a proposal that can be used; wanted "
            f"{FEWEST_SITES} at least, and more than half. Rejected: {told(inbox.rejected)}"
        )
    return good


def _as_heard(
    inbox: Inbox, came: Mapping[str, Received[Proposal]], past: Mapping[str, str]
) -> dict[str, Received[Proposal]]:
    """Return the proposals that were heard when the first ballot was written, as they were."""
    gone = [site for site in past if site not in came or came[site].digest != past[site]]
    if gone or not past:
        raise InvalidExchange(
            f"the proposals of {', '.join(gone)} were heard, and are not there any more as they "
            "were. Put them back; or remove all ballots, and start.npz, to begin anew"
        )
    for site in came.keys() - past.keys():
        inbox.reject(came[site], "it came after the first ballot was written")
    return {site: came[site] for site in past}


def _usual(came: Mapping[str, Received[Proposal]], digest: str) -> Exchange:
    return next(
        one.letter.exchange for one in came.values() if one.letter.exchange.digest == digest
    )
