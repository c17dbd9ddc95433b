"""Ballots in place of tasks: questions of a search are answered by files, or become the next file.

The hub remembers nothing. It puts the questions of the search again and again, from the first one,
and answers them from the files that lie in its folder; the first question that has no answers yet
is the next ballot. A ballot names the files that were heard before it, so that what comes late
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dfmr_dask.aggregate.questions import (
    Answers,
    Count,
    Improve,
    Propose,
    Question,
    Resemble,
    Score,
    Steps,
)
from dfmr_dask.errors import InvalidExchange, TooFewMessages
from dfmr_dask.mixture import Mixture
from dfmr_dask.parties.exchange import Exchange
from dfmr_dask.parties.inbox import Inbox, Received
from dfmr_dask.parties.letters import Answer, Ballot, History

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """Answers questions from the files in an inbox.

    Attributes
    ----------
    exchange : Exchange
    inbox : Inbox
    sites : tuple of str
        In the order of their numbers.
    prefix : str
        Of the ballots' names.
    proposed : mapping of numbers to what came before the first ballot
        Answers to :class:`Propose` and :class:`Count`; none in a check.
    past : tuple of mappings
        Whose files were heard in the rounds that are closed.
    close : bool
        Go on without the sites that have not answered the ballot that stands.
    heard : list of mappings
        Grows by a round with each ballot that is closed.
    replies : list of questions and answers
        Of the rounds that are closed.
    """

    exchange: Exchange
    inbox: Inbox
    sites: tuple[str, ...]
    prefix: str
    past: History
    close: bool
    heard: list[Mapping[str, str]]
    proposed: Callable[[Question], Answers] = lambda question: Answers({})
    digests: set[str] = field(default_factory=set)
    replies: list[tuple[Question, Answers]] = field(default_factory=list)

    def reply(self, question: Question) -> Answers | Ballot:
        """Return the answers to a question, or the ballot that asks for them."""
        if isinstance(question, Count | Propose):
            return self.proposed(question)
        if isinstance(question, Resemble):  # no file carries an answer to it
            return Answers({})
        number = len(self.heard)
        label, history = f"{self.prefix}-{number}", tuple(self.heard)
        ballot = Ballot(self.exchange, label, question, self.sites, history)
        came = self._answers(ballot, question)
        if number < len(self.past):
            answered = self._as_heard(ballot, came, self.past[number])
        else:
            missing = tuple(site for site in ballot.asked if site not in came)
            if missing and not (came and self.close and self._is_last(number)):
                return Ballot(self.exchange, label, question, self.sites, history, missing)
            answered = came
        self._check_majority(ballot, answered)
        self.heard.append({site: one.digest for site, one in answered.items()})
        numbers = {site: i for i, site in enumerate(self.sites)}
        values = {numbers[site]: one.letter.value for site, one in answered.items()}
        said = Answers(dict(sorted(values.items())))
        self.replies.append((question, said))
        return said

    def _is_last(self, number: int) -> bool:
        """Tell whether it is the ballot that stands, which alone can be closed before its time."""
        return not self.past or number == len(self.past)

    def _answers(self, ballot: Ballot, question: Score | Improve) -> dict[str, Received[Answer]]:
        """Return the answers to a ballot by site, and reject those that are none."""
        digest, terms = ballot.digest, self.exchange.terms(len(self.sites))
        self.digests.add(digest)
        out = {}
        for one in self.inbox.of_kind(Answer):
            if one.round[1] != digest:
                continue
            if one.letter.exchange.digest != self.exchange.digest:
                reason = one.letter.exchange.difference(self.exchange)
            elif one.site not in ballot.asked:
                reason = f"site {one.site} was not asked in {ballot.label}"
            elif not question.accepts(one.letter.value, terms):
                reason = f"it is no answer to the {len(question.candidates)} candidates"
            else:
                out[one.site] = one
                continue
            self.inbox.reject(one, reason)
        return out

    def _as_heard(
        self, ballot: Ballot, came: Mapping[str, Received[Answer]], past: Mapping[str, str]
    ) -> dict[str, Received[Answer]]:
        """Return the answers that were heard when a later ballot was written: those, as they were.

        Raises
        ------
        InvalidExchange
            When one of them is not there any more.
        """
        gone = [site for site in past if site not in came or came[site].digest != past[site]]
        if gone:
            raise InvalidExchange(
                f"the answers of {', '.join(gone)} to {ballot.label} were heard, and are not there "
                f"any more as they were. Put them back; or remove the ballots after "
                f"{ballot.label}, and start.npz, to count again from there"
            )
        for site in came.keys() - past.keys():
            self.inbox.reject(came[site], f"it came after {ballot.label} was closed")
        return {site: came[site] for site in past}

    def _check_majority(self, ballot: Ballot, answered: Mapping[str, Received[Answer]]) -> None:
        if 2 * len(answered) <= len(ballot.asked):
            raise TooFewMessages(
                f"{len(answered)} of {len(ballot.asked)} sites answered {ballot.label}; more than "
                f"half are needed. Rejected: {told(self.inbox.rejected)}"
            )

    def reject_strays(self) -> None:
        """Reject the answers to ballots that are none of this exchange."""
        for one in self.inbox.of_kind(Answer):
            label, digest = one.round
            is_check = label.startswith("ballot-check")
            if digest not in self.digests and is_check == (self.prefix == "ballot-check"):
                self.inbox.reject(one, f"it answers another {label} than this exchange has")


def replayed(steps: Steps[Found], poll: Poll) -> Found | Ballot:
    """Put the questions of a search, until one has no answers yet or something is found."""
    try:
        question = next(steps)
        while True:
            came = poll.reply(question)
            if isinstance(came, Ballot):
                return came
            question = steps.send(came)
    except StopIteration as done:
        found: Found = done.value
        return found


def told(rejected: Mapping[str, str]) -> str:
    """Say which files were rejected, and why."""
    return "; ".join(f"{name} ({why})" for name, why in sorted(rejected.items())[:20]) or "no file"


def last_scores(poll: Poll, mixture: Mixture) -> dict[int, tuple[float, float]]:
    """Return what sites scored the mixture that was chosen, in the vote at the end."""
    question, answers = poll.replies[-1] if poll.replies else (None, Answers({}))
    if not isinstance(question, Score):
        return {}
    place = [one is mixture for one in question.candidates].index(True)
    heard = answers.heard.items()
    return {i: (float(one.values[place]), float(one.rows_to_score)) for i, one in heard}
