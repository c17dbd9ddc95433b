"""How partitions agree on one start, by messages alone (METHOD 11, steps 1 to 6).

Cheap where fits are easy: twelve partitions propose first, and more only where those do not agree
on a few optima; rounds stop as soon as all candidates have become one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dfmr_dask.aggregate.rounds import distinct, groups, pilot_error
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.local.start import sample_sizes
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.context import Context
from dfmr_dask.run.rounds import gated_round
from dfmr_dask.run.scoring import all_rows, fitted_rows, joined, outcome, scores, usual_rows
from dfmr_dask.run.tasks import Failure

FIRST_PROPOSERS = 12  # of which some are honest, even if almost half of all partitions are not
MOST_PROPOSERS = 40
SAME_OPTIMUM = 3.5  # sqrt(p / n) that pilots of one optimum may lie apart in CTD-KL
SHORTLIST, EASY_SHORTLIST = 16, 8
AS_GOOD = 0.05  # of p / n, in nats a row: candidates no further apart lead to one score
FOUND_OFTEN = 3  # an optimum that one in so many found is not bettered by asking more
SCHEDULE = ((1, 8), (1, 4), (2, 1))  # rounds before a vote, and how many candidates it leaves
MOST_VOTERS = 400  # fewer are not safe when almost half of the partitions lie


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """Where the fits start.

    Attributes
    ----------
    start : Mixture or None
        None where each partition starts from its own pilot.
    total_rows : int or None
        N of the penalty; None where each takes its own rows.
    samples : mapping of partition to handle
        Held by whoever drew them.
    pilots : mapping of partition to Mixture
    sample_rows : int
        Rows of all samples A together.
    """

    start: Mixture | None
    total_rows: int | None
    samples: Mapping[int, Any] = field(default_factory=dict)
    pilots: Mapping[int, Any] = field(default_factory=dict)
    sample_rows: int = 1

    @property
    def proposers(self) -> tuple[int, ...]:
        """Partitions whose pilots are known."""
        return tuple(self.pilots)


def agree_on_start(context: Context) -> Agreed:
    """Draw samples, propose, score, vote, and improve in rounds (METHOD 11, steps 1 to 6)."""
    samples, given = _draw_samples(context), context.settings.start
    if context.settings.method == "paper":
        return Agreed(given, None, samples)
    if given is not None:
        scored = scores(context, samples, [given])
        return Agreed(given, all_rows(context, scored), samples, sample_rows=fitted_rows(scored))
    waves = _waves(context, samples)
    if len(context.source.plan) == 1:
        proposals = _proposed(context, samples, waves)
        return Agreed(
            proposals.listed[0],
            all_rows(context, proposals.scored),
            samples,
            sample_rows=fitted_rows(proposals.scored),
        )
    start, proposals = _searched(context, samples, waves)
    total, together = all_rows(context, proposals.scored), fitted_rows(proposals.scored)
    return Agreed(start, total, samples, proposals.pilots, together)


def agreed_again(
    context: Context,
    start: Mixture,
    *,
    total_rows: int | None,
    sample_rows: int,
    proposers: Sequence[int],
) -> Agreed:
    """Return what an interrupted run had agreed on: samples and pilots are the same bits again."""
    samples = _draw_samples(context)
    pilots = {i: _ask_for_pilot(context, i, samples[i]) for i in proposers if i in samples}
    return Agreed(start, total_rows, samples, pilots, sample_rows)


def _searched(
    context: Context, samples: Mapping[int, Any], waves: Sequence[Sequence[int]]
) -> tuple[Mixture, _Proposals]:
    """Find the start among a few proposals, or among all where those find the best too rarely."""
    first = _proposed(context, samples, waves[:1], final=len(waves) == 1)
    search, good = _Search(context, samples, first), _good_optima(context, first)
    made = search.improved([one for one, _ in good], 1)
    candidates = [one for one in made if one is not None]
    if candidates:
        found = [count for one, (_, count) in zip(made, good, strict=True) if one is not None]
        ranking, near = search.ranked(candidates)
        if FOUND_OFTEN * sum(found[i] for i in near) >= first.asked:
            return candidates[ranking[0]], first
    proposals = _proposed(context, samples, waves[1:], first, final=True)
    others = [*candidates, *_full_shortlist(context, proposals)]
    among = [others[i] for i in distinct(others, proposals.rows)[:SHORTLIST]]
    return replace(search, proposals=proposals).narrowed(among), proposals


def _draw_samples(context: Context) -> dict[int, Any]:
    """Draw samples in all partitions, or in 400 random ones of a larger number.

    Where each partition starts on its own, all of them need samples.
    """
    voters = list(range(len(context.source.plan)))
    if len(voters) > MOST_VOTERS and context.settings.method != "paper":
        rng = generator(context.settings.seed, Stage.VOTERS)
        voters = sorted(int(i) for i in rng.choice(voters, MOST_VOTERS, replace=False))
    return {i: _draw_sample(context, i) for i in voters}


def _draw_sample(context: Context, i: int) -> Any:
    source, j = context.rows_of(i, frozenset(context.byzantine))
    p = context.settings.family.n_parameters(context.settings.n_components, source.n_features)
    rows = source.plan.partitions[j].rows or 1 << 62
    wanted = sum(sample_sizes(p, rows, alone=context.local.alone))
    rng = generator(context.settings.seed, Stage.SAMPLE_BLOCKS, i)
    reader = source.sample_rows(j, wanted, rng)
    return context.tasks.submit("start", ("sample", i), partition.draw, i, reader, context.local)


@dataclass(frozen=True, slots=True, eq=False)
class _Proposals:
    """Pilots by partition, their handles, and what partitions score them; who was asked."""

    asked: int
    handles: Mapping[int, Any]
    pilots: Mapping[int, Mixture]
    scored: Mapping[int, partition.Scores]

    @property
    def rows(self) -> float:
        """Rows of a usual sample A."""
        return usual_rows(self.scored)

    @property
    def listed(self) -> list[Mixture]:
        """The pilots in the order of their scores."""
        return list(self.pilots.values())


def _proposed(
    context: Context,
    samples: Mapping[int, Any],
    waves: Sequence[Sequence[int]],
    earlier: _Proposals | None = None,
    *,
    final: bool = True,
) -> _Proposals:
    """Let waves of partitions propose, and all score what is valid; raise if nothing came."""
    proposals = earlier or _Proposals(0, {}, {}, {})
    answers: dict[int, Any] = {}
    for wave in waves:
        handles = {i: _ask_for_pilot(context, i, samples[i]) for i in wave}
        came = context.gathered("start", handles)
        answers |= came
        proposals = _with_more(context, samples, proposals, handles, came)
    if final and not proposals.pilots:
        raise TooFewMessages(
            f"none of {proposals.asked} partitions could propose a start. {_reasons(answers)}. A "
            "feature that does not vary can be left out (features=), and partitions can be larger"
        )
    return proposals


def _waves(context: Context, samples: Mapping[int, Any]) -> list[list[int]]:
    """Return who proposes: at first few, then more, of those partitions that have rows for it."""
    able = list(samples)
    if len(samples) > FIRST_PROPOSERS:
        handles = {
            i: context.tasks.submit("start", ("seen", i), partition.seen, drawn)
            for i, drawn in samples.items()
        }
        answers = context.gathered("start", handles)
        able = [i for i, rows in answers.items() if isinstance(rows, int)]
        if not able:
            raise TooFewMessages(f"no partition has rows to start from. {_reasons(answers)}")
    rng = generator(context.settings.seed, Stage.PROPOSERS)
    order = [int(i) for i in rng.permutation(able)[:MOST_PROPOSERS]]
    waves = [sorted(order[:FIRST_PROPOSERS]), sorted(order[FIRST_PROPOSERS:])]
    return [wave for wave in waves if wave]


def _ask_for_pilot(context: Context, i: int, sample: Any) -> Any:
    attack = context.attack("proposals") if i in context.byzantine else None
    return context.tasks.submit(
        "start", ("propose", i), partition.propose, i, sample, context.local, attack
    )


def _with_more(
    context: Context,
    samples: Mapping[int, Any],
    earlier: _Proposals,
    handles: Mapping[int, Any],
    answers: Mapping[int, Any],
) -> _Proposals:
    """Add a wave of proposals, those of them that are valid, and their scores."""
    asked = earlier.asked + len(handles)
    pilots = {
        i: one for i, one in answers.items() if isinstance(one, Mixture) and context.fits_run(one)
    }
    if not pilots:
        return replace(earlier, asked=asked)
    scored = scores(context, samples, list(pilots.values()), key=f"score-{asked}")
    return _Proposals(
        asked,
        {**earlier.handles, **{i: handles[i] for i in pilots}},
        {**earlier.pilots, **pilots},
        joined(earlier.scored, scored) if earlier.pilots else scored,
    )


def _good_optima(context: Context, proposals: _Proposals) -> list[tuple[Mixture, int]]:
    """Return one pilot for each optimum that the good ones lead to, and how many found it.

    Good are those that the winner beats by no more than the noise of a pilot; copies count once.
    An optimum gets one candidate however often it is proposed, so that colluders cannot fill the
    list. Nothing is returned when not half of those asked proposed a good one.
    """
    if not proposals.pilots:
        return []
    pilots, rows, election = proposals.listed, proposals.rows, outcome(proposals.scored)
    good = [i for i in election.ranking if election.behind[i] <= pilot_error(pilots[i], rows)]
    good = [good[i] for i in distinct([pilots[i] for i in good], rows)]
    if 2 * len(good) < proposals.asked:
        return []
    candidates = [pilots[i] for i in _winner_first(context, election.winner, good)]
    optima = groups(candidates, rows, within=SAME_OPTIMUM)[:EASY_SHORTLIST]
    return [(candidates[members[0]], len(members)) for members in optima]


def _full_shortlist(context: Context, proposals: _Proposals) -> list[Mixture]:
    """Return the winner and 15 random proposals of the electorate, all of them distinct."""
    election, voters = outcome(proposals.scored), list(proposals.scored)
    heard = {voters[i] for i in election.electorate}
    others = [n for n, i in enumerate(proposals.pilots) if i in heard]
    order = _winner_first(context, election.winner, others)
    candidates = [proposals.listed[n] for n in order]
    return [candidates[i] for i in distinct(candidates, proposals.rows)[:SHORTLIST]]


def _winner_first(context: Context, winner: int, others: Sequence[int]) -> list[int]:
    """Put the winner in front of the others, which follow in random order."""
    rest = sorted(set(others) - {winner})
    order = generator(context.settings.seed, Stage.SHORTLIST).permutation(len(rest))
    return [winner, *(rest[i] for i in order)]


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Candidates improve in rounds, with fewer of them after each vote (METHOD 11, step 6)."""

    context: Context
    samples: Mapping[int, Any]
    proposals: _Proposals

    def improved(self, candidates: Sequence[Mixture], number: int) -> list[Mixture | None]:
        """Return what one round makes of candidates; None for those that led nowhere."""
        if not candidates:
            return []
        together = fitted_rows(self.proposals.scored)
        return gated_round(
            self.context, self.samples, candidates, sample_rows=together, key=f"round-{number}"
        )

    def ranked(
        self, candidates: Sequence[Mixture], number: int = 1
    ) -> tuple[Sequence[int], list[int]]:
        """Return candidates in the order of a vote, and those that are as good as the best."""
        if len(candidates) == 1:
            return [0], [0]
        scored = scores(self.context, self.samples, candidates, key=f"score-round-{number}")
        election = outcome(scored)
        near = AS_GOOD * pilot_error(candidates[0], self.proposals.rows)
        return election.ranking, [i for i in election.ranking if election.behind[i] <= near]

    def narrowed(self, candidates: Sequence[Mixture]) -> Mixture:
        """Go through the schedule of rounds and votes, until one candidate is left."""
        number, here = 1, list(candidates)
        for rounds, most in SCHEDULE:
            for _ in range(rounds):
                number += 1
                made = self.improved(here, number)
                here = [one for one in made if one is not None] or here
            ranking, _ = self.ranked(here, number)
            better_first = [here[i] for i in ranking]
            here = [better_first[i] for i in distinct(better_first, self.proposals.rows)[:most]]
            if len(here) == 1:
                break
        return here[0]


def _reasons(answers: Mapping[int, Any]) -> str:
    reasons = {value.reason for value in answers.values() if isinstance(value, Failure)}
    return "Reasons: " + "; ".join(sorted(reasons or {"proposals of another kind than asked for"}))
