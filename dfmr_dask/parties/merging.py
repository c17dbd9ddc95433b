"""The hub's last part: fits of sites become one model and a verdict, which a vote checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dfmr_dask.aggregate.aggregators import Aggregation
from dfmr_dask.aggregate.aggregators import aggregate as aggregated
from dfmr_dask.aggregate.alignment import like
from dfmr_dask.aggregate.check import checked
from dfmr_dask.aggregate.uncertainty import StandardErrors, reported_errors
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.files import write_json, write_mixture
from dfmr_dask.errors import AggregationFailed, InvalidExchange, NoStandardErrors, TooFewMessages
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.parties.exchange import Exchange
from dfmr_dask.parties.inbox import Inbox, Received, read_inbox
from dfmr_dask.parties.letters import Ballot, LocalFit, Place, Start
from dfmr_dask.parties.naming import check_site
from dfmr_dask.parties.opening import read_letter
from dfmr_dask.parties.voting import Poll, last_scores, replayed, told
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.standard_errors import told_of, write_errors


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What the hub makes of the sites' fits.

    Attributes
    ----------
    mixture : Mixture
        Heaviest component first.
    verdict : Verdict
        By numbers of sites, which are their places in ``sites``.
    sites : tuple of str
    exchange : Exchange
    chosen : {"aggregate", "polished", "start", "center"}
        What the check let stand.
    checked : bool
        Whether the check has come to its end.
    scores : mapping of numbers of sites to pairs
        What each site that was asked scores the mixture, in nats a row, and on how many rows.
    errors : StandardErrors, or NoStandardErrors where nothing tells how sure the mixture is
    ballot : Ballot or None
        What sites must answer before the check can go on.
    waiting : tuple of str
        Sites whose fits have not come; the check waits for them.
    rejected : mapping of file names to reasons
    """

    mixture: Mixture
    verdict: Verdict
    sites: tuple[str, ...]
    exchange: Exchange
    chosen: str
    ballot: Ballot | None
    waiting: tuple[str, ...]
    rejected: Mapping[str, str]
    checked: bool = False
    scores: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    errors: StandardErrors | NoStandardErrors = field(default_factory=NoStandardErrors)

    @property
    def plain(self) -> dict[str, Any]:
        """The verdict by names of sites, as JSON knows it."""
        verdict, names = self.verdict, self.sites
        return {
            "sites": list(names),
            "kept": [names[i] for i in verdict.kept],
            "dropped": {names[i]: why for i, why in verdict.dropped.items()},
            "failed": {names[i]: why for i, why in verdict.failed.items()},
            "rejected": dict(sorted(self.rejected.items())),
            "certified": verdict.certified,
            "doubts": list(verdict.doubts),
            "chosen": self.chosen,
            "checked": self.checked,
            "waiting": list(self.waiting),
            "ballot": None if self.ballot is None else self.ballot.name,
            "standard_errors": told_of(self.errors),
        }

    @property
    def text(self) -> str:
        """The verdict by names of sites, for people."""
        told = self.plain
        certified = "certified" if told["certified"] else "not certified"
        stands = f"the sites' vote let the {self.chosen} stand" if self.checked else "no vote yet"
        lines = [f"kept {', '.join(told['kept']) or 'nobody'}; {certified}; {stands}"]
        for fate in ("dropped", "failed"):
            lines += [f"{fate} {site}: {why}" for site, why in told[fate].items()]
        lines += [f"doubt: {doubt}" for doubt in told["doubts"]]
        lines += [f"note: {note}" for note in told["standard_errors"]["notes"]]
        return "\n".join(lines)

    def save(self, folder: Place) -> Path:
        """Write ``model.npz``, ``standard_errors.zarr``, ``verdict.json`` and the next ballot.

        Returns
        -------
        Path
            Of the model.
        """
        place, units = Path(folder), dict(self.exchange.units)
        model = place / "model.npz"
        write_mixture(model, self.mixture, features=list(self.exchange.features), units=units)
        if self.ballot is not None:
            self.ballot.save(place)
        write_errors(place, self.errors, self.exchange.features, units)
        write_json(place / "verdict.json", self.plain)
        return model


def aggregate(
    inbox: Place,
    *,
    start: Place | None = None,
    sites: Collection[str] | None = None,
    check: bool = True,
    close: bool = False,
    aggregator: str = "dfmr",
    method: str = "blocks",
    weights: str = "shared",
    gates: tuple[str, ...] | None = None,
    rho: float | None = None,
    unit: str = "partition",
) -> Merged:
    """Filter and merge the fits in a folder, and let sites vote on what came out.

    The check is held by ballots, as the search for the start was: five times the kept sites
    improve the aggregate, then they score it beside what may replace it. The model is usable from
    the first call on; each further call counts the answers that have come.

    Parameters
    ----------
    inbox : path of a folder
    start : path, optional
        By default ``start.npz`` in the folder. Without one there is no check, and those fits are
        merged that began where most did.
    sites : collection of str, optional
        Whose fits are heard beside those of the sites that agreed on the start.
    check : bool
    close : bool
        Go on without fits, or answers to the ballot that stands, which have not come.
    aggregator, method, weights, gates, rho, unit
        As for :class:`dfmr_dask.GaussianMixture`.

    Returns
    -------
    Merged
        ``save`` writes the model, the verdict and the next ballot.

    Raises
    ------
    TooFewMessages
        When half of the sites or more gave no usable fit, or no answer to a ballot.
    AggregationFailed
        When the fits cannot be merged by the aggregator that was asked for.
    InvalidExchange
        When the folder is none, the start cannot be read, or what was heard is not there any more.

    References
    ----------
    METHOD 12, and 11 step 8.
    """
    found = read_inbox(inbox)
    usual = found.folder / "start.npz"
    given = start or (usual if usual.is_file() else None)
    agreed, digest = (None, "") if given is None else read_letter(Path(given), Start)
    past = found.history("ballot-check")
    fits, exchange = _fits(found, agreed, digest, sites)
    names = tuple(sorted({*fits, *(agreed.sites if agreed else ()), *map(check_site, sites or ())}))
    fits = _as_heard(found, fits, past[0]) if past else fits
    settings = replace(
        exchange.settings, aggregator=aggregator, method=method, weights=weights,
        gates=None if gates is None else tuple(gates), rho=rho, unit=unit,
    )  # fmt: skip
    messages = _messages(found, names, fits)
    outcome = _aggregation(messages, settings)
    errors = partial(reported_errors, messages, outcome.parts)
    verdict, waiting = outcome.verdict, tuple(name for name in names if name not in fits)
    merged = Merged(
        outcome.mixture, verdict, names, exchange, "aggregate", None, waiting, found.rejected,
        errors=errors(outcome.mixture, "aggregate", 0),
    )  # fmt: skip
    if agreed is None or not check or (waiting and not past and not close):
        return merged
    return _after_check(merged, outcome, errors, agreed, fits, found, past or (), close)


def _after_check(
    merged: Merged,
    outcome: Aggregation,
    errors: Callable[[Mixture, str, int], StandardErrors | NoStandardErrors],
    agreed: Start,
    fits: Mapping[str, Received[LocalFit]],
    inbox: Inbox,
    past: tuple[Mapping[str, str], ...],
    close: bool,
) -> Merged:
    """Count the ballots of the check, as far as they are answered."""
    exchange, names = merged.exchange, merged.sites
    heard = {site: one.digest for site, one in fits.items()}
    poll = Poll(exchange, inbox, names, "ballot-check", past, close, [heard])
    others = {"start": agreed.mixture, "center": outcome.center}
    terms = exchange.terms(len(names))
    steps = checked(terms, merged.verdict.kept, outcome.mixture, others, agreed.sample_rows)
    found = replayed(steps, poll)
    poll.reject_strays()
    if isinstance(found, Ballot):
        return replace(merged, ballot=found)
    chosen, mixture = found
    verdict = merged.verdict
    if chosen in ("start", "center"):
        verdict = verdict.doubted(
            f"the {chosen} scores better on the kept sites' samples than the aggregate: their "
            "estimates may come from different optima"
        )
    scores = last_scores(poll, mixture)
    mixture = like(mixture, outcome.mixture)
    return replace(
        merged, mixture=mixture, verdict=verdict, chosen=chosen, checked=True,
        scores=scores, errors=errors(mixture, chosen, 0),
    )  # fmt: skip


def _fits(
    inbox: Inbox, agreed: Start | None, digest: str, sites: Collection[str] | None
) -> tuple[dict[str, Received[LocalFit]], Exchange]:
    """Return the fits that began from the start, by site, and what they have in common."""
    came = inbox.of_kind(LocalFit)
    if agreed is not None:
        usual, exchange = (digest, agreed.exchange.digest), agreed.exchange
    elif came:
        counts = Counter((one.letter.start, one.letter.exchange.digest) for one in came)
        usual = counts.most_common(1)[0][0]
        exchange = next(
            one.letter.exchange for one in came if one.letter.exchange.digest == usual[1]
        )
    else:
        raise TooFewMessages(
            f"no site's fit lies in {inbox.folder}. Rejected: {told(inbox.rejected)}"
        )
    able = None if agreed is None else {*agreed.sites, *(sites or ())}
    for one in came:
        if able is not None and one.site not in able:
            inbox.reject(one, f"site {one.site} did not agree on the start; name it with sites")
        elif one.letter.exchange.digest != exchange.digest:
            inbox.reject(one, one.letter.exchange.difference(exchange))
        elif one.letter.start != usual[0]:
            inbox.reject(one, "it began from another start than the one that was agreed")
    return {one.site: one for one in inbox.of_kind(LocalFit)}, exchange


def _as_heard(
    inbox: Inbox, came: Mapping[str, Received[LocalFit]], past: Mapping[str, str]
) -> dict[str, Received[LocalFit]]:
    """Return the fits that were heard when the check began, as they were."""
    gone = [site for site in past if site not in came or came[site].digest != past[site]]
    if gone:
        raise InvalidExchange(
            f"the fits of {', '.join(gone)} were heard, and are not there any more as they were. "
            "Put them back; or remove all ballots of the check, to begin it anew"
        )
    for site in came.keys() - past.keys():
        inbox.reject(came[site], "it came after the check had begun; remove its ballots to hear it")
    return {site: came[site] for site in past}


def _messages(
    inbox: Inbox, names: tuple[str, ...], fits: Mapping[str, Received[LocalFit]]
) -> list[Message]:
    reasons = {name.removesuffix(".npz").removesuffix("-fit"): f"{name}: {why}"
               for name, why in inbox.rejected.items()}  # fmt: skip
    return [
        replace(fits[name].letter.message, partition=i)
        if name in fits
        else Message.failed(i, reasons.get(name, "it sent no fit"))
        for i, name in enumerate(names)
    ]


def _aggregation(messages: Sequence[Message], settings: Settings) -> Aggregation:
    try:
        return aggregated(messages, aggregator=settings.aggregator, rule=settings.rule)
    except TooFewMessages:
        raise
    except ValueError as error:
        raise AggregationFailed(
            f"{settings.aggregator} could not merge the fits: {error}"
        ) from error
