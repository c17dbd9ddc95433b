"""How often the number of components is found, from pooled samples, beside scikit-learn's BIC.

python -m dfmr_dask.experiments.studies orders
python -m dfmr_dask.experiments.studies orders-50
python -m dfmr_dask.experiments.studies orders-photograph
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture as Rival

from dfmr_dask.corruption import Corruption, byzantine_partitions
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.experiments.photograph import FULL, PARTITIONS, pixels
from dfmr_dask.experiments.populations import population
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import ignore
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.selection import choose_order
from dfmr_dask.run.settings import Settings, order_settings
from dfmr_dask.run.tasks import InProcess
from dfmr_dask.selection.curve import Selection

OVERLAP = 0.05  # of the two components that overlap most: K can be told from all honest rows
MORE = 4  # orders beyond the true one that are tried
RIVAL_ROWS = 20_000
SCALES = (1.0, 1.0, 1.5, 2.0, 3.0)
NOBODY = ("none", 0.0)
Rows = NDArray[np.float64]
Poison = Callable[[Rows, Mixture, np.random.Generator], Rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One population in partitions, and who lies how.

    Attributes
    ----------
    n_components, n_features : int
    rows, partitions : int
        Rows n in each of m partitions.
    attack : str
        ``none``, an attack of :data:`dfmr_dask.corruption.ATTACKS`, or a name in :data:`POISONS`.
    alpha : float
    seed : int
    """

    n_components: int
    n_features: int
    rows: int
    partitions: int
    attack: str
    alpha: float
    seed: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """The order that was found, scikit-learn's from honest rows (0 where nobody asked), and times.

    ``fit_seconds`` is a whole run with the true order given.
    """

    case: Case
    chosen: int
    rival: int
    seconds: float
    rival_seconds: float
    fit_seconds: float
    byzantine_heard: int

    def __str__(self) -> str:
        """Return one line of a table."""
        one = self.case
        return (
            f"K={one.n_components} d={one.n_features} n={one.rows} m={one.partitions} "
            f"{one.attack} {one.alpha} seed {one.seed}: ours {self.chosen}, "
            f"scikit-learn {self.rival or '-'}, {self.seconds:.2f} s "
            f"(scikit-learn {self.rival_seconds:.1f} s, a run {self.fit_seconds:.1f} s), "
            f"{self.byzantine_heard} Byzantine heard"
        )


def split(x: Rows, truth: Mixture, rng: np.random.Generator) -> Rows:
    """Move the rows of one component by three of its deviations: one component more."""
    way = np.random.default_rng(0).standard_normal(x.shape[1])
    step = np.linalg.cholesky(truth.params["covariances"][0]) @ (3.0 * way / np.linalg.norm(way))
    return np.where((truth.labels(x) == 0)[:, None], x + step, x)


def tight(x: Rows, truth: Mixture, rng: np.random.Generator) -> Rows:
    """Put a tenth of the rows into a tight cluster in the middle: one component more."""
    near = x.mean(axis=0) + 0.01 * x.std(axis=0) * rng.standard_normal(x.shape)
    return np.where((rng.random(len(x)) < 0.1)[:, None], near, x)


def blob(x: Rows, truth: Mixture, rng: np.random.Generator) -> Rows:
    """Draw from one Gaussian with the mean and covariance of the rows: nothing to see at K = 1."""
    lower = np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))
    return np.asarray(x.mean(axis=0) + rng.standard_normal(x.shape) @ lower.T)


POISONS: Mapping[str, Poison] = {"split": split, "tight": tight, "blob": blob}
ATTACKS = ("mean", "wide", "data", *POISONS)


def orders(
    components: Sequence[int] = (3, 5, 8),
    features: Sequence[int] = (2, 10),
    rows: Sequence[int] = (1000, 5000),
    partitions: Sequence[int] = (20, 50),
    attacks: Sequence[str] = ATTACKS,
    alphas: Sequence[float] = (0.0, 0.3, 0.45),
    seeds: Sequence[int] = range(2000, 2002),
    rival: bool = True,
) -> list[Ordered]:
    """Choose the order in every cell of the grid; print a line a case, and a table at the end.

    scikit-learn sees up to 20 000 honest rows, once for each population, and one start an order.
    """
    cases = cases_of(components, features, rows, partitions, attacks, alphas, seeds)
    return _studied(cases, _overlapping, RIVAL_ROWS if rival else 0)


def cases_of(
    components: Sequence[int],
    features: Sequence[int],
    rows: Sequence[int],
    partitions: Sequence[int],
    attacks: Sequence[str],
    alphas: Sequence[float],
    seeds: Sequence[int],
) -> Iterator[Case]:
    """Yield every cell of a grid; at alpha = 0 there is no attack, and one case."""
    for seed, k, d, n, m in product(seeds, components, features, rows, partitions):
        for attack, alpha in _struck(attacks, alphas):
            yield Case(
                n_components=k, n_features=d, rows=n, partitions=m, attack=attack, alpha=alpha,
                seed=seed,
            )  # fmt: skip


def orders_of_many_features(
    attacks: Sequence[str] = ("mean", "data", "split"),
    alphas: Sequence[float] = (0.0, 0.45),
    seeds: Sequence[int] = range(2000, 2005),
    rival: bool = False,
) -> list[Ordered]:
    """Choose among up to 14 components in 50 dimensions: the populations of ``truth-50``."""
    cases = (
        Case(n_components=10, n_features=50, rows=5000, partitions=20, attack=a, alpha=alpha,
             seed=seed)
        for seed in seeds
        for a, alpha in _struck(attacks, alphas)
    )  # fmt: skip
    return _studied(cases, _of_many_features, 100_000 if rival else 0)


def orders_of_photograph(
    most: int = 20, gains: Sequence[float] = (0.2, 0.1, 0.05, 0.02, 0.01), seed: int = 0
) -> list[str]:
    """Choose an order for china.jpg, where the BIC grows for ever, by what one more must gain."""
    source = open_source(pixels("china.jpg", seed, 0), n_partitions=PARTITIONS, seed=seed)
    out = []
    for gain in (None, *gains):
        found = _selection(source, None, most, None, seed, gain)
        if gain is None:
            told = zip(found.orders, found.gains, found.bic, strict=True)
            out += [f"K={k}: gain {g:.4f}, BIC {bic:.0f}" for k, g, bic in told]
        out.append(f"min_gain {gain}: K={found.n_components}, {found.reason}")
    print(*out, sep="\n", flush=True)
    return out


def told(found: Sequence[Ordered]) -> list[str]:
    """Return how often the order was exact, and within one, by attack."""
    lines = []
    for name in dict.fromkeys((one.case.attack, one.case.alpha) for one in found):
        some = [one for one in found if (one.case.attack, one.case.alpha) == name]
        lines.append(f"{name[0]} {name[1]}: {_shares(some)}")
    rivals = [replace(one, chosen=one.rival) for one in found if one.rival]
    if rivals:
        lines.append(f"scikit-learn on honest rows: {_shares(rivals)}")
    timed = [one.seconds / one.fit_seconds for one in found if one.fit_seconds]
    if timed:
        lines.append(
            f"time beside a run with K given: median {np.median(timed):.2f}, most {max(timed):.2f}"
        )
    return [*lines, f"all: {_shares(found)}"]


def _shares(found: Sequence[Ordered]) -> str:
    off = np.array([abs(one.chosen - one.case.n_components) for one in found])
    exact, near = float(np.mean(off == 0)), float(np.mean(off <= 1))
    return f"exact {exact:.3f}, within 1 {near:.3f} of {len(off)}"


def _struck(attacks: Sequence[str], alphas: Sequence[float]) -> Iterator[tuple[str, float]]:
    if 0.0 in alphas:
        yield NOBODY
    yield from ((attack, alpha) for alpha in alphas if alpha for attack in attacks)


def _overlapping(case: Case, other: bool) -> Mixture:
    seed = case.seed + 5000 * other
    return population_with_overlap(case.n_components, case.n_features, OVERLAP, seed)


def _of_many_features(case: Case, other: bool) -> Mixture:
    seed = case.seed + 5000 * other
    return population(case.n_components, case.n_features, scales=SCALES, seed=seed)


def _studied(
    cases: Iterator[Case], drawn: Callable[[Case, bool], Mixture], rival_rows: int
) -> list[Ordered]:
    out = []
    for case in cases:
        out.append(_ordered(case, drawn, rival_rows))
        print(out[-1], flush=True)
    print(*told(out), sep="\n", flush=True)
    return out


def _ordered(case: Case, drawn: Callable[[Case, bool], Mixture], rival_rows: int) -> Ordered:
    """Choose the order of one case; where nobody lies, time a run and ask scikit-learn, too."""
    truth, m = drawn(case, False), case.partitions
    x = truth.sample(m * case.rows, generator(case.seed, Stage.DRAW))[0]
    source = open_source(x, n_partitions=m, seed=case.seed)
    replacement, corruption = None, None
    if case.attack in POISONS or case.attack == "data":
        y = _bad_rows(case, x, truth, drawn)
        replacement = open_source(y, n_partitions=m, seed=case.seed)
        corruption = Corruption("data", case.alpha)
    elif case.attack != "none":
        corruption = Corruption(case.attack, case.alpha)
    most = case.n_components + MORE
    began = time.perf_counter()
    found = _selection(source, replacement, most, corruption, case.seed)
    seconds = time.perf_counter() - began
    alone = case.attack == "none"
    rival, rival_seconds = _rival(x[:rival_rows], most) if alone and rival_rows else (0, 0.0)
    fit_seconds = _run_seconds(source, case) if alone else 0.0
    byzantine = set(byzantine_partitions(corruption, m, case.seed))
    heard = len(byzantine & set(found.partitions))
    return Ordered(case, found.n_components, rival, seconds, rival_seconds, fit_seconds, heard)


def _bad_rows(case: Case, x: Rows, truth: Mixture, drawn: Callable[[Case, bool], Mixture]) -> Rows:
    rng = generator(case.seed, Stage.DRAW, 1)
    if case.attack == "data":
        return drawn(case, True).sample(len(x), rng)[0]
    return POISONS[case.attack](x, truth, rng)


def _selection(
    source: Source,
    replacement: Source | None,
    most: int,
    corruption: Corruption | None,
    seed: int,
    min_gain: float | None = None,
) -> Selection:
    settings = Settings(
        family=FULL, seed=seed, corruption=corruption, **order_settings("auto", most, min_gain)
    )
    context = Context(source, settings, InProcess(), ignore, replacement=replacement)
    return choose_order(context)[1]


def _run_seconds(source: Source, case: Case) -> float:
    settings = Settings(family=FULL, n_components=case.n_components, seed=case.seed)
    began = time.perf_counter()
    fit(source, settings, InProcess())
    return time.perf_counter() - began


def _rival(x: Rows, most: int) -> tuple[int, float]:
    began = time.perf_counter()
    found = [Rival(k, random_state=0).fit(x).bic(x) for k in range(1, most + 1)]
    return 1 + int(np.argmin(found)), time.perf_counter() - began
