"""What liars say in place of what they found: estimates, scores, messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.corruption.attacks import ATTACKS
from dfmr_dask.corruption.kinds import Knowledge
from dfmr_dask.corruption.malformed import Forged, forged
from dfmr_dask.corruption.plan import Corruption
from dfmr_dask.corruption.rows import RowKnowledge, check_counts
from dfmr_dask.families.base import Rows
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator


def corrupted(
    mixture: Mixture,
    attack: str | Corruption,
    rng: np.random.Generator,
    *,
    known: Mixture | None = None,
    rows: float = 1.0,
    usual_rows: float | None = None,
    shared: np.random.Generator | None = None,
    turn: int = 0,
) -> Mixture | Forged:
    """Return what a Byzantine partition says in place of its estimate.

    Parameters
    ----------
    mixture : Mixture
        What it would say if it were honest.
    attack : str or Corruption
        A name stands for the attack with its usual size.
    rng : numpy.random.Generator
        The liar's own.
    known : Mixture, optional
        What all liars know of the honest; its own estimate unless given.
    rows : float
        Rows of its partition.
    usual_rows : float, optional
        Rows that all colluders reckon with; ``rows`` unless given.
    shared : numpy.random.Generator, optional
        In the same state for every liar; ``rng`` unless given.
    turn : int
        Which of the malformed estimates ``malformed`` takes.

    Returns
    -------
    Mixture or Forged
        ``Forged`` from ``malformed`` only, where no constructor would make it.

    Raises
    ------
    ValueError
        When a component is named that ``known`` does not have.

    References
    ----------
    Zhang, Tan & Chen (arXiv 2407.13980), section 5; METHOD 9.
    """
    corruption = Corruption.of(attack)
    if corruption.attack == "malformed":
        return forged(mixture, turn)
    row, known = ATTACKS[corruption.attack], known or mixture
    corruption.check_order(known.n_components)
    corruption.check_family(mixture.family)
    size = corruption.size if corruption.size is not None else row.size
    knowledge = Knowledge(
        known=known,
        rows=rows,
        usual_rows=rows if usual_rows is None else usual_rows,
        own=rng,
        shared=rng if shared is None else shared,
        size=float(size or 0.0),
        components=_components(corruption, known, rng),
    )
    weights, params = row.strike(mixture, knowledge)
    return Mixture(mixture.family, weights, params)


def corrupted_rows(
    x: Rows, attack: str | Corruption, seed: int, partition: int, highest: int | None = 2
) -> Rows:
    """Return what a bad partition takes for its rows.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Counts; -1 or NaN is missing. They are left as they are.
    attack : str or Corruption
    seed, partition : int
        Address of what is drawn.
    highest : int or None
        The largest count; None for rows that are no counts.

    Returns
    -------
    ndarray of the same shape and dtype
        The rows themselves, where the attack spares them.

    Raises
    ------
    InvalidConfiguration
        When rows are no counts, and the attack is for counts.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.corruption import corrupted_rows
    >>> corrupted_rows(np.array([[0, 1, 2, -1]]), "flipped_alleles", 0, 0)
    array([[ 2,  1,  0, -1]])
    """
    corruption = Corruption.of(attack)
    row = ATTACKS[corruption.attack]
    if row.rows is None or "rows" not in corruption.stages:
        return x
    knowledge = RowKnowledge(
        size=float(corruption.size if corruption.size is not None else row.size or 0.0),
        own=generator(seed, Stage.CORRUPT_ROWS, partition),
        shared=generator(seed, Stage.COLLUDE),
        highest=check_counts(corruption.attack, x.dtype, highest),
    )
    return row.rows(x, knowledge)


def corrupted_scores(
    scores: NDArray[np.float64], rng: np.random.Generator, attack: str = "mean"
) -> NDArray[np.float64]:
    """Return a lie about scores: the same numbers, given to other candidates.

    Harmless attacks tell the truth, and ``malformed`` has no numbers to give.
    """
    if ATTACKS[attack].harmless:
        return scores
    if attack == "malformed":
        return np.full(len(scores) + int(rng.integers(2)), np.nan)
    return np.asarray(rng.permutation(scores))


def corrupted_message(
    message: Message,
    corruption: Corruption,
    seed: int,
    *,
    known: Mixture | None = None,
    usual_rows: float | None = None,
    turn: int | None = None,
) -> Message | Forged:
    """Return a Byzantine partition's message: estimate and row count replaced, the rest as it was.

    A partition that found nothing has nothing to lie about.
    """
    if message.mixture is None:
        return message
    lie = corrupted(
        message.mixture,
        corruption,
        generator(seed, Stage.CORRUPT_MESSAGE, message.partition),
        known=known,
        rows=message.rows,
        usual_rows=usual_rows,
        shared=generator(seed, Stage.COLLUDE),
        turn=message.partition if turn is None else turn,
    )
    rows = message.rows if corruption.claimed_rows is None else corruption.claimed_rows
    if isinstance(lie, Mixture):
        return replace(message, mixture=lie, rows=rows)
    fields = {name: getattr(message, name) for name in Message.__slots__}
    return Forged(Message, tuple((fields | {"mixture": lie, "rows": rows}).values()))


def lies(
    messages: Sequence[Message],
    corruption: Corruption,
    byzantine: Collection[int],
    *,
    known: Mixture,
    seed: int,
) -> list[Message]:
    """Return the messages after an attack on some partitions: for simulations.

    Parameters
    ----------
    messages : sequence of Message
        Of all partitions, honest ones. For ``data`` they come from the replaced rows already.
    corruption : Corruption
        Its fraction is not looked at.
    byzantine : collection of int
        Numbers of the partitions that lie.
    known : Mixture
        What all liars know of the honest: the truth, or the honest mean.
    seed : int

    Returns
    -------
    list of Message
        In the same order; a malformed estimate is a failed message with the reason that its
        validation gave.

    Raises
    ------
    ValueError
        When a component is named that ``known`` does not have.

    Examples
    --------
    >>> from dfmr_dask.corruption import Corruption, lies
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.message import Message
    >>> from dfmr_dask.mixture import Mixture
    >>> one = Mixture(DiagonalGaussian(), [1.0], {"means": [[3.0]], "variances": [[1.0]]})
    >>> honest = [Message(i, "fitted", 100, mixture=one) for i in range(3)]
    >>> said = lies(honest, Corruption("sign_flip", 0.3), [2], known=one, seed=0)
    >>> [float(m.mixture.params["means"][0, 0]) for m in said]
    [3.0, 3.0, -3.0]
    """
    turns = {i: turn for turn, i in enumerate(sorted(byzantine))}
    counts = [m.rows for m in messages if m.partition in turns and m.mixture is not None]
    usual = float(np.median(counts)) if counts else None
    return [
        _received(message, corrupted_message(
            message, corruption, seed, known=known, usual_rows=usual, turn=turns[message.partition]
        ))
        if message.partition in turns else message
        for message in messages
    ]  # fmt: skip


def _received(message: Message, said: Message | Forged) -> Message:
    """Return what its receiver makes of a message."""
    if isinstance(said, Message):
        return said
    try:
        opened: Message = said.opened()
        return opened
    except ValueError as error:
        return Message.failed(message.partition, str(error), message.rows, message.dropped_rows)


def _components(
    corruption: Corruption, known: Mixture, rng: np.random.Generator
) -> tuple[int, ...] | None:
    if corruption.component == "random":
        return (int(rng.integers(known.n_components)),)
    return corruption.component  # type: ignore[return-value]
