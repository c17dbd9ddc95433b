"""How partitions agree on one start, by messages alone (METHOD 11, steps 2 to 6).

Cheap where fits are easy: twelve partitions propose first, and more only where those do not agree
on a few optima; rounds stop as soon as all candidates have become one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dfmr_dask.aggregate.consensus import consensus
from dfmr_dask.aggregate.electing import (
    all_rows,
    fitted_rows,
    gated_round,
    joined,
    outcome,
    some,
    usual_rows,
)
from dfmr_dask.aggregate.questions import Count, Improve, Propose, Score, Scores, Steps, Terms
from dfmr_dask.aggregate.rounds import distinct, groups, pilot_error
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

FIRST_PROPOSERS = 12  # of which some are honest, even if almost half of all partitions are not
MOST_PROPOSERS = 40
SAME_OPTIMUM = 3.5  # sqrt(p / n) that pilots of one optimum may lie apart in CTD-KL
SHORTLIST, EASY_SHORTLIST = 16, 8
AS_GOOD = 0.05  # of p / n, in nats a row: candidates no further apart lead to one score
FOUND_OFTEN = 3  # an optimum that one in so many found is not bettered by asking more
SCHEDULE = ((1, 8), (1, 4), (2, 1))  # rounds before a vote, and how many candidates it leaves
EM_ITERATIONS = 5  # of every partition, in a round


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """What was agreed.

    Attributes
    ----------
    start : Mixture
        Where the fits start.
    total_rows : int
        N of their penalty.
    sample_rows : int
        Rows of all samples A together.
    proposers : tuple of int
        Partitions whose pilots were heard, and may stand in where the start is a disaster.
    """

    start: Mixture
    total_rows: int
    sample_rows: int
    proposers: tuple[int, ...] = ()


def agreement(
    terms: Terms, voters: Sequence[int], given: Mixture | None = None
) -> Steps[Agreement]:
    """Propose, score, vote, and improve in rounds (METHOD 11, steps 2 to 6).

    Parameters
    ----------
    terms : Terms
    voters : sequence of int
        Partitions that have drawn samples.
    given : Mixture, optional
        Where the fits start in any case; then only rows are counted.

    Raises
    ------
    TooFewMessages
        When nobody can propose, or nobody can vote.
    """
    if given is not None:
        scored = (yield Score(voters, [given])).heard
        return Agreement(given, all_rows(terms, scored), fitted_rows(scored))
    search = _Search(terms, voters)
    waves = yield from search.waves()
    if terms.n_partitions == 1:
        proposals = yield from search.proposed(waves)
        total = all_rows(terms, proposals.scored)
        return Agreement(proposals.listed[0], total, proposals.together)
    start, proposals = yield from _searched(search, waves)
    total = all_rows(terms, proposals.scored)
    return Agreement(start, total, proposals.together, tuple(proposals.pilots))


@dataclass(frozen=True, slots=True, eq=False)
class _Proposals:
    """Pilots by partition, and what partitions score them; how many were asked."""

    asked: int
    pilots: Mapping[int, Mixture]
    scored: Mapping[int, Scores]

    @property
    def rows(self) -> float:
        """Rows of a usual sample A."""
        return usual_rows(self.scored)

    @property
    def together(self) -> int:
        """Rows of all samples A."""
        return fitted_rows(self.scored)

    @property
    def listed(self) -> list[Mixture]:
        """The pilots in the order of their scores."""
        return list(self.pilots.values())


def _searched(search: _Search, waves: Sequence[Sequence[int]]) -> Steps[tuple[Mixture, _Proposals]]:
    """Find the start among a few proposals, or among all where those find the best too rarely.

    Of many discrete columns it is made of the components that most of all proposals have.
    """
    first = yield from search.proposed(waves[:1], final=len(waves) == 1)
    if (center := consensus(first.listed, first.rows)) is not None:
        everybody = yield from search.proposed(waves[1:], first)
        return consensus(everybody.listed, everybody.rows) or center, everybody
    good = search.good_optima(first)
    made = yield from search.improved(first, [one for one, _ in good], 1)
    candidates = some(made)
    if candidates:
        found = [count for one, (_, count) in zip(made, good, strict=True) if one is not None]
        ranking, near = yield from search.ranked(first, candidates)
        if FOUND_OFTEN * sum(found[i] for i in near) >= first.asked:
            return candidates[ranking[0]], first
    proposals = yield from search.proposed(waves[1:], first)
    others = [*candidates, *search.full_shortlist(proposals)]
    among = [others[i] for i in distinct(others, proposals.rows)[:SHORTLIST]]
    return (yield from search.narrowed(proposals, among)), proposals


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Who proposes, who scores, and how candidates become fewer and better."""

    terms: Terms
    voters: Sequence[int]

    def waves(self) -> Steps[list[list[int]]]:
        """Return who proposes: at first few, then more, of those partitions that have rows."""
        able = list(self.voters)
        if len(able) > FIRST_PROPOSERS:
            answers = yield Count(self.voters)
            able = list(answers.heard)
            if not able:
                told = _told(answers.reasons)
                raise TooFewMessages(f"no partition has rows to start from. {told}")
        rng = generator(self.terms.seed, Stage.PROPOSERS)
        order = [int(i) for i in rng.permutation(able)[:MOST_PROPOSERS]]
        waves = [sorted(order[:FIRST_PROPOSERS]), sorted(order[FIRST_PROPOSERS:])]
        return [wave for wave in waves if wave]

    def proposed(
        self,
        waves: Sequence[Sequence[int]],
        earlier: _Proposals | None = None,
        *,
        final: bool = True,
    ) -> Steps[_Proposals]:
        """Let waves of partitions propose, and all score what is valid; raise if nothing came."""
        proposals = earlier or _Proposals(0, {}, {})
        reasons: frozenset[str] = frozenset()
        for wave in waves:
            answers = yield Propose(wave)
            reasons |= answers.reasons
            proposals = replace(proposals, asked=proposals.asked + len(wave))
            if answers.heard:
                proposals = yield from self._with_more(proposals, answers.heard)
        if final and not proposals.pilots:
            raise TooFewMessages(
                f"none of {proposals.asked} partitions could propose a start. {_told(reasons)}. A "
                "feature that does not vary can be left out (features=), and partitions can be "
                "larger"
            )
        return proposals

    def _with_more(self, earlier: _Proposals, pilots: Mapping[int, Mixture]) -> Steps[_Proposals]:
        """Add the valid proposals of a wave, and their scores."""
        key = f"score-{earlier.asked}"
        scored = (yield Score(self.voters, list(pilots.values()), key)).heard
        both = joined(earlier.scored, scored) if earlier.pilots else scored
        return _Proposals(earlier.asked, {**earlier.pilots, **pilots}, both)

    def good_optima(self, proposals: _Proposals) -> list[tuple[Mixture, int]]:
        """Return one pilot for each optimum that the good ones lead to, and how many found it.

        Good are those that the winner beats by no more than the noise of a pilot; copies count
        once. An optimum gets one candidate however often it is proposed, so that colluders cannot
        fill the list. Nothing is returned when not half of those asked proposed a good one.
        """
        if not proposals.pilots:
            return []
        pilots, rows, election = proposals.listed, proposals.rows, outcome(proposals.scored)
        good = [i for i in election.ranking if election.behind[i] <= pilot_error(pilots[i], rows)]
        good = [good[i] for i in distinct([pilots[i] for i in good], rows)]
        if 2 * len(good) < proposals.asked:
            return []
        candidates = [pilots[i] for i in self._winner_first(election.winner, good)]
        optima = groups(candidates, rows, within=SAME_OPTIMUM)[:EASY_SHORTLIST]
        return [(candidates[members[0]], len(members)) for members in optima]

    def full_shortlist(self, proposals: _Proposals) -> list[Mixture]:
        """Return the winner and 15 random proposals of the electorate, all of them distinct."""
        election, voters = outcome(proposals.scored), list(proposals.scored)
        heard = {voters[i] for i in election.electorate}
        others = [n for n, i in enumerate(proposals.pilots) if i in heard]
        candidates = [proposals.listed[n] for n in self._winner_first(election.winner, others)]
        return [candidates[i] for i in distinct(candidates, proposals.rows)[:SHORTLIST]]

    def _winner_first(self, winner: int, others: Sequence[int]) -> list[int]:
        """Put the winner in front of the others, which follow in random order."""
        rest = sorted(set(others) - {winner})
        order = generator(self.terms.seed, Stage.SHORTLIST).permutation(len(rest))
        return [winner, *(rest[i] for i in order)]

    def improved(
        self, proposals: _Proposals, candidates: Sequence[Mixture], number: int
    ) -> Steps[list[Mixture | None]]:
        """Return what one round makes of candidates; None for those that led nowhere."""
        if not candidates:
            return []
        key = f"round-{number}"
        question = Improve(self.voters, candidates, proposals.together, EM_ITERATIONS, key)
        return (yield from gated_round(self.terms, question))

    def ranked(
        self, proposals: _Proposals, candidates: Sequence[Mixture], number: int = 1
    ) -> Steps[tuple[Sequence[int], list[int]]]:
        """Return candidates in the order of a vote, and those that are as good as the best."""
        if len(candidates) == 1:
            return [0], [0]
        answers = yield Score(self.voters, candidates, f"score-round-{number}")
        election = outcome(answers.heard)
        near = AS_GOOD * pilot_error(candidates[0], proposals.rows)
        return election.ranking, [i for i in election.ranking if election.behind[i] <= near]

    def narrowed(self, proposals: _Proposals, candidates: Sequence[Mixture]) -> Steps[Mixture]:
        """Go through the schedule of rounds and votes, until one candidate is left."""
        number, here = 1, list(candidates)
        for rounds, most in SCHEDULE:
            for _ in range(rounds):
                number += 1
                here = some((yield from self.improved(proposals, here, number))) or here
            ranking, _ = yield from self.ranked(proposals, here, number)
            better_first = [here[i] for i in ranking]
            here = [better_first[i] for i in distinct(better_first, proposals.rows)[:most]]
            if len(here) == 1:
                break
        return here[0]


def _told(reasons: frozenset[str]) -> str:
    given = sorted(reasons or {"proposals of another kind than asked for"})
    return "Reasons: " + "; ".join(given)
