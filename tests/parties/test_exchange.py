"""A whole exchange: what liars cannot change, what the order of files cannot, and what leaks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfmr_dask.aggregate.questions import Improved
from dfmr_dask.corruption import corrupted
from dfmr_dask.data.files import read_facts, read_mixture
from dfmr_dask.data.source import open_source
from dfmr_dask.errors import ExchangeWaits, InvalidExchange, InvalidSource, TooFewMessages
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.mixture import Mixture
from dfmr_dask.parties import (
    Answer,
    Ballot,
    LocalFit,
    Proposal,
    Start,
    aggregate,
    agree,
    answer,
    fit_local,
    propose,
)
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess
from tests.command.calls import dfmr
from tests.parties.conftest import FEATURES, SITES, TRUTH, UNITS, rows_of

LIARS = ("E", "F", "G")
HONEST = tuple(site for site in SITES if site not in LIARS)


def lied(letter: Any) -> Any:
    """Say something else than what is true, in a file that is as valid as any."""
    rng = np.random.default_rng(0)  # all of them the same: they collude

    def moved(mixture: Mixture) -> Any:
        return corrupted(mixture, "mean", rng)

    if isinstance(letter, Proposal):
        return replace(letter, mixture=moved(letter.mixture), rows=10**12)
    if isinstance(letter, LocalFit):
        told = replace(letter.message, mixture=moved(letter.message.mixture), rows=10**15)
        return replace(letter, message=told)
    value = letter.value
    if isinstance(value, Improved):
        made = tuple(one and moved(one) for one in value.mixtures)
        return replace(letter, value=Improved(made, 10**12))
    return replace(letter, value=replace(value, values=value.values[::-1].copy() + 3.0))


@pytest.fixture
def attacked(stores: dict[str, str], tmp_path: Path) -> Path:
    """An exchange through the command in which three of seven sites lie in each file."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for site in SITES:
        store = stores[site]
        if site in LIARS:
            lied(propose(store, n_components=3, site=site, features=FEATURES)).save(inbox)
        else:
            features = [word for name in FEATURES for word in ("--features", name)]
            words = ["--site", site, "--n-components", "3", *features, "-o", str(inbox)]
            assert dfmr("propose", store, *words) == 0
    while not (inbox / "start.npz").exists():
        assert dfmr("agree", str(inbox)) == 0
        latest = max(inbox.glob("ballot-*.npz"), key=lambda path: int(path.stem[7:]))
        _answered(latest, stores, inbox)
    for site in SITES:
        if site in LIARS:
            lied(fit_local(stores[site], start=inbox / "start.npz", site=site)).save(inbox)
        else:
            words = ["--start", str(inbox / "start.npz"), "--site", site]
            path = inbox / f"{site}-fit.npz"
            assert dfmr("fit-local", stores[site], *words, "-o", str(path)) == 0
    return inbox


def _answered(ballot: Path, stores: dict[str, str], inbox: Path) -> None:
    number = ballot.stem.removeprefix("ballot-")
    for site in SITES:
        if (inbox / f"{site}-{number}.npz").exists():
            continue
        if site in LIARS:
            lied(answer(ballot, stores[site], site=site)).save(inbox)
        else:
            words = ["--site", site, "-o", str(inbox)]
            assert dfmr("answer", str(ballot), stores[site], *words) == 0


def test_three_liars_of_seven_change_little(
    attacked: Path, stores: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = attacked
    capsys.readouterr()
    for _ in range(20):
        assert dfmr("aggregate", str(inbox), "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["kept"] == list(HONEST)
        assert set(told["dropped"]) == set(LIARS)
        if told["ballot"] is None:
            break
        for site in HONEST:
            words = ["--site", site, "-o", str(inbox)]
            assert dfmr("answer", str(inbox / told["ballot"]), stores[site], *words) == 0
        capsys.readouterr()
    assert told["ballot"] is None
    assert told["checked"]
    assert dfmr("aggregate", str(inbox)) == 0
    said = capsys.readouterr()
    assert "the sites' vote let the" in said.out
    assert "next: the model stands" in said.err
    model = read_mixture(inbox / "model.npz")
    assert read_facts(inbox / "model.npz") == {"features": FEATURES, "units": UNITS}
    rows = np.concatenate([rows_of(site) for site in HONEST])
    asked = Settings(family=COVARIANCE_TYPES["full"], n_components=3)
    ordinary = fit(open_source(rows, n_partitions=4), asked, InProcess()).mixture
    assert model.score(rows) > ordinary.score(rows) - 2e-3
    assert error(model, TRUTH) < error(ordinary, TRUTH) + 0.1


def test_the_same_files_lead_to_the_same_bits_in_any_order(finished: Path, tmp_path: Path) -> None:
    """Under other names, written in another order, and counted without the hub's own ballots."""
    for i, path in enumerate(sorted(finished.glob("?*.npz"), reverse=True)):
        if path.stem[0] in SITES and path.stem[1:2] in ("", "-"):
            shutil.copyfile(path, tmp_path / f"{path.stem[0]}-{i}.npz")
    start = agree(tmp_path)
    assert isinstance(start, Start)
    assert start.pack() == (finished / "start.npz").read_bytes()
    assert not start.rejected
    merged = aggregate(tmp_path, start=start.save(tmp_path))
    assert merged.ballot is not None
    assert merged.ballot.name == "ballot-check-2.npz"
    same = aggregate(finished)
    assert same.mixture.params["means"].tobytes() == merged.mixture.params["means"].tobytes()


def test_a_site_draws_the_same_rows_again(finished: Path, stores: dict[str, str]) -> None:
    again = answer(finished / "ballot-1.npz", stores["C"], site="C")
    assert again.pack() == (finished / "C-1.npz").read_bytes()
    other = answer(finished / "ballot-1.npz", stores["C"], site="C", seed=5)
    assert not np.array_equal(other.value.values, again.value.values)  # type: ignore[union-attr]


def test_no_file_holds_a_value_of_a_row(finished: Path) -> None:
    """Every eight bytes of every file, wherever they begin, against every value of every row."""
    values = np.concatenate([rows_of(site).ravel() for site in SITES])
    looked_for = [values.view(np.uint64), values.astype(">f8").view("u8").astype(np.uint64)]
    files = [path.read_bytes() for path in finished.rglob("*") if path.is_file()]
    assert len(files) > 40
    for data in files:
        windows = np.concatenate(
            [np.frombuffer(data[i : len(data) - (len(data) - i) % 8], "<u8") for i in range(8)]
        )
        assert not np.isin(windows, np.concatenate(looked_for)).any()


def test_what_comes_late_changes_nothing(finished: Path, tmp_path: Path) -> None:
    copied(finished, tmp_path, "?.npz", "?-1.npz", "ballot-1.npz")
    (tmp_path / "G-1.npz").rename(tmp_path / "later")
    (tmp_path / "F-1.npz").rename(tmp_path / "latest")
    waiting = agree(tmp_path)
    assert isinstance(waiting, Ballot)
    assert (waiting.label, waiting.missing) == ("ballot-1", ("F", "G"))
    second = agree(tmp_path, close=True)
    assert isinstance(second, Ballot)
    assert second.label == "ballot-2"
    second.save(tmp_path)
    (tmp_path / "later").rename(tmp_path / "G-1.npz")
    (tmp_path / "H.npz").write_bytes((tmp_path / "A.npz").read_bytes())
    again = agree(tmp_path, close=True)
    assert again.pack() == second.pack()
    assert again.rejected["G-1.npz"] == "it came after ballot-1 was closed"
    (tmp_path / "A-1.npz").unlink()
    with pytest.raises(InvalidExchange, match="answers of A to ballot-1 were heard"):
        agree(tmp_path)


def test_a_ballot_that_half_of_the_sites_do_not_answer_is_no_vote(
    finished: Path, tmp_path: Path
) -> None:
    copied(finished, tmp_path, "?.npz", "[A-C]-1.npz", "ballot-1.npz")
    with pytest.raises(TooFewMessages, match="3 of 7 sites answered ballot-1; more than half"):
        agree(tmp_path, close=True)


@pytest.mark.parametrize(
    ("there", "sites", "wanted", "text"),
    [
        ("[AB].npz", None, TooFewMessages, "2 of 2 sites sent a proposal.* wanted 3 at least"),
        ("[A-C].npz", tuple("ABCDEFG"), ExchangeWaits, "the proposals of D, E, F, G"),
        ("nobody", None, TooFewMessages, "0 of 0 sites"),
    ],
)
def test_too_few_sites_are_told(
    finished: Path, tmp_path: Path, there: str, sites: Any, wanted: type[Exception], text: str
) -> None:
    copied(finished, tmp_path, there)
    with pytest.raises(wanted, match=text):
        agree(tmp_path, sites=sites)
    if sites is not None:
        with pytest.raises(TooFewMessages, match="3 of 7 sites"):
            agree(tmp_path, sites=sites, close=True)


def test_half_of_the_fits_are_no_majority(finished: Path, tmp_path: Path) -> None:
    copied(finished, tmp_path, "start.npz", "[A-C]-fit.npz")
    with pytest.raises(TooFewMessages, match="3 of 7 partitions gave a usable fit"):
        aggregate(tmp_path)


def test_a_site_refuses_ballots_that_are_not_about_its_rows(
    finished: Path, stores: dict[str, str]
) -> None:
    x = rows_of("A")
    ballot = finished / "ballot-1.npz"
    with pytest.raises(InvalidSource, match=r"units of .* are \{\}; the exchange has"):
        answer(ballot, x, site="A", features=FEATURES)
    with pytest.raises(InvalidSource, match="features of"):
        answer(ballot, x, site="A", features=FEATURES[::-1], units=UNITS)
    same = answer(ballot, x, site="A", features=FEATURES, units=UNITS)
    assert isinstance(same, Answer)
    with pytest.raises(InvalidExchange, match="does not ask site Z"):
        answer(ballot, stores["A"], site="Z")
    with pytest.raises(InvalidExchange, match="holds a start; wanted a ballot"):
        answer(finished / "start.npz", stores["A"], site="A")
    with pytest.raises(InvalidSource, match="opened as 3"):
        answer(ballot, open_source(x, n_partitions=3), site="A")


def test_a_site_larger_than_its_memory_fits_block_by_block(
    finished: Path, stores: dict[str, str]
) -> None:
    whole = open_source(
        stores["A"], features=FEATURES, plan="rows", n_partitions=1, memory_per_worker="1GiB"
    )
    start = finished / "start.npz"
    cut = replace(whole, plan=replace(whole.plan, streamed=(0,)))
    found = fit_local(cut, start=start, site="A").message.mixture
    usual = fit_local(whole, start=start, site="A").message.mixture
    assert found is not None
    assert usual is not None
    np.testing.assert_allclose(found.params["means"], usual.params["means"], rtol=1e-8)
    words = ["--start", str(start), "--site", "A", "--memory", "1MiB"]
    assert dfmr("fit-local", stores["A"], *words, "-o", str(finished / "A-x.npz")) == 1
    assert not (finished / "A-x.npz").exists()


@pytest.mark.parametrize("site", ["", "../A", "a/b", "ballot-1", "start", "x" * 65, ".A", "Ä"])
def test_names_of_sites_lead_nowhere(site: str) -> None:
    with pytest.raises(InvalidExchange, match="wanted up to 64 letters"):
        propose(rows_of("A", 200), n_components=1, site=site)


def test_files_are_named_after_their_site(tmp_path: Path) -> None:
    proposal = propose(rows_of("A", 200), n_components=1, site="A")
    with pytest.raises(InvalidExchange, match=r"B\.npz is no name for a file of site A"):
        proposal.save(tmp_path / "B.npz")
    assert not list(tmp_path.iterdir())


def test_the_command_tells_runs_from_inboxes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("aggregate", str(tmp_path)) == 1
    assert "there is no run.json" in capsys.readouterr().err
    copied(finished, tmp_path, "?-fit.npz")
    assert dfmr("aggregate", str(tmp_path), "--keep", "1") == 2
    assert dfmr("aggregate", str(tmp_path), "--aggregator", "none") == 2
    assert dfmr("aggregate", str(tmp_path), "--no-check") == 0
    assert (tmp_path / "verdict.json").is_file()
    assert not list(tmp_path.glob("ballot*"))


def copied(source: Path, target: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            shutil.copyfile(path, target / path.name)
